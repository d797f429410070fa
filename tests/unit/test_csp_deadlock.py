"""The text of a deadlock: who waits for whom, at what, where; and that looking for one harms nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interproc._core import Arena
from interproc.csp.network import deadlock, parties
from interproc.csp.running import failures
from interproc.errors import Deadlock

ARENA = Arena.default()
READS, WRITES, SYNCS = parties.READS, parties.WRITES, parties.SYNCS


def entry(
    index: int,
    name: str,
    *ends: tuple[int, str, str],
    waits: tuple[int, int] | list[tuple[int, int]] = (),
    note: str = "",
    parent: int = 0,
    joining: bool = False,
    kind: str = "process",
) -> dict[str, Any]:
    """As _core.stuck() gives it: a process with `ends` (channel, "r" or "w", label) and `waits`."""
    guards = [waits] if isinstance(waits, tuple) and waits else list(waits)
    card = {
        "name": name,
        "kind": kind,
        "pid": 100 + index,
        "ends": [[f"channel#{c}.1", s, t] for c, s, t in ends],
    }
    return {
        "index": index,
        "generation": 1,
        "name": key(index),
        "ticket": 1,
        "parent": parent,
        "pid": 100 + index,
        "mode": {"joining"} if joining else set(),
        "note": note,
        "card": json.dumps(card),
        "guards": [(f"channel#{channel}.1", side) for channel, side in guards],
        "n_guards": len(guards),
    }


def key(index: int) -> int:
    return index + 1 | 1 << 21


def told(*stuck: dict[str, Any], others: tuple[dict[str, Any], ...] = ()) -> list[str]:
    found = [parties.read(one) for one in stuck]
    everybody = found + [parties.read(one) for one in others]
    return deadlock.explain(found, everybody, parties.labels(everybody)).splitlines()


def test_a_circle_is_drawn_in_its_order() -> None:
    lines = told(
        entry(0, "A", (1, "r", "a"), (2, "w", "b"), waits=(1, READS), note="net.py:3 in A"),
        entry(2, "C", (3, "r", "c"), (1, "w", "a"), waits=(3, READS), note="net.py:9 in C"),
        entry(1, "B", (2, "r", "b"), (3, "w", "c"), waits=(2, READS)),
    )
    assert lines == [
        "3 processes wait for each other, and nobody else could end that",
        "  ┌▶ A (pid 100) receives from 'a', whose writer is C: net.py:3 in A",
        "  │  C (pid 102) receives from 'c', whose writer is B: net.py:9 in C",
        "  └─ B (pid 101) receives from 'b', whose writer is A",
        deadlock.ADVICE,
    ]


def test_two_that_both_send_first() -> None:
    lines = told(
        entry(0, "P", (1, "w", "x"), (2, "r", "y"), waits=(1, WRITES)),
        entry(1, "Q", (1, "r", "x"), (2, "w", "y"), waits=(2, WRITES), kind="thread"),
    )
    assert lines[1:3] == [
        "  ┌▶ P (pid 100) sends to 'x', whose reader is Q",
        "  └─ Q (thread, pid 101) sends to 'y', whose reader is P",
    ]


def test_those_who_wait_for_the_circle_come_after_it() -> None:
    lines = told(
        entry(0, "P", (1, "w", "x"), (2, "r", "y"), waits=(1, WRITES)),
        entry(1, "Q", (1, "r", "x"), (2, "w", "y"), (3, "w", "z"), waits=(2, WRITES)),
        entry(2, "R", (3, "r", "z"), waits=(3, READS)),
    )
    assert lines[0] == ("3 processes wait, 2 of them for each other, and nobody else could end that")
    assert lines[3:5] == ["and these wait for them:", "     R (pid 102) receives from 'z', whose writer is Q"]


def test_one_who_only_waits_for_its_children_is_not_mentioned() -> None:
    lines = told(
        entry(0, "main", joining=True),
        entry(1, "P", (1, "w", "x"), (2, "r", "y"), waits=(1, WRITES), parent=key(0)),
        entry(2, "Q", (1, "r", "x"), (2, "w", "y"), waits=(2, WRITES), parent=key(0)),
    )
    assert lines[0] == "2 processes wait for each other, and nobody else could end that"
    assert "main" not in " ".join(lines)


def test_one_who_waits_for_its_children() -> None:
    lines = told(
        entry(0, "main", (1, "w", "x"), joining=True),
        entry(1, "P", (1, "r", "x"), waits=(1, READS), parent=key(0)),
    )
    assert lines[:3] == [
        "2 processes wait for each other, and nobody else could end that",
        "  ┌▶ P (pid 101) receives from 'x', whose writer is main",
        "  └─ main (pid 100) waits for those that it started, as P",
    ]


def test_one_who_has_both_ends_and_one_whose_partner_is_not_known() -> None:
    lines = told(entry(0, "P", (1, "w", "x"), (1, "r", "x"), waits=(1, WRITES)))
    assert lines[0] == "a process waits for what nobody else could bring about"
    assert lines[1] == "     P (pid 100) sends to 'x', whose only reader is itself"
    lines = told(entry(0, "P", (1, "w", "x"), waits=(1, WRITES)))
    assert lines[1] == "     P (pid 100) sends to 'x', whose reader no process has"


def test_of_several_who_are_told_the_first_has_the_drawing() -> None:
    p = entry(0, "P 1", (1, "w", "x"), (2, "r", "y"), waits=(1, WRITES))
    q = entry(1, "P 2", (1, "r", "x"), (2, "w", "y"), waits=(2, WRITES))
    text = "\n".join(told(p, q))
    within = ExceptionGroup("of a composition in another", [Deadlock(text), ValueError(text)])
    failed = [("P 1", Deadlock(text)), ("P 2", Deadlock(text)), ("P", Deadlock(text)), ("R", within)]
    for _ in range(2):  # who joins again is told the same
        first, second, unknown, inner = failures.group(failed, 5).exceptions
        assert str(first) == text
        assert str(second) == "as above: P 2 (pid 101) sends to 'y', whose reader is P 1"
        assert str(unknown) == "as above: another wait of the same deadlock"
        assert isinstance(inner, ExceptionGroup)
        assert [str(error) for error in inner.exceptions] == [str(unknown), text]
    other = Deadlock(text.replace("101", "102"))
    assert str(failures.group([("P 1", Deadlock(text)), ("P 2", other)], 2).exceptions[1]) == str(other)


def test_a_choice_names_what_it_chooses_among() -> None:
    guards = [(1, READS), (2, WRITES), (3, READS), (4, READS), (5, READS)]
    q = entry(1, "Q", (1, "w", "a"), (2, "r", "b"), (3, "w", ""))
    lines = told(
        entry(0, "P", (1, "r", "a"), (2, "w", "b"), waits=guards), others=(q, entry(2, "R", (2, "r", "")))
    )
    assert lines[1] == (
        "     P (pid 100) receives from 'a', whose writer is Q, or sends to 'b', whose readers are Q and R, "
        "or receives from channel#3.1, whose writer is Q, or 2 others"
    )


def test_a_barrier_that_one_does_not_come_to() -> None:
    lines = told(
        entry(0, "P", (1, "b", "all"), (2, "w", "x"), waits=(1, SYNCS)),
        entry(1, "Q", (1, "b", "all"), (2, "r", "x"), waits=(2, READS)),
    )
    assert lines[1:3] == [
        "  ┌▶ P (pid 100) waits at barrier 'all', where Q is missing",
        "  └─ Q (pid 101) receives from 'x', whose writer is P",
    ]


def test_a_large_circle_is_cut() -> None:
    n = 1000
    ring = [entry(i, f"P{i}", (i, "r", ""), ((i + 1) % n, "w", ""), waits=(i, READS)) for i in range(n)]
    lines = told(*ring)
    assert lines[0].startswith("1000 processes wait for each other")
    assert len(lines) < 30 and "976 more" in lines[-2]


def test_what_a_process_wrote_about_itself_may_be_anything() -> None:
    cards = ["", "{", "[1]", "\ufffd", '{"ends": [1, [2], ["x", 3], []], "name": null}', '{"ends": {}}']
    for card in cards:
        party = parties.read({**entry(0, "P", waits=(1, READS)), "card": card})
        assert party.name == "process 100" and party.pid == 100
        assert "process 100 (pid 100) receives from channel#1.1" in deadlock.explain([party], [party], {})


# --- check()


class Core:
    """What check() asks of _core."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = list(found)
        self.declared: list[str] = []

    def stuck(self, arena: Arena) -> list[dict[str, Any]]:
        return self.found

    def parties(self, arena: Arena) -> list[dict[str, Any]]:
        return self.found

    def declare_stuck(self, found: list[dict[str, Any]], text: str, arena: Arena) -> bool:
        assert found is self.found
        self.declared.append(text)
        return True


