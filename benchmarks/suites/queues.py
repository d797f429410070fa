"""A queue between a producer and a consumer: small tuples, batches, 1 MiB payloads, idling, being empty."""

from __future__ import annotations

import importlib.util
import os
import resource
import time
from typing import Any

from benchmarks import processes
from benchmarks.adapters import Adapter, NotOffered, Payload
from benchmarks.rows import Plan, Row, Sample, Suite, Target

BATCH = 100
MIB = 1 << 20
POOL = 8  # different payloads, sent in turn: none is changed after it was put, and a misplaced one is seen
LIMIT = 90.0  # seconds for a run


class Misdelivered(AssertionError):
    """What arrived is not what was sent."""


def _expect(number: int, what: object, wanted: object) -> None:
    if what != wanted:
        raise Misdelivered(f"item {number}: got {what!r:.80}, expected {wanted!r:.80}")


# ---- small tuples


def _produce(gate: processes.Gate, adapter: Adapter, queue: Any, count: int, batch: int) -> dict[str, Any]:
    sender = adapter.sender(queue, "small")
    if batch == 1:
        put = sender.put
        began = gate.start()
        for i in range(count):
            put((i, "hello", None))
    else:
        put_many = sender.put_many
        began = gate.start()
        for i in range(0, count, batch):
            put_many([(j, "hello", None) for j in range(i, i + batch)])
    put_all = time.perf_counter()
    gate.finish()
    sender.close()
    return {"began": began, "put_all": put_all}


def _consume(
    gate: processes.Gate, adapter: Adapter, queue: Any, count: int, batch: int, thorough: bool
) -> dict[str, Any]:
    receiver = adapter.receiver(queue, "small")
    got = 0
    item: Any = None
    if thorough:
        began = gate.start()
        while got < count:
            for item in [receiver.get()] if batch == 1 else receiver.get_many(batch):
                _expect(got, item, (got, "hello", None))
                got += 1
    elif batch == 1:
        get = receiver.get
        began = gate.start()
        for got in range(count):
            item = get()
            if item[0] != got:
                _expect(got, item[0], got)
        got += 1
    else:
        get_many = receiver.get_many
        began = gate.start()
        while got < count:
            items = get_many(batch)
            item = items[-1]
            if items[0][0] != got or item[0] != got + len(items) - 1:
                _expect(got, (items[0][0], item[0]), (got, got + len(items) - 1))
            got += len(items)
    ended = time.perf_counter()
    _expect(got - 1, item, (count - 1, "hello", None))
    gate.finish()
    receiver.close()
    return {"began": began, "ended": ended, "got": got}


def _tuples(adapter: Adapter, plan: Plan, batch: int) -> Sample:
    count = plan.size(200_000, 2_000)
    queue = adapter.queue(plan.method, "small")
    try:
        producer, consumer = processes.run(
            adapter,
            plan.method,
            [
                (_produce, (adapter, queue, count, batch)),
                (_consume, (adapter, queue, count, batch, plan.thorough)),
            ],
            LIMIT,
        )
    finally:
        adapter.discard(queue)
    seconds = consumer["ended"] - min(producer["began"], consumer["began"])
    return Sample(count / seconds, consumer["got"], {"put_seconds": producer["put_all"] - producer["began"]})


def tuples(adapter: Adapter, plan: Plan) -> Sample:
    """Tuples per second, each put and got by itself."""
    return _tuples(adapter, plan, 1)


def tuples_in_batches(adapter: Adapter, plan: Plan) -> Sample:
    """Tuples per second, with put_many and get_many where the peer has them."""
    return _tuples(adapter, plan, BATCH)


# ---- a list of 100 as one item: what a user of a queue without put_many does by hand


def _produce_lists(gate: processes.Gate, adapter: Adapter, queue: Any, count: int) -> dict[str, Any]:
    sender = adapter.sender(queue, "small")
    put = sender.put
    began = gate.start()
    for i in range(0, count, BATCH):
        put([(j, "hello", None) for j in range(i, i + BATCH)])
    gate.finish()
    sender.close()
    return {"began": began}


