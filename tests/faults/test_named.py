"""Named objects: unrelated processes of one user meet, and the last one out frees them, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dropin.support import SOON, until

from .support import python


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A user's runtime directory of its own for each test."""
    directory = tmp_path / "runtime"
    directory.mkdir(mode=0o700)
    return directory


class Party:
    """A fresh, unrelated interpreter that runs lines sent to it and answers with what they evaluate to."""

    LOOP = """
import sys
import interproc as mp
place = {"mp": mp}
for line in sys.stdin:
    try:
        try:
            print(repr(eval(line, place)), flush=True)
        except SyntaxError:
            exec(line, place)
            print("done", flush=True)
    except BaseException as error:
        print(type(error).__name__ + ": " + str(error).replace(chr(10), " "), flush=True)
"""

    def __init__(self, runtime: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
            text=True,
        )

    def say(self, line: str) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        assert self.process.wait(SOON) == 0

    def die(self) -> None:
        self.process.kill()
        self.process.wait(SOON)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(SOON)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def party(runtime: Path) -> Iterator[Any]:
    """Makes parties; all have left in the end."""
    parties: list[Party] = []

    def invite() -> Party:
        parties.append(Party(runtime))
        return parties[-1]

    yield invite
    for each in parties:
        each.end()


def files(runtime: Path) -> list[Path]:
    return [path for path in runtime.rglob("*") if not path.is_dir()]


def test_unrelated_processes_meet(party: Any, runtime: Path) -> None:
    a, b = party(), party()
    assert a.say("q = mp.Queue(name='jobs')") == "done"
    assert b.say("q = mp.Queue(name='jobs')") == "done"
    assert a.say("q.put([42, None, 'hello'])") == "None"
    assert b.say("q.get(timeout=20)") == "[42, None, 'hello']"
    assert b.say("q.put(b'x' * 1_000_000)") == "None"
    assert a.say("len(q.get(timeout=20))") == "1000000"
    assert a.say("q.name") == "'jobs'"


def test_names_are_apart(party: Any) -> None:
    a, b = party(), party()
    a.say("q, r = mp.Queue(name='one'), mp.Queue(name='two')")
    b.say("q = mp.Queue(name='two')")
    a.say("q.put(1)")
    a.say("r.put(2)")
    assert b.say("q.get(timeout=20)") == "2"
    assert b.say("q.empty()") == "True"


def test_opened_twice_in_one_process(party: Any) -> None:
    a = party()
    a.say("q, r = mp.Queue(name='jobs'), mp.Queue(name='jobs')")
    a.say("q.put('same')")
    assert a.say("r.get(timeout=20)") == "'same'"
    a.say("q.close()")
    assert a.say("r.put(1)") == "None"
    assert a.say("r.get(timeout=20)") == "1"


def test_the_file_is_the_users_alone(party: Any, runtime: Path) -> None:
    a = party()
    assert a.say("import os; os.umask(0)") == "done"
    a.say("q = mp.Queue(name='jobs')")
    found = files(runtime)
    assert found
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in runtime.rglob("*"):
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_the_last_one_out_frees_it(party: Any, runtime: Path) -> None:
    a, b = party(), party()
    a.say("q = mp.Queue(name='jobs')")
    b.say("q = mp.Queue(name='jobs')")
    a.say("q.put('kept while b is there')")
    a.leave()
    assert files(runtime)
    assert b.say("q.get(timeout=20)") == "'kept while b is there'"
    b.leave()
    until(lambda: files(runtime) == [], "the file is gone", 10)


def test_the_first_one_in_finds_nothing_of_the_past(party: Any, runtime: Path) -> None:
    a = party()
    a.say("q = mp.Queue(name='jobs')")
    a.say("q.put('of the past')")
    a.leave()
    b = party()
    b.say("q = mp.Queue(name='jobs')")
    assert b.say("q.qsize()") == "0"


@pytest.mark.parametrize("count", [1, 2])
def test_a_stale_file_is_taken_over(party: Any, runtime: Path, count: int) -> None:
    """All who were there were killed; whoever comes next starts afresh, and leaves nothing in the end."""
    dead = [party() for _ in range(count)]
    for each in dead:
        each.say("q = mp.Queue(name='jobs')")
        each.say("q.put(b'x' * 3_000_000)")
    for each in dead:
        each.die()
    b, c = party(), party()
    assert b.say("q = mp.Queue(name='jobs')") == "done"
    assert b.say("q.qsize()") == "0"
    assert c.say("q = mp.Queue(name='jobs')") == "done"
    b.say("q.put('well')")
    assert c.say("q.get(timeout=20)") == "'well'"
    b.leave()
    c.leave()
    until(lambda: files(runtime) == [], "the file is gone", 10)


def test_what_the_killed_have_left_goes_when_any_name_is_opened(party: Any, runtime: Path) -> None:
    dead, alive, other = party(), party(), party()
    dead.say("q = mp.Queue(name='first/jobs')")
    alive.say("q = mp.Queue(name='second/jobs')")
    alive.say("q.put('here')")
    dead.die()
    assert {file.name for file in files(runtime)} == {"first.arena", "second.arena"}
    other.say("q = mp.Queue(name='third/jobs')")
    assert {file.name for file in files(runtime)} == {"second.arena", "third.arena"}
    other.say("r = mp.Queue(name='second/jobs')")
    assert other.say("r.get(timeout=20)") == "'here'"


@pytest.mark.parametrize("size", [0, 8192])
def test_what_was_never_finished_goes_when_any_name_is_opened(party: Any, runtime: Path, size: int) -> None:
    other = party()
    other.say("q = mp.Queue(name='first/jobs')")
    (file,) = files(runtime)
    unfinished = file.with_name("unfinished.arena")
    unfinished.write_bytes(bytes(size))
    other.say("r = mp.Queue(name='second/jobs')")
    assert {file.name for file in files(runtime)} == {"first.arena", "second.arena"}


