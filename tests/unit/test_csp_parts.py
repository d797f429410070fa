"""interproc.csp.parts, of every kind: what each passes on, and that it ends when its neighbours do."""

from __future__ import annotations

import itertools
import operator
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from interproc.csp import (
    Channel,
    ChannelPoison,
    Parallel,
    Reader,
    Writer,
    parts,
    poison,
    process,
)

KINDS = ["process", "thread", "task"]
Kinds = Callable[..., list[Any]]


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest) -> Kinds:
    """Runs parts in parallel, all of one kind; their results."""
    return lambda *network: Parallel([part.with_kind(request.param) for part in network])


def through(run: Kinds, values: Any, make: Callable[[Reader[Any], Writer[Any]], Any]) -> list[Any]:
    """What comes out of a part with one input and one output."""
    a, b = Channel[Any]("a"), Channel[Any]("b")
    return run(parts.source(values, a.writer()), make(a.reader(), b.writer()), parts.collect(b.reader()))[-1]


# ---- one in, one out ----


def test_identity(run: Kinds) -> None:
    values = [0, None, "", (1, "x"), {"a": [1]}]
    assert through(run, values, parts.identity) == values


def test_successor(run: Kinds) -> None:
    assert through(run, range(-2, 3), parts.successor) == [-1, 0, 1, 2, 3]


def test_map(run: Kinds) -> None:
    assert through(run, "abc", lambda i, o: parts.map(str.upper, i, o)) == ["A", "B", "C"]


def test_filter(run: Kinds) -> None:
    assert through(run, range(10), lambda i, o: parts.filter(lambda n: n % 3 == 0, i, o)) == [0, 3, 6, 9]


def test_filter_by_truth(run: Kinds) -> None:
    assert through(run, [0, 1, "", "x", None], lambda i, o: parts.filter(None, i, o)) == [1, "x"]


def test_prefix(run: Kinds) -> None:
    assert through(run, "bc", lambda i, o: parts.prefix("a", i, o)) == ["a", "b", "c"]
    assert through(run, "", lambda i, o: parts.prefix("a", i, o)) == ["a"]


def test_tail(run: Kinds) -> None:
    assert through(run, "abc", parts.tail) == ["b", "c"]
    assert through(run, "abcd", lambda i, o: parts.tail(i, o, 3)) == ["d"]
    assert through(run, "abc", lambda i, o: parts.tail(i, o, 5)) == []


def test_buffer_passes_on_all(run: Kinds) -> None:
    assert through(run, range(50), lambda i, o: parts.buffer(3, i, o)) == list(range(50))


@process
def send_then_say(values: list[int], out: Writer[int], said: Writer[str]) -> None:
    for value in values:
        out.send(value)
    said.send("all sent")


@process
def wait_then_collect(said: Reader[str], inp: Reader[int]) -> list[Any]:
    return [said.recv(), *inp]


def test_buffer_takes_as_many_as_it_holds_before_any_is_read() -> None:
    a, b, said = Channel[int](), Channel[int](), Channel[str]()
    *_, got = Parallel(
        send_then_say([1, 2, 3], a.writer(), said.writer()),
        parts.buffer(3, a.reader(), b.writer()),
        wait_then_collect(said.reader(), b.reader()),
    )
    assert got == ["all sent", 1, 2, 3]


def test_buffer_of_nothing() -> None:
    a, b = Channel[int](), Channel[int]()
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(parts.buffer(0, a.reader(), b.writer()), parts.sink(b.reader()))
    assert caught.group_contains(ValueError, match="at least one value, not 0")


def test_rate_limit(run: Kinds) -> None:
    started = time.monotonic()
    assert through(run, range(4), lambda i, o: parts.rate_limit(0.02, i, o)) == [0, 1, 2, 3]
    assert time.monotonic() - started >= 3 * 0.02  # at least: never sooner


# ---- several ----


