"""context.py and the face: how children come to their parent's arena and leave it; what is exported."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import context as mpc
from pathlib import Path
from typing import Any

import pytest
from dropin.support import METHODS, SOON, Crew, default_method, until

import interproc
from interproc import _core, locks, shared
from interproc.context import DefaultContext, Process

SPAWNING = ("spawn", "forkserver")


@pytest.fixture(params=METHODS)
def ctx(request: pytest.FixtureRequest) -> Any:
    """Each context."""
    return interproc.get_context(request.param)


@pytest.fixture
def crew(ctx: Any) -> Iterator[Crew]:
    """Children of each start method."""
    crew = Crew(ctx)
    yield crew
    crew.end()


def python(*args: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=SOON)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def script(folder: Path, code: str, *args: str) -> str:
    """What a program prints, whose children can import its main module."""
    (folder / "script.py").write_text(code)
    return python(str(folder / "script.py"), *args)


# What children run.


def tell_arena(box: Any) -> None:
    box.value = _core.Arena.default().uid.encode()


def tell_arena_of_grandchild(method: str, box: Any) -> None:
    crew = Crew(interproc.get_context(method))
    try:
        crew.join(crew.start(tell_arena, box))
    finally:
        crew.end()


def use_after_the_end(value: Any) -> None:
    def late() -> None:
        threading.main_thread().join(0.1)
        value.add(1)

    threading.Thread(target=late).start()


def exit_at_once(_: Any) -> None:
    os._exit(0)


def nothing(*_: Any) -> None:
    pass


class Worker(Process):
    """A process with state and pickling of its own."""

    def __init__(self, value: Any, amount: int) -> None:
        super().__init__()
        self.value, self.amount, self.lost = value, amount, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: item for key, item in self.__dict__.items() if key != "lost"}

    def run(self) -> None:
        self.value.add(self.amount)


# The arena's hand-over.


def test_a_child_is_in_its_parents_arena(crew: Crew) -> None:
    box = shared.Array("c", 100)
    crew.join(crew.start(tell_arena, box))
    assert box.value.decode() == _core.Arena.default().uid


@pytest.mark.parametrize("method", METHODS)
def test_so_is_a_grandchild(crew: Crew, method: str) -> None:
    if (crew.ctx.get_start_method(), method) == ("fork", "forkserver"):
        pytest.skip(
            "a forked child cannot use the fork server of its parent: multiprocessing waits for a sibling"
        )
    box = shared.Array("c", 100)
    crew.join(crew.start(tell_arena_of_grandchild, method, box))
    assert box.value.decode() == _core.Arena.default().uid


@pytest.mark.parametrize("method", METHODS)
def test_a_child_of_a_process_that_had_no_arena_yet(method: str, tmp_path: Path) -> None:
    printed = script(
        tmp_path,
        "import interproc, sys\n"
        "def tell(): print(interproc.Arena.default().uid, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    process = interproc.get_context(sys.argv[1]).Process(target=tell)\n"
        "    process.start()\n"
        "    process.join()\n"
        "    tell()\n",
        method,
    )
    childs, parents = printed.split()
    assert childs == parents


@pytest.mark.parametrize("method", METHODS)
def test_a_process_with_pickling_of_its_own(method: str) -> None:
    value = shared.Value("i", 0)
    with default_method(method):
        worker = Worker(value, 5)
        worker.start()
        worker.join(SOON)
    assert worker.exitcode == 0
    assert value.value == 5


def descriptors() -> set[str]:
    """The open descriptors of this process, by number and what they are."""
    gc.collect()  # launchers of processes that other tests have dropped
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists the folder
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return found


@pytest.mark.parametrize("method", SPAWNING)
def test_a_launch_leaves_no_descriptor_open(method: str) -> None:
    crew = Crew(interproc.get_context(method))
    value = shared.Value("i", 0)
    crew.join(crew.start(nothing, value))  # what is made once is made now: tracker, fork server
    crew.members.clear()
    before = descriptors()
    process = crew.start(nothing, value)
    assert all(
        "pipe:" in kept or "socket:" in kept for kept in descriptors() - before
    )  # the standard library's
    crew.join(process)
    process.close()
    assert descriptors() <= before


@pytest.mark.parametrize("method", SPAWNING)
def test_nor_does_a_launch_that_fails(method: str) -> None:
    ctx = interproc.get_context(method)
    value = shared.Value("i", 0)
    crew = Crew(ctx)
    crew.join(crew.start(nothing, value))
    crew.members.clear()
    before = descriptors()
    members = len(_core.Arena.default().members())
    for _ in range(3):
        process = ctx.Process(target=nothing, args=(value, lambda: None))  # cannot be pickled
        with pytest.raises((pickle.PicklingError, AttributeError)):
            process.start()
        del process
    assert descriptors() <= before
    _core.Arena.default().reap()
    assert len(_core.Arena.default().members()) <= members


def test_a_launch_whose_program_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing import spawn

    monkeypatch.setattr(spawn, "_python_exe", b"/nonexistent/python")
    value = shared.Value("i", 0)
    process = interproc.get_context("spawn").Process(target=nothing, args=(value,))
    members = _core.Arena.default().members
    try:
        process.start()
    except OSError:
        pass
    else:
        process.join(SOON)
        assert process.exitcode not in (None, 0)
    pid = process.pid
    until(lambda: _core.Arena.default().reap() >= 0 and pid not in [member["pid"] for member in members()])


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_target_need_not_be_importable(method: str) -> None:
    """multiprocessing's spawn refuses lambdas and inner functions; what they refer to travels with them."""
    ctx = interproc.get_context(method)
    answers = ctx.Queue()
    factor = 7

    def inner(n: int) -> None:
        answers.put(n * factor)

    for target, args in ((inner, (6,)), (lambda: answers.put("lambda"), ())):
        process = ctx.Process(target=target, args=args)
        process.start()
        assert answers.get(timeout=SOON) in (42, "lambda")
        process.join(SOON)
        assert process.exitcode == 0


