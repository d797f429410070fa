"""Tests of handles: their life cycle, and how messages keep count of those they carry."""

from __future__ import annotations

import copy
import dataclasses
import gc
import os
import pickle
import queue
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dropin.support import SOON, Crew

import interproc
from interproc import HandleError, _core
from interproc._core import Arena, Handle, Memory, Mutex, Number, Semaphore, Signal
from interproc.connection import Connection, Pipe
from interproc.queues import Queue

MIB = 1 << 20

MAKERS: dict[str, Callable[[], Any]] = {
    "queue": Queue,
    "pipe": lambda: Pipe()[0],
    "memory": lambda: Memory(8),
    "number": lambda: Number("q", 5),
    "lock": lambda: Mutex(False),
    "rlock": lambda: Mutex(True),
    "semaphore": lambda: Semaphore(1),
    "signal": Signal,
}

USES: dict[str, list[Callable[[Any], object]]] = {
    "queue": [
        lambda q: q.put(1),
        lambda q: q.put_nowait(1),
        lambda q: q.put_many([1]),
        lambda q: q.get(block=False),
        lambda q: q.get_nowait(),
        lambda q: q.get_many(1, block=False),
        lambda q: next(q),
        lambda q: q.qsize(),
        lambda q: q.empty(),
        lambda q: q.full(),
        lambda q: q.counters(),
        lambda q: q.is_shutdown,
        lambda q: q.poll(),
        lambda q: q.fileno(),
        lambda q: q.task_done(),
        lambda q: q.join(0),
        lambda q: q.shutdown(),
    ],
    "pipe": [
        lambda c: c.send(1),
        lambda c: c.send_bytes(b"1"),
        lambda c: c.recv(),
        lambda c: c.recv_bytes(),
        lambda c: c.recv_bytes_into(bytearray(8)),
        lambda c: c.poll(),
        lambda c: c.fileno(),
    ],
    "memory": [
        lambda m: memoryview(m),
        lambda m: m.address,
        lambda m: m.acquire(),
        lambda m: m.release(),
        lambda m: m.__enter__(),
        lambda m: m.is_mine(),
        lambda m: m.lock_count(),
        lambda m: m.owner(),
    ],
    "number": [
        lambda n: n.value,
        lambda n: setattr(n, "value", 1),
        lambda n: n.add(1),
        lambda n: n.exchange(1),
        lambda n: n.compare_exchange(5, 1),
        lambda n: memoryview(n),
        lambda n: n.acquire(),
    ],
    "lock": [
        lambda m: m.acquire(),
        lambda m: m.release(),
        lambda m: m.__enter__(),
        lambda m: m.is_mine(),
        lambda m: m.count(),
        lambda m: m.owner(),
    ],
    "semaphore": [
        lambda s: s.acquire(),
        lambda s: s.release(),
        lambda s: s.__enter__(),
        lambda s: s.get_value(),
    ],
    "signal": [lambda s: s.counter(), lambda s: s.notify(), lambda s: s.wait(0, 0)],
}
USES["rlock"] = USES["lock"]
EACH = [(kind, number) for kind, uses in USES.items() for number in range(len(uses))]


def rows() -> dict[str, Any]:
    """The arena's objects by id."""
    return {row["id"]: row for row in Arena.default().objects()}


# ---- life


@pytest.mark.parametrize("kind", MAKERS)
def test_a_handle_is_open_until_it_is_closed_and_then_lets_go(kind: str) -> None:
    handle = MAKERS[kind]()
    key = handle.id
    assert not handle.closed
    assert key in rows()
    gc.collect()
    handle.close()
    assert handle.closed
    assert key not in rows()
    handle.close()
    handle.close()
    assert handle.closed


@pytest.mark.parametrize("kind", MAKERS)
def test_a_handle_that_is_dropped_lets_go(kind: str) -> None:
    handle = MAKERS[kind]()
    key = handle.id
    del handle
    assert key not in rows()


@pytest.mark.parametrize("kind", MAKERS)
def test_an_object_lives_until_its_last_handle_is_closed(kind: str) -> None:
    first = MAKERS[kind]()
    second = pickle.loads(pickle.dumps(first))
    third = copy.copy(second)
    assert type(second) is type(first)
    assert first.id == second.id == third.id
    assert first._identity() == second._identity() == third._identity()
    first.close()
    second.close()
    assert third.id in rows()
    third.close()
    assert third.id not in rows()


