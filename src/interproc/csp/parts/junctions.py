"""Parts with several inputs or several outputs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from ...errors import ChannelRetire
from ..channels import Reader, Writer
from .running import Step, Steps, any_of, part

T = TypeVar("T")


@part
def delta(inp: Reader[T], first: Writer[T], second: Writer[T], parallel: bool = True) -> Steps[None]:
    """Send each value to both outputs: `parts.delta(a.reader(), b.writer(), c.writer())`.

    In parallel: to whichever is ready first, then to the other; with parallel=False always to `first`, then
    to `second`, which is quicker, and waits for `first` though `second` is ready. It ends when either of the
    two has retired (broadcast goes on).
    """
    while True:
        value = yield inp
        if parallel:
            yield from _send_to_all(value, (first, second))
        else:
            yield first, value
            yield second, value


@part
def broadcast(inp: Reader[T], outputs: Sequence[Writer[T]]) -> Steps[None]:
    """Send each value to every output: `parts.broadcast(a.reader(), [b.writer(), c.writer()])`.

    To each as soon as it is ready. An output whose readers have retired is left out from then on; with the
    last of them this ends.
    """
    listening = list(outputs)
    while listening:
        value = yield inp
        listening = yield from _send_to_all(value, listening, drop_retired=True)


@part
def fan_out(inp: Reader[T], outputs: Sequence[Writer[T]]) -> Steps[None]:
    """Send each value to whichever is ready: `parts.fan_out(a.reader(), [b.writer(), c.writer()])`.

    To share out work, several readers of one channel do without this part. An output whose readers have
    retired is left out from then on; with the last of them this ends.
    """
    ready = list(outputs)
    while ready:
        value = yield inp
        while ready:
            try:
                yield any_of(*[(out, value) for out in ready])
                break
            except ChannelRetire as retired:
                ready = _without(ready, retired.end)


@part
def fan_in(inputs: Sequence[Reader[T]], out: Writer[T]) -> Steps[None]:
    """Pass on what comes from any input, fairly: `parts.fan_in([a.reader(), b.reader()], c.writer())`.

    It ends when all inputs have retired. Several writers of one channel do without this part.
    """
    going = list(inputs)
    while going:
        choice = any_of(*going)  # the same one each time is fair over time
        try:
            while True:
                _, value = yield choice
                yield out, value
        except ChannelRetire as retired:
            if retired.end is out:
                raise
            going = _without(going, retired.end)


@part
def zip(inputs: Sequence[Reader[Any]], out: Writer[tuple[Any, ...]]) -> Steps[None]:
    """Send tuples of one value from each input: `parts.zip([a.reader(), b.reader()], c.writer())`.

    The inputs are read in the order in which they are ready. It ends when any of them has retired; what came
    from the others since the last tuple is dropped.
    """
    while True:
        values = yield from _receive_from_all(inputs)
        yield out, tuple(values[n] for n in range(len(inputs)))


@part
def merge(inputs: Sequence[Reader[T]], out: Writer[T], key: Callable[[T], Any] | None = None) -> Steps[None]:
    """Merge sorted inputs into one sorted output: `parts.merge([a.reader(), b.reader()], c.writer())`.

    As heapq.merge does: it waits for every input that has not retired, sends the least value (by `key`; of
    equal ones that of the first input), and ends when all have retired. Whatever comes first, in no order, is
    what fan_in passes on.
    """
    heads = yield from _receive_from_all(inputs, skip_retired=True)
    while heads:
        least = min(heads, key=lambda n: (heads[n] if key is None else key(heads[n]), n))
        yield out, heads.pop(least)
        with suppress(ChannelRetire):  # the others go on
            heads[least] = yield inputs[least]


def _without(ends: list[Any], end: object) -> list[Any]:
    return [other for other in ends if other is not end]


def _send_to_all(
    value: T, outputs: Sequence[Writer[T]], drop_retired: bool = False
) -> Generator[Step, Any, list[Writer[T]]]:
    """Send to each, in the order in which they are ready; returns those that have not retired."""
    listening = waiting = list(outputs)
    while waiting:
        try:
            end, _ = yield any_of(*[(out, value) for out in waiting])
        except ChannelRetire as retired:
            if not drop_retired:
                raise
            end = retired.end
            listening = _without(listening, end)
        waiting = _without(waiting, end)
    return listening


def _receive_from_all(
    inputs: Sequence[Reader[T]], skip_retired: bool = False
) -> Generator[Step, Any, dict[int, T]]:
    """Receive one value from each, in the order in which they are ready; by the input's position."""
    values: dict[int, T] = {}
    waiting = dict(enumerate(inputs))
    while waiting:
        try:
            end, value = yield any_of(*waiting.values())
        except ChannelRetire as retired:
            if not skip_retired:
                raise
            del waiting[_position(waiting, retired.end)]
        else:
            position = _position(waiting, end)
            values[position] = value
            del waiting[position]
    return values


def _position(waiting: dict[int, Reader[T]], end: object) -> int:
    return next(n for n, other in waiting.items() if other is end)
