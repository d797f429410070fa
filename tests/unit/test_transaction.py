"""transaction(): all at once or not at all, for every kind of container; its errors; no deadlocks."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.support import NEVER, SOON, in_thread
from hypothesis import given, settings
from hypothesis import strategies as st

import interproc as mp
from interproc import Arena
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.sets import SetProxy
from interproc.managers.sharing import share, unshare
from interproc.managers.transaction import transaction
from interproc.managers.values import ValueProxy


class Refused(Exception):
    """What a body of a test raises."""


def is_free(container: Any) -> bool:
    """Whether another thread can lock it."""

    def lock() -> bool:
        if not container.acquire(NEVER):
            return False
        container.release()
        return True

    return bool(in_thread(lock))


def everything() -> tuple[Any, ...]:
    """One of each kind, with something in it."""
    return (
        DictProxy({"a": 1, "b": [2], 3: None}),
        ListProxy([5, 3, 4, "x" * 1000]),
        SetProxy([1, 2, 3]),
        NamespaceProxy({"x": 1, "name": "n"}),
        ValueProxy("i", 7),
    )


def plain(containers: tuple[Any, ...]) -> list[Any]:
    """What is in them, in order."""
    d, items, s, ns, value = containers
    return [d.items_list(), items[:], list(s), dict(ns._getvalue().__dict__), value.value]


def change(containers: tuple[Any, ...]) -> None:
    """Something of each method that changes a container."""
    d, items, s, ns, value = containers
    d["a"] = "other"
    del d["b"]
    d["new"] = "y" * 3000
    d.update({"u1": 1, "u2": 2})
    d.pop("u1")
    d.setdefault("s", 4)
    d.popitem()
    d.update_with(3, lambda old: 9)
    items.append(1)
    items.insert(0, 0)
    items.pop(2)
    items[1] = "z"
    items.extend([8, 9])
    items[1:3] = [1, 2, 3]
    del items[::3]
    items.reverse()
    s.add(4)
    s.discard(1)
    s.update([7, 8])
    s -= {2, 7}
    ns.x = 2
    ns.fresh = []
    del ns.name
    value.value = {"k": "v"}


def test_what_the_block_does_is_done() -> None:
    containers, others = everything(), everything()
    with transaction(*containers) as entered:
        assert entered == containers
        change(containers)
    change(others)  # without a transaction
    assert plain(containers) == plain(others) != plain(everything())


def test_an_error_undoes_everything_and_goes_on_up() -> None:
    containers = everything()
    error = Refused()
    with pytest.raises(Refused) as raised, transaction(*containers):
        change(containers)
        assert plain(containers) != plain(everything())  # the block sees what it has done
        raise error
    assert raised.value is error
    assert plain(containers) == plain(everything())
    change(containers)
    with transaction(*containers):
        change_back = plain(containers)
    assert plain(containers) == change_back


def test_clear_is_undone() -> None:
    containers = everything()
    d, items, s, _, _ = containers
    with pytest.raises(KeyboardInterrupt), transaction(*containers):
        d.clear()
        items.clear()
        s.clear()
        d["a"] = 5
        items.append("only")
        raise KeyboardInterrupt
    assert plain(containers) == plain(everything())


def test_a_large_table_is_rebuilt_within_and_undone() -> None:
    d, items = DictProxy({n: n for n in range(50)}), ListProxy(range(50))
    before = d.items_list(), items[:]
    for keep in (False, True):
        with contextlib.suppress(Refused), transaction(d, items):
            for n in range(2000):
                d[n] = -n
                items.insert(n // 2, n)
            for n in range(0, 2000, 3):
                del d[n]
            d[0] = "last"
            if not keep:
                raise Refused
        if not keep:
            assert (d.items_list(), items[:]) == before
    assert len(items) == 2050 and len(d) == 2000 - 667 + 1 and list(d)[-1] == 0


def test_others_wait_and_see_all_at_once() -> None:
    d, items = DictProxy({"n": 0}), ListProxy([0])
    seen: list[Any] = []
    started = threading.Event()

    def look() -> None:
        started.set()
        seen.append((d["n"], items[0]))

    with transaction(d, items):
        d["n"] = 1
        assert not is_free(d)
        assert not is_free(items)
        thread = threading.Thread(target=look)
        thread.start()
        assert started.wait(SOON)
        assert seen == []
        d["n"], items[0] = 2, 2
    thread.join(SOON)
    assert seen == [(2, 2)]


def test_it_can_be_entered_again() -> None:
    d = DictProxy(n=0)
    block = transaction(d)
    for _ in range(3):
        with block:
            d["n"] += 1
        with contextlib.suppress(Refused), block:
            d["n"] += 10
            raise Refused
    assert d["n"] == 3


def test_an_object_may_be_named_twice() -> None:
    d = DictProxy(n=0)
    again = pickle.loads(pickle.dumps(d))
    with contextlib.suppress(Refused), transaction(d, again, d):
        d["n"] = 1
        raise Refused
    assert d["n"] == 0
    assert is_free(d)  # and so nobody has it


def test_within_a_lock_and_with_a_lock_within() -> None:
    d, items = DictProxy(n=0), ListProxy([3, 1, 2])
    with d.lock():
        with contextlib.suppress(Refused), transaction(d, items):
            with d.lock(), items.lock():
                d["n"] = 1
                items.sort()
            raise Refused
        assert d.is_mine() and not items.is_mine()
        assert not is_free(d)
    assert d["n"] == 0 and items[:] == [3, 1, 2]


def test_nested_containers_take_part_when_they_are_named() -> None:
    tree = share({"a": {"n": 0}, "b": {"n": 0}})
    a = tree["a"]
    with contextlib.suppress(Refused), transaction(tree, a):
        a["n"] = 1
        tree["b"]["n"] = 1  # not named: an object of its own
        tree["c"] = {"new": []}
        tree["c"]["new"].append(1)
        del tree["a"]
        raise Refused
    assert unshare(tree) == {"a": {"n": 0}, "b": {"n": 1}}
    assert tree["a"] == a


# ---- errors


def test_no_object() -> None:
    with pytest.raises(ValueError, match="needs the objects"):
        transaction()


@pytest.mark.parametrize("wrong", [{}, [], None, "d", 5])
def test_what_is_no_shared_container(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        transaction(DictProxy(), wrong)


def test_a_queue_is_no_container() -> None:
    with pytest.raises(TypeError, match="not Queue"):
        transaction(mp.Queue())  # type: ignore[arg-type]


def test_of_two_arenas() -> None:
    with pytest.raises(ValueError, match="another arena"):
        transaction(DictProxy(), DictProxy(arena=Arena.create()))


def test_a_closed_one_and_nothing_stays_locked() -> None:
    d, gone = DictProxy(n=0), DictProxy()
    block = transaction(d, gone)
    gone.close()
    with pytest.raises(mp.HandleError, match="closed"), block:
        pass
    assert is_free(d)


@pytest.mark.parametrize("same", [True, False], ids=["the same object", "another object"])
def test_one_within_another_is_refused(same: bool) -> None:
    d, other = DictProxy(n=0), DictProxy(n=0)
    with transaction(d):
        d["n"] = 1
        with pytest.raises(RuntimeError, match="already") as raised, transaction(d if same else other):
            pass
        assert d.id in str(raised.value)
        d["n"] += 1
    assert d["n"] == 2 and other["n"] == 0
    with transaction(other):
        other["n"] = 3
    assert other["n"] == 3


def test_two_threads_have_transactions_of_their_own() -> None:
    d, other = DictProxy(n=0), DictProxy(n=0)

    def elsewhere() -> None:
        with transaction(other):
            other["n"] = 1

    with transaction(d):
        in_thread(elsewhere)
        assert other["n"] == 1


@contextlib.contextmanager
def locked_elsewhere(container: Any) -> Iterator[None]:
    """Another thread has the container's lock."""
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        with container.lock():
            ready.set()
            done.wait(SOON)

    thread = threading.Thread(target=hold)
    thread.start()
    assert ready.wait(SOON)
    try:
        yield
    finally:
        done.set()
        thread.join(SOON)


