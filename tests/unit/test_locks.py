"""locks.py beyond multiprocessing: deaths of holders and waiters, pickling at any time, what is shown."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.support import METHODS, NEVER, SOON, Crew, sleeping, until

import interproc
from interproc import locks


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Forked children."""
    crew = Crew(interproc.get_context("fork"))
    yield crew
    crew.end()


@pytest.fixture(params=METHODS)
def any_crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    """Children of each start method."""
    crew = Crew(interproc.get_context(request.param))
    yield crew
    crew.end()


# What children run.


def take_and_stay(lock: Any, times: int, taken: Any) -> None:
    for _ in range(times):
        lock.acquire()
    taken.set()
    signal.pause()


def wait_once(condition: Any, ready: Any, woken: Any, timeout: float = SOON) -> None:
    with condition:
        ready.release()
        notified = condition.wait(timeout)
    if notified:
        woken.release()


def wait_at(barrier: Any, passed: Any) -> None:
    barrier.wait(SOON)
    passed.release()


def use_all(lock: Any, rlock: Any, semaphore: Any, condition: Any, event: Any, barrier: Any) -> None:
    with lock, rlock, semaphore, condition:
        event.set()
        condition.notify_all()
    barrier.wait(SOON)


def waiters(crew: Crew, condition: Any, number: int) -> tuple[list[Any], Any]:
    """Children asleep in `condition.wait()`, and a semaphore that each releases when it was notified."""
    ready, woken = interproc.Semaphore(0), interproc.Semaphore(0)
    children = [crew.start(wait_once, condition, ready, woken) for _ in range(number)]
    for _ in children:
        assert ready.acquire(timeout=SOON)
    with condition:  # which they have let go of, to sleep
        pass
    return children, woken


def stop(child: Any) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    until(lambda: stopped(child.pid), "stopped")


def stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] == b"T"


# Deaths.


@pytest.mark.parametrize(("kind", "times"), [(locks.Lock, 1), (locks.RLock, 1), (locks.RLock, 3)])
def test_the_lock_of_a_killed_holder_passes_on(any_crew: Crew, kind: Any, times: int) -> None:
    lock, taken = kind(), locks.Event()
    child = any_crew.start(take_and_stay, lock, times, taken)
    assert taken.wait(SOON)
    assert not lock.acquire(timeout=NEVER)
    any_crew.kill(child)
    assert lock.acquire(timeout=SOON)
    lock.release()
    assert not lock.locked()


def test_a_blocked_process_gets_the_lock_of_the_killed_holder(crew: Crew) -> None:
    lock, taken, then = locks.Lock(), locks.Event(), locks.Event()
    holder = crew.start(take_and_stay, lock, 1, taken)
    assert taken.wait(SOON)
    crew.start(take_and_stay, lock, 1, then)
    crew.kill(holder)
    assert then.wait(SOON)


@pytest.mark.parametrize("n", [1, 2])
def test_notify_passes_over_killed_waiters(crew: Crew, n: int) -> None:
    condition = locks.Condition()
    dead, _ = waiters(crew, condition, 2)
    _, woken = waiters(crew, condition, 2)
    for child in dead:
        crew.kill(child)
    with condition:
        condition.notify(n)
    for _ in range(n):
        assert woken.acquire(timeout=SOON)
    assert not woken.acquire(timeout=NEVER)


def test_a_notification_to_one_who_is_killed_before_he_wakes_goes_to_another(crew: Crew) -> None:
    condition = locks.Condition()
    children, woken = waiters(crew, condition, 3)
    for child in children:
        stop(child)
    with condition:
        condition.notify()  # one of the three is to wake; we cannot know which
    crew.kill(children[0])
    crew.kill(children[1])
    os.kill(children[2].pid, signal.SIGCONT)
    assert woken.acquire(timeout=SOON)


def test_a_notification_that_died_with_its_only_waiter_wakes_nobody_later(crew: Crew) -> None:
    condition = locks.Condition()
    (child,), _ = waiters(crew, condition, 1)
    stop(child)
    with condition:
        condition.notify()
    crew.kill(child)
    _, woken = waiters(crew, condition, 2)
    assert not woken.acquire(timeout=NEVER)
    with condition:
        condition.notify()
    assert woken.acquire(timeout=SOON)
    assert not woken.acquire(timeout=NEVER)


def test_who_waits_after_notify_does_not_take_it_from_one_before(crew: Crew) -> None:
    condition = locks.Condition()
    (child,), woken = waiters(crew, condition, 1)
    with condition:
        condition.notify()
        assert not condition.wait(0)
    assert woken.acquire(timeout=SOON)
    crew.join(child)


def test_a_killed_party_breaks_the_barrier(crew: Crew) -> None:
    barrier, passed = locks.Barrier(3), locks.Semaphore(0)
    child = crew.start(wait_at, barrier, passed)
    until(lambda: barrier.n_waiting == 1)
    broken = []

    def wait() -> None:
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            broken.append(True)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    until(lambda: barrier.n_waiting == 2)
    crew.kill(child)
    thread.join(SOON)
    assert broken and barrier.broken
    barrier.reset()
    assert not barrier.broken
    assert barrier.n_waiting == 0


def test_a_party_killed_on_its_way_out_does_not_keep_the_barrier_closed(crew: Crew) -> None:
    barrier, passed = locks.Barrier(2), locks.Semaphore(0)
    child = crew.start(wait_at, barrier, passed)
    until(lambda: barrier.n_waiting == 1)
    until(lambda: sleeping(child.pid))
    stop(child)
    barrier.wait(SOON)
    crew.kill(child)
    crew.start(wait_at, barrier, passed)
    barrier.wait(SOON)
    assert passed.acquire(timeout=SOON)


