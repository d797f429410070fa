"""Makes docs/tour.svg, the picture in the README, of a real tour: picture.py [STATION...]."""

from __future__ import annotations

import html
import io
import os
import platform
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

from interproc.cli.tour import make_tour
from interproc.cli.tour.show import WIDTH, Trip
from interproc.cli.tour.show_rich import RichShow
from interproc.cli.tour.station import choose, discover

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "tour.svg"
# Rich's own format fetches its font from a server; the reader's own monospace font serves as well.
UNWANTED = re.compile(r"@font-face \{\{.*?\}\}|font-variant-east-asian.*?;", re.DOTALL)
FORMAT = UNWANTED.sub("", CONSOLE_SVG_FORMAT)
COLUMN, ROW = 12.2, 24.4  # of a character in rich's pictures, in pixels
BASE = 18.5  # from a row's top to its base line
TEXT = re.compile(r'<text class="tour-(r\d+)" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', re.DOTALL)
STYLE = re.compile(r"\.tour-(r\d+) \{ ?fill: (#\w+)")
# A run of characters that is drawn as one: text without blanks at its ends, or characters of frames.
RUN = re.compile(r"(?P<frame>[─│╭╮╰╯━]+)|(?P<text>[^\s─│╭╮╰╯━]+(?:\s[^\s─│╭╮╰╯━]+)*)")


def frame(characters: str, x: float, top: float, colour: str) -> str:
    """Lines for characters of frames, which fonts leave gaps between; x and top in pixels."""
    path = []
    for place, character in enumerate(characters):
        left, middle = x + place * COLUMN, x + (place + 0.5) * COLUMN
        right, centre, bottom = left + COLUMN, top + ROW / 2, top + ROW
        path.append(
            {
                "│": f"M{middle:.1f} {top:.1f}V{bottom:.1f}",
                "╭": f"M{middle:.1f} {bottom:.1f}Q{middle:.1f} {centre:.1f} {right:.1f} {centre:.1f}",
                "╮": f"M{left:.1f} {centre:.1f}Q{middle:.1f} {centre:.1f} {middle:.1f} {bottom:.1f}",
                "╰": f"M{middle:.1f} {top:.1f}Q{middle:.1f} {centre:.1f} {right:.1f} {centre:.1f}",
                "╯": f"M{left:.1f} {centre:.1f}Q{middle:.1f} {centre:.1f} {middle:.1f} {top:.1f}",
            }.get(character, f"M{left:.1f} {centre:.1f}H{right:.1f}")
        )
    width = 8 if "━" in characters else 1.5
    merged = re.sub(r"(H[\d.]+)(?:M[\d.]+ [\d.]+H([\d.]+))+", lambda m: f"H{m[2]}", "".join(path))
    return f'<path d="{merged}" stroke="{colour}" stroke-width="{width}" fill="none"/>'


def redrawn(picture: str) -> str:
    """The picture with each piece of text at its own place: it looks the same in any viewer and font."""
    colours = dict(STYLE.findall(picture))

    def pieces(match: re.Match[str]) -> str:
        style, x, y = match[1], float(match[2]), float(match[3])
        made = []
        for run in RUN.finditer(html.unescape(match[4]).replace("\N{NO-BREAK SPACE}", " ")):
            left = x + run.start() * COLUMN
            if run["frame"]:
                made.append(frame(run[0], left, y - BASE, colours[style]))
            else:
                made.append(
                    f'<text class="tour-{style}" x="{left:.1f}" y="{y:g}" '
                    f'textLength="{len(run[0]) * COLUMN:.1f}">{html.escape(run[0], quote=False)}</text>'
                )
        return "".join(made)

    body, found, rest = picture.partition('<g class="tour-matrix">')
    return re.sub(r"[ \t]+$", "", body + found + TEXT.sub(pieces, rest), flags=re.MULTILINE)


def main(names: list[str]) -> int:
    cores = len(os.sched_getaffinity(0))
    trip = Trip(start_method="fork", workers=2, python=platform.python_version(), cores=cores)
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    code = make_tour(choose(discover(), names), trip, RichShow(console, animate=False))
    if code != 0:
        print("a result of the tour is wrong: no picture is made of that", file=sys.stderr)
        return code
    title = " ".join(["interproc tour", *names])
    picture = console.export_svg(title=title, theme=DIMMED_MONOKAI, code_format=FORMAT, unique_id="tour")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(redrawn(picture), encoding="utf-8")
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
