"""A peer stopped with SIGSTOP, at a random moment and so inside of anything: timeouts of the others hold."""

from __future__ import annotations

import queue
import random
import threading
import time
from typing import Any

import pytest
from dropin.support import SOON, Crew, until

import interproc as mp
from interproc._core import Number

from .support import at_once, stopped

ROUNDS = 25
SHORT = 0.02  # seconds: the timeouts that must hold
TAKES = 5.0  # seconds: far above SHORT, far below a hang


def put_on(q: Any, done: Any) -> None:
    for number in range(10**9):
        q.put((number, b"x" * (number % 50) * 100))
        done.value = number + 1


def get_on(q: Any, done: Any) -> None:
    for number in range(10**9):
        q.get()
        done.value = number + 1


def send_on(conn: Any, done: Any) -> None:
    for number in range(10**9):
        conn.send(number)
        done.value = number + 1


def lock_on(lock: Any, done: Any) -> None:
    for number in range(10**9):
        with lock:
            done.value = number + 1


def add_on(value: Any, done: Any) -> None:
    for number in range(10**9):
        value.add(1)
        done.value = number + 1


def run_until_busy(done: Any) -> None:
    before = done.value
    until(lambda: done.value > before, "the peer is busy")


def test_getting_from_a_stopped_producer(crew: Crew) -> None:
    dice = random.Random(1)
    q, done = mp.Queue(max_bytes=1 << 20), mp.RawValue("q", 0)
    child = crew.start(put_on, q, done)
    due = locked = 0
    for _ in range(ROUNDS):
        for _ in range(50):
            number, _ = q.get(timeout=SOON)
            assert number == due
            due += 1
        time.sleep(dice.random() * 0.002)
        with stopped(child.pid), at_once("draining and one timeout", TAKES):
            with pytest.raises(queue.Empty):
                while True:
                    number, _ = q.get(timeout=SHORT)
                    assert number == due
                    due += 1
            # A producer that was stopped with the arena's lock has what a get needs to leave a segment.
            locked += q.qsize() > 0
            assert q.qsize() > 0 or due >= done.value
            with pytest.raises(queue.Empty):
                q.get_nowait()
    assert locked < ROUNDS / 2
    crew.kill(child)


def test_putting_to_a_stopped_consumer(crew: Crew) -> None:
    dice = random.Random(2)
    q, done = mp.Queue(20), mp.RawValue("q", 0)
    child = crew.start(get_on, q, done)
    for _ in range(ROUNDS):
        for number in range(50):
            q.put(number, timeout=SOON)
        time.sleep(dice.random() * 0.001)
        with stopped(child.pid), at_once("filling and one timeout", TAKES):
            with pytest.raises(queue.Full):
                for number in range(1000):
                    q.put(number, timeout=SHORT)
            with pytest.raises(queue.Full):
                q.put(1, block=False)
            assert q.qsize() == 20
    crew.kill(child)


def test_competing_with_a_stopped_peer_of_the_same_side(crew: Crew) -> None:
    """The stopped one may have been inside the very lock that this side needs."""
    dice = random.Random(3)
    q, done = mp.Queue(max_bytes=1 << 20), mp.RawValue("q", 0)
    child = crew.start(put_on, q, done)
    refused = 0
    for _ in range(ROUNDS):
        until(lambda: not q.empty(), "the peer puts")  # by now it may have filled the queue, and wait
        time.sleep(dice.random() * 0.001)
        with stopped(child.pid), at_once("a put", TAKES):
            try:
                q.put("mine", timeout=SHORT)
            except queue.Full:
                refused += 1
        while not q.empty():
            q.get(timeout=SOON)
    assert refused < ROUNDS, "no put ever got through"
    crew.kill(child)


def drain(reader: Any, got: list[int], waits: list[float], resumed: threading.Event) -> None:
    """In a thread: receive while there is something, and note how long each look for it took, in seconds."""
    while not resumed.is_set():
        start = time.monotonic()
        ready = reader.poll(SHORT)
        waits.append(time.monotonic() - start)
        if not ready:
            break
        # This has no timeout: if it needs what the sender was stopped with, it waits for the sender.
        got.append(reader.recv())


def test_receiving_from_a_stopped_sender(crew: Crew) -> None:
    dice = random.Random(4)
    reader, writer = mp.Pipe(duplex=False)
    done = mp.RawValue("q", 0)
    child = crew.start(send_on, writer, done)
    writer.close()
    due = 0
    for _ in range(ROUNDS):
        for _ in range(50):
            assert reader.recv() == due
            due += 1
        time.sleep(dice.random() * 0.001)
        got, waits, resumed = [], [0.0], threading.Event()
        thread = threading.Thread(target=drain, args=(reader, got, waits, resumed))
        with stopped(child.pid):
            thread.start()
            thread.join(1)
            resumed.set()
        thread.join(SOON)
        assert not thread.is_alive()
        assert max(waits) < TAKES
        assert got == list(range(due, due + len(got)))
        due += len(got)
    crew.kill(child)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "Condition"])
def test_a_lock_of_a_stopped_owner(crew: Crew, kind: str) -> None:
    """It is not dead, so its lock does not pass on; but the timeout holds."""
    dice = random.Random(5)
    lock, done = getattr(mp, kind)(), mp.RawValue("q", 0)
    child = crew.start(lock_on, lock, done)
    held = 0
    for _ in range(ROUNDS):
        run_until_busy(done)
        time.sleep(dice.random() * 0.001)
        with stopped(child.pid), at_once("a timeout", TAKES):
            if lock.acquire(True, SHORT):
                lock.release()
            else:
                held += 1
                assert lock.acquire(False) is False
        assert lock.acquire(True, SOON)
        lock.release()
    crew.kill(child)


def test_adding_without_a_lock_needs_nobody(crew: Crew) -> None:
    value, done = Number("q", lock=False), mp.RawValue("q", 0)
    child = crew.start(add_on, value, done)
    mine = 0
    for _ in range(ROUNDS):
        run_until_busy(done)
        with stopped(child.pid), at_once("a hundred adds", TAKES):
            for _ in range(100):
                value.add(1)
                mine += 1
            assert mine + done.value <= value.value <= mine + done.value + 1
    crew.kill(child)
