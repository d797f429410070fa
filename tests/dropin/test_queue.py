"""Queue as multiprocessing defines it: order, limits, timeouts, closing, many sides."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from typing import Any

import pytest

from .support import NEVER, SOON, Crew, until

BIG = 3 << 20  # bytes: more than any pipe or first segment holds


# What children run.


def put_all(q: Any, items: list[Any]) -> None:
    for item in items:
        q.put(item)


def put_tagged(q: Any, tag: int, count: int) -> None:
    for number in range(count):
        q.put((tag, number))


def forward(source: Any, target: Any) -> None:
    """Move items until None comes, then say None."""
    while (item := source.get(timeout=SOON)) is not None:
        target.put(item)
    target.put(None)


def collect(source: Any, target: Any, tag: int) -> None:
    """Take items until None comes, then report them all at once."""
    taken = []
    while (item := source.get(timeout=SOON)) is not None:
        taken.append(item)
    target.put((tag, taken))


def report_full(q: Any, answers: Any) -> None:
    """Say how a full queue refuses here."""
    seen = []
    for attempt in (
        lambda: q.put(0, False),
        lambda: q.put(0, block=False),
        lambda: q.put(0, True, NEVER),
        lambda: q.put_nowait(0),
    ):
        try:
            attempt()
        except queue.Full:
            seen.append("Full")
        else:
            seen.append("taken")
    answers.put(seen)


def put_then_leave(q: Any, size: int, cancel: bool) -> None:
    q.put(b"x" * size)
    q.close()
    if cancel:
        q.cancel_join_thread()
    else:
        q.join_thread()


class Point:
    """Something pickled by reference to this module."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)


# Within one process.


def test_fifo(mp: Any) -> None:
    q = mp.Queue()
    for number in range(5000):
        q.put(number)
    assert [q.get(timeout=SOON) for _ in range(5000)] == list(range(5000))


def test_fifo_of_mixed_sizes(mp: Any) -> None:
    sizes = [(number * 7919) % 40_000 for number in range(300)]
    q = mp.Queue()
    for number, size in enumerate(sizes):
        q.put((number, b"%d" % (number % 10) * size))
    for number, size in enumerate(sizes):
        assert q.get(timeout=SOON) == (number, b"%d" % (number % 10) * size)


@pytest.mark.parametrize("how", [(False,), (True, NEVER), (True, 0), (True, 0.0), (True, -1)], ids=repr)
def test_get_from_an_empty_queue(mp: Any, how: tuple[Any, ...]) -> None:
    q = mp.Queue()
    with pytest.raises(queue.Empty):
        q.get(*how)


def test_get_nowait_and_keywords(mp: Any) -> None:
    q = mp.Queue()
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Empty):
        q.get(block=False)
    with pytest.raises(queue.Empty):
        q.get(block=True, timeout=NEVER)
    q.put(obj=1)
    assert q.get(block=True, timeout=SOON) == 1


def test_get_does_not_time_out_early(mp: Any) -> None:
    q = mp.Queue()
    start = time.monotonic()
    with pytest.raises(queue.Empty):
        q.get(timeout=0.25)
    assert time.monotonic() - start >= 0.25


def test_put_does_not_time_out_early(mp: Any) -> None:
    q = mp.Queue(1)
    q.put(1)
    start = time.monotonic()
    with pytest.raises(queue.Full):
        q.put(2, timeout=0.25)
    assert time.monotonic() - start >= 0.25


@pytest.mark.parametrize("how", [(False,), (True, NEVER), (True, 0), (True, -1)], ids=repr)
def test_put_to_a_full_queue(mp: Any, how: tuple[Any, ...]) -> None:
    q = mp.Queue(2)
    q.put("a")
    q.put("b")
    assert q.full()
    with pytest.raises(queue.Full):
        q.put("c", *how)
    with pytest.raises(queue.Full):
        q.put_nowait("c")
    assert q.get(timeout=SOON) == "a"
    q.put("d", *how)
    assert [q.get(timeout=SOON), q.get(timeout=SOON)] == ["b", "d"]
    assert not q.full()


