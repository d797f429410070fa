"""What a select chooses among, and what it returns."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as _TheirConnection
from typing import Any, Protocol, TypeAlias

from .. import _core
from ..errors import ConnectionEnded, ShutDown
from .channels import Reader, Writer
from .outside import readable
from .process import Description

__all__ = [
    "After",
    "Exited",
    "Guard",
    "Ready",
    "Received",
    "Selected",
    "Sent",
    "Skip",
    "Skipped",
    "Source",
    "Synced",
    "TimedOut",
    "after",
    "skip",
    "source_of",
]

# ---- what came true ----


class _Event:
    """What all of them have: the guard as it was given, its place, and the value received, if any."""

    __slots__ = ()

    index: int

    @property
    def guard(self) -> Any:
        """The end, or whatever it was that came true."""
        return None

    @property
    def value(self) -> Any:
        """What was received, or None."""
        return None

    @property
    def name(self) -> str | None:
        """The name of the guard's channel or barrier; None of what has none."""
        name = getattr(self.guard, "name", None)
        return name if isinstance(name, str) else None

    def __iter__(self) -> Iterator[Any]:
        """`end, value = select(a, b)`."""
        yield self.guard
        yield self.value


@dataclass(slots=True)
class Received(_Event):
    """A value came from a reader, a Queue or a Connection.

    Attributes:
        end: the reader, Queue or Connection; `guard` is the same.
        value: what came, and is received: there is nothing more to receive for it.
        index: its place among the arguments of the select, from 0.
    """

    end: Any
    value: Any
    index: int = 0

    @property
    def guard(self) -> Any:
        return self.end


@dataclass(slots=True)
class Sent(_Event):
    """A writer's value was taken."""

    end: Writer[Any]
    index: int = 0

    @property
    def guard(self) -> Any:
        return self.end


@dataclass(slots=True)
class Synced(_Event):
    """All who are enrolled in a barrier have met."""

    enrolment: _core.Enrolment
    index: int = 0

    @property
    def guard(self) -> Any:
        return self.enrolment


@dataclass(slots=True)
class Exited(_Event):
    """A process has ended, or all that a Spawn has started (which have no common exit code: None)."""

    process: Any
    exitcode: int | None
    index: int = 0

    @property
    def guard(self) -> Any:
        return self.process


@dataclass(slots=True)
class Ready(_Event):
    """Something with a descriptor has something to read, or its end; nothing was read."""

    source: Any
    index: int = 0

    @property
    def guard(self) -> Any:
        return self.source


@dataclass(slots=True)
class TimedOut(_Event):
    """An after() was the first. (None of the others took place.)"""

    after: After
    index: int = 0

    @property
    def guard(self) -> Any:
        return self.after


@dataclass(slots=True)
class Skipped(_Event):
    """Nothing else was ready, and there was a skip()."""

    skip: Skip
    index: int = 0

    @property
    def guard(self) -> Any:
        return self.skip


Selected: TypeAlias = Received | Sent | Synced | Exited | Ready | TimedOut | Skipped

# ---- guards that are no ends ----


@dataclass(frozen=True, slots=True)
class After:
    """A guard that comes true after some seconds from the beginning of the select."""

    seconds: float

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, (int, float)):
            raise TypeError(f"a time to wait is a number of seconds, not {self.seconds!r}")
        if not self.seconds >= 0:  # nor NaN
            raise ValueError(f"a time to wait is no less than 0 seconds, not {self.seconds}")


@dataclass(frozen=True, slots=True)
class Skip:
    """A guard that is chosen when no other is ready at once."""


def after(seconds: float) -> After:
    """A guard that comes true after `seconds`, if no other has by then; of several, the nearest does."""
    return After(seconds)


def skip() -> Skip:
    """A guard that comes true when no other is ready: with it, a select does not wait."""
    return Skip()


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class _HasSentinel(Protocol):
    @property
    def sentinel(self) -> int: ...


