"""A shared number and a shared array: addition, locked access, and copies against the speed of memcpy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import processes
from benchmarks.adapters import MEMCPY, PEERS, Adapter
from benchmarks.rows import Plan, Row, Sample, Suite, Target

LENGTH = 1_000_000
CONTENDERS = 4
LIMIT = 90.0  # seconds for a run
SAME = 0.95  # "no slower", less what two medians of the same work differ by
MEMCPY_SHARE = 0.9  # "at memcpy speed", likewise; from cache, that differs more


class WrongResult(AssertionError):
    """The memory does not hold what the operations should have left there."""


# ---- a number


def _add(gate: processes.Gate, adapter: Adapter, value: Any, times: int) -> dict[str, Any]:
    adapter.increment(value, 100)  # first touches of the memory, and of the interpreter's caches
    began = gate.start()
    adapter.increment(value, times)
    return {"began": began, "ended": time.perf_counter()}


def _locked_add(gate: processes.Gate, adapter: Adapter, value: Any, times: int) -> dict[str, Any]:
    began = gate.start()
    for _ in range(times + 100):
        with value.get_lock():
            value.value += 1
    return {"began": began, "ended": time.perf_counter()}


def _adding(adapter: Adapter, plan: Plan, body: Callable[..., dict[str, Any]], contenders: int) -> Sample:
    times = plan.size(1_000_000 if contenders > 1 else 500_000, 1_000) // contenders
    value = adapter.value(plan.method)
    answers = processes.run(adapter, plan.method, [(body, (adapter, value, times))] * contenders, LIMIT)
    total = (times + 100) * contenders
    if value.value != total:
        raise WrongResult(f"{total} increments left {value.value}")
    seconds = max(a["ended"] for a in answers) - min(a["began"] for a in answers)
    return Sample(seconds / (times * contenders) * 1e9, total)


def add(adapter: Adapter, plan: Plan) -> Sample:
    """Nanoseconds an increment, one process."""
    return _adding(adapter, plan, _add, 1)


def add_contended(adapter: Adapter, plan: Plan) -> Sample:
    """Nanoseconds an increment, elapsed time over all increments of four processes."""
    return _adding(adapter, plan, _add, CONTENDERS)


def locked_add(adapter: Adapter, plan: Plan) -> Sample:
    """Nanoseconds for `with v.get_lock(): v.value += 1`, one process, every peer."""
    return _adding(adapter, plan, _locked_add, 1)


def locked_add_contended(adapter: Adapter, plan: Plan) -> Sample:
    """The same, elapsed time over all increments of four processes."""
    return _adding(adapter, plan, _locked_add, CONTENDERS)


def _read_value(gate: processes.Gate, value: Any, times: int) -> dict[str, Any]:
    value.value = 42
    began = gate.start()
    for _ in range(times):
        value.value  # noqa: B018
    ended = time.perf_counter()
    if value.value != 42:
        raise WrongResult(f"42 was stored, {value.value} is read")
    return {"seconds": ended - began}


def _write_value(gate: processes.Gate, value: Any, times: int) -> dict[str, Any]:
    began = gate.start()
    for i in range(times):
        value.value = i
    ended = time.perf_counter()
    return {"seconds": ended - began}


def value_read(adapter: Adapter, plan: Plan) -> Sample:
    """Nanoseconds to read `v.value` with its lock."""
    times = plan.size(300_000, 1_000)
    value = adapter.value(plan.method)
    (answer,) = processes.run(adapter, plan.method, [(_read_value, (value, times))], LIMIT)
    return Sample(answer["seconds"] / times * 1e9, times)


def value_write(adapter: Adapter, plan: Plan) -> Sample:
    """Nanoseconds to store `v.value` with its lock."""
    times = plan.size(300_000, 1_000)
    value = adapter.value(plan.method)
    (answer,) = processes.run(adapter, plan.method, [(_write_value, (value, times))], LIMIT)
    if value.value != times - 1:
        raise WrongResult(f"{times - 1} was stored by a child, {value.value} is read by its parent")
    return Sample(answer["seconds"] / times * 1e9, times)


# ---- an array


def _median_time(operation: Callable[[], object], times: int) -> float:
    """Seconds: the median over single calls, after one that is not counted."""
    operation()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        operation()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _list_out(gate: processes.Gate, shared: Any, length: int, times: int) -> dict[str, Any]:
    shared[:] = list(range(length))
    gate.start()
    seconds = _median_time(lambda: shared[:], times)
    if shared[:] != list(range(length)):
        raise WrongResult("arr[:] is not the list that was written")
    return {"seconds": seconds}


def _list_in(gate: processes.Gate, shared: Any, length: int, times: int) -> dict[str, Any]:
    numbers = list(range(length))

    def write() -> None:
        shared[:] = numbers

    gate.start()
    return {"seconds": _median_time(write, times)}


def _lists(adapter: Adapter, plan: Plan, body: Callable[..., dict[str, Any]]) -> Sample:
    length, times = plan.size(LENGTH, 10_000), plan.size(9, 3)
    shared = adapter.array(plan.method, length)
    (answer,) = processes.run(adapter, plan.method, [(body, (shared, length, times))], LIMIT)
    if shared[:] != list(range(length)):
        raise WrongResult("the parent does not read from the array what its child wrote there")
    return Sample(answer["seconds"] * 1e3, length)


def list_from_array(adapter: Adapter, plan: Plan) -> Sample:
    """Milliseconds for `arr[:]` of 1e6 ints, as a list."""
    return _lists(adapter, plan, _list_out)


def array_from_list(adapter: Adapter, plan: Plan) -> Sample:
    """Milliseconds for `arr[:] = list` of 1e6 ints."""
    return _lists(adapter, plan, _list_in)


def _copy(
    gate: processes.Gate, adapter: Adapter, shared: Any, length: int, times: int, how: str
) -> dict[str, Any]:
    import numpy as np

    numbers: Any = np.arange(length, dtype=np.intc)
    private: Any = np.zeros(length, np.intc)
    view = adapter.as_numpy(shared)
    np.copyto(view, numbers if how.endswith("read") else 0)
    gate.start()
    if how == "numpy_read":
        seconds = _median_time(lambda: np.copyto(private, view), times)
    elif how == "numpy_write":
        seconds = _median_time(lambda: np.copyto(view, numbers), times)
    else:
        raw = adapter.as_memoryview(shared).cast("B")  # the formats of two views must be the same
        mine = memoryview(private if how == "view_read" else numbers).cast("B")
        into, outof = (mine, raw) if how == "view_read" else (raw, mine)

        def copy() -> None:
            into[:] = outof

        seconds = _median_time(copy, times)
    if how.endswith("read") and not np.array_equal(private, numbers):
        raise WrongResult("the copy read from the array differs from what it held")
    return {"seconds": seconds, "same": bool(np.array_equal(view, numbers))}


def _copies(adapter: Adapter, plan: Plan, how: str) -> Sample:
    length, times = plan.size(LENGTH, 10_000), plan.size(200, 5)
    shared = adapter.array(plan.method, length)
    (answer,) = processes.run(adapter, plan.method, [(_copy, (adapter, shared, length, times, how))], LIMIT)
    if not answer["same"]:
        raise WrongResult("the array does not hold what was copied into it")
    if adapter is not MEMCPY and int(adapter.as_numpy(shared)[-1]) != length - 1:
        raise WrongResult("the parent does not see what its child copied into the array")
    return Sample(length * 4 / answer["seconds"] / 1e9, length)


def numpy_read(adapter: Adapter, plan: Plan) -> Sample:
    """GB per second for `np.copyto(private, np.asarray(arr))`."""
    return _copies(adapter, plan, "numpy_read")


def numpy_write(adapter: Adapter, plan: Plan) -> Sample:
    """GB per second for `np.copyto(np.asarray(arr), private)`."""
    return _copies(adapter, plan, "numpy_write")


def view_read(adapter: Adapter, plan: Plan) -> Sample:
    """GB per second for `private[:] = memoryview(arr)`."""
    return _copies(adapter, plan, "view_read")


def view_write(adapter: Adapter, plan: Plan) -> Sample:
    """GB per second for `memoryview(arr)[:] = private`."""
    return _copies(adapter, plan, "view_write")


_TO_MEMCPY = Target(f"memcpy speed (≥ {MEMCPY_SHARE:g}x)", ratio=MEMCPY_SHARE)
_NO_SLOWER = Target(f"no slower (≥ {SAME:g}x)", ratio=SAME)
_COPIERS = (MEMCPY, *PEERS)

SUITE = Suite(
    "value_array",
    "Value and Array",
    (
        Row("add", "`v.add(1)` against a locked `+= 1`", "ns", False, add, Target("≥ 6x", ratio=6)),
        Row(
            "add_contended",
            f"the same, {CONTENDERS} processes contending",
            "ns",
            False,
            add_contended,
            Target("≥ 10x", ratio=10),
        ),
        Row("locked_add", "a locked `+= 1` on both sides", "ns", False, locked_add),
        Row(
            "locked_add_contended",
            f"the same, {CONTENDERS} processes contending",
            "ns",
            False,
            locked_add_contended,
        ),
        Row("value_read", "`v.value` read, with lock", "ns", False, value_read, Target("≥ 2x", ratio=2)),
        Row("value_write", "`v.value` written, with lock", "ns", False, value_write, Target("≥ 2x", ratio=2)),
        Row(
            "list_from_array",
            "Array of 1e6 ints: `arr[:]` as a list",
            "ms",
            False,
            list_from_array,
            _NO_SLOWER,
        ),
        Row(
            "array_from_list",
            "Array of 1e6 ints: written from a list",
            "ms",
            False,
            array_from_list,
            _NO_SLOWER,
        ),
        Row(
            "numpy_read",
            "Array of 1e6 ints: read through NumPy",
            "GB/s",
            True,
            numpy_read,
            _TO_MEMCPY,
            "memcpy",
            _COPIERS,
        ),
        Row(
            "numpy_write",
            "Array of 1e6 ints: written through NumPy",
            "GB/s",
            True,
            numpy_write,
            _TO_MEMCPY,
            "memcpy",
            _COPIERS,
        ),
        Row(
            "view_read",
            "Array of 1e6 ints: read through memoryview",
            "GB/s",
            True,
            view_read,
            _TO_MEMCPY,
            "memcpy",
            _COPIERS,
        ),
        Row(
            "view_write",
            "Array of 1e6 ints: written through memoryview",
            "GB/s",
            True,
            view_write,
            _TO_MEMCPY,
            "memcpy",
            _COPIERS,
        ),
    ),
)
