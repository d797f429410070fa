"""The tour, run as its users run it: results, looks, exit codes, and that nothing is left behind."""

from __future__ import annotations

import dataclasses
import fcntl
import importlib
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import interproc as mp
from interproc.cli import main, tour
from interproc.cli.tour import show, supervise
from interproc.cli.tour.station import Stage, Station, choose, discover

TOUR = [sys.executable, "-m", "interproc", "tour"]
SMALL = ["queue", "pipe", "value_array"]
MANAGERS = ["manager_records", "namespace"]  # which start a server
CSP = ["csp_parallel", "csp_channels", "csp_sieve"]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PRINTED = {
    "queue": ["[42, None, 'hello']"],
    "pipe": ["[42, None, 'hello']", "six times seven is 42", "the child has gone"],
    "value_array": ["3.1415927", "[0, -1, -2, -3, -4, -5, -6, -7, -8, -9]"],
    "manager_records": [
        "A new record is added",
        "Name: Computers",
        "Score: 1",
        "Name: Histoty",
        "Score: 5",
        "Name: Hindi",
        "Score: 9",
        "Name: English",
        "Score: 3",
    ],
    "namespace": ["before Namespace(x=1, y=1)", "after Namespace(x=6, y=10)"],
    "csp_parallel": ["P1 exiting", "P2 exiting", "Terminating"],
    "csp_channels": [
        "[P1] ── questions ─▶ [P2] ── answers ─▶ [P1]",
        "1 squared is 1",
        "2 squared is 4",
        "3 squared is 9",
    ],
    "csp_sieve": [
        "[numbers] ── link 1 ─▶ [sieve 1] ── link 2 ─▶ [sieve 2]",
        "    ── link 3 ─▶ [sieve 3] ── link 4 ─▶ [sieve 4]",
        "    ── link 5 ─▶ [sieve 5] ── link 6 ─▶ [sieve 6]",
        "[sieve 1] [sieve 2] [sieve 3] [sieve 4] [sieve 5] [sieve 6]",
        "    ──▶ (primes) ──▶ [collect]",
        "2 3 5 7 11 13",
    ],
}


def printed(station: dict[str, Any]) -> list[str]:
    """What a station printed; of two processes that end at the same time, either may say so first."""
    lines: list[str] = station["printed"]
    return [*sorted(lines[:-1]), lines[-1]] if station["name"] == "csp_parallel" else lines


