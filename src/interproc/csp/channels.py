"""Channels between processes, threads and tasks, and their ends, which are what one communicates with."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

from .. import _core
from ..errors import ChannelPoison, ChannelRetire
from . import scope, tasks

__all__ = [
    "Channel",
    "ChannelInfo",
    "ChannelPoisonException",
    "ChannelRetireException",
    "Dropping",
    "Overwriting",
    "Reader",
    "Sliding",
    "Writer",
    "poison",
    "retire",
]

if TYPE_CHECKING:  # which know typing_extensions without its being installed
    from typing_extensions import TypeVar as TypeVarWithDefault

    T = TypeVarWithDefault("T", default=Any)  # so that Channel("name") needs no annotation
else:
    T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

ChannelPoisonException = ChannelPoison
ChannelRetireException = ChannelRetire

_UNBOUNDED = -1
_MOST = 1 << 55  # values that a buffer with a bound has room for
_NAME_BYTES = 64


@dataclass(frozen=True)
class _Lossy:
    size: int

    def __post_init__(self) -> None:
        if not isinstance(self.size, int):
            raise TypeError(
                f"{type(self).__name__}(n) has room for n values; {self.size!r} is no such number"
            )
        if self.size < 1:
            raise ValueError(f"{type(self).__name__} needs room for one value at least, not for {self.size}")


class Sliding(_Lossy):
    """A buffer of `size` values that never makes a writer wait: when full, its oldest value is dropped."""


class Dropping(_Lossy):
    """A buffer of `size` values that never makes a writer wait: when full, what is sent is dropped."""


class Overwriting(_Lossy):
    """A buffer of `size` values that never makes a writer wait: when full, its newest value is replaced."""


Buffer: TypeAlias = int | float | Sliding | Dropping | Overwriting

_POLICIES: dict[type, int] = {Sliding: 1, Dropping: 2, Overwriting: 3}
_LOSSY: dict[int, type[Sliding | Dropping | Overwriting]] = {
    1: Sliding,
    2: Dropping,
    3: Overwriting,
}


def _capacity(buffer: Buffer) -> tuple[int, int]:
    """What the core is told of a buffer: how many messages, and what happens when it is full."""
    if isinstance(buffer, _Lossy):
        return _bounded(buffer.size), _POLICIES[type(buffer)]
    if buffer == math.inf:
        return _UNBOUNDED, 0
    try:
        size = operator.index(buffer)  # type: ignore[arg-type]  # a float raises
    except TypeError:
        raise TypeError(
            "the buffer of a channel is a number of values, math.inf, Sliding(n), Dropping(n) or"
            f" Overwriting(n), not {buffer!r}"
        ) from None
    if size < 0:
        raise ValueError(f"a buffer has room for no or more values, not for {size}; math.inf has no bound")
    return _bounded(size), 0


def _bounded(size: int) -> int:
    if size > _MOST:
        raise ValueError(f"a buffer has a bound of at most {_MOST}, not of {size}; math.inf is without one")
    return size


def checked_name(name: object) -> str | None:
    """The name of a channel or a barrier."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {name!r}")
    if len(name.encode(errors="replace")) > _NAME_BYTES:
        raise ValueError(f"a name has at most {_NAME_BYTES} bytes; this one has more: {name!r}")
    if not name.isprintable():
        raise ValueError(f"a name is for people to read, and this one cannot be printed: {name!r}")
    return name


@dataclass(frozen=True)
class ChannelInfo:
    """How a channel stands.

    Attributes:
        passed: values that have come through.
        lost: values that a full buffer has dropped, or that lay in it when the channel was poisoned.
        buffered: values that lie in the buffer.
        readers_waiting, writers_waiting: how many wait there now, those in a select included.
        readers_retired, writers_retired: whether the last end of that side has retired.
    """

    name: str
    buffer: Buffer
    passed: int
    lost: int
    buffered: int
    readers_waiting: int
    writers_waiting: int
    readers_retired: bool
    writers_retired: bool
    poisoned: bool


