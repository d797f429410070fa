"""shared.py beyond multiprocessing: atomic changes, buffers, fast slices, pickling at any time."""

from __future__ import annotations

import array
import copy
import ctypes
import gc
import io
import multiprocessing
import pickle
import weakref
from collections.abc import Iterator
from multiprocessing import sharedctypes as theirs
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import pytest
from dropin.support import METHODS, SOON, Crew
from hypothesis import given, settings
from hypothesis import strategies as st

import interproc
from interproc import locks, shared
from interproc.errors import PicklingError

INTEGERS = "bBhHiIlLqQ"
NUMBERS = INTEGERS + "fd"


class Point(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_char),
        ("x", ctypes.c_int),
        ("y", ctypes.c_double),
        ("tail", ctypes.c_short * 3),
    ]


class Tagged(Point):
    _fields_ = [("tag", ctypes.c_byte)]


class Row(ctypes.c_int * 3):  # type: ignore[misc]
    """An array type with a name."""


@pytest.fixture(params=METHODS)
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    """Children of each start method."""
    crew = Crew(interproc.get_context(request.param))
    yield crew
    crew.end()


def values(code: str) -> list[Any]:
    """A Value with its own lock, and one with a lock from outside, which take different ways."""
    return [
        shared.Value(code, 1),
        shared.Value(code, 1, lock=locks.RLock()),
        shared.Value(code, 1, lock=locks.Lock()),
    ]


# Atomic changes.


@pytest.mark.parametrize("code", NUMBERS)
def test_add_exchange_compare_exchange(code: str) -> None:
    for v in values(code):
        assert v.add(4) == 1
        assert v.value == 5
        assert v.exchange(7) == 5
        assert v.value == 7
        assert not v.compare_exchange(5, 9)
        assert v.value == 7
        assert v.compare_exchange(7, 9)
        assert v.value == 9


@pytest.mark.parametrize("code", INTEGERS)
def test_add_wraps_around_as_the_type_does(code: str) -> None:
    type_ = shared.typecode_to_type[code]
    for v in values(code):
        v.value = -1
        before = type_(-1).value
        assert v.add(2) == before
        assert v.value == type_(before + 2).value
        top = 2 ** (8 * ctypes.sizeof(type_) - 1)
        v.value = top - 1
        v.add(1)
        assert v.value == type_(top).value


def test_a_sum_that_the_type_cannot_hold() -> None:
    for v in values("i"):
        with pytest.raises(TypeError):
            v.add(0.5)
        with pytest.raises(TypeError):
            v.exchange("seven")
        assert v.value == 1
        with v:  # no lock was left taken
            pass


def test_exchange_of_a_bool() -> None:
    v = shared.Value(ctypes.c_bool, False)
    assert v.exchange(True) is False
    assert v.value is True
    assert v.compare_exchange(True, False)
    assert v.value is False


def count(v: Any, times: int) -> None:
    for _ in range(times):
        v.add(1)


def test_no_addition_is_lost(crew: Crew) -> None:
    for v in values("q")[:2]:
        children = [crew.start(count, v, 300) for _ in range(3)]
        count(v, 300)
        crew.join(*children)
        assert v.value == 1201


def test_a_value_is_an_instance_of_what_it_should_be() -> None:
    for v in values("i"):
        assert isinstance(v, shared.Synchronized)
        assert type(v.get_obj()) is ctypes.c_int
        assert v.get_obj() is v.get_obj()
        assert repr(v) == "<Synchronized wrapper for c_int(1)>"
        v.get_obj().value = 3
        assert v.value == 3
    for v in values("i")[:2]:  # whose lock is recursive
        with v.get_lock():
            v.value += 1
        assert v.get_obj().value == 2


# Buffers.


@pytest.mark.parametrize("code", NUMBERS)
def test_the_buffer_of_an_array_has_its_format_and_shape(code: str) -> None:
    for lock in (True, locks.Lock()):
        a = shared.Array(code, range(5), lock=lock)
        view = memoryview(a)
        native = {"q": "l", "Q": "L"}.get(code, code)  # one type where both have 8 bytes
        assert (view.format, view.shape, view.readonly) == (native, (5,), False)
        assert view.tolist() == [0, 1, 2, 3, 4]
        view[2] = 9
        assert a[2] == 9
        table = np.asarray(a)
        assert table.dtype == np.dtype(code)
        table[0] = 7
        assert a[0] == 7


