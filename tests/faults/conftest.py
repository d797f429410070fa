"""Fixtures of the fault tests: children that end in any case, and the arena back where it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from dropin.support import Crew

import interproc
from interproc._core import Arena


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Forked children."""
    crew = Crew(interproc.get_context("fork"))
    yield crew
    crew.end()


@pytest.fixture
def arena() -> Iterator[Arena]:
    """The arena of this process, with the dead buried."""
    arena = Arena.default()
    gc.collect()
    arena.reap()
    yield arena
    gc.collect()
    arena.reap()
