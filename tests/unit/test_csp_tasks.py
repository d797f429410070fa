"""interproc.csp.tasks: channels, selects and barriers in tasks; with other tasks, threads and processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Coroutine
from typing import Any

import pytest
from dropin.support import NEVER, SOON, Crew
from dropin.support import until as wait_until

import interproc
from interproc.csp import (
    Barrier,
    Channel,
    ChannelPoison,
    ChannelRetire,
    Exited,
    Parallel,
    Reader,
    Ready,
    Received,
    Sent,
    Skipped,
    Synced,
    TimedOut,
    Writer,
    after,
    aselect,
    aselecting,
    poison,
    process,
    retire,
    skip,
    tasks,
)

from .csp_support import got, nobody_receives, nobody_sends, readers_wait, started, writers_wait


@pytest.fixture
def crew() -> Any:
    crew = Crew(interproc.get_context("spawn"))
    yield crew
    crew.end()


def pair(name: str | None = None, buffer: Any = 0) -> tuple[Channel[Any], Reader[Any], Writer[Any]]:
    channel = Channel[Any](name, buffer)
    return channel, channel.reader(), channel.writer()


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, SOON))


async def until(condition: Any) -> None:
    """Lets the other tasks run until it is true."""
    while not condition():
        await asyncio.sleep(0.001)


# ---- tasks of one loop ----


@pytest.mark.parametrize("buffer", [0, 1, 7])
def test_two_tasks(buffer: int) -> None:
    async def main() -> list[int]:
        _, inp, out = pair(buffer=buffer)

        async def write() -> None:
            with out:
                for i in range(100):
                    await out.asend(i)

        async def read() -> list[int]:
            return [value async for value in inp]

        return (await asyncio.gather(write(), read()))[1]

    assert run(main()) == list(range(100))


def test_a_ring_of_a_thousand() -> None:
    async def main() -> int:
        channels = [Channel[int]() for _ in range(1000)]

        async def pass_on(inp: Reader[int], out: Writer[int]) -> None:
            with inp, out:
                async for value in inp:
                    await out.asend(value + 1)

        links = [
            asyncio.create_task(pass_on(a.reader(), b.writer())) for a, b in itertools.pairwise(channels)
        ]
        first, last = channels[0].writer(), channels[-1].reader()
        await first.asend(0)
        value = await last.arecv()
        retire(first)
        await asyncio.gather(*links)
        return value

    assert run(main()) == 999


def test_timeouts() -> None:
    async def main() -> None:
        _, inp, out = pair()
        for timeout in (0, NEVER):
            with pytest.raises(TimeoutError):
                await inp.arecv(timeout)
            with pytest.raises(TimeoutError):
                await out.asend(1, timeout)
        nobody_receives(out)
        nobody_sends(inp)
        assert (await asyncio.gather(out.asend(2), inp.arecv(SOON)))[1] == 2

    run(main())


@pytest.mark.parametrize("mixed", [False, True])
def test_who_only_looks_lets_the_others_go_on(mixed: bool) -> None:
    """Again and again, as one does with skip()."""

    async def main() -> None:
        _, inp, out = pair()
        queue = interproc.Queue[int]() if mixed else None

        async def looks() -> object:
            for _ in range(100):
                chosen = await aselect(inp, queue, skip())
                if isinstance(chosen, Received):
                    return chosen.value
                with contextlib.suppress(TimeoutError):
                    return await inp.arecv(0)
            return None

        assert await asyncio.gather(looks(), out.asend(1, SOON)) == [1, None]

    run(main())


def test_a_time_limit_that_passes_at_the_last_look_leaves_no_offer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = itertools.count(loop.time())  # each look at it takes a second
        loop.time = lambda: next(clock)  # type: ignore[method-assign]
        _, inp, out = pair()
        for seconds in (0.5, 1.5, 2.5):
            with pytest.raises(TimeoutError):
                await inp.arecv(seconds)
            nobody_receives(out)
            with pytest.raises(TimeoutError):
                await out.asend(None, seconds)
            nobody_sends(inp)

    asyncio.run(main())  # with no limit of its own by that clock


def test_ends_of_channels() -> None:
    async def main() -> None:
        channel, inp, out = pair()
        waiting = asyncio.create_task(inp.arecv())
        await until(lambda: channel.info().readers_waiting)
        retire(out)
        with pytest.raises(ChannelRetire) as raised:
            await waiting
        assert raised.value.end is inp
        channel, inp, out = pair()
        sending = asyncio.create_task(out.asend(1))
        await until(lambda: channel.info().writers_waiting)
        poison(inp)
        with pytest.raises(ChannelPoison):
            await sending
        with pytest.raises(ChannelPoison):
            async for _ in inp:
                pass

    run(main())


def test_outside_of_a_task() -> None:
    _, inp, _out = pair()
    waiting = inp.arecv()
    with pytest.raises(RuntimeError):
        waiting.send(None)


def test_one_loop_after_another() -> None:
    _, inp, out = pair(buffer=1)
    for i in range(5):

        async def main(i: int = i) -> int:
            return (await asyncio.gather(out.asend(i), inp.arecv()))[1]  # type: ignore[no-any-return]

        assert run(main()) == i


def test_two_loops_in_two_threads() -> None:
    rounds = 200
    _, a_in, a_out = pair()
    _, b_in, b_out = pair()

    async def forth() -> list[int]:
        answers = []
        for i in range(rounds):
            await a_out.asend(i)
            answers.append(await b_in.arecv())
        return answers

    async def back() -> None:
        for _ in range(rounds):
            await b_out.asend(2 * await a_in.arecv())

    other = started(run, back())
    assert run(forth()) == [2 * i for i in range(rounds)]
    got(other)


# ---- with threads and processes ----


def test_with_a_thread() -> None:
    channel, inp, out = pair()
    _, back_in, back_out = pair()

    def serve() -> None:
        with inp, back_out:
            for value in inp:
                back_out.send(-value)

    async def main() -> list[int]:
        answers = []
        with out:
            for i in range(100):
                await out.asend(i)
                answers.append(await back_in.arecv())
        return answers

    serving = started(serve)
    assert run(main()) == [-i for i in range(100)]
    got(serving)
    assert channel.info().passed == 100


def serve(inp: Reader[int], out: Writer[int]) -> None:
    with inp, out:
        for value in inp:
            out.send(value + 1)


@pytest.mark.parametrize("buffer", [0, 2])
def test_with_a_process(crew: Crew, buffer: int) -> None:
    a, b = Channel[int](buffer=buffer), Channel[int](buffer=buffer)
    inp, out = a.reader(), b.writer()
    child = crew.start(serve, inp, out)
    retire(inp, out)

    async def main() -> list[int]:
        answers = b.reader()
        with a.writer() as questions:
            await questions.asend(0)
            for _ in range(50):
                await questions.asend(await answers.arecv())
            return [await answers.arecv()]

    assert run(main()) == [51]
    crew.join(child)


def test_a_process_that_is_killed(crew: Crew) -> None:
    a, b = Channel[int](), Channel[int]()
    inp, out = a.reader(), b.writer()
    child = crew.start(serve, inp, out)
    retire(inp, out)

    async def main() -> None:
        questions, answers = a.writer(), b.reader()
        await questions.asend(1)
        assert await answers.arecv() == 2
        waiting = asyncio.create_task(answers.arecv())
        await until(lambda: b.info().readers_waiting)
        os.kill(child.pid, 9)
        with pytest.raises(ChannelPoison):
            await waiting

    run(main())
    crew.join(child, exitcode=-9)


def test_the_loop_goes_on_while_a_task_waits() -> None:
    async def main() -> int:
        _, inp, out = pair()
        waiting = asyncio.create_task(inp.arecv())
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0)
            ticks += 1
        out_in_thread = started(out.send, 1)
        assert await waiting == 1
        got(out_in_thread)
        return ticks

    assert run(main()) == 20


# ---- cancellation ----


def test_a_cancelled_receive_takes_nothing() -> None:
    async def main() -> None:
        channel, inp, out = pair()
        waiting = asyncio.create_task(inp.arecv())
        await until(lambda: channel.info().readers_waiting)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        nobody_receives(out)
        with pytest.raises(TimeoutError):
            await out.asend(1, 0)
        assert (await asyncio.gather(out.asend(2), inp.arecv()))[1] == 2

    run(main())


def test_a_cancelled_send_sends_nothing() -> None:
    async def main() -> None:
        channel, inp, out = pair()
        sending = asyncio.create_task(out.asend(1))
        await until(lambda: channel.info().writers_waiting)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        with pytest.raises(TimeoutError):
            await inp.arecv(0)

    run(main())


def test_a_cancellation_after_the_value_came_waits_for_the_next_wait() -> None:
    async def main() -> None:
        channel, inp, out = pair()
        values: list[int] = []

        async def read() -> None:
            values.append(await inp.arecv())
            await asyncio.sleep(SOON)

        reading = asyncio.create_task(read())
        await until(lambda: channel.info().readers_waiting)
        out.send(7, 0)  # it has the value now, but has not run since
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert values == [7]

    run(main())


def test_a_timeout_after_the_value_came_leaves_no_cancellation_behind() -> None:
    async def main() -> None:
        channel, inp, out = pair()

        async def read() -> int:
            async with asyncio.timeout(None) as limit:
                limits.append(limit)
                value = await inp.arecv()
            await asyncio.sleep(0.01)  # where a cancellation that is left would strike
            return int(value)

        limits: list[asyncio.Timeout] = []
        reading = asyncio.create_task(read())
        await until(lambda: channel.info().readers_waiting)
        limits[0].reschedule(0)  # over at the loop's next turn
        out.send(7, 0)
        assert await reading == 7

    run(main())


def test_cancel_and_send_in_every_order_lose_nothing() -> None:
    """A thread sends while tasks that receive are cancelled: each value arrives once."""
    n = 300
    _, inp, out = pair()

    def write() -> None:
        with out:
            for i in range(n):
                out.send(i)

    async def main() -> list[int]:
        values: list[int] = []

        async def read() -> None:
            values.append(await inp.arecv())

        writing = started(write)
        turn = 0
        while not writing.done():
            reading = asyncio.create_task(read())
            for _ in range(turn % 5):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            turn += 1
        got(writing)
        return values

    assert run(main()) == list(range(n))


def test_wait_for() -> None:
    async def main() -> None:
        _, inp, out = pair()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(inp.arecv(), NEVER)
        nobody_receives(out)
        sending = asyncio.create_task(out.asend(1))
        assert await asyncio.wait_for(inp.arecv(), SOON) == 1
        await sending

    run(main())


def test_a_loop_that_is_closed_while_tasks_wait() -> None:
    channel, inp, out = pair()

    async def main() -> None:
        waiting = asyncio.create_task(inp.arecv())
        await until(lambda: channel.info().readers_waiting)
        del waiting

    asyncio.run(main())  # cancels it
    nobody_receives(out)


@pytest.mark.parametrize("how", ["close", "throw"])
def test_what_came_to_a_task_that_was_given_up_is_received_next(how: str) -> None:
    channel, inp, out = pair()
    waiting: list[Coroutine[Any, Any, Any]] = []

    async def read() -> None:
        await inp.arecv()

    async def main() -> None:
        waiting.append(read())
        tasks_there.append(asyncio.create_task(waiting[0]))
        await until(lambda: channel.info().readers_waiting)

    tasks_there: list[asyncio.Task[Any]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    out.send(7, SOON)  # the loop stands still
    if how == "close":
        waiting[0].close()
    else:
        with pytest.raises(KeyboardInterrupt):
            waiting[0].throw(KeyboardInterrupt())
    assert loop.run_until_complete(inp.arecv(SOON)) == 7
    tasks_there.clear()
    loop.close()


def test_what_is_left_of_a_closed_loop_goes(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that is closed, against the rules, while tasks wait in it: nobody sends to them."""
    channel, inp, out = pair()
    kept: list[Any] = []

    async def main() -> None:
        kept.append(asyncio.create_task(inp.arecv()))
        await until(lambda: channel.info().readers_waiting)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    gone = weakref.ref(loop)
    wait_until(lambda: gone() not in tasks._homes)
    nobody_receives(out)
    with caplog.at_level(100):  # asyncio tells of a task that was pending
        kept.clear()
        del loop
        wait_until(lambda: gc.collect() >= 0 and gone() is None)


