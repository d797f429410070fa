"""multiprocessing.connection.wait, and selectors, on connections, queues and the sentinels of processes."""

from __future__ import annotations

import importlib
import multiprocessing.connection
import os
import selectors
import signal
import socket
import threading
import time
from typing import Any

import pytest

from .support import NEVER, SOON, Crew, until


@pytest.fixture(params=["the standard wait", "the module's own wait"])
def wait(request: pytest.FixtureRequest, mp: Any) -> Any:
    """multiprocessing.connection.wait works on interproc's objects, and so does interproc.connection.wait."""
    if request.param == "the standard wait":
        return multiprocessing.connection.wait
    return importlib.import_module(f"{mp.__name__}.connection").wait


def send_and_stay(conn: Any, item: Any) -> None:
    conn.send(item)
    signal.pause()


def send_tagged(conn: Any, tag: int, count: int) -> None:
    for number in range(count):
        conn.send((tag, number))
    conn.close()


def obey(conn: Any) -> None:
    """End when told to."""
    conn.recv()


def put_one(q: Any, item: Any) -> None:
    q.put(item)


def test_nothing_ready(mp: Any, wait: Any) -> None:
    a, b = mp.Pipe()
    assert wait([a, b], 0) == []
    assert wait([a, b], timeout=NEVER) == []
    assert wait([a, b], timeout=-1) == []
    assert wait([], timeout=0) == []
    start = time.monotonic()
    assert wait([a], timeout=0.25) == []
    assert time.monotonic() - start >= 0.25


def test_one_ready(mp: Any, wait: Any) -> None:
    a, b = mp.Pipe()
    c, d = mp.Pipe()
    a.send(1)
    assert wait([b, d], SOON) == [b]
    assert wait([b, d]) == [b]  # waiting takes nothing away
    assert b.recv() == 1
    assert wait([b, d], 0) == []
    c.send(2)
    assert wait([b, d], SOON) == [d]
    a.send(3)
    assert set(wait([b, d], SOON)) == {b, d}


def test_ready_again_and_again(mp: Any, wait: Any) -> None:
    """Ready is a state, not an event: it ends when the last message is taken, and comes back."""
    a, b = mp.Pipe()
    for _ in range(20):
        assert wait([b], 0) == []
        a.send(1)
        a.send(2)
        assert wait([b], SOON) == [b]
        assert b.recv() == 1
        assert wait([b], SOON) == [b]
        assert b.recv() == 2


def test_an_end_that_closed_is_ready(mp: Any, wait: Any) -> None:
    a, b = mp.Pipe()
    assert wait([b], 0) == []
    a.close()
    assert wait([b], SOON) == [b]
    with pytest.raises(EOFError):
        b.recv()


def test_it_is_woken(mp: Any, wait: Any) -> None:
    a, b = mp.Pipe()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(wait([b])), daemon=True)
    thread.start()
    a.send(1)
    thread.join(SOON)
    assert got == [b]


def test_with_other_things_that_have_a_fileno(mp: Any, wait: Any) -> None:
    a, b = mp.Pipe()
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    try:
        assert wait([b, right, reader], 0) == []
        left.send(b"x")
        assert wait([b, right, reader], SOON) == [right]
        os.write(writer, b"x")
        assert set(wait([b, right, reader], SOON)) == {right, reader}
        a.send(1)
        assert set(wait([b, right, reader], SOON)) == {b, right, reader}
    finally:
        for sock in (left, right):
            sock.close()
        os.close(reader)
        os.close(writer)


def test_sentinels(ctx: Any, crew: Crew) -> None:
    wait = multiprocessing.connection.wait
    ours, theirs = zip(*(ctx.Pipe() for _ in range(3)), strict=True)
    children = [crew.start(obey, conn) for conn in theirs]
    sentinels = [child.sentinel for child in children]
    assert wait(sentinels, NEVER) == []
    ours[1].send("end")
    assert wait(sentinels, SOON) == [sentinels[1]]
    crew.join(children[1])
    ours[0].send("end")
    ours[2].send("end")
    crew.join()
    until(lambda: set(wait(sentinels, 0)) == set(sentinels))


def test_connections_and_sentinels_together(mp: Any, wait: Any, crew: Crew) -> None:
    mine, theirs = mp.Pipe()
    child = crew.start(send_and_stay, theirs, "hi")
    theirs.close()
    assert wait([mine, child.sentinel], SOON) == [mine]
    assert mine.recv() == "hi"
    assert wait([mine, child.sentinel], NEVER) == []
    crew.kill(child)
    assert child.sentinel in wait([mine, child.sentinel], SOON)
    assert wait([mine], SOON) == [mine]  # its end is closed now
    with pytest.raises((EOFError, ConnectionResetError)):
        mine.recv()


def test_a_message_is_ready_before_the_end_of_its_sender(ctx: Any, crew: Crew) -> None:
    """Who answers and ends at once has answered first: concurrent.futures relies on it."""
    wait = multiprocessing.connection.wait
    for number in range(15):
        reader, writer = ctx.Pipe(duplex=False)
        child = crew.start(send_tagged, writer, number, 1)
        writer.close()
        assert reader in wait([reader, child.sentinel], SOON)
        assert reader.recv() == (number, 0)
        crew.join(child)


def test_collecting_from_many(ctx: Any, crew: Crew) -> None:
    """The documented use: read from whoever is ready until all have closed."""
    wait = multiprocessing.connection.wait
    readers = []
    for tag in range(4):
        reader, writer = ctx.Pipe(duplex=False)
        readers.append(reader)
        crew.start(send_tagged, writer, tag, 100)
        writer.close()
    got = []
    while readers:
        ready = wait(readers, SOON)
        assert ready, "nothing came, though not all have closed"
        for reader in ready:
            try:
                got.append(reader.recv())
            except EOFError:
                readers.remove(reader)
    assert sorted(got) == [(tag, number) for tag in range(4) for number in range(100)]
    crew.join()


def test_waiting_for_a_queue(ctx: Any, crew: Crew) -> None:
    """concurrent.futures and others wait on `_reader`."""
    wait = multiprocessing.connection.wait
    for q in (ctx.Queue(), ctx.SimpleQueue()):
        assert wait([q._reader], 0) == []
        crew.start(put_one, q, "item")
        assert wait([q._reader], SOON) == [q._reader]
        assert q.get() == "item"
        assert wait([q._reader], 0) == []
    crew.join()


@pytest.mark.parametrize("kind", ["SelectSelector", "PollSelector", "EpollSelector"])
def test_selectors(mp: Any, kind: str) -> None:
    a, b = mp.Pipe()
    c, d = mp.Pipe()
    with getattr(selectors, kind)() as selector:
        selector.register(b, selectors.EVENT_READ, "b")
        selector.register(d, selectors.EVENT_READ, "d")
        assert selector.select(0) == []
        for _ in range(3):
            a.send(1)
            assert [key.data for key, _ in selector.select(SOON)] == ["b"]
            assert b.recv() == 1
            assert selector.select(0) == []
        c.send(2)
        a.send(3)
        assert b.poll(SOON) and d.poll(SOON)
        assert {key.data for key, _ in selector.select(SOON)} == {"b", "d"}
        assert (b.recv(), d.recv()) == (3, 2)
        a.close()
        assert [key.data for key, _ in selector.select(SOON)] == ["b"]
        selector.unregister(b)
        assert selector.select(0) == []
