"""share(): nested plain containers into live ones in shared memory, all the way down; and back, unshare()."""

from __future__ import annotations

import contextlib
from typing import Any

from .. import _core
from .containers import Shared
from .dicts import DictProxy
from .lists import ListProxy
from .sets import SetProxy

__all__ = ["share", "unshare"]

_Live = DictProxy[Any, Any] | ListProxy[Any] | SetProxy[Any]


def share(obj: Any, arena: _core.Arena | None = None) -> Any:
    """A live shared container of what a plain dict, list or set has, all the way down.

    `tree = share({"a": {"b": []}}); tree["a"]["b"].append(1)` is seen by all processes: reading a nested
    container gives a live proxy. What is stored later becomes live as well. An object that is in it at
    several places, or in itself, is one shared container at all of them.

    Exactly dict, list and set become live. Tuples stay as they are, with what is in them: they are values,
    and are copied; so are subclasses (defaultdict...) and all else. A container that is in itself stays in
    the arena until it is emptied: clear() it. A proxy is returned as it is.

    Args:
        arena: where the containers are made, if not in the default one.

    Raises:
        TypeError: it is not a dict, list or set.
        PicklingError: something in it cannot be pickled; nothing is left behind.
        ArenaFull: likewise.
    """
    if isinstance(obj, Shared):
        return obj
    if type(obj) not in (dict, list, set):
        raise TypeError(f"share() takes a dict, a list or a set (exactly), not {type(obj).__name__}")
    return live_values([obj], _core.Arena.default() if arena is None else arena)[0]


def live_values(values: list[Any], arena: _core.Arena) -> list[Any]:
    """The values, plain dicts, lists and sets among them replaced by live ones."""
    made: dict[int, _Live] = {}  # id of the plain one -> live
    todo: list[tuple[Any, _Live]] = []  # keeps the plain ones, and so their ids

    def live(value: Any) -> Any:
        kind = type(value)
        if kind is not dict and kind is not list and kind is not set:
            return value
        known = made.get(id(value))
        if known is None:
            known = made[id(value)] = (
                DictProxy(arena=arena, deep=True)
                if kind is dict
                else ListProxy(arena=arena, deep=True)
                if kind is list
                else SetProxy(arena=arena)
            )
            todo.append((value, known))
        return known

    try:
        result = [live(value) for value in values]
        for plain, shared in todo:  # which grows meanwhile: no recursion, however deep they are nested
            if isinstance(shared, DictProxy):
                for key, value in plain.items():
                    shared[key] = live(value)
            elif isinstance(shared, ListProxy):
                for value in plain:
                    shared.append(live(value))
            else:
                for element in plain:
                    shared.insert(element)
    except BaseException:
        for _, unfinished in todo:  # those that are in themselves would stay for ever
            with contextlib.suppress(Exception):
                unfinished.clear()
        raise
    return result


def unshare(obj: Any) -> Any:
    """A plain copy of a shared container, and of those in it, all the way down; what is in itself stays so.

    Each container is read at one moment, all of them one after the other: for a copy of one moment of
    several, do it in a transaction of them. Of a plain list, dict or tuple a copy with copies of the
    containers in it; anything else is returned as it is.
    """
    made: dict[object, Any] = {}  # of a live one by its identity, of a plain one by its id -> the copy
    todo: list[tuple[Shared, Any]] = []
    kept: list[Any] = []  # plain ones, and so their ids

    def plain(value: Any) -> Any:
        kind = type(value)
        live = isinstance(value, Shared)
        if not live and kind is not dict and kind is not list and kind is not tuple:
            return value
        identity = value._identity() if live else id(value)
        if identity in made:
            return made[identity]
        if live:
            made[identity] = value._blank()
            todo.append((value, made[identity]))
            return made[identity]
        kept.append(value)
        if kind is tuple:
            made[identity] = value  # if it is within itself, through a list
            made[identity] = tuple(map(plain, value))
        elif kind is list:
            items: list[Any] = []
            made[identity] = items
            items.extend(map(plain, value))
        else:
            found: dict[Any, Any] = {}
            made[identity] = found
            found.update((key, plain(part)) for key, part in value.items())
        return made[identity]

    result = plain(obj)
    for shared, copy in todo:  # which grows meanwhile: no recursion, however deep they are nested
        shared._fill(copy, plain)
    return result
