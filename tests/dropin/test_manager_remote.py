"""Built-in kinds from where the server's memory is out of reach: the same calls, by remote proxies."""

from __future__ import annotations

import copy
import gc
import operator
import pickle
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import interproc
from interproc import managers
from interproc.managers import channel

from .support import NEVER, SOON, Crew, in_thread, until


class Manager(managers.SyncManager):
    """With an object of the user's."""


class Named(managers.DictProxy[Any, Any]):
    """A proxy type with a method of its own."""

    def shout(self) -> str:
        return str(self["name"]).upper()


plain: dict[str, Any] = {"name": "ann"}
Manager.register("get_plain", lambda: plain, proxytype=managers.DictProxy)
Manager.register("get_named", lambda: plain, proxytype=Named)


@pytest.fixture
def near() -> Iterator[Any]:
    """The manager that has started the server."""
    with Manager(address=("127.0.0.1", 0), authkey=b"k", ctx=interproc.get_context("fork")) as manager:
        yield manager


@pytest.fixture
def far(near: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One that is connected over TCP, and says that it has no memory in common with the server."""
    monkeypatch.setattr(channel, "arenas", list)
    manager = Manager(address=near.address, authkey=b"k")
    manager.connect()
    assert manager._joined is None
    return manager


@pytest.fixture(params=["near", "far"])
def manager(request: pytest.FixtureRequest) -> Any:
    """Either: the same test."""
    return request.getfixturevalue(request.param)


def test_dict(manager: Any) -> None:
    d = manager.dict({"a": 1}, b=2)
    d["c"] = [3]
    assert d["c"] == [3] and "a" in d and "z" not in d and len(d) == 3
    assert list(d) == ["a", "b", "c"] == list(d.keys())
    assert list(reversed(d)) == ["c", "b", "a"]
    assert list(d.values()) == [1, 2, [3]]
    assert list(d.items()) == [("a", 1), ("b", 2), ("c", [3])]
    assert d == {"a": 1, "b": 2, "c": [3]} and d != {}
    assert d | {"a": 0} == {"a": 0, "b": 2, "c": [3]} and {"q": 1} | d == {"q": 1, **d.copy()}
    d |= {"e": 5}
    d.update([("f", 6)], g=7)
    assert d.pop("e") == 5 and d.pop("none", 0) == 0 and d.popitem() == ("g", 7)
    del d["f"]
    assert d.setdefault("a", 9) == 1 and d.get("none") is None
    for wrong in (lambda: d["none"], lambda: d.pop("none"), lambda: operator.delitem(d, "none")):
        with pytest.raises(KeyError):
            wrong()
    assert d.update_with("a", operator.add, 10) == 11
    assert d.compare_exchange("a", 11, 12) and not d.compare_exchange("a", 11, 13)
    version = d.version
    d["a"] = 0
    assert d.version > version
    assert str(d) == str({"a": 0, "b": 2, "c": [3]})
    assert d._getvalue() == copy.deepcopy(d) == {"a": 0, "b": 2, "c": [3]}
    d.clear()
    assert not d and dict(d) == {}


def test_list(manager: Any) -> None:
    x = manager.list([3, 1, 2])
    x.append(5)
    x += [4]
    assert x[:] == [3, 1, 2, 5, 4] == list(x) == x.copy()
    assert x[-1] == 4 and len(x) == 5 and 5 in x and x.index(2) == 2 and x.count(9) == 0
    x.sort()
    x.reverse()
    assert x == [5, 4, 3, 2, 1] and x != [1] and x > [1]
    x.insert(0, 6)
    x.extend([0, 0])
    x.remove(0)
    assert x.pop() == 0 and x.pop(0) == 6
    x[1:3] = ["a"]
    x[0] = "b"
    del x[-1]
    assert list(reversed(x)) == [2, "a", "b"]
    assert operator.add(x, [1]) == ["b", "a", 2, 1] and x * 2 == ["b", "a", 2] * 2 == 2 * x
    x *= 2
    assert len(x) == 6 and x.update_with(2, operator.add, 5) == 7
    with pytest.raises(IndexError):
        x[10]
    with pytest.raises(ValueError):
        x.remove("none")
    assert str(x) == "['b', 'a', 7, 'b', 'a', 2]"


def test_set(manager: Any) -> None:
    s = manager.set([1, 2])
    s.add(3)
    s.discard(9)
    assert s == {1, 2, 3} and 3 in s and len(s) == 3 and set(s) == {1, 2, 3}
    assert s | {4} == {1, 2, 3, 4} and s & {1} == {1} and s - {1} == {2, 3} and s ^ {1} == {2, 3}
    s |= {4}
    s &= {1, 2, 4}
    s -= {1}
    s ^= {2, 7}
    assert s == {4, 7} and s <= {4, 7, 8} and s.isdisjoint([1])
    with pytest.raises(KeyError):
        s.remove(1)


def test_namespace_and_value(manager: Any) -> None:
    ns = manager.Namespace(x=1, y="a")
    ns.x += 5
    del ns.y
    assert ns.x == 6 and not hasattr(ns, "y")
    assert ns.add("x", 4) == 6
    ns._own = 1
    assert str(ns) == "Namespace(x=10)"
    value = manager.Value("i", 3)
    value.value += 1
    assert value.value == 4 == value.get() and value.add(2) == 4
    value.set("any")
    assert value.value == "any"


def test_array(manager: Any) -> None:
    array = manager.Array("i", [1, 2, 3])
    array[0] = 7
    assert array[:] == [7, 2, 3] == list(array) and len(array) == 3
    array[1:] = [8, 9]
    assert array[2] == 9


def test_queue(manager: Any) -> None:
    q = manager.Queue(2)
    q.put("a")
    q.put("b")
    assert q.full() and q.qsize() == 2
    with pytest.raises(queue.Full):
        q.put_nowait("c")
    assert q.get() == "a" and q.get(timeout=SOON) == "b" and q.empty()
    with pytest.raises(queue.Empty):
        q.get(timeout=NEVER)
    q.task_done()
    q.task_done()
    q.join()
    with pytest.raises(ValueError):
        q.task_done()


def test_locks(manager: Any) -> None:
    for lock in (manager.Lock(), manager.RLock()):
        with lock:
            assert in_thread(lambda lock=lock: lock.acquire(timeout=NEVER)) is False
        assert in_thread(lambda lock=lock: (lock.acquire(), lock.release())[0]) is True
    rlock = manager.RLock()
    assert rlock.acquire() and rlock.acquire()
    rlock.release()
    rlock.release()
    with pytest.raises((AssertionError, RuntimeError, ValueError)):
        rlock.release()
    semaphore = manager.BoundedSemaphore(1)
    assert semaphore.acquire() and not semaphore.acquire(False)
    semaphore.release()
    with pytest.raises(ValueError):
        semaphore.release()


def test_condition_event_barrier(manager: Any) -> None:
    condition, event, barrier = manager.Condition(), manager.Event(), manager.Barrier(2)
    done: list[Any] = []

    def other() -> None:
        barrier.wait()
        with condition:
            done.append(condition.wait_for(event.is_set, SOON))

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    barrier.wait()
    assert (barrier.parties, barrier.broken) == (2, False)
    with condition:
        event.set()
        condition.notify_all()
    thread.join(SOON)
    assert done == [True] and event.wait(NEVER)
    event.clear()
    assert not event.wait(NEVER)


def test_pool(manager: Any) -> None:
    with manager.Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
        assert pool.apply_async(abs, (-3,)).get(SOON) == 3
        assert list(pool.imap(abs, [-1, -2])) == [1, 2]


def test_live_nested_containers(manager: Any) -> None:
    tree = manager.share({"a": {"b": []}, "s": {1}})
    tree["a"]["b"].append(1)
    assert tree["a"]["b"] == [1]
    tree["a"]["c"] = {"d": 2}
    tree["a"]["c"]["d"] += 1
    assert tree["a"]["c"]["d"] == 3
    assert dict(tree.items())["a"]["c"] == {"d": 3}


def test_a_proxy_in_a_proxy(manager: Any) -> None:
    outer, inner = manager.dict(), manager.list()
    outer["inner"] = inner
    outer["inner"].append(1)
    assert inner == [1]
    jobs = manager.Queue()
    jobs.put({"to": [inner]})
    jobs.get()["to"][0].append(2)
    assert inner == [1, 2]


def test_near_and_far_see_the_same(near: Any, far: Any) -> None:
    near.root["d"] = {"x": 1}
    assert far.root["d"]["x"] == 1
    far.root["d"]["y"] = [2]
    near.root["d"]["y"].append(3)
    assert far.root["d"]["y"] == [2, 3]
    jobs = far.open("jobs", far.Queue)
    jobs.put(5)
    assert near.open("jobs").get(timeout=SOON) == 5
    with pytest.raises(KeyError):
        far.open("none")


def test_transactions(manager: Any) -> None:
    a, b = manager.dict(n=1), manager.list([1])
    with manager.transaction(a, b):
        a["n"] += 1
        b.append(2)
    assert (a["n"], b[:]) == (2, [1, 2])
    with pytest.raises(LookupError), manager.transaction(a, b):
        a["n"] = 0
        b.clear()
        raise LookupError
    assert (a["n"], b[:]) == (2, [1, 2])


def test_lock_and_watch(manager: Any) -> None:
    d = manager.dict(n=0)
    with d.lock():
        waiting = threading.Thread(target=lambda: d.update(n=1), daemon=True)
        waiting.start()
        assert in_thread(lambda: d.acquire(NEVER)) is False
        assert d["n"] == 0
    waiting.join(SOON)
    assert d["n"] == 1
    assert d.watch(timeout=NEVER) is False


def test_save_and_load(manager: Any, tmp_path: Any) -> None:
    manager.root["k"] = {"deep": [1]}
    manager.save(str(tmp_path / "file"))
    manager.root["k"]["deep"].append(2)
    manager.load(str(tmp_path / "file"))
    assert manager.root["k"]["deep"] == [1]


def test_a_client_that_goes_gives_back_its_locks(near: Any, far: Any) -> None:
    d, lock = far.dict(), far.Lock()

    def take() -> None:
        d.acquire()
        lock.acquire()

    in_thread(lambda: [take()])  # and ends, with its connection
    assert lock.acquire(timeout=SOON)
    d["x"] = 1
    assert d["x"] == 1


def test_a_proxy_type_of_a_builtin_kind_for_a_plain_object(manager: Any) -> None:
    d = manager.get_plain()
    d["age"] = 3
    assert d["name"] == "ann" and sorted(d) == ["age", "name"] and len(d) == 2
    assert manager.get_named().shout() == "ANN"


def use(d: Any, x: Any) -> None:
    x.append(d["n"])
    d["n"] += 1


def test_children_of_a_far_client(far: Any, crew: Crew) -> None:
    d, x = far.dict(n=1), far.list()
    for _ in range(2):
        crew.join(crew.start(use, d, x))
    assert x == [1, 2] and d["n"] == 3


def test_what_far_clients_hold_is_counted(near: Any, far: Any) -> None:
    base = near._number_of_objects()
    d = far.share({"a": {"b": 1}})
    nested = d["a"]
    assert near._number_of_objects() == base + 2
    again = pickle.loads(pickle.dumps(nested))
    del nested, d
    gc.collect()
    assert again["b"] == 1
    del again
    gc.collect()
    until(lambda: near._number_of_objects() == base)


def test_an_argument_that_cannot_be_sent(far: Any) -> None:
    d = far.dict()
    with pytest.raises((pickle.PicklingError, TypeError)):
        d["x"] = threading.Lock()
    d["x"] = 1
    assert d["x"] == 1


def test_managers_can_be_sent(manager: Any) -> None:
    context = interproc.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=use_manager, args=(manager, results))
    process.start()
    assert results.get() == [1, 2]
    process.join(SOON)
    assert process.exitcode == 0


def use_manager(manager: Any, results: Any) -> None:
    x = manager.list([1])
    x.append(2)
    assert not hasattr(manager, "shutdown")
    results.put(x[:])


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Forked children."""
    crew = Crew(interproc.get_context("fork"))
    yield crew
    crew.end()
