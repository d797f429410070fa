"""Deadlocks: each wait of one ends, and its answer names the circle; nothing else is taken for one."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interproc import errors
from interproc._core import Arena
from interproc.csp import Barrier, Channel, Description, Parallel, Spawn, TimedOut, after, process, select
from interproc.csp.network import deadlock

KINDS = ["process", "thread"]


@process
def sends_first(out: Any, inp: Any) -> Any:
    out.send("first")
    return inp.recv()


@process
def passes_on(inp: Any, out: Any) -> None:
    out.send(inp.recv())


@process
def receives(inp: Any) -> Any:
    return inp.recv()


@process
def receives_all(inp: Any) -> list[Any]:
    return list(inp)


@process
def receives_in_time(inp: Any, seconds: float) -> str:
    try:
        inp.recv(timeout=seconds)
    except TimeoutError:
        return "timeout"
    return "received"


@process
def sends_after(out: Any, seconds: float) -> None:
    time.sleep(seconds)
    out.send("late")


@process
def chooses(inp: Any, out: Any) -> None:
    select(inp, (out, 1))


@process
def has_both(out: Any, inp: Any) -> None:
    out.send(1)
    inp.recv()


@process
def syncs(enrolment: Any, inp: Any) -> None:
    enrolment.sync()
    inp.recv()


@process
def receives_then_syncs(inp: Any, enrolment: Any) -> None:
    inp.recv()
    enrolment.sync()


@process
def sends_after_sync(enrolment: Any, first: Any, second: Any) -> None:
    enrolment.sync()
    first.send(1)
    second.send(1)


@process
def selects_in_time(inp: Any, out: Any, seconds: float) -> str:
    with out:
        match select(inp, after(seconds)):
            case TimedOut():
                return "timeout"
            case other:
                return repr(other)


@process
def waits_for_children(out: Any, inp: Any) -> None:
    Parallel(receives(inp))
    out.send(1)


@process
async def task_sends_first(out: Any, inp: Any) -> Any:
    await out.asend("first")
    return await inp.arecv()


@process
async def task_receives(inp: Any) -> Any:
    return await inp.arecv()


@process
def ping(out: Any, inp: Any, n: int) -> int:
    for i in range(n):
        out.send(i)
        inp.recv()
    return n


@process
def pong(inp: Any, out: Any) -> None:
    for value in inp:
        out.send(value)


@process
def makes_another(out: Any, back: Any) -> None:
    inner = Channel[Any]("inner")
    mine = inner.writer()
    out.send(inner.reader())
    del inner
    back.recv()
    mine.send(1)


@process
def takes_another(inp: Any, back: Any) -> None:
    inp.recv().recv()
    back.send(1)


def deadlocked(*parts: Description[Any] | list[Description[Any]]) -> list[errors.Deadlock]:
    """What the processes raise."""
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(*parts)
    return list(leaves(caught.value))


def leaves(group: BaseException) -> Iterator[errors.Deadlock]:
    if isinstance(group, BaseExceptionGroup):
        for error in group.exceptions:
            yield from leaves(error)
    else:
        assert isinstance(group, errors.Deadlock), group
        yield group


def pair() -> tuple[Channel[Any], Channel[Any]]:
    return Channel("there"), Channel("back")


# --- each wait ends, and says why


@pytest.mark.parametrize("kind", KINDS)
def test_two_that_both_send_first(kind: Any) -> None:
    there, back = pair()
    body = sends_first.with_kind(kind)
    found = deadlocked(
        body(there.writer(), back.reader()).with_name("P"), body(back.writer(), there.reader()).with_name("Q")
    )
    assert len(found) == 2
    text, other = map(str, found)
    assert text.startswith("2 processes wait for each other")
    line = "test_csp_deadlock.py:\\d+ in sends_first"
    assert re.search(rf"P \(.*pid \d+\) sends to 'there', whose reader is Q: .*{line}", text), text
    of_the_other = rf"Q \(.*pid \d+\) sends to 'back', whose reader is P: .*{line}"
    assert re.search(of_the_other, text), text
    assert re.fullmatch(f"as above: {of_the_other}", other), other


def test_two_tasks() -> None:
    there, back = pair()
    found = deadlocked(
        task_sends_first(there.writer(), back.reader()).with_name("P"),
        task_sends_first(back.writer(), there.reader()).with_name("Q"),
    )
    assert len(found) == 2
    assert "P (task, pid" in str(found[0]) and "sends to 'there', whose reader is Q" in str(found[0])


def test_os_processes_and_a_thread_in_a_circle() -> None:
    a, b, c = (Channel[Any](name) for name in "abc")
    found = deadlocked(
        passes_on(a.reader(), b.writer()).with_name("one"),
        passes_on.with_kind("thread")(b.reader(), c.writer()).with_name("two"),
        passes_on(c.reader(), a.writer()).with_name("three"),
    )
    assert len(found) == 3
    text = str(found[0])
    assert text.startswith("3 processes wait for each other") and "┌▶" in text and "└─" in text
    for who, channel, partner in (("one", "a", "three"), ("two", "b", "one"), ("three", "c", "two")):
        assert re.search(rf"{who} \(.*\) receives from '{channel}', whose writer is {partner}", text), text


def test_a_choice_none_of_whose_guards_can_come_true() -> None:
    there, back = pair()
    found = deadlocked(chooses(there.reader(), back.writer()), chooses(there.reader(), back.writer()))
    assert len(found) == 2
    assert "receives from 'there'" in str(found[0]) and "or sends to 'back'" in str(found[0])


def test_one_alone_that_has_both_ends() -> None:
    there, _ = pair()
    (found,) = deadlocked(has_both(there.writer(), there.reader()))
    assert "has_both" in str(found) and "whose only reader is itself" in str(found)


def test_a_barrier_and_a_channel() -> None:
    there, back = pair()
    barrier = Barrier("all")
    found = deadlocked(
        syncs(barrier.enrol(), back.reader()),
        receives_then_syncs(there.reader(), barrier.enrol()),
        receives_all(there.reader()),
        sends_after_sync(barrier.enrol(), there.writer(), back.writer()),
    )
    assert len(found) >= 3  # that one of them which only receives may come when the others have been told
    assert "waits at barrier 'all', where receives_then_syncs is missing" in str(found[0])


def test_one_that_waits_for_its_children() -> None:
    there, back = pair()
    found = deadlocked(
        waits_for_children(there.writer(), back.reader()), passes_on(there.reader(), back.writer())
    )
    assert len(found) >= 2
    assert "waits for those that it started, as receives" in str(found[0])


@pytest.mark.parametrize("kind", [*KINDS, "task"])
def test_the_program_keeps_an_end_and_waits(kind: Any) -> None:
    there, _ = pair()
    kept = there.writer()
    body = receives if kind != "task" else task_receives
    (found,) = set(map(str, deadlocked(body.with_kind(kind)(there.reader()))))
    assert "receives from 'there', whose writer is main" in found
    assert re.search(r"main \(pid \d+\) waits for those that it started", found), found
    assert "waits for those that it started, as task_receives" in found or "as receives" in found
    assert not kept.closed


@pytest.mark.parametrize("kind", KINDS)
def test_who_has_what_was_made_or_received_meanwhile(kind: Any) -> None:
    there, back = pair()
    found, _ = map(
        str,
        deadlocked(
            makes_another.with_kind(kind)(there.writer(), back.reader()).with_name("P"),
            takes_another.with_kind(kind)(there.reader(), back.writer()).with_name("Q"),
        ),
    )
    assert re.search(r"P \(.*\) receives from 'back', whose writer is Q:", found), found
    assert re.search(r"Q \(.*\) receives from 'inner', whose writer is P:", found), found


@pytest.mark.parametrize("buffer", [0, 2])
def test_a_side_that_nobody_has_and_nobody_can_get(buffer: int) -> None:
    """It is no retirement, which would end the reader as if all were well: a writer was forgotten."""
    inp = Channel[int]("lonely", buffer=buffer).reader()
    text = r"main \(pid \d+\) receives from 'lonely', whose writer no process has"
    with pytest.raises(errors.Deadlock, match=text):
        inp.recv()
    out = Channel[int]("full", buffer=buffer).writer()
    with pytest.raises(errors.Deadlock, match="sends to 'full', whose reader no process has"):
        for number in range(buffer + 1):
            out.send(number)
    with pytest.raises(TimeoutError):
        Channel[int]().reader().recv(timeout=0.3)


def test_a_deadlock_that_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlock, "explain", None)
    there, back = pair()
    body = sends_first.with_kind("thread")
    found = deadlocked(body(there.writer(), back.reader()), body(back.writer(), there.reader()))
    assert " processes wait for what nobody could bring about (in pid " in str(found[0])
    assert str(found[1]) == "as above: another wait of the same deadlock"


def ring(kind: Any, n: int) -> list[Description[Any]]:
    """Of processes of one name, and of channels without any."""
    channels = Channel[Any]() * n
    body = sends_first.with_kind(kind).with_name("phil")
    return [body(channels[i - 1].writer(), channels[i].reader()) for i in range(n)]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_drawn_once_however_many_wait(kind: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(ring(kind, 30))
    printed = "".join(traceback.TracebackException.from_exception(caught.value, max_group_width=30).format())
    assert printed.count("30 processes wait for each other") == printed.count("To end it: ") == 1
    assert printed.count("out.send") == 30  # each has its own traceback
    first, *others = leaves(caught.value)
    drawn = [line[5:] for line in str(first).splitlines() if line[5:].startswith("phil ")]
    said = [str(error) for error in others]
    assert {line.removeprefix("as above: ") for line in said} <= {*drawn, "another wait of the same deadlock"}
    assert len(drawn) == deadlock.MOST_LINES <= len(set(said)) + 1


def test_joined_again_it_says_the_same() -> None:
    running = Spawn(ring("process", 3))
    said = []
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as caught:
            running.join()
        said.append([str(error) for error in leaves(caught.value)])
    assert said[0] == said[1]
    assert [text.startswith("as above: phil ") for text in said[0]] == [False, True, True]


def test_it_calls_processes_and_channels_what_the_picture_calls_them() -> None:
    network = Parallel.of(ring("process", 3))
    picture = network.graph()
    with pytest.raises(ExceptionGroup) as caught:
        network.run()
    first = next(leaves(caught.value))
    assert [box.name for box in picture.boxes] == ["phil 1", "phil 2", "phil 3"]
    for box in picture.boxes:
        (out,) = (conduit for conduit in picture.conduits if box.key in conduit.writers)
        (partner,) = (other for other in picture.boxes if other.key in out.readers)
        line = rf"{box.name} \(pid \d+\) sends to {out.name}, whose reader is {partner.name}:"
        assert re.search(line, str(first)), (line, str(first))
    assert "in process 'phil 1' (OS process, pid " in first.__notes__[0]


@pytest.mark.parametrize("waits_in", ["thread", "loop"])
def test_who_only_joins_others_finds_that_nobody_acts_any_more(waits_in: str) -> None:
    """At first there is a thread that might; then nobody waits in this process, but for the others' end."""
    there, _ = pair()
    kept = there.writer()
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    ender = threading.Timer(0.4, over.set)
    thread.start()
    ender.start()
    with pytest.raises(ExceptionGroup) as caught:
        if waits_in == "thread":
            Parallel(receives(there.reader()))
        else:
            asyncio.run(in_loop(receives(there.reader())))
    assert over.is_set()
    (error,) = leaves(caught.value)
    assert "receives from 'there', whose writer is main" in str(error)
    assert not kept.closed
    thread.join()


