"""A manager's server, its parent or a client is killed; calls are torn off; strangers send garbage."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from multiprocessing.managers import RemoteError
from typing import Any

import pytest
from dropin import registered
from dropin.registered import MyManager
from dropin.support import JOIN_LIMIT, METHODS, SOON, Crew, in_thread, until

import interproc
from interproc.errors import InterprocError, ObjectFreed
from interproc.managers import ServerDied, SyncManager

from .support import at_once, forked, python


@pytest.fixture
def manager() -> Iterator[MyManager]:
    """A started one, with fork."""
    with MyManager(ctx=interproc.get_context("fork")) as manager:
        yield manager


@pytest.fixture
def tcp() -> Iterator[MyManager]:
    """A started one that listens on the loopback, so that strangers reach nothing but the socket."""
    with MyManager(address=("127.0.0.1", 0), authkey=b"key", ctx=interproc.get_context("fork")) as manager:
        yield manager


def killed(manager: Any) -> None:
    os.kill(manager._process.pid, signal.SIGKILL)
    until(lambda: not manager._process.is_alive())


# ---- the server dies


def test_server_killed(manager: MyManager) -> None:
    counter, another = manager.Counter(1), manager.Counter(2)
    assert counter.add() == 2
    killed(manager)
    for use in (counter.add, counter.add, another.get, manager.Counter, manager._number_of_objects):
        with at_once("the error"), pytest.raises(ServerDied, match="manager's server"):
            use()
    assert issubclass(ServerDied, InterprocError)
    assert issubclass(ServerDied, EOFError) and issubclass(ServerDied, ConnectionError)


def test_server_killed_while_a_call_waits(manager: MyManager) -> None:
    waiter = manager.Waiter()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            waiter.wait()
        except ServerDied as error:
            errors.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    until(lambda: waiter.waits() == 1)
    killed(manager)
    with at_once("the error"):
        thread.join(SOON)
    assert len(errors) == 1


def test_server_killed_that_has_forked(manager: MyManager) -> None:
    """A child of the server, which has inherited its ends of pipes, must not pass for it."""
    family = manager.Family()
    child = family.fork()
    try:
        killed(manager)
        with at_once("the error"), pytest.raises(ServerDied):
            family.pid()
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_sockets_folder_goes_with_a_killed_server() -> None:
    path = python(
        """