def collect_all(run: Kinds, *network: Any, readers: list[Reader[Any]]) -> list[list[Any]]:
    return run(*network, *(parts.collect(reader) for reader in readers))[-len(readers) :]


@pytest.mark.parametrize("parallel", [True, False])
def test_delta(run: Kinds, parallel: bool) -> None:
    a, b, c = Channel[int](), Channel[int](), Channel[int]()
    got = collect_all(
        run,
        parts.source(range(20), a.writer()),
        parts.delta(a.reader(), b.writer(), c.writer(), parallel=parallel),
        readers=[b.reader(), c.reader()],
    )
    assert got == [list(range(20))] * 2


@process(kind="thread")
def second_first(first: Reader[int], second: Reader[int], count: int) -> list[int]:
    return [each.recv() for _ in range(count) for each in (second, first)]


def test_a_parallel_delta_serves_whoever_is_ready(run: Kinds) -> None:
    a, b, c = Channel[int](), Channel[int](), Channel[int]()
    *_, got = Parallel(
        parts.source(range(3), a.writer()),
        parts.delta(a.reader(), b.writer(), c.writer()),
        second_first(b.reader(), c.reader(), 3),
    )
    assert got == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("parallel", [True, False])
def test_delta_ends_with_either_output(run: Kinds, parallel: bool) -> None:
    for few, many in [(0, 1), (1, 0)]:
        a, outs = Channel[int](), [Channel[int](), Channel[int]()]
        collectors = {few: parts.collect(outs[few].reader(), 3), many: parts.collect(outs[many].reader())}
        got = run(
            parts.source(itertools.count(), a.writer()),
            parts.delta(a.reader(), outs[0].writer(), outs[1].writer(), parallel=parallel),
            collectors[few],
            collectors[many],
        )
        assert got[2] == [0, 1, 2]
        assert got[3] in ([0, 1, 2], [0, 1, 2, 3])  # the fourth may have been offered to both


def test_broadcast(run: Kinds) -> None:
    a, outs = Channel[int](), [Channel[int]() for _ in range(3)]
    got = collect_all(
        run,
        parts.source(range(10), a.writer()),
        parts.broadcast(a.reader(), [out.writer() for out in outs]),
        readers=[out.reader() for out in outs],
    )
    assert got == [list(range(10))] * 3


def test_broadcast_goes_on_without_those_that_have_retired(run: Kinds) -> None:
    a, outs = Channel[int](), [Channel[int]() for _ in range(3)]
    *_, two, four, three = run(
        parts.source(itertools.count(), a.writer()),  # endless: it ends when nobody listens
        parts.broadcast(a.reader(), [out.writer() for out in outs]),
        *(parts.collect(out.reader(), n) for out, n in zip(outs, (2, 4, 3), strict=True)),
    )
    assert (two, four, three) == ([0, 1], [0, 1, 2, 3], [0, 1, 2])


def test_fan_out(run: Kinds) -> None:
    a, outs = Channel[int](), [Channel[int]() for _ in range(3)]
    got = collect_all(
        run,
        parts.source(range(30), a.writer()),
        parts.fan_out(a.reader(), [out.writer() for out in outs]),
        readers=[out.reader() for out in outs],
    )
    assert sorted(itertools.chain(*got)) == list(range(30))  # each value once
    assert all(values == sorted(values) for values in got)


def test_fan_out_goes_on_without_those_that_have_retired(run: Kinds) -> None:
    a, b, c = Channel[int](), Channel[int](), Channel[int]()
    *_, few, rest = run(
        parts.source(range(20), a.writer()),
        parts.fan_out(a.reader(), [b.writer(), c.writer()]),
        parts.collect(b.reader(), 1),
        parts.collect(c.reader()),
    )
    assert sorted(few + rest) == list(range(20)) and len(few) <= 1


