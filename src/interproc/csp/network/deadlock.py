"""Deadlock is an answer: when no wait of a network can end any more, each of them raises, and says why."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from interproc import _core
from interproc.csp.network import parties
from interproc.csp.network.parties import READS, SYNCS, WRITES, Party, Side

MOST_LINES = 24  # of processes in a message
MOST_NAMES = 3  # of those that one waits for
LOOKS = 3  # at a time: who they are may change while the message is drawn
MARGIN = " " * 5  # of what is said of a process; the circle is drawn in it
AWAITED = {  # what to await, of a wait that holds up an event loop; of a choice it is the last
    READS: "inp.arecv()",
    WRITES: "out.asend(...)",
    SYNCS: "here.async_sync()",
    None: "aselect(...)",
}
ADVICE = (
    "To end it: let one of them communicate in another order, or choose with select(); give a channel "
    "a buffer (Channel(buffer=1)), or a call a timeout; retire ends that are not used any more, and give a "
    "process the ends that it uses as arguments: one that it finds as a global stays its starter's, too."
)


def check(arena: _core.Arena) -> bool:
    """Look for processes whose waits can never end, and end them by Deadlock; returns whether there were any.

    It is called by those who wait, every now and then; so whatever goes wrong here is not told to them.
    """
    with contextlib.suppress(Exception):
        for _ in range(LOOKS):
            found = _core.stuck(arena)
            if not found or not any(entry["guards"] for entry in found):
                break
            if _core.declare_stuck(found, _told(arena, found), arena):
                return True
    return False


def _told(arena: _core.Arena, found: Sequence[Mapping[str, Any]]) -> str:
    """The message; should it not be possible to draw it, a plain one."""
    try:
        stuck = [parties.read(entry) for entry in found]
        everybody = [parties.read(entry) for entry in _core.parties(arena)]
        return explain(stuck, everybody, _labels(arena, stuck, everybody))
    except Exception:
        pids = sorted({int(entry.get("pid") or 0) for entry in found})
        return f"{_headline(len(found), 0)} (in {_listed([f'pid {pid}' for pid in pids])})\n{ADVICE}"


def _labels(arena: _core.Arena, stuck: Sequence[Party], everybody: Sequence[Party]) -> dict[str, str]:
    """What the objects are called that somebody waits for; also those that came to him over a channel."""
    called = parties.labels(everybody) | parties.labels(stuck)
    unknown = dict.fromkeys(key for party in stuck for key, _ in party.guards if key not in called)
    with contextlib.suppress(Exception):
        for key in [*unknown][:MOST_LINES]:
            called[key] = _label(arena, key)
    return called


_seen: weakref.WeakKeyDictionary[_core.Arena, dict[str, str]] = weakref.WeakKeyDictionary()


def _label(arena: _core.Arena, key: str) -> str:
    """What an object is called, found by looking at it: once, as that may take long enough to look anew."""
    known = _seen.setdefault(arena, {})
    if key not in known:
        seen = parties.look_at(arena, key)
        known[key] = str(seen["label"] or "") if seen is not None else ""
    return known[key]


def explain(stuck: Sequence[Party], everybody: Sequence[Party], called: Mapping[str, str]) -> str:
    """The message: who waits for whom, at which channel, on which line; first those who wait in a circle."""
    present = {party.key for party in stuck}
    known = [*stuck, *(party for party in everybody if party.key not in present)]
    circle = _circle(stuck, _awaited(stuck))
    in_circle = {party.key for party in circle}
    rest = [
        party for party in stuck if party.key not in in_circle and party.guards
    ]  # not who only joins others
    lines = [_headline(len(circle) + len(rest), len(circle))]
    shown = circle[:MOST_LINES]
    for place, party in enumerate(shown):
        mark = "  ┌▶ " if place == 0 else "  └─ " if party is circle[-1] else "  │  "
        lines.append(f"{mark}{_line(party, called, known)}")
    if len(shown) < len(circle):
        lines.append(f"  └─ and {len(circle) - len(shown)} more, the last of which waits for the first")
    room = max(0, MOST_LINES - len(shown))
    if rest and circle:
        lines.append("and these wait for them:")
    lines += [f"{MARGIN}{_line(party, called, known)}" for party in rest[:room]]
    if len(rest) > room:
        lines.append(f"{MARGIN}and {len(rest) - room} more")
    lines.append(ADVICE)
    return "\n".join(lines)


def line_of(name: str, text: str) -> str | None:
    """What such a message says of the process of that name; None if it was cut before that."""
    lines = (line[len(MARGIN) :] for line in text.splitlines() if line.startswith("  "))
    return next((line for line in lines if name and line.startswith(f"{name} (")), None)


def _headline(number: int, circle: int) -> str:
    if number == 1:
        return "a process waits for what nobody else could bring about"
    if circle == number:
        return f"{number} processes wait for each other, and nobody else could end that"
    if circle > 1:
        among = f"{circle} of them for each other"
        return f"{number} processes wait, {among}, and nobody else could end that"
    return f"{number} processes wait for what nobody could bring about"


def _line(party: Party, called: Mapping[str, str], everybody: Sequence[Party]) -> str:
    """Who it is, for what it waits, who would have to act, and where it waits."""
    kind = "" if party.kind == "process" else f"{party.kind}, "
    if party.joining and not party.guards:
        waits = "waits for those that it started"
        if children := [other for other in everybody if other.parent == party.key and other.guards]:
            waits += f", as {_listed(_names(children))}"
    else:
        guards = list(dict.fromkeys(party.guards))
        parts = [_guard(party, guard, called, everybody) for guard in guards[: parties.GUARDS_SAID]]
        if more := len(guards) - len(parts) + party.more_guards:
            parts.append(f"{more} others")
        waits = ", or ".join(parts)
    where = f": {party.note}" if party.note else ""
    return f"{party.name} ({kind}pid {party.pid}) {waits}{where}{_hint(party)}"


def _hint(party: Party) -> str:
    """To one who has forgotten to await."""
    if not party.stalls or not party.guards:
        return ""
    side = party.guards[0][1] if len(party.guards) == 1 else None
    return f'; it blocks the event loop: write "await {AWAITED[side]}"'


def _guard(party: Party, guard: Side, called: Mapping[str, str], everybody: Sequence[Party]) -> str:
    """What it waits for there, and who could bring it about."""
    key, side = guard
    partners = [other for other in everybody if other is not party and _acts(other, key, side)]
    what = parties.wait(guard, called)
    if side == SYNCS:
        return f"{what}, where {_listed(_names(partners))} is missing" if partners else what
    role = "writer" if side == READS else "reader"
    if partners:
        return f"{what}, whose {role}{'s are' if len(partners) > 1 else ' is'} {_listed(_names(partners))}"
    if _acts(party, key, side):
        return f"{what}, whose only {role} is itself"
    if party.stalls:  # one that has not begun has not told of itself
        return f"{what}, whose {role} may be another task of its event loop"
    return f"{what}, whose {role} no process has"


def _names(some: Sequence[Party]) -> list[str]:
    return [party.name for party in some]


def _listed(some: Sequence[str]) -> str:
    names = [*some[:MOST_NAMES]]
    if len(some) > MOST_NAMES:
        names.append(f"{len(some) - MOST_NAMES} others")
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _acts(party: Party, key: str, side: int) -> bool:
    """Whether it could end a wait at this side: it has the other one, or has to come to the same barrier."""
    if side == SYNCS:
        return (key, SYNCS) in party.ends and (key, SYNCS) not in party.guards
    return party.holds((key, WRITES if side == READS else READS))


def _awaited(stuck: Sequence[Party]) -> dict[int, list[Party]]:
    """Those among the stuck that each of them waits for."""
    children: dict[int, list[Party]] = {}
    holders: dict[Side, dict[int, Party]] = {}
    for party in stuck:
        children.setdefault(party.parent, []).append(party)
        for end in [*party.ends, *party.guards]:
            holders.setdefault(end, {})[party.key] = party
    ahead = {}
    for party in stuck:
        found: dict[int, Party] = {}
        for key, side in party.guards:
            opposite = (key, {READS: WRITES, WRITES: READS}.get(side, side))
            for other in holders.get(opposite, {}).values():
                if other is not party and _acts(other, key, side):
                    found[other.key] = other
        if party.joining and not party.guards:
            found = {child.key: child for child in children.get(party.key, [])}
        ahead[party.key] = list(found.values())
    return ahead


def _circle(stuck: Sequence[Party], ahead: Mapping[int, list[Party]]) -> list[Party]:
    """The shortest circle of waits, of those with a guard at least one; empty if there is none."""
    best: list[Party] = []
    for first in stuck[:200]:
        if not first.guards:
            continue
        before: dict[int, Party | None] = {first.key: None}
        queue = [first]
        while queue:
            here = queue.pop(0)
            if any(other is first for other in ahead[here.key]):
                path = [here]
                while (step := before[path[-1].key]) is not None:
                    path.append(step)
                if not best or len(path) < len(best):
                    best = path[::-1]
                break
            for other in ahead[here.key]:
                if other.key not in before:
                    before[other.key] = here
                    queue.append(other)
        if len(best) == 2:
            break
    return best
