"""select: a choice among communications, barriers, time limits, and what else there is to wait for."""

from __future__ import annotations

import bisect
import math
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from .. import _core
from ..errors import ChannelRetire, ChannelTimeout, ConnectionEnded, ShutDown
from . import tasks
from .channels import Reader, Writer
from .guards import (
    After,
    Exited,
    Guard,
    Received,
    Selected,
    Sent,
    Skip,
    Skipped,
    Source,
    Synced,
    TimedOut,
    source_of,
)
from .outside import Watch, wait_readable

__all__ = ["Choice", "aselect", "aselecting", "select", "selecting"]

_random = random.random

# What says that a guard, its `end`, cannot come true any more.
_ENDINGS = (ChannelRetire, ShutDown, ConnectionEnded)


def _left(deadline: float | None) -> float | None:
    """Seconds until then, or 0."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class Choice:
    """A choice among the same guards, made as often as one likes; select() makes one and uses it once.

    Fair: the guard that was chosen is the last to be looked at the next time. With `priority` the first guard
    that is ready is chosen. Where a guard stands that is not wanted at the moment can be None: `inp if room
    else None`.

    A guard whose channel has retired drops out, for good, as long as others are left (time limits are none);
    with `strict` the first that has retired is raised.

    Raises:
        TypeError: something is no guard.
        ValueError: there are no guards, or all are None.
    """

    __slots__ = (
        "_ends",
        "_first",
        "_limit",
        "_places",
        "_priority",
        "_skip",
        "_sources",
        "_strict",
        "_values",
        "guards",
    )

    def __init__(self, *guards: Guard, priority: bool = False, strict: bool = False) -> None:
        self.guards = guards
        self._priority = priority
        self._strict = strict
        self._ends: Sequence[Any] = guards
        self._values: list[object] | None = None  # what the ends send
        self._places: Sequence[int] = range(len(guards))  # of the ends, among the guards
        self._sources: dict[int, Source] = {}  # by their places
        self._limit: tuple[float, int] | None = None
        self._skip: int | None = None
        if set(map(type, guards)) != {Reader}:  # most are so, and may be many
            self._sort(guards)
        self._first = 0 if priority or len(guards) < 2 else int(_random() * len(guards))

    def _sort(self, guards: tuple[Guard, ...]) -> None:
        ends: list[object] = []
        values: list[object] = []
        places: list[int] = []
        for place, guard in enumerate(guards):
            if isinstance(guard, tuple) and len(guard) == 2 and isinstance(guard[0], Writer):
                ends.append(guard[0])
                values.append(guard[1])
                places.append(place)
            elif isinstance(guard, (Reader, _core.Enrolment)):
                ends.append(guard)
                values.append(None)
                places.append(place)
            elif isinstance(guard, After):
                if self._limit is None or guard.seconds < self._limit[0]:
                    self._limit = guard.seconds, place
            elif isinstance(guard, Skip):
                if self._skip is None:
                    self._skip = place
            elif guard is not None:
                self._sources[place] = source_of(guard)
        if not ends and not self._sources and self._limit is None and self._skip is None:
            raise ValueError("there is nothing to choose among: no guards, or all are None")
        self._ends, self._values, self._places = ends, values, places

    def __repr__(self) -> str:
        how = " by priority" if self._priority else ""
        return f"<Choice{how} among {', '.join(map(repr, self.guards))}>"

    def select(self, timeout: float | None = None) -> Selected:
        """Waits until one of the guards comes true; see the function select()."""
        seconds, over = self._time(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                if self._sources or not self._ends:
                    return self._select_mixed(deadline, over, timeout)
                at, value = _core.choose(self._ends, self._values, self._turn(), seconds)
                return self._chosen(at, value)
            except ChannelTimeout:
                return self._over(over, timeout)
            except _ENDINGS as error:
                if not self._drop(error):
                    raise
            seconds = _left(deadline)

    def _select_mixed(self, deadline: float | None, over: int | None, timeout: float | None) -> Selected:
        """With guards that are no ends of channels, or no others than time limits."""
        if not self._sources:
            left = _left(deadline)
            time.sleep(threading.TIMEOUT_MAX if left is None else min(left, threading.TIMEOUT_MAX))
            return self._over(over, timeout)
        while True:
            chosen = self._scan()
            if chosen is not None:
                return chosen
            left = _left(deadline)
            if left == 0:
                return self._over(over, timeout)
            if not self._ends:
                wait_readable(self._descriptors(), left)
                continue
            with Watch(self._descriptors()) as watch:
                watch.on_fire(_core.Party.current().poke)
                try:
                    got = _core.choose(self._ends, self._values, self._turn(), left, watch.has_fired)
                except ChannelTimeout:
                    continue
            if got is not None:
                return self._chosen(*got)

    async def aselect(self, timeout: float | None = None) -> Selected:
        """The same for a task; see the function aselect()."""
        seconds, over = self._time(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                if self._sources or not self._ends:
                    return await self._aselect_mixed(deadline, over, timeout)
                at, value = await tasks.choose(self._ends, self._values, self._turn(), seconds)
                return self._chosen(at, value)
            except ChannelTimeout:
                return self._over(over, timeout)
            except _ENDINGS as error:
                if not self._drop(error):
                    raise
            seconds = _left(deadline)

    async def _aselect_mixed(
        self, deadline: float | None, over: int | None, timeout: float | None
    ) -> Selected:
        import asyncio

        if not self._sources:
            left = _left(deadline)
            await asyncio.sleep(threading.TIMEOUT_MAX if left is None else left)
            return self._over(over, timeout)
        while True:
            chosen = self._scan()
            if chosen is not None:
                return chosen
            left = _left(deadline)
            if left == 0:
                await asyncio.sleep(0)
                return self._over(over, timeout)
            with Watch(self._descriptors()) as watch:
                try:
                    got = await tasks.choose(self._ends, self._values, self._turn(), left, watch)
                except ChannelTimeout:
                    continue
            if got is not None:
                return self._chosen(*got)

    def _drop(self, error: BaseException) -> bool:
        """Goes on without the guard that has ended. False: it is the last, or this is strict."""
        end = getattr(error, "end", None)
        return not self._strict and end is not None and self.drop(end)

    def drop(self, end: object) -> bool:
        """Goes on without the guards of this end, Queue or what it is. False: none would be left."""
        kept = [at for at, other in enumerate(self._ends) if other is not end]
        sources = {place: source for place, source in self._sources.items() if self.guards[place] is not end}
        if not kept and not sources:
            return False
        if len(kept) == len(self._ends) and len(sources) == len(self._sources):
            return False
        values, places = self._values, self._places
        self._ends = [self._ends[at] for at in kept]
        self._values = None if values is None else [values[at] for at in kept]
        self._places = [places[at] for at in kept]
        self._sources = sources
        return True

    def _time(self, timeout: float | None) -> tuple[float | None, int | None]:
        """How long to wait, and the place of the guard that comes true then (None: `timeout` is over)."""
        seconds, over = timeout, None
        if self._skip is not None:
            seconds, over = 0.0, self._skip
        elif self._limit is not None and (timeout is None or self._limit[0] <= timeout):
            seconds, over = self._limit
        return None if seconds == math.inf else seconds, over

    def _turn(self) -> int:
        """Which of the ends is the first to be looked at."""
        if not self._first or not self._ends:
            return 0
        return bisect.bisect_left(self._places, self._first) % len(self._ends)

    def _chosen(self, at: int, value: Any) -> Selected:
        """One of the ends came true."""
        place = self._places[at]
        if not self._priority:
            self._first = place + 1
        end = self._ends[at]
        if isinstance(end, Reader):
            return Received(end, value, place)
        return Sent(end, place) if isinstance(end, Writer) else Synced(end, place)

    def _over(self, place: int | None, timeout: float | None) -> Selected:
        """The time is over."""
        if place is None:
            raise ChannelTimeout(f"none of the guards came true within {timeout} s") from None
        guard = self.guards[place]
        if isinstance(guard, Skip):
            return Skipped(guard, place)
        assert isinstance(guard, After)
        return TimedOut(guard, place)

    def _descriptors(self) -> list[int]:
        return [source.fileno() for source in self._sources.values()]

    def _scan(self) -> Selected | None:
        """What is ready now, each looked at in its turn; ends that stand together are tried together."""
        ends = {place: at for at, place in enumerate(self._places)}
        n = len(self.guards)
        together: list[int] = []
        for place in ((self._first + i) % n for i in range(n)):
            if place in ends:
                together.append(ends[place])
            elif place in self._sources:
                chosen = self._try(together) or self._sources[place].take(place)
                if chosen is not None:
                    if not self._priority:
                        self._first = chosen.index + 1
                    return chosen
                together = []
        return self._try(together)

    def _try(self, together: list[int]) -> Selected | None:
        if not together:
            return None
        values = self._values
        try:
            at, value = _core.choose(
                [self._ends[at] for at in together], values and [values[at] for at in together], 0, 0.0
            )
        except ChannelTimeout:
            return None
        return self._chosen(together[at], value)


def select(*guards: Guard, priority: bool = False, timeout: float | None = None) -> Selected:
    """Waits until one of the guards comes true, does exactly that, and says which it was.

    A guard is
      - a reader: a value is received (Received), also from a Queue or a Connection;
      - a writer and a value, `(out, x)` or `out.sending(x)`: it is sent (Sent);
      - an enrolment in a barrier (Synced);
      - after(0.5): the time is over (TimedOut); skip(): nothing else is ready (Skipped);
      - a process, of this library or of multiprocessing's kind (Exited);
      - a descriptor, or what has a fileno() (Ready: read it yourself);
      - None: one that cannot come true, as in `select(inp if room else None, ...)`.

        match select(jobs, commands, after(0.5)):
            case Received(end, job) if end is jobs:
                work(job)
            case Received(value="stop"):
                return
            case TimedOut():
                print("nothing to do")

    What is returned has `index` (the guard's place among the arguments, from 0), `guard`, `value` (None
    unless one was received) and `name` (of the channel); `case Received(name="jobs", value=job)` and `end,
    value = select(a, b)` work as well. Both sides of a channel may be in a select at once. Among those that
    are ready the choice is fair, that is random; with `priority` it is the first.

    Raises:
        ChannelTimeout: (a TimeoutError) none came true within `timeout` seconds. (after() is for those who go
            on then.)
        ChannelPoison: a channel among them was poisoned; `end` of the exception is its end here.
        ChannelRetire: all have retired; `end` is the last. (One that has retired drops out as long as there
            are others; time limits do not count. So do a Queue that was shut down and is empty, and a
            Connection at its end; as the last they raise ShutDown or EOFError, which have `end`, too.)
        Deadlock: nobody is left who could make any of them come true.
        TypeError, ValueError: as Choice.
    """
    return Choice(*guards, priority=priority).select(timeout)


async def aselect(*guards: Guard, priority: bool = False, timeout: float | None = None) -> Selected:
    """select() for a task. When the task is cancelled, none of the guards has come true.

    (When one had before the cancellation came, it is returned, and the task is cancelled where it waits
    next.)
    """
    return await Choice(*guards, priority=priority).aselect(timeout)


class _Loop:
    """What selecting() and aselecting() have in common."""

    def __init__(self, guards: tuple[Guard, ...], priority: bool) -> None:
        self.choice = Choice(*guards, priority=priority)
        self.going = True

    def ended(self, error: BaseException) -> bool:
        """Whether that is the last of the guards."""
        end = getattr(error, "end", None)
        return end is not None and any(
            guard is end or (isinstance(guard, tuple) and guard[0] is end) for guard in self.choice.guards
        )

    def seen(self, event: Selected) -> None:
        if isinstance(event, Exited):  # which happens once
            self.going = self.choice.drop(event.process)


def selecting(*guards: Guard, priority: bool = False, timeout: float | None = None) -> Iterator[Selected]:
    """`for event in selecting(a, b):` is a select in a loop, fair over its rounds, until all have ended.

    A reader or writer whose other side has retired drops out, and so do a Queue that was shut down and is
    empty, a Connection at its end, and a process that has exited; after the last guard that is no time limit
    the loop ends. Poison is raised. An output guard sends the same value each time; to send others, write a
    loop around select().

    Raises:
        ChannelTimeout: (a TimeoutError) for `timeout` seconds nothing came true.
        ChannelPoison, Deadlock: as select().
    """
    loop = _Loop(guards, priority)
    while loop.going:
        try:
            event = loop.choice.select(timeout)
        except _ENDINGS as error:
            if not loop.ended(error):
                raise
            return
        loop.seen(event)
        yield event


async def aselecting(
    *guards: Guard, priority: bool = False, timeout: float | None = None
) -> AsyncIterator[Selected]:
    """`async for event in aselecting(a, b):` is selecting() for a task."""
    loop = _Loop(guards, priority)
    while loop.going:
        try:
            event = await loop.choice.aselect(timeout)
        except _ENDINGS as error:
            if not loop.ended(error):
                raise
            return
        loop.seen(event)
        yield event