def test_what_is_found_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Core(entry(0, "P", (1, "w", "x"), waits=(1, WRITES)))
    monkeypatch.setattr(deadlock, "_core", core)
    assert deadlock.check(ARENA) is True
    assert len(core.declared) == 1 and core.declared[0].startswith("a process waits")


def test_nothing_and_those_who_only_wait_for_children_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for core in (Core(), Core(entry(0, "main", joining=True))):
        monkeypatch.setattr(deadlock, "_core", core)
        assert deadlock.check(ARENA) is False
        assert core.declared == []


def test_an_error_in_it_is_not_told_to_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Core):
        def stuck(self, arena: Arena) -> list[dict[str, Any]]:
            raise MemoryError

    monkeypatch.setattr(deadlock, "_core", Broken())
    assert deadlock.check(ARENA) is False


def test_what_cannot_be_drawn_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in ([{"guards": [1]}], [entry(0, "P", waits=(1, READS)), entry(1, "Q", waits=(1, READS))]):
        core = Core(*found)
        monkeypatch.setattr(deadlock, "_core", core)
        monkeypatch.setattr(deadlock, "explain", None)
        assert deadlock.check(ARENA) is True
    text = "2 processes wait for what nobody could bring about (in pid 100 and pid 101)"
    assert core.declared == [f"{text}\n{deadlock.ADVICE}"]


def test_what_changes_while_it_is_drawn_is_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    class Changing(Core):
        def declare_stuck(self, found: list[dict[str, Any]], text: str, arena: Arena) -> bool:
            super().declare_stuck(found, text, arena)
            self.found = [entry(0, "P", waits=(987654, READS)), entry(1, "Q", waits=(987654, READS))]
            return len(self.declared) == 2

    def look_at(arena: object, key: str) -> dict[str, Any]:
        looked.append(key)
        return {"label": "seldom"}

    looked: list[str] = []
    core = Changing(entry(0, "P", waits=(987654, READS)))
    monkeypatch.setattr(deadlock, "_core", core)
    monkeypatch.setattr(deadlock.parties, "look_at", look_at)
    assert deadlock.check(ARENA) is True
    assert ["P" in text and "Q" in text for text in core.declared] == [False, True]
    assert "'seldom'" in core.declared[1] and looked == ["987654.1"]
