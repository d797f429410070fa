"""asyncio: what a task waits for at channels and barriers, and how the loop learns that it came.

A task that communicates has a party of its own, its Seat here holds it. An offer that finds its partner at
once is done at once; otherwise the task waits for a future. Who in this process completes it calls _wake();
who in another process rings the bell of the loop, for which a thread waits (one for each loop in which tasks
wait), and then the loop looks at all seats that wait. The same thread has the loop look after the waits every
40 ms: whether partners have died, and whether there is a deadlock.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .. import _core
from ..errors import ChannelRetire
from . import scope

if TYPE_CHECKING:
    import asyncio

__all__ = ["choose", "communicate", "goes_on", "introduce", "joining", "party", "running_loop"]

_SLICE = 0.04  # seconds between two looks after the waits of a loop
_DOZE = 1.0  # seconds without a wait, after which the thread of a loop sleeps
_LOOKED_AFTER = 256  # seats that one look goes through, at least


_asyncio: Any = None  # it takes its time to be imported: whoever has a task has done that


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that this thread runs, if it does."""
    global _asyncio
    if _asyncio is None:
        if "asyncio" not in sys.modules:
            return None
        import asyncio

        _asyncio = asyncio
    return _asyncio._get_running_loop()  # type: ignore[no-any-return]


class Outside(Protocol):
    """Something outside the channels that may end a wait (outside.Watch)."""

    @property
    def fired(self) -> bool: ...
    def on_fire(self, callback: Callable[[], object]) -> None: ...


