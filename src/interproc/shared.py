"""Value, Array, RawValue, RawArray: ctypes objects in the arena, as in multiprocessing.sharedctypes."""

from __future__ import annotations

import copyreg
import ctypes
import sys
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import ForkingPickler
from typing import Any

from . import _core
from .errors import PicklingError
from .locks import RLock

__all__ = [
    "Array",
    "RawArray",
    "RawValue",
    "Synchronized",
    "SynchronizedArray",
    "SynchronizedBase",
    "SynchronizedString",
    "Value",
    "copy",
    "synchronized",
]

typecode_to_type: dict[Any, Any] = {
    "c": ctypes.c_char, "u": ctypes.c_wchar,
    "b": ctypes.c_byte, "B": ctypes.c_ubyte,
    "h": ctypes.c_short, "H": ctypes.c_ushort,
    "i": ctypes.c_int, "I": ctypes.c_uint,
    "l": ctypes.c_long, "L": ctypes.c_ulong,
    "q": ctypes.c_longlong, "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float, "d": ctypes.c_double,
}  # fmt: skip

# The types of plain numbers, which have fast ways of their own, and the struct code of each.
_number_codes: dict[Any, str] = {ctypes.c_bool: "?"}
for _code in "bBhHiIlLqQfd":
    _number_codes.setdefault(typecode_to_type[_code], _code)
_types_of_codes = {code: type_ for type_, code in _number_codes.items()}


# ---- ctypes objects in the arena ---------------------------------------------------------------------------


class _Keeper:
    """A raw ctypes object's hold on its memory (its `_wrapper`, as in multiprocessing.sharedctypes)."""

    __slots__ = ("memory",)

    def __init__(self, memory: _core.Memory) -> None:
        self.memory = memory

    def create_memoryview(self) -> memoryview:
        """For multiprocessing's own reducer, which replaces ours if it was registered later for a type."""
        return memoryview(self.memory).cast("B")

    def __reduce__(self) -> tuple[Any, ...]:
        # This is reached by a pickler that knows no reducers, and would make a private copy of the object.
        if get_spawning_popen() is None:
            raise PicklingError(
                "this pickler does not use copyreg.dispatch_table, so that a raw shared ctypes object would "
                "not be shared; use pickle, cloudpickle or ForkingPickler, or send a Value or an Array"
            )
        return _Keeper, (self.memory,)


class _Luggage:
    """A raw object's memory on its way through a pickle; or not, if the copy module uses the reducer.

    That one hands on the very object that the reducer made, while unpickling makes another.
    """

    __slots__ = ("memory", "unpacked")

    def __init__(self, memory: _core.Memory, unpacked: bool = True) -> None:
        self.memory, self.unpacked = memory, unpacked

    def __reduce__(self) -> tuple[Any, ...]:
        return _Luggage, (self.memory,)

    def __deepcopy__(self, memo: object) -> _Luggage:
        return self


def _of_memory(type_: Any, memory: _core.Memory) -> Any:
    """The ctypes object whose bytes are the memory's; it keeps the memory alive."""
    obj = type_.from_buffer(memory)
    obj._wrapper = _Keeper(memory)
    ForkingPickler.register(type_, _reduce_raw)
    copyreg.pickle(type_, _reduce_raw)
    return obj


def _memory_of(obj: Any) -> _core.Memory | None:
    """The memory that a ctypes object lies at the beginning of, if it is one of ours."""
    keeper = getattr(obj, "_wrapper", None)
    if isinstance(keeper, _Keeper) and keeper.memory.address == ctypes.addressof(obj):
        return keeper.memory
    return None


def _new(type_: Any, lock: bool, arena: _core.Arena | None = None) -> Any:
    return _of_memory(type_, _core.Memory(max(1, ctypes.sizeof(type_)), lock=lock, arena=arena))


def _new_value(typecode_or_type: Any, args: tuple[Any, ...], lock: bool) -> Any:
    obj = _new(typecode_to_type.get(typecode_or_type, typecode_or_type), lock)
    obj.__init__(*args)
    return obj


