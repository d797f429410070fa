"""Handles as data: in arguments as multiprocessing defines; for interproc, through anything at any time."""

from __future__ import annotations

import concurrent.futures
import importlib
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

from .support import METHODS, SOON, Crew

KINDS = [
    "Queue",
    "SimpleQueue",
    "JoinableQueue",
    "Connection",
    "Value",
    "Array",
    "RawValue",
    "RawArray",
    "Lock",
    "RLock",
    "Semaphore",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Barrier",
]


def make(ctx: Any, kind: str) -> tuple[Any, Any]:
    """An object of the kind, as (what is kept here, what is handed over)."""
    if kind == "Connection":
        return ctx.Pipe()
    arguments = {
        "Value": ("i", 5),
        "Array": ("i", [1, 2, 3]),
        "RawValue": ("i", 5),
        "RawArray": ("i", [1, 2, 3]),
        "Semaphore": (0,),
        "BoundedSemaphore": (2,),
        "Barrier": (2,),
    }
    made = getattr(ctx, kind)(*arguments.get(kind, ()))
    if kind == "BoundedSemaphore":
        made.acquire()
    return made, made


def touch(kind: str, handle: Any) -> None:
    """In the child: do something to it that the other side can see."""
    if kind in ("Queue", "SimpleQueue", "JoinableQueue"):
        handle.put(f"through {kind}")
    elif kind == "Connection":
        handle.send("through Connection")
    elif kind in ("Value", "RawValue"):
        handle.value += 1
    elif kind in ("Array", "RawArray"):
        handle[1] = 99
    elif kind in ("Lock", "RLock"):
        with handle:
            pass
    elif kind in ("Semaphore", "BoundedSemaphore"):
        handle.release()
    elif kind == "Condition":
        with handle:
            handle.notify_all()
    elif kind == "Event":
        handle.set()
    elif kind == "Barrier":
        handle.wait(SOON)


def check(kind: str, kept: Any) -> None:
    """Here: see what the child did; call it before the child is joined."""
    if kind in ("Queue", "JoinableQueue"):
        assert kept.get(timeout=SOON) == f"through {kind}"
    elif kind == "SimpleQueue":
        assert kept.get() == "through SimpleQueue"
    elif kind == "Connection":
        assert kept.poll(SOON) and kept.recv() == "through Connection"
    elif kind in ("Semaphore", "BoundedSemaphore"):
        assert kept.acquire(timeout=SOON)
    elif kind in ("Lock", "RLock"):
        assert kept.acquire(timeout=SOON)
        kept.release()
    elif kind == "Event":
        assert kept.wait(SOON)
    elif kind == "Barrier":
        kept.wait(SOON)


def check_after(kind: str, kept: Any) -> None:
    """Here: what is to be seen only once the child has ended."""
    if kind in ("Value", "RawValue"):
        assert kept.value == 6
    elif kind in ("Array", "RawArray"):
        assert list(kept) == [1, 99, 3]


def touch_received(source: Any, count: int) -> None:
    """In the child: take handles out of a queue or a connection."""
    receive = source.recv if hasattr(source, "recv") else source.get
    for _ in range(count):
        kind, handle = receive()
        touch(kind, handle)


def pass_on(source: Any, target: Any, count: int) -> None:
    for _ in range(count):
        target.put(source.get())


@pytest.mark.parametrize("kind", KINDS)
def test_as_an_argument(ctx: Any, crew: Crew, kind: str) -> None:
    kept, given = make(ctx, kind)
    crew.start(touch, kind, given)
    check(kind, kept)
    crew.join()
    check_after(kind, kept)


def test_inside_of_containers_in_arguments(ctx: Any, crew: Crew) -> None:
    q, event = ctx.Queue(), ctx.Event()
    crew.start(touch_nested, {"queues": [q], "event": (event,)})
    assert q.get(timeout=SOON) == "nested"
    assert event.wait(SOON)
    crew.join()


def touch_nested(things: dict[str, Any]) -> None:
    things["queues"][0].put("nested")
    things["event"][0].set()


@pytest.fixture(params=METHODS)
def own(request: pytest.FixtureRequest) -> Any:
    """A context of interproc."""
    return importlib.import_module("interproc").get_context(request.param)


@pytest.mark.parametrize("way", ["Queue", "SimpleQueue", "Connection"])
def test_interproc_through_a_queue_or_pipe(own: Any, way: str) -> None:
    """Each kind of object, while the child runs already."""
    crew = Crew(own)
    try:
        near, far = make(own, way)
        crew.start(touch_received, far, len(KINDS))
        send = near.send if way == "Connection" else near.put
        kept = []
        for kind in KINDS:
            mine, given = make(own, kind)
            send((kind, given))
            check(kind, mine)
            kept.append((kind, mine))
        crew.join()
        for kind, mine in kept:
            check_after(kind, mine)
    finally:
        crew.end()


def test_interproc_through_two_queues(own: Any) -> None:
    crew = Crew(own)
    try:
        first, second = own.Queue(), own.Queue()
        crew.start(pass_on, first, second, len(KINDS))
        crew.start(touch_received, second, len(KINDS))
        for kind in KINDS:
            mine, given = make(own, kind)
            first.put((kind, given))
            check(kind, mine)
        crew.join()
    finally:
        crew.end()


def test_interproc_into_an_executor(own: Any) -> None:
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=own) as pool:
        assert pool.submit(abs, -1).result(SOON) == 1  # the worker runs before any handle is made
        for kind in KINDS:
            mine, given = make(own, kind)
            future = pool.submit(touch, kind, given)
            check(kind, mine)
            future.result(SOON)
            check_after(kind, mine)


@pytest.mark.parametrize("kind", KINDS)
def test_interproc_within_one_process(kind: str) -> None:
    kept, given = make(importlib.import_module("interproc"), kind)
    # A raw ctypes object is data to plain pickle; it is shared by what queues, pipes and Process pickle with.
    dumps = ForkingPickler.dumps if kind.startswith("Raw") else pickle.dumps
    copy = pickle.loads(dumps(given))
    if kind == "Barrier":
        assert copy.parties == 2 and copy.n_waiting == 0
        return
    touch(kind, copy)
    check(kind, kept)
    check_after(kind, kept)