class Seat:
    """What a task has while it takes part in CSP."""

    __slots__ = (
        *("home", "task", "party", "future", "woken"),
        *("mode", "noted", "offered", "process", "timed"),
    )

    def __init__(self, home: _Home, task: asyncio.Task[Any], party: _core.Party) -> None:
        self.home = home
        self.task = task
        self.party = party
        self.future: asyncio.Future[bool] | None = None
        self.woken = False
        self.timed = False
        self.mode = (False, False)  # as party.set_mode() was told
        self.noted = False
        self.offered = False  # it waits for a communication, not only for something outside
        self.process: scope.Scope | None = None  # which the task is (part of), and can be part of a deadlock

    def introduce(self) -> None:
        """Others want to know who waits here, and what ends it has by now."""
        if self.process is not None and self.process.party is self.party:
            with contextlib.suppress(Exception):
                self.process.introduce(self.party)

    def set_mode(self, outside: bool) -> None:
        """Whether its wait may end by a time limit, or by what is no communication: not in a deadlock."""
        mode = self.timed, outside
        if mode != self.mode:
            self.party.set_mode(*mode)
            self.mode = mode

    def wake(self) -> None:
        """In the loop's thread: there is something to settle, perhaps."""
        self.woken = True
        future = self.future
        if future is not None and not future.done():
            future.set_result(True)

    def wake_soon(self) -> None:
        """The same from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self.home.loop.call_soon_threadsafe(self.wake)


class _Home:
    """A running loop: its bell, the thread that listens to it, and its tasks' seats."""

    def __init__(self, loop: asyncio.AbstractEventLoop, arena: _core.Arena) -> None:
        self._loop = weakref.ref(loop)
        self.arena = arena
        self.bell = _core.Party.create(arena=arena)
        self.seats: dict[asyncio.Task[Any], Seat] = {}
        self.waiting: set[Seat] = set()
        self.supervisors: set[Seat] = set()  # of tasks that wait for processes
        self.closed = False  # when it was looked after, nothing but communications could make it go on
        # What its tasks call when they end, and in which context: one for all, as there may be thousands.
        self.leaving, self.context = self.leave, contextvars.Context()
        self.asleep = False
        self.begun = threading.Event()
        self.turn = 0
        threading.Thread(target=_listen, args=(self,), name="interproc-csp-loop", daemon=True).start()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop()
        if loop is None:
            raise RuntimeError("the event loop is gone")
        return loop

    def gone(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    def idle(self) -> bool:
        """Whether nobody in it waits, so that there is nothing to look after."""
        return not self.waiting and not self.supervisors

    def seat(self, task: asyncio.Task[Any]) -> Seat:
        """The seat of a task that has none yet."""
        party = _core.Party.create(self.bell)
        seat = self.seats[task] = Seat(self, task, party)
        _seats.setdefault(party.index, []).append(seat)
        process = scope.current_scope()
        if process.kind == "task":
            seat.process = process
            if process.party is None:  # it is not a task that the process has made
                process.party = party
                process.introduce(party)
        task.add_done_callback(self.leaving, context=self.context)
        return seat

    def end(self) -> None:
        """The loop is closed: the tasks in it that wait, if any, will never run again."""
        loop = self._loop()
        if loop is not None:
            _homes.pop(loop, None)
        self.closed = False
        for task in tuple(self.seats):
            self.leave(task)
        self.bell.close()

    def leave(self, task: asyncio.Task[Any]) -> None:
        seat = self.seats.pop(task, None)
        if seat is None:
            return
        others = _seats.get(seat.party.index, [])
        if seat in others:
            others.remove(seat)
        if not others:
            _seats.pop(seat.party.index, None)
        seat.party.abandon()
        seat.party.close()

    def look(self) -> None:
        """In the loop's thread: another process has rung."""
        for seat in tuple(self.waiting):
            if seat.offered and not seat.party.waiting:
                seat.wake()

    def look_after(self) -> None:
        """In the loop's thread: what a thread that waits at a channel does at the end of a slice."""
        self.look()
        seats = tuple(self.waiting)
        self.closed = closed = self._nothing_else()
        for seat in self.supervisors:
            seat.set_mode(not closed)
        n = max(_LOOKED_AFTER, len(seats) // 2)
        begin = self.turn if self.turn < len(seats) else 0
        self.turn = begin + n
        seats = tuple(seat for seat in seats[begin : begin + n] if seat.offered and not seat.woken)
        for seat in seats:  # all of them, before a deadlock is described
            if not seat.noted:
                seat.noted = True
                seat.party.set_note(_where(seat.task))
                seat.introduce()
            seat.set_mode(not (closed and seat.process is not None))
        for seat in (*self.supervisors, *seats):
            seat.party.tend()

    def reopen(self) -> None:
        """A task goes on, and may start what makes the loop go on, before anybody looks after it again."""
        self.closed = False
        for seat in (*self.waiting, *self.supervisors):
            seat.set_mode(True)

    def _nothing_else(self) -> bool:
        """Whether nothing but a communication can make this loop go on: no timer, no descriptor, no other
        task.

        Of a loop that does not let one see this it is not so.
        """
        import asyncio

        loop: Any = self._loop()
        timers = getattr(loop, "_scheduled", None)
        ready = getattr(loop, "_ready", None)
        selector = getattr(loop, "_selector", None)
        if timers is None or ready is None or selector is None:
            return False
        if any(not self._own(handle, loop) for handle in ready) or len(selector.get_map()) > 1:
            return False
        if any(not timer.cancelled() for timer in timers):
            return False
        return all(self._waits(task) for task in asyncio.all_tasks(loop))

    def _own(self, handle: Any, loop: Any) -> bool:
        """Whether this is no more than the wake-up by which the loop came to look after its waits."""
        callback = getattr(handle, "_callback", None)
        owner = getattr(callback, "__self__", None)
        return owner is self or (owner is loop and callback == getattr(loop, "_read_from_self", None))

    def _waits(self, task: asyncio.Task[Any]) -> bool:
        seat = self.seats.get(task)
        return seat is not None and (seat in self.supervisors or seat in self.waiting)


_Homes: TypeAlias = "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Home]]"
_homes: _Homes = weakref.WeakKeyDictionary()  # for each arena
_last: _Home | None = None  # which was used last
_seats: dict[int, list[Seat]] = {}  # by the index of their party, which is another's in another arena


def _forget() -> None:
    """In a forked child: loops, threads and parties were its parent's."""
    global _homes, _last
    _last = None
    _homes = weakref.WeakKeyDictionary()
    _seats.clear()


os.register_at_fork(after_in_child=_forget)


def _wake(index: int) -> None:
    """The binding: this process has completed, or poked, the wait of a party."""
    for seat in _seats.get(index, ()):
        if running_loop() is seat.home._loop():
            seat.wake()
        else:
            seat.wake_soon()


_core.set_waker(_wake)


class Stall:
    """A wait of the thread that runs a loop, in one of its tasks: it holds up the others until it is over."""

    __slots__ = ("_home", "_interrupts", "_runner")

    def __init__(self, loop: asyncio.AbstractEventLoop, arena: _core.Arena) -> None:
        self._home = _homes.get(loop, {}).get(arena.uid)
        self._runner = _runner(loop)
        self._interrupts = self._count()

    def hold_up(self) -> _core.Party | None:
        """It takes long: others want to know of the tasks. Returns the loop's bell, if they have parties."""
        if self._home is None:
            return None
        for seat in tuple(self._home.waiting):
            seat.introduce()
        return self._home.bell

    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed, and all that came of it is that the main task is to be cancelled."""
        return self._runner is not None and self._count() != self._interrupts

    def _count(self) -> int:
        return getattr(self._runner, "_interrupt_count", 0)


def _runner(loop: asyncio.AbstractEventLoop) -> asyncio.Runner | None:
    """Who handles Ctrl-C for the loop that this thread runs, if it is asyncio's Runner."""
    if threading.current_thread() is not threading.main_thread():
        return None
    handler: Any = signal.getsignal(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    return runner if isinstance(runner, _asyncio.Runner) and runner.get_loop() is loop else None


def _stall(arena: _core.Arena) -> Stall | None:
    """The binding: this thread waits."""
    loop = running_loop()
    return None if loop is None else Stall(loop, arena)


_core.set_staller(_stall)


def _listen(home: _Home) -> None:
    """The thread of a loop."""
    global _last
    seen, idle = 0, 0.0
    while not home.gone():
        if home.idle():
            idle += _SLICE
            if idle > _DOZE:
                home.begun.clear()
                home.asleep = True
                if home.idle():
                    home.begun.wait(5 * _DOZE)
                home.asleep = False
                idle = 0.0
                continue
        else:
            idle = 0.0
        rung = home.bell.wait_bell(seen, _SLICE)
        work = home.look_after if rung == seen else home.look
        seen = rung
        loop = home._loop()
        if loop is not None and not home.idle():
            try:
                loop.call_soon_threadsafe(work)
            except RuntimeError:
                break
        del loop
    if _last is home:
        _last = None
    home.end()


def _seat(arena: _core.Arena) -> Seat:
    """The seat of the task that runs, in this arena."""
    loop = running_loop()
    task = None if loop is None else _asyncio.current_task(loop)
    if loop is None or task is None:
        raise RuntimeError("asend, arecv and aselect are for the tasks of a running event loop")
    home = _last
    if home is None or home.arena is not arena or home._loop() is not loop:
        home = _home(loop, arena)
    return home.seats.get(task) or home.seat(task)


def _home(loop: asyncio.AbstractEventLoop, arena: _core.Arena) -> _Home:
    """That of the loop, in this arena."""
    global _last
    homes = _homes.setdefault(loop, {})
    home = homes.get(arena.uid)
    if home is None:
        home = homes[arena.uid] = _Home(loop, arena)
    _last = home
    return home


def party(task: asyncio.Task[Any] | None = None) -> _core.Party:
    """The party of the task that runs; or of another one of the running loop, which has not yet begun."""
    arena = _core.Arena.default()
    if task is None:
        return _seat(arena).party
    return _home(task.get_loop(), arena).seat(task).party


def goes_on() -> None:
    """The task that runs, of those that are joining(), is about to do something."""
    home = _seat(_core.Arena.default()).home
    if home.closed:
        home.reopen()


def introduce() -> None:
    """Has others know of the process that the task that runs belongs to, and what ends that has by now."""
    seat, process = _seat(_core.Arena.default()), scope.current_scope()
    if process.party is None or process.party is seat.party:
        with contextlib.suppress(Exception):
            process.introduce(seat.party)


@contextlib.contextmanager
def joining() -> Iterator[None]:
    """While the task that runs does nothing but wait for CSP processes.

    What else goes on in its loop may end that, until look_after() finds that there is nothing else.
    """
    seat = _seat(_core.Arena.default())
    seat.timed = False
    seat.set_mode(True)
    seat.home.supervisors.add(seat)
    if seat.home.asleep:
        seat.home.begun.set()
    try:
        yield
    finally:
        seat.home.supervisors.discard(seat)


def communicate(end: Any, value: object, timeout: float | None) -> Coroutine[Any, Any, Any]:
    """Receives from a reader, sends a value to a writer, or meets the others at a barrier."""
    return choose((end,), (value,), 0, timeout, single=True)


async def choose(
    guards: Sequence[Any],
    values: Sequence[object] | None = None,
    first: int = 0,
    timeout: float | None = None,
    outside: Outside | None = None,
    *,
    single: bool = False,
    iterating: bool = False,
) -> Any:
    """As _core.choose, for a task; None when something outside has fired.

    It is one coroutine and not several, as there may be thousands that wait.

    single: what is returned is only the value. iterating: retirement is the end of an iteration.

    Raises:
        ChannelTimeout: `timeout` seconds have passed.
        ChannelPoison, ChannelRetire, Deadlock: as _core.choose.
    """
    seat = _seat(guards[0].arena if guards else _core.Arena.default())
    party, home = seat.party, seat.home
    loop = home.loop
    deadline = None if timeout is None else loop.time() + max(0.0, timeout)
    seat.timed = deadline is not None
    seat.offered = bool(guards)
    if outside is not None:
        outside.on_fire(seat.wake_soon)
    try:
        while True:
            seat.woken = seat.noted = False
            wait = deadline is None or deadline > loop.time()
            if guards:
                seat.set_mode(True)
                chosen = party.offer(guards, values, first, wait)
                if chosen is not None:
                    return chosen[1] if single else chosen
            elif outside is not None and outside.fired:
                return None
            if not wait:
                await _asyncio.sleep(0)  # who only looks, again and again, lets the other tasks go on
                raise _core.too_late(guards, timeout)
            again = False
            while not again:
                in_time, timer = True, None
                try:
                    seat.future = loop.create_future()
                    home.waiting.add(seat)
                    if home.asleep:
                        home.begun.set()
                    if not seat.woken and (party.waiting or not guards):
                        if deadline is not None:
                            timer = loop.call_at(deadline, _expire, seat.future)
                        in_time = await seat.future
                finally:
                    seat.future = None
                    home.waiting.discard(seat)
                    if home.closed:
                        home.reopen()
                    if timer is not None:
                        timer.cancel()
                fired = outside is not None and outside.fired
                if fired or not in_time:
                    chosen = party.withdraw() if guards else None
                    if chosen is None and not fired:
                        raise _core.too_late(guards, timeout)
                    return chosen[1] if single and chosen else chosen
                seat.woken = False
                settled = party.settle() if guards else None
                if settled:
                    return settled[1] if single else settled
                again = settled is None  # poked; False: nobody has completed it, wait on
    except ChannelRetire:
        if iterating:
            raise StopAsyncIteration from None
        raise
    except _asyncio.CancelledError:
        chosen = _withdrawn(party)
        if chosen is None:
            raise
        _cancel_later(seat.task)
        return chosen[1] if single else chosen
    except BaseException:  # a signal, or the coroutine is closed: nobody is there to have what came
        party.abandon()
        raise


def _expire(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)


def _withdrawn(party: _core.Party) -> tuple[int, Any] | None:
    """Of a task that is cancelled: what was completed before its offers could be taken back."""
    try:
        return party.withdraw()
    except Exception:  # the channel was poisoned, too: the cancellation is what counts
        return None


def _cancel_later(task: asyncio.Task[Any]) -> None:
    """A communication took place before the cancellation, which therefore has its effect where the task waits
    next.

    Unless what asked for it has taken it back by then (as asyncio.timeout() does when its block is left).
    """
    asked = task.cancelling()

    def again() -> None:
        if not task.done() and task.cancelling() >= asked > 0:
            task.uncancel()
            task.cancel()

    task.get_loop().call_soon(again)


def _where(task: asyncio.Task[Any]) -> str:
    """The innermost place in the user's code, or in a part, where a task waits: "file.py:12 in worker"."""
    place = ""
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None and not _ours(frame):
            code = frame.f_code
            name = getattr(code, "co_qualname", code.co_name)
            place = f"{code.co_filename[-150:]}:{frame.f_lineno} in {name}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return place


def _ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    return module.startswith("interproc.") and not module.startswith("interproc.csp.parts")
