"""Deaths in networks: whoever is killed, at whatever point, the others get the value, or poison."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import random
import signal
import threading
from typing import Any

import pytest
from dropin.support import SOON, next_tick, until

from interproc import _core
from interproc.csp import (
    Barrier,
    Channel,
    ChannelPoison,
    Sent,
    Spawn,
    Synced,
    after,
    process,
    select,
)

from . import victims
from .support import AT_ONCE, at_once, rounds
from .victims import (
    LIMIT,
    READS,
    WRITES,
    Scene,
    counter,
    die,
    idles,
    in_background,
    kill,
    kill_later,
    receives_until,
    told,
    victim,
    waiting,
)

method = victims.method  # a fixture

# ---- before, during and after the offer --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["use", "choose"])
@pytest.mark.parametrize("side", ["reads", "writes"])
def test_one_that_is_killed_before_its_offer(side: str, how: str, method: str) -> None:
    scene = Scene(side)
    with victim(idles(scene.theirs)) as spawned:
        threading.Timer(0.02, kill, [spawned]).start()
        told(getattr(scene, how))
    told(getattr(scene, how))


@pytest.mark.parametrize("does", READS + WRITES)
def test_one_that_is_killed_with_an_offer_out(does: Any, method: str) -> None:
    """The first answer may be as if it had come before the death; from then on it is poison."""
    scene = Scene("reads" if does in READS else "writes")
    with victim(scene.runs(does)) as spawned:
        waiting(scene.channel, scene.reads, not scene.reads)
        kill(spawned)
        with at_once("the first answer"), contextlib.suppress(ChannelPoison):
            assert scene.use() in (None, "of the dead")
        told(scene.use)
        told(scene.choose)
    assert scene.channel.info().passed <= 1
    told(lambda: scene.keeper.send("x", SOON))  # it was choosing that, too, or had it at hand
    with at_once("the barrier without it"):
        scene.place.sync(SOON)


@pytest.mark.parametrize("does", READS)
def test_nothing_is_sent_to_one_whose_death_is_known(does: Any) -> None:
    for _ in range(5):
        scene = Scene("reads")
        with victim(scene.runs(does)) as spawned:
            waiting(scene.channel, readers=1)
            kill(spawned)
            os.waitid(os.P_PID, spawned.pid, os.WEXITED | os.WNOWAIT)
            next_tick()
            told(scene.use)


@process
def dies_after(does: Any, end: Any, other: Any, place: Any) -> None:
    signal.alarm(LIMIT)
    does(end, other, place)
    die()


@pytest.mark.parametrize("does", READS + WRITES)
def test_one_that_is_killed_after_the_commit(does: Any, method: str) -> None:
    """What it took part in has taken place, for both sides; once."""
    scene = Scene("reads" if does in READS else "writes")
    with victim(dies_after(does, scene.theirs, scene.never.reader(), scene.barrier.enrol())):
        assert scene.use() == (None if scene.reads else "of the dead")
        told(scene.use)
    assert scene.channel.info().passed == 1


@pytest.mark.parametrize("side", ["reads", "writes"])
@pytest.mark.parametrize("buffer", [0, 3])
def test_all_who_wait_are_told(side: str, buffer: int) -> None:
    """In OS processes, threads and tasks, on the same side as the dead one, and on the other."""
    scene = Scene(side, buffer)
    if buffer and not scene.reads:
        fill = scene.theirs.copy()
    elif buffer:
        fill = scene.mine.copy()
    with victim(idles(scene.theirs)) as spawned:
        work = loses_reader if scene.reads else loses_writer
        if buffer and scene.reads:
            for _ in range(buffer):
                fill.send("full", SOON)
        others = [
            Spawn(work(scene.mine.copy())),
            Spawn(work.with_kind("thread")(scene.mine.copy())),
            Spawn(chooses.with_kind("thread")(scene.mine.copy())),
            Spawn((aloses_reader if scene.reads else aloses_writer)(scene.mine.copy())),
        ]
        waiting(scene.channel, 0 if scene.reads else 4, 4 if scene.reads else 0)
        kill(spawned)
        with at_once("all of them"):
            assert [other.result(SOON) for other in others] == ["poison"] * 4


@process
def loses_reader(out: Any) -> str:
    try:
        out.send("x", SOON)
    except ChannelPoison:
        return "poison"
    return "sent"


@process
def loses_writer(inp: Any) -> str:
    try:
        return str(inp.recv(SOON))
    except ChannelPoison:
        return "poison"


@process
async def aloses_reader(out: Any) -> str:
    try:
        await out.asend("x", SOON)
    except ChannelPoison:
        return "poison"
    return "sent"


@process
async def aloses_writer(inp: Any) -> str:
    try:
        return str(await inp.arecv(SOON))
    except ChannelPoison:
        return "poison"


@process
def chooses(end: Any) -> str:
    try:
        select((end, "x") if end.side else end, after(SOON))
    except ChannelPoison:
        return "poison"
    return "chosen"


# ---- at any instruction ------------------------------------------------------------------------------------


@process
def sends_numbers(out: Any, done: Any, choosing: bool, size: int) -> None:
    signal.alarm(LIMIT)
    never = Channel[int]()
    other, keep = never.reader(), never.writer()
    for n in itertools.count():
        value = (n, bytes(size))
        if choosing:
            select((out, value), other)
        else:
            out.send(value)
        done.value = n + 1
    keep.retire()


@process
def receives_numbers(inp: Any, done: Any, choosing: bool, size: int) -> None:
    signal.alarm(LIMIT)
    never = Channel[int]()
    other, keep = never.reader(), never.writer()
    for n in itertools.count():
        got = select(inp, other).value if choosing else inp.recv()
        assert got == (n, bytes(size))
        done.value = n + 1
    keep.retire()


@pytest.mark.parametrize("size", [10, 20_000])
@pytest.mark.parametrize("choosing", [False, True], ids=["send", "select"])
def test_each_value_of_a_writer_that_is_killed_comes_once(choosing: bool, size: int) -> None:
    """Its reader has what it has sent, in order, and at most one value more, which it was just sending."""
    dice = random.Random(size + choosing)
    for _ in rounds(1):
        channel, done = Channel[Any](), counter()
        inp = channel.reader()
        with victim(sends_numbers(channel.writer(), done, choosing, size)) as spawned:
            assert inp.recv(SOON)[0] == 0
            kill_later(spawned, dice)
            expected = 1
            with contextlib.suppress(ChannelPoison), at_once("killing a writer"):
                while True:
                    assert inp.recv(SOON) == (expected, bytes(size))
                    expected += 1
        assert done.value <= expected <= done.value + 1
        told(lambda inp=inp: inp.recv(SOON))


@pytest.mark.parametrize("size", [10, 20_000])
@pytest.mark.parametrize("choosing", [False, True], ids=["recv", "select"])
def test_each_value_for_a_reader_that_is_killed_goes_once(choosing: bool, size: int) -> None:
    """All that its writer was told is sent has come, but for one, with which the reader died in its hands."""
    dice = random.Random(size + choosing + 2)
    for _ in rounds(1):
        channel, done = Channel[Any](), counter()
        out = channel.writer()
        with victim(receives_numbers(channel.reader(), done, choosing, size)) as spawned:
            out.send((0, bytes(size)), SOON)
            kill_later(spawned, dice)
            sent = 1
            with contextlib.suppress(ChannelPoison), at_once("killing a reader"):
                while True:
                    out.send((sent, bytes(size)), SOON)
                    sent += 1
        assert done.value <= sent <= done.value + 1
        told(lambda out=out: out.send(0, SOON))


def one_of_three_is_killed(dice: random.Random, choosing: bool, looked_for: bool, most: int) -> bool:
    """Whether the writer was told, before it had sent so many; no two readers have got the same value."""
    channel, done = Channel[Any](), counter()
    out = channel.writer()
    others = [Spawn(receives_until(channel.reader())) for _ in range(2)]
    was_told = False
    with victim(receives_any(channel.reader(), done)) as spawned:
        out.send(0, SOON)
        if looked_for:
            in_background(spawned.join)
        kill_later(spawned, dice)
        sent = 1
        try:
            while sent < most or spawned.alive:
                if choosing:
                    assert isinstance(select((out, sent), after(SOON)), Sent)
                else:
                    out.send(sent, SOON)
                sent += 1
        except ChannelPoison:
            was_told = True
        out.poison()
    got = sorted(value for other in others for value in other.result(SOON))
    assert len(set(got)) == len(got)
    assert done.value <= sent - len(got) <= done.value + 1
    return was_told


@pytest.mark.parametrize("choosing", [False, True], ids=["send", "select"])
def test_those_left_take_each_value_once(choosing: bool) -> None:
    """A reader of several is killed, while its starter waits for it, as in a Parallel."""
    dice = random.Random(5 + choosing)
    for _ in rounds(1):
        assert one_of_three_is_killed(dice, choosing, True, 10**6)


def test_those_left_are_told_while_nobody_looks() -> None:
    assert one_of_three_is_killed(random.Random(8), False, False, 10**6)


@process
def receives_any(inp: Any, done: Any) -> None:
    signal.alarm(LIMIT)
    while True:
        inp.recv()
        done.value += 1


# ---- at fault points of the core, in a build that has them -------------------------------------------------


def hook() -> Any:
    """The core's pointer to what fault points call; None in a build without."""
    with contextlib.suppress(ValueError):
        return ctypes.c_void_p.in_dll(ctypes.CDLL(_core.__file__), "ip_fault_hook")
    return None


