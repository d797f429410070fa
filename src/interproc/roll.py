"""The roll of who waits at a Condition or a Barrier, kept so that a waiter that was killed is not counted."""

from __future__ import annotations

from typing import Any

from . import _core

__all__ = ["Roll"]


class Roll:
    """Shared words for a structure that one lock guards, and a row of counts for every member of the arena.

    Layout of the memory: `words` unsigned 64-bit words for the structure's own use, one word `top` (rows in
    use); then for each member index the low 32 bits of an incarnation (which process the row is about); then
    for each member index `columns` unsigned 16-bit counts (of threads of that process).

    Everything here is read and written with the structure's lock held, unless said otherwise. A row whose
    process has died is found by its incarnation, and is struck by whoever comes across it. Each change is one
    aligned store, so that a process killed between two of them leaves a roll that is merely out of date.
    """

    __slots__ = ("_arena", "_columns", "_incarnations", "_memory", "_words", "counts", "words")

    counts: memoryview[int]
    words: memoryview[int]

    def __init__(self, words: int, columns: int, arena: _core.Arena | None = None) -> None:
        size = 8 * (words + 1) + (4 + 2 * columns) * _core.MAX_MEMBERS
        self._attach(_core.Memory(size, lock=False, arena=arena), words, columns)

    def _attach(self, memory: _core.Memory, words: int, columns: int) -> None:
        self._memory, self._words, self._columns = memory, words, columns
        self._arena = memory.arena
        view = memoryview(memory).cast("B")
        first = 8 * (words + 1)
        second = first + 4 * _core.MAX_MEMBERS
        self.words = view[:first].cast("Q")
        self._incarnations = view[first:second].cast("I")
        self.counts = view[second : second + 2 * columns * _core.MAX_MEMBERS].cast("H")

    def __getstate__(self) -> tuple[Any, ...]:
        return self._memory, self._words, self._columns

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._attach(*state)

    def mine(self) -> int:
        """The position in `counts` of this process's row, made ready if another process had it before."""
        index = self._arena.index
        incarnation = self._arena.incarnation(index) & 0xFFFFFFFF
        if self._incarnations[index] != incarnation:
            self._strike(index)
            self._incarnations[index] = incarnation
        if self.words[self._words] <= index:
            self.words[self._words] = index + 1
        return index * self._columns

    def rows(self) -> range:
        """The positions in `counts` of all rows that may be in use."""
        return range(0, min(self.words[self._words], _core.MAX_MEMBERS) * self._columns, self._columns)

    def strike_dead(self, row: int) -> bool:
        """Empty the row if the process it is about has died; whether it had."""
        index = row // self._columns
        if self._arena.incarnation(index) & 0xFFFFFFFF == self._incarnations[index]:
            return False
        self._strike(index)
        return True

    def _strike(self, index: int) -> None:
        for column in range(self._columns):
            self.counts[index * self._columns + column] = 0
