"""Pipe and Connection as multiprocessing defines them: objects and bytes, directions, ends that close."""

from __future__ import annotations

import array
import os
import pickle
import threading
from multiprocessing import BufferTooShort
from typing import Any

import pytest

from .support import NEVER, SOON

BIG = 3 << 20  # bytes: more than a pipe holds


# Objects.


def test_objects_both_ways(mp: Any) -> None:
    a, b = mp.Pipe()
    for item in (None, 0, "text", b"bytes", [1, [2]], {"k": (1, 2)}, 2**80, 1.5, b"x" * 10_000, ValueError):
        a.send(item)
        assert b.recv() == item
        b.send(item)
        assert a.recv() == item


def test_order(mp: Any) -> None:
    a, b = mp.Pipe()
    for number in range(100):
        a.send(number)
    assert [b.recv() for _ in range(100)] == list(range(100))
    assert not b.poll()


def test_the_two_directions_are_apart(mp: Any) -> None:
    a, b = mp.Pipe()
    a.send("from a")
    b.send("from b")
    assert a.recv() == "from b"
    assert b.recv() == "from a"
    assert not a.poll() and not b.poll()


def test_pipes_are_apart(mp: Any) -> None:
    (a, b), (c, d) = mp.Pipe(), mp.Pipe()
    a.send(1)
    c.send(2)
    assert (d.recv(), b.recv()) == (2, 1)


@pytest.mark.parametrize("keyword", [False, True])
def test_simplex(mp: Any, keyword: bool) -> None:
    reader, writer = mp.Pipe(duplex=False) if keyword else mp.Pipe(False)
    assert (reader.readable, reader.writable) == (True, False)
    assert (writer.readable, writer.writable) == (False, True)
    writer.send("one way")
    assert reader.poll(SOON)
    assert reader.recv() == "one way"
    with pytest.raises(OSError, match="read-only"):
        reader.send(1)
    with pytest.raises(OSError, match="read-only"):
        reader.send_bytes(b"1")
    for call in (writer.recv, writer.recv_bytes, writer.poll, lambda: writer.recv_bytes_into(bytearray(1))):
        with pytest.raises(OSError, match="write-only"):
            call()
    writer.send("still fine")
    assert reader.recv() == "still fine"


def test_duplex_flags(mp: Any) -> None:
    for end in mp.Pipe():
        assert (end.readable, end.writable, end.closed) == (True, True, False)
    for end in mp.Pipe(True):
        assert (end.readable, end.writable) == (True, True)


def test_an_object_that_cannot_be_pickled_leaves_it_unharmed(mp: Any) -> None:
    a, b = mp.Pipe()
    with pytest.raises((TypeError, AttributeError)):
        a.send(threading.Lock())
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        a.send(lambda: None)
    a.send("next")
    assert b.recv() == "next"
    assert not b.poll()


# Bytes.


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 1000, 16_383, 16_384, 16_385, 30_000])
def test_bytes_of_many_sizes(mp: Any, size: int) -> None:
    a, b = mp.Pipe()
    data = os.urandom(size)
    a.send_bytes(data)
    got = b.recv_bytes()
    assert type(got) is bytes and got == data


@pytest.mark.parametrize("size", [100_000, BIG, 40_000_000])
def test_big_bytes_through_a_thread(mp: Any, size: int) -> None:
    a, b = mp.Pipe()
    data = os.urandom(1000) * (size // 1000)
    thread = threading.Thread(target=a.send_bytes, args=(data,), daemon=True)
    thread.start()
    assert b.recv_bytes() == data
    thread.join(SOON)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "data",
    [b"bytes", bytearray(b"bytearray"), memoryview(b"a memoryview"), array.array("i", [1, 2, 3])],
    ids=type,
)
def test_send_bytes_takes_any_buffer(mp: Any, data: Any) -> None:
    a, b = mp.Pipe()
    a.send_bytes(data)
    assert b.recv_bytes() == bytes(data)


