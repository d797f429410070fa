"""interproc.csp.channels: rendezvous, buffers, ends and how they end, here and between processes."""

from __future__ import annotations

import gc
import math
import pickle
import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest
from dropin.support import NEVER, SOON, Crew, next_tick, until

import interproc
from interproc import PicklingError
from interproc.csp import (
    Channel,
    ChannelPoison,
    ChannelPoisonException,
    ChannelRetire,
    ChannelRetireException,
    Dropping,
    Overwriting,
    Reader,
    Sliding,
    Writer,
    poison,
    retire,
)

from .csp_support import got, nobody_receives, nobody_sends, readers_wait, started, writers_wait


@pytest.fixture
def crew() -> Any:
    """Children of a context that passes ends by pickling them."""
    crew = Crew(interproc.get_context("spawn"))
    yield crew
    crew.end()


def pair(name: str | None = None, buffer: Any = 0) -> tuple[Channel[Any], Reader[Any], Writer[Any]]:
    channel = Channel[Any](name, buffer)
    return channel, channel.reader(), channel.writer()


# ---- rendezvous ----


def test_a_value_goes_from_a_writer_to_a_reader() -> None:
    _, inp, out = pair()
    sending = started(out.send, 42)
    assert inp.recv(SOON) == 42
    assert got(sending) is None


def test_send_returns_when_a_reader_has_it_and_not_before() -> None:
    channel, inp, out = pair()
    sending = started(out.send, "x")
    writers_wait(channel)
    assert not sending.done()
    assert inp.recv(SOON) == "x"
    got(sending)
    assert channel.info().passed == 1


def test_a_reader_that_waits_gets_it() -> None:
    channel, inp, out = pair()
    receiving = started(inp.recv)
    readers_wait(channel)
    out.send("late", SOON)
    assert got(receiving) == "late"


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(10**30), 1.5, "é", b"bytes", (1, "a"), {"a": [1, {2}]}, "x" * 2000, b"y" * (1 << 20)],
    ids=lambda value: type(value).__name__,
)
def test_values_arrive_equal(value: Any) -> None:
    _, inp, out = pair()
    sending = started(out.send, value)
    assert inp.recv(SOON) == value
    got(sending)


def test_an_array_arrives() -> None:
    channel, inp, out = pair()
    array = np.arange(100_000)
    sending = started(out.send, array)
    writers_wait(channel)
    assert np.array_equal(inp.recv(SOON), array)
    got(sending)


def test_call_syntax_and_signs() -> None:
    channel = Channel[int]("c")
    inp, out = +channel, -channel
    assert isinstance(inp, Reader) and isinstance(out, Writer)
    sending = started(out, 7)
    assert inp() == 7
    got(sending)


def test_many_readers_and_writers_each_value_once() -> None:
    channel = Channel[int]()
    n, each = 4, 50
    writers = [channel.writer() for _ in range(n)]
    readers = [channel.reader() for _ in range(n)]

    def write(out: Writer[int], base: int) -> None:
        with out:
            for i in range(each):
                out.send(base + i)

    writing = [started(write, out, each * k) for k, out in enumerate(writers)]
    reading = [started(list, inp) for inp in readers]
    values = [value for future in reading for value in got(future)]
    for future in writing:
        got(future)
    assert Counter(values) == Counter(range(n * each))


def test_what_cannot_be_pickled_raises_and_nothing_was_sent() -> None:
    _channel, inp, out = pair()
    with pytest.raises(PicklingError):
        out.send(threading.Lock(), SOON)
    nobody_sends(inp)
    sending = started(out.send, 1)
    assert inp.recv(SOON) == 1
    got(sending)


# ---- time limits ----


@pytest.mark.parametrize("timeout", [0, 0.0, NEVER])
def test_timeouts(timeout: float) -> None:
    _channel, inp, out = pair()
    with pytest.raises(TimeoutError):
        inp.recv(timeout)
    with pytest.raises(TimeoutError):
        out.send(1, timeout)
    with pytest.raises(TimeoutError):
        inp(timeout=timeout)
    nobody_receives(out)
    nobody_sends(inp)
    sending = started(out.send, 2)
    assert inp.recv(SOON) == 2  # and not the 1 that timed out
    got(sending)


def test_without_waiting_a_partner_that_waits_is_found() -> None:
    channel, inp, out = pair()
    sending = started(out.send, 1)
    writers_wait(channel)
    assert inp.recv(0) == 1
    got(sending)
    receiving = started(inp.recv)
    readers_wait(channel)
    out.send(2, 0)
    assert got(receiving) == 2


