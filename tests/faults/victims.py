"""What the tests of deaths in networks share: a process that is killed, and what it does meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dropin.support import SOON, default_method, until

import interproc
from interproc.csp import (
    Barrier,
    Channel,
    ChannelPoison,
    ProcessKilled,
    Spawn,
    after,
    process,
    select,
)

from .support import at_once

LIMIT = 40  # seconds after which a process ends by itself, whatever has become of its test


@pytest.fixture(params=["fork", "spawn"])
def method(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each start method, as the default one."""
    with default_method(request.param):
        yield request.param


@contextlib.contextmanager
def victim(description: Any) -> Iterator[Any]:
    """It runs within the block, and is killed there: by `kill`, or by itself."""
    spawned = Spawn(description)
    try:
        yield spawned
    finally:
        spawned.kill()
        with contextlib.suppress(ExceptionGroup):
            spawned.join(SOON)
    with pytest.raises(ExceptionGroup, match="1 of 1") as caught:
        spawned.join(SOON)
    assert isinstance(caught.value.exceptions[0], ProcessKilled), caught.value.exceptions


def kill(spawned: Any) -> None:
    os.kill(spawned.pid, signal.SIGKILL)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LIMIT)


def told(call: Callable[[], object], of: type[BaseException] = ChannelPoison) -> None:
    """The call answers at once, with that error."""
    with at_once("the answer"), pytest.raises(of):
        call()


def waiting(channel: Any, readers: int = 0, writers: int = 0) -> None:
    """Until so many wait there."""
    until(
        lambda: channel.info().readers_waiting >= readers and channel.info().writers_waiting >= writers,
        f"{readers} readers and {writers} writers wait",
    )


# What a victim does to have an offer out; `end` and `other` are ends that it has, `place` is at a barrier.
def does_recv(end: Any, other: Any, place: Any) -> None:
    end.recv()


def does_send(end: Any, other: Any, place: Any) -> None:
    end.send("of the dead")


def does_select_to_read(end: Any, other: Any, place: Any) -> None:
    select(other, end, place, after(LIMIT))


def does_select_to_write(end: Any, other: Any, place: Any) -> None:
    select(other, place, (end, "of the dead"))


READS = [does_recv, does_select_to_read]
WRITES = [does_send, does_select_to_write]


@process
def waits_in(does: Any, end: Any, other: Any, place: Any) -> None:
    signal.alarm(LIMIT)
    does(end, other, place)


@process
def idles(*ends: Any) -> None:
    signal.alarm(LIMIT)
    time.sleep(LIMIT)


class Scene:
    """A channel, and what else a victim can choose among; nobody is ever there."""

    def __init__(self, side: str, buffer: int = 0) -> None:
        self.channel = Channel[str]("scene", buffer=buffer)
        self.reads = side == "reads"
        self.theirs = self.channel.reader() if self.reads else self.channel.writer()
        self.mine = self.channel.writer() if self.reads else self.channel.reader()
        self.never = Channel[str]()
        self.keeper = self.never.writer()
        self.barrier = Barrier()
        self.place = self.barrier.enrol()

    def runs(self, does: Any) -> Any:
        return waits_in(does, self.theirs, self.never.reader(), self.barrier.enrol())

    def use(self) -> Any:
        """The other side of the communication."""
        return self.mine.send("x", SOON) if self.reads else self.mine.recv(SOON)

    def choose(self) -> Any:
        """The same in a select."""
        guard = self.mine.sending("x") if self.reads else self.mine
        return select(guard, after(SOON))


def counter() -> Any:
    """A number that two processes have in common, and that outlives both."""
    return interproc.RawValue("q", 0)


def kill_later(spawned: Any, dice: random.Random) -> threading.Timer:
    timer = threading.Timer(0.002 + dice.random() ** 2 * 0.03, kill, [spawned])
    timer.start()
    return timer


def in_background(call: Callable[[], object]) -> None:
    def run() -> None:
        with contextlib.suppress(BaseException):
            call()

    threading.Thread(target=run, daemon=True).start()


@process
def receives_until(inp: Any) -> list[int]:
    signal.alarm(LIMIT)
    got = []
    with contextlib.suppress(ChannelPoison):
        while True:
            got.append(inp.recv())
    return got


def alive(pid: int) -> bool:
    """Not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
