"""Lock, RLock, Semaphore, Condition, Event, Barrier: as multiprocessing's, but who is killed stops nobody."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import process
from typing import Any, Protocol, TypeVar

from . import _core
from .errors import NotOwner
from .roll import Roll

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]

SEM_VALUE_MAX = 2**31 - 1
_LOOK_AROUND = 0.1  # seconds between two looks for someone who was killed before he could wake us
_T = TypeVar("_T")


class Lockable(Protocol):
    """What a Condition needs of its lock."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool: ...
    def release(self) -> None: ...


class _SemLockFace:
    """What is found at `lock._semlock`, for which multiprocessing.queues and concurrent.futures reach."""

    __slots__ = ()

    @property
    def _semlock(self) -> Any:
        return self

    def _is_zero(self) -> bool:
        return self._get_value() == 0

    def _get_value(self) -> int:
        raise NotImplementedError


class _MutexFace(_SemLockFace):
    __slots__ = ()

    owner: Callable[[], tuple[int, int] | None]
    is_mine: Callable[[], bool]
    count: Callable[[], int]

    def locked(self) -> bool:
        """Whether anyone holds it just now."""
        return self.owner() is not None

    def _get_value(self) -> int:
        return 0 if self.locked() else 1

    def _is_mine(self) -> bool:
        return self.is_mine()

    def _count(self) -> int:
        return self.count()

    def _who(self) -> str:
        """The owner as `multiprocessing` words it."""
        owner = self.owner()
        if owner is None:
            return "None"
        if self.is_mine():
            name, thread = process.current_process().name, threading.current_thread().name
            return name if thread == "MainThread" else f"{name}|{thread}"
        return "SomeOtherThread" if owner[0] == os.getpid() else "SomeOtherProcess"


class Lock(_MutexFace, _core.Mutex):
    """A non-recursive lock; any thread of any process may release it, as with `multiprocessing.Lock`.

    When its owner dies, the next `acquire` succeeds. `release` of a lock nobody holds raises ValueError.
    """

    def __init__(
        self, *, name: str | None = None, arena: _core.Arena | None = None, ctx: object = None
    ) -> None:
        super().__init__(False, name=name, arena=arena)

    def __repr__(self) -> str:
        try:
            owner = self._who()
        except Exception:
            owner = "unknown"
        return f"<{type(self).__name__}(owner={owner})>"


class RLock(_MutexFace, _core.Mutex):
    """A recursive lock. When its owner dies, the next `acquire` succeeds.

    `release` by another than the owner raises AssertionError, as `multiprocessing.RLock` does.
    """

    def __init__(
        self, *, name: str | None = None, arena: _core.Arena | None = None, ctx: object = None
    ) -> None:
        super().__init__(True, name=name, arena=arena)

    def __repr__(self) -> str:
        try:
            owner = self._who()
            count = str(self.count()) if self.is_mine() else "0" if owner == "None" else "nonzero"
        except Exception:
            owner = count = "unknown"
        return f"<{type(self).__name__}({owner}, {count})>"


class Semaphore(_SemLockFace, _core.Semaphore):
    """A counter that `acquire` takes from and `release` adds to.

    A unit has no owner, so that one which was taken by a process that dies is gone.

    Raises:
        ValueError: the value is negative or above SEM_VALUE_MAX.
    """

    _bounded = False

    def __init__(
        self, value: int = 1, *, name: str | None = None, arena: _core.Arena | None = None, ctx: object = None
    ) -> None:
        if not 0 <= value <= SEM_VALUE_MAX:
            raise ValueError(f"a semaphore counts from 0 to {SEM_VALUE_MAX}; it cannot start at {value}")
        super().__init__(value, value if self._bounded else SEM_VALUE_MAX, name=name, arena=arena)

    def _get_value(self) -> int:
        return self.get_value()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._value_text()})>"

    def _value_text(self) -> str:
        try:
            return str(self.get_value())
        except Exception:
            return "unknown"


class BoundedSemaphore(Semaphore):
    """A Semaphore whose `release` raises ValueError where it would go above the value it began with."""

    _bounded = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._value_text()}, maxvalue={self.maximum})>"


