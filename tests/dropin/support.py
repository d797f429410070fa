"""Start and bound the children of a test; imports no pytest, so that children start fast."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CHILD_LIMIT = (
    40  # seconds after which a child ends itself (SIGALRM), if its test was killed and cannot end it
)
JOIN_LIMIT = 30.0  # seconds a test waits for a child; the hang is a failure, the figure is not
SOON = 20.0  # seconds: the timeout of a blocking call that must succeed
NEVER = 0.05  # seconds: the timeout of a blocking call that must time out
METHODS = ("fork", "spawn", "forkserver")
MODULES = ("multiprocessing", "interproc")


def bounded(target: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Run `target(*args)` in a child that ends by itself in any case."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(CHILD_LIMIT)
    target(*args)


@contextmanager
def default_method(name: str) -> Iterator[None]:
    """interproc's default start method within the block."""
    import interproc

    before = interproc.get_start_method(allow_none=True)
    interproc.set_start_method(name, force=True)
    try:
        yield
    finally:
        interproc.set_start_method(before, force=True)


def in_thread(call: Any) -> Any:
    """What `call()` returns, or the exception it raises, in another thread."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(call())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SOON)
    assert result, "the call did not end"
    return result[0]


class Crew:
    """The children of one test: started with one context, each waited for with a limit, each ended by pid."""

    def __init__(self, ctx: Any) -> None:
        self.ctx = ctx
        self.members: list[Any] = []

    def start(self, target: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Start `target(*args)`; `options` go to Process (name, daemon)."""
        process = self.ctx.Process(target=bounded, args=(target, args), **options)
        self.members.append(process)
        process.start()
        return process

    def join(self, *processes: Any, exitcode: int | None = 0) -> None:
        """Wait for these (all, if none is named) and check how they ended; None accepts any exit code."""
        for process in processes or tuple(self.members):
            process.join(JOIN_LIMIT)
            assert process.exitcode is not None, f"{process!r} did not end within {JOIN_LIMIT} s"
            if exitcode is not None:
                assert process.exitcode == exitcode, (
                    f"{process!r} ended with {process.exitcode}, expected {exitcode}"
                )

    def kill(self, process: Any) -> None:
        """SIGKILL one child and wait for its end."""
        os.kill(process.pid, signal.SIGKILL)
        self.join(process, exitcode=-signal.SIGKILL)

    def end(self) -> None:
        """End whoever still lives; for a fixture's teardown."""
        for process in self.members:
            if process.is_alive():
                for number in (signal.SIGKILL, signal.SIGCONT):
                    os.kill(process.pid, number)
                process.join(JOIN_LIMIT)


def until(condition: Callable[[], Any], what: str = "", limit: float = JOIN_LIMIT) -> Any:
    """Poll until `condition()` is true and return it; AssertionError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true within {limit} s: {what or condition}"
        time.sleep(0.002)
    return value


COARSE = 6  # CLOCK_MONOTONIC_COARSE


def next_tick() -> None:
    """Within a tick of the coarse clock a death is as if it had come just after a communication."""
    now = time.clock_gettime(COARSE)
    until(lambda: time.clock_gettime(COARSE) != now)


def sleeping(pid: int) -> bool:
    """Whether the main thread of `pid` sleeps in the kernel: in a blocking call, by /proc."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] in (b"S", b"D")
