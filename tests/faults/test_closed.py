"""Use after close: a clear error from every method of every kind of handle, whatever else is going on."""

from __future__ import annotations

import gc
import os
import pickle
import queue
import threading
from typing import Any

import pytest
from dropin.support import SOON

import interproc as mp
from interproc import _core
from interproc._core import Arena
from interproc.errors import ArenaClosed
from interproc.queues import Queue

CLOSED = (ValueError, OSError)


def queue_calls(q: Any) -> dict[str, Any]:
    return {
        "put": lambda: q.put(1),
        "put_nowait": lambda: q.put_nowait(1),
        "put with a timeout": lambda: q.put(1, timeout=0.01),
        "put_many": lambda: q.put_many([1]),
        "get": lambda: q.get(),
        "get_nowait": lambda: q.get_nowait(),
        "get with a timeout": lambda: q.get(timeout=0.01),
        "get_many": lambda: q.get_many(2),
        "qsize": lambda: q.qsize(),
        "empty": lambda: q.empty(),
        "full": lambda: q.full(),
        "shutdown": lambda: q.shutdown(),
        "iteration": lambda: next(iter(q)),
        "fileno": lambda: q.fileno(),
        "pickling": lambda: pickle.dumps(q),
    }


@pytest.mark.parametrize("name", queue_calls(None))
def test_a_closed_queue(name: str) -> None:
    q = mp.Queue()
    q.put("left inside")
    q.close()
    with pytest.raises(CLOSED, match="closed"):
        queue_calls(q)[name]()
    assert "closed" in repr(q)


@pytest.mark.parametrize("name", ["qsize", "get", "put", "task_done", "join"])
def test_a_closed_joinable_queue(name: str) -> None:
    q = mp.JoinableQueue()
    q.put(1)
    q.close()
    with pytest.raises(CLOSED, match="closed"):
        {"task_done": q.task_done, "join": q.join, **queue_calls(q)}[name]()


@pytest.mark.parametrize("name", ["send", "recv", "send_bytes", "recv_bytes", "poll", "fileno", "pickling"])
def test_a_closed_connection(name: str) -> None:
    a, b = mp.Pipe()
    b.send("left inside")
    a.close()
    calls = {
        "send": lambda: a.send(1),
        "send_bytes": lambda: a.send_bytes(b"1"),
        "pickling": lambda: pickle.dumps(a),
    }
    with pytest.raises(CLOSED, match="closed"):
        calls.get(name, getattr(a, name, None))()


def test_another_handle_on_the_same_object_stays_open() -> None:
    q = mp.Queue()
    other = pickle.loads(pickle.dumps(q))
    q.put(1)
    q.close()
    assert other.get(timeout=SOON) == 1
    other.put(2)
    assert other.get(timeout=SOON) == 2
    other.close()


@pytest.mark.parametrize("what", ["get", "put", "recv", "poll", "get_many"])
def test_closing_while_a_thread_is_inside(what: str) -> None:
    """The thread gets an error, or its call ends as it would have; nothing crashes, nothing hangs."""
    q, (a, b) = mp.Queue(1), mp.Pipe()
    if what == "put":
        q.put(1)
    calls = {
        "get": lambda: q.get(timeout=1.0),
        "get_many": lambda: q.get_many(3, timeout=1.0),
        "put": lambda: q.put(2, timeout=1.0),
        "recv": a.recv,
        "poll": lambda: a.poll(1.0),
    }
    ended: list[object] = []
    started = threading.Event()

    def run() -> None:
        started.set()
        try:
            ended.append(calls[what]())
        except (*CLOSED, queue.Empty, queue.Full, EOFError) as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(SOON)
    thread.join(0.1)
    q.close()
    a.close()
    b.close()
    thread.join(SOON)
    assert ended, "the thread hangs"


def test_closing_from_many_threads() -> None:
    for _ in range(50):
        q = mp.Queue()
        q.put(b"x" * 5000)
        errors: list[BaseException] = []

        def use(q: Any = q, errors: list[BaseException] = errors) -> None:
            try:
                for _ in range(100):
                    q.put(1)
                    q.get(timeout=SOON)
            except CLOSED:
                pass
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=use) for _ in range(3)] + [threading.Thread(target=q.close)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
            assert not thread.is_alive()
        assert not errors


def test_a_view_outlives_its_array() -> None:
    array = mp.RawArray("i", range(1000))
    view = memoryview(array).cast("B").cast("i")
    del array
    others = [mp.RawArray("i", [-1] * 1000) for _ in range(20)]
    assert view.tolist() == list(range(1000))
    del others


def test_after_the_last_thing_that_a_process_does(arena: Arena) -> None:
    """The exit hook has run, and another handler still uses its objects: an error, not others' memory."""
    q = mp.Queue(arena=arena)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            q.put(1)
            _core.leave()
            for call in (lambda: q.put(2), lambda: q.get(timeout=0.01), lambda: mp.Queue(arena=arena)):
                with pytest.raises(ArenaClosed):
                    call()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert q.get(timeout=10) == 1
    q.put(3)
    assert q.get(timeout=10) == 3


def test_an_arena_that_was_dropped() -> None:
    """The last reference to an arena, by itself or by its objects, gives back its memory and descriptor."""

    def held() -> tuple[int, int]:
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), sum("memfd:interproc" in line for line in maps)

    gc.collect()
    before = held()
    for _ in range(20):
        arena = Arena.create(limit=16 << 20)
        q = Queue(arena=arena)
        q.put(b"x" * 1_000_000)
        del arena
        gc.collect()
        assert q.get(timeout=SOON) == b"x" * 1_000_000  # the queue keeps it
        del q
    gc.collect()
    assert held() == before
