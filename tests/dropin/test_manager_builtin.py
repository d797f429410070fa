"""Managers of built-in kinds as programs use them, and what users register beside or instead of them."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from multiprocessing.managers import RemoteError
from typing import Any

import pytest

from . import registered
from .support import NEVER, SOON, Crew, in_thread

KINDS: dict[str, tuple[Any, ...]] = {
    "dict": ({"a": 1},),
    "list": ([1],),
    "Namespace": (),
    "Value": ("i", 1),
    "Array": ("i", [1, 2]),
    "Queue": (2,),
    "JoinableQueue": (),
    "Lock": (),
    "RLock": (),
    "Semaphore": (2,),
    "BoundedSemaphore": (2,),
    "Condition": (),
    "Event": (),
    "Barrier": (2,),
    "Pool": (1,),
}


@pytest.fixture
def manager(ctx: Any) -> Iterator[Any]:
    """What users call Manager()."""
    with ctx.Manager() as manager:
        yield manager


def test_it_is_started(ctx: Any, manager: Any) -> None:
    managers = importlib.import_module(f"{registered.of(ctx)}.managers")
    assert isinstance(manager, managers.SyncManager) and isinstance(manager, managers.BaseManager)
    assert manager.address
    assert manager._process.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_not_before_it_is_started_and_not_after(mp: Any, kind: str) -> None:
    managers = importlib.import_module(f"{mp.__name__}.managers")
    manager = managers.SyncManager(ctx=mp.get_context("fork"))
    make = getattr(manager, kind)
    with pytest.raises(AssertionError, match="server not yet started|has been shut down"):
        make(*KINDS[kind])
    manager.start()
    made = make(*KINDS[kind])
    if kind == "Pool":
        made.terminate()
    manager.shutdown()
    with pytest.raises(AssertionError, match="server not yet started|has been shut down"):
        make(*KINDS[kind])


def change(d: Any, x: Any, ns: Any, value: Any, array: Any, lock: Any, event: Any, jobs: Any) -> None:
    for _ in range(20):
        with lock:
            d["n"] += 1
            x.append(len(x))
            ns.n += 1
            value.value += 1
            array[0] += 1
    jobs.put("done")
    event.wait()


def test_children_change_all_of_it(manager: Any, crew: Crew) -> None:
    d, x, ns = manager.dict(n=0), manager.list(), manager.Namespace(n=0)
    value, array = manager.Value("i", 0), manager.Array("i", [0, 0])
    lock, event, jobs = manager.Lock(), manager.Event(), manager.Queue()
    for _ in range(3):
        crew.start(change, d, x, ns, value, array, lock, event, jobs)
    assert [jobs.get(timeout=SOON) for _ in range(3)] == ["done"] * 3
    event.set()
    crew.join()
    assert (d["n"], list(x), ns.n, value.value, array[0]) == (60, list(range(60)), 60, 60, 60)


def test_nested_proxies(manager: Any, crew: Crew) -> None:
    outer, inner = manager.list(), manager.dict()
    outer.append(inner)
    crew.join(crew.start(set_in_first, outer))
    assert outer[0]["came"] == "yes" and inner["came"] == "yes"


def set_in_first(outer: Any) -> None:
    outer[0]["came"] = "yes"


def test_locks_between_threads(manager: Any) -> None:
    for lock in (manager.Lock(), manager.RLock(), manager.Semaphore(1), manager.BoundedSemaphore(1)):
        with lock:
            assert in_thread(lambda lock=lock: lock.acquire(True, NEVER)) is False
        assert in_thread(lambda lock=lock: (lock.acquire(), lock.release())[0])


def test_condition(manager: Any) -> None:
    condition, state = manager.Condition(), manager.dict(ready=False)
    answers: list[Any] = []

    def wait() -> None:
        with condition:
            answers.append(condition.wait_for(lambda: state["ready"], SOON))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    with condition:
        state["ready"] = True
        condition.notify_all()
    thread.join(SOON)
    assert answers == [True]


def meet(barrier: Any, jobs: Any) -> None:
    jobs.put(barrier.wait(SOON))


def test_barrier(manager: Any, crew: Crew) -> None:
    barrier, jobs = manager.Barrier(3), manager.Queue()
    for _ in range(2):
        crew.start(meet, barrier, jobs)
    places = [barrier.wait(SOON), jobs.get(timeout=SOON), jobs.get(timeout=SOON)]
    assert sorted(places) == [0, 1, 2]
    crew.join()


def test_pool(manager: Any) -> None:
    with manager.Pool(2) as pool:
        assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
        assert pool.apply(divmod, (7, 2)) == (3, 1)
        result = pool.apply_async(abs, (-7,))
        result.wait(SOON)
        assert result.ready() and result.successful() and result.get(SOON) == 7
        assert list(pool.imap_unordered(abs, [-1])) == [1]
        assert list(pool.imap(abs, [-1, 2])) == [1, 2]
        with pytest.raises(ZeroDivisionError):
            pool.apply(divmod, (1, 0))


# ---- what users register


class MyDict(dict[Any, Any]):
    """A user's own."""

    def total(self) -> int:
        return sum(self.values())


