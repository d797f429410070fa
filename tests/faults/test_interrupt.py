"""Ctrl-C in every blocking call: KeyboardInterrupt at once, and the object still works."""

from __future__ import annotations

import contextlib
import os
import queue
import random
import select
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from dropin.support import SOON, sleeping, until

import interproc as mp

from .support import AT_ONCE, forked, status_done, status_of

LONG = 30.0  # seconds: the timeout of the calls that are interrupted

Case = tuple[
    Callable[[], object], Callable[[], object]
]  # the call that blocks; what must still work afterwards


def check(condition: object) -> None:
    assert condition


def full_queue(timeout: float | None) -> Case:
    q = mp.Queue(1)
    q.put(1)

    def after() -> None:
        assert q.qsize() == 1 and q.get(timeout=SOON) == 1
        q.put(2, timeout=SOON)
        assert q.get(timeout=SOON) == 2 and q.empty()

    return lambda: q.put("interrupted", timeout=timeout), after


def empty_queue(timeout: float | None) -> Case:
    q = mp.Queue()
    return lambda: q.get(timeout=timeout), lambda: (q.put(1), check(q.get(timeout=SOON) == 1))


def get_many(timeout: float | None) -> Case:
    q = mp.Queue()
    return lambda: q.get_many(5, timeout=timeout), lambda: (q.put(1), check(q.get_many(5) == [1]))


def put_many(timeout: float | None) -> Case:
    q = mp.Queue(2)

    def after() -> None:
        assert [q.get(timeout=SOON), q.get(timeout=SOON)] == [0, 1]
        q.put(3)
        assert q.get(timeout=SOON) == 3 and q.empty()

    return lambda: q.put_many(range(5), timeout=timeout), after


def simple_queue(timeout: None) -> Case:
    q = mp.SimpleQueue()
    return q.get, lambda: (q.put(1), check(q.get() == 1))


def join_queue(timeout: None) -> Case:
    q = mp.JoinableQueue()
    q.put(1)
    q.get(timeout=SOON)
    return q.join, lambda: (q.task_done(), q.join())


def poll_queue(timeout: float | None) -> Case:
    q = mp.Queue()
    return lambda: q._reader.poll(timeout), lambda: (q.put(1), check(q._reader.poll(SOON)))


def recv(timeout: None) -> Case:
    a, b = mp.Pipe()
    return a.recv, lambda: (b.send(1), check(a.recv() == 1))


def recv_bytes(timeout: None) -> Case:
    a, b = mp.Pipe()
    return a.recv_bytes, lambda: (b.send_bytes(b"1"), check(a.recv_bytes() == b"1"))


def poll(timeout: float | None) -> Case:
    a, b = mp.Pipe()
    return lambda: a.poll(timeout), lambda: (b.send(1), check(a.poll(SOON)), check(a.recv() == 1))


def send_full(timeout: None) -> Case:
    a, b = mp.Pipe()
    sent: list[int] = []

    def fill() -> None:
        while True:
            a.send((len(sent), b"x" * 10_000))
            sent.append(1)

    def after() -> None:
        for number in range(len(sent)):
            assert b.recv()[0] == number
        while b.poll():  # the interrupted one may have gone through, whole
            assert b.recv() == (len(sent), b"x" * 10_000)
        a.send("well")
        assert b.recv() == "well"

    return fill, after


def wait(timeout: float | None) -> Case:
    from interproc.connection import wait

    a, b = mp.Pipe()
    return lambda: wait([a], timeout), lambda: (b.send(1), check(wait([a], SOON) == [a]))


def taken_lock(make: Callable[[], Any]) -> Callable[[float | None], Case]:
    """A lock that another process holds until it is told to let go."""

    def case(timeout: float | None) -> Case:
        lock, held, go = make(), mp.Semaphore(0), mp.Semaphore(0)

        def hold() -> None:
            lock.acquire()
            held.release()
            go.acquire(timeout=LONG)
            lock.release()

        pid = forked(hold)
        assert held.acquire(timeout=SOON)

        def after() -> None:
            assert not lock.acquire(block=False)
            go.release()
            assert lock.acquire(timeout=SOON)
            lock.release()
            assert status_of(pid) == 0

        return lambda: lock.acquire(timeout=timeout), after

    return case


