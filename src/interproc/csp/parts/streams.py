"""Parts with one input and one output."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from ...errors import ChannelRetire
from ..channels import Reader, Writer
from .running import Steps, any_of, part, pause

T = TypeVar("T")
R = TypeVar("R")


@part
def identity(inp: Reader[T], out: Writer[T]) -> Steps[None]:
    """Pass on what comes: `parts.identity(a.reader(), b.writer())`."""
    while True:
        yield out, (yield inp)


@part
def successor(inp: Reader[int], out: Writer[int]) -> Steps[None]:
    """Pass on each number plus one: `parts.successor(a.reader(), b.writer())`."""
    while True:
        yield out, (yield inp) + 1


@part
def map(function: Callable[[T], R], inp: Reader[T], out: Writer[R]) -> Steps[None]:
    """Pass on what `function` makes of each value: `parts.map(str.upper, a.reader(), b.writer())`."""
    while True:
        yield out, function((yield inp))


@part
def filter(keep: Callable[[T], object] | None, inp: Reader[T], out: Writer[T]) -> Steps[None]:
    """Pass on the values for which `keep` is true: `parts.filter(str.isupper, a.reader(), b.writer())`.

    With None, as the built-in, those that are true themselves.
    """
    while True:
        value = yield inp
        if value if keep is None else keep(value):
            yield out, value


@part
def prefix(first: T, inp: Reader[T], out: Writer[T]) -> Steps[None]:
    """Send `first`, then pass on what comes: `parts.prefix(0, a.reader(), b.writer())`.

    What makes a ring of processes move.
    """
    yield out, first
    while True:
        yield out, (yield inp)


@part
def tail(inp: Reader[T], out: Writer[T], n: int = 1) -> Steps[None]:
    """Pass on all but the first `n` values: `parts.tail(a.reader(), b.writer())`."""
    for _ in range(n):
        yield inp
    while True:
        yield out, (yield inp)


@part
def buffer(size: int, inp: Reader[T], out: Writer[T]) -> Steps[None]:
    """Pass on what comes, up to `size` values ahead: `parts.buffer(8, a.reader(), b.writer())`.

    `Channel(buffer=8)` does so without a process; this one can be drawn, stopped and replaced. What it still
    holds when its input retires is passed on.
    """
    if size < 1:
        raise ValueError(f"a buffer has to hold at least one value, not {size}")
    held: deque[T] = deque()
    while True:
        try:
            end, value = yield any_of(inp if len(held) < size else None, (out, held[0]) if held else None)
        except ChannelRetire as retired:
            if retired.end is out:
                raise
            break
        if end is inp:
            held.append(value)
        else:
            held.popleft()
    for value in held:
        yield out, value


@part
def rate_limit(seconds: float, inp: Reader[T], out: Writer[T]) -> Steps[None]:
    """Pass on what comes, with at least `seconds` between any two: `parts.rate_limit(0.1, a.reader(),
    b.writer())`."""
    due = monotonic()
    while True:
        value = yield inp
        yield pause(due - monotonic())
        yield out, value
        due = monotonic() + seconds
