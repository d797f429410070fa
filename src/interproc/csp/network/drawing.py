"""The picture of a network in three languages: graphviz's, Mermaid, and plain text for terminals."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence

from interproc.csp.network.graph import KINDS, Box, Conduit, Graph
from interproc.csp.network.parties import READS, SYNCS, WRITES

FILLS = {"process": "#eaf2fc", "thread": "#e9f7ee", "task": "#f5effc"}
STROKES = {"process": "#2b66ad", "thread": "#2a8650", "task": "#7747b4"}
INK, GREY, RED = "#1f2933", "#66717d", "#c62f2f"
FONT = "Helvetica,Arial,sans-serif"
Members = dict[tuple[int, ...], list[Box]]


def caption(graph: Graph, box: Box) -> str:
    """What stands below a box's name: its kind, where there are several, and the number of its process."""
    kinds = {other.kind for other in graph.boxes}
    parts = [KINDS.get(box.kind, box.kind)] if kinds != {"process"} else []
    if box.pid:
        parts.append(f"pid {box.pid}")
    return ", ".join(parts)


def waiting(box: Box) -> str:
    """For what a process waits, and where; empty if it does not."""
    return ", at ".join(filter(None, [box.waits, box.note])) if box.waits else ""


def groups(graph: Graph) -> Members:
    """Which boxes are directly in each nested composition; its outer ones are there, too, maybe with none."""
    found: Members = {(): []}
    for box in graph.boxes:
        for depth in range(len(box.group)):
            found.setdefault(box.group[: depth + 1], [])
        found[box.group].append(box)
    return found


def colour(blocked: bool) -> str:
    return RED if blocked else GREY


# --- graphviz


def dot(graph: Graph) -> str:
    lines = [
        "digraph network {",
        "  rankdir=LR; bgcolor=white; pad=0.25; nodesep=0.3; ranksep=0.55;",
        f'  fontname="{FONT}"; fontcolor="{GREY}"; fontsize=11;',
        f'  node [shape=box, style="rounded,filled", fontname="{FONT}", fontsize=13, fontcolor="{INK}",'
        ' margin="0.16,0.09", penwidth=1.4];',
        f'  edge [fontname="{FONT}", fontsize=11, fontcolor="{INK}", color="{GREY}", arrowsize=0.75,'
        " penwidth=1.3];",
    ]
    if graph.title:
        lines.append(f"  label={_quoted(graph.title)}; labelloc=t;")
    _nested(groups(graph), (), lambda box: f"{box.key} {_dot_box(graph, box)}", lines, _dot_group)
    for conduit in graph.conduits:
        lines += [f"  {line}" for line in _dot_conduit(conduit)]
    return "\n".join([*lines, "}", ""])


def _nested(
    members: Members,
    group: tuple[int, ...],
    write: Callable[[Box], str],
    lines: list[str],
    frame: Callable[[tuple[int, ...]], tuple[str, str]],
) -> None:
    """The boxes of a composition, and those of the compositions in it, each within its frame."""
    indent = "  " * (len(group) + 1)
    lines += [f"{indent}{write(box)}" for box in members[group]]
    for inner in members:
        if len(inner) == len(group) + 1 and inner[: len(group)] == group:
            begin, end = frame(inner)
            lines.append(f"{indent}{begin}")
            _nested(members, inner, write, lines, frame)
            lines.append(f"{indent}{end}")


def _dot_group(group: tuple[int, ...]) -> tuple[str, str]:
    number = "_".join(map(str, group))
    return f'subgraph cluster_{number} {{ style="rounded,dashed"; color="#b5bec8"; label="";', "}"


