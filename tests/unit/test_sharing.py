"""share(): nested containers that are live all the way down; and plain copies of them."""

from __future__ import annotations

import collections
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.proxies import our_crew
from dropin.support import METHODS, SOON, Crew
from hypothesis import given, settings
from hypothesis import strategies as st

import interproc
from interproc import Arena
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.sets import SetProxy
from interproc.managers.sharing import share, unshare
from interproc.managers.values import ValueProxy


@pytest.fixture
def children() -> Iterator[Crew]:
    yield from our_crew()


def test_nested_containers_are_live_all_the_way_down() -> None:
    tree = share({"a": {"b": []}, "s": {1}, 3: [[{}]]})
    assert type(tree) is DictProxy and type(tree["a"]) is DictProxy and type(tree["a"]["b"]) is ListProxy
    assert type(tree["s"]) is SetProxy and type(tree[3][0][0]) is DictProxy
    tree["a"]["b"].append(1)
    tree["s"].add(2)
    tree[3][0][0]["x"] = "y"
    tree["a"]["c"] = 5
    plain = {"a": {"b": [1], "c": 5}, "s": {1, 2}, 3: [[{"x": "y"}]]}
    assert tree == plain and unshare(tree) == plain and tree._getvalue(deep=True) == plain
    assert str(tree) == str(plain) and repr(tree) == f"<DictProxy {plain}>"


def test_the_original_is_left_as_it_is() -> None:
    plain: dict[str, Any] = {"a": [1, {"b": 2}]}
    tree = share(plain)
    tree["a"].append(3)
    tree["a"][1]["b"] = 4
    assert plain == {"a": [1, {"b": 2}]} and type(plain["a"][1]) is dict


def test_what_is_stored_later_is_live_too() -> None:
    tree = share({})
    tree["set"] = {"x": [1]}
    tree["set"]["x"].append(2)
    tree.setdefault("default", []).append(3)
    tree.update(updated={"y": []}, other=1)
    tree["updated"]["y"].append(4)
    tree["items"] = []
    items = tree["items"]
    items.append([])
    items.extend([[], {}])
    items.insert(0, [])
    items[1] = {"z": []}
    items[4:] = [[5]]
    items += [[6]]
    for item in items:
        assert type(item) in (ListProxy, DictProxy)
    items[1]["z"].append(7)
    items[0].append(8)
    assert tree.update_with("made", lambda value: {"n": [value]}, default=9) is not None
    tree["made"]["n"].append(10)
    assert unshare(tree) == {
        "set": {"x": [1, 2]}, "default": [3], "updated": {"y": [4]}, "other": 1,
        "items": [[8], {"z": [7]}, [], {}, [5], [6]], "made": {"n": [9, 10]},
    }  # fmt: skip


def test_deep_ones_are_made_by_the_constructors_too() -> None:
    for container in (DictProxy({"k": [1]}, deep=True), NamespaceProxy({"k": [1]}, deep=True)):
        inner = container["k"] if isinstance(container, DictProxy) else container.k
        inner.append(2)
        assert str(container).count("[1, 2]") == 1
    value: ValueProxy[Any] = ValueProxy("x", {"k": []}, deep=True)
    value.value["k"].append(1)
    assert str(value) == "Value('x', {'k': [1]})"
    assert repr(unshare(value)) == str(value) and repr(unshare(NamespaceProxy({"k": [1]}, deep=True)))


def test_one_that_is_not_deep_stores_copies() -> None:
    d: DictProxy[str, Any] = DictProxy({"k": [1]})
    d["k"].append(2)
    assert d == {"k": [1]} and type(d["k"]) is list


def test_shared_references_stay_shared() -> None:
    inner = [1]
    tree = share({"a": inner, "b": inner, "c": [inner, inner]})
    tree["a"].append(2)
    assert tree["b"] == [1, 2] and tree["c"][1] == [1, 2]
    assert tree["a"]._identity() == tree["b"]._identity() == tree["c"][0]._identity()
    plain = unshare(tree)
    assert plain["a"] is plain["b"] is plain["c"][0] and plain["a"] == [1, 2]
    one: list[Any] = []
    tree = share([])
    tree.extend([one, [one]])
    tree[0].append(1)
    assert tree[1][0] == [1]
    d = share({})
    d.update(x=one, y=one)
    d["x"].append(1)
    assert d["y"] == [1]


def test_cycles_stay_cycles() -> None:
    a: dict[str, Any] = {}
    a["self"], a["list"] = a, [a]
    tree = share(a)
    tree["x"] = 1
    assert tree["self"]["list"][0]["x"] == 1
    assert str(tree) == "{'self': {...}, 'list': [{...}], 'x': 1}"
    plain = unshare(tree)
    assert plain["self"] is plain and plain["list"][0] is plain and plain["x"] == 1
    assert tree == tree and tree["self"] == tree
    tree.clear()