def _consume_lists(
    gate: processes.Gate, adapter: Adapter, queue: Any, count: int, thorough: bool
) -> dict[str, Any]:
    receiver = adapter.receiver(queue, "small")
    get = receiver.get
    began = gate.start()
    for i in range(0, count, BATCH):
        items = get()
        if items[0][0] != i or items[-1][0] != i + BATCH - 1 or len(items) != BATCH:
            raise Misdelivered(f"list {i // BATCH}: {items!r:.80}")
        if thorough:
            _expect(i, items, [(j, "hello", None) for j in range(i, i + BATCH)])
    ended = time.perf_counter()
    gate.finish()
    receiver.close()
    return {"began": began, "ended": ended}


def tuples_in_lists(adapter: Adapter, plan: Plan) -> Sample:
    """Tuples per second, in lists of 100 that are one item each."""
    count = plan.size(200_000, 2_000)
    queue = adapter.queue(plan.method, "small")
    try:
        producer, consumer = processes.run(
            adapter,
            plan.method,
            [
                (_produce_lists, (adapter, queue, count)),
                (_consume_lists, (adapter, queue, count, plan.thorough)),
            ],
            LIMIT,
        )
    finally:
        adapter.discard(queue)
    return Sample(count / (consumer["ended"] - min(producer["began"], consumer["began"])), count)


# ---- 1 MiB payloads


