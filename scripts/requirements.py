"""Prints the requirements that pyproject.toml states: requirements.py build|EXTRA..., build for the build."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main(names: list[str]) -> int:
    root = Path(__file__).resolve().parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())
    groups: dict[str, list[str]] = {
        # meson-python wants ninja, but asks for it only in builds that pip isolates.
        "build": [*project["build-system"]["requires"], "ninja"],
        **project["project"]["optional-dependencies"],
    }
    for name in names:
        if name not in groups:
            print(f"no extra {name!r} in pyproject.toml, only {', '.join(groups)}", file=sys.stderr)
            return 1
        print("\n".join(groups[name]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
