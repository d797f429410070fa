"""Channels and their ends as PyCSP has them: an end is one, wherever it is, and counts until it is retired.

In interproc.csp a process holds a side of a channel as long as it has an unretired end of it, and what it
has ends with it. PyCSP counts the ends that were made, whoever has them, less those that were retired,
whoever did that. So here each channel has that count beside it, in a number that its processes share; and
whoever retires the last end of a side poisons the channel below, upon which all look at the number to see
what that meant:

    number    ended 2 | writers 24 | readers 24             ended: 0 no, 1 retired, 2 poisoned

What lies in a buffer is still read: then whoever reads the last of it ends the channel below. Who made a
channel holds both of its sides as long as he has it, or an end that he made of it; what ends below, with
nobody left who could retire or poison it here, is told as what it is there.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from ... import _core
from ...errors import ChannelEnded, ChannelPoison, ChannelRetire, PicklingError
from ..channels import Channel as _Base
from ..channels import Reader, Writer
from .configuration import ChannelConnectException, InfoException

_READS, _WRITES = 0, 1
_BITS = 24
_MASK = (1 << _BITS) - 1
_ENDED = 2 * _BITS
_OPEN, _RETIRED, _POISONED = 0, 1, 2
_NAME_MAX = 32


class _Reads(Reader[Any]):
    """An end below: it belongs to no process, and lasts as long as somebody refers to it."""

    def _arrived(self) -> None:
        pass


class _Writes(Writer[Any]):
    def _arrived(self) -> None:
        pass


def _below(base: _Base[Any], side: int) -> Any:
    """An end of the channel below, though that may have ended: its use tells."""
    _, index, generation, _ = base._identity()
    kind = _Writes if side == _WRITES else _Reads
    return _core._rebuild_handle(  # type: ignore[attr-defined]  # as unpickling does, which asks nothing
        kind, base.arena, index, generation, side, None
    )


# What holds both sides of the channels that were made here. It is not in the channel, where a process that is
# given an end would be taken to be given these.
_held: weakref.WeakKeyDictionary[Channel, tuple[Any, Any]] = weakref.WeakKeyDictionary()


class Channel:
    """A channel of any number of readers and writers: `Channel("jobs")`, `Channel(buffer=10)`.

    `c.reader()` or `+c` gives an end to receive from, by calling it; `c.writer()` or `-c` one to send to, by
    calling it with a message. `c * 5` is a list of five channels.

    Raises:
        InfoException, ValueError, TypeError: what the name or the buffer is.
        ChannelConnectException: `connect` is given: there are no channels on other machines.
    """

    def __init__(self, name: str | None = None, buffer: int = 0, connect: Any = None) -> None:
        if connect is not None:
            raise ChannelConnectException(
                connect,
                "channels are on one machine, and an end is sent to who is to have it; there is no",
            )
        if name is not None and len(name) > _NAME_MAX:
            raise InfoException(f"the name of a channel has at most {_NAME_MAX} characters: {name!r}")
        self._set_up(_Base(name, buffer), _core.Number("q", 0, lock=False))
        _held[self] = _below(self._base, _READS), _below(self._base, _WRITES)

    def _set_up(self, base: _Base[Any], number: _core.Number) -> None:
        self._base = base
        self._number = number
        self._buffered = base.capacity != 0

    def __reduce__(self) -> Any:
        return _arrived_channel, (self._base, self._number)

    @property
    def name(self) -> str:
        return self._base.name

    @property
    def buffer(self) -> Any:
        return self._base.buffer

    def reader(self) -> ChannelEndRead:
        """A new end to receive from."""
        return ChannelEndRead(self)

    def writer(self) -> ChannelEndWrite:
        """A new end to send to."""
        return ChannelEndWrite(self)

    __pos__ = reader
    __neg__ = writer

    def disconnect(self) -> None:
        """For PyCSP's channels on other machines: nothing."""

    def __mul__(self, multiplier: int) -> list[Channel]:
        return [self, *(Channel(buffer=self.buffer) for _ in range(int(multiplier) - 1))]

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"<Channel named {self.name}>"

    # ---- the count

    def _join(self, side: int) -> None:
        self._number.add(1 << side * _BITS)

    def _leave(self, side: int) -> None:
        """One end of a side less."""
        while True:
            seen = self._number.value
            left = max(0, (seen >> side * _BITS & _MASK) - 1)
            new = seen & ~(_MASK << side * _BITS) | left << side * _BITS
            last = left == 0 and seen >> _ENDED == _OPEN
            if self._number.compare_exchange(seen, new | _RETIRED << _ENDED if last else new):
                break
        if last:
            self._end(side)

    def _poison(self, side: int) -> None:
        while (seen := self._number.value) >> _ENDED != _POISONED:
            if self._number.compare_exchange(seen, seen & ~(-1 << _ENDED) | _POISONED << _ENDED):
                break
        self._end(side)

    def _end(self, side: int) -> None:
        """It was ended by that side: now, or when what the writers have sent is read."""
        if side == _READS or not self._buffered or not self._base.look()["buffered"]:
            self._base.poison()

    def _drained(self) -> None:
        """A message was taken from the buffer; was it the last?"""
        if (
            self._number.add(0) >> _ENDED != _OPEN
        ):  # a read-modify-write, so that either sees what the other has done
            self._end(_WRITES)

    def _why(self, error: ChannelEnded, end: _ChannelEnd | None) -> ChannelEnded:
        """What has ended it, told as PyCSP does."""
        how = self._number.value >> _ENDED
        if how == _OPEN:
            how = _POISONED if isinstance(error, ChannelPoison) else _RETIRED
        if how == _POISONED or (end is not None and end._ended == _POISONED):
            return ChannelPoison(f"{self.name}: the channel was poisoned", end)
        return ChannelRetire(
            f"{self.name}: the last end of a side of the channel, or this one, has retired", end
        )


