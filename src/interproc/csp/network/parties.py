"""What the arena records of those who take part in a network: who they are, what they have and wait for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interproc import _core

READS, WRITES, SYNCS = 0, 1, 2
VERBS = {READS: "receives from", WRITES: "sends to", SYNCS: "waits at"}
GUARDS_SAID = 3  # of those that one waits for

Side = tuple[str, int]  # an object, as "index.generation", and READS, WRITES or SYNCS


@dataclass
class Party:
    """One that takes part, as it was at some moment."""

    key: int  # what others' `parent` names it by
    name: str
    kind: str
    pid: int
    parent: int = 0
    waiting: bool = False
    joining: bool = False  # its wait is for those that it has started
    stalls: bool = False  # its wait holds up an event loop
    note: str = ""  # where in its source
    ends: dict[Side, str] = field(default_factory=dict)  # that it was started with, and their labels
    guards: list[Side] = field(default_factory=list)  # for which it waits; the first few of them
    more_guards: int = 0

    def holds(self, side: Side) -> bool:
        return side in self.ends or side in self.guards


def read(entry: Mapping[str, Any]) -> Party:
    """From an entry of `_core.parties()` or `_core.stuck()`. What a process wrote is not trusted."""
    card = _card(entry.get("card"))
    ends: dict[Side, str] = {}
    listed = card.get("ends")
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, list) and len(item) >= 2 and isinstance(item[0], str):
            side = {"r": READS, "w": WRITES}.get(str(item[1]), SYNCS)
            ends[object_key(item[0]), side] = str(item[2] or "") if len(item) > 2 else ""
    pid = int(entry.get("pid") or 0)
    guards = [(object_key(guard[0]), int(guard[1])) for guard in entry.get("guards") or ()]
    return Party(
        key=int(entry["name"]),
        name=str(card.get("name") or (f"process {pid}" if pid else "a process")),
        kind=str(card.get("kind") or "process"),
        pid=pid,
        parent=int(entry.get("parent") or 0),
        waiting=entry.get("phase", "waiting") == "waiting",
        joining="joining" in entry["mode"],
        stalls="stalls" in entry["mode"],
        note=str(entry.get("note") or ""),
        ends=ends,
        guards=guards,
        more_guards=max(0, int(entry.get("n_guards") or 0) - len(guards)),
    )


def object_key(id: str) -> str:
    """What names an object, "index.generation", from its id, as "channel#12.3"."""
    return id.rpartition("#")[2]


def labels(parties: Iterable[Party]) -> dict[str, str]:
    """What each object is called by those who have it."""
    found: dict[str, str] = {}
    for party in parties:
        for (key, _), label in party.ends.items():
            if label:
                found[key] = label
    return found


def look_at(arena: _core.Arena, key: str) -> dict[str, Any] | None:
    """How a channel or barrier stands, as its look() says; None: it is no more."""
    index, _, generation = key.partition(".")
    if not (index.isdigit() and generation.isdigit()):
        return None
    return _core.look_at(arena, int(index), int(generation))


def waits_for(party: Party, called: Mapping[str, str]) -> str:
    """For what it waits, in words: "receives from 'a'"; several: "receives from 'a' or sends to 'b'"."""
    said = list(dict.fromkeys(wait(guard, called) for guard in party.guards))
    more = len(said) - GUARDS_SAID + party.more_guards
    text = " or ".join(said[:GUARDS_SAID])
    if more > 0:
        text += f" or {more} others"
    if not text and party.joining:
        text = "waits for those that it started"
    return text


def wait(guard: Side, called: Mapping[str, str]) -> str:
    """In words: "receives from 'a'"; what has no name is called by its id: "sends to channel#12.3"."""
    key, side = guard
    label = called.get(key)
    named = f"{'barrier ' if side == SYNCS else ''}{label!r}" if label else object_id(guard)
    return f"{VERBS.get(side, 'waits at')} {named}"


def object_id(side: Side) -> str:
    """The id of an object, as "channel#12.3"."""
    return f"{'barrier' if side[1] == SYNCS else 'channel'}#{side[0]}"


def _card(text: Any) -> dict[str, Any]:
    try:
        card = json.loads(text or b"{}")
    except ValueError:  # it is cut short, or none
        return {}
    return card if isinstance(card, dict) else {}
