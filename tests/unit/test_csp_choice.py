"""interproc.csp.choice, guards and alternation: what is chosen, that it happens once, and how it is said."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from typing import Any

import pytest
from dropin.support import NEVER, SOON, Crew

import interproc
from interproc import ShutDown
from interproc.csp import (
    Alternation,
    AltSelect,
    Barrier,
    Channel,
    ChannelPoison,
    ChannelRetire,
    Choice,
    Exited,
    FairSelect,
    InputGuard,
    OutputGuard,
    PriSelect,
    Reader,
    Ready,
    Received,
    Sent,
    SkipGuard,
    Skipped,
    Spawn,
    Synced,
    TimedOut,
    TimeoutGuard,
    Writer,
    after,
    choice,
    poison,
    process,
    retire,
    select,
    selecting,
    skip,
)

from .csp_support import got, nobody_receives, nobody_sends, readers_wait, started, writers_wait

LONG = 1000.0  # seconds that no test waits


@pytest.fixture
def crew() -> Any:
    crew = Crew(interproc.get_context("fork"))
    yield crew
    crew.end()


def pair(name: str | None = None, buffer: Any = 0) -> tuple[Channel[Any], Reader[Any], Writer[Any]]:
    channel = Channel[Any](name, buffer)
    return channel, channel.reader(), channel.writer()


def full(value: Any, name: str | None = None) -> tuple[Reader[Any], Writer[Any]]:
    """The ends of a channel that has this value to be read."""
    _, inp, out = pair(name, 1)
    out.send(value)
    return inp, out


# ---- inputs and outputs ----


def test_the_reader_that_has_something() -> None:
    _, a, a_out = pair("a")
    _, b, b_out = pair("b")
    sending = started(b_out.send, 5)
    event = select(a, b, timeout=SOON)
    got(sending)
    assert event == Received(b, 5, 1)
    assert isinstance(event, Received) and event.end is b
    assert (event.guard, event.value, event.index, event.name) == (b, 5, 1, "b")
    end, value = event
    assert end is b and value == 5
    nobody_receives(a_out)


def test_it_waits_until_one_comes() -> None:
    a_channel, a, a_out = pair()
    b_channel, b, _b_out = pair()
    choosing = started(select, a, b)
    readers_wait(a_channel)
    readers_wait(b_channel)
    a_out.send("x", SOON)
    assert got(choosing) == Received(a, "x", 0)
    assert b_channel.info().passed == 0


@pytest.mark.parametrize("sugar", [True, False])
def test_outputs(sugar: bool) -> None:
    _, _a, a_out = pair()
    _, b, b_out = pair()
    receiving = started(b.recv)
    guards = (a_out.sending(1), b_out.sending(2)) if sugar else ((a_out, 1), (b_out, 2))
    event = select(*guards, timeout=SOON)
    assert event == Sent(b_out, 1)
    assert event.value is None and event.guard is b_out
    assert got(receiving) == 2


def test_both_sides_of_a_channel_in_a_select() -> None:
    rounds = 200
    one, two = Channel[int]("one"), Channel[int]("two")
    ins, outs = (one.reader(), two.reader()), (one.writer(), two.writer())

    def write() -> list[int]:
        sent = []
        for i in range(rounds):
            event = select((outs[0], i), (outs[1], i))
            assert isinstance(event, Sent) and event.end is outs[event.index]
            sent.append(event.index)
        return sent

    writing = started(write)
    received = [select(*ins, timeout=SOON) for _ in range(rounds)]
    assert [event.value for event in received] == list(range(rounds))
    assert [event.index for event in received] == got(writing)


def test_a_mix_of_inputs_and_outputs_that_face_each_other() -> None:
    """Two who would both send or receive, on two channels: one communication takes place in each round."""
    rounds = 200
    forth, back = Channel[int](), Channel[int]()
    ends = [(forth.reader(), back.writer()), (back.reader(), forth.writer())]

    def play(inp: Reader[int], out: Writer[int]) -> list[str]:
        return [type(select(inp, (out, i), timeout=SOON)).__name__ for i in range(rounds)]

    first = started(play, *ends[0])
    theirs = play(*ends[1])
    mine = got(first)
    assert all({one, other} == {"Sent", "Received"} for one, other in zip(mine, theirs, strict=True))
    assert forth.info().passed + back.info().passed == rounds


def test_many_choosers_each_value_once() -> None:
    channels = [Channel[int](buffer=size) for size in (0, 1, 0, 3)]
    n, each = 3, 60

    def write(base: int, outs: list[Writer[int]]) -> None:
        for i in range(each):
            select(*((out, base + i) for out in outs))
        retire(*outs)

    def read(inps: list[Reader[int]]) -> list[int]:
        return [event.value for event in selecting(*inps)]

    readers = [[channel.reader() for channel in channels] for _ in range(n)]
    writers = [[channel.writer() for channel in channels] for _ in range(n)]
    reading = [started(read, inps) for inps in readers]
    writing = [started(write, each * k, outs) for k, outs in enumerate(writers)]
    del readers, writers
    for future in writing:
        got(future)
    values = [value for future in reading for value in got(future)]
    assert Counter(values) == Counter(range(n * each))


def test_the_same_channel_twice() -> None:
    channel = Channel[int](buffer=1)
    a, b = channel.reader(), channel.reader()
    channel.writer().send(3)
    assert select(a, b, timeout=SOON).value == 3


def test_guards_that_are_none_keep_the_places() -> None:
    inp, _out = full(1)
    assert select(None, inp, None, timeout=SOON) == Received(inp, 1, 1)


def test_sixty_four_guards() -> None:
    pairs = [pair() for _ in range(64)]
    inps = [inp for _, inp, _ in pairs]
    for k in (0, 31, 63):
        sending = started(pairs[k][2].send, k)
        assert select(*inps, timeout=SOON) == Received(inps[k], k, k)
        got(sending)


def test_sixty_four_outputs() -> None:
    pairs = [pair() for _ in range(64)]
    receiving = started(pairs[40][1].recv)
    assert select(*((out, k) for k, (_, _, out) in enumerate(pairs)), timeout=SOON).index == 40
    assert got(receiving) == 40


# ---- time ----


def test_timeout_raises_and_after_does_not() -> None:
    _, inp, out = pair()
    with pytest.raises(TimeoutError):
        select(inp, timeout=NEVER)
    with pytest.raises(TimeoutError):
        select(inp, timeout=0)
    event = select(inp, after(NEVER))
    assert isinstance(event, TimedOut)
    assert (event.index, event.value, event.name, event.guard) == (1, None, None, after(NEVER))
    nobody_receives(out)


def test_the_nearest_time_limit_wins() -> None:
    _, inp, _out = pair()
    assert select(after(LONG), after(NEVER), inp, after(math.inf)).index == 1
    with pytest.raises(TimeoutError):
        select(inp, after(LONG), timeout=NEVER)
    assert select(inp, after(NEVER), timeout=LONG).index == 1


def test_only_time_limits() -> None:
    began = time.monotonic()
    assert isinstance(select(after(NEVER)), TimedOut)
    assert time.monotonic() - began >= NEVER
    with pytest.raises(TimeoutError):
        select(after(LONG), timeout=NEVER)
    assert isinstance(select(skip()), Skipped)


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_no_time_limit(seconds: float) -> None:
    with pytest.raises(ValueError):
        after(seconds)


def test_skip_is_taken_only_if_nothing_else_is_ready() -> None:
    channel, inp, out = pair()
    event = select(skip(), inp, after(0))
    assert isinstance(event, Skipped) and event.index == 0 and event.value is None
    sending = started(out.send, 1)
    writers_wait(channel)
    assert select(skip(), inp) == Received(inp, 1, 1)
    got(sending)
    assert isinstance(select((out, 1), skip()), Skipped)


# ---- fair, and with priority ----


def served(choose: Any, rounds: int) -> Counter[int]:
    """How often each of two readers that always have something was chosen."""
    buffers = [pair(buffer=rounds) for _ in range(2)]
    for _, _, out in buffers:
        for i in range(rounds):
            out.send(i)
    return Counter(choose(buffers[0][1], buffers[1][1], rounds))


def test_select_is_fair() -> None:
    # Of a fair coin: fewer than 100 of 1000 would be a miracle.
    counts = served(lambda a, b, n: (select(a, b).index for _ in range(n)), 1000)
    assert min(counts[0], counts[1]) > 100


def test_a_loop_takes_turns() -> None:
    def loop(a: Any, b: Any, n: int) -> list[int]:
        events = selecting(a, b)
        return [next(events).index for _ in range(n)]

    assert served(loop, 50) == {0: 25, 1: 25}


def test_a_choice_takes_turns() -> None:
    def again(a: Any, b: Any, n: int) -> list[int]:
        both = Choice(a, None, b)
        return [both.select().index for _ in range(n)]

    assert served(again, 50) == {0: 25, 2: 25}


def test_priority() -> None:
    counts = served(lambda a, b, n: (select(a, b, priority=True).index for _ in range(n)), 50)
    assert counts == {0: 50}


# ---- how channels end ----


def test_a_retired_end_drops_out_and_the_last_raises() -> None:
    _, a, a_out = pair()
    _, b, b_out = pair(buffer=1)
    b_out.send(1)
    retire(a_out)
    assert select(a, b, timeout=SOON) == Received(b, 1, 1)
    with pytest.raises(TimeoutError):
        select(a, b, timeout=NEVER)
    assert isinstance(select(a, b, after(NEVER)), TimedOut)
    retire(b_out)
    with pytest.raises(ChannelRetire) as raised:
        select(a, b, after(LONG), skip())
    assert raised.value.end in (a, b)


def test_a_retired_writer_drops_out_and_the_last_raises() -> None:
    _, a, _a_out = pair()
    _, b, b_out = pair()
    retire(b)
    with pytest.raises(TimeoutError):
        select(a, (b_out, 1), timeout=NEVER)
    with pytest.raises(ChannelRetire) as raised:
        select((b_out, 1), after(LONG))
    assert raised.value.end is b_out


def test_a_choice_remembers_which_have_retired() -> None:
    pairs = [pair(buffer=1) for _ in range(3)]
    both = Choice(*(inp for _, inp, _ in pairs))
    for k in (1, 0, 2):
        pairs[k][2].send(k)
        retire(pairs[k][2])
    assert sorted(both.select(SOON).index for _ in range(3)) == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(ChannelRetire):
            both.select(SOON)


def test_a_strict_choice_raises_at_once() -> None:
    _, a, _a_out = pair()
    _, b, b_out = pair()
    retire(b_out)
    with pytest.raises(ChannelRetire) as raised:
        Choice(a, b, strict=True).select(SOON)
    assert raised.value.end is b
    for select_as_pycsp in (AltSelect, FairSelect, PriSelect):
        with pytest.raises(ChannelRetire):
            select_as_pycsp(InputGuard(a), InputGuard(b))


def test_a_time_limit_is_kept_while_guards_drop_out() -> None:
    channel, a, a_out = pair()
    _, b, b_out = pair()
    choosing = started(select, a, b, timeout=SOON)
    readers_wait(channel)
    retire(a_out)
    assert not choosing.done()
    b_out.send("b", SOON)
    assert got(choosing) == Received(b, "b", 1)


def test_poison_during_a_select() -> None:
    a_channel, a, a_out = pair()
    _, b, b_out = pair()
    choosing = started(select, a, b)
    readers_wait(a_channel)
    poison(b_out)
    with pytest.raises(ChannelPoison) as raised:
        got(choosing)
    assert raised.value.end is b
    nobody_receives(a_out)


def test_retirement_during_a_select() -> None:
    a_channel, a, a_out = pair()
    _, b, b_out = pair()
    choosing = started(select, a, b)
    readers_wait(a_channel)
    retire(a_out)
    assert not choosing.done()
    retire(b_out)
    with pytest.raises(ChannelRetire) as raised:
        got(choosing)
    assert raised.value.end in (a, b)  # whichever it looked at last


def test_a_loop_ends_when_all_have_retired() -> None:
    a, a_out = full(1, "a")
    b, b_out = full(2, "b")
    _, c, c_out = pair("c")
    retire(a_out, b_out)
    sending = started(lambda: [c_out.send(3), retire(c_out)])
    events = list(selecting(a, b, c))
    got(sending)
    assert sorted((event.index, event.value, event.name) for event in events) == [
        (0, 1, "a"),
        (1, 2, "b"),
        (2, 3, "c"),
    ]
    assert list(selecting(a, None, after(LONG))) == []


def test_a_loop_raises_poison_and_what_others_raise() -> None:
    _, a, a_out = pair()
    poison(a_out)
    with pytest.raises(ChannelPoison):
        list(selecting(a))
    b, _b_out = full(1)
    _, gone, gone_out = pair()
    retire(gone_out)
    with pytest.raises(ChannelRetire):
        for _ in selecting(b):
            gone.recv()


def test_a_loop_with_time_limits() -> None:
    _, inp, out = pair()
    events = selecting(inp, after(NEVER))
    assert isinstance(next(events), TimedOut)
    assert isinstance(next(events), TimedOut)
    retire(out)
    assert list(events) == []
    _, inp, out = pair()
    with pytest.raises(TimeoutError):
        next(selecting(inp, timeout=NEVER))
    del out
    ticks = selecting(after(0.0))
    assert [next(ticks).index for _ in range(3)] == [0, 0, 0]


# ---- as a match ----


def test_match() -> None:
    jobs, jobs_out = full("job", "jobs")
    commands, _commands_out = full("stop", "commands")
    seen = []
    for event in [select(jobs), select(commands), select(skip()), select(after(0))]:
        match event:
            case Received(end, job) if end is jobs:
                seen.append(("job", job))
            case Received(name="commands", value="stop"):
                seen.append(("stop", None))
            case Skipped():
                seen.append(("skipped", None))
            case TimedOut(index=0):
                seen.append(("late", None))
    assert seen == [("job", "job"), ("stop", None), ("skipped", None), ("late", None)]
    match select((jobs_out, 1)):
        case Sent(end):
            assert end is jobs_out
        case other:
            pytest.fail(f"{other}")


# ---- what is no channel ----


def test_a_queue() -> None:
    queue = interproc.Queue[str]()
    channel, inp, out = pair()
    queue.put("ready")
    assert select(inp, queue, timeout=SOON) == Received(queue, "ready", 1)
    with pytest.raises(TimeoutError):
        select(inp, queue, timeout=NEVER)
    choosing = started(select, inp, queue)
    readers_wait(channel)
    queue.put("later")
    assert got(choosing).value == "later"
    sending = started(out.send, 1)
    assert select(inp, queue, timeout=SOON) == Received(inp, 1, 0)
    got(sending)


def test_a_queue_that_was_shut_down() -> None:
    queue = interproc.Queue[int]()
    _, inp, out = pair()
    queue.put(1)
    queue.shutdown()
    assert select(queue, inp, timeout=SOON).value == 1
    with pytest.raises(TimeoutError):
        select(queue, inp, timeout=NEVER)
    with pytest.raises(ShutDown) as raised:
        select(queue, after(LONG))
    assert raised.value.end is queue  # type: ignore[attr-defined]
    sending = started(lambda: [out.send(2), retire(out)])
    assert [event.value for event in selecting(queue, inp, timeout=SOON)] == [2]
    got(sending)


def test_connections() -> None:
    _, inp, _out = pair()
    a, b = interproc.Pipe()
    choosing = started(select, inp, a)
    b.send({"x": 1})
    assert got(choosing) == Received(a, {"x": 1}, 1)
    b.close()
    with pytest.raises(TimeoutError):
        select(inp, a, timeout=NEVER)
    with pytest.raises(EOFError) as raised:
        select(a, timeout=SOON)
    assert raised.value.end is a  # type: ignore[attr-defined]
    assert list(selecting(a)) == []


def test_only_things_outside() -> None:
    queue = interproc.Queue[int]()
    read, write = os.pipe()
    try:
        with pytest.raises(TimeoutError):
            select(queue, read, timeout=NEVER)
        assert isinstance(select(queue, read, after(NEVER)), TimedOut)
        assert isinstance(select(queue, read, skip()), Skipped)
        choosing = started(select, queue, read)
        os.write(write, b"x")
        assert got(choosing) == Ready(read, 1)
        assert os.read(read, 1) == b"x"
    finally:
        os.close(read)
        os.close(write)


def test_a_descriptor_beside_a_channel_many_times() -> None:
    _, inp, _out = pair()
    read, write = os.pipe()
    try:
        for _ in range(30):
            choosing = started(select, inp, read)
            os.write(write, b"x")
            assert got(choosing) == Ready(read, 1)
            os.read(read, 1)
    finally:
        os.close(read)
        os.close(write)


def test_many_wait_for_the_same_descriptor() -> None:
    read, write = os.pipe()
    pairs = [pair() for _ in range(3)]
    try:
        choosing = [started(select, inp, read) for _, inp, _ in pairs]
        for channel, _, _ in pairs:
            readers_wait(channel)
        os.write(write, b"x")
        assert [got(future) for future in choosing] == [Ready(read, 1)] * 3
    finally:
        os.close(read)
        os.close(write)


def test_a_regular_file_is_always_readable(tmp_path: Any) -> None:
    _, inp, _out = pair()
    with open(tmp_path / "file", "w+") as file:
        assert select(inp, file, timeout=SOON) == Ready(file, 1)


def exits(code: int, go: Any) -> None:
    go.recv()
    os._exit(code)


@pytest.mark.parametrize("beside", [True, False])
def test_a_process(crew: Crew, beside: bool) -> None:
    _, inp, _out = pair()
    mine, theirs = interproc.Pipe()
    child = crew.start(exits, 3, theirs)
    guards: tuple[Any, ...] = (inp, child) if beside else (child,)
    assert isinstance(select(*guards, after(NEVER)), TimedOut)
    mine.send("go")
    event = select(*guards, timeout=SOON)
    assert event == Exited(child, 3, len(guards) - 1)
    assert select(*guards, timeout=SOON) == event  # it stays so
    assert list(selecting(child, timeout=SOON)) == [Exited(child, 3, 0)]


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_what_was_spawned(kind: Any) -> None:
    _, inp, out = pair()
    _, mine, theirs = pair()
    spawned = Spawn(process(doubles, kind=kind)(mine, out))
    assert isinstance(select(spawned, after(NEVER)), TimedOut)
    theirs.send(4, SOON)
    assert select(inp, spawned, timeout=SOON) == Received(inp, 8, 0)
    assert select(spawned, inp, timeout=SOON) == Exited(spawned, None, 0)
    assert spawned.result(SOON) == 8


def doubles(inp: Reader[int], out: Writer[int]) -> int:
    value = 2 * inp.recv()
    out.send(value)
    return value


def test_outside_and_channels_take_turns() -> None:
    queue = interproc.Queue[int]()
    queue.put_many(range(100))
    _, inp, out = pair(buffer=100)
    for i in range(100):
        out.send(i)
    events = selecting(queue, inp)
    assert Counter(next(events).index for _ in range(100)) == {0: 50, 1: 50}


def test_priority_among_outside_and_channels() -> None:
    queue = interproc.Queue[int]()
    queue.put_many(range(10))
    inp, _out = full(1)
    assert [select(queue, inp, priority=True).index for _ in range(10)] == [0] * 10
    queue.put(1)
    assert select(inp, queue, priority=True).index == 0


def test_a_barrier() -> None:
    barrier = Barrier("b")
    here, there = barrier.enrol(), barrier.enrol()
    _, inp, _out = pair()
    with pytest.raises(TimeoutError):
        select(inp, here, timeout=NEVER)
    meeting = started(there.sync)
    event = select(inp, here, timeout=SOON)
    assert event == Synced(here, 1) and event.name == "b"
    got(meeting)


# ---- what is no guard ----


@pytest.mark.parametrize(
    "make", [lambda c: c, lambda c: c.writer(), lambda c: "x", lambda c: True, lambda c: 1.5]
)
def test_no_guards(make: Any) -> None:
    with pytest.raises(TypeError, match="is no guard"):
        select(make(Channel()))


def test_nothing_to_choose() -> None:
    for guards in [(), (None,), (None, None)]:
        with pytest.raises(ValueError):
            select(*guards)
    with pytest.raises(ValueError):
        Choice()


def test_what_cannot_be_pickled_in_a_guard() -> None:
    _, inp, out = pair()
    with pytest.raises(interproc.PicklingError):
        select((out, threading.Lock()), after(LONG))
    nobody_sends(inp)


# ---- PyCSP's ----


def test_alternation_executes_the_action() -> None:
    a, _a_out = full(1)
    seen: list[Any] = []

    @choice
    def add(where: str, channel_input: Any = None) -> None:
        seen.append((where, channel_input))

    alternation = Alternation([{a: add("a")}, {TimeoutGuard(seconds=NEVER): add("late")}])
    assert alternation.execute() == (a, 1)
    key, message = alternation.execute()
    assert isinstance(key, TimeoutGuard) and message is None
    assert seen == [("a", 1), ("late", None)]


def test_alternation_sends() -> None:
    _, inp, out = pair(buffer=1)
    done: list[str] = []
    assert Alternation([{(out, "x"): lambda: done.append("sent")}]).execute() == (out, None)
    assert Alternation([(out, "y", None), (SkipGuard(), None)]).select()[1] is None
    assert done == ["sent"] and inp.recv() == "x"


def test_alternation_of_every_form() -> None:
    a, _a_out = full(1)
    _, _b, b_out = pair()
    forms = [(a, None), {(b_out, 1): None}, InputGuard(a), OutputGuard(b_out, 1), SkipGuard()]
    assert Alternation(forms).select() == (a, 1)
    with pytest.raises(TypeError):
        Alternation([3])
    with pytest.raises(TypeError):
        Alternation([{a: 3}])


def test_an_action_as_a_string_sees_the_caller() -> None:
    a, a_out = full(7)
    seen: list[int] = []
    assert AltSelect(InputGuard(a, action="seen.append(channel_input)")) == (a, 7)
    a_out.send(8)
    assert Alternation([{a: "seen.append(channel_input + 1)"}]).execute() == (a, 8)
    a_out.send(9)
    # A dict alone, and the older name:
    assert Alternation({a: "seen.append(__channel_input)"}).execute() == (a, 9)
    assert seen == [7, 9, 9]


@pytest.mark.parametrize("home", ["interproc.csp", "interproc.csp.pycsp"])
def test_an_action_as_a_string_sets_the_names_of_a_module(home: str) -> None:
    module: dict[str, Any] = {}
    exec(
        f"from {home} import Alternation, AltSelect, Channel, InputGuard, OutputGuard\n"
        "channel, total = Channel(buffer=3), 0\n"
        "inp, out = channel.reader(), channel.writer()\n"
        "out(3), out(4), out(5)\n"
        "AltSelect(InputGuard(inp, action='total += channel_input'))\n"
        "Alternation([{inp: 'total += sum(channel_input for _ in range(10))'}]).execute()\n"
        "Alternation({inp: None, (out, 1): None}).execute()\n",
        module,
    )
    assert module["total"] == 43


def test_what_is_chosen_among_is_shown() -> None:
    inp = Channel[int]("numbers").reader()
    assert repr(Choice(inp, after(1), priority=True)) == (
        "<Choice by priority among <Reader of 'numbers'>, After(seconds=1)>"
    )
    guard = InputGuard(inp, action="pass")
    assert repr(Alternation([guard])) == (
        "<Alternation of InputGuard(<Reader of 'numbers'>, action='pass')>"
    )


@pytest.mark.parametrize("choose", [AltSelect, FairSelect, PriSelect])
def test_selects_of_guards(choose: Any) -> None:
    a, _a_out = full(1)
    skipped: list[str] = []
    assert choose(InputGuard(a), SkipGuard()) == (a, 1)
    key, message = choose([InputGuard(a)], [SkipGuard(action=lambda: skipped.append("s"))])
    assert isinstance(key, SkipGuard) and message is None and skipped == ["s"]
    with pytest.raises(TypeError):
        choose(a)


def test_priselect_takes_the_first() -> None:
    a, a_out = full(1)
    b, _b_out = full(2)
    for _ in range(20):
        assert PriSelect(InputGuard(a), InputGuard(b)) == (a, 1)
        a_out.send(1)


def test_a_choice_that_was_not_called() -> None:
    a, _a_out = full(1)

    @choice
    def act(channel_input: Any) -> None: ...

    with pytest.raises(TypeError, match=r"act\(\)"):
        InputGuard(a, action=act)


def test_guards_of_the_wrong_end() -> None:
    _, inp, out = pair()
    with pytest.raises(TypeError):
        InputGuard(out)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        OutputGuard(inp, 1)  # type: ignore[arg-type]