# Pickling.


def test_all_can_be_pickled_at_any_time() -> None:
    lock, rlock, semaphore, event = locks.Lock(), locks.RLock(), locks.Semaphore(2), locks.Event()
    condition, barrier = locks.Condition(), locks.Barrier(2)
    bounded = locks.BoundedSemaphore(1)
    others = pickle.loads(pickle.dumps((lock, rlock, semaphore, event, condition, barrier, bounded)))
    same_lock, same_rlock, same_semaphore, same_event, same_condition, same_barrier, same_bounded = others
    assert [type(other) for other in others] == [
        locks.Lock, locks.RLock, locks.Semaphore, locks.Event,
        locks.Condition, locks.Barrier, locks.BoundedSemaphore,
    ]  # fmt: skip
    with lock:
        assert same_lock.locked() and not same_lock.acquire(block=False)
    with rlock, same_rlock:  # the same thread holds it
        assert same_rlock.count() == 2
    same_semaphore.acquire()
    assert semaphore.get_value() == 1
    same_event.set()
    assert event.is_set()
    with pytest.raises(ValueError):
        same_bounded.release()
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(same_barrier.wait(SOON)))
    thread.start()
    result.append(barrier.wait(SOON))
    thread.join()
    assert sorted(result) == [0, 1]
    with condition, pytest.raises(AssertionError):
        in_thread(same_condition.notify)


def in_thread(call: Any) -> Any:
    """What the call gives in another thread."""
    box: list[Any] = []

    def run() -> None:
        try:
            box.append((call(), None))
        except BaseException as error:
            box.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SOON)
    result, error = box[0]
    if error is not None:
        raise error
    return result


def test_all_in_a_child(any_crew: Crew) -> None:
    lock, rlock, semaphore, event = locks.Lock(), locks.RLock(), locks.Semaphore(1), locks.Event()
    condition, barrier = locks.Condition(), locks.Barrier(2)
    with condition:
        child = any_crew.start(use_all, lock, rlock, semaphore, condition, event, barrier)
        assert condition.wait(SOON)
    assert event.is_set()
    barrier.wait(SOON)
    any_crew.join(child)


# A condition's lock.


def test_a_condition_on_a_lock_of_multiprocessing() -> None:
    import multiprocessing

    condition = locks.Condition(multiprocessing.RLock())
    with pytest.raises(AssertionError, match="acquire"):
        condition.wait(0)
    with condition, condition:
        assert not condition.wait(NEVER)
        condition.notify()


@pytest.mark.parametrize("make", [lambda: interproc.Value("i", 0), lambda: interproc.Array("i", 2)])
def test_a_condition_on_the_lock_of_a_value(crew: Crew, make: Any) -> None:
    condition = locks.Condition(make().get_lock())
    with pytest.raises(AssertionError, match="owned"):
        condition.notify()
    _, woken = waiters(crew, condition, 1)
    with condition:
        condition.notify()
    assert woken.acquire(timeout=SOON)


# The rest.


def test_a_flag_that_is_taken_down_at_once_was_seen_by_who_waits(crew: Crew) -> None:
    event, started = locks.Event(), locks.Semaphore(0)
    child = crew.start(see_flag, event, started)
    assert started.acquire(timeout=SOON)

    def seen() -> bool:  # he may not have begun to wait yet; then once more
        stop(child)
        event.set()
        event.clear()
        os.kill(child.pid, signal.SIGCONT)
        child.join(1)
        return not child.is_alive()

    until(seen)
    crew.join(child)


def see_flag(event: Any, started: Any) -> None:
    started.release()
    assert event.wait(SOON)


def test_what_a_lock_shows(crew: Crew) -> None:
    lock, rlock = locks.Lock(), locks.RLock()
    assert repr(lock) == "<Lock(owner=None)>"
    assert repr(rlock) == "<RLock(None, 0)>"
    with lock, rlock, rlock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
        assert repr(rlock) == "<RLock(MainProcess, 2)>"
        assert in_thread(lambda: repr(lock)) == "<Lock(owner=SomeOtherThread)>"
        assert in_thread(lambda: repr(rlock)) == "<RLock(SomeOtherThread, nonzero)>"
    taken = locks.Event()
    crew.start(take_and_stay, lock, 1, taken)
    assert taken.wait(SOON)
    assert repr(lock) == "<Lock(owner=SomeOtherProcess)>"


def test_what_others_show() -> None:
    assert repr(locks.Semaphore(3)) == "<Semaphore(value=3)>"
    assert repr(locks.BoundedSemaphore(3)) == "<BoundedSemaphore(value=3, maxvalue=3)>"
    assert repr(locks.Condition()) == "<Condition(<RLock(None, 0)>, 0)>"
    event = locks.Event()
    assert repr(event).endswith(" unset>")
    event.set()
    assert repr(event).endswith(" set>")


@pytest.mark.parametrize("value", [-1, locks.SEM_VALUE_MAX + 1])
@pytest.mark.parametrize("kind", [locks.Semaphore, locks.BoundedSemaphore])
def test_a_semaphore_that_cannot_be(kind: Any, value: int) -> None:
    with pytest.raises(ValueError, match=str(value)):
        kind(value)


def test_a_bounded_semaphore_of_zero() -> None:
    semaphore = locks.BoundedSemaphore(0)
    assert not semaphore.acquire(block=False)
    with pytest.raises(ValueError):
        semaphore.release()


@pytest.mark.parametrize("parties", [0, -1])
def test_a_barrier_needs_someone(parties: int) -> None:
    with pytest.raises(ValueError, match="party"):
        locks.Barrier(parties)