kept: list[object] = []  # what C calls


@process
def dies_at(point: int, does: Any, end: Any, other: Any, place: Any, points: Any) -> None:
    """Does it twice; dies at that fault point of the second time, or, if there are less, after it."""
    signal.alarm(LIMIT)
    does(end, other, place)

    def count(name: bytes) -> None:
        points.value += 1
        if points.value > point:
            die()

    kept.append(ctypes.CFUNCTYPE(None, ctypes.c_char_p)(count))
    hook().value = ctypes.cast(kept[-1], ctypes.c_void_p).value  # type: ignore[arg-type]
    does(end, other, place)
    hook().value = None
    points.value = -1
    die()


def does_sync(end: Any, other: Any, place: Any) -> None:
    place.sync()


def does_large_send(end: Any, other: Any, place: Any) -> None:
    end.send("of the dead" * 10_000)


@pytest.mark.skipif(hook() is None, reason="needs fault points: make test FAULT_POINTS=1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", [False, True], ids=["second to come", "first to come"])
@pytest.mark.parametrize("does", [*READS, *WRITES, does_large_send])
def test_killed_at_each_fault_point(does: Any, first: bool) -> None:
    """tests/core does it with all that two can do to each other; this through Python."""
    answers = set()
    for point in itertools.count():
        scene = Scene("reads" if does in READS else "writes")
        points = counter()
        with victim(
            dies_at(point, does, scene.theirs, scene.never.reader(), scene.barrier.enrol(), points)
        ) as spawned:
            scene.use()
            if first:
                until(lambda scene=scene, spawned=spawned: sees_waiting(scene) or ended(spawned.pid))
            with at_once("the answer"):
                answer = "value"
                try:
                    scene.use()
                except ChannelPoison:
                    answer = "poison"
            answers.add(answer)
            told(scene.use)
        assert scene.channel.info().passed <= (2 if answer == "value" else 1)
        _core.Arena.default().check()
        if points.value == -1:
            break
    assert point > 5
    assert answers == {"value", "poison"}


