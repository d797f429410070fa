"""Nothing is left: memory, descriptors, threads, files and processes are where they were before."""

from __future__ import annotations

import gc
import glob
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from dropin.support import SOON, Crew, until

import interproc as mp
from interproc._core import Arena

from .support import forked, settled, status_of


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def tasks() -> int:
    """Threads, those without Python in them too."""
    return len(os.listdir("/proc/self/task"))


def make_queue() -> Any:
    q = mp.Queue()
    q.put([1, "two", b"x" * 3000])
    return q


def make_used_queue() -> Any:
    q = mp.Queue()
    q.put(b"y" * 100_000)
    q.get(timeout=SOON)
    q.put("left inside")
    return q


def make_pipe() -> Any:
    a, b = mp.Pipe()
    a.send([1, 2, 3])
    return a, b


def make_watched() -> Any:
    """With a descriptor of its own."""
    q = mp.Queue()
    q._reader.fileno()
    a, b = mp.Pipe()
    a.fileno()
    return q, a, b


MAKERS = {
    "Queue": make_queue,
    "Queue that was used": make_used_queue,
    "SimpleQueue": mp.SimpleQueue,
    "JoinableQueue": mp.JoinableQueue,
    "Pipe": make_pipe,
    "with fileno": make_watched,
    "Value": lambda: mp.Value("d", 1.5),
    "Array": lambda: mp.Array("i", range(1000)),
    "RawArray": lambda: mp.RawArray("c", b"text"),
    "Lock": mp.Lock,
    "RLock": mp.RLock,
    "Semaphore": lambda: mp.Semaphore(3),
    "Condition": mp.Condition,
    "Event": mp.Event,
    "Barrier": lambda: mp.Barrier(2),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_thousand_made_and_dropped(arena: Arena, name: str) -> None:
    make, count = MAKERS[name], 100 if name == "with fileno" else 1000
    make()
    gc.collect()
    used, objects, fds, threads = arena.used, len(arena.objects()), descriptors(), tasks()
    committed = arena.committed
    for _ in range(count):
        make()
    gc.collect()
    assert arena.used == used
    assert len(arena.objects()) == objects
    assert arena.committed <= committed + (4 << 20)
    assert descriptors() == fds
    until(lambda: tasks() == threads, "the threads have ended", 10)


@pytest.mark.parametrize("name", ["Queue", "Pipe", "Value", "Condition"])
def test_a_thousand_at_once(arena: Arena, name: str) -> None:
    make = MAKERS[name]
    make()
    gc.collect()
    used, objects, fds, threads = arena.used, len(arena.objects()), descriptors(), tasks()
    kept = [make() for _ in range(1000)]
    assert arena.used > used
    assert descriptors() == fds and tasks() == threads  # they have none of their own
    random.Random(1).shuffle(kept)
    while kept:
        kept.pop()
    gc.collect()
    assert arena.used == used
    assert len(arena.objects()) == objects


def test_an_empty_queue_is_small(arena: Arena) -> None:
    used = arena.used
    kept = [mp.Queue() for _ in range(100)]
    assert (arena.used - used) / 100 <= 8192
    del kept


def test_memory_returns_after_a_backlog(arena: Arena) -> None:
    """200 MB are queued and drained; the memory goes back to the system, but for what stays warm."""
    used, committed = arena.used, arena.committed
    q = mp.Queue()
    for size, count in ((1 << 20, 100), (1000, 100_000)):
        for number in range(count):
            q.put((number, b"x" * size))
        assert arena.used - used > 90_000_000
        for number in range(count):
            assert q.get(timeout=SOON)[0] == number
        assert arena.used - used <= 1 << 20
        assert arena.committed - committed <= 80 << 20
    blocks = os.fstat(arena.fd).st_blocks * 512  # what the system says
    assert blocks <= arena.committed + (16 << 20)
    del q
    gc.collect()
    assert arena.used == used


def test_messages_left_inside_are_freed(arena: Arena) -> None:
    used = arena.used
    q = mp.Queue()
    for _ in range(50):
        q.put(bytearray(1_000_000))
    assert arena.used - used > 50_000_000
    q.close()
    del q
    gc.collect()
    assert arena.used == used


def test_children_leave_nothing(arena: Arena, crew: Crew) -> None:
    used, members, fds = arena.used, len(arena.members()), descriptors()
    for _ in range(20):
        q = mp.Queue()
        crew.start(use_and_leave, q)
        assert q.get(timeout=SOON) == "hello"
        crew.join()
        crew.members.clear()
    del q
    settled(arena, used)
    assert len(arena.members()) == members
    gc.collect()
    assert descriptors() == fds


def use_and_leave(q: Any) -> None:
    mine = [mp.Queue(), mp.Value("i", 1), mp.Pipe(), mp.Condition()]
    mine[0].put(b"x" * 200_000)
    q.put("hello")


@pytest.mark.parametrize("after", [0.0, 0.0005, 0.002], ids=lambda s: f"{s * 1000:g}ms")
def test_killed_right_after_a_bare_fork(arena: Arena, after: float) -> None:
    q = mp.Queue()
    used, members, fds = arena.used, len(arena.members()), descriptors()
    for _ in range(30):
        pid = forked(signal.pause)
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
        assert status_of(pid) == -signal.SIGKILL
    settled(arena, used)
    assert len(arena.members()) == members
    assert descriptors() == fds
    q.put(1)
    assert q.get(timeout=SOON) == 1


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_killed_right_after_start(arena: Arena, method: str) -> None:
    """At any point of its way in: before it attaches, while it does, after it did."""
    dice = random.Random(method)
    ctx = mp.get_context(method)
    q = ctx.Queue()
    warm_up = Crew(ctx)
    warm_up.start(use_and_leave, q)
    assert q.get(timeout=SOON) == "hello"
    warm_up.join()
    settled(arena, arena.used)
    used, members, fds = arena.used, len(arena.members()), descriptors()
    for _ in range(10):
        process = ctx.Process(target=use_and_leave, args=(q,))
        process.start()
        time.sleep(dice.random() * (0.004 if method == "fork" else 0.15))
        process.kill()
        process.join(SOON)
        process.close()
    while not q.empty():
        assert q.get(timeout=SOON) == "hello"
    settled(arena, used)
    until(lambda: arena.reap() >= 0 and len(arena.members()) == members, "the dead are buried", 10)
    gc.collect()
    assert descriptors() == fds


def test_the_dead_are_reaped(arena: Arena) -> None:
    members, used = len(arena.members()), arena.used
    ready = mp.Semaphore(0)

    def live(ready: Any = ready) -> None:
        q = mp.Queue()
        q.put(b"x" * 1_000_000)
        ready.release()
        signal.pause()

    kept = arena.used
    pids = [forked(live) for _ in range(5)]
    for _ in pids:
        assert ready.acquire(timeout=SOON)
    assert len(arena.members()) == members + 5
    assert {info["pid"] for info in arena.members()} >= {os.getpid(), *pids}
    assert arena.used - kept > 5_000_000
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        status_of(pid)
    settled(arena, kept)
    assert len(arena.members()) == members
    assert arena.reap() == 0
    del ready, live
    gc.collect()
    assert arena.used == used


def test_more_members_than_there_is_room_for() -> None:
    """Each reserved place counts; the table is of a fixed size, and says so when it is full."""
    import resource

    arena = Arena.create(limit=64 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    places: list[tuple[int, int]] = []
    try:
        with pytest.raises(Exception, match="member|process") as caught:
            while len(places) < 5000:
                places.append(arena.reserve())
        assert len(places) >= 1000
        assert "Too many open files" not in str(caught.value)
        assert any(char.isdigit() for char in str(caught.value)), "the message says how many"
        os.close(places.pop()[0])  # a child that will not come
        until(lambda: arena.reap() >= 0 and _reserve(arena, places), "a place is free again", 10)
    finally:
        for fd, _ in places:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    arena.reap()
    assert len(arena.members()) == 1


def _reserve(arena: Arena, places: list[tuple[int, int]]) -> bool:
    try:
        places.append(arena.reserve())
    except Exception:
        return False
    return True


TREE = """
import os, signal, sys, time
import interproc as mp
from interproc._core import Arena

def child(q, depth):
    q.put(os.getpid())
    own = mp.Queue(name=sys.argv[1]) if len(sys.argv) > 1 else mp.Queue()
    if depth:
        mp.get_context("fork").Process(target=child, args=(q, depth - 1)).start()
    own.put(b"x" * 1_000_000)
    lock.acquire(timeout=0.01)
    mp.Queue().get()

if __name__ == "__main__":
    q, lock = mp.Queue(), mp.Lock()
    for method in ("fork", "fork"):
        mp.get_context(method).Process(target=child, args=(q, 1)).start()
    pids = [q.get(timeout=20) for _ in range(4)]
    print(*pids, flush=True)
    mp.Queue().get()
"""


def test_killing_the_whole_tree_leaves_nothing(tmp_path: Path) -> None:
    def things() -> set[str]:
        places = (
            "/dev/shm/*",
            f"{tmp_path}/**/*",
            "/tmp/interproc*",
            "/run/user/*/interproc*",
            "/dev/mqueue/*",
        )
        return {name for place in places for name in glob.glob(place, recursive=True) if os.path.exists(name)}

    before = things()
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    root = subprocess.Popen(
        [sys.executable, "-c", TREE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,
    )
    try:
        assert root.stdout is not None and root.stderr is not None
        pids = [int(word) for word in root.stdout.readline().split()]
        assert len(pids) == 4, root.stderr.read().decode() if root.poll() is not None else "no answer"
    finally:
        os.killpg(root.pid, signal.SIGKILL)  # the session that was made just above, and nobody else
        root.wait(SOON)
    until(
        lambda: not any(os.path.exists(f"/proc/{pid}") and not _zombie(pid) for pid in pids),
        "all are dead",
        10,
    )
    assert things() - before == set()
    assert root.stderr.read() == b""
    for stream in (root.stdout, root.stderr):
        stream.close()


def _zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_threads_that_end_leave_nothing(arena: Arena) -> None:
    q, lock = mp.Queue(), mp.RLock()
    used = arena.used

    def work() -> None:
        q.put(1)
        with lock:
            q.get(timeout=SOON)

    for _ in range(5):
        threads = [threading.Thread(target=work) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
    assert q.empty()
    gc.collect()
    assert arena.used <= used + 16384