def test_fan_in(run: Kinds) -> None:
    inputs, out = [Channel[str]() for _ in range(3)], Channel[str]()
    words = ["abc", "", "defgh"]
    *_, got = run(
        *(parts.source(word, channel.writer()) for word, channel in zip(words, inputs, strict=True)),
        parts.fan_in([channel.reader() for channel in inputs], out.writer()),
        parts.collect(out.reader()),
    )
    assert Counter(got) == Counter("abcdefgh")
    assert [c for c in got if c in "abc"] == list("abc")  # each input in its order
    assert [c for c in got if c in "defgh"] == list("defgh")


@process
def wait_for_both(inp: Reader[str]) -> set[str]:
    seen: set[str] = set()
    while len(seen) < 2:
        seen.add(inp.recv())
    return seen


def test_fan_in_is_fair() -> None:
    """Of inputs that always have something, none has to wait for ever."""
    a, b, out = Channel[str](), Channel[str](), Channel[str]()
    *_, got = Parallel(
        parts.source(itertools.repeat("a"), a.writer()),
        parts.source(itertools.repeat("b"), b.writer()),
        parts.fan_in([a.reader(), b.reader()], out.writer()),
        wait_for_both(out.reader()),
    )
    assert got == {"a", "b"}


def test_zip(run: Kinds) -> None:
    a, b, c = Channel[int](), Channel[str](), Channel[tuple[int, str]]()
    *_, got = run(
        parts.source(itertools.count(), a.writer()),
        parts.source("xyz", b.writer()),
        parts.zip([a.reader(), b.reader()], c.writer()),
        parts.collect(c.reader()),
    )
    assert got == [(0, "x"), (1, "y"), (2, "z")]


def test_merge(run: Kinds) -> None:
    inputs, out = [Channel[int]() for _ in range(4)], Channel[int]()
    values = [[1, 4, 4, 9], [], [2, 4, 8, 10, 11], [0]]
    *_, got = run(
        *(parts.source(each, channel.writer()) for each, channel in zip(values, inputs, strict=True)),
        parts.merge([channel.reader() for channel in inputs], out.writer()),
        parts.collect(out.reader()),
    )
    assert got == sorted(itertools.chain(*values))


def test_merge_by_key_is_stable(run: Kinds) -> None:
    a, b, c = Channel[Any](), Channel[Any](), Channel[Any]()
    *_, got = run(
        parts.source([(3, "a"), (1, "a")], a.writer()),
        parts.source([(3, "b"), (2, "b")], b.writer()),
        parts.merge([a.reader(), b.reader()], c.writer(), key=lambda pair: -pair[0]),
        parts.collect(c.reader()),
    )
    assert got == [(3, "a"), (3, "b"), (2, "b"), (1, "a")]


# ---- the ends of a network ----


def test_source_of_a_function(run: Kinds) -> None:
    a = Channel[int]()
    assert run(parts.source(lambda: (n * n for n in range(4)), a.writer()), parts.collect(a.reader())) == [
        None,
        [0, 1, 4, 9],
    ]


def test_collect_some_of_an_endless_source(run: Kinds) -> None:
    a = Channel[int]()
    assert run(parts.source(itertools.count(5), a.writer()), parts.collect(a.reader(), 3))[1] == [5, 6, 7]


def test_sink(run: Kinds) -> None:
    a = Channel[int]()
    assert run(parts.source(range(17), a.writer()), parts.sink(a.reader()))[1] == 17


def test_timer(run: Kinds) -> None:
    a = Channel[int]()
    started = time.monotonic()
    ticks = run(parts.timer(0.01, a.writer(), 5), parts.collect(a.reader()))[1]
    assert len(ticks) == 5
    assert all(map(operator.lt, [0, *ticks], ticks))  # some may have been left out
    assert time.monotonic() - started >= 0.01 * ticks[-1]


def test_timer_ends_with_its_reader(run: Kinds) -> None:
    a = Channel[int]()
    assert len(run(parts.timer(0.001, a.writer()), parts.collect(a.reader(), 3))[1]) == 3


def test_timer_of_no_time() -> None:
    a = Channel[int]()
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(parts.timer(0, a.writer()), parts.sink(a.reader()))
    assert caught.group_contains(ValueError, match="not after 0 s")


