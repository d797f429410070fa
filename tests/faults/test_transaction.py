"""Processes SIGKILLed in transactions, in locks, while they save: all or nothing, and no hang."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dropin.support import NEVER, SOON, Crew, until

import interproc as mp
from interproc import _core
from interproc._core import Arena
from interproc.managers import snapshot
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.sets import SetProxy
from interproc.managers.sharing import share
from interproc.managers.snapshot import load, save
from interproc.managers.transaction import transaction
from interproc.managers.values import ValueProxy

from .support import LEAST, at_once, forked, kill_at_random, rounds, settled, status_of


class World:
    """One container of each kind; what is in them is told by a number, so that halves are seen."""

    def __init__(self) -> None:
        self.d = DictProxy[Any, Any]({"n": 0, "pad": "x" * 500})
        self.items = ListProxy([0])
        self.s = SetProxy([0])
        self.ns = NamespaceProxy(n=0)
        self.value = ValueProxy("i", 0)
        self.all = (self.d, self.items, self.s, self.ns, self.value)

    def steps(self, n: int) -> list[Callable[[], object]]:
        """What makes number n of number n - 1, one change each."""
        d, items, s, ns, value = self.all
        return [
            lambda: d.update({"n": n, f"k{n % 7}": "y" * (n % 5) * 200}),
            lambda: d.pop("pad", None),
            lambda: d.update_with("n", lambda old: old),
            lambda: d.__setitem__("pad", n),
            lambda: items.append(n),
            lambda: items.extend(range(20)),
            lambda: items.sort(reverse=True),
            items.clear,
            lambda: items.extend([n, n, 1]),
            lambda: items.__setitem__(slice(1, 3), []),
            lambda: s.add(n),
            lambda: s.discard(n - 1),
            lambda: ns.__setattr__("n", n),
            lambda: ns.__setattr__("fresh", [n]),
            lambda: value.set(n),
        ]

    def advance(self, n: int) -> None:
        """Number n of number n - 1, all at once."""
        with transaction(*self.all):
            for step in self.steps(n):
                step()

    def number(self) -> int:
        """Which number it is; fails if parts are of different ones, or if somebody is waited for."""
        with at_once("reading after the death", SOON), transaction(*self.all, timeout=SOON):
            d, items, s, ns, value = self.all
            n: int = d["n"]
            assert (items[:], list(s), ns.n, value.value) == ([n], [n], n, n)
            assert d["pad"] == (n or "x" * 500) and len(d) == 2 + min(n, 7)
            assert getattr(ns, "fresh", [0]) == [n]
            if n:
                assert d[f"k{n % 7}"] == "y" * (n % 5) * 200
            return n


def test_killed_after_each_step_of_the_block(arena: Arena) -> None:
    """Without a commit, nothing has happened, whichever was the last step."""
    world = World()
    world.advance(1)
    for last in range(len(world.steps(2)) + 1):

        def dies(last: int = last) -> None:
            with transaction(*world.all):
                for step in world.steps(2)[:last]:
                    step()
                os.kill(os.getpid(), signal.SIGKILL)

        assert status_of(forked(dies)) == -signal.SIGKILL
        assert world.number() == 1, f"after step {last}"
    world.advance(2)
    assert world.number() == 2
    arena.check()


def advance_for_ever(world: World, begun: Any) -> None:
    for n in range(world.number() + 1, 10**9):
        world.advance(n)
        begun.value = n


def test_killed_at_random(arena: Arena, crew: Crew) -> None:
    dice = random.Random(3)
    world, committed = World(), mp.RawValue("q", 0)
    world.number()
    used = 0
    for turn in rounds():
        process = crew.start(advance_for_ever, world, committed)
        before = committed.value
        until(lambda before=before: committed.value > before, "the victim began")
        kill_at_random(process, dice, 0.003)
        n = world.number()
        assert committed.value <= n <= committed.value + 1, "what was committed is there, and nothing else"
        committed.value = n
        if turn == LEAST - 1:
            settled(arena, arena.used)
            used = arena.used
    settled(arena, used + 20_000, "nothing stays of those that were killed")
    arena.check()


def transfer_for_ever(left: Any, right: Any, done: Any, victim: int) -> None:
    dice = random.Random(victim)
    while True:
        amount = dice.randrange(1, 10)
        with transaction(left, right) if victim % 2 else transaction(right, left):
            left["n"] -= amount
            right[0] += amount
        done[victim] += 1


def test_several_are_killed_while_others_go_on(arena: Arena, crew: Crew) -> None:
    dice = random.Random(4)
    left, right = DictProxy({"n": 1000}), ListProxy([0])
    done = mp.RawArray("q", 4)
    staying = [crew.start(transfer_for_ever, left, right, done, victim) for victim in (2, 3)]
    for _ in rounds():
        before = list(done)
        victims = [crew.start(transfer_for_ever, left, right, done, victim) for victim in (0, 1)]
        until(
            lambda before=before: all(now > old for now, old in zip(done, before, strict=True)), "all go on"
        )
        for process in victims:
            kill_at_random(process, dice)
        with at_once("a transaction after the deaths", SOON), transaction(left, right, timeout=SOON):
            assert left["n"] + right[0] == 1000
    for process in staying:
        crew.kill(process)
    with transaction(left, right, timeout=SOON):
        assert left["n"] + right[0] == 1000
    arena.check()


def test_who_was_waiting_for_the_killed_ones_locks_goes_on(arena: Arena, crew: Crew) -> None:
    """Readers, lockers and transactions that already waited see what was before the transaction."""
    d, items = DictProxy(n=0), ListProxy([0])
    ready = mp.Event()

    def die_later() -> None:
        with transaction(d, items):
            d["n"] = 1
            items.append(1)
            ready.set()
            threading.Event().wait(SOON)

    victim = crew.start(die_later)
    assert ready.wait(SOON)
    seen: dict[str, Any] = {}

    def enter() -> None:
        with transaction(items, d):
            seen["transaction"] = d["n"]

    def lock() -> None:
        with items.lock():
            seen["lock"] = items[:]

    threads = [
        threading.Thread(target=lambda: seen.update(read=d["n"])),
        threading.Thread(target=lambda: seen.update(length=len(items))),
        threading.Thread(target=enter),
        threading.Thread(target=lock),
    ]
    for thread in threads:
        thread.start()
    assert not d.acquire(NEVER) and not seen
    with at_once("those who waited"):
        crew.kill(victim)
        for thread in threads:
            thread.join(SOON)
    assert seen == {"read": 0, "length": 1, "transaction": 0, "lock": [0]}


def test_a_child_that_was_forked_in_a_transaction_outlives_it(arena: Arena) -> None:
    """The child is another process: it waits for its parent's transaction, whose death undoes it."""
    d = DictProxy(n=0)
    here, there = os.pipe()

    def parent() -> None:
        with transaction(d):
            d["n"] = 1
            if not os.fork():
                signal.alarm(40)
                os.write(there, b"%d" % d["n"])
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)

    assert status_of(forked(parent)) == -signal.SIGKILL
    os.close(there)
    assert os.read(here, 10) == b"0"
    os.close(here)
    assert d["n"] == 0


