"""How a tour is shown: what every kind of showing has, the plain one, and the one for programs."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from importlib.util import find_spec
from types import TracebackType
from typing import TextIO

from interproc.cli.tour.station import Bars, Report, Station

WIDTH = 80  # columns, at most
RICH_IS_MISSING = "For colours and a progress bar: python -m pip install 'interproc[tour]'"


@dataclasses.dataclass(frozen=True)
class Trip:
    """What holds for the whole tour."""

    start_method: str
    workers: int
    python: str  # its version
    cores: int  # that this process may use


class Show(AbstractContextManager["Show"]):
    """What is told of a tour as it goes; entered before the first call, and left however the tour ends."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen as a shell expects it."""

    @abstractmethod
    def begin(self, trip: Trip, chosen: Sequence[Station]) -> None:
        """The tour begins."""

    @abstractmethod
    def arrive(self, place: int, station: Station) -> None:
        """The station, the place-th of the tour, is about to run."""

    def tick(self, share: float, doing: str) -> None:
        """The station runs, and says how much is done (0 to 1) and at what; about ten times a second."""

    @abstractmethod
    def leave(self, station: Station, report: Report) -> None:
        """The station has run."""

    @abstractmethod
    def end(self, results: Sequence[tuple[Station, Report]], seconds: float) -> None:
        """Every station has run."""


def choose_show(as_json: bool, out: TextIO, environment: Mapping[str, str]) -> Show:
    """The showing that suits: for programs, for a terminal, or plain, without any escape code."""
    if as_json:
        return JsonShow(out)
    if not out.isatty() or environment.get("NO_COLOR") or environment.get("TERM", "dumb") == "dumb":
        return PlainShow(out)
    if find_spec("rich") is None:
        return PlainShow(out, hint=RICH_IS_MISSING)
    from interproc.cli.tour.show_rich import RichShow

    return RichShow()


class PlainShow(Show):
    """Text and nothing else, at most WIDTH columns wide."""

    def __init__(self, out: TextIO, hint: str = "") -> None:
        self.out = out
        self.hint = hint

    def line(self, text: str = "") -> None:
        encoding = self.out.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), file=self.out, flush=True)

    def paragraph(self, text: str, first: str = "") -> None:
        """Wrapped text, its first line after `first`, and the others after as many blanks."""
        indent = " " * len(first)
        lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=indent)
        for line in lines or [first.rstrip()]:
            self.line(line)

    def begin(self, trip: Trip, chosen: Sequence[Station]) -> None:
        self.line(f"interproc {version('interproc')}: processes that talk through shared memory")
        self.line(trip_line(trip, chosen))
        if self.hint:
            self.line(self.hint)

    def arrive(self, place: int, station: Station) -> None:
        self.line()
        self.line(f"== {place}. {station.title} ".ljust(WIDTH, "="))
        self.paragraph(station.point)
        self.line()
        for line in station.source().splitlines():
            self.line(f"    {line}".rstrip())
        self.line()

    def leave(self, station: Station, report: Report) -> None:
        for line in report.printed:
            self.paragraph(line, "  printed  ")
        for said in report.said:
            if isinstance(said, Bars):
                self.bars(said)
            else:
                self.paragraph(said, "  ")
        for check in report.checks:
            self.paragraph(check.what, "  right: " if check.ok else "  WRONG: ")
            if not check.ok:
                self.paragraph(check.got, "      got       ")
                self.paragraph(check.expected, "      expected  ")
        if report.error is not None:
            self.paragraph(report.error, "  FAILED: ")
            for line in report.details.splitlines():
                self.paragraph(line, "    ")
        self.line(f"  {report.seconds:.2f} s")

    def bars(self, bars: Bars) -> None:
        self.paragraph(bars.title, "  ")
        for label, blocks, text in scaled(bars, 36, "#"):
            self.line(f"    {label:<16} {text:>9}  {blocks}")

    def end(self, results: Sequence[tuple[Station, Report]], seconds: float) -> None:
        self.line()
        self.paragraph(outcome(results, seconds))


class JsonShow(Show):
    """One JSON document at the end of the tour."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.trip: Trip | None = None

    def begin(self, trip: Trip, chosen: Sequence[Station]) -> None:
        self.trip = trip

    def arrive(self, place: int, station: Station) -> None:
        pass

    def leave(self, station: Station, report: Report) -> None:
        pass

    def end(self, results: Sequence[tuple[Station, Report]], seconds: float) -> None:
        assert self.trip is not None, "end() came before begin()"
        document = {
            "interproc": version("interproc"),
            **dataclasses.asdict(self.trip),
            "ok": all(report.ok for _, report in results),
            "seconds": round(seconds, 6),
            "stations": [
                {
                    "name": station.name,
                    "title": station.title,
                    "ok": report.ok,
                    "seconds": round(report.seconds, 6),
                    "printed": report.printed,
                    "checks": [dataclasses.asdict(check) for check in report.checks],
                    "figures": report.figures,
                    "error": report.error,
                    "traceback": report.details,
                }
                for station, report in results
            ],
        }
        print(json.dumps(document, indent=2), file=self.out, flush=True)


def trip_line(trip: Trip, chosen: Sequence[Station]) -> str:
    """What the tour runs with, in a line."""
    return (
        f"{counted(len(chosen), 'station')}, start method {trip.start_method}, "
        f"Python {trip.python}, {counted(trip.cores, 'core')}"
    )


def outcome(results: Sequence[tuple[Station, Report]], seconds: float) -> str:
    """How the tour went, in a sentence."""
    wrong = [station.name for station, report in results if not report.ok]
    checks = sum(len(report.checks) for _, report in results)
    if wrong:
        return f"Wrong: {', '.join(wrong)}. {counted(checks, 'result')} checked in {seconds:.1f} s."
    return f"Every result is right: {checks} at {counted(len(results), 'station')}, in {seconds:.1f} s."


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("s" if number != 1 else "")


def scaled(bars: Bars, columns: int, mark: str) -> list[tuple[str, str, str]]:
    """Each bar's label, its length in marks (the longest is `columns`), and its text."""
    longest = max((bar.value for bar in bars.bars), default=0.0) or 1.0
    return [(bar.label, mark * max(1, round(bar.value / longest * columns)), bar.text) for bar in bars.bars]
