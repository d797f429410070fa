"""Which threads may yet act, and so keep a deadlock from being one: each is a real one, at its work."""

from __future__ import annotations

import _thread
import logging.handlers
import multiprocessing.resource_sharer
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from dropin.support import SOON, until

from interproc.csp.network import crowd

# Two threads that both send first, and to how many of them it was told.
DEADLOCK = """
from interproc.csp import Channel, Deadlock, Parallel, process

def sends_first(out, inp):
    out.send(1)
    inp.recv()

there, back = Channel("there"), Channel("back")
thread = process(sends_first, kind="thread")
try:
    Parallel(thread(there.writer(), back.reader()), thread(back.writer(), there.reader()))
except* Deadlock as group:
    print("told to", len(group.exceptions))
"""


def told(*command: str) -> str:
    """What a program prints."""
    ran = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=SOON)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@contextmanager
def descriptors_sent() -> Iterator[None]:
    reader, writer = os.pipe()
    sent = multiprocessing.resource_sharer.DupFd(reader)
    os.close(reader)
    yield
    os.close(sent.detach())
    os.close(writer)
    multiprocessing.resource_sharer.stop(SOON)


@contextmanager
def logs() -> Iterator[None]:
    listener = logging.handlers.QueueListener(queue.SimpleQueue())
    listener.start()
    yield
    listener.stop()


@contextmanager
def live() -> Iterator[None]:
    rich_live = pytest.importorskip("rich.live")
    with rich_live.Live(auto_refresh=True, redirect_stdout=False, redirect_stderr=False):
        yield


@contextmanager
def progress() -> Iterator[None]:
    tqdm = pytest.importorskip("tqdm")
    with tqdm.tqdm(range(3)):
        yield
    tqdm.tqdm.monitor.exit()
    tqdm.tqdm.monitor = None


@contextmanager
def idle_executor() -> Iterator[None]:
    with ThreadPoolExecutor(2) as executor:
        assert executor.submit(int).result(SOON) == 0
        yield


@contextmanager
def busy_executor() -> Iterator[None]:
    begun, over = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(lambda: (begun.set(), over.wait(SOON)))
        assert begun.wait(SOON)
        yield
        over.set()


@contextmanager
def executor_with_work_ahead() -> Iterator[None]:
    """Its only worker waits for what comes after."""
    begun, over = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1, initializer=lambda: (begun.set(), over.wait(SOON))) as executor:
        executor.submit(int)
        assert begun.wait(SOON)
        yield
        over.set()


@contextmanager
def ending(thread: threading.Thread, over: Callable[[], object]) -> Iterator[None]:
    thread.daemon = True
    thread.start()
    yield
    over()
    thread.join(SOON)


def somebody() -> AbstractContextManager[None]:
    over = threading.Event()
    return ending(threading.Thread(target=over.wait, args=(SOON,), name="IOPub"), over.set)


def timer() -> AbstractContextManager[None]:
    thread = threading.Timer(SOON, print)
    return ending(thread, thread.cancel)


def derived() -> AbstractContextManager[None]:
    """What a user has derived from a class of the machinery is no machinery."""
    heartbeat = type("Heartbeat", (threading.Thread,), {"__module__": "ipykernel.heartbeat"})

    class Mine(heartbeat):  # type: ignore[misc, valid-type]
        def run(self) -> None:
            over.wait(SOON)

    over = threading.Event()
    return ending(Mine(), over.set)


@contextmanager
def bare() -> Iterator[None]:
    """One that the module threading knows nothing of."""
    begun, over, ended = threading.Event(), threading.Event(), threading.Event()
    _thread.start_new_thread(lambda: (begun.set(), over.wait(SOON), ended.set()), ())
    assert begun.wait(SOON)
    yield
    over.set()
    assert ended.wait(SOON)


@pytest.mark.parametrize("machinery", [descriptors_sent, logs, live, progress, idle_executor])
def test_machinery_does_not_act(machinery: Callable[[], AbstractContextManager[None]]) -> None:
    before = threading.enumerate()
    with machinery():
        assert len(threading.enumerate()) > len(before)
        until(lambda: not crowd.may_act(before))


@pytest.mark.parametrize("who", [somebody, timer, derived, bare, busy_executor, executor_with_work_ahead])
def test_anybody_else_may_act(who: Callable[[], AbstractContextManager[None]]) -> None:
    before = threading.enumerate()
    until(lambda: not crowd.may_act(before))
    with who():
        assert crowd.may_act(before)
    until(lambda: not crowd.may_act(before))


@pytest.mark.parametrize("module", ["multiprocessing", "interproc"])
def test_a_deadlock_is_told_among_threads_of_machinery(module: str) -> None:
    program = f"""
import logging.handlers, queue, threading
from concurrent.futures import ThreadPoolExecutor
import {module}.managers

server = {module}.managers.SyncManager(address=("127.0.0.1", 0), authkey=b"k").get_server()
threading.Thread(target=server.accepter, daemon=True).start()
listener = logging.handlers.QueueListener(queue.SimpleQueue())
listener.start()
pool = ThreadPoolExecutor()
pool.submit(int).result()
print(threading.active_count())
{DEADLOCK}
listener.stop()
"""
    assert told("-c", program) == "4\ntold to 2\n"


def test_a_deadlock_is_told_in_a_notebook() -> None:
    pytest.importorskip("ipykernel")
    client: Any = pytest.importorskip("jupyter_client")
    manager, kernel = client.manager.start_new_kernel(kernel_name="python3")
    said = []

    def hear(message: dict[str, Any]) -> None:
        said.append(message["content"].get("text", ""))

    try:
        kernel.execute_interactive(DEADLOCK, timeout=SOON, output_hook=hear)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "".join(said) == "told to 2\n"


def test_a_deadlock_is_told_under_a_debugger() -> None:
    pytest.importorskip("debugpy")
    assert "told to 2\n" in told("-m", "debugpy", "--listen", "127.0.0.1:0", "-c", DEADLOCK)
