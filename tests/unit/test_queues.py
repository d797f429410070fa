"""Tests of the queues within a process: bounds, batches, counts, names, and the sides libraries reach for."""

from __future__ import annotations

import gc
import pickle
import queue
import selectors
import threading
import typing
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from dropin.support import NEVER, SOON, until

import interproc
from interproc import PicklingError, ShutDown, UnpicklingError
from interproc.queues import JoinableQueue, Queue, SimpleQueue

MIB = 1 << 20


class Refuses:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return refuse, ()


def refuse() -> None:
    raise RuntimeError("not today")


def drain(q: Queue[Any]) -> list[Any]:
    """All that is in it."""
    return q.get_many(1000, block=False) if q.qsize() else []


@pytest.fixture
def thread() -> Iterator[Any]:
    """Runs a function in a thread; a list gets what it returned."""
    started = []

    def run(function: Any, *args: Any) -> tuple[threading.Thread, list[Any]]:
        results: list[Any] = []
        runner = threading.Thread(target=lambda: results.append(function(*args)), daemon=True)
        runner.start()
        started.append(runner)
        return runner, results

    yield run
    for runner in started:
        runner.join(SOON)
        assert not runner.is_alive()


# ---- what a queue is


@pytest.mark.parametrize("kind", [Queue, JoinableQueue, SimpleQueue])
def test_a_subscripted_class_makes_queues_of_the_class(kind: Any) -> None:
    alias = kind[tuple[int, str]]
    assert typing.get_origin(alias) is kind
    assert typing.get_args(alias) == (tuple[int, str],)
    made = alias()
    assert type(made) is kind
    made.put((1, "a"))
    assert made.get() == (1, "a")


def test_a_subscripted_class_can_be_derived_from() -> None:
    class Jobs(Queue[str]):
        def put_twice(self, item: str) -> None:
            self.put_many([item, item])

    jobs = Jobs(maxsize=5)
    jobs.put_twice("a")
    assert jobs.get_many(10) == ["a", "a"]
    with pytest.raises(TypeError):
        isinstance(jobs, Queue[str])


def test_the_classes_are_those_of_the_package() -> None:
    assert (interproc.Queue, interproc.JoinableQueue, interproc.SimpleQueue) == (
        Queue,
        JoinableQueue,
        SimpleQueue,
    )
    assert issubclass(JoinableQueue, Queue)
    assert not issubclass(SimpleQueue, Queue)


def test_a_keyword_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="sizemax"):
        Queue(sizemax=3)  # type: ignore[call-arg]


# ---- bounds


def test_maxsize_bounds_the_items() -> None:
    q = Queue[int](2)
    assert (q.maxsize, q.max_bytes, q.full()) == (2, 0, False)
    q.put(1)
    q.put_nowait(2)
    assert q.full()
    with pytest.raises(queue.Full):
        q.put_nowait(3)
    with pytest.raises(queue.Full):
        q.put(3, timeout=NEVER)
    assert q.get() == 1
    assert not q.full()
    q.put(3, block=False)
    assert drain(q) == [2, 3]


@pytest.mark.parametrize("bound", [0, -1])
def test_no_bound_is_no_bound(bound: int) -> None:
    q = Queue[int](bound, max_bytes=bound)
    q.put_many(range(10_000))
    assert (q.maxsize, q.max_bytes) == (0, 0)
    assert not q.full()
    assert q.get_many(20_000) == list(range(10_000))


def test_max_bytes_bounds_the_bytes_of_the_messages() -> None:
    q = Queue[bytes](max_bytes=10_000)
    put = 0
    with pytest.raises(queue.Full):
        while True:
            q.put_nowait(b"x" * 900)
            put += 1
    assert 10 <= put <= 11
    assert q.counters()["bytes"] >= 900 * put
    for _ in range(put):
        q.get()
    assert q.counters()["bytes"] == 0
    q.put_nowait(b"x" * 900)


