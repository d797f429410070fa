"""How threads and tasks are started as processes; what a process that runs is to its composition."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Protocol

from ... import _core
from .. import scope as scopes
from .. import travel
from ..process import Description, run_here
from ..scope import Scope
from .failures import Outcome, Settled, returned, settle

if TYPE_CHECKING:
    import asyncio

__all__ = ["Keeper", "Leaf", "dispose", "start_task", "start_thread"]


class Keeper(Protocol):
    """Whom a process belongs to that runs; see run.Run."""

    number: int
    starter: int  # the name of the party that starts it, or 0

    def post(self, leaf: Leaf, outcome: Outcome) -> None: ...
    def ended(self, leaf: Leaf, outcome: Outcome) -> None: ...


class Leaf:
    """A process of a composition.

    Attributes:
        name: its description's; where several of the composition have the same, with a number.
        number: its place among all processes of the composition, from 0.
        parent, place: the branch that it is in (see run.Branch), and where its result goes there.
        member: what runs it: an OS process, a thread or a task; None before its start, and after its end.
        state: "waits" (for those before it in a Sequence), "runs", "ended".
    """

    __slots__ = (
        "description",
        "member",
        "name",
        "number",
        "outcome",
        "parent",
        "pid",
        "place",
        "state",
        "watched",
        "watched_is_process",
    )

    def __init__(self, description: Description[Any], parent: Any, place: int, number: int) -> None:
        self.description = description
        self.name = description.name
        self.parent = parent
        self.place = place
        self.number = number
        self.member: Any = None
        self.pid: int | None = None
        self.watched = -1  # a descriptor that becomes readable when it ends
        self.watched_is_process = False  # that signals can be sent to
        self.state = "waits"
        self.outcome: Outcome | None = None


def _with_own_ends(
    description: Description[Any], scope: Scope
) -> tuple[tuple[Any, ...], dict[str, Any], list[Any]]:
    """Its arguments with ends of its own, which are in its scope then; and the ends that were its starter's.

    Those that are deep in objects of its arguments cannot be exchanged; they are handed over as they are.
    """
    ends = description.ends()
    args, kwargs = description.args, description.kwargs
    if not ends:
        return args, kwargs, ends
    copies: dict[int, Any] = {}

    def copy(end: Any) -> Any:
        if id(end) not in copies:
            copies[id(end)] = end.copy() if hasattr(end, "copy") else end
            scope.add(copies[id(end)])
        return copies[id(end)]

    token = scopes.enter(scope)
    try:
        args = travel.copied(args, copy)
        kwargs = travel.copied(kwargs, copy)
    except BaseException:
        scope.retire_all()
        raise
    finally:
        scopes.leave(token)
    for end in ends:
        if id(end) not in copies:
            scope.add(end)
    return args, kwargs, [end for end in ends if copies.get(id(end), end) is not end]


def dispose(scope: Scope, settled: Settled) -> None:
    """Ends the ends of a process that has ended."""
    if settled.poisons:
        scope.poison_all()
    else:
        scope.retire_all()
    settled.cause = None


# ---- threads -----------------------------------------------------------------------------------------------


def start_thread(leaf: Leaf, keeper: Keeper) -> list[Any]:
    """Starts it; returns the ends that its starter can let go of."""
    description = leaf.description
    scope = Scope(leaf.name, "thread", keeper.starter, keeper.number)
    args, kwargs, given = _with_own_ends(description, scope)
    thread = threading.Thread(
        target=_in_thread,
        args=(leaf, keeper, scope, description.process, args, kwargs),
        name=leaf.name,
        daemon=True,  # who is interrupted does not wait for it; else somebody waits for it in any case
    )
    try:
        thread.start()
    except BaseException:
        scope.poison_all()
        raise
    leaf.member = thread
    return given


def _in_thread(leaf: Leaf, keeper: Keeper, scope: Scope, process: Any, args: Any, kwargs: Any) -> None:
    scopes.enter(scope)
    try:
        scope.introduce(_core.Party.current())
        settled = returned(run_here(process, "thread", args, kwargs))
    except BaseException as error:
        settled = settle(error, skip=3)
    dispose(scope, settled)
    del args, kwargs
    keeper.post(leaf, settled.outcome)


# ---- tasks -------------------------------------------------------------------------------------------------


def start_task(leaf: Leaf, keeper: Keeper, loop: asyncio.AbstractEventLoop) -> list[Any]:
    """Starts it in the loop, which runs in this thread; returns the ends that its starter can let go of."""
    description = leaf.description
    scope = Scope(leaf.name, "task", keeper.starter, keeper.number)
    args, kwargs, given = _with_own_ends(description, scope)
    task = loop.create_task(_in_task(scope, description.process, args, kwargs), name=leaf.name)
    task.add_done_callback(functools.partial(_task_ended, leaf, keeper, scope))
    leaf.member = task
    return given


def _task_ended(leaf: Leaf, keeper: Keeper, scope: Scope, task: asyncio.Task[Outcome]) -> None:
    if not task.cancelled() and task.exception() is None:
        keeper.ended(leaf, task.result())
    else:  # cancelled before it had begun, or Ctrl-C
        scope.poison_all()
        keeper.ended(leaf, Outcome(interrupted=True))


async def _in_task(scope: Scope, process: Any, args: Any, kwargs: Any) -> Outcome:
    scopes.enter(scope)
    try:
        settled = returned(await process.does("task", args, kwargs))
    except (KeyboardInterrupt, GeneratorExit):
        scope.poison_all()
        raise
    except BaseException as error:
        import asyncio

        cancelled = isinstance(error, asyncio.CancelledError)
        settled = Settled(Outcome(interrupted=True), True, error) if cancelled else settle(error, skip=1)
    dispose(scope, settled)
    return settled.outcome
