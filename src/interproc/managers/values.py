"""ValueProxy: one value of any kind in shared memory; and Value, a plain copy of it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, TypeVar

from .. import _core
from .containers import DEEP, Shared, not_subscriptable, theirs, version_of

__all__ = ["Value", "ValueProxy"]

T = TypeVar("T")

_Table = _core.Table
_get_item, _set_item = _Table.__getitem__, _Table.__setitem__


class Value:
    """A plain object with a value: what a ValueProxy's `_getvalue()` gives, as multiprocessing's."""

    def __init__(self, typecode: Any, value: Any, lock: Any = True) -> None:
        self._typecode = typecode
        self._value = value

    def get(self) -> Any:
        """The value."""
        return self._value

    def set(self, value: Any) -> None:
        """Replaces the value."""
        self._value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._typecode!r}, {self._value!r})"

    value = property(get, set)


class _Absent:
    """A method of the table that underlies: not one of a value's."""

    def __get__(self, instance: Any, owner: Any = None) -> NoReturn:
        raise AttributeError("a Value has no such method")


class ValueProxy(Shared, _Table[str, T]):
    """One value of any kind in shared memory: `v.value`, also get() and set(); add() and others in one step.

    The type code is kept for show only, as with multiprocessing's manager. What is stored is a copy: see
    DictProxy, also for `deep`, `name` and `arena`. For numbers at the speed of memory see interproc.Value.
    """

    __slots__ = ()
    _flavour = 4
    _exposed_: ClassVar[tuple[str, ...]] = theirs.ValueProxy._exposed_  # for programs that extend it
    _itself = "Value(...)"

    def __init__(
        self,
        typecode: Any,
        value: T,
        lock: Any = True,
        *,
        name: str | None = None,
        arena: _core.Arena | None = None,
        deep: bool = False,
    ) -> None:
        super().__init__(self._flavour | (DEEP if deep else 0), name=name, arena=arena)
        with self.lock():
            if version_of(self) == 0:  # whoever comes first, also after a maker that died
                _Table.update_many(self, [("typecode", typecode), ("value", value)])

    def get(self) -> T:  # type: ignore[override]
        """The value."""
        return _get_item(self, "value")

    def set(self, value: T) -> None:
        """Replaces the value."""
        _set_item(self, "value", value)

    @property
    def value(self) -> T:
        """The value."""
        return _get_item(self, "value")

    @value.setter
    def value(self, value: T) -> None:
        _set_item(self, "value", value)

    @property
    def typecode(self) -> Any:
        """What it was made with."""
        return _get_item(self, "typecode")

    # ---- atomic changes

    def add(self, amount: Any) -> T:
        """value += amount in one step; returns the value from before, as interproc.Value's."""
        before: T

        def plus(value: T, amount: Any) -> Any:
            nonlocal before
            before = value
            return operator.add(value, amount)

        _Table.update_with(self, "value", plus, amount)
        return before

    def update_with(self, function: Callable[..., T], *args: Any) -> T:  # type: ignore[override]
        """value = function(value, *args) in one step; returns the new value.

        The function may be called again if another process was faster: it should do nothing but compute.
        """
        return _Table.update_with(self, "value", function, *args)

    def compare_exchange(self, expected: T, new: T) -> bool:  # type: ignore[override]
        """Replaces the value by `new` if it is `expected`, in one step; whether it did.

        Values are compared by their serialised form, so that 1 is not 1.0.
        """
        return _Table.compare_exchange(self, "value", expected, new)

    # ---- not a mapping

    clear = pop = popitem = setdefault = insert = discard = _Absent()
    keys_list = values_list = items_list = update_many = _Absent()
    __getitem__ = __setitem__ = __delitem__ = not_subscriptable
    __iter__ = __contains__ = __len__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return True

    # ---- as plain objects

    def _blank(self) -> Value:
        return Value(None, None)

    def _fill(self, plain: Value, convert: Callable[[Any], Any]) -> None:
        found: dict[str, Any] = dict(_Table.items_list(self))
        plain._typecode, plain._value = found["typecode"], convert(found["value"])

    def _peek(self, key: Any) -> Any:
        raise TypeError(f"a ValueProxy has one value: watch() takes no key, not {key!r}")

    def __repr__(self) -> str:
        return Shared.__str__(self)
