"""interproc.csp.pycsp: what a program written for PyCSP can tell, and where it is other on purpose."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from dropin.support import SOON, until

from interproc import _core
from interproc.csp import ChannelPoison, ChannelRetire, ProcessKilled, pycsp
from interproc.csp.pycsp import (
    IN,
    OUT,
    PYCSP_PORT,
    SOCKETS_CONNECT_TIMEOUT,
    Alternation,
    AltSelect,
    Channel,
    ChannelConnectException,
    ChannelPoisonException,
    ChannelRetireException,
    Configuration,
    FairSelect,
    InfoException,
    InputGuard,
    MultiProcess,
    OutputGuard,
    Parallel,
    PriSelect,
    Process,
    Sequence,
    SkipGuard,
    Spawn,
    TimeoutGuard,
    choice,
    current_process_id,
    io,
    multiprocess,
    poison,
    process,
    retire,
    shutdown,
)

# What PyCSP 0.9.2's `from pycsp.parallel import *` gives.
# fmt: off
NAMES = [
    "Skip", "SkipGuard", "Timeout", "TimeoutGuard", "InputGuard", "OutputGuard", "choice",
    "Alternation", "FairSelect", "PriSelect", "AltSelect", "Channel", "retire", "poison", "Process",
    "process", "MultiProcess", "multiprocess", "ClusterProcess", "clusterprocess", "SSHProcess",
    "sshprocess", "Sequence", "Parallel", "Spawn", "current_process_id", "shutdown",
    "ChannelRetireException", "ChannelPoisonException", "ChannelSocketException",
    "ChannelConnectException", "ChannelBindException", "ChannelLostException", "InfoException",
    "FatalException", "io", "Io", "Configuration", "SOCKETS_CONNECT_TIMEOUT",
    "SOCKETS_CONNECT_RETRY_DELAY", "SOCKETS_BIND_TIMEOUT", "SOCKETS_BIND_RETRY_DELAY", "PYCSP_PORT",
    "PYCSP_HOST", "SOCKETS_STRICT_MODE", "version",
]
# fmt: on

KINDS = pytest.mark.parametrize("kind", [process, multiprocess], ids=["threads", "OS processes"])


def send(cout: Any, values: Any) -> None:
    for value in values:
        cout(value)


def send_and_retire(cout: Any, values: Any) -> None:
    send(cout, values)
    retire(cout)


def receive(cin: Any, n: int) -> list[Any]:
    return [cin() for _ in range(n)]


def receive_all(cin: Any) -> tuple[list[Any], str]:
    found = []
    try:
        while True:
            found.append(cin())
    except ChannelRetireException:
        return found, "retired"
    except ChannelPoisonException:
        return found, "poisoned"


def copy(cin: Any, cout: Any, *others: Any) -> None:
    while True:
        cout(cin())


# ---- names


def test_all_of_pycsps_names_are_there() -> None:
    assert set(NAMES) <= set(pycsp.__all__)
    for name in pycsp.__all__:
        assert hasattr(pycsp, name), name
    assert pycsp.Skip is SkipGuard and pycsp.Timeout is TimeoutGuard
    assert pycsp.version[3] == "parallel"
    assert ChannelPoisonException is ChannelPoison and ChannelRetireException is ChannelRetire


def test_the_configuration_is_one() -> None:
    assert Configuration() is Configuration()
    assert Configuration().get(SOCKETS_CONNECT_TIMEOUT) == 2
    Configuration().set(PYCSP_PORT, 9998)
    try:
        assert Configuration().get(PYCSP_PORT) == 9998
    finally:
        Configuration().set(PYCSP_PORT, 0)
    with pytest.raises(KeyError):
        Configuration().get(99)


def test_what_is_on_other_machines_says_so() -> None:
    with pytest.raises(ChannelConnectException):
        Channel("there", connect=("localhost", 1))
    for elsewhere in (pycsp.sshprocess, pycsp.SSHProcess, pycsp.clusterprocess, pycsp.ClusterProcess):
        with pytest.raises(InfoException, match="multiprocess"):
            elsewhere(ssh_host="there")


def test_io_changes_nothing() -> None:
    assert io(abs) is abs


# ---- channels


def test_a_channel_and_its_ends() -> None:
    channel = Channel("jobs", buffer=2)
    assert channel.name == "jobs" and channel.buffer == 2
    cin, cout = +channel, -channel
    assert cin.isReader() and not cin.isWriter() and cout.isWriter() and not cout.isReader()
    assert "jobs" in repr(cin) and "jobs" in repr(cout) and "jobs" in repr(channel)
    cout(1)
    IN(channel)  # another reader, which takes nothing
    OUT(channel)(2)
    assert [cin(), cin()] == [1, 2]
    assert len(Channel() * 3) == len(3 * Channel(buffer=4)) == 3
    assert [one.buffer for one in Channel(buffer=4) * 2] == [4, 4]
    with pytest.raises(InfoException):
        Channel("n" * 33)


def test_an_end_of_a_moment_leaves_the_channel_open() -> None:
    """Though nobody refers to it any more: only retire() takes it away."""
    channel = Channel(buffer=2)
    cin = +channel
    for number in range(4):
        (-channel)(number)
        gc.collect()
        assert cin() == number


ONE_END = """
import gc
from interproc.csp import Deadlock
from interproc.csp.pycsp import Channel

