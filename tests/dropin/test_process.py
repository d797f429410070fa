"""Process as multiprocessing defines it: names, exit codes, daemons, what children see of themselves."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from typing import Any

import pytest

from .support import NEVER, SOON, Crew


def do_nothing() -> None:
    pass


def wait_for(event: Any) -> None:
    event.wait(SOON)


def leave(how: Any) -> None:
    sys.exit(how)


def leave_at_once(code: int) -> None:
    os._exit(code)


def fail() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # no traceback in the output of the tests
    raise RuntimeError("on purpose")


def describe(q: Any, *args: Any, **keywords: Any) -> None:
    import multiprocessing as standard

    me = standard.current_process()
    parent = standard.parent_process()
    assert parent is not None
    q.put((me.name, me.pid, me.daemon, parent.pid, args, keywords))


def name_by(module: str, q: Any) -> None:
    """What the module under test says of this process."""
    import importlib

    mp = importlib.import_module(module)
    parent = mp.parent_process()
    q.put((mp.current_process().name, parent.pid, parent.is_alive(), mp.active_children()))


def start_a_grandchild(ctx: Any, q: Any) -> None:
    child = ctx.Process(target=describe, args=(q, "grandchild"))
    child.start()
    child.join(SOON)
    q.put(child.exitcode)


def use_all(
    q: Any, simple: Any, conn: Any, value: Any, array: Any, lock: Any, semaphore: Any, event: Any
) -> None:
    q.put("queue")
    simple.put("simple")
    conn.send("connection")
    with lock:
        value.value += 1
    with array.get_lock():
        array[1] = 11
    semaphore.release()
    event.set()


def test_life(ctx: Any) -> None:
    event = ctx.Event()
    process = ctx.Process(target=wait_for, args=(event,))
    assert (process.pid, process.ident, process.exitcode, process.is_alive()) == (None, None, None, False)
    with pytest.raises((ValueError, AssertionError)):
        _ = process.sentinel
    with pytest.raises(AssertionError):
        process.join()
    process.start()
    assert process.is_alive() and process.exitcode is None
    assert isinstance(process.pid, int) and process.pid == process.ident != os.getpid()
    assert process in multiprocessing.active_children()
    with pytest.raises(AssertionError):
        process.start()
    process.join(NEVER)
    assert process.is_alive()
    event.set()
    process.join(SOON)
    assert (process.is_alive(), process.exitcode) == (False, 0)
    process.join()
    assert process not in multiprocessing.active_children()
    process.close()
    for call in (process.is_alive, process.join, lambda: process.exitcode, lambda: process.pid):
        with pytest.raises(ValueError):
            call()


def test_closing_a_running_process(mp: Any, crew: Crew) -> None:
    event = mp.Event()
    process = crew.start(wait_for, event)
    with pytest.raises(ValueError):
        process.close()
    event.set()
    crew.join()


@pytest.mark.parametrize(
    ("target", "args", "code"),
    [
        (do_nothing, (), 0),
        (leave, (None,), 0),
        (leave, (0,), 0),
        (leave, (7,), 7),
        (leave_at_once, (9,), 9),
        (fail, (), 1),
    ],
    ids=["returns", "exit None", "exit 0", "exit 7", "_exit 9", "raises"],
)
def test_exit_codes(ctx: Any, crew: Crew, target: Any, args: tuple[Any, ...], code: int) -> None:
    crew.join(crew.start(target, *args), exitcode=code)


@pytest.mark.parametrize(("how", "number"), [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)])
def test_terminate_and_kill(ctx: Any, crew: Crew, how: str, number: int) -> None:
    process = crew.start(wait_for, ctx.Event())
    getattr(process, how)()
    crew.join(exitcode=-number)


def test_names_and_arguments(ctx: Any, crew: Crew) -> None:
    q = ctx.Queue()
    process = ctx.Process(
        target=describe, args=(q, 1, "two"), kwargs={"three": [3]}, name="Named", daemon=True
    )
    crew.members.append(process)
    assert (process.name, process.daemon) == ("Named", True)
    process.start()
    with pytest.raises(AssertionError):
        process.daemon = False
    assert q.get(timeout=SOON) == ("Named", process.pid, True, os.getpid(), (1, "two"), {"three": [3]})
    crew.join()


def test_default_names(mp: Any) -> None:
    first, second = mp.Process(target=do_nothing), mp.Process(target=do_nothing)
    assert first.name != second.name and first.name.startswith("Process-")
    first.name = "renamed"
    assert first.name == "renamed" and "renamed" in repr(first)
    assert not first.daemon
    first.daemon = True
    assert first.daemon


def test_what_a_child_sees(mp: Any, crew: Crew) -> None:
    q = mp.Queue()
    crew.start(name_by, mp.__name__, q, name="Looker")
    assert q.get(timeout=SOON) == ("Looker", os.getpid(), True, [])
    crew.join()
    assert mp.current_process().name == "MainProcess"
    assert mp.parent_process() is None
    assert mp.current_process() is multiprocessing.current_process()


def test_active_children(mp: Any, crew: Crew) -> None:
    event = mp.Event()
    before = set(mp.active_children())
    children = {crew.start(wait_for, event) for _ in range(3)}
    assert set(mp.active_children()) - before == children
    event.set()
    crew.join()
    assert set(mp.active_children()) - before == set()


def test_a_subclass_with_run(mp: Any, crew: Crew) -> None:
    class Doubler(mp.Process):  # type: ignore[misc, name-defined]
        def __init__(self, number: int, q: Any) -> None:
            super().__init__()
            self.number, self.q = number, q

        def run(self) -> None:
            self.q.put(2 * self.number)

    q = mp.Queue()
    process = Doubler(21, q)
    crew.members.append(process)
    process.start()
    assert q.get(timeout=SOON) == 42
    crew.join()


def test_a_daemon_may_not_have_children(mp: Any, crew: Crew) -> None:
    crew.start(expect_no_children, mp.__name__, daemon=True)
    crew.join()


def expect_no_children(module: str) -> None:
    import importlib

    child = importlib.import_module(module).Process(target=do_nothing)
    try:
        child.start()
    except AssertionError:
        return
    raise RuntimeError("a daemonic process started a child")


def test_grandchildren(ctx: Any, crew: Crew) -> None:
    q = ctx.Queue()
    child = crew.start(start_a_grandchild, ctx, q)
    _, pid, _, parent, args, _ = q.get(timeout=SOON)
    assert parent == child.pid != pid and args == ("grandchild",)
    assert q.get(timeout=SOON) == 0
    crew.join()


def test_every_kind_of_object_as_an_argument(ctx: Any, crew: Crew) -> None:
    q, simple, lock, semaphore, event = (
        ctx.Queue(),
        ctx.SimpleQueue(),
        ctx.RLock(),
        ctx.Semaphore(0),
        ctx.Event(),
    )
    value, array = ctx.Value("i", 5), ctx.Array("i", 3)
    mine, theirs = ctx.Pipe()
    crew.start(use_all, q, simple, theirs, value, array, lock, semaphore, event)
    assert q.get(timeout=SOON) == "queue"
    assert simple.get() == "simple"
    assert mine.recv() == "connection"
    assert event.wait(SOON)
    assert semaphore.acquire(timeout=SOON)
    crew.join()
    assert (value.value, array[:]) == (6, [0, 11, 0])


def test_many_children_one_after_another(mp: Any, crew: Crew) -> None:
    q = mp.Queue()
    for number in range(40):
        child = crew.start(put_number, q, number)
        assert q.get(timeout=SOON) == number
        crew.join(child)


def put_number(q: Any, number: int) -> None:
    q.put(number)


def test_is_alive_only_in_the_parent(mp: Any, crew: Crew) -> None:
    q, event = mp.Queue(), mp.Event()
    crew.start(wait_for, event)
    sibling = crew.members[0]
    crew.start(ask_about, sibling, q)
    assert q.get(timeout=SOON) == "AssertionError"
    event.set()
    crew.join()


def ask_about(process: Any, q: Any) -> None:
    try:
        process.is_alive()
    except AssertionError:
        q.put("AssertionError")
    else:
        q.put("answered")