def test_send_bytes_offset_and_size(mp: Any) -> None:
    a, b = mp.Pipe()
    data = b"0123456789"
    for args in [(0,), (3,), (10,), (2, 5), (0, 0), (4, 6), (10, 0), (9, 1)]:
        a.send_bytes(data, *args)
        offset, size = (*args, len(data) - args[0])[:2]
        assert b.recv_bytes() == data[offset : offset + size]
    a.send_bytes(data, offset=2, size=3)
    assert b.recv_bytes() == b"234"
    numbers = array.array("i", [1, 2, 3, 4])  # offset and size count bytes, not items
    a.send_bytes(numbers, 4, 8)
    assert b.recv_bytes() == array.array("i", [2, 3]).tobytes()


@pytest.mark.parametrize("args", [(-1,), (11,), (0, -1), (0, 11), (5, 6), (11, 0)], ids=str)
def test_send_bytes_refuses_bad_offset_and_size(mp: Any, args: tuple[int, ...]) -> None:
    a, b = mp.Pipe()
    with pytest.raises(ValueError):
        a.send_bytes(b"0123456789", *args)
    assert not b.poll()
    a.send_bytes(b"fine")
    assert b.recv_bytes() == b"fine"


def test_send_bytes_refuses_what_is_no_buffer(mp: Any) -> None:
    a, b = mp.Pipe()
    with pytest.raises(TypeError):
        a.send_bytes("text")
    assert not b.poll()


def test_recv_bytes_with_maxlength(mp: Any) -> None:
    a, b = mp.Pipe()
    a.send_bytes(b"12345")
    assert b.recv_bytes(5) == b"12345"
    a.send_bytes(b"12345")
    assert b.recv_bytes(maxlength=100) == b"12345"
    with pytest.raises(ValueError):
        b.recv_bytes(-1)


@pytest.mark.parametrize("duplex", [True, False])
def test_recv_bytes_of_more_than_maxlength(mp: Any, duplex: bool) -> None:
    """The documented outcome: OSError, and the connection is no longer readable."""
    reader, writer = mp.Pipe(duplex)
    writer.send_bytes(b"123456")
    with pytest.raises(OSError):
        reader.recv_bytes(5)
    if duplex:
        assert not reader.readable and not reader.closed
        reader.send("the other direction works")
        assert writer.recv() == "the other direction works"
    with pytest.raises(OSError):
        reader.recv_bytes()


def test_recv_bytes_into(mp: Any) -> None:
    a, b = mp.Pipe()
    room = bytearray(b".........."[:10])
    a.send_bytes(b"12345")
    assert b.recv_bytes_into(room) == 5
    assert room == b"12345....."
    a.send_bytes(b"abc")
    assert b.recv_bytes_into(room, 7) == 3
    assert room == b"12345..abc"
    a.send_bytes(b"")
    assert b.recv_bytes_into(room, offset=10) == 0
    numbers = array.array("i", [0] * 4)
    a.send_bytes(array.array("i", [7, 8]))
    assert b.recv_bytes_into(numbers) == 8
    a.send_bytes(array.array("i", [9]))
    assert b.recv_bytes_into(numbers, 3 * numbers.itemsize) == 4
    assert numbers.tolist() == [7, 8, 0, 9]
    view = memoryview(bytearray(4))
    a.send_bytes(b"wxyz")
    assert b.recv_bytes_into(view) == 4
    assert bytes(view) == b"wxyz"


def test_recv_bytes_into_too_little_room(mp: Any) -> None:
    a, b = mp.Pipe()
    for room, offset in ((bytearray(4), 0), (bytearray(8), 4), (array.array("i", [0]), 0)):
        a.send_bytes(b"12345")
        before = bytes(room)
        with pytest.raises(BufferTooShort) as caught:
            b.recv_bytes_into(room, offset)
        assert caught.value.args == (b"12345",)  # the message is not lost
        assert bytes(room) == before
    assert issubclass(mp.BufferTooShort, mp.ProcessError) and mp.BufferTooShort is BufferTooShort
    a.send_bytes(b"next")
    assert b.recv_bytes() == b"next"


def test_recv_bytes_into_refuses_bad_rooms(mp: Any) -> None:
    a, b = mp.Pipe()
    a.send_bytes(b"1")
    with pytest.raises(ValueError):
        b.recv_bytes_into(bytearray(4), -1)
    with pytest.raises(ValueError):
        b.recv_bytes_into(bytearray(4), 5)
    assert b.recv_bytes() == b"1"
    a.send_bytes(b"1")
    with pytest.raises(TypeError):
        b.recv_bytes_into("text")