# ---- buffers ----


def test_a_buffer_is_first_in_first_out_and_bounded() -> None:
    channel, inp, out = pair(buffer=3)
    for i in range(3):
        out.send(i, 0)
    with pytest.raises(TimeoutError):
        out.send(3, NEVER)
    assert channel.info().buffered == 3
    assert [inp.recv(0) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(TimeoutError):
        inp.recv(NEVER)


def test_a_full_buffer_makes_the_writer_wait_until_there_is_room() -> None:
    channel, inp, out = pair(buffer=1)
    out.send(0)
    sending = started(out.send, 1)
    writers_wait(channel)
    assert inp.recv(SOON) == 0
    got(sending)
    assert inp.recv(SOON) == 1


def test_a_reader_waits_at_an_empty_buffer() -> None:
    channel, inp, out = pair(buffer=2)
    receiving = started(inp.recv)
    readers_wait(channel)
    out.send("now")
    assert got(receiving) == "now"


def test_an_unbounded_buffer() -> None:
    channel, inp, out = pair(buffer=math.inf)
    for i in range(5000):
        out.send(i, 0)
    assert channel.info().buffered == 5000
    assert channel.buffer == math.inf
    assert [inp.recv(0) for _ in range(5000)] == list(range(5000))


@pytest.mark.parametrize(
    ("buffer", "kept"),
    [(Sliding(3), [7, 8, 9]), (Dropping(3), [0, 1, 2]), (Overwriting(3), [0, 1, 9]), (Overwriting(1), [9])],
    ids=str,
)
def test_lossy_buffers(buffer: Any, kept: list[int]) -> None:
    channel, inp, out = pair(buffer=buffer)
    for i in range(10):
        out.send(i, 0)
    info = channel.info()
    assert (info.buffered, info.lost, info.buffer) == (len(kept), 10 - len(kept), buffer)
    assert [inp.recv(0) for _ in kept] == kept
    with pytest.raises(TimeoutError):
        inp.recv(0)


@pytest.mark.parametrize("buffer", [-1, -math.inf, Ellipsis, 1.5, "3", None])
def test_buffers_that_are_none(buffer: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Channel(buffer=buffer)


@pytest.mark.parametrize("kind", [Sliding, Dropping, Overwriting])
def test_a_lossy_buffer_has_room(kind: Any) -> None:
    with pytest.raises(ValueError):
        kind(0)


def test_names() -> None:
    assert Channel("jobs").name == "jobs"
    assert Channel("jobs").reader().name == "jobs"
    unnamed = Channel[int]()
    assert unnamed.name == unnamed.id == unnamed.writer().channel_id
    with pytest.raises(ValueError):
        Channel("x" * 65)
    with pytest.raises(TypeError):
        Channel(3)  # type: ignore[arg-type]


# ---- iteration ----


def test_iteration_ends_when_every_writer_has_retired() -> None:
    channel = Channel[int]()
    inp = channel.reader()
    a, b = channel.writer(), channel.writer()
    reading = started(list, inp)
    a.send(1)
    retire(a)
    b.send(2)
    retire(b)
    assert got(reading) == [1, 2]


def test_iteration_raises_poison() -> None:
    _channel, inp, out = pair()
    reading = started(list, inp)
    out.send(1)
    poison(out)
    with pytest.raises(ChannelPoison):
        got(reading)


def test_another_channels_end_in_a_loop_is_not_the_loops() -> None:
    _, inp, out = pair(buffer=3)
    _, other, gone = pair()
    retire(gone)
    out.send(1)
    with pytest.raises(ChannelRetire) as raised:
        for _ in inp:
            other.recv()
    assert raised.value.end is other


# ---- the end ----


def test_retire_lets_the_buffer_be_read() -> None:
    _, inp, out = pair(buffer=5)
    for i in range(3):
        out.send(i)
    retire(out)
    assert list(inp) == [0, 1, 2]
    with pytest.raises(ChannelRetire) as raised:
        inp.recv()
    assert raised.value.end is inp


def test_writers_learn_that_the_readers_have_retired() -> None:
    channel = Channel[int]()
    a, b, out = channel.reader(), channel.reader(), channel.writer()
    sending = started(out.send, 1)
    writers_wait(channel)
    retire(a)
    assert not sending.done()
    retire(b)
    with pytest.raises(ChannelRetire):
        got(sending)


def test_readers_that_wait_learn_that_the_writers_have_retired() -> None:
    channel, _inp, out = pair()
    waiting = [started(channel.reader().recv) for _ in range(3)]
    readers_wait(channel, 3)
    retire(out)
    for future in waiting:
        with pytest.raises(ChannelRetireException):
            got(future)


def test_a_retired_end_can_be_used_no_more_but_its_siblings_can() -> None:
    channel = Channel[int](buffer=1)
    inp = channel.reader()
    a, b = channel.writer(), channel.writer()
    a.retire()
    a.retire()  # once more is the same
    assert a.ended == "retired"
    with pytest.raises(ChannelRetire):
        a.send(1)
    b.send(2)
    assert inp.recv(SOON) == 2


def test_no_reader_yet_is_none_that_has_retired() -> None:
    channel = Channel[int]()
    out = channel.writer()
    with pytest.raises(TimeoutError):
        out.send(1, NEVER)
    sending = started(out.send, 2)
    assert channel.reader().recv(SOON) == 2
    got(sending)


def test_no_end_of_a_side_that_has_retired() -> None:
    channel, _inp, out = pair()
    retire(out)
    with pytest.raises(ChannelRetire):
        channel.writer()
    poison(channel)
    with pytest.raises(ChannelPoison):
        channel.reader()


def test_poison_reaches_both_sides_and_the_buffer() -> None:
    channel, inp, out = pair(buffer=3)
    out.send(1)
    inp.poison()
    for use in (inp.recv, lambda: out.send(2)):
        with pytest.raises(ChannelPoisonException):
            use()
    assert channel.info().poisoned


def test_poison_wakes_all() -> None:
    channel, _inp, _out = pair()
    waiting = [started(channel.reader().recv) for _ in range(3)]
    readers_wait(channel, 3)
    poison(channel)
    for future in waiting:
        with pytest.raises(ChannelPoison):
            got(future)


def test_poison_is_stronger_than_retirement() -> None:
    _, inp, out = pair()
    retire(out)
    poison(inp)
    with pytest.raises(ChannelPoison):
        inp.recv()


def test_poison_and_retire_take_any_number() -> None:
    a, b = Channel[int](), Channel[int]()
    ends = a.reader(), a.writer(), b.reader(), b.writer()
    retire(*ends[:2], b)
    assert all(end.ended == "retired" for end in ends)
    c = Channel[int]()
    end = c.reader()
    poison(c, end)
    with pytest.raises(ChannelPoison):
        end.recv()
    for function in (poison, retire):
        with pytest.raises(TypeError):
            function(end, 3)  # type: ignore[arg-type]
        function()


def test_an_end_that_nobody_has_any_more_has_retired() -> None:
    _, inp, out = pair()
    del out
    gc.collect()
    with pytest.raises(ChannelRetire):
        inp.recv(SOON)


def test_an_end_in_a_with() -> None:
    channel = Channel[int](buffer=2)
    inp = channel.reader()
    with channel.writer() as out:
        out.send(1)
    assert list(inp) == [1]


def test_a_failure_in_a_with_poisons() -> None:
    channel = Channel[int](buffer=2)
    inp = channel.reader()
    with pytest.raises(ZeroDivisionError), channel.writer() as out:
        out.send(1 // 0)
    with pytest.raises(ChannelPoison):
        inp.recv()


def test_retirement_that_leaves_a_with_spreads_as_such() -> None:
    _, inp, out = pair()
    onward = Channel[int]()
    last = onward.reader()
    retire(out)
    with pytest.raises(ChannelRetire), onward.writer() as forward:
        forward.send(inp.recv())
    with pytest.raises(ChannelRetire):
        last.recv()


def test_an_exception_travels_without_its_end() -> None:
    _, inp, out = pair()
    retire(out)
    with pytest.raises(ChannelRetire) as raised:
        inp.recv()
    copy = pickle.loads(pickle.dumps(raised.value))
    assert type(copy) is ChannelRetire and str(copy) == str(raised.value) and copy.end is None


# ---- ends travel ----


def test_an_end_travels_over_a_channel() -> None:
    _, post_in, post_out = pair("post")
    answers = Channel[str]("answers")

    def serve() -> None:
        back = post_in.recv()
        assert isinstance(back, Writer)
        with back:
            back.send("here")

    serving = started(serve)
    inp = answers.reader()
    post_out.send(answers.writer())
    assert list(inp) == ["here"]
    got(serving)


def test_a_channel_whose_only_writer_is_under_way_has_not_retired() -> None:
    _post_channel, post_in, post_out = pair(buffer=1)
    answers = Channel[int]()
    inp = answers.reader()
    post_out.send(answers.writer())
    gc.collect()
    with pytest.raises(TimeoutError):
        inp.recv(NEVER)
    with post_in.recv() as out:
        sending = started(inp.recv)
        out.send(5)
        assert got(sending) == 5
    with pytest.raises(ChannelRetire):
        inp.recv(SOON)


def doubles(inp: Reader[int], out: Writer[int]) -> None:
    with inp, out:
        for value in inp:
            out.send(2 * value)


def test_ends_travel_to_another_process(crew: Crew) -> None:
    a, b = Channel[int]("a"), Channel[int]("b", buffer=2)
    out, inp = a.writer(), b.reader()
    worker_in, worker_out = a.reader(), b.writer()
    child = crew.start(doubles, worker_in, worker_out)
    retire(worker_in, worker_out)  # they are the child's
    sending = started(lambda: [out.send(i) for i in range(100)] and retire(out))
    assert list(inp) == [2 * i for i in range(100)]
    got(sending)
    crew.join(child)


def sends_an_end(out: Writer[Any]) -> None:
    mine = Channel[str]("mine")
    inp = mine.reader()
    with out:
        out.send(mine.writer())
    assert list(inp) == ["to", "you"]


def test_an_end_arrives_from_another_process(crew: Crew) -> None:
    _, inp, out = pair()
    child = crew.start(sends_an_end, out)
    retire(out)
    with inp.recv(SOON) as back:
        back.send("to")
        back.send("you")
    crew.join(child)


def waits(inp: Reader[int], ready: Writer[str]) -> None:
    ready.send("ready")
    inp.recv()


def test_whoever_is_killed_poisons_what_it_has(crew: Crew) -> None:
    channel, inp, out = pair()
    ready = Channel[str]()
    told, tell = ready.reader(), ready.writer()
    child = crew.start(waits, inp, tell)
    retire(inp, tell)
    assert told.recv(SOON) == "ready"
    readers_wait(channel)
    crew.kill(child)
    next_tick()
    with pytest.raises(ChannelPoison):
        out.send(1, SOON)


# ---- looking ----


def test_info() -> None:
    channel, inp, out = pair("seen", 4)
    out.send(1)
    out.send(2)
    inp.recv()
    info = channel.info()
    assert (info.name, info.buffer, info.passed, info.buffered, info.lost) == ("seen", 4, 1, 1, 0)
    assert not (info.poisoned or info.readers_retired or info.writers_retired)
    retire(out)
    assert inp.info().writers_retired and not inp.info().readers_retired


def test_repr() -> None:
    channel, inp, out = pair("jobs", Sliding(2))
    assert "'jobs'" in repr(channel) and "Sliding(size=2)" in repr(channel)
    assert repr(inp) == "<Reader of 'jobs'>"
    out.retire()
    assert repr(out) == "<Writer of 'jobs' retired>"
    inp.poison()
    assert repr(inp) == "<Reader of 'jobs' poisoned>"
    others = pair("others")
    others[2].poison()
    assert repr(others[1]) == "<Reader of 'others' poisoned>"  # by the other end
    unnamed = Channel[int]()
    assert repr(unnamed.reader()) == f"<Reader of {unnamed.id}>"
    for cls in (Channel, Reader, Writer):
        assert "not set up" in repr(cls.__new__(cls))


def test_several_channels_at_once() -> None:
    row = Channel[int]("cell", 3) * 4
    assert len({channel.id for channel in row}) == 4
    assert [(channel.name, channel.buffer) for channel in row] == [("cell", 3)] * 4
    assert len(2 * Channel[int]()) == 2


def test_ends_are_equal_only_to_themselves() -> None:
    channel = Channel[int]()
    a, b = channel.reader(), channel.reader()
    assert a == a and a != b and len({a, b}) == 2
    assert a.channel_id == b.channel_id == channel.id


def test_the_wrong_side() -> None:
    _, inp, out = pair()
    with pytest.raises((TypeError, AttributeError)):
        inp.send(1)
    with pytest.raises((TypeError, AttributeError)):
        out.recv()


def test_ten_thousand_channels_leave_nothing() -> None:
    def make(n: int) -> None:
        for i in range(n):
            channel = Channel[int](buffer=i % 3)
            inp, out = channel.reader(), channel.writer()
            if i % 3:
                out.send(i)
                assert inp.recv() == i

    arena = Channel[int]().arena
    make(100)
    gc.collect()
    before = arena.used
    make(10_000)
    gc.collect()
    until(lambda: arena.used <= before + (1 << 16))
