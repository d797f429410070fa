"""Makers: the methods of a manager that make objects in its arena, under multiprocessing's names."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any

from .. import _core, locks, queues
from .arrays import ManagedArray
from .dicts import DictProxy
from .lists import ListProxy
from .namespaces import NamespaceProxy
from .sets import SetProxy
from .values import ValueProxy

__all__ = ["Makers"]


class Makers:
    """To be mixed in; what it makes lives in `self._arena`, as long as a process or a container has it.

    Each process of the arena uses it by calls into shared memory.
    """

    _arena: _core.Arena

    def dict(self, /, *args: Any, **items: Any) -> DictProxy[Any, Any]:
        """A shared dict with what dict(*args, **items) has."""
        return DictProxy(builtins.dict(*args, **items), arena=self._arena)

    def list(self, items: Iterable[Any] = (), /) -> ListProxy[Any]:
        """A shared list of the items."""
        return ListProxy(items, arena=self._arena)

    def set(self, elements: Iterable[Any] = (), /) -> SetProxy[Any]:
        """A shared set of the elements."""
        return SetProxy(elements, arena=self._arena)

    def Namespace(self, /, **attributes: Any) -> NamespaceProxy:
        """A shared object with these attributes."""
        return NamespaceProxy(attributes, arena=self._arena)

    def Value(self, typecode: Any, value: Any, lock: Any = True) -> ValueProxy[Any]:
        """A shared value of any kind."""
        return ValueProxy(typecode, value, lock, arena=self._arena)

    def Array(self, typecode: Any, sequence: Any, lock: Any = True) -> Any:
        """A shared C array, with a lock around it; see interproc.Array, and ManagedArray for its checks."""
        return ManagedArray.made(typecode, sequence, self._arena)

    def Queue(self, maxsize: int = 0, max_bytes: int = 0) -> queues.JoinableQueue[Any]:
        """A queue that also has task_done() and join(), as that of multiprocessing's managers."""
        return queues.JoinableQueue(maxsize, max_bytes, arena=self._arena)

    def JoinableQueue(self, maxsize: int = 0, max_bytes: int = 0) -> queues.JoinableQueue[Any]:
        """A queue with task_done() and join()."""
        return queues.JoinableQueue(maxsize, max_bytes, arena=self._arena)

    def Lock(self) -> locks.Lock:
        """A lock that passes on when its owner dies."""
        return locks.Lock(arena=self._arena)

    def RLock(self) -> locks.RLock:
        """A recursive lock that passes on when its owner dies."""
        return locks.RLock(arena=self._arena)

    def Semaphore(self, value: int = 1) -> locks.Semaphore:
        """A semaphore."""
        return locks.Semaphore(value, arena=self._arena)

    def BoundedSemaphore(self, value: int = 1) -> locks.BoundedSemaphore:
        """A semaphore that cannot be released above its first value."""
        return locks.BoundedSemaphore(value, arena=self._arena)

    def Condition(self, lock: Any = None) -> locks.Condition:
        """A condition variable."""
        return locks.Condition(lock, arena=self._arena)

    def Event(self) -> locks.Event:
        """A flag to wait for."""
        return locks.Event(arena=self._arena)

    def Barrier(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> locks.Barrier:
        """A meeting point of so many."""
        return locks.Barrier(parties, action, timeout, arena=self._arena)
