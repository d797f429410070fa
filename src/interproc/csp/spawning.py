"""Spawn: processes that run beside their starter, and the handle on them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from . import scope
from .composition import Composition, Part, Results, awaits
from .running import driving, launch_os, reaper
from .running.driving import Errand
from .running.run import Run, poison_all
from .tasks import running_loop

if TYPE_CHECKING:
    import asyncio

__all__ = ["Member", "Spawn", "Spawned"]

R = TypeVar("R")


class Member:
    """A process that was spawned."""

    __slots__ = ("_leaf",)

    def __init__(self, leaf: Any) -> None:
        self._leaf = leaf

    @property
    def name(self) -> str:
        return str(self._leaf.name)

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
        if self.kind == "task":
            return not member.done()
        return member.is_alive() if self.kind == "thread" else launch_os.runs(self._leaf)

    def send_signal(self, number: int) -> None:
        """To an OS process that runs; nothing happens if it has ended, or is none."""
        launch_os.send_signal(self._leaf, number)

    def __repr__(self) -> str:
        pid = f" pid={self.pid}" if self.pid is not None else ""
        state = self._leaf.state
        if state == "runs":
            state = "alive" if self.alive else "ended"
        return f"<{self.name} kind={self.kind!r}{pid} {state}>"


class Spawned(Generic[R]):
    """Processes that run beside their starter, which Spawn has given; to be joined, or left alone.

    As a context manager it is joined at the end of the block; on an exception its ends are poisoned first.
    """

    def __init__(
        self, composition: Composition, run: Run, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._composition = composition
        self._run = run
        self._task = _Task(run, weakref.ref(self))
        self._sentinel = -1
        self._task.start(loop)
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
            RuntimeError: it has tasks in the event loop that runs in this thread (await it), or in one that
                was closed.
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
            # Not at the program's end: it waits for them after that, and the last of them rings here.
            weakref.finalize(self, os.close, self._sentinel).atexit = False
            handle = weakref.ref(self)
            self._task.when_over(reaper.background_loop(), lambda: _ring(handle))
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
        from .network import graph

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
    """Its descriptor is open as long as there is the handle, to which this refers meanwhile."""
    spawned = handle()
    if spawned is not None:
        os.eventfd_write(spawned._sentinel, 1)


def Spawn(*parts: Part) -> Spawned[Any]:
    """Starts processes, and does not wait: `Spawn(p1)`, `Spawn(p1, [p2, p3])`, `Spawn(Sequence.of(p1, p2))`.

    Tasks run in the event loop that runs where this is called in the body of an `async def`, and otherwise in
    one in another thread, so that one can wait for them, in a notebook, too. At its end a program retires its
    own ends (or poisons them, if it ends by an exception), and waits for those whom it has spawned; a failure
    that nobody has joined is printed then. Ctrl-C ends that wait and stops them, as in Parallel; a Ctrl-C
    that has ended the program, or one of them, does so, too.

    Returns: a handle, with join(), result(), alive, and more; see Spawned.
    """
    composition = Composition(parts, ordered=False)
    loop = running_loop() if awaits(sys._getframe(1)) else None
    return Spawned(composition, Run(composition), loop)


class _Task:
    """What keeps a spawned composition going, whether its handle is kept or not."""

    def __init__(self, run: Run, handle: weakref.ref[Any]) -> None:
        self.run = run
        self.handle = handle
        self.joined = False  # somebody was told how it ended
        self._errand: Errand | None = None
        self._lock = threading.Lock()  # of who waits for it without an errand
        self._calls: list[tuple[asyncio.AbstractEventLoop, Callable[[], object]]] = []  # of when_over()

    def start(self, loop: asyncio.AbstractEventLoop | None) -> None:
        if self.run.has("task") or self.run.has_sequence:
            self._drive_in(loop or reaper.background_loop())
        else:
            driving.begin(self.run)

    def _drive_in(self, loop: asyncio.AbstractEventLoop) -> None:
        self._errand = Errand(self.run, loop).start()
        self._errand.when_over(self.let_go)

    def let_go(self) -> None:
        """It is not kept any more once it has ended, unless there is something to tell that nobody knows."""
        if self.run.over and (self.joined or not self.run.failures(quiet=True)):
            _spawned.discard(self)

    def wait(self, timeout: float | None) -> bool:
        """Whether it is over. What is raised here stops it, and then nobody has to be told how it ended."""
        try:
            over = self._wait(timeout)
        except BaseException as error:
            if not isinstance(error, Exception):
                self.joined = True
                _spawned.discard(self)
            raise
        self.joined = self.joined or over
        self.let_go()
        return over

    def _wait(self, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._errand is None:
            with self._alone(timeout) as alone:
                if not alone:
                    return False
                if self._errand is None:
                    left = None if deadline is None else max(0.0, deadline - time.monotonic())
                    return self.run.over or driving.drive(self.run, left)
        if self._errand.loop is running_loop():
            raise RuntimeError("this would wait for the event loop that it keeps from running: await it")
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        return self._errand.wait(left)

    @contextlib.contextmanager
    def _alone(self, timeout: float | None) -> Iterator[bool]:
        """Within the block nobody else drives it; gives whether that came to be within so many seconds."""
        alone = self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
        try:
            yield alone
        finally:
            if alone:
                self._lock.release()
                self._settle_calls()

    def when_over(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        """Call it at the end, in whatever thread. A task in this loop drives it, if nobody does."""
        self._calls.append((loop, call))
        self._settle_calls()

    def _settle_calls(self) -> None:
        """Nothing is done while a thread drives it, which comes by here afterwards: a loop must not wait."""
        while self._calls and self._lock.acquire(blocking=False):
            try:
                loop, call = self._calls.pop()
                if self.run.over:
                    with contextlib.suppress(RuntimeError):  # the loop was closed
                        call()
                    continue
                if self._errand is None:
                    self._drive_in(loop if running_loop() is loop else reaper.background_loop())
                assert self._errand is not None
                self._errand.when_over(call)
            finally:
                self._lock.release()

    async def wait_in_loop(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        self.when_over(loop, lambda: loop.call_soon_threadsafe(over.set))
        await over.wait()
        self.joined = True
        self.let_go()

    def has_ended(self) -> bool:
        """Without waiting."""
        if self.run.over or self._errand is not None:
            return self.run.over
        with self._alone(0) as alone:
            if alone and self._errand is None:
                driving.drive(self.run, 0)
        self.let_go()
        return self.run.over

    def finish(self, interrupted: bool) -> None:
        """The program ends: wait for it, or stop it. Raises KeyboardInterrupt, once it is stopped."""
        errand = self._errand
        if interrupted or (errand is not None and not errand.loop.is_running()):
            self._stop()
            return
        if errand is not None:
            errand.loop.call_soon_threadsafe(self.run.leave)
        else:
            self.run.leave()
        self._wait(None)

    def _stop(self) -> None:
        if self._errand is not None:
            self._errand.stop()
            return
        with self._alone(sum(patience for patience, _ in driving.PATIENCE)) as alone:
            if alone:
                driving.stop(self.run)

    def report(self) -> None:
        """Nobody has joined it: tell at least the user. (Of what was stopped there is nothing to tell.)"""
        failure = None if self.joined or self.run.stopped else self.run.failure(quiet=True)
        if failure is not None:
            print("interproc: spawned, failed, and never joined:", file=sys.stderr)
            traceback.print_exception(failure)
        self.joined = True
        self.let_go()


_spawned: set[_Task] = set()  # that have not ended, as far as is known, or have failed, and nobody was told
_prune_at = 64  # how many there may be before one looks which have ended


def _keep(task: _Task) -> None:
    """Until it has ended; that of those without an errand is noticed here, if nobody joins them."""
    global _prune_at
    if len(_spawned) >= _prune_at:
        for other in tuple(_spawned):
            if other.has_ended() and other.handle() is None:
                other.report()
        _prune_at = max(64, 2 * len(_spawned))
    _spawned.add(task)
    task.let_go()


def _finish_all(interrupted: bool) -> None:
    """The program ends."""
    for task in tuple(_spawned):
        try:
            task.finish(interrupted)
        except KeyboardInterrupt:
            interrupted = True
        task.report()
    _spawned.clear()


scope.at_exit(_finish_all)
os.register_at_fork(after_in_child=_spawned.clear)