def _payload(payload: Payload, number: int) -> Any:
    """One of the POOL payloads: its first, middle and last byte are its number."""
    block = bytearray(MIB)
    block[0] = block[MIB // 2] = block[-1] = number % POOL
    if payload == "bytes":
        return bytes(block)
    import numpy as np

    return np.frombuffer(block, np.uint8)


def _produce_large(
    gate: processes.Gate, adapter: Adapter, queue: Any, count: int, payload: Payload
) -> dict[str, Any]:
    pool = [_payload(payload, number) for number in range(POOL)]
    sender = adapter.sender(queue, payload)
    put = sender.put
    began = gate.start()
    for i in range(count):
        put(pool[i % POOL])
    gate.finish()
    sender.close()
    return {"began": began}


def _consume_large(
    gate: processes.Gate, adapter: Adapter, queue: Any, count: int, payload: Payload, thorough: bool
) -> dict[str, Any]:
    receiver = adapter.receiver(queue, payload)
    pool = [_payload(payload, number) for number in range(POOL)]
    get = receiver.get
    half = MIB // 2
    began = gate.start()
    for i in range(count):
        item = get()
        number = i % POOL
        if len(item) != MIB or item[0] != number or item[half] != number or item[-1] != number:
            raise Misdelivered(f"item {i}: {len(item)} bytes that are not those of payload {number}")
        if thorough:
            _same(i, item, pool[number], payload)
    ended = time.perf_counter()
    _same(count - 1, item, pool[(count - 1) % POOL], payload)
    del item
    gate.finish()
    receiver.close()
    return {"began": began, "ended": ended}


def _same(number: int, item: Any, wanted: Any, payload: Payload) -> None:
    if type(item) is not type(wanted):
        raise Misdelivered(
            f"item {number} came as {type(item).__name__}, was sent as {type(wanted).__name__}"
        )
    if bytes(memoryview(item)) != bytes(memoryview(wanted)):
        raise Misdelivered(f"item {number}: its bytes differ from those of the {payload} that was sent")


def _large(adapter: Adapter, plan: Plan, payload: Payload) -> Sample:
    if payload != "bytes" and importlib.util.find_spec("numpy") is None:
        raise NotOffered("NumPy is not installed")
    count = plan.size(600, 40)
    queue = adapter.queue(plan.method, payload)
    try:
        producer, consumer = processes.run(
            adapter,
            plan.method,
            [
                (_produce_large, (adapter, queue, count, payload)),
                (_consume_large, (adapter, queue, count, payload, plan.thorough)),
            ],
            LIMIT,
        )
    finally:
        adapter.discard(queue)
    seconds = consumer["ended"] - min(producer["began"], consumer["began"])
    return Sample(count * MIB / seconds / 1e9, count)


def large_bytes(adapter: Adapter, plan: Plan) -> Sample:
    """GB per second of bytes objects of 1 MiB."""
    return _large(adapter, plan, "bytes")


def large_arrays(adapter: Adapter, plan: Plan) -> Sample:
    """GB per second of NumPy arrays of 1 MiB, each a copy of the receiver's own."""
    return _large(adapter, plan, "array")


def large_views(adapter: Adapter, plan: Plan) -> Sample:
    """GB per second of NumPy arrays of 1 MiB, received without a copy where the peer can."""
    return _large(adapter, plan, "view")


# ---- idling


def _idle(gate: processes.Gate, adapter: Adapter, queue: Any) -> dict[str, Any]:
    receiver = adapter.receiver(queue, "small")
    gate.start()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    item = receiver.get()
    ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    _expect(0, item, "wake up")
    gate.finish()
    receiver.close()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": used, "seconds": ended - began, "switches": after.ru_nvcsw - before.ru_nvcsw}


def _wake(gate: processes.Gate, adapter: Adapter, queue: Any, seconds: float) -> dict[str, Any]:
    sender = adapter.sender(queue, "small")
    gate.start()
    time.sleep(seconds)
    sender.put("wake up")
    gate.finish()
    sender.close()
    return {}


def idle(adapter: Adapter, plan: Plan) -> Sample:
    """Per cent of a core, user and system, that a process spends in a get() that waits for 10 s."""
    seconds = 0.2 if plan.quick or plan.thorough else 10.0
    queue = adapter.queue(plan.method, "small")
    try:
        waiter, _ = processes.run(
            adapter, plan.method, [(_idle, (adapter, queue)), (_wake, (adapter, queue, seconds))], LIMIT
        )
    finally:
        adapter.discard(queue)
    if waiter["seconds"] < 0.9 * seconds:
        raise Misdelivered(f"get() returned after {waiter['seconds']:.2f} s, before anything was put")
    percent = 100 * waiter["cpu"] / waiter["seconds"]
    return Sample(
        percent,
        1,
        {"seconds": waiter["seconds"], "switches_per_second": waiter["switches"] / waiter["seconds"]},
    )


# ---- an empty queue


def _tasks_and_descriptors() -> tuple[int, int]:
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def _hold(gate: processes.Gate, adapter: Adapter, method: str, count: int, used: bool) -> dict[str, Any]:
    def make() -> Any:
        queue = adapter.queue(method, "small")
        if not used:
            return queue
        receiver, sender = adapter.receiver(queue, "small"), adapter.sender(queue, "small")
        sender.put("once")
        _expect(0, receiver.get(), "once")
        return queue, receiver, sender

    queues = [make()]  # what a first queue sets up for all of them is not a queue's own
    gate.start()
    memory = adapter.memory_in_use()
    tasks, descriptors = _tasks_and_descriptors()
    queues += [make() for _ in range(count)]
    after = _tasks_and_descriptors()
    answer = {
        "bytes": (adapter.memory_in_use() - memory) / count,
        "threads": (after[0] - tasks) / count,
        "descriptors": (after[1] - descriptors) / count,
        "queues": len(queues) - 1,
    }
    for held in queues:
        queue = held[0] if used else held
        if used:
            held[1].close()
            held[2].close()
        adapter.discard(queue)
    return answer


def _holding(adapter: Adapter, plan: Plan, what: str, used: bool = False) -> Sample:
    if adapter.name == "pyzmq" and not used:
        raise NotOffered("pyzmq's queue is in its sockets: there is none before they are open")
    count = plan.size(1_000, 20)
    if adapter.name != "interproc":
        count = min(count, 50 if used else 200)  # theirs take threads and descriptors, which run out
    (answer,) = processes.run(adapter, plan.method, [(_hold, (adapter, plan.method, count, used))], LIMIT)
    return Sample(answer[what], answer["queues"])


def empty_bytes(adapter: Adapter, plan: Plan) -> Sample:
    """Bytes that a queue takes which was made and never used."""
    return _holding(adapter, plan, "bytes")


def empty_threads(adapter: Adapter, plan: Plan) -> Sample:
    """Threads per queue, from /proc/self/task."""
    return _holding(adapter, plan, "threads")


def empty_descriptors(adapter: Adapter, plan: Plan) -> Sample:
    """Descriptors per queue, from /proc/self/fd."""
    return _holding(adapter, plan, "descriptors")


def emptied_bytes(adapter: Adapter, plan: Plan) -> Sample:
    """Bytes that a queue takes after one put and one get."""
    return _holding(adapter, plan, "bytes", used=True)


def emptied_threads(adapter: Adapter, plan: Plan) -> Sample:
    """Threads per queue after one put and one get."""
    return _holding(adapter, plan, "threads", used=True)


def emptied_descriptors(adapter: Adapter, plan: Plan) -> Sample:
    """Descriptors per queue after one put and one get."""
    return _holding(adapter, plan, "descriptors", used=True)


_BOTH = ("pyzmq", "faster-fifo")

SUITE = Suite(
    "queue",
    "Queue, 1 producer → 1 consumer",
    (
        Row(
            "tuples",
            'tuples `(i, "hello", None)`, single put/get',
            "msg/s",
            True,
            tuples,
            Target("≥ 5x, ahead of pyzmq and faster-fifo", ratio=5, ahead_of=_BOTH),
        ),
        Row(
            "tuples_many",
            f"the same with put_many/get_many of {BATCH}",
            "msg/s",
            True,
            tuples_in_batches,
            Target("≥ 15x", ratio=15),
        ),
        Row("tuples_lists", f"the same as lists of {BATCH}, single put/get", "msg/s", True, tuples_in_lists),
        Row(
            "bytes_1mib",
            "1 MiB bytes",
            "GB/s",
            True,
            large_bytes,
            Target("≥ 6x, ahead of pyzmq", ratio=6, ahead_of=("pyzmq",)),
        ),
        Row(
            "arrays_1mib",
            "1 MiB NumPy arrays",
            "GB/s",
            True,
            large_arrays,
            Target("≥ 6x, ahead of pyzmq", ratio=6, ahead_of=("pyzmq",)),
        ),
        Row(
            "views_1mib",
            "1 MiB NumPy arrays as zero-copy views",
            "GB/s",
            True,
            large_views,
            Target("≥ 20x", ratio=20),
        ),
        Row(
            "idle",
            "a blocked get() for 10 s",
            "% of a core",
            False,
            idle,
            Target("≤ 0.2 %", value=0.2),
            max_rounds=3,
        ),
        Row(
            "empty_bytes",
            "an empty Queue: memory",
            "B",
            False,
            empty_bytes,
            Target("≤ 8 KiB", value=8192),
            max_rounds=3,
        ),
        Row(
            "empty_threads",
            "an empty Queue: threads",
            "",
            False,
            empty_threads,
            Target("none", value=0),
            max_rounds=3,
        ),
        Row(
            "empty_descriptors",
            "an empty Queue: descriptors",
            "",
            False,
            empty_descriptors,
            Target("none", value=0),
            max_rounds=3,
        ),
        Row(
            "emptied_bytes", "a Queue after one put and get: memory", "B", False, emptied_bytes, max_rounds=3
        ),
        Row(
            "emptied_threads",
            "a Queue after one put and get: threads",
            "",
            False,
            emptied_threads,
            max_rounds=3,
        ),
        Row(
            "emptied_descriptors",
            "a Queue after one put and get: descriptors",
            "",
            False,
            emptied_descriptors,
            max_rounds=3,
        ),
    ),
)
