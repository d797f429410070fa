"""Enrolments on their way to another process: whatever becomes of the message and its processes, the others
at the barrier do not wait for one that is nowhere."""

from __future__ import annotations

import gc
import os
import pickle
import queue
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.support import NEVER, SOON, Crew, until
from unit.csp_support import got, started

import interproc as mp
from interproc import HandleError, csp
from interproc.csp import Barrier, Channel, ChannelPoison, Enrolment
from interproc.errors import ShutDown

from .support import at_once

WAYS = ["rendezvous", "buffer", "queue", "pipe"]


class Way:
    """How messages go: a send and a receive, which travel."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        if kind == "queue":
            self.ends: list[Any] = [mp.Queue()] * 2
        elif kind == "pipe":
            self.ends = list(mp.Pipe(duplex=False))
        else:
            channel = Channel[Any](buffer=4 if kind == "buffer" else 0)
            self.ends = [channel.reader(), channel.writer()]

    def send(self, item: Any) -> None:
        end = self.ends[1]
        end.put(item) if self.kind == "queue" else end.send(item)

    def receive(self) -> Any:
        end = self.ends[0]
        return end.get(timeout=SOON) if self.kind == "queue" else end.recv()


class KillsTaker:
    """Where it comes out of a pickle, the process is killed; KillsSender: where it is pickled."""

    def __reduce__(self) -> Any:
        return kill_myself, ()


class KillsSender:
    def __reduce__(self) -> Any:
        kill_myself()
        return str, ()


def kill_myself(*others: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sends(way: Way, item: Any) -> None:
    way.send(item)
    kill_myself()


def sends_with(way: Way, place: Enrolment) -> None:
    way.send((place, KillsSender()))


def receives(way: Way) -> None:
    way.receive()


@pytest.fixture(params=["spawn", "forkserver"])
def any_crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    crew = Crew(mp.get_context(request.param))
    yield crew
    crew.end()


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew(mp.get_context("spawn"))
    yield crew
    crew.end()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


class Meeting:
    """One waits at the barrier, for the other enrolment."""

    def __init__(self) -> None:
        self.barrier = Barrier()
        self.mine, self.other = self.barrier.enrolments(2)
        self.waiting = started(self.mine.sync, 2 * SOON)
        until(lambda: self.barrier.info().waiting == 1)

    def goes_on(self, without: bool = True) -> None:
        with at_once("the meeting"):
            got(self.waiting)
        assert self.barrier.info().enrolled == (1 if without else 2)

    def still_waits(self) -> None:
        assert self.barrier.info().enrolled == 2
        assert not self.waiting.done()


def killed(crew: Crew) -> None:
    crew.join(exitcode=-signal.SIGKILL)


# ---- deaths


def test_the_sender_is_killed_while_it_pickles(crew: Crew, way: Way) -> None:
    meeting = Meeting()
    crew.start(sends_with, way, meeting.other)
    killed(crew)
    meeting.goes_on()


def test_the_sender_is_killed_while_it_offers(crew: Crew) -> None:
    way, meeting = Way("rendezvous"), Meeting()
    child = crew.start(sends, way, meeting.other)
    until(lambda: way.ends[0].info().writers_waiting == 1)
    meeting.still_waits()
    crew.kill(child)
    meeting.goes_on()


@pytest.mark.parametrize("kind", WAYS[1:])
def test_the_sender_is_killed_when_it_has_sent(crew: Crew, kind: str) -> None:
    """Queued it lives on: who receives it has it."""
    way, meeting = Way(kind), Meeting()
    crew.start(sends, way, meeting.other)
    if kind == "buffer":  # whose death poisons its channel
        killed(crew)
        until(lambda: way.ends[0].info().poisoned)
        with pytest.raises(ChannelPoison):
            way.receive()
        meeting.goes_on()
        return
    killed(crew)
    meeting.still_waits()
    other = way.receive()
    other.sync(SOON)
    meeting.goes_on(without=False)


@pytest.mark.parametrize("kind", WAYS[1:])
def test_sent_by_a_dead_and_never_received(crew: Crew, kind: str) -> None:
    way, meeting = Way(kind), Meeting()
    crew.start(sends, way, meeting.other)
    killed(crew)
    del way
    gc.collect()
    meeting.goes_on()


def test_the_taker_is_killed_before_it_has_unpickled(crew: Crew, way: Way) -> None:
    meeting = Meeting()
    crew.start(receives, way)
    way.send((KillsTaker(), meeting.other))
    assert meeting.other.moved
    killed(crew)
    meeting.goes_on()


def test_the_taker_is_killed_after_it_has_unpickled(crew: Crew, way: Way) -> None:
    meeting = Meeting()
    crew.start(receives, way)
    way.send((meeting.other, KillsTaker()))
    killed(crew)
    meeting.goes_on()


def test_a_process_that_is_killed_before_it_has_its_arguments(any_crew: Crew) -> None:
    meeting = Meeting()
    any_crew.start(kill_myself, KillsTaker(), meeting.other)
    assert meeting.other.moved
    killed(any_crew)
    meeting.goes_on()


# ---- messages that are dropped


@pytest.mark.parametrize("kind", WAYS[1:])
def test_a_message_that_is_freed_unread(kind: str) -> None:
    way, meeting = Way(kind), Meeting()
    way.send(meeting.other)
    meeting.still_waits()
    way.ends.clear()
    gc.collect()
    meeting.goes_on()


def test_a_queue_that_is_shut_down() -> None:
    way, meeting = Way("queue"), Meeting()
    way.send(meeting.other)
    way.ends[0].shutdown(immediate=True)
    meeting.goes_on()


def test_a_buffer_that_is_poisoned() -> None:
    way, meeting = Way("buffer"), Meeting()
    way.send(meeting.other)
    way.ends[1].poison()
    meeting.goes_on()


@pytest.mark.parametrize("policy", ["Sliding", "Overwriting", "Dropping"])
def test_a_buffer_that_throws_messages_away(policy: str) -> None:
    meeting = Meeting()
    channel = Channel[Any](buffer=getattr(csp, policy)(1))
    inp, out = channel.reader(), channel.writer()
    if policy == "Dropping":
        out.send(1)
        out.send(meeting.other)
    else:
        out.send(meeting.other)
        meeting.still_waits()
        out.send(1)
    assert meeting.other.moved
    meeting.goes_on()
    assert inp.recv(SOON) == 1


def test_what_cannot_be_unpickled(way: Way) -> None:
    meeting = Meeting()
    failing = started(way.receive)
    way.send((Fails(), meeting.other))
    with pytest.raises(mp.UnpicklingError):
        got(failing)
    meeting.goes_on()


class Fails:
    def __reduce__(self) -> Any:
        return divmod, (1, 0)


# ---- what was not sent


def test_a_send_that_raises_has_moved_nothing(way: Way) -> None:
    meeting = Meeting()
    other = meeting.other
    with pytest.raises(mp.PicklingError):
        way.send((other, lambda: 0))
    if way.kind == "rendezvous":
        with pytest.raises(TimeoutError):
            way.ends[1].send(other, NEVER)
        way.ends[0].poison()
        with pytest.raises(ChannelPoison):
            way.send(other)
    elif way.kind == "buffer":
        for i in range(4):
            way.send(i)
        with pytest.raises(TimeoutError):
            way.ends[1].send(other, NEVER)
    elif way.kind == "queue":
        full = mp.Queue(1)
        full.put(1)
        with pytest.raises(queue.Full):
            full.put([other], timeout=NEVER)
        way.ends[0].shutdown()
        with pytest.raises(ShutDown):
            way.send(other)
    else:
        way.ends[0].close()
        with pytest.raises(BrokenPipeError):
            way.send(other)
    assert not other.moved
    meeting.still_waits()
    other.sync(SOON)
    meeting.goes_on(without=False)


def test_while_it_is_offered_it_is_nobody_elses() -> None:
    way, meeting = Way("rendezvous"), Meeting()
    sending = started(way.send, meeting.other)
    until(lambda: way.ends[0].info().writers_waiting == 1)
    for use in (meeting.other.sync, lambda: mp.Queue().put(meeting.other)):
        with pytest.raises((HandleError, mp.PicklingError), match="just being sent"):
            use()
    meeting.still_waits()
    other = way.receive()
    got(sending)
    assert meeting.other.moved and not other.moved
    other.sync(SOON)
    meeting.goes_on(without=False)


def test_who_waits_at_the_barrier_cannot_be_sent_away() -> None:
    way, meeting = Way("queue"), Meeting()
    with pytest.raises(mp.PicklingError, match="waits at its barrier"):
        way.send(meeting.mine)
    meeting.other.sync(SOON)
    meeting.goes_on(without=False)


def test_it_moves_only_by_messages() -> None:
    here = Barrier().enrol()
    with pytest.raises(HandleError, match="message"):
        pickle.dumps(here)
    with mp.Manager() as manager, pytest.raises(HandleError, match="stored"):
        manager.dict()["here"] = here
    here.sync(SOON)
