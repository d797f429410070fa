"""The shared namespace: as multiprocessing's manager gives it (on both), and what interproc's has besides."""

from __future__ import annotations

import copy
import functools
import operator
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from interproc import InterprocError
from interproc.managers.namespaces import Namespace, NamespaceProxy

from .proxies import kinds_of, our_crew, outcome
from .support import MODULES, SOON, Crew

# ---- what multiprocessing defines --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=MODULES)
def kinds(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from kinds_of(request.param)


def test_attributes(kinds: Any) -> None:
    ns = kinds.Namespace(x=1)
    ns.y = [1, 2]
    ns.x += 5
    assert (ns.x, ns.y) == (6, [1, 2])
    ns.y.append(3)
    assert ns.y == [1, 2]
    del ns.y
    assert hasattr(ns, "x") and not hasattr(ns, "y")
    assert getattr(ns, "y", "default") == "default"
    setattr(ns, "not an identifier", 7)
    assert getattr(ns, "not an identifier") == 7
    assert bool(kinds.Namespace())


NAMES = (
    "name", "job", "id", "arena", "end", "closed", "close", "get", "set", "pop", "clear", "keys", "items",
    "add", "lock", "watch", "version", "wait", "acquire", "release", "update_with", "value", "deep",
    "flavour", "insert", "discard", "items_list", "self",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_the_users(kinds: Any, name: str) -> None:
    ns = kinds.Namespace()
    setattr(ns, name, "mine")
    ns.other = 1
    assert getattr(ns, name) == "mine" and ns.other == 1
    assert str(ns) == "Namespace({})".format(", ".join(sorted([f"{name}='mine'", "other=1"])))
    same = pickle.loads(pickle.dumps(ns)) if isinstance(ns, NamespaceProxy) else copy.copy(ns)
    assert getattr(same, name) == "mine"
    delattr(ns, name)
    assert getattr(ns, name, None) != "mine"


def test_names_with_an_underscore_are_local(kinds: Any) -> None:
    ns = kinds.Namespace(x=1, _hidden=2)
    ns._local = 3
    same = copy.copy(ns)
    assert ns._local == 3
    assert not hasattr(same, "_local") and not hasattr(ns, "_hidden")
    assert str(ns) == "Namespace(x=1)"
    del ns._local
    assert not hasattr(ns, "_local")
    assert outcome(delattr, ns, "_local") is AttributeError


def test_prints_its_attributes_sorted(kinds: Any) -> None:
    ns = kinds.Namespace(y=1, x="a")
    assert str(ns) == "Namespace(x='a', y=1)"
    assert str(kinds.Namespace()) == "Namespace()"


def test_a_missing_attribute(kinds: Any) -> None:
    ns = kinds.Namespace(x=1)
    for call in (lambda: ns.z, lambda: delattr(ns, "z")):
        with pytest.raises(AttributeError, match="'z'" if isinstance(ns, NamespaceProxy) else "z"):
            call()


def test_a_proxy_in_it_is_live(kinds: Any) -> None:
    ns = kinds.Namespace(items=kinds.list())
    ns.items.append(1)
    assert ns.items[:] == [1]


def test_a_plain_copy_of_it(kinds: Any) -> None:
    ns = kinds.Namespace(x=1)
    for plain in (ns._getvalue(), copy.deepcopy(ns)):
        assert type(plain).__name__ == "Namespace"
        plain.x = 2
        assert repr(plain) == "Namespace(x=2)" and ns.x == 1
    assert ns._callmethod("__getattribute__", ("x",)) == 1
    ns._callmethod("__setattr__", ("x", 3))
    assert ns.x == 3
    ns._callmethod("__delattr__", ("x",))
    assert not hasattr(ns, "x")


def test_what_cannot_be_pickled_changes_nothing(kinds: Any) -> None:
    ns = kinds.Namespace(x=1)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        ns.x = lambda: 0
    assert ns.x == 1


@pytest.fixture
def kinds_for(ctx: Any) -> Iterator[Any]:
    yield from kinds_of(ctx)


def change(ns: Any) -> None:
    ns.x += 5
    ns.y *= 10
    ns.inner.append("child")


def test_a_child_shares_it(crew: Crew, kinds_for: Any) -> None:
    ns = kinds_for.Namespace(x=1, y=1, inner=kinds_for.list())
    before = str(ns)
    crew.start(change, ns)
    crew.join()
    assert ns.inner[:] == ["child"]
    del ns.inner
    assert (before[:9], str(ns)) == ("Namespace", "Namespace(x=6, y=10)")


def take(jobs: Any) -> None:
    ns = jobs.get(timeout=SOON)
    ns.answer = ns.question * 2


def test_can_be_sent_at_any_time(ctx: Any, crew: Crew, kinds_for: Any) -> None:
    jobs = ctx.Queue()
    crew.start(take, jobs)
    ns = kinds_for.Namespace(question=21)
    jobs.put(ns)
    crew.join()
    assert ns.answer == 42


# ---- what interproc's has besides --------------------------------------------------------------------------


@pytest.fixture
def children() -> Iterator[Crew]:
    yield from our_crew()


def test_prints_as_itself() -> None:
    ns = NamespaceProxy(x=1, y=1)
    assert repr(ns) == str(ns) == "Namespace(x=1, y=1)"


def test_a_missing_attribute_is_explained() -> None:
    ns = NamespaceProxy(colour="red", size=3)
    with pytest.raises(AttributeError, match="no attribute 'color'; it has colour, size$") as caught:
        print(ns.color)
    assert caught.value.name == "color"
    ns = NamespaceProxy({f"x{i:02}": i for i in range(20)})
    with pytest.raises(AttributeError, match="it has x00, .*, x11 and 8 more$"):
        ns.add("y", 1)
    with pytest.raises(AttributeError, match="it has none$"):
        del NamespaceProxy().x


def test_lists_its_attributes() -> None:
    ns = NamespaceProxy({"x": 1, "name": 2})
    assert {"x", "name", "add", "lock", "watch", "update_with"} <= set(dir(ns))
    assert "items_list" not in dir(ns) and "_getvalue" in dir(ns)


def test_is_no_mapping() -> None:
    ns = NamespaceProxy(x=1)
    for call in (len, iter, lambda n: n["x"], lambda n: "x" in n, lambda n: n.__setitem__("x", 1)):
        assert outcome(call, ns) is TypeError
    assert type(hash(ns)) is int


def count(ns: Any, n: int) -> None:
    for _ in range(n):
        ns.add("x", 1)


def test_add_loses_no_update(children: Crew) -> None:
    ns = NamespaceProxy(x=0)
    for _ in range(3):
        children.start(count, ns, 300)
    children.join()
    assert ns.x == 900


def test_atomic_changes() -> None:
    ns = NamespaceProxy(x=1)
    assert ns.add("x", 5) == 1 and ns.x == 6
    assert ns.update_with("x", operator.mul, 2) == 12 and ns.update_with("y", operator.add, 1, default=3) == 4
    assert ns.compare_exchange("x", 12, "new") and not ns.compare_exchange("x", 12, 13) and ns.x == "new"
    assert outcome(ns.compare_exchange, "none", 1, 2) is AttributeError
    assert outcome(ns.add, "x", 1) is TypeError and ns.x == "new"
    assert outcome(ns.update_with, "y", lambda y: {}[y]) is KeyError
    assert not hasattr(ns, "none")


def test_the_methods_are_there_until_an_attribute_has_the_name() -> None:
    ns = NamespaceProxy(x=1)
    ns.add("x", 1)
    ns.add = "mine"
    assert ns.add == "mine" and NamespaceProxy.add(ns, "x", 1) == 2
    del ns.add
    assert ns.add("x", 1) == 3
    version = ns.version
    ns.version = "1.0"
    with NamespaceProxy.lock(ns):
        assert ns.version == "1.0"
    assert NamespaceProxy.watch(ns, since=version, timeout=0)


def test_a_plain_namespace_is_this_modules() -> None:
    plain = NamespaceProxy(x=1, _y=2)._getvalue()
    assert type(plain) is Namespace and vars(plain) == {"x": 1, "_y": 2}
    assert vars(pickle.loads(pickle.dumps(plain))) == {"x": 1, "_y": 2}


def test_a_closed_one_says_so() -> None:
    ns = NamespaceProxy(x=1)
    ns._note = 1
    NamespaceProxy.close(ns)
    for call in (lambda: ns.x, functools.partial(setattr, ns, "x", 1)):
        with pytest.raises(InterprocError, match="closed"):
            call()
    assert "closed" in repr(ns) and "closed" in str(ns) and ns._note == 1