# ---- all ----

# Each with the channels it is given, of the inputs a, a2 and the outputs b, b2: what is not used is not held.
ALL: dict[str, tuple[str, Callable[..., Any]]] = {
    "identity": ("a b", lambda a, b: parts.identity(+a, -b)),
    "successor": ("a b", lambda a, b: parts.successor(+a, -b)),
    "map": ("a b", lambda a, b: parts.map(str, +a, -b)),
    "filter": ("a b", lambda a, b: parts.filter(str, +a, -b)),
    "prefix": ("a b", lambda a, b: parts.prefix(0, +a, -b)),
    "tail": ("a b", lambda a, b: parts.tail(+a, -b)),
    "buffer": ("a b", lambda a, b: parts.buffer(2, +a, -b)),
    "rate_limit": ("a b", lambda a, b: parts.rate_limit(0.01, +a, -b)),
    "delta": ("a b b2", lambda a, b, b2: parts.delta(+a, -b, -b2)),
    "broadcast": ("a b b2", lambda a, b, b2: parts.broadcast(+a, [-b, -b2])),
    "fan_out": ("a b b2", lambda a, b, b2: parts.fan_out(+a, [-b, -b2])),
    "fan_in": ("a a2 b", lambda a, a2, b: parts.fan_in([+a, +a2], -b)),
    "zip": ("a a2 b", lambda a, a2, b: parts.zip([+a, +a2], -b)),
    "merge": ("a a2 b", lambda a, a2, b: parts.merge([+a, +a2], -b)),
    "source": ("b", lambda b: parts.source(itertools.count(), -b)),
    "timer": ("b", lambda b: parts.timer(0.01, -b)),
    "collect": ("a", lambda a: parts.collect(+a)),
    "sink": ("a", lambda a: parts.sink(+a)),
}


def set_up(name: str) -> tuple[Any, dict[str, Channel[int]]]:
    """A part, and its channels."""
    used, make = ALL[name]
    channels = {each: Channel[int](each) for each in used.split()}
    return make(*channels.values()), channels


def test_all_are_tested() -> None:
    assert set(ALL) == set(parts.__all__)


@pytest.mark.parametrize("name", ALL)
def test_a_part_is_described(name: str) -> None:
    """Its name says what it does; it is documented with a line that uses it."""
    part, channels = set_up(name)
    assert f"`parts.{name}(" in getattr(parts, name).__doc__
    assert name in repr(part)
    assert {end.name for end in part.ends()} == set(channels)


@process(kind="thread")
def poisoner(out: Writer[int]) -> None:
    out.send(1)
    poison(out)


@process(kind="thread")
def poisoned(inp: Reader[int]) -> str:
    try:
        for _ in inp:
            pass
    except ChannelPoison:
        return "poisoned"
    return "ended"


@pytest.mark.parametrize("name", [name for name in ALL if "a" in ALL[name][0] and "b" in ALL[name][0]])
@pytest.mark.parametrize("kind", KINDS)
def test_poison_passes_through(name: str, kind: str) -> None:
    part, channels = set_up(name)
    more = [parts.source(range(100), -channels["a2"])] if "a2" in channels else []
    more += [parts.sink(+channels["b2"])] if "b2" in channels else []
    ends = poisoner(-channels["a"]), poisoned(+channels["b"])
    assert Parallel(part.with_kind(kind), *ends, *more)[2] == "poisoned"


@pytest.mark.parametrize("name", [name for name in ALL if "b" in ALL[name][0]])
def test_it_ends_when_nobody_reads(run: Kinds, name: str) -> None:
    """Though its input is endless."""
    part, channels = set_up(name)
    sources = [parts.source(itertools.count(), -channels[each]) for each in ("a", "a2") if each in channels]
    collectors = [parts.collect(+channels[each], 1) for each in ("b", "b2") if each in channels]
    assert len(run(part, *sources, *collectors)[-1]) <= 1