def _dot_box(graph: Graph, box: Box) -> str:
    parts = [_cell(box.name)]
    if below := caption(graph, box):
        parts.append(f'<FONT POINT-SIZE="10" COLOR="{GREY}">{_cell(below)}</FONT>')
    if box.waits:
        parts.append(f'<FONT POINT-SIZE="10" COLOR="{RED}">{_cell(box.waits)}</FONT>')
    if box.waits and box.note:
        parts.append(f'<FONT POINT-SIZE="9" COLOR="{GREY}">{_cell(box.note)}</FONT>')
    fill, stroke = FILLS.get(box.kind, "#f3f4f6"), STROKES.get(box.kind, GREY)
    return f'[label=<{"<BR/>".join(parts)}>, fillcolor="{fill}", color="{RED if box.waits else stroke}"];'


def _dot_conduit(conduit: Conduit) -> Iterator[str]:
    name = _cell(conduit.name)
    detail = conduit.detail
    if detail:
        name += f'<BR/><FONT POINT-SIZE="10" COLOR="{GREY}">{_cell(detail)}</FONT>'
    style = ", style=dashed" if conduit.poisoned or conduit.retired else ""
    if conduit.direct:
        writer, reader = conduit.writers[0], conduit.readers[0]
        at_writer = colour((writer, WRITES) in conduit.blocked)
        at_reader = colour((reader, READS) in conduit.blocked)
        shade = at_writer if at_writer == at_reader else f"{at_writer};0.5:{at_reader}"
        yield f'{writer} -> {reader} [label=<{name}>, color="{shade}"{style}];'
        return
    shape = "hexagon" if conduit.barrier else "ellipse"
    yield (
        f'{conduit.key} [shape={shape}, style=filled, fillcolor=white, color="{GREY}", fontsize=11,'
        f' penwidth=1, margin="0.06,0.03", label=<{name}>];'
    )
    for key, side in conduit.ends():
        ends = f"{conduit.key} -> {key}" if side == READS else f"{key} -> {conduit.key}"
        plain = ", dir=none" if side == SYNCS else ""
        yield f'{ends} [color="{colour((key, side) in conduit.blocked)}"{plain}{style}];'