async def in_loop(part: Description[Any]) -> None:
    await Parallel(part)


def test_another_network_that_goes_on_does_not_hide_it_nor_is_it_harmed() -> None:
    there, back = pair()
    other, stop = Channel[int]("other"), Channel[str]("stop")
    a, b = pair()
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(
            sends_first(there.writer(), back.reader()),
            sends_first(back.writer(), there.reader()),
            ping(a.writer(), b.reader(), 20_000),
            pong(a.reader(), b.writer()),
            receives_all(other.reader()),
            sends_after(other.writer(), 0.3),
        )
    del stop
    assert len(list(leaves(caught.value))) == 2


# --- what is none


def test_a_time_limit_is_not_a_deadlock() -> None:
    there, back = pair()
    got = Parallel(receives_in_time(there.reader(), 0.6), selects_in_time(back.reader(), there.writer(), 0.3))
    assert got[1] == "timeout"


@pytest.mark.parametrize("kind", KINDS)
def test_a_partner_that_takes_its_time_is_not_a_deadlock(kind: Any) -> None:
    there, _ = pair()
    got = Parallel(
        receives_all(there.reader()), [sends_after.with_kind(kind)(there.writer(), n * 0.2) for n in range(4)]
    )
    assert got[0] == ["late"] * 4


def test_a_thread_of_the_program_may_still_act() -> None:
    there, _ = pair()
    kept = there.writer()

    def later() -> None:
        time.sleep(0.6)
        kept.send("from a thread")

    thread = threading.Thread(target=later)
    thread.start()
    assert Parallel(receives(there.reader())) == ["from a thread"]
    thread.join()


