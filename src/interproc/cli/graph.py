"""Draw a network that runs: its processes, its channels with their counts, and who waits where."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interproc.errors import InterprocError

if TYPE_CHECKING:
    from interproc.csp.network.graph import Graph

NAME = "graph"
HELP = "draw a network that runs: its processes, channels, counts, and who waits where"
FORMATS = ("text", "svg", "mermaid", "dot")
MEMORY = "/memfd:interproc"  # what the kernel calls an anonymous arena


@dataclass
class Found:
    """An anonymous arena, and processes of this user that have it open."""

    pids: list[int] = field(default_factory=list)
    path: str = ""  # through which it can be opened


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `interproc graph`."""
    parser.add_argument(
        "where",
        nargs="?",
        metavar="WHERE",
        help="the number of a process of the network, or the name of a named arena; "
        "may be left out when only one network of yours runs",
    )
    parser.add_argument("--format", choices=FORMATS, help="what to draw (default: as FILE's suffix, or text)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to this file (.svg, .mmd, .dot, .txt)")
    parser.epilog = "Looking takes no part and stops nothing. Exit code: 0 drawn, 1 there is nothing to draw."


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Draw it; returns 0, or 1 if there was nothing to draw."""
    from interproc.csp.network.graph import SUFFIXES

    suffix = os.path.splitext(arguments.output)[1].lower() if arguments.output else ".txt"
    format = arguments.format or SUFFIXES.get(suffix)
    if format is None:
        parser.error(f"{arguments.output!r}: use --format, or one of the suffixes {', '.join(SUFFIXES)}")
    try:
        picture = _picture(arguments.where)
        if format == "text":
            drawn = picture.text(shutil.get_terminal_size().columns)
        else:
            drawn = picture.render(format)
        _write(drawn.rstrip("\n") + "\n", arguments.output)
    except (LookupError, OSError, ValueError, ImportError, InterprocError) as error:
        message = error.args[0] if isinstance(error, LookupError) else error
        print(f"interproc graph: {message}", file=sys.stderr)
        return 1
    return 0


def _write(text: str, path: str | None) -> None:
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _picture(where: str | None) -> Graph:
    """Of the network that is meant.

    Raises:
        LookupError: there is none, or there are several.
    """
    from interproc import _core, settings
    from interproc.csp.network import graph

    if where is not None and not where.isdigit():
        if not os.path.exists(settings.arena_path(where)):
            raise LookupError(f"there is no arena named {where!r}; WHERE is that, or the number of a process")
        found = [("", graph.live(_core.Arena.open(where), f"arena {where}"))]
        missing = f"in the arena {where!r} there is no network now"
    elif where is not None:
        found = [(where, _live(one)) for one in arenas([int(where)])]
        missing = f"process {where} is in no network of yours now"
    else:
        found = []
        for one in arenas():
            with contextlib.suppress(OSError, InterprocError):  # it has just ended, or is of another version
                found.append((str(one.pids[0]), _live(one)))
        missing = "no network of yours runs on this machine now"
    running = [(pid, picture) for pid, picture in found if picture.boxes]
    if not running:
        raise LookupError(missing)
    if len(running) > 1:
        lines = [f"  interproc graph {pid:<8} {picture!r}" for pid, picture in running]
        raise LookupError("\n".join([f"there are {len(running)} networks; say which:", *lines]))
    return running[0][1]


def _live(found: Found) -> Graph:
    from interproc import _core
    from interproc.csp.network import graph

    arena = _core.visit(os.open(found.path, os.O_RDWR | os.O_CLOEXEC))
    return graph.live(arena, _described(found))


def _described(found: Found) -> str:
    pids = ", ".join(map(str, found.pids[:4])) + (", ..." if len(found.pids) > 4 else "")
    return f"process{'es' if len(found.pids) > 1 else ''} {pids}"


def arenas(pids: list[int] | None = None) -> list[Found]:
    """The anonymous arenas of these processes (all that there are unless given), where this user may look."""
    found: dict[tuple[int, int], Found] = {}
    if pids is None:
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        pids.remove(os.getpid())
    for pid in pids:
        with contextlib.suppress(OSError):  # another user's, or it has just ended
            if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
                continue
            for name in os.listdir(f"/proc/{pid}/fd"):
                path = f"/proc/{pid}/fd/{name}"
                if os.readlink(path).startswith(MEMORY):
                    info = os.stat(path)
                    one = found.setdefault((info.st_dev, info.st_ino), Found(path=path))
                    if pid not in one.pids:
                        one.pids.append(pid)
    return list(found.values())
