"""What processes are called where people read it: in pictures, in errors, in the names of threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count

__all__ = ["told_apart"]


def told_apart(names: Iterable[str]) -> list[str]:
    """The same names; those that occur several times with a number each, as no other has it."""
    names = [*names]
    times = Counter(names)
    taken = set(names)
    numbers: dict[str, Iterator[int]] = {}

    def numbered(name: str) -> str:
        ahead = numbers.setdefault(name, count(1))
        return next(found for number in ahead if (found := f"{name} {number}") not in taken)

    return [numbered(name) if times[name] > 1 else name for name in names]
