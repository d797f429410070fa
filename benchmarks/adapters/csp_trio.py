"""The same networks written with trio: a memory channel without a buffer, a rendezvous, for a channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.adapters.csp_base import Body, CspAdapter, Kind


class Trio(CspAdapter):
    name = "trio"
    package = "trio"
    distribution = "trio"
    kinds = ("task",)
    note = "CSP: a nursery, `open_memory_channel(0)` for a channel"

    def channel(self, kind: Kind, method: str, buffer: int = 0) -> Any:
        return self.library().open_memory_channel(buffer)

    def reader(self, channel: Any) -> Any:
        return channel[1]

    def writer(self, channel: Any) -> Any:
        return channel[0]

    def receiving(self, end: Any) -> Callable[[], Any]:
        receive: Callable[[], Any] = end.receive
        return receive

    def sending(self, end: Any) -> Callable[[Any], Any]:
        send: Callable[[Any], Any] = end.send
        return send

    def run(self, kind: Kind, method: str, bodies: Sequence[Body], limit: float) -> list[Any]:
        trio = self.library()
        results: list[Any] = [None] * len(bodies)

        async def one(place: int, body: Body) -> None:
            results[place] = await body.function(self, body.readers, body.writers, *body.arguments)

        async def network() -> None:
            with trio.fail_after(limit):
                async with trio.open_nursery() as nursery:
                    for place, body in enumerate(bodies):
                        nursery.start_soon(one, place, body)

        trio.run(network)
        return results