import os, signal
from dropin.registered import MyManager
manager = MyManager()
manager.start()
os.kill(manager._process.pid, signal.SIGKILL)
manager._process.join()
print(manager.address)
""",
        env={"PYTHONPATH": os.path.dirname(os.path.dirname(__file__))},
    )
    assert not os.path.exists(os.path.dirname(path))


def keep_changing(d: Any, x: Any, started: Any) -> None:
    started.set()
    while "stop" not in d:
        d["n"] += 1
        x.append(d["n"])


@pytest.mark.parametrize("method", METHODS)
def test_builtin_kinds_go_on_without_the_server(method: str) -> None:
    context = interproc.get_context(method)
    with context.Manager() as manager:
        d, x, lock, event = manager.dict(n=0), manager.list(), manager.Lock(), manager.Event()
        root = manager.root
        root["d"] = d
        child = context.Process(target=keep_changing, args=(d, x, event))
        child.start()
        assert event.wait(SOON)
        killed(manager)
        seen = d["n"]
        until(lambda: d["n"] > seen + 10)
        with lock:
            x.append("here")
        more = manager.dict(made="later")  # of the kinds in memory also new ones
        root["d"].update(stop=more)
        child.join(JOIN_LIMIT)
        assert child.exitcode == 0
        assert d["stop"]["made"] == "later" and "here" in x


# ---- others die


def be_parent(method: str, answers: Any) -> None:
    manager = MyManager(ctx=interproc.get_context(method))
    manager.start()
    # A child that has inherited whatever this process has, and outlives it.
    answers.put((manager.Family().pid(), forked(signal.pause)))
    signal.pause()


def ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("method", METHODS)
def test_parent_killed(method: str) -> None:
    crew = Crew(interproc.get_context("spawn"))
    answers = interproc.SimpleQueue()
    parent = crew.start(be_parent, method, answers)
    server, sibling = answers.get()
    try:
        os.kill(parent.pid, signal.SIGKILL)
        until(lambda: not parent.is_alive())  # join() would wait for the sibling too
        until(lambda: ended(server), "the server ends with its parent", 10)
        assert not ended(sibling)
    finally:
        crew.end()
        os.kill(sibling, signal.SIGKILL)


def hold(proxy: Any, ready: Any) -> None:
    proxy.add()
    ready.put(True)
    signal.pause()


def test_objects_of_killed_clients_are_freed(manager: MyManager, crew: Crew) -> None:
    ready = interproc.SimpleQueue()
    children = []
    for _ in range(3):
        counter = manager.Counter()
        children.append(crew.start(hold, counter, ready))
        del counter
        gc.collect()
        ready.get()
    assert manager._number_of_objects() == 3
    for child in children:
        crew.kill(child)
    until(lambda: manager._number_of_objects() == 0)


def test_a_proxy_in_a_queue_keeps_its_object(manager: MyManager) -> None:
    queue = interproc.SimpleQueue()
    counter = manager.Counter(7)
    queue.put(counter)
    del counter
    gc.collect()
    manager._debug_info()
    assert manager._number_of_objects() == 1
    assert queue.get().get() == 7
    gc.collect()
    assert manager._number_of_objects() == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_proxy_that_only_the_child_gets(method: str) -> None:
    context = interproc.get_context(method)
    with MyManager(ctx=context) as manager:
        results = context.SimpleQueue()
        children = [
            context.Process(target=registered.add_and_tell, args=(manager.Counter(n), results))
            for n in range(4)
        ]
        for child in children:
            child.start()
        gc.collect()
        assert sorted(results.get() for _ in children) == [1, 2, 3, 4]
        for child in children:
            child.join(JOIN_LIMIT)


def test_a_proxy_of_an_object_that_was_freed(manager: MyManager) -> None:
    counter = manager.Counter()
    token = pickle.loads(pickle.dumps(counter))._token
    token.id = "0123"
    stale = registered.MyProxy(token, "pickle", authkey=manager._authkey)
    with pytest.raises(ObjectFreed, match="freed"):
        stale.get()
    assert counter.get() == 0


# ---- strangers at the door


def raw(manager: Any) -> socket.socket:
    address = manager.address
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.settimeout(SOON)
    door.connect(address)
    return door


def dropped(door: socket.socket) -> bool:
    """Whether the server ends the connection."""
    try:
        while door.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("where", ["manager", "tcp"])
def test_garbage_at_the_port(where: str, request: pytest.FixtureRequest) -> None:
    manager = request.getfixturevalue(where)
    counter = manager.Counter()
    dice = random.Random(5)
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 1000,
        b"\x7f\xff\xff\xff",
        b"\0" * 64,
        *(dice.randbytes(dice.randrange(1, 3000)) for _ in range(20)),
    ):
        with raw(manager) as door:
            with contextlib.suppress(OSError):  # it may have enough before the end
                door.sendall(garbage)
                door.shutdown(socket.SHUT_WR)
            assert dropped(door)
    assert counter.add() == 1
    assert manager.Counter(4).get() == 4


def test_garbage_after_the_authentication(tcp: MyManager) -> None:
    counter = tcp.Counter()
    for message in (b"garbage", pickle.dumps("no request"), pickle.dumps((None, "_publish", (), {}))):
        with contextlib.closing(Client(tcp.address, authkey=b"key")) as connection:
            connection.send_bytes(message)
            with contextlib.suppress(EOFError, ConnectionError):
                while True:
                    connection.recv_bytes()
    assert counter.add() == 1


def test_silent_clients_hold_up_nobody(tcp: MyManager) -> None:
    silent = [raw(tcp) for _ in range(20)]
    with at_once("a creation", 5):
        assert tcp.Counter(1).add() == 2
    for door in silent:
        door.close()


def test_a_silent_client_is_dropped_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interproc.managers.server.PATIENCE", 1)  # second; the server is forked from here
    with MyManager(ctx=interproc.get_context("fork")) as manager, raw(manager) as door:
        door.sendall(b"\0\0")  # half of a length
        assert dropped(door)


def test_wrong_authkey(tcp: MyManager) -> None:
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            MyManager(address=tcp.address, authkey=b"wrong").connect()
    client = MyManager(address=tcp.address, authkey=b"key")
    client.connect()
    assert client.Counter(1).get() == 1


# ---- exceptions


def test_an_exception_has_the_remote_traceback_as_its_cause(manager: MyManager) -> None:
    with pytest.raises(LookupError, match="not there") as caught:
        manager.Counter().fail("not there")
    assert "raise LookupError(text)" in str(caught.value.__cause__)
    assert "registered.py" in str(caught.value.__cause__)


def test_an_exception_of_a_constructor(manager: MyManager) -> None:
    with pytest.raises(TypeError) as caught:
        manager.Counter(1, 2, 3)
    assert "__init__" in str(caught.value.__cause__)


def test_an_exception_that_cannot_be_unpickled(manager: MyManager) -> None:
    counter = manager.Counter(1)
    with pytest.raises(RemoteError, match="OddError"):
        counter.odd_error()
    assert counter.get() == 1


def test_exit_in_a_method_ends_nothing(manager: MyManager) -> None:
    counter = manager.Counter(1)
    with pytest.raises(RemoteError, match="SystemExit"):
        counter.leave()
    assert counter.get() == 1


# ---- calls that are torn off


INTERRUPTED = """
import random, signal, sys, time
from dropin.registered import MyManager
class Interrupt(Exception): pass
def interrupt(*_): raise Interrupt
signal.signal(signal.SIGALRM, interrupt)
manager = MyManager(address={address!r}, authkey=b"key")
manager.connect()
echo = manager.Counter().echo
dice = random.Random(1)
interrupts = calls = 0
end = time.monotonic() + 2
big = b"x" * 100_000
def burst():
    signal.setitimer(signal.ITIMER_REAL, dice.random() * 0.002 + 1e-6)
    for n in range(50):
        assert echo(calls, n, big if n % 10 == 0 else None)[0][:2] == (calls, n)
