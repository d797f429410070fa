"""A pass: one run of a peer that gives the figures of several rows, and the timing of a loop within it."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.adapters import Adapter, NotOffered
from benchmarks.rows import Plan, Sample

BATCHES = 5
Loop = Callable[[Sequence[Any]], object]


@dataclass(frozen=True)
class NotHere:
    """In the place of a figure: why the peer has none for this row."""

    why: str


Figures = dict[str, "Sample | NotHere"]


class Pass:
    """Runs once for all of its rows: whichever asks first has it run, the others get theirs of that same run.

    A row asks once a round, so what is left for another is of as many rounds as that one has yet to ask for.
    """

    def __init__(self, run: Callable[[Any, Plan], Figures]) -> None:
        self._run = run
        self._left: dict[tuple[str, Plan, str], deque[Sample | NotHere]] = defaultdict(deque)

    def row(self, figure: str) -> Callable[[Adapter, Plan], Sample]:
        """What measures the row of that figure."""

        def measure(adapter: Adapter, plan: Plan) -> Sample:
            mine = self._left[adapter.name, plan, figure]
            if not mine:
                for name, one in self._run(adapter, plan).items():
                    self._left[adapter.name, plan, name].append(one)
            if not mine:
                raise NotOffered(f"{adapter.name} has nothing for this row")
            found = mine.popleft()
            if isinstance(found, NotHere):
                raise NotOffered(found.why)
            return found

        return measure


def timed(loop: Loop, pool: Sequence[Any], seconds: float) -> tuple[float, int]:
    """Seconds that `loop` takes for one thing of the pool, and how many it had in all.

    It is first run with more and more of them until its pace is known, which also warms it up; then in
    BATCHES, each with other things of the pool, which together take about `seconds`; their median counts.
    """
    batch, done = pace(loop, pool, seconds / BATCHES)
    taken = []
    for number in range(BATCHES):
        first = number * batch % (len(pool) - batch + 1)
        some = pool[first : first + batch]
        began = time.perf_counter()
        loop(some)
        taken.append((time.perf_counter() - began) / batch)
    return statistics.median(taken), done + BATCHES * batch


def pace(loop: Loop, pool: Sequence[Any], seconds: float) -> tuple[int, int]:
    """How many things of the pool take about `seconds`, and how many were tried to find out."""
    count, done = 1, 0
    while True:
        some = pool[:count]
        began = time.perf_counter()
        loop(some)
        taken = time.perf_counter() - began
        done += count
        if taken >= seconds / 4 or count == len(pool):
            return max(1, min(len(pool), round(count * seconds / taken))), done
        count = min(len(pool), 4 * count)


def throughput(loop: Loop, pool: Sequence[Any], batch: int, seconds: float) -> tuple[float, int]:
    """How many things a second go through `loop` for about `seconds`, and how many did in all."""
    done, first = 0, 0
    began = now = time.perf_counter()
    while now - began < seconds:
        if first + batch > len(pool):
            first = 0
        loop(pool[first : first + batch])
        first += batch
        done += batch
        now = time.perf_counter()
    return done / (now - began), done