@pytest.mark.parametrize(("kind", "number"), EACH)
def test_a_closed_handle_refuses_each_use(kind: str, number: int) -> None:
    handle = MAKERS[kind]()
    handle.close()
    error = OSError if kind == "pipe" else HandleError
    with pytest.raises(error, match="closed"):
        USES[kind][number](handle)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_closed_handle_cannot_be_pickled_and_says_why(kind: str) -> None:
    handle = MAKERS[kind]()
    handle.close()
    with pytest.raises((HandleError, OSError), match="closed"):
        pickle.dumps(handle)
    with pytest.raises(interproc.PicklingError, match="closed"):
        Queue[Any]().put([handle])


@pytest.mark.parametrize(("kind", "number"), EACH)
def test_a_handle_that_was_never_set_up_refuses_each_use(kind: str, number: int) -> None:
    cls = type(MAKERS[kind]())
    handle = cls.__new__(cls)
    error = OSError if kind == "pipe" else HandleError
    with pytest.raises(error, match="closed|not set up"):
        USES[kind][number](handle)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_handle_that_was_never_set_up_can_be_shown_and_closed(kind: str) -> None:
    cls = type(MAKERS[kind]())
    handle = cls.__new__(cls)
    assert "not set up" in repr(handle)
    with pytest.raises((HandleError, OSError)):
        pickle.dumps(handle)
    handle.close()


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "pipe"])
def test_a_handle_cannot_be_set_up_twice(kind: str) -> None:
    handle = MAKERS[kind]()
    arguments = {"memory": (8,), "number": ("q",)}.get(kind, ())
    with pytest.raises(ValueError, match="twice"):
        handle.__init__(*arguments)
    assert handle.id in rows()


def test_a_connection_is_made_by_pipe_only() -> None:
    with pytest.raises(TypeError, match="Pipe"):
        Connection()


# ---- names and numbers


@pytest.mark.parametrize("kind", MAKERS)
def test_the_repr_has_class_id_and_state(kind: str) -> None:
    handle = MAKERS[kind]()
    cls = type(handle)
    assert repr(handle) == f"<{cls.__module__}.{cls.__qualname__} {handle.id}>"
    handle.close()
    assert repr(handle) == f"<{cls.__module__}.{cls.__qualname__} {handle.id} closed>"


def test_the_id_has_kind_index_and_generation() -> None:
    for kind, make in MAKERS.items():
        expected = kind if kind in ("queue", "pipe") else "memory"
        assert re.fullmatch(expected + r"#\d+\.\d+", make().id)


def test_an_id_is_never_had_twice() -> None:
    seen = [Queue[int]().id for _ in range(200)]
    assert len(set(seen)) == 200


def test_both_ends_of_a_pipe_are_one_object() -> None:
    a, b = Pipe()
    assert a.id == b.id
    assert (a.end, b.end) == (0, 1)
    assert a._identity() != b._identity()
    assert rows()[a.id]["holders"] == [1, 1]
    a.close()
    assert rows()[b.id]["holders"] == [0, 1]


def test_a_handle_knows_its_arena() -> None:
    other = Arena.create(limit=16 * MIB)
    assert Queue[int]().arena is Arena.default()
    assert Queue[int](arena=other).arena is other
    with pytest.raises(TypeError):
        Queue[int](arena="other")  # type: ignore[arg-type]


# ---- handles inside of messages


@dataclasses.dataclass
class Job:
    name: str
    answers: Any


class Waits:
    """Its pickling waits for an event, so that two threads are in it at once."""

    event = threading.Event()
    inside = threading.Event()

    def __reduce__(self) -> Any:
        self.inside.set()
        assert self.event.wait(SOON)
        return str, ()


class Sends:
    """Its pickling puts another message."""

    def __init__(self, carrier: Queue[Any], item: Any) -> None:
        self.call = carrier.put, item

    def __reduce__(self) -> Any:
        put, item = self.call
        put(item)
        return str, ()


def transit(*handles: Any) -> list[int]:
    """How many messages carry each."""
    return [sum(rows()[handle.id]["transit"]) for handle in handles]


WRAPPINGS: list[Callable[[Any], Any]] = [
    lambda q: q,
    lambda q: (1, q),
    lambda q: [[[q]]],
    lambda q: {"answers": {"to": q}},
    lambda q: Job("a", [q]),
    lambda q: (np.zeros(MIB), q),
    lambda q: q.put,
]


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_a_message_keeps_the_objects_that_are_somewhere_in_it(wrap: Callable[[Any], Any]) -> None:
    carrier, inner = Queue[Any](), Queue[str]()
    inner.put("kept")
    carrier.put(wrap(inner))
    assert transit(inner) == [1]
    key = inner.id
    del inner
    gc.collect()
    assert rows()[key]["holders"] == [0]
    message = carrier.get()
    assert (rows()[key]["holders"], rows()[key]["transit"]) == ([1], [0])
    del message
    gc.collect()
    assert key not in rows()


