"""Lock, RLock, Semaphore and BoundedSemaphore as multiprocessing defines them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from .support import NEVER, SOON, Crew, in_thread

LOCKS = ["Lock", "RLock"]
SEMAPHORES = ["Semaphore", "BoundedSemaphore"]


# What children run.


def hold(lock: Any, held: Any, release: Any) -> None:
    with lock:
        held.set()
        assert release.wait(SOON)


def count_under(lock: Any, counter: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            value = counter.value
            time.sleep(0)  # invites whoever does not respect the lock
            counter.value = value + 1


def enter(semaphore: Any, inside: Any, most: Any, lock: Any, times: int) -> None:
    for _ in range(times):
        with semaphore:
            with lock:
                inside.value += 1
                most.value = max(most.value, inside.value)
            with lock:
                inside.value -= 1


# Lock and RLock.


@pytest.mark.parametrize("kind", LOCKS)
def test_acquire_and_release(mp: Any, kind: str) -> None:
    lock = getattr(mp, kind)()
    for _ in range(3):
        assert lock.acquire() is True
        assert lock.release() is None
    assert lock.acquire(False) is True
    lock.release()
    assert lock.acquire(True, SOON) is True
    lock.release()
    assert lock.acquire(block=True, timeout=None) is True
    lock.release()
    with lock as entered:
        assert entered is True
        assert in_thread(lambda: lock.acquire(False)) is False
    assert lock.acquire(timeout=0) is True
    lock.release()


@pytest.mark.parametrize("kind", LOCKS)
def test_a_held_lock_refuses_another_thread(mp: Any, kind: str) -> None:
    lock = getattr(mp, kind)()
    with lock:
        for how in ((False,), (True, 0), (True, NEVER), (True, -1)):
            assert in_thread(lambda how=how: lock.acquire(*how)) is False
        start = time.monotonic()
        assert in_thread(lambda: lock.acquire(timeout=0.25)) is False
        assert time.monotonic() - start >= 0.25
    assert in_thread(lambda: (lock.acquire(False), lock.release())) == (True, None)


def test_lock_is_not_recursive(mp: Any) -> None:
    lock = mp.Lock()
    lock.acquire()
    assert lock.acquire(False) is False
    assert lock.acquire(True, NEVER) is False
    lock.release()


def test_lock_may_be_released_by_another_thread(mp: Any) -> None:
    lock = mp.Lock()
    lock.acquire()
    assert in_thread(lock.release) is None
    assert lock.acquire(False) is True
    lock.release()


def test_releasing_a_lock_that_is_not_held(mp: Any) -> None:
    lock = mp.Lock()
    with pytest.raises(ValueError):
        lock.release()
    lock.acquire()
    lock.release()
    with pytest.raises(ValueError):
        lock.release()
    assert lock.acquire(False)
    assert not lock.acquire(False)  # the failed releases did not count
    lock.release()


def test_rlock_is_recursive(mp: Any) -> None:
    lock = mp.RLock()
    for _ in range(5):
        assert lock.acquire() is True
    for _ in range(5):
        assert in_thread(lambda: lock.acquire(False)) is False
        lock.release()
    assert in_thread(lambda: (lock.acquire(False), lock.release())) == (True, None)


def test_releasing_an_rlock_that_is_not_ours(mp: Any) -> None:
    lock = mp.RLock()
    with pytest.raises(AssertionError):
        lock.release()
    with lock:
        assert isinstance(in_thread(lock.release), AssertionError)
        assert in_thread(lambda: lock.acquire(False)) is False  # it is still held
    with pytest.raises(AssertionError):
        lock.release()


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_is_released_on_an_exception(mp: Any, kind: str) -> None:
    lock = getattr(mp, kind)()
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert in_thread(lambda: (lock.acquire(False), lock.release())) == (True, None)


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_held_in_a_child(ctx: Any, crew: Crew, kind: str) -> None:
    lock, held, release = getattr(ctx, kind)(), ctx.Event(), ctx.Event()
    crew.start(hold, lock, held, release)
    assert held.wait(SOON)
    assert lock.acquire(False) is False
    assert lock.acquire(timeout=NEVER) is False
    release.set()
    assert lock.acquire(timeout=SOON) is True
    lock.release()
    crew.join()


@pytest.mark.parametrize("kind", LOCKS)
def test_mutual_exclusion(ctx: Any, crew: Crew, kind: str) -> None:
    lock, counter = getattr(ctx, kind)(), ctx.RawValue("q", 0)
    for _ in range(3):
        crew.start(count_under, lock, counter, 300)
    count_under(lock, counter, 300)
    crew.join()
    assert counter.value == 1200


@pytest.mark.parametrize("kind", LOCKS)
def test_mutual_exclusion_of_threads(mp: Any, kind: str) -> None:
    lock, counter = getattr(mp, kind)(), mp.RawValue("q", 0)
    threads = [threading.Thread(target=count_under, args=(lock, counter, 300), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert counter.value == 1200


# Semaphores.


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphore_counts(mp: Any, kind: str) -> None:
    semaphore = getattr(mp, kind)(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire() and semaphore.acquire(False)
    assert semaphore.get_value() == 0
    assert semaphore.acquire(False) is False
    assert semaphore.acquire(True, NEVER) is False
    assert semaphore.acquire(block=True, timeout=-1) is False
    assert in_thread(semaphore.release) is None  # nobody owns a semaphore
    assert semaphore.get_value() == 1
    with semaphore:
        assert semaphore.get_value() == 0
    semaphore.release()
    assert semaphore.get_value() == 2


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphore_default_is_one(mp: Any, kind: str) -> None:
    semaphore = getattr(mp, kind)()
    assert semaphore.acquire(False) and not semaphore.acquire(False)
    semaphore.release()


def test_semaphore_grows(mp: Any) -> None:
    semaphore = mp.Semaphore(0)
    for count in range(1, 4):
        semaphore.release()
        assert semaphore.get_value() == count


def test_bounded_semaphore_does_not(mp: Any) -> None:
    semaphore = mp.BoundedSemaphore(2)
    with pytest.raises(ValueError):
        semaphore.release()
    assert semaphore.get_value() == 2
    semaphore.acquire()
    semaphore.release()
    with pytest.raises(ValueError):
        semaphore.release()


def test_semaphore_refuses_a_negative_value(mp: Any) -> None:
    with pytest.raises((ValueError, OSError)):
        mp.Semaphore(-1)


@pytest.mark.parametrize("kind", SEMAPHORES)
def test_semaphore_limits_children(ctx: Any, crew: Crew, kind: str) -> None:
    semaphore, lock = getattr(ctx, kind)(2), ctx.Lock()
    inside, most = ctx.RawValue("i", 0), ctx.RawValue("i", 0)
    for _ in range(4):
        crew.start(enter, semaphore, inside, most, lock, 100)
    crew.join()
    assert inside.value == 0 and 1 <= most.value <= 2
    assert semaphore.get_value() == 2
