"""What makes the shared containers under test: multiprocessing's manager, the reference, and interproc's."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import interproc

from .support import Crew


def kinds_of(place: Any) -> Iterator[Any]:
    """What makes the containers, for a fixture: the manager of a context, or of the module of that name."""
    with (importlib.import_module(place) if isinstance(place, str) else place).Manager() as manager:
        yield manager


def outcome(call: Any, *args: Any, **more: Any) -> Any:
    """What a call returns, or the type of what it raises: to compare two implementations."""
    try:
        return call(*args, **more)
    except Exception as error:
        return type(error)


def our_crew() -> Iterator[Crew]:
    """Forked children, for a fixture of tests of what interproc has alone."""
    crew = Crew(interproc.get_context("fork"))
    yield crew
    crew.end()
