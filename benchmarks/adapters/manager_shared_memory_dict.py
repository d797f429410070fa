"""shared-memory-dict: one pickle of the whole dict in shared memory, which each call reads or writes."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Iterable
from typing import Any

from benchmarks.adapters.base import NotOffered
from benchmarks.adapters.manager_base import DictClient, StoreAdapter

MOST = 100_000  # entries: with more, a run takes too long


class SharedMemoryDict(StoreAdapter):
    name = "shared-memory-dict"
    package = "shared_memory_dict"
    distribution = "shared-memory-dict"
    note = (
        "a block with a quarter of room to spare; changes under a `Lock` of multiprocessing's (its own, which"
        " an environment variable asks for, is released before the change is made)"
    )

    def dict(self, server: Any, method: str, entries: int, size: int) -> Any:
        if entries > MOST:
            raise NotOffered(
                f"each call reads the whole dict, which takes about 0.5 s with {entries:,} entries"
            )
        block = 4096 + entries * (size + 40) * 5 // 4
        made = self.library().SharedMemoryDict(name=f"bench-{uuid.uuid4().hex[:12]}", size=block)
        return _Handle(made, block, self.context(method).Lock())

    def dict_client(self, made: Any) -> DictClient:
        return _Client(made.shared, made.lock)

    def discard(self, made: Any) -> None:
        made.shared.shm.close()
        made.shared.shm.unlink()


class _Handle:
    """What is sent to the children: the name of the block, since it can't be pickled itself."""

    def __init__(self, shared: Any, size: int, lock: Any) -> None:
        self.shared, self.size, self.lock = shared, size, lock

    def __reduce__(self) -> tuple[Any, ...]:
        name = self.shared.shm.name.removeprefix("sm_")
        return _attach, (name, self.size, self.lock)


def _attach(name: str, size: int, lock: Any) -> _Handle:
    shared = importlib.import_module("shared_memory_dict").SharedMemoryDict(name=name, size=size)
    return _Handle(shared, size, lock)


class _Client(DictClient):
    def fill(self, items: Iterable[tuple[str, Any]]) -> None:
        self.shared.update(dict(items))  # each call writes all: so only one

    def set(self, keys: Iterable[Any], value: Any) -> None:
        shared, lock = self.shared, self.lock
        for key in keys:
            with lock:
                shared[key] = value
