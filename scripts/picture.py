"""Makes docs/tour.svg, the picture in the README, of a real tour: picture.py [STATION...]."""

from __future__ import annotations

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
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


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
    PICTURE.parent.mkdir(exist_ok=True)
    title = " ".join(["interproc tour", *names])
    console.save_svg(str(PICTURE), title=title, theme=DIMMED_MONOKAI, code_format=FORMAT, unique_id="tour")
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
