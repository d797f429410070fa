"""The same networks written with threads: a queue.Queue for a channel."""

from __future__ import annotations

import platform
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.adapters.csp_base import Body, CspAdapter, Kind


class Threads(CspAdapter):
    name = "queue.Queue"
    package = "queue"
    kinds = ("thread",)
    note = "CSP: `threading.Thread`, `queue.Queue(1)` for a channel: the sender does not wait for the reader"

    def version(self) -> str:
        return f"of Python {platform.python_version()}"

    def channel(self, kind: Kind, method: str, buffer: int = 0) -> Any:
        return queue.Queue(buffer or 1)

    def receiving(self, end: Any) -> Callable[[], Any]:
        receive: Callable[[], Any] = end.get
        return receive

    def sending(self, end: Any) -> Callable[[Any], Any]:
        send: Callable[[Any], Any] = end.put
        return send

    def run(self, kind: Kind, method: str, bodies: Sequence[Body], limit: float) -> list[Any]:
        results: dict[int, Any] = {}
        errors: list[BaseException] = []

        def one(place: int, body: Body) -> None:
            try:
                results[place] = body.function(self, body.readers, body.writers, *body.arguments)
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=one, args=(place, body), daemon=True) for place, body in enumerate(bodies)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not errors:
                thread.join(0.5)
        if errors:
            raise errors[0]
        return [results[place] for place in range(len(bodies))]
