"""Every Python block of the README and of docs/ runs as it stands, and prints what it is said to print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
# A block, and the block of text right after it, if any: what it prints.
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n*^```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)|(?:src|href)=\"([^\"#:]+)\"")
LIMIT = 60  # seconds for a block
# Runs a script as `python script` does, with the start method set, so that a block needs no line for that.
RUN = """
import runpy, sys
import interproc
method, sys.argv = sys.argv[1], sys.argv[2:]
interproc.set_start_method(method)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Block:
    page: str
    line: int  # of its first line in the page
    code: str
    output: str | None

    def methods(self) -> list[str]:
        """The start methods to run it with; a block that chooses its own, or starts nothing, runs once."""
        chooses = "set_start_method(" in self.code or "get_context(" in self.code
        return ["fork"] if chooses or '__name__ == "__main__"' not in self.code else ["fork", "spawn"]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    return [Block(name, text.count("\n", 0, m.start(1)) + 1, m[1], m[2]) for m in BLOCK.finditer(text)]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def run_block(block: Block, method: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "example.py"
    # Blank lines, so that a traceback names the line of the page.
    script.write_text("\n" * (block.line - 1) + block.code, encoding="utf-8")
    command = [sys.executable, "-c", RUN, method, str(script)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it started
        out, err = process.communicate()
        err += f"\n{block.page}:{block.line} did not end within {LIMIT} s"
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.timeout(LIMIT + 20)
@pytest.mark.parametrize(
    ("block", "method"),
    [pytest.param(b, m, id=f"{b.page}:{b.line}-{m}") for b in BLOCKS for m in b.methods()],
)
def test_block(block: Block, method: str, tmp_path: Path) -> None:
    done = run_block(block, method, tmp_path)
    assert done.returncode == 0, f"{block.page}:{block.line}\n{done.stdout}{done.stderr}"
    assert done.stderr == ""
    if block.output is not None:
        assert done.stdout.rstrip() == block.output.rstrip(), f"{block.page}:{block.line}"


def test_the_readme_has_blocks_that_say_what_they_print() -> None:
    own = [block for block in BLOCKS if block.page == "README.md"]
    assert len([block for block in own if block.output]) >= 3
    for page in PAGES:
        opened = page.read_text(encoding="utf-8").count("```python")
        assert opened == len(blocks_of(page)), f"{page}: a block is not closed"


def test_a_block_that_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text.\n\n```python\nprint('one')\n```\n\n```text\none\n```\n"
        '```python\nif __name__ == "__main__":\n    raise SystemExit(3)\n```\n'
        "\nno output said\n\n```text\nnot its\n```\n"
    )
    good, bad = blocks_of(page)
    assert (good.line, good.output, good.methods()) == (4, "one\n", ["fork"])
    assert (bad.line, bad.output, bad.methods()) == (11, None, ["fork", "spawn"])
    assert run_block(good, "fork", tmp_path).stdout == "one\n"
    assert run_block(bad, "spawn", tmp_path).returncode == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for groups in LINK.findall(page.read_text(encoding="utf-8")):
        target = next(filter(None, groups))
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_the_picture_of_a_network_is_that_of_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # laid out without graphviz, here as when it was made
    [code] = [block.code for block in BLOCKS if block.page == "README.md" and "network.graph()" in block.code]
    made: dict[str, Any] = {"__name__": "__main__"}
    exec(code[: code.index("    print(network.graph())")], made)
    picture = made["network"].graph().svg()
    assert picture == (ROOT / "docs" / "network.svg").read_text(encoding="utf-8")


def test_each_make_command_of_the_readme_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert used and used <= targets, f"the Makefile has no target {used - targets}"
