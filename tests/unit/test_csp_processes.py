"""Processes of each kind: how they are described, run, put together and waited for; their ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection as mpconnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dropin.support import NEVER, SOON, default_method, until

import interproc
from interproc import _core
from interproc.csp import (
    Barrier,
    Channel,
    ChannelPoison,
    ChannelRetire,
    Description,
    Exited,
    Parallel,
    ProcessFailed,
    Reader,
    Results,
    Sequence,
    Spawn,
    Writer,
    process,
    select,
)
from interproc.csp.composition import Composition
from interproc.csp.running import driving
from interproc.csp.running.launch import Leaf
from interproc.csp.running.launch_os import send_signal
from interproc.csp.running.run import Run
from interproc.csp.scope import Scope, current_scope

KINDS = ["process", "thread", "task"]


def python(code: str, *options: str, stdin: bool = False) -> str:
    """What a fresh interpreter prints for a program."""
    code = textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, *options, *(() if stdin else ("-c", code))],
        input=code if stdin else "",
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def failures_of(*parts: Any) -> tuple[BaseException, ...]:
    """What Parallel of these raises."""
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(*parts)
    return caught.value.exceptions


# What the processes do.


@process
def square(x: int) -> int:
    """x, squared."""
    return x * x


@process
async def asquare(x: int) -> int:
    await asyncio.sleep(0)
    return x * x


@process
def where() -> tuple[int, str, str, str]:
    return os.getpid(), threading.current_thread().name, current_scope().name, current_scope().kind


@process(kind="thread", name="another")
def named() -> None: ...


@process
def fails(text: str) -> None:
    raise ValueError(text)


@process
async def afails(text: str) -> None:
    raise ValueError(text)


@process
class Worker:
    """Counts."""

    FIRST = 1

    def __init__(self, out: Any, n: int = 3) -> None:
        self.out, self.n = out, n

    def run(self) -> int:
        for i in range(self.FIRST, self.n + 1):
            self.out.send(i)
        return self.n


@process
class Callee:
    def __init__(self, x: int) -> None:
        self.x = x

    def __call__(self) -> int:
        return self.x + 1


@process
class AsyncWorker:
    def __init__(self, x: int) -> None:
        self.x = x

    async def run(self) -> int:
        return self.x + 2


class Methods:
    def __init__(self, x: int) -> None:
        self.x = x

    @process
    def plus(self, y: int) -> int:
        return self.x + y


@process
def sends(out: Any, n: int = 3) -> None:
    for i in range(n):
        out.send(i)


@process
async def asends(out: Any, n: int = 3) -> None:
    for i in range(n):
        await out.asend(i)


@process
def receives(inp: Any) -> list[Any]:
    return list(inp)


@process
async def areceives(inp: Any) -> list[Any]:
    return [value async for value in inp]


def source(kind: str, out: Any, n: int = 3) -> Description[Any]:
    return asends(out, n) if kind == "task" else sends.with_kind(kind)(out, n)  # type: ignore[arg-type]


def sink(kind: str, inp: Any) -> Description[Any]:
    return areceives(inp) if kind == "task" else receives.with_kind(kind)(inp)  # type: ignore[arg-type]


# ---- descriptions ------------------------------------------------------------------------------------------


def test_a_description_runs_nothing_and_tells_what_it_is() -> None:
    description = square(3)
    assert (description.name, description.kind, description.args) == ("square", "process", (3,))
    assert repr(description) == "<square(3) kind='process'>"
    assert repr(square.with_kind("thread")(x=2)) == "<square(x=2) kind='thread'>"
    assert (named().name, named().kind) == ("another", "thread")
    assert asquare(1).kind == "task"
    assert (square.__name__, square.__doc__, square.__module__) == ("square", "x, squared.", __name__)
    assert "kind='process'" in repr(square)
    assert len(repr(fails("x" * 100))) < 80


def test_a_description_can_be_given_another_kind_and_name() -> None:
    description = square(3).with_kind("thread").with_name("three")
    assert (description.name, description.kind) == ("three", "thread")
    assert (square(3).kind, square.kind) == ("process", "process")
    assert square.with_name("q")(1).name == "q"
    assert asquare.with_kind("process")(2).kind == "process"
    with pytest.raises(TypeError, match="no `async def`"):
        square.with_kind("task")
    with pytest.raises(TypeError, match="no `async def`"):
        square(1).with_kind("task")
    with pytest.raises(ValueError, match="'fibre' is no kind"):
        square.with_kind("fibre")  # type: ignore[arg-type]


def test_a_description_times_n_is_that_many() -> None:
    copies = square(3) * 2
    assert [copy.name for copy in copies] == ["square[0]", "square[1]"]
    assert Parallel(2 * square.with_kind("thread")(3), square.with_kind("thread")(4) * 0) == [9, 9]


def test_arguments_are_checked_where_they_are_given() -> None:
    with pytest.raises(TypeError, match=r"square\(x: 'int'\).*missing"):
        square()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword"):
        square(1, y=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="too many"):
        Worker(1, 2, 3)  # type: ignore[call-arg]
    assert sends(1).args == (1,)


def test_what_cannot_be_a_process() -> None:
    with pytest.raises(TypeError, match="yields"):

        @process
        def generator() -> Iterator[int]:
            yield 1

    with pytest.raises(TypeError, match="no method run"):

        @process
        class Nothing:
            pass

    with pytest.raises(TypeError, match="a function or a class"):
        process(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="a function or a class"):
        process(square)
    with pytest.raises(TypeError, match="no `async def`"):
        process(kind="task")(lambda: None)
    with pytest.raises(ValueError, match="no kind"):
        process(kind="fibre")(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="no `async def`"):
        process(task=lambda: None)(lambda: None)  # type: ignore[arg-type, return-value]


def test_what_is_no_description_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write square\(\.\.\.\)"):
        Parallel(square)  # type: ignore[arg-type]
    for wrong in (3, "text", {"a": square(1)}, None):
        with pytest.raises(TypeError, match="is no process"):
            Parallel(square(1), [wrong])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"await Parallel\(square"):
        asyncio.run(_awaits(square(1)))


async def _awaits(what: Any) -> Any:
    return await what


def test_the_ends_of_a_description() -> None:
    @dataclass
    class Inner:
        end: Any

    class Slotted:
        __slots__ = ("a", "b")

        def __init__(self, a: Any) -> None:
            self.a = a

    class Pair(NamedTuple):
        left: Any
        right: Any

    channel = Channel[int]("c")
    a, b, c, d, e, f, g = (channel.reader() for _ in range(7))
    enrolment = Barrier().enrol()
    cyclic: list[Any] = [c]
    cyclic.append(cyclic)
    arguments = (
        a,
        [a, {"k": b}],
        cyclic,
        Pair(1, d),
        Inner(e),
        Slotted(f),
        functools.partial(print, g),
        enrolment,
    )
    anything = process(lambda *args, **kwargs: None)
    assert anything(*arguments).ends() == [a, b, c, d, e, f, g, enrolment]
    assert anything(x=(b,), y={a}).ends() == [b, a]
    assert anything(list(range(10)), "text", channel, Reader, print).ends() == []
    assert anything(square(1), anything(a), Parallel.of(anything(b))).ends() == [a, b]


def test_a_description_that_is_never_run_keeps_nobody_waiting() -> None:
    channel = Channel[int]()
    inp = channel.reader()
    description = sends(channel.writer())
    with pytest.raises(TimeoutError):
        inp.recv(NEVER)
    del description
    gc.collect()
    with pytest.raises(ChannelRetire):
        inp.recv(SOON)


def test_a_class_as_a_process() -> None:
    channel = Channel[int]()
    assert Parallel(Worker(channel.writer(), n=4), receives(channel.reader())) == [4, [1, 2, 3, 4]]
    assert Parallel(Callee(1), Callee(1).with_kind("thread"), AsyncWorker(1)) == [2, 2, 3]
    assert (AsyncWorker(1).kind, Worker.FIRST, Worker.name) == ("task", 1, "Worker")

    class Later(Worker):  # type: ignore[misc, valid-type]
        FIRST = 3

    later = process(Later)
    channel = Channel[int]()
    assert Parallel(later(channel.writer()), receives(channel.reader())) == [3, [3]]
    assert isinstance(Later(1), Worker)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no class"):

        class Wrong(square):  # type: ignore[misc, valid-type]
            pass


def test_a_method_as_a_process() -> None:
    assert Parallel(Methods(3).plus(4), Methods(1).plus(1).with_kind("thread")) == [7, 2]


def test_a_function_with_a_twin_for_tasks() -> None:
    async def twin(x: int) -> str:
        return f"task {x}"

    both = process(lambda x: f"other {x}", task=twin)
    kinds = [both(1).with_kind(kind) for kind in ("process", "thread", "task")]
    assert Parallel(kinds) == ["other 1", "other 1", "task 1"]


# ---- putting together --------------------------------------------------------------------------------------


def test_results_are_in_order_and_lists_are_flattened(method: str) -> None:
    results = Parallel(square(1), [square(2), (asquare(3), square.with_kind("thread")(4))], iter([square(5)]))
    assert results == [1, 4, 9, 16, 25]
    assert isinstance(results, Results)
    assert Parallel() == Sequence() == Parallel([], []) == []


def test_each_kind_runs_where_it_says(method: str) -> None:
    both = Parallel(where(), where.with_kind("thread")().with_name("t"))
    (pid, thread, name, kind), threads = both
    assert pid != os.getpid()
    assert (thread, name, kind) == ("MainThread", "where", "process")
    assert threads == (os.getpid(), "t", "t", "thread")


@pytest.mark.parametrize("kind", KINDS)
def test_async_def_as_each_kind(kind: Any) -> None:
    @process
    async def work(x: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return x, os.getpid()

    [(x, pid)] = Parallel(work(7).with_kind(kind))
    assert x == 7
    assert (pid == os.getpid()) == (kind != "process")


def test_tasks_share_an_event_loop_in_the_thread_that_calls() -> None:
    @process
    async def loop() -> tuple[int, int]:
        return id(asyncio.get_running_loop()), threading.get_ident()

    one, two = Parallel(loop(), loop())
    assert one == two
    assert one[1] == threading.get_ident()


def test_parallel_is_parallel() -> None:
    barrier = Barrier()
    meets = process(lambda place: place.sync(SOON))
    ameets = process(_ameets)
    places = [barrier.enrol() for _ in range(3)]
    Parallel(meets(places[0]), meets(places[1]).with_kind("thread"), ameets(places[2]))


async def _ameets(place: Any) -> None:
    await place.async_sync(SOON)


def test_a_sequence_is_in_order() -> None:
    seen: list[Any] = []
    note = process(seen.append, kind="thread", name="note")

    @process
    async def anote(what: Any) -> None:
        await asyncio.sleep(0.01)
        seen.append(what)

    assert Sequence(note(1), [anote(2), note(3)], note(4)) == [None] * 4
    assert seen == [1, 2, 3, 4]


def test_compositions_within_compositions() -> None:
    seen: list[Any] = []
    note = process(lambda x: seen.append(x) or x, kind="thread")
    pair = Parallel.of(square(2), square(3))
    results = Sequence(
        note("first"), pair, Parallel.of(Sequence.of(note("a"), note("b")), asquare(4)), note("last")
    )
    assert results == ["first", [4, 9], [["a", "b"], 16], "last"]
    assert seen == ["first", "a", "b", "last"]
    assert Parallel(pair, pair * 2, Parallel.of()) == [[4, 9], [4, 9], [4, 9], []]
    assert pair.run() == [4, 9]
    assert (pair.kind, pair.name, Sequence.of().kind) == ("parallel", "Parallel", "sequence")
    assert repr(Sequence.of(square(1))) == "Sequence.of(<square(1) kind='process'>)"


def test_a_process_runs_a_network_of_its_own(method: str) -> None:
    @process
    def outer(x: int) -> list[int]:
        return list(Parallel(square(x), Parallel.of(square(x + 1))))

    assert Parallel(outer(1), outer(2).with_kind("thread")) == [[1, [4]], [4, [9]]]


def test_a_description_runs_several_times() -> None:
    description = square(5)
    assert Parallel(description, description) == [25, 25]
    assert Sequence(description) == [25]


# ---- tasks and loops ---------------------------------------------------------------------------------------


def test_parallel_is_awaited_in_a_coroutine() -> None:
    async def main() -> Any:
        here = asyncio.get_running_loop()
        same = process(_same_loop)
        mixed = await Parallel(asquare(2), square(3), square.with_kind("thread")(4), same(id(here)))
        return mixed, await Sequence(asquare(1), square(2)), await Parallel.of(asquare(5), same(id(here)))

    assert asyncio.run(main()) == ([4, 9, 16, True], [1, 4], [25, True])


async def _same_loop(loop: int) -> bool:
    return id(asyncio.get_running_loop()) == loop


def test_it_lets_other_tasks_run_meanwhile() -> None:
    async def main() -> Any:
        channel = Channel[int]()
        inp = channel.reader()
        network = asyncio.ensure_future(
            _awaits(Parallel.of(sends(channel.writer()), asends(channel.writer(), 1)))
        )
        got = [await inp.arecv() for _ in range(4)]
        await network
        return sorted(got)

    assert asyncio.run(asyncio.wait_for(main(), SOON)) == [0, 0, 1, 2]


def test_a_plain_function_in_a_loop_waits() -> None:
    """As a cell of a notebook, which runs within an event loop."""

    def cell() -> Any:
        return Parallel(asquare(2), square(3), asquare(4))

    async def main() -> Any:
        return cell()

    assert asyncio.run(main()) == [4, 9, 16]


def test_what_is_not_awaited_is_complained_of() -> None:
    async def main() -> None:
        Parallel(asquare(2))

    with pytest.warns(RuntimeWarning, match="never awaited"):
        asyncio.run(main())


def test_a_process_that_is_a_task_awaits_a_network() -> None:
    @process
    async def outer(x: int) -> Any:
        return await Parallel(asquare(x), square(x + 1))

    assert Parallel(outer(1), outer(2)) == [[1, 4], [4, 9]]


# ---- whatever the function is ------------------------------------------------------------------------------


def test_lambdas_and_closures(method: str) -> None:
    base = 10
    lambdas = [process(lambda x, n=n: x + n + base)(1) for n in range(2)]

    def make(z: int) -> Any:
        @process
        def inner(f: Any) -> Any:
            return f(z)

        return inner

    assert Parallel(lambdas, make(5)(lambda x: x * 2), process(functools.partial(pow, 2))(5)) == [
        11,
        12,
        10,
        32,
    ]


PROGRAM = """
    import interproc, asyncio
    interproc.set_start_method({method!r})
    from interproc.csp import Channel, Parallel, Spawn, process

    K = 10
    class Err(Exception): pass
    class Point:
        def __init__(self, x): self.x = x
    def helper(x): return x + K

    @process
    def add(x): return Point(helper(x))
    @process
    def bad(): raise Err("here")
    @process
    class Count:
        def __init__(self, out): self.out = out
        def run(self):
            for i in range(3): self.out.send(i)
    @process
    def collect(inp): return list(inp)
    @process
    async def task(x): return x

    def main():
        point, function = Parallel(add(1), process(lambda x: (lambda y: x + y))(3))
        print(point.x, isinstance(point, Point), function(4))
        try: Parallel(bad())
        except ExceptionGroup as group: print(type(group.exceptions[0]) is Err, group.exceptions[0])
        c = Channel()
        print(Parallel(Count(c.writer()), collect(c.reader()), task(1)))
        print(Spawn(add(2)).result().x)

    if __name__ == "__main__":
        main()
