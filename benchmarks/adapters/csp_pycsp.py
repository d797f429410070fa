"""PyCSP 0.9.2, the last there is (2016). On a Python of today it runs with two things set from outside.

- `PYCSP_HOST`, since its own search for an address passes a str to struct.pack, which wants bytes;
- `collections.Callable`, which Python 3.10 has taken away and its Alternation asks for.

Nothing in it is changed.
"""

from __future__ import annotations

import collections
import collections.abc
import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.adapters.base import NotOffered
from benchmarks.adapters.csp_base import Body, CspAdapter, Kind, end_after


class PyCsp(CspAdapter):
    name = "pycsp"
    package = "pycsp.parallel"
    distribution = "pycsp"
    kinds = ("process", "thread")
    slow = 20
    limit = 15.0
    attempts = 2
    note = (
        "CSP: `MultiProcess` or `Process`, `Channel()`, `AltSelect`; made to run on this Python by"
        " `PYCSP_HOST` and `collections.Callable`, otherwise as it comes; it starts by fork only"
    )

    def missing(self) -> str | None:
        self._prepare()
        return super().missing()

    def library(self) -> Any:
        self._prepare()
        return super().library()

    def _prepare(self) -> None:
        os.environ["PYCSP_HOST"] = "127.0.0.1"
        if not hasattr(collections, "Callable"):
            vars(collections)["Callable"] = collections.abc.Callable

    def channel(self, kind: Kind, method: str, buffer: int = 0) -> Any:
        if method != "fork":
            raise NotOffered(f"its processes cannot be started by {method}")
        return self.library().Channel(buffer=buffer)

    def reader(self, channel: Any) -> Any:
        return channel.reader()

    def writer(self, channel: Any) -> Any:
        return channel.writer()

    def receiving(self, end: Any) -> Callable[[], Any]:
        receive: Callable[[], Any] = end
        return receive

    def sending(self, end: Any) -> Callable[[Any], Any]:
        send: Callable[[Any], Any] = end
        return send

    def selecting(self, ends: Sequence[Any]) -> Callable[[], Any]:
        pycsp = self.library()
        guards = [pycsp.InputGuard(end) for end in ends]

        def receive() -> Any:
            _, value = pycsp.AltSelect(guards)
            return value

        return receive

    def apart(self, work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        """In a process of its own: in one of multiprocessing's it makes no channels."""
        pycsp = self.library()
        found = pycsp.Parallel(pycsp.MultiProcess(_apart, self, work, arguments))[0]
        if isinstance(found, str):
            raise RuntimeError(found)
        answer: dict[str, Any] = found
        return answer

    def run(self, kind: Kind, method: str, bodies: Sequence[Body], limit: float) -> list[Any]:
        if method != "fork":
            raise NotOffered(f"its processes cannot be started by {method}")
        pycsp = self.library()
        make = pycsp.MultiProcess if kind == "process" else pycsp.Process
        alarm = limit if kind == "process" else 0.0
        made = [make(_function, self, alarm, b.function, b.readers, b.writers, b.arguments) for b in bodies]
        results = pycsp.Parallel(made)
        if any(result is None for result in results):  # what a process raises, it prints, and returns None
            raise RuntimeError("a process of PyCSP failed; what it raised is in its output")
        return [result[0] for result in results]


def _apart(peer: CspAdapter, work: Any, arguments: tuple[Any, ...]) -> Any:
    end_after(peer.limit + 2)
    try:
        return work(peer, *arguments)
    except NotOffered as why:
        return {"not offered": str(why)}
    except Exception:
        return traceback.format_exc()


def _function(
    peer: CspAdapter, alarm: float, function: Any, readers: Any, writers: Any, arguments: tuple[Any, ...]
) -> tuple[Any]:
    if alarm:
        end_after(alarm)
    return (function(peer, readers, writers, *arguments),)
