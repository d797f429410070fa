"""Condition, Event and Barrier as multiprocessing defines them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from .support import NEVER, SOON, Crew, in_thread, until

LOCKS = ["Lock", "RLock"]


# What children run.


def wait_on(condition: Any, ready: Any, woken: Any, timeout: float | None) -> None:
    with condition:
        ready.release()
        woken.put(condition.wait(timeout))


def wait_for_value(condition: Any, value: Any, wanted: int, woken: Any) -> None:
    with condition:
        woken.put(condition.wait_for(lambda: value.value == wanted, SOON))


def wait_event(event: Any, answers: Any) -> None:
    answers.put(event.wait(SOON))


def pass_barrier(barrier: Any, answers: Any, rounds: int) -> None:
    for number in range(rounds):
        answers.put((number, barrier.wait(SOON)))


def break_at_barrier(barrier: Any, answers: Any) -> None:
    try:
        barrier.wait(SOON)
    except threading.BrokenBarrierError:
        answers.put("broken")
    else:
        answers.put("passed")


# Condition.


def test_condition_needs_its_lock(mp: Any) -> None:
    condition = mp.Condition()
    for call in (
        lambda: condition.wait(NEVER),
        condition.notify,
        condition.notify_all,
        lambda: condition.notify(2),
    ):
        with pytest.raises((AssertionError, RuntimeError)):
            call()
    with condition:
        assert condition.wait(NEVER) is False
        condition.notify()
        condition.notify(3)
        condition.notify_all()
    assert condition.acquire() is True
    condition.release()


@pytest.mark.parametrize("kind", [None, *LOCKS])
def test_condition_of_a_given_lock(mp: Any, kind: str | None) -> None:
    lock = getattr(mp, kind)() if kind else None
    condition = mp.Condition(lock)
    woken: list[bool] = []

    def wait() -> None:
        with condition:
            ready.set()
            woken.append(condition.wait(SOON))

    ready = threading.Event()
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert ready.wait(SOON)
    with condition:  # to be had only once the thread waits
        if lock:
            assert in_thread(lambda: lock.acquire(False)) is False  # it is the same lock
        condition.notify()
        assert not woken  # the waiter has to get the lock back first
    thread.join(SOON)
    assert woken == [True]


def test_condition_wait_releases_a_recursive_lock_wholly(mp: Any) -> None:
    condition = mp.Condition()
    ready = threading.Event()
    woken: list[bool] = []

    def wait() -> None:
        with condition, condition, condition:
            ready.set()
            woken.append(condition.wait(SOON))
            condition.notify()  # it is ours again

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert ready.wait(SOON)
    with condition:
        condition.notify()
    thread.join(SOON)
    assert woken == [True]
    assert condition.acquire(False)
    condition.release()


def test_wait_for(mp: Any) -> None:
    condition = mp.Condition()
    with condition:
        assert condition.wait_for(lambda: "what it returns", SOON) == "what it returns"
        assert condition.wait_for(list, NEVER) == []


@pytest.mark.parametrize("count", [1, 2, None])
def test_notify_wakes_as_many_as_told(ctx: Any, crew: Crew, count: int | None) -> None:
    condition, ready, woken = ctx.Condition(), ctx.Semaphore(0), ctx.Queue()
    for _ in range(3):
        crew.start(wait_on, condition, ready, woken, SOON)
    for _ in range(3):
        assert ready.acquire(timeout=SOON)
    with condition:  # to be had only once all three wait
        if count is None:
            condition.notify_all()
        else:
            condition.notify(count)
    for _ in range(count or 3):
        assert woken.get(timeout=SOON) is True
    assert woken.empty()
    with condition:
        condition.notify_all()
    for _ in range(3 - (count or 3)):
        assert woken.get(timeout=SOON) is True
    crew.join()


def test_a_notification_is_not_stored(mp: Any) -> None:
    condition = mp.Condition()
    with condition:
        condition.notify()
        condition.notify_all()
        assert condition.wait(NEVER) is False


def test_a_waiter_that_timed_out_takes_no_notification(mp: Any, crew: Crew) -> None:
    condition, ready, woken = mp.Condition(), mp.Semaphore(0), mp.Queue()
    crew.start(wait_on, condition, ready, woken, NEVER)
    assert woken.get(timeout=SOON) is False
    crew.join()
    crew.start(wait_on, condition, ready, woken, SOON)
    assert ready.acquire(timeout=SOON)  # of the first
    assert ready.acquire(timeout=SOON)
    with condition:
        condition.notify()
    assert woken.get(timeout=SOON) is True
    crew.join()


def test_wait_for_between_processes(ctx: Any, crew: Crew) -> None:
    condition, value, woken = ctx.Condition(), ctx.RawValue("i", 0), ctx.Queue()
    crew.start(wait_for_value, condition, value, 3, woken)
    for number in (1, 2, 3):
        with condition:
            value.value = number
            condition.notify_all()
    assert woken.get(timeout=SOON) is True
    crew.join()


# Event.


def test_event(mp: Any) -> None:
    event = mp.Event()
    assert event.is_set() is False
    assert event.wait(NEVER) is False
    assert event.wait(0) is False
    event.set()
    event.set()
    assert event.is_set() is True
    assert event.wait() is True
    assert event.wait(0) is True
    event.clear()
    event.clear()
    assert event.is_set() is False
    assert event.wait(timeout=0.0) is False


def test_event_wakes_all(ctx: Any, crew: Crew) -> None:
    event, answers = ctx.Event(), ctx.Queue()
    for _ in range(3):
        crew.start(wait_event, event, answers)
    event.set()
    assert [answers.get(timeout=SOON) for _ in range(3)] == [True] * 3
    crew.join()
    assert event.is_set()


def test_event_set_in_a_child(ctx: Any, crew: Crew) -> None:
    event = ctx.Event()
    crew.start(set_event, event)
    assert event.wait(SOON)
    crew.join()


def set_event(event: Any) -> None:
    event.set()


# Barrier.


def test_barrier_of_one(mp: Any) -> None:
    ran: list[int] = []
    barrier = mp.Barrier(1, action=lambda: ran.append(1))
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (1, 0, False)
    assert barrier.wait() == 0
    assert barrier.wait(SOON) == 0
    assert ran == [1, 1]


def test_barrier_with_threads(mp: Any) -> None:
    barrier = mp.Barrier(3)
    places: list[int] = []
    threads = [
        threading.Thread(target=lambda: places.append(barrier.wait(SOON)), daemon=True) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    until(lambda: barrier.n_waiting == 2)
    assert not places
    places.append(barrier.wait(SOON))
    for thread in threads:
        thread.join(SOON)
    assert sorted(places) == [0, 1, 2]
    assert barrier.n_waiting == 0 and not barrier.broken


def test_barrier_timeout_breaks_it(mp: Any) -> None:
    barrier = mp.Barrier(2, timeout=NEVER)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(NEVER)


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_barrier_abort_and_reset_release_the_waiters(mp: Any, crew: Crew, how: str) -> None:
    barrier, answers = mp.Barrier(3), mp.Queue()
    for _ in range(2):
        crew.start(break_at_barrier, barrier, answers)
    until(lambda: barrier.n_waiting == 2)
    getattr(barrier, how)()
    assert [answers.get(timeout=SOON) for _ in range(2)] == ["broken"] * 2
    crew.join()
    assert barrier.broken == (how == "abort")
    barrier.reset()
    for _ in range(2):
        crew.start(break_at_barrier, barrier, answers)
    barrier.wait(SOON)
    assert [answers.get(timeout=SOON) for _ in range(2)] == ["passed"] * 2
    crew.join()


def test_barrier_rounds(ctx: Any, crew: Crew) -> None:
    barrier, answers = ctx.Barrier(3), ctx.Queue()
    for _ in range(2):
        crew.start(pass_barrier, barrier, answers, 5)
    mine = [(number, barrier.wait(SOON)) for number in range(5)]
    got = mine + [answers.get(timeout=SOON) for _ in range(10)]
    crew.join()
    assert sorted(got) == [(number, place) for number in range(5) for place in range(3)]


def test_a_failing_action_breaks_the_barrier(mp: Any) -> None:
    def fail() -> None:
        raise KeyError("action")

    barrier = mp.Barrier(1, action=fail)
    with pytest.raises(KeyError):
        barrier.wait()
    assert barrier.broken
