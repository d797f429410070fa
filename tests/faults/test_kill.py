"""Processes SIGKILLed at random moments while they use queues and pipes: nobody else is harmed.

Each loop kills as often as its time allows. The victim counts in shared memory what it has been told is
done; who survives checks the rest against that: nothing acknowledged is missing, nothing is there twice,
order is kept.
"""

from __future__ import annotations

import queue
import random
import signal
import threading
from typing import Any

import pytest
from dropin.support import SOON, Crew, until

import interproc as mp
from interproc._core import Arena

from .support import LEAST, at_once, kill_at_random, rounds, settled

# What the victims do.


def body(number: int, size: int) -> bytes:
    """What message `number` carries; sizes vary up to `size`, through all ways a message is stored."""
    length = (number * 7919) % size if number % 7 else 0
    return b"%d" % (number % 10) * length


def produce(q: Any, done: Any, victim: int, size: int) -> None:
    for number in range(10**9):
        q.put((victim, number, body(number, size)))
        done[victim] = number + 1


def produce_batches(q: Any, done: Any, victim: int, size: int) -> None:
    for number in range(0, 10**9, 5):
        q.put_many([(victim, n, body(n, size)) for n in range(number, number + 5)])
        done[victim] = number + 5


def consume(q: Any, taken: Any, started: Any) -> None:
    started.value = 1
    while True:
        number, content = q.get()
        assert content == body(number, 40_000)
        taken[number] += 1


def send_on(conn: Any, done: Any, size: int) -> None:
    for number in range(10**9):
        conn.send((number, body(number, size)))
        done[0] = number + 1


# Queues.


@pytest.mark.parametrize("size", [10, 3000, 200_000], ids=lambda size: f"{size}B")
@pytest.mark.parametrize("how", [produce, produce_batches], ids=["put", "put_many"])
def test_killed_while_putting(arena: Arena, crew: Crew, how: Any, size: int) -> None:
    """Of each producer comes a gap-free sequence, with all that put() had returned for."""
    dice = random.Random(size)
    used = arena.used
    q = mp.Queue(maxsize=64) if size > 10_000 else mp.Queue(max_bytes=1 << 20)
    done = mp.RawArray("q", 2)
    batch = 5 if how is produce_batches else 1
    killed = 0
    for _ in rounds():
        done[0] = done[1] = 0
        victims = [crew.start(how, q, done, victim, size) for victim in (0, 1)]
        expected = [0, 0]
        alive = [True, True]
        plan = [dice.randrange(1, 40) for _ in victims]  # messages to see before the kill
        while True:
            try:
                victim, number, content = q.get(timeout=0.0 if not any(alive) else SOON)
            except queue.Empty:
                assert not any(alive), "the producers live, but nothing comes"
                break
            assert number == expected[victim], f"{number} came where {expected[victim]} was due"
            assert content == body(number, size)
            expected[victim] += 1
            for index, process in enumerate(victims):
                if alive[index] and expected[index] >= plan[index]:
                    alive[index] = False
                    kill_at_random(process, dice, 0.001)
                    killed += 1
        for victim in (0, 1):
            assert done[victim] <= expected[victim] <= done[victim] + batch
        assert q.qsize() == 0 and q.empty()
        crew.members.clear()
    assert killed >= 2 * LEAST
    q.put("well")
    assert q.get(timeout=SOON) == "well"
    del q, done
    settled(arena, used, "after the kills")


def test_killed_while_getting(arena: Arena, crew: Crew) -> None:
    """Each message is taken once; but the one in the hands of a victim may be lost, or come again."""
    dice = random.Random(2)
    used = arena.used
    q, count = mp.Queue(), 0
    taken, started = mp.RawArray("b", 1 << 20), mp.RawValue("i", 0)
    killed = 0
    for _ in rounds():
        started.value = 0
        victims = [crew.start(consume, q, taken, started) for _ in range(2)]
        until(lambda started=started: started.value, "a consumer started")
        for _ in range(300):
            q.put((count, body(count, 40_000)))
            count += 1
        for process in victims:
            kill_at_random(process, dice)
            killed += 1
        crew.members.clear()
        if dice.random() < 0.3:
            q.put((count, body(count, 40_000)))
            count += 1
        while True:  # a survivor takes the rest
            try:
                number, content = q.get_nowait()
            except queue.Empty:
                break
            assert content == body(number, 40_000)
            taken[number] += 1
        assert q.qsize() == 0
    flags = taken[:count]
    assert flags.count(0) + sum(n - 1 for n in flags if n > 1) <= killed
    assert max(flags) <= 2
    del q, taken, started, flags
    settled(arena, used, "after the kills")


