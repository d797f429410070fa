"""The picture of a network as SVG: by graphviz's `dot` where there is one, else laid out by grandalf."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from interproc.csp.network import drawing
from interproc.csp.network.drawing import FILLS, FONT, GREY, INK, RED, STROKES
from interproc.csp.network.graph import Box, Conduit, Graph
from interproc.csp.network.layout import Line, Node, Placed, Point, place
from interproc.csp.network.parties import READS, WRITES

LONGEST = 1500.0  # pixels; what is longer, and narrow, runs downwards
MARGIN = 16.0
DOT_SECONDS = 20.0  # that `dot` has
NAME, SMALL, LABEL = 14.0, 11.0, 12.0  # sizes of letters, in pixels


def draw(graph: Graph) -> str:
    """An SVG document. Raises ImportError when there is neither `dot` nor grandalf."""
    program = shutil.which("dot")
    if program is not None:
        try:
            done = subprocess.run(
                [program, "-Tsvg"], input=graph.dot().encode(), capture_output=True, timeout=DOT_SECONDS
            )
            if done.returncode == 0 and b"</svg>" in done.stdout:
                return done.stdout.decode()
        except (OSError, subprocess.TimeoutExpired):
            pass  # a picture by grandalf is better than none
    return draw_ourselves(graph)


def draw_ourselves(graph: Graph) -> str:
    """The same without `dot`. Raises ImportError when grandalf is missing."""
    placed = _placed(graph, down=False)
    if placed.width > LONGEST and placed.width > 4 * placed.height:
        placed = _placed(graph, down=True)
    return _Pen(graph, placed).document()


def _placed(graph: Graph, down: bool) -> Placed:
    nodes = [_box_node(graph, box) for box in graph.boxes]
    nodes += [_conduit_node(conduit) for conduit in graph.conduits]
    lines = []
    for conduit in graph.conduits:
        for key, side in conduit.ends():
            lines.append(Line(conduit.key, key) if side == READS else Line(key, conduit.key))
    return place(nodes, lines, down)


def _box_node(graph: Graph, box: Box) -> Node:
    rows = _rows(graph, box)
    width = max(_width(words, size) for words, size, _ in rows)
    return Node(box.key, max(width, 34.0) + 24.0, sum(size for _, size, _ in rows) * 1.3 + 12.0)


def _rows(graph: Graph, box: Box) -> list[tuple[str, float, str]]:
    """The lines in a box: text, size, colour."""
    rows = [(box.name, NAME, INK), (drawing.caption(graph, box), SMALL, GREY)]
    if box.waits:
        rows += [(box.waits, SMALL, RED), (box.note, SMALL, GREY)]
    return [row for row in rows if row[0]]


def _conduit_node(conduit: Conduit) -> Node:
    width = max(_width(conduit.name, LABEL), _width(conduit.detail, SMALL))
    height = LABEL * 1.3 + (SMALL * 1.3 if conduit.detail else 0.0)
    if conduit.direct:
        return Node(conduit.key, width + 8.0, height + 2.0, label=True)
    return Node(conduit.key, width + 26.0, height + 10.0)


def _width(text: str, size: float) -> float:
    """About how wide a text is."""
    wide = sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.58 for c in text)
    return wide * size


@dataclass
class _Pen:
    graph: Graph
    placed: Placed
    out: list[str] = field(default_factory=list)

    def document(self) -> str:
        head = 26.0 if self.graph.title else 0.0
        width, height = self.placed.width + 2 * MARGIN, self.placed.height + 2 * MARGIN + head
        if self.graph.title:
            width = max(width, _width(self.graph.title, NAME) + 2 * MARGIN)
        self.out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}">',
            f"<title>{_escaped(self.graph.title or 'a network of processes')}</title>",
            "<defs>",
            *(_marker(name, colour) for name, colour in (("arrow", GREY), ("blocked", RED))),
            "</defs>",
            '<rect width="100%" height="100%" fill="white"/>',
        ]
        if self.graph.title:
            self.text(MARGIN, MARGIN + NAME, self.graph.title, NAME, INK, anchor="start")
        self.out.append(f'<g transform="translate({MARGIN:.0f} {MARGIN + head:.0f})">')
        self.frames()
        ports = self.ports()
        ends = {(line.start, line.end): line for line in self.placed.lines}
        for conduit in self.graph.conduits:
            self.conduit(conduit, ends, ports)
        for box in self.graph.boxes:
            self.box(box)
        for conduit in self.graph.conduits:
            self.label(conduit)
        return "\n".join([*self.out, "</g>", "</svg>", ""])

    def frames(self) -> None:
        """Around each nested composition that nothing else lies in."""
        for group in drawing.groups(self.graph):
            inside = [box for box in self.graph.boxes if box.group[: len(group)] == group]
            nodes = [self.placed.nodes[box.key] for box in inside]
            if not group or not nodes:
                continue
            room = 9.0 - len(group)
            left, right = min(n.left for n in nodes) - room, max(n.right for n in nodes) + room
            top, bottom = min(n.top for n in nodes) - room, max(n.bottom for n in nodes) + room
            others = [self.placed.nodes[box.key] for box in self.graph.boxes if box not in inside]
            if any(n.right > left and n.left < right and n.bottom > top and n.top < bottom for n in others):
                continue
            self.out.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
                ' rx="10" fill="none" stroke="#b5bec8" stroke-dasharray="5 4"/>'
            )

    def ports(self) -> dict[tuple[int, bool], Point]:
        """Where each line (by its id) leaves its start (False) and reaches its end (True).

        They are spread over the side of a box in the order in which the lines go away from it.
        """
        sides: dict[tuple[str, bool], list[tuple[float, int, bool]]] = {}
        for line in self.placed.lines:
            for at_end in (False, True):
                key, other = (line.end, line.start) if at_end else (line.start, line.end)
                ahead = at_end == line.back  # it touches the side that the picture runs to
                points = line.through[::-1] if at_end else line.through
                node = self.placed.nodes[other]
                x, y = points[0] if points else (node.x, node.y)
                sides.setdefault((key, ahead), []).append((x if self.placed.down else y, id(line), at_end))
        found: dict[tuple[int, bool], Point] = {}
        for (key, ahead), touching in sides.items():
            node = self.placed.nodes[key]
            touching.sort()
            for rank, (_, line_id, at_end) in enumerate(touching):
                share = (rank + 1) / (len(touching) + 1) - 0.5
                if self.placed.down:
                    point = (node.x + share * node.width, node.bottom if ahead else node.top)
                else:
                    point = (node.right if ahead else node.left, node.y + share * node.height)
                found[line_id, at_end] = point
        return found

    def conduit(
        self, conduit: Conduit, lines: dict[tuple[str, str], Line], ports: dict[tuple[int, bool], Point]
    ) -> None:
        dashes = ' stroke-dasharray="4 4"' if conduit.poisoned or conduit.retired else ""
        for key, side in conduit.ends():
            start, end = (conduit.key, key) if side == READS else (key, conduit.key)
            line = lines[start, end]
            points = [ports[id(line), False], *line.through, ports[id(line), True]]
            name = "blocked" if (key, side) in conduit.blocked else "arrow"
            heads = side == READS or (side == WRITES and not conduit.direct)
            marker = f' marker-end="url(#{name})"' if heads else ""
            self.out.append(
                f'<path d="{self.curve(points)}" fill="none" stroke="{RED if name == "blocked" else GREY}"'
                f' stroke-width="1.5"{dashes}{marker}/>'
            )

    def curve(self, points: list[Point]) -> str:
        """Through all points, and at each in the direction of the picture."""
        x, y = points[0]
        parts = [f"M{x:.1f} {y:.1f}"]
        for to_x, to_y in points[1:]:
            if self.placed.down:
                middle = (y + to_y) / 2
                parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
            else:
                middle = (x + to_x) / 2
                parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
            x, y = to_x, to_y
        return " ".join(parts)

    def box(self, box: Box) -> None:
        node = self.placed.nodes[box.key]
        stroke = RED if box.waits else STROKES.get(box.kind, GREY)
        self.out.append(
            f"<rect {_extent(node)}"
            f' rx="7" fill="{FILLS.get(box.kind, "#f3f4f6")}" stroke="{stroke}" stroke-width="1.5"/>'
        )
        self.rows(node, _rows(self.graph, box))

    def label(self, conduit: Conduit) -> None:
        node = self.placed.nodes[conduit.key]
        rows = [(conduit.name, LABEL, INK), (conduit.detail, SMALL, GREY)]
        if conduit.barrier:
            points = f"{node.left:.1f},{node.y:.1f} {node.left + 10:.1f},{node.top:.1f}"
            points += f" {node.right - 10:.1f},{node.top:.1f} {node.right:.1f},{node.y:.1f}"
            points += f" {node.right - 10:.1f},{node.bottom:.1f} {node.left + 10:.1f},{node.bottom:.1f}"
            self.out.append(f'<polygon points="{points}" fill="white" stroke="{GREY}"/>')
        else:
            border = "none" if conduit.direct else GREY
            self.out.append(
                f'<rect {_extent(node)} rx="{min(node.height / 2, 14):.1f}" fill="white" stroke="{border}"/>'
            )
        self.rows(node, [row for row in rows if row[0]])

    def rows(self, node: Node, rows: list[tuple[str, float, str]]) -> None:
        y = node.y - sum(size for _, size, _ in rows) * 0.65
        for words, size, colour in rows:
            self.text(node.x, y + size * 1.0, words, size, colour)
            y += size * 1.3

    def text(self, x: float, y: float, words: str, size: float, colour: str, anchor: str = "middle") -> None:
        self.out.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}">'
            f"{_escaped(words)}</text>"
        )


def _extent(node: Node) -> str:
    return f'x="{node.left:.1f}" y="{node.top:.1f}" width="{node.width:.1f}" height="{node.height:.1f}"'


def _marker(name: str, colour: str) -> str:
    return (
        f'<marker id={quoteattr(name)} viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8"'
        f' orient="auto" markerUnits="userSpaceOnUse"><path d="M0 1 L10 5 L0 9 z" fill="{colour}"/></marker>'
    )


def _escaped(text: str) -> str:
    return escape(drawing.printable(text))
