"""The shared list: as multiprocessing's manager gives it (on both), and what interproc's has besides."""

from __future__ import annotations

import collections.abc
import copy
import functools
import operator
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interproc import InterprocError
from interproc.managers.lists import ListProxy

from .proxies import kinds_of, our_crew, outcome
from .support import MODULES, SOON, Crew

# ---- what multiprocessing defines --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=MODULES)
def kinds(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from kinds_of(request.param)


@pytest.mark.parametrize("args", [(), ([1, 2],), ((1, "a"),), ("abc",), (range(100),)])
def test_is_made_as_a_list_is(kinds: Any, args: tuple[Any, ...]) -> None:
    assert kinds.list(*args)[:] == list(*args)


def test_what_is_no_iterable_makes_no_list() -> None:
    assert outcome(ListProxy, 5) is TypeError


def test_reading_and_writing(kinds: Any) -> None:
    a = kinds.list(range(5))
    assert a[0] == 0 and a[-1] == 4 and a[1:3] == [1, 2] and a[::-2] == [4, 2, 0] and a[7:] == []
    a[0] = "zero"
    a[-1] = None
    assert a[:] == ["zero", 1, 2, 3, None] and len(a) == 5
    a.append(5)
    a.extend([6, 7])
    a.insert(1, "new")
    a.insert(-100, "first")
    a.insert(100, "last")
    assert a[:] == ["first", "zero", "new", 1, 2, 3, None, 5, 6, 7, "last"]
    assert a.pop() == "last" and a.pop(0) == "first" and a.pop(-2) == 6
    del a[0], a[1:3], a[::2]
    assert a[:] == [3, 5]
    a.remove(5)
    assert 3 in a and 5 not in a and a.index(3) == 0 and a.count(3) == 1
    a[1:] = "xyz"
    a[0:0] = (1, 2)
    a[::2] = [7, 8, 9]
    assert a[:] == [7, 2, 8, "x", 9, "z"]


def test_the_whole(kinds: Any) -> None:
    a = kinds.list([3, 1, 2])
    a.sort()
    assert a[:] == [1, 2, 3]
    a.sort(key=operator.neg)
    assert a[:] == [3, 2, 1]
    a.reverse()
    assert a[:] == [1, 2, 3]
    a.sort(reverse=True)
    assert a[:] == [3, 2, 1]
    same = a
    same += [0]
    assert same is a and a[:] == [3, 2, 1, 0]
    same *= 2
    assert same is a and a[:] == [3, 2, 1, 0, 3, 2, 1, 0]
    assert a + [5] == [3, 2, 1, 0, 3, 2, 1, 0, 5]  # noqa: RUF005
    del a[2:]
    assert a * 2 == [3, 2, 3, 2] == 2 * a
    same *= 0
    assert len(a) == 0 and not a


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a[3],
        lambda a: a[-4],
        lambda a: a[2**80],
        lambda a: a.__setitem__(3, 0),
        lambda a: a.__delitem__(-4),
        lambda a: a.pop(3),
        lambda a: (a.pop(), a.pop(), a.pop(), a.pop()),
        lambda a: a.remove("none"),
        lambda a: a.index("none"),
        lambda a: a.index(1, 1),
        lambda a: a["a"],
        lambda a: a[1.0],
        lambda a: a.__setitem__(None, 1),
        lambda a: a.__setitem__(slice(0, 1), 5),
        lambda a: a.__setitem__(slice(0, 3, 2), [1, 2, 3]),
        lambda a: a.__setitem__(slice(0, 3, 0), [1]),
        lambda a: a[::0],
        lambda a: a.__delitem__(slice(0, 3, 0)),
        lambda a: a.extend(5),
        lambda a: a.insert("a", 1),
        lambda a: operator.add(a, (1,)),
        lambda a: a * 1.5,
        lambda a: a.sort(key=5),
        lambda a: a.append(),
    ],
)
def test_errors_are_those_of_a_list(kinds: Any, call: Any) -> None:
    a = kinds.list([1, 2, 3])
    expected = outcome(call, [1, 2, 3])
    assert issubclass(expected, Exception)
    assert issubclass(outcome(call, a), expected)


def test_a_failing_sort_changes_nothing(kinds: Any) -> None:
    a = kinds.list([3, "a", 1])
    assert outcome(a.sort) is TypeError
    assert sorted(map(str, a[:])) == ["1", "3", "a"]
    a.append(4)
    assert len(a) == 4


def test_sorts_stably(kinds: Any) -> None:
    pairs = [(i % 3, i) for i in range(20)]
    for reverse in (False, True):
        a = kinds.list(pairs)
        a.sort(key=operator.itemgetter(0), reverse=reverse)
        assert a[:] == sorted(pairs, key=operator.itemgetter(0), reverse=reverse)


