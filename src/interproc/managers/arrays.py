"""ManagedArray: what a manager's Array() makes: a shared C array that refuses what does not fit its items."""

from __future__ import annotations

import array
from typing import Any

from .. import _core, shared

__all__ = ["ManagedArray"]


class ManagedArray(shared.SynchronizedArray):
    """A shared array as interproc.Array's, with array.array's checks, as multiprocessing's managers have.

    Raises OverflowError for an integer out of the items' range, where a C array would cut it off, and
    TypeError.
    """

    @classmethod
    def made(cls, typecode: Any, initial: Any, arena: _core.Arena) -> Any:
        """A new one in the arena."""
        if isinstance(typecode, str) and not isinstance(initial, int):
            initial = list(initial)
            _check(typecode, initial)
        plain = shared.Array(typecode, initial, arena=arena)
        if type(plain) is not shared.SynchronizedArray:  # of characters: it has no range
            return plain
        return cls(plain.get_obj(), plain.get_lock())

    def __setitem__(self, i: Any, value: Any) -> None:
        code = getattr(self._obj._type_, "_type_", "")
        if isinstance(code, str):
            if type(i) is slice:
                value = list(value)
            _check(code, value if type(i) is slice else [value])
        super().__setitem__(i, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, super().__reduce__()


def _rebuild(rebuild: Any, arguments: tuple[Any, ...]) -> ManagedArray:
    """Unpickles one."""
    plain = rebuild(*arguments)
    return ManagedArray(plain.get_obj(), plain.get_lock())


def _check(typecode: str, values: list[Any]) -> None:
    if typecode in array.typecodes:
        array.array(typecode, values)
