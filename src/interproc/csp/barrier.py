"""Barriers: all who are enrolled meet. To wait for it can be one guard of a choice."""

from __future__ import annotations

import operator
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .. import _core
from . import scope, tasks
from .channels import checked_name

__all__ = ["Barrier", "BarrierInfo", "Enrolment"]


@dataclass(frozen=True)
class BarrierInfo:
    """How a barrier stands.

    Attributes:
        enrolled: how many have to meet.
        waiting: how many of them wait there now, those in a select included.
        met: how often they have met.
    """

    name: str
    enrolled: int
    waiting: int
    met: int


class Enrolment(_core.Enrolment):
    """A place in a barrier, for one who waits at a time. It is mobile, as the ends of channels are.

    It ends with resign(), at the end of a `with`, when the process that has it returns, fails or dies, and
    when nobody has it any more; the others then meet without it.
    """

    def _arrived(self) -> None:
        scope.collect(self)

    @property
    def name(self) -> str:
        """The barrier's name, or what it is called for want of one."""
        return self.label or self.id

    @property
    def away(self) -> bool:
        """Whether it has resigned, or was sent to another process."""
        return self.moved or "resigned" in self.__dict__

    def resign(self) -> None:
        """The others do not wait for it any more. Once more is the same."""
        if not self.moved:
            self.__dict__["resigned"] = True
        super().resign()

    def async_sync(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """`await enrolment.async_sync()` is sync() for a task. One that is cancelled has not met the others.

        (When they had met before the cancellation came, this returns, and the task is cancelled where it
        waits next.)
        """
        return tasks.communicate(self, None, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.resign()

    def __repr__(self) -> str:
        what = "not set up"
        if self.label is not None:  # it is a str, once this is set up
            what = repr(self.label) if self.label else self.id
        state = " sent away" if self.moved else " resigned" if "resigned" in self.__dict__ else ""
        return f"<{type(self).__name__} in {what}{state}>"


class Barrier(_core.Barrier):
    """A meeting point for processes, threads and tasks: whoever is enrolled waits there until all others do.

        barrier = Barrier("step")
        Parallel(*[worker(barrier.enrol()) for _ in range(4)])

    and in the worker `here.sync()`, or `select(here, inp)`. One may enrol and resign at any time; a process
    that dies has resigned. Enrol before the others could meet without you.
    """

    def __init__(self, name: str | None = None, *, arena: _core.Arena | None = None) -> None:
        if isinstance(name, int):
            raise TypeError("a Barrier is told no number: each who takes part enrols, barrier.enrol()")
        super().__init__(checked_name(name), arena=arena)

    @property
    def name(self) -> str:
        """Its name, or what it is called for want of one."""
        return self.label or self.id

    def enrol(self) -> Enrolment:  # type: ignore[override]  # the class is not the caller's choice
        """One more who has to meet the others."""
        enrolment = super().enrol(Enrolment)
        scope.collect(enrolment)
        return enrolment

    def enrolments(self, n: int) -> list[Enrolment]:
        """n of them."""
        return [self.enrol() for _ in range(operator.index(n))]

    def info(self) -> BarrierInfo:
        """How the barrier stands."""
        return BarrierInfo(name=self.name, **self.look())

    if not TYPE_CHECKING:  # a type checker tells of these by itself

        def __getattr__(self, name: str) -> Any:
            hint = ": enrol, and wait there, barrier.enrol().sync()" if name in ("sync", "wait") else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name)

    def __repr__(self) -> str:
        what = "not set up"
        if self.label is not None:  # it is a str, once this is set up
            what = f"{self.label!r} {self.id}" if self.label else self.id
        return f"<{type(self).__name__} {what}{' closed' if self.closed else ''}>"
