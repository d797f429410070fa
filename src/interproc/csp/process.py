"""`@process`: functions and classes as processes, and descriptions of processes that are yet to run."""

from __future__ import annotations

import functools
import inspect
import operator
import pickle
import sys
import types
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from . import main_module, travel

__all__ = ["Description", "Kind", "ProcessType", "process"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Kind: TypeAlias = Literal["process", "thread", "task"]
KINDS = ("process", "thread", "task")
_ENTRIES = ("run", "__call__")  # of a class, the first that it has


class Runs(Protocol[R_co]):
    """What a class-based process looks like."""

    def run(self) -> R_co: ...


class RunsAsync(Protocol[R_co]):
    """One that is a task."""

    def run(self) -> Coroutine[Any, Any, R_co]: ...


class ProcessType(Generic[P, R]):
    """What `@process` makes of a function or a class: called with its arguments, it describes a process."""

    def __init__(
        self,
        body: Callable[..., Any],
        kind: Kind | None = None,
        name: str | None = None,
        task: Callable[..., Any] | None = None,
    ) -> None:
        if isinstance(body, (staticmethod, classmethod)):
            raise TypeError(f"write @{type(body).__name__} above @process, not below it")
        if isinstance(body, (ProcessType, Description)) or not callable(body):
            hint = f": write @process(kind={body!r})" if isinstance(body, str) and body in KINDS else ""
            raise TypeError(f"@process takes a function or a class, not {body!r}{hint}")
        if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
            raise TypeError(
                f"{body!r} yields: a process sends what it makes over a channel, or returns it at its end"
            )
        if isinstance(body, type) and _entry(body) is None:
            raise TypeError(f"the class {body.__qualname__} has no method run(self) for a process to do")
        self.is_async = _is_async(body)
        if task is not None and not _is_async(task):
            raise TypeError(f"{task!r} is no `async def`, so it cannot be what a task does")
        self.task = task
        self.name: str = name or _name(body)
        functools.update_wrapper(self, body, updated=())
        self.__qualname__ = getattr(body, "__qualname__", self.name)  # a functools.partial has none
        self.body = body
        self._signature: inspect.Signature | None = None
        self._wraps = hasattr(body, "__wrapped__")  # so that its code does not tell what it takes
        self.kind: Kind = "task" if self.is_async else "process"
        if kind is not None:
            self.kind = self.checked(kind)

    def checked(self, kind: str) -> Kind:
        """The kind, if this can run as one; else raises ValueError (there is none such) or TypeError."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of process; there are 'process', 'thread' and 'task'")
        if kind == "task" and not self.is_async and self.task is None:
            raise TypeError(
                f"{self.name} is no `async def`: as a task it would let no other run; write it as one "
                f"(await inp.arecv(), await out.asend(x)), or take kind='thread'"
            )
        return kind  # type: ignore[return-value]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Description[R]:
        """Describes the process; nothing runs. Raises TypeError if the arguments do not fit."""
        code = getattr(self.body, "__code__", None)
        if kwargs or code is None or code.co_argcount != len(args) or code.co_kwonlyargcount or self._wraps:
            self._check(args, kwargs)
        return Description(self, args, kwargs, self.kind, self.name)

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._signature is None:
            try:
                self._signature = inspect.signature(self.body)
            except ValueError:  # of something built in that has none
                return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self._signature}: {error}") from None

    def with_kind(self, kind: Kind) -> ProcessType[P, R]:
        """The same as an OS process ("process"), a "thread", or a "task" of an event loop.

        Raises:
            ValueError: there is no such kind.
            TypeError: a function that is no `async def` as a task. (An `async def` can be any kind.)
        """
        return ProcessType(self.body, self.checked(kind), self.name, self.task)

    def with_name(self, name: str) -> ProcessType[P, R]:
        """The same under another name."""
        return ProcessType(self.body, self.kind, name, self.task)

    def does(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Does it: what the function returns, or the coroutine that is to be awaited."""
        if kind == "task" and self.task is not None:
            return self.task(*args, **kwargs)
        made = self.body(*args, **kwargs)
        if isinstance(self.body, type):
            return getattr(made, _entry(self.body) or "run")()
        return made

    def __repr__(self) -> str:
        return f"<process {self.__module__}.{self.__qualname__} kind={self.kind!r}>"

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """In a class, a method that describes a process."""
        return self if instance is None else types.MethodType(self, instance)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        if not isinstance(self.body, type):
            raise TypeError(f"{self!r} is no class to derive from")
        return (self.body,)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(self.body, type) and isinstance(instance, self.body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "body" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.body, name)

    def __reduce__(self) -> Any:
        """By name where it can be imported, as functions are; else by value."""
        return self._by_name() or (pickle.loads, (travel.dumps(self),))

    def _reduce_in_place(self) -> Any:
        """For the pickler of travel.dumps: its function may refer to the process itself."""
        return self._by_name() or (_blank, (), {**self.__dict__, "_signature": None})

    def _by_name(self) -> Any:
        module, qualname = self.__module__, self.__qualname__
        home = sys.modules.get(module)
        if module == "__main__":
            importable = main_module.has(self, qualname)
        else:
            importable = home is not None and main_module.looked_up(home, qualname) is self
        return (_found, (module, qualname)) if importable else None


def _found(module: str, qualname: str) -> Any:
    __import__(module)
    found = main_module.looked_up(sys.modules[module], qualname)
    if found is None:
        raise AttributeError(
            f"there is no {qualname} in {module} here: define a process at the top level of its module, not "
            f"below `if __name__ == '__main__':`, or start processes by fork"
        )
    return found


def _blank() -> ProcessType[Any, Any]:
    """One that gets what it has afterwards."""
    return ProcessType.__new__(ProcessType)


def _entry(cls: type) -> str | None:
    for name in _ENTRIES:
        if any(name in base.__dict__ for base in cls.__mro__[:-1]):
            return name
    return None


def _name(body: Callable[..., Any]) -> str:
    while isinstance(body, functools.partial):
        body = body.func
    return getattr(body, "__name__", None) or type(body).__name__


def _is_async(body: Callable[..., Any]) -> bool:
    if isinstance(body, type):
        return inspect.iscoroutinefunction(getattr(body, _entry(body) or "run", None))
    call = getattr(type(body), "__call__", None)  # noqa: B004  # what it is, not whether there is one
    return inspect.iscoroutinefunction(body) or inspect.iscoroutinefunction(call)


class Description(Generic[R]):
    """A process that does not run yet: what Parallel, Sequence and Spawn run.

    It can be run several times. The ends in its arguments become the process's when it starts; those of one
    that is never run retire when nobody refers to them any more.

    Attributes:
        name: for people, in errors and pictures.
        kind: "process", "thread" or "task".
    """

    __slots__ = ("__weakref__", "args", "kind", "kwargs", "name", "process")

    def __init__(
        self,
        process: ProcessType[Any, R],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: Kind,
        name: str,
    ) -> None:
        self.process = process
        self.args = args
        self.kwargs = kwargs
        self.kind: Kind = kind
        self.name = name

    def ends(self) -> list[Any]:
        """The ends of channels, and enrolments at barriers, in its arguments, in order."""
        if not self.args and not self.kwargs:
            return []
        return travel.ends_in((*self.args, *self.kwargs.values()))

    def with_kind(self, kind: Kind) -> Description[R]:
        """The same as another kind of process; see ProcessType.with_kind."""
        return Description(self.process, self.args, self.kwargs, self.process.checked(kind), self.name)

    def with_name(self, name: str) -> Description[R]:
        """The same under another name."""
        return Description(self.process, self.args, self.kwargs, self.kind, name)

    def __mul__(self, n: int) -> list[Description[R]]:
        """n processes of this description, named name[0], name[1] and so on."""
        return [self.with_name(f"{self.name}[{i}]") for i in range(operator.index(n))]

    __rmul__ = __mul__

    def __repr__(self) -> str:
        arguments = [_short(value) for value in self.args]
        arguments += [f"{key}={_short(value)}" for key, value in self.kwargs.items()]
        return f"<{self.name}({', '.join(arguments)}) kind={self.kind!r}>"

    def __await__(self) -> Any:
        raise TypeError(f"{self!r} describes a process: write `await Parallel({self.name}(...))`")

    if not TYPE_CHECKING:  # a type checker tells of it by itself

        def __call__(self, *_: Any, **__: Any) -> Any:
            raise TypeError(f"{self!r} describes a process: Parallel({self.name}(...)) runs it")


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."


@overload
def process(body: Callable[P, RunsAsync[R]], /) -> ProcessType[P, R]: ...
@overload
def process(body: Callable[P, Runs[R]], /) -> ProcessType[P, R]: ...
@overload
def process(body: Callable[P, Coroutine[Any, Any, R]], /) -> ProcessType[P, R]: ...
@overload
def process(body: Callable[P, R], /) -> ProcessType[P, R]: ...
@overload
def process(
    body: Callable[P, R],
    /,
    *,
    kind: Kind | None = None,
    name: str | None = None,
    task: Callable[P, Coroutine[Any, Any, R]] | None = None,
) -> ProcessType[P, R]: ...
@overload
def process(
    *,
    kind: Kind | None = None,
    name: str | None = None,
    task: Callable[..., Coroutine[Any, Any, Any]] | None = None,
) -> _Decorator: ...
def process(
    body: Any = None,
    /,
    *,
    kind: Kind | None = None,
    name: str | None = None,
    task: Callable[..., Any] | None = None,
) -> Any:
    """Makes a process of a function, or of a class: to call it describes a process, and runs nothing.

        @process
        def worker(jobs, results):                  # an OS process
            for job in jobs:
                results.send(job * job)

        @process(kind="thread")                     # a thread of this OS process
        @process(kind="task")                       # a task of an event loop; an `async def` is one by itself

        @process
        class Worker:                               # made, and run, in the new process
            def __init__(self, jobs, results): ...
            def run(self): ...                      # or __call__

        Parallel(worker(jobs.reader(), results.writer()) * 4, ...)

    The ends in its arguments are its own. When it returns they retire; when it fails, or is killed, they are
    poisoned. ChannelPoison or ChannelRetire that leaves it is no failure: it spreads to its other ends, and
    None is its value. It may return, or raise, what can be pickled; a thread or a task, anything.

    Args:
        kind: "process", "thread" or "task".
        name: for people; by default the function's.
        task: an `async def` that does the same, for `with_kind("task")` of a function that is none.

    A thread or a task that returns while it holds a Lock leaves it locked, as threads of Python do (use
    `with`); an OS process that ends, in whatever way, leaves it to the next who wants it.

    Raises:
        TypeError: it is no function or class, or yields, or cannot be a task.
        ValueError: there is no such kind.
    """
    if body is None:
        return lambda body: ProcessType(body, kind, name, task)
    return ProcessType(body, kind, name, task)


class _Decorator(Protocol):
    @overload
    def __call__(self, body: Callable[P, RunsAsync[R]], /) -> ProcessType[P, R]: ...
    @overload
    def __call__(self, body: Callable[P, Runs[R]], /) -> ProcessType[P, R]: ...
    @overload
    def __call__(self, body: Callable[P, Coroutine[Any, Any, R]], /) -> ProcessType[P, R]: ...
    @overload
    def __call__(self, body: Callable[P, R], /) -> ProcessType[P, R]: ...


def run_here(description_process: ProcessType[Any, R], kind: str, args: tuple[Any, ...], kwargs: Any) -> R:
    """Does it in this thread, to its end; what is `async def` in an event loop of its own."""
    value = description_process.does(kind, args, kwargs)
    if inspect.iscoroutine(value):
        import asyncio

        with asyncio.Runner() as runner:
            value = runner.run(value)
    return value  # type: ignore[no-any-return]