"""
PRINTS = "11 True 7\nTrue here\n[None, [0, 1, 2], 1]\n12"


def test_in_the_main_module_of_a_program(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM.format(method=method)))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=50)
    assert (done.stdout.strip(), done.stderr) == (PRINTS, "")


def test_in_a_program_without_a_file(method: str) -> None:
    """As in the REPL, a notebook, `python -c` and `python -`: a child cannot import what is defined there."""
    code = PROGRAM.format(method=method)
    assert python(code) == PRINTS
    assert python(code, "-", stdin=True) == PRINTS


GUARDED = """
    import interproc
    from interproc.csp import Parallel, process

    CONSTANT = 1
    @process
    def replaced(x): return -x

    if __name__ == "__main__":
        interproc.set_start_method({method!r})
        import math
        def helper(x): return math.floor(x) + CONSTANT
        class Point:
            def __init__(self, x): self.x = x
        @process
        def add(x): return helper(x)
        @process
        class Move:
            def __init__(self, point): self.point = point
            def run(self): return Point(self.point.x + 1)
        @process
        def replaced(x): return x
        twice = process(lambda x: 2 * x)
        @process
        def depth(n): return 1 + Parallel(depth(n - 1))[0] if n else 0
        for _ in range(1):
            @process
            async def nested(x): return x
        added, moved, doubled, same, one, two = Parallel(
            add(1.5), Move(Point(1)), twice(3), replaced(4), nested.with_kind("process")(1), depth(2)
        )
        print(added, moved.x, isinstance(moved, Point), doubled, same, one, two)
