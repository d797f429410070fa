"""How an OS process is started as a process, what it does there, and how its result comes back."""

from __future__ import annotations

import functools
import os
import pickle
import resource
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import ProcessError, popen_fork, util
from multiprocessing import process as mpprocess
from typing import Any

from ... import _core
from ...context import ForkProcess, _default_context
from ...errors import PicklingError, ProcessKilled
from .. import main_module, travel
from .. import scope as scopes
from ..process import run_here
from .box import box
from .failures import Outcome, Parcel, ProcessFailed, Settled, killed, returned, settle
from .launch import Keeper, Leaf, dispose

__all__ = [
    "failure_of",
    "interrupt_later",
    "interrupted",
    "may_start",
    "reaped",
    "runs",
    "send_signal",
    "start_process",
    "without_interrupt",
]

DESCRIPTORS = 3  # that an OS process takes in its starter, at most
SPARE = 256  # descriptors for everything else


# ---- in the starter ----------------------------------------------------------------------------------------


def may_start() -> None:
    """Raises RuntimeError in a child that is started afresh and still imports the program's main module."""
    if getattr(mpprocess.current_process(), "_inheriting", False):
        raise RuntimeError(
            "this child, which 'spawn' or 'forkserver' has started, still imports the main module, and was "
            "to start processes itself there: put what starts them below `if __name__ == '__main__':`, or "
            "start them by fork"
        )


def start_process(leaf: Leaf, keeper: Keeper, interruptible: bool) -> list[Any]:
    """Starts it; its outcome will be in the box(). Returns the ends that its starter can let go of.

    It is called within without_interrupt(), which tells whether the process may get Ctrl-C.
    """
    global _running
    description = leaf.description
    _make_room()
    method = _default_context.get_start_method()
    job = _Job(leaf, keeper, interruptible)
    ends = description.ends()
    around = travel.ends_around(description.process.body)
    if method == "fork":
        member: Any = _Forked(target=_main, args=(job,), name=leaf.name)
        _core.bequeath([*ends, *around])
        try:
            member.start()
        finally:
            _core.bequeath(None)
        leaf.watched = member.sentinel
    else:
        for end in (*ends, *around):  # else pickling tells of it, in its words
            end.check()
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # its start would let signals in again
        context = _default_context.get_context(method)
        member = context.Process(target=_main, args=(job,), name=leaf.name)
        _core.bequeath(())
        try:
            with main_module.as_it_is(), without_interrupt():  # in which that may have let it
                member.start()
        finally:
            _core.bequeath(None)
        leaf.watched = member.sentinel
        if method == "spawn":  # whose sentinel is inherited by the children that it forks
            leaf.watched = os.pidfd_open(member.pid)
    leaf.watched_is_process = method != "forkserver"
    leaf.member = member
    leaf.pid = member.pid
    _running += 1
    return ends


def reaped(leaf: Leaf) -> int | None:
    """Lets go of a process whose descriptor has become readable. Returns its exit code; None: unknown."""
    global _running
    _running -= 1
    with _grip:
        member, watched = leaf.member, leaf.watched
        leaf.member = None
        leaf.watched = -1
    if watched != member.sentinel:
        os.close(watched)
    member.join()
    exitcode: int | None = member.exitcode
    if exitcode is not None:
        member.close()
    return exitcode


def runs(leaf: Leaf) -> bool:
    """Whether an OS process runs. Its exit code is left to who waits for it: it can be had only once."""
    with _grip:
        if leaf.watched < 0:
            return False
        poll = select.poll()
        poll.register(leaf.watched, select.POLLIN)
        return not poll.poll(0)


def send_signal(leaf: Leaf, number: int) -> None:
    """To an OS process that runs; nothing happens if it has ended, or is none."""
    with _grip, suppress(ProcessLookupError):
        if not runs(leaf):
            return
        if leaf.watched_is_process:
            signal.pidfd_send_signal(leaf.watched, number)
        elif leaf.pid is not None:
            os.kill(leaf.pid, number)