def test_a_message_larger_than_max_bytes_passes_when_it_is_alone() -> None:
    q = Queue[bytes](max_bytes=1000)
    for size in (5000, MIB):
        q.put(b"x" * size, timeout=SOON)
        with pytest.raises(queue.Full):
            q.put_nowait(b"y")
        assert q.full()
        assert len(q.get()) == size


def test_a_put_that_waits_for_bytes_goes_on_when_there_is_room(thread: Any) -> None:
    q = Queue[bytes](max_bytes=1000)
    q.put(b"x" * 2000)
    runner, _ = thread(q.put, b"y")
    runner.join(NEVER)
    assert runner.is_alive()
    assert q.get() == b"x" * 2000
    assert q.get(timeout=SOON) == b"y"


# ---- many at once


def test_many_are_put_and_taken_in_order_whatever_their_size() -> None:
    items = [0, "a", b"b" * 100_000, None, bytearray(300_000), 2, [1, 2], b"c" * MIB, *range(1000)]
    q = Queue[Any]()
    assert q.put_many(iter(items)) == len(items)
    assert q.qsize() == len(items)
    found: list[Any] = []
    while len(found) < len(items):
        found += q.get_many(300)
    assert found == items


def test_many_may_be_none() -> None:
    q = Queue[int]()
    assert q.put_many([]) == 0
    assert q.empty()


@pytest.mark.parametrize("n", [0, -1])
def test_less_than_one_cannot_be_taken(n: int) -> None:
    q = Queue[int]()
    q.put(1)
    with pytest.raises(ValueError, match=f"not {n}"):
        q.get_many(n)
    assert q.qsize() == 1


def test_get_many_waits_for_the_first_only(thread: Any) -> None:
    q = Queue[int]()
    with pytest.raises(queue.Empty):
        q.get_many(10, block=False)
    with pytest.raises(queue.Empty):
        q.get_many(10, timeout=NEVER)
    runner, results = thread(q.get_many, 10, True, SOON)
    q.put(7)
    runner.join(SOON)
    assert results == [[7]]
    q.put_many([8, 9])
    assert q.get_many(10, timeout=SOON) == [8, 9]


def test_what_cannot_be_pickled_stops_put_many_behind_those_before_it() -> None:
    q = Queue[Any]()
    with pytest.raises(PicklingError, match="lambda") as caught:
        q.put_many([1, 2, lambda: None, 4])
    assert caught.value.put == 2  # type: ignore[attr-defined]
    assert drain(q) == [1, 2]


def test_a_failing_iterable_stops_put_many_behind_those_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(300)
        raise LookupError("no more")

    q = Queue[int]()
    with pytest.raises(LookupError) as caught:
        q.put_many(items())
    assert caught.value.put == 300  # type: ignore[attr-defined]
    assert drain(q) == list(range(300))


def test_a_full_queue_stops_put_many_with_the_number_put() -> None:
    q = Queue[int](200)
    with pytest.raises(queue.Full) as caught:
        q.put_many(range(1000), timeout=NEVER)
    assert caught.value.put == 200  # type: ignore[attr-defined]
    assert drain(q) == list(range(200))


def test_a_shutdown_stops_put_many_with_the_number_put(thread: Any) -> None:
    q = Queue[int](200)

    def put() -> Any:
        with pytest.raises(ShutDown) as caught:
            q.put_many(range(1000))
        return caught.value

    runner, results = thread(put)
    until(q.full)
    q.shutdown()
    runner.join(SOON)
    assert results[0].put == 200
    assert drain(q) == list(range(200))


def test_put_many_waits_for_room_as_long_as_it_takes(thread: Any) -> None:
    q = Queue[int](10)
    runner, results = thread(q.put_many, range(1000))
    found: list[int] = []
    while len(found) < 1000:
        found += q.get_many(7, timeout=SOON)
    assert found == list(range(1000))
    runner.join(SOON)
    assert results == [1000]


