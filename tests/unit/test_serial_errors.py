"""Bad items and bad messages give an error that names the culprit or the damage, and never a crash."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import pickle
import struct
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interproc import _core
from interproc.errors import ArenaCorrupted, InterprocError, PicklingError, UnpicklingError

PICKLE, BUFFERS, BYTES = 2, 3, 4
BIG = 1 << 16  # bytes; well above the size from which buffers go out of band


def trip(item: object) -> Any:
    kind, payload = _core.dumps(item)
    return _core.loads(kind, payload)


class Tuple(tuple):  # type: ignore[type-arg]
    pass


class Point(NamedTuple):
    x: object
    y: object


@dataclasses.dataclass
class Node:
    name: str
    callback: Any = None


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left: object, right: object) -> None:
        self.left = left
        self.right = right


def generator() -> Iterator[int]:
    yield 1


# ------------------------------------------------------------------ what cannot be pickled

HOLDER = Slotted(1, [threading.Lock()])


def local_function() -> object:
    return lambda: None


@pytest.mark.parametrize(
    ("item", "culprit", "path"),
    [
        (generator(), "'generator' object", "item"),
        ({"jobs": [0, 1, 2, Node("a", generator())]}, "'generator' object", r"item['jobs'][3].callback"),
        ((1, 2, local_function()), "<lambda>", "item[2]"),
        ({"a": {1: {2: threading.Lock()}}}, "lock' object", "item['a'][1][2]"),
        ({(1, local_function()): 2}, "<lambda>", "list(item)[0][1]"),
        ({generator()}, "'generator' object", "list(item)[0]"),
        (Point(1, generator()), "'generator' object", "item.y"),
        (Tuple((1, generator())), "'generator' object", "item[1]"),
        (Slotted([], [generator()]), "'generator' object", "item.right[0]"),
        (functools.partial(max, [generator()]), "'generator' object", "item.args[0][0]"),
        (collections.deque([1, generator()]), "'generator' object", "item[1]"),
        (collections.OrderedDict(a=generator()), "'generator' object", "item['a']"),
        (collections.defaultdict(local_function()), "<lambda>", ""),
        (ValueError("x", generator()), "'generator' object", "item.args[1]"),
        ([Node("a", {"k": HOLDER})], "lock' object", "item[0].callback['k'].right[0]"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else None,
)
def test_the_error_names_the_path_to_the_culprit(item: object, culprit: str, path: str) -> None:
    with pytest.raises(PicklingError) as caught:
        _core.dumps(item)
    text = str(caught.value)
    assert culprit in text
    places = {"item": f"{culprit}: ", "": " at item"}  # itself; somewhere in it
    assert places.get(path, f" at {path}: ") in text
    assert "nothing was sent" in text
    assert isinstance(caught.value.__cause__, Exception)


@pytest.mark.parametrize(
    "caught", [PicklingError, InterprocError, pickle.PicklingError, TypeError, AttributeError]
)
def test_the_error_is_what_handlers_of_pickle_expect(caught: type[Exception]) -> None:
    with pytest.raises(caught):
        _core.dumps([generator()])


def test_cycles_and_depth() -> None:
    cycle: list[Any] = [1]
    cycle.append({"again": cycle, "bad": generator()})
    with pytest.raises(PicklingError, match=r"at item\[1\]\['bad'\]:"):
        _core.dumps(cycle)
    deep: list[Any] = [generator()]
    for _ in range(200):
        deep = [deep]
    with pytest.raises(PicklingError, match=r"within item\[0\]"):
        _core.dumps(deep)
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        _core.dumps(deep)
    while deep and isinstance(deep[0], list):  # taken apart by hand: its destruction is as deep
        deep = deep[0]


class Hostile:
    """Raises wherever it is touched."""

    def __init__(self, error: BaseException) -> None:
        object.__setattr__(self, "error", error)

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return Hostile
        raise object.__getattribute__(self, "error")

    def __repr__(self) -> str:
        raise object.__getattribute__(self, "error")

    def __eq__(self, other: object) -> bool:
        raise object.__getattribute__(self, "error")

    __hash__ = object.__hash__


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [RuntimeError("no"), Mute(), KeyError("x"), EOFError()])
def test_hostile_objects_give_the_error_too(error: Exception) -> None:
    for item in ([1, Hostile(error)], {Hostile(error): 1}, {Hostile(error): generator()}):
        with pytest.raises(PicklingError) as caught:
            _core.dumps(item)
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), MemoryError(), RecursionError()])
def test_what_is_not_about_the_item_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        _core.dumps([Hostile(error)])
    assert caught.value is error


def test_it_works_again_after_an_error() -> None:
    for _ in range(3):
        with pytest.raises(PicklingError):
            _core.dumps({"a": [1, generator()]})
        assert trip({"a": [1]}) == {"a": [1]}


@pytest.mark.timeout(20)
def test_the_search_is_bounded() -> None:
    class Endless:
        def __reduce__(self) -> tuple[Any, ...]:
            return Endless, (Endless(),)

    with pytest.raises((PicklingError, RecursionError)):
        _core.dumps(Endless())
    many = [Node("x", [i]) for i in range(100_000)] + [generator()]
    with pytest.raises(PicklingError, match="generator"):
        _core.dumps(many)


# ------------------------------------------------------------------ damaged messages


class Explosive:
    def __reduce__(self) -> tuple[Any, ...]:
        return explode, (bytearray(10),)


def explode(data: bytearray) -> None:
    raise ValueError("boom")


@pytest.mark.parametrize("large", [False, True])
def test_an_unpickling_error_carries_the_message(large: bool) -> None:
    item = [Explosive(), memoryview(bytearray(BIG))] if large else [Explosive()]
    kind, payload = _core.dumps(item)
    assert kind == (BUFFERS if large else PICKLE)
    with pytest.raises(UnpicklingError, match="ValueError: boom") as caught:
        _core.loads(kind, payload)
    assert isinstance(caught.value, pickle.UnpicklingError)
    assert isinstance(caught.value.__cause__, ValueError)
    assert (payload in caught.value.data) if large else (caught.value.data == payload)
    with pytest.raises(UnpicklingError if large else ValueError, match="boom"):
        pickle.loads(caught.value.data)
    works = globals()["explode"]
    globals()["explode"] = lambda data: len(data)
    try:
        assert pickle.loads(caught.value.data)[0] == 10
    finally:
        globals()["explode"] = works
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.data == caught.value.data


SHORT_ITEMS = [
    None, 1, 10**6, -(10**30), 2.5, "hello", "é" * 300, "€uro", "😀 a", b"", (), (1, "hello", None),
    (True, 2**64, -1.5, "", "ascii", "ü" * 260, "€", "😀", b"bytes", b"x" * 260), (None,) * 260,
]  # fmt: skip


@pytest.mark.parametrize("item", SHORT_ITEMS, ids=lambda item: ascii(item)[:20])
def test_a_short_message_cut_or_lengthened_is_told(item: object) -> None:
    kind, payload = _core.dumps(item)
    if kind == BYTES:
        return
    for end in range(len(payload)):
        with pytest.raises(ArenaCorrupted):
            _core.loads(kind, payload[:end])
    with pytest.raises(ArenaCorrupted):
        _core.loads(kind, payload + b"\0")


@pytest.mark.parametrize("item", SHORT_ITEMS, ids=lambda item: ascii(item)[:20])
def test_a_flipped_byte_in_a_short_message_never_crashes(item: object) -> None:
    kind, payload = _core.dumps(item)
    for at in range(min(len(payload), 700)):
        for flip in (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF):
            damaged = bytearray(payload)
            damaged[at] ^= flip
            try:
                value = _core.loads(kind, damaged)
            except ArenaCorrupted:
                continue
            repr(value), hash(value)


@given(st.integers(0, 5), st.binary(max_size=200))
@settings(max_examples=500)
def test_garbage_never_crashes(kind: int, payload: bytes) -> None:
    if kind == PICKLE:
        return  # a pickle is a program: only the checksum protects it
    for data in (payload, bytes([payload[0] % 15 + 0x11]) + payload[1:] if payload else b""):
        with contextlib.suppress(ArenaCorrupted, UnpicklingError):
            repr(_core.loads(kind, data))


def test_characters_beyond_unicode_are_refused() -> None:
    kind, payload = _core.dumps("😀")
    for char in (0x110000, 0xFFFFFFFF):
        with pytest.raises(ArenaCorrupted):
            _core.loads(kind, payload[:-4] + struct.pack("=I", char))


def test_damaged_tables_of_buffers_are_told() -> None:
    kind, payload = _core.dumps(memoryview(bytearray(200)))
    assert kind == BUFFERS
    for end in range(len(payload)):
        with pytest.raises(ArenaCorrupted):
            _core.loads(kind, payload[:end])
    for at in range(24):
        for flip in range(1, 256):
            damaged = bytearray(payload)
            damaged[at] ^= flip
            with contextlib.suppress(ArenaCorrupted, UnpicklingError):
                _core.loads(kind, damaged)
    with pytest.raises(ArenaCorrupted):
        _core.loads(BUFFERS, struct.pack("=IIQ", 2**32 - 1, 0, 2**64 - 1) + bytes(100))
    with pytest.raises(ArenaCorrupted):
        _core.loads(BUFFERS, struct.pack("=IIQQQ", 2, 0, 0, 2**63 - 1, 2**63 - 1) + bytes(100))


@pytest.mark.parametrize("kind", [-1, 0, 5, 255])
def test_unknown_kinds_are_told(kind: int) -> None:
    with pytest.raises(ArenaCorrupted):
        _core.loads(kind, b"abc")
