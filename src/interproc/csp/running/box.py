"""Where the outcomes of the OS processes arrive that this one has started: one queue for all of them."""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING, Any

from .failures import Outcome, Parcel

if TYPE_CHECKING:
    from ...queues import Queue

__all__ = ["Box"]

Key = tuple[int, int]  # numbers of a run and of a process in it


class Box:
    """A queue of (run, number, what, value), and what has arrived for whom.

    What a process has put is in the queue before it has ended, so nobody waits for it.
    """

    def __init__(self) -> None:
        self._queue: Queue[Any] | None = None
        self._lock = threading.Lock()
        self._arrived: dict[Key, Outcome] = {}
        self._astray: list[Exception] = []  # of messages that could not be unpickled, and do not tell whose

    def queue(self) -> Queue[Any]:
        """For a process that is to be started."""
        if self._queue is None:
            from ...queues import Queue

            with self._lock:
                if self._queue is None:
                    self._queue = Queue()
        return self._queue

    def take(self, run: int, number: int, exitcode: int | None) -> Outcome | None:
        """That of a process that has ended, or None."""
        with self._lock:
            self._collect()
            outcome = self._arrived.pop((run, number), None)
            if outcome is None and exitcode == 0 and self._astray:
                outcome = Outcome(error=self._astray.pop(0))
            return outcome

    def _collect(self) -> None:
        while self._queue is not None:
            try:
                run, number, what, value = self._queue.get(False)
            except queue.Empty:
                return
            except Exception as error:
                self._astray.append(error)
                continue
            if what == "failed":
                assert isinstance(value, Parcel)
                self._arrived[run, number] = Outcome(error=value.open())
            else:
                self._arrived[run, number] = Outcome(value, interrupted=what == "interrupted")


def box() -> Box:
    """This OS process's."""
    return _box


def _in_child() -> None:
    global _box
    _box = Box()


_box = Box()
os.register_at_fork(after_in_child=_in_child)