def test_one_of_many_that_cannot_be_unpickled_does_not_take_the_others_with_it() -> None:
    q = Queue[Any]()
    q.put_many([1, Refuses(), 3])
    with pytest.raises(UnpicklingError, match="not today") as caught:
        q.get_many(10)
    assert caught.value.items == [1, 3]  # type: ignore[attr-defined]
    assert q.empty()
    with pytest.raises(RuntimeError, match="not today"):
        pickle.loads(caught.value.data)


def test_what_cannot_be_unpickled_is_counted_as_taken() -> None:
    q = Queue[Any]()
    q.put_many([Refuses(), "next"])
    with pytest.raises(UnpicklingError):
        q.get()
    assert q.counters()["taken"] == 1
    assert q.get() == "next"


# ---- until shutdown


def test_iteration_ends_at_the_shutdown(thread: Any) -> None:
    q = Queue[int]()
    runs = [thread(list, q) for _ in range(3)]
    for i in range(500):
        q.put(i)
    q.shutdown()
    for runner, _ in runs:
        runner.join(SOON)
    parts = [results[0] for _, results in runs]
    assert sorted(i for part in parts for i in part) == list(range(500))
    assert all(part == sorted(part) for part in parts)


def test_after_a_shutdown_what_is_in_it_can_be_taken_and_nothing_put() -> None:
    q = Queue[int]()
    assert not q.is_shutdown
    q.put_many([1, 2])
    q.shutdown()
    assert q.is_shutdown
    for put in (lambda: q.put(3), lambda: q.put_nowait(3), lambda: q.put_many([3])):
        with pytest.raises(ShutDown, match="shut down"):
            put()
    assert [q.get(), q.get_nowait()] == [1, 2]
    for get in (q.get, q.get_nowait, lambda: q.get_many(2)):
        with pytest.raises(ShutDown):
            get()
    assert list(q) == []


def test_an_immediate_shutdown_empties_it() -> None:
    q = Queue[Any]()
    q.put_many([1, b"x" * MIB, 3])
    q.shutdown(immediate=True)
    assert q.empty()
    assert list(q) == []


def test_a_shutdown_wakes_who_waits(thread: Any) -> None:
    empty, full = Queue[int](), Queue[int](1)
    full.put(1)

    def raises(function: Any, *args: Any) -> bool:
        with pytest.raises(ShutDown):
            function(*args)
        return True

    runs = [thread(raises, empty.get), thread(raises, empty.get_many, 5), thread(raises, full.put, 2)]
    empty.shutdown()
    full.shutdown()
    for runner, results in runs:
        runner.join(SOON)
        assert results == [True]


def test_shutdown_is_the_standard_librarys_where_that_has_it() -> None:
    assert issubclass(ShutDown, getattr(queue, "ShutDown", Exception))
    assert not issubclass(ShutDown, (queue.Empty, queue.Full))


# ---- counts


def test_the_counters_are_exact() -> None:
    q = Queue[Any]()
    assert q.counters() == {"put": 0, "taken": 0, "done": 0, "bytes": 0}
    q.put_many(range(500))
    q.put(b"x" * MIB)
    q.get_many(100)
    q.get()
    q.task_done()
    counters = q.counters()
    assert counters.pop("bytes") >= MIB
    assert counters == {"put": 501, "taken": 101, "done": 1}
    assert q.qsize() == 400
    while q.qsize():
        q.get()
    assert q.counters() == {"put": 501, "taken": 501, "done": 1, "bytes": 0}


def test_join_waits_until_each_item_is_done() -> None:
    q = Queue[int]()
    assert q.join(timeout=0)
    q.put_many([1, 2])
    q.get_many(2)
    assert not q.join(timeout=NEVER)
    q.task_done()
    assert not q.join(timeout=0)
    q.task_done()
    assert q.join()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()


