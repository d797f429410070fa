"""What a peer of CSP offers to be measured: channels, and processes of a kind that communicate over them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.adapters.base import Adapter

Kind = Literal["process", "thread", "task"]
"""OS processes, threads of one process, or coroutines of one event loop."""


@dataclass(frozen=True)
class Body:
    """One process of a network: `function(peer, readers, writers, *arguments)`, with ends that are its own.

    Of kind "task" the function is a coroutine function.
    """

    function: Callable[..., Any]
    readers: Sequence[Any] = ()
    writers: Sequence[Any] = ()
    arguments: tuple[Any, ...] = ()


class CspAdapter(Adapter):
    """A peer. What it does not override it does not offer.

    `channel`, `reader`, `writer` and `run` are called by who sets the network up; `receiving`, `sending` and
    `selecting` by the process that uses the ends. The callables that they return are the peer's own wherever
    it has one of the shape, so that nothing of the harness stands between it and the clock.
    """

    kinds: tuple[Kind, ...] = ()
    slow = 1  # its runs are shorter by this factor
    limit = 60.0  # seconds for a network
    attempts = 1  # of a peer that hangs now and then, several

    def channel(self, kind: Kind, method: str, buffer: int = 0) -> Any:
        """A channel for one writer and one reader; without a buffer, or with the least that the peer has."""
        raise self._absent("channel")

    def reader(self, channel: Any) -> Any:
        """An end for one process to receive from."""
        return channel

    def writer(self, channel: Any) -> Any:
        """An end for one process to send to."""
        return channel

    def receiving(self, end: Any) -> Callable[[], Any]:
        """What receives; of kind "task", what is to be awaited."""
        raise self._absent("channel")

    def sending(self, end: Any) -> Callable[[Any], Any]:
        """What sends; of kind "task", what is to be awaited."""
        raise self._absent("channel")

    def selecting(self, ends: Sequence[Any]) -> Callable[[], Any]:
        """What receives a value from whichever of the ends has one."""
        raise self._absent("choice among channels")

    def stream(self, method: str, size: int) -> Any:
        """What takes a stream from one OS process to another: a channel with a buffer, or the like."""
        return self.channel("process", method, size)

    def apart(self, work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        """`work(self, *arguments)`, done where this peer's networks can be set up."""
        return work(self, *arguments)

    def run(self, kind: Kind, method: str, bodies: Sequence[Body], limit: float) -> list[Any]:
        """Run them side by side, and return what they return, in order."""
        raise self._absent(f"processes of kind {kind}")

    def check(self, kind: Kind) -> None:
        """Raises NotOffered unless this kind is offered."""
        if kind not in self.kinds:
            raise self._absent({"process": "OS processes", "thread": "threads", "task": "coroutines"}[kind])


def end_after(limit: float) -> None:
    """This process ends after so many seconds, whatever it is doing then."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit)
