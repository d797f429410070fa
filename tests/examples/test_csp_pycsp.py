"""Programs as they are written for PyCSP: the published ones, in words of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "pycsp"

SAYS = {
    "buffers": "30 of 30 are eaten\n30 of 60 are eaten",
    "commstime": "threads True\nOS processes True",
    "dispatch": "echo: one\ntwice: two\nno none\necho: four",
    "fibonacci": "0 1 1 2 3 5 8 13 21 34 55 89 144 233 377",
    "mandelbrot": "True\n",
    "philosophers": "all have eaten True",
    "pi": "60 bags, 3.13",
    "race": "50 True",
    "returns": "[9, 8, 16, 27, 27]\n[25, 25, 1]",
    "ring": "310",
    "services": "True",
    "sieve": "2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59",
    "timeouts": "True True None",
}


def test_each_program_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("program", SAYS)
def test_a_program_says_what_it_is_to_say(program: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{program}.py")], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    if program == "mandelbrot":  # the picture comes after that
        assert done.stdout.startswith(SAYS[program])
    else:
        assert done.stdout.strip() == SAYS[program]
