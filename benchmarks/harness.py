"""Runs a suite: each round visits every peer, so what disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.adapters import Adapter, NotOffered
from benchmarks.machine import machine
from benchmarks.rows import Plan, Row, Suite

SUBJECT = "interproc"
ROUNDS = 7

Result = dict[str, Any]
T = TypeVar("T")
Say = Callable[[str], object]


def options(suite: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line that every script has."""
    about = f"Measure {suite} against its peers."
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{suite}", description=about)
    parser.add_argument("--rounds", type=int, help=f"rounds over all peers ({ROUNDS}; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the chart there")
    parser.add_argument(
        "--method", choices=("fork", "spawn", "forkserver"), default="fork", help="of starting"
    )
    parser.add_argument("--rows", default="", metavar="KEY,...", help="only these rows")
    parser.add_argument("--adapters", default="", metavar="NAME,...", help="only these peers")
    chosen = parser.parse_args(arguments)
    if chosen.rounds is None:
        chosen.rounds = 1 if chosen.quick else ROUNDS
    if chosen.rounds < 1:
        parser.error(f"--rounds {chosen.rounds}: at least one round is needed")
    return chosen


def say(text: str) -> None:
    """Tell how far it is, beside the table."""
    print(text, file=sys.stderr, flush=True)


def main(suite: Suite, arguments: Sequence[str] | None = None) -> int:
    """Run the suite as the command line says; 1 if a run of a peer failed, else 0."""
    chosen = options(suite.name, arguments)
    result = run(suite, chosen, say)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if chosen.svg:
        from benchmarks.chart import draw

        draw(result, chosen.svg)
    from benchmarks.table import show

    show(result)
    return 1 if failures(result) else 0


def run(suite: Suite, chosen: argparse.Namespace, tell: Say) -> Result:
    """Measure the chosen rows; the result is what `--json` writes.

    Raises:
        ValueError: no row, or no adapter, has a name that was asked for.
    """
    rows = _chosen(suite.rows, chosen.rows, lambda row: row.key, "row")
    seen = {adapter.name: adapter for row in rows for adapter in row.adapters}
    adapters = _chosen(tuple(seen.values()), chosen.adapters, lambda adapter: adapter.name, "adapter")
    absent = {adapter.name: why for adapter in adapters if (why := adapter.missing())}
    plan = Plan(chosen.method, chosen.quick)
    measured = []
    for row in rows:
        peers = [adapter for adapter in row.adapters if adapter in adapters]
        measured.append(_measure(row, peers, absent, plan, chosen.rounds, tell))
    return {
        "suite": suite.name,
        "title": suite.title,
        "method": chosen.method,
        "quick": chosen.quick,
        "rounds": chosen.rounds,
        "machine": machine(),
        "versions": {a.name: a.version() for a in adapters if a.name not in absent},
        "notes": {a.name: a.note for a in adapters},
        "absent": absent,
        "rows": measured,
    }


def failures(result: Result) -> list[str]:
    """One line for each peer whose run failed in a row."""
    return [
        f"{row['key']}: {name}: {figures['reason']}"
        for row in result["rows"]
        for name, figures in row["results"].items()
        if figures["status"] == "failed"
    ]


