"""A composition under way: who has to start, who has ended, what comes of it.

The state of a Run is changed by one thread at a time, its driver (driving.py): the thread that waits for it,
or that of an event loop. Whoever ends in another thread posts that, and wakes the driver.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ... import _core
from ...errors import ChannelPoison
from ..naming import told_apart
from ..process import Description
from . import launch, launch_os
from .box import box
from .failures import Outcome, group
from .launch import Leaf

if TYPE_CHECKING:
    import asyncio

    from ..composition import Composition

__all__ = ["Branch", "Run", "poison_all"]

_numbers = itertools.count(1)


class Branch:
    """A Parallel or a Sequence within a Run."""

    __slots__ = ("children", "failed", "left", "next", "ordered", "parent", "place", "results")

    def __init__(self, ordered: bool, parent: Branch | None, place: int) -> None:
        self.ordered = ordered
        self.parent = parent
        self.place = place
        self.children: list[Branch | Leaf] = []
        self.results: list[Any] = []
        self.next = 0  # of a Sequence: who comes next
        self.left = 0  # how many have not ended
        self.failed = False


class Run:
    """One composition, from its start to its end.

    Attributes:
        number: no other of this OS process has it.
        starter: the name of the party that starts it, or 0.
        leaves: all its processes, in order.
        over: whether all have ended.
        stopped: whether it was told to stop.
        unattended: whether Ctrl-C that ends one of its processes is to stop it, see leave().
    """

    def __init__(self, composition: Composition) -> None:
        self.number = next(_numbers)
        self.starter = 0
        self.leaves: list[Leaf] = []
        self.root = self._branch(composition, None, 0)
        for leaf, name in zip(self.leaves, told_apart(leaf.name for leaf in self.leaves), strict=True):
            leaf.name = name
        self.running = 0
        self.watched: dict[int, Leaf] = {}  # by descriptor: the OS processes that run
        self.has_sequence = composition.has_sequence()
        self.begun = self.over = self.stopped = self.unattended = False
        self.loop: asyncio.AbstractEventLoop | None = None  # where its tasks run
        self.on_watch: Callable[[int], object] | None = None  # told of each descriptor that is new
        self.on_end: Callable[[], object] | None = None  # told after each end
        self._wake: Callable[[], object] | None = None  # the driver, from another thread
        self._wake_lock = threading.Lock()
        self._posted: queue.SimpleQueue[tuple[Leaf, Outcome]] = queue.SimpleQueue()
        # A starter holds an end until each of the processes that it is for has got it.
        self._wanted: dict[int, int] = {}
        for leaf in self.leaves:
            for end in leaf.description.ends():
                self._wanted[id(end)] = self._wanted.get(id(end), 0) + 1
        if self.has("process"):
            launch_os.may_start()

    def _branch(self, composition: Composition, parent: Branch | None, place: int) -> Branch:
        branch = Branch(composition.ordered, parent, place)
        for part in composition.parts:
            child: Branch | Leaf
            if isinstance(part, Description):
                child = Leaf(part, branch, len(branch.children), len(self.leaves))
                self.leaves.append(child)
            else:
                child = self._branch(part, branch, len(branch.children))
            branch.children.append(child)
        branch.left = len(branch.children)
        branch.results = [None] * branch.left
        return branch

    def has(self, kind: str) -> bool:
        """Whether there is a process of that kind among them."""
        return any(leaf.description.kind == kind for leaf in self.leaves)

    @property
    def communicates(self) -> bool:
        """Whether any of them is given ends."""
        return bool(self._wanted)

    # ---- the driver's

    def begin(self) -> None:
        """Start what can start."""
        self.begun = True
        self._begin(self.root)

    def _begin(self, node: Branch | Leaf) -> None:
        if isinstance(node, Leaf):
            self._start(node)
        elif not node.children:
            self._complete(node)
        elif node.ordered:
            node.next = 1
            self._begin(node.children[0])
        else:
            for child in tuple(node.children):
                self._begin(child)

    def _start(self, leaf: Leaf) -> None:
        if self.stopped:
            self._forgo(leaf)
            self._done(leaf, Outcome(interrupted=True))
            return
        kind = leaf.description.kind
        try:
            if kind == "thread":
                with launch_os.interrupt_later():  # one that runs is counted
                    self._started(leaf, launch.start_thread(leaf, self))
            elif kind == "task":
                assert self.loop is not None
                self._started(leaf, launch.start_task(leaf, self, self.loop))
            else:
                with launch_os.without_interrupt() as interruptible:
                    self._started(leaf, launch_os.start_process(leaf, self, interruptible))
        except Exception as error:
            if leaf.state != "waits":
                raise
            if isinstance(error, ChannelPoison) and self.failures():  # by one of those
                self._forgo(leaf)
                self._done(leaf, Outcome())
            else:
                self._done(leaf, Outcome(error=error))

    def _started(self, leaf: Leaf, given: Iterable[Any]) -> None:
        leaf.state = "runs"
        self.running += 1
        if leaf.watched >= 0:
            self.watched[leaf.watched] = leaf
            if self.on_watch is not None:
                self.on_watch(leaf.watched)
        self._give(leaf, given)

    def _give(self, leaf: Leaf, given: Iterable[Any]) -> None:
        """The process has its ends now; the starter lets go of those that none who comes later needs."""
        away = {id(end) for end in given}
        for end in leaf.description.ends():
            left = self._wanted[id(end)] = self._wanted.get(id(end), 1) - 1
            if left <= 0 and id(end) in away and hasattr(end, "disown"):
                end.disown()

    def _forgo(self, leaf: Leaf) -> None:
        """It will not be run."""
        leaf.state = "ended"
        poison_all(leaf.description.ends())

    def post(self, leaf: Leaf, outcome: Outcome) -> None:
        """From another thread: it has ended."""
        self._posted.put((leaf, outcome))
        if self._wake is not None:
            with self._wake_lock, contextlib.suppress(RuntimeError):  # the loop was closed
                if self._wake is not None:
                    self._wake()

    def wake_by(self, wake: Callable[[], object] | None) -> None:
        """How the driver learns that something was posted. The last one is not called after this."""
        with self._wake_lock:
            self._wake = wake

    def drain(self) -> None:
        """Note what was posted."""
        while self.note_posted(0):
            pass

    def note_posted(self, timeout: float | None) -> bool:
        """Wait for one that is posted, and note it; whether there was one."""
        try:
            leaf, outcome = self._posted.get(timeout=timeout) if timeout != 0 else self._posted.get(False)
        except queue.Empty:
            return False
        self.ended(leaf, outcome)
        return True

    def ended(self, leaf: Leaf, outcome: Outcome) -> None:
        """It has ended."""
        leaf.member = None
        self.running -= 1
        self._done(leaf, outcome)
        if outcome.interrupted and self.unattended:
            self.stop()
        if self.on_end is not None:
            self.on_end()

    def exited(self, descriptor: int) -> None:
        """An OS process has ended, as its descriptor says."""
        leaf = self.watched.pop(descriptor)
        exitcode = launch_os.reaped(leaf)
        outcome = box().take(self.number, leaf.number, exitcode)
        if outcome is None:
            outcome = launch_os.failure_of(leaf, exitcode)
            arenas = {end.arena for end in leaf.description.ends()} | {_core.Arena.default()}
            for arena in arenas:
                arena.reap()
        self.ended(leaf, outcome)

    def _done(self, leaf: Leaf, outcome: Outcome) -> None:
        leaf.state = "ended"
        leaf.outcome = outcome
        if outcome.interrupted and not self.stopped:
            outcome.error = launch_os.interrupted(leaf)
        if outcome.error is not None:
            self._remark(leaf, outcome.error)
            poison_all(leaf.description.ends())  # of one that was killed, or has not started
        self._advance(leaf, outcome.value, outcome.error is not None)

    def _remark(self, leaf: Leaf, error: BaseException) -> None:
        kind = {"process": "OS process"}.get(leaf.description.kind, leaf.description.kind)
        pid = f", pid {leaf.pid}" if leaf.pid is not None else ""
        with contextlib.suppress(Exception):
            error.add_note(f"in process {leaf.name!r} ({kind}{pid})")

    def _advance(self, node: Leaf | Branch, value: Any, failed: bool) -> None:
        """One part of a branch is over."""
        branch = node.parent
        if branch is None:
            self.over = True
            return
        branch.results[node.place] = value
        branch.failed = branch.failed or failed
        branch.left -= 1
        if branch.ordered and branch.left:
            if not failed and not self.stopped:
                branch.next += 1
                self._begin(branch.children[branch.next - 1])
                return
            for child in branch.children[branch.next :]:
                for leaf in _leaves(child):
                    self._forgo(leaf)
            branch.left = 0
        if branch.left == 0:
            self._complete(branch)

    def _complete(self, branch: Branch) -> None:
        self._advance(branch, list(branch.results), branch.failed)

    def stop(self) -> None:
        """Poison what its processes have, cancel its tasks, start no more."""
        self.stopped = True
        for leaf in self.leaves:
            if leaf.state != "ended":
                poison_all(leaf.description.ends())
                if leaf.description.kind == "task" and leaf.member is not None:
                    with contextlib.suppress(RuntimeError):  # the loop was closed
                        leaf.member.cancel()

    def leave(self) -> None:
        """Its starter is at its end: who presses Ctrl-C, or has pressed it, means all that is left."""
        self.unattended = True
        if any(leaf.outcome is not None and leaf.outcome.interrupted for leaf in self.leaves):
            self.stop()

    def signal(self, number: int) -> None:
        """To all its OS processes that run."""
        for leaf in tuple(self.watched.values()):
            launch_os.send_signal(leaf, number)

    # ---- what has come of it

    def failures(self, quiet: bool = False) -> list[BaseException]:
        """Of those that have ended, in order; `quiet`: without those that Ctrl-C has ended."""
        return [error for _, error in self._failed(quiet)]

    def failure(self, quiet: bool = False) -> ExceptionGroup[Exception] | None:
        """What those come to; None if none has failed."""
        failed = self._failed(quiet)
        return group(failed, len(self.leaves)) if failed else None

    def _failed(self, quiet: bool) -> list[tuple[str, BaseException]]:
        ended = [(leaf.name, leaf.outcome) for leaf in self.leaves if leaf.outcome is not None]
        return [
            (name, end.error)
            for name, end in ended
            if end.error is not None and not (quiet and end.interrupted)
        ]

    def results(self) -> list[Any]:
        """What all have returned. Raises ExceptionGroup if some have failed."""
        failure = self.failure()
        if failure is not None:
            raise failure
        return self.root.results


def _leaves(node: Branch | Leaf) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    else:
        for child in node.children:
            yield from _leaves(child)


def poison_all(ends: Iterable[Any]) -> None:
    """Whatever has become of them meanwhile."""
    for end in ends:
        with contextlib.suppress(Exception):
            if hasattr(end, "poison"):
                end.poison()
            else:
                end.resign()
