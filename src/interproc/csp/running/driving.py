"""How a composition is waited for, and stopped: by a thread, or by a task of an event loop."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ... import _core
from .. import scope, tasks
from ..tasks import running_loop
from . import reaper
from .run import Run

if TYPE_CHECKING:
    import asyncio

__all__ = ["Errand", "begin", "drive", "drive_in_loop", "drive_with_loop", "stop"]

# Seconds that those who are stopped have, and what they get then: after poison; after SIGTERM; after SIGKILL.
# Threads and tasks, which no signal ends, are left to themselves after the first.
PATIENCE = ((2.0, signal.SIGTERM), (1.0, signal.SIGKILL), (5.0, None))
LOOK = 0.1  # seconds until who waits for others looks whether it can end


class _Stopping:
    """A run that is poisoned, then signalled: first all of it is waited for, later only its OS processes."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._all = True
        run.stop()

    def over(self) -> bool:
        return not (self._run.running if self._all else self._run.watched)

    def insist(self, number: int | None, impatient: bool) -> None:
        """With that signal; if somebody is impatient, with SIGKILL; None: there is no more to be done."""
        self._all = False
        if number is not None:
            self._run.signal(signal.SIGKILL if impatient else number)


class _Joining:
    """What the party that waits for processes tells: for how many. None: it tells nothing.

    Somebody has to look whether this process has threads that may act: any wait of it that takes long does,
    and here it is done soon, and again as long as there are any.
    """

    def __init__(self, party: _core.Party | None) -> None:
        self.party = party
        self.count = 0
        self.tended = True  # there is nothing to look for

    def set(self, count: int) -> None:
        if self.party is None or count == self.count:
            return
        if self.count:
            self.party.joined()
        if count:
            self.party.joining(count)
        self.count = count
        self.tended = count == 0

    def tend(self) -> None:
        """Due LOOK seconds after it has begun, and after the last look, unless it is `tended`."""
        if self.party is not None and not self.tended:
            self.tended = not self.party.tend()


# ---- a thread ----------------------------------------------------------------------------------------------


class _Waiter:
    """A thread that waits for the ends of OS processes and threads."""

    def __init__(self, run: Run) -> None:
        self.run = run
        party = _core.Party.current()
        scope.introduce(party)
        self.joining = _Joining(party)
        self._poll: select.epoll | None = None
        self._bell = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.run.on_watch = None
        self.run.wake_by(None)
        if self._bell >= 0:
            os.close(self._bell)
        if self._poll is not None:
            self._poll.close()
        self.joining.set(0)

    def wait(self, over: Callable[[], bool], deadline: float | None) -> bool:
        """Until it is over, or until that time; whether it is over."""
        run = self.run
        while not over():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            # With a time limit it ends by itself, and this thread goes on: so it is no part of a deadlock.
            self.joining.set(run.running if deadline is None else 0)
            pause = left if self.joining.tended else LOOK
            if not run.watched:
                run.note_posted(pause)
            else:
                self._look(pause)
            if left == 0:
                break
            self.joining.tend()
        return over()

    def _watch(self, descriptor: int) -> None:
        if self._poll is not None:
            self._poll.register(descriptor, select.EPOLLIN)

    def _look(self, timeout: float | None) -> None:
        run = self.run
        if self._poll is None:
            self._poll = select.epoll()
            for descriptor in run.watched:
                self._watch(descriptor)
            run.on_watch = self._watch
            if run.has("thread"):
                self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._poll.register(self._bell, select.EPOLLIN)
                run.wake_by(lambda: os.eventfd_write(self._bell, 1))
                timeout = 0  # somebody may have posted before
        for descriptor, _ in self._poll.poll(-1 if timeout is None else timeout):
            if descriptor == self._bell:
                os.eventfd_read(self._bell)
            else:
                self._poll.unregister(descriptor)  # a child may keep it open
                run.exited(descriptor)
        run.drain()


def begin(run: Run) -> None:
    """Starts one that this thread waits for later."""
    run.starter = _core.Party.current().name
    try:
        run.begin()
    except BaseException:
        stop(run)
        raise