def attempt():
    try:
        burst()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for _ in range(3):
            pass  # where a handler that is still to be called is called
while time.monotonic() < end or interrupts < 20:
    calls += 1
    try:
        attempt()
    except Interrupt:
        interrupts += 1
assert echo("end")[0] == ("end",)
print(interrupts, manager._joined is None)
"""


@pytest.mark.parametrize("far", [False, True], ids=["pipe", "socket"])
def test_an_interrupted_call_never_gives_the_next_one_its_answer(far: bool) -> None:
    address: Any = ("127.0.0.1", 0) if far else None
    with MyManager(address=address, authkey=b"key", ctx=interproc.get_context("fork")) as manager:
        out = python(
            INTERRUPTED.format(address=manager.address),
            env={"PYTHONPATH": os.path.dirname(os.path.dirname(__file__))},
        )
        interrupts, remote = out.split()
        assert int(interrupts) >= 20
        assert remote == str(far)
        assert manager.Counter(3).get() == 3


def test_ctrl_c_in_a_call_that_waits(manager: MyManager) -> None:
    waiter = manager.Waiter()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.main_thread().ident
    assert main is not None

    def when_waiting() -> None:
        until(lambda: waiter.waits() == 1)
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=when_waiting, daemon=True)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            waiter.wait()
    finally:
        signal.signal(signal.SIGUSR1, before)
    with at_once("the next call"):
        assert waiter.waits() == 1  # it does not wait for the first, which still does
    waiter.go()
    thread.join(SOON)


def test_a_call_within_a_call(manager: MyManager) -> None:
    """A signal's handler, or a finalizer, may call the server in the middle of its thread's call."""
    waiter, counter = manager.Waiter(), manager.Counter()
    seen: list[int] = []

    def handler(*_: object) -> None:
        seen.append(counter.add())
        waiter.go()

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    assert main is not None

    def when_waiting() -> None:
        until(lambda: waiter.waits() == 1)
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=when_waiting, daemon=True)
    try:
        thread.start()
        assert waiter.wait() == "waited"
        assert seen == [1]
        assert counter.add() == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join(SOON)


# ---- from another tree


JOINING = """
import sys
import interproc
from dropin.registered import MyManager
manager = MyManager(address={address!r}, authkey=b"key")
manager.connect()
counter = manager.Counter(5)
assert counter.add() == 6
def child(counter, pipe):
    pipe.send(counter.add())