def test_one_of_several_is_killed(party: Any, runtime: Path) -> None:
    a, b = party(), party()
    a.say("q = mp.Queue(name='jobs')")
    b.say("q = mp.Queue(name='jobs')")
    a.say("q.put('before')")
    a.die()
    assert b.say("q.get(timeout=20)") == "'before'"
    b.say("q.put('after')")
    assert b.say("q.get(timeout=20)") == "'after'"
    c = party()
    c.say("q = mp.Queue(name='jobs')")
    b.say("q.put('to c')")
    assert c.say("q.get(timeout=20)") == "'to c'"
    b.leave()
    c.die()
    d = party()
    d.say("q = mp.Queue(name='other')")
    d.leave()


@pytest.mark.parametrize(
    "content",
    [b"", b"not an arena", bytes(100_000), b"\xa5" * 50_000, "a part of it", "damaged"],
    ids=["empty", "short", "zeroes", "filled", "a part of it", "damaged"],
)
def test_a_file_that_is_no_arena(party: Any, runtime: Path, content: bytes | str) -> None:
    """Left by a crash, or by somebody else: taken over, or refused with a clear error; no crash."""
    a = party()
    a.say("q = mp.Queue(name='jobs')")
    (path,) = [path for path in files(runtime) if path.stat().st_size > 0][:1]
    with open(path, "rb") as file:
        head = bytearray(file.read(40_000))
    a.leave()
    path.parent.mkdir(parents=True, exist_ok=True)
    if content == "damaged":
        head[8:200:8] = b"\x77" * len(head[8:200:8])
    path.write_bytes(content if isinstance(content, bytes) else head)
    path.chmod(0o600)
    b = party()
    answer = b.say("q = mp.Queue(name='jobs')")
    if answer == "done":
        b.say("q.put(1)")
        assert b.say("q.get(timeout=20)") == "1"
    else:
        assert answer.startswith(("ArenaCorrupted:", "OSError:", "HandleError:")), answer
        assert str(path) in answer, answer  # so that one knows what to remove
    assert b.process.poll() is None


def test_a_name_of_another_kind(party: Any) -> None:
    a, b = party(), party()
    a.say("q = mp.Queue(name='thing')")
    answer = b.say("q = mp.Lock(name='thing')")
    assert (
        answer == "done" or "thing" in answer
    )  # apart, or refused by name; never the queue's memory as a lock
    a.say("q.put(1)")
    assert a.say("q.get(timeout=20)") == "1"


@pytest.mark.parametrize(
    "name", ["", "/", "..", "../up", "a/b", "a\0b", "x" * 5000, 5, b"bytes"], ids=lambda n: repr(n)[:12]
)
def test_bad_names(party: Any, runtime: Path, name: Any) -> None:
    """Refused, or a name like any other; in no case a file anywhere else."""
    a = party()
    before = set(runtime.parent.rglob("*"))
    answer = a.say(f"q = mp.Queue(name={name!r})")
    if answer == "done":
        a.say("q.put(1)")
        assert a.say("q.get(timeout=20)") == "1"
    else:
        assert answer.startswith(("ValueError:", "TypeError:", "HandleError:", "OSError:")), answer
    new = set(runtime.parent.rglob("*")) - before
    assert all(runtime in path.parents for path in new)


def test_names_in_other_alphabets(party: Any) -> None:
    a, b = party(), party()
    name = "Aufträge \N{GRINNING FACE}"
    assert a.say(f"q = mp.Queue(name={name!r})") == "done"
    assert b.say(f"q = mp.Queue(name={name!r})") == "done"
    a.say("q.put(1)")
    assert b.say("q.get(timeout=20)") == "1"


def test_a_named_queue_in_a_child(party: Any, runtime: Path) -> None:
    a = party()
    a.say("q = mp.Queue(name='jobs')")
    a.say("p = mp.Process(target=q.put, args=('from the child',)); p.start()")
    assert a.say("q.get(timeout=20)") == "'from the child'"
    a.say("p.join()")
    a.leave()
    until(lambda: files(runtime) == [], "the file is gone", 10)


def test_no_runtime_directory(tmp_path: Path) -> None:
    """Without XDG_RUNTIME_DIR there is another place, private too; or a clear error."""
    out = python(
        """if 1:
        import os
        os.environ.pop("XDG_RUNTIME_DIR", None)
        import interproc
        q = interproc.Queue(name="without-a-runtime-directory-%d" % os.getpid())
        q.put("well")
        print(q.get(timeout=20))
        """,
        env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )
    assert out == "well"


def test_processes_that_come_and_go(party: Any, runtime: Path) -> None:
    """Openings, leavings and kills of the same name at the same time: each opener gets a queue that works."""
    code = """if 1:
        import sys, interproc
        for _ in range(15):
            q = interproc.Queue(name="busy")
            q.put(1)
            q.get(timeout=20)
            q.close()
        print("well")
    """
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(6)
    ]
    try:
        for number, process in enumerate(crowd):
            if number % 3 == 2:
                until(
                    lambda process=process: files(runtime) or process.poll() is not None, "someone is there"
                )
                process.send_signal(signal.SIGKILL)
        for number, process in enumerate(crowd):
            out, err = process.communicate(timeout=SOON)
            if number % 3 != 2:
                assert (process.returncode, out.strip()) == (0, b"well"), err.decode()
    finally:
        for process in crowd:
            if process.poll() is None:
                process.kill()
            process.communicate()
    last = party()
    last.say("q = mp.Queue(name='busy')")
    last.leave()
    until(lambda: files(runtime) == [], "the file is gone", 10)