def _chosen(things: tuple[T, ...], names: str, name_of: Callable[[T], str], kind: str) -> list[T]:
    if not names:
        return list(things)
    by_name = {name_of(thing): thing for thing in things}
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        raise ValueError(f"no {kind} is named {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


def _measure(
    row: Row, adapters: list[Adapter], absent: dict[str, str], plan: Plan, rounds: int, tell: Say
) -> Result:
    rounds = min(rounds, row.max_rounds or rounds)
    results: dict[str, Result] = {}
    running: list[Adapter] = []
    for adapter in adapters:
        results[adapter.name] = {"status": "absent", "reason": absent.get(adapter.name, "")}
        if adapter.name not in absent:
            running.append(adapter)
            results[adapter.name] = {"status": "measured", "samples": [], "verified": 0, "detail": []}
    for number in range(-1, rounds):  # the round -1 compares every item in full, and is not timed
        order = running[number % len(running) :] + running[: number % len(running)] if running else []
        this = plan if number >= 0 else Plan(plan.method, plan.quick, thorough=True)
        for adapter in order:
            result = results[adapter.name]
            try:
                sample = row.measure(adapter, this)
            except NotOffered as why:
                results[adapter.name] = {"status": "not offered", "reason": str(why)}
                running.remove(adapter)
                continue
            except Exception as error:  # a peer that fails must not take the others' figures with it
                results[adapter.name] = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
                running.remove(adapter)
                tell(f"{row.key}: {adapter.name} failed: {error}")
                continue
            result["verified"] += sample.verified
            if number >= 0:
                result["samples"].append(sample.value)
                result["detail"].append(sample.detail)
        if number >= 0 and running:
            tell(f"{row.key}: round {number + 1} of {rounds}")
    _summarise(row, results)
    return {
        "key": row.key,
        "work": row.work,
        "unit": row.unit,
        "higher_is_better": row.higher_is_better,
        "baseline": row.baseline,
        "target": {
            "text": row.target.text,
            "ratio": row.target.ratio,
            "value": row.target.value,
            "ahead_of": list(row.target.ahead_of),
        },
        "results": results,
        "verdict": _verdict(row, results),
    }


def _summarise(row: Row, results: dict[str, Result]) -> None:
    """Add to each measured peer its median and spread, and the ratio to the baseline of the same round."""
    base = results.get(row.baseline, {}).get("samples", [])
    for result in results.values():
        if result["status"] != "measured":
            continue
        result.update(spread(result["samples"]))
        ratios = paired(row, result["samples"], base)
        result["ratio"] = spread(ratios) if ratios else None


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Median, least, greatest, and the quartiles (of three or more samples; else the extremes)."""
    quartiles = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 2 else None
    return {
        "median": statistics.median(samples),
        "min": min(samples),
        "max": max(samples),
        "q1": quartiles[0] if quartiles else min(samples),
        "q3": quartiles[2] if quartiles else max(samples),
    }


def paired(row: Row, mine: Iterable[float], theirs: Iterable[float]) -> list[float]:
    """The ratio of each round, in which both were measured one soon after the other."""
    return [ratio for a, b in zip(mine, theirs, strict=False) if (ratio := row.ratio(a, b)) is not None]


def _verdict(row: Row, results: dict[str, Result]) -> Result:
    """Whether interproc reached the row's target; None where there is none, or nothing to judge by."""
    target = row.target
    if target.ratio is None and target.value is None and not target.ahead_of:
        return {"reached": None, "text": "-"}
    mine = results.get(SUBJECT, {"status": "left out"})
    if mine["status"] != "measured":
        return {"reached": None, "text": f"interproc: {mine['status']}"}
    missed, unknown = [], []
    if target.ratio is not None:
        if mine["ratio"] is None:
            unknown.append(f"no ratio to {row.baseline}")
        elif mine["ratio"]["median"] < target.ratio:
            got = mine["ratio"]["median"]
            missed.append(f"{got:.2f}x of {target.ratio:g}x, {100 * (1 - got / target.ratio):.0f} % short")
    if target.value is not None and mine["median"] > target.value:
        over = mine["median"] - target.value
        missed.append(f"{mine['median']:.3g} {row.unit}".strip() + f", {over:.3g} more than the limit")
    for peer in target.ahead_of:
        if results.get(peer, {}).get("status") != "measured":
            unknown.append(f"{peer} was not measured")
            continue
        ratio = statistics.median(paired(row, mine["samples"], results[peer]["samples"]) or [math.nan])
        if not ratio > 1:
            missed.append(f"behind {peer}: {ratio:.2f}x of its speed")
    if missed:
        return {"reached": False, "text": "missed: " + "; ".join(missed + unknown)}
    if unknown:
        return {"reached": None, "text": "open: " + "; ".join(unknown)}
    return {"reached": True, "text": "reached"}
