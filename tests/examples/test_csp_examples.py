"""Each example gives the right result, computed here another way, and runs as a program."""

from __future__ import annotations

import importlib
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .test_readme import RUN

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "csp"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
METHODS = ["fork", "spawn", "forkserver"]
KINDS = ["process", "thread", "task"]
LIMIT = 60  # seconds for one that runs as a program


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.parent))


def example(name: str) -> Any:
    return importlib.import_module(f"csp.{name}")


def primes_below(limit: int) -> list[int]:
    return [n for n in range(2, limit) if all(n % d for d in range(2, n))]


@pytest.mark.parametrize("kind", KINDS)
def test_commstime(kind: str) -> None:
    assert example("commstime").main(kind, 200) == list(range(200))


def test_sieve() -> None:
    assert example("sieve").main(30) == primes_below(30)


def test_dining_philosophers() -> None:
    module = example("dining_philosophers")
    starved, meals = module.main(meals=7)
    assert meals == 7 * len(module.NAMES)
    # The deadlock names all of them, what they wait for, and the line at which they do.
    for n, name in enumerate(module.NAMES):
        neighbour = module.NAMES[(n + 1) % len(module.NAMES)]
        assert re.search(rf"{name} .*sends to 'fork {n}'", starved)
        assert re.search(rf"fork {n} .*receives from '{neighbour} has one'", starved)
    source = Path(module.__file__).read_text().splitlines()
    line = next(n for n, text in enumerate(source, 1) if "second.send" in text)
    assert f"dining_philosophers.py:{line}" in starved


def test_santa_claus() -> None:
    module = example("santa_claus")
    diary, helped = module.main(years=3, groups=4)
    groups = [entry for entry in diary if entry != "Christmas"]
    assert diary.count("Christmas") == 3
    assert len(groups) >= 4
    for group in groups:
        assert len(set(group)) == module.GROUP
        assert set(group) <= set(range(module.ELVES))
    assert helped == module.GROUP * len(groups)