Guard: TypeAlias = (
    Reader[Any]
    | tuple[Writer[Any], Any]
    | _core.Enrolment
    | After
    | Skip
    | _HasDescriptor  # Queues and Connections, too
    | _HasSentinel
    | int
    | None
)

# ---- what is no channel: waited for by its descriptor (outside.py), then tried ----


class Source(Protocol):
    """Something that is ready when its descriptor can be read, and then may give something."""

    def fileno(self) -> int:
        """The descriptor."""
        ...

    def take(self, index: int) -> Selected | None:
        """What has come, without waiting; None: nothing. Raises what says that it has ended, with `end`."""
        ...


class _OfQueue:
    __slots__ = ("queue",)

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def fileno(self) -> int:
        return int(self.queue.fileno())

    def take(self, index: int) -> Selected | None:
        try:
            return Received(self.queue, self.queue.get_nowait(), index)
        except queue.Empty:
            return None
        except ShutDown as error:
            error.end = self.queue
            raise


class _OfConnection:
    """Who receives from the same end at the same time may have what was seen here; then this waits."""

    __slots__ = ("connection",)

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def fileno(self) -> int:
        return int(self.connection.fileno())

    def take(self, index: int) -> Selected | None:
        try:
            if self.connection.poll(0):
                return Received(self.connection, self.connection.recv(), index)
        except EOFError as error:
            raise ConnectionEnded(str(error) or "the other end was closed", self.connection) from None
        return None


class _OfProcess:
    __slots__ = ("process",)

    def __init__(self, process: Any) -> None:
        self.process = process

    def fileno(self) -> int:
        return int(self.process.sentinel)

    def take(self, index: int) -> Selected | None:
        process = self.process
        if not hasattr(process, "exitcode"):  # one that was spawned here, of several processes perhaps
            return Exited(process, None, index) if readable(process.sentinel) else None
        if process.exitcode is None:
            if not readable(process.sentinel):
                return None
            process.join(1.0)  # it is on its last steps
            if process.exitcode is None:
                return None
        return Exited(process, process.exitcode, index)


class _OfDescriptor:
    __slots__ = ("source",)

    def __init__(self, source: Any) -> None:
        self.source = source

    def fileno(self) -> int:
        return self.source if isinstance(self.source, int) else int(self.source.fileno())

    def take(self, index: int) -> Selected | None:
        return Ready(self.source, index) if readable(self.fileno()) else None


_GUARDS = (
    ": that is a reader, (writer, value), an enrolment in a barrier, after(), skip(), a Queue, a Connection,"
    " a process, or what has a descriptor"
)


def source_of(guard: Any) -> Source:
    """How to wait for something that is no channel. Raises TypeError for what cannot be waited for."""
    if isinstance(guard, _core.Queue):
        return _OfQueue(guard)
    if isinstance(guard, (_core.Connection, _TheirConnection)):
        return _OfConnection(guard)
    if hasattr(guard, "sentinel"):
        return _OfProcess(guard)
    number = isinstance(guard, int) and not isinstance(guard, bool)
    if number or (hasattr(guard, "fileno") and not isinstance(guard, _core.End)):
        return _OfDescriptor(guard)
    raise TypeError(f"{guard!r} is no guard{_hint(guard)}")


def _hint(guard: Any) -> str:
    """What may have been meant."""
    if isinstance(guard, Writer):
        return ": to send is (writer, value), or writer.sending(value)"
    if isinstance(guard, _core.Channel):
        return ": choose among its ends, channel.reader() and channel.writer()"
    if isinstance(guard, _core.Barrier):
        return ": choose with an enrolment, barrier.enrol()"
    if isinstance(guard, Description):
        return ": it does not run; what Spawn(...) gives is one"
    if isinstance(guard, float):
        return f": a time limit is after({guard})"
    if isinstance(guard, tuple) and len(guard) == 2:
        return f": to send is (writer, value), and {guard[0]!r} is no writer"
    if isinstance(guard, (list, tuple, set)):
        return ": put a * before several, select(*guards)"
    return _GUARDS
