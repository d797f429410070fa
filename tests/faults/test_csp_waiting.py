"""Channels that end while others wait there, in whatever way: all are told. Who ends with something held."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from dropin.support import SOON

import interproc
from interproc.csp import (
    Barrier,
    Channel,
    ChannelPoison,
    ChannelRetire,
    ProcessKilled,
    Spawn,
    after,
    aselect,
    process,
    select,
)

from .support import AT_ONCE, at_once
from .victims import LIMIT, READS, WRITES, Scene, die, kill, told, victim, waiting, waits_in

KINDS = ["process", "thread", "task"]

# ---- poisoned, or retired ----------------------------------------------------------------------------------


def plain(end: Any) -> None:
    end.send("x", LIMIT) if end.side else end.recv(LIMIT)


def choosing(end: Any) -> None:
    select((end, "x") if end.side else end, after(LIMIT))


def among_others(end: Any) -> None:
    """One side of each of two channels that never come true, and a barrier."""
    first, second, barrier = Channel[str](), Channel[str](), Barrier()
    keep = first.writer(), second.reader(), barrier.enrol()
    select(
        first.reader(),
        (second.writer(), "y"),
        barrier.enrol(),
        (end, "x") if end.side else end,
        timeout=LIMIT,
    )
    del keep


async def aplain(end: Any) -> None:
    await (end.asend("x", LIMIT) if end.side else end.arecv(LIMIT))


async def achoosing(end: Any) -> None:
    await aselect((end, "x") if end.side else end, after(LIMIT))


WAYS: dict[str, list[Callable[[Any], Any]]] = {
    "process": [plain, choosing, among_others],
    "thread": [plain, choosing, among_others],
    "task": [aplain, achoosing],
}


def named(error: Exception) -> str:
    return type(error).__name__


@process
def waits(how: Any, end: Any) -> str:
    try:
        how(end)
    except (ChannelPoison, ChannelRetire) as error:
        return named(error)
    return "communicated"


@process
async def awaits(how: Any, end: Any) -> str:
    try:
        await how(end)
    except (ChannelPoison, ChannelRetire) as error:
        return named(error)
    return "communicated"


@pytest.mark.parametrize("how", ["poison", "retire"])
@pytest.mark.parametrize("buffer", [0, 2])
@pytest.mark.parametrize("side", ["readers", "writers"])
def test_all_who_wait_at_a_channel_that_ends(side: str, buffer: int, how: str) -> None:
    # A guard that has retired drops out of a select, which goes on with the others.
    ways = [(kind, way) for kind in WAYS for way in WAYS[kind] if how == "poison" or way is not among_others]
    n = len(ways)
    channel = Channel[str](buffer=buffer)
    mine = channel.writer() if side == "readers" else channel.reader()
    if side == "writers" and buffer:
        with channel.writer().copy() as fill:
            for _ in range(buffer):
                fill.send("full", SOON)
            others = [fill.copy() for _ in ways]
    else:
        others = [channel.reader() if side == "readers" else channel.writer() for _ in ways]
    spawned = [
        Spawn((awaits if kind == "task" else waits.with_kind(kind))(way, others.pop()))  # type: ignore[arg-type]
        for kind, way in ways
    ]
    waiting(channel, n if side == "readers" else 0, n if side == "writers" else 0)
    getattr(mine, how)()
    with at_once("all of them", 2 * AT_ONCE):
        answers = [one.result(SOON) for one in spawned]
    assert answers == ["ChannelPoison" if how == "poison" else "ChannelRetire"] * n
    assert channel.info().passed == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["reads", "writes"])
def test_those_who_wait_beside_one_that_is_killed(side: str, kind: str) -> None:
    """On its side of the channel; those of the other side live, and are at nothing. Nobody joins it."""
    scene = Scene(side)
    beside = scene.theirs.copy()
    with victim(waits_in((READS if scene.reads else WRITES)[0], scene.theirs, None, None)) as spawned:
        body, way = (awaits, aplain) if kind == "task" else (waits.with_kind(kind), plain)  # type: ignore[arg-type]
        other = Spawn(body(way, beside))
        waiting(scene.channel, 2 * scene.reads, 2 * (not scene.reads))
        kill(spawned)
        with at_once("the answer"):
            assert other.result(SOON) == "ChannelPoison"


# ---- who ends within a `with` ------------------------------------------------------------------------------

WITHIN = {
    "returns": lambda: None,
    "raises": lambda: 1 / 0,
    "exits": lambda: os._exit(0),
    "is killed": die,
}


@process
def ends_within(out: Any, inp: Any, lock: Any, how: str) -> None:
    """In its hands: an end that has sent, one that has received nothing, and a lock."""
    signal.alarm(LIMIT)
    with out, inp, lock:
        out.send(1)
        WITHIN[how]()
        if how != "returns":
            time.sleep(LIMIT)


@pytest.mark.parametrize("how", WITHIN)
@pytest.mark.parametrize("buffer", [0, 2])
def test_one_that_ends_within_a_with_of_its_ends_and_of_a_lock(how: str, buffer: int) -> None:
    """What it had sent comes, unless poison was faster than a buffer; the lock is free."""
    there, back, lock = Channel[int](buffer=buffer), Channel[int](), interproc.Lock()
    inp, out = there.reader(), back.writer()
    spawned = Spawn(ends_within(there.writer(), back.reader(), lock, how))
    with contextlib.suppress(ChannelPoison) if buffer and how != "returns" else contextlib.nullcontext():
        assert inp.recv(SOON) == 1
    of = ChannelRetire if how == "returns" else ChannelPoison
    told(lambda: inp.recv(SOON), of)
    told(lambda: out.send(1, SOON), of)
    with at_once("the lock"):
        assert lock.acquire(timeout=SOON)
    if how == "returns":
        assert spawned.join(SOON) == [None]
    else:
        with pytest.raises(ExceptionGroup) as caught:
            spawned.join(SOON)
        assert isinstance(caught.value.exceptions[0], ProcessKilled) == (how == "is killed")


@process
def returns_with(lock: Any, held: Any) -> None:
    lock.acquire()
    held.send(None)


@pytest.mark.parametrize("waits_in", ["process", "thread"])
def test_one_that_returns_with_a_lock_while_others_wait_for_it(waits_in: Any) -> None:
    """They get it, one after the other."""
    lock, held = interproc.Lock(), Channel[None]()
    inp = held.reader()
    first = Spawn(returns_with(lock, held.writer()))
    waiters = Spawn([gets.with_kind(waits_in)(lock) for _ in range(3)])
    inp.recv(SOON)
    with at_once("all of them", 2 * AT_ONCE):
        assert waiters.join(SOON) == [True] * 3
    first.join(SOON)


@process
def gets(lock: Any) -> bool:
    if not lock.acquire(timeout=SOON):
        return False
    lock.release()
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_returns_while_it_is_enrolled(kind: str) -> None:
    """It has resigned from the barrier, at which others wait already."""

    @process
    async def areturns(place: Any, inp: Any) -> None:
        await inp.arecv()

    @process
    def returns(place: Any, inp: Any) -> None:
        inp.recv()

    barrier, channel = Barrier(), Channel[None]()
    mine, out = barrier.enrol(), channel.writer()
    body = areturns if kind == "task" else returns.with_kind(kind)  # type: ignore[arg-type]
    spawned = Spawn(body(barrier.enrol(), channel.reader()))
    other = Spawn(syncs.with_kind("thread")(barrier.enrol()))
    out.send(None, SOON)
    with at_once("meeting"):
        mine.sync(SOON)
    other.join(SOON)
    spawned.join(SOON)


@process
def syncs(place: Any) -> None:
    place.sync(SOON)
