"""Queues between processes: Queue, SimpleQueue, JoinableQueue, with multiprocessing's interface and more."""

from __future__ import annotations

from typing import Any, TypeVar

from . import _core
from .errors import ShutDown
from .locks import Lock

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

T = TypeVar("T")


class _Reader:
    """The side of a queue that items are taken from, as a connection: for concurrent.futures and others.

    Closing it closes nothing but this view: the queue stays as it is.
    """

    readable, writable = True, False

    def __init__(self, queue: _core.Queue[Any]) -> None:
        self._queue = queue
        self.closed = False

    def recv(self) -> Any:
        """The oldest item. Raises EOFError once the queue was shut down and is empty."""
        try:
            return self._queue.get()
        except ShutDown as error:
            raise EOFError(str(error)) from None

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Waits up to `timeout` seconds (None: as long as it takes) for an item."""
        return self._queue.poll(timeout)

    def fileno(self) -> int:
        """A descriptor that is readable while there is an item."""
        return self._queue.fileno()

    def close(self) -> None:
        """Marks this view as closed."""
        self.closed = True


class _Writer:
    """The side of a queue that items are put to, as a connection."""

    readable, writable = False, True

    def __init__(self, queue: _core.Queue[Any]) -> None:
        self._queue = queue
        self.closed = False

    def send(self, item: Any) -> None:
        """Puts an item. Raises OSError when this view was closed."""
        if self.closed:
            raise OSError("handle is closed")
        self._queue.put(item)

    def fileno(self) -> int:
        """The queue's descriptor."""
        return self._queue.fileno()

    def close(self) -> None:
        """Marks this view as closed: send() then raises."""
        self.closed = True


class _Sides(_core.Queue[T]):
    """A queue with the two sides that libraries built on multiprocessing reach for; made when they do."""

    def __init__(
        self,
        maxsize: int = 0,
        max_bytes: int = 0,
        *,
        name: str | None = None,
        arena: _core.Arena | None = None,
        ctx: object = None,
    ) -> None:
        super().__init__(maxsize, max_bytes, name=name, arena=arena)

    @property
    def _reader(self) -> _Reader:
        sides = self.__dict__
        if "reader" not in sides:
            sides["reader"] = _Reader(self)
        return sides["reader"]  # type: ignore[no-any-return]

    @property
    def _writer(self) -> _Writer:
        sides = self.__dict__
        if "writer" not in sides:
            sides["writer"] = _Writer(self)
        return sides["writer"]  # type: ignore[no-any-return]

    @property
    def _rlock(self) -> Lock:
        """A lock that multiprocessing.Pool takes while it empties the queue; gets and puts do not need it."""
        sides = self.__dict__
        if "rlock" not in sides:
            sides["rlock"] = Lock(arena=self.arena)
        return sides["rlock"]  # type: ignore[no-any-return]

    _wlock = _rlock


class Queue(_Sides[T]):
    """A first-in first-out queue that processes and threads share.

    An item is in shared memory when `put` returns, and every later `get` sees it: no feeder thread.
    Unbounded unless `maxsize` (items) or `max_bytes` (bytes of pickled items in the queue) is given: then
    `put` waits for room. With a `name` ("jobs", or "arena/jobs") unrelated processes of the same user open
    the same queue; the first creates it, with its bounds, and the last one out frees it.

    Everything that `multiprocessing.Queue` has, with the same signatures; and put_many, get_many, shutdown,
    iteration until shutdown, poll, task_done and join, `get(copy=False)`, `counters`.
    """

    def join_thread(self) -> None:
        """Nothing to wait for, since `put` itself writes; AssertionError before close()."""
        assert self.closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Nothing to cancel: an item that was put is in the queue, whatever becomes of its sender."""


class JoinableQueue(Queue[T]):
    """A Queue whose `join` waits until `task_done` was called for every item (as every Queue's here)."""


class SimpleQueue(_Sides[T]):
    """A Queue with the interface of `multiprocessing.SimpleQueue`: put, get, empty, close."""

    def __init__(
        self, *, name: str | None = None, arena: _core.Arena | None = None, ctx: object = None
    ) -> None:
        super().__init__(name=name, arena=arena)