class _End(_core.End):
    """What both ends have in common."""

    __slots__ = ()

    def _arrived(self) -> None:
        """Called by the binding when this end has come out of a message: it is this process's own now."""
        scope.collect(self)

    @property
    def name(self) -> str:
        """The channel's name, or what it is called for want of one."""
        return self.label or self.channel_id

    def info(self) -> ChannelInfo:
        """How the channel stands."""
        return _info(self.name, self.look())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Retires the end; on an exception poisons the channel (on ChannelRetire, which spreads, retires)."""
        if error is None or isinstance(error, (ChannelRetire, GeneratorExit)):
            self.retire()
        else:
            self.poison()

    def __repr__(self) -> str:
        what = "not set up"
        if self.label is not None:  # it is a str, once this is set up
            what = repr(self.label) if self.label else self.channel_id
            if state := self.ended or self._poison_here():
                what += f" {state}"
        return f"<{type(self).__name__} of {what}>"

    def _poison_here(self) -> str:
        """For people: the other side, or another process, may have poisoned the channel."""
        with contextlib.suppress(Exception):  # the channel is gone, or damaged
            return "poisoned" if self.look()["poisoned"] else ""
        return ""


class Reader(_End, Generic[T_co]):
    """The end that values are received from. Many may read from a channel: each value goes to one of them.

    An end is mobile: it can be sent over channels, or given to a process, and belongs to the receiver from
    then on. It retires when its process returns, and is poisoned when that fails or dies. Ends are equal only
    to themselves, as each can retire by itself; `channel_id` tells whether two are of the same channel.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def recv(self, timeout: float | None = None) -> T_co: ...
        def __call__(self, timeout: float | None = None) -> T_co: ...
    else:
        __call__ = _core.End.recv

    def __iter__(self) -> Iterator[T_co]:
        """What is received, until every writer has retired. Raises ChannelPoison, Deadlock."""
        receive = self.recv
        while True:
            try:
                value = receive()
            except ChannelRetire:
                return
            yield value

    def arecv(self, timeout: float | None = None) -> Coroutine[Any, Any, T_co]:
        """`await inp.arecv()` is recv() for a task. A task that is cancelled has received nothing.

        (When the value had arrived before the cancellation came, it is returned, and the task is cancelled
        where it waits next.)
        """
        return tasks.communicate(self, None, timeout)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, T_co]:
        return tasks.choose((self,), single=True, iterating=True)


