"""Parallel, Sequence and Spawn: processes put together, run, and waited for."""

from __future__ import annotations

import operator
import os
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

from . import driving, reaper, scope
from .driving import Errand, running_loop
from .failures import group
from .process import Description, ProcessType
from .run import Run, poison_all

if TYPE_CHECKING:
    import asyncio

__all__ = ["Composition", "Member", "Parallel", "Results", "Sequence", "Spawn", "Spawned"]

R = TypeVar("R")
Part: TypeAlias = "Description[Any] | Composition | Iterable[Part]"

_CO_ASYNC = 0x80 | 0x200  # inspect.CO_COROUTINE, CO_ASYNC_GENERATOR


class Composition:
    """Processes to run in parallel, or one after the other: a description, as those of processes are.

    Made by `Parallel.of(...)` and `Sequence.of(...)`; it can be a part of another, which gets its list of
    results as one result.

    Attributes:
        parts: descriptions of processes, and compositions.
        ordered: whether one comes after the other.
    """

    def __init__(self, parts: Iterable[Part], ordered: bool) -> None:
        self.parts: list[Description[Any] | Composition] = list(_flat(parts))
        self.ordered = ordered

    @property
    def name(self) -> str:
        return self.kind.capitalize()

    @property
    def kind(self) -> str:
        """ "parallel" or "sequence"."""
        return "sequence" if self.ordered else "parallel"

    def processes(self) -> Iterator[Description[Any]]:
        """All that are in it, and in compositions in it."""
        for part in self.parts:
            if isinstance(part, Description):
                yield part
            else:
                yield from part.processes()

    def has_sequence(self) -> bool:
        """Whether a process in it has to wait for another to end."""
        ordered = self.ordered and len(self.parts) > 1
        return ordered or any(isinstance(part, Composition) and part.has_sequence() for part in self.parts)

    def ends(self) -> list[Any]:
        """The ends in the arguments of its processes, each once."""
        return list({id(end): end for part in self.parts for end in part.ends()}.values())

    def graph(self) -> Any:
        """The picture of the network, as a graph.Graph; it need not run."""
        from . import graph

        return graph.of([self] if self.ordered else self.parts)

    def run(self) -> Results[Any]:
        """Run it and wait, as Parallel(...) and Sequence(...) do."""
        run = Run(self)
        if run.has("task"):
            driving.drive_with_loop(run)
        else:
            driving.drive(run)
        return Results(run.results(), self)

    def __await__(self) -> Generator[Any, None, Results[Any]]:
        """The same for a task, in whose event loop its tasks run."""
        return self._run_in_loop().__await__()

    async def _run_in_loop(self) -> Results[Any]:
        run = Run(self)
        await driving.drive_in_loop(run)
        return Results(run.results(), self)

    def __mul__(self, n: int) -> list[Composition]:
        """n of it."""
        return [Composition(self.parts, self.ordered) for _ in range(operator.index(n))]

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"{self.name}.of({', '.join(map(repr, self.parts))})"


def _flat(parts: Iterable[Part]) -> Iterator[Description[Any] | Composition]:
    for part in parts:
        if isinstance(part, (Description, Composition)):
            yield part
        elif isinstance(part, ProcessType):
            raise TypeError(f"{part!r} has no arguments yet: write {part.name}(...)")
        elif isinstance(part, (str, bytes, dict)) or not isinstance(part, Iterable):
            raise TypeError(
                f"a process was expected, as a call of a @process gives it, or an iterable of them: {part!r}"
            )
        else:
            yield from _flat(part)


class Results(list[R]):
    """What the processes of a composition have returned, in their order; lists of processes are flattened.

    What `Parallel(...)` gives in the body of an `async def` is empty, and nothing runs, until it is awaited.
    """

    def __init__(
        self, values: Iterable[R] = (), composition: Composition | None = None, run: Run | None = None
    ) -> None:
        super().__init__(values)
        self._composition = composition
        self._run = run  # one that is to be awaited

    def graph(self) -> Any:
        """The picture of the network that has run, as a graph.Graph."""
        if self._composition is None:
            raise ValueError("these are no results of a network")
        return self._composition.graph()

    def __await__(self) -> Generator[Any, None, Self]:
        return self._wait().__await__()

    async def _wait(self) -> Self:
        run, self._run = self._run, None
        if run is not None:
            await driving.drive_in_loop(run)
            self.extend(run.results())
        return self

    def __del__(self) -> None:
        if getattr(self, "_run", None) is not None:
            warnings.warn(
                "Parallel(...) or Sequence(...) in an `async def` was never awaited",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )

    def __reduce__(self) -> Any:
        return list, (list(self),)  # the results alone: the network stays where it was

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()


