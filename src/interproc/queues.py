"""Queues between processes: Queue, SimpleQueue, JoinableQueue, with multiprocessing's interface and more."""

from __future__ import annotations

from typing import Any, TypeVar

from . import _core
from .errors import ShutDown
from .locks import Lock

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

T = TypeVar("T")


class _Side:
    """A side of a queue, as a connection: what concurrent.futures and others reach for.

    Made anew each time, since one that its queue kept would keep the queue. Closing it closes nothing but the
    side, in this process: the queue stays as it is.
    """

    readable = writable = False

    def __init__(self, queue: _core.Queue[Any], closed: list[bool]) -> None:
        self._queue = queue
        self._closed = closed

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, _Side) and other._queue is self._queue

    def __hash__(self) -> int:
        return hash((type(self), id(self._queue)))

    @property
    def closed(self) -> bool:
        """Whether close() was called for this side in this process."""
        return bool(self._closed)

    def fileno(self) -> int:
        """A descriptor that is readable while the queue has an item."""
        return self._queue.fileno()

    def close(self) -> None:
        """Marks this side as closed."""
        if not self._closed:
            self._closed.append(True)


class _Reader(_Side):
    """The side that items are taken from."""

    readable = True

    def recv(self) -> Any:
        """The oldest item. Raises EOFError once the queue was shut down and is empty."""
        try:
            return self._queue.get()
        except ShutDown as error:
            raise EOFError(str(error)) from None

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Waits up to `timeout` seconds (None: as long as it takes) for an item."""
        return self._queue.poll(timeout)


class _Writer(_Side):
    """The side that items are put to."""

    writable = True

    def send(self, item: Any) -> None:
        """Puts an item. Raises OSError when this side was closed."""
        if self._closed:
            raise OSError("handle is closed")
        self._queue.put(item)


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
        return _Reader(self, self.__dict__.setdefault("reader_closed", []))

    @property
    def _writer(self) -> _Writer:
        return _Writer(self, self.__dict__.setdefault("writer_closed", []))

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
