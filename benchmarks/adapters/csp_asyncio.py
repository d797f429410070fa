"""The same networks written with asyncio: an asyncio.Queue for a channel."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.adapters.csp_base import Body, CspAdapter, Kind


class Asyncio(CspAdapter):
    name = "asyncio"
    package = "asyncio"
    kinds = ("task",)
    note = "CSP: `asyncio.gather`, `asyncio.Queue(1)` for a channel: the sender does not wait for the reader"

    def version(self) -> str:
        return f"of Python {platform.python_version()}"

    def channel(self, kind: Kind, method: str, buffer: int = 0) -> Any:
        return asyncio.Queue(buffer or 1)

    def receiving(self, end: Any) -> Callable[[], Any]:
        receive: Callable[[], Any] = end.get
        return receive

    def sending(self, end: Any) -> Callable[[Any], Any]:
        send: Callable[[Any], Any] = end.put
        return send

    def run(self, kind: Kind, method: str, bodies: Sequence[Body], limit: float) -> list[Any]:
        async def network() -> list[Any]:
            return await asyncio.gather(
                *(body.function(self, body.readers, body.writers, *body.arguments) for body in bodies)
            )

        return asyncio.run(asyncio.wait_for(network(), limit))
