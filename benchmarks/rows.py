"""What a row of a benchmark is: the work, how it is measured, and what interproc is to reach in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.adapters import PEERS, Adapter


@dataclass(frozen=True)
class Plan:
    """How one run is to be made.

    Attributes:
        method: what starts the processes: "fork", "spawn" or "forkserver".
        quick: tiny sizes, to see that it works and not how fast.
        thorough: every item is compared in full with what was sent, and the figure is thrown away; else the
            cheapest check that still sees a lost, doubled or misplaced item.
    """

    method: str = "fork"
    quick: bool = False
    thorough: bool = False

    def size(self, full: int, quick: int) -> int:
        """How many items, or times."""
        return quick if self.quick or self.thorough else full


@dataclass(frozen=True)
class Sample:
    """The figure of one run, and how many items or operations were checked to have had their effect."""

    value: float
    verified: int
    detail: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What interproc is to reach: a ratio, a value, and whom it has to be ahead of; None and () ask nothing.

    Attributes:
        text: as the work asks it.
        ratio: how many times as good as the row's baseline, at least.
        value: the figure itself, at most, in the row's unit.
        ahead_of: peers that are to be slower.
    """

    text: str
    ratio: float | None = None
    value: float | None = None
    ahead_of: tuple[str, ...] = ()


NO_TARGET = Target("-")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        key: names the row in JSON and on the command line.
        work: the same for a reader.
        unit: of the figure.
        higher_is_better: whether more of that unit is better.
        measure: makes one run.
        baseline: the adapter that ratios are to.
        adapters: who is measured.
        max_rounds: for a row that takes long and hardly varies.
    """

    key: str
    work: str
    unit: str
    higher_is_better: bool
    measure: Callable[[Adapter, Plan], Sample]
    target: Target = NO_TARGET
    baseline: str = "multiprocessing"
    adapters: tuple[Adapter, ...] = PEERS
    max_rounds: int | None = None

    def ratio(self, value: float, other: float) -> float | None:
        """How many times as good `value` is as `other`; None where one of them is 0."""
        if value <= 0 or other <= 0:
            return None
        return value / other if self.higher_is_better else other / value


@dataclass(frozen=True)
class Suite:
    """The rows of one script."""

    name: str
    title: str
    rows: tuple[Row, ...]
