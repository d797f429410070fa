"""The contexts and their Process classes; how a child process comes to its parent's arena, and leaves it."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing import context as mpc
from multiprocessing import process, util
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

from . import _core

if TYPE_CHECKING:
    from . import connection, locks, managers, queues

__all__ = [
    "DefaultContext",
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "Process",
    "SpawnContext",
    "SpawnProcess",
]


# ---- leaving the arena -------------------------------------------------------------------------------------

# After everything else that is finalised at the end of a process: whoever comes before may still use the
# objects.
_LAST = -(10**6)


def _leave_at_exit() -> None:
    """See to it that this process leaves its arenas at its end; a forked child has to anew."""
    util.Finalize(None, _leave, exitpriority=_LAST)


def _leave() -> None:
    """Let go of all handles, so that others learn of it now; of a kill they learn when they look.

    A child of multiprocessing gets here before its other threads have ended. If one of them is to be waited
    for, it may still need the objects, and the process is left to be found dead.
    """
    here = threading.current_thread()
    if all(
        thread is here or thread.daemon or thread is threading.main_thread()
        for thread in threading.enumerate()
    ):
        _core.leave()


def _after_fork(_: object) -> None:
    _leave_at_exit()


_leave_at_exit()
os.register_at_fork(after_in_child=_leave_at_exit)  # a bare os.fork()
util.register_after_fork(_leave_at_exit, _after_fork)  # a Process, which clears the registry after the above


# ---- processes ---------------------------------------------------------------------------------------------


def _arrive(
    arena: _core.Arena, start_method: str | None, rebuild: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    """In a spawned child, before the rest of its Process is unpickled: make the parent's arena this one's."""
    _core.Arena.set_default(arena)
    _default_context._adopt(start_method)
    return rebuild(*args)


class _ByValue:
    """A function that the child cannot import: it travels as its code and what it refers to."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function

    def __reduce__(self) -> Any:
        import cloudpickle

        return cloudpickle.loads, (cloudpickle.dumps(self._function),)


_failure: BaseException | None = None


def failure() -> BaseException | None:
    """What ended run() in this process, if it is a Process's and run() was ended by an exception.

    When exit functions run, multiprocessing itself has forgotten it (from Python 3.13 on).
    """
    return _failure


class _ProcessMixin(process.BaseProcess):
    """A process that is in its parent's arena from its first instruction on.

    Its target may be a lambda or a function within a function, with each start method.
    """

    def _bootstrap(self, parent_sentinel: Any = None) -> Any:
        run = self.run

        def noting() -> None:
            global _failure
            try:
                run()
            except BaseException as error:
                _failure = error
                raise

        vars(self)["run"] = noting
        return super()._bootstrap(parent_sentinel)  # type: ignore[misc]

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced: Any = object.__reduce_ex__(self, max(int(protocol), 2))
        rebuild, args, state, *rest = reduced
        target = state.get("_target")
        if isinstance(target, FunctionType) and "<" in target.__qualname__:
            state = {**state, "_target": _ByValue(target)}
        rest.insert(0, state)
        method = _default_context.get_start_method(allow_none=True)
        return _arrive, (_core.Arena.default(), method, rebuild, args), *rest


class _PlacesMixin:
    """A launcher that closes the places in the arena which it kept for its child (see Arena.reserve).

    Each is a descriptor with a lock that tells that the child may still come. The child has its own once it
    runs.
    """

    def _launch(self, process_obj: Any) -> None:
        try:
            super()._launch(process_obj)  # type: ignore[misc]
        finally:
            places = self.__dict__.pop("_interproc_places", [])
            while places:  # emptied, since a finalizer of this launcher closes what is left in the list
                os.close(places.pop())


@functools.cache
def _launcher(module: str) -> Any:
    """multiprocessing's launcher in a module that is not imported before it is needed, with the above."""
    popen = importlib.import_module(f"multiprocessing.{module}").Popen
    return type("Popen", (_PlacesMixin, popen), {})


class ForkProcess(_ProcessMixin, mpc.ForkProcess):
    """A process started by fork."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        _core.Arena.default()  # made now, or the child would make one of its own
        return mpc.ForkProcess._Popen(process_obj)


class SpawnProcess(_ProcessMixin, mpc.SpawnProcess):
    """A process started afresh by a new interpreter."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _launcher("popen_spawn_posix")(process_obj)


class ForkServerProcess(_ProcessMixin, mpc.ForkServerProcess):
    """A process forked by a server process that has nothing open."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _launcher("popen_forkserver")(process_obj)


class Process(_ProcessMixin, mpc.Process):
    """A process started by the default context's start method."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        _default_context.get_context().Process._after_fork()


# ---- contexts ----------------------------------------------------------------------------------------------