# ---- select ----


def test_aselect() -> None:
    async def main() -> None:
        _, a, a_out = pair()
        _, b, b_out = pair()
        choosing = asyncio.create_task(aselect(a, b))
        await asyncio.sleep(0)
        await b_out.asend(1)
        assert await choosing == Received(b, 1, 1)
        receiving = asyncio.create_task(a.arecv())
        assert await aselect((a_out, "x"), (b_out, "y"), timeout=SOON) == Sent(a_out, 0)
        assert await receiving == "x"
        assert isinstance(await aselect(a, b, skip()), Skipped)
        assert isinstance(await aselect(a, after(NEVER)), TimedOut)
        assert isinstance(await aselect(after(NEVER)), TimedOut)
        with pytest.raises(TimeoutError):
            await aselect(a, timeout=NEVER)

    run(main())


def test_both_sides_of_a_channel_in_an_aselect() -> None:
    async def main() -> None:
        one, two = Channel[int](), Channel[int]()
        ins, outs = (one.reader(), two.reader()), (one.writer(), two.writer())

        async def write() -> list[int]:
            return [(await aselect((outs[0], i), (outs[1], i))).index for i in range(100)]

        writing = asyncio.create_task(write())
        events = [await aselect(*ins, timeout=SOON) for _ in range(100)]
        assert [event.value for event in events] == list(range(100))
        assert [event.index for event in events] == await writing

    run(main())