class Writer(_End, Generic[T_contra]):
    """The end that values are sent to. Many may write to a channel. For the rest see Reader."""

    __slots__ = ()

    if TYPE_CHECKING:

        def send(self, obj: T_contra, timeout: float | None = None) -> None: ...
        def __call__(self, obj: T_contra, timeout: float | None = None) -> None: ...
    else:
        __call__ = _core.End.send

    def asend(self, value: T_contra, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """`await out.asend(x)` is send(x) for a task. A task that is cancelled has sent nothing.

        (When a reader had the value before the cancellation came, this returns, and the task is cancelled
        where it waits next.)
        """
        return tasks.communicate(self, value, timeout)

    def sending(self, value: T_contra) -> tuple[Writer[Any], Any]:
        """A guard of a select: to send this value."""
        return self, value


class Channel(_core.Channel[T]):
    """A conduit from any number of writers to any number of readers, in whatever process, thread or task they
    are.

    Without a buffer both sides meet: when `send` has returned, a reader has the value. With `buffer=n` up to
    n values are ahead of the readers, in order; math.inf bounds them by memory only; Sliding(n), Dropping(n)
    and Overwriting(n) let no writer wait, and lose values when the buffer is full.

        squares = Channel[int]("squares")
        out, inp = squares.writer(), squares.reader()       # or -squares and +squares

    The name is for people: it is shown in pictures, in errors and in the description of a deadlock. A Channel
    is a maker of ends; to hold one keeps nobody waiting, and who only has the Channel is no reader and no
    writer. A deadlock is found among the channels of one arena (`arena`), not across several.

    Raises:
        TypeError, ValueError: `buffer` is none of these; the name is no str, or longer than 64 bytes.
        ArenaFull: (a MemoryError.)
    """

    __slots__ = ("_made",)

    def __init__(
        self, name: str | None = None, buffer: Buffer = 0, *, arena: _core.Arena | None = None
    ) -> None:
        capacity, policy = _capacity(buffer)
        self._made: scope.Ends | None = None  # those that were made of this very object
        super().__init__(checked_name(name), capacity, policy, arena=arena)

    @property
    def name(self) -> str:
        """Its name, or what it is called for want of one."""
        return self.label or self.id

    @property
    def buffer(self) -> Buffer:
        """What it was made with."""
        return _buffer(self.capacity, self.policy)

    def reader(self) -> Reader[T]:
        """A new end to receive from. Raises ChannelPoison; ChannelRetire once the last reader has retired."""
        end: Reader[T] = self._new_end(0, Reader)
        return end

    def writer(self) -> Writer[T]:
        """A new end to send to. Raises ChannelPoison, or ChannelRetire once the last writer has retired."""
        end: Writer[T] = self._new_end(1, Writer)
        return end

    __pos__ = reader
    __neg__ = writer

    def _new_end(self, side: int, cls: Any) -> Any:
        end = self.end(side, cls)
        if self._made is None:
            self._made = scope.Ends()
        self._made.add(end)
        scope.collect(end)
        return end

    def retire(self) -> None:
        """Retires every end that was made of this object here, and that is still this process's."""
        for end in () if self._made is None else self._made.ends():
            end.retire()

    def __mul__(self, n: int) -> list[Channel[T]]:
        """This one and n - 1 more like it, of the same name."""
        more = operator.index(n) - 1
        new = [type(self)(self.label or None, self.buffer, arena=self.arena) for _ in range(more)]
        return [self, *new] if more >= 0 else []

    __rmul__ = __mul__

    def info(self) -> ChannelInfo:
        """How the channel stands."""
        return _info(self.name, self.look())

    if not TYPE_CHECKING:  # a type checker tells of these by itself

        def __getattr__(self, name: str) -> Any:
            side = _OF_ENDS.get(name)
            hint = f": its ends communicate, channel.{side}().{name}(...)" if side else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name)

        def __call__(self, *_: Any) -> Any:
            raise TypeError(f"{self!r} is no end: take channel.reader() or channel.writer(), and call that")

        def __iter__(self) -> Any:
            raise TypeError(f"{self!r} is no end: iterate over channel.reader()")

        __aiter__ = __iter__

    def __repr__(self) -> str:
        what = "not set up"
        if self.label is not None:  # it is a str, once this is set up
            what = f"{self.label!r} {self.id}" if self.label else self.id
            if self.capacity:
                what += f" buffer={self.buffer}"
        return f"<{type(self).__name__} {what}{' closed' if self.closed else ''}>"


_OF_ENDS = {"send": "writer", "asend": "writer", "sending": "writer", "recv": "reader", "arecv": "reader"}


def _buffer(capacity: int, policy: int) -> Buffer:
    if policy in _LOSSY:
        return _LOSSY[policy](capacity)
    return math.inf if capacity < 0 else capacity


def _info(name: str, seen: Any) -> ChannelInfo:
    return ChannelInfo(
        name=name,
        buffer=_buffer(seen["capacity"], seen["policy"]),
        passed=seen["passed"],
        lost=seen["lost"],
        buffered=seen["buffered"],
        readers_waiting=seen["waiting"][0],
        writers_waiting=seen["waiting"][1],
        readers_retired=seen["retired"][0],
        writers_retired=seen["retired"][1],
        poisoned=seen["poisoned"],
    )


def poison(*ends: Reader[Any] | Writer[Any] | Channel[Any]) -> None:
    """Poisons the channels of these ends, at once and everywhere: whoever uses them gets ChannelPoison."""
    for end in _checked(ends):
        end.poison()


def retire(*ends: Reader[Any] | Writer[Any] | Channel[Any]) -> None:
    """Retires these ends; of a Channel, all ends that were made of it here.

    When the last writer of a channel has retired, its readers get ChannelRetire, after what was sent; when
    the last reader has, the writers get it. Whoever uses a retired end gets it, too.
    """
    for end in _checked(ends):
        end.retire()


def _checked(ends: tuple[Any, ...]) -> tuple[Any, ...]:
    for end in ends:
        if not isinstance(end, (_core.End, Channel)):
            hint = ": put a * before a list" if isinstance(end, (list, tuple)) else ""
            raise TypeError(f"an end of a channel, or a Channel, was expected, not {end!r}{hint}")
    return ends
