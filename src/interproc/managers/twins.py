"""Remote twins: what stands for an object of the server's arena in a process that cannot reach the memory."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from multiprocessing import process
from multiprocessing.reduction import ForkingPickler
from types import CellType, FunctionType, TracebackType
from typing import Any, Self, TypeVar

from .. import _core, locks, shared
from .channel import via
from .remote import BaseProxy, RebuildProxy, Token

__all__ = ["RemoteTransaction", "in_arena", "pickler", "twin"]

_ARENA_TYPES = (_core.Handle, locks.Condition, locks.Event, locks.Barrier, shared.SynchronizedBase)


def in_arena(obj: Any) -> bool:
    """Whether the object is in shared memory, and needs no server where that can be reached."""
    return isinstance(obj, _ARENA_TYPES)


# ---- the twins -------------------------------------------------------------------------------------------


class _Twin(BaseProxy):
    """Forwards to an object of the server's arena, or to a plain one that was registered with its proxy type.

    In the server it unpickles as that object itself; so a twin that is stored in another one is live there.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        _, rest = super().__reduce__()
        return _rebuild_twin, rest

    def __str__(self) -> str:
        try:
            text: str = self._callmethod("__str__")
        except Exception:
            return f"{self!r}"[:-1] + "; it cannot be read>"
        return text

    def _attribute(self, name: str) -> Any:
        return self._callmethod("__getattribute__", (name,))


T = TypeVar("T", bound=type[BaseProxy])


def _forwarding(methods: str) -> Callable[[T], T]:
    """A decorator that adds methods which forward; `methods` has their names, separated by blanks."""
    names = tuple(methods.split())

    def decorate(cls: T) -> T:
        for name in names:
            if name not in vars(cls):
                setattr(cls, name, _forward(name))
        cls._exposed_ = (*names, "__getattribute__")  # for properties
        return cls

    return decorate


def _forward(name: str) -> Callable[..., Any]:
    def method(self: BaseProxy, /, *args: Any, **kwds: Any) -> Any:
        return self._callmethod(name, args, kwds)

    method.__name__ = name
    return method


class _Locked:
    """What `with d.lock():` enters."""

    def __init__(self, proxy: _Container, timeout: float | None) -> None:
        self._proxy = proxy
        self._timeout = timeout

    def __enter__(self) -> Any:
        if not self._proxy._callmethod("acquire", (self._timeout,)):
            raise TimeoutError(f"others had the lock of {self._proxy!r} for {self._timeout} s")
        return self._proxy

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._proxy._callmethod("release")


class _Container(_Twin):
    """Twins of the containers."""

    def lock(self, timeout: float | None = None) -> _Locked:
        """`with d.lock(): ...`: several steps that nobody else disturbs.

        TimeoutError after `timeout` seconds.
        """
        return _Locked(self, timeout)

    @property
    def version(self) -> int:
        """How many changes were ever made to it."""
        return int(self._attribute("version"))


_STEPS = "acquire release is_mine watch update_with compare_exchange"


@_forwarding(
    "__contains__ __delitem__ __eq__ __getitem__ __len__ __or__ __ror__ __setitem__ clear copy get items "
    f"keys pop popitem setdefault update values {_STEPS}"
)
class RemoteDict(_Container):
    """Of a DictProxy, or a plain dict in the server."""

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._callmethod("keys")))

    def __reversed__(self) -> Iterator[Any]:
        return iter(list(self._callmethod("keys"))[::-1])

    def __ior__(self, other: Any) -> Self:
        self._callmethod("update", (dict(other),))
        return self


