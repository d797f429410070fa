"""The same networks written with multiprocessing: a Pipe for a channel, which asks for no acknowledgement."""

from __future__ import annotations

import multiprocessing
import platform
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

from benchmarks import processes
from benchmarks.adapters.csp_base import Body, CspAdapter, Kind


class Pipes(CspAdapter):
    name = "multiprocessing"
    package = "multiprocessing"
    kinds = ("process",)
    note = (
        "CSP: `Process`, `Pipe(duplex=False)` for a channel (it holds what was sent, so nobody waits for a"
        " reader), `connection.wait` and the first that is ready for a choice; for the stream, `Queue()`"
    )

    def version(self) -> str:
        return f"of Python {platform.python_version()}"

    def channel(self, kind: Kind, method: str, buffer: int = 0) -> Any:
        return multiprocessing.get_context(method).Pipe(duplex=False)

    def reader(self, channel: Any) -> Any:
        return channel[0]

    def writer(self, channel: Any) -> Any:
        return channel[1]

    def receiving(self, end: Any) -> Callable[[], Any]:
        receive: Callable[[], Any] = end.recv
        return receive

    def sending(self, end: Any) -> Callable[[Any], Any]:
        send: Callable[[Any], Any] = end.send
        return send

    def selecting(self, ends: Sequence[Any]) -> Callable[[], Any]:
        def receive() -> Any:
            ready: Any = wait(ends)[0]
            return ready.recv()

        return receive

    def stream(self, method: str, size: int) -> Any:
        queue = multiprocessing.get_context(method).Queue()
        return _QueueEnd(queue), _QueueEnd(queue)

    def run(self, kind: Kind, method: str, bodies: Sequence[Body], limit: float) -> list[Any]:
        children = [(_child, (self, b.function, b.readers, b.writers, b.arguments)) for b in bodies]
        return [answer["result"] for answer in processes.run(self, method, children, limit)]


class _QueueEnd:
    """A Queue under the names that a Connection has."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    @property
    def recv(self) -> Any:
        return self.queue.get

    @property
    def send(self) -> Any:
        return self.queue.put


def _child(
    gate: processes.Gate,
    peer: CspAdapter,
    function: Any,
    readers: Any,
    writers: Any,
    arguments: tuple[Any, ...],
) -> dict[str, Any]:
    return {"result": function(peer, readers, writers, *arguments)}
