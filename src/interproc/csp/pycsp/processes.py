"""PyCSP's processes: threads and OS processes, put together by Parallel, Sequence and Spawn."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from ...errors import ChannelPoison, ChannelRetire
from ..composition import Composition
from ..process import Description, ProcessType
from ..spawning import Spawn as _spawn
from .configuration import InfoException
from .ends import _ChannelEnd, ends_in, with_new_ends

T = TypeVar("T")

_HOSTS = {
    "pycsp_host",
    "pycsp_port",
}  # arguments of multiprocess: where its server is to listen, which it has none


# ---- who runs ----------------------------------------------------------------------------------------------


class _Record:
    """What is known of the process that a thread runs: its id, and whom it has spawned."""

    def __init__(self, id: str, maintained: bool) -> None:
        self.id = id
        self.maintained = maintained  # a process of PyCSP, whose end is seen to
        self.spawned: list[Any] = []

    def join_spawned(self) -> None:
        """Waits for them. Raises ExceptionGroup: some have failed."""
        while self.spawned:
            self.spawned.pop(0).join()


class _Here(threading.local):
    record: _Record | None = None


_here = _Here()
_program = _Record("__main__", False)


def _forget() -> None:
    """In a forked child."""
    global _here, _program
    _here, _program = _Here(), _Record("__main__", False)


os.register_at_fork(after_in_child=_forget)


def _record() -> _Record:
    return _here.record or _program


def current_process_id() -> str:
    """Names the process that runs; "__main__" outside of all."""
    return _record().id


# ---- processes ---------------------------------------------------------------------------------------------

_count = itertools.count(1)


class Process:
    """A process that is a thread: `Process(function, *args, **kwargs)`; see @process.

    Attributes:
        name: the function's.
        id: names this process among all.
        return_value: what the function has returned, once it was joined.
    """

    _kind: Literal["process", "thread"] = "thread"

    def __init__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.name: str = getattr(fn, "__name__", type(fn).__name__)
        self.id = f"{os.getpid()}.{next(_count)}.{self.name[:31]}"
        self.return_value: Any = None
        self._running: Any = None

    def update(self, **kwargs: Any) -> Process:
        """Settings of where it runs, which a thread has none of."""
        return self

    def start(self) -> None:
        """Start it alone. Raises RuntimeError: it was started before."""
        self._running = _spawn(self._description())

    def join(self, timeout: float | None = None) -> None:
        """Wait for it, at most so many seconds.

        Raises ExceptionGroup: it has failed. RuntimeError: it was not started.
        """
        if self._running is None:
            raise RuntimeError(f"{self.name} was not started")
        with contextlib.suppress(TimeoutError):
            self.return_value = self._running.join(timeout)[0]

    def join_report(self) -> Any:
        """Wait for it, and what it returned."""
        self.join()
        return self.return_value

    def is_alive(self) -> bool:
        return self._running is not None and self._running.alive

    def __mul__(self, multiplier: int) -> list[Process]:
        """This one and others like it, each with ends of its own of the same channels."""
        return [self, *(self._another() for _ in range(int(multiplier) - 1))]

    __rmul__ = __mul__

    def _another(self) -> Process:
        return type(self)(self.fn, *with_new_ends(self.args), **with_new_ends(self.kwargs))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _description(self) -> Description[Any]:
        if self._running is not None:
            raise RuntimeError(f"{self.name} was started before: a process runs once")
        self._running = ()
        work = self.fn, self.args, self.kwargs, self.id
        return _Shared(
            lambda: _run(*work), self.name, [_Seen(end) for end in ends_in([self.args, self.kwargs])]
        )


class MultiProcess(Process):
    """A process that is an OS process: `MultiProcess(function, *args, **kwargs)`; see @multiprocess."""

    _kind = "process"

    def __init__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(fn, *args, **{key: value for key, value in kwargs.items() if key not in _HOSTS})

    def update(self, **kwargs: Any) -> MultiProcess:
        """`pycsp_host` and `pycsp_port`, which have no effect. Raises InfoException: another one."""
        if unknown := set(kwargs) - _HOSTS:
            raise InfoException(f"a MultiProcess has no setting {', '.join(sorted(unknown))}")
        return self

    def _description(self) -> Description[Any]:
        if self._running is not None:
            raise RuntimeError(f"{self.name} was started before: a process runs once")
        self._running = ()
        maker: ProcessType[..., Any] = ProcessType(_run, "process", self.name)
        return maker(self.fn, self.args, self.kwargs, self.id)


class _Shared(Description[Any]):
    """Of a thread, which uses the ends of its arguments as they are: others may have them, too."""

    __slots__ = ("_seen",)

    def __init__(self, work: Callable[[], Any], name: str, seen: list[_Seen]) -> None:
        super().__init__(ProcessType(work, "thread", name), (), {}, "thread", name)
        self._seen = seen

    def ends(self) -> list[Any]:
        return self._seen


class _Seen:
    """An end as what runs processes is to see it: it can be named, and poisoned when all stops."""

    __slots__ = ("__weakref__", "_end")
    owned = False

    def __init__(self, end: _ChannelEnd) -> None:
        self._end = end

    @property
    def arena(self) -> Any:
        return self._end._below.arena

    @property
    def side(self) -> int:
        return self._end._side

    @property
    def channel_id(self) -> str:
        return str(self._end._below.channel_id)

    @property
    def label(self) -> str:
        return str(self._end._below.label)

    def poison(self) -> None:
        self._end.poison()

    def retire(self) -> None:
        pass

    def disown(self) -> None:
        pass


def _run(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], id: str) -> Any:
    """In the process."""
    record = _here.record = _Record(id, True)
    value = None
    try:
        try:
            value = fn(*args, **kwargs)
        except ChannelRetire:
            for end in ends_in([args, kwargs]):
                end.retire()
        record.join_spawned()
    except ChannelPoison:
        for end in ends_in([args, kwargs]):
            end.poison()
        record.join_spawned()
    except BaseException:
        for end in ends_in([args, kwargs]):
            end.poison()
        raise
    return value


def process(func: Callable[..., Any]) -> Callable[..., Process]:
    """@process makes of a function a maker of processes that are threads: `p = counter(c.writer(), 10)`."""

    @functools.wraps(func)
    def make(*args: Any, **kwargs: Any) -> Process:
        return Process(func, *args, **kwargs)

    return make


def multiprocess(
    func: Callable[..., Any] | None = None, pycsp_host: str = "", pycsp_port: int | None = None
) -> Any:
    """@multiprocess makes of a function a maker of processes that are OS processes.

    `pycsp_host` and `pycsp_port` have no effect: there are no sockets.
    """
    if func is None:
        return multiprocess

    @functools.wraps(func)
    def make(*args: Any, **kwargs: Any) -> MultiProcess:
        return MultiProcess(func, *args, **kwargs)

    return make


# ---- composition -------------------------------------------------------------------------------------------


def _flat(plist: tuple[Any, ...], settings: dict[str, Any]) -> tuple[list[Any], list[Description[Any]]]:
    """The processes, and their descriptions. (Descriptions of interproc.csp may be among them.)"""
    flat: list[Any] = []
    for item in plist:
        flat.extend(item if isinstance(item, (list, tuple)) else [item])
    for item in flat:
        if not isinstance(item, (Process, Description)):
            raise InfoException(f"a process is what a call of a @process returns, not {item!r}")
        if settings and isinstance(item, Process):
            item.update(**settings)
    return flat, [item._description() if isinstance(item, Process) else item for item in flat]


def _all(plist: tuple[Any, ...], settings: dict[str, Any], ordered: bool) -> list[Any]:
    flat, descriptions = _flat(plist, settings)
    results = list(Composition(descriptions, ordered).run())
    for item, result in zip(flat, results, strict=True):
        if isinstance(item, Process):
            item.return_value = result
    return results


def Parallel(*plist: Any, **kwargs: Any) -> list[Any]:
    """Run processes, and lists of processes, side by side, and wait for all; the list of what they return.

    Raises:
        ExceptionGroup: of what those have raised that failed.
        InfoException: something is no process.
    """
    return _all(plist, kwargs, False)


def Sequence(*plist: Any, **kwargs: Any) -> list[Any]:
    """The same, one after the other."""
    return _all(plist, kwargs, True)


def Spawn(*plist: Any, **kwargs: Any) -> None:
    """Start processes, and lists of processes, and do not wait: who spawns them waits at its end."""
    _, descriptions = _flat(plist, kwargs)
    _record().spawned.append(_spawn(descriptions))


def shutdown() -> None:
    """Wait for all that the program has spawned; to be called at its end.

    Raises:
        ExceptionGroup: some of it has failed.
        InfoException: it is called in a process.
    """
    record = _record()
    if record.maintained:
        raise InfoException(
            "shutdown() is for the program: a process waits at its end for what it has spawned"
        )
    record.join_spawned()


# ---- of other kinds ----------------------------------------------------------------------------------------


class Io:
    """A name that PyCSP has."""


def io(func: T) -> T:
    """@io marks what blocks, for PyCSP's coroutines. It has no effect."""
    return func


class _Elsewhere:
    """Of processes on other machines: to be told of when it is used."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise InfoException(f"{self.name}: processes run on this machine; use @multiprocess")


SSHProcess, sshprocess = _Elsewhere("SSHProcess"), _Elsewhere("sshprocess")
ClusterProcess, clusterprocess = _Elsewhere("ClusterProcess"), _Elsewhere("clusterprocess")
