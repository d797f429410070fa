"""The basics of Pool: the standard pool runs on a context's SimpleQueue, locks and Process."""

from __future__ import annotations

import os
from typing import Any

import pytest

from .support import SOON


def square(number: int) -> int:
    return number * number


def add(first: int, second: int) -> int:
    return first + second


def fail_on(number: int) -> int:
    if number == 5:
        raise KeyError("five")
    return number


def pid(_: Any = None) -> int:
    return os.getpid()


STATE: list[Any] = []


def remember(*items: Any) -> None:
    STATE.extend(items)


def recall(_: Any) -> list[Any]:
    return STATE


def bump(_: Any) -> None:
    with STATE[0].get_lock():
        STATE[0].value += 1


def test_map_and_its_kin(ctx: Any) -> None:
    with ctx.Pool(2) as pool:
        assert pool.map(square, range(50)) == [n * n for n in range(50)]
        assert pool.map(square, range(50), chunksize=7) == [n * n for n in range(50)]
        assert pool.map(square, []) == []
        assert pool.starmap(add, [(1, 2), (3, 4)]) == [3, 7]
        assert list(pool.imap(square, range(20))) == [n * n for n in range(20)]
        assert sorted(pool.imap_unordered(square, range(20), chunksize=3)) == [n * n for n in range(20)]
        assert pool.apply(add, (1,), {"second": 2}) == 3
        assert pool.map_async(square, range(5)).get(SOON) == [0, 1, 4, 9, 16]
        assert pool.starmap_async(add, [(1, 1)]).get(SOON) == [2]
        assert os.getpid() not in set(pool.map(pid, range(10)))
        assert len(pool.map(bytes, [500_000] * 4)[3]) == 500_000
        pool.close()
        pool.join()


def test_apply_async(mp: Any) -> None:
    called: list[Any] = []
    with mp.Pool(2) as pool:
        result = pool.apply_async(add, (20, 22), callback=called.append)
        assert result.get(SOON) == 42
        assert result.ready() and result.successful()
        failed = pool.apply_async(fail_on, (5,), error_callback=called.append)
        with pytest.raises(KeyError):
            failed.get(SOON)
        assert not failed.successful()
        pool.close()
        pool.join()
    assert called[0] == 42 and isinstance(called[1], KeyError)


def test_exceptions(ctx: Any) -> None:
    with ctx.Pool(2) as pool:
        with pytest.raises(KeyError, match="five"):
            pool.map(fail_on, range(10))
        results = pool.imap(fail_on, range(4, 7))
        assert next(results) == 4
        with pytest.raises(KeyError):
            next(results)
        assert next(results) == 6
        assert pool.map(square, [3]) == [9]


def test_initializer_with_shared_objects(ctx: Any) -> None:
    value = ctx.Value("i", 0)
    with ctx.Pool(2, initializer=remember, initargs=(value,)) as pool:
        pool.map(bump, range(40))
        pool.close()
        pool.join()
    assert value.value == 40


def test_maxtasksperchild(mp: Any) -> None:
    with mp.Pool(1, maxtasksperchild=2) as pool:
        assert len(set(pool.map(pid, range(6), chunksize=1))) == 3
        pool.close()
        pool.join()


def test_terminate_leaves_no_child(mp: Any) -> None:
    before = set(mp.active_children())
    pool = mp.Pool(2)
    pool.map(square, range(3))
    pool.terminate()
    pool.join()
    with pytest.raises(ValueError):
        pool.apply(square, (1,))
    assert set(mp.active_children()) - before == set()
