"""Deadlock is an answer: when no wait of a network can end any more, each of them raises, and says why."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from interproc import _core
from interproc.csp import parties
from interproc.csp.parties import READS, SYNCS, WRITES, Party

MOST_LINES = 24  # of processes in a message
ADVICE = (
    "To end it: let one of them communicate in another order, or choose with select(); give a channel "
    "a buffer (Channel(buffer=1)), or a call a timeout; retire ends that are not used any more."
)


def check() -> bool:
    """Look for processes whose waits can never end, and end them by Deadlock; returns whether there were any.

    It is called by those who wait, every now and then; so whatever goes wrong here is not told to them.
    """
    with contextlib.suppress(Exception):
        found = _core.stuck()
        if found and any(entry["guards"] for entry in found):
            stuck = [parties.read(entry) for entry in found]
            everybody = [parties.read(entry) for entry in _core.parties()]
            return bool(_core.declare_stuck(found, explain(stuck, everybody)))
    return False


def explain(stuck: Sequence[Party], everybody: Sequence[Party]) -> str:
    """The message: who waits for whom, at which channel, on which line; first those who wait in a circle."""
    called = parties.labels(everybody) | parties.labels(stuck)
    present = {party.key for party in stuck}
    others = [party for party in everybody if party.key not in present]
    ahead = {party.key: _awaited(party, stuck) for party in stuck}
    circle = _circle(stuck, ahead)
    rest = [party for party in stuck if all(party is not other for other in circle)]
    lines = [_headline(len(stuck), len(circle))]
    shown = circle[:MOST_LINES]
    for place, party in enumerate(shown):
        mark = "┌▶" if place == 0 else "└─" if party is circle[-1] else "│ "
        if len(circle) == 1:
            mark = "  "
        following = circle[(place + 1) % len(circle)]
        lines.append(f"  {mark} {_line(party, called, [following], others)}")
    if len(shown) < len(circle):
        lines.append(f"  └─ and {len(circle) - len(shown)} more, the last of which waits for the first")
    room = max(0, MOST_LINES - len(shown))
    if rest and circle:
        lines.append("and these wait for them:")
    for party in rest[:room]:
        lines.append(f"     {_line(party, called, ahead[party.key], others)}")
    if len(rest) > room:
        lines.append(f"     and {len(rest) - room} more")
    lines.append(ADVICE)
    return "\n".join(lines)


def _headline(number: int, circle: int) -> str:
    if number == 1:
        return "deadlock: a process waits for what nobody else could bring about"
    if circle == number:
        return f"deadlock: {number} processes wait for each other, and nobody else could end that"
    if circle > 1:
        among = f"{circle} of them for each other"
        return f"deadlock: {number} processes wait, {among}, and nobody else could end that"
    return f"deadlock: {number} processes wait for what nobody could bring about"


def _line(
    party: Party, called: Mapping[str, str], following: Sequence[Party], others: Sequence[Party]
) -> str:
    where = f", at {party.note}" if party.note else ""
    kind = "" if party.kind == "process" else f"{party.kind}, "
    who = f"{party.name} ({kind}pid {party.pid})"
    partner = _other_side(party, following, others)
    return f"{who} {parties.waits_for(party, called)}{where}; {partner}"


def _other_side(party: Party, following: Sequence[Party], others: Sequence[Party]) -> str:
    """Who would have to act."""
    for other in following:
        if party.joining and other.parent == party.key:
            return f"{other.name} is one of them"
        for key, side in party.guards:
            if other is not party and _acts(other, key, side):
                return f"its {_role(side)} is {other.name}" if side != SYNCS else f"{other.name} is not there"
    if any(_acts(party, key, side) for key, side in party.guards if side != SYNCS):
        return "nobody but itself has the other end"
    for other in others:
        for key, side in party.guards:
            if _acts(other, key, side):
                return f"its {_role(side)} is {other.name}, which does not get to it"
    return "no process was given the other end, and who made it has not retired it"


def _role(side: int) -> str:
    return {READS: "writer", WRITES: "reader"}.get(side, "partner")


def _acts(party: Party, key: str, side: int) -> bool:
    """Whether it could end a wait at this side: it has the other one, or has to come to the same barrier."""
    if side == SYNCS:
        return (key, SYNCS) in party.ends and (key, SYNCS) not in party.guards
    return party.holds((key, WRITES if side == READS else READS))


def _awaited(party: Party, stuck: Sequence[Party]) -> list[Party]:
    """Those among the stuck that it waits for."""
    if party.joining and not party.guards:
        return [other for other in stuck if other.parent == party.key]
    return [
        other
        for other in stuck
        if other is not party and any(_acts(other, key, side) for key, side in party.guards)
    ]


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