def test_each_end_of_a_pipe_in_a_message_counts_by_itself() -> None:
    carrier = Queue[Any]()
    a, b = Pipe()
    carrier.put([b, b])
    first = rows()[a.id]["transit"]
    carrier.put([a, b])
    second = rows()[a.id]["transit"]
    assert first[0] == 0 < first[1]
    assert second[0] > 0
    assert second[1] > first[1]
    carrier.get()
    carrier.get()
    assert rows()[a.id]["transit"] == [0, 0]


def test_messages_put_many_at_once_keep_what_is_in_them() -> None:
    carrier = Queue[Any]()
    inner = [Queue[int]() for _ in range(5)]
    carrier.put_many([0, inner[0], "a", (inner[1], inner[2]), b"x" * MIB, inner[3], inner[4], 1])
    assert transit(*inner) == [1] * 5
    assert len(carrier.get_many(10)) == 8
    gc.collect()
    assert transit(*inner) == [0] * 5


def test_a_put_within_a_put_keeps_its_own_handles() -> None:
    carrier, other = Queue[Any](), Queue[Any]()
    before, within, after = Queue[int](), Queue[int](), Queue[int]()
    carrier.put([before, Sends(other, [within]), after])
    assert transit(before, within, after) == [1, 1, 1]
    other.get()
    gc.collect()
    assert transit(before, within, after) == [1, 0, 1]
    carrier.get()
    gc.collect()
    assert transit(before, within, after) == [0, 0, 0]


def test_puts_of_two_threads_at_once_keep_their_own_handles() -> None:
    carrier, other = Queue[Any](), Queue[Any]()
    slow, quick = Queue[int](), Queue[int]()
    Waits.event.clear()
    Waits.inside.clear()
    thread = threading.Thread(target=carrier.put, args=([Waits(), slow],), daemon=True)
    thread.start()
    assert Waits.inside.wait(SOON)
    other.put([quick])
    assert transit(slow, quick) == [0, 1]
    Waits.event.set()
    thread.join(SOON)
    assert transit(slow, quick) == [1, 1]
    carrier.get()
    gc.collect()
    assert transit(slow, quick) == [0, 1]


def test_a_put_that_fails_keeps_nothing() -> None:
    carrier, full, inner = Queue[Any](), Queue[Any](1), Queue[int]()
    full.put(0)
    with pytest.raises(interproc.PicklingError):
        carrier.put([inner, lambda: None])
    with pytest.raises(queue.Full):
        full.put_nowait([inner, b"x" * MIB])
    carrier.put("no handle")
    assert transit(inner) == [0]


def test_pickling_by_hand_counts_nothing() -> None:
    inner = Queue[int]()
    data = pickle.dumps(inner)
    assert transit(inner) == [0]
    key = inner.id
    del inner
    assert key not in rows()
    with pytest.raises(interproc.ObjectFreed):
        pickle.loads(data)


def test_dropping_the_carrier_lets_go_of_what_its_messages_keep() -> None:
    carrier, inner = Queue[Any](), Queue[int]()
    carrier.put([inner])
    carrier.put((inner, np.zeros(MIB)))
    key = inner.id
    del inner
    gc.collect()
    assert key in rows()
    del carrier
    assert key not in rows()


def test_an_object_of_another_arena_is_for_its_holders_to_keep() -> None:
    other = Arena.create(limit=16 * MIB)
    carrier, inner = Queue[Any](), Queue[int](arena=other)
    carrier.put(inner)
    assert [sum(row["transit"]) for row in other.objects()] == [0]
    inner.put(1)
    assert carrier.get().get() == 1


# ---- the launcher's descriptors


def put_one(q: Any) -> None:
    q.put(1)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_that_is_forgotten_takes_no_descriptor_of_others_with_it(method: str) -> None:
    crew = Crew(interproc.get_context(method))
    q = Queue[int]()
    crew.start(put_one, q)
    crew.join()
    # Among these are the numbers that the launcher had.
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(30)]
    crew.members.clear()
    gc.collect()
    for descriptor in opened:
        os.close(descriptor)  # OSError, were it closed
    assert q.get(timeout=SOON) == 1


def test_every_handle_is_one() -> None:
    for make in MAKERS.values():
        assert isinstance(make(), Handle)
    assert not isinstance(_core.View.__new__(_core.View), Handle)
