"""How a part is written once, and done by an OS process, by a thread or by a task.

A part is a generator of steps: `yield inp` receives, `yield out, value` sends, `yield any_of(...)` chooses as
`select` does. Whoever does the part takes its steps, one after the other, by waiting or by awaiting, and
gives back what came of each, or raises there what it raised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeAlias, TypeVar

from ..channels import Reader, Writer
from ..choice import Choice
from ..guards import after
from ..process import ProcessType

P = ParamSpec("P")
R = TypeVar("R")

Step: TypeAlias = Reader[Any] | tuple[Writer[Any], Any] | Choice
Steps: TypeAlias = Generator[Step, Any, R]


def part(body: Callable[P, Steps[R]]) -> ProcessType[P, R]:
    """Makes a process of it; see `@process`. It can be of any kind."""

    @functools.wraps(body)
    def wait(*args: P.args, **kwargs: P.kwargs) -> R:
        return _wait(body(*args, **kwargs))

    @functools.wraps(body)
    async def wait_in_task(*args: P.args, **kwargs: P.kwargs) -> R:
        return await _await(body(*args, **kwargs))

    return ProcessType(wait, task=wait_in_task)


def any_of(*guards: Any) -> Choice:
    """A step: whichever guard comes true first, and what was received; as of `select`."""
    return Choice(*guards)


def pause(seconds: float) -> Choice:
    """A step: waits."""
    return Choice(after(max(0.0, seconds)))


def _wait(steps: Steps[R]) -> R:
    resume: Callable[[Any], Step] = steps.send
    came: Any = None
    while True:
        try:
            step = resume(came)
        except StopIteration as end:
            result: R = end.value
            return result
        came = None
        try:
            if isinstance(step, Reader):
                came = step.recv()
            elif isinstance(step, Choice):
                came = step.select()
            else:
                _writer(step).send(step[1])
            resume = steps.send
        except BaseException as error:
            came, resume = error, steps.throw


async def _await(steps: Steps[R]) -> R:
    resume: Callable[[Any], Step] = steps.send
    came: Any = None
    while True:
        try:
            step = resume(came)
        except StopIteration as end:
            result: R = end.value
            return result
        came = None
        try:
            if isinstance(step, Reader):
                came = await step.arecv()
            elif isinstance(step, Choice):
                came = await step.aselect()
            else:
                await _writer(step).asend(step[1])
            resume = steps.send
        except BaseException as error:
            came, resume = error, steps.throw


def _writer(step: tuple[Writer[Any], Any]) -> Writer[Any]:
    """Whom a step sends to. Raises TypeError: the part was not given ends where it takes them."""
    end: object = step[0] if isinstance(step, tuple) else step
    if not isinstance(end, Writer):
        raise TypeError(f"{end!r} is no end of a channel, or not of that side")
    return end
