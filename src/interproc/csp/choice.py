"""select: a choice among communications, barriers, time limits, and what else there is to wait for."""

from __future__ import annotations

import asyncio
import bisect
import math
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from .. import _core
from ..errors import ChannelRetire, ShutDown
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


class Choice:
    """A choice among the same guards, made as often as one likes; select() makes one and uses it once.

    Fair: the guard that was chosen is the last to be looked at the next time. With `priority` the first guard
    that is ready is chosen. Where a guard stands that is not wanted at the moment can be None: `inp if room
    else None`.

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
        "_values",
        "guards",
    )

    def __init__(self, *guards: Guard, priority: bool = False) -> None:
        self.guards = guards
        self._priority = priority
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

    def select(self, timeout: float | None = None) -> Selected:
        """Waits until one of the guards comes true; see the function select()."""
        seconds, over = self._time(timeout)
        if not self._sources and self._ends:
            try:
                at, value = _core.choose(self._ends, self._values, self._turn(), seconds)
            except TimeoutError:
                return self._over(over, timeout)
            return self._chosen(at, value)
        if not self._sources:
            time.sleep(threading.TIMEOUT_MAX if seconds is None else min(seconds, threading.TIMEOUT_MAX))
            return self._over(over, timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            chosen = self._scan()
            if chosen is not None:
                return chosen
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return self._over(over, timeout)
            if not self._ends:
                wait_readable(self._descriptors(), left)
                continue
            with Watch(self._descriptors()) as watch:
                watch.on_fire(_core.Party.current().poke)
                try:
                    got = _core.choose(self._ends, self._values, self._turn(), left, watch.has_fired)
                except TimeoutError:
                    continue
            if got is not None:
                return self._chosen(*got)

    async def aselect(self, timeout: float | None = None) -> Selected:
        """The same for a task; see the function aselect()."""
        seconds, over = self._time(timeout)
        if not self._sources and self._ends:
            try:
                at, value = await tasks.choose(self._ends, self._values, self._turn(), seconds)
            except TimeoutError:
                return self._over(over, timeout)
            return self._chosen(at, value)
        if not self._sources:
            await asyncio.sleep(threading.TIMEOUT_MAX if seconds is None else seconds)
            return self._over(over, timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            chosen = self._scan()
            if chosen is not None:
                return chosen
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return self._over(over, timeout)
            with Watch(self._descriptors()) as watch:
                try:
                    got = await tasks.choose(self._ends, self._values, self._turn(), left, watch)
                except TimeoutError:
                    continue
            if got is not None:
                return self._chosen(*got)

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
            raise TimeoutError(f"no guard came true within {timeout} seconds") from None
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
        except TimeoutError:
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
        TimeoutError: none came true within `timeout` seconds. (after() is for those who go on then.)
        ChannelPoison, ChannelRetire: of a guard that is looked at; `end` of the exception is that end. As
        with
            `end` do ShutDown of a Queue and EOFError of a Connection. selecting() goes on with the others.
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
    """The guards of a selecting(), which become fewer."""

    _ENDS = (ChannelRetire, ShutDown, EOFError)

    def __init__(self, guards: tuple[Guard, ...], priority: bool) -> None:
        self.guards = list(guards)
        self.priority = priority
        self.choice = Choice(*guards, priority=priority)
        self.endless = not self._ending()

    def _ending(self) -> bool:
        """Whether there are guards that can end."""
        lasting = (After, Skip, _core.Enrolment, type(None))
        return any(not isinstance(guard, lasting) for guard in self.guards)

    def drop(self, end: Any) -> bool:
        """Goes on without what has ended. False: it is none of the guards."""
        left = [
            None if guard is end or (isinstance(guard, tuple) and guard[0] is end) else guard
            for guard in self.guards
        ]
        if left == self.guards:
            return False
        self.guards = left
        if self.going():
            self.choice = Choice(*left, priority=self.priority)
        return True

    def going(self) -> bool:
        return self.endless or self._ending()

    def seen(self, event: Selected) -> None:
        if isinstance(event, Exited):  # which happens once
            self.drop(event.process)


def selecting(*guards: Guard, priority: bool = False, timeout: float | None = None) -> Iterator[Selected]:
    """`for event in selecting(a, b):` is a select in a loop, fair over its rounds, until all have ended.

    A reader or writer whose other side has retired drops out, and so do a Queue that was shut down and is
    empty, a Connection at its end, and a process that has exited; with the last of these the loop ends.
    Poison is raised. An output guard sends the same value each time; to send others, write a loop around
    select().

    Raises:
        TimeoutError: for `timeout` seconds nothing came true.
        ChannelPoison, Deadlock: as select().
    """
    loop = _Loop(guards, priority)
    while loop.going():
        try:
            event = loop.choice.select(timeout)
        except loop._ENDS as error:
            if not loop.drop(getattr(error, "end", None)):
                raise
            continue
        loop.seen(event)
        yield event


async def aselecting(
    *guards: Guard, priority: bool = False, timeout: float | None = None
) -> AsyncIterator[Selected]:
    """`async for event in aselecting(a, b):` is selecting() for a task."""
    loop = _Loop(guards, priority)
    while loop.going():
        try:
            event = await loop.choice.aselect(timeout)
        except loop._ENDS as error:
            if not loop.drop(getattr(error, "end", None)):
                raise
            continue
        loop.seen(event)
        yield event
