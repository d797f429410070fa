"""Tests of communications between threads, as the binding has them: values, buffers, choices, signals."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dropin.support import NEVER, SOON, until

import interproc as mp
from interproc import _core
from interproc._core import Channel, End, Party, choose
from interproc.csp import tasks
from interproc.errors import ChannelPoison, ChannelRetire

from .csp_core_support import BIG, both, fresh, nothing_left, started, waits

__all__ = ["nothing_left"]  # a fixture


# ---- rendezvous


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "ä" * 300,
        (1, "x", 2.5),
        {"a": [1, {"b": 2}]},
        BIG,
        bytearray(BIG),
        ["s" * 9000, BIG, "t" * 9000],
        list(range(3000)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("capacity", [0, 2])
@pytest.mark.parametrize("reader_first", [True, False])
def test_values_arrive_whole(value: object, capacity: int, reader_first: bool, nothing_left: None) -> None:
    r, w = fresh(capacity)
    if reader_first:
        received = started(r.recv, SOON)
        waits(r, 0)
        w.send(value, SOON)
        assert received.result(SOON) == value
        return
    sent = started(w.send, value, SOON)
    if capacity == 0:
        waits(w, 1)
        assert not sent.done()
    assert r.recv(SOON) == value
    sent.result(SOON)


def test_more_pieces_than_a_parcel_describes() -> None:
    r, w = fresh()
    value = [bytes([i]) * 20_000 for i in range(40)]
    for first in (started(w.send, value), None):
        if first is None:
            first = started(r.recv)
            waits(r, 0)
            w.send(value)
            assert first.result(SOON) == value
        else:
            assert r.recv(SOON) == value


def test_time_limits() -> None:
    r, w = fresh()
    with pytest.raises(TimeoutError, match="nobody sent to channel 'c'") as info:
        r.recv(NEVER)
    assert info.value.end is r  # type: ignore[attr-defined]
    with pytest.raises(TimeoutError, match="nobody received from channel 'c'"):
        w.send(1, 0)
    with pytest.raises(TimeoutError, match="none of 2"):
        choose([r, w], [None, 1], timeout=NEVER)
    assert r.look()["passed"] == 0
    received = started(r.recv)  # the offers that were taken back do not count
    waits(r, 0)
    w.send(2, SOON)
    assert received.result(SOON) == 2


def test_a_refused_object_is_not_offered() -> None:
    r, w = fresh()
    with pytest.raises(mp.PicklingError):
        w.send(lambda: None)
    with pytest.raises(TimeoutError):
        r.recv(0)
    with pytest.raises(TypeError, match="cannot receive"):
        w.recv()
    with pytest.raises(TypeError, match="cannot send"):
        r.send(1)


# ---- buffers


@pytest.mark.parametrize(("policy", "left"), [(1, [3, 4, 5]), (2, [0, 1, 2]), (3, [0, 1, 5])])
def test_what_a_full_buffer_does(policy: int, left: list[int], nothing_left: None) -> None:
    r, w = fresh(3, policy)
    inner = Channel[int]("inner")
    for i in range(6):
        w.send((i, BIG, inner.end(0)) if i % 2 else (i, "small"), SOON)
    assert [r.recv(SOON)[0] for _ in range(3)] == left
    assert r.look()["lost"] == 3
    inner.end(1)
    for i in range(6):
        w.send(i)  # and what lies in it is freed with it


def test_a_full_buffer_has_a_time_limit() -> None:
    r, w = fresh(1)
    w.send(1)
    with pytest.raises(TimeoutError, match="the buffer of channel 'c' was full"):
        w.send(2, NEVER)
    assert r.recv(SOON) == 1
    with pytest.raises(TimeoutError):
        r.recv(0)


def test_an_unbounded_buffer() -> None:
    r, w = fresh(-1)
    for i in range(5000):
        w.send(i)
    assert r.look()["buffered"] == 5000
    assert r.look()["capacity"] == -1
    w.retire()
    assert [r.recv() for _ in range(5000)] == list(range(5000))
    with pytest.raises(ChannelRetire):
        r.recv()


def test_each_waiter_gets_its_share_of_a_buffer() -> None:
    """A poke that one waiter did not need goes on to the next."""
    r, w = fresh(4)
    readers = [started(r.recv, SOON) for _ in range(4)]
    waits(r, 0, 4)
    for i in range(4):
        w.send(i)
    assert sorted(one.result(SOON) for one in readers) == [0, 1, 2, 3]
    for i in range(4):
        w.send(i)
    writers = [started(w.send, 10 + i, SOON) for i in range(4)]
    waits(w, 1, 4)
    assert sorted(r.recv(SOON) for _ in range(8)) == [0, 1, 2, 3, 10, 11, 12, 13]
    for one in writers:
        one.result(SOON)


# ---- the end of channels


@pytest.mark.parametrize("capacity", [0, 2])
def test_poison_ends_every_wait_and_names_the_end(capacity: int) -> None:
    channel = Channel[int]("jobs", capacity)
    r, w = both(channel)
    waiting = started(r.recv)
    waits(r, 0)
    w.poison()
    with pytest.raises(ChannelPoison, match="'jobs' was poisoned") as info:
        waiting.result(SOON)
    assert info.value.end is r
    with pytest.raises(ChannelPoison):
        r.recv()
    with pytest.raises(ChannelPoison, match="by this very end"):
        w.send(1)
    w.poison()
    assert w.ended == "poisoned" and r.ended is None
    assert channel.look()["poisoned"]
    with pytest.raises(ChannelPoison):
        channel.end(1)


@pytest.mark.parametrize("capacity", [0, 2])
def test_a_side_retires_with_its_last_end(capacity: int) -> None:
    r, w = fresh(capacity)
    other = w.copy()
    w.retire()
    w.retire()
    waiting = started(r.recv)
    waits(r, 0)
    other.send(5)
    assert waiting.result(SOON) == 5
    waiting = started(r.recv)
    waits(r, 0)
    del other
    with pytest.raises(ChannelRetire, match="all writers of channel 'c'") as info:
        waiting.result(SOON)
    assert info.value.end is r
    with pytest.raises(ChannelRetire, match="used again"):
        w.send(1)
    assert w.ended == "retired" and r.look()["retired"] == (False, True)


def test_what_was_buffered_is_received_after_the_writers_have_retired() -> None:
    r, w = fresh(3)
    w.send(1)
    w.send(2)
    w.retire()
    assert [r.recv(), r.recv()] == [1, 2]
    with pytest.raises(ChannelRetire):
        r.recv()
    r, w = fresh(3)
    r.retire()
    with pytest.raises(ChannelRetire, match="nobody will receive"):
        w.send(1)


def test_a_side_that_nobody_had_yet_is_waited_for() -> None:
    channel = Channel[int]("late")
    w = channel.end(1)
    sent = started(w.send, 3)
    waits(w, 1)
    assert channel.end(0).recv(SOON) == 3
    sent.result(SOON)
    with pytest.raises(ChannelRetire):  # that end is gone, and the side with it
        channel.end(0)


def test_retiring_ends_the_wait_of_another_thread_with_the_same_end() -> None:
    r, w = fresh()
    waiting = started(r.recv)
    waits(r, 0)
    r.retire()
    with pytest.raises(ChannelRetire, match="was retired here"):
        waiting.result(SOON)
    with pytest.raises(ChannelRetire):
        w.send(1)


def test_an_end_that_was_let_go_is_taken_hold_of_again() -> None:
    channel = Channel[int]("c")
    r, w = both(channel)
    also = r.copy()
    r.disown()
    assert not r.owned and r.ended is None and also.owned
    received = started(r.recv, SOON)
    waits(r, 0)
    assert r.owned
    w.send(1, SOON)
    assert received.result(SOON) == 1
    r.disown()
    also.retire()
    with pytest.raises(ChannelRetire, match="reading side"):
        r.recv()


# ---- choice


def test_choosing_among_reading_writing_and_buffers() -> None:
    a, b, c = fresh(), fresh(), fresh(2)
    sent = started(b[1].send, "b")
    waits(b[1], 1)
    assert choose([a[0], b[0], c[0]], timeout=SOON) == (1, "b")
    sent.result(SOON)
    c[1].send("c")
    assert choose([a[0], b[0], c[0]], timeout=SOON) == (2, "c")
    received = started(a[0].recv)
    waits(a[0], 0)
    assert choose([b[0], a[1]], [None, BIG], timeout=SOON) == (1, None)
    assert received.result(SOON) == BIG
    chosen = started(choose, [a[0], c[0]])
    waits(c[0], 0)
    c[1].send(3)
    assert chosen.result(SOON) == (1, 3)
    chosen = started(choose, [a[0], c[0], b[1]], [None, None, "out"])
    waits(b[1], 1)
    assert b[0].recv(SOON) == "out"
    assert chosen.result(SOON) == (2, None)
    for end in (a[0], c[0]):  # nothing of the other offers is left
        with pytest.raises(TimeoutError):
            (a if end is a[0] else c)[1].send(0, 0) if end is a[0] else end.recv(0)


def test_the_search_begins_where_it_is_told() -> None:
    ends = [fresh(1 if i % 2 else 0) for i in range(4)]
    sent = [started(w.send, i, SOON) for i, (_, w) in enumerate(ends)]
    until(lambda: all(w.look()["waiting"][1] or w.look()["buffered"] for _, w in ends))
    readers = [r for r, _ in ends]
    assert [choose(readers, first=first, timeout=SOON) for first in (2, 2, 0, 7)] == [
        (2, 2),
        (3, 3),
        (0, 0),
        (1, 1),
    ]
    for one in sent:
        one.result(SOON)


def test_many_outputs_at_once() -> None:
    ends = [fresh() for _ in range(64)]
    chosen = started(choose, [w for _, w in ends], [(i, "x" * 10 * i) for i in range(64)])
    waits(ends[63][1], 1)
    assert ends[40][0].recv(SOON) == (40, "x" * 400)
    assert chosen.result(SOON) == (40, None)


def test_a_guard_that_has_ended_is_named() -> None:
    a, b = fresh(), fresh(1)
    b[1].retire()
    with pytest.raises(ChannelRetire) as info:
        choose([a[0], b[0]])
    assert info.value.end is b[0]
    waiting = started(choose, [a[0]])
    waits(a[0], 0)
    a[1].poison()
    with pytest.raises(ChannelPoison) as other:
        waiting.result(SOON)
    assert other.value.end is a[0]


def test_choices_at_both_ends_agree() -> None:
    """Two threads that both choose between sending and receiving: what one has sent the other has got."""
    x, y = Channel[int]("x"), Channel[int]("y")
    rounds = 300

    def play(r: End[int], w: End[int]) -> tuple[list[Any], list[Any]]:
        sent: list[Any] = []
        received: list[Any] = []
        for i in range(rounds):
            at, value = choose([r, w], [None, i], first=i, timeout=SOON)
            (sent if at else received).append(i if at else value)
        return sent, received

    other = started(play, x.end(0), y.end(1))
    sent, received = play(y.end(0), x.end(1))
    its_sent, its_received = other.result(SOON)
    assert sent == its_received and received == its_sent
    assert len(sent) + len(received) == rounds


def test_waiting_for_something_outside_too() -> None:
    r, w = fresh()
    fired: list[bool] = []
    party: list[Party] = []

    def wait() -> Any:
        party.append(Party.current())
        return choose([r], timeout=SOON, outside=lambda: bool(fired))

    waiting = started(wait)
    waits(r, 0)
    party[0].poke()
    assert not waiting.done()
    fired.append(True)
    party[0].poke()
    assert waiting.result(SOON) is None
    with pytest.raises(TimeoutError):
        w.send(1, 0)
    with pytest.raises(ZeroDivisionError):
        choose([r], timeout=SOON, outside=lambda: 1 / 0)  # an error in it takes the offers back
    with pytest.raises(TimeoutError):
        w.send(1, 0)


def test_what_is_no_guard() -> None:
    for guards, error in (([], ValueError), ([1], TypeError), ([Channel("c")], TypeError)):
        with pytest.raises(error):
            choose(guards)  # type: ignore[arg-type]
    other = _core.Arena.create()
    with pytest.raises(ValueError, match="another arena"):
        choose([fresh()[0], Channel[int]("there", arena=other).end(0)])
    r, w = both(Channel[int]("there", arena=other))
    received = started(r.recv)
    waits(r, 0)
    w.send(4)
    assert received.result(SOON) == 4


# ---- signals


class Alarmed(Exception):
    pass


@contextlib.contextmanager
def on_alarm(handler: Callable[[], None]) -> Iterator[None]:
    """The handler is called in this thread while it waits; again, should it not have come to that."""
    old = signal.signal(signal.SIGALRM, lambda number, frame: handler())
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_a_signal_ends_a_wait_and_takes_the_offer_back() -> None:
    r, w = fresh()

    def handler() -> None:
        raise Alarmed

    with pytest.raises(Alarmed), on_alarm(handler):
        r.recv()
    with pytest.raises(TimeoutError):
        w.send(1, 0)


def test_a_value_that_comes_with_a_signal_is_not_lost() -> None:
    """The writer has been told that it was received; so the next receive gives it."""
    r, w = fresh()
    other = fresh()

    def handler() -> None:
        if r.look()["waiting"][0]:
            started(w.send, BIG).result(SOON)
            raise Alarmed

    with pytest.raises(Alarmed), on_alarm(handler):
        r.recv()
    assert r.recv(0) == BIG

    with pytest.raises(Alarmed), on_alarm(handler):
        choose([r, other[0]])
    assert choose([other[0], r], timeout=0) == (1, BIG)


def test_a_signal_handler_communicates_while_its_thread_waits() -> None:
    r, w = fresh()
    inner = fresh(), fresh(2)
    seen: list[Any] = []

    def handler() -> None:
        if not seen and r.look()["waiting"][0]:
            sent = started(inner[0][1].send, "in", SOON)
            seen.append(inner[0][0].recv(SOON))
            inner[1][1].send("buffered")
            seen.append(inner[1][0].recv(SOON))
            sent.result(SOON)
            started(w.send, "out", SOON)

    with on_alarm(handler):
        assert r.recv(SOON) == "out"
    assert seen == ["in", "buffered"]


def test_a_signal_handlers_exception_does_not_get_lost_in_the_waker() -> None:
    """The waker runs Python code, in which a signal handler may be called: as if just afterwards."""
    loop = Party.create()
    task = Party.create(loop)
    r, w = fresh()
    other = fresh()

    def wake(index: int) -> None:
        raise Alarmed

    _core.set_waker(wake)
    try:
        assert task.offer([r]) is None
        with pytest.raises(Alarmed):
            w.send(5, SOON)
            until(lambda: False)  # what is pending is raised somewhere in here
        assert task.settle() == (0, 5)
        assert task.offer([other[1]], [6]) is None
        with pytest.raises(Alarmed):
            other[0].recv(SOON)
            until(lambda: False)
        assert task.settle() == (0, None)
    finally:
        _core.set_waker(tasks._wake)


# ---- code that runs in between


class Curious:
    """Receives something while it is unpickled."""

    def __init__(self, inner: End[Any]) -> None:
        self.inner = inner

    def __reduce__(self) -> Any:
        return type(self).receive, (self.inner,)

    @staticmethod
    def receive(inner: End[Any]) -> Any:
        return inner.recv(SOON)


@pytest.mark.parametrize("reader_first", [True, False])
@pytest.mark.parametrize("capacity", [0, 2])
def test_unpickling_may_receive(capacity: int, reader_first: bool, nothing_left: None) -> None:
    r, w = fresh(capacity)
    inner = fresh()
    within = started(inner[1].send, {"within": "w" * 300}, SOON)
    waits(inner[1], 1)
    message = [Curious(inner[0]), "behind" * 30, {"and": "so on"}]
    if reader_first:
        received = started(r.recv, SOON)
        waits(r, 0)
        w.send(message, SOON)
    else:
        sent = started(w.send, message, SOON)
        until(lambda: r.look()["waiting"][1] or r.look()["buffered"])
        received = started(r.recv, SOON)
        sent.result(SOON)
    assert received.result(SOON) == [{"within": "w" * 300}, "behind" * 30, {"and": "so on"}]
    within.result(SOON)


def test_a_value_that_was_put_back_is_anybodys() -> None:
    task = Party.create(Party.create())
    r, w = fresh()
    r._put_back(1)
    assert task.offer([fresh()[0], r]) == (1, 1)
    waiting = started(r.recv, SOON)
    waits(r, 0)
    r._put_back(2)  # as one who was interrupted does, while another waits at the same end
    assert waiting.result(SOON) == 2
    with pytest.raises(TimeoutError):
        w.send(None, 0)


def test_tasks_come_and_go_while_a_thread_waits() -> None:
    """A wait that takes long looks through the parties of this process, which others make meanwhile."""
    r, w = fresh()
    over = threading.Event()

    def make() -> None:
        loop = Party.create()
        while not over.is_set():
            them = [Party.create(loop) for _ in range(50)]
            for party in them:
                party.close()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    making = [started(make) for _ in range(2)]
    try:
        for _ in range(8):
            with pytest.raises(TimeoutError):
                r.recv(0.2)
    finally:
        sys.setswitchinterval(interval)
        over.set()
    for each in making:
        each.result(SOON)
    w.retire()
