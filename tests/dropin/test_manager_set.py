"""The shared set, which multiprocessing has from Python 3.14 on: checked against a plain set."""

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

import interproc
from interproc import InterprocError
from interproc.managers.dicts import DictProxy
from interproc.managers.sets import SetProxy

from .proxies import our_crew, outcome
from .support import METHODS, SOON, Crew


@pytest.fixture
def children() -> Iterator[Crew]:
    yield from our_crew()


def test_is_a_mutable_set() -> None:
    s: SetProxy[int] = SetProxy([1])
    assert isinstance(s, collections.abc.MutableSet)
    assert SetProxy[int].__origin__ is SetProxy
    for call in (hash, operator.itemgetter(0), lambda s: s.__setitem__(0, 1), lambda s: s.__delitem__(0)):
        assert outcome(call, s) is TypeError


@pytest.mark.parametrize("args", [(), ([1, 2, 1],), ("abc",), ({(1, "a"), None},), ([1, 1.0, True],)])
def test_is_made_as_a_set_is(args: tuple[Any, ...]) -> None:
    s = SetProxy(*args)
    assert s == set(*args) and len(s) == len(set(*args)) and s.copy() == set(*args)


def test_add_and_discard_say_what_they_did() -> None:
    s = SetProxy(["a"])
    assert s.add("b") is True and s.add("b") is False
    assert s.discard("b") is True and s.discard("b") is False
    assert s == {"a"}


def test_keeps_what_was_there_first() -> None:
    s = SetProxy([1])
    s.add(1.0)
    s.update([True, 2.0, 2])
    assert list(map(repr, s)) == ["1", "2.0"]


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.remove("none"),
        lambda s: (s.clear(), s.pop()),
        lambda s: s.add([]),
        lambda s: s.update(5),
        lambda s: s.update([1], [[]]),
        lambda s: s | [1],
        lambda s: s & [1],
        lambda s: s - (1,),
        lambda s: s ^ "a",
        lambda s: [1] | s,
        lambda s: [1] - s,
        lambda s: operator.ior(s, [1]),
        lambda s: operator.iand(s, [1]),
        lambda s: operator.isub(s, [1]),
        lambda s: operator.ixor(s, [1]),
        lambda s: s < [1],
        lambda s: s >= 5,
        lambda s: s.isdisjoint(5),
        lambda s: s.intersection_update(5),
    ],
)
def test_errors_are_those_of_a_set(call: Any) -> None:
    s = SetProxy({1, 2})
    expected = outcome(call, {1, 2})
    assert issubclass(expected, Exception)
    assert outcome(call, s) is expected
    assert s == {1, 2} or not s


def test_prints_as_the_set() -> None:
    s = SetProxy([1])
    assert (str(s), repr(s)) == ("{1}", "<SetProxy {1}>")
    s.clear()
    assert (str(s), repr(s)) == ("set()", "<SetProxy set()>")


def test_plain_copies_of_it() -> None:
    s = SetProxy([1, 2])
    for plain in (s._getvalue(), s.copy(), copy.deepcopy(s), s | set(), s._callmethod("#GETVALUE")):
        assert type(plain) is set and plain == {1, 2}
    copy.copy(s).add(3)
    assert 3 in s and list(s) == [1, 2, 3]
    assert s._callmethod("__len__") == 3 and s._callmethod("add", (4,)) is True


ELEMENT = st.one_of(st.integers(0, 4), st.sampled_from([1.0, True, None, "a", (1, "b"), frozenset([1])]))
FEW = st.sets(ELEMENT, max_size=4)
ONE = st.sampled_from(["add", "discard", "remove", "__contains__"])
MANY = st.sampled_from(
    ["union", "intersection", "difference", "update", "intersection_update", "difference_update"]
)
OTHER = st.sampled_from(
    ["symmetric_difference", "symmetric_difference_update", "issubset", "issuperset", "isdisjoint"]
)
OPERATORS = ("and_", "or_", "sub", "xor", "iand", "ior", "isub", "ixor", "eq", "ne", "lt", "le", "gt", "ge")
STEPS = st.one_of(
    st.tuples(ONE, ELEMENT),
    st.tuples(MANY, FEW, FEW),
    st.tuples(MANY),
    st.tuples(OTHER, FEW),
    st.tuples(st.sampled_from(OPERATORS), FEW),
    st.tuples(st.sampled_from(["pop", "clear", "__len__"])),
)


@settings(max_examples=150, deadline=None)
@given(FEW, st.lists(STEPS, max_size=25))
def test_does_what_a_set_does(initial: set[Any], steps: list[Any]) -> None:
    plain, shared = set(initial), SetProxy(initial)
    for name, *args in steps:
        if name == "pop":
            got = outcome(shared.pop)
            assert got in plain if plain else got is KeyError
            plain.discard(got)
        elif name in OPERATORS:
            operation = getattr(operator, name)
            for other in args:
                for theirs in (other, SetProxy(other)):
                    expected, got = operation(set(plain), other), operation(SetProxy(plain), theirs)
                    assert got == expected, name
                    if name[0] != "i":
                        assert type(got) is type(expected)
                        assert operation(other, SetProxy(plain)) == operation(other, plain)
        else:
            expected, got = (outcome(getattr(each, name), *args) for each in (plain, shared))
            assert got == expected or name in ("add", "discard"), (name, args)
        assert shared == plain, (name, args)


def test_with_itself() -> None:
    for name, expected in (("ior", {1, 2}), ("iand", {1, 2}), ("isub", set()), ("ixor", set())):
        s = SetProxy([1, 2])
        assert getattr(operator, name)(s, s) is s and s == expected


def test_what_cannot_be_pickled_changes_nothing() -> None:
    s = SetProxy([1])
    for call in (s.add, lambda bad: s.update([2, bad]), lambda bad: operator.ixor(s, {1, 3, bad})):
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            call(lambda: 0)
        assert s == {1}


def claim(seen: Any, results: Any, who: int) -> None:
    results[who] = sum(seen.add(number) for number in range(200))


@pytest.mark.parametrize("method", METHODS)
def test_children_share_it(method: str) -> None:
    crew = Crew(interproc.get_context(method))
    try:
        seen, results = SetProxy(), DictProxy()
        for who in range(2):
            crew.start(claim, seen, results, who)
        crew.join()
        assert sum(results.values()) == 200 and seen == set(range(200))
    finally:
        crew.end()


def take(jobs: Any) -> None:
    jobs.get(timeout=SOON).add("child")


def test_can_be_sent_at_any_time(children: Crew) -> None:
    jobs: Any = interproc.Queue()
    children.start(take, jobs)
    s = SetProxy(["parent"])
    jobs.put(s)
    children.join()
    assert s == {"parent", "child"}


def test_a_closed_one_says_so() -> None:
    s = SetProxy([1])
    s.close()
    for call in (lambda: 1 in s, lambda: s.add(1), lambda: s | {1}, functools.partial(len, s)):
        with pytest.raises(InterprocError, match="closed"):
            call()
    assert "closed" in repr(s)
