"""Tests of the binding's Table: keys as Python compares them, values, atomic changes, snapshots."""

from __future__ import annotations

import datetime
import enum
import fractions
import operator
import threading
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interproc import _core


class Colour(enum.IntEnum):
    RED = 1
    GREEN = 2


class Word(enum.StrEnum):
    X = "x"


class Place(NamedTuple):
    row: int
    column: int


class OddInt(int):
    """An int that compares in a way of its own."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OddInt) and int(self) == int(other)

    def __hash__(self) -> int:
        return 7


class _Tagged:
    def __init__(self, tags: frozenset[str]) -> None:
        self.tags = tags


_changing: Any = None


class _Changes:
    """A value that changes the table that it is in whenever it is loaded."""

    def __init__(self) -> None:
        self.some = "state"

    def __setstate__(self, state: Any) -> None:
        _changing["loads"] = _changing.get("loads", 0) + 1


@pytest.fixture
def table() -> _core.Table[Any, Any]:
    return _core.Table()


plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-300, 300),
    st.floats(allow_nan=False),
    st.integers(-300, 300).map(float),
    st.text(max_size=20),
    st.text(min_size=200, max_size=400),
    st.binary(max_size=20),
)
keys = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.frozensets(inner, max_size=4))
)


def spelt(key: Any) -> Any:
    """What tells 1 from 1.0 and True, all the way down."""
    if isinstance(key, tuple):
        return tuple(spelt(each) for each in key)
    if isinstance(key, frozenset):
        return sorted(repr(spelt(each)) for each in key)
    return type(key), key


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(keys, st.sampled_from(["set", "delete", "pop", "setdefault"])), max_size=40))
def test_keys_are_those_of_a_dict(steps: list[tuple[Any, str]]) -> None:
    table: _core.Table[Any, int] = _core.Table()
    model: dict[Any, int] = {}
    for n, (key, step) in enumerate(steps):
        assert (key in table) == (key in model)
        if step == "set":
            table[key] = model[key] = n
        elif step == "setdefault":
            assert table.setdefault(key, n) == model.setdefault(key, n)
        elif step == "pop":
            assert table.pop(key, None) == model.pop(key, None)
        elif key in model:
            del table[key], model[key]
        else:
            with pytest.raises(KeyError):
                del table[key]
    assert table.items_list() == list(model.items())
    assert table.keys_list() == list(model)
    assert table.values_list() == list(model.values())
    assert len(table) == len(model)


@settings(max_examples=150, deadline=None)
@given(keys)
def test_a_key_is_listed_as_it_was_spelt(key: Any) -> None:
    table: _core.Table[Any, int] = _core.Table()
    table[key] = 1
    (listed,) = table.keys_list()
    assert spelt(listed) == spelt(key)
    assert [spelt(k) for k, _ in table.items_list()] == [spelt(key)]
    assert spelt(table.popitem()[0]) == spelt(key)


def test_equal_numbers_are_one_key_spelt_as_last_set(table: _core.Table[Any, Any]) -> None:
    table[1] = "int"
    table[1.0] = "float"
    assert [type(k) for k in table.keys_list()] == [float]
    table[True] = "bool"
    assert len(table) == 1
    assert table.keys_list()[0] is True
    assert table[1] == table[1.0] == table[Colour.RED] == "bool"
    table[Colour.RED] = "enum"
    assert table.keys_list() == [Colour.RED]
    assert table.keys_list()[0] is Colour.RED
    assert table[1] == "enum"
    table[-0.0] = 0
    assert table[0] == table[False] == 0


def test_a_changed_value_keeps_the_spelling_of_its_key(table: _core.Table[Any, Any]) -> None:
    for key in (Colour.RED, True, 2.0, (1, 3.0), Word.X):
        table.clear()
        table[key] = 1
        assert table.update_with(key, operator.add, 1) == 2
        assert table.compare_exchange(key, 2, 3)
        assert not table.compare_exchange(key, 2, 4)
        assert [spelt(k) for k in table.keys_list()] == [spelt(key)]
        assert table.values_list() == [3]


def test_other_hashable_keys_go_by_their_pickle(table: _core.Table[Any, Any]) -> None:
    day = datetime.date(2024, 2, 29)
    text = "".join(["a", "b"])
    table[day] = 1
    table[Place(1, 2)] = 2  # compares as the tuple does
    assert table[datetime.date(2024, 2, 29)] == 1
    assert table[Place(1, 2)] == 2
    assert table[1, 2] == 2
    assert table.keys_list()[1] == Place(1, 2)
    assert isinstance(table.keys_list()[1], Place)
    table[Place(text, text)] = 3  # type: ignore[arg-type]
    assert table[Place("ab", "".join(["a", "b"]))] == 3  # type: ignore[arg-type]
    table[1] = "plain"
    table[OddInt(1)] = "odd"
    assert table[1] == "plain"
    assert table[OddInt(1)] == "odd"


def test_a_nan_is_one_key(table: _core.Table[Any, Any]) -> None:
    table[float("nan")] = 1
    table[float("nan")] = 2
    assert table.values_list() == [2]


@pytest.mark.parametrize("key", [[], {}, {1}, ([],), bytearray(b"x")])
def test_what_cannot_be_hashed_is_no_key(table: _core.Table[Any, Any], key: Any) -> None:
    for call in (table.__getitem__, table.__contains__, table.discard, table.insert):
        with pytest.raises(TypeError, match="unhashable"):
            call(key)


def test_keys_that_cannot_be_pickled(table: _core.Table[Any, Any]) -> None:
    with pytest.raises(_core._errors.PicklingError, match="key"):  # type: ignore[attr-defined]
        table[lambda: 0] = 1
    with pytest.raises(TypeError, match="cannot be a key"):
        table[_core.Queue()] = 1
    assert len(table) == 0


def test_a_value_that_cannot_be_pickled_leaves_the_table_as_it_was(table: _core.Table[Any, Any]) -> None:
    table["a"] = 1
    with pytest.raises(TypeError):
        table["a"] = threading.Lock()
    with pytest.raises(TypeError):
        table.update_many([("b", 2), ("c", threading.Lock())])
    assert table.items_list() == [("a", 1)]


@pytest.mark.parametrize("size", [0, 1, 400, 600, 5000, 200_000, 3_000_000])
def test_values_of_any_size(table: _core.Table[Any, Any], size: int) -> None:
    for value in (b"x" * size, "y" * size, [b"x" * size, 1], bytearray(size)):
        for key in ("k", (1, 2.0), "k" * 1000):
            table[key] = value
            assert table[key] == value
        assert table.values_list() == [value] * 3
        assert table.popitem() == ("k" * 1000, value)
        table.clear()


def test_handles_in_values_keep_their_objects(table: _core.Table[Any, Any]) -> None:
    inner: _core.Table[str, int] = _core.Table()
    inner["x"] = 1
    mine = inner.id
    table["a"] = inner
    table["b"] = [inner, {"q": inner}]
    del inner
    assert table["a"]["x"] == 1
    assert table["a"].id == mine
    assert table["b"][1]["q"]["x"] == 1
    del table["b"]
    inner = table.pop("a")
    assert inner["x"] == 1
    assert len([o for o in inner.arena.objects() if o["id"] == mine]) == 1
    arena = inner.arena
    del inner
    assert not [o for o in arena.objects() if o["id"] == mine]


def test_update_with_a_default_and_without(table: _core.Table[Any, Any]) -> None:
    with pytest.raises(KeyError):
        table.update_with("n", operator.add, 1)
    assert table.update_with("n", operator.add, 5, default=0) == 5
    assert table.update_with("n", operator.add, 5) == 10
    with pytest.raises(ZeroDivisionError):
        table.update_with("n", operator.truediv, 0)
    assert table["n"] == 10


def test_update_with_is_atomic_among_threads(table: _core.Table[Any, Any]) -> None:
    table["n"] = 0

    def slowly(value: int) -> int:
        for _ in range(200):  # long enough for another thread to come in between
            value = value + 1 - 1
        return value + 1

    def work() -> None:
        for _ in range(200):
            table.update_with("n", slowly)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table["n"] == 1200


def test_version_counts_changes_and_wait_sees_them(table: _core.Table[Any, Any]) -> None:
    before = table.version
    assert not table.wait(before, 0.01)
    table["a"] = 1
    assert table.version == before + 1
    assert table.wait(before, 0)
    seen = table.version
    thread = threading.Thread(target=table.__setitem__, args=("a", 2))
    thread.start()
    assert table.wait(seen, 30)
    thread.join()


def test_a_closed_table_says_so(table: _core.Table[Any, Any]) -> None:
    table.close()
    with pytest.raises(_core._errors.HandleError, match="closed"):  # type: ignore[attr-defined]
        table["a"] = 1


def test_a_key_nested_too_deep_is_a_recursion_error(table: _core.Table[Any, Any]) -> None:
    key: Any = ()
    for _ in range(100_000):
        key = (key,)
    for _ in range(3):  # the count of the depth is as before
        with pytest.raises(RecursionError):
            table[key] = 1
    assert len(table) == 0


def test_a_set_within_an_object_is_no_key(table: _core.Table[Any, Any]) -> None:
    with pytest.raises(TypeError, match="there is a set in it"):
        table[fractions.Fraction, datetime.UTC, frozenset({"a"}), _Tagged(frozenset({"a", "b"}))] = 1
    table[frozenset({"a", "b"})] = 1
    assert table[frozenset({"b", "a"})] == 1


def test_what_changes_itself_while_it_is_read_is_an_error(table: _core.Table[Any, Any]) -> None:
    global _changing
    _changing = table
    table["v"] = _Changes()
    with pytest.raises(RuntimeError, match="as they were loaded"):
        table.items_list()
    with pytest.raises(RuntimeError, match="has changed the same key"):
        table.update_with("n", lambda n: table.__setitem__("n", n + 1) or n, default=0)
        table.update_with("n", lambda n: table.__setitem__("n", n + 1) or n)
    assert not table.is_mine()


def test_a_failure_in_the_users_transaction_stores_none(table: _core.Table[Any, Any]) -> None:
    items: _core.List[Any] = _core.List()
    transaction = _core.Transaction((table, items))
    transaction.begin()
    with pytest.raises(TypeError):
        table.update_many([("a", 1), ("b", threading.Lock())])
    with pytest.raises(TypeError):
        items.extend([1, threading.Lock()])
    transaction.commit()
    assert table.items_list() == []
    assert items.items_list() == []