def semaphore(timeout: float | None) -> Case:
    sem = mp.Semaphore(0)

    def after() -> None:
        sem.release()
        assert sem.get_value() == 1
        assert sem.acquire(timeout=SOON)

    return lambda: sem.acquire(timeout=timeout), after


def condition(timeout: float | None) -> Case:
    cond = mp.Condition()

    def call() -> None:
        with cond:
            cond.wait(timeout)

    def after() -> None:
        assert cond.acquire(block=False)  # the lock was let go, not left taken
        cond.release()
        go = mp.Event()

        def notify() -> None:
            assert go.wait(SOON)
            with cond:
                cond.notify()

        pid = forked(notify)
        with cond:
            go.set()
            assert cond.wait(SOON)
        assert status_of(pid) == 0

    return call, after


def event(timeout: float | None) -> Case:
    ev = mp.Event()
    return lambda: ev.wait(timeout), lambda: (check(not ev.is_set()), ev.set(), check(ev.wait(SOON)))


def barrier(timeout: float | None) -> Case:
    bar = mp.Barrier(2)

    def after() -> None:
        if bar.broken:  # as with threading.Barrier, an interrupted wait breaks it
            bar.reset()
        pid = forked(lambda: bar.wait(SOON))
        bar.wait(SOON)
        assert status_of(pid) == 0

    return lambda: bar.wait(timeout), after


def process_join(timeout: float | None) -> Case:
    go = mp.Event()
    child = mp.get_context("fork").Process(target=go.wait, args=(LONG,))

    def call() -> None:
        child.start()
        child.join(timeout)

    def after() -> None:
        assert child.is_alive()
        go.set()
        child.join(SOON)
        assert child.exitcode == 0

    return call, after


CASES = {
    "put on a full queue": full_queue,
    "put_many on a full queue": put_many,
    "get": empty_queue,
    "get_many": get_many,
    "SimpleQueue.get": simple_queue,
    "JoinableQueue.join": join_queue,
    "poll of a queue": poll_queue,
    "recv": recv,
    "recv_bytes": recv_bytes,
    "poll": poll,
    "send on a full pipe": send_full,
    "wait": wait,
    "Lock.acquire": taken_lock(mp.Lock),
    "RLock.acquire": taken_lock(mp.RLock),
    "Value's lock": taken_lock(lambda: mp.Value("i", 0)),
    "Array's lock": taken_lock(lambda: mp.Array("i", 3)),
    "Semaphore.acquire": semaphore,
    "Condition.wait": condition,
    "Event.wait": event,
    "Barrier.wait": barrier,
    "Process.join": process_join,
}
NO_TIMEOUT = {"SimpleQueue.get", "JoinableQueue.join", "recv", "recv_bytes", "send on a full pipe"}


@pytest.mark.parametrize(
    ("name", "timeout"),
    [(name, timeout) for name in CASES for timeout in (None, LONG) if not (timeout and name in NO_TIMEOUT)],
    ids=str,
)
def test_ctrl_c(name: str, timeout: float | None) -> None:
    # Plain pipes, not interproc's, tell what the child does.
    say, said = os.pipe(), os.pipe()

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        call, after = CASES[name](timeout)
        os.write(say[1], b"1")
        try:
            call()
        except KeyboardInterrupt:
            os.write(said[1], b"%f" % time.monotonic())
        after()

    pid = forked(work)
    os.close(said[1])
    try:
        assert os.read(say[0], 1) == b"1"
        calm = 0
        while (
            calm < 5
        ):  # asleep in several looks in a row: it is in the call, as far as can be seen from here
            until(lambda: sleeping(pid), "the call blocks")
            time.sleep(0.005)
            calm = calm + 1 if sleeping(pid) else 0
        sent = time.monotonic()
        os.kill(pid, signal.SIGINT)
        readable, _, _ = select.select([said[0]], [], [], SOON)
        assert readable, "no KeyboardInterrupt"
        answer = os.read(said[0], 100)
        assert answer, "the child ended without KeyboardInterrupt"
        assert float(answer) - sent < AT_ONCE
    finally:
        for fd in (*say, said[0]):
            os.close(fd)
        code = status_of(pid, SOON)
    assert code == 0, "the object does not work after the interruption"


