"""Managers with registered classes: whatever multiprocessing defines, checked against it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import operator
import pickle
import socket
import threading
from collections.abc import Iterator
from multiprocessing import managers as stock
from typing import Any

import pytest

from interproc import managers as interproc_managers

from . import registered
from .support import SOON, Crew, until


@pytest.fixture
def managers(request: pytest.FixtureRequest) -> Any:
    """The module `managers` of the module under test."""
    names = request.fixturenames
    name = (
        registered.of(request.getfixturevalue("ctx"))
        if "ctx" in names
        else request.getfixturevalue("mp").__name__
    )
    return importlib.import_module(f"{name}.managers")


@pytest.fixture
def manager(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A started manager with registered classes."""
    if "ctx" in request.fixturenames:
        ctx = request.getfixturevalue("ctx")
    else:
        ctx = request.getfixturevalue("mp").get_context("fork")
    with registered.manager_class(registered.of(ctx))(ctx=ctx) as manager:
        yield manager


# ---- calls


def test_methods_arguments_and_results(ctx: Any, manager: Any) -> None:
    counter = manager.Counter(5, step=2)
    assert counter.add() == 7
    assert counter.add(3, sign=-1) == 1
    assert counter.get() == 1
    assert counter.echo(1, "two", [3], k={"v": (4,)}) == ((1, "two", [3]), {"k": {"v": (4,)}})
    assert str(counter) == "Counter(1)"
    assert "AutoProxy[Counter] object, typeid 'Counter'" in repr(counter)


def test_each_creation_makes_another_object(mp: Any, manager: Any) -> None:
    one, two = manager.Counter(1), manager.Counter(1)
    one.add()
    assert (one.get(), two.get()) == (2, 1)


def test_large_arguments_and_results(mp: Any, manager: Any) -> None:
    data = bytes(range(256)) * 20_000
    assert manager.Counter().echo(data)[0][0] == data


def test_public_methods_are_exposed_and_no_others(mp: Any, manager: Any) -> None:
    counter = manager.Counter()
    assert not hasattr(counter, "_hidden")
    with pytest.raises(stock.RemoteError, match="_hidden"):
        counter._callmethod("_hidden")
    with pytest.raises(stock.RemoteError, match="value"):
        counter._callmethod("value")


def test_exposed_names(mp: Any, manager: Any) -> None:
    counter = manager.Exposed(4)
    assert counter.get() == 4
    assert counter._hidden() == "hidden"
    assert not hasattr(counter, "add")


def test_proxy_type(mp: Any, manager: Any) -> None:
    counter = manager.Proxied(4)
    assert counter.twice() == 6
    assert counter.get() == 6
    with pytest.raises(stock.RemoteError):
        counter._callmethod("echo")


def test_getvalue_is_a_copy(mp: Any, manager: Any) -> None:
    counter = manager.Counter(4)
    copy = counter._getvalue()
    assert type(copy) is registered.Counter
    copy.add()
    assert (counter.get(), copy.get()) == (4, 5)


def test_iterators_stay_in_the_server(mp: Any, manager: Any) -> None:
    assert list(manager.numbers()) == [0, 1, 4, 9]
    walked = manager.Walked(3)
    numbers = walked.numbers()
    assert next(numbers) == 0
    assert list(numbers) == [1, 2]
    assert walked.get() == 3


def test_an_exception_is_the_same_at_the_caller(ctx: Any, manager: Any) -> None:
    counter = manager.Counter(1)
    with pytest.raises(LookupError, match="not there"):
        counter.fail("not there")
    assert counter.get() == 1


def test_an_unpicklable_argument(mp: Any, manager: Any) -> None:
    counter = manager.Counter(1)
    with pytest.raises((pickle.PicklingError, TypeError, AttributeError)):
        counter.echo(threading.Lock())
    assert counter.get() == 1


def test_an_unpicklable_result(mp: Any, manager: Any) -> None:
    counter = manager.Counter(1)
    with pytest.raises(stock.RemoteError, match="Unserializable message"):
        counter.unpicklable()
    assert counter.get() == 1


def test_a_wrong_call(mp: Any, manager: Any) -> None:
    with pytest.raises(TypeError):
        manager.Counter().add(1, 2, 3)
    with pytest.raises((TypeError, stock.RemoteError)):
        manager.Counter(1, 2, 3, 4)


