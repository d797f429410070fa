"""DictProxy: a dict in shared memory."""

from __future__ import annotations

from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, Self, TypeVar

from .. import _core
from .containers import DEEP, Shared, share_values, theirs, version_of

__all__ = ["DictProxy"]

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
T = TypeVar("T")


class _Listed(list[T]):
    """What keys(), values() and items() give: the list of one moment, as with multiprocessing."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return list, (list(self),)

    @property
    def mapping(self) -> Mapping[Any, Any]:
        raise AttributeError("this is a list of what was in the dict: it has no mapping behind it")


class _SetLike(_Listed[T]):
    """Keys or items: a list that also has a view's set operations, and equals a set of the same."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (_SetLike, AbstractSet)):
            return len(self) == len(other) and all(item in other for item in self)
        return list.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __le__(self, other: Any) -> bool:
        return (
            set(self) <= set(other)
            if isinstance(other, (_SetLike, AbstractSet))
            else list.__le__(self, other)
        )

    def __lt__(self, other: Any) -> bool:
        return (
            set(self) < set(other) if isinstance(other, (_SetLike, AbstractSet)) else list.__lt__(self, other)
        )

    def __ge__(self, other: Any) -> bool:
        return (
            set(self) >= set(other)
            if isinstance(other, (_SetLike, AbstractSet))
            else list.__ge__(self, other)
        )

    def __gt__(self, other: Any) -> bool:
        return (
            set(self) > set(other) if isinstance(other, (_SetLike, AbstractSet)) else list.__gt__(self, other)
        )

    def __and__(self, other: Iterable[Any]) -> set[T]:
        return set(self).intersection(other)

    def __or__(self, other: Iterable[Any]) -> set[Any]:
        return set(self).union(other)

    def __sub__(self, other: Iterable[Any]) -> set[T]:
        return set(self).difference(other)

    def __xor__(self, other: Iterable[Any]) -> set[Any]:
        return set(self).symmetric_difference(other)

    def __rsub__(self, other: Iterable[Any]) -> set[Any]:
        return set(other).difference(self)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Whether none of them is in the other."""
        return set(self).isdisjoint(other)


class _Keys(_SetLike[K]):
    __slots__ = ()


class _Items(_SetLike[T]):
    __slots__ = ()


class _Values(_Listed[V]):
    __slots__ = ()


KeysView.register(_Keys)
ItemsView.register(_Items)
ValuesView.register(_Values)


class DictProxy(Shared, _core.Table[K, V], MutableMapping[K, V]):
    """A dict in shared memory, in order of insertion, with all that dict has.

    Each call is atomic. `update` and `|=` happen all or not at all. keys(), values(), items() and iteration
    give the contents of one moment, so that no other process's changes disturb a loop; `copy()` too, and
    `|` gives a plain dict. What is stored is a copy: `d["k"].append(1)` on a plain list changes that copy
    only; put a ListProxy there, or make the dict `deep`, in which plain dicts, lists and sets that are
    stored become live.

    Keys are None, bool, int, float, str, bytes, tuples and frozensets of these, compared as Python does (1,
    1.0 and True are one key, listed as it was last set), or anything else that hashes, compared by its
    pickle.

    `update_with(key, function, *args, default=...)` sets d[key] = function(d[key], *args) in one step; the
    function may be called again if another process was faster. `compare_exchange(key, expected, new)` sets
    d[key] if it is what was expected. See also lock(), watch(), version, and the manager's transaction().

    Args:
        initial: a mapping, or pairs.
        name: opens or makes the dict of that name ("config", or "arena/config"), which unrelated processes
            share; `initial` is what a new one has.
        arena: where it is made, if not in the default one.
        deep: nested plain dicts, lists and sets become live shared containers.
    """

    __slots__ = ()
    _flavour = 1
    _exposed_: ClassVar[tuple[str, ...]] = theirs.DictProxy._exposed_  # for programs that extend it
    _itself = "{...}"

    def __init__(
        self,
        initial: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        /,
        *,
        name: str | None = None,
        arena: _core.Arena | None = None,
        deep: bool = False,
        **more: V,
    ) -> None:
        super().__init__(self._flavour | (DEEP if deep else 0), name=name, arena=arena)
        pairs = _pairs(initial, more)
        if not pairs:
            return
        if name is not None:
            with self.lock():
                if version_of(self) == 0:  # whoever comes first, also after a maker that died
                    self._update(pairs)
            return
        if deep:
            pairs = self._live(pairs)
        for key, value in pairs:  # nobody else has it yet
            self[key] = value

    @classmethod
    def fromkeys(cls, keys: Iterable[K], value: Any = None, /, **options: Any) -> Self:
        """A new one with these keys and one value; `options` are the constructor's name, arena, deep."""
        return cls(dict.fromkeys(keys, value), **options)

    # ---- the whole

    def __iter__(self) -> Iterator[K]:
        return iter(self.keys_list())

    def __reversed__(self) -> Iterator[K]:
        return reversed(self.keys_list())

    def keys(self) -> _Keys[K]:  # type: ignore[override]
        """The keys of this moment: a list that also has a keys view's set operations."""
        return _Keys(self.keys_list())

    def values(self) -> _Values[V]:  # type: ignore[override]
        """The values of this moment, as a list."""
        return _Values(self.values_list())

    def items(self) -> _Items[tuple[K, V]]:  # type: ignore[override]
        """The (key, value) pairs of this moment: a list that also has an items view's set operations."""
        return _Items(self.items_list())

    def copy(self) -> dict[K, V]:
        """A plain dict of what is in it at this moment."""
        return dict(self.items_list())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DictProxy):
            return self._identity() == other._identity() or self.copy() == other.copy()
        if isinstance(other, Mapping):
            return self.copy() == (other if isinstance(other, dict) else dict(other))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal by contents, which change

    def __or__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        plain = _plain(other)
        mine: dict[Any, Any] = self.copy()
        return NotImplemented if plain is None else mine | plain

    def __ror__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        plain = _plain(other)
        mine: dict[Any, Any] = self.copy()
        return NotImplemented if plain is None else plain | mine

    def __ior__(  # type: ignore[misc]  # of more than `|` takes, as dict's
        self, other: Mapping[K, V] | Iterable[tuple[K, V]]
    ) -> Self:
        self._update(_pairs(other, {}))
        return self

    def update(self, other: Any = (), /, **more: V) -> None:
        """Stores what a mapping, or pairs, and the keywords have: all, or nothing on an error."""
        self._update(_pairs(other, more))

    def _update(self, pairs: list[tuple[K, V]]) -> None:
        self.update_many(self._live(pairs) if self.deep else pairs)

    def _live(self, pairs: list[tuple[K, V]]) -> list[tuple[K, V]]:
        values = share_values([value for _, value in pairs], self.arena)
        return [(key, value) for (key, _), value in zip(pairs, values, strict=True)]

    # ---- as plain objects

    def _blank(self) -> dict[K, V]:
        return {}

    def _fill(self, plain: dict[K, V], convert: Callable[[Any], Any]) -> None:
        for key, value in self.items_list():
            plain[key] = convert(value)

    def _peek(self, key: Any) -> Any:
        return self[key]


def _plain(other: object) -> dict[Any, Any] | None:
    if isinstance(other, DictProxy):
        return other.copy()
    return other if isinstance(other, dict) else None


def _pairs(other: Any, more: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """What dict(other, **more) would have; raises what that raises."""
    if isinstance(other, DictProxy):
        other = other.items_list()  # of one moment
    return list(dict(other, **more).items())