@pytest.mark.parametrize("maxsize", [0, -1])
def test_no_maxsize_is_no_limit(mp: Any, maxsize: int) -> None:
    q = mp.Queue(maxsize)
    for number in range(1000):
        q.put(number, block=False)
    assert not q.full()
    assert [q.get(timeout=SOON) for _ in range(1000)] == list(range(1000))


def test_maxsize_keyword(mp: Any) -> None:
    q = mp.Queue(maxsize=1)
    q.put(0)
    with pytest.raises(queue.Full):
        q.put_nowait(1)
    q.get(timeout=SOON)


def test_qsize_empty_full(mp: Any) -> None:
    q = mp.Queue(3)
    assert (q.qsize(), q.empty(), q.full()) == (0, True, False)
    for count in (1, 2, 3):
        q.put(count)
        assert q.qsize() == count
    assert q.full()
    until(lambda: not q.empty(), "a queue with items is not empty")
    for count in (2, 1, 0):
        q.get(timeout=SOON)
        assert q.qsize() == count
    assert q.empty() and not q.full()


def test_full_queue_releases_a_blocked_thread(mp: Any) -> None:
    q = mp.Queue(1)
    q.put(0)
    done = []
    thread = threading.Thread(target=lambda: (q.put(1), done.append(True)), daemon=True)
    thread.start()
    assert q.get(timeout=SOON) == 0
    assert q.get(timeout=SOON) == 1
    thread.join(SOON)
    assert done == [True]


def test_empty_queue_releases_a_blocked_thread(mp: Any) -> None:
    q = mp.Queue()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(q.get(timeout=SOON)), daemon=True)
    thread.start()
    q.put("x")
    thread.join(SOON)
    assert got == ["x"]


def test_threads_of_one_process_share_a_queue(mp: Any) -> None:
    q, results = mp.Queue(), queue.Queue()
    makers = [threading.Thread(target=put_tagged, args=(q, tag, 300), daemon=True) for tag in range(4)]
    takers = [
        threading.Thread(target=lambda: [results.put(q.get(timeout=SOON)) for _ in range(300)])
        for _ in range(4)
    ]
    for thread in makers + takers:
        thread.start()
    for thread in makers + takers:
        thread.join(SOON)
    assert sorted(results.get_nowait() for _ in range(1200)) == [(t, n) for t in range(4) for n in range(300)]
    assert q.empty()


def test_use_after_close(mp: Any) -> None:
    q = mp.Queue()
    q.put(1)
    assert q.get(timeout=SOON) == 1
    q.close()
    for call in (
        lambda: q.put(1),
        lambda: q.put(1, False),
        lambda: q.put_nowait(1),
        lambda: q.get(),
        lambda: q.get(True, NEVER),
        lambda: q.get(False),
        lambda: q.get_nowait(),
    ):
        with pytest.raises(ValueError, match="is closed"):
            call()
    q.close()  # a second time does nothing
    q.join_thread()
    q.join_thread()


def test_join_thread_needs_close(mp: Any) -> None:
    q = mp.Queue()
    with pytest.raises(AssertionError):
        q.join_thread()
    q.cancel_join_thread()
    q.close()
    q.join_thread()


def test_queues_are_apart(mp: Any) -> None:
    first, second = mp.Queue(), mp.Queue()
    first.put(1)
    second.put(2)
    assert (second.get(timeout=SOON), first.get(timeout=SOON)) == (2, 1)
    first.close()
    second.put(3)
    assert second.get(timeout=SOON) == 3


# Between processes.


def test_child_to_parent(ctx: Any, crew: Crew) -> None:
    q = ctx.Queue()
    crew.start(put_all, q, [[42, None, "hello"], Point(1, 2), b"x" * BIG, 2**70])
    assert q.get(timeout=SOON) == [42, None, "hello"]
    assert q.get(timeout=SOON) == Point(1, 2)
    assert q.get(timeout=SOON) == b"x" * BIG
    assert q.get(timeout=SOON) == 2**70
    crew.join()
    assert q.empty()


def test_there_and_back(ctx: Any, crew: Crew) -> None:
    there, back = ctx.Queue(), ctx.Queue(4)
    crew.start(forward, there, back)
    for number in range(1000):
        there.put(number)
    there.put(None)
    assert [back.get(timeout=SOON) for _ in range(1001)] == [*range(1000), None]
    crew.join()