# ---- lock()


def test_killed_in_a_lock(arena: Arena) -> None:
    """Others go on, with what was done so far."""
    world = World()
    for container in world.all:
        version = _core.Container.version.__get__(container)  # type: ignore[attr-defined]

        def dies(container: Any = container) -> None:
            _core.Container.acquire(container)
            _core.Container.acquire(container)
            os.kill(os.getpid(), signal.SIGKILL)

        assert status_of(forked(dies)) == -signal.SIGKILL
        with at_once("a call after the death"):
            assert _core.Container.version.__get__(container) == version  # type: ignore[attr-defined]
    d = world.d

    def changes() -> None:
        with d.lock():
            d["n"] = 5
            os.kill(os.getpid(), signal.SIGKILL)

    assert status_of(forked(changes)) == -signal.SIGKILL
    with at_once("the lock after the death"), d.lock():
        assert d["n"] == 5


# ---- saving


@contextlib.contextmanager
def dying_at(function: str, call: int, after: bool) -> Iterator[None]:
    """SIGKILL before or after the call-th call of a function of os that a saver makes."""
    calls = itertools.count(1)
    real = getattr(os, function)

    def deadly(*args: Any, **more: Any) -> Any:
        last = next(calls) == call
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **more)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(snapshot.os, function, deadly)  # in a forked child only
    yield


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("function", "call"), [("fchmod", 1), ("fsync", 1), ("replace", 1), ("fsync", 2)], ids=str
)
def test_killed_while_saving(arena: Arena, tmp_path: Path, function: str, call: int, after: bool) -> None:
    path = tmp_path / "file"
    root = share({"n": 1, "nested": {"list": ["x" * 1000] * 100}})
    save(root, path)
    root["n"] = 2

    def dies() -> None:
        with dying_at(function, call, after):
            save(root, path)

    assert status_of(forked(dies)) == -signal.SIGKILL
    replaced = (function, call) == ("fsync", 2) or (function == "replace" and after)
    other = share({})
    load(other, path)
    assert other["n"] == (2 if replaced else 1) and len(other["nested"]["list"]) == 100
    with at_once("a call after the death"):
        root["n"] = 3
        root["nested"]["list"].append("more")
    save(root, path, SOON)