def run(*options: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    # Unbuffered, a line and its end are two writes, between which another process may come with its own.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    full = {**inherited, **(environment or {})}
    return subprocess.run([*TOUR, *options], capture_output=True, text=True, timeout=150, env=full)


def on_terminal(*options: str, columns: int, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit code of the tour on a terminal so wide, and all that it wrote to it."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    unwanted = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
    cleared = {name: value for name, value in os.environ.items() if name not in unwanted}
    process = subprocess.Popen(
        [*TOUR, *options],
        stdin=there,
        stdout=there,
        stderr=there,
        env={**cleared, "TERM": "xterm-256color", **(environment or {})},
    )
    os.close(there)
    written = b""
    while True:
        try:
            piece = os.read(here, 65536)
        except OSError:  # EIO: nobody holds the other side any more
            break
        if not piece:
            break
        written += piece
    os.close(here)
    return process.wait(30), written.decode()


def living_with(mark: str) -> list[int]:
    """The processes that have this text in their environment, and have not ended."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as environ, open(f"/proc/{name}/stat") as stat:
                if mark.encode() in environ.read() and stat.read().rpartition(")")[2].split()[0] not in "ZX":
                    found.append(int(name))
        except OSError:
            continue
    return found


def with_run(name: str, run: Callable[[Stage], None], limit: float = 30.0) -> list[Station]:
    """The small stations, one of them with something else to run."""
    return [
        dataclasses.replace(station, run=run, limit=limit) if station.name == name else station
        for station in choose(discover(), SMALL)
    ]


# --- what it finds


@pytest.mark.timeout(200)
def test_the_whole_tour_is_right_and_says_so_in_one_json_document() -> None:
    done = run("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    stations = {station["name"]: station for station in document["stations"]}
    assert list(stations) == [station.name for station in discover()]
    assert document["ok"] is True
    for name, station in stations.items():
        assert station["ok"] is True and station["error"] is None, station
        assert station["checks"] and all(check["ok"] for check in station["checks"]), station
        assert 0 < station["seconds"] < 180
        if name in PRINTED:
            assert printed(station) == PRINTED[name]

    assert stations["csp_parallel"]["figures"]["seconds"] >= 1

    job = stations["word_count"]["figures"]
    assert job["files"] > 400 and job["words"] > 500_000 and job["messages"] > job["files"]
    for took, least in (("seconds", "fastest_seconds"), ("processor_seconds", "least_processor_seconds")):
        assert {way: len(runs) for way, runs in job[took].items()} == dict.fromkeys(
            ("one process", "interproc", "multiprocessing"), 3
        )
        assert job[least] == {way: min(runs) for way, runs in job[took].items()}
        assert min(job[least].values()) > 0
    fastest = job["fastest_seconds"]
    assert job["ratio"] == pytest.approx(fastest["multiprocessing"] / fastest["interproc"])
    assert len(job["most_frequent"]) == 10 and job["most_frequent"][0][0] == "self"


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_each_start_method(start_method: str) -> None:
    done = run("--json", "--start-method", start_method, *SMALL, *MANAGERS, *CSP)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["start_method"] == start_method
    assert {station["name"]: printed(station) for station in document["stations"]} == PRINTED


# --- how it looks


def test_piped_it_is_plain_text_of_80_columns() -> None:
    done = run(*SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    for name in SMALL:
        for line in PRINTED[name]:
            assert f"  printed  {line}\n" in done.stdout
    for station in choose(discover(), SMALL):
        for line in station.source().splitlines():
            assert f"    {line}".rstrip() in done.stdout.splitlines()
    assert "Every result is right: 6 at 3 stations" in done.stdout


def test_on_a_narrow_code_page_it_is_still_readable() -> None:
    done = run("queue", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[42, None, 'hello']" in done.stdout


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_on_a_terminal_it_has_colours_and_keeps_to_its_width(columns: int) -> None:
    pytest.importorskip("rich")
    code, written = on_terminal(*SMALL, columns=columns)
    assert code == 0, written
    assert "\x1b[" in written
    lines = re.split(r"[\r\n]+", ESCAPE.sub("", written))
    assert max(map(len, lines)) <= min(columns, 80)
    assert "[42, None, 'hello']" in "\n".join(lines)
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h"), "the cursor stays hidden"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_escape_codes_gets_none(environment: dict[str, str]) -> None:
    code, written = on_terminal("queue", columns=80, environment=environment)
    assert code == 0, written
    assert "\x1b" not in written
    assert "[42, None, 'hello']" in written


def test_without_rich_it_is_plain_and_says_how_to_get_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(show, "find_spec", lambda name: None)
    out = Terminal()
    chosen = show.choose_show(False, out, {"TERM": "xterm"})
    assert isinstance(chosen, show.PlainShow)
    chosen.begin(show.Trip("fork", 2, "3.11", 2), discover())
    assert "python -m pip install 'interproc[tour]'" in out.getvalue()


# --- when something is wrong


def test_a_wrong_result_is_named_and_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    queue = importlib.import_module("interproc.cli.tour.stations.queue")
    monkeypatch.setattr(queue, "parent", lambda: [42, None, "hullo"])
    assert main(["tour", *SMALL]) == 1
    out, err = capfd.readouterr()
    assert err == (
        "interproc tour: station queue: the parent got what the child put: "
        "got [42, None, 'hullo'], expected [42, None, 'hello']\n"
    )
    assert "WRONG: the parent got what the child put" in out
    assert "Wrong: queue." in out and "Every result is right" not in out


def test_a_number_of_another_type_is_wrong() -> None:
    stage = Stage(1, lambda share, doing: None)
    stage.check("the same", 1, 1)
    assert stage.report.ok
    stage.check("equal, but not the same", 1.0, 1)
    assert not stage.report.ok


def test_the_real_job_finds_a_count_that_is_off_by_one() -> None:
    word_count = importlib.import_module("interproc.cli.tour.stations.word_count")
    right = word_count.Counter(a=3, b=1)
    stage = Stage(1, lambda share, doing: None)
    word_count.check(stage, "interproc", [right, word_count.Counter(a=3, b=1)], right)
    assert stage.report.ok
    word_count.check(stage, "interproc", [right, word_count.Counter(a=2, b=1)], right)
    assert not stage.report.ok
    assert "too few: {'a': 1}" in stage.report.faults()[0]


def crash(stage: Stage) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raise_an_error(stage: Stage) -> None:
    raise RuntimeError("no such luck")


def check_nothing(stage: Stage) -> None:
    print("all is well")


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def leave_a_child(stage: Stage) -> None:
    mp.Process(target=deaf).start()
    stage.check("one is one", 1, 1)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (crash, "its process ended without a result, with exit code -9"),
        (raise_an_error, "RuntimeError: no such luck"),
        (check_nothing, "the station checked no result"),
        (leave_a_child, "it left 1 of its processes running"),
    ],
)
def test_a_station_that_fails_is_named_and_the_others_run(
    fault: Callable[[Stage], None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tour, "discover", lambda: with_run("queue", fault))
    assert main(["tour", "--json"]) == 1
    out, err = capfd.readouterr()
    assert f"interproc tour: station queue: {said}" in err
    assert {s["name"]: s["ok"] for s in json.loads(out)["stations"]} == {
        "queue": False,
        "pipe": True,
        "value_array": True,
    }


def test_a_hang_becomes_an_error_and_its_processes_are_ended(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    here, there = os.pipe()

    def hang(stage: Stage) -> None:
        child = mp.Process(target=deaf)
        child.start()
        os.write(there, f"{os.getpid()} {child.pid}".encode())
        stage.progress(0.5, "waiting for ever")
        child.join()

    monkeypatch.setattr(supervise, "GRACE", 0.5)
    monkeypatch.setattr(tour, "discover", lambda: with_run("pipe", hang, limit=3.0))
    started = time.monotonic()
    assert main(["tour"]) == 1
    assert time.monotonic() - started < 20
    assert "station pipe: it did not end within 3 s while waiting for ever" in capfd.readouterr().err
    os.close(there)
    children = [int(pid) for pid in os.read(here, 100).split()]
    os.close(here)
    assert len(children) == 2
    for pid in children:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                assert stat.read().rpartition(")")[2].split()[0] in "ZX", f"process {pid} still runs"
        except OSError:
            pass  # gone, as it must be


# --- when it is stopped


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly_and_leaves_no_process(number: signal.Signals, start_method: str) -> None:
    mark = f"TOUR_MARK={uuid.uuid4()}"
    tour_process = subprocess.Popen(
        [*TOUR, "--start-method", start_method, "queue", "word_count"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **dict([mark.split("=")])},
    )
    try:
        until = time.monotonic() + 40
        while len(living_with(mark)) < 4:  # the tour, the station and its two workers
            assert tour_process.poll() is None and time.monotonic() < until, "the workers did not come"
            time.sleep(0.02)
        os.killpg(tour_process.pid, number)  # as a terminal does: to the group in the foreground
        _, err = tour_process.communicate(timeout=20)
    finally:
        tour_process.kill()
        tour_process.wait()
    assert tour_process.returncode == 128 + number
    assert err == ""
    assert living_with(mark) == []


def test_a_reader_that_stops_reading_ends_it_quietly() -> None:
    tour_process = subprocess.Popen(TOUR + SMALL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert tour_process.stdout is not None and tour_process.stderr is not None
    tour_process.stdout.close()
    assert tour_process.stderr.read() == ""
    tour_process.stderr.close()
    assert tour_process.wait(30) == 128 + signal.SIGPIPE


# --- the command line


def test_the_names_of_the_stations_are_those_of_their_files() -> None:
    found = discover()
    assert [station.name for station in found if station.name in SMALL] == SMALL
    assert len({station.number for station in found}) == len(found)
    for station in found:
        module = importlib.import_module(f"interproc.cli.tour.stations.{station.name}")
        assert module.STATION is station
        assert station.point.endswith(".")
        assert max(map(len, station.source().splitlines())) <= 75, "the code does not fit into its frame"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["tour", "elsewhere"], "no station is called elsewhere; there are queue, pipe, value_array"),
        (["tour", "--workers", "0"], "'0' is not a number of workers from 1 to 64"),
        (["tour", "--workers", "two"], "'two' is not a number of workers"),
        (["tour", "--start-method", "magic"], "invalid choice: 'magic'"),
        (["turn"], "invalid choice: 'turn'"),
    ],
)
def test_a_line_that_makes_no_sense(line: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(line)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_station_with_a_dash_and_the_order_of_the_tour() -> None:
    chosen = choose(discover(), ["value-array", "queue"])
    assert [station.name for station in chosen] == ["queue", "value_array"]


def test_the_version_the_list_and_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"interproc {version('interproc')}\n"
    assert main(["tour", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [s.name for s in discover()]
    assert main([]) == 0
    assert "tour" in capsys.readouterr().out


def test_whatever_a_station_prints_json_holds_it() -> None:
    def odd(stage: Stage) -> None:
        stage.check("text of any kind", "\udcff\x1b", "\udcff\x1b")
        print("\x1b[31m\udcff")

    station = with_run("queue", odd)[0]
    out = io.StringIO()
    with show.JsonShow(out) as shown:
        assert tour.make_tour([station], show.Trip("fork", 1, "3", 1), shown) == 0
    assert json.loads(out.getvalue())["stations"][0]["printed"] == ["\x1b[31m?"]