def _new_array(
    typecode_or_type: Any, size_or_initializer: Any, lock: bool, arena: _core.Arena | None = None
) -> Any:
    type_ = typecode_to_type.get(typecode_or_type, typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new(type_ * size_or_initializer, lock, arena)
    obj = _new(type_ * len(size_or_initializer), lock, arena)
    cells = _cells(obj)
    if cells is None or not _write(
        _core.View(obj, *_layout(type(obj))), cells, slice(None), size_or_initializer
    ):
        obj.__init__(*size_or_initializer)
    return obj


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """A ctypes object in shared memory without a lock: zeroed, then initialised with `args`.

    The type is a ctypes type or a letter for one. Raises what the type raises for its arguments, and
    ArenaFull.
    """
    return _new_value(typecode_or_type, args, lock=False)


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:
    """A ctypes array in shared memory without a lock, of a length (then zeroed) or of a sequence's items."""
    return _new_array(typecode_or_type, size_or_initializer, lock=False)


def copy(obj: Any) -> Any:
    """A copy, in shared memory of its own and without a lock, of a ctypes object."""
    new = _new(type(obj), lock=False)
    ctypes.memmove(ctypes.addressof(new), ctypes.addressof(obj), ctypes.sizeof(obj))
    return new


# ---- how an array type looks to a buffer's user ------------------------------------------------------------


def _layout(type_: Any) -> tuple[str, int, tuple[int, ...]]:
    """Format, bytes an item, and shape of an array type."""
    item, shape = type_, []
    while issubclass(item, ctypes.Array):
        shape.append(item._length_)
        item = item._type_
    # ctypes writes '<i' where the native 'i' is meant, which memoryview cannot read.
    format_ = _number_codes.get(item) or ("c" if item is ctypes.c_char else _format(item))
    return format_, ctypes.sizeof(item), tuple(shape)


def _format(type_: Any) -> str:
    """The buffer format of a type, with a structure's padding, which ctypes leaves out before Python 3.12."""
    if issubclass(type_, ctypes.Array):
        return f"({type_._length_}){_format(type_._type_)}"
    plain = memoryview(type_()).format or "B"
    if not issubclass(type_, ctypes.Structure) or any(
        len(field) > 2 for field in getattr(type_, "_fields_", ())
    ):
        return plain  # a number, a union, bit fields
    text, end = "", 0
    for base in reversed(type_.__mro__):
        for name, field in vars(base).get("_fields_", ()):
            offset = getattr(type_, name).offset
            text += "x" * (offset - end) + f"{_format(field)}:{name}:"
            end = offset + ctypes.sizeof(field)
    return "T{" + text + "x" * (ctypes.sizeof(type_) - end) + "}"


def _cells(obj: Any) -> memoryview | None:
    """The items of a flat array of plain numbers, with their native format; None for another object."""
    code = _number_codes.get(obj._type_)
    return memoryview(obj).cast("B").cast(code) if code is not None and len(obj) else None  # type: ignore[call-overload]


def _write(view: _core.View, cells: memoryview, where: slice, items: Any) -> bool:
    """Write plain numbers or another array's bytes at memory speed; False if ctypes has to (or to raise)."""
    start, stop, step = where.indices(len(cells))
    if step != 1:
        return False
    length = max(0, stop - start)
    if type(items) is list or type(items) is tuple:
        return len(items) == length and view._store(start, items)
    try:
        source = memoryview(items)
    except (TypeError, BufferError, ValueError):
        return False
    if source.ndim != 1 or len(source) != length or not length:
        return False
    if source.format != cells.format:
        native = (source.format or "B").lstrip("<=@")
        same = _types_of_codes.get(native) or typecode_to_type.get(native)
        if same is not _types_of_codes[cells.format] or not source.c_contiguous:
            return False
        source = source.cast("B").cast(cells.format)  # type: ignore[call-overload]
    cells[start:stop] = source
    return True


# ---- with a lock -------------------------------------------------------------------------------------------


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: object = None) -> Any:
    """A ctypes object in shared memory and a recursive lock around it.

    With `lock=False` the ctypes object itself; with a lock of one's own, that lock. A number has `add`,
    `exchange` and `compare_exchange` besides `value`. Raises AttributeError if the lock has no `acquire`.
    """
    if lock is True or lock is None:
        type_ = typecode_to_type.get(typecode_or_type, typecode_or_type)
        code = _number_codes.get(type_)
        if code is not None:
            return LockedNumber(code, type_(*args).value)  # ctypes converts, and raises as ctypes does
        return _with_own_lock(_new_value(type_, args, lock=True))
    if lock is False:
        return RawValue(typecode_or_type, *args)
    return synchronized(RawValue(typecode_or_type, *args), _checked(lock))


