"""Value, Array, RawValue and RawArray as multiprocessing defines them, over every type of ctypes."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import pytest

from .support import NEVER, SOON, Crew

# typecode, its ctypes type, two values that it holds exactly
CODES = [
    ("b", ctypes.c_byte, -128, 127),
    ("B", ctypes.c_ubyte, 0, 255),
    ("h", ctypes.c_short, -(2**15), 2**15 - 1),
    ("H", ctypes.c_ushort, 0, 2**16 - 1),
    ("i", ctypes.c_int, -(2**31), 2**31 - 1),
    ("I", ctypes.c_uint, 0, 2**32 - 1),
    ("l", ctypes.c_long, -(2**63), 2**63 - 1),
    ("L", ctypes.c_ulong, 0, 2**64 - 1),
    ("q", ctypes.c_longlong, -(2**63), 2**63 - 1),
    ("Q", ctypes.c_ulonglong, 0, 2**64 - 1),
    ("f", ctypes.c_float, -0.5, 1024.0),
    ("d", ctypes.c_double, 3.1415927, -1e300),
    ("c", ctypes.c_char, b"a", b"\xff"),
    ("u", ctypes.c_wchar, "a", "\N{GRINNING FACE}"),
]
IDS = [code for code, *_ in CODES]


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_double), ("y", ctypes.c_double), ("tag", ctypes.c_int))


class Segment(ctypes.Structure):
    _fields_ = (("start", Point), ("end", Point), ("name", ctypes.c_char * 8))


class Either(ctypes.Union):
    _fields_ = (("number", ctypes.c_uint32), ("octets", ctypes.c_ubyte * 4))


# What children run.


def store_and_negate(number: Any, array: Any) -> None:
    number.value = 3.1415927
    for index in range(len(array)):
        array[index] = -array[index]


def count_up(value: Any, count: int) -> None:
    for _ in range(count):
        with value.get_lock():
            value.value += 1


def count_up_with(value: Any, lock: Any, count: int) -> None:
    for _ in range(count):
        with lock:
            value.value += 1


def touch_structures(segment: Any, points: Any, raw: Any, raw_array: Any, text: Any) -> None:
    segment.end.x = segment.start.x * 2
    segment.name = b"changed"
    for point in points:
        point.x, point.y = point.y, point.x
    raw.value += 1
    raw_array[:] = [item * 10 for item in raw_array]
    text.value = text.value.upper()


def hold_lock(value: Any, held: Any, release: Any) -> None:
    with value.get_lock():
        held.set()
        release.wait(SOON)


# Value.


@pytest.mark.parametrize("raw", [False, True], ids=["Value", "RawValue"])
@pytest.mark.parametrize(("code", "kind", "first", "second"), CODES, ids=IDS)
def test_value_of_each_type(mp: Any, code: str, kind: Any, first: Any, second: Any, raw: bool) -> None:
    make = mp.RawValue if raw else mp.Value
    for type_ in (code, kind):
        value = make(type_, first)
        assert value.value == first and type(value.value) is type(first)
        value.value = second
        assert value.value == second
        assert (
            not make(type_).value.strip("\0" if code == "u" else b"\0")
            if code in "cu"
            else make(type_).value == 0
        )


def test_value_refuses_what_its_type_cannot_hold(mp: Any) -> None:
    value = mp.Value("i", 7)
    for bad in ("text", None, 1.5, [1]):
        with pytest.raises(TypeError):
            value.value = bad
    assert value.value == 7
    with pytest.raises(TypeError):
        mp.Value("d", "text")
    with pytest.raises(TypeError):
        mp.Value("i", 1.5)


def test_integers_wrap_as_in_ctypes(mp: Any) -> None:
    for code, kind, bad in (
        ("i", ctypes.c_int, 2**31),
        ("B", ctypes.c_ubyte, -1),
        ("h", ctypes.c_short, 70_000),
    ):
        value = mp.Value(code, bad)
        assert value.value == kind(bad).value
        value.value = 0
        value.value = bad
        assert value.value == kind(bad).value


def test_float_rounds_as_in_ctypes(mp: Any) -> None:
    value = mp.Value("f", 0.1)
    assert value.value == ctypes.c_float(0.1).value
    value = mp.Value("d", 3)
    assert value.value == 3.0 and type(value.value) is float


def test_bool(mp: Any) -> None:
    value = mp.Value(ctypes.c_bool, False)
    assert value.value is False
    value.value = True
    assert value.value is True


def test_unknown_typecode(mp: Any) -> None:
    for call in (
        lambda: mp.Value("z", 1),
        lambda: mp.Value("", 1),
        lambda: mp.Array("zz", 1),
        lambda: mp.RawArray(None, 1),
        lambda: mp.RawValue(5),
    ):
        with pytest.raises((TypeError, AttributeError, KeyError, ValueError)):
            call()


def test_value_face(mp: Any) -> None:
    value = mp.Value("i", 5)
    assert value.get_obj().value == 5
    assert isinstance(value.get_obj(), ctypes.c_int)
    value.get_obj().value = 6
    assert value.value == 6
    with value as _:
        value.value += 1
    with value.get_lock():
        value.value += 1
    assert value.acquire()
    value.value += 1  # the lock is recursive
    value.release()
    assert value.value == 9


def test_the_lock_is_a_lock(mp: Any) -> None:
    value = mp.Value("i")
    lock = value.get_lock()
    assert lock.acquire() and lock.acquire(False)
    taken: list[bool] = []
    for call in (
        lambda: lock.acquire(False),
        lambda: lock.acquire(True, NEVER),
        lambda: value.acquire(False),
    ):
        thread = threading.Thread(target=lambda call=call: taken.append(call()))
        thread.start()
        thread.join(SOON)
    assert taken == [False] * 3
    lock.release()
    lock.release()
    with pytest.raises((AssertionError, ValueError)):
        lock.release()


@pytest.mark.parametrize("maker", ["Value", "Array"])
def test_lock_argument(mp: Any, maker: str) -> None:
    make = getattr(mp, maker)
    for lock in (mp.Lock(), mp.RLock()):
        shared = make("i", 1, lock=lock)
        assert shared.get_lock() is lock
        lock.acquire()
        lock.release()
    assert hasattr(make("i", 1, lock=True), "get_lock")
    bare = make("i", 1, lock=False)
    assert not hasattr(bare, "get_lock") and not hasattr(bare, "get_obj")
    for bad in ("navalue", 5, object()):
        with pytest.raises(AttributeError):
            make("i", 1, lock=bad)
    with pytest.raises(TypeError):
        make("i", 1, mp.Lock())  # keyword only, or an initialiser that does not fit


def test_a_plain_lock_given_as_lock_guards_the_value(mp: Any, crew: Crew) -> None:
    lock = mp.Lock()
    value = mp.Value("i", 0, lock=lock)
    # A plain lock is not recursive, so `.value`, which takes it, must not be used under it.
    for _ in range(2):
        crew.start(count_up_with, value.get_obj(), lock, 500)
    crew.join()
    assert value.value == 1000


def test_raw_value_has_no_lock(mp: Any) -> None:
    value = mp.RawValue("i", 5)
    assert isinstance(value, ctypes.c_int)
    assert not hasattr(value, "get_lock")
    assert mp.RawValue("i").value == 0


def test_structures(mp: Any) -> None:
    point = mp.Value(Point, 1.5, 2.5)
    assert (point.x, point.y, point.tag) == (1.5, 2.5, 0)
    point.x = 4
    point.tag = -1
    assert (point.x, point.tag) == (4.0, -1)
    assert (point.get_obj().x, point.get_obj().tag) == (4.0, -1)
    raw = mp.RawValue(Point, 0, 7, 3)
    assert (raw.x, raw.y, raw.tag) == (0, 7, 3)
    with pytest.raises(TypeError):
        point.x = "text"
    with pytest.raises(AttributeError):
        _ = point.z


def test_nested_structures_and_unions(mp: Any) -> None:
    segment = mp.RawValue(Segment, Point(1, 2, 3), Point(4, 5, 6), b"name")
    assert (segment.start.y, segment.end.tag, segment.name) == (2, 6, b"name")
    segment.start.y = 9
    assert segment.start.y == 9
    either = mp.Value(Either)
    either.number = 0x01020304
    assert sorted(either.octets) == [1, 2, 3, 4]


# Array.


@pytest.mark.parametrize("raw", [False, True], ids=["Array", "RawArray"])
@pytest.mark.parametrize(("code", "kind", "first", "second"), CODES, ids=IDS)
def test_array_of_each_type(mp: Any, code: str, kind: Any, first: Any, second: Any, raw: bool) -> None:
    make = mp.RawArray if raw else mp.Array
    joined = {"c": b"", "u": ""}.get(code)
    for type_ in (code, kind):
        array = make(type_, [first, second, first])
        assert len(array) == 3
        assert list(array) == [first, second, first]
        array[0] = second
        assert array[0] == second and array[-1] == first
        assert array[:2] == ([second, second] if joined is None else joined.join([second, second]))
        zeros = make(type_, 4)
        assert len(zeros) == 4
        assert all(not item or item in (b"\0", "\0") for item in zeros)


@pytest.fixture(params=["Array", "RawArray"])
def ten(request: pytest.FixtureRequest, mp: Any) -> Any:
    """The numbers 0 to 9 as an Array of ints, with and without a lock."""
    return getattr(mp, request.param)("i", range(10))


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(2, 5),
        slice(5, 2),
        slice(-3, None),
        slice(None, -8),
        slice(100, 200),
        slice(None, None, 2),
        slice(None, None, -1),
        slice(8, 1, -3),
        slice(0, 0),
    ],
    ids=str,
)
def test_slices(ten: Any, key: slice) -> None:
    model = list(range(10))
    assert ten[key] == model[key]
    if key.step in (None, 1):
        new = [-(n + 1) for n in range(len(model[key]))]
        model[key] = new
        ten[key] = new
        assert list(ten) == model
        with pytest.raises(ValueError):  # an array keeps its length
            ten[key] = [*new, 0]


def test_slice_assignment_takes_any_sequence(ten: Any) -> None:
    ten[:3] = (7, 8, 9)
    ten[3:5] = range(2)
    assert ten[:5] == [7, 8, 9, 0, 1]
    ten[:] = list(range(10, 20))
    assert list(ten) == list(range(10, 20))


def test_slice_assignment_of_a_bad_item(ten: Any) -> None:
    with pytest.raises(TypeError):
        ten[2:4] = [1, "text"]
    assert ten[4:] == [4, 5, 6, 7, 8, 9]
    assert len(ten) == 10


def test_indices(ten: Any) -> None:
    assert (ten[0], ten[9], ten[-1], ten[-10]) == (0, 9, 9, 0)
    for bad in (10, -11, 1000):
        with pytest.raises(IndexError):
            _ = ten[bad]
        with pytest.raises(IndexError):
            ten[bad] = 1
    with pytest.raises(TypeError):
        _ = ten["0"]
    with pytest.raises(TypeError):
        ten[0] = "text"
    assert list(ten) == list(range(10))
    assert [number for number in ten] == list(range(10)) and 5 in list(ten)
    assert list(reversed(ten[:])) == list(range(9, -1, -1))


def test_sizes_and_initialisers(mp: Any) -> None:
    assert list(mp.Array("i", 0)) == [] and list(mp.Array("i", [])) == []
    assert list(mp.Array("d", [0.5, 1.0])) == [0.5, 1.0]
    assert list(mp.Array("i", (1, 2))) == [1, 2]
    assert list(mp.Array("i", range(3))) == [0, 1, 2]
    assert list(mp.Array(ctypes.c_bool, [True, False])) == [True, False]
    with pytest.raises(ValueError):
        mp.Array("i", -1)
    with pytest.raises(TypeError):
        mp.Array("i", 1.5)
    with pytest.raises(TypeError):
        mp.Array("i", ["text"])
    with pytest.raises(TypeError):
        mp.RawArray("i")


def test_new_memory_is_zeroed(mp: Any) -> None:
    """Also memory that another array has used before."""
    for _ in range(3):
        array = mp.RawArray("B", 10_000)
        assert bytes(array) == bytes(10_000)
        array[:] = b"\xff" * 10_000
        del array
        locked = mp.Array("q", 1000)
        assert locked[:] == [0] * 1000
        locked[:] = [-1] * 1000
        del locked


def test_char_arrays(mp: Any) -> None:
    text = mp.Array("c", 10)
    assert (text.value, text.raw) == (b"", bytes(10))
    text.value = b"hello"
    assert (text.value, text.raw, len(text)) == (b"hello", b"hello" + bytes(5), 10)
    text.raw = b"0123456789"
    assert text.value == b"0123456789"
    assert text[2] == b"2" and text[2:4] == b"23"
    text[0] = b"X"
    assert text.value == b"X123456789"
    text[1:3] = b"YZ"
    assert text.value == b"XYZ3456789"
    with pytest.raises(ValueError):
        text.value = b"far too long for it"
    with pytest.raises(TypeError):
        text.value = "str"
    assert mp.Array("c", b"given").value == b"given"
    raw = mp.RawArray("c", b"given")
    assert (raw.value, raw.raw) == (b"given", b"given")
    assert (bytes(raw[1:3]), raw[0]) == (b"iv", b"g")


def test_wide_char_arrays(mp: Any) -> None:
    text = mp.Array("u", "größe")
    assert "".join(text) == "größe"
    assert text[2:4] == "öß"
    raw = mp.RawArray("u", 10)
    raw.value = "größe"
    assert raw.value == "größe"


def test_array_face(mp: Any) -> None:
    array = mp.Array("i", [1, 2, 3])
    assert array.get_obj()[:] == [1, 2, 3]
    array.get_obj()[0] = 9
    assert array[0] == 9
    with array.get_lock():
        array[1] += 1
    with array:
        array[1] += 1
    assert array.acquire(True, SOON)
    array[1] += 1
    array.release()
    assert array[:] == [9, 5, 3]


def test_arrays_of_structures(mp: Any) -> None:
    points = mp.Array(Point, [(1, 2), (3, 4, 5)])
    assert [(p.x, p.y, p.tag) for p in points] == [(1, 2, 0), (3, 4, 5)]
    points[0].x = 7  # an element is a view
    assert points[0].x == 7
    points[1] = Point(8, 9, 10)
    assert (points[1].x, points[1].tag) == (8, 10)
    zeros = mp.RawArray(Point, 3)
    assert [(p.x, p.y, p.tag) for p in zeros] == [(0, 0, 0)] * 3


def test_buffer_of_a_raw_array(mp: Any) -> None:
    array = mp.RawArray("i", range(5))
    view = memoryview(array)
    assert (view.itemsize, view.nbytes, view.shape) == (4, 20, (5,))
    view.cast("B").cast("i")[2] = 99
    assert array[2] == 99
    array[3] = 77
    assert view.cast("B").cast("i").tolist() == [0, 1, 99, 77, 4]
    assert ctypes.sizeof(array) == 20


def test_buffer_of_an_array(mp: Any) -> None:
    array = mp.Array("d", [0.5, 1.5])
    view = memoryview(array.get_obj()).cast("B").cast("d")
    view[0] = 2.5
    assert array[:] == [2.5, 1.5]


def test_a_view_keeps_the_memory(mp: Any) -> None:
    view = memoryview(mp.RawArray("B", b"kept")).cast("B")
    others = [mp.RawArray("B", b"\xff" * 4) for _ in range(50)]
    assert bytes(view) == b"kept"
    del others


# Between processes.


def test_a_child_writes(ctx: Any, crew: Crew) -> None:
    number, array = ctx.Value("d", 0.0), ctx.Array("i", range(10))
    crew.start(store_and_negate, number, array)
    crew.join()
    assert number.value == 3.1415927
    assert array[:] == [-n for n in range(10)]


def test_locked_counting(ctx: Any, crew: Crew) -> None:
    value = ctx.Value("i", 0)
    for _ in range(3):
        crew.start(count_up, value, 500)
    count_up(value, 500)
    crew.join()
    assert value.value == 2000


def test_raw_value_with_a_lock_of_its_own(ctx: Any, crew: Crew) -> None:
    value, lock = ctx.RawValue("q", 0), ctx.Lock()
    for _ in range(2):
        crew.start(count_up_with, value, lock, 500)
    crew.join()
    assert value.value == 1000


def test_structures_in_a_child(ctx: Any, crew: Crew) -> None:
    segment = ctx.Value(Segment, Point(1, 2, 3))
    points = ctx.Array(Point, [(1, 2), (3, 4)])
    raw, raw_array, text = ctx.RawValue("i", 1), ctx.RawArray("q", [1, 2, 3]), ctx.Array("c", b"text")
    crew.start(touch_structures, segment, points, raw, raw_array, text)
    crew.join()
    assert (segment.end.x, segment.name) == (2, b"changed")
    assert [(p.x, p.y) for p in points] == [(2, 1), (4, 3)]
    assert raw.value == 2
    assert list(raw_array) == [10, 20, 30]
    assert text.value == b"TEXT"


def test_a_lock_held_in_a_child(ctx: Any, crew: Crew) -> None:
    value, held, release = ctx.Value("i", 1), ctx.Event(), ctx.Event()
    crew.start(hold_lock, value, held, release)
    assert held.wait(SOON)
    assert value.get_lock().acquire(False) is False
    assert value.acquire(True, NEVER) is False
    release.set()
    assert value.acquire(True, SOON)
    value.release()
    crew.join()
