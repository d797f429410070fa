"""The shared dict: as multiprocessing's manager gives it (on both), and what interproc's has besides."""

from __future__ import annotations

import collections.abc
import copy
import functools
import json
import operator
import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interproc import InterprocError
from interproc.managers.dicts import DictProxy

from .proxies import kinds_of, our_crew, outcome
from .support import MODULES, SOON, Crew

# ---- what multiprocessing defines --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=MODULES)
def kinds(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from kinds_of(request.param)


@pytest.mark.parametrize(
    ("args", "more"),
    [
        ((), {}),
        (({"a": 1},), {}),
        (([("a", 1), ("b", 2)],), {"c": 3}),
        (({"a": 1},), {"a": 2, "name": "Bob", "arena": 4, "deep": 5}),
    ],
)
def test_is_made_as_a_dict_is(kinds: Any, args: tuple[Any, ...], more: dict[str, Any]) -> None:
    assert kinds.dict(*args, **more).copy() == dict(*args, **more)


@pytest.mark.parametrize("args", [(5,), ([1, 2],), ([(1, 2, 3)],), ([([], 1)],)])
def test_what_makes_no_dict_makes_no_shared_dict(args: tuple[Any, ...]) -> None:
    assert outcome(DictProxy, *args) is outcome(dict, *args)


def test_reading_and_writing(kinds: Any) -> None:
    d = kinds.dict()
    d["a"] = 1
    d[2] = "two"
    d["a"] = [1, None]
    assert d["a"] == [1, None]
    assert d[2] == "two"
    assert len(d) == 2
    assert "a" in d and "b" not in d
    assert d.get("a") == [1, None] and d.get("b") is None and d.get("b", 7) == 7
    del d["a"]
    assert d.copy() == {2: "two"}
    assert d.setdefault(2, "other") == "two"
    assert d.setdefault(3, "three") == "three"
    assert d.setdefault(4) is None
    assert d.pop(4) is None
    assert d.pop(4, "none") == "none"
    assert d.popitem() == (3, "three")
    d.update({5: 6}, x=7)
    d.update([(8, 9)])
    assert d.copy() == {2: "two", 5: 6, "x": 7, 8: 9}
    d.clear()
    assert len(d) == 0 and d.copy() == {} and not d


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d["none"],
        lambda d: d.pop("none"),
        lambda d: d.__delitem__("none"),
        lambda d: (d.clear(), d.popitem()),
        lambda d: d[[]],
        lambda d: d.__setitem__({}, 1),
        lambda d: d.update(5),
        lambda d: d.update([1]),
        lambda d: d.update([(1, 2, 3)]),
        lambda d: d.get([]),
    ],
)
def test_errors_are_those_of_a_dict(kinds: Any, call: Any) -> None:
    expected = outcome(call, {"a": 1})
    assert issubclass(expected, Exception)
    assert issubclass(outcome(call, kinds.dict({"a": 1})), expected)


def test_a_key_error_has_the_key(kinds: Any) -> None:
    with pytest.raises(KeyError) as caught:
        kinds.dict()["none"]
    assert caught.value.args == ("none",)


def test_keys_values_and_items_are_lists_of_that_moment(kinds: Any) -> None:
    d = kinds.dict({"a": 1, "b": 2})
    keys, values, items = d.keys(), d.values(), d.items()
    d["c"] = 3
    assert keys == ["a", "b"] and values == [1, 2] and items == [("a", 1), ("b", 2)]
    assert keys[0] == "a" and keys[-1:] == ["b"] and values[::-1] == [2, 1]
    assert keys + ["z"] == ["a", "b", "z"]  # noqa: RUF005
    assert values.index(2) == 1
    assert isinstance(keys, list) and json.dumps(keys) == '["a", "b"]' and str(keys) == "['a', 'b']"
    assert sorted(d.keys(), reverse=True) == ["c", "b", "a"]
    for key in d.keys():  # noqa: SIM118
        del d[key]
    assert len(d) == 0


def test_iterates_over_its_keys_in_order_of_insertion(kinds: Any) -> None:
    d = kinds.dict({"z": 1, "a": 2})
    d["m"] = 3
    d["z"] = 4
    iterator = iter(d)
    assert list(iterator) == ["z", "a", "m"]
    assert list(iterator) == []
    assert {**d} == dict(d) == {"z": 4, "a": 2, "m": 3}


def test_what_is_stored_is_a_copy(kinds: Any) -> None:
    items = [1]
    d = kinds.dict({"l": items})
    items.append(2)
    d["l"].append(3)
    assert d["l"] == [1]
    changed = d["l"]
    changed.append(4)
    d["l"] = changed
    assert d["l"] == [1, 4]