def Array(
    typecode_or_type: Any,
    size_or_initializer: Any,
    *,
    lock: Any = True,
    ctx: object = None,
    arena: _core.Arena | None = None,
) -> Any:
    """A ctypes array in shared memory and a recursive lock around it; `lock` as for Value.

    `memoryview(array)` and `numpy.asarray(array)` are the memory itself, which lives as long as they do. They
    do not lock.
    """
    if lock is True or lock is None:
        return _with_own_lock(_new_array(typecode_or_type, size_or_initializer, lock=True, arena=arena))
    raw = _new_array(typecode_or_type, size_or_initializer, lock=False, arena=arena)
    return raw if lock is False else synchronized(raw, _checked(lock))


def _checked(lock: Any) -> Any:
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return lock


def _with_own_lock(obj: Any) -> Any:
    return synchronized(obj, _memory_of(obj))


def synchronized(obj: Any, lock: Any = None, ctx: object = None) -> Any:
    """A wrapper that takes `lock` (a new RLock if None) around each access to a ctypes object."""
    assert not isinstance(obj, SynchronizedBase), "object already synchronized"
    if isinstance(obj, ctypes._SimpleCData):
        return Synchronized(obj, lock, ctx)
    if isinstance(obj, ctypes.Array):
        return (SynchronizedString if obj._type_ is ctypes.c_char else SynchronizedArray)(obj, lock, ctx)
    type_ = type(obj)
    wrapper = _structure_wrappers.get(type_)
    if wrapper is None:
        fields = {
            field[0]: _locked_property(field[0])
            for base in type_.__mro__
            for field in vars(base).get("_fields_", ())
        }
        wrapper = _structure_wrappers[type_] = type(
            "Synchronized" + type_.__name__, (SynchronizedBase,), fields
        )
    return wrapper(obj, lock, ctx)


_structure_wrappers: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _locked_property(name: str) -> Any:
    def get(self: Any) -> Any:
        self.acquire()
        try:
            return getattr(self._obj, name)
        finally:
            self.release()

    def put(self: Any, value: Any) -> None:
        self.acquire()
        try:
            setattr(self._obj, name, value)
        finally:
            self.release()

    return property(get, put)


class SynchronizedBase:
    """A ctypes object and the lock around it."""

    _obj: Any
    _lock: Any
    acquire: Callable[..., bool]
    release: Callable[[], None]

    def __init__(self, obj: Any, lock: Any = None, ctx: object = None) -> None:
        self._obj = obj
        self._lock = lock if lock is not None else RLock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *args: object) -> Any:
        return self._lock.__exit__(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        memory = _memory_of(self._obj)
        if memory is None:
            return synchronized, (self._obj, self._lock)
        return _rebuild, (*_describe(type(self._obj)), memory, None if self._lock is memory else self._lock)

    def get_obj(self) -> Any:
        """The ctypes object, on the same memory."""
        return self._obj

    def get_lock(self) -> Any:
        """The lock: `acquire`, `release`, and `with`."""
        return self._lock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self._obj}>"


