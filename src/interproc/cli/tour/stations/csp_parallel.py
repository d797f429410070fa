"""The station Parallel: two processes at the same time, and what comes after both."""

from __future__ import annotations

import os
import time

from interproc.cli.tour.station import Stage, Station
from interproc.csp import Parallel, process

Life = tuple[float, float]  # when a process began and when it was done, in seconds


@process
def P1() -> Life:
    time.sleep(1)
    print("P1 exiting")
    return life()


@process
def P2() -> Life:
    time.sleep(1)
    print("P2 exiting")
    return life()


def parent() -> tuple[list[Life], float]:
    started = time.monotonic()
    lives = Parallel(P1(), P2())
    print("Terminating")
    return lives, time.monotonic() - started


def life() -> Life:
    """From the start of this OS process, as the kernel has it, to now."""
    with open("/proc/self/stat") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK"), time.clock_gettime(time.CLOCK_BOOTTIME)


def run(stage: Stage) -> None:
    (first, second), seconds = parent()
    stage.say(f"Each slept for one second; both together took {seconds:.2f} s.")
    stage.report.figures["seconds"] = seconds
    both = min(first[1], second[1]) - max(first[0], second[0])
    stage.judge("they ran at the same time", both > 0, f"{both:.2f} s in common", "more than 0 s")


STATION = Station(
    number=60,
    name="csp_parallel",
    title="CSP: processes in parallel",
    point="Called, P1 and P2 only describe a process. Parallel runs all it is given, waits for them, and "
    "returns what they return.",
    code=(P1, P2, parent),
    run=run,
)
