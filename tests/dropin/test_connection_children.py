"""Pipes between processes: ends that close or die, connections sent over connections."""

from __future__ import annotations

import multiprocessing.resource_sharer
import os
import signal
from typing import Any

import pytest

from .support import SOON, Crew

BIG = 3 << 20  # bytes: more than a pipe holds


# What children run.


def echo(conn: Any) -> None:
    """Send back all that comes, until the other end closes."""
    with conn:
        while True:
            try:
                conn.send(conn.recv())
            except EOFError:
                return


def send_all(conn: Any, items: list[Any]) -> None:
    for item in items:
        conn.send(item)
    conn.close()


def send_then_die(conn: Any, items: list[Any], how: str) -> None:
    for item in items:
        conn.send(item)
    if how == "close":
        conn.close()
        signal.pause()  # alive, but its end is closed
    elif how == "_exit":
        os._exit(3)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "raise":
        raise SystemExit(4)


def use_sent_connection(conn: Any) -> None:
    """Take a connection out of a connection and greet through it."""
    other = conn.recv()
    other.send("hello from afar")
    assert conn.recv() == "done"
    other.close()


def add_numbers(conn: Any, other: Any) -> None:
    total = 0
    while conn.poll(SOON):
        number = conn.recv()
        if number is None:
            break
        total += number
    other.send(total)


def test_echo(ctx: Any, crew: Crew) -> None:
    mine, theirs = ctx.Pipe()
    crew.start(echo, theirs)
    theirs.close()
    for item in ([42, None, "hello"], b"", b"x" * BIG, 2**70, {"a": [1]}):
        mine.send(item)
        assert mine.recv() == item
    mine.send_bytes(b"")  # no pickle at all
    with pytest.raises(EOFError):  # the child fails on it, which closes its end
        mine.recv()
    crew.join(exitcode=None)


def test_a_child_sees_the_end(ctx: Any, crew: Crew) -> None:
    mine, theirs = ctx.Pipe()
    crew.start(echo, theirs)
    theirs.close()
    mine.send(1)
    assert mine.recv() == 1
    if ctx.get_start_method() == "fork":
        return  # a forked child holds `mine` as well, so it never sees its end: that is fork
    mine.close()
    crew.join()


def test_simplex_between_processes(ctx: Any, crew: Crew) -> None:
    reader, writer = ctx.Pipe(duplex=False)
    crew.start(send_all, writer, list(range(2000)))
    writer.close()
    assert [reader.recv() for _ in range(2000)] == list(range(2000))
    with pytest.raises(EOFError):
        reader.recv()
    crew.join()


def test_a_full_pipe_blocks_until_it_is_read(mp: Any, crew: Crew) -> None:
    reader, writer = mp.Pipe(duplex=False)
    items = [b"%d" % n * 100_000 for n in range(10)] * 10
    crew.start(send_all, writer, items)
    writer.close()
    assert [reader.recv() for _ in items] == items
    crew.join()


@pytest.mark.parametrize("how", ["close", "_exit", "kill", "raise"])
def test_the_end_however_the_peer_ends(ctx: Any, crew: Crew, how: str) -> None:
    mine, theirs = ctx.Pipe()
    child = crew.start(send_then_die, theirs, ["a", "b" * 10_000], how)
    theirs.close()
    assert mine.recv() == "a"
    assert mine.recv() == "b" * 10_000
    with pytest.raises((EOFError, ConnectionResetError)):
        mine.recv()
    with pytest.raises(BrokenPipeError):
        mine.send("into the void")
    if how == "close":
        crew.kill(child)
    crew.join(exitcode={"_exit": 3, "raise": 4}.get(how, -signal.SIGKILL))


def test_a_holder_in_another_process_keeps_it_open(mp: Any, crew: Crew) -> None:
    mine, theirs = mp.Pipe()
    first = crew.start(echo, theirs)
    second = crew.start(echo, theirs)
    theirs.close()
    crew.kill(first)
    mine.send("anyone?")
    assert mine.poll(SOON)
    assert mine.recv() == "anyone?"
    crew.kill(second)
    with pytest.raises((EOFError, ConnectionResetError)):
        mine.recv()


def test_a_connection_over_a_connection(ctx: Any, crew: Crew) -> None:
    mine, theirs = ctx.Pipe()
    near, far = ctx.Pipe()
    crew.start(use_sent_connection, theirs)
    mine.send(far)
    assert near.poll(SOON)
    assert near.recv() == "hello from afar"
    far.close()
    mine.send("done")
    crew.join()
    with pytest.raises(EOFError):
        near.recv()
    multiprocessing.resource_sharer.stop(SOON)  # the thread by which multiprocessing sends them


def test_many_connections(mp: Any, crew: Crew) -> None:
    pairs = [mp.Pipe() for _ in range(5)]
    answers, say = mp.Pipe(duplex=False)
    for _, theirs in pairs:
        crew.start(add_numbers, theirs, say)
    for number in range(100):
        for mine, _ in pairs:
            mine.send(number)
    for mine, _ in pairs:
        mine.send(None)
    assert [answers.recv() for _ in pairs] == [4950] * 5
    crew.join()
