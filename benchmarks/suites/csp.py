"""CSP: the same networks for every peer, counted alike: a communication is one message over one channel.

Each run is made in a child of its own, which sets up the network, has the peer run it, and ends. A network
ends by counting, not by poison, as not every peer has that.
"""

from __future__ import annotations

import gc
import itertools
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import processes
from benchmarks.adapters import NotOffered
from benchmarks.adapters.base import private_and_shared_bytes
from benchmarks.adapters.csp_base import Body, CspAdapter, Kind
from benchmarks.adapters.csp_peers import PROCESSES, TASKS, THREADS
from benchmarks.passes import Figures, Pass
from benchmarks.rows import NO_TARGET, Plan, Row, Sample, Suite, Target

WARM_UP = 10  # one in so many is not timed: the first ones
MANY = 64  # channels of a choice
CROWD = 1_000  # coroutines in a ring
BUFFER = 1_000  # messages that a channel of the stream holds
STREAM_FIRST = 1_000  # messages of the stream that are not timed


def _size(peer: CspAdapter, plan: Plan, full: int, quick: int) -> int:
    """How many times: of a peer that is slow fewer, so that its run does not take minutes."""
    return plan.size(max(quick, full // peer.slow), quick)


class WrongResult(AssertionError):
    """What is received is not what was sent."""


def _expect(what: object, found: object, wanted: object) -> None:
    if found != wanted:
        raise WrongResult(f"{what}: {found!r:.80} was received instead of {wanted!r:.80}")


Work = Callable[..., dict[str, Any]]


def _apart(gate: processes.Gate, work: Work, peer: CspAdapter, plan: Plan, arguments: Any) -> dict[str, Any]:
    try:
        return peer.apart(work, plan, *arguments)
    except NotOffered as why:
        return {"not offered": str(why)}


def _run(work: Work, peer: CspAdapter, plan: Plan, *arguments: Any) -> dict[str, Any]:
    """Have `work(peer, plan, *arguments)` done by a fresh child, which can be ended.

    Raises:
        NotOffered: by the peer; or by one that is known to hang: it did, as often as it was tried.
    """
    for attempt in range(1, peer.attempts + 1):
        try:
            answer = processes.run(
                peer, plan.method, [(_apart, (work, peer, plan, arguments))], peer.limit + 2
            )[0]
            break
        except processes.RunFailed:
            if peer.attempts == 1:
                raise
            if attempt == peer.attempts:
                raise NotOffered(f"{attempt} runs did not end within {peer.limit:g} s each") from None
    if "not offered" in answer:
        raise NotOffered(answer["not offered"])
    return answer


# ---- commstime (of the occam archive): prefix -> delta -> successor -> prefix, and from delta to a consumer


def _prefix(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], loops: int) -> None:
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    send(0)
    for _ in range(loops - 1):
        send(receive())
    receive()


def _delta(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], loops: int) -> None:
    receive, send, other = peer.receiving(readers[0]), peer.sending(writers[0]), peer.sending(writers[1])
    for _ in range(loops):
        value = receive()
        send(value)
        other(value)


def _successor(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], loops: int) -> None:
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    for _ in range(loops):
        send(receive() + 1)


def _consumer(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], loops: int) -> float:
    """Seconds for the loops after the warm-up."""
    receive = peer.receiving(readers[0])
    first = loops // WARM_UP
    began = 0.0
    for number in range(loops):
        if number == first:
            began = time.perf_counter()
        _expect(f"loop {number}", receive(), number)
    return time.perf_counter() - began


async def _prefix_task(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], loops: int) -> None:
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    await send(0)
    for _ in range(loops - 1):
        await send(await receive())
    await receive()


async def _delta_task(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], loops: int) -> None:
    receive, send, other = peer.receiving(readers[0]), peer.sending(writers[0]), peer.sending(writers[1])
    for _ in range(loops):
        value = await receive()
        await send(value)
        await other(value)


async def _successor_task(
    peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], loops: int
) -> None:
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    for _ in range(loops):
        await send(await receive() + 1)


async def _consumer_task(
    peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], loops: int
) -> float:
    receive = peer.receiving(readers[0])
    first = loops // WARM_UP
    began = 0.0
    for number in range(loops):
        if number == first:
            began = time.perf_counter()
        _expect(f"loop {number}", await receive(), number)
    return time.perf_counter() - began


