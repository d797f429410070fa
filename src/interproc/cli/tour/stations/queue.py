"""The station Queue: a child puts, the parent gets."""

from __future__ import annotations

import interproc as mp
from interproc.cli.tour.station import Stage, Station


def child(queue: mp.Queue[object]) -> None:
    queue.put([42, None, "hello"])


def parent() -> object:
    queue = mp.Queue[object]()
    process = mp.Process(target=child, args=(queue,))
    process.start()
    item = queue.get()
    print(item)
    process.join()
    return item


def run(stage: Stage) -> None:
    stage.check("the parent got what the child put", parent(), [42, None, "hello"])


STATION = Station(
    number=10,
    name="queue",
    title="Queue",
    point="Any number of processes put, any number get. When put returns, the item is in shared memory: "
    "the process that put it may die, the item stays.",
    code=(child, parent),
    run=run,
)
