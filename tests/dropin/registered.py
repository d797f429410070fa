"""Classes for managers to register, and what children do with their proxies; imports no pytest."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from typing import Any


class Counter:
    """A class of a user."""

    def __init__(self, value: int = 0, step: int = 1) -> None:
        self.value = value
        self.step = step

    def add(self, times: int = 1, *, sign: int = 1) -> int:
        self.value += times * self.step * sign
        return self.value

    def get(self) -> int:
        return self.value

    def echo(self, *args: Any, **kwds: Any) -> Any:
        return args, kwds

    def fail(self, text: str) -> None:
        raise LookupError(text)

    def leave(self) -> None:
        raise SystemExit(3)

    def unpicklable(self) -> Any:
        return threading.Lock()

    def odd_error(self) -> None:
        raise OddError(1, 2)

    def numbers(self) -> Any:
        return iter(range(self.value))

    def _hidden(self) -> str:
        return "hidden"

    def __repr__(self) -> str:
        return f"Counter({self.value})"


class OddError(Exception):
    """Pickles well, and cannot be unpickled."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} {b}")


class Waiter:
    """Its methods take as long as another lets them."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.waiting = 0

    def wait(self) -> str:
        self.waiting += 1
        self.event.wait(30)
        return "waited"

    def waits(self) -> int:
        return self.waiting

    def go(self) -> None:
        self.event.set()


class Family:
    """The server's process."""

    def pid(self) -> int:
        return os.getpid()

    def threads(self) -> int:
        return threading.active_count()

    def fork(self) -> int:
        """A child that does nothing until it is killed."""
        pid = os.fork()
        if pid == 0:
            signal.alarm(40)
            while True:
                signal.pause()
        return pid


shared: dict[str, Any] = {}


def get_shared() -> dict[str, Any]:
    return shared


def fill_shared(*items: Any) -> None:
    """An initializer."""
    shared["items"] = list(items)


def numbers() -> Any:
    return (n * n for n in range(4))


def manager_class(module: str) -> Any:
    """A subclass of BaseManager of the module with the above registered; pickled by its name here."""
    return MyManager if module == "interproc" else MyStockManager


def of(ctx: Any) -> str:
    """The module a context is of."""
    return str(type(ctx).__module__.partition(".")[0])


def _make(module: str) -> Any:
    managers = importlib.import_module(f"{module}.managers")

    class Proxy(managers.BaseProxy):  # type: ignore[misc,name-defined]
        _exposed_ = ("get", "add")

        def get(self) -> Any:
            return self._callmethod("get")

        def twice(self) -> Any:
            self._callmethod("add")
            return self._callmethod("add")

    class Manager(managers.BaseManager):  # type: ignore[misc,name-defined]
        pass

    Manager.register("Counter", Counter)
    Manager.register("Exposed", Counter, exposed=("get", "_hidden"))
    Manager.register("Proxied", Counter, proxytype=Proxy)
    Manager.register("Walked", Counter, method_to_typeid={"numbers": "Iterator"})
    Manager.register("Iterator", proxytype=managers.IteratorProxy, create_method=False)
    Manager.register("numbers", numbers, proxytype=managers.IteratorProxy)
    Manager.register("Waiter", Waiter)
    Manager.register("Family", Family)
    Manager.register("get_shared", get_shared, proxytype=managers.DictProxy)
    Manager.register("get_auto", get_shared)
    return Manager, Proxy


MyManager, MyProxy = _make("interproc")
MyStockManager, MyStockProxy = _make("multiprocessing")
for _name in ("MyManager", "MyStockManager", "MyProxy", "MyStockProxy"):
    globals()[_name].__name__ = globals()[_name].__qualname__ = _name


# ---- what children do


def add(counter: Any, times: int) -> None:
    for _ in range(times):
        counter.add()


def add_and_tell(counter: Any, results: Any) -> None:
    results.put(counter.add())


def add_from(queue: Any, times: int) -> None:
    add(queue.get(), times)


def add_by_connecting(module: str, address: Any, authkey: bytes) -> None:
    manager = manager_class(module)(address=address, authkey=authkey)
    manager.connect()
    manager.get_shared().update(came=True)


def wait_for(waiter: Any, answers: Any) -> None:
    answers.put(waiter.wait())


def use_manager(manager: Any, answers: Any) -> None:
    counter = manager.Counter(10)
    answers.put(counter.add())