def own_manager(module: str) -> Any:
    return OwnManager if module == "interproc" else OwnStockManager


def _make(module: str) -> Any:
    managers = importlib.import_module(f"{module}.managers")

    class Manager(managers.SyncManager):  # type: ignore[misc,name-defined]
        pass

    Manager.register("dict", MyDict)
    Manager.register("get_list", get_list, managers.ListProxy)
    Manager.register("get_lock", get_lock, managers.AcquirerProxy)
    Manager.register("get_namespace", get_namespace, managers.NamespaceProxy)
    Manager.register("Nest", Nest, method_to_typeid={"contents": "list"})
    return Manager


class Nest:
    """Its contents are to be a proxy."""

    def contents(self) -> list[int]:
        return [1, 2]


the_list = [1, 2]
the_lock = threading.Lock()
the_namespace = registered.Counter(4)


def get_list() -> list[int]:
    return the_list


def get_lock() -> Any:
    return the_lock


def get_namespace() -> Any:
    return the_namespace


OwnManager = _make("interproc")
OwnStockManager = _make("multiprocessing")
for _name in ("OwnManager", "OwnStockManager"):
    globals()[_name].__name__ = globals()[_name].__qualname__ = _name


@pytest.fixture
def own(ctx: Any) -> Iterator[Any]:
    """A manager with things registered by a user."""
    with own_manager(registered.of(ctx))(ctx=ctx) as manager:
        yield manager


def test_a_users_class_under_a_builtin_name(own: Any) -> None:
    d = own.dict(a=1, b=2)
    assert d.total() == 3
    d.update(c=3)
    assert d.total() == 6 and d.copy() == {"a": 1, "b": 2, "c": 3}
    assert list(own.list([1])) == [1]


def test_plain_objects_with_builtin_proxies(own: Any) -> None:
    x = own.get_list()
    x.append(3)
    x += [4]
    x[0] = 0
    assert own.get_list()[:] == [0, 2, 3, 4] and len(x) == 4 and 3 in x and list(x) == [0, 2, 3, 4]
    x.sort(reverse=True)
    assert str(x) == "[4, 3, 2, 0]" and x.index(3) == 1 and x.pop() == 0
    with own.get_lock():
        assert in_thread(lambda: own.get_lock().acquire(True, NEVER)) is False
    ns = own.get_namespace()
    ns.value += 1
    assert own.get_namespace().value == 5
    assert not hasattr(ns, "none")


def test_a_method_whose_result_is_a_builtin_kind(own: Any) -> None:
    contents = own.Nest().contents()
    contents.append(3)
    assert list(contents) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_locks_are_acquired_as_those_of_threading(manager: Any, kind: str) -> None:
    lock = getattr(manager, kind)()
    assert lock.acquire(blocking=False)
    if kind not in ("RLock", "Condition"):
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(False)
    lock.release()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_the_error_of_releasing_what_nobody_has_is_that_of_threading(manager: Any, kind: str) -> None:
    with pytest.raises(RuntimeError):
        getattr(manager, kind)().release()


def test_the_error_of_notifying_without_the_lock_is_that_of_threading(manager: Any) -> None:
    with pytest.raises(RuntimeError):
        manager.Condition().notify()


@pytest.mark.parametrize("name", ["DictProxy", "ListProxy", "NamespaceProxy", "ValueProxy"])
def test_what_a_proxy_exposes_can_be_extended(mp: Any, name: str) -> None:
    managers = importlib.import_module(f"{mp.__name__}.managers")
    assert "more" in managers.MakeProxyType("More", (*getattr(managers, name)._exposed_, "more"))._exposed_


def set_beyond(array: Any) -> None:
    with pytest.raises(OverflowError):
        array[0] = 300
    array[1] = 7


def test_an_array_refuses_what_does_not_fit(manager: Any, crew: Crew) -> None:
    array = manager.Array("b", [1, 2])
    crew.join(crew.start(set_beyond, array))
    set_beyond(array)
    assert array[0] == 1 and array[1] == 7 and len(array) == 2
    with pytest.raises(TypeError):
        array[0] = "x"
    with pytest.raises((OverflowError, RemoteError)):  # there, the server's
        manager.Array("b", [300])
    floats = manager.Array("d", [1.5])
    floats[0] = 2
    assert floats[0] == 2.0
