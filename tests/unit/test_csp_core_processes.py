"""Tests of who holds which side of a channel: forks, spawned children, ends that travel, deaths."""

from __future__ import annotations

import gc
import os
import pickle
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.support import METHODS, NEVER, SOON, Crew

import interproc as mp
from interproc import _core
from interproc._core import Channel, End, Party
from interproc.errors import ChannelPoison, ChannelRetire, HandleError

from .csp_core_support import BIG, ended, fork_with, fresh, nothing_left, started, waits

__all__ = ["nothing_left"]  # a fixture


@pytest.fixture(params=METHODS)
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    members = Crew(mp.get_context(request.param))
    yield members
    members.end()


@pytest.fixture
def forks() -> Iterator[Crew]:
    members = Crew(mp.get_context("fork"))
    yield members
    members.end()


# ---- processes


def echo(r: End, w: End) -> None:
    for value in iter(r.recv, None):
        w.send(value)
    w.retire()
    r.retire()


def test_a_child_is_given_ends_as_arguments(crew: Crew) -> None:
    there, back = fresh(), fresh(2)
    child = crew.start(echo, there[0], back[1])
    for value in (1, BIG, {"a": 2}):
        there[1].send(value, SOON)
        assert back[0].recv(SOON) == value
    there[0].disown()
    back[1].disown()
    there[1].send(None, SOON)
    with pytest.raises(ChannelRetire):
        back[0].recv(SOON)
    crew.join(child)


@pytest.mark.parametrize("capacity", [0, 2])
def test_the_death_of_a_holder_poisons(capacity: int) -> None:
    there, back = fresh(), fresh(capacity)
    pid = fork_with([there[0], back[1]], lambda: (there[0].recv(SOON), os.kill(os.getpid(), signal.SIGKILL)))
    there[0].disown()
    back[1].disown()
    there[1].send("now", SOON)
    with pytest.raises(ChannelPoison, match="failed or died"):
        back[0].recv(SOON)
    with pytest.raises(ChannelPoison):
        there[1].send(1, SOON)
    assert ended(pid) == -signal.SIGKILL


def test_a_forked_child_inherits_no_sides_but_can_take_hold() -> None:
    r, w = fresh()
    ready = mp.Event()
    go = mp.Event()

    def child() -> None:
        assert not r.owned and not w.owned and r.ended is None
        ready.set()
        assert go.wait(SOON)
        with pytest.raises(ChannelRetire, match="writing side"):
            w.send(1)
        assert r.recv(SOON) == "to the child"
        assert r.owned

    pid = fork_with([], child)
    assert ready.wait(SOON)
    other = w.copy()
    w.retire()
    other.disown()  # nobody holds it now, though the child has a copy of its memory
    with pytest.raises(ChannelRetire):
        r.recv(SOON)
    with pytest.raises(ChannelRetire):
        other.send(1)
    go.set()
    assert ended(pid) == 1  # its recv() raised: all writers have retired


def test_what_was_bequeathed_is_the_childs_from_the_start() -> None:
    r, w = fresh()
    others = fresh()

    def child() -> None:
        assert w.owned and not r.owned and not others[0].owned
        w.send(os.getpid())
        w.retire()

    pid = fork_with([w], child)
    w.disown()
    assert r.recv(SOON) == pid
    with pytest.raises(ChannelRetire):
        r.recv(SOON)
    assert ended(pid) == 0
    again = fork_with([], lambda: None)  # once only
    assert ended(again) == 0
    with pytest.raises(ChannelRetire):
        _core.bequeath([w.copy()])
    with pytest.raises(TypeError):
        _core.bequeath([1])  # type: ignore[list-item]


def test_the_party_of_a_child_is_its_own(forks: Crew) -> None:
    mine = Party.current()
    names = mp.SimpleQueue()

    def child() -> None:
        assert Party.current() is not mine
        with pytest.raises(HandleError, match="has forked"):
            mine.use()
        names.put((Party.current().name, os.getpid()))

    forks.join(forks.start(child))
    name, pid = names.get()
    assert name != mine.name and Party.current() is mine
    assert {one["name"]: one["pid"] for one in _core.parties()}[mine.name] == os.getpid() != pid


# ---- ends that travel


@pytest.mark.parametrize("carrier", ["rendezvous", "buffer", "queue", "dict"])
def test_an_end_in_a_message_keeps_its_side(carrier: str, nothing_left: None) -> None:
    """While it is on its way nobody else holds it."""
    r, w = fresh()
    if carrier in ("rendezvous", "buffer"):
        cr, cw = fresh(4 if carrier == "buffer" else 0)
        sent = started(cw.send, ("take", r), SOON)
        waits(cw, 1) if carrier == "rendezvous" else sent.result(SOON)
        if carrier == "buffer":
            r.disown()
        with pytest.raises(TimeoutError):
            w.send(1, NEVER)
        got = cr.recv(SOON)[1]
        sent.result(SOON)
    elif carrier == "queue":
        queue = mp.Queue[Any]()
        queue.put([r])
        r.disown()
        gc.collect()
        with pytest.raises(TimeoutError):
            w.send(1, NEVER)
        got = queue.get(timeout=SOON)[0]
        queue.close()
    else:
        table: _core.Table[str, End] = _core.Table()
        table["end"] = r
        r.disown()
        got = table.pop("end")
        table.close()
    r.disown()
    assert got.owned and type(got) is End and got.label == "c"
    sent = started(w.send, 2, SOON)
    assert got.recv(SOON) == 2
    sent.result(SOON)
    got.retire()
    with pytest.raises(ChannelRetire):
        w.send(3, SOON)


def test_an_end_that_is_lost_on_its_way_retires() -> None:
    r, w = fresh()
    cr, cw = fresh(1)
    cw.send(r)
    r.disown()
    waiting = started(w.send, 1)
    waits(w, 1)
    cr.retire()
    cw.retire()
    del cr, cw  # the buffer goes, with the message
    gc.collect()
    with pytest.raises(ChannelRetire):
        waiting.result(SOON)


def test_pickling_ends() -> None:
    r, w = fresh()
    copy = pickle.loads(pickle.dumps(r))
    assert copy._identity() == r._identity() and copy.channel_id == w.channel_id
    r.retire()
    with pytest.raises(ChannelRetire):
        pickle.dumps(r)
    copy.disown()
    with pytest.raises(ChannelRetire):  # taken hold of first, which is too late
        pickle.dumps(copy)
    with pytest.raises(TypeError):
        pickle.dumps(Party.current())
    with pytest.raises(HandleError, match="at most 50"):
        v, u = fresh()
        u.send([v.copy() for _ in range(26)], 0)


class Reader(End):
    arrivals = 0

    def _arrived(self) -> None:
        Reader.arrivals += 1


def test_classes_of_ones_own() -> None:
    channel: Channel[Any] = Channel("c")
    r = channel.end(0, Reader)
    assert type(r) is Reader and type(r.copy()) is Reader and Reader.arrivals == 0
    assert type(pickle.loads(pickle.dumps(r))) is Reader
    assert Reader.arrivals == 1
