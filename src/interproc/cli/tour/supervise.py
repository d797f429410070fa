"""Runs a station in a process group of its own, so that it can neither hang the tour nor leave a process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import interproc
from interproc.cli.tour.station import Report, Stage, Station

TICK = 0.1  # seconds between two looks, and two frames of the progress bar
Tick = Callable[[float, str], None]  # told the share that is done, 0 to 1, and what is being done
GRACE = 5.0  # seconds that a station's processes get to end once it has reported, and again once told to
# When a station is ended, multiprocessing's resource tracker cleans up for it, as it should, and complains.
TRACKER_WARNING = "ignore:resource_tracker:UserWarning"
STOPPING = {signal.SIGINT, signal.SIGTERM}


def run_station(
    station: Station, workers: int, start_method: str, tick: Tick = lambda share, doing: None
) -> Report:
    """Run a station, with `tick` called about ten times a second; whatever happens in it becomes its Report.

    The stage is forked, with multiprocessing's own Process, and reports through multiprocessing's own Pipe:
    what supervises must not depend on what is supervised.

    Raises:
        KeyboardInterrupt: on Ctrl-C; every process of the station has ended by then.
    """
    here, there = multiprocessing.Pipe(duplex=False)
    stage = multiprocessing.get_context("fork").Process(
        target=_on_stage, args=(station, workers, start_method, there), name=f"tour-{station.name}"
    )
    started = time.monotonic()
    try:
        with _signals_held():  # no moment in which a process runs and is not known
            stage.start()
            with contextlib.suppress(OSError):  # it did so itself
                os.setpgid(_pid(stage), _pid(stage))
        there.close()
        report = _listen(station, stage, here, tick, started + station.limit)
    finally:
        if stage.pid is not None:
            _end_group(stage)
        here.close()
    if report.error:
        report.seconds = time.monotonic() - started
    return report


def _listen(
    station: Station, stage: BaseProcess, here: Connection, tick: Tick, deadline: float
) -> Report:
    share, doing = 0.0, ""
    while time.monotonic() < deadline:
        tick(share, doing)
        if not here.poll(TICK):
            continue
        try:
            message = here.recv()
        except EOFError:
            stage.join(GRACE)
            return Report(error=f"its process ended without a result, with exit code {stage.exitcode}")
        if isinstance(message, Report):
            stage.join(GRACE)
            if stage.exitcode != 0 and message.error is None:
                code = stage.exitcode
                ended = "did not end" if code is None else f"ended with exit code {code}"
                message.error = f"its process {ended} after the result"
            return message
        share, doing = message
    at = f" while {doing}" if doing else ""
    return Report(error=f"it did not end within {station.limit:g} s{at}; its processes were ended")


def _on_stage(station: Station, workers: int, start_method: str, there: Connection) -> None:
    """In the station's process: run it and send its Report."""
    with contextlib.suppress(OSError):  # the parent was quicker
        os.setpgid(0, 0)
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), TRACKER_WARNING]))
    stage = Stage(workers, lambda share, doing: there.send((share, doing)))
    report = stage.report
    with _captured_output() as printed:
        started = time.perf_counter()
        try:
            interproc.set_start_method(start_method, force=True)
            multiprocessing.set_start_method(start_method, force=True)
            station.run(stage)
        except Exception as error:
            report.error = f"{type(error).__name__}: {error}"
            report.details = traceback.format_exc()
        report.seconds = time.perf_counter() - started
        left = multiprocessing.active_children()
        if left and report.error is None:
            report.error = f"it left {len(left)} of its processes running: {', '.join(p.name for p in left)}"
        for process in left:
            process.kill()
        report.printed = printed()
    there.send(report)


@contextlib.contextmanager
def _captured_output() -> Iterator[Callable[[], list[str]]]:
    """Collect what this process and its children print to the standard output, as lines."""
    with tempfile.TemporaryFile() as store:
        os.dup2(store.fileno(), 1)
        sys.stdout = open(1, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115

        def lines() -> list[str]:
            sys.stdout.flush()
            store.seek(0)
            return store.read().decode(errors="replace").splitlines()

        yield lines


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pid(process: BaseProcess) -> int:
    assert process.pid is not None, "the process was not started"
    return process.pid


def _end_group(stage: BaseProcess) -> None:
    """End every process of the station that still runs: first asked, since multiprocessing's resource tracker
    (which does not listen, and ends by itself) must clean up after those that went; then killed."""
    group = _pid(stage)
    with _signals_held():
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
                os.killpg(group, signal.SIGCONT)
            until = time.monotonic() + GRACE
            while _running(group) and time.monotonic() < until:
                time.sleep(0.02)
        stage.join(GRACE)


def _running(group: int) -> bool:
    """Whether a process of the group runs; one that has ended and was not waited for does not."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry.name}/stat") as stat:
                state, _, of_group = stat.read().rpartition(")")[2].split()[:3]
                if int(of_group) == group and state not in "ZX":
                    return True
    return False