def test_buffers_of_other_arrays() -> None:
    assert memoryview(shared.Array("c", b"abc")).tolist() == [b"a", b"b", b"c"]
    assert memoryview(shared.Array(ctypes.c_bool, [True, False])).tolist() == [True, False]
    nested = shared.Array(ctypes.c_double * 2, 3)
    nested[1][1] = 2.5
    assert memoryview(nested).shape == (3, 2)
    assert np.asarray(nested).tolist() == [[0, 0], [0, 2.5], [0, 0]]
    assert memoryview(shared.Array("i", 0)).tolist() == []


@pytest.mark.parametrize("type_", [Point, Tagged])
def test_the_buffer_of_structures_has_their_fields_and_their_padding(type_: Any) -> None:
    a = shared.Array(type_, 2)
    a[1].kind, a[1].x, a[1].y = b"k", 3, 4.5
    a[1].tail[2] = 6
    table = np.asarray(a)
    assert table.itemsize == ctypes.sizeof(type_)
    assert (table[1]["kind"], table[1]["x"], table[1]["y"], table[1]["tail"].tolist()) == (
        b"k",
        3,
        4.5,
        [0, 0, 6],
    )
    table[0]["x"] = 8
    assert a[0].x == 8


def test_a_view_outlives_the_array() -> None:
    views = [np.asarray(shared.Array("i", [n] * 100)) for n in range(50)]
    gc.collect()
    others = [shared.Array("i", [-1] * 100) for _ in range(50)]
    assert [int(view.sum()) for view in views] == [100 * n for n in range(50)]
    assert all(sum(other[:]) == -100 for other in others)


def test_the_ctypes_object_outlives_the_value() -> None:
    raws = [shared.Value("i", n).get_obj() for n in range(50)]
    gc.collect()
    assert [shared.Value("i", -1).value for _ in range(50)] == [-1] * 50
    assert [raw.value for raw in raws] == list(range(50))


@pytest.mark.parametrize(
    "make", [lambda: shared.Value("i", 1), lambda: shared.Array("i", 10), lambda: shared.Value(Point)]
)
def test_what_is_dropped_is_gone_without_the_garbage_collector(make: Any) -> None:
    gc.disable()
    try:
        obj = make()
        obj.get_obj()
        gone = weakref.ref(obj.get_lock())  # the memory
        del obj
        assert gone() is None
    finally:
        gc.enable()


# Slices.

items = st.one_of(st.integers(-(2**70), 2**70), st.booleans(), st.floats(), st.none(), st.just("text"))
slices = st.slices(8)


@settings(deadline=None, max_examples=300)
@given(
    code=st.sampled_from(NUMBERS + "?"), where=slices, new=st.lists(items, max_size=9), as_tuple=st.booleans()
)
def test_a_slice_takes_a_list_as_ctypes_does(code: str, where: slice, new: list[Any], as_tuple: bool) -> None:
    type_ = ctypes.c_bool if code == "?" else shared.typecode_to_type[code]
    ours: Any = shared.Array(type_, range(8))
    reference: Any = (type_ * 8)(*range(8))
    given_: Any = tuple(new) if as_tuple else new
    assert outcome(ours, where, given_) == outcome(reference, where, given_)
    assert repr(ours[:]) == repr(reference[:])  # repr: nan is nan
    assert repr(ours[where]) == repr(reference[where])


def outcome(target: Any, where: slice, new: Any) -> Any:
    try:
        target[where] = new
    except (TypeError, ValueError, OverflowError) as error:
        return type(error), str(error)
    return None


@settings(deadline=None)
@given(code=st.sampled_from(NUMBERS), new=st.lists(items, max_size=6))
def test_an_array_is_made_of_a_list_as_in_ctypes(code: str, new: list[Any]) -> None:
    def made(make: Any) -> Any:
        try:
            return repr(make()[:])
        except (TypeError, ValueError, OverflowError) as error:
            return type(error)

    type_ = shared.typecode_to_type[code]
    assert made(lambda: shared.Array(code, new)) == made(lambda: (type_ * len(new))(*new))


