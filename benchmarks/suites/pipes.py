"""A duplex pipe between two processes: how long a small tuple takes there and back."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks import processes
from benchmarks.adapters import Adapter
from benchmarks.rows import Plan, Row, Sample, Suite, Target

LIMIT = 90.0  # seconds for a run


class WrongEcho(AssertionError):
    """What came back is not what was sent."""


def _ask(gate: processes.Gate, adapter: Adapter, end: Any, count: int) -> dict[str, Any]:
    duplex = adapter.duplex(end)
    send, recv, clock = duplex.send, duplex.recv, time.perf_counter_ns
    times = []
    gate.start()
    for i in range(count):
        sent = (i, "hello", None)
        began = clock()
        send(sent)
        back = recv()
        ended = clock()
        if back != sent:
            raise WrongEcho(f"round trip {i}: sent {sent!r}, got {back!r:.80}")
        times.append(ended - began)
    gate.finish()
    duplex.close()
    times.sort()
    return {"median": statistics.median(times), "p99": times[len(times) * 99 // 100], "echoes": len(times)}


def _echo(gate: processes.Gate, adapter: Adapter, end: Any, count: int) -> dict[str, Any]:
    duplex = adapter.duplex(end)
    send, recv = duplex.send, duplex.recv
    gate.start()
    for _ in range(count):
        send(recv())
    gate.finish()
    duplex.close()
    return {}


def round_trip(adapter: Adapter, plan: Plan) -> Sample:
    """Microseconds: the median over the single round trips of a run."""
    count = plan.size(10_000, 300)
    ends = adapter.pipe(plan.method)
    try:
        asked, _ = processes.run(
            adapter,
            plan.method,
            [(_ask, (adapter, ends[0], count)), (_echo, (adapter, ends[1], count))],
            LIMIT,
        )
    finally:
        for end in ends:
            adapter.discard(end)
    return Sample(asked["median"] / 1000, asked["echoes"], {"p99": asked["p99"] / 1000})


SUITE = Suite(
    "pipe",
    "Pipe between two processes",
    (
        Row(
            "round_trip",
            "round trip of a small tuple, median",
            "µs",
            False,
            round_trip,
            Target("≤ 1/3 of mp.Pipe's", ratio=3),
        ),
    ),
)
