"""What a peer has to offer to be measured: an adapter gives its queue, pipe, value and array in one shape."""

from __future__ import annotations

import importlib
import importlib.metadata
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, Literal

Payload = Literal["small", "bytes", "array", "view"]
"""What travels: small tuples, 1 MiB bytes, 1 MiB NumPy arrays, or those taken as views where the peer can."""

IN_FLIGHT = 16
"""Large messages that may wait in a queue: each adapter bounds its queue to this."""


class NotOffered(Exception):
    """The peer has no such thing; the row says so in its place."""


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Sender:
    """The producer's side of a queue, made in the producer's process."""

    put: Callable[[Any], object]
    put_many: Callable[[list[Any]], object]
    close: Callable[[], object] = _nothing  # returns once all that was put is on its way


@dataclass(frozen=True)
class Receiver:
    """The consumer's side of a queue, made in the consumer's process."""

    get: Callable[[], Any]
    get_many: Callable[[int], list[Any]]
    close: Callable[[], object] = _nothing


@dataclass(frozen=True)
class Duplex:
    """One side of a pipe, made in the process that uses it."""

    send: Callable[[Any], object]
    recv: Callable[[], Any]
    close: Callable[[], object] = _nothing


class Adapter:
    """A peer. What it does not override it does not offer.

    `queue` and `pipe` are called in the parent and return what is handed to the children as an argument;
    `sender`, `receiver` and `duplex` are called in the child. The callables they return are the peer's own
    bound methods wherever it has one of the shape, so that nothing of the harness stands between it and the
    clock.
    """

    name = ""
    package = ""  # the module to import
    distribution = ""  # what its version is looked up by; empty for what comes with Python
    note = ""  # how it is used, for the report

    def missing(self) -> str | None:
        """Why this peer cannot be measured here, or None if it can."""
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            return f"{self.package} cannot be imported: {error}"
        return None

    def version(self) -> str:
        """The version that is installed.

        Raises:
            importlib.metadata.PackageNotFoundError: it is importable, but not as an installed package.
        """
        return importlib.metadata.version(self.distribution)

    def library(self) -> Any:
        """The peer's module."""
        return importlib.import_module(self.package)

    def context(self, method: str) -> BaseContext:
        """What starts this peer's processes, by `method` ("fork", "spawn" or "forkserver")."""
        return multiprocessing.get_context(method)

    def _absent(self, what: str) -> NotOffered:
        return NotOffered(f"{self.name} has no {what}")

    def queue(self, method: str, payload: Payload) -> Any:
        """A queue for one producer and one consumer, before the processes are started."""
        raise self._absent("queue")

    def sender(self, queue: Any, payload: Payload) -> Sender:
        raise self._absent("queue")

    def receiver(self, queue: Any, payload: Payload) -> Receiver:
        raise self._absent("queue")

    def discard(self, made: Any) -> None:
        """The parent is done with what `queue`, `pipe`, `value` or `array` made."""

    def pipe(self, method: str) -> tuple[Any, Any]:
        """The two ends of a duplex pipe, before the processes are started."""
        raise self._absent("pipe")

    def duplex(self, end: Any) -> Duplex:
        raise self._absent("pipe")

    def value(self, method: str) -> Any:
        """A locked 64-bit integer that starts at 0."""
        raise self._absent("shared value")

    def increment(self, value: Any, times: int) -> None:
        """Add one to a value, `times` times, in the best way the peer has that loses no increment."""
        raise self._absent("shared value")

    def array(self, method: str, length: int) -> Any:
        """A locked array of `length` C ints (32 bits), all 0."""
        raise self._absent("shared array")

    def as_numpy(self, array: Any) -> Any:
        """The array's memory as a NumPy array, not a copy."""
        raise self._absent("shared array")

    def as_memoryview(self, array: Any) -> memoryview:
        """The array's memory as a memoryview, not a copy."""
        raise self._absent("shared array")

    def memory_in_use(self) -> int:
        """Bytes that this process's queues take at the moment, in shared and private memory."""
        return private_and_shared_bytes()


def private_and_shared_bytes() -> int:
    """What the process has resident for itself, and its share of what is shared, in bytes (Linux: Pss)."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    raise OSError("/proc/self/smaps_rollup has no line that begins with 'Pss:'")