"""


def test_what_is_defined_below_the_guard_travels_by_value(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(GUARDED.format(method=method)))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=50)
    assert (done.stdout.strip(), done.stderr) == ("2 2 True 6 4 1 2", "")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_why_a_child_could_not_start(method: str, tmp_path: Path) -> None:
    """It is told by the failure; what it was given is poisoned."""
    program = tmp_path / "program.py"
    code = f"""
        import interproc, sys
        from interproc.csp import Channel, Parallel, process

        @process
        def collects(inp): return list(inp)

        if "child" not in sys.argv:  # no guard that is known
            @process
            def work(out): out.send(1)

        def main():
            sys.argv.append("child")
            interproc.set_start_method({method!r})
            channel = Channel()
            try:
                Parallel(work(channel.writer()), collects(channel.reader()))
            except ExceptionGroup as group:
                print(len(group.exceptions), group.exceptions[0])

        if __name__ == "__main__":
            main()
    """
    program.write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=50)
    assert done.stdout.startswith("1 there is no work in __main__ here: define a process at the top level")
    assert done.stderr == ""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_program_without_a_guard_is_told_of_it(method: str, tmp_path: Path) -> None:
    """Once in each child, and nothing is started there."""
    program = tmp_path / "program.py"
    code = f"""
        import interproc
        from interproc.csp import Parallel, process
        interproc.set_start_method({method!r}, force=True)

        @process
        def work(): pass

        Parallel(work(), work())
    """
    program.write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert "RuntimeError: this child, which 'spawn' or 'forkserver' has started" in done.stderr
    assert done.stderr.count("Exception Group Traceback") == 1  # the program's
    assert "2 of 2 processes failed" in done.stderr


def test_what_is_imported_with_it() -> None:
    """Neither event loops nor the parts, before they are asked for."""
    assert (
        python(
            """
            import sys, interproc
            from interproc import csp
            late = ["asyncio", "concurrent.futures", "numpy", "cloudpickle", "interproc.csp.parts"]
            print([name for name in late if name in sys.modules])
            channel = csp.Channel()
            count = interproc.csp.parts.source(range(3), channel.writer())
            print(csp.Parallel(count, csp.parts.collect(channel.reader())), "asyncio" in sys.modules)
            print(csp.pycsp.Channel, hasattr(csp, "other"))
            """
        )
        == "[]\n[None, [0, 1, 2]] False\n<class 'interproc.csp.pycsp.ends.Channel'> False"
    )


def test_in_the_repl(method: str) -> None:
    lines = [
        "import interproc",
        f"interproc.set_start_method({method!r})",
        "from interproc.csp import Parallel, process",
        "K = 5",
        "@process\ndef f(x):\n    return x * K\n",
        "Parallel(f(3), process(lambda: 'ok')())",
        "",
    ]
    done = subprocess.run(
        [sys.executable, "-i", "-q"], input="\n".join(lines), capture_output=True, text=True, timeout=50
    )
    assert "[15, 'ok']" in done.stdout, done.stderr


# ---- ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", KINDS)
@pytest.mark.parametrize("reader", KINDS)
def test_ends_are_moved_and_retire_when_the_process_returns(writer: str, reader: str) -> None:
    """The starter, which has made them, keeps nobody from seeing that."""
    channel = Channel[int]()
    out, inp = channel.writer(), channel.reader()
    assert Parallel(source(writer, out), sink(reader, inp)) == [None, [0, 1, 2]]
    assert not out.owned
    with pytest.raises(ChannelRetire):
        out.send(1)


def test_ends_come_to_each_kind_of_child(method: str) -> None:
    channel = Channel[int]()
    results = Parallel(
        [sends([{"out": channel.writer()}["out"]][0]) for _ in range(3)], receives(channel.reader())
    )
    assert sorted(results[-1]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_ends_within_arguments(kind: Any) -> None:
    class Holder:
        def __init__(self, end: Any) -> None:
            self.end = end

    @process(kind=kind)
    def deep(holder: Any, nested: dict[str, list[Any]], pair: tuple[Any, ...], plain: list[int]) -> bool:
        holder.end.send("a")
        nested["ends"][0].send("b")
        pair[1].send("c")
        return nested["ends"][0] is nested["ends"][1]

    channel = Channel[str]()
    out = channel.writer()
    arguments = (Holder(channel.writer()), {"ends": [out, out]}, (0, channel.writer()), [1, 2])
    assert Parallel(deep(*arguments), receives(channel.reader())) == [True, ["a", "b", "c"]]


@process
def calls(f: Any) -> None:
    f(1)


@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("how", ["method", "partial", "closure", "closure of a method"])
def test_ends_within_functions(how: str, kind: Any, method: str) -> None:
    """They are the process's, which is the only writer."""
    channel = Channel[int]()
    out = channel.writer()
    send = out.send
    given: dict[str, Any] = {
        "method": send,
        "partial": functools.partial(functools.partial(out.send)),
        "closure": lambda x: out.send(x),
        "closure of a method": lambda x: send(x),
    }
    description = calls.with_kind(kind)(given[how])
    assert description.ends() == [out]
    assert Parallel(description, receives.with_kind(kind)(channel.reader())) == [None, [1]]


