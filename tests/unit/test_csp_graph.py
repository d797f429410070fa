"""Pictures of networks: what they show, in each language; whatever is in a name, they stay well formed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dropin.support import SOON, until

from interproc.csp import Channel, Reader, Spawn, Writer, process
from interproc.csp.network import drawing, graph, svg
from interproc.csp.network.graph import Box, Conduit, Graph
from interproc.csp.network.layout import Line, Node, place
from interproc.csp.process import Kind

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
    assert (second.name, second.writers, second.readers) == ("channel#2.1", ["p1"], ["p0"])
    assert str(picture).splitlines()[0] == "[P1] ── x ─▶ [P2] ── channel#2.1 ─▶ [P1]"


def test_processes_of_one_name_are_numbered() -> None:
    picture = graph.of([Description("P"), Description("Q"), [Description("P")] * 2])
    assert [box.name for box in picture.boxes] == ["P 1", "Q", "P 2", "P 3"]
    picture = graph.of([Description("P"), Description("P 1"), Description("P")])
    assert [box.name for box in picture.boxes] == ["P 2", "P 1", "P 3"]


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


# --- while it runs

NETWORK = """
import os, sys, time
from interproc.csp import Barrier, Channel, Parallel, process

@process
def source(out):
    for n in range(10):
        out.send(n)

@process
def square(inp, out):
    for n in inp:
        out.send(n * n)

@process
def sink(inp, last, go):
    first = [inp.recv() for _ in range(3)]
    print("ready", flush=True)
    while not os.path.exists(go):
        time.sleep(0.01)
    last.sync()
    return first + list(inp)

@process
def late(last):
    last.sync()

if __name__ == "__main__":
    numbers, squares, last = Channel("numbers", buffer=2), Channel("squares"), Barrier("last")
    network = Parallel.of(
        source(numbers.writer()), square(numbers.reader(), squares.writer()),
        sink(squares.reader(), last.enrol(), sys.argv[1]), late(last.enrol()))
    print(network.run()[2], flush=True)
"""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program whose sink, once it has read 3 of 10, waits for a file named go."""
    path = tmp_path / "network.py"
    path.write_text(NETWORK)
    line = [sys.executable, path, tmp_path / "go"]
    program = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.communicate()


def command(*options: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "interproc", "graph", *map(str, options)]
    return subprocess.run(line, capture_output=True, text=True, timeout=50)


def settled(pid: int) -> str:
    """What `interproc graph` draws once the network has come to rest: when all that can wait do."""
    until = time.monotonic() + 30
    while True:
        done = command(pid)
        assert done.returncode == 0, done.stderr
        if done.stdout.count("network.py:") == 3 or time.monotonic() > until:
            return done.stdout
        time.sleep(0.05)


def test_a_network_that_runs_is_drawn_with_its_counts_and_who_waits(network: subprocess.Popen[str]) -> None:
    times = "\N{MULTIPLICATION SIGN}"
    shown = settled(network.pid)
    drawing_of, _, waiting = shown.partition("\n  ")
    assert re.search(rf"\[source\] ── numbers: \d+{times} \[2/2\] ─▶ \[square\]", drawing_of), shown
    assert f"[square] ── squares: 3{times} ─▶ [sink]" in drawing_of, shown
    assert f"<last: 0{times}>" in drawing_of, shown
    assert re.search(r"source \(pid \d+\) sends to 'numbers', at network.py:8 in source", waiting), shown
    assert re.search(r"square \(pid \d+\) sends to 'squares', at network.py:13 in square", waiting), shown
    assert re.search(r"late \(pid \d+\) waits at barrier 'last', at network.py:26 in late", waiting), shown


def test_to_look_at_it_disturbs_nothing(network: subprocess.Popen[str], tmp_path: Path) -> None:
    for suffix in (".mmd", ".dot", ".txt"):
        assert command(network.pid, "-o", tmp_path / f"net{suffix}").returncode == 0
        assert "squares" in (tmp_path / f"net{suffix}").read_text()
    (tmp_path / "go").touch()
    out, _ = network.communicate(timeout=50)
    assert out == f"{[n * n for n in range(10)]}\n"
    assert network.returncode == 0


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_ends_that_were_made_and_received_meanwhile_are_in_the_picture(kind: Kind) -> None:
    def makes(out: Writer[Reader[int]], stop: Reader[int]) -> None:
        inner = Channel[int]("inner")
        kept = inner.writer()
        out.send(inner.reader())
        stop.recv(timeout=SOON)
        kept.retire()

    def takes(inp: Reader[Reader[int]]) -> list[int]:
        return list(inp.recv())

    def both() -> Conduit | None:
        found = graph.live()
        names = {box.key: box.name for box in found.boxes}
        for conduit in found.conduits:
            if conduit.name == "inner" and conduit.readers and conduit.writers:
                assert [names[key] for key in conduit.writers + conduit.readers] == ["maker", "taker"]
                return conduit
        return None

    there, stop = Channel[Reader[int]]("there"), Channel[int]("stop")
    running = Spawn(
        process(makes, kind=kind, name="maker")(there.writer(), stop.reader()),
        process(takes, kind=kind, name="taker")(there.reader()),
    )
    until(both)
    stop.writer().send(1)
    assert running.join() == [None, []]


def test_where_there_is_no_network_it_says_so() -> None:
    alone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    done = command(alone.pid)
    alone.communicate(b"\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"interproc graph: process {alone.pid} is in no network of yours now\n"
    done = command("no-such-arena")
    assert done.returncode == 1 and "there is no arena named 'no-such-arena'" in done.stderr
    done = command(alone.pid, "-o", "x.png")
    assert done.returncode == 2 and "'x.png': use --format" in done.stderr
