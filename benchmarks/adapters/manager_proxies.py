"""multiprocessing's Manager, the reference, and interproc's, which has the same names."""

from __future__ import annotations

import operator
import os
import platform
from collections.abc import Iterable
from multiprocessing.context import BaseContext
from typing import Any

from benchmarks.adapters.manager_base import (
    Counter,
    DictClient,
    ListClient,
    StoreAdapter,
    end_after,
    process_bytes,
)


class _Proxies(StoreAdapter):
    """What both have in common: a SyncManager with a registered class."""

    def _manager(self) -> Any:
        manager = self.library().managers.SyncManager
        if not hasattr(manager, "BenchmarkCounter"):
            manager.register("BenchmarkCounter", Counter)
        return manager

    def start(self, method: str, limit: float) -> Any:
        server = self._manager()(ctx=self.context(method))
        server.start(end_after, (limit,))
        return server

    def stop(self, server: Any) -> None:
        server.shutdown()

    def list(self, server: Any) -> Any:
        return server.list()

    def namespace(self, server: Any) -> Any:
        return server.Namespace(x=0)

    def counter(self, server: Any) -> Any:
        return server.BenchmarkCounter()


class _SliceClient(ListClient):
    def items(self) -> Iterable[Any]:
        items: list[Any] = self.shared[:]  # one call, where iter() makes one a value
        return items


class MultiprocessingManager(_Proxies):
    name = "multiprocessing"
    package = "multiprocessing.managers"
    note = (
        "`Manager()`; `list` iterated over `l[:]` and `dict` over `d.items()`, one call each; an addition"
        " among others under a `Lock` (no manager's, which would be slower); memory: its server's"
    )

    def version(self) -> str:
        return f"of Python {platform.python_version()}"

    def library(self) -> Any:
        import multiprocessing.managers

        return multiprocessing

    def dict(self, server: Any, method: str, entries: int, size: int) -> Any:
        return server.dict(), self.context(method).Lock(), server._process.pid

    def dict_client(self, made: Any) -> DictClient:
        shared, lock, _ = made
        return DictClient(shared, lock)

    def list_client(self, made: Any) -> ListClient:
        return _SliceClient(made)

    def bytes_held(self, made: Any) -> int:
        return process_bytes(made[2])


class _OurDictClient(DictClient):
    def add_safely(self, keys: Iterable[Any]) -> None:
        update_with, add = self.shared.update_with, operator.add
        for key in keys:
            update_with(key, add, 1)


class InterprocManager(_Proxies):
    name = "interproc"
    package = "interproc.managers"
    distribution = "interproc"
    note = (
        "`Manager()`; an addition among others by `d.update_with(key, operator.add, 1)`; memory: the pages of"
        " its arena"
    )

    def library(self) -> Any:
        import interproc.managers

        return interproc

    def context(self, method: str) -> BaseContext:
        context: BaseContext = self.library().get_context(method)
        return context

    def dict(self, server: Any, method: str, entries: int, size: int) -> Any:
        return server.dict()

    def dict_client(self, made: Any) -> DictClient:
        return _OurDictClient(made)

    def list_client(self, made: Any) -> ListClient:
        return ListClient(made)

    def bytes_held(self, made: Any) -> int:
        return os.fstat(made.arena.fd).st_blocks * 512

    def bytes_used(self, made: Any) -> int:
        return int(made.arena.used)
