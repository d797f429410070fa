"""Tests of connections within a process: both ends, bytes, bounds, waiting, and misuse."""

from __future__ import annotations

import array
import multiprocessing
import pickle
import select
import threading
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
from dropin.support import NEVER, SOON

import interproc
from interproc import _core
from interproc.connection import Connection, Pipe, wait

MIB = 1 << 20


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    a, b = Pipe()
    yield a, b
    a.close()
    b.close()


# ---- ends


def test_a_duplex_pipe_goes_both_ways(ends: tuple[Connection, Connection]) -> None:
    for near, far in (ends, ends[::-1]):
        assert (near.readable, near.writable) == (True, True)
        near.send({"a": [1, None]})
        assert far.recv() == {"a": [1, None]}


def test_a_one_way_pipe_goes_from_the_second_end_to_the_first() -> None:
    reader, writer = Pipe(duplex=False)
    assert (reader.readable, reader.writable) == (True, False)
    assert (writer.readable, writer.writable) == (False, True)
    writer.send(1)
    assert reader.recv() == 1
    for call in (lambda: reader.send(1), lambda: reader.send_bytes(b"")):
        with pytest.raises(OSError, match="read-only"):
            call()
    for call in (writer.recv, writer.recv_bytes, writer.poll, lambda: writer.recv_bytes_into(bytearray(1))):
        with pytest.raises(OSError, match="write-only"):
            call()


def test_an_end_that_travels_stays_what_it_is() -> None:
    reader, writer = Pipe(duplex=False)
    again: Connection = pickle.loads(pickle.dumps(writer))
    assert type(again) is Connection
    assert (again.readable, again.writable, again.end) == (False, True, 1)
    writer.close()
    assert not reader.poll()  # the other handle holds the end
    again.send("still open")
    again.close()
    assert reader.recv() == "still open"
    with pytest.raises(EOFError):
        reader.recv()


def test_a_derived_class_is_kept() -> None:
    class Line(Connection):
        pass

    a, b = _core.pipe(Line, max_bytes=100)
    assert (type(a), type(b)) == (Line, Line)
    a.send(1)
    assert b.recv() == 1


def test_a_pipe_of_an_arena_is_in_that() -> None:
    arena = _core.Arena.create(limit=16 * MIB)
    a, b = Pipe(arena=arena)
    assert a.arena is b.arena is arena
    a.send(1)
    assert b.recv() == 1


def test_the_block_of_a_with_ends_with_the_end_closed() -> None:
    a, b = Pipe()
    with a as entered:
        assert entered is a
        a.send(1)
    assert a.closed
    assert b.recv() == 1
    with pytest.raises(BrokenPipeError):
        b.send(2)


# ---- the end of the other side


def test_what_was_sent_is_read_before_the_end() -> None:
    a, b = Pipe()
    a.send_bytes(b"x" * 500_000)
    a.send(2)
    a.close()
    assert b.poll(None)
    assert b.recv_bytes() == b"x" * 500_000
    assert b.recv() == 2
    for call in (b.recv, b.recv_bytes, lambda: b.recv_bytes_into(bytearray(10))):
        with pytest.raises(EOFError, match="closed by its last holder"):
            call()
    assert b.poll()  # the end is something to receive
    with pytest.raises(BrokenPipeError) as caught:
        b.send(1)
    assert caught.value.errno == 32