class _Context(mpc.BaseContext):
    """What all contexts share: `multiprocessing`'s names, bound to interproc's objects."""

    Process: ClassVar[Any]

    @overload  # type: ignore[override]  # ours
    def get_context(self, method: Literal["fork"]) -> ForkContext: ...
    @overload
    def get_context(self, method: Literal["spawn"]) -> SpawnContext: ...
    @overload
    def get_context(self, method: Literal["forkserver"]) -> ForkServerContext: ...
    @overload
    def get_context(self, method: str | None = None) -> _Context: ...

    def get_context(self, method: str | None = None) -> Any:
        """The context of a start method; without one, this context itself. ValueError: there is none such.

        Of the default context: without one, that of the default start method, which is then settled.
        """
        if method is None:
            return self._itself()
        try:
            return _concrete_contexts[method]
        except KeyError:
            known = ", ".join(_concrete_contexts)
            raise ValueError(f"cannot find context for {method!r}; there are: {known}") from None

    def _itself(self) -> _Context:
        return self

    @overload  # type: ignore[override]  # ours
    def Manager(self, *, name: None = None) -> managers.SyncManager: ...
    @overload
    def Manager(self, *, name: str) -> managers.NamedManager: ...

    def Manager(self, *, name: str | None = None) -> Any:
        """A manager with its server started; see managers.SyncManager.

        With a name, the store of that name, which unrelated processes open; see managers.NamedManager.
        """
        from .managers import NamedManager, SyncManager

        if name is not None:
            return NamedManager(name)
        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Queue(  # type: ignore[override]
        self,
        maxsize: int = 0,
        max_bytes: int = 0,
        *,
        name: str | None = None,
        arena: _core.Arena | None = None,
    ) -> queues.Queue[Any]:
        """A first-in first-out queue; see queues.Queue."""
        from .queues import Queue

        return Queue(maxsize, max_bytes, name=name, arena=arena)

    def JoinableQueue(  # type: ignore[override]
        self,
        maxsize: int = 0,
        max_bytes: int = 0,
        *,
        name: str | None = None,
        arena: _core.Arena | None = None,
    ) -> queues.JoinableQueue[Any]:
        """A queue with `task_done` and `join`; see queues.JoinableQueue."""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, max_bytes, name=name, arena=arena)

    def SimpleQueue(self) -> queues.SimpleQueue[Any]:  # type: ignore[override]
        """A queue with only `put`, `get`, `empty` and `close`; see queues.SimpleQueue."""
        from .queues import SimpleQueue

        return SimpleQueue()

    def Pipe(self, duplex: bool = True) -> tuple[connection.Connection, connection.Connection]:  # type: ignore[override]
        """Two ends of a pipe; of a one-way pipe the first end reads and the second writes."""
        from .connection import Pipe

        return Pipe(duplex)

    def Lock(self) -> locks.Lock:  # type: ignore[override]
        """A non-recursive lock; see locks.Lock."""
        from .locks import Lock

        return Lock()

    def RLock(self) -> locks.RLock:  # type: ignore[override]
        """A recursive lock; see locks.RLock."""
        from .locks import RLock

        return RLock()

    def Semaphore(self, value: int = 1) -> locks.Semaphore:  # type: ignore[override]
        """A counting semaphore; see locks.Semaphore."""
        from .locks import Semaphore

        return Semaphore(value)

    def BoundedSemaphore(self, value: int = 1) -> locks.BoundedSemaphore:  # type: ignore[override]
        """A semaphore that cannot go above its first value; see locks.BoundedSemaphore."""
        from .locks import BoundedSemaphore

        return BoundedSemaphore(value)

    def Condition(self, lock: locks.Lockable | None = None) -> locks.Condition:  # type: ignore[override]
        """A condition variable; see locks.Condition."""
        from .locks import Condition

        return Condition(lock)

    def Event(self) -> locks.Event:  # type: ignore[override]
        """A flag to wait for; see locks.Event."""
        from .locks import Event

        return Event()

    def Barrier(  # type: ignore[override]
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> locks.Barrier:
        """A meeting point for a number of processes; see locks.Barrier."""
        from .locks import Barrier

        return Barrier(parties, action, timeout)

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        """A ctypes object in shared memory; see shared.RawValue."""
        from .shared import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        """A ctypes array in shared memory; see shared.RawArray."""
        from .shared import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        """A ctypes object in shared memory with a lock; see shared.Value."""
        from .shared import Value

        return Value(typecode_or_type, *args, lock=lock)

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
        """A ctypes array in shared memory with a lock; see shared.Array."""
        from .shared import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock)


class ForkContext(_Context, mpc.ForkContext):
    """Children are forked."""

    Process = ForkProcess


class SpawnContext(_Context, mpc.SpawnContext):
    """Children are started afresh."""

    Process = SpawnProcess


class ForkServerContext(_Context, mpc.ForkServerContext):
    """Children are forked by a server process."""

    Process = ForkServerProcess


_concrete_contexts: dict[str, Any] = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}


class DefaultContext(_Context):
    """The context behind the functions of the package; its start method is set once, or is the platform's."""

    Process = Process

    def __init__(self) -> None:
        self._method: str | None = None

    def _itself(self) -> _Context:
        method: str = self.get_start_method()
        return self.get_context(method)

    def get_start_method(self, allow_none: bool = False) -> Any:
        """The start method; if none was set, the platform's, which is then settled (None if `allow_none`)."""
        if self._method is None and not allow_none:
            self._method = multiprocessing.get_all_start_methods()[0]  # Python lists its default first
        return self._method

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Set the start method, once, or again with `force`.

        Raises RuntimeError if it was set before, ValueError if there is none such.
        """
        if self._method is not None and not force:
            raise RuntimeError(
                f"context has already been set: the start method is {self._method!r}; force=True changes it"
            )
        self._adopt(method)

    def _adopt(self, method: str | None) -> None:
        if method is not None:
            self.get_context(method)
        self._method = method

    def get_all_start_methods(self) -> list[str]:
        """The start methods, the default first."""
        return multiprocessing.get_all_start_methods()


_default_context = DefaultContext()
