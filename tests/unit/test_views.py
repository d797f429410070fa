"""Tests of views: what get(copy=False) and buffers of a Memory keep in the arena, and how long."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
from dropin.support import SOON

from interproc._core import Arena, Memory
from interproc.connection import Pipe
from interproc.queues import Queue

MIB = 1 << 20


@pytest.fixture
def quiet() -> Any:
    """A queue that has its segments, and a function that says how many bytes more than now are in use."""
    q = Queue[Any]()
    for _ in range(3):
        q.put(b"x" * MIB)
        q.get()
    gc.collect()
    start = q.arena.used

    def more() -> int:
        gc.collect()
        return q.arena.used - start

    return q, more


BUFFERS: list[Any] = [
    b"x" * MIB,
    bytearray(b"y" * MIB),
    memoryview(b"z" * MIB),
    np.arange(MIB // 8),
    [np.ones(MIB // 8)],
]


def content(item: Any) -> bytes:
    """The bytes of an item or of the one that it is a list of."""
    return bytes(memoryview(item[0] if type(item) is list else item).cast("B"))


@pytest.mark.parametrize("item", BUFFERS, ids=lambda item: type(item).__name__)
def test_a_copy_leaves_nothing_in_the_arena(quiet: Any, item: Any) -> None:
    q, more = quiet
    q.put(item)
    assert MIB <= more() < MIB + MIB // 4
    got = q.get()
    assert type(got) is type(item)
    assert more() == 0


@pytest.mark.parametrize("item", BUFFERS, ids=lambda item: type(item).__name__)
def test_a_view_keeps_its_block_and_no_longer(quiet: Any, item: Any) -> None:
    q, more = quiet
    q.put(item)
    got = q.get(copy=False)
    assert q.empty()
    assert content(got) == content(item)
    # A bytearray may be resized, so that it cannot be a view.
    assert more() == 0 if type(item) is bytearray else more() >= MIB
    del got
    assert more() == 0


def test_a_view_of_bytes_is_read_only_and_of_an_array_is_writable(quiet: Any) -> None:
    q, _ = quiet
    q.put(b"x" * MIB)
    view = q.get(copy=False)
    assert isinstance(view, memoryview)
    assert view.readonly
    q.put(np.arange(MIB // 8))
    array = q.get(copy=False)
    array += 1
    assert array[-1] == MIB // 8
    fixed = np.arange(MIB // 8)
    fixed.flags.writeable = False
    q.put(fixed)
    assert not q.get(copy=False).flags.writeable


def test_part_of_a_view_keeps_the_whole_block(quiet: Any) -> None:
    q, more = quiet
    q.put(np.arange(MIB // 8))
    part = q.get(copy=False)[5:10]
    assert more() >= MIB
    q.put_many([b"y" * MIB] * 4)  # would go into its block, were it free
    assert part.tolist() == [5, 6, 7, 8, 9]
    assert len(q.get_many(4)) == 4
    del part
    assert more() == 0


def test_views_of_one_message_keep_one_block(quiet: Any) -> None:
    q, more = quiet
    q.put({"a": np.ones(MIB // 8), "b": np.zeros(MIB // 8)})
    got = q.get(copy=False)
    b = got["b"]
    del got
    assert more() >= 2 * MIB
    assert b.sum() == 0
    del b
    assert more() == 0


def test_a_view_outlives_its_queue() -> None:
    q = Queue[Any]()
    q.put(np.arange(MIB // 8))
    array = q.get(copy=False)
    q.close()
    del q
    gc.collect()
    assert array.sum() == sum(range(MIB // 8))


def test_a_view_can_be_put_again(quiet: Any) -> None:
    q, more = quiet
    q.put(np.arange(MIB // 8))
    for _ in range(3):
        q.put(q.get(copy=False))
    assert q.get().sum() == sum(range(MIB // 8))
    assert more() == 0


def test_get_many_and_recv_give_views_too() -> None:
    a, b = Pipe()
    q = Queue[Any]()
    q.put_many([b"x" * MIB, b"y"])
    views = q.get_many(2, copy=False)
    assert [bytes(view[:1]) for view in views] == [b"x", b"y"]
    assert isinstance(views[0], memoryview)
    thread = threading.Thread(target=a.send, args=(b"z" * MIB,))
    thread.start()
    view = b.recv(copy=False)
    thread.join(SOON)
    assert isinstance(view, memoryview)
    assert len(view) == MIB


def test_what_is_small_is_copied_in_any_case(quiet: Any) -> None:
    q, more = quiet
    q.put([b"small", (1, "a")])
    got = q.get(copy=False)
    assert got == [b"small", (1, "a")]
    assert more() == 0


def test_a_memory_lives_as_long_as_a_buffer_of_it() -> None:
    memory = Memory(MIB)
    key = memory.id
    view = memoryview(memory)
    part = view[10:20]
    del memory, view
    gc.collect()
    assert key in {row["id"] for row in Arena.default().objects()}
    part[0] = 7
    del part
    gc.collect()
    assert key not in {row["id"] for row in Arena.default().objects()}
