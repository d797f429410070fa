"""Contexts, start methods and the module's face: every name of multiprocessing, and the same meaning."""

from __future__ import annotations

import concurrent.futures
import inspect
import multiprocessing
import multiprocessing.context
import os
import subprocess
import sys
from typing import Any

import pytest

from .support import METHODS, MODULES


def run(code: str) -> str:
    """What a fresh interpreter prints; start methods are global, so they are set in one of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_is_there(mp: Any) -> None:
    missing = [name for name in multiprocessing.__all__ if not hasattr(mp, name)]
    assert not missing
    assert {"Process", "Queue", "Pipe", "Value", "Array", "get_context"} <= set(mp.__all__)


def test_every_context_method_takes_the_same_arguments(mp: Any) -> None:
    """By name and order; more may follow."""
    for method in METHODS:
        ctx, reference = mp.get_context(method), multiprocessing.get_context(method)
        for name in dir(reference):
            if name.startswith("_") or not inspect.ismethod(getattr(reference, name)):
                continue
            wanted = [p.name for p in inspect.signature(getattr(reference, name)).parameters.values()]
            found = [p.name for p in inspect.signature(getattr(ctx, name)).parameters.values()]
            assert found[: len(wanted)] == wanted, name


def test_get_context(mp: Any) -> None:
    for method in METHODS:
        ctx = mp.get_context(method)
        assert isinstance(ctx, multiprocessing.context.BaseContext)
        assert ctx.get_start_method() == method
        assert ctx is mp.get_context(method)
        assert ctx.get_context() is ctx
        assert ctx.get_context(method).get_start_method() == method
        assert ctx.Process._start_method == method
        with pytest.raises(ValueError):
            ctx.set_start_method("spawn" if method != "spawn" else "fork")
    assert len({id(mp.get_context(method)) for method in METHODS}) == 3
    with pytest.raises(ValueError):
        mp.get_context("no such method")
    assert mp.get_all_start_methods() == multiprocessing.get_all_start_methods()
    assert sorted(mp.get_all_start_methods()) == sorted(METHODS)


def test_contexts_lead_to_each_other(mp: Any) -> None:
    ctx = mp.get_context("spawn").get_context("fork")
    assert ctx.get_start_method() == "fork"
    assert type(ctx) is type(mp.get_context("fork"))


def test_exceptions_are_the_standard_ones(mp: Any) -> None:
    for name in ("ProcessError", "BufferTooShort", "TimeoutError", "AuthenticationError"):
        assert getattr(mp, name) is getattr(multiprocessing, name)
        assert getattr(mp.get_context("spawn"), name) is getattr(multiprocessing, name)


def test_small_things(mp: Any) -> None:
    assert mp.cpu_count() == os.cpu_count()
    assert mp.freeze_support() is None
    assert mp.get_logger().name == "multiprocessing"
    assert mp.current_process().authkey == multiprocessing.current_process().authkey


def test_objects_are_made_by_classes_or_functions_of_one_name(ctx: Any) -> None:
    for name in (
        "Lock",
        "RLock",
        "Semaphore",
        "BoundedSemaphore",
        "Condition",
        "Event",
        "Queue",
        "SimpleQueue",
    ):
        made = getattr(ctx, name)()
        assert type(made).__name__ == name


def test_every_argument_can_be_named(mp: Any) -> None:
    """Of the objects' methods, by the names that multiprocessing has."""
    for q in (mp.Queue(maxsize=2), mp.JoinableQueue(maxsize=2)):
        q.put(obj=1, block=True, timeout=None)
        q.put_nowait(obj=2)
        assert [q.get(block=True, timeout=20), q.get(block=True, timeout=20)] == [1, 2]
    q = mp.SimpleQueue()
    q.put(obj=3)
    assert q.get() == 3
    a, b = mp.Pipe(duplex=True)
    a.send(obj=4)
    assert b.poll(timeout=20) and b.recv() == 4
    a.send_bytes(buf=b"12345", offset=1, size=3)
    assert b.recv_bytes(maxlength=3) == b"234"
    a.send_bytes(buf=b"6")
    room = bytearray(2)
    assert b.recv_bytes_into(buf=room, offset=1) == 1 and room == b"\x006"
    assert mp.Value(typecode_or_type="i", lock=True).value == 0
    assert mp.Array(typecode_or_type="i", size_or_initializer=2, lock=True)[:] == [0, 0]
    assert mp.RawValue(typecode_or_type="i").value == 0
    assert mp.RawArray(typecode_or_type="i", size_or_initializer=2)[:] == [0, 0]
    for lock in (mp.Lock(), mp.RLock(), mp.Semaphore(value=1), mp.BoundedSemaphore(value=1)):
        assert lock.acquire(block=True, timeout=20)
        lock.release()
    condition, event = mp.Condition(lock=None), mp.Event()
    with condition:
        assert not condition.wait(timeout=0)
        assert condition.wait_for(predicate=lambda: True, timeout=0)
        condition.notify(n=1)
    assert not event.wait(timeout=0)
    barrier = mp.Barrier(parties=1, action=None, timeout=None)
    assert barrier.wait(timeout=20) == 0
    process = mp.Process(group=None, target=None, name="n", args=(), kwargs={}, daemon=True)
    process.start()
    process.join(timeout=20)
    assert process.exitcode == 0


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("method", METHODS)
def test_set_start_method(module: str, method: str) -> None:
    out = run(
        f"""if 1:
        import {module} as mp
        assert mp.get_start_method(allow_none=True) is None
        mp.set_start_method({method!r})
        assert mp.get_start_method() == {method!r} == mp.get_context().get_start_method()
        try:
            mp.set_start_method("fork")
        except RuntimeError:
            print("already set")
        mp.set_start_method("fork", force=True)
        assert mp.get_start_method() == "fork"
        q = mp.Queue()
        p = mp.Process(target=q.put, args=("from the child",))
        p.start()
        print(q.get(timeout=20))
        p.join()
        """
    )
    assert out.splitlines() == ["already set", "from the child"]


@pytest.mark.parametrize("module", MODULES)
def test_default_start_method(module: str) -> None:
    assert (
        run(f"import {module} as mp; print(mp.get_start_method())")
        == multiprocessing.get_context().get_start_method()
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_script_with_spawn(module: str, tmp_path: Any) -> None:
    """The documented program: a guarded main, run as a file."""
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import {module} as mp

def child(q, conn, value, array):
    q.put([42, None, "hello"])
    conn.send(["from the child", value.value])
    value.value = 3.1415927
    for i in range(len(array)):
        array[i] = -array[i]
    conn.close()

if __name__ == "__main__":
    mp.set_start_method("spawn")
    q, value, array = mp.Queue(), mp.Value("d", 0.0), mp.Array("i", range(10))
    mine, theirs = mp.Pipe()
    p = mp.Process(target=child, args=(q, theirs, value, array))
    p.start()
    print(q.get(), mine.recv())
    p.join()
    print(value.value, array[:], p.exitcode)
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[42, None, 'hello'] ['from the child', 0.0]",
        "3.1415927 [0, -1, -2, -3, -4, -5, -6, -7, -8, -9] 0",
    ]
    assert done.stderr == ""


def test_whatever_takes_a_context_takes_this(ctx: Any) -> None:
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=ctx) as pool:
        assert pool.submit(os.getpid).result(20) != os.getpid()
