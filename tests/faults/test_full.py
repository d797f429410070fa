"""A full arena: MemoryError that names the limit and how to raise it, nothing changed; well when drained."""

from __future__ import annotations

import gc
import re
from typing import Any

import pytest
from dropin.support import SOON

import interproc
from interproc import connection, locks, queues
from interproc._core import Arena, Memory
from interproc.errors import ArenaFull

from .support import python

LIMIT = 24 << 20  # bytes


@pytest.fixture
def small() -> Any:
    return Arena.create(limit=LIMIT)


def fill(put: Any, size: int) -> tuple[int, MemoryError]:
    """Put numbered messages until there is no room; how many went in, and the error."""
    for number in range(10**6):
        try:
            put((number, b"%d" % (number % 10) * size))
        except MemoryError as error:
            return number, error
    raise AssertionError("the limit does not hold")


@pytest.mark.parametrize("size", [10, 1000, 16_000, 100_000, 3_000_000])
def test_a_queue_fills_the_arena(small: Any, size: int) -> None:
    q = queues.Queue(arena=small)
    for _ in range(2):
        count, error = fill(q.put, size)
        assert count * size > LIMIT / 4 or size == 10
        assert isinstance(error, ArenaFull)
        text = str(error)
        assert re.search(r"limit", text) and re.search(r"\d", text), text
        assert small.used <= small.limit and small.committed <= small.limit + (1 << 20)
        assert q.qsize() == count
        with pytest.raises(MemoryError):  # and it stays full
            for _ in range(3000):
                q.put(b"z" * max(size, 100))
        count = q.qsize()
        got = [q.get(timeout=SOON) for _ in range(count)]
        numbered = [item for item in got if isinstance(item, tuple)]
        assert [item[0] for item in numbered] == list(range(len(numbered)))
        assert all(content == b"%d" % (number % 10) * size for number, content in numbered)
        assert q.empty()
        q.put("works again")
        assert q.get(timeout=SOON) == "works again"
        del got, numbered
        gc.collect()


def test_the_message_says_the_limit_and_how_to_raise_it(small: Any) -> None:
    q = queues.Queue(arena=small)
    with pytest.raises(MemoryError) as caught:
        q.put(b"x" * (2 * LIMIT))
    text = str(caught.value)
    assert str(LIMIT) in text.replace(",", "").replace("_", "") or "24" in text, text
    assert "limit=" in text or "INTERPROC" in text, text
    assert q.qsize() == 0
    q.put("fine")
    assert q.get(timeout=SOON) == "fine"


def test_a_full_arena_does_not_stop_what_needs_no_memory(small: Any) -> None:
    q, lock = queues.Queue(arena=small), locks.RLock(arena=small)
    a, b = connection.Pipe(arena=small)
    a.send("before")
    fill(q.put, 1000)
    with lock:
        assert b.recv() == "before"
    assert q.get(timeout=SOON)[0] == 0
    assert q.qsize() > 0


def test_a_pipe_in_a_full_arena(small: Any) -> None:
    q = queues.Queue(arena=small)
    a, b = connection.Pipe(arena=small)
    fill(q.put, 100_000)
    fill(q.put, 1000)
    with pytest.raises(MemoryError):
        a.send(b"x" * 1_000_000)
    assert not b.poll()
    while not q.empty():
        q.get(timeout=SOON)
    a.send(b"x" * 1_000_000)
    assert b.recv() == b"x" * 1_000_000


def test_objects_fill_the_arena(small: Any) -> None:
    kept: list[Any] = []
    with pytest.raises(MemoryError):
        for number in range(10**6):
            kept.append(Memory(10_000, arena=small) if number % 2 else queues.Queue(arena=small))
    assert len(kept) > 100
    used = small.used
    for _ in range(3):
        with pytest.raises(MemoryError):
            Memory(4 << 20, arena=small)
    assert small.used == used
    del kept[: len(kept) // 2]
    gc.collect()
    assert small.used < used
    q = queues.Queue(arena=small)
    q.put("works again")
    assert q.get(timeout=SOON) == "works again"
    kept.clear()


def test_a_number_of_queues_share_the_limit(small: Any) -> None:
    first, second = queues.Queue(arena=small), queues.Queue(arena=small)
    count, _ = fill(first.put, 100_000)
    with pytest.raises(MemoryError):
        fill_one = second.put
        for _ in range(10):
            fill_one(b"y" * 100_000)
    for _ in range(count // 2):
        first.get(timeout=SOON)
    second.put(b"y" * 100_000)
    assert second.get(timeout=SOON) == b"y" * 100_000 if second.qsize() == 1 else True


def test_the_limit_of_the_default_arena_can_be_set() -> None:
    out = python(
        f"""if 1:
        import interproc
        from interproc._core import Arena
        Arena.set_default(Arena.create(limit={LIMIT}))
        q = interproc.Queue()
        try:
            while True:
                q.put(b"x" * 100_000)
        except MemoryError as error:
            print(q.qsize() * 100_000 > {LIMIT // 2}, q.qsize() * 100_000 <= {LIMIT})
        """
    )
    assert out == "True True"


@pytest.mark.parametrize("limit", [0, -1, 1, "much"])
def test_a_limit_that_makes_no_sense(limit: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        Arena.create(limit=limit)


def test_the_default_limit_is_a_part_of_the_machines_memory() -> None:
    with open("/proc/meminfo") as file:
        total = int(next(line for line in file if line.startswith("MemTotal")).split()[1]) * 1024
    assert 16 << 20 <= Arena.default().limit < total
    assert interproc.Queue().arena.limit == Arena.default().limit
