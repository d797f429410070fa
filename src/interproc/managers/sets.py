"""SetProxy: a set in shared memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, MutableSet
from collections.abc import Set as AbstractSet
from typing import Any, Self, TypeVar

from .. import _core
from .containers import Shared, not_subscriptable, version_of

__all__ = ["SetProxy"]

T = TypeVar("T")
S = TypeVar("S")


class SetProxy(Shared, _core.Table[T, None], MutableSet[T]):  # type: ignore[misc]  # Table's pop, discard
    """A set in shared memory, with all that set has; it keeps the order of insertion.

    Each call is atomic, and those that change several elements (update, `&=`...) happen all or not at all.
    `add` says whether the element was new, `discard` whether it was there, so that processes can share out
    work by them. Iteration, copy() and the operators give (plain sets of) the elements of one moment. Which
    elements are equal is said for DictProxy's keys; so are `name` and `arena`. See also lock(), watch(),
    version and the manager's transaction().
    """

    __slots__ = ()
    _flavour = 2
    _itself = "{...}"

    def __init__(
        self, initial: Iterable[T] = (), /, *, name: str | None = None, arena: _core.Arena | None = None
    ) -> None:
        elements = list(initial)
        super().__init__(self._flavour, name=name, arena=arena)
        if not elements:
            return
        if name is not None:
            with self.lock():
                if version_of(self) == 0:  # whoever comes first, also after a maker that died
                    self.update(elements)
            return
        for element in elements:  # nobody else has it yet
            self.insert(element)

    # ---- one element

    def add(self, element: T) -> bool:  # type: ignore[override]
        """Adds an element; whether it was not there before."""
        return self.insert(element)

    def remove(self, element: T) -> None:
        """Removes an element. Raises KeyError if it is not there."""
        if not self.discard(element):
            raise KeyError(element)

    def pop(self) -> T:  # type: ignore[override]
        """Takes an element out, whichever. Raises KeyError if there is none."""
        try:
            return self.popitem()[0]
        except KeyError:
            raise KeyError("pop from an empty set") from None

    # ---- the whole

    def __iter__(self) -> Iterator[T]:
        return iter(self.keys_list())

    def copy(self) -> set[T]:
        """A plain set of the elements at this moment."""
        return set(self.keys_list())

    def union(self, *others: Iterable[S]) -> set[T | S]:
        """A plain set of what is in any."""
        return self.copy().union(*others)

    def intersection(self, *others: Iterable[Any]) -> set[T]:
        """A plain set of what is in all."""
        return self.copy().intersection(*others)

    def difference(self, *others: Iterable[Any]) -> set[T]:
        """A plain set of what is in this one alone."""
        return self.copy().difference(*others)

    def symmetric_difference(self, other: Iterable[S]) -> set[T | S]:
        """A plain set of what is in one of the two only."""
        return self.copy().symmetric_difference(other)

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Whether no element is in both."""
        return self.copy().isdisjoint(other)

    def issubset(self, other: Iterable[Any]) -> bool:
        """Whether all elements are in the other too."""
        return self.copy().issubset(other)

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Whether all of the other's elements are in this one."""
        return self.copy().issuperset(other)

    def __eq__(self, other: object) -> bool:
        return self.copy() == set(other) if isinstance(other, AbstractSet) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal by contents, which change

    def __le__(self, other: AbstractSet[Any]) -> bool:
        return self.copy() <= set(other) if isinstance(other, AbstractSet) else NotImplemented

    def __lt__(self, other: AbstractSet[Any]) -> bool:
        return self.copy() < set(other) if isinstance(other, AbstractSet) else NotImplemented

    def __ge__(self, other: AbstractSet[Any]) -> bool:
        return self.copy() >= set(other) if isinstance(other, AbstractSet) else NotImplemented

    def __gt__(self, other: AbstractSet[Any]) -> bool:
        return self.copy() > set(other) if isinstance(other, AbstractSet) else NotImplemented

    def __or__(self, other: AbstractSet[S]) -> set[T | S]:
        return self.copy() | set(other) if isinstance(other, AbstractSet) else NotImplemented

    def __and__(self, other: AbstractSet[Any]) -> set[T]:
        return self.copy() & set(other) if isinstance(other, AbstractSet) else NotImplemented

    def __sub__(self, other: AbstractSet[Any]) -> set[T]:
        return self.copy() - set(other) if isinstance(other, AbstractSet) else NotImplemented

    def __xor__(self, other: AbstractSet[S]) -> set[T | S]:
        return self.copy() ^ set(other) if isinstance(other, AbstractSet) else NotImplemented

    def __rsub__(self, other: AbstractSet[Any]) -> set[Any]:
        return set(other) - self.copy() if isinstance(other, AbstractSet) else NotImplemented

    __ror__, __rand__, __rxor__ = __or__, __and__, __xor__

    # ---- changes of several elements, all or nothing

    def update(self, *others: Iterable[T]) -> None:
        """Adds what is in the others."""
        wanted = {element: None for other in others for element in other}
        with self.lock():
            self.update_many([(element, None) for element in wanted if element not in self])

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Removes what is in any of the others."""
        unwanted = [element for other in others for element in other]
        self._all_or_nothing(lambda: self._change(gone=unwanted))

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Removes what is not in each of the others."""
        kept = [set(other) for other in others]
        self._all_or_nothing(lambda: self._change(gone=self.copy().difference(self.intersection(*kept))))

    def symmetric_difference_update(self, other: Iterable[T]) -> None:
        """Removes what is in the other too, and adds what is in the other only."""
        given = dict.fromkeys(other)

        def change() -> None:
            mine = self.copy()
            self._change(gone=[each for each in given if each in mine])
            self._change(new=[each for each in given if each not in mine])

        self._all_or_nothing(change)

    def __ior__(self, other: AbstractSet[T]) -> Self:  # type: ignore[override,misc]
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.update(other)
        return self

    def __iand__(self, other: AbstractSet[Any]) -> Self:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __isub__(self, other: AbstractSet[Any]) -> Self:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.difference_update(other)
        return self

    def __ixor__(self, other: AbstractSet[T]) -> Self:  # type: ignore[override,misc]
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    def _change(self, gone: Iterable[Any] = (), new: Iterable[T] = ()) -> None:
        for element in gone:
            self.discard(element)
        for element in new:
            self.insert(element)

    def _all_or_nothing(self, change: Callable[[], None]) -> None:
        transaction = _core.Transaction((self,))
        try:
            transaction.begin()
        except RuntimeError:  # it is in one of this thread's already, which undoes this too
            change()
            return
        try:
            change()
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()

    # ---- as plain objects

    __getitem__ = __setitem__ = __delitem__ = not_subscriptable

    def _blank(self) -> set[T]:
        return set()

    def _fill(self, plain: set[T], convert: Callable[[Any], Any]) -> None:
        plain.update(self.keys_list())

    def _peek(self, key: Hashable) -> Any:
        return key in self
