"""Wrong use: each error says what was wrong, and what to do."""

from __future__ import annotations

import asyncio
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from dropin.support import default_method

import interproc
from interproc.csp import (
    Alternation,
    Barrier,
    Channel,
    ChannelRetire,
    ChannelTimeout,
    ConnectionEnded,
    Dropping,
    Overwriting,
    Parallel,
    Reader,
    Sequence,
    Sliding,
    Spawn,
    after,
    aselect,
    parts,
    poison,
    process,
    retire,
    select,
    selecting,
)


@process
def sends(out: Any, *values: Any) -> None:
    for value in values:
        out.send(value)


@process
def receives(inp: Any) -> list[Any]:
    return list(inp)


@process
def answer() -> int:
    return 42


async def a_coroutine() -> None: ...


def told(call: Callable[[], Any], *words: str, kind: type[BaseException] = TypeError) -> None:
    """It raises that, and the message has these words."""
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


# ---- descriptions and compositions


def test_a_description_is_no_function() -> None:
    told(lambda: receives(None)(), "describes a process", "Parallel(receives(...))")  # type: ignore[operator]


def test_what_is_no_part_of_a_network() -> None:
    channel = Channel[int]("numbers")
    inp = channel.reader()
    for composed in (Parallel, Sequence, Spawn, Parallel.of):
        run: Any = composed
        told(lambda run=run: run(receives), "<process", "write receives(...)")
        told(lambda run=run: run(receives(inp), [told]), "write process(told)(...)")
        told(lambda run=run: run(inp), "<Reader of 'numbers'>", "no process")
        told(lambda run=run: run(channel), "<Channel 'numbers'", "no process")
        told(lambda run=run: run(None), "None is no process")
        coroutine = a_coroutine()
        told(lambda run=run, c=coroutine: run(c), "write @process above `async def a_coroutine`")
        coroutine.close()
    told(lambda: Parallel(Parallel(answer())), "Parallel.of(...)")
    with Spawn(answer.with_kind("thread")()) as spawned:
        told(lambda: Parallel(spawned), "started, and joined, by itself")  # type: ignore[arg-type]


def test_what_is_no_function_for_a_process() -> None:
    told(lambda: process("thread"), "process(kind='thread')")  # type: ignore[call-overload]
    told(lambda: process(staticmethod(a_coroutine)), "@staticmethod above @process")
    told(lambda: process(classmethod(a_coroutine)), "@classmethod above @process")  # type: ignore[arg-type]


def test_the_arguments_of_a_decorated_function_are_checked() -> None:
    told(lambda: parts.source(), "source(", "'values'")  # type: ignore[call-arg]
    told(lambda: parts.map(str, 1, 2, 3), "map(", "too many")  # type: ignore[arg-type, call-arg]


def test_compositions_of_nothing() -> None:
    assert Parallel() == Sequence() == Parallel([]) == Spawn().join() == Parallel(answer() * 0) == []


def test_ends_of_a_network_that_has_run(method: str) -> None:
    """One failure, of the process that is to blame, and it says so, whichever way processes are started."""
    channel = Channel[int]("numbers")
    out, inp = channel.writer(), channel.reader()
    assert Parallel(sends(out, 1, 2), receives(inp)) == [None, [1, 2]]
    with pytest.raises(ExceptionGroup, match="1 of 2 processes failed") as caught:
        Parallel(sends(out, 1), receives(inp))
    (error,) = caught.value.exceptions
    assert isinstance(error, ChannelRetire)
    assert "writing side of channel 'numbers'" in str(error) and "make a new channel" in str(error)


def test_a_closure_around_an_end_that_has_ended() -> None:
    """The error is the channel's, not that of its pickling."""
    with default_method("spawn"):
        channel = Channel[int]("numbers")
        out = channel.writer()
        out.retire()
        with pytest.raises(ExceptionGroup) as caught:
            Parallel(process(lambda: out.send(1))())
    (error,) = caught.value.exceptions
    assert isinstance(error, ChannelRetire)


# ---- channels and ends


def test_a_channel_is_no_end() -> None:
    channel: Any = Channel("numbers")
    told(lambda: channel.send(1), "channel.writer().send(...)", kind=AttributeError)
    told(lambda: channel.recv(), "channel.reader().recv(...)", kind=AttributeError)
    told(lambda: channel(), "<Channel 'numbers'", "channel.reader()")
    told(lambda: list(channel), "iterate over channel.reader()")
    told(lambda: channel.sent, "no attribute 'sent'", kind=AttributeError)
    assert not hasattr(channel, "__len__")
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(sends.with_kind("thread")(channel, 1))
    assert "channel.writer().send(...)" in str(caught.value.exceptions[0])


def test_a_barrier_is_no_enrolment() -> None:
    barrier: Any = Barrier("step")
    told(lambda: barrier.sync(), "barrier.enrol().sync()", kind=AttributeError)
    told(lambda: barrier.wait(), "barrier.enrol().sync()", kind=AttributeError)
    told(lambda: Barrier(3), "barrier.enrol()")  # type: ignore[arg-type]


def test_names_that_cannot_be_read() -> None:
    for name in ("a\0b", "a\nb", "a\ud800b"):
        for made in (Channel, Barrier):
            made_of: Any = made
            told(lambda m=made_of, n=name: m(n), "printed", ascii(name), kind=ValueError)


