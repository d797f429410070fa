"""Processes that are stopped, and waits that are interrupted: limits hold, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from typing import Any

import pytest
from dropin.support import NEVER, SOON, until

from interproc import _core
from interproc.csp import (
    Barrier,
    Channel,
    ChannelRetire,
    Parallel,
    Received,
    Sent,
    Skipped,
    Spawn,
    TimedOut,
    after,
    process,
    select,
    skip,
)

from .support import AT_ONCE, at_once, rounds, stopped
from .victims import (
    LIMIT,
    idles,
    receives_until,
    waiting,
)

# ---- stopped -----------------------------------------------------------------------------------------------


@process
def serves(inp: Any, out: Any) -> None:
    signal.alarm(LIMIT)
    for value in inp:
        out.send(value)


def test_timeouts_hold_while_a_participant_is_stopped() -> None:
    there, back, aside = Channel[int](), Channel[int](), Channel[int]()
    out, inp = there.writer(), back.reader()
    spawned = Spawn(serves(there.reader(), back.writer()))
    out.send(1, SOON)
    assert inp.recv(SOON) == 1
    waiting(there, readers=1)
    one, other = aside.writer(), aside.reader()
    with stopped(spawned.pid):
        out.send(2, SOON)  # its offer was out: it has it, and will go on with it
        for call in (
            lambda: inp.recv(NEVER),
            lambda: out.send(3, NEVER),
            lambda: select(inp, (out, 3), timeout=NEVER),
        ):
            with at_once("giving up"), pytest.raises(TimeoutError):
                call()
        with at_once("giving up"):
            assert isinstance(select(inp, (out, 3), after(NEVER)), TimedOut)
        helper = Spawn(sends_one.with_kind("thread")(one))  # the others get on
        assert other.recv(SOON) == 4
        helper.join(SOON)
    assert inp.recv(SOON) == 2
    out.retire()
    spawned.join(SOON)


@process
def sends_one(out: Any) -> None:
    out.send(4, SOON)


def test_timeouts_hold_at_whatever_instruction_one_is_stopped() -> None:
    """Also if it has a lock; nothing is lost or doubled by that."""
    there, back = Channel[int](), Channel[int]()
    out, inp = there.writer(), back.reader()
    spawned = Spawn(serves(there.reader(), back.writer()))
    sent: list[int] = []
    got: list[int] = []
    dice = random.Random(4)

    def step(timeout: float) -> None:
        try:
            chosen = select((out, len(sent)), inp, timeout=timeout)
        except TimeoutError:
            return
        if isinstance(chosen, Sent):
            sent.append(len(sent))
        else:
            assert isinstance(chosen, Received)
            got.append(chosen.value)

    for _ in rounds(2):
        ahead = len(sent) + 3
        while len(sent) < ahead:
            step(SOON)
        time.sleep(dice.random() * 0.0002)
        with stopped(spawned.pid):
            for _ in range(3):
                with at_once("giving up"):
                    step(0.01)
    while len(got) < len(sent) - 1:
        got.append(inp.recv(SOON))
    out.retire()
    with contextlib.suppress(ChannelRetire):
        got.append(inp.recv(SOON))
    assert got == sent
    spawned.join(SOON)


# ---- interrupted -------------------------------------------------------------------------------------------


def waits_to_send(channel: Any, barrier: Any) -> None:
    channel.writer().send("x")


def waits_to_receive(channel: Any, barrier: Any) -> None:
    channel.reader().recv()


def waits_to_choose(channel: Any, barrier: Any) -> None:
    select((channel.writer(), "x"), barrier.enrol())


def waits_to_meet(channel: Any, barrier: Any) -> None:
    barrier.enrol().sync()


def waits_for_a_full_buffer(channel: Any, barrier: Any) -> None:
    full = Channel[int](buffer=1)
    keep = full.reader()
    with full.writer() as out:
        out.send(1)
        out.send(2)
    keep.retire()


def waits_for_parallel(channel: Any, barrier: Any) -> None:
    own = Channel[int]()
    keep = own.writer()
    Parallel(idles(), receives_until.with_kind("thread")(own.reader()))
    keep.retire()


def waits_for_join(channel: Any, barrier: Any) -> None:
    Spawn(idles()).join()


@pytest.mark.parametrize(
    "waits",
    [
        waits_to_send,
        waits_to_receive,
        waits_to_choose,
        waits_to_meet,
        waits_for_a_full_buffer,
        waits_for_parallel,
        waits_for_join,
    ],
)
def test_ctrl_c_in_every_kind_of_wait(waits: Any) -> None:
    """At once, and its offers are taken back: the channel and the barrier are as they were."""
    channel, barrier = Channel[str](), Barrier()
    inp, out, place = channel.reader(), channel.writer(), barrier.enrol()  # so that none of it is a deadlock

    def interrupt() -> None:
        _core.quiet_thread()
        with contextlib.suppress(AssertionError):
            until(lambda: sleeping_in_wait(), limit=2)
        os.kill(os.getpid(), signal.SIGINT)

    main = threading.get_native_id()

    def sleeping_in_wait() -> bool:
        with open(f"/proc/self/task/{main}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"S"

    thread = threading.Thread(target=interrupt)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        try:
            thread.start()
            waits(channel, barrier)
        finally:
            thread.join()
    assert time.monotonic() - start < 4 * AT_ONCE
    assert channel.info().passed == 0
    nobody_waits(channel, inp, out)
    assert barrier.info().waiting == 0
    helper = Spawn(sends_text.with_kind("thread")(out))
    assert inp.recv(SOON) == "after"
    helper.join(SOON)
    with at_once("the barrier of one"):
        place.sync(SOON)


def nobody_waits(channel: Any, inp: Any, out: Any) -> None:
    """No offer is out, at neither end."""
    for guard in (inp, (out, "x")):
        assert isinstance(select(guard, skip()), Skipped)


@process
def sends_text(out: Any) -> None:
    out.send("after", SOON)
