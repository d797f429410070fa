"""The station of a real job: words counted by workers, and the same program on multiprocessing."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import interproc
from interproc.cli.tour.station import Bar, Bars, Stage, Station, shortened

LINES = 20  # of source in a message: some 80 words
ROUNDS = 3  # runs of each module, in turn
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
Tick = Callable[[], None]
WORD = re.compile(r"[^\W\d]\w*")


def worker(paths: Any, counts: Any) -> None:
    while (path := paths.get()) is not None:
        for words in count_file(path):
            counts.put(words)
    counts.put(None)


def count_words(
    mp: ModuleType, files: list[str], workers: int, tick: Tick
) -> Counter[str]:
    paths, counts = mp.Queue(), mp.Queue()
    processes = [
        mp.Process(target=worker, args=(paths, counts))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    for path in [*files, *[None] * workers]:
        paths.put(path)
    total: Counter[str] = Counter()
    for _ in processes:
        while (words := counts.get()) is not None:
            total.update(words)
            tick()
    for process in processes:
        process.join()
    return total


def count_file(path: str) -> Iterator[dict[str, int]]:
    """How often each word stands in each LINES lines of a file."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        while block := "".join(itertools.islice(lines, LINES)):
            yield dict(Counter(WORD.findall(block)))


def source_files() -> list[str]:
    """The standard library's Python files, without its tests and without what is installed beside it."""
    found: list[str] = []
    for folder, folders, names in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        found += [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
    return found


def count_alone(stage: Stage, files: list[str]) -> tuple[Counter[str], int]:
    """The counts by one process, and how many messages they make; the page cache has the files from then."""
    total: Counter[str] = Counter()
    messages = 0
    for done, path in enumerate(files):
        for words in count_file(path):
            total.update(words)
            messages += 1
        stage.progress(done / len(files), "counting in a single process")
    return total, messages


def ticker(stage: Stage, messages: int, doing: str) -> Tick:
    """What a run calls for each message, to say how far it is."""
    got = itertools.count(1)
    return lambda: stage.progress(next(got) / messages, doing)


def race(
    stage: Stage, files: list[str], messages: int
) -> tuple[dict[str, list[float]], dict[str, list[Counter[str]]]]:
    """The seconds and the counts of ROUNDS runs of each module, in turn, each first in every other round."""
    modules = (interproc, multiprocessing)
    seconds: dict[str, list[float]] = {module.__name__: [] for module in modules}
    totals: dict[str, list[Counter[str]]] = {module.__name__: [] for module in modules}
    for turn in range(ROUNDS):
        for module in modules if turn % 2 == 0 else reversed(modules):
            tick = ticker(stage, messages, f"{module.__name__}, run {turn + 1} of {ROUNDS}")
            started = time.perf_counter()
            total = count_words(module, files, stage.workers, tick)
            seconds[module.__name__].append(time.perf_counter() - started)
            totals[module.__name__].append(total)
    return seconds, totals


def check(stage: Stage, name: str, totals: list[Counter[str]], expected: Counter[str]) -> None:
    """Check that each run counted what a single process did."""
    wrong = next((total for total in totals if total != expected), expected)
    stage.judge(
        f"{name} counted what a single process counts",
        wrong == expected,
        f"{wrong.total():,} words; too many: {shortened(dict(wrong - expected))}",
        f"{expected.total():,} words; too few: {shortened(dict(expected - wrong))}",
    )


def run(stage: Stage) -> None:
    files = source_files()
    expected, messages = count_alone(stage, files)
    seconds, totals = race(stage, files, messages)
    fastest = {name: min(runs) for name, runs in seconds.items()}  # what else the machine does only adds
    ratio = fastest["multiprocessing"] / fastest["interproc"]
    found = f"{len(files)} files"
    stage.judge("the standard library's sources were found", len(files) > 100, found, "over 100 files")
    for name in seconds:
        check(stage, name, totals[name], expected)

    stage.say(f"{len(files):,} files, {expected.total():,} words; {stage.workers} workers")
    stage.say(f"{messages:,} messages, each with the counts of {LINES} lines")
    bars = tuple(Bar(name, value, f"{value:.2f} s") for name, value in fastest.items())
    stage.say(Bars(f"Start to end, the fastest of {ROUNDS} runs each, in turn", bars))
    stage.say(f"interproc is {ratio:.2f} times as fast as multiprocessing at this")
    top = expected.most_common(10)
    stage.say(Bars("The ten most frequent words", tuple(Bar(word, n, f"{n:,}") for word, n in top)))
    stage.report.figures = {
        "files": len(files),
        "words": expected.total(),
        "messages": messages,
        "workers": stage.workers,
        "seconds": seconds,
        "fastest_seconds": fastest,
        "ratio": ratio,
        "most_frequent": top,
    }


STATION = Station(
    number=90,
    name="word_count",
    title="A real job",
    point="The words of the standard library's sources, counted by workers: file names go out on one queue, "
    "counts come back on another. The same program then runs on multiprocessing.",
    code=(worker, count_words),
    run=run,
    limit=240.0,
)
