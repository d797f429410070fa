"""Tests of the types: a program as users write it under mypy --strict, and the stub against the extension."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import interproc
from interproc import _core

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(interproc.__file__).parent / "_core.pyi"

PROGRAM = """
from typing import Any

import interproc as mp
from interproc import _core
from interproc.connection import Connection, Pipe

reveal_type(mp.Queue[str]())  # interproc.queues.Queue[str]
q = mp.Queue[str](maxsize=3, max_bytes=1 << 20, name=None)
q.put("job", timeout=1.5)
reveal_type(q.put_many(["a", "b"]))  # int
reveal_type(q.get())  # str
reveal_type(q.get(timeout=1))  # str
reveal_type(q.get(False, 0.5))  # str
reveal_type(q.get_nowait())  # str
reveal_type(q.get(copy=False))  # Any
reveal_type(q.get_many(100))  # list[str]
reveal_type([job for job in q])  # list[str]
reveal_type(q.qsize())  # int
reveal_type(q.counters()["put"])  # int
reveal_type(q.name)  # str | None
reveal_type(q.poll(1))  # bool
q.shutdown(immediate=True)

numbers: mp.Queue[int] = mp.Queue()
reveal_type(numbers.get())  # int
reveal_type(mp.JoinableQueue[bytes]().get())  # bytes
reveal_type(mp.JoinableQueue[bytes]().join(timeout=1))  # bool
reveal_type(mp.SimpleQueue[tuple[int, str]]().get())  # tuple[int, str]

a, b = mp.Pipe()
reveal_type(a)  # interproc.connection.Connection
reveal_type(a.recv())  # Any
reveal_type(a.recv_bytes(10))  # bytes
reveal_type(a.recv_bytes_into(bytearray(10)))  # int
reveal_type(a.fileno())  # int
with Pipe(duplex=False)[0] as reader:
    reveal_type(reader)  # interproc.connection.Connection
reveal_type(reader.closed)  # bool


class Line(Connection):
    pass


reveal_type(_core.pipe(Line, True))  # tuple[Line, Line]

value = mp.Value("d", 0.0)
array = mp.Array("i", range(10))
value.value = 3.14
array[:] = [-x for x in array]

memory = _core.Memory(100)
reveal_type(memoryview(memory)[0])  # int
with memory as held:
    reveal_type(held)  # bool
number = _core.Number("q", 5)
number.value = number.add(1)
reveal_type(number.compare_exchange(5, 6))  # bool
reveal_type(mp.Lock().acquire(timeout=1))  # bool
with mp.Lock(), mp.RLock(), mp.Semaphore(2), mp.Condition():
    pass
reveal_type(mp.Condition().wait_for(lambda: "ready", 1))  # str
reveal_type(mp.Event().wait(0))  # bool
reveal_type(mp.Barrier(1).wait())  # int

arena = mp.Arena.create(limit=1 << 24)
reveal_type(arena.used)  # int
reveal_type([m["pid"] for m in arena.members()])  # list[int]
reveal_type([o["holders"] for o in arena.objects()])  # list[list[int]]


def work(queue: mp.Queue[str], n: int) -> None:
    queue.put(str(n))


process = mp.Process(target=work, args=(q, 1), daemon=True)
process.start()
reveal_type(process.exitcode)  # int | None
ctx = mp.get_context("spawn")
reveal_type(ctx)  # interproc.context.SpawnContext
reveal_type(mp.get_context("fork").get_context("forkserver"))  # interproc.context.ForkServerContext
reveal_type(mp.get_context())  # interproc.context._Context
reveal_type(ctx.Pipe()[0])  # interproc.connection.Connection
reveal_type(ctx.Queue().full())  # bool
child = ctx.Process(target=work, args=(ctx.Queue(), 1))

try:
    q.get_nowait()
except mp.ShutDown as error:
    base: mp.InterprocError = error
except mp.UnpicklingError as error:
    reveal_type(error.data)  # bytes
"""

MISTAKES = """
import interproc as mp

q = mp.Queue[str]()
q.put(1)  # arg-type
q.put_many([1, 2])  # list-item
n: int = q.get()  # assignment
q.maxsize = 3  # misc
q.get(tmeout=1)  # call-overload
mp.Pipe()[0].sent("x")  # attr-defined
mp.Queue(arena="default")  # arg-type
mp.Queueue()  # attr-defined
"""


def mypy(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Check a program against the installed package, with no configuration but --strict."""
    (folder / "program.py").write_text(program)
    options = ["--strict", "--config-file=", "--hide-error-context", f"--cache-dir={folder / 'cache'}"]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, "program.py"], cwd=folder, capture_output=True, text=True
    )


