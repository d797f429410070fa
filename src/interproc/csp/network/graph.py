"""The picture of a network: processes as boxes, channels as arrows, before it runs and while it does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from interproc import _core
from interproc.csp.naming import told_apart
from interproc.csp.network import parties
from interproc.csp.network.parties import READS, SYNCS, WRITES
from interproc.errors import InterprocError

__all__ = ["Box", "Conduit", "Graph", "live", "of"]

KINDS = {"process": "OS process", "thread": "thread", "task": "task"}
SUFFIXES = {
    ".svg": "svg",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".txt": "text",
}


@dataclass
class Box:
    """A process of the network."""

    key: str  # unique in the picture
    name: str
    kind: str = "process"
    group: tuple[int, ...] = ()  # the nested compositions that it is in, outermost first, by their numbers
    pid: int = 0  # while it runs
    waits: str = ""  # for what, in words, while it waits
    note: str = ""  # the source line at which it waits


@dataclass
class Conduit:
    """A channel or a barrier, and who has its ends."""

    key: str
    name: str
    barrier: bool = False
    capacity: int = 0  # of its buffer: 0 none, -1 unbounded
    writers: list[str] = field(default_factory=list)  # keys of boxes
    readers: list[str] = field(default_factory=list)
    blocked: set[tuple[str, int]] = field(default_factory=set)  # (box, side) of who waits there
    passed: int | None = None  # messages that went through it, or meetings at it; None: it does not run
    buffered: int = 0
    poisoned: bool = False
    retired: bool = False

    @property
    def direct(self) -> bool:
        """Whether it is one arrow: it has one writer and one reader."""
        return not self.barrier and len(self.writers) == 1 and len(self.readers) == 1

    @property
    def detail(self) -> str:
        """Its buffer and its counts, in a few characters; empty if there is nothing to say."""
        parts = []
        if self.passed is not None:
            parts.append(f"{self.passed:,}\N{MULTIPLICATION SIGN}")
        if self.capacity and self.passed is not None:
            parts.append(f"[{self.buffered}/{'∞' if self.capacity < 0 else self.capacity}]")
        elif self.capacity:
            parts.append(f"[{'∞' if self.capacity < 0 else self.capacity}]")
        if self.poisoned:
            parts.append("poisoned")
        elif self.retired:
            parts.append("retired")
        return " ".join(parts)

    def ends(self) -> Iterator[tuple[str, int]]:
        """(box, side) for each of its ends, the writers first."""
        for key in self.writers:
            yield key, SYNCS if self.barrier else WRITES
        for key in self.readers:
            yield key, READS


class Graph:
    """A network as a picture: print it, or have it as SVG, Mermaid or DOT; a notebook shows it."""

    def __init__(self, boxes: Sequence[Box], conduits: Sequence[Conduit], title: str = "") -> None:
        self.boxes = list(boxes)
        self.conduits = list(conduits)
        self.title = title

    def dot(self) -> str:
        """In graphviz's language."""
        from interproc.csp.network import drawing

        return drawing.dot(self)

    def mermaid(self) -> str:
        """As a flowchart of Mermaid, which Markdown on many sites draws."""
        from interproc.csp.network import drawing

        return drawing.mermaid(self)

    def text(self, width: int = 80) -> str:
        """For a terminal, in lines of at most `width` columns where names allow it."""
        from interproc.csp.network import drawing

        return drawing.text(self, width)

    def svg(self) -> str:
        """A picture. By the program `dot` if there is one, else by grandalf.

        Raises:
            ImportError: there is neither; the message says how to install grandalf.
        """
        from interproc.csp.network import svg

        return svg.draw(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, as its suffix says: .svg, .mmd or .mermaid, .dot or .gv, .txt.

        Raises:
            ValueError: another suffix.
        """
        suffix = os.path.splitext(os.fspath(path))[1].lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"{os.fspath(path)!r}: a graph is saved as one of {', '.join(SUFFIXES)}")
        content = self.render(SUFFIXES[suffix])
        with open(path, "w", encoding="utf-8") as file:
            file.write(content if content.endswith("\n") else content + "\n")

    def render(self, format: str) -> str:
        """As "svg", "mermaid", "dot" or "text"."""
        if format not in ("svg", "mermaid", "dot", "text"):
            raise ValueError(f"{format!r} is none of svg, mermaid, dot, text")
        content: str = getattr(self, format)()
        return content

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        processes, channels = len(self.boxes), len(self.conduits)
        boxes = f"{processes} process{'es' if processes != 1 else ''}"
        return f"<Graph of {boxes} and {channels} channel{'s' if channels != 1 else ''}>"

    def _repr_svg_(self) -> str | None:
        try:
            return self.svg()
        except ImportError:
            return None  # the notebook shows the text

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def of(descriptions: Iterable[Any], title: str = "") -> Graph:
    """The picture of processes that do not run yet: descriptions, compositions, and lists of either."""
    boxes: list[Box] = []
    conduits: dict[str, Conduit] = {}
    groups = iter(range(1, 1 << 30))

    def walk(items: Iterable[Any], group: tuple[int, ...]) -> None:
        for item in items:
            if isinstance(item, (list, tuple)):
                walk(item, group)
            elif (parts := getattr(item, "parts", None)) is not None:
                walk(parts, (*group, next(groups)))
            else:
                box = Box(f"p{len(boxes)}", str(item.name), str(item.kind), group)
                boxes.append(box)
                for end in item.ends():
                    key = getattr(end, "channel_id", None) or end.id
                    if key not in conduits:
                        conduits[key] = _conduit_of(f"c{len(conduits)}", end)
                    _join(conduits[key], box.key, _side(end))

    walk(descriptions, ())
    _numbered(boxes)
    return Graph(boxes, [*conduits.values()], title)


def _conduit_of(key: str, end: Any) -> Conduit:
    if _side(end) == SYNCS:
        return Conduit(key, end.label or end.id, barrier=True)
    conduit = Conduit(key, end.label or end.channel_id)
    with contextlib.suppress(InterprocError):  # of a network that has run, the channel may be gone
        conduit.capacity = int(end.look()["capacity"])
    return conduit


def _side(end: Any) -> int:
    return int(getattr(end, "side", SYNCS))


def _join(conduit: Conduit, key: str, side: int) -> None:
    keys = conduit.readers if side == READS else conduit.writers
    if key not in keys:
        keys.append(key)


def _numbered(boxes: Sequence[Box]) -> None:
    """Tell boxes of one name apart."""
    for box, name in zip(boxes, told_apart(box.name for box in boxes), strict=True):
        box.name = name


def live(arena: _core.Arena | None = None, title: str = "") -> Graph:
    """The picture of what runs in an arena (this tree's unless given) now, with counts and with who waits."""
    arena = _core.Arena.default() if arena is None else arena
    everybody = [parties.read(entry) for entry in _core.parties(arena)]
    called = parties.labels(everybody)
    boxes: list[Box] = []
    conduits: dict[str, Conduit] = {}
    for party in everybody:
        sides = list(dict.fromkeys([*party.ends, *party.guards]))
        if not sides:
            continue  # who only starts others, and waits for them
        box = Box(f"p{len(boxes)}", party.name, party.kind, pid=party.pid)
        boxes.append(box)
        waits_at = set(party.guards) if party.waiting else set()
        if waits_at:
            box.note = party.note.rpartition("/")[2]
        for key, side in sides:
            conduit = conduits.get(key)
            if conduit is None:
                conduit = conduits[key] = _seen(f"c{len(conduits)}", arena, key, called)
                conduit.barrier = side == SYNCS
            _join(conduit, box.key, side)
            if (key, side) in waits_at:
                conduit.blocked.add((box.key, side))
        called |= {key: conduit.name for key, conduit in conduits.items() if conduit.name}
        if waits_at:
            box.waits = parties.waits_for(party, called)
    for key, conduit in conduits.items():
        conduit.name = conduit.name or parties.object_id((key, SYNCS if conduit.barrier else READS))
    _numbered(boxes)
    return Graph(boxes, [*conduits.values()], title)


def _seen(name: str, arena: _core.Arena, key: str, called: dict[str, str]) -> Conduit:
    """A channel or barrier of an arena, as it is now."""
    conduit = Conduit(name, called.get(key, ""), passed=0)
    seen = parties.look_at(arena, key)
    if seen is None:
        conduit.retired = True  # it is gone: who had an end of it does not any more
        return conduit
    conduit.name = seen.get("label") or conduit.name
    if seen["kind"] == "barrier":
        conduit.barrier = True
        conduit.passed = int(seen["met"])
    else:
        conduit.capacity, conduit.buffered = int(seen["capacity"]), int(seen["buffered"])
        conduit.passed = int(seen["passed"])
        conduit.poisoned = bool(seen["poisoned"])
        conduit.retired = any(seen["retired"])
    return conduit