def test_a_thread_that_takes_part_in_another_arena_may_still_act() -> None:
    there, _ = pair()
    other = Channel[int]("elsewhere", arena=Arena.create(1 << 20))
    kept, out = there.writer(), other.writer()

    def later() -> None:
        kept.send(other.reader().recv())

    thread = threading.Thread(target=later)
    thread.start()
    running = Spawn(receives(there.reader()))
    time.sleep(0.6)
    out.send(7)
    assert running.join() == [7]
    thread.join()


@pytest.mark.parametrize("body", [receives, task_receives])
def test_a_task_of_the_program_may_still_act(body: Any) -> None:
    async def main() -> list[Any]:
        there, back = pair()
        out, inp = there.writer(), back.reader()

        async def first() -> None:
            assert await inp.arecv() == "late"
            asyncio.get_running_loop().call_later(0.6, lambda: acting.append(asyncio.create_task(second())))

        async def second() -> None:
            await asyncio.sleep(0.6)
            await out.asend("from a task")

        acting = [asyncio.create_task(first())]
        got = await Parallel(body(there.reader()), sends_after(back.writer(), 0.6))
        assert len(acting) == 2
        return got

    assert asyncio.run(main()) == ["from a task", None]


def test_networks_that_only_talk_a_lot_never_raise_it() -> None:
    networks: list[Description[int]] = []
    for _ in range(4):
        a, b = pair()
        networks += [ping(a.writer(), b.reader(), 3000), pong(a.reader(), b.writer())]
    assert [n for n in Parallel(networks) if n is not None] == [3000] * 4