def stated(program: str) -> dict[int, str]:
    """What the comments at the ends of lines say, by line number."""
    comments = ((n, line.rpartition("  # ")) for n, line in enumerate(program.splitlines(), 1))
    return {n: comment for n, (code, _, comment) in comments if code}


def as_written(revealed: str) -> str:
    """A type as mypy of any version reveals it, in the words of the newest."""
    text = re.sub(r"\b(builtins|typing|program)\.", "", revealed.rstrip("?"))
    text = re.sub(r"Union\[([^][]*), None\]", r"\1 | None", text)
    return re.sub(r"^tuple\[(.*?)(, fallback=.*)?\]$", r"tuple[\1]", text)


@pytest.mark.timeout(120)
def test_what_a_typed_program_gets_has_the_type_it_says(tmp_path: Path) -> None:
    done = mypy(PROGRAM, tmp_path)
    found = re.findall(r'^program\.py:(\d+): note: Revealed type is "(.*)"$', done.stdout, re.MULTILINE)
    assert {int(n): as_written(text) for n, text in found} == stated(PROGRAM)
    assert ": error:" not in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(120)
def test_a_mistake_in_a_typed_program_is_found(tmp_path: Path) -> None:
    done = mypy(MISTAKES, tmp_path)
    found = re.findall(r"^program\.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    assert {int(n): code for n, code in found} == stated(MISTAKES), done.stdout + done.stderr


def names_in_stub(node: ast.Module | ast.ClassDef) -> set[str]:
    """What a module or class of the stub defines, imports and private helpers of the stub left out."""
    names = set()
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            names.add(part.name)
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            names.add(part.target.id)
    return names


def public(thing: ModuleType | type) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


TREE = ast.parse(STUB.read_text())
CLASSES = {
    node.name: node for node in TREE.body if isinstance(node, ast.ClassDef) and hasattr(_core, node.name)
}
NOT_AT_RUN_TIME = {"__buffer__"}  # Python 3.11 has no name for it


def test_the_stub_has_each_public_name_of_the_extension_and_no_other() -> None:
    in_stub = {name for name in names_in_stub(TREE) if not name.startswith("_")}
    modules = {name for name in public(_core) if isinstance(getattr(_core, name), ModuleType)}
    assert public(_core) - modules == in_stub


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_stub_has_each_public_name_of_a_class_and_no_other(name: str) -> None:
    in_stub = names_in_stub(CLASSES[name])
    at_run_time = getattr(_core, name)
    assert {n for n in in_stub - NOT_AT_RUN_TIME if not hasattr(at_run_time, n)} == set()
    assert public(at_run_time) - in_stub == set()


def test_a_class_of_the_extension_has_the_bases_that_the_stub_says() -> None:
    for name, node in CLASSES.items():
        named = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
        bases = [base.id for base in named if isinstance(base, ast.Name) and base.id != "Generic"]
        assert [base.__name__ for base in getattr(_core, name).__bases__] == (bases or ["object"])


def parameters(text: str) -> list[str]:
    """The names in a parameter list of Cython's: without types and defaults, with the stars before them."""
    depth, parts = 0, [""]
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.split("=")[0].split(":")[0].split()[-1] for part in parts if part.strip()]


def in_sources() -> dict[tuple[str, str], list[str]]:
    """The parameters of each function of the extension's sources, by class (or "") and name."""
    found, cls = {}, ""
    for path in sorted((ROOT / "src" / "interproc" / "_core").glob("*.pxi")):
        for line in path.read_text().splitlines():
            if line[:1].strip() and not line.startswith(("#", "@")):
                start = re.match(r"cdef class (\w+)", line)
                cls = start[1] if start else ""
            if (function := re.match(r"( *)def (\w+)\((.*)\)(?: -> \w+)?:$", line)) and function[1] in (
                "",
                "    ",
            ):
                found[cls if function[1] else "", function[2]] = parameters(function[3])
    return found


def in_stub() -> dict[tuple[str, str], list[str]]:
    """The same of the stub."""
    found = {}
    for cls, body in (("", TREE.body), *((name, node.body) for name, node in CLASSES.items())):
        for part in body:
            if isinstance(part, ast.FunctionDef):
                arguments = part.args
                names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
                if arguments.vararg:
                    names.append("*" + arguments.vararg.arg)
                elif arguments.kwonlyargs:
                    names.append("*")
                found[cls, part.name] = names + [a.arg for a in arguments.kwonlyargs]
    return found


def test_each_function_of_the_stub_has_the_parameters_that_it_has_in_the_sources() -> None:
    sources, stub = in_sources(), in_stub()
    both = [key for key in stub if key in sources and key[1] not in ("__exit__", "__reduce__")]
    assert len(both) > 60
    assert {key: stub[key] for key in both} == {key: sources[key] for key in both}