cin = Channel(buffer=1).reader()
gc.collect()
try:
    cin()
except Deadlock:
    cin.channel.writer()(5)
    print(cin())
"""


def test_ends_keep_a_channel_open_that_nobody_else_refers_to() -> None:
    """In a program of its own, in which nobody else could come by an end."""
    done = subprocess.run([sys.executable, "-c", ONE_END], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("5\n", "", 0)


@KINDS
def test_a_process_that_returns_leaves_its_ends_as_they_are(kind: Any) -> None:
    """One of two writers has returned; a choice among both goes on with the other."""

    def both(one: Any, other: Any) -> list[Any]:
        return sorted(AltSelect(InputGuard(one), InputGuard(other))[1] for _ in range(6))

    a, b = Channel(), Channel()
    results = Parallel(kind(send)(-a, [1]), kind(send)(-b, range(2, 7)), kind(both)(+a, +b))
    assert results == [None, None, [1, 2, 3, 4, 5, 6]]
    assert Parallel(kind(send)(-a, [7]), kind(receive)(+a, 1))[1] == [7]  # and it can be used on


@KINDS
def test_the_last_end_of_a_side_to_retire_ends_the_channel(kind: Any) -> None:
    channel = Channel()
    writers = kind(send_and_retire)(-channel, range(5)) * 3
    results = Parallel(writers, kind(receive_all)(+channel))
    found, how = results[-1]
    assert sorted(found) == sorted(3 * list(range(5))) and how == "retired"
    with pytest.raises(ChannelRetireException):
        (-channel)(1)
    with pytest.raises(ChannelRetireException):
        (+channel)()


def test_readers_that_have_retired_end_the_channel_for_writers() -> None:
    channel = Channel()
    cout, readers = -channel, [+channel, +channel]
    retire(readers[0])
    assert Parallel(process(send)(cout, [1]), process(receive)(readers[1], 1))[1] == [1]
    retire(readers)
    with pytest.raises(ChannelRetireException):
        cout(2)


def test_an_end_is_retired_where_it_has_got_to() -> None:
    """It was made here, and is still referred to here; the OS process that it was given to retires it."""
    channel = Channel()
    cin, cout = +channel, -channel
    Spawn(multiprocess(send_and_retire)(cout, range(3)))
    assert receive_all(cin) == ([0, 1, 2], "retired")
    shutdown()
    with pytest.raises(ChannelRetireException):
        cout(1)


def test_a_retired_end_is_not_used_any_more() -> None:
    channel = Channel(buffer=3)
    cout, other, cin = -channel, -channel, +channel
    retire(cout)
    retire(cout)
    with pytest.raises(ChannelRetireException):
        cout(1)
    other(2)
    assert cin() == 2
    poison(other)
    with pytest.raises(ChannelPoisonException):
        other(3)


def test_what_is_in_a_buffer_is_read_after_the_writers_have_gone() -> None:
    for end, how in ((retire, "retired"), (poison, "poisoned")):
        channel = Channel(buffer=5)
        cout = -channel
        send(cout, range(4))
        end(cout)
        with pytest.raises(ChannelPoisonException if end is poison else ChannelRetireException):
            cout(5)
        assert receive_all(+channel) == ([0, 1, 2, 3], how)
        assert receive_all(+channel) == ([], how)


def test_a_reader_poisons_what_is_in_a_buffer() -> None:
    channel = Channel(buffer=5)
    cin, cout = +channel, -channel
    cout(1)
    poison(cin)
    for use in (lambda: (+channel)(), lambda: cout(2)):
        with pytest.raises(ChannelPoisonException):
            use()


def test_readers_that_wait_are_told_when_the_last_of_a_buffer_is_read() -> None:
    """Two readers, one message, and a writer that retires meanwhile: one has it, and both end."""
    for _ in range(20):
        channel = Channel(buffer=3)
        results = Parallel(
            process(receive_all)(+channel) * 2,
            process(send_and_retire)(-channel, [1]),
            process(receive_all)(+channel),
        )
        found = [result for result in results if result is not None]
        assert sorted(found) == [([], "retired"), ([], "retired"), ([1], "retired")]


def test_retire_and_poison_are_for_ends() -> None:
    for what in (retire, poison):
        with pytest.raises(InfoException):
            what(Channel())


# ---- poison and retire in a network


@KINDS
def test_poison_that_leaves_a_process_goes_on_to_its_arguments(kind: Any) -> None:
    a, b, c = Channel(), Channel(), Channel()
    first = -a
    Spawn(kind(copy)(+a, -b), kind(copy)(+b, -c, {"others": [first]}))
    first(1)
    cin = +c
    assert cin() == 1
    poison(first)
    with pytest.raises(ChannelPoisonException):
        cin()
    shutdown()


@KINDS
def test_retire_that_leaves_a_process_goes_on_to_its_arguments_and_to_no_others(kind: Any) -> None:
    a, b, c = Channel(), Channel(), Channel()
    mine = -c

    def work(cin: Any, cout: Any) -> None:
        mine.isWriter()  # it has this one, too, but not from its arguments
        copy(cin, cout)

    Parallel(kind(work)(+a, -b), kind(send_and_retire)(-a, []))
    with pytest.raises(ChannelRetireException):
        (+b)()
    assert Parallel(process(send)(mine, [1]), process(receive)(+c, 1))[1] == [1]


# ---- ends that move


def test_an_end_that_comes_back_is_the_same() -> None:
    there, back = Channel(buffer=1), Channel(buffer=1)
    cin = +there
    (-there)({"ends": [cin, -back]})
    ends = cin()["ends"]
    assert ends[0] is cin
    retire(ends[0])
    with pytest.raises(ChannelRetireException):
        cin()


def answer(door: Any, n: int) -> None:
    for _ in range(n):
        question, reply = door()
        reply(question * 2)


def answer_once(door: Any) -> None:
    question, reply = door()
    reply(question * 2)
    retire(reply)


@KINDS
def test_an_end_to_answer_by_can_be_sent_again_and_again(kind: Any) -> None:
    """Whoever has it, drops it after each answer; that retires nothing."""
    door, replies = Channel(), Channel()
    Spawn(kind(answer)(+door, 3))
    ask, reply, cin = -door, -replies, +replies
    for number in range(3):
        ask((number, reply))
        assert cin() == 2 * number
    shutdown()


@KINDS
def test_an_end_that_was_sent_is_retired_by_who_has_it(kind: Any) -> None:
    door, replies = Channel(), Channel()
    Spawn(kind(answer_once)(+door))
    cin = +replies
    (-door)((4, -replies))
    assert receive_all(cin) == ([8], "retired")
    shutdown()


def test_a_channel_can_be_given_to_a_process() -> None:
    def work(channel: Any) -> None:
        send(channel.writer(), range(3))

    for kind in (process, multiprocess):
        channel = Channel()
        assert Parallel(kind(work)(channel), process(receive)(+channel, 3))[1] == [0, 1, 2]


# ---- messages


def test_what_cannot_be_pickled_stays_in_its_process() -> None:
    lock = threading.Lock()
    channel = Channel()
    for message in (lock, lock, [lock]):
        got = Parallel(process(send)(-channel, [message]), process(receive)(+channel, 1))[1]
        assert got[0] is message
    got = Parallel(
        process(lambda cout: AltSelect(OutputGuard(cout, msg=lock)))(-channel), process(receive)(+channel, 1)
    )
    assert got[1][0] is lock
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(process(send)(-channel, [lock]), multiprocess(receive)(+channel, 1))
    assert "cannot be pickled" in str(caught.value.exceptions[0])


def test_what_is_sent_is_a_copy() -> None:
    channel = Channel()
    message = [1, 2]
    got = Parallel(process(send)(-channel, [message]), process(receive)(+channel, 1))[1]
    assert got == [message] and got[0] is not message


# ---- processes


def double(number: int, add: int = 0) -> int:
    return 2 * number + add


def fail(*ends: Any) -> None:
    raise LookupError("it went wrong")


@KINDS
def test_results_come_in_order(kind: Any) -> None:
    maker = kind(double)
    assert maker.__name__ == "double"
    assert Parallel(maker(1), [maker(2), maker(3, add=1)], 2 * maker(4)) == [2, 4, 7, 8, 8]
    assert Sequence(maker(1) * 2, maker(5)) == [2, 2, 10]
    assert Parallel() == Sequence() == []


def test_processes_by_their_classes() -> None:
    for cls in (Process, MultiProcess):
        one = cls(double, 3, add=1)
        assert one.name == "double" and not one.is_alive()
        with pytest.raises(RuntimeError):
            one.join()
        one.start()
        assert one.join_report() == 7 == one.return_value
        with pytest.raises(RuntimeError):
            one.start()
    assert MultiProcess(double, 1, pycsp_host="localhost", pycsp_port=0).kwargs == {}
    assert Parallel(multiprocess(pycsp_host="localhost")(double)(1), pycsp_port=9) == [2]
    with pytest.raises(InfoException):
        Parallel(MultiProcess(double, 1), ssh_host="there")
    with pytest.raises(InfoException):
        Parallel(double)


def test_a_multiplied_process_has_ends_of_its_own() -> None:
    channel = Channel()
    one, other = process(send)(-channel, {"deep": [+channel]}) * 2
    assert one.args[0] is not other.args[0]
    assert one.args[1]["deep"][0] is not other.args[1]["deep"][0]
    for end in (one.args[0], other.args[0]):
        retire(end)
    with pytest.raises(ChannelRetireException):
        one.args[1]["deep"][0]()


@KINDS
def test_who_runs_is_named(kind: Any) -> None:
    assert current_process_id() == "__main__"
    ids = Parallel(kind(current_process_id)() * 3)
    assert len({*ids, "__main__"}) == 4
    assert all(id.endswith("current_process_id") for id in ids)


@KINDS
def test_a_process_waits_for_whom_it_has_spawned(kind: Any) -> None:
    def nested(cout: Any) -> int:
        Spawn(kind(send)(cout, [1, 2]))
        with pytest.raises(InfoException):
            shutdown()
        return 5

    channel = Channel(buffer=2)
    assert Parallel(kind(nested)(-channel)) == [5]
    assert receive(+channel, 2) == [1, 2]


@KINDS
def test_a_failure_ends_the_network_and_is_raised(kind: Any) -> None:
    a, b = Channel(), Channel()
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(kind(fail)(+a, -b), kind(send)(-a, [1]), kind(receive)(+b, 1))
    [error] = caught.value.exceptions
    assert isinstance(error, LookupError) and "fail" in error.__notes__[0]
    with pytest.raises(ChannelPoisonException):
        (+b)()


@KINDS
def test_a_failure_of_one_that_was_spawned_is_raised_by_shutdown(kind: Any) -> None:
    channel = Channel()
    Spawn(kind(fail)(-channel))
    with pytest.raises(ChannelPoisonException):
        (+channel)()
    with pytest.raises(ExceptionGroup):
        shutdown()
    shutdown()


def test_a_killed_process_poisons_what_it_was_given() -> None:
    def die(cout: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    channel = Channel()
    with pytest.raises(ExceptionGroup) as caught:
        Parallel(multiprocess(die)(-channel), multiprocess(receive)(+channel, 1))
    assert [type(error) for error in caught.value.exceptions] == [ProcessKilled]


@pytest.mark.parametrize("kind", ["process", "multiprocess"])
def test_a_deadlock_is_told(kind: str) -> None:
    """In a program of its own: here, threads of other tests may still run, who might end it."""
    program = f"""
