"""interproc.csp.barrier: who is enrolled meets, in a sync or a select; who resigns or dies is not awaited."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from dropin.support import NEVER, SOON, Crew, until

import interproc
from interproc.csp import Barrier, Channel, Enrolment, Received, Synced, Writer, after, select

from .csp_support import got, started


@pytest.fixture
def crew() -> Any:
    crew = Crew(interproc.get_context("spawn"))
    yield crew
    crew.end()


def they_wait(barrier: Barrier, n: int) -> None:
    until(lambda: barrier.info().waiting >= n)


def test_all_meet() -> None:
    barrier = Barrier("step")
    here, *others = barrier.enrolments(3)
    meeting = [started(other.sync) for other in others]
    they_wait(barrier, 2)
    assert not any(future.done() for future in meeting)
    here.sync(SOON)
    for future in meeting:
        got(future)
    info = barrier.info()
    assert (info.name, info.enrolled, info.waiting, info.met) == ("step", 3, 0, 1)


def test_alone() -> None:
    barrier = Barrier()
    with barrier.enrol() as here:
        for _ in range(3):
            here.sync(SOON)
    assert barrier.info().met == 3
    assert barrier.info().enrolled == 0


def test_rounds_are_in_step() -> None:
    rounds, n = 50, 4
    barrier = Barrier()
    counts = [0] * n

    def run(here: Enrolment, k: int) -> list[tuple[int, int]]:
        spans = []
        with here:
            for _ in range(rounds):
                counts[k] += 1
                here.sync(SOON)
                spans.append((min(counts), max(counts)))
                here.sync(SOON)
        return spans

    places = barrier.enrolments(n)
    running = [started(run, here, k) for k, here in enumerate(places)]
    for future in running:
        assert got(future) == [(i, i) for i in range(1, rounds + 1)]


def test_timeout() -> None:
    barrier = Barrier()
    here, there = barrier.enrolments(2)
    for timeout in (0, NEVER):
        with pytest.raises(TimeoutError):
            here.sync(timeout)
    assert barrier.info().waiting == 0
    meeting = started(there.sync)
    here.sync(SOON)
    got(meeting)


def test_who_resigns_is_not_waited_for() -> None:
    barrier = Barrier()
    here, there = barrier.enrolments(2)
    meeting = started(here.sync)
    they_wait(barrier, 1)
    there.resign()
    there.resign()
    got(meeting)
    with pytest.raises(ValueError):
        there.sync(SOON)


def test_an_enrolment_that_nobody_has_any_more_has_ended() -> None:
    barrier = Barrier()
    here, there = barrier.enrolments(2)
    meeting = started(here.sync)
    they_wait(barrier, 1)
    del there
    gc.collect()
    got(meeting)


def test_in_a_select_at_both_sides() -> None:
    barrier = Barrier()
    here, there = barrier.enrolments(2)
    channel = Channel[int]()
    inp, out = channel.reader(), channel.writer()
    choosing = started(select, there, (out, 1), after(SOON))
    they_wait(barrier, 1)
    assert select(here, inp, priority=True) == Synced(here, 0)
    assert got(choosing) == Synced(there, 0)
    assert channel.info().passed == 0


def test_a_barrier_or_a_channel_not_both() -> None:
    """One of three at the barrier may communicate instead: then the barrier waits."""
    barrier = Barrier()
    a, b, c = barrier.enrolments(3)
    channel = Channel[int]()
    inp, out = channel.reader(), channel.writer()
    choosing = started(select, a, inp)
    they_wait(barrier, 1)
    meeting = started(b.sync)
    they_wait(barrier, 2)
    out.send(5, SOON)
    assert got(choosing) == Received(inp, 5, 1)
    with pytest.raises(TimeoutError):
        c.sync(NEVER)
    assert not meeting.done()
    meeting_a = started(a.sync)
    c.sync(SOON)
    got(meeting)
    got(meeting_a)


def steps(here: Enrolment, out: Writer[int], n: int) -> None:
    with here, out:
        for i in range(n):
            here.sync()
            out.send(i)


def test_between_processes(crew: Crew) -> None:
    barrier = Barrier("here and there")
    here, there = barrier.enrolments(2)
    channel = Channel[int](buffer=10)
    inp, out = channel.reader(), channel.writer()
    child = crew.start(steps, there, out, 3)
    out.retire()
    for i in range(3):
        here.sync(SOON)
        assert inp.recv(SOON) == i
    crew.join(child)
    until(lambda: barrier.info().enrolled == 1)
    here.sync(SOON)


def test_whoever_is_killed_is_not_waited_for(crew: Crew) -> None:
    barrier = Barrier()
    here, there = barrier.enrolments(2)
    channel = Channel[int]()
    inp, out = channel.reader(), channel.writer()
    child = crew.start(steps, there, out, 2)
    out.retire()
    here.sync(SOON)
    meeting = started(here.sync)
    they_wait(barrier, 1)  # the child waits to send
    crew.kill(child)
    got(meeting)
    del inp


def test_names_and_repr() -> None:
    barrier = Barrier("b")
    here = barrier.enrol()
    assert barrier.name == here.name == "b"
    assert "'b'" in repr(barrier) and repr(here) == "<Enrolment in 'b'>"
    here.resign()
    assert repr(here) == "<Enrolment in 'b' resigned>"
    assert Barrier().name.startswith("barrier#")
