"""A flipped byte anywhere in the arena: ArenaCorrupted or a right answer; no crash, no hang, no wrong answer.

A child flips one byte of the arena's file, uses every kind of object, and puts all bytes back as they were,
many times over, in a random order that is always the same. It tells through a plain pipe where it is, so
that a crash or a hang is known by the byte that caused it; another child then goes on behind it.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import queue
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from interproc._core import Arena, Memory, Mutex, Number, Semaphore
from interproc.connection import Pipe
from interproc.errors import ArenaCorrupted, InterprocError
from interproc.queues import JoinableQueue, Queue

from .support import forked, status_of

SECONDS = 25.0  # for each test
LEAST = 1500  # flips that have to be done within them
HANG = 15.0  # seconds without a word from the child: it hangs
TIMEOUT = 2.0  # seconds: of the operations themselves
PAGE = 4096

Verdict = tuple[bool, list[tuple[str, str]]]
Operation = tuple[str, Callable[[], Any], Any]  # the object, what is done, the right answer


class World:
    """One object of each kind, with something in each."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.items: list[Any] = [
            (1, "hello", None),
            b"x" * 700,
            "s" * 5000,
            [1, [2, {"k": 3}]],
            b"y" * 60_000,
            2**70,
        ]
        self.q = Queue(arena=arena)
        self.q.put_many(self.items)
        self.carrier = Queue(arena=arena)
        inner = Queue(arena=arena)
        inner.put("inside")
        self.carrier.put(inner)
        inner.close()
        self.bounded = JoinableQueue(3, arena=arena)
        self.bounded.put("one")
        self.a, self.b = Pipe(arena=arena)
        self.a.send({"by": "pipe"})
        self.a.send_bytes(b"z" * 30_000)
        self.number = Number("q", 0x0102030405060708, arena=arena)
        self.memory = Memory(64, arena=arena)
        memoryview(self.memory)[:] = bytes(range(64))
        self.lock = Mutex(False, arena=arena)
        self.rlock = Mutex(True, arena=arena)
        self.semaphore = Semaphore(2, arena=arena)
        self.idle = Queue(arena=arena)
        used = Queue(arena=arena)  # some free blocks in the heap
        for _ in range(3):
            used.put(b"w" * 40_000)
        del used
        gc.collect()

    def operations(self) -> Iterator[Operation]:
        q, wait = self.q, TIMEOUT
        yield "q", q.qsize, len(self.items)
        for item in self.items[:4]:
            yield "q", lambda: q.get(timeout=wait), item
        yield "q", lambda: q.get_many(10, timeout=wait), self.items[4:]
        yield "q", q.empty, True
        yield "q", lambda: (q.put("new", timeout=wait), q.put(b"n" * 50_000, timeout=wait)), (None, None)
        yield "q", lambda: [q.get(timeout=wait), q.get(timeout=wait)], ["new", b"n" * 50_000]
        yield "idle", lambda: (self.idle.qsize(), self.idle.empty()), (0, True)
        yield "idle", lambda: self.refused(lambda: self.idle.get(block=False)), "Empty"
        yield "carrier", lambda: self.carrier.get(timeout=wait).get(timeout=wait), "inside"
        yield "bounded", lambda: [self.bounded.put(n, timeout=wait) for n in (2, 3)], [None, None]
        yield "bounded", lambda: self.refused(lambda: self.bounded.put(4, block=False)), "Full"
        yield "bounded", lambda: [self.bounded.get(timeout=wait) for _ in range(3)], ["one", 2, 3]
        yield "bounded", lambda: [self.bounded.task_done() for _ in range(3)], [None] * 3
        yield "bounded", lambda: self.bounded.join(wait) in (None, True), True
        yield "pipe", lambda: self.b.poll(wait) and self.b.recv(), {"by": "pipe"}
        yield "pipe", lambda: self.b.poll(wait) and self.b.recv_bytes(), b"z" * 30_000
        yield "pipe", lambda: self.b.send((1, 2)), None
        yield "pipe", lambda: self.a.poll(wait) and self.a.recv(), (1, 2)
        yield "number", lambda: self.few_flips(self.number.value, 0x0102030405060708), True
        yield "number", lambda: self.few_flips(self.number.add(1), 0x0102030405060708), True
        yield (
            "memory",
            lambda: sum(x != y for x, y in zip(bytes(self.memory), range(64), strict=True)) <= 1,
            True,
        )
        yield "memory", lambda: self.locking(self.memory), True
        yield "lock", lambda: self.locking(self.lock), True
        yield "rlock", lambda: self.locking(self.rlock), True
        yield "semaphore", self.semaphore.get_value, 2
        yield "semaphore", lambda: self.locking(self.semaphore), True
        yield "handles", lambda: pickle.loads(pickle.dumps(self.idle)).qsize(), 0
        yield "new", self.make, ["fresh", b"f" * 20_000]
        yield "arena", lambda: len(self.arena.objects()) >= 10, True
        yield "arena", lambda: len(self.arena.members()) >= 2, True
        yield "arena", lambda: self.arena.reap(), 0

    @staticmethod
    def few_flips(value: int, right: int) -> bool:
        """The bytes of a number are the user's own; one that is flipped is a value like any other."""
        return (
            sum(
                x != y
                for x, y in zip(
                    value.to_bytes(8, "little", signed=True), right.to_bytes(8, "little"), strict=True
                )
            )
            <= 1
        )

    @staticmethod
    def refused(call: Callable[[], Any]) -> str:
        try:
            return repr(call())
        except (queue.Empty, queue.Full) as error:
            return type(error).__name__

    @staticmethod
    def locking(lock: Any) -> bool:
        taken = lock.acquire(True, TIMEOUT)
        if taken:
            lock.release()
        return bool(taken)

    def make(self) -> list[Any]:
        fresh = Queue(arena=self.arena)
        fresh.put("fresh")
        fresh.put(b"f" * 20_000)
        got = [fresh.get(timeout=TIMEOUT), fresh.get(timeout=TIMEOUT)]
        fresh.close()
        return got