# Held while the descriptor of a process is used, and while it is given up: afterwards it may be another's.
_grip = threading.RLock()


def _in_child() -> None:
    global _grip
    _grip = threading.RLock()


os.register_at_fork(after_in_child=_in_child)


def failure_of(leaf: Leaf, exitcode: int | None) -> Outcome:
    """Of one that has ended, and left no result."""
    name = leaf.name
    if exitcode is None:
        return Outcome(error=ProcessFailed(f"{name} (pid {leaf.pid}) has ended, nobody knows how"))
    error = killed(name, leaf.pid, exitcode)
    if exitcode == 1 and _default_context.get_start_method() != "fork":
        error.add_note("if that was while it imported the main module, it has printed why")
    return Outcome(error=error)


def interrupted(leaf: Leaf) -> Exception:
    """The failure of one that got Ctrl-C, or was cancelled, though its starter was not."""
    if leaf.description.kind == "task":
        return ProcessFailed(f"{leaf.name} was cancelled")
    pid = f" (pid {leaf.pid})" if leaf.pid is not None else ""
    return ProcessKilled(f"{leaf.name}{pid} was interrupted (SIGINT)", signal.SIGINT)


_running = 0


def _make_room() -> None:
    """A thousand processes take more descriptors than a program may have open at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = (_running + 1) * DESCRIPTORS + SPARE
    if soft != resource.RLIM_INFINITY and need > soft:
        most = 2 * need if hard == resource.RLIM_INFINITY else min(2 * need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


class _Later:
    """A handler of Ctrl-C that notes it for the one that is there otherwise.

    To mask the signal in this thread is not all: when another thread gets it, its handler runs here all the
    same, and what it raises in a callback of os.fork() is lost.
    """

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler = handler
        self.came = False

    def __call__(self, *_: object) -> None:
        self.came = True


def _now() -> None:
    """In a forked child, whoever forks it."""
    handler = signal.getsignal(signal.SIGINT)
    while isinstance(handler, _Later):
        handler = handler.handler
        signal.signal(signal.SIGINT, handler)


os.register_at_fork(after_in_child=_now)


@contextmanager
def interrupt_later() -> Iterator[None]:
    """This thread gets Ctrl-C afterwards."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    later = _Later(handler)
    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if later.came:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def without_interrupt() -> Iterator[bool]:
    """What is started here gets Ctrl-C once it can end quietly, not before; this thread gets it afterwards.

    Gives whether it got it before.
    """
    with interrupt_later():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            yield signal.SIGINT not in before
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Popen(popen_fork.Popen):
    """multiprocessing's, but with one descriptor, not two, and one that grandchildren do not keep open."""

    def _launch(self, process_obj: Any) -> None:
        lifeline = _lifeline()
        code = 1
        self.pid = os.fork()
        if self.pid == 0:
            try:
                code = process_obj._bootstrap(parent_sentinel=lifeline)
            finally:
                os._exit(code)
        self.sentinel = os.pidfd_open(self.pid)
        self.finalizer = util.Finalize(self, os.close, (self.sentinel,))


class _Forked(ForkProcess):
    """A process started by fork, in a time that does not depend on how many others there are."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        _core.Arena.default()
        return _Popen(process_obj)

    def start(self) -> None:
        """As multiprocessing's, which first asks every other child how it is."""
        this: Any = self
        if mpprocess.current_process().daemon:
            raise ProcessError("a daemonic process of multiprocessing may not have children")
        this._popen = self._Popen(self)
        this._sentinel = this._popen.sentinel
        del this._target, this._args, this._kwargs
        mpprocess._children.add(self)  # type: ignore[attr-defined]


_line: tuple[int, int] | None = None


def _lifeline() -> int:
    """What a child finds closed when this process has ended."""
    global _line
    if _line is None:
        _line = os.pipe()
    return _line[0]


def _drop_lifeline() -> None:
    global _line
    if _line is not None:
        os.close(_line[1])
        _line = None


os.register_at_fork(after_in_child=_drop_lifeline)


# ---- in the process ----------------------------------------------------------------------------------------