def test_aselecting() -> None:
    async def main() -> list[Any]:
        _, a, a_out = pair("a", 1)
        _, b, b_out = pair("b", 1)
        await a_out.asend(1)
        await b_out.asend(2)
        retire(a_out, b_out)
        return sorted([(event.name, event.value) async for event in aselecting(a, b)])

    assert run(main()) == [("a", 1), ("b", 2)]


def leaves() -> None:
    """A process that ends at once."""


def test_what_is_no_channel(crew: Crew) -> None:
    read, write = os.pipe()
    queue = interproc.Queue[int]()

    async def main() -> None:
        _, inp, _out = pair()
        for guards in [(inp, queue, read), (None, queue, read)]:
            choosing = asyncio.create_task(aselect(*guards))
            await asyncio.sleep(NEVER)
            assert not choosing.done()
            queue.put(5)
            assert await choosing == Received(queue, 5, 1)
            choosing = asyncio.create_task(aselect(*guards))
            os.write(write, b"x")
            assert await choosing == Ready(read, 2)
            os.read(read, 1)
            assert isinstance(await aselect(*guards, after(NEVER)), TimedOut)
        child = crew.start(leaves)
        assert await aselect(inp, child, timeout=SOON) == Exited(child, 0, 1)

    try:
        run(main())
    finally:
        os.close(read)
        os.close(write)