@pytest.mark.parametrize("timeout", [0, NEVER])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_no_lock_in_time(timeout: float, which: int) -> None:
    containers = DictProxy(n=0), ListProxy(), SetProxy()
    with locked_elsewhere(containers[which]):
        with pytest.raises(TimeoutError) as raised, transaction(*containers, timeout=timeout):
            raise AssertionError("the block was entered")
        assert all(container.id in str(raised.value) for container in containers)
        for container in containers:
            assert is_free(container) is (container is not containers[which])
    with transaction(*containers, timeout=SOON):
        containers[0]["n"] = 1
    assert containers[0]["n"] == 1


def test_one_object_and_no_lock_in_time() -> None:
    d = DictProxy(n=0)
    with locked_elsewhere(d):
        with pytest.raises(TimeoutError, match=d.id), transaction(d, timeout=NEVER):
            raise AssertionError("the block was entered")
        started = threading.Event()

        def wait() -> int:
            started.set()
            with transaction(d):
                d["n"] += 1
            return 1

        thread = threading.Thread(target=wait)
        thread.start()
        assert started.wait(SOON)
    thread.join(SOON)
    assert d["n"] == 1


def test_the_names_in_a_message_are_not_without_end() -> None:
    many = [DictProxy() for _ in range(100)]
    with locked_elsewhere(many[50]):
        with pytest.raises(TimeoutError, match="and 92 more") as raised, transaction(*many, timeout=0):
            pass
        assert len(str(raised.value)) < 1500


def test_another_thread_cannot_end_it() -> None:
    d = DictProxy(n=0)
    block = transaction(d)
    with block:
        d["n"] = 1
        error = in_thread(lambda: block.__exit__(None, None, None))
        assert isinstance(error, RuntimeError) and "another thread" in str(error)
        error = in_thread(block.__enter__)
        assert isinstance(error, RuntimeError) and "under way in another thread" in str(error)
        d["n"] = 2
    assert d["n"] == 2


