"""A thread that waits for OS processes to end on behalf of event loops, and an event loop in a thread.

Both are made when they are first needed, and serve the whole OS process. They do nothing by themselves that
could end a wait at a channel.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ... import _core

if TYPE_CHECKING:
    import asyncio

__all__ = ["background_loop", "watch"]

_lock = threading.Lock()
_poll: select.epoll | None = None
_watched: dict[int, Callable[[], object]] = {}
_loop: asyncio.AbstractEventLoop | None = None


def watch(descriptor: int, call: Callable[[], object]) -> None:
    """Call it, once, in the thread, when the descriptor has become readable."""
    global _poll
    with _lock:
        if _poll is None:
            _poll = select.epoll()
            threading.Thread(target=_wait, args=(_poll,), name="interproc-csp-reaper", daemon=True).start()
        _watched[descriptor] = call
        _poll.register(descriptor, select.EPOLLIN)


def _wait(poll: select.epoll) -> None:
    _core.quiet_thread()
    while True:
        for descriptor, _ in poll.poll():
            with _lock:
                poll.unregister(descriptor)
                call = _watched.pop(descriptor)
            with contextlib.suppress(RuntimeError):  # the loop was closed
                call()
            del call  # what it refers to is over, and is not kept till the next


def background_loop() -> asyncio.AbstractEventLoop:
    """A running event loop for the tasks of those who have none."""
    global _loop
    import asyncio

    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_serve, args=(_loop,), name="interproc-csp-tasks", daemon=True).start()
        return _loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    _core.quiet_thread()
    asyncio.set_event_loop(loop)
    loop.run_forever()


def _in_child() -> None:
    global _lock, _poll, _loop
    _lock = threading.Lock()
    _poll = _loop = None
    _watched.clear()


os.register_at_fork(after_in_child=_in_child)