def test_other_signals_do_not_end_a_wait() -> None:
    """A handler that returns lets the call go on (PEP 475), and the timeout counts from the start."""
    q = mp.Queue()
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        main = os.getpid()

        def disturb() -> None:
            for _ in range(10):
                time.sleep(0.03)
                os.kill(main, signal.SIGUSR1)
            q.put("at last")

        pid = forked(disturb)
        assert q.get(timeout=SOON) == "at last"
        assert seen
        assert status_of(pid) == 0
        pid = forked(disturb)
        start = time.monotonic()
        with pytest.raises(queue.Empty):
            q.get(timeout=0.15)
        assert time.monotonic() - start >= 0.15
        assert status_of(pid) == 0
        assert q.get(timeout=SOON) == "at last"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_raises_ends_a_wait() -> None:
    class Enough(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Enough

    q = mp.Queue()
    main = os.getpid()
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(5):
            pid = forked(lambda: (time.sleep(0.03), os.kill(main, signal.SIGUSR1)))
            with pytest.raises(Enough):
                q.get(timeout=LONG)
            assert status_of(pid) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    q.put(1)
    assert q.get(timeout=SOON) == 1


@pytest.mark.parametrize("side", ["put", "get", "send", "recv", "lock", "condition"])
def test_interrupted_at_random(side: str) -> None:
    """Ctrl-C at any point of a busy loop: an interrupted call has happened or not, never by half."""
    dice = random.Random(side)
    q, (a, b), value, condition = mp.Queue(50), mp.Pipe(), mp.Value("q", 0), mp.Condition()
    count = mp.RawArray("q", 3)  # rounds, interruptions, stop

    def once(number: int) -> None:
        if side == "put":
            q.put((number, b"x" * (number % 50 * 900)))
        elif side == "get":
            with contextlib.suppress(queue.Empty):
                q.get(timeout=0.01)
        elif side == "send":
            a.send((number, b"x" * (number % 50 * 900)))
        elif side == "recv":
            b.poll(0.01) and b.recv()
        elif side == "lock":
            with value.get_lock():
                value.value += 1
        else:
            with condition:
                condition.wait(0.001)

    def work() -> None:
        inside = False

        def interrupt(number: int, frame: object) -> None:
            nonlocal inside
            if inside:
                inside = False  # one that comes while this one is handled is not another
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, interrupt)
        number = 0
        while not count[2]:
            try:
                inside = True
                once(number)
                inside = False
            except KeyboardInterrupt:
                inside = False
                count[1] += 1
            except AssertionError:  # interrupted while wait() takes the lock back: it is not there to release
                inside = False
                assert side == "condition"
                count[1] += 1
            number += 1
            count[0] += 1

    pid = forked(work)
    last, due = -1, 0
    try:
        until(lambda: count[0], "the child is busy")
        for _ in range(150):
            time.sleep(dice.random() * 0.003)
            os.kill(pid, signal.SIGINT)
            while side in ("put", "send") and (q.qsize() if side == "put" else b.poll()):
                number, body = q.get(timeout=SOON) if side == "put" else b.recv()
                assert number > last and body == b"x" * (number % 50 * 900)
                last = number
            for _ in range(5):
                if side == "get" and not q.full():
                    q.put(due, timeout=SOON)
                elif side == "recv":
                    a.send(due)
                due += 1
        count[2] = 1
        until(
            lambda: (q.empty() or q.get(timeout=SOON)) and status_done(pid), "the child ends"
        )  # it may wait for room
    finally:
        os.kill(pid, signal.SIGKILL)
        code = status_of(pid)
    assert code == 0
    assert count[1] >= 20, "it was hardly ever interrupted"
    while not q.empty():
        q.get(timeout=SOON)
    while b.poll():
        b.recv()
    q.put("well")
    a.send("well")
    assert (q.get(timeout=SOON), b.recv()) == ("well", "well")
    assert value.acquire(timeout=SOON) and condition.acquire(timeout=SOON)
    value.release()
    condition.release()
