"""Parts at the ends of a network: what values come from, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, TypeVar

from ...errors import ChannelRetire
from ..channels import Reader, Writer
from .running import Steps, part, pause

T = TypeVar("T")


@part
def source(values: Iterable[T] | Callable[[], Iterable[T]], out: Writer[T]) -> Steps[None]:
    """Send each of `values`, then retire: `parts.source(range(10), a.writer())`.

    It may be endless (`itertools.count()`). What another process is to iterate over has to travel to it, and
    a generator, or an open file, cannot: give a function that makes it there, `parts.source(lambda:
    open(path), a.writer())`.
    """
    if not isinstance(values, Iterable):
        if not callable(values):
            raise TypeError(f"a source takes an iterable, or a function that gives one, not {values!r}")
        values = values()
    for value in values:
        yield out, value


@part
def timer(seconds: float, out: Writer[int], count: int | None = None) -> Steps[None]:
    """Send 1, 2, 3, ... every `seconds`: `parts.timer(0.5, a.writer())`.

    Each tick is that many times `seconds` after the start, so that none drifts; ticks that came while the
    last one waited for its reader are left out, and the numbers tell. Ends after `count` ticks that were
    sent, or at the first tick after its readers have retired.
    """
    if seconds <= 0:
        raise ValueError(f"a timer ticks after a time, not after {seconds} s")
    started, tick, sent = monotonic(), 0, 0
    while count is None or sent < count:
        passed = monotonic() - started
        tick = max(tick + 1, int(passed / seconds))
        yield pause(tick * seconds - passed)
        yield out, tick
        sent += 1


@part
def collect(inp: Reader[T], count: int | None = None) -> Steps[list[T]]:
    """Return the list of all that comes; or of the first `count` values, and then retire:
    `parts.collect(a.reader())`."""
    values: list[T] = []
    try:
        while count is None or len(values) < count:
            values.append((yield inp))
    except ChannelRetire:
        pass
    return values


@part
def sink(inp: Reader[Any]) -> Steps[int]:
    """Take all that comes, and return how many values that were: `parts.sink(a.reader())`."""
    taken = 0
    try:
        while True:
            yield inp
            taken += 1
    except ChannelRetire:
        return taken
