"""Channels of the binding for its tests: who waits, and what is left."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from dropin.support import until

from interproc import _core
from interproc._core import Channel, End, Party

BIG = b"b" * 100_000  # travels in a block


def started(call: Callable[..., Any], *args: Any) -> Future[Any]:
    """The call, in a thread of its own."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def both(channel: Channel[Any]) -> tuple[End, End]:
    """A reading and a writing end."""
    return channel.end(0), channel.end(1)


def fresh(capacity: int = 0, policy: int = 0) -> tuple[End, End]:
    """The ends of a new channel that nobody else keeps."""
    return both(Channel("c", capacity, policy))


def waits(end: End, side: int, n: int = 1) -> None:
    """Until so many wait at a side."""
    until(lambda: end.look()["waiting"][side] >= n)


def fork_with(ends: list[Any], target: Callable[[], object]) -> int:
    """The pid of a forked child that is given the ends and calls target(); its exit code tells how."""
    _core.bequeath(ends)
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(40)
        target()
        code = 0
    finally:
        if code == 0:
            _core.leave()
        os._exit(code)


def ended(pid: int) -> int:
    """Its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """What a test makes in the arena is gone when it is."""
    arena = _core.Arena.default()
    Party.current()
    gc.collect()
    before = {found["id"] for found in arena.objects()}

    def left() -> bool:
        gc.collect()
        return before.issuperset(found["id"] for found in arena.objects() if found["kind"] != "party")

    yield
    until(left, "objects are left")
    arena.check()
