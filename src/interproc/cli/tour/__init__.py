"""See processes talk: a guided run through what interproc does, in which every result is checked."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from types import FrameType

from interproc.cli.tour.show import Show, Trip, choose_show
from interproc.cli.tour.station import Report, Station, choose, discover
from interproc.cli.tour.supervise import run_station

NAME = "tour"
HELP = "see processes talk: a guided run, in which every result is checked"
START_METHODS = ("fork", "spawn", "forkserver")
MOST_WORKERS = 64


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `interproc tour`."""
    parser.add_argument("stations", nargs="*", metavar="STATION", help="stop at these only; all unless given")
    parser.add_argument("--list", action="store_true", help="say which stations there are, and stop")
    parser.add_argument("--json", action="store_true", help="print one JSON document, and nothing else")
    parser.add_argument(
        "--workers",
        type=_workers,
        default=_usual_workers(),
        metavar="N",
        help="of the real job (default: %(default)s)",
    )
    parser.add_argument(
        "--start-method",
        choices=START_METHODS,
        default="fork",
        help="how processes start (default: %(default)s)",
    )
    parser.epilog = "Exit code: 0 when every result was right, 1 when one was not, 130 after Ctrl-C."


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Make the tour; returns 0 if all went right, 1 if not, and 128 + its number after a signal."""
    if arguments.list:
        for station in discover():
            print(f"{station.name:<12}  {station.title}")
        return 0
    try:
        chosen = choose(discover(), arguments.stations)
    except ValueError as error:
        parser.error(str(error))
    trip = Trip(
        start_method=arguments.start_method,
        workers=arguments.workers,
        python=platform.python_version(),
        cores=len(os.sched_getaffinity(0)),
    )
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return make_tour(chosen, trip, choose_show(arguments.json, sys.stdout, os.environ))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except _Terminated:
        return 128 + signal.SIGTERM
    except BrokenPipeError:  # whoever read the output has stopped, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        return 128 + signal.SIGPIPE
    finally:
        signal.signal(signal.SIGTERM, before)


def make_tour(chosen: list[Station], trip: Trip, show: Show) -> int:
    """Stop at each of the stations; returns the exit code, and says on stderr which results were wrong."""
    results: list[tuple[Station, Report]] = []
    started = time.monotonic()
    with show:
        show.begin(trip, chosen)
        for place, station in enumerate(chosen, 1):
            show.arrive(place, station)
            report = run_station(station, trip.workers, trip.start_method, show.tick)
            show.leave(station, report)
            results.append((station, report))
        show.end(results, time.monotonic() - started)
    for station, report in results:
        for fault in report.faults():
            print(f"interproc tour: station {station.name}: {fault}", file=sys.stderr)
    return 0 if all(report.ok for _, report in results) else 1


class _Terminated(BaseException):
    """SIGTERM came."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _usual_workers() -> int:
    return min(max(2, len(os.sched_getaffinity(0))), 8)


def _workers(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers from 1 to {MOST_WORKERS}")
    return number