def test_buffers_that_are_none() -> None:
    for policy in (Sliding, Dropping, Overwriting):
        told(lambda p=policy: p(1.5), policy.__name__, "1.5")  # type: ignore[arg-type]
        told(lambda p=policy: Channel(buffer=p(2**60)), "at most", kind=ValueError)
    told(lambda: Channel(buffer=2**60), "at most", "math.inf", kind=ValueError)
    assert Channel(buffer=math.inf).buffer == math.inf


def test_no_channels() -> None:
    channel = Channel[int]("numbers")
    assert channel * 0 == []
    assert channel * 1 == [channel]


def test_several_ends_are_no_list() -> None:
    ends: Any = [Channel[int]().reader()]
    for act in (poison, retire):
        told(lambda act=act: act(ends), "put a * before")


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_parts_that_are_given_the_wrong_things(kind: Any) -> None:
    made: Any
    for made, words in (
        (lambda inp, out: parts.source(3, out), "not 3"),
        (lambda inp, out: parts.map(inp, str, out), "<class 'str'>"),
        (lambda inp, out: parts.source([1], inp), "<Reader of"),
    ):
        channel = Channel[Any]("numbers")
        with pytest.raises(ExceptionGroup) as caught:
            Parallel(made(channel.reader(), channel.writer()).with_kind(kind))
        assert words in str(caught.value.exceptions[0])


# ---- choices


def test_what_is_no_guard() -> None:
    inp = Channel[int]("numbers").reader()
    told(lambda: select(inp, 0.5), "after(0.5)")  # type: ignore[arg-type]
    told(lambda: select([inp, inp]), "select(*guards)")  # type: ignore[arg-type]
    told(lambda: select((inp, 1)), "(writer, value)", "<Reader of 'numbers'> is no writer")  # type: ignore[arg-type]
    told(lambda: select(receives(inp)), "Spawn(...)")  # type: ignore[arg-type]
    told(lambda: after("x"), "seconds", "'x'")  # type: ignore[arg-type]
    told(lambda: Alternation([{inp: 3}]), "an action")


# ---- what errors say of the end travels with none


def test_a_time_limit_tells_of_its_end() -> None:
    channel = Channel[int]("numbers")
    inp, out = channel.reader(), channel.writer()
    for call, end, words in (
        (lambda: inp.recv(0.01), inp, "nobody sent to channel 'numbers' within 0.01 s"),
        (lambda: out.send(1, 0.01), out, "nobody received from channel 'numbers' within 0.01 s"),
        (lambda: asyncio.run(within(inp.arecv)), inp, "nobody sent to channel 'numbers' within 0.01 s"),
        (lambda: select(inp, (out, 1), timeout=0.01), None, "none of the guards came true within 0.01 s"),
        (lambda: asyncio.run(choosing(inp)), None, "none of the guards came true within 0.01 s"),
    ):
        with pytest.raises(TimeoutError, match=words) as caught:
            call()
        assert isinstance(caught.value, ChannelTimeout) and caught.value.end is end
        copy = pickle.loads(pickle.dumps(caught.value))
        assert type(copy) is ChannelTimeout and str(copy) == str(caught.value) and copy.end is None


async def within(receive: Callable[..., Any]) -> None:
    await receive(timeout=0.01)


async def choosing(inp: Reader[int]) -> None:
    await aselect(inp, timeout=0.01)


@process
def runs_out_of_time(inp: Reader[int]) -> None:
    inp.recv(0.01)


@process
async def runs_out_of_time_too(inp: Reader[int]) -> None:
    await inp.arecv(0.01)


@pytest.mark.parametrize("body", [runs_out_of_time, runs_out_of_time_too])
def test_a_time_limit_comes_out_of_a_process(body: Any, method: str) -> None:
    channel = Channel[int]("numbers")
    out = channel.writer()
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(body(channel.reader()).with_kind("process"))
    (error,) = caught.value.exceptions
    assert type(error) is ChannelTimeout and error.end is None
    assert "nobody sent to channel 'numbers'" in str(error)
    out.retire()


def test_the_end_of_what_is_no_channel() -> None:
    a, b = interproc.Pipe()
    a.send(1)
    a.close()
    queue: Any = interproc.Queue()
    queue.shutdown()
    assert [event.value for event in selecting(b, queue)] == [1]
    with pytest.raises(EOFError) as ended:
        select(b)
    assert isinstance(ended.value, ConnectionEnded) and ended.value.end is b
    with pytest.raises(interproc.ShutDown) as over:
        select(queue)
    assert over.value.end is queue
    for error in (ended.value, over.value):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error) and str(copy) == str(error) and copy.end is None


def test_nothing_is_lost_by_what_cannot_be_pickled() -> None:
    for buffer in (0, 1):
        channel = Channel[Any]("numbers", buffer=buffer)
        inp, out = channel.reader(), channel.writer()
        with pytest.raises(interproc.PicklingError, match="lock"):
            out.send([threading.Lock()])
        assert Parallel(sends.with_kind("thread")(out, 1, 2), receives.with_kind("thread")(inp)) == [
            None,
            [1, 2],
        ]
