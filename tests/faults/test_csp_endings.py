"""Programs and networks that are interrupted, and programs that end while what they have spawned runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.support import METHODS, SOON, sleeping, until

import interproc
from interproc.csp import (
    Channel,
    ChannelPoison,
    ChannelRetire,
    Parallel,
    Spawn,
    process,
)

from .support import AT_ONCE, at_once


@process
async def areceives(inp: Any) -> list[Any]:
    return [value async for value in inp]


@process
def waits(inp: Any) -> Any:
    return inp.recv()


@process
def hands_out_pid(out: Any) -> None:
    out.send(os.getpid())
    time.sleep(60)


@process
def naps(seconds: float = 60) -> None:
    time.sleep(seconds)


# ---- Ctrl-C ------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, os, signal, sys, time
from multiprocessing.util import Finalize
import interproc
from interproc.csp import Channel, Parallel, Sequence, Spawn, process

signal.alarm(40)

def tell_up():
    os.write(1, b"up\\n")  # in one piece, as print() does not

@process
def naps():
    tell_up()
    time.sleep(30)

@process
def waits(inp):
    tell_up()
    inp.recv()

@process
async def awaits(inp):
    tell_up()
    await inp.arecv()

@process
async def anaps():
    tell_up()
    await asyncio.sleep(30)

@process
def stubborn():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    tell_up()
    time.sleep(30)

@process
def nested():
    Parallel(naps(), naps.with_kind("process")())

@process
async def keeps(end):
    tell_up()
    await asyncio.sleep(30)

async def in_loop():
    await Parallel(naps(), anaps(), anaps())

def in_closed_loop():
    async def spawn():
        Spawn(anaps(), anaps(), naps())
        await asyncio.sleep(0.1)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(spawn())
    loop.close()

def spawned(*parts):
    Spawn(*parts).join()

def left_alone(*parts):
    handle = Spawn(*parts)
    time.sleep(30)

def main(mode):
    channel = Channel()
    keep = channel.writer()   # so that it is no deadlock
    inp = channel.reader
    thread = waits.with_kind("thread")
    if mode == "processes": Parallel(naps(), naps(), waits(inp()))
    elif mode == "threads": Parallel(thread(inp()), thread(inp()), naps())
    elif mode == "tasks": Parallel(awaits(inp()), anaps(), anaps())
    elif mode == "mixed": Parallel(awaits(inp()), naps(), thread(inp()))
    elif mode == "nested": Parallel(nested(), naps())
    elif mode == "async def in processes":
        Parallel(anaps.with_kind("process")(), awaits.with_kind("process")(inp()), naps())
    elif mode == "sequence": Sequence(Parallel.of(naps(), naps(), naps()), naps())
    elif mode == "in a loop": asyncio.run(in_loop())
    elif mode == "spawned": spawned(naps(), thread(inp()), naps())
    elif mode == "spawned tasks": spawned(naps(), anaps(), anaps())
    elif mode == "left alone": left_alone(naps(), thread(inp()), anaps())
    elif mode == "at its end": Spawn(naps(), anaps(), anaps())
    elif mode == "tasks at its end": Spawn(anaps(), anaps(), anaps())
    elif mode == "threads at its end": Spawn(thread(inp()), thread(inp()), keeps(keep))
    elif mode == "stubborn at its end": Spawn(stubborn(), naps(), naps())
    elif mode == "uncaught": left_alone(anaps(), anaps(), anaps())
    elif mode == "closed loop": in_closed_loop()
    elif mode == "stubborn": Parallel(stubborn(), naps(), naps())
    else: raise ValueError(mode)

if __name__ == "__main__":
    interproc.set_start_method(sys.argv[2])
    Finalize(None, lambda: os.write(1, b"ends\\n"), exitpriority=101)  # and waits for whom it has spawned
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        if sys.argv[1] == "uncaught":
            raise
        print("interrupted", flush=True)
"""

MODES = [
    "threads",
    "tasks",
    "nested",
    "async def in processes",
    "sequence",
    "in a loop",
    "spawned",
    "spawned tasks",
    "stubborn",
]
CASES = [(mode, "fork") for mode in MODES]
CASES += [(mode, method) for mode in ("processes", "mixed", "left alone") for method in METHODS]