class _Composer:
    """What Parallel and Sequence are."""

    def __init__(self, name: str, ordered: bool) -> None:
        self.__name__ = self.__qualname__ = name
        self._ordered = ordered

    def __call__(self, *parts: Part) -> Results[Any]:
        composition = Composition(parts, self._ordered)
        if sys._getframe(1).f_code.co_flags & _CO_ASYNC and running_loop() is not None:
            return Results((), composition, Run(composition))
        return composition.run()

    def of(self, *parts: Part) -> Composition:
        """A description: to be drawn (`.graph()`), run (`.run()`, `await`), or made a part of another."""
        return Composition(parts, self._ordered)

    def graph(self, *parts: Part) -> Any:
        """The picture of the network, as a graph.Graph; nothing runs. The same as `.of(...).graph()`."""
        return self.of(*parts).graph()

    def __repr__(self) -> str:
        return f"<interproc.csp.{self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__


class _Parallel(_Composer):
    """Runs processes in parallel and waits for all: `Parallel(p1, [p2, p3], p4 * 10)`.

    It returns the list of what they returned, in order, with lists of processes flattened: a Results, which
    has the picture of the network (`.graph()`). `Parallel.of(...)` only describes it, and can be a part of
    another composition; `Parallel.of(...).graph()` is the picture before it runs.

    Tasks run in one event loop, in the thread that calls. In the body of an `async def` it is to be awaited:
    `await Parallel(...)` runs its tasks in the loop that runs already. (Where another function is between,
    write `await Parallel.of(...)`; Parallel(...) would make the loop wait.)

    Raises:
        ExceptionGroup: when all have ended: of the exceptions of those that have failed, each with its own
            traceback, and a note of which process that was. Of one that was killed: ProcessKilled.
        KeyboardInterrupt: when all have ended: their ends are poisoned, and OS processes that do not end
            within 2 seconds get SIGTERM, and then SIGKILL. A cancellation, or the exception of a signal
            handler, does the same.
        TypeError: a part is no description of a process.
    """


class _Sequence(_Composer):
    """Runs processes one after the other: `Sequence(p1, p2, Parallel.of(p3, p4))`.

    It returns the list of results. When one fails, those that come after it are not run, and their ends are
    poisoned. For the rest see Parallel.
    """


Parallel = _Parallel("Parallel", ordered=False)
Sequence = _Sequence("Sequence", ordered=True)


# ---- spawning ----------------------------------------------------------------------------------------------


class Member:
    """A process that was spawned."""

    __slots__ = ("_leaf",)

    def __init__(self, leaf: Any) -> None:
        self._leaf = leaf

    @property
    def name(self) -> str:
        return str(self._leaf.description.name)

    @property
    def kind(self) -> str:
        return str(self._leaf.description.kind)

    @property
    def pid(self) -> int | None:
        """Of an OS process that has started."""
        return self._leaf.pid  # type: ignore[no-any-return]

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known without waiting."""
        member = self._leaf.member
        if member is None or self._leaf.state != "runs":
            return False
        return not member.done() if hasattr(member, "done") else bool(member.is_alive())

    def send_signal(self, number: int) -> None:
        """To an OS process that runs; nothing happens if it has ended, or is none."""
        from .launch_os import send_signal

        send_signal(self._leaf, number)

    def __repr__(self) -> str:
        pid = f" pid={self.pid}" if self.pid is not None else ""
        return f"<{self.name} kind={self.kind!r}{pid} {'alive' if self.alive else self._leaf.state}>"


class Spawned(Generic[R]):
    """Processes that run beside their starter, which Spawn has given; to be joined, or left alone.

    As a context manager it is joined at the end of the block; on an exception its ends are poisoned first.
    """

    def __init__(self, composition: Composition, run: Run) -> None:
        self._composition = composition
        self._run = run
        self._task = _Task(run, weakref.ref(self))
        self._sentinel = -1
        self._task.start()
        _keep(self._task)

    @property
    def members(self) -> list[Member]:
        """Its processes, in order."""
        return [Member(leaf) for leaf in self._run.leaves]

    @property
    def alive(self) -> bool:
        """Whether any of them runs, or is yet to run, as far as is known without waiting."""
        leaves = self._run.leaves
        return not self._run.over and any(leaf.state == "waits" or Member(leaf).alive for leaf in leaves)

    @property
    def pid(self) -> int | None:
        """Of the first OS process among them that has started."""
        return next((leaf.pid for leaf in self._run.leaves if leaf.pid is not None), None)

    def join(self, timeout: float | None = None) -> Results[R]:
        """Wait until all have ended: what they returned, as of Parallel.

        Raises:
            TimeoutError: `timeout` seconds have passed; they go on.
            ExceptionGroup: some have failed; see Parallel.
            KeyboardInterrupt: it stops them, as in Parallel.
            RuntimeError: it has tasks in the event loop that runs in this thread: await it.
        """
        if not self._task.wait(timeout):
            running = sum(member.alive for member in self.members)
            raise TimeoutError(f"{running} of {len(self._run.leaves)} processes run after {timeout} seconds")
        return Results(self._run.results(), self._composition)

    def result(self, timeout: float | None = None) -> R:
        """Of a single process: wait, and what it returned. Raises as join(), ValueError if it is not one."""
        if len(self._run.root.children) != 1:
            raise ValueError(f"there are {len(self._run.root.children)} results: join() gives the list")
        return self.join(timeout)[0]

    def __await__(self) -> Generator[Any, None, Results[R]]:
        """join() for a task. To cancel it does not stop them."""
        return self._join().__await__()

    async def _join(self) -> Results[R]:
        await self._task.wait_in_loop()
        return Results(self._run.results(), self._composition)

    @property
    def sentinel(self) -> int:
        """A descriptor that becomes readable when all have ended, as that of a Process does."""
        if self._sentinel < 0:
            self._sentinel = os.eventfd(0, os.EFD_CLOEXEC)
            weakref.finalize(self, os.close, self._sentinel)
            handle = weakref.ref(self)
            self._task.in_loop(reaper.background_loop()).when_over(lambda: _ring(handle))
        return self._sentinel

    def poison(self) -> None:
        """Poison the ends that they were given: they stop when they next communicate."""
        for leaf in self._run.leaves:
            if leaf.state != "ended":
                poison_all(leaf.description.ends())

    def terminate(self) -> None:
        """SIGTERM to the OS processes among them."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the OS processes among them."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for member in self.members:
            member.send_signal(number)

    def graph(self) -> Any:
        """The picture of what runs in the arena now, with counts and with who waits, as a graph.Graph."""
        from . import graph

        return graph.live() if self.alive else self._composition.graph()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None:
            self.join()
            return
        self.poison()
        self._task.wait(None)

    def __repr__(self) -> str:
        return f"<Spawned {self.members}>"


