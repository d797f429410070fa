"""faster-fifo: a circular buffer of fixed size in shared memory, with put_many and get_many."""

from __future__ import annotations

from typing import Any

from benchmarks.adapters.base import IN_FLIGHT, Adapter, Duplex, Payload, Receiver, Sender

SMALL_BYTES = 1_000_000  # its own default
PATIENCE = 120.0  # seconds; its default time limit, 10 s, is too short for the idle measure


class FasterFifo(Adapter):
    name = "faster-fifo"
    package = "faster_fifo"
    distribution = "faster-fifo"
    note = (
        f"`Queue` of {SMALL_BYTES:,} bytes, its default, and of {IN_FLIGHT + 1} MiB for large messages;"
        " as a pipe, two of them"
    )

    def queue(self, method: str, payload: Payload) -> Any:
        size = SMALL_BYTES if payload == "small" else (IN_FLIGHT + 1) << 20
        return self.library().Queue(max_size_bytes=size)

    def sender(self, queue: Any, payload: Payload) -> Sender:
        return Sender(queue.put, queue.put_many)

    def receiver(self, queue: Any, payload: Payload) -> Receiver:
        return Receiver(lambda: queue.get(True, PATIENCE), lambda n: queue.get_many(True, PATIENCE, n))

    def pipe(self, method: str) -> tuple[Any, Any]:
        there, back = self.queue(method, "small"), self.queue(method, "small")
        return (there, back), (back, there)

    def duplex(self, end: Any) -> Duplex:
        out, into = end
        return Duplex(out.put, into.get)