def test_objects_are_pickles_in_bytes(mp: Any) -> None:
    """send and send_bytes meet: what is sent as a pickle's bytes can be received as the object."""
    a, b = mp.Pipe()
    a.send_bytes(pickle.dumps({"by": "hand"}))
    assert b.recv() == {"by": "hand"}
    a.send({"by": "hand"})
    assert pickle.loads(b.recv_bytes()) == {"by": "hand"}


# poll.


def test_poll(mp: Any) -> None:
    a, b = mp.Pipe()
    assert b.poll() is False
    assert b.poll(0) is False
    assert b.poll(NEVER) is False
    assert b.poll(timeout=0.0) is False
    a.send(1)
    assert b.poll(SOON) is True
    assert b.poll() is True  # polling takes nothing away
    assert b.poll(None) is True
    b.recv()
    assert b.poll() is False


def test_poll_is_woken(mp: Any) -> None:
    a, b = mp.Pipe()
    said: list[bool] = []
    for timeout in (SOON, None):
        thread = threading.Thread(target=lambda t=timeout: said.append(b.poll(t)), daemon=True)
        thread.start()
        a.send("wake")
        thread.join(SOON)
        assert said.pop() is True
        assert b.recv() == "wake"


def test_poll_at_the_end(mp: Any) -> None:
    a, b = mp.Pipe()
    a.send("last")
    a.close()
    assert b.poll() is True
    assert b.recv() == "last"
    assert b.poll(SOON) is True  # recv would not block: it would raise
    with pytest.raises(EOFError):
        b.recv()


# Ends.


def test_end_of_file_comes_after_what_was_sent(mp: Any) -> None:
    a, b = mp.Pipe()
    a.send(1)
    a.send_bytes(b"2")
    a.send(3)
    a.close()
    assert b.recv() == 1
    assert b.recv_bytes() == b"2"
    assert b.recv() == 3
    for call in (b.recv, b.recv_bytes, lambda: b.recv_bytes_into(bytearray(9))):
        for _ in range(2):  # and it stays so
            with pytest.raises(EOFError):
                call()


def test_broken_pipe(mp: Any) -> None:
    a, b = mp.Pipe()
    b.close()
    for call in (lambda: a.send(1), lambda: a.send_bytes(b"1"), lambda: a.send(b"x" * BIG)):
        with pytest.raises(BrokenPipeError):
            call()
    reader, writer = mp.Pipe(False)
    reader.close()
    with pytest.raises(BrokenPipeError):
        writer.send(1)


def test_closing_releases_a_blocked_reader(mp: Any) -> None:
    a, b = mp.Pipe()
    ended = threading.Event()

    def read() -> None:
        try:
            b.recv()
        except EOFError:
            ended.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    a.close()
    assert ended.wait(SOON)


def test_closed(mp: Any) -> None:
    a, b = mp.Pipe()
    a.close()
    assert a.closed and not b.closed
    a.close()  # a second time does nothing
    for call in (
        lambda: a.send(1),
        lambda: a.send_bytes(b"1"),
        a.recv,
        a.recv_bytes,
        lambda: a.recv_bytes_into(bytearray(1)),
        a.poll,
        a.fileno,
    ):
        with pytest.raises(OSError, match="handle is closed"):
            call()
    with pytest.raises(OSError), a:
        a.send(1)


def test_context_manager(mp: Any) -> None:
    a, b = mp.Pipe()
    with a as same, b:
        assert same is a
        a.send(1)
        assert b.recv() == 1
    assert a.closed and b.closed


def test_dropping_an_end_closes_it(mp: Any) -> None:
    a, b = mp.Pipe()
    a.send("last words")
    del a
    assert b.recv() == "last words"
    with pytest.raises(EOFError):
        b.recv()


def test_fileno(mp: Any) -> None:
    a, b = mp.Pipe()
    assert isinstance(a.fileno(), int) and isinstance(b.fileno(), int)
    assert a.fileno() != b.fileno()
    assert a.fileno() == a.fileno()
    os.fstat(a.fileno())
