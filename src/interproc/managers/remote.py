"""Proxies of objects that live in a manager's server, and how such are made."""

from __future__ import annotations

from multiprocessing import context, process, util
from multiprocessing import managers as mpm
from typing import Any, ClassVar

from .. import _core
from ..connection import Connection
from .channel import Place, ask, known_place, place_of, raise_answer
from .containers import theirs

__all__ = [
    "AcquirerProxy", "ArrayProxy", "AutoProxy", "BarrierProxy", "BaseProxy", "ConditionProxy", "EventProxy",
    "IteratorProxy", "Life", "MakeProxyType", "PoolProxy", "RebuildProxy", "Token",
]  # fmt: skip


class Life(Connection):
    """What a proxy holds in the arena for as long as it holds the server's object.

    It is an end of a pipe: its holders may be anywhere, also in a message or in a child that is being
    started, and when the last is gone, however it ended, the server sees the end of the pipe. Nothing is
    ever sent.
    """

    address: Any = None
    ident: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, (cls, arena, *rest) = super().__reduce__()
        if context.get_spawning_popen() is None:
            arena = arena.uid, arena.name
        return _revive, (rebuild, cls, arena, rest, self.address, self.ident)

    def __del__(self) -> None:
        if self.closed or not self.ident:
            return
        try:
            self.close()
            place = known_place(self.address)
            if place is not None and place.channel is not None:  # else the server finds out by itself
                place.channel.tell(None, "let_go", (self.ident,))
        except Exception:
            pass  # the interpreter, or the server, is at its end


def _revive(rebuild: Any, cls: Any, arena: Any, rest: Any, address: Any, ident: str) -> Life | None:
    """Unpickles a Life; None where the arena is out of reach."""
    if isinstance(arena, tuple):
        try:
            arena = _core._find_arena(*arena)  # type: ignore[attr-defined]
        except (ValueError, OSError):
            return None
    life: Life = rebuild(cls, arena, *rest)
    life.address, life.ident = address, ident
    return life


class Token(mpm.Token):
    """Names an object of a server; with a Life it also keeps it."""

    __slots__ = ("home", "life")

    def __init__(
        self, typeid: str, address: Any, id: str, life: Life | None = None, home: str | None = None
    ) -> None:
        super().__init__(typeid, address, id)
        self.life = life
        self.home = home  # the server, whatever its address is from here

    def __getstate__(self) -> tuple[Any, ...]:
        return self.typeid, self.address, self.id, self.life, self.home

    def __setstate__(self, state: Any) -> None:
        self.typeid, self.address, self.id, self.life, self.home = state


class BaseProxy(mpm.BaseProxy):
    """A base for proxies of objects in a manager's server.

    `_callmethod(name, args, kwds)` calls a method there. Its exceptions arrive as they were raised, with the
    traceback in the server as their cause. Raises ServerDied (an EOFError and ConnectionError) once the
    server has ended.
    """

    _exposed_: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        token: Any,
        serializer: str,
        manager: Any = None,
        authkey: bytes | None = None,
        exposed: Any = None,
        incref: bool = True,
        manager_owned: bool = False,
    ) -> None:
        if serializer != "pickle":  # as multiprocessing does it
            super().__init__(token, serializer, manager, authkey, exposed, incref, manager_owned)
            return
        self._tls: Place = place_of(token.address)
        self._token = token
        self._id: str = token.id
        self._manager = manager
        self._serializer = serializer
        self._owned_by_manager = manager_owned
        if authkey is not None:
            self._authkey = theirs.process.AuthenticationString(authkey)
        elif manager is not None:
            self._authkey = manager._authkey
        else:
            self._authkey = process.current_process().authkey
        if getattr(token, "life", None) is None:
            if incref:
                self._incref()
            util.register_after_fork(self, BaseProxy._after_fork)

    def _callmethod(
        self, methodname: str, args: tuple[Any, ...] = (), kwds: dict[str, Any] | None = None
    ) -> Any:
        if self._serializer != "pickle":
            return super()._callmethod(methodname, args, kwds or {})
        kind, result = self._tls.call(self._token.address, self._authkey, self._id, methodname, args, kwds)
        if kind == "#RETURN":
            return result
        if kind == "#PROXY":
            return make_proxy(result, self._serializer, self._manager, self._token.address, self._authkey)
        return raise_answer(kind, result)

    def _incref(self) -> None:
        if self._serializer != "pickle":
            theirs.BaseProxy._incref(self)
        elif not self._owned_by_manager:
            self._ask("incref", self._id)
            self._counted()

    def _counted(self) -> None:
        """This proxy has a reference that the server counts."""
        state = self._manager and self._manager._state
        self._close = util.Finalize(
            self, _uncount, args=(self._tls, self._token, self._authkey, state), exitpriority=10
        )

    def _ask(self, method: str, *args: Any) -> Any:
        return ask(self._tls, self._token.address, self._authkey, method, *args)

    def _after_fork(self) -> None:
        if self._serializer != "pickle":
            theirs.BaseProxy._after_fork(self)
            return
        try:
            self._incref()
        except Exception as error:
            util.info("incref failed: %s", error)

    def __reduce__(self) -> tuple[Any, ...]:
        _, (function, *rest) = super().__reduce__()
        if function is theirs.AutoProxy:
            function = AutoProxy
        return RebuildProxy, (function, *rest)


