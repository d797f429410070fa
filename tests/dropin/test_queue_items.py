"""What goes into a Queue comes out: types, sizes, structure."""

from __future__ import annotations

import os
import queue
from typing import Any

import pytest

from .support import SOON

BIG = 3 << 20  # bytes: more than any pipe or first segment holds

BIG = 3 << 20


class Point:
    """Something pickled by reference to this module."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)


OBJECTS = [
    None,
    True,
    False,
    0,
    -1,
    255,
    256,
    2**31 - 1,
    -(2**31),
    2**63 - 1,
    -(2**63),
    2**63,
    2**64,
    -(2**200),
    10**400,
    0.0,
    -0.0,
    1e308,
    5e-324,
    float("inf"),
    3 + 4j,
    "",
    "hello",
    "ß→\N{GRINNING FACE}",
    "nul\0inside",
    "\ud800",
    "x" * 100_000,
    b"",
    b"\0\xff" * 3,
    b"y" * 100_000,
    bytearray(b"mutable"),
    (),
    (1,),
    (1, "hello", None),
    ((1, (2, (3, b"4"))), "x"),
    tuple(range(300)),
    [],
    [42, None, "hello"],
    {"a": 1, 2: [3]},
    {1, 2, 3},
    frozenset("ab"),
    range(3),
    slice(1, 2, 3),
    Ellipsis,
    NotImplemented,
    int,
    queue.Queue,
    Point(1, 2),
    [Point(3, 4)] * 2,
    ValueError("an exception", 1),
]


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: repr(item)[:24])
def test_an_item_comes_out_as_it_went_in(mp: Any, item: Any) -> None:
    q = mp.Queue()
    q.put(item)
    got = q.get(timeout=SOON)
    assert type(got) is type(item)
    if isinstance(item, Exception):
        assert got.args == item.args
    elif isinstance(item, float):
        assert repr(got) == repr(item)  # tells -0.0 from 0.0
    else:
        assert got == item


def test_nan_survives(mp: Any) -> None:
    q = mp.Queue()
    q.put(float("nan"))
    got = q.get(timeout=SOON)
    assert got != got


def test_subclasses_of_plain_types_keep_their_class(mp: Any) -> None:
    q = mp.Queue()
    for item in (Flag(1), Text("t"), Blob(b"b"), Pair((1, 2)), Real(1.5)):
        q.put(item)
        got = q.get(timeout=SOON)
        assert type(got) is type(item) and got == item


class Flag(int):
    pass


class Text(str):
    pass


class Blob(bytes):
    pass


class Pair(tuple[int, int]):
    pass


class Real(float):
    pass


def test_shared_and_recursive_structure_survives(mp: Any) -> None:
    q = mp.Queue()
    inner: list[Any] = []
    knot: list[Any] = [inner, inner]
    knot.append(knot)
    q.put(knot)
    got = q.get(timeout=SOON)
    assert got[0] is got[1] and got[2] is got
    twice = (inner, inner)
    q.put(twice)
    got = q.get(timeout=SOON)
    assert got[0] is got[1]


def test_an_item_is_a_copy(mp: Any) -> None:
    q = mp.Queue()
    item = [1]
    q.put(item)
    got = q.get(timeout=SOON)
    assert got == item and got is not item


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 65535, 65536, 65537, BIG, 50_000_000])
def test_items_of_many_sizes(mp: Any, size: int) -> None:
    q = mp.Queue()
    item = os.urandom(min(size, 4096)) * (size // 4096 + 1)
    q.put(item)
    assert q.get(timeout=SOON) == item
