"""Tests of parties, choices in steps, barriers, and deadlocks, as the binding has them."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.support import NEVER, SOON, Crew, until

import interproc as mp
from interproc import _core
from interproc._core import Barrier, Channel, Enrolment, Party, choose
from interproc.errors import ChannelPoison, ChannelRetire, Deadlock, HandleError

from .csp_core_support import BIG, ended, fork_with, fresh, started, waits


@pytest.fixture(
    params=["spawn", "forkserver"]
)  # the arguments of a forked child are no pickles: see bequeath()
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    members = Crew(mp.get_context(request.param))
    yield members
    members.end()


@pytest.fixture
def forks() -> Iterator[Crew]:
    members = Crew(mp.get_context("fork"))
    yield members
    members.end()


# ---- parties


def test_parties_are_described() -> None:
    me = Party.current()
    assert Party.current() is me
    me.describe(b'{"name": "me"}')
    other = Party.create()
    other.describe(b"x" * 4096, parent=me.name)
    with pytest.raises(HandleError):
        other.describe(b"x" * 4097)
    other.set_note("ä" * 200)
    found = {one["name"]: one for one in _core.parties()}
    assert found[me.name]["card"] == '{"name": "me"}'
    assert found[me.name]["phase"] in ("idle", "done", "poked", "met")
    assert found[other.name]["parent"] == me.name
    assert found[other.name]["note"] == "ä" * 116
    assert found[other.name]["id"] == other.id
    other.use()
    assert Party.current() is other
    other.close()
    assert Party.current() not in (other, me)
    me.use()
    assert Party.current() is me


def test_the_note_of_a_long_wait_names_the_line() -> None:
    r, w = fresh()
    waiting = started(r.recv, SOON)

    def notes() -> list[str]:
        waiting = [one for one in _core.parties() if one["phase"] == "waiting"]
        return [one["note"] for one in waiting if (r.channel_id, 0) in one["guards"] and one["note"]]

    found = until(notes)
    assert "csp_core_support.py:" in found[0] and found[0].endswith(" in started.<locals>.run")
    w.send(1)
    waiting.result(SOON)


def test_a_thread_with_the_number_of_an_ended_one_has_its_own_party() -> None:
    def ident_and_name() -> tuple[int, int]:
        return threading.get_ident(), Party.current().name

    found: list[tuple[int, int]] = []
    for _ in range(5):
        thread = threading.Thread(target=lambda: found.append(ident_and_name()))
        thread.start()
        thread.join()
    assert len({name for _, name in found}) == 5
    living = [one["name"] for one in _core.parties()]
    assert not any(name in living for _, name in found)  # a party goes with its thread


def joins_beside_a_thread() -> None:
    """In a child, which has no threads but these."""

    def mode() -> set[str]:
        return next(set(one["mode"]) for one in _core.parties() if one["name"] == party.name)

    go = threading.Event()
    thread = threading.Thread(target=go.wait, args=(SOON,))
    party = Party.current()
    thread.start()
    assert party.joining(1)
    assert mode() == {"joining", "crowd"} and party.waiting
    with pytest.raises(HandleError, match="waits already"):
        party.joining(1)
    go.set()
    thread.join()
    party.tend()
    assert mode() == {"joining"}
    assert party.joined() is None
    assert not party.waiting and party.joined() is None
    assert not party.joining(2)
    assert party.joined() is None


def test_who_joins_is_told_whether_threads_may_act() -> None:
    assert ended(fork_with([], joins_beside_a_thread)) == 0


class Loop:
    """A bell, and a thread that waits for it."""

    def __init__(self) -> None:
        self.bell = Party.create()
        self.woken: list[int] = []
        _core.set_waker(self.woken.append)

    def rung(self, seen: int) -> int:
        now = until(lambda: self.bell.wait_bell(seen, NEVER))
        assert now > seen
        return now


@pytest.fixture
def loop() -> Iterator[Loop]:
    yield Loop()
    _core.set_waker(None)


def test_a_choice_in_steps(loop: Loop) -> None:
    task = Party.create(loop.bell)
    a, b = fresh(), fresh(1)
    assert task.offer([a[0], b[0]], wait=False) is None
    assert not task.waiting
    assert task.offer([a[0], b[0]]) is None
    assert task.waiting and task.settle() is False
    with pytest.raises(HandleError, match="cannot be closed"):
        task.close()
    with pytest.raises(HandleError, match="offers out"):
        task.offer([a[0]])
    a[1].send("hello", SOON)
    assert loop.woken == [task.index]
    assert task.settle() == (0, "hello")
    assert task.settle() is None and task.withdraw() is None

    assert task.offer([a[0], b[0]]) is None
    b[1].send(1)  # a poke: it looks again
    loop.rung(0)
    assert task.settle() is None
    assert task.offer([a[0], b[0]]) == (1, 1)

    assert task.offer([a[1], b[0]], ["out", None], 1) is None
    assert a[0].recv(SOON) == "out"
    assert task.withdraw() == (0, None)  # too late
    assert task.offer([a[1]], ["again"]) is None
    assert task.withdraw() is None
    with pytest.raises(TimeoutError):
        a[0].recv(0)
    assert task.offer([a[1]], [BIG]) is None
    a[0].retire()
    until(lambda: not task.waiting)
    assert task.settle() is None
    with pytest.raises(ChannelRetire) as info:
        task.offer([a[1]], [BIG])
    assert info.value.end is a[1]


@pytest.mark.parametrize("how", ["gives up", "takes another"])
def test_a_poke_that_is_not_followed_goes_on_to_the_next(how: str) -> None:
    """Of two who wait for a buffer the first is told of a value and does not take it: so is the second."""
    one, other = Channel(capacity=1), Channel(capacity=1)
    out, other_out, inp, again = one.end(1), other.end(1), one.end(0), one.end(0)
    other_inp = other.end(0)
    first, second = Party.create(), Party.create()
    assert first.offer([other_inp, inp]) is None and second.offer([again]) is None
    out.send(5)
    assert not first.waiting and second.waiting
    if how == "gives up":
        assert first.withdraw() is None
    else:
        other_out.send(6)
        assert first.settle() is None and first.offer([other_inp, inp]) == (0, 6)
    assert not second.waiting
    assert second.settle() is None and second.offer([again]) == (0, 5)


def test_a_task_of_another_process_is_told_by_its_bell(loop: Loop) -> None:
    task = Party.create(loop.bell)
    r, w = fresh()
    assert task.offer([r]) is None
    pid = fork_with([w], lambda: w.send("from the child"))
    loop.rung(0)
    assert task.settle() == (0, "from the child")
    assert loop.woken == []
    assert ended(pid) == 0


def test_tending_to_a_task(loop: Loop) -> None:
    task = Party.create(loop.bell)
    task.set_mode(True, False)
    r, w = fresh()
    pid = fork_with([w], lambda: os.kill(os.getpid(), signal.SIGKILL))
    w.disown()
    assert task.offer([r]) is None
    assert {"timed", "crowd"} & {
        mode for one in _core.parties() if one["name"] == task.name for mode in one["mode"]
    }
    assert ended(pid) == -signal.SIGKILL
    task.tend()  # finds it dead
    assert not task.waiting and task.settle() is None
    with pytest.raises(ChannelPoison):
        task.offer([r])
    b = fresh(1)
    assert task.offer([b[0]]) is None
    b[0].retire()
    task.tend()
    assert not task.waiting and task.settle() is None


def test_a_value_for_a_cancelled_task_can_be_put_back(loop: Loop) -> None:
    task = Party.create(loop.bell)
    r, w = fresh()
    assert task.offer([r]) is None
    w.send(5, SOON)
    late = task.withdraw()
    assert late is not None
    r._put_back(late[1])
    assert r.recv(0) == 5


# ---- barriers


def test_a_barrier_in_threads_and_in_choices() -> None:
    barrier = Barrier("start")
    crowd = [barrier.enrol() for _ in range(3)]
    others = [started(one.sync, SOON) for one in crowd[:2]]
    until(lambda: barrier.look()["waiting"] == 2)
    with pytest.raises(HandleError, match="waits there already"):
        crowd[0].sync(0)
    r, _w = fresh()
    assert choose([r, crowd[2]], timeout=SOON) == (1, None)
    for one in others:
        one.result(SOON)
    assert barrier.look() == {"enrolled": 3, "waiting": 0, "met": 1}
    with pytest.raises(TimeoutError, match="not all who are enrolled at start"):
        crowd[0].sync(NEVER)
    waiting = [started(one.sync, SOON) for one in crowd[:2]]
    until(lambda: barrier.look()["waiting"] == 2)
    crowd[2].resign()
    for one in waiting:
        one.result(SOON)
    crowd[2].resign()
    with pytest.raises(HandleError, match="has resigned"):
        crowd[2].sync()
    del crowd[1]
    gc.collect()
    crowd[0].sync(SOON)
    assert barrier.look()["enrolled"] == 1


def meet(enrolment: Enrolment, times: int) -> None:
    for _ in range(times):
        enrolment.sync(SOON)
    enrolment.resign()


def test_enrolments_move_to_spawned_children(crew: Crew) -> None:
    barrier = Barrier("b")
    mine, *others = [barrier.enrol() for _ in range(3)]
    children = [crew.start(meet, one, 3) for one in others]
    for _ in range(3):
        mine.sync(SOON)
    crew.join(*children)
    mine.sync(SOON)
    assert barrier.look()["enrolled"] == 1
    with pytest.raises(HandleError, match="another process"):
        others[0].sync()


def test_bequeathed_enrolments_and_their_end_by_death() -> None:
    barrier = Barrier("b")
    mine, yours, doomed = (barrier.enrol() for _ in range(3))
    first = fork_with([yours], lambda: meet(yours, 1))
    second = fork_with([doomed], lambda: (doomed.sync(SOON), os.kill(os.getpid(), signal.SIGKILL)))
    with pytest.raises(HandleError, match="another process"):
        yours.sync()
    mine.sync(SOON)
    assert (ended(first), ended(second)) == (0, -signal.SIGKILL)
    mine.sync(SOON)
    assert barrier.look() == {"enrolled": 1, "waiting": 0, "met": 2}


def test_an_enrolment_in_a_message_moves() -> None:
    barrier = Barrier("b")
    queue = mp.Queue[Any]()
    one = barrier.enrol()
    queue.put(one)
    with pytest.raises(HandleError, match="another process"):
        one.sync()
    del one
    gc.collect()
    assert barrier.look()["enrolled"] == 1
    got = queue.get(timeout=SOON)
    got.sync(SOON)
    got.close()
    assert barrier.look()["enrolled"] == 0


# ---- deadlocks: in children, whose only thread is the one that waits


def test_a_wait_that_nobody_can_end_is_a_deadlock(forks: Crew) -> None:
    a, b = Channel[int]("a"), Channel[int]("b")
    told = mp.SimpleQueue()

    def wait(mine: Channel[int], its: Channel[int]) -> None:
        r, w = mine.end(0), its.end(1)
        try:
            r.recv()
            w.send(1)
        except Deadlock as error:
            told.put((str(error), error.end is r))  # type: ignore[attr-defined]
            w.retire()

    children = [forks.start(wait, a, b), forks.start(wait, b, a)]
    until(lambda: len(_core.stuck()) == 2 or not told.empty())
    found = _core.stuck()
    if found:
        assert {one["guards"][0] for one in found} == {(a.id, 0), (b.id, 0)}
        _core.declare_stuck(found, "a circle of two")
    for _ in children:
        text, right = told.get()
        assert text and right
    forks.join()
    assert _core.stuck() == []
    assert not _core.declare_stuck(found, "no more") and not _core.declare_stuck([], "nobody")


def test_what_may_end_is_no_deadlock() -> None:
    r, w = fresh()
    waiting = started(r.recv, SOON)
    waits(r, 0)
    assert _core.stuck() == []  # this thread could send
    w.send(1)
    waiting.result(SOON)