def test_a_proxy_in_it_is_live(kinds: Any) -> None:
    d = kinds.dict()
    d["inner"] = inner = kinds.list([1])
    inner.append(2)
    d["inner"].append(3)
    assert d["inner"][:] == [1, 2, 3] == inner[:]
    del inner
    assert d["inner"][-1] == 3


def test_prints_as_the_dict(kinds: Any) -> None:
    d = kinds.dict({"a": [1], 2: None})
    assert str(d) == "{'a': [1], 2: None}"
    assert str(d) != repr(d) and "DictProxy" in repr(d)


def test_plain_copies_of_it(kinds: Any) -> None:
    d = kinds.dict({"a": 1})
    for plain in (d._getvalue(), d.copy(), copy.deepcopy(d), d._callmethod("#GETVALUE")):
        assert type(plain) is dict and plain == {"a": 1}
    same = copy.copy(d)
    same["b"] = 2
    assert d["b"] == 2
    assert d._callmethod("get", ("a",)) == 1
    assert d._callmethod("update", (), {"c": 3}) is None
    assert d._callmethod("__getitem__", ("c",)) == 3


def test_what_cannot_be_pickled_changes_nothing(kinds: Any) -> None:
    d = kinds.dict({"a": 1})
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        d["b"] = lambda: 0
    assert d.copy() == {"a": 1}
    d["c"] = 3
    assert d.copy() == {"a": 1, "c": 3}


