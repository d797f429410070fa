"""What cannot be pickled fails at the call that sends it; what cannot be unpickled comes as its bytes."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest
from dropin.support import SOON, Crew

import interproc as mp
from interproc.errors import InterprocError, UnpicklingError


class Explosive:
    """Pickles well; fails when it is unpickled."""

    def __init__(self, note: str) -> None:
        self.note = note

    def __reduce__(self) -> tuple[Any, ...]:
        return explode, (self.note,)


def explode(note: str) -> None:
    raise RuntimeError(f"exploded: {note}")


class Stubborn:
    """Raises an error of its own when it is pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise LookupError("I will not be pickled")


class Busy:
    """Uses the queue it is being put into."""

    def __init__(self, q: Any) -> None:
        self.q = q

    def __reduce__(self) -> tuple[Any, ...]:
        self.q.put("from within")
        return str, ("outer",)


class Greedy:
    """Uses the queue it is being taken from."""

    def __init__(self, q: Any) -> None:
        self.q = q

    def __reduce__(self) -> tuple[Any, ...]:
        return take_another, (self.q,)


def take_another(q: Any) -> tuple[str, Any]:
    return "and", q.get(timeout=SOON)


class Sender:
    """The same face for a queue and a pipe."""

    def __init__(self, kind: str) -> None:
        if kind == "Pipe":
            self.far, near = mp.Pipe()
            self.put, self.get = near.send, self.far.recv
            self.put_bytes = near.send_bytes
            self.empty = lambda: not self.far.poll()
        else:
            q = getattr(mp, kind)()
            self.put, self.empty = q.put, q.empty
            self.put_bytes = q.put_bytes if hasattr(q, "put_bytes") else None
            self.get = q.get if kind == "SimpleQueue" else lambda: q.get(timeout=SOON)


@pytest.fixture(params=["Queue", "SimpleQueue", "JoinableQueue", "Pipe"])
def way(request: pytest.FixtureRequest) -> Sender:
    return Sender(request.param)


UNPICKLABLE = {
    "a lambda": lambda: lambda: None,
    "a lock": threading.Lock,
    "a generator": lambda: (n for n in ()),
    "deep inside": lambda: {"jobs": [1, ("x", {"fn": threading.Lock()})]},
    "after much": lambda: [b"x" * 5_000_000, threading.Lock()],
    "with large buffers": lambda: (bytearray(3_000_000), lambda: None),
    "a local class": lambda: type("Local", (), {})(),
}


@pytest.mark.parametrize("name", UNPICKLABLE)
def test_unpicklable(way: Sender, name: str) -> None:
    way.put("before")
    with pytest.raises((pickle.PicklingError, TypeError, AttributeError)) as caught:
        way.put(UNPICKLABLE[name]())
    assert isinstance(caught.value, InterprocError)
    way.put("after")
    assert (way.get(), way.get()) == ("before", "after")
    assert way.empty()


def test_the_message_has_the_path_to_the_culprit() -> None:
    with pytest.raises(TypeError) as caught:
        mp.Queue().put({"jobs": [1, ("x", {"fn": threading.Lock()})]})
    text = str(caught.value)
    for part in ("jobs", "fn", "lock"):
        assert part in text, text


def test_an_error_of_its_own_while_pickling(way: Sender) -> None:
    with pytest.raises(Exception, match="I will not be pickled") as caught:
        way.put([Stubborn()])
    chain = {type(caught.value), type(caught.value.__cause__)}
    assert LookupError in chain
    way.put("after")
    assert way.get() == "after" and way.empty()


def test_a_full_queue_is_not_harmed_either() -> None:
    q = mp.Queue(1)
    with pytest.raises(TypeError):
        q.put(threading.Lock())
    q.put(1, block=False)  # no place was taken
    with pytest.raises(TypeError):  # told at once, not once there is room
        q.put(threading.Lock())
    assert q.get(timeout=SOON) == 1
    assert q.qsize() == 0


def test_a_joinable_queue_counts_no_failed_put() -> None:
    q = mp.JoinableQueue()
    with pytest.raises(TypeError):
        q.put(threading.Lock())
    q.join()


def test_put_many_with_one_that_cannot_be_pickled() -> None:
    q = mp.Queue()
    with pytest.raises(TypeError):
        q.put_many([1, 2, threading.Lock(), 4])
    left = q.get_many(10, block=False) if q.qsize() else []
    assert left in ([], [1, 2])  # never what comes after it
    q.put_many([5, 6])
    assert q.get_many(10) == [5, 6]


def test_a_pickled_object_that_uses_the_queue() -> None:
    q = mp.Queue()
    q.put(Busy(q))
    assert {q.get(timeout=SOON), q.get(timeout=SOON)} == {"from within", "outer"}
    assert q.empty()


def test_an_unpickled_object_that_uses_the_queue() -> None:
    q = mp.Queue()
    q.put(Greedy(q))
    q.put("the other")
    assert q.get(timeout=SOON) == ("and", "the other")
    assert q.empty()


def test_an_error_while_unpickling(way: Sender) -> None:
    way.put("before")
    way.put(Explosive("first"))
    way.put("between")
    way.put([b"y" * 1_000_000, Explosive("second")])
    way.put("after")
    assert way.get() == "before"
    with pytest.raises(UnpicklingError, match="exploded: first") as caught:
        way.get()
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match="exploded: first"):
        pickle.loads(caught.value.data)  # the message's bytes, to look at or to try again
    assert way.get() == "between"
    with pytest.raises(UnpicklingError, match="exploded: second") as caught:
        way.get()
    assert len(caught.value.data) >= 1_000_000
    assert way.get() == "after"
    assert way.empty()


def test_an_error_within_get_many() -> None:
    q = mp.Queue()
    q.put_many([1, 2, Explosive("third"), 4, 5])
    got: list[Any] = []
    errors = []
    while len(got) + len(errors) < 5:
        try:
            got += q.get_many(10, timeout=SOON)
        except UnpicklingError as error:
            errors.append(error)
            got += error.items  # of the same batch; nothing is lost
            assert error.data
    assert got == [1, 2, 4, 5] and len(errors) == 1
    assert q.empty()


@pytest.mark.parametrize("data", [b"garbage", b"\x80\x05", b"\x80\x05N", b".", b"\x80\xff."], ids=repr)
def test_bytes_that_are_no_pickle(data: bytes) -> None:
    a, b = mp.Pipe()
    a.send_bytes(data)
    a.send("after")
    with pytest.raises((UnpicklingError, pickle.UnpicklingError, EOFError)) as caught:
        b.recv()
    assert isinstance(caught.value, UnpicklingError) and caught.value.data == data
    assert b.recv() == "after"


def test_a_class_that_the_other_side_cannot_import(crew: Crew) -> None:
    q, answers = mp.Queue(), mp.Queue()
    crew.start(hide_and_get, q, answers)
    assert answers.get(timeout=SOON) == "ready"
    q.put(Explosive)  # by reference
    q.put("after")
    kind, size = answers.get(timeout=SOON)
    assert kind == "UnpicklingError" and size > 0
    assert answers.get(timeout=SOON) == "after"
    crew.join()


def hide_and_get(q: Any, answers: Any) -> None:
    global Explosive
    del Explosive
    answers.put("ready")
    try:
        q.get(timeout=SOON)
    except UnpicklingError as error:
        answers.put((type(error).__name__, len(error.data)))
    answers.put(q.get(timeout=SOON))