def _arrived_channel(base: _Base[Any], number: _core.Number) -> Channel:
    channel = Channel.__new__(Channel)
    channel._set_up(base, number)
    return channel


# ---- ends --------------------------------------------------------------------------------------------------

_numbers = itertools.count()
_known: weakref.WeakValueDictionary[tuple[int, int], _ChannelEnd] = weakref.WeakValueDictionary()


class _ChannelEnd:
    """What both ends have in common."""

    __slots__ = ("__weakref__", "_below", "_ended", "_token", "channel")
    _side: ClassVar[int]

    def __init__(self, channel: Channel) -> None:
        channel._join(self._side)
        self._set_up(channel, _below(channel._base, self._side), (os.getpid(), next(_numbers)), _OPEN)

    def _set_up(self, channel: Channel, below: Any, token: tuple[int, int], ended: int) -> None:
        self.channel = channel
        self._below = below
        self._token = token
        self._ended = ended
        _known[token] = self

    def __reduce__(self) -> Any:
        try:
            below = self._below if self._ended == _OPEN else None
            if below is not None:
                below.__reduce__()
        except ChannelEnded:  # it travels all the same: there, its use tells
            below = None
        return _arrived, (type(self), self._token, below, self.channel, self._ended)

    def poison(self) -> None:
        """Poison the channel: whoever uses it, at either side, gets ChannelPoisonException.

        By a writer, of a channel with a buffer: the readers get it when they have read what is in it.
        """
        if self._ended != _POISONED:
            self._ended = _POISONED
            self._below.retire()
            self.channel._poison(self._side)

    def retire(self) -> None:
        """Leave the channel. With the last end of a side, the others get ChannelRetireException.

        Readers get it when they have read what is in a buffer.
        """
        if self._ended == _OPEN:
            self._ended = _RETIRED
            self._below.retire()
            self.channel._leave(self._side)

    def isReader(self) -> bool:
        return self._side == _READS

    def isWriter(self) -> bool:
        return self._side == _WRITES

    def disconnect(self) -> None:
        """For PyCSP's channels on other machines: nothing."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on channel named {self.channel.name}>"


def _arrived(
    kind: type[_ChannelEnd], token: tuple[int, int], below: Any, channel: Channel, ended: int
) -> _ChannelEnd:
    """An end that comes to a process that has it already is the one that it has."""
    end = _known.get(token)
    if end is None:
        end = kind.__new__(kind)
        end._set_up(channel, below if below is not None else _below(channel._base, kind._side), token, ended)
    elif below is not None and not end._below.owned:
        end._below = below
    return end


class ChannelEndRead(_ChannelEnd):
    """The end to receive from: `message = cin()`."""

    __slots__ = ()
    _side = _READS

    def __call__(self) -> Any:
        """Receives. Raises ChannelPoisonException, ChannelRetireException, Deadlock."""
        channel = self.channel
        try:
            message = self._below.recv()
        except ChannelEnded as error:
            raise channel._why(error, self) from None
        if channel._buffered:
            channel._drained()
        return message


class ChannelEndWrite(_ChannelEnd):
    """The end to send to: `cout(message)`."""

    __slots__ = ()
    _side = _WRITES

    def __call__(self, msg: Any) -> None:
        """Sends: returns when a reader has it, or the buffer. Raises as receiving does."""
        channel = self.channel
        self._check()
        try:
            if type(msg) in _unpicklable:
                self._hand_over(msg)
            else:
                self._below.send(msg)
        except ChannelEnded as error:
            raise channel._why(error, self) from None
        except PicklingError:
            if type(msg) is not list and type(msg) is not tuple and type(msg) is not dict:
                _unpicklable.add(type(msg))
            self._hand_over(msg)

    def _check(self) -> None:
        """A channel with a buffer may have been poisoned by a writer, and still have to be read empty."""
        channel = self.channel
        if channel._buffered and channel._number.value >> _ENDED != _OPEN:
            raise channel._why(ChannelRetire(""), self)

    def _hand_over(self, msg: Any) -> None:
        handed = Handed(msg)
        try:
            self._below.send(handed)
        except BaseException as error:
            handed.take_back()
            if isinstance(error, ChannelEnded):
                raise self.channel._why(error, self) from None
            raise


def IN(channel: Channel) -> ChannelEndRead:
    """An older name: `channel.reader()`."""
    return channel.reader()


def OUT(channel: Channel) -> ChannelEndWrite:
    """An older name: `channel.writer()`."""
    return channel.writer()


# ---- messages that cannot be pickled -----------------------------------------------------------------------

_unpicklable: set[type] = set()
_handed: dict[int, Any] = {}
_keys = itertools.count()


class Handed:
    """A message that cannot be pickled on its way to another thread of this process: its key travels."""

    def __init__(self, message: Any) -> None:
        self.key = next(_keys)
        self.kind = type(message).__name__
        _handed[self.key] = message

    def take_back(self) -> None:
        _handed.pop(self.key, None)

    def __reduce__(self) -> Any:
        return _take, (os.getpid(), self.key, self.kind)


def _take(pid: int, key: int, kind: str) -> Any:
    if pid != os.getpid():
        raise TypeError(
            f"a {kind} that cannot be pickled was sent by process {pid}: it can go to a thread of it only"
        )
    return _handed.pop(key)


# ---- several at once ---------------------------------------------------------------------------------------


def retire(*list_of_channelEnds: Any) -> None:
    """Retire these ends, and those in lists: `retire(cin, cout)`. Raises InfoException: it is none."""
    _each(list_of_channelEnds, "retire", lambda end: end.retire())


def poison(*list_of_channelEnds: Any) -> None:
    """Poison the channels of these ends, and of those in lists. Raises InfoException: it is none."""
    _each(list_of_channelEnds, "poison", lambda end: end.poison())


def _each(ends: Iterable[Any], what: str, call: Callable[[Any], None]) -> None:
    for end in ends:
        if isinstance(end, (list, tuple)):
            _each(end, what, call)
        elif isinstance(end, _ChannelEnd):
            call(end)
        else:
            raise InfoException(f"{what}() is for the ends of channels, not for {end!r}")


def ends_in(item: Any) -> list[_ChannelEnd]:
    """The ends in arguments: in lists, tuples and dicts."""
    if isinstance(item, _ChannelEnd):
        return [item]
    if isinstance(item, dict):
        return [end for part in (*item.keys(), *item.values()) for end in ends_in(part)]
    if isinstance(item, (list, tuple)):
        return [end for part in item for end in ends_in(part)]
    return []


def with_new_ends(item: Any) -> Any:
    """The same arguments with further ends of the same channels."""
    if isinstance(item, _ChannelEnd):
        return type(item)(item.channel)
    if type(item) is dict:
        return {with_new_ends(key): with_new_ends(value) for key, value in item.items()}
    if type(item) is list or type(item) is tuple:
        return type(item)(with_new_ends(part) for part in item)
    return item
