"""The station Value and Array: a child writes into memory that the parent reads."""

from __future__ import annotations

from typing import Any

import interproc as mp
from interproc.cli.tour.station import Stage, Station


def child(number: Any, array: Any) -> None:
    number.value = 3.1415927
    for i in range(len(array)):
        array[i] = -array[i]


def parent() -> tuple[float, list[int]]:
    number = mp.Value("d", 0.0)
    array = mp.Array("i", range(10))
    process = mp.Process(target=child, args=(number, array))
    process.start()
    process.join()
    print(number.value)
    print(array[:])
    return number.value, array[:]


def run(stage: Stage) -> None:
    number, numbers = parent()
    stage.check("the parent reads the number that the child stored", number, 3.1415927)
    stage.check("the child negated the array in place", numbers, [-i for i in range(10)])


STATION = Station(
    number=30,
    name="value_array",
    title="Value and Array",
    point="A C number and a C array in shared memory: nothing is sent, both processes look at the same "
    "bytes, and a lock guards them.",
    code=(child, parent),
    run=run,
)
