"""How a tour is shown on a terminal, with rich; at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from interproc.cli.tour.show import WIDTH, Show, Trip, outcome, scaled, trip_line
from interproc.cli.tour.station import Bars, Report, Station

THEME = "ansi_dark"  # the sixteen colours of the reader's own terminal
ACCENT = "cyan"


class RichShow(Show):
    """Colours, the stations' code in frames, and a progress bar while one runs."""

    def __init__(self, console: Console | None = None, animate: bool = True) -> None:
        self.console = console or Console(highlight=False)
        self.console.width = min(self.console.width, WIDTH)
        self.animate = animate
        self.live: Live | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._still()

    def begin(self, trip: Trip, chosen: Sequence[Station]) -> None:
        title = Text.assemble(
            ("interproc ", f"bold {ACCENT}"),
            (version("interproc"), ACCENT),
            ("   processes that talk through shared memory", "bold"),
        )
        self.console.print(Panel(Group(title, Text(trip_line(trip, chosen), "dim")), border_style=ACCENT))

    def arrive(self, place: int, station: Station) -> None:
        self.console.print()
        heading = Text.assemble((f" {place} ", f"bold reverse {ACCENT}"), (f" {station.title}", "bold"))
        self.console.print(heading)
        self._indented(Text(station.point))
        frame = Panel(
            Syntax(station.source(), "python", theme=THEME, background_color="default", word_wrap=True),
            title=Text(f"{station.name}.py", "dim"),
            title_align="right",
            border_style="dim",
        )
        self._indented(frame)
        if self.animate:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()

    def tick(self, share: float, doing: str) -> None:
        if self.live is not None:
            self.live.update(Padding(self._progress(share, doing), (0, 0, 0, 1)), refresh=True)

    def _progress(self, share: float, doing: str) -> RenderableType:
        if not doing:
            return Spinner("dots", Text("running", "dim"), style=ACCENT)
        row = Table.grid(padding=(0, 1))
        row.add_row(
            Spinner("dots", style=ACCENT),
            ProgressBar(1.0, share, width=32, complete_style=ACCENT, finished_style=ACCENT),
            Text(f"{share:4.0%}"),
            Text(doing, "dim", no_wrap=True, overflow="ellipsis"),
        )
        return row

    def _still(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def leave(self, station: Station, report: Report) -> None:
        self._still()
        lines: list[tuple[Text, RenderableType]] = []
        for number, line in enumerate(report.printed):
            lines.append((Text("prints" if number == 0 else ""), Text(line, "bold")))
        for said in report.said:
            lines.append((Text(), self._bars(said) if isinstance(said, Bars) else Text(said)))
        if report.said and isinstance(report.said[-1], Bars):
            lines.append((Text(), Text()))
        for check in report.checks:
            lines.append((self._mark(check.ok), Text(check.what, "" if check.ok else "bold red")))
            if not check.ok:
                lines.append((Text(), Text.assemble(("got       ", "dim"), check.got)))
                lines.append((Text(), Text.assemble(("expected  ", "dim"), check.expected)))
        if report.error is not None:
            lines.append((self._mark(False), Text(report.error, "bold red")))
            if report.details:
                lines.append((Text(), Text(report.details.rstrip(), "dim")))
        rows = Table.grid(padding=(0, 2), expand=True)
        rows.add_column(width=7, style="dim")
        rows.add_column(ratio=1)
        rows.add_column(width=8, justify="right", style="dim")
        for number, (mark, content) in enumerate(lines):
            rows.add_row(mark, content, f"{report.seconds:.2f} s" if number == 0 else "")
        self._indented(rows)

    def _bars(self, bars: Bars) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(width=15)
        table.add_column(justify="right", width=8)
        table.add_column()
        for bar, (label, blocks, text) in zip(bars.bars, scaled(bars, 31, "━"), strict=True):
            style = f"bold {ACCENT}" if bar.strong else "dim"
            table.add_row(label, text, Text(blocks, style))
        return Padding(Group(Text(bars.title, "italic"), table), (1, 0, 0, 0))

    def _mark(self, ok: bool) -> Text:
        return Text("✔ right", "green") if ok else Text("✘ wrong", "bold red")

    def _indented(self, what: RenderableType) -> None:
        self.console.print(Padding(what, (0, 0, 0, 1)))

    def end(self, results: Sequence[tuple[Station, Report]], seconds: float) -> None:
        style = "green" if all(report.ok for _, report in results) else "bold red"
        self.console.print()
        self.console.print(Panel(Text(outcome(results, seconds), style), border_style=style))