@_forwarding(
    "__add__ __contains__ __delitem__ __eq__ __ge__ __getitem__ __gt__ __imul__ __le__ __len__ __lt__ "
    "__mul__ __radd__ __rmul__ __setitem__ append clear copy count extend index insert pop remove "
    f"reverse sort {_STEPS}"
)
class RemoteList(_Container):
    """Of a ListProxy, or a plain list in the server."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._callmethod("__getitem__", (slice(None),)))

    def __reversed__(self) -> Iterator[Any]:
        return iter(self._callmethod("__getitem__", (slice(None),))[::-1])

    def __iadd__(self, items: Any) -> Self:
        self._callmethod("extend", (list(items),))
        return self

    def __imul__(self, n: int) -> Self:
        self._callmethod("__imul__", (n,))
        return self


@_forwarding(
    "__and__ __contains__ __eq__ __ge__ __gt__ __le__ __len__ __lt__ __or__ __rand__ __ror__ __rsub__ "
    "__rxor__ __sub__ __xor__ add clear copy difference difference_update discard intersection "
    "intersection_update isdisjoint issubset issuperset pop remove symmetric_difference "
    "symmetric_difference_update union update acquire release is_mine watch"
)
class RemoteSet(_Container):
    """Of a SetProxy, or a plain set in the server."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._callmethod("copy"))

    def __ior__(self, other: Any) -> Self:
        self._callmethod("update", (set(other),))
        return self

    def __iand__(self, other: Any) -> Self:
        self._callmethod("intersection_update", (set(other),))
        return self

    def __isub__(self, other: Any) -> Self:
        self._callmethod("difference_update", (set(other),))
        return self

    def __ixor__(self, other: Any) -> Self:
        self._callmethod("symmetric_difference_update", (set(other),))
        return self


@_forwarding(f"__setattr__ __delattr__ add {_STEPS}")
class RemoteNamespace(_Container):
    """Of a NamespaceProxy, or a plain object with attributes in the server."""

    def __getattr__(self, name: str) -> Any:
        if name[:1] == "_":
            raise AttributeError(name)
        return self._callmethod("__getattribute__", (name,))

    def __setattr__(self, name: str, value: Any) -> None:
        if name[:1] == "_":
            object.__setattr__(self, name, value)
        else:
            self._callmethod("__setattr__", (name, value))

    def __delattr__(self, name: str) -> None:
        if name[:1] == "_":
            object.__delattr__(self, name)
        else:
            self._callmethod("__delattr__", (name,))


@_forwarding(f"get set add {_STEPS}")
class RemoteValue(_Container):
    """Of a ValueProxy, or another object with get() and set()."""

    @property
    def value(self) -> Any:
        """The value."""
        return self._callmethod("get")

    @value.setter
    def value(self, value: Any) -> None:
        self._callmethod("set", (value,))

    @property
    def typecode(self) -> Any:
        """What it was made with."""
        return self._attribute("typecode")


@_forwarding("__setattr__ add exchange compare_exchange acquire release get_lock")
class RemoteNumber(_Twin):
    """Of an interproc.Value."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "value":
            self._callmethod("__setattr__", (name, value))
        else:
            object.__setattr__(self, name, value)

    @property
    def value(self) -> Any:
        """The value."""
        return self._attribute("value")

    def __enter__(self) -> Any:
        return self._callmethod("acquire")

    def __exit__(self, *exc_info: object) -> None:
        self._callmethod("release")


@_forwarding("__getitem__ __len__ __setitem__ acquire release get_lock")
class RemoteArray(_Twin):
    """Of an Array."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._callmethod("__getitem__", (slice(None),)))

    def __enter__(self) -> Any:
        return self._callmethod("acquire")

    def __exit__(self, *exc_info: object) -> None:
        self._callmethod("release")


@_forwarding(
    "counters empty full get get_many get_nowait join poll put put_many put_nowait qsize shutdown task_done"
)
class RemoteQueue(_Twin):
    """Of a Queue, JoinableQueue or SimpleQueue."""

    @property
    def maxsize(self) -> int:
        """How many items it takes; 0: as many as there is memory for."""
        return int(self._attribute("maxsize"))

    @property
    def is_shutdown(self) -> bool:
        """Whether shutdown() was called."""
        return bool(self._attribute("is_shutdown"))


@_forwarding("acquire release get_value locked")
class RemoteLock(_Twin):
    """Of a Lock, an RLock or a semaphore. Who has it is the connection of one thread.

    If that ends, a lock is released.
    """

    def __enter__(self) -> Any:
        return self._callmethod("acquire")

    def __exit__(self, *exc_info: object) -> None:
        self._callmethod("release")


@_forwarding("acquire release wait notify notify_all")
class RemoteCondition(RemoteLock):
    """Of a Condition."""

    wait_for = locks.Condition.wait_for


@_forwarding("is_set set clear wait")
class RemoteEvent(_Twin):
    """Of an Event."""


@_forwarding("wait abort reset")
class RemoteBarrier(_Twin):
    """Of a Barrier."""

    @property
    def parties(self) -> int:
        """How many it waits for."""
        return int(self._attribute("parties"))

    @property
    def n_waiting(self) -> int:
        """How many wait."""
        return int(self._attribute("n_waiting"))

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return bool(self._attribute("broken"))