def _commstime(peer: CspAdapter, plan: Plan, kind: Kind, loops: int) -> dict[str, Any]:
    peer.check(kind)
    a, b, c, d = (peer.channel(kind, plan.method) for _ in range(4))
    parts: tuple[Callable[..., Any], ...] = (_prefix, _delta, _successor, _consumer)
    if kind == "task":
        parts = (_prefix_task, _delta_task, _successor_task, _consumer_task)
    prefix, delta, successor, consumer = parts
    bodies = [
        Body(prefix, [peer.reader(c)], [peer.writer(a)], (loops,)),
        Body(delta, [peer.reader(a)], [peer.writer(b), peer.writer(d)], (loops,)),
        Body(successor, [peer.reader(b)], [peer.writer(c)], (loops,)),
        Body(consumer, [peer.reader(d)], [], (loops,)),
    ]
    seconds = peer.run(kind, plan.method, bodies, peer.limit)[-1]
    return {"seconds": seconds, "loops": loops}


def _commstime_of(kind: Kind, full: int) -> Callable[[CspAdapter, Plan], Figures]:
    def measure(peer: CspAdapter, plan: Plan) -> Figures:
        found = _run(_commstime, peer, plan, kind, _size(peer, plan, full, 100))
        timed = found["loops"] - found["loops"] // WARM_UP
        sample = Sample(found["seconds"] / (4 * timed) * 1e6, 4 * found["loops"])
        return {"own": sample, "pycsp": sample}

    return measure


# ---- a token goes round a ring


def _element(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], cycles: int) -> None:
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    for _ in range(cycles):
        send(receive() + 1)


def _root(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], cycles: int, size: int) -> float:
    """Seconds for the cycles after the warm-up."""
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    first = max(1, cycles // WARM_UP)
    token, began = 0, 0.0
    for number in range(cycles):
        if number == first:
            began = time.perf_counter()
        send(token)
        token = receive()
        _expect(f"cycle {number}", token, (number + 1) * (size - 1))
    return time.perf_counter() - began


async def _element_task(
    peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], cycles: int
) -> None:
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    for _ in range(cycles):
        await send(await receive() + 1)