def test_is_shared_however_deep_it_is_nested() -> None:
    plain: list[Any] = []
    for _ in range(5000):
        plain = [plain]
    tree = share(plain)
    copied, depth = unshare(tree), 0
    while copied:
        copied, depth = copied[0], depth + 1
    assert depth == 5000


def test_exactly_dicts_lists_and_sets_become_live() -> None:
    default = collections.defaultdict(list, a=[1])
    tree = share({"t": ([1], {}), "d": default, "f": frozenset([1]), "b": bytearray(b"x")})
    assert type(tree["t"]) is tuple and type(tree["t"][0]) is list
    assert type(tree["d"]) is collections.defaultdict and type(tree["f"]) is frozenset
    tree["t"][0].append(2)
    assert tree["t"] == ([1], {})
    assert share(tree) is tree
    for wrong in (5, (1, 2), default, None, "text"):
        with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
            share(wrong)


def test_proxies_in_it_stay_what_they_are() -> None:
    items: ListProxy[Any] = ListProxy()
    tree = share({"l": items, "q": interproc.Queue()})
    tree["l"].append([1])
    tree["q"].put(5)
    assert items == [[1]] and type(items[0]) is list and tree["q"].get(timeout=SOON) == 5


def test_unshare_goes_into_plain_values_and_leaves_them() -> None:
    items = ListProxy([1])
    plain: dict[str, Any] = {}
    plain["t"], plain["self"], plain["l"] = (items, [items], "x"), plain, [items]
    copied = unshare(plain)
    assert copied["t"] == ([1], [[1]], "x") and type(copied["t"][0]) is list
    assert copied["self"] is copied and copied["t"][0] is copied["l"][0]
    assert plain["t"][0] is items and type(plain["l"][0]) is ListProxy
    assert unshare(5) == 5


def test_what_cannot_be_shared_leaves_nothing_behind() -> None:
    arena = Arena.create(limit=16 << 20)
    kept = share({}, arena)
    before = len(arena.objects())
    cycle: dict[str, Any] = {"ok": [[1], {2: {3}}]}
    cycle["self"], cycle["bad"] = [cycle], lambda: 0
    for call in (
        lambda: share(cycle, arena),
        lambda: kept.update(cycle),
        lambda: kept.setdefault("x", cycle),
    ):
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            call()
        assert kept == {} and len(arena.objects()) == before


def test_nested_ones_are_in_the_same_arena_and_freed_with_it() -> None:
    arena = Arena.create(limit=16 << 20)
    before = len(arena.objects())
    tree = share({"a": [{"b": {1}}]}, arena)
    assert len(arena.objects()) == before + 4
    tree["c"] = [[]]
    assert len(arena.objects()) == before + 6
    del tree["a"]
    assert len(arena.objects()) == before + 3
    kept = tree["c"]
    del tree
    assert len(arena.objects()) == before + 2
    kept[0].append(1)
    del kept
    assert len(arena.objects()) == before


def grow(tree: Any) -> None:
    tree["a"]["b"].append("child")
    tree["new"] = {"x": [1]}
    tree["new"]["x"].append(2)


@pytest.mark.parametrize("method", METHODS)
def test_children_see_and_grow_it(method: str) -> None:
    crew = Crew(interproc.get_context(method))
    try:
        tree = share({"a": {"b": []}})
        crew.start(grow, tree)
        crew.join()
        assert tree == {"a": {"b": ["child"]}, "new": {"x": [1, 2]}}
        tree["new"]["x"].append(3)  # its maker has ended
        assert unshare(tree["new"]) == {"x": [1, 2, 3]}
    finally:
        crew.end()


def append_all(tree: Any, who: int) -> None:
    for i in range(50):
        tree.setdefault("log", []).append((who, i))


def test_setdefault_of_a_container_is_one_for_all(children: Crew) -> None:
    tree = share({})
    for who in range(3):
        children.start(append_all, tree, who)
    children.join()
    log = unshare(tree)["log"]
    assert sorted(log) == [(who, i) for who in range(3) for i in range(50)]


def take(jobs: Any) -> None:
    jobs.get(timeout=SOON).append("child")


def test_a_nested_one_can_be_sent_alone(children: Crew) -> None:
    jobs: Any = interproc.Queue()
    children.start(take, jobs)
    tree = share({"a": []})
    jobs.put(tree["a"])
    children.join()
    assert tree == {"a": ["child"]}


TREES = st.recursive(
    st.one_of(st.integers(), st.text(max_size=3), st.none(), st.sets(st.integers(), max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=2), inner, max_size=4),
        st.tuples(inner, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(TREES)
def test_a_plain_copy_of_what_is_shared_is_the_same(plain: Any) -> None:
    tree = share([plain])
    assert unshare(tree) == [plain] and tree == [plain] and eval(str(tree)) == [plain]
