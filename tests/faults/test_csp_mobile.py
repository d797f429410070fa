"""Ends that travel when somebody dies, or a channel ends; the end of channels that others choose among."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from typing import Any

import pytest
from dropin.support import NEVER, SOON, in_thread, until

from interproc.csp import (
    Channel,
    ChannelPoison,
    ChannelRetire,
    Skipped,
    Spawn,
    after,
    process,
    select,
    skip,
)

from . import victims
from .support import AT_ONCE, at_once, rounds
from .victims import (
    LIMIT,
    Scene,
    idles,
    kill,
    kill_later,
    told,
    victim,
    waiting,
)

method = victims.method  # a fixture

# ---- mobile ends -------------------------------------------------------------------------------------------


@process
def receives_an_end(inp: Any, ready: Any) -> None:
    signal.alarm(LIMIT)
    end = inp.recv()
    ready.send(end.side)
    time.sleep(LIMIT)


@pytest.mark.parametrize("side", ["reads", "writes"])
def test_the_receiver_of_an_end_is_killed(side: str, method: str) -> None:
    """It was the end's owner: the channel is poisoned."""
    scene, carrier, ready = Scene(side), Channel[Any](), Channel[int]()
    out, tell = carrier.writer(), ready.reader()
    with victim(receives_an_end(carrier.reader(), ready.writer())) as spawned:
        out.send(scene.theirs, SOON)
        scene.theirs.retire()
        assert tell.recv(SOON) == (0 if scene.reads else 1)
        with pytest.raises(TimeoutError):
            scene.mine.send("x", NEVER) if scene.reads else scene.mine.recv(NEVER)
        threading.Timer(0.02, kill, [spawned]).start()
        told(scene.use)


@process
def takes_ends(inp: Any) -> None:
    signal.alarm(LIMIT)
    while True:
        inp.recv().retire()


def test_the_receiver_of_ends_is_killed_at_any_instruction() -> None:
    """Each end that was sent to it has ended, in one way or the other; none is in transit for ever."""
    dice = random.Random(12)
    for _ in rounds(1.5):
        carrier = Channel[Any]()
        out = carrier.writer()
        theirs = []
        with victim(takes_ends(carrier.reader())) as spawned:
            timer = kill_later(spawned, dice)
            with contextlib.suppress(ChannelPoison), at_once("killing the receiver"):
                while True:
                    one = Channel[int]()
                    theirs.append(one.reader())
                    end = one.writer()
                    try:
                        out.send(end, SOON)
                    finally:
                        end.retire()
            timer.join()
        for reader in theirs:
            with at_once("the end of each"), pytest.raises((ChannelPoison, ChannelRetire)):
                reader.recv(SOON)


@process
def sends_an_end(out: Any, end: Any) -> None:
    signal.alarm(LIMIT)
    out.send(end)


def test_one_that_offers_an_end_is_killed() -> None:
    """Nobody has taken it: the end was its own, still."""
    scene, carrier = Scene("reads"), Channel[Any]()
    inp = carrier.reader()
    with victim(sends_an_end(carrier.writer(), scene.theirs)) as spawned:
        waiting(carrier, writers=1)
        threading.Timer(0.02, kill, [spawned]).start()
        told(scene.use)
    told(lambda: inp.recv(SOON)) if scene.channel.info().poisoned else None


@pytest.mark.parametrize("how", ["poison", "retire", "drop"])
def test_a_channel_ends_with_ends_in_its_buffer(how: str) -> None:
    """An end in flight that nobody will ever receive has retired."""
    scene, carrier = Scene("reads"), Channel[Any](buffer=4)
    out, inp = carrier.writer(), carrier.reader()
    out.send(scene.theirs, SOON)
    scene.theirs.retire()
    with pytest.raises(TimeoutError):  # it is in flight, and somebody may receive it
        scene.mine.send("x", NEVER)
    if how == "poison":
        out.poison()
    elif how == "retire":
        out.retire()
        inp.retire()
    del out, inp, carrier
    told(scene.use, ChannelRetire)


@pytest.mark.parametrize("killed", [False, True])
def test_ends_in_a_buffer_retire_when_it_is_poisoned(killed: bool) -> None:
    """By its writer, or since its only reader was killed."""
    scene, carrier = Scene("writes"), Channel[Any](buffer=4)
    out = carrier.writer()
    with victim(idles(carrier.reader())) as spawned:
        out.send(scene.theirs, SOON)
        scene.theirs.retire()
        if killed:
            kill(spawned)
            until(lambda: sends_fail(out), limit=10)
        else:
            out.poison()
    with at_once("the answer"), pytest.raises((ChannelPoison, ChannelRetire)):
        scene.mine.recv(0.2)


def sends_fail(out: Any) -> bool:
    try:
        out.send(None, NEVER)
    except ChannelPoison:
        return True
    except TimeoutError:
        pass
    return False


# ---- ended while others choose -----------------------------------------------------------------------------


@process
def poisons_later(end: Any) -> None:
    time.sleep(0.02)
    end.poison()


@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("place", [0, 5, 9])
def test_poison_during_a_select(kind: Any, place: int) -> None:
    """At any of its guards, and whichever side it chooses."""
    channels = [Channel[int](f"c{i}") for i in range(10)]
    mine = [channel.reader() if i % 2 else channel.writer() for i, channel in enumerate(channels)]
    theirs = [channel.writer() if i % 2 else channel.reader() for i, channel in enumerate(channels)]
    poisoner = Spawn(poisons_later.with_kind(kind)(theirs[place]))
    with at_once("poison", 2 * AT_ONCE), pytest.raises(ChannelPoison) as caught:
        select(*[(end, 1) if end.side else end for end in mine], timeout=SOON)
    assert caught.value.end is mine[place]
    poisoner.join(SOON)
    for i in set(range(10)) - {place}:
        with contextlib.suppress(ChannelRetire):
            assert isinstance(select((theirs[i], 1) if theirs[i].side else theirs[i], skip()), Skipped)


def test_info_does_not_count_who_has_given_up() -> None:
    channels = [Channel[int](), Channel[int]()]
    ends = [(channel.reader(), channel.writer()) for channel in channels]
    with pytest.raises(TimeoutError):
        select(*[inp for inp, _ in ends], timeout=NEVER)
    assert [channel.info().readers_waiting for channel in channels] == [0, 0]


@pytest.mark.parametrize("n", [1, 20])
def test_retire_with_readers_waiting(n: int) -> None:
    """All of them are told, in whatever way they wait."""
    channel = Channel[int]()
    out = channel.writer()
    others = [
        Spawn([waits_for_end.with_kind(kind)(channel.reader()) for _ in range(n)])  # type: ignore[arg-type]
        for kind in ("thread", "process")
    ]
    waiting(channel, readers=2 * n)
    out.retire()
    with at_once("all of them", 2 * AT_ONCE):
        assert [other.join(SOON) for other in others] == [["retired"] * n] * 2


@process
def waits_for_end(inp: Any) -> str:
    signal.alarm(LIMIT)
    try:
        if os.getpid() % 2:
            inp.recv()
        else:
            select(inp, after(LIMIT))
    except ChannelRetire:
        return "retired"
    return "received"


def test_the_answer_is_the_same_in_another_thread() -> None:
    """Of a process that has died while a thread of this one, which is no process of a network, waits."""
    channel = Channel[int]()
    inp = channel.reader()
    with victim(idles(channel.writer())) as spawned:
        threading.Timer(0.02, kill, [spawned]).start()
        assert isinstance(in_thread(lambda: inp.recv(SOON)), ChannelPoison)