@_forwarding("send recv send_bytes recv_bytes poll close")
class RemoteConnection(_Twin):
    """Of an end of a Pipe."""


_TWINS: dict[str, Any] = {
    "DictProxy": RemoteDict,
    "ListProxy": RemoteList,
    "SetProxy": RemoteSet,
    "NamespaceProxy": RemoteNamespace,
    "ValueProxy": RemoteValue,
    "LockedNumber": RemoteNumber,
    "Synchronized": RemoteNumber,
    "SynchronizedArray": RemoteArray,
    "Queue": RemoteQueue,
    "Mutex": RemoteLock,
    "Semaphore": RemoteLock,
    "Condition": RemoteCondition,
    "Event": RemoteEvent,
    "Barrier": RemoteBarrier,
    "Connection": RemoteConnection,
}


def twin(cls: Any) -> Any:
    """The twin type of the type of an object in the arena; a user's subclass has its own methods there too.

    TypeError: there is none.
    """
    return _twin(cls)


@functools.cache
def _twin(cls: Any) -> Any:
    own: list[Any] = []
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] != "interproc":
            own.append(base)
        elif base.__name__ in _TWINS:
            found = _TWINS[base.__name__]
            for users in reversed(own):
                if methods := _methods(vars(users)):
                    found = _derived(found, users, methods)
            return found
    raise TypeError(
        f"{cls.__qualname__} has no twin that could stand for it where its memory is out of reach"
    )


def _methods(body: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in body.items()
        if key == "_exposed_" or not (key.startswith("__") and key.endswith("__") and not callable(value))
    }


def _derived(twin_: Any, users: Any, methods: dict[str, Any]) -> Any:
    """A subclass of the twin with the methods of a user's class; super() in them means the twin."""
    cell = CellType()
    body = {key: _rebound(value, cell) for key, value in methods.items()}
    made = type(users.__name__, (twin_,), {**body, "__module__": users.__module__})
    cell.cell_contents = made
    return made


def _rebound(value: Any, cell: CellType) -> Any:
    """A function with another class for its super()."""
    if not isinstance(value, FunctionType) or "__class__" not in value.__code__.co_freevars:
        return value
    cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
    closure = tuple(cell if name == "__class__" else its for name, its in cells)
    made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
    made.__kwdefaults__ = value.__kwdefaults__
    return functools.update_wrapper(made, value)


class RemoteTransaction:
    """`with m.transaction(...)` of a manager whose memory is out of reach.

    In the server's thread for this one.
    """

    def __init__(self, ask: Any, proxies: Any, timeout: float | None) -> None:
        self._ask = ask
        self._proxies = proxies
        self._timeout = timeout

    def __enter__(self) -> Self:
        self._ask("begin", self._proxies, self._timeout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask("end", kind is None)


# ---- coming and going ------------------------------------------------------------------------------------


def pickler(server: Any) -> Any:
    """A pickler for what a server sends to clients that cannot reach its arena.

    Objects there become twins.
    """

    class Pickler(ForkingPickler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.lent: list[str] = []

        def reducer_override(self, obj: Any) -> Any:
            if not isinstance(obj, _ARENA_TYPES):
                return NotImplemented
            cls = twin(type(obj))
            ident, _ = server._publish(obj, cls._exposed_, None, False)
            self.lent.append(ident)
            return _arrived, (type(obj), Token(type(obj).__name__, None, ident, None, server.home))

        @classmethod
        def dumps(cls, obj: Any, protocol: Any = None) -> Any:
            buffer = io.BytesIO()
            pickler = cls(buffer, protocol)
            try:
                pickler.dump(obj)
            except BaseException:
                for ident in pickler.lent:
                    server.decref(None, ident)
                raise
            return buffer.getbuffer()

    return Pickler


def _arrived(cls: type, token: Token) -> Any:
    """Unpickles what such a pickler has sent."""
    end = via()
    assert end is not None
    token.address = end.address
    proxy = _twin(cls)(token, "pickle", authkey=end.authkey, incref=False)
    proxy._counted()  # the server has counted it when it sent it
    return proxy


def _rebuild_twin(function: Any, token: Any, serializer: str, kwds: dict[str, Any]) -> Any:
    server = getattr(process.current_process(), "_manager_server", None)
    if server is not None and getattr(token, "home", None) == server.home:
        obj = server.id_to_obj[token.id][0]
        if in_arena(obj):
            return obj
    return RebuildProxy(function, token, serializer, kwds)
