"""The shared value: as multiprocessing's manager gives it (on both), and what interproc's has besides."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from interproc import InterprocError
from interproc.managers.values import Value, ValueProxy

from .proxies import kinds_of, our_crew, outcome
from .support import MODULES, SOON, Crew

# ---- what multiprocessing defines --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=MODULES)
def kinds(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from kinds_of(request.param)


def test_a_value(kinds: Any) -> None:
    v = kinds.Value("i", 7)
    assert v.value == 7 == v.get()
    v.value += 1
    assert v.get() == 8
    v.set("any kind")
    assert v.value == "any kind"
    assert kinds.Value(int, None, False).value is None
    assert bool(kinds.Value("i", 0))


def test_prints_as_a_value(kinds: Any) -> None:
    assert str(kinds.Value("d", 1.5)) == "Value('d', 1.5)"


def test_what_is_stored_is_a_copy(kinds: Any) -> None:
    v = kinds.Value("x", [1])
    v.value.append(2)
    assert v.value == [1]


def test_a_plain_copy_of_it(kinds: Any) -> None:
    v = kinds.Value("i", 7)
    for plain in (v._getvalue(), copy.deepcopy(v)):
        plain.value = 9
        assert (plain.get(), repr(plain), v.value) == (9, "Value('i', 9)", 7)
    assert v._callmethod("get") == 7
    v._callmethod("set", (8,))
    assert copy.copy(v).value == 8


def test_what_cannot_be_pickled_changes_nothing(kinds: Any) -> None:
    v = kinds.Value("i", 7)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        v.value = lambda: 0
    assert v.value == 7


@pytest.fixture
def kinds_for(ctx: Any) -> Iterator[Any]:
    yield from kinds_of(ctx)


def change(v: Any) -> None:
    v.value *= 10


def test_a_child_shares_it(crew: Crew, kinds_for: Any) -> None:
    v = kinds_for.Value("i", 5)
    crew.start(change, v)
    crew.join()
    assert v.value == 50


def take(jobs: Any) -> None:
    v = jobs.get(timeout=SOON)
    v.set(v.get() + 1)


def test_can_be_sent_at_any_time(ctx: Any, crew: Crew, kinds_for: Any) -> None:
    jobs = ctx.Queue()
    crew.start(take, jobs)
    v = kinds_for.Value("i", 41)
    jobs.put(v)
    crew.join()
    assert v.value == 42


# ---- what interproc's has besides --------------------------------------------------------------------------


@pytest.fixture
def children() -> Iterator[Crew]:
    yield from our_crew()


def count(v: Any, n: int) -> None:
    for _ in range(n):
        v.add(1)


def test_add_loses_no_update(children: Crew) -> None:
    v: ValueProxy[int] = ValueProxy("i", 0)
    for _ in range(3):
        children.start(count, v, 300)
    children.join()
    assert v.value == 900


def test_atomic_changes() -> None:
    v: ValueProxy[Any] = ValueProxy("i", 1)
    assert v.add(4) == 1 and v.update_with(operator.mul, 2) == 10 and v.value == 10
    assert v.compare_exchange(10, 11) and not v.compare_exchange(10, 12) and v.value == 11
    assert outcome(v.add, "x") is TypeError and v.value == 11


def test_is_what_it_is() -> None:
    v = ValueProxy("i", 1)
    assert repr(v) == "Value('i', 1)" and v.typecode == "i"
    assert ValueProxy[int].__origin__ is ValueProxy
    assert type(v._getvalue()) is Value
    for call in (len, iter, lambda v: v["value"], lambda v: "value" in v, lambda v: v.watch("value")):
        assert outcome(call, v) is TypeError
    assert type(hash(v)) is int


def test_a_closed_one_says_so() -> None:
    v = ValueProxy("i", 1)
    v.close()
    for call in (v.get, lambda: v.set(1)):
        with pytest.raises(InterprocError, match="closed"):
            call()
    assert "closed" in repr(v)
