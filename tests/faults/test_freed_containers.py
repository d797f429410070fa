"""Faults: what is left of shared containers that are dropped, and of handles on them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from interproc import Arena, ObjectFreed
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.sets import SetProxy
from interproc.managers.values import ValueProxy

MIB = 1 << 20
WARM = 64 * MIB  # what an arena keeps for its next objects, at most (IP_WARM_MAX)
MANY = 1_000_000

KINDS: dict[str, Callable[[Arena], Any]] = {
    "dict": lambda arena: DictProxy({"a": 1}, arena=arena),
    "list": lambda arena: ListProxy([1], arena=arena),
    "set": lambda arena: SetProxy([1], arena=arena),
    "Namespace": lambda arena: NamespaceProxy(x=1, arena=arena),
    "Value": lambda arena: ValueProxy("i", 1, arena=arena),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_handle_on_what_was_freed_says_so(kind: str) -> None:
    arena = Arena.create()
    data = pickle.dumps(KINDS[kind](arena))  # and so nobody has it any more
    with pytest.raises(ObjectFreed, match="freed"):
        pickle.loads(data)
    other = DictProxy(arena=arena)  # in its place
    with pytest.raises(ObjectFreed):
        pickle.loads(data)
    assert other == {}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["dropped", "cleared"])
def test_memory_returns_of_a_million_entries(how: str) -> None:
    arena = Arena.create()
    empty = arena.used
    many = DictProxy(arena=arena)
    many.update(zip(range(MANY), range(MANY), strict=True))  # one transaction
    assert len(many) == MANY
    assert arena.used > 30 * MIB
    if how == "dropped":
        del many
        assert arena.used == empty
    else:
        many.clear()
        assert arena.used < empty + 10_000
    assert arena.committed <= WARM + 4 * MIB
    arena.check()
