"""lmdb: a B+tree in a memory-mapped file, here in memory (tmpfs); values are pickled."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

from benchmarks.adapters.manager_base import DictClient, StoreAdapter, file_bytes

TMPFS = "/dev/shm"
LARGE = 4096  # bytes of a value from which on reading it from the map itself is faster than from a copy


class Lmdb(StoreAdapter):
    name = "lmdb"
    package = "lmdb"
    distribution = "lmdb"
    note = (
        "in /dev/shm, an environment a dict, `sync=False, writemap=True`; each call a transaction, values by"
        f" `pickle`, read through `buffers=True` from {LARGE} B on; its keys are bytes from the start;"
        " memory: the pages of its file"
    )

    def missing(self) -> str | None:
        return super().missing() or (None if os.path.isdir(TMPFS) else f"there is no {TMPFS}")

    def start(self, method: str, limit: float) -> Any:
        return tempfile.mkdtemp(prefix="bench-lmdb-", dir=TMPFS)

    def stop(self, server: Any) -> None:
        shutil.rmtree(server, ignore_errors=True)

    def dict(self, server: Any, method: str, entries: int, size: int) -> Any:
        return tempfile.mkdtemp(dir=server), (1 << 30) + 8 * entries * size, size >= LARGE

    def dict_client(self, made: Any) -> DictClient:
        folder, room, large = made
        return _Client(
            self.library().open(
                folder,
                map_size=room,
                sync=False,
                metasync=False,
                writemap=True,
                map_async=True,
                readahead=False,
            ),
            large,
        )

    def bytes_held(self, made: Any) -> int:
        return file_bytes([os.path.join(made[0], "data.mdb")])


class _Client(DictClient):
    def __init__(self, environment: Any, large: bool) -> None:
        super().__init__(environment)
        self.large = large

    def keys(self, texts: list[str]) -> list[Any]:
        return [text.encode() for text in texts]

    def fill(self, items: Iterable[tuple[str, Any]]) -> None:
        with self.shared.begin(write=True) as transaction:
            for key, value in items:
                transaction.put(key.encode(), pickle.dumps(value))

    def get(self, keys: Iterable[Any]) -> Any:
        begin, loads, value = self.shared.begin, pickle.loads, None
        if self.large:
            for key in keys:
                with begin(buffers=True) as transaction:
                    value = loads(transaction.get(key))
            return value
        for key in keys:
            with begin() as transaction:
                value = loads(transaction.get(key))
        return value

    def set(self, keys: Iterable[Any], value: Any) -> None:
        begin, dumps = self.shared.begin, pickle.dumps
        for key in keys:
            with begin(write=True) as transaction:
                transaction.put(key, dumps(value))

    def add(self, keys: Iterable[Any]) -> None:
        begin, dumps, loads = self.shared.begin, pickle.dumps, pickle.loads
        for key in keys:
            with begin(write=True) as transaction:
                transaction.put(key, dumps(loads(transaction.get(key)) + 1))

    add_safely = add

    def number(self, key: Any) -> int:
        return int(self.get([key]))

    def items(self) -> Iterable[tuple[Any, Any]]:
        loads = pickle.loads
        with self.shared.begin() as transaction:
            for key, value in transaction.cursor():
                yield key, loads(value)

    def clear(self) -> None:
        with self.shared.begin(write=True) as transaction:
            transaction.drop(self.shared.open_db(None, transaction), delete=False)

    def close(self) -> None:
        self.shared.close()
