"""BaseManager and SyncManager.

They start and control a server, and make what it keeps and what is in the arena.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from multiprocessing import managers as mpm
from multiprocessing import util
from multiprocessing.context import BaseContext, get_spawning_popen
from typing import TYPE_CHECKING, Any, ClassVar

from .. import _core
from ..context import _Context, _default_context
from ..errors import ServerDied
from . import channel, twins
from .channel import ask, note_arena, place_of
from .containers import theirs
from .dicts import DictProxy
from .makers import Makers
from .remote import AutoProxy, IteratorProxy, PoolProxy, make_proxy
from .server import Server, wait_for_parent
from .store import StoreFace

__all__ = ["BaseManager", "SyncManager"]

STARTED: int = theirs.State.STARTED


class BaseManager(mpm.BaseManager):
    """Starts, controls or connects to a server that keeps objects of the classes registered with it.

    All of multiprocessing's BaseManager. A manager may be pickled and sent to other processes, which can use
    it, and not control its server. The server ends with the process that started it.
    """

    _Server: ClassVar[Any] = Server
    _registry: ClassVar[dict[str, Any]] = {}

    # What multiprocessing's has.
    _address: Any
    _authkey: bytes
    _state: Any
    _serializer: str
    _Client: Any
    _create: Any

    def __init__(
        self,
        address: Any = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: BaseContext | None = None,
        *,
        shutdown_timeout: float = 1.0,
    ) -> None:
        super().__init__(address, authkey, serializer, _ours(ctx), shutdown_timeout=shutdown_timeout)
        self._process: Any = None
        self._joined: _core.Arena | None = None  # the server's arena, if it can be reached
        self._place: channel.Place

    # ---- the server ---------------------------------------------------------------------------------------

    def _not_running(self) -> str:
        """Why it cannot be used, for an AssertionError as multiprocessing's."""
        if self._state.value == mpm.State.SHUTDOWN:  # type: ignore[attr-defined]
            return "the manager's server has been shut down; what it made can still be used"
        return "server not yet started"

    def start(self, initializer: Callable[..., object] | None = None, initargs: Any = ()) -> None:
        """Starts the server, which first calls initializer(*initargs).

        Raises ProcessError if it was started.
        """
        _core.Arena.default()
        util.get_temp_dir()  # the socket's folder is ours, so that it goes even if the server is killed
        super().start(initializer, initargs)
        self._place = channel.new_place(self._address)
        self._joined = _core.Arena.default()

    def get_server(self) -> Any:
        """The server, to be run in this process by its serve_forever(); it has an `address`."""
        state = self._state.value
        if state != theirs.State.INITIAL:
            super().get_server()  # raises
        return self._Server(self._registry, self._address, self._authkey, self._serializer)

    def connect(self) -> None:
        """Connects to a server that runs already. Raises OSError if there is none, AuthenticationError."""
        if self._serializer != "pickle":
            super().connect()
            return
        place = channel.new_place(self._address)
        try:
            place.channel = opened = channel.open_channel(self._address, self._authkey)
        except ServerDied as error:
            raise error.__cause__ or error from None
        self._place = place
        self._joined = opened.arena
        self._state.value = STARTED

    def __exit__(self, *exc_info: object) -> None:
        if "shutdown" in self.__dict__:
            self.shutdown()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._state.value != STARTED:
            raise TypeError(
                f"a {type(self).__name__} can be sent to other processes once it is started or connected"
            )
        spawning = get_spawning_popen() is not None
        arena = self._joined and (self._joined if spawning else self._joined.uid)
        authkey = self._authkey if spawning else None
        root = self.__dict__.get("_root")
        return _rebuild, (type(self), self._address, authkey, self._serializer, arena, root)

    def _ask(self, method: str, *args: Any, **kwds: Any) -> Any:
        return ask(self._place, self._address, self._authkey, method, *args, **kwds)

    def _debug_info(self) -> Any:
        """A text about the objects in the server."""
        return (
            self._ask("debug_info") if self._serializer == "pickle" else theirs.BaseManager._debug_info(self)
        )

    def _number_of_objects(self) -> Any:
        """How many objects the server keeps for somebody."""
        return (
            self._ask("number_of_objects")
            if self._serializer == "pickle"
            else theirs.BaseManager._number_of_objects(self)
        )

    # ---- registered classes -------------------------------------------------------------------------------

    @classmethod
    def register(
        cls,
        typeid: str,
        callable: Callable[..., Any] | None = None,
        proxytype: Any = None,
        exposed: Any = None,
        method_to_typeid: Any = None,
        create_method: bool = True,
    ) -> None:
        """Gives managers of this class a method `typeid`: the server calls `callable`; a proxy comes back.

        Args:
            proxytype: of the proxy; without, one is made of what is exposed.
            exposed: the names of the methods that may be called; without, the proxytype's, or all public
            ones. method_to_typeid: methods whose result stays in the server, and the typeid by which it is
            proxied. create_method: whether there is such a method, or only a typeid for the above.
        """
        if proxytype is None:
            proxytype = AutoProxy
        elif isinstance(proxytype, type) and issubclass(proxytype, _core.Handle):
            proxytype = twins.twin(proxytype)
        super().register(typeid, callable, proxytype, exposed, method_to_typeid, create_method=False)
        if create_method:
            setattr(cls, typeid, _maker(typeid))

    def _make(self, typeid: str, args: Any, kwds: Any) -> Any:
        assert self._state.value == STARTED, self._not_running()
        kind, result = self._place.call(self._address, self._authkey, None, "make", (typeid, *args), kwds)
        if kind == "#PROXY":
            return make_proxy(result, self._serializer, self, self._address, self._authkey)
        return result if kind == "#RETURN" else channel.raise_answer(kind, result)