def test_threads_call_at_the_same_time(mp: Any, manager: Any) -> None:
    waiter = manager.Waiter()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(waiter.wait()), daemon=True)
    thread.start()
    until(lambda: waiter.waits() == 1)
    counter = manager.Counter()
    threads = [threading.Thread(target=registered.add, args=(counter, 100)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(SOON)
    assert counter.get() == 400
    waiter.go()
    thread.join(SOON)
    assert answers == ["waited"]


# ---- the lifetime of objects


def test_an_object_is_freed_with_its_last_proxy(ctx: Any, manager: Any) -> None:
    base = manager._number_of_objects()
    one, two = manager.Counter(), manager.Counter()
    assert manager._number_of_objects() == base + 2
    assert str(one) in manager._debug_info()
    del one
    gc.collect()
    assert manager._number_of_objects() == base + 1
    again = pickle.loads(pickle.dumps(two))
    del two
    gc.collect()
    assert again.get() == 0
    del again
    gc.collect()
    assert manager._number_of_objects() == base


def test_what_a_callable_returns_again_is_one_object(mp: Any, manager: Any) -> None:
    one = manager.get_shared()
    one["x"] = 1
    two = manager.get_auto()
    assert two.get("x") == 1
    del one
    gc.collect()
    assert two.get("x") == 1


# ---- other processes


def test_children_use_a_proxy_they_are_given(ctx: Any, manager: Any, crew: Crew) -> None:
    counter = manager.Counter()
    for _ in range(3):
        crew.start(registered.add, counter, 50)
    crew.join()
    assert counter.get() == 150


def test_a_proxy_through_a_queue(ctx: Any, manager: Any, crew: Crew) -> None:
    counter = manager.Counter()
    queue = ctx.Queue()
    child = crew.start(registered.add_from, queue, 20)
    queue.put(counter)
    crew.join(child)
    assert counter.get() == 20


def test_a_method_blocks_only_its_caller(ctx: Any, manager: Any, crew: Crew) -> None:
    waiter, answers = manager.Waiter(), ctx.Queue()
    child = crew.start(registered.wait_for, waiter, answers)
    until(lambda: waiter.waits() == 1)
    waiter.go()
    assert answers.get(timeout=SOON) == "waited"
    crew.join(child)


def test_connecting(ctx: Any, crew: Crew) -> None:
    module = registered.of(ctx)
    with registered.manager_class(module)(authkey=b"the key", ctx=ctx) as manager:
        crew.start(registered.add_by_connecting, module, manager.address, b"the key")
        crew.join()
        assert manager.get_shared().get("came") is True


# ---- a plain object with a built-in's proxy


def test_a_plain_dict_behind_a_dict_proxy(ctx: Any) -> None:
    with registered.manager_class(registered.of(ctx))(ctx=ctx) as manager:
        one = manager.get_shared()
        one["a"] = 1
        one.update(b=2)
        two = manager.get_shared()
        assert two["a"] == 1 and "b" in two and len(two) == 2
        assert list(two) == ["a", "b"]
        assert list(two.keys()) == ["a", "b"]
        assert list(two.values()) == [1, 2]
        assert list(two.items()) == [("a", 1), ("b", 2)]
        assert two.copy() == {"a": 1, "b": 2}
        assert two._getvalue() == {"a": 1, "b": 2}
        assert two.pop("a") == 1
        with pytest.raises(KeyError):
            two["a"]
        assert str(two) == "{'b': 2}"


# ---- the manager's states


def test_initializer(ctx: Any) -> None:
    manager = registered.manager_class(registered.of(ctx))(ctx=ctx)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        manager.start(initializer=1)
    manager.start(registered.fill_shared, (1, 2))
    assert manager.get_shared()["items"] == [1, 2]
    manager.shutdown()


def test_states(mp: Any) -> None:
    manager = registered.manager_class(mp.__name__)(ctx=mp.get_context("fork"))
    with pytest.raises(AssertionError, match="server not yet started"):
        manager.Counter()
    manager.start()
    with pytest.raises(mp.ProcessError, match="Already started server"):
        manager.start()
    with pytest.raises(mp.ProcessError, match="Already started server"):
        manager.get_server()
    counter = manager.Counter()
    process = manager._process
    assert process.is_alive()
    assert process.name.startswith(type(manager).__name__)
    manager.shutdown()
    assert not process.is_alive()
    manager.join(SOON)
    manager.shutdown()
    for use in (manager.Counter,):
        with pytest.raises(AssertionError, match="server not yet started|has been shut down"):
            use()
    for use in (manager.start, manager.get_server, manager.__enter__):
        with pytest.raises(mp.ProcessError, match="Manager has shut down"):
            use()
    with pytest.raises((EOFError, OSError)):
        counter.get()


def test_no_manager_can_be_connected_to_nothing(mp: Any, tmp_path: Any) -> None:
    manager = registered.manager_class(mp.__name__)(address=str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError):
        manager.connect()


def test_registering_on_a_subclass_leaves_the_base_alone(mp: Any, managers: Any) -> None:
    class Sub(managers.BaseManager):  # type: ignore[misc,name-defined]
        pass

    Sub.register("Counter", registered.Counter)
    assert not hasattr(managers.BaseManager, "Counter")
    assert "Counter" not in managers.BaseManager._registry
    assert Sub.Counter.__name__ == "Counter"


def test_a_server_in_this_process(mp: Any, managers: Any) -> None:
    server = registered.manager_class(mp.__name__)(address=("127.0.0.1", 0), authkey=b"k").get_server()
    assert server.address[0] == "127.0.0.1"
    process = multiprocessing.current_process()

    def serve() -> None:
        with contextlib.suppress(SystemExit):
            server.serve_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = registered.manager_class(mp.__name__)(address=server.address, authkey=b"k")
    client.connect()
    counter = client.Counter(3)
    assert counter.add() == 4
    server.stop_event.set()
    thread.join(SOON)
    assert not thread.is_alive()
    del process._manager_server  # type: ignore[attr-defined]


# ---- sockets


def test_tcp(ctx: Any, crew: Crew) -> None:
    module = registered.of(ctx)
    with registered.manager_class(module)(address=("127.0.0.1", 0), authkey=b"k", ctx=ctx) as manager:
        host, port = manager.address
        assert host == "127.0.0.1" and port > 0
        crew.start(registered.add_by_connecting, module, manager.address, b"k")
        crew.join()
        assert manager.get_shared().get("came") is True


def test_a_port_that_is_taken(mp: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        manager = registered.manager_class(mp.__name__)(address=taken.getsockname())
        with pytest.raises(OSError):
            manager.get_server()


def test_wrong_authkey(mp: Any, manager: Any) -> None:
    stranger = registered.manager_class(mp.__name__)(address=manager.address, authkey=b"wrong")
    with pytest.raises(mp.AuthenticationError):
        stranger.connect()
    assert manager.Counter(2).get() == 2


def test_xmlrpclib(mp: Any) -> None:
    context = mp.get_context("fork")
    with registered.manager_class(mp.__name__)(
        address=("127.0.0.1", 0), authkey=b"k", serializer="xmlrpclib", ctx=context
    ) as manager:
        counter = manager.Counter(2)
        assert counter.add(5) == 7
        client = registered.manager_class(mp.__name__)(
            address=manager.address, authkey=b"k", serializer="xmlrpclib"
        )
        client.connect()
        assert client.Counter(1).get() == 1


def test_stock_clients_can_use_our_server() -> None:
    with registered.MyManager(authkey=b"k") as manager:
        client = registered.MyStockManager(address=manager.address, authkey=b"k")
        client.connect()
        counter = client.Counter(2)
        assert counter.add(2) == 4
        with pytest.raises(LookupError):
            counter.fail("x")
        shared = client.get_shared()
        shared["k"] = operator.add
        assert shared["k"] is operator.add
        ours = manager.get_shared()
        assert ours["k"] is operator.add
        del shared, ours, counter
        gc.collect()
        assert manager._number_of_objects() == 0


def test_super_in_a_proxy_class_of_ones_own() -> None:
    """For a plain object of the server: super() is what stands for DictProxy there."""
    with Logging() as manager:
        logged = manager.Logged()
        logged["a"] = 1
        logged.update(b=2)
        assert logged.copy() == {"a": 1, "b": 2}
        assert logged.log == ["a", "update"]


class LoggedDict(interproc_managers.DictProxy):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwds: Any) -> None:
        super().__init__(*args, **kwds)
        self.log: list[str] = []

    def __setitem__(self, key: Any, value: Any) -> None:
        self.log.append(key)
        super().__setitem__(key, value)

    def update(self, *args: Any, **kwds: Any) -> None:
        self.log.append("update")
        super().update(*args, **kwds)


class Logging(interproc_managers.BaseManager):
    pass


Logging.register("Logged", dict, LoggedDict)
