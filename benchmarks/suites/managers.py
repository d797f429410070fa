"""A manager's dict, list, Namespace and registered class: one client, four contending, and a million keys."""

from __future__ import annotations

import pickle
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import processes
from benchmarks.adapters import NotOffered
from benchmarks.adapters.manager_base import DictClient, StoreAdapter
from benchmarks.adapters.managers import PLAIN, STORES
from benchmarks.passes import Figures, NotHere, Pass, pace, throughput, timed
from benchmarks.rows import NO_TARGET, Plan, Row, Sample, Suite, Target

CONTENDERS = 4
ENTRIES = 1_000
MILLION = 1_000_000
SMALL, MIDDLE, LARGE = 16, 1024, 100 * 1024  # bytes of a value
POOL = 20_000  # keys that a loop gets, chosen at random, each an object of its own
NUMBERS = 16  # counters that are added to
LIMIT = 60.0  # seconds for a run
PASSES = 3  # in which the two sizes of a dict take turns


class WrongResult(AssertionError):
    """What is read is not what was stored."""


def _value(number: int, size: int) -> bytes:
    """The value that belongs to the key of that number: no two are the same."""
    return number.to_bytes(SMALL, "little") * (size // SMALL)


def _items(entries: int, size: int) -> Iterator[tuple[str, bytes]]:
    return ((f"key{number}", _value(number, size)) for number in range(entries))


def _chosen(entries: int, count: int, seed: int) -> list[int]:
    """Numbers of existing keys, uniformly at random, the same for each peer."""
    return random.Random(seed).choices(range(entries), k=count)


def _pool(client: DictClient, numbers: Sequence[int]) -> list[Any]:
    return client.keys([f"key{number}" for number in numbers])


def _expect(what: object, found: object, wanted: object) -> None:
    if found != wanted:
        raise WrongResult(f"{what}: {found!r:.80} is read, {wanted!r:.80} was stored")


def _check_all(client: DictClient, entries: int, size: int) -> None:
    found = dict(client.items())
    keys = _pool(client, range(entries))
    for number, key in enumerate(keys):
        _expect(key, found[key], _value(number, size))
    for number in range(0, entries, max(1, entries // 50)):
        _expect(keys[number], client.get([keys[number]]), _value(number, size))


def _answers(
    adapter: StoreAdapter, plan: Plan, bodies: Callable[[Any], tuple[list[Any], list[Any]]]
) -> list[dict[str, Any]]:
    """Start what the peer needs, run the bodies, end it; bodies(server): what they share, and they."""
    server = adapter.start(plan.method, LIMIT + 30)
    made: list[Any] = []
    try:
        made, wanted = bodies(server)
        return processes.run(adapter, plan.method, wanted, LIMIT)
    finally:
        for one in made:
            adapter.discard(one)
        del made
        adapter.stop(server)


def _seconds(plan: Plan) -> float:
    """How long a loop is to take."""
    return 0.002 if plan.quick or plan.thorough else 0.03


def _nanoseconds(measured: tuple[float, int]) -> Sample:
    return Sample(measured[0] * 1e9, measured[1])


# ---- a dict and one process that uses it


def _one_client(
    gate: processes.Gate, adapter: StoreAdapter, made: Any, entries: int, size: int, plan: Plan
) -> dict[str, Any]:
    client, seconds = adapter.dict_client(made), _seconds(plan)
    client.fill(_items(entries, size))
    numbers = _chosen(entries, POOL, size)
    keys = _pool(client, numbers)
    if plan.thorough:
        _check_all(client, entries, size)
    gate.start()
    found: Figures = {"get": _nanoseconds(timed(client.get, keys, seconds))}
    _expect(keys[-1], client.get(keys[-1:]), _value(numbers[-1], size))
    new = _value(entries, size)
    found["set"] = _nanoseconds(timed(lambda some: client.set(some, new), keys, seconds))
    _expect(keys[0], client.get(keys[:1]), new)
    if size == SMALL:
        found["iterate"] = _iteration(client.items, entries, seconds)
        client.fill((f"number{number}", 0) for number in range(NUMBERS))
        counters = client.keys([f"number{number}" for number in range(NUMBERS)])
        added = timed(client.add, counters * (POOL // NUMBERS), seconds)
        _expect("the counters", sum(client.number(key) for key in counters), added[1])
        found["add"] = _nanoseconds(added)
    client.close()
    return found


def _iteration(items: Callable[[], Any], entries: int, seconds: float) -> Sample:
    """Nanoseconds an entry, for a loop over all of them."""

    def iterate(some: Sequence[int]) -> None:
        for _ in some:
            last = None
            for last in items():  # noqa: B007
                pass
            if last is None:
                raise WrongResult("an iteration found nothing")

    _expect("the number of entries iterated over", sum(1 for _ in items()), entries)
    each, times = timed(iterate, range(POOL), seconds)
    return Sample(each / entries * 1e9, times * entries)


def _one_client_pass(size: int) -> Pass:
    def run(adapter: StoreAdapter, plan: Plan) -> Figures:
        entries = plan.size(ENTRIES if size < LARGE else ENTRIES // 10, 50)

        def bodies(server: Any) -> tuple[list[Any], list[Any]]:
            made = adapter.dict(server, plan.method, entries + NUMBERS, size)
            return [made], [(_one_client, (adapter, made, entries, size, plan))]

        return _answers(adapter, plan, bodies)[0]

    return Pass(run)


# ---- dicts and four processes that use them


def _contender(
    gate: processes.Gate, adapter: StoreAdapter, made: Any, mine: int, shared: bool, entries: int, plan: Plan
) -> dict[str, Any]:
    client = adapter.dict_client(made)
    if mine == 0 or not shared:
        client.fill(_items(entries, SMALL))
        client.fill((f"number{number}", 0) for number in range(NUMBERS))
    keys = _pool(client, _chosen(entries, POOL, mine))
    counters = client.keys([f"number{number}" for number in range(NUMBERS)]) * (POOL // NUMBERS)
    new = _value(entries + mine, SMALL)
    loops: dict[str, tuple[Callable[[Sequence[Any]], object], list[Any]]] = {
        "get": (client.get, keys),
        "set": (lambda some: client.set(some, new), keys),
    }
    if shared:
        loops["add"] = (client.add_safely, counters)
    window = 4 * _seconds(plan)
    answer: dict[str, Any] = {}
    gate.start()
    if plan.thorough:
        _check_all(client, entries, SMALL)
        gate.start()
    for name, (loop, pool) in loops.items():
        batch, tried = pace(loop, pool, window / 20)
        gate.start()
        rate, done = throughput(loop, pool, batch, window)
        answer[name] = (rate, done + tried)
    gate.start()  # nobody changes anything from here on
    theirs = [_value(entries + other, SMALL) for other in range(CONTENDERS)] if shared else [new]
    for number, key in enumerate(_pool(client, range(entries))):
        if (value := client.get([key])) not in theirs and value != _value(number, SMALL):
            raise WrongResult(f"{key!r}: {value!r:.80} is read, which nobody stored there")
    answer["counted"] = sum(client.number(key) for key in counters[:NUMBERS]) if shared else 0
    gate.finish()
    client.close()
    return answer


def _contended_pass(dicts: int) -> Pass:
    def run(adapter: StoreAdapter, plan: Plan) -> Figures:
        entries, shared = plan.size(ENTRIES, 50), dicts == 1

        def bodies(server: Any) -> tuple[list[Any], list[Any]]:
            made = [adapter.dict(server, plan.method, entries + NUMBERS, SMALL) for _ in range(dicts)]
            own = [(made[mine % dicts], mine, shared, entries, plan) for mine in range(CONTENDERS)]
            return made, [(_contender, (adapter, *arguments)) for arguments in own]

        answers = _answers(adapter, plan, bodies)
        if shared:
            _expect("the counters", answers[0]["counted"], sum(answer["add"][1] for answer in answers))
        return {name: _together(answers, name) for name in answers[0] if name != "counted"}

    return Pass(run)


def _together(answers: list[dict[str, Any]], name: str) -> Sample:
    """Nanoseconds an operation of all processes together: how often one is done somewhere."""
    rate = sum(answer[name][0] for answer in answers)
    return Sample(1e9 / rate, sum(answer[name][1] for answer in answers))


# ---- a list


def _list_user(
    gate: processes.Gate, adapter: StoreAdapter, made: Any, entries: int, plan: Plan
) -> dict[str, Any]:
    client, seconds = adapter.list_client(made), _seconds(plan)
    values = [_value(number, SMALL) for number in range(POOL)]
    client.append(values[:entries])
    indexes = _chosen(entries, POOL, 0)
    if plan.thorough:
        _expect("the list", list(client.items()), values[:entries])
        _expect("the indexed", [client.index([at]) for at in range(entries)], values[:entries])
    gate.start()
    found: Figures = {"index": _nanoseconds(timed(client.index, indexes, seconds))}
    _expect(indexes[0], client.index(indexes[:1]), values[indexes[0]])
    found["iterate"] = _iteration(client.items, entries, seconds)
    appended = timed(client.append, values, seconds)
    _expect("the length", client.length(), entries + appended[1])
    found["append"] = _nanoseconds(appended)
    client.close()
    return found


def _appender(
    gate: processes.Gate, adapter: StoreAdapter, made: Any, mine: int, plan: Plan
) -> dict[str, Any]:
    client, window = adapter.list_client(made), 4 * _seconds(plan)
    values = [_value(number * CONTENDERS + mine, SMALL) for number in range(POOL)]
    gate.start()
    batch, tried = pace(client.append, values, window / 20)
    gate.start()
    rate, done = throughput(client.append, values, batch, window)
    gate.start()
    length = client.length()
    gate.finish()
    client.close()
    return {"append": (rate, done + tried), "length": length}


def _lists(adapter: StoreAdapter, plan: Plan) -> Figures:
    entries = plan.size(ENTRIES, 50)

    def one(server: Any) -> tuple[list[Any], list[Any]]:
        made = adapter.list(server)
        return [made], [(_list_user, (adapter, made, entries, plan))]

    def several(server: Any) -> tuple[list[Any], list[Any]]:
        made = adapter.list(server)
        return [made], [(_appender, (adapter, made, mine, plan)) for mine in range(CONTENDERS)]

    found = _answers(adapter, plan, one)[0]
    answers = _answers(adapter, plan, several)
    _expect("the length", answers[0]["length"], sum(answer["append"][1] for answer in answers))
    return {**found, "append_contended": _together(answers, "append")}


# ---- a Namespace and a registered class


def _user(
    gate: processes.Gate, adapter: StoreAdapter, namespace: Any, counter: Any, plan: Plan
) -> dict[str, Any]:
    seconds, times = _seconds(plan), range(POOL)

    def read(some: Sequence[int]) -> None:
        for _ in some:
            namespace.x  # noqa: B018

    def write(some: Sequence[int]) -> None:
        for number in some:
            namespace.x = number

    def call(some: Sequence[int]) -> None:
        add = counter.add
        for _ in some:
            add(1)

    gate.start()
    for number in range(100 if plan.thorough else 1):
        namespace.x = number
        _expect("namespace.x", namespace.x, number)
    found: Figures = {
        "read": _nanoseconds(timed(read, times, seconds)),
        "write": _nanoseconds(timed(write, times, seconds)),
    }
    called = timed(call, times, seconds)
    _expect("the counter", counter.add(0), called[1])
    return {**found, "call": _nanoseconds(called)}


def _others(adapter: StoreAdapter, plan: Plan) -> Figures:
    def bodies(server: Any) -> tuple[list[Any], list[Any]]:
        made = [adapter.namespace(server), adapter.counter(server)]
        return made, [(_user, (adapter, *made, plan))]

    return _answers(adapter, plan, bodies)[0]


# ---- a million keys


def _many(
    gate: processes.Gate, adapter: StoreAdapter, made: Any, few: Any, entries: int, plan: Plan
) -> dict[str, Any]:
    client, other = adapter.dict_client(made), adapter.dict_client(few)
    gate.start()
    other.fill(_items(ENTRIES, SMALL))
    found: Figures = {}
    before = _asked(adapter.bytes_used, made)
    client.fill(_items(entries, SMALL))
    full = _asked(adapter.bytes_held, made)
    if plan.thorough:
        _check_all(client, entries, SMALL)
    times: dict[str, list[float]] = {"many": [], "few": [], "again": []}
    counted = 0
    for number in range(PASSES):
        for name, one, size in (("few", other, ENTRIES), ("many", client, entries)):
            numbers = _chosen(size, POOL, number)
            keys = _pool(one, numbers)
            each, count = _once(one.get, keys, _seconds(plan))
            times[name].append(each)
            counted += count
            _expect(keys[0], one.get(keys[:1]), _value(numbers[0], SMALL))
        spread = [at * (entries // ENTRIES) for at in _chosen(ENTRIES, POOL, number)]
        times["again"].append(_once(client.get, _pool(client, spread), _seconds(plan))[0])
    many, few_keys, again = (statistics.median(times[name]) for name in ("many", "few", "again"))
    found["get"] = Sample(many * 1e9, counted)
    found["ratio"] = Sample(many / few_keys, counted, {"ns_at_1000": few_keys * 1e9})
    found["again"] = Sample(again / few_keys, counted, {"ns": again * 1e9})
    if isinstance(full, str) or isinstance(before, str):
        found["memory"] = found["left"] = NotHere(str(full))
    else:
        pickles = sum(len(pickle.dumps(part)) for item in _items(entries, SMALL) for part in item)
        taken = full - before
        if taken <= 0:
            raise WrongResult(f"{entries} entries took {taken} bytes")
        found["memory"] = Sample(
            taken / pickles, entries, {"bytes": taken / entries, "pickles": pickles / entries}
        )
        try:
            client.clear()
        except NotOffered as why:
            found["left"] = NotHere(str(why))
        else:
            after = adapter.bytes_held(made)
            _expect("the number of entries after clear()", sum(1 for _ in client.items()), 0)
            found["left"] = Sample(max(0.0, 100 * (after - before) / taken), entries)
    client.close()
    other.close()
    return found


def _asked(question: Callable[[Any], int], made: Any) -> int | str:
    try:
        return question(made)
    except NotOffered as why:
        return str(why)


def _once(loop: Callable[[Sequence[Any]], object], keys: Sequence[Any], seconds: float) -> tuple[float, int]:
    """Seconds a key: after a few to find the pace, over keys that were not read before, and once only."""
    tenth = len(keys) // 10
    few, tried = pace(loop, keys[:tenth], seconds / 10)
    rest = keys[tenth:]
    count = min(len(rest), 10 * few if few > 1 else 1)
    began = time.perf_counter()
    loop(rest[:count])
    return (time.perf_counter() - began) / count, count + tried


def _million(adapter: StoreAdapter, plan: Plan) -> Figures:
    entries = plan.size(MILLION, 20_000)

    def bodies(server: Any) -> tuple[list[Any], list[Any]]:
        made = [
            adapter.dict(server, plan.method, entries, SMALL),
            adapter.dict(server, plan.method, ENTRIES, SMALL),
        ]
        return made, [(_many, (adapter, *made, entries, plan))]

    return _answers(adapter, plan, bodies)[0]


# ---- the rows

_PEERS = tuple(store.name for store in STORES if store.name not in ("interproc", "multiprocessing"))
_AHEAD = Target("≥ 30x, ahead of every peer", ratio=30, ahead_of=_PEERS)
_30 = Target("≥ 30x", ratio=30)
_20 = Target("≥ 20x", ratio=20)

_small, _middle, _large = (_one_client_pass(size) for size in (SMALL, MIDDLE, LARGE))
_on_one, _on_four = _contended_pass(1), _contended_pass(CONTENDERS)
_list, _other, _of_a_million = Pass(_lists), Pass(_others), Pass(_million)


def _row(
    key: str,
    work: str,
    measure: Any,
    target: Target = NO_TARGET,
    unit: str = "ns",
    baseline: str = "multiprocessing",
    rounds: int | None = None,
    adapters: tuple[StoreAdapter, ...] = STORES,
) -> Row:
    return Row(key, work, unit, False, measure, target, baseline, adapters, rounds)


SUITE = Suite(
    "manager",
    "Manager",
    (
        _row("get_16", "dict of 1,000: `d[key]`, 16 B", _small.row("get"), _AHEAD),
        _row("set_16", "dict of 1,000: `d[key] = value`, 16 B", _small.row("set"), _AHEAD),
        _row("add", "dict: `d[key] += 1`", _small.row("add")),
        _row("iterate", "dict of 1,000: iterate over its items, an item", _small.row("iterate")),
        _row("get_1k", "dict of 1,000: `d[key]`, 1 KiB", _middle.row("get")),
        _row("set_1k", "dict of 1,000: `d[key] = value`, 1 KiB", _middle.row("set")),
        _row("get_100k", "dict of 100: `d[key]`, 100 KiB", _large.row("get")),
        _row("set_100k", "dict of 100: `d[key] = value`, 100 KiB", _large.row("set")),
        _row("get_one_dict", "4 processes on one dict: `d[key]`", _on_one.row("get"), _20),
        _row("set_one_dict", "4 processes on one dict: `d[key] = value`", _on_one.row("set"), _20),
        _row("add_one_dict", "4 processes on one dict: add 1, losing none", _on_one.row("add")),
        _row("get_four_dicts", "4 processes on 4 dicts: `d[key]`", _on_four.row("get"), _30),
        _row("set_four_dicts", "4 processes on 4 dicts: `d[key] = value`", _on_four.row("set"), _30),
        _row("append", "list: `append`, 16 B", _list.row("append"), _30),
        _row("index", "list of 1,000: `l[i]`, 16 B", _list.row("index"), _30),
        _row("iterate_list", "list of 1,000: iterate, an item", _list.row("iterate")),
        _row("append_contended", "4 processes on one list: `append`", _list.row("append_contended")),
        _row("namespace_get", "Namespace: `ns.x`", _other.row("read"), _30),
        _row("namespace_set", "Namespace: `ns.x = number`", _other.row("write"), _30),
        _row("method", "a registered class's method", _other.row("call"), Target("≥ 2x", ratio=2)),
        _row(
            "get_million",
            "dict of 1,000,000: `d[key]`, 16 B",
            _of_a_million.row("get"),
            rounds=5,
            adapters=(*STORES, PLAIN),
        ),
        _row(
            "million_to_thousand",
            "`d[key]` at 1,000,000 keys, each read once, to that at 1,000",
            _of_a_million.row("ratio"),
            Target("≤ 1.5", value=1.5),
            "",
            "",
            5,
            (*STORES, PLAIN),
        ),
        _row(
            "thousand_of_million",
            "the same of 1,000 keys, anywhere in 1,000,000, that are read again and again",
            _of_a_million.row("again"),
            Target("≤ 1.5", value=1.5),
            "",
            "",
            5,
            (*STORES, PLAIN),
        ),
        _row(
            "memory",
            "memory per small entry, to the pickles of its key and value",
            _of_a_million.row("memory"),
            Target("≤ 3", value=3),
            "",
            "",
            5,
        ),
        _row(
            "memory_left",
            "memory still held after `clear()` of 1,000,000 entries, of what they took",
            _of_a_million.row("left"),
            unit="%",
            baseline="",
            rounds=5,
        ),
    ),
)
