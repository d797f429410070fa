"""interproc.csp, by its documented API."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.adapters.csp_base import Body, CspAdapter, Kind, end_after


class InterprocCsp(CspAdapter):
    name = "interproc"
    package = "interproc.csp"
    distribution = "interproc"
    kinds = ("process", "thread", "task")
    note = "CSP: `@process` of each kind, `Channel()` without a buffer, `select`; for the stream, `buffer=`"

    def channel(self, kind: Kind, method: str, buffer: int = 0) -> Any:
        return self.library().Channel(buffer=buffer)

    def reader(self, channel: Any) -> Any:
        return channel.reader()

    def writer(self, channel: Any) -> Any:
        return channel.writer()

    def receiving(self, end: Any) -> Callable[[], Any]:
        receive: Callable[[], Any] = end.recv
        return receive

    def sending(self, end: Any) -> Callable[[Any], Any]:
        send: Callable[[Any], Any] = end.send
        return send

    def selecting(self, ends: Sequence[Any]) -> Callable[[], Any]:
        select = self.library().select

        def receive() -> Any:
            _, value = select(*ends)
            return value

        return receive

    def run(self, kind: Kind, method: str, bodies: Sequence[Body], limit: float) -> list[Any]:
        csp = self.library()
        importlib.import_module("interproc").set_start_method(method, force=True)
        if kind == "task":
            coroutines = csp.process(_task)
            peer: CspAdapter = _Awaited()
            made = [coroutines(peer, b.function, b.readers, b.writers, b.arguments) for b in bodies]
        else:
            functions = csp.process(kind=kind)(_function)
            alarm = limit if kind == "process" else 0.0
            made = [functions(self, alarm, b.function, b.readers, b.writers, b.arguments) for b in bodies]
        results: list[Any] = csp.Parallel(made)
        return results


class _Awaited(InterprocCsp):
    """The same as tasks use it."""

    def receiving(self, end: Any) -> Callable[[], Any]:
        receive: Callable[[], Any] = end.arecv
        return receive

    def sending(self, end: Any) -> Callable[[Any], Any]:
        send: Callable[[Any], Any] = end.asend
        return send


def _function(
    peer: CspAdapter, alarm: float, function: Any, readers: Any, writers: Any, arguments: tuple[Any, ...]
) -> Any:
    if alarm:
        end_after(alarm)
    return function(peer, readers, writers, *arguments)


async def _task(
    peer: CspAdapter, function: Any, readers: Any, writers: Any, arguments: tuple[Any, ...]
) -> Any:
    return await function(peer, readers, writers, *arguments)