ours, theirs = interproc.Pipe()
process = interproc.get_context("fork").Process(target=child, args=(counter, theirs))
process.start()
assert ours.recv() == 7
process.join()
print(manager._joined is not None and manager._joined.uid != interproc.Arena.default().uid)
sys.stdin.read()
"""


def test_a_stranger_with_the_key_is_let_into_the_arena() -> None:
    with MyManager(authkey=b"key", ctx=interproc.get_context("fork")) as manager:
        before = len(interproc.Arena.default().members())
        env = {"PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
        assert python(JOINING.format(address=manager.address), env=env, stdin=b"") == "True"
        until(lambda: manager._number_of_objects() == 0)
        until(lambda: interproc.Arena.default().reap() or len(interproc.Arena.default().members()) == before)


def test_a_stranger_that_cannot_reach_the_memory(tcp: MyManager) -> None:
    env = {"PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    assert python(JOINING.format(address=tcp.address), env=env, stdin=b"") == "False"
    assert tcp._number_of_objects() == 0


HOLDING = """
import os, signal, sys
from interproc.managers import SyncManager
manager = SyncManager(address={address!r}, authkey=b"key")
manager.connect()
kept = [manager.dict(), manager.share({{"a": {{}}}}), manager.Queue()]
nested = kept[1]["a"]
print(manager._number_of_objects())
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_stranger_had_is_freed() -> None:
    context = interproc.get_context("fork")
    with SyncManager(address=("127.0.0.1", 0), authkey=b"key", ctx=context) as manager:
        done = subprocess.run(
            [sys.executable, "-c", HOLDING.format(address=manager.address)], capture_output=True, timeout=SOON
        )
        assert done.stdout == b"4\n", done.stderr.decode()
        until(lambda: manager._number_of_objects() == 0)
        assert manager._ask("debug_info") == ""


def test_proxies_in_shared_containers_keep_their_objects() -> None:
    class Manager(SyncManager):
        pass

    Manager.register("Counter", registered.Counter)
    with Manager(ctx=interproc.get_context("fork")) as manager:
        d = manager.dict(counter=manager.Counter(4))
        gc.collect()
        assert manager._number_of_objects() == 1
        assert d["counter"].add() == 5
        assert in_thread(lambda: d["counter"].add()) == 6
        del d["counter"]
        until(lambda: manager._number_of_objects() == 0)


def test_threads_come_and_go(manager: MyManager) -> None:
    """Their connections, and the server's threads for them, go with them."""
    counter = manager.Counter()
    family = manager.Family()
    base = family.threads()
    for _ in range(30):
        assert in_thread(counter.add)
    assert counter.get() == 30
    until(lambda: family.threads() <= base + 1)


def test_a_new_server_at_the_same_address(tmp_path: Any) -> None:
    address = str(tmp_path / "server")
    context = interproc.get_context("fork")
    with MyManager(address=address, authkey=b"key", ctx=context) as first:
        old = first.Counter(1)
        assert old.get() == 1
    with MyManager(address=address, authkey=b"key", ctx=context) as second:
        assert second.Counter(2).get() == 2
        with pytest.raises((ServerDied, ObjectFreed)):
            old.get()
        assert second.Counter(3).get() == 3


def test_server_killed_that_had_a_pool() -> None:
    """The workers have inherited nothing that would have others wait for an answer; they end with it."""
    manager = SyncManager()
    manager.start()
    pool = manager.Pool(2)
    workers = set(pool.map(_my_pid, range(4), chunksize=1))
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join(SOON)
    with at_once("the error"), pytest.raises(ServerDied):
        pool.apply(_my_pid, (0,))
    with at_once("the error of a new channel"):
        assert isinstance(in_thread(lambda: pool.apply(_my_pid, (0,))), ServerDied)
    until(lambda: not any(map(_runs, workers)), "the workers end with the server")


def _my_pid(_: int) -> int:
    return os.getpid()


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("where", ["manager", "tcp"])
def test_what_the_server_cannot_unpickle_after_what_was_not_sent(
    where: str, request: pytest.FixtureRequest
) -> None:
    """The numbers of requests and answers are the same on both sides still."""
    counter = request.getfixturevalue(where).Counter()

    def calls() -> None:
        for _ in range(3):
            with pytest.raises(interproc.PicklingError):
                counter.echo(threading.Lock())
            with pytest.raises(RemoteError, match="not known here"):
                counter.echo(_Unknown())
        assert counter.echo(1) == ((1,), {})

    assert in_thread(calls) is None


class _Unknown:
    """Pickles as something that no other process can make."""

    def __reduce__(self) -> Any:
        return _here_only, (os.getpid(),)


def _here_only(pid: int) -> None:
    if pid != os.getpid():
        raise ImportError("not known here")
