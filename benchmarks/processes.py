"""Starts the processes of a run at one barrier and brings back what each found; none outlives its time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from threading import BrokenBarrierError
from typing import Any

from benchmarks.adapters import Adapter

Body = tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]
"""A function of a module and its arguments, called as `function(gate, *arguments)` in its own process."""


class RunFailed(RuntimeError):
    """A process of a run raised, died or did not end in its time."""


class Gate:
    """Where the processes of a run wait for each other.

    `finish` is there since a peer may drop what is on its way if the sender closes before it is received:
    libzmq does, over ipc with a high-water mark: https://github.com/zeromq/libzmq/issues/4660.
    """

    def __init__(self, barrier: Any, limit: float) -> None:
        self._barrier = barrier
        self._limit = limit

    def start(self) -> float:
        """Wait until each process is ready; the time at which this one was let go (perf_counter, seconds)."""
        self._barrier.wait(self._limit)
        return time.perf_counter()

    def finish(self) -> None:
        """Wait until each process has done its part: nothing of the peer's is closed before."""
        self._barrier.wait(self._limit)


def run(adapter: Adapter, method: str, bodies: Sequence[Body], limit: float) -> list[dict[str, Any]]:
    """Run each body in a process of its own and return what they returned, in order.

    Args:
        adapter: whose context starts the processes.
        method: "fork", "spawn" or "forkserver".
        limit: seconds after which a process that still runs is ended by SIGALRM.

    Raises:
        RunFailed: with the traceback of the first process that raised, or how it died.
    """
    plain = multiprocessing.get_context(method)
    barrier = plain.Barrier(len(bodies))
    children = []
    try:
        for function, arguments in bodies:
            mine, theirs = plain.Pipe(duplex=False)
            context: Any = adapter.context(method)
            child = context.Process(target=_child, args=(theirs, barrier, limit, function, arguments))
            child.start()
            theirs.close()
            children.append((child, mine, function.__name__))
        return _answers(children, limit)
    finally:
        for child, pipe, _ in children:
            pipe.close()
            child.join(2)
            if child.is_alive():
                child.kill()
                child.join()


def _child(
    pipe: Connection,
    barrier: Any,
    limit: float,
    function: Callable[..., dict[str, Any]],
    arguments: tuple[Any, ...],
) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, even inside a call that heeds no signal
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        answer = function(Gate(barrier, limit), *arguments)
    except BrokenBarrierError:  # another process failed, or is late; it tells why
        pipe.send(None)
        os._exit(1)
    except BaseException:
        pipe.send(traceback.format_exc())
        barrier.abort()
        os._exit(1)  # what it put and nobody takes would hold it here
    pipe.send(answer)


def _answers(children: list[tuple[Any, Connection, str]], limit: float) -> list[dict[str, Any]]:
    end = time.perf_counter() + limit + 5
    answers: dict[int, dict[str, Any] | None] = {}
    while len(answers) < len(children):
        waiting = {pipe: place for place, (_, pipe, _) in enumerate(children) if place not in answers}
        ready = wait(list(waiting), max(0.0, end - time.perf_counter()))
        if not ready:
            late = [children[place][2] for place in waiting.values()]
            raise RunFailed(f"{', '.join(late)} did not answer within {limit:g} s")
        for pipe in ready:
            place = waiting[pipe]  # type: ignore[index]
            answers[place] = _answer(*children[place])
    good = [answer for _, answer in sorted(answers.items()) if answer is not None]
    if len(good) < len(children):
        raise RunFailed("a process waited in vain for another to start or to finish")
    return good


def _answer(child: Any, pipe: Connection, name: str) -> dict[str, Any] | None:
    try:
        answer = pipe.recv()
    except EOFError:
        child.join(2)
        late = child.exitcode == -signal.SIGALRM
        how = "SIGALRM, since it ran past its time" if late else f"exit code {child.exitcode}"
        raise RunFailed(f"{name} (pid {child.pid}) died without an answer: {how}") from None
    if isinstance(answer, str):
        raise RunFailed(f"{name} raised\n{answer}")
    result: dict[str, Any] | None = answer
    return result