from interproc.csp import Deadlock
from interproc.csp.pycsp import *

@{kind}
def copy(cin, cout):
    while True:
        cout(cin())

a, b = Channel("a"), Channel("b")
try:
    Parallel(copy(+a, -b), copy(+b, -a))
except* Deadlock as group:
    print(len(group.exceptions), "from 'a'" in str(group.exceptions[0]), str(group.exceptions[1])[:16])
"""
    child = run(program)
    out, err = child.communicate(timeout=SOON)
    assert (out, err, child.returncode) == ("2 True as above: copy 2\n", "", 0)


# ---- choice


def test_alternation_takes_guards_in_each_form() -> None:
    a, b = Channel(buffer=1), Channel(buffer=1)
    cin, cout = +a, -b
    said: list[Any] = []

    @choice
    def note(prefix: str, channel_input: Any = None) -> None:
        said.append((prefix, channel_input))

    (-a)(1)
    assert Alternation([{cin: note("in")}]).execute() == (cin, 1)
    assert Alternation([{(cout, 2): note("out")}]).execute() == (cout, None)
    assert (
        Alternation([(cin, note("in")), (cout, 3, None), (TimeoutGuard(0.01), note("late"))]).execute()[1]
        is None
    )
    skip = SkipGuard()
    assert Alternation([{cin: None}, {skip: "said.append('skipped')"}]).execute() == (skip, None)
    (-a)(4)
    assert Alternation([InputGuard(cin, action="said.append(channel_input)")]).select() == (cin, 4)
    assert said == [("in", 1), ("out", None), ("late", None), "skipped"]
    for bad in ([3], [{3: None}], [(3, None)]):
        with pytest.raises((InfoException, TypeError)):
            Alternation(bad)


def test_actions_are_code_functions_or_choices() -> None:
    channel = Channel(buffer=3)
    cin, cout = +channel, -channel
    said: list[Any] = []

    def called(channel_input: Any) -> None:
        said.append(channel_input)

    for action in ("said.append(channel_input)", called, choice(called)()):
        assert AltSelect(OutputGuard(cout, msg=len(said), action=None)) == (cout, None)
        assert FairSelect([InputGuard(cin, action=action)]) == (cin, len(said) - 1)
    assert said == [0, 1, 2]
    with pytest.raises((InfoException, TypeError)):
        AltSelect(InputGuard(cin, action=choice(called)))
    with pytest.raises(InfoException):
        InputGuard(cout)
    with pytest.raises(InfoException):
        OutputGuard(cin, msg=1)
    with pytest.raises(InfoException):
        AltSelect(cin)


def test_priority() -> None:
    """The first that is ready; none after a SkipGuard."""
    a, b = Channel(buffer=9), Channel(buffer=9)
    first, second = +a, +b
    send(-a, range(3))
    send(-b, range(3))
    assert [PriSelect(InputGuard(first), InputGuard(second))[0] for _ in range(4)] == [first] * 3 + [second]
    skip = SkipGuard()
    assert PriSelect(InputGuard(first), skip, InputGuard(second)) == (skip, None)
    late = TimeoutGuard(seconds=0.01)
    assert PriSelect([InputGuard(first), late]) == (late, None)


def test_a_choice_is_fair() -> None:
    channels = Channel(buffer=100) * 3
    for channel in channels:
        send(-channel, range(90))
    guards = [InputGuard(+channel) for channel in channels]
    for select in (FairSelect, AltSelect):
        chosen = [select(*guards)[0] for _ in range(90)]
        assert all(chosen.count(guard.key) > 10 for guard in guards)


@KINDS
def test_both_sides_may_choose(kind: Any) -> None:
    def writer(*ends: Any) -> None:
        for number in range(20):
            AltSelect(*(OutputGuard(end, number) for end in ends))
        retire(*ends)

    def reader(*ends: Any) -> list[int]:
        found = []
        try:
            while True:
                found.append(AltSelect(*(InputGuard(end) for end in ends))[1])
        except ChannelRetireException:
            return found

    channels = Channel() * 3
    results = Parallel(
        [kind(writer)(*(-channel for channel in channels)) for _ in range(2)],
        [kind(reader)(*(+channel for channel in channels)) for _ in range(2)],
    )
    assert sorted(results[2] + results[3]) == sorted(2 * list(range(20)))


def test_a_choice_is_told_what_has_ended_a_channel() -> None:
    for end, error in ((retire, ChannelRetireException), (poison, ChannelPoisonException)):
        a, b = Channel(), Channel(buffer=1)
        ends = -a, -b
        guards = InputGuard(+a), InputGuard(+b)
        alt = Alternation(guards)
        end(ends[0])
        with pytest.raises(error):
            alt.select()
        with pytest.raises(error):
            AltSelect(OutputGuard(-a, 1), InputGuard(+b))
        ends[1](1)
        end(ends[1])
        assert AltSelect(guards[1])[1] == 1
        with pytest.raises(error):
            AltSelect(guards[1])
        with pytest.raises(error):
            AltSelect(OutputGuard(-b, 1))


def test_poison_ends_a_choice_that_waits() -> None:
    a, b = Channel(), Channel()

    @process
    def wait(*ends: Any) -> str:
        try:
            FairSelect(*(InputGuard(end) for end in ends))
        except ChannelPoisonException:
            return "poisoned"
        return "chosen"

    def waits() -> bool:
        return a._base.info().readers_waiting > 0

    @process
    def end(cout: Any) -> None:
        until(waits)
        poison(cout)

    assert Parallel(wait(+a, +b), end(-b))[0] == "poisoned"


# ---- the whole of it


def run(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_each_way_of_starting_an_os_process(method: str) -> None:
    program = f"""
