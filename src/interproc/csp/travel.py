"""How a process's function and arguments come to where it runs: which ends are in them; pickling by value."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import pickle
import types
from collections import ChainMap, deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar

from .. import _core, culprit
from ..errors import PicklingError
from . import main_module

__all__ = ["ByValue", "copied", "dumps", "ends_in", "explain"]

ENDS = (_core.End, _core.Enrolment)
ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, range, slice, type})
ROWS = (list, tuple, set, frozenset, deque)
METHODS = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)
CLOSED = (type, types.ModuleType, types.FunctionType, _core.Handle, _core.Arena)
MOST_OBJECTS = 10_000  # that are looked into, in what one process is given


# ---- the ends in arguments ---------------------------------------------------------------------------------


def ends_in(items: Iterable[object]) -> list[Any]:
    """The ends of channels, and enrolments at barriers, in these and in what they are made of, in order.

    They are found in lists, tuples, dicts, sets and deques, in the attributes of other objects (but not of
    functions, classes and modules), and as what a method or a closure uses by itself, among the first
    MOST_OBJECTS objects. Each once.
    """
    found: dict[int, Any] = {}
    seen: set[int] = set()
    todo = [iter(items)]
    while todo:
        for item in todo[-1]:
            if type(item) in ATOMS:
                continue
            if isinstance(item, ENDS):
                found.setdefault(id(item), item)
            elif id(item) not in seen and len(seen) < MOST_OBJECTS:
                seen.add(id(item))
                parts = _parts(item)
                if parts is not None:
                    todo.append(parts)
                    break
        else:
            todo.pop()
    return list(found.values())


def _parts(item: object) -> Iterator[object] | None:
    """What an object is made of, if ends may be in it."""
    if isinstance(item, ROWS):
        return None if ATOMS.issuperset(map(type, item)) else iter(tuple(item))
    if isinstance(item, dict):
        return iter((*item.keys(), *item.values()))
    if isinstance(item, functools.partial):
        return iter((item.func, item.args, item.keywords))
    if isinstance(item, METHODS):
        return iter((item.__self__,))
    if isinstance(item, types.FunctionType):
        return iter(_around(item))
    if isinstance(item, CLOSED):
        return None
    parts: list[object] = []
    attributes = getattr(item, "__dict__", None)
    if type(attributes) is dict:
        parts += attributes.values()
    for cls in type(item).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            member = cls.__dict__.get(name)
            if isinstance(member, types.MemberDescriptorType) and isinstance(item, cls):
                with contextlib.suppress(AttributeError):
                    parts.append(member.__get__(item))
    return iter(parts) if parts else None


def ends_around(function: object) -> list[Any]:
    """The ends that a function refers to from around it. They are its maker's, too."""
    return ends_in(_cells(getattr(function, "__wrapped__", function)))


def _cells(function: object) -> list[object]:
    """What a function refers to from around it."""
    found = []
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # not set yet
            found.append(cell.cell_contents)
    return found


def _around(function: types.FunctionType) -> list[object]:
    """The ends among these, and methods of ends. In other objects there may be ends of its maker's."""
    return [
        item
        for item in _cells(function)
        if isinstance(item, ENDS) or (isinstance(item, METHODS) and isinstance(item.__self__, ENDS))
    ]


def copied(item: Any, copy: Callable[[Any], Any]) -> Any:
    """The same with copies of the ends in lists, tuples, dicts and sets. What has none is not copied."""
    kind = type(item)
    if kind in ATOMS:
        return item
    if isinstance(item, ENDS):
        return copy(item)
    if kind is dict:
        pairs = {copied(key, copy): copied(value, copy) for key, value in item.items()}
        changed = any(a is not b for a, b in zip(pairs.values(), item.values(), strict=True))
        changed = changed or any(a is not b for a, b in zip(pairs, item, strict=True))
        return pairs if changed else item
    if isinstance(item, tuple) or kind in ROWS:
        if ATOMS.issuperset(map(type, item)):
            return item
        new = [copied(part, copy) for part in item]
        if all(a is b for a, b in zip(new, item, strict=True)):
            return item
        if kind is deque:
            return deque(new, item.maxlen)
        return kind._make(new) if hasattr(kind, "_make") else kind(new)
    return item


# ---- pickling ----------------------------------------------------------------------------------------------


class _PicklerMaker:
    """Makes the pickler when it is first needed: cloudpickle takes its time to be imported."""

    pickler: Any = None

    @classmethod
    def get(cls) -> Any:
        if cls.pickler is None:
            import cloudpickle

            class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
                """By name what can be imported where it arrives, and by value what cannot."""

                dispatch_table: ClassVar[Any] = ChainMap(
                    ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
                    cloudpickle.Pickler.dispatch_table,
                )

                def reducer_override(self, obj: Any) -> Any:
                    if in_main(obj):
                        return NotImplemented  # by name
                    if (reduce := getattr(type(obj), "_reduce_in_place", None)) is not None:
                        return reduce(obj)
                    return super().reducer_override(obj)

            cls.pickler = Pickler
        return cls.pickler


def in_main(obj: object) -> bool:
    """Whether it is a function or class of the main module, where a child that is started afresh finds it."""
    if getattr(obj, "__module__", None) != "__main__" or not isinstance(obj, (type, types.FunctionType)):
        return False
    return main_module.has(obj, obj.__qualname__)


def dumps(item: object) -> bytes:
    """Pickled for pickle.loads in another process, functions without a name included."""
    with io.BytesIO() as file:
        _PicklerMaker.get()(file, 5).dump(item)
        return file.getvalue()


def explain(item: object, error: Exception) -> PicklingError:
    """Which part of it could not be pickled."""
    text = culprit.explain(item, error, dumps, _PicklerMaker.get().dispatch_table)
    return PicklingError(text)


@dataclasses.dataclass
class ByValue:
    """Something that travels with the functions and classes that the receiver cannot import."""

    item: object

    def __reduce__(self) -> Any:
        return pickle.loads, (dumps(self.item),)