class _Job:
    """What an OS process is given."""

    def __init__(self, leaf: Leaf, keeper: Keeper, interruptible: bool) -> None:
        description = leaf.description
        self.name = leaf.name
        self.work: Any = (description.process, description.args, description.kwargs)
        self.around = travel.ends_around(description.process.body)
        self.number = leaf.number
        self.starter = keeper.starter
        self.run = keeper.number
        self.box = box().queue()
        self.interruptible = interruptible
        self.hindrance: Exception | None = None  # why the work could not be unpickled

    def __getstate__(self) -> dict[str, Any]:
        """For one that is started afresh: functions and arguments may be what cannot be imported there."""
        state = dict(self.__dict__)
        try:
            state["work"] = travel.dumps(self.work)
        except Exception as error:
            raise _explained(self.work, error) from error
        del state["around"]  # it comes with the function
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.around = []
        pickled, self.work = self.work, (None, (), {})
        try:
            self.work = pickle.loads(pickled)
        except Exception as error:  # its starter is told of it
            self.hindrance = error


def _explained(work: tuple[Any, ...], error: Exception) -> Exception:
    process, args, kwargs = work
    for what, item in (("arguments", args), ("keyword arguments", kwargs), ("code", process)):
        try:
            travel.dumps(item)
        except Exception as reason:
            return PicklingError(f"the {what} of {process.name}: {travel.explain(item, reason)}")
    return error


def _main(job: _Job) -> None:
    """Never prints a traceback, and never raises but SystemExit."""
    _, args, kwargs = job.work
    ends = [*travel.ends_in((*args, *kwargs.values())), *job.around]
    scope = scopes.become(job.name, "process", job.starter, job.run, ends)
    del ends
    try:
        code = _work(job, scope)
    except KeyboardInterrupt:  # once more, or while it was ending
        scope.interrupted = True
        scope.poison_all()
        code = 1
    raise SystemExit(code)


def _work(job: _Job, scope: scopes.Scope) -> int:
    try:
        _settle_signals(job)
        scope.introduce(_core.Party.current())
        if job.hindrance is not None:
            raise job.hindrance
        settled = returned(run_here(job.work[0], "process", job.work[1], job.work[2]))
    except BaseException as error:
        settled = settle(error, skip=3)
    scope.interrupted = settled.outcome.interrupted
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not _deliver(job, settled):
        settled.poisons = True
    dispose(scope, settled)
    return 1 if settled.poisons and settled.outcome.error is not None else 0


def _settle_signals(job: _Job) -> None:
    """What a forked child has of an event loop that its parent is in must not keep Ctrl-C from ending it."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, functools.partial) and getattr(handler.func, "__name__", "") == "_on_sigint":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # it was asyncio.Runner's
    signal.set_wakeup_fd(-1)
    if job.interruptible:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))


def _deliver(job: _Job, settled: Settled) -> bool:
    """Sends the outcome to the starter; false if that is not the one it was."""
    outcome = settled.outcome
    if outcome.error is None:
        try:
            _send(job, outcome)
            return True
        except Exception as error:
            outcome.error = error
            outcome.value = None
    try:
        job.box.put((job.run, job.number, "failed", Parcel(outcome.error, pickle.dumps, travel.dumps)))
    except Exception:  # there is no room for the text, or for anything
        small = ProcessFailed(f"{type(outcome.error).__name__}, and no memory to tell more")
        job.box.put((job.run, job.number, "failed", Parcel(small, pickle.dumps)))
    return False


def _send(job: _Job, outcome: Outcome) -> None:
    if outcome.interrupted:
        job.box.put((job.run, job.number, "interrupted", None))
        return
    try:
        job.box.put((job.run, job.number, "returned", outcome.value))
    except PicklingError:
        try:
            job.box.put((job.run, job.number, "returned", travel.ByValue(outcome.value)))
        except PicklingError as error:
            reason = error.__cause__ if isinstance(error.__cause__, Exception) else error
            text = travel.explain(outcome.value, reason)
            raise PicklingError(f"what {job.name} returned: {text}") from None
