"""Named stores whose processes are killed: the others go on, and after the last one the name opens afresh."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dropin.support import SOON, Crew, until

import interproc as mp
from interproc.managers.store import NamedManager

from .support import at_once, forked, kill_at_random, rounds, settled, status_of
from .test_named import Party, files

OPEN = "m = mp.Manager(name='app')"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's runtime directory of its own for each test."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def party(runtime: Path) -> Iterator[Any]:
    """Makes unrelated processes that have the store open; all have left in the end."""
    parties: list[Party] = []

    def invite() -> Party:
        parties.append(Party(runtime))
        assert parties[-1].say(OPEN) == "done"
        return parties[-1]

    yield invite
    for each in parties:
        each.end()


def test_unrelated_processes_share_it(party: Any, runtime: Path) -> None:
    a, b = party(), party()
    assert a.say("m.root['config'] = {'names': ['a']}") == "done"
    assert b.say("m.root['config']['names'].append('b')") == "None"
    assert a.say("m.root['config']['names'][:]") == "['a', 'b']"
    assert b.say("m.open('jobs', m.Queue).put({'n': 1})") == "None"
    assert a.say("m.open('jobs').get(timeout=20)") == "{'n': 1}"
    a.leave()
    assert b.say("str(m.root['config']['names'])") == "\"['a', 'b']\""
    b.leave()
    assert files(runtime) == []


def test_one_is_killed_and_the_others_go_on(party: Any, runtime: Path) -> None:
    a, b = party(), party()
    a.say("m.root['items'] = [1, 2]")
    a.say("m.open('jobs', m.Queue).put('kept')")
    a.die()
    with at_once("a call after the death", SOON):
        assert b.say("m.root['items'].append(3)") == "None"
        assert b.say("m.root['items'][:], m.open('jobs').get(timeout=20)") == "([1, 2, 3], 'kept')"
    c = party()
    assert c.say("m.root['items'][:]") == "[1, 2, 3]"


@pytest.mark.parametrize(
    ("inside", "left"),
    [("m.transaction(m.root, items)", "{'n': 0} [0]"), ("m.root.lock()", "{'n': 1} [0, 1]")],
    ids=["transaction", "lock"],
)
def test_one_is_killed_in_the_middle(party: Any, inside: str, left: str) -> None:
    a, b = party(), party()
    assert b.say("m.root['n'] = 0") == "done"
    for each in (a, b):
        assert each.say("items = m.open('items', m.list, [0])") == "done"
    assert a.say(f"block = {inside}") == "done"
    a.say("_ = block.__enter__()")
    a.say("m.root['n'] = 1")
    a.say("items.append(1)")
    a.die()
    with at_once("a call after the death", SOON):
        assert b.say("print({'n': m.root['n']}, items[:])") == left


@pytest.mark.parametrize("count", [1, 3])
def test_all_are_killed_and_the_name_opens_afresh(party: Any, runtime: Path, count: int) -> None:
    crowd = [party() for _ in range(count)]
    crowd[0].say("m.root['big'] = ['x' * 1_000_000]")
    assert crowd[-1].say("len(m.root['big'][0])") == "1000000"
    for each in crowd:
        each.die()
    fresh = party()
    assert fresh.say("len(m.root), m.root.arena.used < 1_000_000") == "(0, True)"
    fresh.leave()
    until(lambda: files(runtime) == [], "the file is gone", 10)


def test_the_last_one_is_killed_after_the_others_have_left(party: Any, runtime: Path) -> None:
    a, b = party(), party()
    a.say("m.root['n'] = 1")
    a.leave()
    assert b.say("m.root['n']") == "1"
    b.die()
    c = party()
    assert c.say("len(m.root)") == "0"
    c.say("m.close()")
    assert files(runtime) == []


def count_hits(acknowledged: Any, worker: int) -> None:
    with NamedManager("app") as m:
        while True:
            m.root.update_with("hits", lambda n: n + 1)
            acknowledged[worker] += 1


def test_workers_are_killed_and_replaced(runtime: Path, crew: Crew) -> None:
    """What a worker has seen done is there, whoever is killed."""
    dice = random.Random(6)
    acknowledged = mp.RawArray("q", 3)
    with NamedManager("app") as m:
        m.root["hits"] = 0
        workers = [crew.start(count_hits, acknowledged, n) for n in range(3)]
        killed = 0
        for turn in rounds():
            worker = turn % 3
            before = acknowledged[worker]
            until(lambda worker=worker, before=before: acknowledged[worker] > before, "it works")
            kill_at_random(workers[worker], dice)
            killed += 1
            workers[worker] = crew.start(count_hits, acknowledged, worker)
        for process in workers:
            crew.kill(process)
        total = sum(acknowledged)
        assert total <= m.root["hits"] <= total + killed + 3
        used = m.root.arena.used
        settled(m.root.arena, used)
        m.root.arena.check()
    until(lambda: files(runtime) == [], "the file is gone", 10)


def test_killed_while_opening(runtime: Path, crew: Crew) -> None:
    """Of those who open, make and let go at once some are killed; the others get a store that works."""
    dice = random.Random(7)

    def come_and_go() -> None:
        while True:
            with NamedManager("app") as m:
                m.open("items", m.list).append(1)
                m.root["large"] = ["x" * 10_000]

    for _ in rounds():
        victims = [crew.start(come_and_go) for _ in range(2)]
        for process in victims:
            kill_at_random(process, dice, 0.02)
        with at_once("opening it after the deaths", SOON), NamedManager("app") as m:
            m.open("items", m.list).append(1)
            assert m.open("items")[-1] == 1
    until(lambda: files(runtime) == [], "the file is gone", 10)


def test_the_parent_of_workers_is_killed(runtime: Path) -> None:
    """A web server's master that had the store open before it forked; its workers have it further on."""
    here, there = os.pipe()
    go, went = os.pipe()

    def master() -> None:
        m = NamedManager("app")
        m.root["n"] = 0
        for worker in range(2):
            if not os.fork():
                signal.alarm(40)
                os.close(went)
                os.read(go, 1)  # until the master and the test have let go of it
                m.root.update_with("n", lambda n: n + 1)
                until(lambda: m.root["n"] == 2, "the other worker has been there", SOON)
                os.write(there, b"%d" % worker)
                m.close()
                os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

    assert status_of(forked(master)) == -signal.SIGKILL
    os.close(went)
    os.close(there)
    with open(here, "rb") as said:
        assert sorted(said.read()) == [ord("0"), ord("1")]
    os.close(go)
    until(lambda: files(runtime) == [], "the last worker has freed it", 10)