def test_iterates_by_index_as_a_list_does(kinds: Any) -> None:
    a = kinds.list([1, 2])
    iterator = iter(a)
    a[0] = 100
    assert next(iterator) == 100
    a.append(3)
    assert list(iterator) == [2, 3]
    assert list(iterator) == []
    a.append(4)
    assert [*a] == [100, 2, 3, 4] and list(reversed(a)) == [4, 3, 2, 100]
    for item in (work := kinds.list([3])):
        if item:
            work.append(item - 1)
    assert work[:] == [3, 2, 1, 0]


def test_what_is_stored_is_a_copy(kinds: Any) -> None:
    a = kinds.list([[1]])
    a[0].append(2)
    assert a[:] == [[1]]


def test_proxies_in_it_are_live(kinds: Any) -> None:
    rows = kinds.list([kinds.list(range(3)) for _ in range(2)])
    rows[0][-1] = 55
    rows[1].append("x")
    assert [row[:] for row in rows] == [[0, 1, 55], [0, 1, 2, "x"]]
    row = rows.pop()
    row.append("y")
    assert row[:] == [0, 1, 2, "x", "y"] and len(rows) == 1


def test_prints_as_the_list(kinds: Any) -> None:
    a = kinds.list([1, "a", None])
    assert str(a) == "[1, 'a', None]"
    assert str(a) != repr(a) and "ListProxy" in repr(a)


def test_plain_copies_of_it(kinds: Any) -> None:
    a = kinds.list([1, 2])
    for plain in (a._getvalue(), a[:], copy.deepcopy(a), a * 1):
        assert type(plain) is list and plain == [1, 2]
    copy.copy(a).append(3)
    assert a[2] == 3
    assert a._callmethod("pop") == 3 and a._callmethod("__getitem__", (slice(1, 2),)) == [2]


def test_what_cannot_be_pickled_changes_nothing(kinds: Any) -> None:
    a = kinds.list([1])
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        a.append(lambda: 0)
    a.append(2)
    assert a[:] == [1, 2]


INDEX = st.integers(-6, 6)
BOUND = st.one_of(st.none(), INDEX)
SLICE = st.builds(slice, BOUND, BOUND, st.sampled_from([None, 1, 1, 2, 3, -1, -2]))
VALUE = st.one_of(st.integers(-3, 3), st.text(max_size=2), st.lists(st.integers(0, 1), max_size=2))
FEW = st.lists(VALUE, max_size=4)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["__getitem__", "__delitem__", "pop"]), INDEX),
    st.tuples(st.sampled_from(["__getitem__", "__delitem__"]), SLICE),
    st.tuples(st.sampled_from(["__setitem__", "insert"]), INDEX, VALUE),
    st.tuples(st.just("__setitem__"), SLICE, FEW),
    st.tuples(st.sampled_from(["append", "remove", "count", "__contains__", "index"]), VALUE),
    st.tuples(st.just("index"), VALUE, INDEX, INDEX),
    st.tuples(st.sampled_from(["extend", "__iadd__", "__add__"]), FEW),
    st.tuples(st.sampled_from(["__imul__", "__mul__", "__rmul__"]), st.integers(-1, 3)),
    st.tuples(st.sampled_from(["reverse", "pop", "__len__", "sort"])),
)


@settings(max_examples=120, deadline=None)
@given(FEW, st.lists(STEPS, max_size=25))
def test_does_what_a_list_does(kinds: Any, initial: list[Any], steps: list[Any]) -> None:
    plain, shared = list(initial), kinds.list(initial)
    for name, *args in steps:
        if name == "sort":
            args = []
            plain.sort(key=str), shared.sort(key=str)
        elif name in ("__iadd__", "__imul__"):
            operation = getattr(operator, name)
            assert operation(plain, *args) is plain and operation(shared, *args) is shared
        else:
            expected, got = (outcome(getattr(each, name), *args) for each in (plain, shared))
            assert got == expected, (name, args)
        assert shared[:] == plain, (name, args)
        if len(plain) > 200:
            break


# ---- across processes --------------------------------------------------------------------------------------


@pytest.fixture
def kinds_for(ctx: Any) -> Iterator[Any]:
    yield from kinds_of(ctx)


def add(a: Any, who: int, n: int) -> None:
    for i in range(n):
        a.append((who, i))
    a[0].append(who)


def test_children_share_it(ctx: Any, crew: Crew, kinds_for: Any) -> None:
    a = kinds_for.list()
    a.append(kinds_for.list())
    for who in range(2):
        crew.start(add, a, who, 20)
    crew.join()
    for who in range(2):
        assert [pair[1] for pair in a[1:] if pair[0] == who] == list(range(20))
    assert sorted(a[0]) == [0, 1]