KEYS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([1.0, 0.5, -0.0, 2**70, float(2**70)]),
    st.text("aé∂", max_size=2), st.binary(max_size=1), st.tuples(st.integers(0, 1), st.sampled_from([1.0,
    True, "x"])), st.frozensets(st.integers(0, 2), max_size=2),
)  # fmt: skip
VALUES = st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2), st.none())
STEPS = st.one_of(
    st.tuples(st.just("__setitem__"), KEYS, VALUES),
    st.tuples(st.just("setdefault"), KEYS, VALUES),
    st.tuples(st.sampled_from(["__getitem__", "__delitem__", "__contains__", "get", "pop"]), KEYS),
    st.tuples(st.just("pop"), KEYS, VALUES),
    st.tuples(st.just("get"), KEYS, VALUES),
    st.tuples(st.just("update"), st.lists(st.tuples(KEYS, VALUES), max_size=4)),
    st.tuples(
        st.sampled_from(["popitem", "clear", "copy", "keys", "values", "items", "__len__", "__iter__"])
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.lists(STEPS, max_size=25))
def test_does_what_a_dict_does(kinds: Any, initial: dict[Any, Any], steps: list[Any]) -> None:
    plain, shared = dict(initial), kinds.dict(initial)
    for name, *args in steps:
        expected, got = (outcome(getattr(d, name), *args) for d in (plain, shared))
        if name in ("keys", "values", "items", "__iter__"):
            expected, got = list(expected), list(got)
        assert got == expected, (name, args)
        assert list(shared.items()) == list(plain.items()), (name, args)


# ---- across processes --------------------------------------------------------------------------------------


@pytest.fixture
def kinds_for(ctx: Any) -> Iterator[Any]:
    yield from kinds_of(ctx)


def fill(d: Any, key: str) -> None:
    assert d["from"] == "parent"
    d[key] = os.getpid()
    inner = d["inner"]
    for i in range(10):
        inner[f"{key}{i}"] = i


def test_children_share_it(ctx: Any, crew: Crew, kinds_for: Any) -> None:
    d = kinds_for.dict({"from": "parent"})
    d["inner"] = kinds_for.dict()
    children = {key: crew.start(fill, d, key) for key in ("x", "y")}
    crew.join()
    assert {key: d[key] for key in children} == {key: child.pid for key, child in children.items()}
    assert sorted(d["inner"].keys()) == sorted(f"{key}{i}" for key in children for i in range(10))


def answer(jobs: Any, results: Any) -> None:
    d = jobs.get(timeout=SOON)
    results["seen"] = d.copy()
    d["answer"] = 42


def test_can_be_sent_at_any_time(ctx: Any, crew: Crew, kinds_for: Any) -> None:
    jobs, results = ctx.Queue(), kinds_for.dict()
    child = crew.start(answer, jobs, results)
    d = kinds_for.dict({"question": "?"})
    jobs.put(d)
    crew.join(child)
    assert results["seen"] == {"question": "?"}
    assert d["answer"] == 42


def make_one(results: Any, d: Any) -> None:
    results.put(d)


def test_a_proxy_that_a_child_sends_back_is_the_same(ctx: Any, crew: Crew, kinds_for: Any) -> None:
    results, d = ctx.Queue(), kinds_for.dict()
    crew.start(make_one, results, d)
    results.get(timeout=SOON)["a"] = 1
    assert d["a"] == 1


# ---- what interproc's has besides --------------------------------------------------------------------------


@pytest.fixture
def children() -> Iterator[Crew]:
    yield from our_crew()


def test_is_a_mutable_mapping() -> None:
    d: DictProxy[str, int] = DictProxy({"a": 1})
    assert isinstance(d, collections.abc.MutableMapping)
    assert DictProxy[str, int].__origin__ is DictProxy
    assert list(reversed(DictProxy({"a": 1, "b": 2}))) == ["b", "a"]
    assert DictProxy.fromkeys("ab", 0) == {"a": 0, "b": 0}
    with pytest.raises(TypeError, match="unhashable"):
        hash(d)


def test_equals_what_has_the_same() -> None:
    d = DictProxy({"a": 1, "b": [2]})
    assert d == {"b": [2], "a": 1} and d == d and d == DictProxy(d)
    assert d != {"a": 1} and d != DictProxy({"a": 1}) and d != [("a", 1)] and d != 5
    assert d == collections.UserDict(a=1, b=[2])


def test_unions() -> None:
    d = DictProxy({"a": 1, "b": 2})
    for union in (d | {"b": 3}, d | DictProxy({"b": 3})):
        assert type(union) is dict and list(union.items()) == [("a", 1), ("b", 3)]
    assert list(({"b": 3, "c": 4} | d).items()) == [("b", 2), ("c", 4), ("a", 1)]
    same = d
    same |= {"c": 3}
    same |= [("d", 4)]
    assert same is d and d == {"a": 1, "b": 2, "c": 3, "d": 4}
    for call in (operator.or_, operator.ior):
        assert outcome(call, DictProxy(), 5) is TypeError
    d.update(d)
    assert len(d) == 4


def test_keys_and_items_have_a_views_set_operations() -> None:
    d, other = DictProxy({"a": 1, "b": 2}), {"b": 2, "c": 4}
    plain = dict(d)
    for left, right in ((d.keys(), plain.keys()), (d.items(), plain.items())):
        theirs: Any = other.keys() if left[0] == "a" else other.items()
        for operation in (operator.and_, operator.or_, operator.sub, operator.xor):
            assert operation(left, theirs) == operation(right, theirs)
            assert operation(theirs, left) == operation(theirs, right)
        assert left == right and left == set(right) and left != theirs and left != set(theirs)
        assert left <= set(right) and not left < set(right) and left < set(right) | {"z"}
        assert left >= set() and left > set() and not left.isdisjoint(right)
        assert left == list(right) and left != list(reversed(list(right))) and left < [*left, 0]
    assert isinstance(d.keys(), collections.abc.KeysView) and isinstance(d.items(), collections.abc.ItemsView)
    assert isinstance(d.values(), collections.abc.ValuesView)
    assert type(pickle.loads(pickle.dumps(d.keys()))) is list


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    def __hash__(self) -> int:
        return hash(self.x)


def test_other_keys_are_compared_by_their_pickle() -> None:
    d = DictProxy({Point(1): "one"})
    assert d[Point(1)] == "one" and Point(2) not in d and list(d) == [Point(1)]
    assert outcome(d.__setitem__, lambda: 0, 1) is not None and len(d) == 1


def test_update_is_all_or_nothing() -> None:
    d = DictProxy({"a": 1})
    for deep in (False, True):
        d = DictProxy({"a": 1}, deep=deep)
        for call in (d.update, d.__ior__):
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                call({"a": 2, "b": 3, "c": lambda: 0})
            assert d == {"a": 1}


def count(d: Any, n: int) -> None:
    for _ in range(n):
        d.update_with("n", operator.add, 1)
        d.update_with("new", operator.add, 1, default=0)


def test_update_with_loses_no_update(children: Crew) -> None:
    d = DictProxy({"n": 0})
    for _ in range(3):
        children.start(count, d, 300)
    children.join()
    assert d == {"n": 900, "new": 900}


def test_update_with_and_compare_exchange() -> None:
    d = DictProxy({"n": 1})
    assert d.update_with("n", lambda n, a, b: n + a * b, 2, 3) == 7 and d["n"] == 7
    assert outcome(d.update_with, "none", operator.add, 1) is KeyError
    assert outcome(d.update_with, "n", operator.truediv, 0) is ZeroDivisionError
    assert d.update_with("m", operator.add, [1], default=[]) == [1]
    assert d.compare_exchange("n", 6, 8) is False and d["n"] == 7
    assert d.compare_exchange("n", 7, 8) is True and d["n"] == 8
    assert outcome(d.compare_exchange, "none", 1, 2) is KeyError


def test_a_closed_one_says_so() -> None:
    d, other = DictProxy({"a": 1}), DictProxy()
    other["d"] = d
    d.close()
    for call in (lambda: d["a"], lambda: d.update(b=1), lambda: d.copy(), functools.partial(len, d)):
        with pytest.raises(InterprocError, match="closed"):
            call()
    assert "closed" in repr(d) and "closed" in str(d)
    assert other["d"] == {"a": 1}
