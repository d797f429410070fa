"""Networks whose processes are killed, end with a lock, or cannot start."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest
from dropin.support import NEVER, SOON, default_method

import interproc
from interproc.csp import (
    Barrier,
    Channel,
    ChannelPoison,
    Parallel,
    ProcessKilled,
    Sequence,
    Spawn,
    process,
)

from .support import AT_ONCE, at_once


@process
def sends(out: Any, n: int = 3) -> None:
    for i in range(n):
        out.send(i)


@process
def receives(inp: Any) -> list[Any]:
    return list(inp)


@process
async def areceives(inp: Any) -> list[Any]:
    return [value async for value in inp]


@process
def waits(inp: Any) -> Any:
    return inp.recv()


@process
def kills_itself(number: int, *ends: Any) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


@process
def hands_out_pid(out: Any) -> None:
    out.send(os.getpid())
    time.sleep(60)


@process
def naps(seconds: float = 60) -> None:
    time.sleep(seconds)


# ---- killed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_one_that_is_killed_has_failed_by_that_signal(number: signal.Signals) -> None:
    with pytest.raises(ExceptionGroup, match="1 of 2 processes failed") as caught:
        Parallel(kills_itself(number).with_name("victim"), naps(0))
    [error] = caught.value.exceptions
    assert isinstance(error, ProcessKilled)
    assert error.signal == number
    assert str(error).startswith("victim (pid ")
    assert str(error).endswith(f"was killed by {number.name}")


@pytest.mark.parametrize("kind", ["process", "thread", "task"])
def test_its_neighbours_are_told_at_once(kind: str, method: str) -> None:
    first, second = Channel[int](), Channel[int]()
    sink = areceives if kind == "task" else receives.with_kind(kind)  # type: ignore[arg-type]
    writer = sends.with_kind("process" if kind == "task" else kind)  # type: ignore[arg-type]
    victim = kills_itself(signal.SIGKILL, first.reader(), second.writer())
    with (
        at_once("it and its neighbours", 4 * AT_ONCE),
        pytest.raises(ExceptionGroup, match="1 of 3") as caught,
    ):
        Parallel(victim, writer(first.writer()), sink(second.reader()))
    assert isinstance(caught.value.exceptions[0], ProcessKilled)


def test_nobody_waits_for_its_starter_to_look() -> None:
    """A spawned process dies while nobody joins it."""
    channel, pids = Channel[int](), Channel[int]()

    @process
    def holder(out: Any, pid: Any) -> None:
        pid.send(os.getpid())
        time.sleep(60)
        out.send(0)

    inp, pid = channel.reader(), pids.reader()
    spawned = Spawn(holder(channel.writer(), pids.writer()))
    os.kill(pid.recv(SOON), signal.SIGKILL)
    with at_once("the end of the wait"), pytest.raises(ChannelPoison):
        inp.recv(SOON)
    with pytest.raises(ExceptionGroup):
        spawned.join(SOON)


def test_a_grandchild_keeps_nobody_from_seeing_that(method: str) -> None:
    """It inherits what its parent has open."""

    @process
    def parent(out: Any) -> None:
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        out.send(child)
        os.kill(os.getpid(), signal.SIGKILL)

    channel = Channel[int]()
    inp = channel.reader()
    spawned = Spawn(parent(channel.writer()))
    grandchild = inp.recv(SOON)
    try:
        if method != "forkserver":  # of which only its server learns, by a pipe
            with at_once("the end of its parent"), pytest.raises(ExceptionGroup, match="1 of 1"):
                spawned.join(SOON)
    finally:
        os.kill(grandchild, signal.SIGKILL)
    with pytest.raises(ExceptionGroup, match="1 of 1"):
        spawned.join(SOON)


def test_one_that_is_killed_in_a_sequence() -> None:
    channel = Channel[int]()
    sequence = Sequence.of(naps(0), kills_itself(signal.SIGKILL), sends(channel.writer()))
    with pytest.raises(ExceptionGroup, match="1 of 4"):
        Parallel(sequence, receives(channel.reader()))


def test_what_it_had_sent_before_is_not_lost() -> None:
    @process
    def victim(out: Any) -> None:
        sends.body(out, 5)
        os.kill(os.getpid(), signal.SIGKILL)

    channel = Channel[int]()
    inp = channel.reader()
    spawned = Spawn(victim(channel.writer()))
    assert [inp.recv(SOON) for _ in range(5)] == list(range(5))
    with pytest.raises(ExceptionGroup):
        spawned.join(SOON)


def test_one_at_a_barrier() -> None:
    barrier = Barrier()
    mine = barrier.enrol()
    with pytest.raises(ExceptionGroup):
        Parallel(kills_itself(signal.SIGKILL, barrier.enrol()))
    mine.sync(SOON)


# ---- locks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["returns", "raises", "is killed"])
def test_an_os_process_that_ends_with_a_lock(how: str, method: str) -> None:
    """The next to come has it."""

    @process
    def holder(lock: Any) -> None:
        lock.acquire()
        if how == "raises":
            raise ValueError
        if how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)

    @process
    def next_one(lock: Any) -> bool:
        return bool(lock.acquire(timeout=SOON))

    lock = interproc.Lock()
    with contextlib.suppress(ExceptionGroup):
        Parallel(holder(lock))
    assert Parallel(next_one(lock)) == [True]
    assert lock.acquire(timeout=SOON)


def test_a_thread_that_returns_with_a_lock_leaves_it_locked() -> None:
    """As Python's threads do; anyone may release it."""
    lock = interproc.Lock()
    Parallel(process(lock.acquire, kind="thread", name="holder")())
    assert not lock.acquire(timeout=NEVER)
    lock.release()
    assert lock.acquire(timeout=NEVER)


# ---- starting ----------------------------------------------------------------------------------------------


def test_one_that_cannot_be_started_stops_the_others() -> None:
    with default_method("spawn"):
        channel = Channel[int]()
        with pytest.raises(ExceptionGroup, match="1 of 3") as caught:
            Parallel(
                waits.with_kind("thread")(channel.reader()),
                process(lambda lock, out: None)(threading.Lock(), channel.writer()),
                waits(channel.reader()),
            )
    assert isinstance(caught.value.exceptions[0], interproc.PicklingError)


def test_an_end_that_has_ended_cannot_be_given_away() -> None:
    channel = Channel[int]()
    out = channel.writer()
    out.retire()
    for kind in ("process", "thread"):
        with pytest.raises(ExceptionGroup) as caught:
            Parallel(sends.with_kind(kind)(out))  # type: ignore[arg-type]
        assert "was retired here" in str(caught.value.exceptions[0])


def test_more_descriptors_are_asked_for_when_they_are_needed() -> None:
    code = """
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    from interproc.csp import Parallel, process
    gate = __import__("os").pipe()
    @process
    def work(): pass
    print(len(Parallel([work() for _ in range(150)])), resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 300)
    """
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1000:
        pytest.skip("the limit cannot be raised here")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=50
    )
    assert done.stdout.split() == ["150", "True"], done.stderr


def test_a_daemonic_process_of_multiprocessing_is_told_that_it_cannot() -> None:
    connection, theirs = interproc.Pipe()

    def work() -> None:
        try:
            Parallel(naps(0))
        except ExceptionGroup as group:
            theirs.send(str(group.exceptions[0]))

    child = interproc.get_context("fork").Process(target=work, daemon=True)
    child.start()
    assert connection.poll(SOON)
    assert "daemonic" in connection.recv()
    child.join(SOON)
