"""Processes that start others, by a network, by fork or exec, and die."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from dropin.support import SOON, until

from interproc.csp import (
    Channel,
    ChannelPoison,
    ChannelRetire,
    Parallel,
    ProcessKilled,
    Spawn,
    process,
)

from . import victims
from .support import AT_ONCE, at_once
from .victims import (
    LIMIT,
    alive,
    kill,
    told,
    victim,
    waiting,
)

method = victims.method  # a fixture

# ---- what starts others ------------------------------------------------------------------------------------


@process
def echoes(inp: Any, out: Any, pids: Any) -> None:
    signal.alarm(LIMIT)
    pids.send(os.getpid())
    for value in inp:
        out.send(value)


@process
def in_the_middle(inp: Any, out: Any, pids: Any) -> None:
    signal.alarm(LIMIT)
    between = Channel[int]("between")
    pids.send(os.getpid())
    Parallel(echoes(inp, between.writer(), pids), echoes(between.reader(), out, pids))


def test_one_that_runs_others_is_killed(method: str) -> None:
    """Its starter has its failure at once; its children are told, and end."""
    there, back, pids = Channel[int](), Channel[int](), Channel[int]()
    out, inp, tell = there.writer(), back.reader(), pids.reader()
    spawned = Spawn(in_the_middle(there.reader(), back.writer(), pids.writer()))
    children = [tell.recv(SOON) for _ in range(3)]
    out.send(1, SOON)
    assert inp.recv(SOON) == 1
    kill(spawned)
    with at_once("the failure"), pytest.raises(ExceptionGroup) as caught:
        spawned.join(SOON)
    assert isinstance(caught.value.exceptions[0], ProcessKilled)
    told(lambda: out.send(2, SOON))
    told(lambda: inp.recv(SOON))
    until(lambda: not any(map(alive, children)), "its children end", limit=10)


@process
def turns(inp: Any, out: Any, pids: Any) -> None:
    signal.alarm(LIMIT)
    pids.send(os.getpid())
    while True:
        out.send(inp.recv() + 1)


@process
def begins(out: Any, inp: Any, pids: Any) -> None:
    signal.alarm(LIMIT)
    out.send(1)
    turns.body(inp, out, pids)


@process
def runs_a_ring(pids: Any) -> None:
    signal.alarm(LIMIT)
    a, b = Channel[int](), Channel[int]()
    Parallel(turns(a.reader(), b.writer(), pids), begins(a.writer(), b.reader(), pids))


@process
def runs_another(pids: Any) -> None:
    signal.alarm(LIMIT)
    Parallel(runs_a_ring(pids))


@process
def spawns_a_ring(pids: Any) -> None:
    signal.alarm(LIMIT)
    a, b = Channel[int](), Channel[int]()
    Spawn(turns(a.reader(), b.writer(), pids))
    Spawn(begins(a.writer(), b.reader(), pids))
    time.sleep(LIMIT)


@pytest.mark.parametrize("starter", [runs_a_ring, runs_another, spawns_a_ring])
def test_a_network_ends_with_its_starter(starter: Any, method: str) -> None:
    """Also if it has started only those who have started the others, which wait for nothing but these."""
    pids = Channel[int]()
    tell = pids.reader()
    spawned = Spawn(starter(pids.writer()))
    children = [tell.recv(SOON) for _ in range(2)]
    time.sleep(0.05)  # until their starter has let go of their ends; else they are told
    kill(spawned)
    with pytest.raises(ExceptionGroup):
        spawned.join(SOON)
    try:
        until(lambda: not any(map(alive, children)), "its children end", limit=10)
    finally:
        for pid in filter(alive, children):
            os.kill(pid, signal.SIGKILL)


PROGRAM = """
import os, signal, sys, time
import interproc
from interproc.csp import Channel, Parallel, process

@process
def numbers(out):
    signal.alarm(40)
    os.write(1, b"%d\\n" % os.getpid())
    n = 0
    while True:
        out.send(n)
        n += 1

@process
def receives(inp):
    signal.alarm(40)
    os.write(1, b"%d\\n" % os.getpid())
    for value in inp:
        pass

if __name__ == "__main__":
    signal.alarm(40)
    interproc.set_start_method(sys.argv[1])
    a, b = Channel(), Channel()
    sink, source = receives.with_kind("thread"), numbers.with_kind("thread")
    Parallel(numbers(a.writer()), sink(a.reader()), receives(b.reader()), source(b.writer()))
"""


def test_a_program_is_killed_while_its_network_runs(tmp_path: Any, method: str) -> None:
    """Whoever communicates with it is told."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, str(path), method], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        pids = {int(run.stdout.readline()) for _ in range(4)} - {run.pid}
        assert len(pids) == 2
        run.kill()
    until(lambda: not any(map(alive, pids)), "its children end", limit=10)


# ---- fork and exec within a process ------------------------------------------------------------------------


@process
def forks(inp: Any, out: Any) -> int:
    """Its child ends at once, and takes nothing with it."""
    signal.alarm(LIMIT)
    for value in inp:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        out.send(value)
    return os.getpid()


def test_a_process_that_forks_keeps_its_ends(method: str) -> None:
    there, back = Channel[int](), Channel[int]()
    out, inp = there.writer(), back.reader()
    spawned = Spawn(forks(there.reader(), back.writer()))
    for n in range(5):
        out.send(n, SOON)
        assert inp.recv(SOON) == n
    out.retire()
    assert spawned.result(SOON) == spawned.pid
    told(lambda: inp.recv(SOON), ChannelRetire)


@process
def forks_and_is_killed(inp: Any, pids: Any) -> None:
    signal.alarm(LIMIT)
    pid = os.fork()
    if pid == 0:
        signal.alarm(LIMIT)
        time.sleep(LIMIT)
        os._exit(0)
    pids.send(pid)
    inp.recv()


def test_the_child_of_a_process_that_is_killed_keeps_nothing_alive(method: str) -> None:
    """Whatever descriptors it has inherited."""
    channel, pids = Channel[int](), Channel[int]()
    out, tell = channel.writer(), pids.reader()
    with victim(forks_and_is_killed(channel.reader(), pids.writer())) as spawned:
        child = tell.recv(SOON)
        waiting(channel, readers=1)
        kill(spawned)
        try:
            with at_once("the answer"), contextlib.suppress(ChannelPoison):
                out.send(1, SOON)
            told(lambda: out.send(2, SOON))
        finally:
            os.kill(child, signal.SIGKILL)


@process
def execs(inp: Any, ready: Any) -> None:
    signal.alarm(LIMIT)
    ready.send(None)
    os.execv(sys.executable, [sys.executable, "-c", f"import time; time.sleep({LIMIT})"])


def test_a_process_that_execs_has_left(method: str) -> None:
    """As if it had died, though its pid lives."""
    channel, ready = Channel[int](), Channel[None]()
    out, tell = channel.writer(), ready.reader()
    with victim(execs(channel.reader(), ready.writer())) as spawned:
        tell.recv(SOON)
        with at_once("poison", 2 * AT_ONCE), pytest.raises(ChannelPoison):
            out.send(1, SOON)
        kill(spawned)


@process
def runs_a_program(out: Any) -> None:
    signal.alarm(LIMIT)
    out.send(subprocess.run(["/bin/sh", "-c", "echo hello"], capture_output=True, check=True).stdout)


def test_a_process_may_run_programs(method: str) -> None:
    channel = Channel[bytes]()
    inp = channel.reader()
    spawned = Spawn(runs_a_program(channel.writer()))
    assert inp.recv(SOON) == b"hello\n"
    spawned.join(SOON)
