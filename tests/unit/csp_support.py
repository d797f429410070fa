"""Start what communicates in threads, and see that it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from dropin.support import SOON, until

from interproc.csp import Channel, Reader, Writer


def started(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
    """The call, in a thread of its own; `got()` waits for it."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def got(future: Future[Any]) -> Any:
    """What the call returned, or raised."""
    return future.result(SOON)


def readers_wait(channel: Channel[Any], n: int = 1) -> None:
    """Until so many wait to receive."""
    until(lambda: channel.info().readers_waiting >= n)


def nobody_receives(out: Writer[Any]) -> None:
    """No offer to receive is out."""
    with pytest.raises(TimeoutError):
        out.send(None, 0)


def nobody_sends(inp: Reader[Any]) -> None:
    """No offer to send is out."""
    with pytest.raises(TimeoutError):
        inp.recv(0)


def writers_wait(channel: Channel[Any], n: int = 1) -> None:
    """Until so many wait to send."""
    until(lambda: channel.info().writers_waiting >= n)