async def _root_task(
    peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], cycles: int, size: int
) -> tuple[float, int]:
    """Seconds for the cycles after the warm-up; and bytes of the process when each of the ring waits."""
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    first = max(1, cycles // WARM_UP)
    token, began, held = 0, 0.0, 0
    for number in range(cycles):
        if number == first:
            gc.collect()
            held = private_and_shared_bytes()
            began = time.perf_counter()
        await send(token)
        token = await receive()
        _expect(f"cycle {number}", token, (number + 1) * (size - 1))
    return time.perf_counter() - began, held


def _ring(peer: CspAdapter, plan: Plan, kind: Kind, size: int, cycles: int) -> dict[str, Any]:
    peer.check(kind)
    channels = [peer.channel(kind, plan.method) for _ in range(size)]
    element, root = (_element_task, _root_task) if kind == "task" else (_element, _root)
    bodies = [Body(root, [peer.reader(channels[-1])], [peer.writer(channels[0])], (cycles, size))]
    for before, after in itertools.pairwise(channels):
        bodies.append(Body(element, [peer.reader(before)], [peer.writer(after)], (cycles,)))
    return {"root": peer.run(kind, plan.method, bodies, peer.limit)[0]}


def _ring_of(size: int, full: int) -> Callable[[CspAdapter, Plan], Sample]:
    def measure(peer: CspAdapter, plan: Plan) -> Sample:
        cycles = _size(peer, plan, full, 5)
        found = _run(_ring, peer, plan, "process", size, cycles)
        timed = cycles - max(1, cycles // WARM_UP)
        return Sample(found["root"] / (timed * size) * 1e6, cycles * size)

    return measure


def _crowd(peer: CspAdapter, plan: Plan, size: int, cycles: int) -> dict[str, Any]:
    _ring(peer, plan, "task", 8, 2)  # what is loaded and made once is not counted
    gc.collect()
    before = private_and_shared_bytes()
    seconds, held = _ring(peer, plan, "task", size, cycles)["root"]
    return {"seconds": seconds, "bytes": held - before}


def _crowd_figures(peer: CspAdapter, plan: Plan) -> Figures:
    size, cycles = plan.size(CROWD, 200), plan.size(50, 5)
    found = _run(_crowd, peer, plan, size, cycles)
    timed = cycles - max(1, cycles // WARM_UP)
    return {
        "time": Sample(found["seconds"] / (timed * size) * 1e6, cycles * size),
        "memory": Sample(max(0.0, found["bytes"] / size / 1024), size),
    }


# ---- a choice among channels


def _feeder(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], order: Sequence[int]) -> None:
    sends = [peer.sending(writer) for writer in writers]
    for number, place in enumerate(order):
        sends[place](number)


def _chooser(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], count: int) -> float:
    """Seconds for the choices after the warm-up."""
    receive = peer.selecting(readers)
    first = count // WARM_UP
    began = 0.0
    seen = []
    for number in range(count):
        if number == first:
            began = time.perf_counter()
        seen.append(receive())
    ended = time.perf_counter()
    _expect("the values", sorted(seen), list(range(count)))
    return ended - began


def _choice(peer: CspAdapter, plan: Plan, channels: int, count: int) -> dict[str, Any]:
    peer.check("process")
    made = [peer.channel("process", plan.method) for _ in range(channels)]
    order = random.Random(channels).choices(range(channels), k=count)
    bodies = [
        Body(_feeder, [], [peer.writer(channel) for channel in made], (order,)),
        Body(_chooser, [peer.reader(channel) for channel in made], [], (count,)),
    ]
    return {"seconds": peer.run("process", plan.method, bodies, peer.limit)[1]}


def _choices(peer: CspAdapter, plan: Plan) -> Figures:
    """Among few and among many, one soon after the other."""
    figures: Figures = {}
    each: dict[int, float] = {}
    for channels, full in ((1, 5_000), (8, 5_000), (MANY, 2_000)):
        count = _size(peer, plan, full, 100)
        seconds = _run(_choice, peer, plan, channels, count)["seconds"]
        each[channels] = seconds / (count - count // WARM_UP) * 1e6
        figures[str(channels)] = Sample(each[channels], count)
    figures["ratio"] = Sample(each[MANY] / each[1], count)
    return figures


# ---- starting


def _nothing(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], number: int) -> int:
    return number


def _start(peer: CspAdapter, plan: Plan, count: int) -> dict[str, Any]:
    peer.check("process")
    peer.run("process", plan.method, [Body(_nothing, (), (), (0,))], peer.limit)
    bodies = [Body(_nothing, (), (), (number,)) for number in range(count)]
    began = time.perf_counter()
    found = peer.run("process", plan.method, bodies, peer.limit)
    seconds = time.perf_counter() - began
    _expect("the results", found, list(range(count)))
    return {"seconds": seconds}


def _start_of(full: int) -> Callable[[CspAdapter, Plan], Sample]:
    def measure(peer: CspAdapter, plan: Plan) -> Sample:
        count = plan.size(full, min(full, 5))
        return Sample(_run(_start, peer, plan, count)["seconds"] * 1e3, count)

    return measure


# ---- one communication, between two cores


def _pin(place: int) -> None:
    """To a core of its own, if there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[place % len(cores)]})


def _asker(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], count: int) -> dict[str, float]:
    """Microseconds of half of a round trip, which is two communications."""
    _pin(0)
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    clock = time.perf_counter_ns
    times = []
    for number in range(count):
        began = clock()
        send(number)
        back = receive()
        times.append(clock() - began)
        _expect(f"answer {number}", back, number)
    times = sorted(times[count // WARM_UP :])
    return {"median": statistics.median(times) / 2e3, "p99": times[len(times) * 99 // 100] / 2e3}


def _answerer(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], count: int) -> None:
    _pin(1)
    receive, send = peer.receiving(readers[0]), peer.sending(writers[0])
    for _ in range(count):
        send(receive())


def _pair(peer: CspAdapter, plan: Plan, count: int) -> dict[str, Any]:
    peer.check("process")
    there, back = peer.channel("process", plan.method), peer.channel("process", plan.method)
    bodies = [
        Body(_asker, [peer.reader(back)], [peer.writer(there)], (count,)),
        Body(_answerer, [peer.reader(there)], [peer.writer(back)], (count,)),
    ]
    found: dict[str, Any] = peer.run("process", plan.method, bodies, peer.limit)[0]
    return found


def _communication(peer: CspAdapter, plan: Plan) -> Sample:
    count = _size(peer, plan, 10_000, 200)
    found = _run(_pair, peer, plan, count)
    return Sample(found["median"], 2 * count, {"p99": found["p99"]})


# ---- a stream through a buffer


def _source(peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], count: int) -> None:
    send = peer.sending(writers[0])
    for number in range(count):
        send((number, "hello", None))


def _sink(
    peer: CspAdapter, readers: Sequence[Any], writers: Sequence[Any], count: int, thorough: bool
) -> float:
    """Seconds for the messages after the first ones."""
    receive = peer.receiving(readers[0])
    first = min(STREAM_FIRST, count // WARM_UP)
    began = 0.0
    for number in range(count):
        if number == first:
            began = time.perf_counter()
        message = receive()
        if message[0] != number or (thorough and message != (number, "hello", None)):
            raise WrongResult(f"message {number} is {message!r:.80}")
    return time.perf_counter() - began


def _stream(peer: CspAdapter, plan: Plan, count: int) -> dict[str, Any]:
    peer.check("process")
    channel = peer.stream(plan.method, BUFFER)
    bodies = [
        Body(_source, [], [peer.writer(channel)], (count,)),
        Body(_sink, [peer.reader(channel)], [], (count, plan.thorough)),
    ]
    return {"seconds": peer.run("process", plan.method, bodies, peer.limit)[1]}


def _buffered(peer: CspAdapter, plan: Plan) -> Sample:
    count = _size(peer, plan, 200_000, 1_000)
    seconds = _run(_stream, peer, plan, count)["seconds"]
    return Sample((count - min(STREAM_FIRST, count // WARM_UP)) / seconds, count)


# ---- the rows

_processes, _threads, _tasks = (
    Pass(_commstime_of(kind, loops))
    for kind, loops in (("process", 3_000), ("thread", 3_000), ("task", 5_000))
)
_of_channels, _of_a_crowd = Pass(_choices), Pass(_crowd_figures)
_ONE_OF_TWO = tuple(peer for peer in PROCESSES if peer.name in ("interproc", "pycsp"))
_TO_THREADS, _TO_TASKS = "queue.Queue", "asyncio"


def _row(
    key: str,
    work: str,
    measure: Any,
    target: Target = NO_TARGET,
    unit: str = "µs",
    baseline: str = "multiprocessing",
    peers: tuple[CspAdapter, ...] = PROCESSES,
    rounds: int | None = None,
) -> Row:
    return Row(key, work, unit, unit == "msg/s", measure, target, baseline, peers, rounds)


SUITE = Suite(
    "csp",
    "CSP: processes, channels, choice",
    (
        _row(
            "commstime_processes",
            "commstime, OS processes, a communication",
            _processes.row("own"),
            Target("≤ 1/2 of a network of mp.Pipe", ratio=2),
        ),
        _row(
            "commstime_pycsp",
            "the same, to PyCSP",
            _processes.row("pycsp"),
            Target("≤ 1/10 of PyCSP", ratio=10),
            baseline="pycsp",
            peers=_ONE_OF_TWO,
        ),
        _row(
            "commstime_threads",
            "commstime, threads, a communication",
            _threads.row("own"),
            baseline=_TO_THREADS,
            peers=THREADS,
        ),
        _row(
            "commstime_tasks",
            "commstime, coroutines, a communication",
            _tasks.row("own"),
            baseline=_TO_TASKS,
            peers=TASKS,
        ),
        _row("ring_2", "ring of 2 OS processes, a communication", _ring_of(2, 2_000)),
        _row("ring_8", "ring of 8 OS processes, a communication", _ring_of(8, 500)),
        _row("ring_64", "ring of 64 OS processes, a communication", _ring_of(64, 60), rounds=5),
        _row(
            "communication",
            "a communication between two OS processes, each on its core, median",
            _communication,
            Target("≤ 5 µs", value=5),
        ),
        _row("select_1", "select over 1 channel", _of_channels.row("1")),
        _row("select_8", "select over 8 channels", _of_channels.row("8")),
        _row("select_64", "select over 64 channels", _of_channels.row(str(MANY))),
        _row(
            "select_64_to_1",
            "select over 64 channels, to one over 1",
            _of_channels.row("ratio"),
            Target("≤ 3", value=3),
            "",
            "",
        ),
        _row("start_1", "start and join 1 OS process", _start_of(1), unit="ms"),
        _row("start_100", "start and join 100 OS processes", _start_of(100), unit="ms", rounds=5),
        _row("start_1000", "start and join 1,000 OS processes", _start_of(1_000), unit="ms", rounds=3),
        _row(
            "stream",
            f"stream through a buffer of {BUFFER:,}, to mp.Queue",
            _buffered,
            Target("≥ 5x", ratio=5),
            "msg/s",
        ),
        _row(
            "ring_tasks",
            "ring of 1,000 coroutines, a communication",
            _of_a_crowd.row("time"),
            baseline=_TO_TASKS,
            peers=TASKS,
        ),
        _row(
            "ring_tasks_memory",
            "the same: memory per process with its channel",
            _of_a_crowd.row("memory"),
            Target("≤ 10 KiB", value=10),
            "KiB",
            _TO_TASKS,
            TASKS,
        ),
    ),
)
