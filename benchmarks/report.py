"""Runs every benchmark and writes RESULTS.md, results.json and a chart a suite: what `make bench` calls.

`python -m benchmarks.report --again` writes RESULTS.md and the charts from results.json, measuring nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, with this folder, and its queue.py, first in the path
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(_here), *(p for p in sys.path if os.path.abspath(p) != _here)]

from benchmarks import harness, table
from benchmarks.suites import csp, managers, pipes, queues, values

SUITES = (queues.SUITE, pipes.SUITE, values.SUITE, managers.SUITE, csp.SUITE)
FOLDER = Path(__file__).parent

Result = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """1 if a run failed or interproc is absent, else 0; a missed target is a finding, not a failure."""
    about = "Measure all, write RESULTS.md."
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=about)
    parser.add_argument(
        "--rounds", type=int, help=f"rounds over all peers ({harness.ROUNDS}; 1 with --quick)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, not how fast")
    parser.add_argument(
        "--method", choices=("fork", "spawn", "forkserver"), default="fork", help="of starting"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write (benchmarks/)")
    parser.add_argument(
        "--again", action="store_true", help="from that folder's results.json, measuring nothing"
    )
    chosen = parser.parse_args(arguments)
    raw = chosen.folder / "results.json"
    if chosen.again:
        results: list[Result] = json.loads(raw.read_text(encoding="utf-8"))
    else:
        results = [_measure(suite, chosen) for suite in SUITES]
        raw.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    drawn = {result["suite"]: _draw(result, chosen.folder) for result in results}
    notes = FOLDER / "NOTES.md"
    text = report(results, drawn, notes.read_text(encoding="utf-8") if notes.exists() else "")
    (chosen.folder / "RESULTS.md").write_text(text, encoding="utf-8")
    for result in results:
        table.show(result)
    failed = [line for result in results for line in harness.failures(result)]
    absent = [result["absent"]["interproc"] for result in results if "interproc" in result["absent"]]
    return 1 if failed or absent else 0


def _measure(suite: Any, chosen: argparse.Namespace) -> Result:
    line = ["--method", chosen.method]
    line += ["--quick"] if chosen.quick else []
    line += ["--rounds", str(chosen.rounds)] if chosen.rounds is not None else []
    return harness.run(suite, harness.options(suite.name, line), harness.say)


def _draw(result: Result, folder: Path) -> str:
    """Draw a suite's chart; its file's name, or empty where it could not be drawn."""
    from benchmarks.chart import NothingToDraw, draw

    name = f"{result['suite']}.svg"
    try:
        draw(result, folder / name)
    except (ImportError, NothingToDraw) as why:
        print(f"no {name}: {why}", file=sys.stderr)
        return ""
    return name


def report(results: list[Result], drawn: dict[str, str], notes: str) -> str:
    """RESULTS.md: the machine, the tables with the charts, the versions, what is missed, then the notes."""
    first = results[0]
    where = first["machine"]
    parts = ["# Results", ""]
    if first["quick"]:
        parts += ["**Measured with `--quick`: these figures show that it works, not how fast it is.**", ""]
    parts += [
        f"On {where['cores']} cores of {where['processor']}, {where['memory_gib']} GiB, {where['kernel']},"
        f" {where['python']}; processes started by {first['method']}; {first['rounds']} rounds, each of which"
        " visits every peer in turn.",
        "A figure is the median over the rounds. A ratio is the median of the ratios within a round (with the"
        " least and the greatest), to multiprocessing, to memcpy for copies of an array through NumPy or"
        " memoryview, and for CSP's threads to queue.Queue, for its coroutines to asyncio; above 1 is better,"
        " whatever the unit. In brackets behind a peer's figure: that peer's"
        " ratio. Every run checks that all items arrived, in order; an untimed run before the first round"
        " compares each of them in full with what was sent.",
        "",
        "`make bench` writes this file; benchmarks/results.json has every sample.",
        "",
    ]
    for result in results:
        parts += [f"## {result['title']}", "", table.markdown(result), ""]
        if drawn.get(result["suite"]):
            parts += [f"![{result['title']}: ratios to the reference]({drawn[result['suite']]})", ""]
    parts += ["## Reached and missed", "", *_verdicts(results), "", "## Peers", "", *_peers(results), ""]
    return "\n".join(parts) + ("\n" + notes.strip() + "\n" if notes.strip() else "")


def _verdicts(results: list[Result]) -> list[str]:
    judged = [row for result in results for row in result["rows"] if row["verdict"]["text"] != "-"]
    reached = [row for row in judged if row["verdict"]["reached"]]
    lines = [f"{len(reached)} of {len(judged)} targets are reached.", ""]
    lines += [
        f"- {row['work']} (to reach: {row['target']['text']}): {row['verdict']['text']}"
        for row in judged
        if not row["verdict"]["reached"]
    ]
    return lines if len(lines) > 2 else lines[:1]


def _peers(results: list[Result]) -> list[str]:
    lines: dict[str, str] = {}
    for result in results:
        for name, note in result["notes"].items():
            version = result["versions"].get(name, f"absent: {result['absent'].get(name)}")
            lines[name] = f"- {name} ({version}): {note}"
    lines_failed = [f"- failed: {line}" for result in results for line in harness.failures(result)]
    return [*lines.values(), *lines_failed]


if __name__ == "__main__":
    sys.exit(main())
