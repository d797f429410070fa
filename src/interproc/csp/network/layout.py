"""Where the boxes and labels of a picture go: a layered layout, by grandalf (Sugiyama, Brandes and Koepf)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

GRANDALF_IS_MISSING = (
    "drawing an SVG takes the package grandalf, or the program dot (of graphviz): "
    "python -m pip install 'interproc[graph]'; .mermaid(), .dot() and text need neither"
)
BETWEEN_LAYERS = 44.0
BETWEEN_NEIGHBOURS = 22.0
BETWEEN_PARTS = 36.0  # of a picture that is not connected
Point = tuple[float, float]


@dataclass
class Node:
    """Something with a place: `x`, `y` are its middle; `width` and `height` are what it takes, in pixels."""

    key: str
    width: float
    height: float
    label: bool = False  # of a line that goes through it
    x: float = 0.0
    y: float = 0.0

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2


@dataclass
class Line:
    """A line from one node to another; `through` are the points that it passes between them."""

    start: str
    end: str
    through: list[Point] = field(default_factory=list)
    back: bool = False  # against the direction of the picture


@dataclass
class Placed:
    """A picture, from (0, 0) to (`width`, `height`); it runs to the right or, if `down`, downwards."""

    nodes: dict[str, Node]
    lines: list[Line]
    width: float
    height: float
    down: bool


def place(nodes: Sequence[Node], lines: Sequence[Line], down: bool = False) -> Placed:
    """Give each node a place and each line its points. Lines that would close a circle run `back`.

    Raises:
        ImportError: grandalf is not installed; the message says how to install it.
    """
    try:
        from grandalf.graphs import Edge, Graph, Vertex
        from grandalf.layouts import SugiyamaLayout
    except ImportError as error:
        raise ImportError(GRANDALF_IS_MISSING) from error

    _turn_back(nodes, lines)
    vertices = {node.key: Vertex(node) for node in nodes}
    for key, vertex in vertices.items():
        vertex.view = _View(vertex.data, down)
        vertex.view.key = key
    edges = []
    for line in lines:
        edge = Edge(vertices[line.start], vertices[line.end])
        edge.line = line
        edges.append(edge)
    whole = Graph(list(vertices.values()), edges)
    offset = 0.0
    parts = sorted(whole.C, key=lambda part: -sum(1 for _ in part.V()))
    for part in parts:
        layout: Any = SugiyamaLayout(part)
        layout.xspace, layout.yspace = BETWEEN_NEIGHBOURS, BETWEEN_LAYERS
        layout.dw = layout.dh = 2.0  # of the places that a long line keeps free in the layers that it crosses
        turned = [edge for edge in part.E() if edge.line.back]
        headed = {id(edge.v[0] if edge.line.back else edge.v[1]) for edge in part.E()}
        roots = [vertex for vertex in part.V() if id(vertex) not in headed]
        layout.init_all(roots=roots, inverted_edges=turned)
        layout.draw(6)
        offset = _read(layout, part, down, offset) + BETWEEN_PARTS
    return _framed(list(nodes), list(lines), down)


class _View:
    """What grandalf asks of a vertex: its size, in a picture that runs downwards."""

    key: str

    def __init__(self, node: Node, down: bool) -> None:
        self.w, self.h = (node.width, node.height) if down else (node.height, node.width)
        self.xy = (0.0, 0.0)


def _turn_back(nodes: Sequence[Node], lines: Sequence[Line]) -> None:
    """Mark lines as `back` such that the others close no circle: those that lead to where a walk came from.

    The walk starts where nothing leads to, and otherwise at the first node.
    """
    ahead: dict[str, list[Line]] = {node.key: [] for node in nodes}
    led_to = set()
    for line in lines:
        ahead[line.start].append(line)
        led_to.add(line.end)
    order = [node.key for node in nodes if node.key not in led_to]
    order += [node.key for node in nodes if node.key in led_to]
    on_path, done = set(), set()
    for first in order:
        if first in done:
            continue
        stack: list[tuple[str, Iterable[Line]]] = [(first, iter(ahead[first]))]
        on_path.add(first)
        while stack:
            here, rest = stack[-1]
            for line in rest:
                if line.end in on_path:
                    line.back = True
                elif line.end not in done:
                    on_path.add(line.end)
                    stack.append((line.end, iter(ahead[line.end])))
                    break
            else:
                stack.pop()
                on_path.discard(here)
                done.add(here)
    for node in nodes:
        onward = {line.end for line in ahead[node.key] if line.back}
        if node.label and onward:  # a line that runs back does so all the way, unless to where it comes from
            for line in lines:
                line.back = line.back or (line.end == node.key and line.start not in onward)


def _read(layout: Any, part: Any, down: bool, offset: float) -> float:
    """Take over what grandalf has found; returns how far this part reaches across the direction."""
    places = [layout.grx[v] if hasattr(v, "ctrl") else v for layer in layout.layers for v in layer]
    least = min(v.view.xy[0] - v.view.w / 2 for v in places)
    shift = offset - least

    def point(view: Any) -> Point:
        along, across = view.xy[1], view.xy[0] + shift
        return (across, along) if down else (along, across)

    for vertex in part.V():
        vertex.data.x, vertex.data.y = point(vertex.view)
    for edge in part.E():
        between = sorted(layout.ctrls.get(edge, {}).items())[1:-1]
        points = [point(dummy.view) for _, dummy in between]
        edge.line.through = points[::-1] if edge.line.back else points
    return float(max(v.view.xy[0] + v.view.w / 2 for v in places) + shift)


def _framed(nodes: list[Node], lines: list[Line], down: bool) -> Placed:
    """Move all to where the least coordinate is 0."""
    points = [point for line in lines for point in line.through]
    left = min([node.left for node in nodes] + [x for x, _ in points], default=0.0)
    top = min([node.top for node in nodes] + [y for _, y in points], default=0.0)
    for node in nodes:
        node.x -= left
        node.y -= top
    for line in lines:
        line.through = [(x - left, y - top) for x, y in line.through]
    right = max([node.right for node in nodes] + [x - left for x, _ in points], default=0.0)
    bottom = max([node.bottom for node in nodes] + [y - top for _, y in points], default=0.0)
    return Placed({node.key: node for node in nodes}, lines, right, bottom, down)