# Leaving.


def pids() -> list[int]:
    return [member["pid"] for member in _core.Arena.default().members()]


def test_a_child_lets_go_of_queues_and_pipes_at_its_end(crew: Crew) -> None:
    """Others need not look whether it lives: it clears its bits itself; memory stays until it is buried."""
    kept, given = interproc.Pipe()
    child = crew.start(nothing, given)
    given.close()
    crew.join(child)
    (pipe,) = [o for o in _core.Arena.default().objects() if o["id"] == kept.id]
    assert pipe["holders"] == [1, 0]


def test_a_child_that_ends_abruptly_is_found_dead(crew: Crew) -> None:
    child = crew.start(exit_at_once, shared.Value("i", 0))
    crew.join(child)
    _core.Arena.default().reap()
    assert child.pid not in pids()


def test_threads_that_a_child_waits_for_may_still_use_the_objects(crew: Crew) -> None:
    value = shared.Value("i", 0)
    crew.join(crew.start(use_after_the_end, value))
    assert value.value == 1


def test_the_main_process_can_use_the_objects_in_its_own_finalizers() -> None:
    code = """
import atexit, interproc
value = interproc.Value("i", 1)
atexit.register(lambda: print("at exit", value.add(1)))
class Held:
    def __del__(self): print("finalized")
value.held = Held()
"""
    assert python("-c", code).splitlines() == ["at exit 1", "finalized"]


# Contexts.


def test_the_contexts_are_multiprocessings(ctx: Any) -> None:
    assert isinstance(ctx, mpc.BaseContext)
    assert isinstance(ctx, type(multiprocessing.get_context(ctx.get_start_method())))
    assert ctx.get_context() is ctx
    assert interproc.get_context(ctx.get_start_method()) is ctx
    assert issubclass(ctx.Process, type(multiprocessing.get_context(ctx.get_start_method())).Process)
    assert issubclass(interproc.Process, multiprocessing.Process)
    with pytest.raises(ValueError, match="concrete"):
        ctx.set_start_method("fork")


def test_objects_of_a_context_are_ours(ctx: Any) -> None:
    for made, home in [
        (ctx.Lock(), locks.Lock), (ctx.RLock(), locks.RLock), (ctx.Semaphore(2), locks.Semaphore),
        (ctx.BoundedSemaphore(2), locks.BoundedSemaphore), (ctx.Condition(), locks.Condition),
        (ctx.Event(), locks.Event), (ctx.Barrier(2), locks.Barrier),
        (ctx.Value("i", 1), shared.Synchronized), (ctx.Array("i", 1), shared.SynchronizedArray),
    ]:  # fmt: skip
        assert isinstance(made, home)


def test_the_default_start_method_is_settled_once() -> None:
    default = DefaultContext()
    assert default.get_start_method(allow_none=True) is None
    with pytest.raises(ValueError, match="'teleport'"):
        default.set_start_method("teleport")
    default.set_start_method("spawn")
    assert default.get_context() is interproc.get_context("spawn")
    with pytest.raises(RuntimeError, match="already been set"):
        default.set_start_method("fork")
    default.set_start_method("fork", force=True)
    assert default.get_start_method() == "fork"
    default.set_start_method(None, force=True)
    assert default.get_start_method(allow_none=True) is None
    assert default.get_start_method() == multiprocessing.get_all_start_methods()[0]


@pytest.mark.parametrize("method", SPAWNING)
def test_a_child_has_its_parents_default_start_method(method: str, tmp_path: Path) -> None:
    printed = script(
        tmp_path,
        "import interproc, sys\n"
        "def child(): print(interproc.get_start_method(), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    interproc.set_start_method(sys.argv[1])\n"
        "    process = interproc.Process(target=child)\n"
        "    process.start()\n"
        "    process.join()\n",
        method,
    )
    assert printed == method


# The face.


def test_all_of_multiprocessings_names_are_exported() -> None:
    assert set(multiprocessing.__all__) <= set(interproc.__all__)
    names: dict[str, Any] = {}
    exec("from interproc import *", names)
    assert set(interproc.__all__) <= set(names)


def test_names_are_bound_when_they_are_asked_for() -> None:
    code = """
import sys, interproc
late = ("interproc.shared", "interproc.locks", "ctypes", "multiprocessing.pool")
print([name for name in late if name in sys.modules])
for name in dir(interproc): getattr(interproc, name)
interproc.Value, interproc.Lock
print("interproc.shared" in sys.modules)
"""
    assert python("-c", code).splitlines() == ["[]", "True"]


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Quue'"):
        interproc.Quue  # noqa: B018


def test_modules_that_are_multiprocessings() -> None:
    import multiprocessing.managers
    import multiprocessing.pool
    import multiprocessing.shared_memory

    import interproc.pool
    import interproc.shared_memory
    import interproc.sharedctypes
    import interproc.synchronize
    from interproc.shared_memory import SharedMemory

    assert interproc.shared_memory is multiprocessing.shared_memory
    assert SharedMemory is multiprocessing.shared_memory.SharedMemory
    assert interproc.pool is multiprocessing.pool
    assert interproc.sharedctypes is shared
    assert interproc.synchronize is locks
    assert interproc.util is multiprocessing.util


def test_the_classes_are_the_names() -> None:
    assert isinstance(interproc.Lock(), interproc.Lock)
    assert isinstance(interproc.Event(), interproc.Event)
    assert interproc.Barrier(2).parties == 2