@pytest.fixture
def program(tmp_path: Any) -> Iterator[Any]:
    """Starts the program in a process group of its own, as a shell does; waits until three are up.

    And, if that is to be so, the program at its end.
    """
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    started: list[subprocess.Popen[str]] = []

    def start(mode: str, method: str = "fork", ends: bool = False) -> subprocess.Popen[str]:
        run = subprocess.Popen(
            [sys.executable, str(path), mode, method],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(run)
        assert run.stdout is not None
        said = sorted(run.stdout.readline() for _ in range(3 + ends))
        assert said == ["ends\n"] * ends + ["up\n"] * 3
        return run

    yield start
    for run in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait(SOON)
        for pipe in (run.stdout, run.stderr):
            assert pipe is not None
            pipe.close()


def group_is_gone(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(("mode", "method"), CASES)
def test_ctrl_c_stops_the_network_once_and_quietly(program: Any, mode: str, method: str) -> None:
    run = program(mode, method)
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert (out, err) == ("interrupted\nends\n", "")
    # CPython ends by the signal after all if the interrupt came out of an exec() of text, as some imports do.
    assert run.returncode in (0, -signal.SIGINT)
    until(lambda: group_is_gone(run.pid), limit=10)


@pytest.mark.parametrize(
    "mode", ["at its end", "tasks at its end", "threads at its end", "stubborn at its end"]
)
def test_ctrl_c_ends_the_wait_for_whom_a_program_has_spawned(program: Any, mode: str) -> None:
    run = program(mode, ends=True)
    until(lambda: sleeping(run.pid))
    os.killpg(run.pid, signal.SIGINT)
    assert run.communicate(timeout=20) == ("", "")
    until(lambda: group_is_gone(run.pid), limit=10)


def test_a_program_that_ends_by_ctrl_c_stops_whom_it_has_spawned(program: Any) -> None:
    """They are tasks, which do not get it themselves."""
    run = program("uncaught")
    os.kill(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=20)
    assert (out, run.returncode) == ("ends\n", -signal.SIGINT)
    assert err.strip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1


def test_those_in_a_loop_that_was_closed_are_stopped_at_the_end(program: Any) -> None:
    run = program("closed loop")
    out, err = run.communicate(timeout=20)
    assert (out, run.returncode) == ("ends\n", 0), err
    until(lambda: group_is_gone(run.pid), limit=10)


def test_an_interrupt_of_the_starter_alone_stops_the_others(program: Any) -> None:
    """Not by Ctrl-C, which all get: those who wait are poisoned, the others terminated."""
    run = program("mixed")
    os.kill(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert (out, err, run.returncode) == ("interrupted\nends\n", "", 0)
    until(lambda: group_is_gone(run.pid), limit=10)


def test_twice_is_impatience(program: Any) -> None:
    run = program("stubborn")
    os.killpg(run.pid, signal.SIGINT)
    time.sleep(0.2)
    os.killpg(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert (out, err) == ("interrupted\nends\n", "")
    until(lambda: group_is_gone(run.pid), limit=10)


def test_one_process_that_is_interrupted_by_itself_has_failed(capfd: pytest.CaptureFixture[str]) -> None:
    pids = Channel[int]()
    inp = pids.reader()
    spawned = Spawn(hands_out_pid(pids.writer()))
    os.kill(inp.recv(SOON), signal.SIGINT)
    with pytest.raises(ExceptionGroup) as caught:
        spawned.join(SOON)
    assert "was interrupted (SIGINT)" in str(caught.value.exceptions[0])
    assert capfd.readouterr().err == ""


# ---- stopped otherwise -------------------------------------------------------------------------------------


class Alarm(Exception):
    pass


@pytest.mark.parametrize("tasks", [False, True])
def test_an_exception_of_a_signal_handler_stops_the_network(tasks: bool) -> None:
    def ring(number: int, frame: object) -> None:
        raise Alarm

    channel = Channel[int]()
    keep = channel.writer()
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Alarm):
            Parallel(
                waits(channel.reader()),
                waits.with_kind("thread")(channel.reader()),
                areceives(channel.reader()) if tasks else [],
                naps(),  # or all would wait for nothing that can come: a deadlock, found before the alarm
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    keep.retire()


def test_a_cancellation_stops_the_network() -> None:
    channel = Channel[int]()
    keep = channel.writer()
    ended: list[str] = []

    @process
    async def notes() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    @process(kind="thread")
    def waits_in_thread(inp: Any) -> None:
        try:
            inp.recv()
        finally:
            ended.append("thread")

    async def main() -> None:
        async with asyncio.timeout(0.2):
            await Parallel(waits(channel.reader()), waits_in_thread(channel.reader()), notes())

    with at_once("stopping", 3 * AT_ONCE), pytest.raises(TimeoutError):
        asyncio.run(main())
    assert sorted(ended) == ["task", "thread"]
    keep.retire()


def test_a_task_that_is_cancelled_has_failed() -> None:
    @process
    async def gives_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        Parallel(gives_up())
    assert "gives_up was cancelled" in str(caught.value.exceptions[0])


# ---- the end of a program ----------------------------------------------------------------------------------

ENDS = """
import sys, time
from interproc.csp import Channel, Parallel, Spawn, process

@process
def sends(out):
    for i in range(3):
        out.send(i)
        time.sleep(0.02)

@process
def shows(inp):
    for value in inp:
        print(value, flush=True)
    print("done", flush=True)

@process
async def ashows(inp):
    async for value in inp:
        print(value, flush=True)
    print("done", flush=True)

@process
def fails():
    raise ValueError("alone")

mode = sys.argv[1]
channel = Channel()
if mode == "they":
    Spawn(sends(channel.writer()), shows(channel.reader()))
elif mode == "failure":
    Spawn(fails())
elif mode == "joined failure":
    try:
        Spawn(fails()).join()
    except ExceptionGroup:
        print("caught", flush=True)
else:
    out = channel.writer()
    show = ashows if mode == "task" else shows.with_kind(mode.split()[0])
    Spawn(show(channel.reader()))
    out.send(7)
    if "failing" in mode:
        raise KeyError("main")
"""


def ending(mode: str) -> tuple[str, str, int]:
    done = subprocess.run([sys.executable, "-c", ENDS, mode], capture_output=True, text=True, timeout=40)
    return done.stdout, done.stderr, done.returncode


def test_a_program_waits_at_its_end_for_whom_it_has_spawned() -> None:
    assert ending("they") == ("0\n1\n2\ndone\n", "", 0)


@pytest.mark.parametrize("kind", ["process", "thread", "task"])
def test_a_program_that_ends_retires_its_ends(kind: str) -> None:
    assert ending(kind) == ("7\ndone\n", "", 0)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_program_that_fails_poisons_its_ends(kind: str) -> None:
    out, err, code = ending(f"{kind} failing")
    assert (out, code) == ("7\n", 1)
    assert err.strip().endswith("KeyError: 'main'")
    assert err.count("Traceback") == 1


def sends_and_ends(out: Any, error: BaseException | None) -> None:
    out.send(7)
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, ChannelRetire),
        (SystemExit(), ChannelRetire),
        (ValueError("as it is to"), ChannelPoison),
    ],
)
def test_a_process_that_is_in_no_network(error: BaseException | None, told: type[Exception]) -> None:
    """The ends that a Process has retire at its end, or are poisoned when it fails."""
    channel = Channel[int]()
    inp, out = channel.reader(), channel.writer()
    child = interproc.get_context("spawn").Process(target=sends_and_ends, args=(out, error))
    child.start()
    out.retire()
    assert inp.recv(SOON) == 7
    with pytest.raises(told):
        inp.recv(SOON)
    child.join(SOON)


def test_a_sentinel_is_open_until_those_have_ended_whom_a_program_waits_for_at_its_end() -> None:
    code = """
        import os
        from interproc.csp import Channel, Spawn, process

        @process
        def waits(inp): list(inp)

        channel = Channel()
        out = channel.writer()
        spawned = [Spawn(waits(channel.reader())) for _ in range(3)]  # the first rings before the last ends
        sentinels = [one.sentinel for one in spawned]
        1 / 0  # which ends the program, and then, by poison, whom it waits for
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=40
    )
    assert "ZeroDivisionError" in done.stderr
    assert "Bad file descriptor" not in done.stderr and "Exception in callback" not in done.stderr


def test_a_failure_that_nobody_joined_is_printed() -> None:
    out, err, code = ending("failure")
    assert (out, code) == ("", 0)
    assert "spawned, failed, and never joined" in err
    assert "ValueError: alone" in err
    assert ending("joined failure") == ("caught\n", "", 0)


# ---- what is told of it

PROMPT = """
import asyncio, os, signal, sys, threading, time, traceback
from interproc.csp import Parallel, Spawn, process

@process
async def anap(): await asyncio.sleep(60)

@process
def nap(): time.sleep(60)

def prods():
    "A thread that has the signal while another forks."
    ready.wait()
    signal.raise_signal(signal.SIGINT)
    gone.set()

def forked():
    ready.set()
    gone.wait()

def interrupts():
    "When the program waits at its end."
    waits = ""
    while "_finish_all" not in waits or "poll" not in waits:
        time.sleep(0.01)
        waits = "".join(traceback.format_stack(sys._current_frames()[threading.main_thread().ident]))
    os.killpg(0, signal.SIGINT)

ready, gone = threading.Event(), threading.Event()
what = sys.argv[1]
if what == "tasks":
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    Parallel(anap(), anap())
elif what == "in a fork":
    threading.Thread(target=prods, daemon=True).start()
    os.register_at_fork(after_in_parent=forked)
    Parallel(nap())
else:
    threading.Thread(target=interrupts, daemon=True).start()
    Spawn(nap())
"""


@pytest.mark.parametrize("what", ["tasks", "in a fork"])
def test_ctrl_c_is_told_of_once(what: str) -> None:
    """One traceback, of KeyboardInterrupt; also if it comes while a process is being forked."""
    done = subprocess.run(
        [sys.executable, "-c", PROMPT, what], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr.count("Traceback") == 1 and done.stderr.endswith("KeyboardInterrupt\n")
    assert "Exception ignored" not in done.stderr


def test_ctrl_c_at_the_end_of_a_program_is_quiet() -> None:
    """Of one that waits for those whom it has spawned."""
    done = subprocess.run(
        [sys.executable, "-c", PROMPT, "at the end"],
        capture_output=True,
        text=True,
        timeout=30,
        start_new_session=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
