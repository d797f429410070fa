"""What networks leave behind: nothing, however many there were and however they ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import random
import resource
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.support import NEVER, SOON, until

from interproc import _core
from interproc.csp import (
    Barrier,
    Channel,
    ChannelPoison,
    ChannelRetire,
    Dropping,
    Overwriting,
    Parallel,
    Sequence,
    Sliding,
    Spawn,
    after,
    process,
    select,
    skip,
)

from .victims import LIMIT, die

BUFFERS = [0, 1, 5, math.inf, Sliding(2), Dropping(2), Overwriting(2)]
CARDS = 8192  # bytes more that those need who are there still: to tell what they have, and to wait
LARGE = bytes(20_000)  # more than goes into a ring or a parcel: in a block of its own


def left() -> tuple[int, dict[str, int]]:
    """The bytes that are used of the arena, and how many objects of each kind are in it."""
    gc.collect()
    arena = _core.Arena.default()
    arena.reap()
    kinds: dict[str, int] = {}
    for entry in arena.objects():
        kinds[entry["kind"]] = kinds.get(entry["kind"], 0) + 1
    return arena.used, kinds


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """The arena is after the block as it was before, once the dead are buried."""
    used, kinds = left()
    yield
    seen: Any = None

    def back() -> bool:
        nonlocal seen
        seen = left()
        return seen[0] <= used + CARDS and all(n <= kinds.get(kind, 0) for kind, n in seen[1].items())

    try:
        until(back, limit=10)
    except AssertionError:
        raise AssertionError(f"{used} bytes, {kinds} before; {seen} after") from None


# ---- channels ----------------------------------------------------------------------------------------------


def makes(n: int) -> None:
    """Channels with ends, some of them used, with and without something in the buffer."""
    for i in range(n):
        channel = Channel[Any](f"channel {i}" if i % 2 else None, buffer=BUFFERS[i % 7])
        inp, out = channel.reader(), channel.writer()
        if i % 7:
            out.send(i if i % 5 else LARGE)
        if i % 3 == 0 and i % 7:
            assert inp.recv() is not None


@process
def makes_channels(n: int) -> int:
    makes(n // 10)
    with nothing_left():
        makes(n)
    return n


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_ten_thousand_channels_made_and_dropped(kind: Any) -> None:
    work = makes_channels.with_kind(kind)
    Parallel(work(100))
    with nothing_left():
        assert Parallel(work(10_000)) == [10_000]


def test_ten_thousand_channels_at_once() -> None:
    with nothing_left():
        kept: list[Any] = []
        for i in range(10_000):
            channel = Channel[int](buffer=i % 2)
            end = channel.writer() if i % 4 else channel.reader()
            kept += [channel, end]
            if i % 4 == 1:
                end.send(i)
        del channel, end
        random.Random(1).shuffle(kept)
        while kept:
            kept.pop()


def test_ten_thousand_ends_of_one_channel() -> None:
    channel = Channel[int](buffer=1)
    keep = channel.reader(), channel.writer()
    with nothing_left():
        kept = [channel.reader() if i % 2 else channel.writer().copy() for i in range(10_000)]
        del kept
    keep[1].send(1)
    assert keep[0].recv() == 1


@process
def keeps_channels(n: int, out: Any) -> None:
    signal.alarm(LIMIT)
    kept = [Channel[Any](buffer=2) for _ in range(n)]
    ends = [channel.writer() for channel in kept]
    for end, other in zip(ends, kept[1:], strict=False):
        end.send((other.reader(), LARGE))
    out.send(len(kept))
    die()


def test_what_one_had_that_was_killed() -> None:
    """Its channels, its ends, and what is in their buffers, which are ends and blocks."""
    channel = Channel[int]()
    inp = channel.reader()
    with nothing_left():
        spawned = Spawn(keeps_channels(300, channel.writer()))
        assert inp.recv(SOON) == 300
        with pytest.raises(ExceptionGroup):
            spawned.join(SOON)
        del spawned


@process
def sends_ends(out: Any, n: int) -> None:
    for i in range(n):
        own = Channel[Any](buffer=i % 3)
        out.send([own.reader(), own.writer(), own])


@process
def takes_ends(inp: Any) -> int:
    n = 0
    for reader, writer, channel in inp:
        if channel.buffer:
            writer.send(n)
            assert reader.recv() == n
        n += 1
    return n


@pytest.mark.parametrize("kinds", [("process", "process"), ("process", "thread"), ("thread", "thread")])
def test_thousands_of_ends_that_have_moved(kinds: Any) -> None:
    def moves(n: int) -> None:
        channel = Channel[Any]()
        sink, source = takes_ends.with_kind(kinds[0]), sends_ends.with_kind(kinds[1])
        assert Parallel(sink(channel.reader()), source(channel.writer(), n))[0] == n

    moves(10)
    with nothing_left():
        moves(3000)


@pytest.mark.parametrize("how", ["reader", "writer", "channel", "nobody"])
def test_poison_with_messages_in_the_buffer(how: str) -> None:
    """Large ones, and ends among them; or they are dropped with their channel."""

    def fill(n: int) -> None:
        channel, other = Channel[Any](buffer=8), Channel[int]()
        ends = {"channel": channel, "reader": channel.reader(), "writer": channel.writer()}
        for _ in range(n):
            ends["writer"].send((LARGE, other.reader(), other.writer()))
        if how != "nobody":
            ends[how].poison()
            with pytest.raises(ChannelPoison):
                ends["writer"].send(None)
            with pytest.raises(ChannelPoison):
                ends["reader"].recv()

    with nothing_left():
        for i in range(200):
            fill(i % 8 + 1)


# ---- descriptions and compositions -------------------------------------------------------------------------


class Tracked:
    """Something that a process is given."""

    def __call__(self) -> None:
        pass


@process
def takes(item: Any, end: Any = None) -> int:
    return 1


@process
async def atakes(item: Any, end: Any = None) -> int:
    await asyncio.sleep(0)
    return 1


@process
def fails(item: Any, end: Any = None) -> None:
    raise ValueError("as it is to")


@process
async def afails(item: Any, end: Any = None) -> None:
    raise ValueError("as it is to")


def gone(item: weakref.ref[Any]) -> None:
    def is_gone() -> bool:
        gc.collect()
        return item() is None

    until(is_gone, "nobody keeps it", limit=5)


@pytest.mark.parametrize("compose", [None, Parallel.of, Sequence.of], ids=["alone", "parallel", "sequence"])
def test_a_description_that_is_never_run(compose: Any) -> None:
    """Its ends retire, its enrolment resigns, when it is dropped; till then they count."""
    channel, barrier = Channel[int](), Barrier()
    out, mine = channel.writer(), barrier.enrol()
    with nothing_left():
        item = Tracked()
        reader = channel.reader()
        parts = [takes([item, barrier.enrol()], {"end": reader}), takes(item, reader)]
        description = compose(*parts) if compose else parts
        track = weakref.ref(item)
        del item, reader, parts
        with pytest.raises(TimeoutError):
            out.send(1, NEVER)
        with pytest.raises(TimeoutError):
            mine.sync(NEVER)
        assert track() is not None
        del description
        gone(track)
        with pytest.raises(ChannelRetire):
            out.send(1, SOON)
        mine.sync(SOON)


WORKS = {
    "process": takes,
    "thread": takes.with_kind("thread"),
    "task": atakes,
    "failing process": fails,
    "failing thread": fails.with_kind("thread"),
    "failing task": afails,
}


def spawns(work: Any, item: Any) -> None:
    spawned = Spawn(work(item, Channel[int]().writer()))
    with contextlib.suppress(ExceptionGroup):
        spawned.join(SOON)


def awaits(work: Any, item: Any) -> None:
    async def main() -> None:
        with contextlib.suppress(ExceptionGroup):
            await Spawn(work(item, Channel[int]().writer()))

    asyncio.run(main())


def runs(work: Any, item: Any) -> None:
    with contextlib.suppress(ExceptionGroup):
        Parallel(work(item, Channel[int]().writer()))


def warm(work: Any) -> None:
    """What stays for good, as the loop of tasks and the box of results, is there."""
    for how in (spawns, awaits, runs) * 2:
        how(work, None)


@pytest.mark.parametrize("how", [spawns, awaits, runs])
@pytest.mark.parametrize("kind", WORKS)
def test_a_composition_that_is_over_is_not_kept(kind: str, how: Any) -> None:
    """With what it was given: one that was spawned and joined, or awaited, and one that was run."""
    work = WORKS[kind]
    warm(work)
    with nothing_left():
        item = Tracked()
        track = weakref.ref(item)
        how(work, item)
        del item
        gone(track)


@pytest.mark.parametrize("kind", ["process", "thread", "task"])
def test_thousands_that_were_spawned_and_left_alone(kind: str) -> None:
    """Some few may be known still, until somebody looks; no more."""
    work = WORKS[kind]
    n = 300 if kind == "process" else 2000
    warm(work)
    tracks = []
    for _ in range(n):
        item = Tracked()
        tracks.append(weakref.ref(item))
        Spawn(work(item, Channel[int]().writer()))
    del item

    def forgotten() -> bool:
        Spawn(work(None)).join(SOON)
        gc.collect()
        return sum(track() is not None for track in tracks) < 130

    until(forgotten, "what was spawned is forgotten", limit=20)


# ---- parties -----------------------------------------------------------------------------------------------


def parties() -> int:
    return left()[1].get("party", 0)


@process
def ping(out: Any, inp: Any, n: int) -> None:
    for i in range(n):
        out.send(i)
        assert inp.recv() == i


@process
async def aping(out: Any, inp: Any, n: int) -> None:
    for i in range(n):
        await out.asend(i)
        assert await inp.arecv() == i


@process
def pong(inp: Any, out: Any) -> None:
    for value in inp:
        out.send(value)


@process
async def apong(inp: Any, out: Any) -> None:
    async for value in inp:
        await out.asend(value)


PAIRS = {
    "process": (ping, pong),
    "thread": (ping.with_kind("thread"), pong.with_kind("thread")),
    "task": (aping, apong),
}


def plays(kind: str, pairs: int, n: int) -> None:
    first, second = PAIRS[kind]
    parts = []
    for _ in range(pairs):
        there, back = Channel[int](), Channel[int]()
        parts += [first(there.writer(), back.reader(), n), second(there.reader(), back.writer())]
    Parallel(parts)


@pytest.mark.parametrize("kind", PAIRS)
def test_processes_that_have_ended_leave_no_parties(kind: str) -> None:
    plays(kind, 1, 10)
    before = parties()
    with nothing_left():
        plays(kind, 4 if kind == "process" else 50, 10)
        until(lambda: parties() <= before, "their parties go", limit=10)


def test_threads_of_the_program_that_have_ended_leave_no_parties() -> None:
    """They are no processes of a network; each communicates, one in three in a select."""
    channel = Channel[int](buffer=2)
    inp, out = channel.reader(), channel.writer()

    def work(i: int) -> None:
        if i % 3:
            out.send(i)
            inp.recv()
        else:
            select((out, i))
            select(inp, after(SOON))

    with nothing_left():
        for _ in range(10):
            threads = [threading.Thread(target=work, args=(i,)) for i in range(30)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SOON)
        del threads, thread


def test_tasks_of_a_loop_that_is_closed_leave_no_parties() -> None:
    async def several(n: int) -> None:
        channel = Channel[int]()
        inp, out = channel.reader(), channel.writer()
        await asyncio.gather(*[out.asend(i) for i in range(n)], *[inp.arecv() for _ in range(n)])

    asyncio.run(several(2))
    with nothing_left():
        for _ in range(5):
            asyncio.run(several(20))


# ---- selects -----------------------------------------------------------------------------------------------


def memory() -> int:
    """The most that this process has had of the machine's, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_thousands_of_selects() -> None:
    """With many guards: that came true, that did not, that were withdrawn; and none keeps anything."""
    channels = [Channel[Any](buffer=i % 2) for i in range(32)]
    inps, outs = [channel.reader() for channel in channels], [channel.writer() for channel in channels]
    barrier = Barrier()
    place, other = barrier.enrol(), barrier.enrol()

    def choose(n: int) -> None:
        for i in range(n):
            select(*inps, place, skip())
            select(*inps[::2], after(0))
            with contextlib.suppress(TimeoutError):
                select(*inps[::2], *[(out, LARGE) for out in outs[::16]], timeout=0.0001 if i % 20 else 0.01)
            select(*[(out, i) for out in outs])
            select(*inps)

    choose(200)
    with nothing_left():
        before = memory()
        choose(2000)
        assert memory() - before < 4 << 20
    other.resign()


def test_selects_in_which_both_sides_choose() -> None:
    """Between an OS process and a thread."""

    def play(n: int) -> None:
        a, b = Channel[Any](), Channel[Any]()
        other = chooser.with_kind("thread")
        Parallel(chooser(a.writer(), b.reader(), n), other(b.writer(), a.reader(), n))

    play(10)
    with nothing_left():
        play(2000)


@process
def chooser(out: Any, inp: Any, n: int) -> None:
    """Sends as many as it receives."""
    sent = received = 0
    while sent < n or received < n:
        guards = [(out, LARGE if sent % 50 == 0 else sent)] if sent < n else []
        chosen = select(*guards, inp)
        if chosen.index == len(guards):
            received += 1
        else:
            sent += 1


def test_what_a_process_has_open_is_closed() -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    plays("process", 1, 2)
    before = descriptors()
    for _ in range(5):
        plays("process", 2, 2)
        plays("task", 2, 2)
    until(lambda: descriptors() <= before, limit=10)