def test_mandelbrot(tmp_path: Path) -> None:
    width, height, path = 40, 30, str(tmp_path / "set.png")
    example("mandelbrot").main(path, width, height, workers=3)
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("PNG", (width, height))
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels.any(axis=2) == escapes(width, height)).all()  # black is the set
    assert not pixels[height // 2, width // 2].any()
    assert pixels[0, 0].any()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 5


def escapes(width: int, height: int, steps: int = 100) -> Any:
    """Whether z*z + c leaves the circle of radius 2, for each pixel: an array of shape (height, width)."""
    y, x = np.mgrid[:height, :width]
    c = (-2.2 + x * (3 / width)) + 1j * ((height // 2 - y) * (3 / width))
    z, gone = c.copy(), np.zeros(c.shape, bool)
    for _ in range(steps):
        gone |= np.abs(z) > 2
        z[~gone] = z[~gone] * z[~gone] + c[~gone]
    return gone


def test_word_count(tmp_path: Path) -> None:
    rng = random.Random(7)
    words = ["to", "be", "or", "not", "é"]
    truth: Counter[str] = Counter()
    for n in range(20):
        chosen = rng.choices(words, k=50)
        truth.update(chosen)
        text = ", ".join(word.title() for word in chosen) + " 42"
        (tmp_path / f"{n}.py").write_text(text, encoding="utf-8")
    assert example("word_count").main(str(tmp_path)) == truth


@pytest.mark.parametrize("kind", KINDS)
def test_token_ring(kind: str) -> None:
    assert example("token_ring").main(size=6, rounds=20, kind=kind) == 6 * 20


def test_a_ring_of_a_thousand_coroutines() -> None:
    assert example("token_ring").main(size=1000, rounds=3, kind="task") == 3000


def test_monte_carlo_pi() -> None:
    module = example("monte_carlo_pi")
    jobs, workers = 16, 3
    pi, done = module.main(jobs, workers)
    hits = sum(module.throw(seed) for seed in range(jobs))
    assert pi == 4 * hits / (jobs * module.DARTS)  # each job once
    assert abs(pi - np.pi) < 0.05
    assert sum(done) == jobs and len(done) == workers


def test_supervised_server() -> None:
    module = example("supervised_server")
    squares, died = module.main(count=12)
    assert squares == [[n * n for n in range(first, 12, 2)] for first in (0, 1)]
    assert len(died) == (12 - 1) // module.LIFE  # the last worker lives as long as it is needed
    assert all("SIGKILL" in text for text in died)


def test_producer_consumer() -> None:
    module = example("producer_consumer")
    eaten, ordered = module.main()
    assert eaten == [item for batch in module.BATCHES for item in batch]
    assert ordered == len(module.BATCHES)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_matrix_multiplication(kind: str) -> None:
    module = example("matrix_multiplication")
    product = np.array([[1, 2, 3], [4, 5, 6]]) @ np.array([[7, 8], [9, 10], [11, 12]])
    assert module.main(kind) == product.tolist()
    rng = np.random.default_rng(3)
    a, b = rng.integers(-9, 9, (2, 4)).astype(float), rng.integers(-9, 9, (4, 3)).astype(float)
    assert module.multiply(a.tolist(), b.tolist(), "thread") == (a @ b).tolist()


def test_chat_hub() -> None:
    module = example("chat_hub")
    said, heard = module.main()
    arrivals = [f"* {name} is here" for name in module.SCRIPT]
    lines = [f"{name}: {line}" for name, script in module.SCRIPT.items() for line in script]
    assert Counter(said) == Counter(arrivals + lines)
    for (name, script), ears in zip(module.SCRIPT.items(), heard, strict=True):
        assert ears == said[said.index(f"* {name} is here") :]  # all since the guest came
        of_this_guest = [line for line in said if line.startswith(f"{name}: ")]
        assert of_this_guest == [f"{name}: {line}" for line in script]


# ---- as programs ----

# What each prints, as a pattern; the numbers are those of the tests above, or computed here.
PRINTS = {
    "chat_hub": r"((\* \w+ is here|\w+: .+)\n){10}",
    "commstime": r"process: 2000 numbers, [\d.]+ µs a communication\n",
    "dining_philosophers": r"(.*\n)*With one who takes the other fork first: 100 meals\n",
    "mandelbrot": r"mandelbrot\.png: 240 x 180\n",
    "matrix_multiplication": r"\[58\.0, 64\.0\]\n\[139\.0, 154\.0\]\n",
    "monte_carlo_pi": r"pi is about 3\.1\d+; jobs done by each worker: \[\d+, \d+, \d+, \d+\]\n",
    "producer_consumer": r"ate bread, cheese, figs, olives, wine, cake; ordered 3 times\n",
    "santa_claus": r"((Christmas|helped elves \[\d, \d, \d\])\n){10,}",
    "sieve": " ".join(map(str, primes_below(30))) + "\n",
    "supervised_server": r"(.*SIGKILL.*\n){3}\[0, 4, 16, 36, 64\]\n\[1, 9, 25, 49, 81\]\n",
    "token_ring": r"800 hops in [\d.]+ s, .*\n",
    "word_count": rf"\d+ words in {len(EXAMPLES)} files\n( +\d+ \w+\n){{5}}",
}
# Every one with spawn, which asks most of a program; some with the other methods, too.
RUNS = [(name, "spawn") for name in EXAMPLES] + [
    (name, method)
    for name in ("chat_hub", "dining_philosophers", "sieve", "supervised_server", "word_count")
    for method in ("fork", "forkserver")
]


def test_every_example_is_tested() -> None:
    assert set(EXAMPLES) == set(PRINTS)
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(csp/(\w+)\.py\)", readme)) == set(EXAMPLES)
    for name in EXAMPLES:
        assert f"def test_{name}(" in Path(__file__).read_text()


@pytest.mark.timeout(LIMIT + 20)
@pytest.mark.parametrize(("name", "method"), RUNS)
def test_program(name: str, method: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, method, str(FOLDER / f"{name}.py")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it started
        out, err = process.communicate()
        pytest.fail(f"{name} did not end within {LIMIT} s; {out}{err}")
    assert (process.returncode, err) == (0, "")
    assert re.fullmatch(PRINTS[name], out), out