def test_who_waits_learns_of_the_close() -> None:
    a, b = Pipe(max_bytes=1000)
    a.send_bytes(b"x" * 2000)
    errors: list[type] = []

    def catch(function: Any, *args: Any) -> None:
        try:
            function(*args)
        except (EOFError, BrokenPipeError) as error:
            errors.append(type(error))

    threads = [threading.Thread(target=catch, args=args) for args in ((a.recv,), (a.send, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(NEVER)
        assert thread.is_alive()
    b.close()
    for thread in threads:
        thread.join(SOON)
    assert sorted(error.__name__ for error in errors) == ["BrokenPipeError", "EOFError"]


# ---- bytes


def test_objects_and_bytes_are_pickles_to_each_other(ends: tuple[Connection, Connection]) -> None:
    a, b = ends
    a.send([1, "two"])
    assert pickle.loads(b.recv_bytes()) == [1, "two"]
    a.send_bytes(pickle.dumps([1, "two"]))
    assert b.recv() == [1, "two"]
    a.send_bytes(ForkingPickler.dumps({"a": b"x" * MIB}))
    assert b.recv() == {"a": b"x" * MIB}


def test_bytes_that_are_no_pickle_cannot_be_received_as_an_object(
    ends: tuple[Connection, Connection],
) -> None:
    a, b = ends
    a.send_bytes(b"no pickle")
    a.send("next")
    with pytest.raises(interproc.UnpicklingError) as caught:
        b.recv()
    assert caught.value.data == b"no pickle"
    assert b.recv() == "next"


@pytest.mark.parametrize("size", [0, 1, 100, 10_000, 100_000, MIB + 1])
def test_bytes_of_any_size_arrive(ends: tuple[Connection, Connection], size: int) -> None:
    a, b = ends
    data = bytes(range(256)) * (size // 256 + 1)
    sender = threading.Thread(target=a.send_bytes, args=(data, 0, size))
    sender.start()
    assert b.recv_bytes() == data[:size]
    sender.join(SOON)


@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"abcdef"),
        memoryview(b"abcdef"),
        array.array("H", b"abcdef"),
        memoryview(b"a-b-c-d-e-f-")[::2],
        memoryview(b"abcdef").cast("B", (2, 3)),
    ],
)
def test_whatever_has_bytes_can_be_sent(ends: tuple[Connection, Connection], data: Any) -> None:
    a, b = ends
    a.send_bytes(data)
    assert b.recv_bytes() == b"abcdef"


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [(0, None, b"abcdef"), (2, None, b"cdef"), (6, None, b""), (1, 3, b"bcd"), (0, 0, b"")],
)
def test_part_of_a_buffer_can_be_sent(
    ends: tuple[Connection, Connection], offset: int, size: int | None, expected: bytes
) -> None:
    a, b = ends
    a.send_bytes(b"abcdef", offset, size)
    assert b.recv_bytes() == expected


@pytest.mark.parametrize(("offset", "size"), [(-1, None), (7, None), (0, -1), (0, 7), (5, 2), (1 << 62, 1)])
def test_what_is_no_part_of_the_buffer_is_refused(
    ends: tuple[Connection, Connection], offset: int, size: int | None
) -> None:
    a, b = ends
    with pytest.raises(ValueError):
        a.send_bytes(b"abcdef", offset, size)
    assert not b.poll()


@pytest.mark.parametrize("data", ["text", 5, None, [1]])
def test_what_has_no_bytes_is_refused(ends: tuple[Connection, Connection], data: Any) -> None:
    with pytest.raises(TypeError):
        ends[0].send_bytes(data)


def test_a_message_longer_than_maxlength_ends_reading() -> None:
    a, b = Pipe()
    a.send_bytes(b"abcdef")
    a.send_bytes(b"abcdef")
    assert b.recv_bytes(6) == b"abcdef"
    with pytest.raises(OSError, match="bad message length"):
        b.recv_bytes(5)
    assert not b.readable
    with pytest.raises(OSError, match="write-only"):
        b.recv_bytes()
    b.send_bytes(b"but it can be written")
    assert a.recv_bytes() == b"but it can be written"
    with pytest.raises(ValueError, match="negative maxlength"):
        a.recv_bytes(-1)


def test_a_message_longer_than_maxlength_closes_a_one_way_end() -> None:
    reader, writer = Pipe(duplex=False)
    writer.send_bytes(b"abcdef")
    with pytest.raises(OSError, match="bad message length"):
        reader.recv_bytes(5)
    assert reader.closed


def test_bytes_are_received_into_a_buffer(ends: tuple[Connection, Connection]) -> None:
    a, b = ends
    room = bytearray(10)
    a.send_bytes(b"abc")
    assert b.recv_bytes_into(room) == 3
    a.send_bytes(b"def")
    assert b.recv_bytes_into(room, 7) == 3
    assert room == b"abc\0\0\0\0def"
    wide = array.array("I", [0, 0])
    a.send_bytes(b"\1\0\0\0")
    assert b.recv_bytes_into(wide, 4) == 4
    assert wide[1] == 1


