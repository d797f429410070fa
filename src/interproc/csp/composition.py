"""Parallel and Sequence: processes put together, run, and waited for."""

from __future__ import annotations

import inspect
import operator
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator
from types import FrameType
from typing import Any, Self, TypeAlias, TypeVar

from .._core import Handle
from .process import Description, ProcessType
from .running import driving
from .running.run import Run
from .tasks import running_loop

__all__ = ["Composition", "Parallel", "Part", "Results", "Sequence"]

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
        from .network import graph

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


def _flat(parts: Iterable[Part]) -> Iterator[Description[Any] | Composition]:
    for part in parts:
        if isinstance(part, (Description, Composition)):
            yield part
        elif isinstance(part, Iterable) and not isinstance(part, _NO_PARTS):
            yield from _flat(part)
        else:
            raise TypeError(f"{part!r} is no process, as a call of a @process gives it{_hint(part)}")


_NO_PARTS = (str, bytes, dict, Handle, Results)


def _hint(part: object) -> str:
    """What may have been meant."""
    if isinstance(part, ProcessType):
        return f": write {part.name}(...)"
    if isinstance(part, Results):
        return ", but what those that have run returned: a part of another is written Parallel.of(...)"
    if inspect.isfunction(part):
        return f": write process({part.__name__})(...)"
    if inspect.iscoroutine(part):
        return f": write @process above `async def {part.__name__}`"
    if hasattr(part, "sentinel"):
        return ": it is started, and joined, by itself"
    return ", nor an iterable of them"


def awaits(caller: FrameType) -> bool:
    """Whether that is the body of an `async def`, which an event loop runs: so it can await."""
    return bool(caller.f_code.co_flags & _CO_ASYNC) and running_loop() is not None


class _Composer:
    """What Parallel and Sequence are."""

    def __init__(self, name: str, ordered: bool) -> None:
        self.__name__ = self.__qualname__ = name
        self._ordered = ordered

    def __call__(self, *parts: Part) -> Results[Any]:
        composition = Composition(parts, self._ordered)
        if awaits(sys._getframe(1)):
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
            within 2 seconds get SIGTERM, and then SIGKILL, which a second Ctrl-C gives them at once. (A
            thread that goes on is left to itself then.) A cancellation, or the exception of a signal
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