def test_a_cancelled_aselect_beside_a_queue_takes_nothing() -> None:
    async def main() -> None:
        queue = interproc.Queue[int]()
        channel, inp, out = pair()
        choosing = asyncio.create_task(aselect(inp, queue))
        await until(lambda: channel.info().readers_waiting)
        choosing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await choosing
        queue.put(1)
        assert queue.get(timeout=SOON) == 1
        with pytest.raises(TimeoutError):
            out.send(1, 0)

    run(main())


def test_a_barrier() -> None:
    async def main() -> None:
        barrier = Barrier()
        here, there, third = barrier.enrolments(3)
        with pytest.raises(TimeoutError):
            await third.async_sync(NEVER)
        meeting = [asyncio.create_task(here.async_sync()), asyncio.create_task(aselect(there))]
        await until(lambda: barrier.info().waiting == 2)
        thread = started(third.sync)
        assert await asyncio.gather(*meeting) == [None, Synced(there, 0)]
        got(thread)

    run(main())


# ---- waiting for threads ----


@process(kind="thread")
def receives(inp: Reader[int]) -> int:
    return inp.recv()


def test_another_task_of_the_loop_may_send_to_a_thread_that_is_waited_for() -> None:
    """So that thread, and who waits for it, are in no deadlock."""

    async def main() -> None:
        _, inp, out = pair()

        async def later() -> None:
            await asyncio.sleep(0.6)  # by then one would have been found
            await out.asend(7)

        sending = asyncio.create_task(later())
        assert await Parallel(receives(inp)) == [7]
        await sending

    run(main())