def _maker(typeid: str) -> Any:
    def make(self: BaseManager, /, *args: Any, **kwds: Any) -> Any:
        if self._serializer == "pickle":
            return self._make(typeid, args, kwds)
        token, exposed = self._create(typeid, *args, **kwds)
        proxytype = self._registry[typeid][-1]
        proxy = proxytype(token, self._serializer, manager=self, authkey=self._authkey, exposed=exposed)
        with contextlib.closing(self._Client(token.address, authkey=self._authkey)) as connection:
            theirs.dispatch(connection, None, "decref", (token.id,))
        return proxy

    make.__name__ = typeid
    make.__qualname__ = f"BaseManager.{typeid}"
    return make


def _ours(ctx: BaseContext | None) -> Any:
    """Our context of the same start method: the server has to be in the arena."""
    if ctx is None:
        return _default_context.get_context()
    if isinstance(ctx, _Context):
        return ctx
    return _default_context.get_context(ctx.get_start_method())


def _rebuild(cls: Any, address: Any, authkey: bytes | None, serializer: str, arena: Any, root: Any) -> Any:
    """Unpickles a manager."""
    manager = cls(address, authkey, serializer)
    manager._state.value = STARTED
    if root is not None:
        manager._root = root
    if isinstance(arena, str):
        arena = channel.arena_of(arena)
        if arena is None:
            manager.connect()
            return manager
    elif arena is not None:
        note_arena(arena)
    manager._joined = arena
    manager._place = place_of(address)
    return manager


# ---- SyncManager -----------------------------------------------------------------------------------------


