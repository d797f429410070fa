"""Processes SIGKILLed while they change shared containers: each change is whole, or was not made."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from dropin.support import Crew, in_thread, until

from interproc._core import Arena
from interproc.managers.containers import version_of
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.sets import SetProxy
from interproc.managers.sharing import share, unshare

from .support import kill_at_random, rounds, settled

SIZES = (1, 300, 6000)  # bytes of a value: in small cells, and in a block of its own


def value(number: int) -> tuple[int, str]:
    return number, "x" * SIZES[number % 3]


# What the victims do, for ever; each is one change, from a state that the check accepts to another.


def update_dict(d: Any) -> None:
    for number in range(10**9):
        d.update({key: value(number) for key in "abcdef"}, last=value(number))


def check_dict(d: Any) -> None:
    assert set(d) in (set(), {*"abcdef", "last"}) and len(set(d.values())) <= 1


def change_list(items: Any) -> None:
    for number in range(10**9):
        items[:] = [value(number)] * 8
        items.extend([value(number)] * 8)
        items[::2] = [value(number)] * 8
        items *= 2
        del items[::4]
        del items[:16]
        items.clear()


def check_list(items: Any) -> None:
    found = items[:]
    assert len(found) in (0, 8, 16, 32, 24) and len(set(found)) <= 1


def order_list(items: Any) -> None:
    dice = random.Random(5)
    while True:
        items.sort(key=lambda item: dice.random())
        items.reverse()


def check_order(items: Any) -> None:
    assert sorted(item[0] for item in items[:]) == list(range(20))


def change_set(elements: Any) -> None:
    elements.clear()
    for number in range(10**9):
        elements.update(range(number, number + 10))
        elements ^= {number, number + 1, *range(number + 10, number + 12)}
        elements.difference_update(range(number, number + 20))


def check_set(elements: Any) -> None:
    found = sorted(elements)
    assert len(found) in (0, 10)
    assert not found or found[-1] - found[0] == 9


def nest(tree: Any) -> None:
    for number in range(10**9):
        tree["x"] = {"n": number, "items": [[number], {number}]}


def check_nested(tree: Any) -> None:
    plain = unshare(tree)
    if plain:
        n = plain["x"]["n"]
        assert plain == {"x": {"n": n, "items": [[n], {n}]}}


def count(ns: Any) -> None:
    while True:
        ns.add("x", 1)
        ns.update_with("text", grow)


def grow(text: str) -> str:
    return "" if len(text) > 2000 else text + "ab"


def check_namespace(ns: Any) -> None:
    assert type(ns.x) is int and len(ns.text) % 2 == 0


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], Callable[[Any], None]]] = {
    "update of a dict": (DictProxy, update_dict, check_dict),
    "slices of a list": (ListProxy, change_list, check_list),
    "sorting a list": (lambda: ListProxy(map(value, range(20))), order_list, check_order),
    "updates of a set": (SetProxy, change_set, check_set),
    "nested containers": (lambda: share({}), nest, check_nested),
    "attributes": (lambda: NamespaceProxy(x=0, text=""), count, check_namespace),
}


def kill_often(container: Any, change: Any, check: Any, crew: Crew) -> None:
    dice = random.Random(7)
    for _ in rounds():
        seen = version_of(container)
        victim = crew.start(change, container)
        until(lambda seen=seen: version_of(container) > seen + 3, "the victim works")
        for _ in range(5):
            check(container)  # nobody sees half a change while it works either
        kill_at_random(victim, dice)
        assert in_thread(lambda: check(container)) is None


@pytest.mark.parametrize("what", KINDS)
def test_a_change_is_whole_or_was_not_made(what: str, crew: Crew, arena: Arena) -> None:
    make, change, check = KINDS[what]
    used = arena.used
    kill_often(make(), change, check, crew)
    arena.check()
    settled(arena, used, what)
