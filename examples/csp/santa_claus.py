"""Santa Claus sleeps until all nine reindeer are back, or until three of ten elves need help; reindeer first.

John Trono's problem (1994). Santa and the reindeer meet at a barrier, and the barrier is a branch of Santa's
choice: it is passed only when all nine are there *and* Santa chooses it. An elf sends the end of a channel
along with its number, and is answered there.
"""

import random
import time

from interproc.csp import (
    Barrier,
    Channel,
    ChannelRetire,
    Enrolment,
    Parallel,
    Reader,
    Received,
    Synced,
    Writer,
    process,
    select,
)

REINDEER, ELVES, GROUP = 9, 10, 3
Question = tuple[int, Writer[str]]  # an elf, and where it waits for the answer
Diary = list[str | list[int]]  # "Christmas", or the elves that were helped


def live() -> None:
    time.sleep(random.uniform(0, 0.01))


@process
def reindeer(harness: Enrolment, years: int) -> None:
    for _ in range(years):
        live()  # in the south
        harness.sync()  # all are back, and Santa is up
        harness.sync()  # the toys are delivered


@process
def elf(number: int, door: Writer[Question]) -> int:
    """Works and asks, until there is nobody to ask; how often it was helped."""
    helped = 0
    try:
        while True:
            live()
            answer = Channel[str]("answer")
            door.send((number, answer.writer()))
            answer.reader().recv()
            helped += 1
    except ChannelRetire:
        return helped


@process
def waiting_room(door: Reader[Question], study: Writer[list[Question]]) -> None:
    while True:
        study.send([door.recv() for _ in range(GROUP)])


@process
def santa(harness: Enrolment, study: Reader[list[Question]], years: int, groups: int) -> Diary:
    diary: Diary = []
    while years > 0 or groups > 0:
        match select(harness if years > 0 else None, study, priority=True):
            case Synced():
                diary.append("Christmas")
                years -= 1
                harness.sync()
            case Received(value=questions):
                diary.append([number for number, _ in questions])
                groups -= 1
                for _, answer in questions:
                    answer.send("Glue it!")
    return diary  # and retires: so do the waiting room, and then the elves


def main(years: int = 5, groups: int = 5) -> tuple[Diary, int]:
    """Santa's diary, and how often elves say that they were helped."""
    harness = Barrier("harness")
    door, study = Channel[Question]("door"), Channel[list[Question]]("study")
    diary, _, *rest = Parallel(
        santa(harness.enrol(), study.reader(), years, groups),
        waiting_room(door.reader(), study.writer()),
        [elf(number, door.writer()) for number in range(ELVES)],
        [reindeer(harness.enrol(), years) for _ in range(REINDEER)],
    )
    for entry in diary:
        print(entry if entry == "Christmas" else f"helped elves {entry}")
    return diary, sum(rest[:ELVES])


if __name__ == "__main__":
    main()
