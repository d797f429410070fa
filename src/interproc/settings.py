"""What can be set from outside: the arena's limit, and where named arenas are."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path

__all__ = ["arena_path", "memory_limit", "runtime_directory"]

FRACTION = 0.5
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _container_memory() -> int:
    """Bytes that this process may use: the machine's, or the least limit of the control groups it is in."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return memory
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in controllers.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        for at in (folder, *folder.parents):
            if at != root and root not in at.parents:
                break
            try:
                text = (at / name).read_text().strip()
            except OSError:
                continue
            if text.isdigit():
                memory = min(memory, int(text))
    return memory


def memory_limit() -> int:
    """The limit in bytes of a new arena: INTERPROC_LIMIT (as 500M, 8G), or half of the container's memory.

    Raises ValueError when INTERPROC_LIMIT is not a size.
    """
    text = os.environ.get("INTERPROC_LIMIT")
    if not text:
        return max(int(_container_memory() * FRACTION), 16 << 20)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(
            f"INTERPROC_LIMIT={text!r} is not a size; use bytes, or a number with K, M, G or T, such as 8G"
        )
    return int(float(match[1]) * _UNITS[match[2].upper()])


def runtime_directory() -> Path:
    """The folder of named arenas, made if need be: mode 0700, in memory where the system offers that.

    $XDG_RUNTIME_DIR/interproc, else /dev/shm/interproc-UID, else the same in the folder for temporary files.
    Raises PermissionError when the folder is another user's or open to others.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        folder = Path(runtime) / "interproc"
    else:
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
        folder = Path(base) / f"interproc-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise PermissionError(
            f"{folder} must be a folder of your own with mode 0700; remove it or set XDG_RUNTIME_DIR"
        )
    return folder


def arena_path(name: str) -> str:
    """The file of a named arena. Raises ValueError for a name that cannot be a file's."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError(f"an arena's name is 1 to 100 letters, digits, '_', '-', '.', not {name!r}")
    return str(runtime_directory() / f"{name}.arena")
