"""Waiting for what is no channel beside channels: a thread here pokes whose descriptor is readable."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from .. import _core

__all__ = ["Watch", "readable", "wait_readable"]

_READABLE = select.EPOLLIN | select.EPOLLRDHUP


class Watch:
    """Looks whether one of some descriptors is readable, as long as it is entered.

    `fired` says that one was, at some time since then. It is set before the callbacks are called, and stays.
    """

    def __init__(self, descriptors: Iterable[int]) -> None:
        self.descriptors = tuple(dict.fromkeys(descriptors))
        self.fired = False
        self._callbacks: list[Callable[[], object]] = []

    def on_fire(self, callback: Callable[[], object]) -> None:
        """This is called, in another thread, when one is found readable; perhaps more than once."""
        self._callbacks.append(callback)
        if self.fired:
            callback()

    def has_fired(self) -> bool:
        return self.fired

    def fire(self) -> None:
        self.fired = True
        for callback in tuple(self._callbacks):
            callback()

    def __enter__(self) -> Self:
        _watcher().add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        _watcher().remove(self)


class _Watcher:
    """The thread, and the watches of each descriptor.

    Each descriptor is armed for one event: a watch that is added arms it anew, and one event fires all of
    them. So nothing is lost, and a descriptor that stays readable does not keep the thread busy.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._watches: dict[int, list[Watch]] = {}
        threading.Thread(target=self._run, name="interproc-csp-outside", daemon=True).start()

    def add(self, watch: Watch) -> None:
        at_once = False
        with self._lock:
            for fd in watch.descriptors:
                self._watches.setdefault(fd, []).append(watch)
                try:
                    try:
                        self._epoll.register(fd, _READABLE | select.EPOLLONESHOT)
                    except FileExistsError:
                        self._epoll.modify(fd, _READABLE | select.EPOLLONESHOT)
                except PermissionError:  # a regular file: always readable
                    at_once = True
                except OSError:
                    self._drop(watch)
                    raise
        if at_once:
            watch.fire()

    def remove(self, watch: Watch) -> None:
        with self._lock:
            self._drop(watch)

    def _drop(self, watch: Watch) -> None:
        for fd in watch.descriptors:
            watches = self._watches.get(fd, [])
            if watch in watches:
                watches.remove(watch)
            if not watches and self._watches.pop(fd, None) is not None:
                with contextlib.suppress(OSError):  # it was closed, or is a regular file
                    self._epoll.unregister(fd)

    def _run(self) -> None:
        _core.quiet_thread()
        while True:
            for fd, _ in self._epoll.poll():
                with self._lock:
                    watches = tuple(self._watches.get(fd, ()))
                for watch in watches:
                    watch.fire()


_one: _Watcher | None = None
_making = threading.Lock()


def _watcher() -> _Watcher:
    global _one
    watcher = _one
    if watcher is None:
        with _making:
            watcher = _one = _one or _Watcher()
    return watcher


def _forget() -> None:
    """In a forked child: the thread was its parent's."""
    global _one, _making
    _one, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


def readable(descriptor: int) -> bool:
    """Whether something can be read there, or its end, without waiting."""
    return wait_readable((descriptor,), 0.0)


def wait_readable(descriptors: Iterable[int], timeout: float | None) -> bool:
    """Waits up to `timeout` seconds (None: as long as it takes) for one of them; whether one was readable."""
    poll = select.poll()
    for fd in descriptors:
        poll.register(fd, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(None if timeout is None else min(max(0.0, timeout * 1000), 2**31 - 1)))
