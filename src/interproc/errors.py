"""The exceptions; each derives from InterprocError, and from what multiprocessing raises there."""

from __future__ import annotations

import pickle
import sys

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


class ShutDown(InterprocError, _QueueShutDown):
    """The queue was shut down: nothing more can be put, or nothing is left to get."""


class SnapshotError(InterprocError, ValueError):
    """A file that cannot be loaded: no snapshot, cut short, damaged, or newer. Nothing was changed."""


class ServerDied(InterprocError, EOFError, ConnectionError):
    """The manager's server has ended, was killed, or cannot be reached: what lived in it is gone."""


class ChannelEnded(InterprocError):
    """A channel that no more communication takes place on.

    Attributes:
        end: the end that was used, or None.
    """

    def __init__(self, message: str = "", end: object = None) -> None:
        super().__init__(message)
        self.end = end

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self),)  # the end itself stays: an exception that travels is no holder of it


class ChannelPoison(ChannelEnded):
    """The channel was poisoned: by poison(), or since a process that had an end of it failed or died."""


class ChannelRetire(ChannelEnded):
    """The last end of the other side has retired, and all that was sent is read."""


class Deadlock(InterprocError):
    """A wait that can never end: each process that could end it waits itself.

    The message draws who waits for whom.

    Attributes:
        end: the end that was waited at, or None if there were several.
    """

    def __init__(self, message: str, end: object = None) -> None:
        super().__init__(message)
        self.end = end

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self),)  # as of ChannelEnded


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
