"""The module under test, and the context under test, as fixtures: multiprocessing is the reference."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Iterator
from typing import Any

import pytest

from .support import METHODS, MODULES, Crew


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the fork server import what children need once, before it forks them."""
    multiprocessing.set_forkserver_preload(["dropin.support"])


@pytest.fixture(params=MODULES)
def mp(request: pytest.FixtureRequest) -> Any:
    """The module: multiprocessing or interproc, with its default start method."""
    return importlib.import_module(request.param)


@pytest.fixture(params=[(module, method) for module in MODULES for method in METHODS], ids="-".join)
def ctx(request: pytest.FixtureRequest) -> Any:
    """A context of each module for each start method."""
    module, method = request.param
    return importlib.import_module(module).get_context(method)


@pytest.fixture
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    """Children of the context under test, if the test has one, else of the module under test with fork."""
    names = request.fixturenames
    if "ctx" in names:
        context = request.getfixturevalue("ctx")
    else:
        context = request.getfixturevalue("mp").get_context("fork")
    crew = Crew(context)
    yield crew
    crew.end()