def test_a_time_limit_may_end_the_wait_for_a_thread() -> None:
    async def main() -> None:
        _, inp, out = pair()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):
                await Parallel(receives(inp))
        with pytest.raises(ChannelPoison):
            out.send(1, 0)

    run(main())


def test_a_deadlock_of_threads_that_only_a_loop_waits_for() -> None:
    """In a program of its own, in which no other thread might act."""
    code = """
        import asyncio
        from interproc.csp import Channel, Parallel, process

        @process(kind="thread")
        def receives(inp):
            return inp.recv()

        async def main():
            channel = Channel()
            out = channel.writer()
            try:
                await Parallel(receives(channel.reader()))
            except ExceptionGroup as group:
                print(type(group.exceptions[0]).__name__)

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=SOON
    )
    assert (done.stdout, done.stderr) == ("Deadlock\n", "")


# ---- what is left ----


def test_nothing_is_left_of_tasks_that_are_done() -> None:
    async def main() -> None:
        _, inp, out = pair()
        for i in range(50):
            assert (await asyncio.gather(out.asend(i), inp.arecv()))[1] == i
        await asyncio.sleep(0)
        assert len(tasks._seats) <= 1

    run(main())
    assert not tasks._seats


def test_a_loops_thread_ends_with_it() -> None:
    async def main() -> None:
        _, inp, out = pair()
        await asyncio.gather(out.asend(1), inp.arecv())

    def names() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "interproc-csp-loop"]

    before = len(names())  # the loop for those who have none stays, once there was need of it
    for _ in range(3):
        run(main())
    wait_until(lambda: len(names()) <= before)


def test_the_place_of_a_wait_is_known() -> None:
    async def main() -> None:
        channel, inp, out = pair()

        async def stands_here() -> None:
            await inp.arecv()

        waiting = asyncio.create_task(stands_here())
        await until(lambda: channel.info().readers_waiting)
        line = stands_here.__code__.co_firstlineno + 1
        place = tasks._where(waiting)
        assert f"test_csp_tasks.py:{line} in " in place and place.endswith("stands_here")
        await out.asend(1)
        await waiting

    run(main())


def test_threads_and_tasks_at_the_same_end() -> None:
    channel, inp, out = pair()
    receiving = started(inp.recv)
    readers_wait(channel)

    async def main() -> int:
        mine = asyncio.create_task(inp.arecv())
        await until(lambda: channel.info().readers_waiting == 2)
        await out.asend(1)
        await out.asend(2)
        return int(await mine)

    assert {run(main()), got(receiving)} == {1, 2}
    sending = started(out.send, 3)
    writers_wait(channel)
    assert run(inp.arecv()) == 3
    got(sending)
