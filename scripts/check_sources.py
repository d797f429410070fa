"""Says which source files the meson.build lists have forgotten; exits with 1 if there is one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def listed(build_file: Path) -> set[str]:
    """The names quoted in a meson.build, comments left out."""
    text = re.sub(r"#.*", "", build_file.read_text())
    return set(re.findall(r"'([^'\n]+)'", text))


def forgotten() -> list[tuple[Path, Path]]:
    """Each source file that its meson.build does not name, with that meson.build."""
    core, package = ROOT / "core", ROOT / "src" / "interproc"
    pairs = [(path, core) for path in core.rglob("*.c")]
    pairs += [(path, package) for pattern in ("*.py", "py.typed") for path in package.rglob(pattern)]
    names = {folder: listed(folder / "meson.build") for folder in (core, package)}
    return [
        (path.relative_to(ROOT), (folder / "meson.build").relative_to(ROOT))
        for path, folder in sorted(pairs)
        if path.relative_to(folder).as_posix() not in names[folder]
    ]


def main() -> int:
    missing = forgotten()
    for path, build_file in missing:
        print(f"{path} is not built or installed: add it to {build_file}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