# --- a task that waits without await holds up its event loop


@process
async def sends_without_await(out: Any) -> None:
    for i in range(3):
        out.send(i)


@process
async def receives_without_await(inp: Any) -> Any:
    return inp.recv()


@process
async def selects_without_await(inp: Any) -> Any:
    return select(inp).value


@process
async def chooses_without_await(inp: Any, other: Any) -> Any:
    return select(inp, other).value


@process
async def syncs_without_await(here: Any) -> None:
    here.sync()


@process
async def syncs_task(here: Any) -> None:
    await here.async_sync()


@process
async def task_receives_all(inp: Any) -> list[Any]:
    return [value async for value in inp]


@process
async def task_sends(out: Any) -> None:
    await out.asend("sent")


@pytest.mark.parametrize("it_comes", ["first", "last"])
@pytest.mark.parametrize("call", ["send", "recv", "select", "sync", "choice"])
def test_a_forgotten_await(call: str, it_comes: str) -> None:
    there, back = pair()
    barrier = Barrier("all")
    cases = {
        "send": (sends_without_await, (there.writer(),), "out.asend(...)", task_receives_all(there.reader())),
        "recv": (receives_without_await, (there.reader(),), "inp.arecv()", task_sends(there.writer())),
        "select": (selects_without_await, (there.reader(),), "inp.arecv()", task_sends(there.writer())),
        "sync": (syncs_without_await, (barrier.enrol(),), "here.async_sync()", syncs_task(barrier.enrol())),
        "choice": (
            chooses_without_await,
            (there.reader(), back.reader()),
            "aselect(...)",
            task_sends(there.writer()),
        ),
    }
    forgets, args, instead, partner = cases[call]
    parts = [forgets(*args), partner] if it_comes == "first" else [partner, forgets(*args)]
    if call == "send" or it_comes == "first":
        (found,) = deadlocked(*parts)
        text = str(found)
        assert f'in {forgets.__name__}; it blocks the event loop: write "await {instead}"' in text, text
    else:  # the partner waits already, and one value is all that is asked of it
        Parallel(*parts)


@process
async def receives_one(inp: Any) -> Any:
    return await inp.arecv()


def test_the_partner_of_one_that_has_forgotten_await_is_named() -> None:
    there, back = pair()
    (found,) = deadlocked(
        [task_receives_all(there.reader()), receives_one(back.reader())],
        sends_without_await(there.writer()),
        task_sends(back.writer()),
    )
    text = str(found)
    assert "sends_without_await (task, pid" in text
    assert "sends to 'there', whose reader is task_receives_all: " in text, text