def _uncount(place: Place, token: Any, authkey: bytes, state: Any) -> None:
    if state is not None and state.value != theirs.State.STARTED:
        return
    try:
        ask(place, token.address, authkey, "decref", token.id)
    except Exception as error:
        util.debug("... decref failed %s", error)


def make_proxy(made: Any, serializer: str, manager: Any, address: Any, authkey: bytes) -> Any:
    """A proxy of an object that the server has made, of what came with '#PROXY'."""
    exposed, token, proxytype = made
    if manager is not None and token.typeid in manager._registry:
        proxytype = manager._registry[token.typeid][-1]
    token.address = address
    proxy = (proxytype or AutoProxy)(token, serializer, manager=manager, authkey=authkey, exposed=exposed)
    if token.life is None:  # the proxy has counted itself; this is the maker's reference
        ask(place_of(address), address, authkey, "decref", token.id)
    return proxy


def RebuildProxy(func: Any, token: Any, serializer: str, kwds: dict[str, Any]) -> Any:
    """Unpickles a proxy."""
    if getattr(token, "life", None) is not None:
        return func(token, serializer, incref=False, **kwds)
    server = getattr(process.current_process(), "_manager_server", None)
    home = getattr(token, "home", None)
    if server is not None and (home == server.home if home else token.address == server.address):
        token.address = server.address
        return theirs.RebuildProxy(func, token, serializer, kwds)
    incref = kwds.pop("incref", True) and not getattr(process.current_process(), "_inheriting", False)
    return func(token, serializer, incref=incref, **kwds)


# ---- making proxies and their types ----------------------------------------------------------------------


def MakeProxyType(name: str, exposed: Any, _cache: dict[Any, Any] = {}) -> Any:  # noqa: B006
    """A proxy type whose methods are given by `exposed`, a sequence of their names."""
    exposed = tuple(exposed)
    if (name, exposed) not in _cache:
        body: dict[str, Any] = {}
        for method in exposed:
            exec(
                f"def {method}(self, /, *args, **kwds):\n    return self._callmethod({method!r}, args, kwds)",
                body,
            )
        del body["__builtins__"]
        _cache[name, exposed] = type(
            name, (BaseProxy,), {**body, "_exposed_": exposed, "__module__": __name__}
        )
    return _cache[name, exposed]


def AutoProxy(
    token: Any,
    serializer: str,
    manager: Any = None,
    authkey: bytes | None = None,
    exposed: Any = None,
    incref: bool = True,
    manager_owned: bool = False,
) -> Any:
    """A proxy with the methods that the server says the object has."""
    if authkey is None:
        authkey = process.current_process().authkey if manager is None else manager._authkey
    if exposed is None:
        if serializer != "pickle":
            make: Any = theirs.AutoProxy
            made = make(token, serializer, manager, authkey, None, False, manager_owned)
            exposed = made._exposed_
        else:
            exposed = ask(place_of(token.address), token.address, authkey, "get_methods", token)
    proxytype = MakeProxyType(f"AutoProxy[{token.typeid}]", exposed)
    proxy = proxytype(
        token, serializer, manager=manager, authkey=authkey, incref=incref, manager_owned=manager_owned
    )
    proxy._isauto = True
    return proxy


def _on_ours(name: str, theirs: Any) -> Any:
    """multiprocessing's proxy type of that name, on our BaseProxy."""
    body: dict[str, Any] = {"__module__": __name__, "__qualname__": name, "__doc__": theirs.__doc__}
    for cls in reversed(theirs.__mro__):
        if issubclass(cls, mpm.BaseProxy) and cls is not mpm.BaseProxy:
            body.update({key: value for key, value in vars(cls).items() if key not in _CLASS_OWN})
    return type(name, (BaseProxy,), body)


_CLASS_OWN = {"__dict__", "__weakref__", "__module__", "__qualname__", "__doc__", "__builtins__"}

IteratorProxy = _on_ours("IteratorProxy", theirs.IteratorProxy)
AcquirerProxy = _on_ours("AcquirerProxy", theirs.AcquirerProxy)
ConditionProxy = _on_ours("ConditionProxy", theirs.ConditionProxy)
EventProxy = _on_ours("EventProxy", theirs.EventProxy)
BarrierProxy = _on_ours("BarrierProxy", theirs.BarrierProxy)
ArrayProxy = _on_ours("ArrayProxy", theirs.ArrayProxy)
PoolProxy = _on_ours("PoolProxy", theirs.PoolProxy)
