"""The types of channels, choice and barriers: a program as users write it under mypy --strict."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_types import as_written, mypy, stated

PROGRAM = """
import math
import interproc
from interproc.csp import (
    Barrier, Channel, ChannelRetire, ChannelTimeout, Choice, Guard, Kind, Reader, Received, Selected, Sent,
    Sliding, TimedOut, Writer, after, aselect, aselecting, poison, process, retire, select, selecting, skip,
)

numbers = Channel[int]("numbers", buffer=Sliding(3))
endless: Channel[str] = Channel(buffer=math.inf)
anything = Channel("anything")
reveal_type(anything)  # interproc.csp.channels.Channel[Any]
reveal_type(anything.reader().recv())  # Any
reveal_type(numbers)  # interproc.csp.channels.Channel[int]
reveal_type(numbers * 3)  # list[interproc.csp.channels.Channel[int]]
inp = numbers.reader()
out = numbers.writer()
reveal_type(inp)  # interproc.csp.channels.Reader[int]
reveal_type(out)  # interproc.csp.channels.Writer[int]
reveal_type(+endless)  # interproc.csp.channels.Reader[str]
reveal_type(-endless)  # interproc.csp.channels.Writer[str]
reveal_type(inp.recv())  # int
reveal_type(inp(timeout=1.5))  # int
reveal_type([value for value in inp])  # list[int]
out.send(1, timeout=2)
out(1)
with numbers.reader() as own:
    reveal_type(own)  # interproc.csp.channels.Reader[int]
reveal_type(numbers.info().passed)  # int
poison(inp, numbers)
retire(out)


def square(jobs: Reader[int], results: Writer[int]) -> None:
    for job in jobs:
        results.send(job * job)


square(inp, out)


def report(values: Reader[object], out: Writer[bool]) -> None:
    "Whoever reads objects can read numbers; whoever writes truths can write where numbers go."
    out.send(bool(values.recv()))


report(inp, out)
kind: Kind = "thread"
reveal_type(process(report).with_kind(kind).name)  # str
reveal_type(interproc.csp.parts.sink(inp).kind)  # Literal['process'] | Literal['thread'] | Literal['task']
guards: list[Guard] = [inp, (out, 3), after(1), None]
select(*guards)
try:
    inp.recv(1)
except ChannelTimeout as late:
    reveal_type(late.end is inp)  # bool
except ChannelRetire as over:
    if isinstance(over.end, Reader):
        reveal_type(over.end.name)  # str

here = Barrier("step").enrol()
reveal_type(here)  # interproc.csp.barrier.Enrolment
match select(inp, out.sending(2), (out, 3), here, after(0.5), skip(), None, timeout=1):
    case Received(value=value):
        reveal_type(value)  # Any
    case Sent(end):
        reveal_type(end)  # interproc.csp.channels.Writer[Any]
    case TimedOut(index=index):
        reveal_type(index)  # int
end, value = select(inp, priority=True)
events: list[Selected] = [event for event in selecting(inp)]
reveal_type(Choice(inp, strict=True).select().index)  # int


async def task() -> None:
    reveal_type(await inp.arecv(1))  # int
    await out.asend(1, timeout=1)
    async for number in inp:
        reveal_type(number)  # int
    async for event in aselecting(inp, out.sending(1)):
        reveal_type(event.index)  # int
    reveal_type((await aselect(inp)).name)  # str | None
    await here.async_sync(1)
"""

MISTAKES = """
from interproc.csp import Barrier, Channel, Reader, Writer, select

channel = Channel[int]()
channel.writer().send("x")  # error
channel.writer()("x")  # error
wrong: Reader[str] = channel.reader()  # error
objects: Reader[object] = channel.reader()
numbers: Reader[bool] = channel.reader()  # error
truths: Writer[bool] = channel.writer()
anything: Writer[object] = channel.writer()  # error
channel.send(1)  # error
select("x")  # error
select(channel.reader(), priority="yes")  # error
Channel[int](buffer="big")  # error
Barrier(3)  # error


async def task() -> None:
    await channel.writer().asend("x")  # error
"""


@pytest.mark.timeout(120)
def test_what_a_typed_program_gets(tmp_path: Path) -> None:
    answer = mypy(PROGRAM, tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    said = {
        int(line.split(":")[1]): as_written(line.split('Revealed type is "')[1].rstrip('"'))
        for line in answer.stdout.splitlines()
        if "Revealed type" in line
    }
    assert said == stated(PROGRAM)


@pytest.mark.timeout(120)
def test_mistakes_are_found(tmp_path: Path) -> None:
    answer = mypy(MISTAKES, tmp_path)
    found = {int(line.split(":")[1]) for line in answer.stdout.splitlines() if ": error:" in line}
    assert found == {n for n, line in enumerate(MISTAKES.splitlines(), 1) if line.endswith("# error")}