class Picture:
    """All bytes of the arena's file, and the way back to them."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.pages = {page: os.pread(fd, PAGE, page) for page in self.written()}

    def written(self) -> Iterator[int]:
        """Offsets of the pages that have data."""
        end = 0
        size = os.fstat(self.fd).st_size
        while end < size:
            try:
                start = os.lseek(self.fd, end, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(self.fd, start, os.SEEK_HOLE)
            yield from range(start - start % PAGE, end, PAGE)

    def restore(self) -> None:
        for page in self.written():
            right = self.pages.get(page, bytes(PAGE))
            if os.pread(self.fd, PAGE, page) != right:
                os.pwrite(self.fd, right, page)

    def targets(self, dice: random.Random) -> list[int]:
        """Offsets to flip: those with something in them first and most, in a random order."""
        full = [page + i for page, data in self.pages.items() for i in range(PAGE) if data[i]]
        empty = [page + i for page, data in self.pages.items() for i in range(PAGE) if not data[i]]
        # Message contents are many bytes of few kinds: a part of them is enough.
        filler = {ord(c) for c in "xsyzwn"}
        dice.shuffle(full)
        dice.shuffle(empty)
        telling = [at for at in full if self.pages[at - at % PAGE][at % PAGE] not in filler]
        plain = [at for at in full if self.pages[at - at % PAGE][at % PAGE] in filler]
        mixed: list[int] = []
        while telling or plain or empty:
            for source, count in ((telling, 6), (plain, 1), (empty, 3)):
                for _ in range(min(count, len(source))):
                    mixed.append(source.pop())
        return mixed


def judge(world: World, strict: bool = True) -> Verdict:
    """Do all operations; whether damage was noticed, and what is neither right nor ArenaCorrupted.

    Of an object that has raised ArenaCorrupted no right answer is asked any more.
    """
    wrong: list[tuple[str, str]] = []
    damaged: set[str] = set()
    for number, (name, operation, right) in enumerate(world.operations()):
        try:
            answer = operation()
        except ArenaCorrupted:
            damaged.add(name)
        except InterprocError as error:
            if strict and name not in damaged:
                wrong.append((f"{number} {name}", f"{type(error).__name__}: {error}"))
            damaged.add(name)
        except BaseException as error:
            if name not in damaged:
                wrong.append((f"{number} {name}", f"{type(error).__name__}: {error}"))
            damaged.add(name)
        else:
            if answer != right and name not in damaged:
                wrong.append((f"{number} {name}", f"answered {answer!r:.100}"))
                damaged.add(name)
    return bool(damaged), wrong


def flip(fd: int, at: int, dice: random.Random) -> str:
    (old,) = os.pread(fd, 1, at)
    new = old ^ dice.randrange(1, 256)
    os.pwrite(fd, bytes([new]), at)
    return f"offset {at:#x}: {old:#04x} -> {new:#04x}"


def use_in_this_process(world: World) -> Verdict:
    return judge(world)


def use_in_a_forked_process(world: World) -> Verdict:
    """The damage is there already when a new member joins."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            noticed, wrong = judge(world, strict=False)
            os.write(writer, json.dumps([noticed, wrong[:5]]).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read()
    code = status_of(pid)
    if code:
        return False, [("fork", f"the child ended with {code}")]
    noticed, wrong = json.loads(text)
    return noticed, wrong


def flip_on(
    world: World, use: Any, picture: Picture, targets: list[int], first: int, until: float, tell: int
) -> None:
    """In a child: flip, use, restore, for each target from `first` on."""
    sys.unraisablehook = lambda unraisable: None  # what fails where nobody can catch it
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    signal.alarm(int(3 * SECONDS))
    gc.freeze()  # so that collecting means what the operations have made
    picture = Picture(picture.fd)  # with this process as a member
    for index in range(first, len(targets)):
        if time.monotonic() > until and index >= LEAST:
            break
        what = flip(picture.fd, targets[index], random.Random(index))
        os.write(tell, json.dumps([index, what, False, []]).encode() + b"\n")
        noticed, wrong = use(world)
        gc.collect()
        picture.restore()
        if noticed or wrong:
            os.write(tell, json.dumps([index, what, noticed, wrong]).encode() + b"\n")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("use", [use_in_this_process, use_in_a_forked_process])
def test_flipped_bytes(use: Any) -> None:
    arena = Arena.create(limit=64 << 20)
    world = World(arena)
    whole = Picture(arena.fd)
    targets = whole.targets(random.Random(1))
    until = time.monotonic() + SECONDS
    reports: list[str] = []
    first = noticed = 0
    while first < len(targets) and len(reports) < 40:
        reader, writer = os.pipe()
        pid = forked(lambda: flip_on(world, use, whole, targets, first, until, writer))  # noqa: B023
        os.close(writer)
        buffer = b""
        index, what, hangs = first - 1, "", False
        while True:
            if not select.select([reader], [], [], HANG)[0]:
                hangs = True
                os.kill(pid, signal.SIGKILL)
            chunk = os.read(reader, 65536)
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                index, what, seen, wrong = json.loads(line)
                noticed += seen
                if wrong:
                    reports.append(f"{what}: {wrong}")
        os.close(reader)
        code = status_of(pid)
        whole.restore()
        if code == 0:
            first = index + 1
            break
        reports.append(f"{what}: {'hangs' if hangs else f'the process ended with {code}'}")
        first = index + 1
    assert not reports, f"{len(reports)} of {first} flips went wrong:\n" + "\n".join(reports)
    assert first >= min(LEAST, len(targets))
    assert noticed >= first / 50, f"only {noticed} of {first} flips were noticed: they hit nothing"


def test_without_damage_all_answers_are_right() -> None:
    """The control: the same, many times over, with nothing flipped."""
    arena = Arena.create(limit=64 << 20)
    world = World(arena)

    def work() -> None:
        picture = Picture(arena.fd)
        for _ in range(50):
            assert judge(world) == (False, [])
            gc.collect()
            picture.restore()

    assert status_of(forked(work)) == 0
