"""What a peer of Manager offers to be measured: a shared dict, list, Namespace and class, in one shape."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from benchmarks.adapters.base import Adapter

CHUNK = 10_000  # entries that are put into a dict by one call when it is filled


class Counter:
    """The class that is registered with a manager, and lives in its server."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> int:
        self.total += number
        return self.total


class DictClient:
    """A shared dict as one process uses it: loops over the peer's own calls, and over nothing else.

    This one is for what behaves as a mapping; a peer that has calls of its own overrides them.
    """

    def __init__(self, shared: Any, lock: Any = None) -> None:
        self.shared = shared
        self.lock = lock

    def keys(self, texts: list[str]) -> list[Any]:
        """The keys in the form that the peer likes best: making them so is no part of a run."""
        return texts

    def fill(self, items: Iterable[tuple[str, Any]]) -> None:
        for chunk in chunks(items):
            self.shared.update(chunk)

    def get(self, keys: Iterable[Any]) -> Any:
        """Read each of the keys; the last one's value."""
        shared, value = self.shared, None
        for key in keys:
            value = shared[key]
        return value

    def set(self, keys: Iterable[Any], value: Any) -> None:
        """Store the value under each of the keys."""
        shared = self.shared
        for key in keys:
            shared[key] = value

    def add(self, keys: Iterable[Any]) -> None:
        """Add one under each of the keys, with nobody else about."""
        shared = self.shared
        for key in keys:
            shared[key] += 1

    def add_safely(self, keys: Iterable[Any]) -> None:
        """The same, losing no addition of another process."""
        shared, lock = self.shared, self.lock
        for key in keys:
            with lock:
                shared[key] += 1

    def number(self, key: Any) -> int:
        """What `add` and `add_safely` made of a number."""
        return int(self.shared[key])

    def items(self) -> Iterable[tuple[Any, Any]]:
        """All keys and values, in the peer's best way of going over them."""
        items: Iterable[tuple[Any, Any]] = self.shared.items()
        return items

    def clear(self) -> None:
        self.shared.clear()

    def close(self) -> None:
        """This process is done with it."""


class ListClient:
    """A shared list as one process uses it."""

    def __init__(self, shared: Any) -> None:
        self.shared = shared

    def append(self, values: Iterable[Any]) -> None:
        append = self.shared.append
        for value in values:
            append(value)

    def index(self, indexes: Iterable[int]) -> Any:
        """Read at each of the indexes; the last one's value."""
        shared, value = self.shared, None
        for index in indexes:
            value = shared[index]
        return value

    def items(self) -> Iterable[Any]:
        """All values, in the peer's best way of going over them."""
        items: Iterator[Any] = iter(self.shared)
        return items

    def length(self) -> int:
        return len(self.shared)

    def close(self) -> None:
        """This process is done with it."""


class StoreAdapter(Adapter):
    """A peer of Manager. What it does not override it does not offer.

    `start` and what makes an object (`dict`, `list`, ...) are called in the parent; what the latter return is
    handed to the children as an argument, where `dict_client` and `list_client` make of it what they use.
    """

    def start(self, method: str, limit: float) -> Any:
        """What has to run, or to be there, for a run; it ends by itself after `limit` seconds."""
        return None

    def stop(self, server: Any) -> None:
        """End what `start` started, and remove what it left."""

    def dict(self, server: Any, method: str, entries: int, size: int) -> Any:
        """An empty dict that is to hold so many entries with values of so many bytes."""
        raise self._absent("shared dict")

    def dict_client(self, made: Any) -> DictClient:
        raise self._absent("shared dict")

    def list(self, server: Any) -> Any:
        """An empty list."""
        raise self._absent("shared list")

    def list_client(self, made: Any) -> ListClient:
        raise self._absent("shared list")

    def namespace(self, server: Any) -> Any:
        """A Namespace with x = 0, which the children use by `namespace.x`."""
        raise self._absent("Namespace")

    def counter(self, server: Any) -> Any:
        """A Counter in the server, which the children use by `counter.add(n)`."""
        raise self._absent("class in a server")

    def bytes_held(self, made: Any) -> int:
        """Bytes that what holds the dict `made` has at the moment; asked by the child that uses it."""
        raise self._absent("memory of its own to measure")

    def bytes_used(self, made: Any) -> int:
        """The same less what it keeps for later use, where that can be told."""
        return self.bytes_held(made)


def chunks(items: Iterable[tuple[Any, Any]]) -> Iterator[dict[Any, Any]]:
    """The items in dicts of CHUNK entries, so that filling needs little memory of its own."""
    source = iter(items)
    while chunk := dict(islice(source, CHUNK)):
        yield chunk


def process_bytes(pid: int) -> int:
    """What a process has resident for itself, and its share of what is shared, in bytes (Linux: Pss)."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup has no line that begins with 'Pss:'")


def file_bytes(paths: Sequence[str]) -> int:
    """What files take, in bytes: of a file in memory, the pages that it has."""
    return sum(os.stat(path).st_blocks * 512 for path in paths)


def end_after(limit: float) -> None:
    """This process, and what it execs, ends after so many seconds, whatever it is doing then."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit)