import interproc
from interproc.csp.pycsp import *

@multiprocess
def work(cin, cout, offset):
    while True:
        cout(cin() + offset)

if __name__ == "__main__":
    interproc.set_start_method({method!r})
    a, b = Channel(), Channel(buffer=3)
    first, last = a.writer(), b.reader()
    Spawn(2 * work(a.reader(), b.writer(), 10))
    for number in range(4):
        first(number)
    retire(first)
    found = []
    try:
        while True:
            found.append(last())
    except ChannelRetireException:
        print(sorted(found))
    shutdown()
"""
    child = run(program)
    out, err = child.communicate(timeout=SOON)
    assert (out, err, child.returncode) == ("[10, 11, 12, 13]\n", "", 0)


def test_ctrl_c_ends_a_network() -> None:
    program = """
from interproc.csp.pycsp import *

def copy(cin, cout):
    while True:
        cout(cin())

def start(cout, cin):
    cout(0)
    print("begun", flush=True)
    while True:
        cout(cin())

a, b, c = Channel(), Channel(), Channel()
try:
    Parallel(process(copy)(+a, -b), multiprocess(copy)(+b, -c), process(start)(-a, +c))
except KeyboardInterrupt:
    print("ended", flush=True)
"""
    child = run(program)
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline() == "begun\n"
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=SOON)
    assert (out, err, child.returncode) == ("ended\n", "", 0)
    assert time.monotonic() - began < SOON


def test_channels_that_are_dropped_are_freed() -> None:
    def objects() -> int:
        gc.collect()
        return len(_core.Arena.default().objects())

    def make() -> None:
        channel = Channel(buffer=1)
        (-channel)(+channel)
        (+channel)()

    make()
    before = objects()
    for _ in range(300):
        make()
    assert objects() <= before + 5