class Synchronized(SynchronizedBase):
    """A simple ctypes object and the lock around it."""

    value = _locked_property("value")

    def add(self, amount: Any) -> Any:
        """Add to the number, in one step for all processes; returns what it was before."""
        with self:
            old = self._obj.value
            self._obj.value = old + amount
        return old

    def exchange(self, value: Any) -> Any:
        """Set the value; returns what it was before."""
        with self:
            old = self._obj.value
            self._obj.value = value
        return old

    def compare_exchange(self, expected: Any, value: Any) -> bool:
        """Set the value if it equals `expected`; whether it did."""
        with self:
            if self._obj.value != expected:
                return False
            self._obj.value = value
        return True


class LockedNumber(_core.Number, Synchronized):
    """A Value that is a number and is its own lock: `value` and the atomic changes are C."""

    __init__ = _core.Number.__init__
    __reduce__ = _core.Number.__reduce__
    _raw: Any = None  # a weak reference, since the ctypes object holds the memory, which is this

    @property
    def _obj(self) -> Any:
        raw = self._raw() if self._raw is not None else None
        if raw is None:
            raw = _of_memory(_types_of_codes[self.typecode], self)
            self._raw = weakref.ref(raw)
        return raw

    @property
    def _lock(self) -> Any:
        return self

    def __repr__(self) -> str:
        return f"<Synchronized wrapper for {self._obj}>"


class SynchronizedArray(_core.View, SynchronizedBase):
    """A ctypes array and the lock around it. As a buffer it has the items' native format and its shape."""

    def __init__(self, obj: Any, lock: Any = None, ctx: object = None) -> None:
        _core.View.__init__(self, obj, *_layout(type(obj)))
        SynchronizedBase.__init__(self, obj, lock, ctx)
        self._cells = _cells(obj)

    def __len__(self) -> int:
        return len(self._obj)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: Any) -> Any:
        self.acquire()
        try:
            if self._cells is not None and type(i) is slice:
                return self._cells[i].tolist()
            return self._obj[i]
        finally:
            self.release()

    def __setitem__(self, i: Any, value: Any) -> None:
        self.acquire()
        try:
            if self._cells is None or type(i) is not slice or not _write(self, self._cells, i, value):
                self._obj[i] = value
        finally:
            self.release()


class SynchronizedString(SynchronizedArray):
    """An array of c_char, which also has `value` (up to the first zero byte) and `raw`."""

    value = _locked_property("value")
    raw = _locked_property("raw")


# ---- pickling ----------------------------------------------------------------------------------------------


def _describe(type_: Any) -> tuple[Any, tuple[int, ...]]:
    """A type as one that has a name to pickle it by, and the lengths of the arrays of it, outermost first."""
    lengths = []
    while issubclass(type_, ctypes.Array):
        if getattr(sys.modules.get(type_.__module__), type_.__qualname__, None) is type_:
            break  # a named subclass
        lengths.append(type_._length_)
        type_ = type_._type_
    return type_, tuple(lengths)


def _rebuild_raw(type_: Any, lengths: tuple[int, ...], luggage: _Luggage) -> Any:
    for length in reversed(lengths):
        type_ = type_ * length
    if not luggage.unpacked:  # copy.copy and copy.deepcopy: a private copy, as of any ctypes object
        return type_.from_buffer_copy(luggage.memory)
    return _of_memory(type_, luggage.memory)


def _rebuild(type_: Any, lengths: tuple[int, ...], memory: _core.Memory, lock: Any) -> Any:
    return synchronized(_rebuild_raw(type_, lengths, _Luggage(memory)), memory if lock is None else lock)


def _reduce_raw(obj: Any) -> Any:
    """How ctypes objects of a type that was shared are pickled, be they shared (by us) or not."""
    memory = _memory_of(obj)
    if memory is not None:
        return _rebuild_raw, (*_describe(type(obj)), _Luggage(memory, unpacked=False))
    keeper = getattr(obj, "_wrapper", None)
    if keeper is not None and not isinstance(keeper, _Keeper):
        from multiprocessing.sharedctypes import reduce_ctype  # type: ignore[attr-defined]

        return reduce_ctype(obj)
    function, (type_, (attributes, data)) = obj.__reduce__()  # by value
    return function, (type_, ({k: v for k, v in attributes.items() if k != "_wrapper"}, data))
