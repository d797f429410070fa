"""Messages: objects come back as from pickle; bad objects and bad bytes are told, never fatal."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import functools
import gc
import math
import os
import pickle
import random
import socket
import struct
import sys
import threading
import weakref
from collections.abc import Iterator
from multiprocessing import reduction
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interproc import _core
from interproc.errors import PicklingError

SHORT, PICKLE, BUFFERS, BYTES = 1, 2, 3, 4
BIG = 1 << 16  # bytes; well above the size from which buffers go out of band


def trip(item: object) -> Any:
    kind, payload = _core.dumps(item)
    return _core.loads(kind, payload)


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    pass


class Tuple(tuple):  # type: ignore[type-arg]
    pass


class Point(NamedTuple):
    x: object
    y: object


@dataclasses.dataclass
class Node:
    name: str
    callback: Any = None
    children: list[Any] = dataclasses.field(default_factory=list)


def generator() -> Iterator[int]:
    yield 1


# ------------------------------------------------------------------ round trips

EDGES = [
    None, True, False, 0, -1, 127, 128, -128, -129, 2**30, -(2**30), 2**31, 2**62, 2**63 - 1, -(2**63), 2**63,
    2**64, -(2**63) - 1, 255**200, -(2**2031), 0.0, -0.0, 5e-324, math.inf, "", "a", "é", "ÿ" * 300,
    "a" * 255, "a" * 256, "\ud800", "\udfff\ud800", "€", "😀", "a😀" * 5000, "\0", (), (None,) * 256,
    "x" * 100_000, tuple(range(70_000)),
]  # fmt: skip

any_text = st.text(st.characters(codec=None, categories=None)) | st.text(st.characters(categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats(allow_nan=False)
    | any_text
    | st.binary(max_size=300)
)
flat = st.lists(scalars, max_size=20).map(tuple)
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(any_text, inner, max_size=5)
        | st.frozensets(scalars, max_size=5)
        | st.builds(Node, name=any_text, callback=inner)
        | st.builds(Point, inner, inner)
        | st.sampled_from([Number.ONE, Text("a"), Tuple((1, 2)), True, 1, 1.0])
        | st.binary(max_size=300).map(bytearray)
    ),
    max_leaves=20,
)


def same(a: object, b: object) -> bool:
    """Equal, and of the same types all the way down (1, 1.0 and True are equal, but not the same)."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    return a == b


@given(scalars | flat)
def test_short_values_come_back_the_same(item: object) -> None:
    assert same(trip(item), item)


@given(nested)
def test_any_value_comes_back_as_from_pickle(item: object) -> None:
    assert same(trip(item), pickle.loads(pickle.dumps(item, 5)))


@pytest.mark.parametrize("item", EDGES, ids=lambda item: ascii(item)[:20])
def test_the_edges_of_the_short_form(item: object) -> None:
    kind, payload = _core.dumps(item)
    assert kind == SHORT
    assert same(_core.loads(kind, payload), item)


def test_nan_keeps_its_bits() -> None:
    item = struct.unpack("d", struct.pack("Q", 0x7FF8_0000_0000_BEEF))[0]
    assert struct.pack("d", trip(item)) == struct.pack("d", item)


@pytest.mark.parametrize(
    "item", [Number.ONE, Text("abc"), Tuple((1, 2)), Point(1, 2), (1, (2, 3)), (1, [2]), 2**4000]
)
def test_subclasses_and_nested_things_are_pickled(item: object) -> None:
    kind, payload = _core.dumps(item)
    assert kind == PICKLE
    assert same(pickle.loads(payload), item)
    assert same(_core.loads(kind, payload), item)


def test_pickle_keeps_identity_within_an_item_and_forgets_it_between_items() -> None:
    shared = ["x"]
    first, second = trip([shared, shared])
    assert first is second
    assert trip([shared]) == [["x"]]


def test_the_short_form_holds_no_reference() -> None:
    text = f"a text of its own {os.getpid()}"
    before = sys.getrefcount(text)
    for _ in range(10):
        trip((text, None, 1))
    assert sys.getrefcount(text) == before


# ------------------------------------------------------------------ large data


@pytest.mark.parametrize("size", [0, 1, BIG])
def test_bytes_are_their_own_payload(size: int) -> None:
    item = random.Random(1).randbytes(size)
    assert _core.dumps(item) == (BYTES, item)
    assert same(trip(item), item)
    view = _core.loads(BYTES, item, copy=False)
    assert isinstance(view, memoryview) and view.readonly and view == item


@pytest.mark.parametrize("size", [0, 1, 100, BIG])
def test_bytearray_stays_one(size: int) -> None:
    item = bytearray(random.Random(1).randbytes(size))
    kind, payload = _core.dumps(item)
    for copy in (True, False):
        back = _core.loads(kind, payload, copy=copy)
        assert same(back, item)
        back.append(1)


def test_bytearray_is_free_again_after_encoding() -> None:
    item = bytearray(BIG)
    for whole in (item, [item], {"a": item}):
        assert same(trip(whole), whole)
        item.append(1)