def test_killed_while_saving_at_random(arena: Arena, crew: Crew, tmp_path: Path) -> None:
    """The file is always a whole one, never older than one of which save() had returned."""
    dice = random.Random(5)
    path = tmp_path / "file"
    root = share({"n": 0, "parts": [{"n": 0} for _ in range(20)]})
    parts = root["parts"][:]
    done = mp.RawValue("q", 0)

    def save_for_ever() -> None:
        for n in itertools.count(done.value + 1):
            with transaction(root, *parts):
                root["n"] = n
                for part in parts:
                    part["n"] = n
            save(root, path)
            done.value = n

    save(root, path)
    other = share({})
    for _ in rounds():
        before = done.value
        process = crew.start(save_for_ever)
        until(lambda before=before: done.value > before, "the victim began")
        kill_at_random(process, dice, 0.01)
        load(other, path)
        n = other["n"]
        assert done.value <= n <= done.value + 1
        assert [part["n"] for part in other["parts"]] == [n] * 20
        done.value = max(done.value, root["n"])
        with at_once("all calls after the death"), transaction(root, *parts, timeout=SOON):
            assert {part["n"] for part in parts} == {root["n"]}


# ---- fault points of the core, in a build that has them


def hook() -> Any:
    """The core's pointer to what fault points call; None in a build without."""
    with contextlib.suppress(ValueError):
        return ctypes.c_void_p.in_dll(ctypes.CDLL(_core.__file__), "ip_fault_hook")
    return None


@contextlib.contextmanager
def hooked(call: Callable[[bytes], object]) -> Iterator[None]:
    """Each fault point that this thread comes by calls this with its name."""
    kept = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(call)
    hook().value = ctypes.cast(kept, ctypes.c_void_p).value
    try:
        yield
    finally:
        hook().value = None


def second(world: World, roll_back: bool) -> None:
    """The world's second number, in a transaction that is rolled back or not."""
    with contextlib.suppress(ZeroDivisionError), transaction(*world.all):
        for step in world.steps(2):
            step()
        if roll_back:
            raise ZeroDivisionError


def some_points(names: list[bytes]) -> list[int]:
    """Where each step is done for the first time, in between and for the last time, and some more."""
    chosen = set(random.Random(8).sample(range(len(names)), 8))
    for name in set(names):
        places = [place for place, each in enumerate(names) if each == name]
        chosen.update((places[0], places[len(places) // 2], places[-1]))
    return sorted(chosen)


@pytest.mark.skipif(hook() is None, reason="needs fault points: make test FAULT_POINTS=1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("roll_back", [False, True], ids=["commit", "rollback"])
def test_killed_at_fault_points(arena: Arena, roll_back: bool) -> None:
    """tests/core does it at each point; this with all kinds in a transaction, at some of each name."""
    names: list[bytes] = []
    world = World()
    world.advance(1)
    with hooked(names.append):
        second(world, roll_back)
    assert len(set(names)) > 15 and b"transaction.logged" in names
    outcomes, points, died = set(), some_points(names), 0
    for point in points:
        world = World()
        world.advance(1)

        def dies(point: int = point, world: World = world) -> None:
            left = itertools.count()

            def count(name: bytes) -> None:
                if next(left) == point:
                    os.kill(os.getpid(), signal.SIGKILL)

            with hooked(count):
                second(world, roll_back)

        ended = status_of(forked(dies))
        assert ended in (0, -signal.SIGKILL), names[point]
        died += (
            ended == -signal.SIGKILL
        )  # not if it came by fewer points than the first, as where memory is ready
        outcomes.add(world.number())
    assert died > len(points) * 0.8
    assert outcomes == ({1} if roll_back else {1, 2})
    arena.check()
