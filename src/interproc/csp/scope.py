"""What belongs to a process while it runs: the ends that it was given, received or made. They end with it."""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from multiprocessing import util
from typing import Any

from .. import _core, context

__all__ = ["Ends", "Scope", "at_exit", "collect", "current_scope"]

CARD_ROOM = 4000  # bytes that a card may have, of the core's IP_CARD_MAX
SIDES = ("r", "w")


_sweeping = threading.Lock()  # one at a time; who comes second need not


class Ends:
    """Ends, held weakly: one that nobody refers to any more retires by itself.

    There may be thousands of these, and thousands of ends in one: so the references are those that all share,
    without callbacks, and the dead ones are swept out when they may be half of them.
    """

    __slots__ = ("_refs", "_room")

    def __init__(self) -> None:
        self._refs: list[weakref.ref[Any]] = []
        self._room = 8

    def add(self, end: Any) -> None:
        if len(self._refs) >= self._room and _sweeping.acquire(blocking=False):
            try:
                n = len(self._refs)  # what others add meanwhile comes after these
                self._refs[:n] = [ref for ref in self._refs[:n] if ref() is not None]
                self._room = 2 * len(self._refs) + 8
            finally:
                _sweeping.release()
        self._refs.append(weakref.ref(end))

    def ends(self) -> list[Any]:
        """Those that are referred to still, each once, in the order in which they came."""
        refs = tuple(self._refs)
        return list(dict.fromkeys(end for end in [ref() for ref in refs] if end is not None))

    def clear(self) -> None:
        self._refs.clear()


class Scope(Ends):
    """The ends of one process, which end with it.

    Attributes:
        name, kind: the process's; of the program itself "main" and "process".
        parent: the name of the party that has started it, or 0.
        run: the number of the composition that it is part of, or 0.
        interrupted: whether it ended by Ctrl-C.
        party: the party of a task, once it has one (csp/tasks.py makes it, and calls introduce()).

    A thread's party refers to its scope, too; a task's does not, as that would be a circle.
    """

    __slots__ = ("__weakref__", "interrupted", "kind", "name", "parent", "party", "run")

    def __init__(self, name: str, kind: str = "process", parent: int = 0, run: int = 0) -> None:
        super().__init__()
        self.name = name
        self.kind = kind
        self.parent = parent
        self.run = run
        self.party: Any = None
        self.interrupted = False

    def __repr__(self) -> str:
        return f"<Scope of {self.name!r} ({self.kind}) with {len(self.ends())} ends>"

    def retire_all(self) -> None:
        """The process has returned."""
        self._end(_retire)

    def poison_all(self) -> None:
        """The process has failed."""
        self._end(_poison)

    def _end(self, how: Callable[[Any], None]) -> None:
        for end in self.ends():
            how(end)
        self.clear()

    def introduce(self, party: Any) -> None:
        """Records in the arena whose party that is, for pictures and for the description of a deadlock."""
        thread = party.thread
        if self is _main and thread is not threading.main_thread():  # one of the program's own
            party.describe(self.card(f"{self.name}: {thread.name}", "thread"), self.parent)
        else:  # a task whose thread waits for it counts once
            party.describe(self.card(self.name, self.kind), self.parent if self.party in (None, party) else 0)

    def card(self, name: str, kind: str) -> bytes:
        """Who this is, and which ends it has (the first that fit), as JSON of at most CARD_ROOM bytes."""
        about = {"name": name[:200], "kind": kind, "pid": os.getpid(), "run": self.run}
        ends = []
        room = CARD_ROOM - len(json.dumps(about)) - 20
        for end in self.ends():
            if getattr(end, "away", False):
                continue
            side = getattr(end, "side", None)
            entry = [
                getattr(end, "channel_id", None) or end.id,
                SIDES[side] if side in (0, 1) else "b",
                getattr(end, "label", None) or "",
            ]
            room -= len(json.dumps(entry)) + 2
            if room < 0:
                break
            ends.append(entry)
        return json.dumps({**about, "ends": ends}).encode()


def _retire(end: Any) -> None:
    """Whatever has become of it meanwhile: one that fails must not keep the others from ending."""
    try:
        if hasattr(end, "retire"):
            if end.owned:  # not one that was given away
                end.retire()
        else:
            end.resign()
    except Exception:
        pass


def _poison(end: Any) -> None:
    try:
        if hasattr(end, "poison"):
            if end.owned:
                end.poison()
        else:
            end.resign()
    except Exception:
        pass


# ---- whose scope this is -----------------------------------------------------------------------------------

# Of a thread or a task that is a process. A task that it makes inherits it; other threads are the program's.
_current: contextvars.ContextVar[Scope] = contextvars.ContextVar("interproc.csp.scope")
_main = Scope("main")
_at_exit: list[Callable[[bool], object]] = []


def current_scope() -> Scope:
    """The scope of the process that calls this."""
    return _current.get(_main)


def enter(scope: Scope) -> contextvars.Token[Scope]:
    """What this thread, or this task, does from now on, it does as that process."""
    return _current.set(scope)


def leave(token: contextvars.Token[Scope]) -> None:
    """Undoes enter()."""
    _current.reset(token)


def become(name: str, kind: str, parent: int, run: int, ends: Iterable[Any] = ()) -> Scope:
    """In an OS process that a composition has started: all of it is that process, what it received, too."""
    scope = _main
    scope.name, scope.kind, scope.parent, scope.run = name, kind, parent, run
    for end in ends:
        scope.add(end)
    return scope


def collect(end: Any) -> None:
    """The process that calls this has made the end (or the enrolment at a barrier), or has received it."""
    _current.get(_main).add(end)


def introduce(party: Any) -> None:
    """Of a thread that waits: others want to know who that is, and what it has made or received by now."""
    with contextlib.suppress(Exception):
        if party.scope is None:
            party.scope = current_scope()
        party.scope.introduce(party)


_core.set_introducer(introduce)

# ---- the end of an OS process ------------------------------------------------------------------------------


def at_exit(call: Callable[[bool], object]) -> None:
    """Called when this OS process ends: after the ends of its scope, before it waits for its children.

    It is told whether Ctrl-C is why it ends.
    """
    if call not in _at_exit:
        _at_exit.append(call)


def _finish() -> None:
    """What the program holds must not keep those whom it has started, and waits for now, from ending."""
    error = _why()
    if error is None or isinstance(error, SystemExit):
        _main.retire_all()
    else:
        _main.poison_all()
    for call in tuple(_at_exit):
        call(_main.interrupted or isinstance(error, KeyboardInterrupt))


def _why() -> BaseException | None:
    """The exception that ends this OS process: that of a Process, or it was printed (a program)."""
    return context.failure() or (None if hasattr(sys, "ps1") else getattr(sys, "last_value", None))


def _watch_exit(_: object = None) -> None:
    util.Finalize(None, _finish, exitpriority=100)


def _in_child() -> None:
    global _main, _sweeping
    _sweeping = threading.Lock()
    _main = Scope("main")  # the ends in it were the parent's
    _current.set(_main)


_watch_exit()
os.register_at_fork(after_in_child=_in_child)
util.register_after_fork(_watch_exit, _watch_exit)  # a Process, which clears the registry of finalizers
