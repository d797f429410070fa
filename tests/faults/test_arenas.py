"""Two arenas in one process, and handles that reach a process which is not in their arena."""

from __future__ import annotations

import gc
import os
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
from dropin.support import SOON, Crew

import interproc as mp
from interproc._core import Arena
from interproc.errors import HandleError, InterprocError
from interproc.queues import Queue

from .support import forked, python, settled, status_of

SMALL = 16 << 20  # bytes


def test_two_arenas_are_apart() -> None:
    first, second = Arena.create(limit=SMALL), Arena.create(limit=SMALL)
    assert first.uid != second.uid != Arena.default().uid
    used = second.used
    q = Queue(arena=first)
    q.put(b"x" * 5_000_000)
    assert second.used == used
    other = Queue(arena=second)
    other.put("in the second")
    assert (len(q.get(timeout=SOON)), other.get(timeout=SOON)) == (5_000_000, "in the second")
    assert (q.arena.uid, other.arena.uid) == (first.uid, second.uid)
    assert len(first.objects()) == len(second.objects()) == 1


def test_one_full_arena_leaves_the_other_alone() -> None:
    first, second = Queue(arena=Arena.create(limit=SMALL)), Queue(arena=Arena.create(limit=SMALL))
    with pytest.raises(MemoryError):
        for _ in range(1000):
            first.put(b"x" * 100_000)
    second.put(b"y" * 100_000)
    assert second.get(timeout=SOON) == b"y" * 100_000


def test_a_handle_of_one_arena_through_a_queue_of_another() -> None:
    inner, outer = Queue(arena=Arena.create(limit=SMALL)), mp.Queue()
    outer.put(inner)
    got = outer.get(timeout=SOON)
    got.put("through")
    assert inner.get(timeout=SOON) == "through"


def test_a_forked_child_is_in_all_arenas(crew: Crew) -> None:
    qs = [Queue(arena=Arena.create(limit=SMALL)) for _ in range(3)]
    crew.start(put_to_all, qs)
    assert [q.get(timeout=SOON) for q in qs] == ["from the child"] * 3
    crew.join()


def put_to_all(qs: list[Any]) -> None:
    for q in qs:
        q.put("from the child")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_another_arena_as_an_argument(method: str) -> None:
    crew = Crew(mp.get_context(method))
    qs = [mp.Queue(), Queue(arena=Arena.create(limit=SMALL))]
    try:
        crew.start(put_to_all, qs)
        assert [q.get(timeout=SOON) for q in qs] == ["from the child"] * 2
        crew.join()
    finally:
        crew.end()


def test_a_handle_that_reaches_a_process_outside_of_its_arena(crew: Crew) -> None:
    """The child was forked before the other arena was made: it is told so, and its queue goes on."""
    jobs, answers = mp.Queue(), mp.Queue()
    crew.start(take_and_tell, jobs, answers, 3)
    jobs.put("warm")
    assert answers.get(timeout=SOON) == ("got", "'warm'")
    jobs.put(Queue(arena=Arena.create(limit=SMALL)))
    kind, text = answers.get(timeout=SOON)
    assert kind in ("HandleError", "UnpicklingError")
    assert "arena" in text, text
    jobs.put("after")
    assert answers.get(timeout=SOON) == ("got", "'after'")
    crew.join()


def take_and_tell(jobs: Any, answers: Any, count: int) -> None:
    for _ in range(count):
        try:
            answers.put(("got", repr(jobs.get(timeout=SOON))))
        except InterprocError as error:
            answers.put((type(error).__name__, f"{error} {error.__cause__}"))


@pytest.mark.parametrize("kind", ["Queue", "Pipe", "Value", "RawArray", "Lock", "Condition", "Event"])
def test_a_handle_in_an_unrelated_process(kind: str) -> None:
    made: Any = {
        "Queue": mp.Queue,
        "Pipe": lambda: mp.Pipe()[0],
        "Value": lambda: mp.Value("i", 1),
        "RawArray": lambda: mp.RawArray("i", 3),
        "Lock": mp.Lock,
        "Condition": mp.Condition,
        "Event": mp.Event,
    }[kind]()
    data = bytes(ForkingPickler.dumps(made))
    out = python(
        """if 1:
        import pickle, sys
        import interproc
        from interproc.errors import HandleError
        try:
            print("loaded", pickle.load(sys.stdin.buffer))
        except HandleError as error:
            print("HandleError", error)
        q = interproc.Queue()
        q.put("well")
        print(q.get(timeout=20))
        """,
        stdin=data,
    )
    first, last = out.splitlines()
    assert first.startswith("HandleError"), out
    assert "arena" in first and ("tree" in first or "process" in first), first  # what was wrong
    assert last == "well"


def test_a_handle_whose_object_is_gone() -> None:
    q = mp.Queue()
    data = pickle.dumps(q)
    q.close()
    del q
    gc.collect()
    fresh = [mp.Queue() for _ in range(3)]  # may lie where it lay
    with pytest.raises(HandleError):
        pickle.loads(data).put(1)
    assert all(other.empty() for other in fresh)


def test_damaged_pickles_of_handles() -> None:
    q = mp.Queue()
    data = pickle.dumps(q)
    wrong = 0
    for position in range(len(data)):
        for flip in (1, 0x80):
            broken = bytearray(data)
            broken[position] ^= flip
            try:
                other = pickle.loads(bytes(broken))
                if isinstance(other, type(q)):
                    other.empty()
            except BaseException as error:
                assert not isinstance(error, SystemError)
                wrong += 1
    assert wrong
    q.put(1)
    assert q.get(timeout=SOON) == 1


def test_exec_leaves_the_arena(arena: Arena) -> None:
    """Another program in the same process is not a member any more."""
    used, members = arena.used, len(arena.members())

    def become_another() -> None:
        own = mp.Queue()
        own.put(b"x" * 500_000)
        os.execv("/bin/sleep", ["sleep", "1"])

    pid = forked(become_another)
    assert status_of(pid) == 0
    settled(arena, used)
    assert len(arena.members()) == members