def sees_waiting(scene: Scene) -> bool:
    info = scene.channel.info()
    return bool(info.readers_waiting or info.writers_waiting)


def ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


# ---- barriers ----------------------------------------------------------------------------------------------


@process
def syncs(place: Any) -> None:
    signal.alarm(LIMIT)
    while True:
        place.sync()


@process
def selects_sync(place: Any) -> None:
    signal.alarm(LIMIT)
    never = Channel[int]()
    other, keep = never.reader(), never.writer()
    while True:
        select(other, place)
    keep.retire()


@pytest.mark.parametrize("does", [idles, syncs, selects_sync])
def test_one_at_a_barrier(does: Any, method: str) -> None:
    """Before it syncs, and while it waits: those left meet without it."""
    barrier = Barrier()
    mine, yours = barrier.enrol(), barrier.enrol()
    with victim(does(barrier.enrol())) as spawned:
        if does is not idles:
            until(lambda: barrier.info().waiting == 1)
        second = Spawn(syncs_once.with_kind("thread")(yours))
        threading.Timer(0.02, kill, [spawned]).start()
        with at_once("meeting"):
            mine.sync(SOON)
        second.join(SOON)
        until(lambda: barrier.info().enrolled == 1 or mine.sync(SOON) is not None, limit=SOON)
    with at_once("meeting nobody"):
        assert isinstance(select(mine, after(SOON)), Synced)


@process
def syncs_once(place: Any) -> None:
    place.sync(SOON)


def test_at_a_barrier_at_any_instruction() -> None:
    """Three meet all the time; one is killed: the other two go on, in step."""
    dice = random.Random(9)
    for _ in rounds(1.5):
        barrier = Barrier()
        mine = barrier.enrol()
        channel = Channel[int]()
        inp = channel.reader()
        other = Spawn(syncs_and_counts.with_kind("thread")(barrier.enrol(), channel.writer()))
        with victim(syncs(barrier.enrol())) as spawned:
            timer = kill_later(spawned, dice)
            met = 0
            with at_once("meeting all the time", 2 * AT_ONCE):
                while timer.is_alive() or met % 10:
                    mine.sync(SOON)
                    met += 1
                    assert inp.recv(SOON) == met
        inp.poison()
        mine.resign()
        other.join(SOON)


@process
def syncs_and_counts(place: Any, out: Any) -> None:
    for n in itertools.count(1):
        place.sync(SOON)
        out.send(n, SOON)
