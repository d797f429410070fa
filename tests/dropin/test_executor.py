"""ProcessPoolExecutor on a context: it reaches into the insides of queues, and must find them fit."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from .support import SOON


def executor(ctx: Any, workers: int = 2, **options: Any) -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=ctx, **options)


def square(number: int) -> int:
    return number * number


def fail(text: str) -> None:
    raise KeyError(text)


def pid() -> int:
    return os.getpid()


def die(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)


STATE: list[Any] = []


def remember(item: Any) -> None:
    STATE.append(item)


def recall() -> list[Any]:
    return STATE


def bump() -> None:
    with STATE[0].get_lock():
        STATE[0].value += 1


def wait_for_state() -> bool:
    return bool(STATE[0].wait(SOON))


def fail_to_start() -> None:
    os.close(2)  # no traceback in the output of the tests
    raise RuntimeError("the initializer fails on purpose")


def cannot_be_pickled() -> Any:
    return lambda: None


def test_submit_and_map(ctx: Any) -> None:
    with executor(ctx) as pool:
        assert pool.submit(square, 7).result(SOON) == 49
        assert list(pool.map(square, range(300), timeout=SOON)) == [n * n for n in range(300)]
        assert list(pool.map(square, range(300), chunksize=20, timeout=SOON)) == [n * n for n in range(300)]
        assert pool.submit(pid).result(SOON) != os.getpid()
        assert len(pool.submit(bytes, 3_000_000).result(SOON)) == 3_000_000
        futures = [pool.submit(square, n) for n in range(100)]
        assert sorted(f.result() for f in concurrent.futures.as_completed(futures, SOON)) == sorted(
            n * n for n in range(100)
        )


def test_exceptions_come_back(ctx: Any) -> None:
    with executor(ctx) as pool:
        with pytest.raises(KeyError, match="told") as caught:
            pool.submit(fail, "told").result(SOON)
        assert "fail" in str(caught.value.__cause__)  # the child's traceback
        assert pool.submit(square, 2).result(SOON) == 4


def test_what_cannot_be_pickled(mp: Any) -> None:
    ctx = mp.get_context("fork")
    with executor(ctx) as pool:
        with pytest.raises(Exception, match="pickle|local"):
            pool.submit(lambda: 1).result(SOON)
        with pytest.raises(Exception, match="pickle|local"):
            pool.submit(cannot_be_pickled).result(SOON)
        assert pool.submit(square, 2).result(SOON) == 4


def test_initializer_with_shared_objects(ctx: Any) -> None:
    value = ctx.Value("i", 0)
    with executor(ctx, initializer=remember, initargs=(value,)) as pool:
        for future in [pool.submit(bump) for _ in range(40)]:
            future.result(SOON)
    assert value.value == 40


def test_failing_initializer(ctx: Any) -> None:
    with executor(ctx, initializer=fail_to_start) as pool, pytest.raises(BrokenProcessPool):
        pool.submit(square, 1).result(SOON)


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_worker_that_dies_breaks_the_pool(ctx: Any, how: str) -> None:
    with executor(ctx) as pool:
        assert pool.submit(square, 2).result(SOON) == 4
        with pytest.raises(BrokenProcessPool):
            pool.submit(die, how).result(SOON)
        with pytest.raises(BrokenProcessPool):
            pool.submit(square, 2)
    with executor(ctx) as pool:  # the next one is well
        assert pool.submit(square, 3).result(SOON) == 9


def test_an_idle_worker_that_is_killed_breaks_the_pool(ctx: Any) -> None:
    event = ctx.Event()
    with executor(ctx, initializer=remember, initargs=(event,)) as pool:
        waiting = [pool.submit(wait_for_state) for _ in range(2)]
        victim = next(iter(pool._processes))
        os.kill(victim, signal.SIGKILL)
        for future in waiting:
            with pytest.raises(BrokenProcessPool):
                future.result(SOON)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_max_tasks_per_child(mp: Any, method: str) -> None:
    with executor(mp.get_context(method), 1, max_tasks_per_child=2) as pool:
        pids = [pool.submit(pid).result(SOON) for _ in range(6)]
    assert len(set(pids)) == 3


def test_max_tasks_per_child_is_refused_with_fork(mp: Any) -> None:
    with pytest.raises(ValueError):
        executor(mp.get_context("fork"), 1, max_tasks_per_child=2)


def test_cancel_and_shutdown(ctx: Any) -> None:
    event = ctx.Event()
    with executor(ctx, 1, initializer=remember, initargs=(event,)) as pool:
        first = pool.submit(wait_for_state)
        rest = [pool.submit(square, n) for n in range(50)]
        assert rest[-1].cancel()
        event.set()
        assert first.result(SOON) is True
        pool.shutdown(wait=True, cancel_futures=True)
        for future in rest:
            assert future.cancelled() or future.exception(0) is None
        with pytest.raises(RuntimeError):
            pool.submit(square, 1)


def test_it_leaves_no_child(ctx: Any) -> None:
    before = set(multiprocessing.active_children())
    with executor(ctx) as pool:
        list(pool.map(square, range(10), timeout=SOON))
    assert set(multiprocessing.active_children()) - before == set()
