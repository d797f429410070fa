"""What the fault tests share: random deaths, a fresh interpreter, waiting for the arena to be clean."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dropin.support import until

from interproc._core import Arena

AT_ONCE = 2.0  # seconds: generous for what is promised within 100 ms, and far below any timeout used

SECONDS = 1.5  # that each loop goes on killing
LEAST = 5  # rounds it must do, or it has shown nothing


def rounds(seconds: float = SECONDS) -> Iterator[int]:
    start = time.monotonic()
    number = 0
    while number < LEAST or time.monotonic() - start < seconds:
        yield number
        number += 1


def kill_at_random(process: Any, dice: random.Random, most: float = 0.004) -> None:
    """SIGKILL after a random time, in seconds at most `most`, and bury the process."""
    time.sleep(dice.random() ** 2 * most)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL, f"it ended by itself with {process.exitcode}"


@contextmanager
def at_once(what: str, seconds: float = AT_ONCE) -> Any:
    """The block ends within the time."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert took < seconds, f"{what} took {took:.2f} s"


@contextmanager
def stopped(pid: int) -> Any:
    """The process is stopped with SIGSTOP within the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def python(
    code: str, *args: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None, limit: float = 50
) -> str:
    """What a fresh interpreter prints for the code; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        input=stdin,
        capture_output=True,
        timeout=limit,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout.decode().strip()


def settled(arena: Arena, used: int, what: str = "") -> None:
    """Bury the dead until no more memory is used than before."""

    def back() -> bool:
        gc.collect()
        arena.reap()
        return arena.used <= used

    until(back, f"arena.used back to {used} bytes {what}", limit=10)


def forked(work: Callable[[], object]) -> int:
    """Run `work` in a bare os.fork() child; its pid. The child exits 0, or 1 on an exception."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(40)
        work()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def status_of(pid: int, limit: float = 45) -> int:
    """Wait for a bare child: its exit code, or minus the signal's number."""
    deadline = time.monotonic() + limit
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"process {pid} did not end within {limit} s")
        time.sleep(0.002)


def status_done(pid: int) -> bool:
    """Whether a bare child has ended; it is still to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
