"""What a station of the tour is, what it can say while it runs, and which ones there are."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from interproc.cli.tour import stations

IMPORTS = ("import interproc as mp", "from interproc.csp import ")  # beginnings of lines that are shown
PROGRESS_EVERY = 0.1  # seconds between two reports of progress


@dataclass(frozen=True)
class Station:
    """One stop of the tour.

    `run` is called in a process of its own, in which interproc's start method has been set, so it and what it
    starts use `import interproc as mp` as any program does. What is printed there is shown as its output.
    """

    number: int  # the order of the stations; leave room between two
    name: str  # of its file
    title: str
    point: str  # what it demonstrates, in a sentence
    code: tuple[Callable[..., Any], ...]  # the functions whose source is shown
    run: Callable[[Stage], None]
    limit: float = 30.0  # seconds; past them the station has failed and its processes are ended

    def source(self) -> str:
        """The source of the functions in `code`, as they stand in the file, with its import of interproc."""
        parts = [inspect.getsource(function).rstrip() for function in self.code]
        module = inspect.getsource(inspect.getmodule(self.code[0]) or stations)
        if imports := [line for line in module.splitlines() if line.startswith(IMPORTS)]:
            parts.insert(0, "\n".join(imports))
        return "\n\n".join(parts)


@dataclass(frozen=True)
class Check:
    """A result and what it must be."""

    what: str
    ok: bool
    got: str
    expected: str


@dataclass(frozen=True)
class Bar:
    label: str
    value: float
    text: str  # the value as a reader wants it, with its unit
    strong: bool = False  # to stand out among the others


@dataclass(frozen=True)
class Bars:
    """Values to compare with each other."""

    title: str
    bars: tuple[Bar, ...]


@dataclass
class Report:
    """What came of a station."""

    printed: list[str] = field(default_factory=list)
    said: list[str | Bars] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)  # for --json: numbers, strings and lists of them
    seconds: float = 0.0
    error: str | None = None  # why the station could not end by itself
    details: str = ""  # the traceback of the error, if it has one

    @property
    def ok(self) -> bool:
        """Whether every result was right; a station that checked nothing has shown nothing."""
        return self.error is None and bool(self.checks) and all(check.ok for check in self.checks)

    def faults(self) -> list[str]:
        """What is wrong, a line each; empty if `ok`."""
        lines = [f"{c.what}: got {c.got}, expected {c.expected}" for c in self.checks if not c.ok]
        if self.error is not None:
            lines.append(self.error)
        elif not self.checks:
            lines.append("the station checked no result")
        return lines


class Stage:
    """What a station is given to run with: the options of the tour, and the means to report."""

    def __init__(self, workers: int, send: Callable[[float, str], None]) -> None:
        self.workers = workers
        self.report = Report()
        self._send = send
        self._next = 0.0

    def check(self, what: str, got: object, expected: object) -> None:
        """Record whether a result is what it must be, types included."""
        ok = got == expected and repr(got) == repr(expected)
        self.judge(what, ok, shortened(got), shortened(expected))

    def judge(self, what: str, ok: bool, got: str, expected: str) -> None:
        """Record a result that the station compared itself."""
        self.report.checks.append(Check(what, ok, got, expected))

    def say(self, what: str | Bars) -> None:
        """Show a line of text, or a comparison."""
        self.report.said.append(what)

    def progress(self, share: float, doing: str) -> None:
        """Say how much is done, from 0 to 1, and what is being done; may be called as often as one likes."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_EVERY
            self._send(share, doing)


def shortened(value: object, length: int = 200) -> str:
    """repr(value), cut after `length` characters."""
    text = repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def discover() -> list[Station]:
    """Every station in the folder `stations`, in order."""
    found: list[Station] = []
    for module in pkgutil.iter_modules(stations.__path__, f"{stations.__name__}."):
        found.append(importlib.import_module(module.name).STATION)
    return sorted(found, key=lambda station: station.number)


def choose(available: Sequence[Station], names: Sequence[str]) -> list[Station]:
    """The stations with these names, in the order of the tour; all of them when there is no name.

    Raises:
        ValueError: a name that is no station's.
    """
    wanted = {name.replace("-", "_") for name in names}
    unknown = wanted - {station.name for station in available}
    if unknown:
        known = ", ".join(station.name for station in available)
        raise ValueError(f"no station is called {', '.join(sorted(unknown))}; there are {known}")
    return [station for station in available if not wanted or station.name in wanted]
