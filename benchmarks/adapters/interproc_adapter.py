"""interproc, by its documented API."""

from __future__ import annotations

import importlib
from multiprocessing.context import BaseContext
from typing import Any

from benchmarks.adapters.base import IN_FLIGHT, Adapter, Duplex, Payload, Receiver, Sender


class Interproc(Adapter):
    name = "interproc"
    package = "interproc"
    distribution = "interproc"
    note = "`Queue`, `Pipe`, `Value`, `Array` through `interproc.get_context`"

    def context(self, method: str) -> BaseContext:
        context: BaseContext = self.library().get_context(method)
        return context

    def queue(self, method: str, payload: Payload) -> Any:
        return self.library().get_context(method).Queue(0 if payload == "small" else IN_FLIGHT)

    def sender(self, queue: Any, payload: Payload) -> Sender:
        return Sender(queue.put, queue.put_many)

    def receiver(self, queue: Any, payload: Payload) -> Receiver:
        if payload == "view":
            return Receiver(lambda: queue.get(copy=False), queue.get_many)
        return Receiver(queue.get, queue.get_many)

    def discard(self, made: Any) -> None:
        if hasattr(made, "close"):
            made.close()

    def pipe(self, method: str) -> tuple[Any, Any]:
        one, other = self.library().get_context(method).Pipe()
        return one, other

    def duplex(self, end: Any) -> Duplex:
        return Duplex(end.send, end.recv, end.close)

    def value(self, method: str) -> Any:
        return self.library().get_context(method).Value("q", 0)

    def increment(self, value: Any, times: int) -> None:
        for _ in range(times):
            value.add(1)

    def array(self, method: str, length: int) -> Any:
        return self.library().get_context(method).Array("i", length)

    def as_numpy(self, array: Any) -> Any:
        import numpy as np

        view = np.asarray(array)
        if view.dtype != np.intc:
            raise TypeError(f"np.asarray(Array('i')) has dtype {view.dtype}, expected {np.dtype(np.intc)}")
        return view

    def as_memoryview(self, array: Any) -> memoryview:
        return memoryview(array)

    def memory_in_use(self) -> int:
        return int(importlib.import_module("interproc._core").Arena.default().used)