def sort_it(jobs: Any) -> None:
    a = jobs.get(timeout=SOON)
    a.sort()
    a.append("done")


def test_can_be_sent_at_any_time(ctx: Any, crew: Crew, kinds_for: Any) -> None:
    jobs = ctx.Queue()
    child = crew.start(sort_it, jobs)
    a = kinds_for.list([3, 1, 2])
    jobs.put(a)
    crew.join(child)
    assert a[:] == [1, 2, 3, "done"]


# ---- what interproc's has besides --------------------------------------------------------------------------


@pytest.fixture
def children() -> Iterator[Crew]:
    yield from our_crew()


def test_is_a_mutable_sequence() -> None:
    a: ListProxy[int] = ListProxy([1])
    assert isinstance(a, collections.abc.MutableSequence)
    assert ListProxy[int].__origin__ is ListProxy
    with pytest.raises(TypeError, match="unhashable"):
        hash(a)


def test_compares_as_a_list() -> None:
    a = ListProxy([1, 2])
    for other in ([1, 2], [1, 3], [1], [], [1, 2, 0], [0, 9]):
        for operation in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
            expected = operation([1, 2], other), operation(other, [1, 2])
            assert (operation(a, other), operation(other, a)) == expected
            assert (operation(a, ListProxy(other)), operation(ListProxy(other), a)) == expected
    assert a == a and a != (1, 2) and a != 5
    assert outcome(operator.lt, a, (1, 2)) is TypeError


def test_joins_lists_and_shared_lists() -> None:
    a = ListProxy([1])
    for joined in (a + ListProxy([2]), operator.add(a, [2])):
        assert type(joined) is list and joined == [1, 2]
    assert operator.add([0], a) == [0, 1]
    assert outcome(operator.add, (0,), a) is TypeError and outcome(operator.mul, a, a) is TypeError
    a += a
    a.extend(a)
    a[1:1] = a
    assert a == [1] * 8 and a.copy() == [1] * 8
    a.clear()
    assert a == []


def test_counts_with_what_has_an_index() -> None:
    numpy = pytest.importorskip("numpy")
    a = ListProxy([1, 2, 3])
    a[numpy.int64(0)] = 9
    a.insert(numpy.int64(1), 8)
    assert a[numpy.int64(0)] == 9 and a.pop(numpy.int64(-1)) == 3 and a[True] == 8 and a == [9, 8, 2]
    a.insert(2**100, "last")
    a.insert(-(2**100), "first")
    assert a == ["first", 9, 8, 2, "last"] and a[: 2**100] == a[:] and a[-(2**100) :] == a[:]
    assert outcome(a.__setitem__, 2**100, 1) is IndexError and outcome(a.pop, -(2**100)) is IndexError


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        lambda a, bad: a.extend(bad),
        lambda a, bad: operator.iadd(a, bad),
        lambda a, bad: a.__setitem__(slice(1, 2), bad),
        lambda a, bad: a.__setitem__(slice(0, 3, 2), bad[1:]),
    ],
)
def test_changes_of_several_items_are_all_or_nothing(call: Any, deep: bool) -> None:
    a = ListProxy([1, 2, 3], deep=deep)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        call(a, [7, 8, lambda: 0])
    assert a == [1, 2, 3]


def test_a_raising_key_changes_nothing() -> None:
    a = ListProxy([3, 0, 1])
    assert outcome(a.sort, key=lambda x: 1 / x) is ZeroDivisionError
    assert a == [3, 0, 1] and not a.is_mine()


def count(a: Any, n: int) -> None:
    for _ in range(n):
        a.update_with(-1, operator.add, 1)


def test_update_with_loses_no_update(children: Crew) -> None:
    a = ListProxy(["x", 0])
    for _ in range(3):
        children.start(count, a, 300)
    children.join()
    assert a == ["x", 900]


def test_update_with_and_compare_exchange() -> None:
    a = ListProxy([1, 2])
    assert a.update_with(0, lambda n, x: n + x, 4) == 5 and a == [5, 2]
    assert outcome(a.update_with, 2, operator.add, 1) is IndexError
    assert not a.compare_exchange(1, 3, 4) and a.compare_exchange(-1, 2, 4) and a == [5, 4]
    assert outcome(a.compare_exchange, 2, 1, 1) is IndexError


def test_a_closed_one_says_so() -> None:
    a = ListProxy([1])
    a.close()
    for call in (lambda: a[0], lambda: a.append(1), a.sort, a.copy, functools.partial(len, a)):
        with pytest.raises(InterprocError, match="closed"):
            call()
    assert "closed" in repr(a)
