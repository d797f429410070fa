"""PyCSP's choice: guards, Alternation, and the selects, over the ends that ends.py has."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from ... import _core
from ...errors import ChannelEnded, PicklingError
from .. import alternation
from ..alternation import SkipGuard, TimeoutGuard, choice
from ..choice import Choice
from .configuration import InfoException
from .ends import ChannelEndRead, ChannelEndWrite, Handed

__all__ = [
    "AltSelect",
    "Alternation",
    "FairSelect",
    "InputGuard",
    "OutputGuard",
    "PriSelect",
    "Skip",
    "SkipGuard",
    "Timeout",
    "TimeoutGuard",
    "choice",
]

Skip = SkipGuard
Timeout = TimeoutGuard


class InputGuard(alternation.InputGuard):
    """Receives from an end; the action is called with `channel_input=` what was received.

    Raises InfoException: it is no end to receive from. TypeError: the action is none.
    """

    def __init__(self, ch_end_read: ChannelEndRead, action: Any = None) -> None:
        alternation._Guard.__init__(self, action)
        if not isinstance(ch_end_read, ChannelEndRead):
            raise InfoException(f"an InputGuard is made of an end to receive from, not of {ch_end_read!r}")
        self.guard = ch_end_read._below
        self.key = ch_end_read


class OutputGuard(alternation.OutputGuard):
    """Sends `msg` to an end. Raises InfoException: it is no end to send to. TypeError: the action is none."""

    def __init__(self, ch_end_write: ChannelEndWrite, msg: Any, action: Any = None) -> None:
        alternation._Guard.__init__(self, action)
        if not isinstance(ch_end_write, ChannelEndWrite):
            raise InfoException(f"an OutputGuard is made of an end to send to, not of {ch_end_write!r}")
        self.guard = ch_end_write._below, msg
        self.key = ch_end_write


def _guard(item: Any, *rest: Any) -> Any:
    """Of what Alternation is given: (end, action), ((end, x), action), or (end, x, action)."""
    if isinstance(item, tuple) and len(item) == 2:
        return OutputGuard(item[0], item[1], *rest)
    if isinstance(item, ChannelEndWrite):
        return OutputGuard(item, *rest)
    if isinstance(item, ChannelEndRead):
        return InputGuard(item, *rest)
    if isinstance(item, (SkipGuard, TimeoutGuard)):
        if rest and rest[0] is not None:
            alternation._Guard.__init__(item, *rest)
        return item
    raise InfoException(f"{item!r} is no guard: cin, (cout, message), a TimeoutGuard or a SkipGuard is")


class Alternation(alternation.Alternation):
    """A choice to be made again and again: `Alternation([{cin: action, (cout, message): action}, ...])`.

    With `ensurePriority` the first guard that is ready is chosen, and none that comes after a SkipGuard; else
    it is fair. `execute()` runs the action, `select()` does not; both return the end, or the guard that has
    none, and what was received, or None.
    """

    def __init__(self, guards: Iterable[Any], ensurePriority: bool = False) -> None:
        made: list[Any] = []
        for item in [guards] if isinstance(guards, dict) else guards:
            if isinstance(item, alternation._Guard):
                made.append(item)
            elif isinstance(item, dict):
                made.extend(_guard(guard, action) for guard, action in item.items())
            else:
                made.append(_guard(*item) if isinstance(item, tuple) else _guard(item))
        self._priority = ensurePriority
        skips = [place for place, guard in enumerate(made) if isinstance(guard, SkipGuard)]
        if ensurePriority and skips:
            del made[skips[0] + 1 :]
        super().__init__(made, ensurePriority)

    def _choose(self) -> tuple[Any, Any]:
        for guard in self._guards:
            if isinstance(guard, OutputGuard):
                guard.key._check()
        try:
            try:
                guard, received = super()._choose()
            except PicklingError:
                guard, received = self._hand_over()
        except ChannelEnded as error:
            raise self._why(error) from None
        if isinstance(guard, InputGuard) and guard.key.channel._buffered:
            guard.key.channel._drained()
        return guard, received

    def _why(self, error: ChannelEnded) -> ChannelEnded:
        for guard in self._guards:
            end = guard.key
            if isinstance(end, (ChannelEndRead, ChannelEndWrite)) and end._below is error.end:
                return end.channel._why(error, end)
        return error

    def _hand_over(self) -> tuple[Any, Any]:
        """Some message cannot be pickled: those are handed over as they are."""
        handed: dict[int, Handed] = {}
        guards = []
        for place, guard in enumerate(self._guards):
            inner = guard.guard
            if isinstance(guard, OutputGuard):
                try:
                    _core.dumps(inner[1])
                except PicklingError:
                    handed[place] = Handed(inner[1])
                    inner = inner[0], handed[place]
            guards.append(inner)
        chosen = -1
        try:
            event = Choice(*guards, priority=self._priority).select()
            chosen = event.index
        finally:
            for place, one in handed.items():
                if place != chosen:
                    one.take_back()
        return self._guards[chosen], event.value


def _flat(guards: tuple[Any, ...]) -> list[Any]:
    flat = [guard for item in guards for guard in (item if isinstance(item, (list, tuple)) else [item])]
    for guard in flat:
        if not isinstance(guard, alternation._Guard):
            raise InfoException(
                f"{guard!r} is no guard: use InputGuard, OutputGuard, TimeoutGuard or SkipGuard"
            )
    return flat


def AltSelect(*guards: Any) -> tuple[Any, Any]:
    """Chooses one of the guards (and lists of guards), runs its action; its end, and what was received.

    Of a TimeoutGuard or a SkipGuard it returns the guard, and None.

    Raises:
        ChannelPoisonException, ChannelRetireException: as soon as that is so of one of the channels.
        InfoException: something is no guard.
    """
    return Alternation(_flat(guards))._execute(sys._getframe(1))


def FairSelect(*guards: Any) -> tuple[Any, Any]:
    """AltSelect, which is fair here anyhow."""
    return Alternation(_flat(guards))._execute(sys._getframe(1))


def PriSelect(*guards: Any) -> tuple[Any, Any]:
    """AltSelect that chooses the first of those that are ready."""
    return Alternation(_flat(guards), ensurePriority=True)._execute(sys._getframe(1))