@pytest.mark.parametrize("size", [11, MIB])
def test_a_message_that_does_not_fit_is_in_the_error(size: int) -> None:
    a, b = Pipe(max_bytes=4 * MIB)
    a.send_bytes(b"x" * size)
    room = bytearray(10)
    with pytest.raises(multiprocessing.BufferTooShort) as caught:
        b.recv_bytes_into(room)
    assert caught.value.args[0] == b"x" * size
    assert room == bytearray(10)


@pytest.mark.parametrize(
    ("room", "offset", "error"),
    [
        (bytearray(5), -1, ValueError),
        (bytearray(5), 6, ValueError),
        (b"fixed", 0, TypeError),
        ("text", 0, TypeError),
    ],
)
def test_where_nothing_can_be_received_nothing_is_taken(
    ends: tuple[Connection, Connection], room: Any, offset: int, error: type[Exception]
) -> None:
    a, b = ends
    a.send_bytes(b"abc")
    with pytest.raises(error):
        b.recv_bytes_into(room, offset)
    assert b.poll(), "it was taken"
    assert b.recv_bytes() == b"abc"


# ---- bounds, waiting


def test_send_waits_while_much_lies_unread() -> None:
    a, b = Pipe(max_bytes=10_000)
    sent: list[int] = []

    def send() -> None:
        for i in range(100):
            a.send_bytes(b"x" * 1000)
            sent.append(i)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(NEVER)
    assert thread.is_alive()
    assert 5 <= len(sent) <= 11
    for _ in range(100):
        assert len(b.recv_bytes()) == 1000
    thread.join(SOON)
    assert len(sent) == 100


def test_the_two_directions_are_bounded_apart() -> None:
    a, b = Pipe(max_bytes=1000)
    a.send_bytes(b"x" * 2000)
    b.send_bytes(b"y" * 2000)  # does not wait for a's to be read
    assert a.recv_bytes() == b"y" * 2000
    assert b.recv_bytes() == b"x" * 2000


def test_poll_waits_for_what_comes(ends: tuple[Connection, Connection]) -> None:
    a, b = ends
    assert b.poll() is False
    assert b.poll(NEVER) is False
    thread = threading.Timer(0.02, a.send, [1])
    thread.start()
    assert b.poll(SOON) is True
    assert b.poll() is True
    assert b.recv() == 1
    thread.join(SOON)


def test_wait_gives_those_that_are_ready() -> None:
    pipes = [Pipe() for _ in range(3)]
    q = interproc.Queue[int]()
    things = [*(b for _, b in pipes), q]
    assert wait(things, 0) == []
    pipes[1][0].send("a")
    q.put(1)
    assert wait(things, SOON) == [pipes[1][1], q]
    pipes[1][1].recv()
    q.get()
    assert wait(things, 0) == []
    pipes[2][0].close()
    assert wait(things, SOON) == [pipes[2][1]]


def test_a_descriptor_is_readable_while_there_is_something(ends: tuple[Connection, Connection]) -> None:
    a, b = ends
    descriptor = b.fileno()
    assert b.fileno() == descriptor
    for _ in range(100):
        assert select.select([b], [], [], 0)[0] == []
        a.send(1)
        a.send(2)
        assert select.select([b], [], [], SOON)[0] == [b]
        b.recv()
        assert select.select([b], [], [], 0)[0] == [b]
        b.recv()
    assert select.select([b], [], [], 0)[0] == []


def test_a_closed_end_gives_its_descriptor_back(ends: tuple[Connection, Connection]) -> None:
    descriptor = ends[1].fileno()
    ends[1].close()
    with pytest.raises(OSError):
        select.select([descriptor], [], [], 0)


def test_many_threads_share_an_end() -> None:
    a, b = Pipe(max_bytes=2000)
    found: list[int] = []

    def receive() -> None:
        while (item := b.recv()) is not None:
            found.append(item)

    readers = [threading.Thread(target=receive, daemon=True) for _ in range(3)]
    writers = [
        threading.Thread(target=lambda i=i: [a.send(i * 100 + j) for j in range(100)], daemon=True)
        for i in range(3)
    ]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(SOON)
    for _ in readers:
        a.send(None)
    for thread in readers:
        thread.join(SOON)
        assert not thread.is_alive()
    assert sorted(found) == list(range(300))