def test_a_slice_takes_other_arrays() -> None:
    a = shared.Array("i", 6)
    a[:] = np.arange(6, dtype=np.int32)
    assert a[:] == [0, 1, 2, 3, 4, 5]
    a[1:3] = array.array("i", [-1, -2])
    assert a[:] == [0, -1, -2, 3, 4, 5]
    a[:3] = np.arange(6, dtype=np.int32)[::-2]
    assert a[:] == [5, 3, 1, 3, 4, 5]
    a[3:] = (ctypes.c_int * 3)(7, 8, 9)
    assert a[:] == [5, 3, 1, 7, 8, 9]
    a[1:] = memoryview(a)[:-1]  # they overlap
    assert a[:] == [5, 5, 3, 1, 7, 8]
    a[::2] = np.zeros(3, dtype=np.int32)
    assert a[:] == [0, 5, 0, 1, 0, 8]
    a[:] = np.arange(6, dtype=np.int64)  # item by item
    assert a[:] == [0, 1, 2, 3, 4, 5]
    a[:] = shared.Array("i", [9] * 6)
    assert a[:] == [9] * 6
    long = shared.Array("q", 2)
    long[:] = np.array([2**40, -1])
    assert long[:] == [2**40, -1]


@pytest.mark.parametrize(
    "new", [np.zeros(4, np.int32), np.zeros((5, 1), np.int32), array.array("i", [1]), [1, 2], b""]
)
def test_a_slice_refuses_another_length(new: Any) -> None:
    a = shared.Array("i", range(5))
    with pytest.raises((ValueError, TypeError)):
        a[:] = new
    assert a[:] == [0, 1, 2, 3, 4]


def test_an_array_of_int_refuses_floats_of_numpy() -> None:
    a = shared.Array("i", range(3))
    with pytest.raises(TypeError):
        a[:] = np.array([1.5, 2.5, 3.5])
    assert a[:] == [0, 1, 2]


def test_a_slice_is_read_and_written_with_the_lock_held() -> None:
    class Witness:
        def __init__(self) -> None:
            self.log: list[str] = []

        def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
            self.log.append("acquire")
            return True

        def release(self) -> None:
            self.log.append("release")

    witness = Witness()
    a = shared.Array("i", 4, lock=witness)
    for use in (
        lambda: a[:],
        lambda: a[1],
        lambda: a.__setitem__(slice(None), [1, 2, 3, 4]),
        lambda: a.__setitem__(0, 1),
    ):
        witness.log.clear()
        use()
        assert witness.log == ["acquire", "release"]
    with pytest.raises(TypeError):
        a[:] = [1, 2, 3, "four"]
    assert witness.log[-1] == "release"


# Pickling.


def again(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj))


def test_values_and_arrays_can_be_pickled_at_any_time() -> None:
    for v in values("i"):
        other = again(v)
        assert type(other) is type(v)
        assert other.add(1) == 1
        assert v.value == 2
        with v.get_lock():
            assert not in_lock(other)
    point = shared.Value(Tagged, b"a", 1)
    same = again(point)
    same.x, same.tag = 5, 6
    assert (point.x, point.tag, point.get_obj().kind) == (5, 6, b"a")
    text = shared.Array("c", b"hello")
    again(text).value = b"world"
    assert text.value == b"world"
    a, lock = shared.Array("d", 3), locks.Lock()
    again(a)[:] = [1, 2, 3]
    assert a[:] == [1, 2, 3]
    guarded = again(shared.Array("i", 3, lock=lock))
    with lock:
        assert not in_lock(guarded)


def in_lock(obj: Any) -> bool:
    """Whether another thread can take the lock."""
    import threading

    answer: list[bool] = []

    def run() -> None:
        if taken := obj.acquire(block=False):
            obj.release()
        answer.append(taken)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(SOON)
    return answer[0]


def test_arrays_of_arrays_and_of_named_arrays() -> None:
    a = shared.Array((ctypes.c_int * 2) * 2, 3)
    again(a)[2][1][0] = 7
    assert a[2][1][0] == 7
    rows = shared.Array(Row, 2)
    other = again(rows)
    other[1][2] = 4
    assert type(other[0]) is Row
    assert rows[1][2] == 4


