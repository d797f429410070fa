"""The exceptions; each derives from InterprocError, and from what multiprocessing raises there."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ._core import Enrolment
    from .connection import Connection
    from .csp.channels import Reader, Writer

    ChannelEnd: TypeAlias = Reader[Any] | Writer[Any]

if sys.version_info >= (3, 13):
    from queue import ShutDown as _QueueShutDown
else:

    class _QueueShutDown(Exception):
        """As `queue.ShutDown`, which Python 3.13 has."""


__all__ = [
    "ArenaClosed",
    "ArenaCorrupted",
    "ArenaFull",
    "ChannelEnded",
    "ChannelPoison",
    "ChannelRetire",
    "ChannelTimeout",
    "ConnectionEnded",
    "Deadlock",
    "HandleError",
    "InterprocError",
    "NotLocked",
    "NotOwner",
    "ObjectFreed",
    "PicklingError",
    "ProcessKilled",
    "ServerDied",
    "ShutDown",
    "SnapshotError",
    "UnpicklingError",
]


class InterprocError(Exception):
    """The base of all that interproc raises by itself."""


class ArenaCorrupted(InterprocError):
    """What was read from shared memory fails its check: a stray write or a hardware fault has damaged it."""


class ArenaFull(InterprocError, MemoryError):
    """The arena's limit, or the machine's memory, does not allow the request; nothing was changed."""


class ArenaClosed(InterprocError, OSError):
    """This process has left the arena (it is exiting), so its objects can no longer be used here."""


class HandleError(InterprocError, ValueError):
    """A handle that means nothing here: closed, or of an arena this process is not a member of."""


class NotLocked(InterprocError, ValueError, RuntimeError):
    """A lock was released that nobody has.

    ValueError, as of multiprocessing's locks; RuntimeError, as of threading's, which its managers have.
    """


class NotOwner(InterprocError, AssertionError, RuntimeError):
    """What only the owner of a lock may do.

    AssertionError, as of multiprocessing's locks; RuntimeError, as of threading's, which its managers have.
    """


class ObjectFreed(HandleError):
    """The object behind a handle was freed, since its last holder closed it or died."""


class PicklingError(InterprocError, pickle.PicklingError, TypeError, AttributeError):
    """An object that cannot be pickled; the message has the path to the culprit. Nothing was sent.

    Pickle itself raises PicklingError, TypeError or AttributeError; handlers of each of those catch this.
    What an object's own `__reduce__` or `__getstate__` raised is the cause.
    """


class UnpicklingError(InterprocError, pickle.UnpicklingError):
    """A message that was taken but cannot be unpickled; it is gone from the queue, and kept here.

    Attributes:
        data: the message's bytes, to look at or to retry with `pickle.loads` (of a message with out-of-band
            buffers a pickle that contains them).
    """

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


class _AtEnd(InterprocError):
    """What is told of an end of a channel, or of whatever else one communicates at.

    It travels without that: an exception that is kept somewhere is to keep no channel open.
    """

    def __init__(self, message: str = "", end: Any = None) -> None:
        super().__init__(message)
        self.end = end

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self),)


class ShutDown(_AtEnd, _QueueShutDown):
    """The queue was shut down: nothing more can be put, or nothing is left to get.

    Attributes:
        end: the queue, if a select raised this.
    """


class SnapshotError(InterprocError, ValueError):
    """A file that cannot be loaded: no snapshot, cut short, damaged, or newer. Nothing was changed."""


class ServerDied(InterprocError, EOFError, ConnectionError):
    """The manager's server has ended, was killed, or cannot be reached: what lived in it is gone."""


class ConnectionEnded(_AtEnd, EOFError):
    """A select was left with a Connection whose other end is closed, and all that was sent is read.

    Attributes:
        end: the Connection.
    """

    end: Connection | None


class ChannelEnded(_AtEnd):
    """A channel that no more communication takes place on.

    Attributes:
        end: the end that was used, or None.
    """

    end: ChannelEnd | None


class ChannelTimeout(_AtEnd, TimeoutError):
    """A communication, or a choice, did not take place within its time limit. Nothing was sent or received.

    Attributes:
        end: the end, or enrolment at a barrier, that was waited at; None if there were several.
    """

    end: ChannelEnd | Enrolment | None


class ChannelPoison(ChannelEnded):
    """The channel was poisoned: by poison(), or since a process that had an end of it failed or died."""


class ChannelRetire(ChannelEnded):
    """The last end of the other side has retired, and all that was sent is read."""


class Deadlock(_AtEnd):
    """A wait that can never end: each process that could end it waits itself.

    The message draws who waits for whom; of several in one ExceptionGroup only the first's does, to which the
    others refer.

    Attributes:
        end: the end, or enrolment at a barrier, that was waited at; None if there were several.
    """

    end: ChannelEnd | Enrolment | None


class ProcessKilled(InterprocError):
    """A process was killed by a signal.

    Attributes:
        signal: the number of the signal.
    """

    def __init__(self, message: str, signal: int = 0) -> None:
        super().__init__(message)
        self.signal = signal

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.signal)
