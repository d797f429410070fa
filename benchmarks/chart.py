"""Draws a suite's result as SVG: how many times as good as the reference each peer is, and what to reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.table import factor

Result = dict[str, Any]

ACCENT = "#d1495b"
INK = "#333333"
GREYS = {
    "multiprocessing": "#9a9a9a",
    "faster-fifo": "#6b6b6b",
    "pyzmq": "#404040",
    "memcpy": "#b8b8b8",
    "UltraDict": "#6b6b6b",
    "shared-memory-dict": "#b8b8b8",
    "lmdb": "#404040",
    "redis": "#8a8a8a",
    "pycsp": "#404040",
    "queue.Queue": "#9a9a9a",
    "asyncio": "#9a9a9a",
    "trio": "#6b6b6b",
}
MARKERS = {
    "multiprocessing": "|",
    "faster-fifo": "s",
    "pyzmq": "^",
    "memcpy": "d",
    "UltraDict": "s",
    "shared-memory-dict": "v",
    "lmdb": "^",
    "redis": "D",
    "pycsp": "s",
    "queue.Queue": "|",
    "asyncio": "|",
    "trio": "^",
}
SPEEDS = (
    "msg/s",
    "GB/s",
    "ns",
    "µs",
    "ms",
)  # the units of the rows that are drawn; the rest is in the table only


class NothingToDraw(ValueError):
    """No row of the result has a ratio."""


def draw(result: Result, path: Path) -> None:
    """Write the chart: a line per row with ratios, on a log axis; a dot is a median, a bar the whole spread.

    Raises:
        ImportError: matplotlib is not installed.
        NothingToDraw: no row has a ratio to draw.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = [row for row in result["rows"] if _ratios(row) and row["unit"] in SPEEDS]
    if not rows:
        raise NothingToDraw(f"the result of {result['suite']} has no row with a ratio to its baseline")
    style: Any = {
        "svg.hashsalt": result["suite"],  # the same figures give the same file
        "font.family": ["DejaVu Sans", "sans-serif"],
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(11, 2.0 + 0.5 * len(rows)), layout="constrained")
        names = list(dict.fromkeys(n for row in rows for n in row["results"]))
        for name in sorted(names, key=lambda n: n == "interproc"):
            _draw_peer(axes, rows, name)
        wanted = [(row["target"]["ratio"], place) for place, row in enumerate(rows) if row["target"]["ratio"]]
        if wanted:
            ratios, places = zip(*wanted, strict=True)
            axes.scatter(
                ratios, places, marker="|", s=420, linewidths=1.6, color=INK, label="to reach", zorder=2
            )
        axes.set_xscale("log")
        axes.axvline(1, color="#9a9a9a", linewidth=1.2, zorder=1)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.5), max(high * 1.1, 3))
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}x"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
        bases = dict.fromkeys(row["baseline"] for row in rows)
        axes.set_xlabel(f"times as fast as {' or '.join(bases)} (log scale); further right is better")
        axes.set_title("interproc", loc="right", fontsize=10, fontweight="bold", color=ACCENT, x=1.09)
        figure.suptitle(_title(result), x=0.01, ha="left", fontsize=12, fontweight="bold")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        undated = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, facecolor="white", metadata=undated)
        pyplot.close(figure)


def _ratios(row: Result) -> dict[str, dict[str, float]]:
    measured = {name: one for name, one in row["results"].items() if one["status"] == "measured"}
    return {name: one["ratio"] for name, one in measured.items() if one["ratio"]}


def _draw_peer(axes: Any, rows: list[Result], name: str) -> None:
    points = [(place, _ratios(row)[name]) for place, row in enumerate(rows) if name in _ratios(row)]
    points = [(place, ratio) for place, ratio in points if rows[place]["baseline"] != name]
    if not points:
        return
    mine = name == "interproc"
    middles = [ratio["median"] for _, ratio in points]
    below = [ratio["median"] - ratio["min"] for _, ratio in points]
    above = [ratio["max"] - ratio["median"] for _, ratio in points]
    axes.errorbar(
        middles,
        [place for place, _ in points],
        xerr=[below, above],
        linestyle="none",
        marker="o" if mine else MARKERS.get(name, "v"),
        markersize=9 if mine else 6,
        elinewidth=1.4 if mine else 1,
        color=ACCENT if mine else GREYS.get(name, "#808080"),
        label=name,
        zorder=4 if mine else 3,
    )
    if mine:
        beside = axes.get_yaxis_transform()
        for (place, _), middle in zip(points, middles, strict=True):
            axes.text(
                1.09,
                place,
                factor(middle),
                transform=beside,
                ha="right",
                va="center",
                color=ACCENT,
                weight="bold",
            )


def _label(row: Result) -> str:
    work = str(row["work"]).replace("`", "")
    return work if row["baseline"] == "multiprocessing" else f"{work} (to {row['baseline']})"


def _title(result: Result) -> str:
    where = result["machine"]
    title = f"{result['title']}: {where['cores']} cores of {where['processor']}, {where['python']}"
    return f"{title}; --quick, not a measure" if result["quick"] else title