def test_raw_objects_go_through_multiprocessings_pickler() -> None:
    for raw in (shared.RawValue("i", 3), shared.RawValue(ctypes.c_int, 3)):
        other = ForkingPickler.loads(ForkingPickler.dumps(raw))
        other.value = 9
        assert raw.value == 9
    a = shared.RawArray("i", 3)
    ForkingPickler.loads(ForkingPickler.dumps(a))[1] = 5
    assert a[:] == [0, 5, 0]
    v = shared.Value("i", 6)
    one = ForkingPickler.loads(ForkingPickler.dumps(v.get_obj()))
    assert one.value == 6


def test_raw_objects_go_through_other_picklers() -> None:
    raw, rows = shared.RawValue("i", 3), shared.RawArray(ctypes.c_int * 2, 2)
    for pickler in (pickle, cloudpickle):
        pickler.loads(pickler.dumps(raw)).value += 1
        pickler.loads(pickler.dumps([rows]))[0][1][0] += 1
    assert raw.value == 5
    assert rows[1][0] == 2


def test_a_pickler_that_knows_no_reducers_is_refused() -> None:
    class Plain(pickle.Pickler):
        dispatch_table: ClassVar[dict[Any, Any]] = {}

    with pytest.raises(PicklingError, match="dispatch_table"):
        Plain(io.BytesIO()).dump(shared.RawValue("i", 3))


def test_copies_are_private() -> None:
    raw = shared.RawValue(Point, b"a", 1, 2.5)
    copies = [copy.copy(raw), copy.deepcopy(raw), copy.deepcopy([raw])[0], shared.copy(raw)]
    raw.x = 9
    assert [(one.x, one.y) for one in copies] == [(1, 2.5)] * 4
    for one in copies[:3]:
        again(one).x = 4
        assert (one.x, raw.x) == (1, 9)
    again(copies[3]).x = 4  # this one is in shared memory
    assert (copies[3].x, raw.x) == (4, 9)


def test_what_is_not_shared_is_still_pickled_by_value() -> None:
    shared.RawValue("i", 3)  # from now on there is a reducer for c_int
    plain = ctypes.c_int(5)
    for other in (ForkingPickler.loads(ForkingPickler.dumps(plain)), again(plain), copy.copy(plain)):
        assert other.value == 5
        other.value = 6
    assert plain.value == 5


def add_to_both(one: Any, two: Any) -> None:
    one.value += 1
    two.value += 2


@pytest.mark.parametrize("theirs_last", [False, True])
def test_beside_shared_values_of_multiprocessing(crew: Crew, theirs_last: bool) -> None:
    makers = [lambda: shared.RawValue("i", 0), lambda: theirs.RawValue("i", 0)]
    made = [make() for make in (makers if theirs_last else makers[::-1])]
    crew.join(crew.start(add_to_both, *made))
    assert [raw.value for raw in made] == [1, 2]


def use_in_child(v: Any, a: Any, raw: Any, rows: Any, point: Any) -> None:
    v.add(1)
    a[:] = [1.5, 2.5]
    np.asarray(rows)[1] = [1, 2, 3]
    raw[0] = 5
    with point:
        point.x += 1


def test_all_in_a_child(crew: Crew) -> None:
    v, a, raw, rows = (
        shared.Value("q", 1),
        shared.Array("d", 2),
        shared.RawArray("h", 2),
        shared.Array(Row, 2),
    )
    point = shared.Value(Point, b"a", 1)
    crew.join(crew.start(use_in_child, v, a, raw, rows, point))
    assert (v.value, a[:], raw[0], list(rows[1]), point.x) == (2, [1.5, 2.5], 5, [1, 2, 3], 2)


# Errors.


def test_errors_name_what_was_wrong() -> None:
    with pytest.raises(AttributeError, match="'acquire'"):
        shared.Value("i", 0, lock="lock")
    with pytest.raises(AttributeError, match="'acquire'"):
        shared.Array("i", 1, lock=5)
    with pytest.raises(AssertionError, match="already"):
        shared.synchronized(shared.Value("i"))
    with pytest.raises(TypeError):
        shared.Value("i", 1, 2)
    with pytest.raises(TypeError):
        shared.Value("i", 1.5)
    with pytest.raises(ValueError):
        shared.Array("i", -1)
    with pytest.raises(AssertionError):
        shared.Value("i").release()
    assert multiprocessing.Value is not interproc.Value
