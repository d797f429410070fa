"""SimpleQueue as multiprocessing defines it: put, get, empty, close, and nothing else."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from .support import Crew, until


def answer(source: Any, target: Any) -> None:
    while (item := source.get()) is not None:
        target.put(item * 2)
    target.put("end")


def put_tagged(q: Any, tag: int, count: int) -> None:
    for number in range(count):
        q.put((tag, number))


def test_put_get_empty(mp: Any) -> None:
    q = mp.SimpleQueue()
    assert q.empty()
    for item in (1, "two", [3], None):
        q.put(item)
    assert not q.empty()  # at once: put has no thread behind it
    assert [q.get() for _ in range(4)] == [1, "two", [3], None]
    assert q.empty()


def test_close(mp: Any) -> None:
    q = mp.SimpleQueue()
    q.put(1)
    q.close()
    q.close()
    with pytest.raises((OSError, ValueError)):
        q.put(1)
    with pytest.raises((OSError, ValueError)):
        q.get()
    with pytest.raises((OSError, ValueError)):
        q.empty()


def test_an_object_that_cannot_be_pickled_leaves_it_unharmed(mp: Any) -> None:
    q = mp.SimpleQueue()
    with pytest.raises((TypeError, AttributeError)):
        q.put(threading.Lock())
    q.put("next")
    assert q.get() == "next"
    assert q.empty()


def test_there_and_back(ctx: Any, crew: Crew) -> None:
    there, back = ctx.SimpleQueue(), ctx.SimpleQueue()
    crew.start(answer, there, back)
    for number in range(500):
        there.put(number)
        assert back.get() == 2 * number
    there.put(b"z" * 1_000_000)
    assert back.get() == b"z" * 2_000_000
    there.put(None)
    assert back.get() == "end"
    crew.join()


def test_many_producers(mp: Any, crew: Crew) -> None:
    q = mp.SimpleQueue()
    for tag in range(3):
        crew.start(put_tagged, q, tag, 300)
    got = [q.get() for _ in range(900)]
    assert sorted(got) == [(tag, number) for tag in range(3) for number in range(300)]
    for tag in range(3):
        numbers = [number for maker, number in got if maker == tag]
        assert numbers == sorted(numbers)
    crew.join()
    until(q.empty)


def test_reader_and_writer(mp: Any) -> None:
    """The two ends that concurrent.futures and multiprocessing.Pool reach for."""
    q = mp.SimpleQueue()
    assert not q._reader.poll()
    q._writer.send("through the writer")
    assert q._reader.poll(20)
    assert q.get() == "through the writer"
    q.put("through put")
    assert q._reader.recv() == "through put"
