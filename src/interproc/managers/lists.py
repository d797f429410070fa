"""ListProxy: a list in shared memory."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, SupportsIndex, TypeVar, overload

from .. import _core
from .containers import DEEP, Shared, share_values, theirs, version_of

__all__ = ["ListProxy"]

T = TypeVar("T")
S = TypeVar("S")

_MOST = 2**63 - 1  # an index is a signed word


class ListProxy(Shared, _core.List[T], MutableSequence[T]):
    """A list in shared memory, with all that list has.

    Each call is atomic, and those that change several items (extend, slices, sort, `*=`...) happen all or
    not at all. `copy()`, slices, `+` and `*` give plain lists of one moment. Iteration goes by index, as a
    list's does: it
    sees what others append or remove meanwhile; loop over `l[:]` for the items of one moment. What is stored
    is a copy; see DictProxy, also for `deep`, `name` and `arena`.

    `update_with(index, function, *args)` sets l[index] = function(l[index], *args) in one step; the
    function may be called again if another process was faster. `compare_exchange(index, expected, new)`
    sets l[index] if it is what was expected. See also lock(), watch(), version, and the manager's
    transaction().
    """

    __slots__ = ()
    _inner = Shared._inner - {"insert"} | {"get", "set", "slice", "replace", "rearrange", "remove_at"}
    _flavour = 5
    _exposed_: ClassVar[tuple[str, ...]] = theirs.ListProxy._exposed_  # for programs that extend it
    _itself = "[...]"

    def __init__(
        self,
        initial: Iterable[T] = (),
        /,
        *,
        name: str | None = None,
        arena: _core.Arena | None = None,
        deep: bool = False,
    ) -> None:
        items = _items(initial)
        super().__init__(self._flavour | (DEEP if deep else 0), name=name, arena=arena)
        if not items:
            return
        if name is not None:
            with self.lock():
                if version_of(self) == 0:  # whoever comes first, also after a maker that died
                    self.extend(items)
            return
        for item in self._live(items):  # nobody else has it yet
            self.append(item)

    def _live(self, items: list[T]) -> list[T]:
        return share_values(items, self.arena) if self.deep else items

    # ---- items and slices

    # The core's __getitem__ and so on, for whatever is not an int, come to these.

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, where: SupportsIndex, /) -> T: ...
        @overload
        def __getitem__(self, where: slice, /) -> list[T]: ...
        def __getitem__(self, where: Any, /) -> Any: ...

        @overload
        def __setitem__(self, where: SupportsIndex, value: T, /) -> None: ...
        @overload
        def __setitem__(self, where: slice, value: Iterable[T], /) -> None: ...
        def __setitem__(self, where: Any, value: Any, /) -> None: ...

        def __delitem__(self, where: SupportsIndex | slice, /) -> None: ...

    def _getitem(self, where: Any) -> Any:
        if not isinstance(where, slice):
            return self.get(_index(where))
        start, stop, step = where.start, where.stop, where.step
        if (step is None or step == 1) and _forward(start) and _forward(stop):
            return self.slice(0 if start is None else start, _MOST if stop is None else stop)
        return self.items_list()[where]

    def _setitem(self, where: Any, value: Any) -> None:
        if not isinstance(where, slice):
            self.set(_index(where), value)
            return
        try:
            items = self._live(_items(value))
        except TypeError:
            raise TypeError("can only assign an iterable") from None
        with self.lock():
            start, stop, step = where.indices(len(self))
            if step == 1:
                self.replace(start, max(start, stop), items)
                return
            places = range(start, stop, step)
            if len(places) != len(items):
                raise ValueError(
                    f"attempt to assign sequence of size {len(items)} to extended slice of size {len(places)}"
                )
            if places:
                low, high = min(places), max(places) + 1
                span = self.slice(low, high)
                for place, item in zip(places, items, strict=True):
                    span[place - low] = item
                self.replace(low, high, span)

    def _delitem(self, where: Any) -> None:
        if not isinstance(where, slice):
            self.remove_at(_index(where))
            return
        with self.lock():
            n = len(self)
            gone = range(n)[where]
            if gone:
                self.rearrange([index for index in range(n) if index not in gone])

    def insert(self, index: SupportsIndex, value: T) -> None:
        """Inserts an item before the one at `index`; beyond an end, at that end."""
        super().insert(max(-_MOST, min(operator.index(index), _MOST)), value)

    def pop(self, index: SupportsIndex = -1) -> T:
        """Takes an item out. Raises IndexError if there is none."""
        try:
            return super().pop(_index(index))
        except IndexError as error:
            if not len(self):
                error.args = ("pop from empty list",)
            raise

    def remove(self, value: T) -> None:
        """Takes out the first item that equals `value`. Raises ValueError if there is none."""
        with self.lock():
            items = self.items_list()
            if value not in items:
                raise ValueError("list.remove(x): x not in list")
            self.remove_at(items.index(value))

    # ---- the whole

    def __iter__(self) -> Iterator[T]:
        get, index = self.get, 0
        while True:
            try:
                item = get(index)
            except IndexError:
                return
            yield item
            index += 1

    def __reversed__(self) -> Iterator[T]:
        return reversed(self.items_list())

    def __contains__(self, value: object) -> bool:
        return value in self.items_list()

    def index(self, value: Any, start: SupportsIndex = 0, stop: SupportsIndex = sys.maxsize) -> int:
        """The index of the first item that equals `value`, within start:stop. Raises ValueError."""
        return self.items_list().index(value, start, stop)

    def count(self, value: Any) -> int:
        """How many items equal `value`."""
        return self.items_list().count(value)

    def copy(self) -> list[T]:
        """A plain list of the items at this moment."""
        return self.items_list()

    def extend(self, items: Iterable[T]) -> None:
        """Appends all of them, or none on an error."""
        super().extend(self._live(_items(items)))

    def reverse(self) -> None:
        """Turns the order round."""
        with self.lock():
            n = len(self)
            if n > 1:
                self.rearrange(range(n - 1, -1, -1))

    def sort(self, *, key: Callable[[T], Any] | None = None, reverse: bool = False) -> None:
        """Sorts in place, stably, with the list locked; nothing has changed if `key` or `<` raises."""
        with self.lock():
            items: list[Any] = self.items_list()
            keys = items if key is None else [key(item) for item in items]
            order = sorted(range(len(keys)), key=keys.__getitem__, reverse=reverse)
            if any(index != place for place, index in enumerate(order)):
                self.rearrange(order)

    def __iadd__(self, items: Iterable[T]) -> Self:  # type: ignore[misc]  # of more than `+` takes
        self.extend(items)
        return self

    def __imul__(self, n: SupportsIndex) -> Self:
        times = operator.index(n)
        with self.lock():
            if times <= 0:
                self.clear()
            elif times > 1:
                super().extend(self.items_list() * (times - 1))
        return self

    def __add__(self, other: list[S] | ListProxy[S]) -> list[T | S]:
        plain = _plain(other)
        return NotImplemented if plain is None else [*self.items_list(), *plain]

    def __radd__(self, other: list[S]) -> list[T | S]:
        plain = _plain(other)
        return NotImplemented if plain is None else [*plain, *self.items_list()]

    def __mul__(self, n: SupportsIndex) -> list[T]:
        return self.items_list() * n

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ListProxy) and self._identity() == other._identity():
            return True
        plain = _plain(other)
        return NotImplemented if plain is None else self.items_list() == plain

    __hash__ = None  # type: ignore[assignment]  # equal by contents, which change

    def __lt__(self, other: list[Any] | ListProxy[Any]) -> bool:
        plain: Any = _plain(other)
        return NotImplemented if plain is None else self.items_list() < plain

    def __le__(self, other: list[Any] | ListProxy[Any]) -> bool:
        plain: Any = _plain(other)
        return NotImplemented if plain is None else self.items_list() <= plain

    def __gt__(self, other: list[Any] | ListProxy[Any]) -> bool:
        plain: Any = _plain(other)
        return NotImplemented if plain is None else self.items_list() > plain

    def __ge__(self, other: list[Any] | ListProxy[Any]) -> bool:
        plain: Any = _plain(other)
        return NotImplemented if plain is None else self.items_list() >= plain

    # ---- as plain objects

    def _blank(self) -> list[T]:
        return []

    def _fill(self, plain: list[T], convert: Callable[[Any], Any]) -> None:
        plain.extend(map(convert, self.items_list()))

    def _peek(self, key: Any) -> Any:
        return self[key]


def _index(where: Any) -> int:
    """An index as an int that the core takes; what is beyond is out of range whatever the length."""
    try:
        index = operator.index(where)
    except TypeError:
        raise TypeError(f"list indices must be integers or slices, not {type(where).__name__}") from None
    return max(-_MOST, min(index, _MOST))


def _forward(bound: Any) -> bool:
    """Whether a slice's bound means the same for each length."""
    return bound is None or (type(bound) is int and 0 <= bound <= _MOST)


def _items(items: Iterable[Any]) -> list[Any]:
    return items.items_list() if isinstance(items, ListProxy) else list(items)


def _plain(other: object) -> list[Any] | None:
    if isinstance(other, ListProxy):
        return other.items_list()
    return other if isinstance(other, list) else None
