"""The station Namespace: an object whose attributes processes share."""

from __future__ import annotations

from typing import Any

import interproc as mp
from interproc.cli.tour.station import Stage, Station


def child(namespace: Any) -> None:
    namespace.x += 5
    namespace.y *= 10


def parent() -> list[str]:
    with mp.Manager() as manager:
        namespace = manager.Namespace(x=1, y=1)
        states = [repr(namespace)]
        print("before", namespace)
        process = mp.Process(target=child, args=(namespace,))
        process.start()
        process.join()
        states.append(repr(namespace))
        print("after", namespace)
        return states


def run(stage: Stage) -> None:
    before, after = parent()
    stage.check("the attributes that the parent set", before, "Namespace(x=1, y=1)")
    stage.check("what the child made of them", after, "Namespace(x=6, y=10)")


STATION = Station(
    number=50,
    name="namespace",
    title="Namespace",
    point="An object whose attributes all processes see. Where several change one at the same time, "
    'namespace.add("x", 5) is a single step.',
    code=(child, parent),
    run=run,
)
