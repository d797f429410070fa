"""Pictures of networks: what they show, in each language; whatever is in a name, they stay well formed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interproc.csp import drawing, graph, svg
from interproc.csp.graph import Box, Conduit, Graph
from interproc.csp.layout import Line, Node, place

SVG = "{http://www.w3.org/2000/svg}"
needs_grandalf = pytest.mark.skipif(
    importlib.util.find_spec("grandalf") is None, reason="the extra `graph` is not installed"
)
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")


@dataclass
class End:
    channel_id: str
    side: int
    label: str | None = None
    capacity: int = 0

    def look(self) -> dict[str, int]:
        return {"capacity": self.capacity}


@dataclass
class Description:
    name: str
    has: list[End] = field(default_factory=list)
    kind: str = "process"

    def ends(self) -> list[End]:
        return self.has


def commstime() -> Graph:
    """Four processes; a, b and c are a circle, d leads out of it."""
    names = "prefix", "delta", "successor", "consumer"
    boxes = [Box(f"p{i}", name) for i, name in enumerate(names)]
    ways = {"a": "01", "b": "12", "c": "20", "d": "13"}
    conduits = [
        Conduit(f"c{name}", name, writers=[f"p{at}"], readers=[f"p{to}"]) for name, (at, to) in ways.items()
    ]
    return Graph(boxes, conduits)


def farm() -> Graph:
    """One writer, three readers in a composition of their own, a barrier that they meet at."""
    workers = [Box(f"w{i}", f"worker {i}", "thread", group=(1,)) for i in range(3)]
    keys = [box.key for box in workers]
    return Graph(
        [Box("s", "source"), *workers],
        [
            Conduit("j", "jobs", capacity=8, writers=["s"], readers=keys),
            Conduit("b", "all there", barrier=True, writers=keys),
        ],
        "a farm",
    )


def running() -> Graph:
    """P1 has sent three, and waits to send the fourth to P2, which waits for something else."""
    return Graph(
        [
            Box("p", "P1", pid=11, waits="sends to 'a'", note="x.py:3 in P1"),
            Box("q", "P2", pid=12, waits="receives from 'b'", note="x.py:9 in P2"),
        ],
        [
            Conduit("c", "a", writers=["p"], readers=["q"], passed=1003, blocked={("p", 1)}),
            Conduit("d", "b", readers=["q"], passed=0, capacity=-1, buffered=2, blocked={("q", 0)}),
            Conduit("e", "old", writers=["p"], readers=["q"], passed=7, poisoned=True),
        ],
    )


def odd() -> Graph:
    """Names that mean something in each of the languages."""
    name = '<b>&"\\\n\x1b[0m{}|;#]--> %%'
    return Graph(
        [Box("p", name), Box("q", "π 世界")], [Conduit("c", name, writers=["p"], readers=["q"])], name
    )


NETWORKS = [commstime, farm, running, odd, lambda: Graph([], [])]


# --- before it runs


def test_descriptions_become_boxes_and_their_ends_arrows() -> None:
    picture = graph.of(
        [
            Description("P1", [End("channel#1.1", 1, "x"), End("channel#2.1", 0)]),
            [Description("P2", [End("channel#1.1", 0, "x"), End("channel#2.1", 1)], kind="task")],
            Description("alone"),
        ]
    )
    assert [(box.name, box.kind) for box in picture.boxes] == [
        ("P1", "process"),
        ("P2", "task"),
        ("alone", "process"),
    ]
    x, second = picture.conduits
    assert (x.name, x.writers, x.readers, x.direct) == ("x", ["p0"], ["p1"], True)
    assert (second.name, second.writers, second.readers) == ("channel 2", ["p1"], ["p0"])
    assert str(picture).splitlines()[0] == "[P1] ── x ─▶ [P2] ── channel 2 ─▶ [P1]"


def test_two_ends_of_one_side_in_one_process_are_one_arrow() -> None:
    ends = [End("channel#1.1", 1, "x"), End("channel#1.1", 1, "x")]
    (conduit,) = graph.of([Description("P", ends)]).conduits
    assert conduit.writers == ["p0"] and not conduit.direct


# --- text


def test_text_has_chains_and_begins_anew_at_branches() -> None:
    assert str(commstime()).splitlines() == [
        "[prefix] ── a ─▶ [delta] ── b ─▶ [successor] ── c ─▶ [prefix]",
        "[delta] ── d ─▶ [consumer]",
    ]


def test_text_of_channels_with_several_ends_and_of_barriers() -> None:
    assert str(farm()).splitlines() == [
        "a farm",
        "[source] ──▶ (jobs: [8]) ──▶ [worker 0] [worker 1] [worker 2]",
        "[worker 0] [worker 1] [worker 2] ─── <all there>",
    ]


def test_text_says_what_has_passed_and_who_waits() -> None:
    times = "\N{MULTIPLICATION SIGN}"
    assert str(running()).splitlines() == [
        f"[P1] ── a: 1,003{times} ─▶ [P2]",
        f"[P1] ── old: 7{times} poisoned ─▶ [P2]",
        f"(b: 0{times} [2/\N{INFINITY}]) ──▶ [P2]",
        "  P1 (pid 11) sends to 'a', at x.py:3 in P1",
        "  P2 (pid 12) receives from 'b', at x.py:9 in P2",
    ]


def test_text_keeps_to_its_width() -> None:
    boxes = [Box(f"p{i}", f"prime {i}") for i in range(20)]
    links = [Conduit(f"c{i}", f"link {i}", writers=[f"p{i}"], readers=[f"p{i + 1}"]) for i in range(19)]
    lines = Graph(boxes, links).text(60).splitlines()
    assert max(map(len, lines)) <= 60 and len(lines) > 5
    assert "".join(lines).count("─▶") == 19


# --- DOT and Mermaid


def test_dot_has_each_box_and_arrow() -> None:
    text = commstime().dot()
    assert re.findall(r"(p\d) -> (p\d)", text) == [("p0", "p1"), ("p1", "p2"), ("p2", "p0"), ("p1", "p3")]
    assert "<prefix>" in text.replace("&lt;", "<")
    assert "subgraph cluster_1" in farm().dot()


@needs_dot
@pytest.mark.parametrize("network", NETWORKS)
def test_graphviz_understands_it(network: type) -> None:
    root = ElementTree.fromstring(svg.draw(network()))
    assert root.tag == f"{SVG}svg"


def test_mermaid_has_each_box_and_arrow() -> None:
    text = commstime().mermaid()
    assert text.startswith("flowchart LR\n")
    assert 'p1("delta")' in text
    assert 'p2 -->|"c"| p0' in text
    assert 'subgraph g1 [" "]' in farm().mermaid() and 'b{{"all there"}}' in farm().mermaid()


def test_mermaid_marks_the_links_at_which_somebody_waits() -> None:
    lines = [line.strip() for line in running().mermaid().splitlines()]
    links = [line for line in lines if "-->" in line or "-.->" in line]
    styled = [int(line.split()[1]) for line in lines if line.startswith("linkStyle")]
    assert [links[number].split()[0] for number in styled] == ["p", "d"]
    assert links[2].startswith("p -.->")


def test_a_name_cannot_break_out_of_mermaid() -> None:
    _, title, _, *lines = odd().mermaid().splitlines()
    assert title.startswith("title: ") and len(lines) == 6
    names = [name for line in lines for name in re.findall(r'"(.*)"', line)]
    assert len(names) == 3
    assert all(re.fullmatch(r"([^<>{}|;#\"\x1b]|#\d+;)*", name) for name in names)


# --- SVG


def drawn(picture: Graph) -> ElementTree.Element:
    return ElementTree.fromstring(svg.draw_ourselves(picture))


def words(root: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


@needs_grandalf
@pytest.mark.parametrize("network", NETWORKS)
def test_svg_shows_every_name_and_nothing_outside_of_its_frame(network: type) -> None:
    picture = network()
    root = drawn(picture)
    shown = words(root)
    for box in picture.boxes:
        assert drawing.printable(box.name) in shown
    for conduit in picture.conduits:
        assert drawing.printable(conduit.name) in shown
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for path in root.iter(f"{SVG}path"):
        if path.get("stroke"):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d", ""))]
            assert all(
                0 <= x <= width and 0 <= y <= height for x, y in zip(numbers[::2], numbers[1::2], strict=True)
            )


@needs_grandalf
def test_svg_has_a_line_for_each_end_and_shows_who_waits() -> None:
    lines = [path for path in drawn(running()).iter(f"{SVG}path") if path.get("stroke")]
    assert len(lines) == 5
    assert [path.get("stroke") == drawing.RED for path in lines] == [True, False, True, False, False]
    assert [path.get("stroke-dasharray") is not None for path in lines] == [False] * 3 + [True] * 2
    assert "sends to 'a'" in words(drawn(running()))


@needs_grandalf
def test_boxes_do_not_overlap_and_a_pipeline_runs_to_the_right() -> None:
    nodes = [Node(f"n{i}", 60 + 7 * i, 30) for i in range(12)]
    lines = [Line(f"n{i}", f"n{j}") for i in range(12) for j in (i + 1, i + 3, i - 5) if 0 <= j < 12]
    placed = place(nodes, lines)
    for a in nodes:
        for b in nodes:
            apart = a.right <= b.left or b.right <= a.left or a.bottom <= b.top or b.bottom <= a.top
            assert a is b or apart, (a, b)
    for line in placed.lines:
        first, second = placed.nodes[line.start], placed.nodes[line.end]
        assert (first.x < second.x) != line.back
    assert [line.back for line in placed.lines].count(True) == 7  # those that lead five back


@needs_grandalf
def test_what_is_long_and_narrow_runs_downwards() -> None:
    boxes = [Box(f"p{i}", f"prime {i}") for i in range(30)]
    links = [Conduit(f"c{i}", "link", writers=[f"p{i}"], readers=[f"p{i + 1}"]) for i in range(29)]
    root = drawn(Graph(boxes, links))
    assert float(root.get("height", "0")) > 4 * float(root.get("width", "0"))


def test_without_dot_and_grandalf_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg.shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "grandalf", None)
    monkeypatch.setitem(sys.modules, "grandalf.graphs", None)
    with pytest.raises(ImportError, match=re.escape("python -m pip install 'interproc[graph]'")):
        commstime().svg()
    assert commstime()._repr_svg_() is None


@needs_grandalf
def test_a_dot_that_does_not_work_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "dot"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(svg.shutil, "which", lambda name: str(broken))
    assert "prefix" in commstime().svg()


# --- files


def test_a_file_is_written_as_its_suffix_says(tmp_path: Path) -> None:
    for suffix, begins in {".mmd": "flowchart", ".dot": "digraph", ".txt": "[prefix]"}.items():
        path = tmp_path / f"net{suffix}"
        commstime().save(path)
        assert path.read_text().startswith(begins)
    with pytest.raises(ValueError, match=r"\.svg"):
        commstime().save(tmp_path / "net.png")
