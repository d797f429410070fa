"""Random networks of OS processes, threads and tasks: each value comes once, and nobody hangs.

STRESS_SECONDS=60 STRESS_SEED=7 has each test go on for so many seconds, from that seed on. A failure names
its seed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from dropin.support import SOON

from interproc.csp import ProcessKilled, Spawn, Spawned

from .networks import Network, Told

SECONDS = float(os.environ.get("STRESS_SECONDS", "3"))
SEED = int(os.environ.get("STRESS_SEED", "0")) or random.randrange(1, 10**6)

pytestmark = pytest.mark.timeout(60 + 2 * SECONDS)


def seeds() -> Iterator[int]:
    """Of one network after the other, at least one, until time is over."""
    start, seed = time.monotonic(), SEED
    while seed == SEED or time.monotonic() - start < SECONDS:
        yield seed
        seed += 1


@contextlib.contextmanager
def named(seed: int) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the network of STRESS_SEED={seed}")
        raise


def played(spawned: Spawned[Told]) -> list[Told]:
    """What they tell; within the time."""
    try:
        return spawned.join(SOON)
    except TimeoutError:
        spawned.kill()
        spawned.poison()
        raise


def test_each_value_comes_once() -> None:
    """The writers retire when they have sent what they have to, the readers when all has come."""
    for seed in seeds():
        with named(seed):
            network = Network(seed)
            network.check(played(Spawn(network.players)))


def test_until_one_poisons() -> None:
    """One of them poisons a channel; the others go on with those that are left."""
    for seed in seeds():
        with named(seed):
            network = Network(seed, poison=True)
            network.check(played(Spawn(network.players)))


def test_one_is_killed() -> None:
    """At a random moment; what it had is poisoned, and the others go on with the rest."""
    dice = random.Random(SEED)
    for seed in seeds():
        with named(seed):
            network = Network(seed, victim=True, quota=200)
            victim = Spawn(network.players.pop(network.victim))
            rest = Spawn(network.players)
            assert victim.pid is not None
            kill = threading.Timer(dice.random() ** 2 * 0.1, os.kill, [victim.pid, signal.SIGKILL])
            kill.start()
            told = played(rest)
            kill.join()
            try:
                told += victim.join(SOON)  # it had ended before
            except ExceptionGroup as group:
                assert isinstance(group.exceptions[0], ProcessKilled), group.exceptions
            network.check(told)