@pytest.mark.parametrize("maxsize", [1, 2])
def test_killed_while_blocked(arena: Arena, crew: Crew, maxsize: int) -> None:
    """Victims wait for room and for messages; whoever comes after them still gets both."""
    dice = random.Random(3)
    q, done = mp.Queue(maxsize), mp.RawArray("q", 2)
    for _ in rounds():
        done[0] = done[1] = 0
        makers = [crew.start(produce, q, done, victim, 10) for victim in (0, 1)]
        until(lambda: sum(done) >= maxsize, "the queue is full")
        for process in makers:
            kill_at_random(process, dice)
        with at_once("taking what is there"):
            got = []
            while not q.empty():
                got.append(q.get(timeout=SOON))
        assert len(got) == maxsize  # the blocked ones had nothing in the queue
        started = mp.RawValue("i", 0)
        taken = mp.RawArray("b", 10)
        takers = [crew.start(consume, q, taken, started) for _ in range(2)]
        until(lambda started=started: started.value, "a consumer started")
        for process in takers:
            kill_at_random(process, dice)
        for number in range(maxsize):
            q.put(number, timeout=SOON)
        with pytest.raises(queue.Full):
            q.put("one too many", block=False)
        assert [q.get(timeout=SOON) for _ in range(maxsize)] == list(range(maxsize))
        crew.members.clear()


def test_killed_with_a_joinable_queue(crew: Crew) -> None:
    """A victim between get and task_done leaves its task undone, and the survivor can say so."""
    q = mp.JoinableQueue()
    held = mp.Event()
    victim = crew.start(take_and_hold, q, held)
    q.put("task")
    assert held.wait(SOON)
    crew.kill(victim)
    q.put("another")
    assert q.get(timeout=SOON) == "another"
    q.task_done()
    joined: list[bool] = []
    thread = threading.Thread(target=lambda: joined.append(q.join() is not False), daemon=True)
    thread.start()
    thread.join(0.1)
    assert not joined
    q.task_done()  # for the dead one
    thread.join(SOON)
    assert joined == [True]


def take_and_hold(q: Any, held: Any) -> None:
    q.get(timeout=SOON)
    held.set()
    signal.pause()


# Pipes.


@pytest.mark.parametrize("size", [10, 20_000])
def test_killed_while_sending(arena: Arena, crew: Crew, size: int) -> None:
    dice = random.Random(4)
    used = arena.used
    done = mp.RawArray("q", 1)
    kept = arena.used
    for _ in rounds():
        done[0] = 0
        reader, writer = mp.Pipe(duplex=False)
        victim = crew.start(send_on, writer, done, size)
        writer.close()
        due, last = 0, dice.randrange(1, 60)
        with pytest.raises(EOFError):
            while True:
                number, content = reader.recv()
                assert (number, content) == (due, body(number, size))
                due += 1
                if due == last:
                    kill_at_random(victim, dice, 0.001)
        assert done[0] <= due <= done[0] + 1
        crew.members.clear()
        del reader, writer
        settled(arena, kept, "after a pipe")
    del done
    settled(arena, used)


def test_killed_while_receiving(crew: Crew) -> None:
    """Several receive from one end: when one dies, the others get the rest, but for what it had."""
    dice = random.Random(5)
    for _ in rounds(1.0):
        reader, writer = mp.Pipe(duplex=False)
        taken, started = mp.RawArray("b", 2000), mp.RawValue("i", 0)
        victim = crew.start(receive_on, reader, taken, started)
        until(lambda started=started: started.value, "the receiver started")
        for number in range(200):
            writer.send(number)
        kill_at_random(victim, dice, 0.002)
        while reader.poll():
            taken[reader.recv()] += 1
        flags = taken[:200]
        assert max(flags) == 1 or flags.count(2) == 1
        assert flags.count(0) + flags.count(2) <= 1
        crew.members.clear()


def receive_on(conn: Any, taken: Any, started: Any) -> None:
    started.value = 1
    while True:
        taken[conn.recv()] += 1