def test_poll_takes_nothing() -> None:
    q = Queue[int]()
    assert not q.poll()
    assert not q.poll(NEVER)
    q.put(1)
    assert q.poll()
    assert q.poll(timeout=None)
    assert q.qsize() == 1
    q.get()
    q.shutdown()
    assert q.poll(None)


@pytest.mark.parametrize("timeout", [float("nan"), "1"])
def test_what_is_no_timeout_is_refused(timeout: Any) -> None:
    q = Queue[int](1)
    for call in (lambda: q.get(timeout=timeout), lambda: q.put(1, timeout=timeout), lambda: q.poll(timeout)):
        with pytest.raises((ValueError, TypeError)):
            call()
    assert q.empty()


# ---- close


def test_join_thread_is_for_after_close_as_in_multiprocessing() -> None:
    q = Queue[int]()
    q.cancel_join_thread()
    with pytest.raises(AssertionError):
        q.join_thread()
    q.close()
    q.join_thread()


def test_a_close_in_another_thread_ends_a_wait(thread: Any) -> None:
    empty, full = Queue[int](), Queue[int](1)
    full.put(1)

    def raises(function: Any, *args: Any) -> bool:
        with pytest.raises(ValueError, match="closed"):
            function(*args)
        return True

    runs = [
        thread(raises, empty.get),
        thread(raises, empty.poll, None),
        thread(raises, full.put, 2),
        thread(raises, full.join),
    ]
    for runner, _ in runs:
        runner.join(NEVER)
        assert runner.is_alive()
    empty.close()
    full.close()
    for runner, results in runs:
        runner.join(SOON)
        assert results == [True]


# ---- the sides that libraries reach for


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_the_sides_are_connections_to_look_at(kind: Any) -> None:
    q = kind()
    reader, writer = q._reader, q._writer
    assert reader == q._reader != writer
    assert q._writer in [writer], "what wait() answers can be looked up"
    assert (reader.readable, reader.writable) == (True, False)
    assert (writer.readable, writer.writable) == (False, True)
    assert not reader.poll()
    writer.send("a")
    assert reader.poll()
    assert reader.poll(None)
    assert reader.recv() == "a"
    assert reader.fileno() == q.fileno()


def test_a_queue_whose_sides_were_used_goes_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        q = SimpleQueue[int]()
        q._writer.send(1)
        q._reader.recv()
        gone = weakref.ref(q)
        del q
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [Queue, SimpleQueue])
def test_the_locks_that_a_pool_takes_are_locks(kind: Any) -> None:
    q = kind()
    for lock in (q._rlock, q._wlock):
        assert lock.acquire(timeout=SOON)
        lock.release()


def test_the_reader_can_be_selected_on() -> None:
    q = SimpleQueue[int]()
    with selectors.DefaultSelector() as selector:
        selector.register(q._reader, selectors.EVENT_READ)
        assert selector.select(0) == []
        q.put(1)
        assert len(selector.select(SOON)) == 1
        q.get()
        assert selector.select(0) == []


def test_closing_a_side_closes_nothing_but_that() -> None:
    q = SimpleQueue[int]()
    q._reader.close()
    q._writer.close()
    assert q._reader.closed
    assert q._writer.closed
    assert not q.closed
    with pytest.raises(OSError, match="closed"):
        q._writer.send(1)
    q.put(2)
    assert q.get() == 2


def test_the_reader_of_a_queue_that_was_shut_down_is_at_its_end() -> None:
    q = Queue[int]()
    q.put(1)
    q.shutdown()
    assert q._reader.recv() == 1
    with pytest.raises(EOFError):
        q._reader.recv()


def test_a_queue_whose_sides_were_used_travels_without_them() -> None:
    q = Queue[int]()
    q._writer.send(1)
    q._reader.close()
    other = pickle.loads(pickle.dumps(q))
    assert type(other) is Queue
    assert not other._reader.closed
    assert other._reader.recv() == 1