def _ring(handle: weakref.ref[Spawned[Any]]) -> None:
    spawned = handle()
    if spawned is not None:
        os.eventfd_write(spawned._sentinel, 1)


def Spawn(*parts: Part) -> Spawned[Any]:
    """Starts processes, and does not wait: `Spawn(p1)`, `Spawn(p1, [p2, p3])`, `Spawn(Sequence.of(p1, p2))`.

    Tasks run in the event loop that runs in this thread, or else in one in another thread. At its end a
    program retires its own ends (or poisons them, if it ends by an exception), and waits for those whom it
    has spawned; a failure that nobody has joined is printed then.

    Returns: a handle, with join(), result(), alive, and more; see Spawned.
    """
    composition = Composition(parts, ordered=False)
    return Spawned(composition, Run(composition))


class _Task:
    """What keeps a spawned composition going, whether its handle is kept or not."""

    def __init__(self, run: Run, handle: weakref.ref[Any]) -> None:
        self.run = run
        self.handle = handle
        self.joined = False  # somebody was told how it ended
        self._errand: Errand | None = None
        self._lock = threading.Lock()  # of who waits for it without an errand

    def start(self) -> None:
        if self.run.has("task") or self.run.has_sequence:
            self._errand = Errand(self.run, running_loop() or reaper.background_loop()).start()
        else:
            driving.begin(self.run)

    def wait(self, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._errand is None:
            if not self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
                return False
            try:
                if self._errand is None:
                    left = None if deadline is None else max(0.0, deadline - time.monotonic())
                    over = self.run.over or driving.drive(self.run, left)
                    self.joined = self.joined or over
                    return over
            finally:
                self._lock.release()
        if self._errand.loop is running_loop():
            raise RuntimeError("this would wait for the event loop that it keeps from running: await it")
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        over = self._errand.wait(left)
        self.joined = self.joined or over
        return over

    def in_loop(self, loop: asyncio.AbstractEventLoop) -> Errand:
        """From now on a task drives it, in this loop unless that is so already."""
        if self._errand is None:
            with self._lock:
                if self._errand is None:
                    self._errand = Errand(self.run, loop).start()
        return self._errand

    async def wait_in_loop(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        self.in_loop(loop).when_over(lambda: loop.call_soon_threadsafe(over.set))
        await over.wait()
        self.joined = True

    def has_ended(self) -> bool:
        """Without waiting."""
        if self.run.over or self._errand is not None:
            return self.run.over
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return driving.drive(self.run, 0)
        finally:
            self._lock.release()

    def report(self) -> None:
        """Nobody has joined it: tell at least the user."""
        failed = None if self.joined else self.run.failures()
        if failed:
            print("interproc: spawned, failed, and never joined:", file=sys.stderr)
            traceback.print_exception(group(failed, len(self.run.leaves)))
        self.joined = True


_spawned: set[_Task] = set()
_prune_at = 64  # how many there may be before one looks which have ended


def _keep(task: _Task) -> None:
    """Until it has ended, and its handle is gone or somebody was told."""
    global _prune_at
    if len(_spawned) >= _prune_at:
        for other in tuple(_spawned):
            if (other.joined or other.handle() is None) and other.has_ended():
                _spawned.discard(other)
                other.report()
        _prune_at = max(64, 2 * len(_spawned))
    _spawned.add(task)


def _await_all() -> None:
    """The program ends."""
    for task in tuple(_spawned):
        if not task.joined:
            task.wait(None)
            task.joined = False
            task.report()
    _spawned.clear()


scope.at_exit(_await_all)
os.register_at_fork(after_in_child=_spawned.clear)
