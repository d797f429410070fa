"""The station Pipe: two ends, each of which sends and receives; and what happens when one of them goes."""

from __future__ import annotations

import interproc as mp
from interproc.cli.tour.station import Stage, Station


def child(end: mp.Connection) -> None:
    end.send([42, None, "hello"])
    question = end.recv()
    end.send(f"{question} is {6 * 7}")


def parent() -> list[object]:
    mine, its = mp.Pipe()
    process = mp.Process(target=child, args=(its,))
    process.start()
    its.close()  # the child has it now
    received = [mine.recv()]
    mine.send("six times seven")
    received.append(mine.recv())
    try:
        mine.recv()
    except EOFError:
        received.append("the child has gone")
    print(*received, sep="\n")
    process.join()
    return received


def run(stage: Stage) -> None:
    item, answer, end = parent()
    stage.check("the parent received what the child sent", item, [42, None, "hello"])
    stage.check("a question went one way, its answer the other", answer, "six times seven is 42")
    stage.check("the end of the child ended the wait", end, "the child has gone")


STATION = Station(
    number=20,
    name="pipe",
    title="Pipe",
    point="Two ends, and both send and receive. When the process at the other end goes, even by SIGKILL, "
    "recv raises EOFError instead of waiting for ever.",
    code=(child, parent),
    run=run,
)
