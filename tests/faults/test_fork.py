"""Forks at awkward moments: while other threads are inside of queues, and without multiprocessing's help."""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
from typing import Any, Self

from dropin.support import SOON, Crew

import interproc as mp
from interproc._core import Arena

from .support import forked, settled, status_done, status_of

FORKS = 40


def check(condition: object) -> None:
    assert condition


class Churn:
    """Threads that put and get without pause until told to stop."""

    def __init__(self, q: Any, threads: int = 2) -> None:
        self.q, self.stop = q, threading.Event()
        self.rounds = 0
        self.failed: list[BaseException] = []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.q.put(("churn", b"x" * (self.rounds % 60 * 500)))
                self.q.get(timeout=SOON)
                self.rounds += 1
        except BaseException as error:
            self.failed.append(error)

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(SOON)
        assert not self.failed and self.rounds
        assert not any(thread.is_alive() for thread in self.threads)


def test_fork_while_threads_are_inside_the_queue() -> None:
    q, answers = mp.Queue(), mp.Queue()

    def child() -> None:
        for number in range(20):
            q.put((os.getpid(), number))
            q.get(timeout=SOON)
        answers.put(os.getpid())

    with Churn(q):
        for _ in range(FORKS):
            pid = forked(child)
            assert answers.get(timeout=SOON) == pid
            assert status_of(pid) == 0
    assert q.empty()


def test_fork_while_threads_are_blocked_in_the_queue(crew: Crew) -> None:
    q, got = mp.Queue(), queue.Queue()
    threads = [threading.Thread(target=lambda: got.put(q.get(timeout=SOON)), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    pids = [forked(lambda number=number: q.put(number)) for number in range(3)]
    for pid in pids:
        assert status_of(pid) == 0
    assert sorted(got.get(timeout=SOON) for _ in range(3)) == [0, 1, 2]
    for thread in threads:
        thread.join(SOON)


def test_fork_while_threads_make_and_drop() -> None:
    """The arena's own lock and the registers of handles are busy when the fork comes."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            own = mp.Queue()
            own.put(b"x" * 20_000)
            pickle.loads(pickle.dumps(own)).get(timeout=SOON)
            own.close()

    arena = Arena.default()
    q = mp.Queue()
    used = arena.used
    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()

    def child() -> None:
        own = mp.Queue()
        own.put(1)
        q.put(own.get(timeout=SOON))

    try:
        for _ in range(FORKS):
            pid = forked(child)
            assert q.get(timeout=SOON) == 1
            assert status_of(pid) == 0
    finally:
        stop.set()
    for thread in threads:
        thread.join(SOON)
    settled(arena, used)


def test_fork_while_a_thread_holds_a_lock() -> None:
    """The thread does not exist in the child, but the lock is the parent's: the child waits for it."""
    value, held, go = mp.Value("i", 0), threading.Event(), threading.Event()

    def hold() -> None:
        with value.get_lock():
            held.set()
            go.wait(SOON)
            value.value = 7

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(SOON)
    ready, seen = mp.Semaphore(0), mp.Queue()

    def child() -> None:
        check(not value.acquire(False))
        ready.release()
        with value.get_lock():
            seen.put(value.value)

    pid = forked(child)
    assert ready.acquire(timeout=SOON)
    go.set()
    assert seen.get(timeout=SOON) == 7
    thread.join(SOON)
    assert status_of(pid) == 0


def test_a_lock_held_by_the_forking_thread_is_not_the_childs() -> None:
    lock = mp.RLock()
    ready = mp.Semaphore(0)

    def child() -> None:
        check(not lock.acquire(block=False))
        ready.release()
        check(lock.acquire(timeout=SOON))
        lock.release()

    with lock:
        pid = forked(child)
        assert ready.acquire(timeout=SOON)
        assert not status_done(pid)
    assert status_of(pid) == 0


def test_fork_with_a_descriptor_asked_for() -> None:
    """The thread that keeps it in step does not survive the fork; the descriptor works in both."""
    import multiprocessing.connection

    wait = multiprocessing.connection.wait
    a, b = mp.Pipe()
    q = mp.Queue()
    assert wait([b, q._reader], 0) == []

    def child() -> None:
        check(wait([b, q._reader], 0) == [])
        q.put(1)
        check(wait([b, q._reader], SOON) == [q._reader])
        check(q.get(timeout=SOON) == 1)
        check(wait([b, q._reader], 0) == [])
        a.send("from the child")

    for _ in range(5):
        pid = forked(child)
        assert wait([b], SOON) == [b]
        assert b.recv() == "from the child"
        assert status_of(pid) == 0
        assert wait([b, q._reader], 0) == []
        a.send("mine")
        assert wait([b], SOON) == [b]
        assert b.recv() == "mine"


def test_generations_of_bare_forks() -> None:
    q = mp.Queue()
    arena = Arena.default()
    used = arena.used

    def generation(depth: int) -> None:
        if depth:
            check(status_of(forked(lambda: generation(depth - 1))) == 0)
        q.put(depth)

    assert status_of(forked(lambda: generation(6))) == 0
    assert [q.get(timeout=SOON) for _ in range(7)] == list(range(7))
    settled(arena, used)


def test_a_parent_that_closes_right_after_the_fork() -> None:
    """The child held its ends from before the parent went on."""
    for _ in range(20):
        reader, writer = mp.Pipe(duplex=False)

        def child(writer: Any = writer) -> None:
            time.sleep(0.002)
            writer.send("here")

        pid = forked(child)
        writer.close()
        assert reader.recv() == "here"
        assert status_of(pid) == 0


def test_fork_from_a_thread() -> None:
    q = mp.Queue()

    def run() -> None:
        pids = [forked(lambda: q.put("from a thread's child")) for _ in range(3)]
        codes.extend(status_of(pid) for pid in pids)

    codes: list[int] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(SOON)
    assert codes == [0] * 3
    assert [q.get(timeout=SOON) for _ in range(3)] == ["from a thread's child"] * 3


def test_the_parent_may_end_first() -> None:
    """A child whose parent, the maker of the arena, has gone still uses it."""
    q = mp.Queue()

    def middle() -> None:
        own = mp.Queue()

        def last() -> None:
            own.get(timeout=SOON)  # the middle one is on its way out
            deadline = time.monotonic() + SOON
            while os.getppid() == parent and time.monotonic() < deadline:
                time.sleep(0.002)
            own.put("still works")
            q.put(own.get(timeout=SOON))

        parent = os.getpid()
        forked(last)
        own.put("go")

    assert status_of(forked(middle)) == 0
    assert q.get(timeout=SOON) == "still works"