def test_what_was_put_before_the_child_started(ctx: Any, crew: Crew) -> None:
    there, back = ctx.Queue(), ctx.Queue()
    put_all(there, [1, 2, 3, None])
    crew.start(forward, there, back)
    assert [back.get(timeout=SOON) for _ in range(4)] == [1, 2, 3, None]
    crew.join()


def test_what_a_child_put_outlives_it(ctx: Any, crew: Crew) -> None:
    q = ctx.Queue()
    crew.start(put_all, q, list(range(100)))
    crew.join()  # small enough for a pipe to take it all
    assert [q.get(timeout=SOON) for _ in range(100)] == list(range(100))


def test_full_in_a_child(ctx: Any, crew: Crew) -> None:
    q, answers = ctx.Queue(1), ctx.Queue()
    q.put("kept")
    crew.start(report_full, q, answers)
    assert answers.get(timeout=SOON) == ["Full"] * 4
    crew.join()
    assert q.get(timeout=SOON) == "kept"


@pytest.mark.parametrize("maxsize", [0, 8])
def test_many_producers_and_consumers(ctx: Any, crew: Crew, maxsize: int) -> None:
    q, answers = ctx.Queue(maxsize), ctx.Queue()
    makers = [crew.start(put_tagged, q, tag, 400) for tag in range(3)]
    for tag in range(2):
        crew.start(collect, q, answers, tag)
    crew.join(*makers)
    put_all(q, [None, None])
    taken = dict(answers.get(timeout=SOON) for _ in range(2))
    crew.join()
    for items in taken.values():  # each consumer sees each producer's items in order
        for tag in range(3):
            numbers = [number for maker, number in items if maker == tag]
            assert numbers == sorted(numbers)
    assert sorted(taken[0] + taken[1]) == [(tag, number) for tag in range(3) for number in range(400)]
    assert q.empty()


@pytest.mark.parametrize("cancel", [False, True])
def test_closing_in_a_child(mp: Any, crew: Crew, cancel: bool) -> None:
    q = mp.Queue()
    child = crew.start(put_then_leave, q, 10 if cancel else BIG, cancel)
    if not cancel:
        assert len(q.get(timeout=SOON)) == BIG  # close and join_thread lose nothing
    crew.join(child)
    q.put("still open here")
    # With cancel_join_thread the child's item may be lost; the queue is not.
    if (item := q.get(timeout=SOON)) == b"x" * 10:
        item = q.get(timeout=SOON)
    assert item == "still open here"


def test_closing_here_leaves_it_open_in_a_child(mp: Any, crew: Crew) -> None:
    there, back = mp.Queue(), mp.Queue()
    there.put("x")
    there.put(None)
    crew.start(forward, there, back)
    there.close()
    there.join_thread()
    assert [back.get(timeout=SOON), back.get(timeout=SOON)] == ["x", None]
    crew.join()


def test_put_releases_a_child_blocked_in_get(ctx: Any, crew: Crew) -> None:
    there, back = ctx.Queue(), ctx.Queue()
    crew.start(forward, there, back)
    there.put("handshake")
    assert back.get(timeout=SOON) == "handshake"
    there.put(None)
    assert back.get(timeout=SOON) is None
    crew.join()


def test_get_releases_a_child_blocked_in_put(ctx: Any, crew: Crew) -> None:
    q = ctx.Queue(1)
    crew.start(put_all, q, list(range(50)))
    assert [q.get(timeout=SOON) for _ in range(50)] == list(range(50))
    crew.join()


def test_a_stopped_peer_does_not_stretch_a_timeout(mp: Any, crew: Crew) -> None:
    there, back = mp.Queue(), mp.Queue()
    child = crew.start(forward, there, back)
    there.put(1)
    assert back.get(timeout=SOON) == 1
    os.kill(child.pid, signal.SIGSTOP)
    try:
        there.put(2)
        with pytest.raises(queue.Empty):
            back.get(timeout=0.2)
    finally:
        os.kill(child.pid, signal.SIGCONT)
    assert back.get(timeout=SOON) == 2
    there.put(None)
    assert back.get(timeout=SOON) is None
    crew.join()