def drive(run: Run, timeout: float | None = None) -> bool:
    """Waits until it is over, at most so many seconds; whether it is over. Starts it, unless that is done.

    It has no tasks. Whatever is raised here, Ctrl-C for one, stops it.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    if not run.begun:
        begin(run)
    try:
        with _Waiter(run) as waiter:
            return waiter.wait(lambda: run.over, deadline)
    except BaseException:
        stop(run)
        raise


def stop(run: Run) -> None:
    """Ends it in bounded time, whatever that takes of its OS processes."""
    stopping = _Stopping(run)
    for patience, number in PATIENCE:
        impatient = False
        try:
            with _Waiter(run) as waiter:
                if waiter.wait(stopping.over, time.monotonic() + patience):
                    return
        except KeyboardInterrupt:  # again
            impatient = True
        stopping.insist(number, impatient)


# ---- an event loop -----------------------------------------------------------------------------------------


async def drive_in_loop(run: Run, parent: int = 0, timeout: float | None = None) -> bool:
    """The same for a task of the running loop, in which its tasks run.

    parent: the name of a party that waits for this one; this task must be nobody else's then.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    with contextlib.ExitStack() as stack:
        party = None
        if run.communicates:
            stack.enter_context(tasks.joining())
            party = tasks.party()
            if parent:
                party.describe(b'{"name": "Parallel", "kind": "task"}', parent)
        joining = _Joining(party)
        stack.callback(joining.set, 0)

        def exited(descriptor: int) -> None:
            if descriptor in run.watched:
                run.exited(descriptor)

        def watch(descriptor: int) -> None:
            reaper.watch(descriptor, lambda: loop.call_soon_threadsafe(exited, descriptor))

        async def wait(over: Callable[[], bool]) -> None:
            while not over():
                changed.clear()
                joining.set(run.running)
                await changed.wait()
                if party is not None:
                    tasks.goes_on()

        run.on_end = changed.set
        run.on_watch = watch
        run.wake_by(lambda: loop.call_soon_threadsafe(run.drain))
        try:
            if run.begun:
                for descriptor in run.watched:
                    watch(descriptor)
                run.drain()
            else:
                run.loop = loop
                run.starter = party.name if party is not None else 0
                run.begin()
            if party is not None and not parent:
                tasks.introduce()
            if timeout is None:
                await wait(lambda: run.over)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await wait(lambda: run.over)
            return run.over
        except BaseException:
            stopping = _Stopping(run)
            for patience, number in PATIENCE:
                impatient = False
                try:
                    await asyncio.wait_for(wait(stopping.over), patience)
                    break
                except TimeoutError:
                    pass
                except asyncio.CancelledError:
                    impatient = True
                stopping.insist(number, impatient)
            raise
        finally:
            run.on_end = run.on_watch = None
            run.wake_by(None)


class Errand:
    """A run that a task drives: in a loop that runs in this thread meanwhile, or in another one."""

    def __init__(self, run: Run, loop: asyncio.AbstractEventLoop, parent: int = 0) -> None:
        self.run = run
        self.loop = loop
        self.over = threading.Event()
        self.error: BaseException | None = None
        self._task: asyncio.Task[bool] | None = None
        self._parent = parent
        self._calls: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def start(self) -> Errand:
        """When this returns its processes have been started, and have their ends."""
        if running_loop() is self.loop:
            self._start()
            return self
        started = threading.Event()

        def start() -> None:
            try:
                self._start()
            finally:
                started.set()

        self.loop.call_soon_threadsafe(start)
        try:
            started.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        run = self.run
        self._task = self.loop.create_task(drive_in_loop(run, self._parent), name="interproc.csp")
        self._task.add_done_callback(self._done)
        if not run.begun:
            run.loop = self.loop
            run.starter = tasks.party(self._task).name if run.communicates else 0
            run.begin()

    def _done(self, task: asyncio.Task[bool]) -> None:
        if not task.cancelled():
            self.error = task.exception()
        elif not self.run.over:  # perhaps before it had begun to drive
            self.run.stop()
            self.run.signal(signal.SIGTERM)
        with self._lock:
            self.over.set()
            calls, self._calls = self._calls, []
        for call in calls:
            with contextlib.suppress(RuntimeError):
                call()

    def when_over(self, call: Callable[[], object]) -> None:
        """Call it at the end, in whatever thread; at once if that has come."""
        with self._lock:
            if not self.over.is_set():
                self._calls.append(call)
                return
        call()

    def stop(self) -> None:
        """From another thread than the loop's: ends it in bounded time; a Ctrl-C meanwhile is impatience."""
        while not self.over.is_set():
            if not self.loop.is_running():  # nobody can end the tasks in it
                self.run.stop()
                self.run.signal(signal.SIGTERM)
                return
            with contextlib.suppress(KeyboardInterrupt, RuntimeError):  # it was closed just now
                self.loop.call_soon_threadsafe(self._cancel)
                self.over.wait(sum(patience for patience, _ in PATIENCE))
                return

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """In another thread than the loop's; whether it is over. Whatever is raised here stops it."""
        if self.loop.is_closed() and not self.over.is_set():
            raise RuntimeError("the event loop was closed in which its tasks were to run")
        joining = _joining_a_loop(self.run.communicates and timeout is None)
        joining.set(1)
        try:
            return self.over.wait(timeout)
        except BaseException:
            self.stop()
            raise
        finally:
            joining.set(0)


def _joining_a_loop(tells: bool) -> _Joining:
    """Of this thread. It has not given its processes their ends yet, so what it has is told later."""
    party = _core.Party.current() if tells else None
    if party is not None:
        party.scope = scope.current_scope()
    return _Joining(party)


def drive_with_loop(run: Run) -> None:
    """Starts one that has tasks, and waits until it is over: in an event loop here, or in another thread."""
    parent = _core.Party.current().name if run.communicates else 0
    if running_loop() is not None:  # as in a notebook; it waits for this call
        Errand(run, reaper.background_loop(), parent).start().wait()
        return
    import asyncio

    joining = _joining_a_loop(run.communicates)
    joining.set(1)
    try:
        with asyncio.Runner() as runner:
            runner.run(drive_in_loop(run, parent))
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None  # how asyncio has made it of a cancellation interests nobody
    finally:
        joining.set(0)