def _cell(text: str) -> str:
    return html.escape(printable(text))


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def printable(text: str) -> str:
    """Without what no picture can show."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


# --- Mermaid


def mermaid(graph: Graph) -> str:
    lines = ["flowchart LR"]
    if graph.title:
        lines = ["---", f"title: {_quoted(graph.title)}", "---", *lines]
    _nested(groups(graph), (), lambda box: _mermaid_box(graph, box), lines, _mermaid_group)
    for group in filter(None, groups(graph)):
        lines.append(f"  style g{'_'.join(map(str, group))} fill:none,stroke:#b5bec8,stroke-dasharray:5 4")
    links = 0
    for conduit in graph.conduits:
        for link, blocked in _mermaid_conduit(conduit):
            lines.append(f"  {link}")
            if blocked is None:
                continue
            if blocked:
                lines.append(f"  linkStyle {links} stroke:{RED}")
            links += 1
    for kind in dict.fromkeys(box.kind for box in graph.boxes):
        fill, stroke = FILLS.get(kind, "#f3f4f6"), STROKES.get(kind, GREY)
        keys = ",".join(box.key for box in graph.boxes if box.kind == kind)
        lines.append(f"  classDef {kind}_ fill:{fill},stroke:{stroke},color:{INK}")
        lines.append(f"  class {keys} {kind}_")
    if blocked_keys := ",".join(box.key for box in graph.boxes if box.waits):
        lines.append(f"  classDef waits_ stroke:{RED}")
        lines.append(f"  class {blocked_keys} waits_")
    return "\n".join([*lines, ""])


def _mermaid_group(group: tuple[int, ...]) -> tuple[str, str]:
    return f'subgraph g{"_".join(map(str, group))} [" "]', "end"


def _mermaid_box(graph: Graph, box: Box) -> str:
    parts = [box.name, caption(graph, box), box.waits, box.note if box.waits else ""]
    return f'{box.key}("{"<br>".join(_mermaid_text(part) for part in parts if part)}")'


def _mermaid_conduit(conduit: Conduit) -> Iterator[tuple[str, bool | None]]:
    """Each line, and whether it is a link that somebody waits at (None: it is no link)."""
    label = _mermaid_text(": ".join(filter(None, [conduit.name, conduit.detail])))
    arrow = "-.->" if conduit.poisoned or conduit.retired else "-->"
    if conduit.direct:
        yield f'{conduit.writers[0]} {arrow}|"{label}"| {conduit.readers[0]}', bool(conduit.blocked)
        return
    yield f'{conduit.key}{{{{"{label}"}}}}' if conduit.barrier else f'{conduit.key}(["{label}"])', None
    for key, side in conduit.ends():
        blocked = (key, side) in conduit.blocked
        if side == SYNCS:
            yield f"{key} --- {conduit.key}", blocked
        else:
            ends = (conduit.key, key) if side == READS else (key, conduit.key)
            yield f"{ends[0]} {arrow} {ends[1]}", blocked


def _mermaid_text(text: str) -> str:
    """Letters and digits as they are; what has a meaning to Mermaid, or to HTML, by its number."""
    plain = " _.,:/+-[]()'\N{MULTIPLICATION SIGN}\N{INFINITY}"
    return "".join(c if c.isalnum() or c in plain else f"#{ord(c)};" for c in printable(text))


# --- text

Arc = tuple[str, str]  # its label, and where it leads


def text(graph: Graph, width: int) -> str:
    """Chains of boxes, begun anew where one branches; channels with several ends; and who waits for what."""
    names = {box.key: f"[{printable(box.name)}]" for box in graph.boxes}
    onward: dict[str, list[Arc]] = {box.key: [] for box in graph.boxes}
    led_to = set()
    for conduit in graph.conduits:
        if conduit.direct:
            start, end = conduit.writers[0], conduit.readers[0]
            onward[start].append((f"── {_label(conduit)} ─▶", end))
            led_to.add(end)
    lines = [graph.title] if graph.title else []
    shown: set[str] = set()
    for key in [*(k for k in onward if k not in led_to), *onward]:
        while onward[key]:
            lines += _wrapped(_chain(key, onward, names, shown), width)
    for conduit in graph.conduits:
        if not conduit.direct:
            shown.update(conduit.writers, conduit.readers)
            lines += _wrapped(_star(conduit, names), width)
    if alone := [names[box.key] for box in graph.boxes if box.key not in shown]:
        lines += _wrapped(alone, width)
    for box in graph.boxes:
        if box.waits:
            who = " ".join(filter(None, [printable(box.name), f"(pid {box.pid})" if box.pid else ""]))
            lines.append(f"  {who} {printable(waiting(box))}")
    return "\n".join(lines)


def _label(conduit: Conduit) -> str:
    return printable(": ".join(filter(None, [conduit.name, conduit.detail])))


def _chain(key: str, onward: dict[str, list[Arc]], names: dict[str, str], shown: set[str]) -> list[str]:
    """Boxes and arrows in turn, up to a box that is shown already."""
    words = [names[key]]
    shown.add(key)
    while onward[key]:
        label, key = onward[key].pop(0)
        words.append(f"{label} {names[key]}")
        if key in shown:
            break
        shown.add(key)
    return words


def _star(conduit: Conduit, names: dict[str, str]) -> list[str]:
    """All who write, the channel, and all who read; at a barrier, all who meet there."""
    words = [names[key] for key in conduit.writers]
    if conduit.barrier:
        return [*words, f"─── <{_label(conduit)}>"]
    name = f"({_label(conduit)})"
    words.append(f"──▶ {name}" if words else name)
    readers = [names[key] for key in conduit.readers]
    if readers:
        readers[0] = f"──▶ {readers[0]}"
    return words + readers


def _wrapped(words: Sequence[str], width: int) -> Iterator[str]:
    line = words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) > width:
            yield line
            line = f"    {word}"
        else:
            line += f" {word}"
    yield line
