"""What all shared containers have: lock, watch, version, names, printing, copies, travelling."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from dropin.proxies import our_crew, outcome
from dropin.support import NEVER, SOON, Crew, in_thread

import interproc
from interproc import Arena, HandleError, InterprocError
from interproc.managers.containers import version_of
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.sets import SetProxy
from interproc.managers.values import ValueProxy


def make(kind: str, **options: Any) -> Any:
    made: dict[str, Callable[..., Any]] = {
        "dict": lambda: DictProxy({"a": 1}, **options),
        "list": lambda: ListProxy([1], **options),
        "set": lambda: SetProxy([1], **options),
        "Namespace": lambda: NamespaceProxy({"a": 1}, **options),
        "Value": lambda: ValueProxy("i", 1, **options),
    }
    return made[kind]()


def change(container: Any, value: int = 2) -> None:
    """Changes the value of what key_of() names, or puts the value in."""
    if isinstance(container, DictProxy):
        container["a"] = value
    elif isinstance(container, ListProxy):
        container[0] = value
    elif isinstance(container, SetProxy):
        container.add(value)
    elif isinstance(container, NamespaceProxy):
        container.a = value
    else:
        container.value = value


KINDS = ("dict", "list", "set", "Namespace", "Value")
TEXTS = {
    "dict": "{'a': 1}",
    "list": "[1]",
    "set": "{1}",
    "Namespace": "Namespace(a=1)",
    "Value": "Value('i', 1)",
}
KEYS: dict[str, Any] = {"dict": "a", "list": 0, "set": 2, "Namespace": "a", "Value": None}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def children() -> Iterator[Crew]:
    yield from our_crew()


# ---- the lock ----------------------------------------------------------------------------------------------


def hold(container: Any, held: Any, go: Any) -> None:
    with container.lock() as same:
        change(same)
        held.put(True)
        go.get(timeout=SOON)
        change(same, 3)


def test_others_wait_while_it_is_locked(kind: str, children: Crew) -> None:
    container, held, go = make(kind), interproc.Queue[bool](), interproc.Queue[bool]()
    before = str(container)
    child = children.start(hold, container, held, go)
    held.get(timeout=SOON)
    message = r"lock of <interproc.*#.*for 0.05 s"
    with pytest.raises(TimeoutError, match=message), container.lock(timeout=NEVER):
        pass
    assert not container.watch(timeout=NEVER)
    assert not container.watch(KEYS[kind], NEVER)
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.append(str(container)), daemon=True)
    reader.start()
    reader.join(NEVER)
    assert not seen
    go.put(True)
    reader.join(SOON)
    children.join(child)
    assert seen and seen[0] == str(container) != before


def test_the_lock_of_a_killed_process_passes_on(kind: str, children: Crew) -> None:
    container, held, go = make(kind), interproc.Queue[bool](), interproc.Queue[bool]()
    child = children.start(hold, container, held, go)
    held.get(timeout=SOON)
    children.kill(child)
    with container.lock(timeout=SOON):
        change(container, 5)
    assert "5" in str(container)


def test_the_lock_is_recursive_and_ends_after_an_exception(kind: str) -> None:
    container = make(kind)
    with pytest.raises(ZeroDivisionError), container.lock(), container.lock(0):
        change(container)
        raise ZeroDivisionError
    assert in_thread(lambda: use_lock(container)) is container
    with pytest.raises(RuntimeError, match="not locked|has not"):
        container.lock().__exit__(None, None, None)


def use_lock(container: Any) -> Any:
    with container.lock(timeout=0) as same:
        return same


def increment(container: Any, n: int) -> None:
    for _ in range(n):
        with container.lock():
            if isinstance(container, DictProxy):
                container["a"] = container["a"] + 1
            elif isinstance(container, ListProxy):
                container[0] += 1
            elif isinstance(container, SetProxy):
                container.add(container.pop() + 1)
            elif isinstance(container, NamespaceProxy):
                container.a += 1
            else:
                container.value += 1


def test_steps_under_the_lock_are_one(kind: str, children: Crew) -> None:
    container = make(kind)
    for _ in range(3):
        children.start(increment, container, 100)
    children.join()
    assert str(container) == TEXTS[kind].replace("1", "301")


def test_changes_of_several_things_under_the_lock() -> None:
    items, d, s = ListProxy([3, 1, 2]), DictProxy(a=1), SetProxy([1, 2])
    with items.lock(), d.lock(), s.lock():
        items.sort()
        items[::2] = [7, 8]
        items += items
        del items[:2]
        d.update(b=2, c=3)
        s &= {2, 3}
        assert (items, d, s) == ([8, 7, 2, 8], {"a": 1, "b": 2, "c": 3}, {2})
        for container, change in ((items, items.extend), (d, d.update), (s, s.update)):
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                change({9: 9, "bad": lambda: 0}.items() if container is d else [9, lambda: 0])
    assert (items, d, s) == ([8, 7, 2, 8], {"a": 1, "b": 2, "c": 3}, {2})


# ---- watching ----------------------------------------------------------------------------------------------


def change_until(container: Any, stop: Any) -> None:
    n = 2
    while not stop.is_set():
        n += 1
        if isinstance(container, SetProxy) and not container.add(KEYS["set"]):
            container.remove(KEYS["set"])
        elif not isinstance(container, SetProxy):
            change(container, n)


@pytest.mark.parametrize("with_key", [False, True])
def test_watch_sees_another_process_change_it(kind: str, with_key: bool, children: Crew) -> None:
    container, stop = make(kind), interproc.Event()
    children.start(change_until, container, stop)
    key = KEYS[kind] if with_key else None
    assert container.watch(key, SOON) and container.watch(key, SOON)
    stop.set()
    children.join()
    assert not container.watch(key, NEVER)


def test_watch_gives_up_in_time(kind: str) -> None:
    container = make(kind)
    began = time.monotonic()
    assert container.watch(timeout=NEVER) is False
    assert container.watch(KEYS[kind], NEVER) is False
    assert container.watch(timeout=0) is False
    assert time.monotonic() - began >= 2 * NEVER


def test_watch_since_misses_nothing(kind: str) -> None:
    container = make(kind)
    version = container.version
    assert version == version_of(container)
    assert not container.watch(since=version, timeout=0)
    change(container)
    assert container.version > version
    assert container.watch(since=version, timeout=0) and container.watch(KEYS[kind], 0, since=version)
    assert not container.watch(since=container.version, timeout=0)


def test_watching_a_key_other_changes_do_not_count() -> None:
    d, items, s, ns = DictProxy(a=1, b=1), ListProxy([1, 2]), SetProxy([1]), NamespaceProxy(a=1)

    def others(go: threading.Event) -> None:
        while not go.is_set():
            d["b"] += 1
            d["a"] = 1
            items[1] += 1
            s.add(len(s) + 10)
            ns.b = 1

    go = threading.Event()
    thread = threading.Thread(target=others, args=(go,), daemon=True)
    thread.start()
    try:
        assert not d.watch("a", NEVER) and not d.watch("none", NEVER)
        assert not items.watch(0, NEVER) and not items.watch(5, NEVER)
        assert not s.watch(1, NEVER) and not s.watch(2, NEVER)
        assert not ns.watch("a", NEVER)
        assert d.watch("b", SOON) and items.watch(-1, SOON)
    finally:
        go.set()
        thread.join(SOON)


class Stepping(DictProxy[str, Any]):
    """A dict that something happens to just after it was first looked at."""

    __slots__ = ()
    steps: ClassVar[list[Callable[[Any], Any]]] = []

    def _peek(self, key: Any) -> Any:
        try:
            return super()._peek(key)
        finally:
            if self.steps:
                self.steps.pop()(self)


@pytest.mark.parametrize(
    ("before", "step", "told"),
    [
        ({}, lambda d: d.update(k=1), True),
        ({"k": 1}, lambda d: d.clear(), True),
        ({"k": 1}, lambda d: d.update(k=1.0), True),
        ({"k": [1]}, lambda d: d.update(k=[1, 2]), True),
        ({"k": float("nan")}, lambda d: d.update(other=1), False),
        ({"k": [1]}, lambda d: d.update(k=[1]), False),
        ({}, lambda d: d.update(other=1), False),
    ],
)
def test_watching_a_key_sees_it_come_change_and_go(before: Any, step: Any, told: bool) -> None:
    d = Stepping(before)
    Stepping.steps.append(step)
    assert d.watch("k", NEVER) is told and not Stepping.steps


def test_watching_what_this_thread_has_locked_is_refused(kind: str) -> None:
    container = make(kind)
    with container.lock(), pytest.raises(RuntimeError, match="would never end"):
        container.watch(timeout=0)


# ---- identity, names, travelling ---------------------------------------------------------------------------


def test_travels_and_copies_as_the_same(kind: str) -> None:
    container = make(kind)
    for same in (pickle.loads(pickle.dumps(container)), copy.copy(container)):
        assert type(same) is type(container) and same._identity() == container._identity()
        change(same, 7)
        assert str(same) == str(container) != TEXTS[kind]


def test_a_subclass_stays_one() -> None:
    class Configuration(DictProxy[str, int]):
        __slots__ = ()

    globals()["Configuration"] = Configuration
    Configuration.__qualname__ = "Configuration"
    d = Configuration({"a": 1})
    inside = ListProxy([d])
    assert type(inside[0]) is Configuration and inside[0] == {"a": 1}
    assert repr(d) == "<Configuration {'a': 1}>"


def test_in_an_arena(kind: str) -> None:
    arena = Arena.create(limit=16 << 20)
    container = make(kind, arena=arena)
    assert container._identity()[0] == arena.uid != Arena.default().uid
    assert str(container) == TEXTS[kind]


def test_by_name_there_is_one_and_only_a_new_one_gets_the_contents(kind: str) -> None:
    name = f"containers-{os.getpid()}/{kind}"
    first = make(kind, name=name)
    change(first, 5)
    again = make(kind, name=name)
    assert again._identity() == first._identity() and str(again) == str(first)


def open_named(kind: str, name: str, results: Any) -> None:
    results.put(str(make(kind, name=name)))


def test_many_that_open_a_name_at_once_agree(kind: str, children: Crew) -> None:
    name, results = f"containers-{os.getpid()}/{kind}-race", interproc.Queue[str]()
    for _ in range(4):
        children.start(open_named, kind, name, results)
    assert {results.get(timeout=SOON) for _ in range(4)} == {TEXTS[kind]}


def test_of_a_name_that_is_of_another_kind(kind: str) -> None:
    name = f"containers-{os.getpid()}/{kind}-taken"
    kept = make(kind, name=name)
    for other in KINDS:
        if other != kind:
            with pytest.raises(HandleError):
                make(other, name=name)
    assert str(kept) == TEXTS[kind]


# ---- printing and plain copies -----------------------------------------------------------------------------


def test_prints_as_the_plain_object(kind: str) -> None:
    container = make(kind)
    assert str(container) == TEXTS[kind] == f"{container}" == repr(container._getvalue())
    proxy = type(container).__name__
    expected = TEXTS[kind] if kind in ("Namespace", "Value") else f"<{proxy} {TEXTS[kind]}>"
    assert repr(container) == expected


def test_prints_what_contains_itself() -> None:
    d: DictProxy[str, Any] = DictProxy()
    items: ListProxy[Any] = ListProxy()
    d["l"] = items
    items.append(d)
    assert str(d) == "{'l': <ListProxy [<DictProxy {...}>]>}"
    assert str(items) == "[<DictProxy {'l': <ListProxy [...]>}>]"
    ns, v = NamespaceProxy(d=d), ValueProxy("x", [d])
    items[:] = [ns, v]
    assert str(d) == "{'l': <ListProxy [Namespace(d=<DictProxy {...}>), Value('x', [<DictProxy {...}>])]>}"
    assert str(ns).count("Namespace(...)") == 1 == str(v).count("Value(...)")
    items.clear()
    assert str(d) == "{'l': <ListProxy []>}"


def test_printing_a_closed_one_names_it(kind: str) -> None:
    container = make(kind)
    container.close()
    for text in (str(container), repr(container)):
        assert type(container).__name__ in text and "closed" in text
    assert outcome(container._getvalue) is HandleError
    type(container).close(container)


def test_a_value_that_cannot_be_read_does_not_break_repr() -> None:
    class Gone:
        def __reduce__(self) -> Any:
            return int, ("no number",)

    d = DictProxy({"a": Gone()})
    assert "cannot be read" in repr(d) and "cannot be read" in str(d)
    with pytest.raises(InterprocError):
        d["a"]
    d["a"] = 1
    assert d == {"a": 1}


def test_plain_copies_keep_proxies_unless_deep() -> None:
    d = DictProxy({"l": ListProxy([1])})
    assert type(d._getvalue()["l"]) is ListProxy and type(copy.deepcopy(d)["l"]) is ListProxy
    assert type(d._getvalue(deep=True)["l"]) is list
    deep = DictProxy({"l": [1]}, deep=True)
    assert type(deep.copy()["l"]) is ListProxy and copy.deepcopy(deep) == {"l": [1]}
    assert type(copy.deepcopy(deep)["l"]) is list
