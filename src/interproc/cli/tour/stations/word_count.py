"""The station of a real job: words counted by workers, and the same program on multiprocessing."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import re
import resource
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import interproc
from interproc.cli.tour.station import Bar, Bars, Stage, Station, shortened

LINES = 20  # of source in a message: some 80 words
ROUNDS = 3  # runs of each way to count, in turn
ALONE = "one process"
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
Tick = Callable[[], object]
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


def count_alone(files: list[str], tick: Tick) -> Counter[str]:
    """The same work by one process, that talks to nobody."""
    total: Counter[str] = Counter()
    for path in files:
        for words in count_file(path):
            total.update(words)
            tick()
    return total


@dataclass
class Run:
    """What came of one way to count, and what it took."""

    total: Counter[str]
    seconds: float  # start to end
    processor_seconds: float  # of all its processes together


def processor_seconds() -> float:
    """Of this process and of the children that it has waited for, so far."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))


def timed(count: Callable[[Tick], Counter[str]], tick: Tick) -> Run:
    gc.collect()
    before, started = processor_seconds(), time.perf_counter()
    total = count(tick)
    return Run(total, time.perf_counter() - started, processor_seconds() - before)


def ticker(stage: Stage, messages: int, doing: str) -> Tick:
    """What a run calls for each message, to say how far it is."""
    got = itertools.count(1)
    return lambda: stage.progress(next(got) / messages, doing)


def race(stage: Stage, files: list[str], messages: int) -> dict[str, list[Run]]:
    """ROUNDS runs of each way to count, in turn; every other round begins with the last of them."""
    ways: dict[str, Callable[[Tick], Counter[str]]] = {
        ALONE: lambda tick: count_alone(files, tick),
        interproc.__name__: lambda tick: count_words(interproc, files, stage.workers, tick),
        multiprocessing.__name__: lambda tick: count_words(multiprocessing, files, stage.workers, tick),
    }
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for turn in range(ROUNDS):
        for name in ways if turn % 2 == 0 else reversed(ways):
            tick = ticker(stage, messages, f"{name}, run {turn + 1} of {ROUNDS}")
            runs[name].append(timed(ways[name], tick))
    return runs


def check(stage: Stage, name: str, totals: list[Counter[str]], expected: Counter[str]) -> None:
    """Check that each run counted what a single process did."""
    wrong = next((total for total in totals if total != expected), expected)
    stage.judge(
        f"{name} counted what a single process counts",
        wrong == expected,
        f"{wrong.total():,} words; too many: {shortened(dict(wrong - expected))}",
        f"{expected.total():,} words; too few: {shortened(dict(expected - wrong))}",
    )


def compare(stage: Stage, runs: dict[str, list[Run]]) -> None:
    """Show and keep what the runs took; of each the least, since what else the machine does only adds."""
    seconds = {name: [run.seconds for run in of] for name, of in runs.items()}
    processor = {name: [run.processor_seconds for run in of] for name, of in runs.items()}
    fastest = {name: min(times) for name, times in seconds.items()}
    least = {name: min(times) for name, times in processor.items()}

    def bars(title: str, values: dict[str, float]) -> Bars:
        ours = interproc.__name__
        return Bars(title, tuple(Bar(name, s, f"{s:.2f} s", name == ours) for name, s in values.items()))

    ratio = fastest["multiprocessing"] / fastest["interproc"]
    talking = {name: least[name] - least[ALONE] for name in ("interproc", "multiprocessing")}
    stage.say(bars(f"Start to end, the fastest of {ROUNDS} runs each, in turn", fastest))
    stage.say(f"multiprocessing takes {ratio:.2f} times as long as interproc.")
    stage.say(bars("Processor time, of all processes together", least))
    stage.say("For talking: " + ", ".join(f"{name} {s:.2f} s" for name, s in talking.items()) + ".")
    stage.report.figures |= {
        "seconds": seconds,
        "fastest_seconds": fastest,
        "processor_seconds": processor,
        "least_processor_seconds": least,
        "ratio": ratio,
    }


def run(stage: Stage) -> None:
    files = source_files()
    blocks = itertools.count()
    stage.progress(0.0, "reading the files")
    expected = count_alone(files, lambda: next(blocks))  # from here on, they are in memory
    messages = next(blocks)
    top = expected.most_common(10)
    stage.report.figures = {
        "files": len(files),
        "words": expected.total(),
        "messages": messages,
        "workers": stage.workers,
        "most_frequent": top,
    }
    runs = race(stage, files, messages)
    stage.judge("the sources were found", len(files) > 100, f"{len(files)} files", "over 100 files")
    for name in ("interproc", "multiprocessing"):
        check(stage, name, [run.total for run in runs[name]], expected)
    stage.say(f"{len(files):,} files, {expected.total():,} words; {stage.workers} workers")
    stage.say(f"{messages:,} messages, each with the counts of {LINES} lines")
    compare(stage, runs)
    bars = tuple(Bar(word, n, f"{n:,}", word == top[0][0]) for word, n in top)
    stage.say(Bars("The ten most frequent words", bars))


STATION = Station(
    number=90,
    name="word_count",
    title="A real job",
    point="The words of the standard library's sources, counted by workers: file names go out on one queue, "
    "counts come back on another. The same program runs on multiprocessing, and the "
    "same work is done by a single process that talks to nobody.",
    code=(worker, count_words),
    run=run,
    limit=240.0,
)