@pytest.mark.parametrize("kind", ["process", "thread", "another loop"])
def test_a_loop_may_wait_for_what_others_bring_about(kind: str) -> None:
    """As a cell of a notebook does, in whose thread the loop of the kernel runs."""

    async def cell() -> Any:
        channel, never = pair()
        inp, out, silent = channel.reader(), channel.writer(), never.writer()
        other = asyncio.create_task(never.reader().arecv())  # another task of this loop waits
        await asyncio.sleep(0.1)
        if kind == "another loop":
            thread = threading.Thread(target=lambda: asyncio.run(sends_in_loop(out)))
            thread.start()
            value = inp.recv()
            thread.join()
        else:
            running = Spawn(sends_after.with_kind(kind)(out, 0.6))  # type: ignore[arg-type]
            value = inp.recv()
            running.join()
        assert not other.done() and not silent.closed
        other.cancel()
        return value

    assert asyncio.run(cell()) == "late"


async def sends_in_loop(out: Any) -> None:
    await asyncio.sleep(0.6)
    await out.asend("late")


def test_a_time_limit_ends_the_wait_of_a_loop() -> None:
    async def cell() -> None:
        there, _ = pair()
        inp, out = there.reader(), there.writer()
        task = asyncio.create_task(out.asend(1))
        with pytest.raises(TimeoutError):
            inp.recv(timeout=0.4)
        assert await inp.arecv() == 1
        await task

    asyncio.run(cell())


@pytest.mark.parametrize("call", ["out.send(1)", "inp.recv()", "select(inp, other)", "here.sync()"])
def test_the_first_ctrl_c_ends_the_wait_of_a_loop(call: str) -> None:
    """asyncio's handler of it only cancels the main task, which cannot run."""
    program = """
        import asyncio, signal, threading, time
        from interproc import _core
        from interproc.csp import Barrier, Channel, select

        signal.signal(signal.SIGINT, signal.default_int_handler)

        async def waits():
            threading.Thread(target=watches, daemon=True).start()  # which may act: it is no deadlock
            CALL

        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(waits())
                group.create_task(asyncio.sleep(3600))

        def watches():
            while not any("stalls" in party["mode"] for party in _core.parties()):
                time.sleep(0.01)
            print("waits", flush=True)
            threading.Event().wait()

        c, d, e = Channel("c"), Channel("d"), Channel("e")
        out, taken, inp, other = c.writer(), c.reader(), d.reader(), e.reader()
        given = d.writer(), e.writer()
        barrier = Barrier("all")
        here, missing = barrier.enrolments(2)
        asyncio.run(main())
    """
    program = textwrap.dedent(program).replace("CALL", call)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == b"waits\n"
            os.kill(child.pid, signal.SIGINT)
            _, told = child.communicate(timeout=30)
        finally:
            child.kill()
    assert told.rstrip().endswith(b"KeyboardInterrupt"), told.decode()
    assert b"in waits\n" in told, told.decode()


# --- arenas of their own


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_channel_at_the_top_level_is_another_one_in_each_process(method: str, tmp_path: Path) -> None:
    script = tmp_path / "top.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import interproc
            from interproc.csp import Channel, Parallel, process

            c = Channel("c")

            @process
            def sends():
                c.writer().send(1)

            @process
            def receives():
                return list(c.reader())

            if __name__ == "__main__":
                interproc.set_start_method(sys.argv[1])
                Parallel(sends(), receives())
            """
        )
    )
    ended = subprocess.run([sys.executable, script, method], capture_output=True, timeout=60)
    told = ended.stderr.decode()
    assert re.search(r"sends \(pid \d+\) sends to 'c', whose reader no process has", told), told
    assert re.search(r"receives \(pid \d+\) receives from 'c', whose writer no process has", told), told


def test_a_circle_in_another_arena() -> None:
    arena = Arena.create(1 << 22)
    there, back = Channel[Any]("there", arena=arena), Channel[Any]("back", arena=arena)
    found = deadlocked(
        sends_first(there.writer(), back.reader()).with_name("P"),
        sends_first(back.writer(), there.reader()).with_name("Q"),
    )
    assert len(found) == 2
    assert re.search(r"P \(pid \d+\) sends to 'there', whose reader is Q", str(found[0])), found[0]


def test_who_waits_in_one_arena_may_yet_act_in_another() -> None:
    there, back = Channel[Any]("there"), Channel[Any]("back", arena=Arena.create(1 << 22))
    results = Parallel(
        receives.with_kind("thread")(there.reader()),
        passes_on.with_kind("thread")(back.reader(), there.writer()),
        sends_after.with_kind("thread")(back.writer(), 0.6),
    )
    assert results[0] == "late"
