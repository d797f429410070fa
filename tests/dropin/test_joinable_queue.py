"""JoinableQueue as multiprocessing defines it: a Queue that counts what is not yet done."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from .support import NEVER, SOON, Crew


def work(q: Any, results: Any) -> None:
    while True:
        item = q.get(timeout=SOON)
        if item is None:
            q.task_done()
            return
        results.put(item * item)
        q.task_done()


def join_and_say(q: Any, said: Any) -> None:
    q.join()
    said.set()


def test_it_is_a_queue(mp: Any) -> None:
    q = mp.JoinableQueue(2)
    q.put(1)
    q.put(2)
    with pytest.raises(queue.Full):
        q.put(3, timeout=NEVER)
    assert q.qsize() == 2 and q.full()
    assert [q.get(timeout=SOON), q.get(timeout=SOON)] == [1, 2]
    with pytest.raises(queue.Empty):
        q.get_nowait()
    q.close()
    q.join_thread()
    with pytest.raises(ValueError, match="is closed"):
        q.put(1)


def test_join_returns_at_once_when_nothing_is_left(mp: Any) -> None:
    q = mp.JoinableQueue()
    q.join()
    q.put(1)
    q.get(timeout=SOON)
    q.task_done()
    q.join()


def test_task_done_too_often(mp: Any) -> None:
    q = mp.JoinableQueue()
    with pytest.raises(ValueError, match="task_done"):
        q.task_done()
    q.put(1)
    q.get(timeout=SOON)
    q.task_done()
    with pytest.raises(ValueError, match="task_done"):
        q.task_done()
    q.put(2)  # unharmed
    assert q.get(timeout=SOON) == 2
    q.task_done()
    q.join()


def test_join_waits_for_task_done_not_for_get(mp: Any) -> None:
    q = mp.JoinableQueue()
    joined = threading.Event()
    q.put(1)
    q.put(2)
    thread = threading.Thread(target=join_and_say, args=(q, joined), daemon=True)
    thread.start()
    q.get(timeout=SOON)
    q.get(timeout=SOON)
    q.task_done()
    assert not joined.wait(NEVER)
    q.task_done()
    assert joined.wait(SOON)


def test_a_refused_put_is_not_counted(mp: Any) -> None:
    q = mp.JoinableQueue(1)
    q.put(1)
    with pytest.raises(queue.Full):
        q.put(2, block=False)
    q.get(timeout=SOON)
    q.task_done()
    q.join()


def test_children_do_the_work(ctx: Any, crew: Crew) -> None:
    q, results = ctx.JoinableQueue(), ctx.Queue()
    for _ in range(2):
        crew.start(work, q, results)
    for number in range(200):
        q.put(number)
    q.join()
    assert sorted(results.get(timeout=SOON) for _ in range(200)) == [n * n for n in range(200)]
    q.put(None)
    q.put(None)
    q.join()
    crew.join()


def test_a_child_joins(ctx: Any, crew: Crew) -> None:
    q, joined = ctx.JoinableQueue(), ctx.Event()
    q.put(1)
    crew.start(join_and_say, q, joined)
    assert not joined.wait(NEVER)
    q.get(timeout=SOON)
    assert not joined.wait(NEVER)
    q.task_done()
    assert joined.wait(SOON)
    crew.join()


def test_several_join_at_once(mp: Any, crew: Crew) -> None:
    q = mp.JoinableQueue()
    q.put(1)
    events = [mp.Event() for _ in range(3)]
    for event in events:
        crew.start(join_and_say, q, event)
    q.get(timeout=SOON)
    q.task_done()
    for event in events:
        assert event.wait(SOON)
    crew.join()