class Condition:
    """A condition variable. `notify(n)` wakes exactly n of the processes and threads that wait and live.

    Who waits is written in shared memory under the condition's lock (see Roll), with a ticket for each. A
    notification is a permit that any waiter with a ticket below the horizon can take once it has the lock: so
    nothing is lost with a waiter that is killed, neither asleep nor just when it was woken (another finds the
    permit within 100 ms), and nobody who begins to wait after `notify` takes what was meant for those before.
    Permits that only the dead could have taken are dropped at the next `notify`.
    """

    _NEXT, _HORIZON, _PERMITS = range(3)  # words of the roll
    _WAITING, _ELIGIBLE = range(2)  # columns: all of a process's waiters, and those below the horizon

    def __init__(
        self, lock: Lockable | None = None, *, ctx: object = None, arena: _core.Arena | None = None
    ) -> None:
        self._lock: Any = lock if lock is not None else RLock(arena=arena)
        arena = getattr(self._lock, "arena", arena)
        self._signal = _core.Signal(arena=arena)
        self._roll = Roll(words=3, columns=2, arena=arena)
        self._bind()

    def _bind(self) -> None:
        lock = self._lock
        self.acquire: Callable[..., bool] = lock.acquire
        self.release: Callable[[], None] = lock.release
        if hasattr(lock, "is_mine"):  # interproc's own, or memory with a lock of its own
            self._is_mine: Callable[[], bool] = lock.is_mine
            self._depth: Callable[[], int] = lock.lock_count if hasattr(lock, "lock_count") else lock.count
        else:
            self._is_mine, self._depth = lock._semlock._is_mine, lock._semlock._count

    def __getstate__(self) -> tuple[Any, ...]:
        return self._lock, self._signal, self._roll

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._lock, self._signal, self._roll = state
        self._bind()

    def __enter__(self) -> bool:
        entered: bool = self._lock.__enter__()
        return entered

    def __exit__(self, *args: object) -> None:
        self._lock.__exit__(*args)

    def __repr__(self) -> str:
        try:
            waiters = str(sum(self._roll.counts[row + self._WAITING] for row in self._roll.rows()))
        except Exception:
            waiters = "unknown"
        return f"<{type(self).__name__}({self._lock}, {waiters})>"

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait for a notification for up to `timeout` seconds, take the lock again.

        Returns whether a notification came. Raises AssertionError if the caller does not hold the lock.
        """
        if not self._is_mine():
            raise NotOwner("must acquire() condition before using wait()")
        deadline = None if timeout is None else time.monotonic() + timeout
        words, counts = self._roll.words, self._roll.counts
        row = self._roll.mine()
        ticket = words[self._NEXT]
        words[self._NEXT] = ticket + 1
        counts[row + self._WAITING] += 1
        try:
            while True:
                self._sleep_unlocked(ticket, deadline)
                if self._has_permit(ticket):
                    words[self._PERMITS] -= 1
                    return True
                if deadline is not None and time.monotonic() >= deadline:
                    return False
        finally:
            row = self._roll.mine()
            counts[row + self._WAITING] -= 1
            if ticket < words[self._HORIZON]:
                counts[row + self._ELIGIBLE] -= 1

    def _has_permit(self, ticket: int) -> bool:
        return self._roll.words[self._PERMITS] > 0 and ticket < self._roll.words[self._HORIZON]

    def _sleep_unlocked(self, ticket: int, deadline: float | None) -> None:
        """Let go of the lock until there is reason to look at the permits, then take it as deep as before."""
        signal, seen = self._signal, self._signal.counter()
        depth = self._depth()
        for _ in range(depth):
            self.release()
        try:
            while True:
                nap = _LOOK_AROUND if deadline is None else min(_LOOK_AROUND, deadline - time.monotonic())
                if nap <= 0 or signal.wait(seen, nap) or self._has_permit(ticket):
                    return
        finally:
            for _ in range(depth):
                self.acquire()

    def notify(self, n: int = 1) -> None:
        """Wake n waiters, or all if they are fewer. Raises AssertionError if the caller lacks the lock."""
        if not self._is_mine():
            raise NotOwner("lock is not owned")
        roll, words, counts = self._roll, self._roll.words, self._roll.counts
        waiting = eligible = 0
        rows = []
        mine = roll.mine()
        for row in roll.rows():
            if counts[row] and (row == mine or not roll.strike_dead(row)):
                rows.append(row)
                waiting += counts[row + self._WAITING]
                eligible += counts[row + self._ELIGIBLE]
        permits = min(words[self._PERMITS], eligible)  # less those left over by the dead
        added = max(0, min(n, waiting - permits))
        for row in rows:
            counts[row + self._ELIGIBLE] = counts[row + self._WAITING]
        words[self._HORIZON] = words[self._NEXT]
        words[self._PERMITS] = permits + added
        if added:
            self._signal.notify(added)

    def notify_all(self) -> None:
        """Wake all that wait."""
        self.notify(sys.maxsize)

    def wait_for(self, predicate: Callable[[], _T], timeout: float | None = None) -> _T:
        """Wait until `predicate()` is true or `timeout` seconds passed; returns what it gave last."""
        deadline = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result


class Event:
    """A flag that one sets and others wait for. There is no lock in it, so nobody can die with it held."""

    def __init__(self, *, ctx: object = None, arena: _core.Arena | None = None) -> None:
        self.__setstate__((_core.Memory(8, lock=False, arena=arena), _core.Signal(arena=arena)))

    def __getstate__(self) -> tuple[Any, ...]:
        return self._memory, self._signal

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._memory, self._signal = state
        self._flag = memoryview(self._memory).cast("B")[:8].cast("Q")

    def is_set(self) -> bool:
        """Whether the flag is up."""
        return self._flag[0] != 0

    def set(self) -> None:
        """Put the flag up; all that wait go on, also if it is taken down again at once."""
        self._flag[0] = 1
        self._signal.notify()

    def clear(self) -> None:
        """Take the flag down."""
        self._flag[0] = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for up to `timeout` seconds until the flag is put up; whether it was."""
        seen = self._signal.counter()
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._flag[0]:
            # In naps, since a process may be killed after it put the flag up and before it woke anyone.
            nap = _LOOK_AROUND if deadline is None else min(_LOOK_AROUND, deadline - time.monotonic())
            if nap <= 0:
                return False
            if self._signal.wait(seen, nap):
                return True
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} at {id(self):#x} {'set' if self.is_set() else 'unset'}>"


class Barrier(threading.Barrier):
    """A meeting point for `parties` processes or threads; one that is killed at it breaks it: nobody hangs.

    The protocol is threading.Barrier's (whose `reset`, `abort`, `parties`, `n_waiting` and `broken` serve
    here), with the state in shared memory and the count of those inside taken from a Roll.
    """

    _FILLING, _DRAINING, _RESETTING, _BROKEN = 0, 1, -1, -2

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: object = None,
        arena: _core.Arena | None = None,
    ) -> None:
        if parties < 1:
            raise ValueError(f"a barrier needs at least one party, not {parties}")
        parts = Condition(arena=arena), Roll(words=1, columns=1, arena=arena)
        self.__setstate__((parties, action, timeout, *parts))

    def __getstate__(self) -> tuple[Any, ...]:
        return self._parties, self._action, self._timeout, self._cond, self._roll

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._parties, self._action, self._timeout, self._cond, self._roll = state
        self._phase = self._roll.words[:1].cast("B").cast("q")

    @property
    def _state(self) -> int:
        return int(self._phase[0])

    @_state.setter
    def _state(self, value: int) -> None:
        self._phase[0] = value

    @property
    def _count(self) -> int:
        return sum(self._roll.counts[row] for row in self._roll.rows())

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties are here; returns this one's place, 0 to parties - 1, another for each.

        Raises threading.BrokenBarrierError: `timeout` seconds (or the barrier's own) passed, the barrier was
        aborted or reset, its action failed, or a party was killed at it.
        """
        if timeout is None:
            timeout = self._timeout
        with self._cond:
            self._wait_until(lambda: self._state not in (self._DRAINING, self._RESETTING), None)
            if self._state == self._BROKEN:
                raise threading.BrokenBarrierError
            place = self._count
            self._roll.counts[self._roll.mine()] += 1
            try:
                if place + 1 == self._parties:
                    self._let_go()
                else:
                    if not self._wait_until(lambda: self._state != self._FILLING, timeout):
                        self._break()  # type: ignore[attr-defined]  # threading.Barrier's
                    if self._state != self._DRAINING:
                        raise threading.BrokenBarrierError
                return place
            finally:
                self._roll.counts[self._roll.mine()] -= 1
                self._reopen_if_empty()

    def _let_go(self) -> None:
        try:
            if self._action:
                self._action()
        except BaseException:
            self._break()  # type: ignore[attr-defined]
            raise
        self._state = self._DRAINING
        self._cond.notify_all()

    def _reopen_if_empty(self) -> None:
        if self._state in (self._DRAINING, self._RESETTING) and self._count == 0:
            self._state = self._FILLING
            self._cond.notify_all()

    def _wait_until(self, predicate: Callable[[], bool], timeout: float | None) -> bool:
        """As Condition.wait_for, and looks now and then whether someone inside was killed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._strike_dead()
            if predicate():
                return True
            left = _LOOK_AROUND if deadline is None else min(_LOOK_AROUND, deadline - time.monotonic())
            if left <= 0:
                return False
            self._cond.wait(left)

    def _strike_dead(self) -> None:
        dead = [row for row in self._roll.rows() if self._roll.counts[row] and self._roll.strike_dead(row)]
        if dead and self._state == self._FILLING:
            self._break()  # type: ignore[attr-defined]
        elif dead:
            self._reopen_if_empty()