def test_a_forked_child_cannot_end_it_and_begins_its_own() -> None:
    d, other = DictProxy(n=0), DictProxy(n=0)
    pid = 0
    try:
        with transaction(d):
            d["n"] = 1
            pid = os.fork()
            if not pid:
                with transaction(other):  # this process is in none
                    other["n"] = 1
                assert not d.acquire(NEVER)
            else:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
                d["n"] += 1
    except RuntimeError as error:
        if not pid:
            os._exit(7 if "another thread or process" in str(error) else 8)
        raise
    finally:
        if not pid:
            os._exit(9)
    assert d["n"] == 2 and other["n"] == 1


def test_an_error_in_a_forked_child_stays_what_it_is() -> None:
    d = DictProxy(n=0)
    pid = 0
    try:
        with transaction(d):
            d["n"] = 1
            pid = os.fork()
            if not pid:
                raise Refused
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    except Refused:
        os._exit(7)
    assert d["n"] == 1


def test_one_that_is_dropped_without_an_end_is_undone() -> None:
    d = DictProxy(n=0)
    block = transaction(d)
    block.__enter__()
    d["n"] = 1
    del block
    assert d["n"] == 0
    assert is_free(d)


# ---- no deadlock, nothing lost


def test_transactions_and_locks_in_any_order_do_not_block_each_other() -> None:
    """Some take the locks one way round and some the other way."""
    d, items = DictProxy(n=0), ListProxy([0])
    rounds = 150

    def add() -> None:
        d["n"] += 1
        items[0] += 1

    def in_transaction(*order: Any) -> None:
        for _ in range(rounds):
            with transaction(*order, timeout=SOON):
                add()

    def within_locks() -> None:
        for _ in range(rounds):
            with items.lock(), d.lock():
                add()

    threads = [
        threading.Thread(target=in_transaction, args=(d, items)),
        threading.Thread(target=in_transaction, args=(items, d)),
        threading.Thread(target=within_locks),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON * 2)
        assert not thread.is_alive()
    assert d["n"] == items[0] == 3 * rounds


def test_memory_returns() -> None:
    arena = Arena.create()
    d = DictProxy(dict.fromkeys(range(100), "x" * 100), arena=arena)
    items = ListProxy(["y" * 100] * 100, arena=arena)

    def once(keep: bool) -> None:
        with contextlib.suppress(Refused), transaction(d, items):
            for n in range(100):
                d[n] = "z" * 100
                items[n] = "z" * 100
            d["extra"] = DictProxy(x=1, arena=arena)
            del d["extra"]
            if not keep:
                raise Refused

    for n in range(100):  # until its slabs and arrays are as many and large as they will be
        once(n % 2 == 0)
    used = arena.used
    for n in range(600):
        once(n % 2 == 0)
    assert arena.used <= used * 1.25
    d.clear()
    items.clear()
    assert arena.used < 4000
    arena.check()


KEYS = st.sampled_from(["a", "b", 1, 2.5, (1, "x"), None])
VALUES = st.one_of(st.integers(), st.text(max_size=50), st.just("long" * 500))
OPERATIONS = st.one_of(
    st.tuples(st.just("set"), KEYS, VALUES),
    st.tuples(st.just("del"), KEYS, st.none()),
    st.tuples(st.just("clear"), st.none(), st.none()),
    st.tuples(st.just("append"), st.none(), VALUES),
    st.tuples(st.just("insert"), st.integers(-5, 5), VALUES),
    st.tuples(st.just("pop"), st.integers(-3, 3), st.none()),
    st.tuples(st.just("item"), st.integers(-3, 3), VALUES),
    st.tuples(st.just("reverse"), st.none(), st.none()),
)


def perform(operation: tuple[str, Any, Any], d: Any, items: Any) -> None:
    """The operation on a dict and a list, plain or shared."""
    what, where, value = operation
    with contextlib.suppress(IndexError):
        if what == "set":
            d[where] = value
        elif what == "del":
            d.pop(where, None)
        elif what == "clear":
            d.clear()
            items.clear()
        elif what == "append":
            items.append(value)
        elif what == "insert":
            items.insert(where, value)
        elif what == "pop":
            items.pop(where)
        elif what == "item":
            items[where] = value
        else:
            items.reverse()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.lists(OPERATIONS, max_size=12)), max_size=6))
def test_against_a_model(blocks: list[tuple[bool, list[tuple[str, Any, Any]]]]) -> None:
    d, items = DictProxy(), ListProxy()
    model: dict[Any, Any] = {}
    model_items: list[Any] = []
    for keep, operations in blocks:
        undone = list(model.items()), list(model_items)
        with contextlib.suppress(Refused), transaction(d, items):
            for operation in operations:
                perform(operation, d, items)
                perform(operation, model, model_items)
            assert d.items_list() == list(model.items()) and items[:] == model_items
            if not keep:
                raise Refused
        if not keep:
            model, model_items = dict(undone[0]), undone[1]
        assert d.items_list() == list(model.items()) and items[:] == model_items
