"""The result of a suite as a table: in a terminal by rich, in RESULTS.md as Markdown, with the same cells."""

from __future__ import annotations

import sys
from typing import Any

Result = dict[str, Any]


def figure(value: float, unit: str) -> str:
    """A figure with three significant digits, as a reader wants it."""
    if unit == "msg/s":
        return f"{value / 1e6:.2f} M/s" if value >= 1e6 else f"{value / 1e3:.0f} k/s"
    if value and abs(value) < 0.01:
        text = f"{value:.1g}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip()


def times(ratio: dict[str, float] | None) -> str:
    """A ratio with its least and greatest over the rounds."""
    if ratio is None:
        return "-"
    text = factor(ratio["median"])
    if ratio["min"] == ratio["max"]:
        return text
    return f"{text} ({factor(ratio['min'])[:-1]} to {factor(ratio['max'])[:-1]})"


def factor(ratio: float) -> str:
    """A ratio as a reader wants it."""
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.1f}x" if ratio < 100 else f"{ratio:.0f}x"


def names(result: Result) -> list[str]:
    """The peers, in the order of the rows."""
    order: dict[str, None] = {}
    for row in result["rows"]:
        order.update(dict.fromkeys(row["results"]))
    order.pop("interproc", None)
    return ["interproc", *order]


def cell(row: Result, name: str) -> str:
    """What stands in a row for a peer: its figure, and its ratio if it is not the one that ratios are to."""
    result = row["results"].get(name)
    if result is None:
        return ""
    if result["status"] != "measured":
        return "none" if result["status"] == "not offered" else str(result["status"])
    text = figure(result["median"], row["unit"])
    if name not in ("interproc", row["baseline"]) and result["ratio"]:
        text += f" ({factor(result['ratio']['median'])})"
    return text


def header(result: Result) -> list[str]:
    return ["work", *names(result), "interproc's ratio", "to reach", "verdict"]


def cells(result: Result) -> list[list[str]]:
    """The rows, as `header` names their columns."""
    lines = []
    for row in result["rows"]:
        mine = row["results"].get("interproc", {})
        lines.append(
            [
                row["work"],
                *(cell(row, name) for name in names(result)),
                times(mine.get("ratio")),
                row["target"]["text"],
                row["verdict"]["text"],
            ]
        )
    return lines


def markdown(result: Result) -> str:
    """The table in Markdown; interproc's own figures in bold."""
    lines = ["| " + " | ".join(header(result)) + " |", "|" + " --- |" * len(header(result))]
    for line in cells(result):
        line[1] = f"**{line[1]}**"
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |")
    return "\n".join(lines)


def show(result: Result) -> None:
    """Print the table: by rich where it is installed, else as Markdown."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(markdown(result))
        return
    table = Table(title=result["title"], title_justify="left")
    for number, text in enumerate(header(result)):
        table.add_column(text, style="bold cyan" if number == 1 else None)
    for line, row in zip(cells(result), result["rows"], strict=True):
        reached = row["verdict"]["reached"]
        line[-1] = {True: "[green]{}[/]", False: "[red]{}[/]", None: "{}"}[reached].format(line[-1])
        table.add_row(*(text.replace("`", "") for text in line))
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table)
    for name, why in result["absent"].items():
        console.print(f"{name} was not measured: {why}", style="yellow")
    for row in result["rows"]:
        for name, one in row["results"].items():
            if one["status"] == "failed":
                console.print(f"{row['key']}: {name}: {one['reason']}", style="red", markup=False)
    if result["quick"]:
        console.print("--quick: these figures show that it works, not how fast it is.", style="yellow")
