"""The shared containers under test: those of multiprocessing's manager, the reference, and interproc's."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import interproc
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.values import ValueProxy

from .support import Crew


class Ours:
    """Makes interproc's, with the signatures that a manager's methods have."""

    def dict(self, *args: Any, **more: Any) -> Any:
        """A shared dict."""
        return DictProxy(dict(*args, **more))

    def list(self, *args: Any) -> Any:
        """A shared list."""
        return ListProxy(*args)

    def Namespace(self, **attributes: Any) -> Any:
        """A shared namespace."""
        return NamespaceProxy(attributes)

    def Value(self, *args: Any) -> Any:
        """A shared value."""
        return ValueProxy(*args)


def kinds_of(module: str, ctx: Any = multiprocessing) -> Iterator[Any]:
    """What makes the containers of a module, for a fixture."""
    if module == "interproc":
        yield Ours()
        return
    with ctx.Manager() as manager:
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
