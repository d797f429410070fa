"""Handles in transit: an object inside of a message lives as long as the message, and no longer."""

from __future__ import annotations

import gc
import itertools
import os
import signal
from typing import Any

import pytest
from dropin.support import SOON, Crew

import interproc as mp
from interproc._core import Arena

from .support import at_once, settled


@pytest.fixture(params=["Queue", "Pipe"])
def carrier(request: pytest.FixtureRequest) -> Any:
    """(send, receive, close both)."""
    if request.param == "Queue":
        q = mp.Queue()
        return q.put, lambda: q.get(timeout=SOON), q.close
    a, b = mp.Pipe()
    return a.send, b.recv, lambda: (a.close(), b.close())


def test_a_queue_that_its_sender_dropped(carrier: Any) -> None:
    send, receive, _ = carrier
    q = mp.Queue()
    q.put("inside")
    send(q)
    del q
    gc.collect()
    others = [mp.Queue() for _ in range(5)]  # would take its place, were it free
    got = receive()
    assert got.get(timeout=SOON) == "inside"
    got.put("well")
    assert got.get(timeout=SOON) == "well"
    assert all(other.empty() for other in others)


def test_a_connection_that_its_sender_closed(carrier: Any) -> None:
    send, receive, _ = carrier
    a, b = mp.Pipe()
    send(b)
    b.close()
    assert not a.poll(0.05)  # nobody holds the other end, but it is on its way
    a.send("to whoever comes")
    got = receive()
    assert got.recv() == "to whoever comes"
    got.send("back")
    assert a.recv() == "back"
    got.close()
    with at_once("the end"), pytest.raises(EOFError):
        a.recv()


def test_dropped_together_with_the_carrier(arena: Arena) -> None:
    used, objects = arena.used, len(arena.objects())
    for _ in range(20):
        outer, inner, (a, b) = mp.Queue(), mp.Queue(), mp.Pipe()
        inner.put(b"x" * 300_000)
        outer.put([inner, b, {"again": inner}])
        inner.close()
        b.close()
        del inner, b
        outer.close()
        del outer
        gc.collect()
        with at_once("the end"), pytest.raises(EOFError):
            a.recv()
        del a
    gc.collect()
    assert arena.used == used
    assert len(arena.objects()) == objects


def test_nested_carriers(arena: Arena) -> None:
    used = arena.used
    outermost = mp.Queue()
    outermost.put("the innermost message")
    for _ in range(30):
        around = mp.Queue()
        around.put(outermost)
        outermost = around
    del around
    gc.collect()
    q = outermost
    for _ in range(30):
        q = q.get(timeout=SOON)
    assert q.get(timeout=SOON) == "the innermost message"
    del q, outermost
    gc.collect()
    assert arena.used == used


def test_a_deep_nest_that_is_dropped_unread(arena: Arena) -> None:
    used, objects = arena.used, len(arena.objects())
    nest = mp.Queue()
    nest.put(b"y" * 100_000)
    for _ in range(300):
        around = mp.Queue()
        around.put(nest)
        nest = around
    del around, nest
    gc.collect()
    settled(arena, used)
    assert len(arena.objects()) == objects


def test_many_handles_in_one_message(arena: Arena) -> None:
    used = arena.used
    q = mp.Queue()
    made = [mp.Queue() for _ in range(200)]
    for number, each in enumerate(made):
        each.put(number)
    q.put(made)
    del made, each
    gc.collect()
    got = q.get(timeout=SOON)
    assert [each.get(timeout=SOON) for each in got] == list(range(200))
    del got, q
    gc.collect()
    assert arena.used == used


def test_one_handle_sent_many_times(arena: Arena) -> None:
    used = arena.used
    q, inner = mp.Queue(), mp.Queue()
    inner.put("once")
    for _ in range(50):
        q.put(inner)
    del inner
    for _ in range(49):
        q.get(timeout=SOON)
        gc.collect()
    assert q.get(timeout=SOON).get(timeout=SOON) == "once"
    del q
    gc.collect()
    assert arena.used == used


def test_a_message_that_shutdown_drops(arena: Arena) -> None:
    used = arena.used
    q, (a, b) = mp.Queue(), mp.Pipe()
    q.put(b)
    b.close()
    del b
    q.shutdown(immediate=True)
    with at_once("the end"), pytest.raises(EOFError):
        a.recv()
    del q, a
    gc.collect()
    assert arena.used == used


def test_the_sender_dies_after_sending(arena: Arena, crew: Crew) -> None:
    used = arena.used
    q = mp.Queue()
    child = crew.start(send_own, q)
    crew.join(child, exitcode=-signal.SIGKILL)
    arena.reap()
    got = q.get(timeout=SOON)
    assert got.get(timeout=SOON) == "from the dead"
    del got, q
    settled(arena, used)


def send_own(q: Any) -> None:
    own = mp.Queue()
    own.put("from the dead")
    q.put(own)
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_receiver_dies_after_receiving(arena: Arena, crew: Crew) -> None:
    used = arena.used
    q, (a, b), took = mp.Queue(), mp.Pipe(), mp.Event()
    child = crew.start(receive_and_pause, q, took)
    inner = mp.Queue()
    inner.put(b"z" * 500_000)
    q.put((b, inner))
    b.close()
    del b, inner
    assert took.wait(SOON)
    assert not a.poll(0.05)
    crew.kill(child)
    with at_once("the end"), pytest.raises(EOFError):
        a.recv()
    del q, a, took
    settled(arena, used)


def receive_and_pause(q: Any, took: Any) -> None:
    kept = q.get(timeout=SOON)
    took.set()
    signal.pause()
    del kept


def test_passed_on_through_processes(crew: Crew) -> None:
    """A ring of three: the handle is with nobody but the message for most of the way."""
    hops = [mp.Queue() for _ in range(4)]
    for source, target in itertools.pairwise(hops):
        crew.start(pass_on, source, target, 50)
    for number in range(50):
        carried = mp.Queue()
        carried.put(number)
        hops[0].put(carried)
        del carried
    for number in range(50):
        assert hops[-1].get(timeout=SOON).get(timeout=SOON) == number
    crew.join()


def pass_on(source: Any, target: Any, count: int) -> None:
    for _ in range(count):
        target.put(source.get(timeout=SOON))


def test_a_message_with_handles_that_cannot_be_unpickled(arena: Arena) -> None:
    from interproc.errors import UnpicklingError

    used = arena.used
    q, inner = mp.Queue(), mp.Queue()
    q.put((inner, Bomb()))
    del inner
    with pytest.raises(UnpicklingError):
        q.get(timeout=SOON)
    gc.collect()
    q.put("goes on")
    assert q.get(timeout=SOON) == "goes on"
    del q
    settled(arena, used)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return explode, ()


def explode() -> None:
    raise RuntimeError("on purpose")


def test_a_put_of_handles_that_fails(arena: Arena) -> None:
    """Refused for lack of room, or not picklable: no handle stays counted as on its way."""
    import queue
    import threading

    used = arena.used
    q, inner = mp.Queue(1), mp.Queue()
    q.put("full")
    for _ in range(10):
        with pytest.raises(queue.Full):
            q.put(inner, block=False)
        with pytest.raises(TypeError):
            q.put((inner, threading.Lock()))
    del q, inner
    gc.collect()
    assert arena.used == used