class SyncManager(Makers, StoreFace, BaseManager):
    """A manager of built-in kinds: dict, list, set, Namespace, Value, Array, Queue, Lock..., and Pool.

    What it makes of these (but a Pool) is in shared memory: a call on it asks no server, and it goes on if
    the server dies. A manager that is connected to a server on another machine gives remote proxies of them,
    with the same methods, which do. What is in `root` is there for all who connect.
    """

    @property
    def _arena(self) -> _core.Arena:  # type: ignore[override]
        assert self._state.value == STARTED, self._not_running()
        assert self._joined is not None
        return self._joined

    @property
    def _far(self) -> bool:
        """Whether the server's memory is out of reach. AssertionError unless the server runs."""
        assert self._state.value == STARTED, self._not_running()
        return self._joined is None

    @property
    def root(self) -> DictProxy[str, Any]:
        """A live shared dict that all managers of this server have; the server keeps it."""
        assert self._state.value == STARTED, self._not_running()
        if self._root is None:
            self._root = self._ask("root")
        return self._root

    def open(self, name: str, factory: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """The object of this name in `root`; if there is none, what the factory makes; see StoreFace.open."""
        if not self._far:
            return super().open(name, factory, *args, **kwargs)
        try:
            return self.root[name]
        except KeyError:
            if factory is None:
                raise KeyError(f"there is no {name!r} in the store, and no factory to make it with") from None
        return self.root.setdefault(name, factory(*args, **kwargs))

    def share(self, obj: Any) -> Any:
        """A live shared copy of a nested dict, list or set, all the way down; see StoreFace.share."""
        return self._ask("share", obj) if self._far else super().share(obj)

    def transaction(self, *proxies: Any, timeout: float | None = None) -> Any:
        """`with m.transaction(d, l): ...`: all or nothing of what the block does to them.

        See transaction().
        """
        if self._far:
            return twins.RemoteTransaction(self._ask, proxies, timeout)
        return super().transaction(*proxies, timeout=timeout)

    def save(self, path: Any, timeout: float | None = None) -> None:
        """Writes `root` to a file, on the server's machine; see StoreFace.save."""
        if self._far:
            self._ask("save", path, timeout)
        else:
            super().save(path, timeout)

    def load(self, path: Any, timeout: float | None = None) -> None:
        """Replaces what `root` has by a file of the server's machine; see StoreFace.load."""
        if self._far:
            self._ask("load", path, timeout)
        else:
            super().load(path, timeout)

    if TYPE_CHECKING:

        def Pool(self, *args: Any, **kwds: Any) -> Any:
            """A pool of processes that the server keeps."""


def _either(kind: str) -> Any:
    """A method that makes an object of a built-in kind.

    Here, or, if its memory is out of reach, by the server.
    """
    here = getattr(Makers, kind)
    there = _maker(kind)

    @functools.wraps(here)
    def make(self: SyncManager, /, *args: Any, **kwds: Any) -> Any:
        return there(self, *args, **kwds) if self._far else here(self, *args, **kwds)

    return make


class _InServer(Makers):
    @property
    def _arena(self) -> _core.Arena:  # type: ignore[override]
        return _core.Arena.default()


def _make_in_server(kind: str, /, *args: Any, **kwds: Any) -> Any:
    return getattr(_InServer(), kind)(*args, **kwds)


def _make_pool(
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Any = (),
    maxtasksperchild: int | None = None,
) -> Any:
    return _default_context.Pool(processes, _in_worker, (initializer, initargs), maxtasksperchild)


def _in_worker(initializer: Callable[..., object] | None, initargs: Any) -> None:
    """What a pool's worker does first. It ends with the server, which nobody else could tell it to."""
    threading.Thread(target=_end_with_server, daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with_server() -> None:
    wait_for_parent()
    os._exit(1)


for _kind, _type in {
    "dict": twins.RemoteDict,
    "list": twins.RemoteList,
    "set": twins.RemoteSet,
    "Namespace": twins.RemoteNamespace,
    "Value": twins.RemoteValue,
    "Array": twins.RemoteArray,
    "Queue": twins.RemoteQueue,
    "JoinableQueue": twins.RemoteQueue,
    "Lock": twins.RemoteLock,
    "RLock": twins.RemoteLock,
    "Semaphore": twins.RemoteLock,
    "BoundedSemaphore": twins.RemoteLock,
    "Condition": twins.RemoteCondition,
    "Event": twins.RemoteEvent,
    "Barrier": twins.RemoteBarrier,
}.items():
    SyncManager.register(_kind, functools.partial(_make_in_server, _kind), _type, create_method=False)
    setattr(SyncManager, _kind, _either(_kind))

SyncManager.register("Pool", _make_pool, PoolProxy)
SyncManager.register("Iterator", proxytype=IteratorProxy, create_method=False)
SyncManager.register("AsyncResult", create_method=False)
