"""The other end of a pipe dies: what was sent is still read, then comes the end, at once, for all."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import threading
import time
from typing import Any

import pytest
from dropin.support import SOON, Crew

import interproc as mp

from .support import at_once, forked, status_of

WAYS = ["close", "kill", "_exit", "exit", "exec"]


def send_and_end(conn: Any, count: int, how: str, go: Any) -> None:
    for number in range(count):
        conn.send((number, b"x" * 5000))
    assert go.acquire(timeout=SOON)
    if how == "close":
        conn.close()
        signal.pause()
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "_exit":
        os._exit(0)
    elif how == "exec":
        os.execv("/bin/sleep", ["sleep", "30"])


def hold(conn: Any, ready: Any) -> None:
    ready.release()
    signal.pause()


@pytest.mark.parametrize("duplex", [True, False])
@pytest.mark.parametrize("how", WAYS)
def test_a_blocked_reader_sees_the_end(crew: Crew, how: str, duplex: bool) -> None:
    reader, writer = mp.Pipe(duplex)
    go = mp.Semaphore(0)
    child = crew.start(send_and_end, writer, 10, how, go)
    writer.close()
    for number in range(10):
        assert reader.recv() == (number, b"x" * 5000)
    assert not reader.poll(0.05)
    timer = threading.Timer(0.05, go.release)  # so that it happens while recv() waits
    timer.start()
    with at_once("the end of file"), pytest.raises(EOFError):
        reader.recv()
    timer.join()
    if duplex:
        with pytest.raises(BrokenPipeError):
            reader.send(1)
    assert reader.poll() is True
    if how in ("close", "exec"):
        crew.kill(child)


@pytest.mark.parametrize("how", ["close", "kill", "_exit", "exit"])
def test_what_was_sent_comes_before_the_end(crew: Crew, how: str) -> None:
    reader, writer = mp.Pipe(duplex=False)
    go = mp.Semaphore(1)
    child = crew.start(send_and_end, writer, 10, how, go)
    writer.close()
    if how != "close":
        child.join(SOON)  # it is gone before anything is read
    for number in range(10):
        assert reader.recv() == (number, b"x" * 5000)
    with at_once("the end of file"), pytest.raises(EOFError):
        reader.recv()


@pytest.mark.parametrize("way", ["poll", "wait", "recv_bytes", "recv_bytes_into"])
def test_every_way_of_reading_wakes(crew: Crew, way: str) -> None:
    reader, writer = mp.Pipe(duplex=False)
    ready = mp.Semaphore(0)
    child = crew.start(hold, writer, ready)
    writer.close()
    assert ready.acquire(timeout=SOON)
    timer = threading.Timer(0.05, os.kill, (child.pid, signal.SIGKILL))
    timer.start()
    with at_once(way):
        if way == "poll":
            assert reader.poll(SOON) is True
        elif way == "wait":
            assert multiprocessing.connection.wait([reader], SOON) == [reader]
        else:
            with pytest.raises(EOFError):
                reader.recv_bytes() if way == "recv_bytes" else reader.recv_bytes_into(bytearray(10))
    timer.join()
    with pytest.raises(EOFError):
        reader.recv()


def test_a_blocked_sender_sees_a_broken_pipe(crew: Crew) -> None:
    reader, writer = mp.Pipe(duplex=False)
    ready = mp.Semaphore(0)
    child = crew.start(hold, reader, ready)
    reader.close()
    assert ready.acquire(timeout=SOON)
    timer = threading.Timer(0.3, os.kill, (child.pid, signal.SIGKILL))
    timer.start()
    with at_once("the broken pipe", 20), pytest.raises(BrokenPipeError):
        while True:  # until it is full, then it blocks
            writer.send(b"x" * 100_000)
    timer.join()
    for attempt in (lambda: writer.send(1), lambda: writer.send_bytes(b"1")):
        with at_once("the next one"), pytest.raises(BrokenPipeError):
            attempt()


def test_the_end_comes_with_the_last_holder(crew: Crew) -> None:
    reader, writer = mp.Pipe(duplex=False)
    ready = mp.Semaphore(0)
    children = [crew.start(hold, writer, ready) for _ in range(3)]
    writer.close()
    for _ in children:
        assert ready.acquire(timeout=SOON)
    for process in children[:2]:
        crew.kill(process)
        assert not reader.poll(0.3)
    crew.kill(children[2])
    with at_once("the end of file"), pytest.raises(EOFError):
        reader.recv()


def test_a_zombie_holds_nothing(crew: Crew) -> None:
    """A process that is dead but not waited for is dead."""
    reader, writer = mp.Pipe(duplex=False)
    pid = forked(lambda: os._exit(0))
    writer.close()
    time.sleep(0)
    with at_once("the end of file"), pytest.raises(EOFError):
        reader.recv()
    assert status_of(pid) == 0


def test_a_grandchild_that_outlives_its_parent_holds_on() -> None:
    reader, writer = mp.Pipe(duplex=False)
    pids, tell = mp.Pipe(duplex=False)
    child = forked(lambda: fork_and_leave(writer, tell))
    writer.close()
    tell.close()
    grandchild = pids.recv()
    assert status_of(child) == 0
    try:
        assert reader.recv() == "from the grandchild"
        assert not reader.poll(0.3)
    finally:
        os.kill(grandchild, signal.SIGKILL)
    with at_once("the end of file"), pytest.raises(EOFError):
        reader.recv()


def fork_and_leave(conn: Any, tell: Any) -> None:
    pid = os.fork()
    if pid:
        tell.send(pid)
        os._exit(0)
    signal.alarm(40)
    tell.close()
    conn.send("from the grandchild")
    signal.pause()


def test_queues_have_no_end(crew: Crew) -> None:
    """A queue whose other holders have died is empty, not at an end: its timeout holds."""
    import queue

    q, ready = mp.Queue(), mp.Semaphore(0)
    child = crew.start(hold, q, ready)
    assert ready.acquire(timeout=SOON)
    crew.kill(child)
    with pytest.raises(queue.Empty):
        q.get(timeout=0.2)
    q.put(1)
    assert q.get(timeout=SOON) == 1
