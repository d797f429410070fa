"""Processes SIGKILLed while they hold locks, change values, make and drop objects: nobody else is harmed."""

from __future__ import annotations

import operator
import random
import signal
import threading
from typing import Any

import pytest
from dropin.support import SOON, Crew, until

import interproc as mp
from interproc._core import Arena

from .support import at_once, kill_at_random, rounds, settled

# What the victims do.


def lock_and_count(value: Any, done: Any) -> None:
    while True:
        with value.get_lock():
            done[0] += 1
            value.value += 1
            done[1] += 1


def add_on(value: Any, done: Any, victim: int) -> None:
    while True:
        value.add(1)
        done[victim] += 1


def hold_on(lock: Any, started: Any) -> None:
    while True:
        with lock:
            started.value = 1


def make_and_drop(q: Any, started: Any) -> None:
    """Objects of each kind, some inside of others, some sent away."""
    while True:
        fresh = mp.Queue()
        fresh.put(b"x" * 50_000)
        a, b = mp.Pipe()
        a.send([1, 2, 3])
        value, array, lock = mp.Value("i", 1), mp.RawArray("d", 100), mp.Lock()
        q.put((fresh, b, value, lock))
        started.value = 1
        q.get()
        fresh.close()
        a.close()
        del fresh, a, b, value, array, lock


# Values and locks.


def test_killed_with_a_values_lock(crew: Crew) -> None:
    """The lock of a dead owner passes on; what it did under the lock is done or not, as in any crash."""
    dice = random.Random(6)
    value, done = mp.Value("q", 0), mp.RawArray("q", 2)
    for _ in rounds():
        before = done[1]
        victims = [crew.start(lock_and_count, value, done) for _ in range(2)]
        until(lambda before=before: done[1] > before, "the victims count")
        for process in victims:
            kill_at_random(process, dice)
            with at_once("the dead owner's lock"):
                assert value.get_lock().acquire(timeout=SOON)
                value.get_lock().release()
        with at_once("reading the value"):
            assert done[1] <= value.value <= done[0]
        done[0] = done[1] = value.value
        crew.members.clear()


def test_killed_while_holding_for_sure(crew: Crew) -> None:
    value, held = mp.Value("i", 1), mp.Event()
    victim = crew.start(hold_and_pause, value, held)
    assert held.wait(SOON)
    assert not value.acquire(False)
    got: list[bool] = []
    waiter = threading.Thread(target=lambda: got.append(value.acquire(timeout=SOON)), daemon=True)
    waiter.start()  # it waits already when the owner dies
    crew.kill(victim)
    with at_once("the lock"):
        waiter.join(SOON)
    assert got == [True]


def hold_and_pause(value: Any, held: Any) -> None:
    with value.get_lock():
        held.set()
        signal.pause()


def test_killed_while_adding(crew: Crew) -> None:
    """add() is one instruction: the sum is right but for the one add that a victim could not count."""
    dice = random.Random(7)
    value, done = mp.Value("q", 0), mp.RawArray("q", 2)
    killed = 0
    for _ in rounds(1.0):
        before = list(done)
        victims = [crew.start(add_on, value, done, victim) for victim in (0, 1)]
        until(lambda before=before: all(map(operator.gt, done, before)), "both add")
        for process in victims:
            kill_at_random(process, dice)
            killed += 1
        assert sum(done) <= value.value <= sum(done) + killed
        crew.members.clear()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Condition"])
def test_killed_with_a_lock(crew: Crew, kind: str) -> None:
    dice = random.Random(8)
    lock = getattr(mp, kind)()
    for _ in rounds(0.8):
        started = mp.RawValue("i", 0)
        victims = [crew.start(hold_on, lock, started) for _ in range(2)]
        until(lambda started=started: started.value, "a victim had the lock")
        for process in victims:
            kill_at_random(process, dice)
        with at_once("the lock"):
            assert lock.acquire(timeout=SOON)
        lock.release()
        crew.members.clear()


def test_a_killed_waiter_takes_no_notification_with_it(crew: Crew) -> None:
    condition, ready, woken = mp.Condition(), mp.Semaphore(0), mp.Queue()
    for _ in range(5):
        dead = [crew.start(wait_on, condition, ready, woken) for _ in range(2)]
        for _ in dead:
            assert ready.acquire(timeout=SOON)
        with condition:
            pass  # both wait now
        for process in dead:
            crew.kill(process)
        alive = crew.start(wait_on, condition, ready, woken)
        assert ready.acquire(timeout=SOON)
        with condition:
            condition.notify()
        assert woken.get(timeout=SOON) == alive.pid
        crew.join(alive)
        crew.members.clear()


def wait_on(condition: Any, ready: Any, woken: Any) -> None:
    with condition:
        ready.release()
        if condition.wait(SOON):
            woken.put(mp.current_process().pid)


def test_a_killed_waiter_leaves_the_event_well(crew: Crew) -> None:
    event, ready, answers = mp.Event(), mp.Semaphore(0), mp.Queue()
    victims = [crew.start(wait_event, event, ready, answers) for _ in range(3)]
    for _ in victims:
        assert ready.acquire(timeout=SOON)
    for process in victims[:2]:
        crew.kill(process)
    event.set()
    assert answers.get(timeout=SOON) is True
    crew.join(victims[2])
    event.clear()
    assert not event.wait(0)


def wait_event(event: Any, ready: Any, answers: Any) -> None:
    ready.release()
    answers.put(event.wait(SOON))


# Objects.


def test_killed_while_making_and_dropping(arena: Arena, crew: Crew) -> None:
    """The allocator and the directory are changed all the time; in the end everything is where it was."""
    dice = random.Random(9)
    used, objects = arena.used, len(arena.objects())
    for _ in rounds(3.0):
        q, started = mp.Queue(), mp.RawValue("i", 0)
        victims = [crew.start(make_and_drop, q, started) for _ in range(2)]
        until(lambda started=started: started.value, "a victim is at it")
        for process in victims:
            kill_at_random(process, dice, 0.01)
        crew.members.clear()
        other = mp.Queue()  # and making goes on
        other.put(b"y" * 100_000)
        assert other.get(timeout=SOON) == b"y" * 100_000
        del q, started, other
        settled(arena, used, "after a round")
    assert len(arena.objects()) == objects
