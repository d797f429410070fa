"""multiprocessing, the reference: every ratio is to this."""

from __future__ import annotations

import multiprocessing
import platform
from typing import Any

from benchmarks.adapters.base import IN_FLIGHT, Adapter, Duplex, Payload, Receiver, Sender


class Multiprocessing(Adapter):
    name = "multiprocessing"
    package = "multiprocessing"
    note = "`Queue`, `Pipe`, `Value`, `Array` as they come; no put_many, so items are put one by one"

    def version(self) -> str:
        return f"of Python {platform.python_version()}"

    def queue(self, method: str, payload: Payload) -> Any:
        return multiprocessing.get_context(method).Queue(0 if payload == "small" else IN_FLIGHT)

    def sender(self, queue: Any, payload: Payload) -> Sender:
        def put_many(items: list[Any]) -> None:
            for item in items:
                queue.put(item)

        def close() -> None:
            queue.close()
            queue.join_thread()

        return Sender(queue.put, put_many, close)

    def receiver(self, queue: Any, payload: Payload) -> Receiver:
        return Receiver(queue.get, lambda n: [queue.get()], queue.close)

    def discard(self, made: Any) -> None:
        if hasattr(made, "close"):
            made.close()

    def pipe(self, method: str) -> tuple[Any, Any]:
        return multiprocessing.get_context(method).Pipe()

    def duplex(self, end: Any) -> Duplex:
        return Duplex(end.send, end.recv, end.close)

    def value(self, method: str) -> Any:
        return multiprocessing.get_context(method).Value("q", 0)

    def increment(self, value: Any, times: int) -> None:
        for _ in range(times):
            with value.get_lock():
                value.value += 1

    def array(self, method: str, length: int) -> Any:
        return multiprocessing.get_context(method).Array("i", length)

    def as_numpy(self, array: Any) -> Any:
        import numpy as np

        return np.frombuffer(array.get_obj(), np.intc)

    def as_memoryview(self, array: Any) -> memoryview:
        return memoryview(array.get_obj())
