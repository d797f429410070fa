"""NamespaceProxy: attributes in shared memory; and Namespace, a plain copy of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NoReturn

from .. import _core
from .containers import DEEP, Shared, not_subscriptable, share_values, theirs, version_of

__all__ = ["Namespace", "NamespaceProxy"]

_MISSING: Any = object()
_LISTED = 12  # attributes that a message names at most

_Table = _core.Table
_set = _Table.__setitem__


class Namespace:
    """A plain object with attributes: what a NamespaceProxy's `_getvalue()` gives, as multiprocessing's."""

    def __init__(self, /, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __repr__(self) -> str:
        shown = sorted(f"{name}={value!r}" for name, value in self.__dict__.items() if name[:1] != "_")
        return f"{type(self).__name__}({', '.join(shown)})"


class NamespaceProxy(Shared, _core.Attributes):
    """An object in shared memory whose attributes all processes see: `ns.x = 1`, `ns.x`, `del ns.x`.

    Reading and setting are atomic, each for itself; in `ns.x += 1` another process may come in between, while
    `ns.add("x", 1)` is one. What is stored is a copy: see DictProxy, also for `deep`, `name` and `arena`.
    Names that begin with "_" are this proxy's own and not shared, as with multiprocessing.

    All other names are yours. Those of the methods (add, close, closed, compare_exchange, lock, update_with,
    version, watch) mean the methods until you set such an attribute; `NamespaceProxy.add(ns, "x", 1)` always
    does.
    """

    _flavour = 3
    _exposed_: ClassVar[tuple[str, ...]] = theirs.NamespaceProxy._exposed_  # for programs that extend it
    _itself = "Namespace(...)"
    _methods = frozenset(
        ("add", "close", "closed", "compare_exchange", "lock", "update_with", "version", "watch")
    )

    def __init__(
        self,
        initial: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        /,
        *,
        name: str | None = None,
        arena: _core.Arena | None = None,
        deep: bool = False,
        **more: Any,
    ) -> None:
        _Table.__init__(self, self._flavour | (DEEP if deep else 0), name=name, arena=arena)
        given = dict(initial, **more)
        if not given:
            return
        if deep:
            made_in = _core.Handle.arena.__get__(self)
            given = dict(zip(given, share_values(list(given.values()), made_in), strict=True))
        if name is None:
            for key, value in given.items():  # nobody else has it yet
                _set(self, key, value)
            return
        with Shared.lock(self):
            if version_of(self) == 0:  # whoever comes first, also after a maker that died
                _Table.update_many(self, given.items())

    # ---- attributes

    def __dir__(self) -> list[str]:
        own = [name for name in object.__dir__(self) if name[:1] == "_"]
        return sorted({*own, *self._methods, *_Table.keys_list(self)})

    def _no_attribute(self, name: str) -> Any:
        """What there is instead of an attribute that nobody has set: perhaps a method."""
        if name in NamespaceProxy._methods:
            return object.__getattribute__(self, name)
        self._missing(name)

    def _missing(self, name: str) -> NoReturn:
        names = sorted(str(each) for each in _Table.keys_list(self) if str(each)[:1] != "_")
        shown = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if names[_LISTED:] else "")
        # No `obj`: a traceback's suggestions would read the namespace again, and wait for its lock.
        text = f"'Namespace' object has no attribute {name!r}; it has {shown or 'none'}"
        raise AttributeError(text, name=name)

    # ---- atomic changes

    def add(self, name: str, amount: Any) -> Any:
        """ns.name += amount in one step; returns the value from before, as Value.add() does.

        Raises AttributeError.
        """
        before: Any = None

        def plus(value: Any, amount: Any) -> Any:
            nonlocal before
            before = value
            return operator.add(value, amount)

        try:
            _Table.update_with(self, name, plus, amount)
            return before
        except KeyError:
            if _Table.__contains__(self, name):
                raise  # the addition's own
        self._missing(name)

    def update_with(
        self, name: str, function: Callable[..., Any], *args: Any, default: Any = _MISSING
    ) -> Any:
        """ns.name = function(ns.name, *args) in one step; returns the new value.

        The function may be called again if another process was faster: it should do nothing but compute.
        Raises AttributeError if there is no such name and no default.
        """
        if default is not _MISSING:
            return _Table.update_with(self, name, function, *args, default=default)

        def checked(value: Any, *args: Any) -> Any:
            if value is _MISSING:
                self._missing(name)
            return function(value, *args)

        return _Table.update_with(self, name, checked, *args, default=_MISSING)

    def compare_exchange(self, name: str, expected: Any, new: Any) -> bool:
        """Sets the attribute to `new` if it is `expected`, in one step; whether it did.

        Values are compared by their serialised form, so that 1 is not 1.0. Raises AttributeError.
        """
        try:
            return _Table.compare_exchange(self, name, expected, new)
        except KeyError:
            pass
        self._missing(name)

    # ---- not a mapping

    __getitem__ = __setitem__ = __delitem__ = not_subscriptable
    __iter__ = __contains__ = __len__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return True

    # ---- as plain objects

    def _blank(self) -> Namespace:
        return Namespace()

    def _fill(self, plain: Namespace, convert: Callable[[Any], Any]) -> None:
        for name, value in _Table.items_list(self):
            plain.__dict__[name] = convert(value)

    def _peek(self, key: Any) -> Any:
        return _Table.__getitem__(self, key)

    def _callmethod(
        self, methodname: str, args: tuple[Any, ...] = (), kwds: dict[str, Any] | None = None
    ) -> Any:
        """Calls a method by its name, as on a plain Namespace."""
        if methodname == "__getattribute__":
            return getattr(self, *args)
        return Shared._callmethod(self, methodname, args, kwds)

    def __repr__(self) -> str:
        return Shared.__str__(self)