@pytest.mark.parametrize("size", [0, 5, BIG])
def test_memoryviews_stay_views(size: int) -> None:
    for source in (bytes(size), bytearray(size)):
        back = trip(memoryview(source))
        assert type(back) is memoryview and back == source
        assert back.readonly == isinstance(source, bytes)
    grid = memoryview(bytearray(range(24))).cast("B", (4, 6))
    nested = trip({"grid": grid, "every second": memoryview(b"abcdef")[::2]})
    assert nested["grid"] == grid and nested["grid"].shape == (4, 6)
    assert nested["every second"] == b"ace"
    doubles = memoryview(bytearray(BIG)).cast("d")
    back = trip(doubles)
    assert back == doubles and back.format == "d"


def test_memoryviews_of_odd_formats_are_refused() -> None:
    class Odd(ctypes.Structure):
        _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_double)]

    with pytest.raises(PicklingError, match=r"item\['view'\].*format"):
        _core.dumps({"view": memoryview((Odd * 3)())})
    released = memoryview(b"abc")
    released.release()
    with pytest.raises(PicklingError, match="released"):
        _core.dumps(released)


def test_large_parts_are_within_the_payload_once() -> None:
    large = random.Random(2).randbytes(BIG)
    for item in ((1, large, "x"), {"a": large}, [bytearray(large)], (large.decode("latin-1"), 1)):
        kind, payload = _core.dumps(item)
        assert len(payload) < BIG + 200 or isinstance(item[0], str)
        assert same(_core.loads(kind, payload), item)


def test_numpy_arrays_go_out_of_band() -> None:
    np = pytest.importorskip("numpy")
    a = np.arange(BIG // 8, dtype="i8")
    kind, payload = _core.dumps({"a": a, "f": np.asfortranarray(a.reshape(2, -1)), "small": np.arange(3)})
    assert kind == BUFFERS
    back = _core.loads(kind, payload)
    assert (
        (back["a"] == a).all()
        and (back["f"] == a.reshape(2, -1)).all()
        and (back["small"] == [0, 1, 2]).all()
    )
    back["a"][0] = back["f"][0, 0] = back["small"][0] = 7  # writable, and each a copy of its own
    assert a[0] == 0
    a.flags.writeable = False
    assert not trip(a).flags.writeable


def test_numpy_arrays_can_be_views_of_the_message() -> None:
    np = pytest.importorskip("numpy")
    kind, payload = _core.dumps(np.arange(BIG // 8))
    block = bytearray(payload)
    back = _core.loads(kind, block, copy=False)
    back[1] = 77
    assert _core.loads(kind, block)[1] == 77
    with pytest.raises(BufferError):
        block.clear()  # the view holds it


def test_odd_numpy_arrays() -> None:
    np = pytest.importorskip("numpy")
    objects = np.array([None, "a", {"b": 1}, [1]] * 5000, dtype=object)
    assert (trip(objects) == objects).all() and trip(objects).dtype == object
    strided = np.arange(BIG)[::3]
    assert (trip(strided) == strided).all()
    structured = np.zeros(5000, dtype=[("a", "i4"), ("b", "f8")])
    assert (trip(structured) == structured).all() and trip(structured).dtype == structured.dtype
    assert trip(np.empty((0, 3))).shape == (0, 3)
    assert trip([np.full(BIG, i, "u1") for i in range(40)])[39][5] == 39
    with pytest.raises(PicklingError, match="generator"):
        _core.dumps(np.array([generator()] * 3, dtype=object))


# ------------------------------------------------------------------ reducers


def test_registrations_with_forking_pickler_are_honoured_at_once() -> None:
    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    before = dict(reduction.ForkingPickler._extra_reducers)
    try:
        with pytest.raises(PicklingError):
            _core.dumps(Local(1))
        reduction.register(Local, lambda local: (int, (local.x,)))
        assert trip([Local(5)]) == [5]
        reduction.register(Local, lambda local: (str, (local.x,)))
        assert trip([Local(5)]) == ["5"]
    finally:
        reduction.ForkingPickler._extra_reducers.clear()
        reduction.ForkingPickler._extra_reducers.update(before)
    with pytest.raises(PicklingError):
        _core.dumps(Local(1))


def test_what_multiprocessing_can_send_can_be_sent() -> None:
    bound = trip(Node("a").__eq__)
    assert bound.__self__ == Node("a")
    assert trip(functools.partial(max, 1))(0) == 1
    with socket.socket() as sock:
        kind, payload = _core.dumps(sock)
        with _core.loads(kind, payload) as other:
            assert other.family == sock.family and other.fileno() != sock.fileno()


def test_an_item_may_make_messages_while_it_is_pickled() -> None:
    class Nesting:
        def __reduce__(self) -> tuple[Any, ...]:
            return list, (trip([trip({"a": [1]}), 2]),)

    assert trip([Nesting(), Nesting()]) == [[{"a": [1]}, 2]] * 2


def test_threads_do_not_mix_their_messages() -> None:
    wrong = []

    def work(number: int) -> None:
        for i in range(500):
            item = [number, i, {"x": [Node(str(number), i)] * 3}]
            if trip(item) != item:
                wrong.append(item)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_sent_is_kept_alive() -> None:
    node = Node("a", callback=[bytes(BIG)])
    gone = weakref.ref(node)
    _core.dumps([node])
    with pytest.raises(PicklingError):
        _core.dumps([node, generator()])
    del node
    gc.collect()
    assert gone() is None
