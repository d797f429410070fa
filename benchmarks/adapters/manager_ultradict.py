"""UltraDict: each process has a dict of its own, kept up to date by a stream of changes in shared memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from benchmarks.adapters.base import NotOffered
from benchmarks.adapters.manager_base import DictClient, StoreAdapter, process_bytes

STREAM = 1 << 24  # bytes; with its default, 10,000, the whole dict is written out every few hundred changes


class UltraDict(StoreAdapter):
    name = "UltraDict"
    package = "UltraDict"
    distribution = "UltraDict"
    note = (
        f"a stream of at least {STREAM >> 20} MiB; an addition under its own lock; what is read is each"
        " process's own copy, so large values are not copied; memory: that of one process that uses it"
    )

    def dict(self, server: Any, method: str, entries: int, size: int) -> Any:
        stream = max(STREAM, entries * (size + 100))
        # The lock it has by default is inherited, and only by fork; the other, for all methods, is slower.
        return self.library().UltraDict(buffer_size=stream, shared_lock=method != "fork", auto_unlink=False)

    def dict_client(self, made: Any) -> DictClient:
        return _Client(made, made.lock)

    def discard(self, made: Any) -> None:
        made.close(unlink=True)

    def bytes_held(self, made: Any) -> int:
        return process_bytes(os.getpid())


class _Client(DictClient):
    def fill(self, items: Iterable[tuple[str, Any]]) -> None:
        self.shared.update(items)

    def clear(self) -> None:
        raise NotOffered("its clear() deletes entry by entry, each from the front: quadratic in their number")
