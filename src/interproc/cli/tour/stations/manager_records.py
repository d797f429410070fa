"""The station Manager: a shared list, to which one process adds, and which another prints."""

from __future__ import annotations

from typing import Any

import interproc as mp
from interproc.cli.tour.station import Stage, Station

Record = tuple[str, int]


def insert_record(record: Record, records: Any) -> None:
    records.append(record)
    print("A new record is added")


def print_records(records: Any) -> None:
    for name, score in records:
        print(f"Name: {name}")
        print(f"Score: {score}")


def parent() -> list[Record]:
    with mp.Manager() as manager:
        records = manager.list(
            [("Computers", 1), ("Histoty", 5), ("Hindi", 9)]
        )
        new = ("English", 3)
        adds = mp.Process(target=insert_record, args=(new, records))
        adds.start()
        adds.join()
        prints = mp.Process(target=print_records, args=(records,))
        prints.start()
        prints.join()
        return records[:]


def run(stage: Stage) -> None:
    records = parent()
    stage.check("the record that one process added is last", records[-1], ("English", 3))
    stage.check("the others are as they were", records[:-1], [("Computers", 1), ("Histoty", 5), ("Hindi", 9)])


STATION = Station(
    number=40,
    name="manager_records",
    title="Manager",
    point="A list that processes share, with all that a list has. It lies in shared memory: append and "
    "iteration are calls into it, and no server is asked.",
    code=(insert_record, print_records, parent),
    run=run,
)