def test_what_has_no_ends_is_shared_by_threads() -> None:
    shared: list[int] = []
    append = process(lambda to, x: to.append(x), kind="thread")
    Parallel([append(shared, x) for x in range(3)])
    assert sorted(shared) == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_one_end_may_be_given_to_many(kind: str) -> None:
    channel = Channel[int](buffer=20)
    out = channel.writer()
    assert sorted(Parallel(source(kind, out) * 3, sink("process", channel.reader()))[-1]) == [
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        2,
        2,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_keeps_an_end_for_who_comes_later(kind: str) -> None:
    channel = Channel[int](buffer=20)
    out = channel.writer()
    results = Parallel(
        Sequence.of(source(kind, out), source("process", out, 1), source(kind, out)),
        sink(kind, channel.reader()),
    )
    assert results[-1] == [0, 1, 2, 0, 0, 1, 2]


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_ends_that_were_received_or_made_retire_too(kind: Any, method: str) -> None:
    @process(kind=kind)
    def receives_an_end(inp: Any) -> None:
        kept.append(inp.recv())
        kept[0].send("received")

    @process(kind=kind)
    def makes_an_end(ends: Any) -> None:
        made = Channel[str]()
        kept.append(made.writer())
        ends.send(made.reader())
        kept[-1].send("made")

    kept: list[Any] = []  # a copy in an OS process; in a thread it outlives the process
    ends, values = Channel[Any](), Channel[str]()
    here = values.reader()
    out = ends.writer()
    spawned = Spawn(receives_an_end(ends.reader()))
    with values.writer() as given:
        out.send(given)
    assert list(here) == ["received"]
    spawned.join(SOON)
    back = Channel[Any]()
    inp = back.reader()
    spawned = Spawn(makes_an_end(back.writer()))
    assert list(inp.recv(SOON)) == ["made"]
    spawned.join(SOON)


@pytest.mark.parametrize("kind", KINDS)
def test_an_end_can_be_returned(kind: str) -> None:
    @process(kind="process" if kind == "task" else kind)  # type: ignore[call-overload]
    def gives() -> Any:
        channel = Channel[int](buffer=1)
        channel.writer().send(5)
        return channel, channel.reader()

    async def agives() -> Any:
        channel = Channel[int](buffer=1)
        await channel.writer().asend(5)
        return channel, channel.reader()

    [(channel, _)] = Parallel(process(agives)() if kind == "task" else gives())
    assert channel.info().buffered == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_poisons_the_ends(kind: str) -> None:
    def work(inp: Any, out: Any) -> None:
        raise KeyError("x")

    async def awork(inp: Any, out: Any) -> None:
        raise KeyError("x")

    failing = process(awork) if kind == "task" else process(work, kind=kind)  # type: ignore[call-overload]
    into, out = Channel[int](), Channel[int]()
    mine = out.reader()
    [error] = failures_of(
        failing(into.reader(), out.writer()), source(kind, into.writer()), sink(kind, out.reader())
    )
    assert isinstance(error, KeyError)
    with pytest.raises(ChannelPoison):
        mine.recv(SOON)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_poison_and_retirement_spread_quietly(kind: Any) -> None:
    @process(kind=kind)
    def passes_on(inp: Any, out: Any) -> None:
        while True:
            out.send(inp.recv())

    for how, error in (("poison", ChannelPoison), ("retire", ChannelRetire)):
        first, second, third = Channel[int](), Channel[int](), Channel[int]()
        out, inp = first.writer(), third.reader()
        chain = [passes_on(first.reader(), second.writer()), passes_on(second.reader(), third.writer())]
        spawned = Spawn(chain)
        out.send(1)
        assert inp.recv(SOON) == 1
        getattr(out, how)()
        with pytest.raises(error):
            inp.recv(SOON)
        assert spawned.join(SOON) == [None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_what_ends_a_process_spreads_to_all_its_ends(kind: str) -> None:
    """Those it was given, and those it has made, which nobody else refers to."""

    def body(inp: Any, out: Any) -> None:
        made = Channel[int]("made")
        mine = made.writer()
        out.send(made.reader())
        inp.recv()
        mine.send(1)

    async def abody(inp: Any, out: Any) -> None:
        made = Channel[int]("made")
        mine = made.writer()
        await out.asend(made.reader())
        await inp.arecv()
        await mine.asend(1)

    middle: Any = process(body, task=abody)
    for how, error in ((Writer.poison, ChannelPoison), (Writer.retire, ChannelRetire)):
        first, second = Channel[int]("first"), Channel[Any]("second")
        out, inp = first.writer(), second.reader()
        spawned = Spawn(middle(first.reader(), second.writer()).with_kind(kind))
        made = inp.recv(SOON)
        how(out)
        for end in (made, inp):
            with pytest.raises(error):
                end.recv(SOON)
        assert spawned.join(SOON) == [None]


def test_closures_share_the_ends_of_their_maker() -> None:
    channel = Channel[int]()
    out = channel.writer()
    inp = channel.reader()
    spawned = Spawn([process(lambda x: out.send(x))(x) for x in range(2)])
    assert sorted([inp.recv(SOON), inp.recv(SOON)]) == [0, 1]
    spawned.join(SOON)
    with pytest.raises(TimeoutError):
        out.send(1, NEVER)  # it is this program's still


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_an_enrolment_ends_with_its_process(kind: Any) -> None:
    barrier = Barrier()
    mine, theirs = barrier.enrol(), barrier.enrol()
    Parallel(process(lambda place: None, kind=kind)(theirs))
    mine.sync(SOON)


# ---- failures ----------------------------------------------------------------------------------------------


def test_all_failures_are_raised_when_all_have_ended() -> None:
    seen: list[str] = []
    slow = process(lambda: (time.sleep(0.1), seen.append("slow")), kind="thread")
    with pytest.raises(ExceptionGroup, match=r"^3 of 5 processes failed") as caught:
        Parallel(fails("a"), slow(), [fails.with_kind("thread")("b"), afails("c")], square(2))
    assert seen == ["slow"]
    assert [str(error) for error in caught.value.exceptions] == ["a", "b", "c"]
    notes = [error.__notes__ for error in caught.value.exceptions]
    assert notes[0][0].startswith("in process 'fails 1' (OS process, pid ")
    assert notes[1:] == [["in process 'fails 2' (thread)"], ["in process 'afails' (task)"]]


def test_a_failure_has_its_own_traceback(method: str) -> None:
    for kind in ("process", "thread"):
        [error] = failures_of(fails("deep").with_kind(kind))  # type: ignore[arg-type]
        import traceback

        text = "".join(traceback.format_exception(error))
        assert "raise ValueError(text)" in text
        assert "launch" not in text.replace(__file__, "")
        assert "in process 'fails'" in text


def test_the_traceback_tells_the_cause() -> None:
    @process
    def work() -> None:
        try:
            _ = 1 / 0
        except ZeroDivisionError as error:
            raise ValueError("outer") from error

    [error] = failures_of(work())
    assert isinstance(error, ValueError)
    assert "ZeroDivisionError: division by zero" in str(error.__cause__)


def test_failures_of_a_network_within_a_process() -> None:
    @process
    def outer() -> None:
        Parallel(fails("inner"), square(1))

    [error] = failures_of(outer())
    assert isinstance(error, ExceptionGroup)
    assert str(error.exceptions[0]) == "inner"
    assert "raise ValueError(text)" in str(error.__cause__)


class Awkward(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Sticky(Exception):
    def __init__(self) -> None:
        super().__init__("sticks")
        self.lock = threading.Lock()


def test_an_exception_that_cannot_be_pickled_has_a_substitute() -> None:
    def throw(error: type[Exception], *args: Any) -> None:
        raise error(*args)

    awkward, sticky = failures_of(process(throw)(Awkward, 1, 2), process(throw)(Sticky))
    assert isinstance(awkward, ProcessFailed)
    assert isinstance(sticky, ProcessFailed)
    assert "Awkward: 1 and 2" in str(awkward)
    assert "Sticky: sticks" in str(sticky)
    assert "raise error(*args)" in str(sticky.__cause__)
    [mine] = failures_of(process(throw, kind="thread")(Sticky))
    assert type(mine) is Sticky


@pytest.mark.parametrize("kind", KINDS)
def test_sys_exit(kind: str) -> None:
    def leave(code: Any) -> None:
        sys.exit(code)

    async def aleave(code: Any) -> None:
        sys.exit(code)

    leaves = process(aleave) if kind == "task" else process(leave, kind=kind)  # type: ignore[call-overload]
    assert Parallel(leaves(0), leaves(None)) == [None, None]
    three, words = failures_of(leaves(3), leaves("words"))
    assert isinstance(three, ProcessFailed)
    assert (three.exitcode, str(three)) == (3, "it called sys.exit(3)")
    assert isinstance(words, ProcessFailed)
    assert (words.exitcode, str(words)) == (1, "it called sys.exit('words')")


def test_a_process_that_just_ends(method: str) -> None:
    for code in (0, 7):
        [error] = failures_of(process(os._exit, name="leaver")(code))
        assert isinstance(error, ProcessFailed)
        assert error.exitcode == code
        assert "leaver (pid " in str(error)
        assert f"ended with exit code {code} before it had returned" in str(error)


def test_a_result_that_cannot_be_pickled(method: str) -> None:
    @process
    def work() -> Any:
        return [1, {"lock": threading.Lock()}]

    [error] = failures_of(work())
    assert isinstance(error, interproc.PicklingError)
    assert "what work returned: cannot pickle 'lock' object at item[1]['lock']" in str(error)
    [lock] = Parallel(work().with_kind("thread"))
    assert isinstance(lock, list)


def test_arguments_that_cannot_be_pickled_are_told_of() -> None:
    with default_method("spawn"):
        channel = Channel[int]()
        [error] = failures_of(
            process(lambda x, out: None, name="work")({"a": threading.Lock()}, channel.writer()),
            receives(channel.reader()),
        )
    assert "the arguments of work: cannot pickle 'lock' object at item[0]['a']" in str(error)


def test_large_results(method: str) -> None:
    makes = process(lambda n, c: bytes([c]) * n)
    n = 20_000_000
    results = Parallel([makes(n, c) for c in range(3)])
    assert results == [bytes([c]) * n for c in range(3)]


def test_what_comes_after_a_failure_in_a_sequence_is_not_run() -> None:
    seen: list[int] = []
    note = process(seen.append, kind="thread", name="note")
    channel = Channel[int]()
    with pytest.raises(ExceptionGroup, match="1 of 4 processes failed"):
        Parallel(Sequence.of(note(1), fails("x"), sends(channel.writer())), receives(channel.reader()))
    assert seen == [1]


# ---- spawning ----------------------------------------------------------------------------------------------


def test_spawn_does_not_wait(method: str) -> None:
    channel = Channel[int]()
    out = channel.writer()
    spawned = Spawn(receives(channel.reader()))
    assert spawned.alive
    assert spawned.pid is not None
    with pytest.raises(TimeoutError, match="1 of 1 processes run"):
        spawned.join(NEVER)
    out.send(1)
    out.retire()
    assert spawned.join(SOON) == [[1]]
    assert spawned.result() == [1]
    assert not spawned.alive


@pytest.mark.parametrize("kind", ["process", "thread", "task"])
@pytest.mark.parametrize("in_loop", [False, True])
def test_what_is_spawned_has_its_ends_when_spawn_returns(in_loop: bool, kind: str) -> None:
    """Also one that a loop runs later."""
    channel = Channel[int]()
    out = channel.writer()

    def spawn() -> Any:
        with channel.reader() as inp:
            return Spawn(Sequence.of(sink(kind, inp), square(2)))

    async def main() -> list[Any]:
        spawned = spawn()
        await out.asend(3, SOON)
        out.retire()
        return list(await spawned)

    if in_loop:
        assert asyncio.run(main()) == [[[3], 4]]
        return
    spawned = spawn()
    out.send(3, SOON)
    out.retire()
    assert spawned.join(SOON) == [[[3], 4]]


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_spawn_of_lighter_ones(kind: str) -> None:
    channel = Channel[int]()
    out = channel.writer()
    spawned = Spawn(sink(kind, channel.reader()))
    until(lambda: channel.info().readers_waiting == 1)
    assert spawned.alive
    out.send(3)
    out.retire()
    assert spawned.result(SOON) == [3]
    until(lambda: not spawned.alive)


def test_spawn_of_several_and_of_a_sequence() -> None:
    seen: list[int] = []
    note = process(lambda x: seen.append(x) or x, kind="thread", name="note")
    spawned = Spawn(square(2), [asquare(3), note(4)])
    assert spawned.join(SOON) == [4, 9, 4]
    assert [(m.name, m.kind) for m in spawned.members] == [
        ("square", "process"),
        ("asquare", "task"),
        ("note", "thread"),
    ]
    spawned = Spawn(Sequence.of(note(1), square(2), note(3)))
    assert spawned.join(SOON) == [[1, 4, 3]]
    assert seen == [4, 1, 3]
    with pytest.raises(ValueError, match="2 results"):
        Spawn(note(0), note(0)).result()


def test_spawned_tasks_in_a_notebook() -> None:
    """A loop runs in this thread, and the cell, which is no `async def`, waits: its tasks run elsewhere."""

    def cell() -> Any:
        channel = Channel[int]("numbers")
        out, inp = channel.writer(), channel.reader()
        spawned = Spawn(areceives(inp))
        for x in range(3):
            out.send(x, SOON)
        out.retire()
        return spawned.join(SOON)

    async def kernel() -> Any:
        return cell()

    assert asyncio.run(kernel()) == [[0, 1, 2]]


def test_a_spawned_failure_is_raised_by_join() -> None:
    for failing in (fails("x"), fails.with_kind("thread")("x"), afails("x")):
        spawned = Spawn(failing)
        for _ in range(2):
            with pytest.raises(ExceptionGroup, match="1 of 1 process failed"):
                spawned.join(SOON)


def test_threads_join_one_handle_together() -> None:
    channel = Channel[int]()
    out = channel.writer()
    spawned = Spawn(receives(channel.reader()))
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(spawned.join(SOON))) for _ in range(3)]
    for thread in threads:
        thread.start()
    out.retire()
    for thread in threads:
        thread.join(SOON)
    assert got == [[[]]] * 3


def test_a_handle_in_an_event_loop() -> None:
    async def main() -> Any:
        mixed = Spawn(asquare(2), square(3))
        processes = Spawn(square(4), square.with_kind("thread")(5))
        with pytest.raises(RuntimeError, match="await it"):
            mixed.join()
        return await mixed, await processes, await processes

    assert asyncio.run(main()) == ([4, 9], [16, 25], [16, 25])


@pytest.mark.parametrize("kind", KINDS)
def test_the_sentinel_of_a_handle(kind: str) -> None:
    channel = Channel[int]()
    out = channel.writer()
    spawned = Spawn(sink(kind, channel.reader()))
    assert mpconnection.wait([spawned.sentinel], NEVER) == []
    out.retire()
    assert mpconnection.wait([spawned.sentinel], SOON) == [spawned.sentinel]
    assert spawned.join(SOON) == [[]]


def test_a_handle_as_a_context_manager() -> None:
    channel = Channel[int]()
    with Spawn(receives(channel.reader())) as spawned, channel.writer() as out:
        out.send(1)
    assert spawned.result() == [1]
    channel = Channel[int]()
    out = channel.writer()
    with pytest.raises(KeyError), Spawn(receives(channel.reader())) as spawned:
        raise KeyError
    assert spawned.result() is None  # poison has ended it


def test_terminating_and_killing() -> None:
    naps = process(lambda: time.sleep(60), name="naps")
    for how, name in (("terminate", "SIGTERM"), ("kill", "SIGKILL")):
        spawned = Spawn(naps())
        getattr(spawned, how)()
        with pytest.raises(ExceptionGroup) as caught:
            spawned.join(SOON)
        assert f"was killed by {name}" in str(caught.value.exceptions[0])


def test_many_handles_are_forgotten() -> None:
    from interproc.csp import spawning

    nothing = process(lambda: None, kind="thread")
    for _ in range(500):
        Spawn(nothing())
    assert len(spawning._spawned) < 400


# ---- how many, and what they take --------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_many_of_each_kind() -> None:
    assert Parallel([square(n) for n in range(100)]) == [n * n for n in range(100)]
    assert Parallel([square(n).with_kind("thread") for n in range(300)]) == [n * n for n in range(300)]
    assert Parallel([asquare(n) for n in range(2000)]) == [n * n for n in range(2000)]


def test_a_task_takes_little_memory() -> None:
    code = """
    import asyncio, tracemalloc
    from interproc.csp import Channel, Parallel, process

    async def measure(n):
        seen = []

        @process
        async def waits(gate):
            await gate.wait()

        @process
        async def looks(gate, before):
            await asyncio.sleep(0)
            seen.append((tracemalloc.get_traced_memory()[0] - before) / n)
            gate.set()

        gate = asyncio.Event()
        before = tracemalloc.get_traced_memory()[0]
        await Parallel([waits(gate) for _ in range(n)], looks(gate, before))
        return seen[0]

    asyncio.run(measure(10))
    tracemalloc.start()
    print(int(asyncio.run(measure(1000))))
    """
    taken = int(python(code))
    assert taken < 10 * 1024


def test_a_signal_comes_too_late_for_one_that_was_closed() -> None:
    """As by the thread that waits for it, while another kills it."""
    ended = interproc.Process(target=int)
    ended.start()
    ended.join()
    ended.close()
    leaf = Leaf(process(lambda: None)(), None, 0, 0)
    leaf.member = ended
    send_signal(leaf, signal.SIGKILL)


def test_to_look_whether_it_runs_takes_no_exit_code(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is for who waits for it: two that ask the system at once would not both get it."""
    spawned = Spawn(process(os._exit)(3))
    (leaf,) = spawned._run.leaves
    mpconnection.wait([leaf.watched], SOON)
    with monkeypatch.context() as patched:
        patched.setattr(os, "waitpid", lambda *_: pytest.fail("it was waited for"))
        assert not spawned.alive
        spawned.kill()
    with pytest.raises(ExceptionGroup) as caught:
        spawned.join(SOON)
    (error,) = caught.value.exceptions
    assert isinstance(error, ProcessFailed) and error.exitcode == 3


def test_a_signal_does_not_go_to_another_that_has_the_pid_now(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Spawn(receives((channel := Channel[int]()).reader()))
    out = channel.writer()
    spawned = Spawn(receives((silent := Channel[int]()).reader()))
    (leaf,) = spawned._run.leaves
    with monkeypatch.context() as patched:
        patched.setattr(leaf, "pid", other.pid)
        patched.setattr(leaf.member._popen, "pid", other.pid)
        spawned.kill()
    with pytest.raises(ExceptionGroup, match="1 of 1"):
        spawned.join(SOON)
    out.send(1, SOON)
    out.retire()
    assert other.join(SOON) == [[1]]
    assert silent.info().poisoned


def test_an_interrupt_while_a_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one that runs by then, and is waited for."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        signal.raise_signal(signal.SIGINT)

    channel = Channel[int]()
    out = channel.writer()
    description = receives.with_kind("thread")(channel.reader())
    run = Run(Composition((description,), ordered=False))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            driving.drive(run)
    assert run.over and run.running == 0
    with pytest.raises(ChannelPoison):
        out.send(1, SOON)


def test_nothing_is_left_behind() -> None:
    def network() -> None:
        first, second = Channel[int](), Channel[int]()
        Parallel(
            sends(first.writer()),
            process(lambda inp, out: [out.send(x) for x in inp], kind="thread")(
                first.reader(), second.writer()
            ),
            areceives(second.reader()),
        )
        with pytest.raises(ExceptionGroup):
            Parallel(fails("x"), process(os._exit)(1))

    arena = _core.Arena.default()
    for _ in range(3):
        network()
    gc.collect()
    arena.reap()
    used, descriptors, threads = arena.used, len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        network()

    def back() -> bool:
        gc.collect()
        arena.reap()
        return arena.used <= used and len(os.listdir("/proc/self/fd")) <= descriptors

    until(back, limit=10)
    until(lambda: threading.active_count() <= threads + 1, limit=10)


def test_a_spawned_that_a_thread_joins_is_waited_for_in_other_ways_too() -> None:
    """Who waits in a loop, or in a select for something else as well, does not wait for that thread."""

    @process(kind="thread")
    def work(inp: Reader[int]) -> int:
        return inp.recv()

    for limit in (None, 0.1):  # the thread is there at the end, or goes before
        channel, other = Channel[int](), Channel[int](buffer=1)
        inp, out = channel.reader(), channel.writer()
        spawned = Spawn(work(inp))
        drives = threading.Event()

        def join(spawned: Any = spawned, drives: Any = drives, limit: Any = limit) -> None:
            drives.set()
            with contextlib.suppress(TimeoutError):
                spawned.join(limit)

        joining = threading.Thread(target=join)
        joining.start()
        assert drives.wait(SOON)
        time.sleep(0.02)  # it may be so far or not
        other.writer().send(7)
        assert select(spawned, other.reader(), timeout=SOON).value == 7

        async def main(spawned: Any = spawned, out: Any = out) -> Any:
            waiting = asyncio.create_task(spawned._join())
            await asyncio.sleep(0.05)
            await out.asend(8, SOON)
            return await waiting

        assert asyncio.run(main()) == [8]
        joining.join(SOON)
        assert not joining.is_alive()
        assert isinstance(select(spawned, timeout=SOON), Exited)


# ---- whose ends these are ----------------------------------------------------------------------------------


def test_each_process_has_a_scope() -> None:
    @process(kind="thread")
    def work(out: Writer[int]) -> Any:
        mine = Channel[int]().reader()
        return current_scope().name, len(current_scope().ends()), mine.side

    channel = Channel[int]()
    channel.reader()
    assert Parallel(work(channel.writer()).with_name("w")) == [("w", 2, 0)]
    assert current_scope().name == "main"


def test_ends_go_while_a_scope_is_looked_at() -> None:
    """To make a list takes memory, at which the cyclic garbage is collected, and the ends in it."""

    class Cycle:
        def __init__(self) -> None:
            self.me = self

    here = Scope("here")
    kept = [Cycle() for _ in range(5)]
    for end in kept:
        here.add(end)
    threshold = gc.get_threshold()
    try:
        for turn in range(2000):
            end = Cycle()
            here.add(end)
            gc.set_threshold(1 + turn % 20)  # so it comes at each place of what follows
            del end
            assert set(kept) <= set(here.ends())
    finally:
        gc.set_threshold(*threshold)


def test_processes_are_introduced_to_the_arena() -> None:
    import json

    channel = Channel[int]("numbers")
    out = channel.writer()
    spawned = Spawn(receives(channel.reader()), receives.with_kind("thread")(channel.reader()))
    until(lambda: channel.info().readers_waiting == 2)
    cards = [json.loads(party["card"] or "{}") for party in _core.parties()]
    kinds = {card["name"]: card["kind"] for card in cards if "receives" in card.get("name", "")}
    assert kinds == {"receives 1": "process", "receives 2": "thread"}
    assert [member.name for member in spawned.members] == sorted(kinds)
    assert "receives 2" in [thread.name for thread in threading.enumerate()]
    cards = [card for card in cards if card.get("name") in kinds]
    assert {tuple(card["ends"][0]) for card in cards} == {(channel.id, "r", "numbers")}
    out.retire()
    spawned.join(SOON)


def test_pictures_before_during_and_after() -> None:
    channel = Channel[int]("numbers")
    out = channel.writer()
    network = Parallel.of(receives(channel.reader()))
    assert "numbers" in str(network.graph())
    assert "numbers" in str(Parallel.graph(receives(channel.reader())))
    spawned = Spawn(network)
    until(lambda: channel.info().readers_waiting == 1)
    assert "numbers" in str(spawned.graph())
    out.retire()
    assert "receives" in str(spawned.join(SOON).graph())
