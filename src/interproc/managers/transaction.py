"""transaction(): changes of several shared containers that happen all at once or not at all."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from .. import _core
from .containers import who

__all__ = ["Transaction", "acquire_all", "deadline_of", "patience", "time_left", "transaction", "under_way"]

_NAMED = 8  # containers that a message names at most
_SHORTEST, _LONGEST = 0.0005, 0.05  # seconds: the limits of patience()

# Public names may be the user's own attributes (see NamespaceProxy), hence the class's functions.
_acquire, _release = _core.Container.acquire, _core.Container.release


def transaction(*proxies: _core.Container, timeout: float | None = None) -> Transaction:
    """`with transaction(d, l): ...`: what the block does to these containers happens all at once, or not at
    all.

    In the block their calls are the transaction's; those of all other processes and threads wait, reads too,
    until it has ended. An exception undoes everything and goes on up; if the process is killed in the block,
    the next to come undoes everything. The proxies may be of dicts, lists, sets, Namespaces and Values, of
    one arena.

    Only the containers that are named take part: one that is nested in another is an object of its own, so
    name it too. Name all that the block uses: if it waits for another container, locked by somebody who waits
    for one of these, that does not end. Taking the locks of those named does, in whatever order others lock.

    The block belongs to the thread that entered it. A process that is forked in it is another process: it
    waits.

    Args:
        timeout: seconds that taking the locks may last; None: as long as it takes.

    Raises:
        ValueError: there is no proxy, or they are of different arenas.
        TypeError: one of them is something else.
        TimeoutError: (on entering) the locks could not be had in time; nothing was done.
        RuntimeError: (on entering) this thread is in a transaction already; (on leaving) another thread or a
            forked child leaves than the thread that entered.
    """
    return Transaction(proxies, timeout)


class Transaction:
    """What transaction() gives; `with` enters it. It can be entered again once it has ended."""

    __slots__ = ("_core", "_owner", "_proxies", "_timeout")

    def __init__(self, proxies: Sequence[_core.Container], timeout: float | None = None) -> None:
        self._owner: tuple[int, int] | None = None
        for proxy in proxies:
            if not isinstance(proxy, _core.Container):
                raise TypeError(
                    "a transaction takes proxies of shared dicts, lists, sets, Namespaces and Values, "
                    f"not {type(proxy).__name__}"
                )
        if not proxies:
            raise ValueError("a transaction needs the objects it is about: transaction(d, l)")
        self._proxies = tuple(proxies)
        self._timeout = timeout
        self._core = _core.Transaction(self._proxies)

    def __enter__(self) -> tuple[_core.Container, ...]:
        other = under_way()
        if other is not None:
            raise RuntimeError(
                f"this thread is in a transaction of {_names(other)} already, and one within "
                "another could not be undone with it: name all objects in one transaction"
            )
        if self._core.active and not self._is_mine():
            raise RuntimeError(f"{self!r} is under way in another thread or process: make another one")
        try:
            if not self._begin():
                raise TimeoutError(
                    f"the locks of {_names(self._proxies)} could not all be had within {self._timeout} s: "
                    "others have locked them, or are in transactions of them; nothing was done"
                )
            self._owner = _here()
            _running.proxies, _running.owner = self._proxies, self._owner
        except BaseException:  # a Ctrl-C, just when all was locked
            if self._core.active:
                self._core.rollback()
            raise
        return self._proxies

    def _begin(self) -> bool:
        containers = self._core.containers
        if len(containers) == 1:
            return self._core.begin(self._timeout)
        deadline = deadline_of(self._timeout)
        if acquire_all(containers, deadline) is not None:
            return False
        try:  # this thread has all locks, and now takes each once more
            return self._core.begin(time_left(deadline))
        finally:
            for container in reversed(containers):
                _release(container)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_mine():
            if error is None:
                raise RuntimeError(
                    f"{self!r} belongs to another thread or process than the one that leaves it: "
                    "whoever entered it ends it, and nothing was done here"
                )
            return  # the error tells more
        self._owner = _running.proxies = None
        if error is None:
            self._core.commit()
        else:
            self._core.rollback()

    def __del__(self) -> None:
        # A Ctrl-C after __enter__ and before the block has been entered: there is no __exit__ then.
        if self._owner is not None and self._is_mine():
            self._owner = _running.proxies = None
            self._core.rollback()

    def _is_mine(self) -> bool:
        return self._owner == _here()

    def __repr__(self) -> str:
        return f"<transaction of {_names(self._proxies)}>"


class _Running(threading.local):
    """The transaction that this thread is in. Not itself: it is undone when it is dropped."""

    proxies: tuple[_core.Container, ...] | None = None
    owner: tuple[int, int] | None = None


_running = _Running()


def under_way() -> tuple[_core.Container, ...] | None:
    """What the transaction that this thread is in is about; None if it is in none."""
    if _running.proxies is not None and _running.owner != _here():  # forked in one, which is the parent's
        _running.proxies = None
    return _running.proxies


def acquire_all(containers: Sequence[_core.Container], deadline: float | None) -> _core.Container | None:
    """Takes the locks of all of them for this thread, and while it has any waits for another a moment only.

    So it cannot be part of a deadlock, whatever the order in which others lock: what is taken is given back,
    and the one that was missing is then waited for, with nothing locked, and is the first to be taken.

    Returns the one that could not be had until the deadline (of time.monotonic()), and then none is taken.
    """
    first = attempt = 0
    while True:
        taken: list[_core.Container] = []
        missing: int | None = first
        try:
            if not _acquire(containers[first], time_left(deadline)):
                return containers[first]
            taken.append(containers[first])
            for index, container in enumerate(containers):
                if index != first:
                    if not _acquire(container, patience(attempt, deadline)):
                        missing = index
                        break
                    taken.append(container)
            else:
                missing = None
                return None
        finally:
            if missing is not None:
                for container in reversed(taken):
                    _release(container)
        if time_left(deadline) == 0.0:
            return containers[missing]
        first = missing
        attempt += 1


def patience(attempt: int, deadline: float | None) -> float:
    """Seconds for which one lock may be waited for while others are held.

    None at first, so that nobody is kept without need; then more from attempt to attempt, so that it succeeds
    though the locks are never all free at the same moment. By chance, so that two who are in each other's way
    come apart.
    """
    if attempt == 0:
        return 0.0
    most: float = min(_LONGEST, _SHORTEST * 2 ** min(attempt, 10))
    left = time_left(deadline)
    return random.random() * (most if left is None else min(most, left))


def deadline_of(timeout: float | None) -> float | None:
    """The time.monotonic() at which a wait of `timeout` seconds ends."""
    return None if timeout is None else time.monotonic() + timeout


def time_left(deadline: float | None) -> float | None:
    """Seconds until then, not below 0."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _here() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def _names(proxies: Sequence[_core.Container]) -> str:
    more = len(proxies) - _NAMED
    return ", ".join(map(who, proxies[:_NAMED])) + (f" and {more} more" if more > 0 else "")
