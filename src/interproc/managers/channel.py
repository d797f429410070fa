"""How a thread talks to a manager's server: a connection whose requests and answers are numbered."""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import socket
import threading
import weakref
from multiprocessing import process
from multiprocessing.connection import Client
from multiprocessing.managers import RemoteError
from multiprocessing.reduction import ForkingPickler
from typing import Any

from .. import _core
from ..errors import ArenaFull, InterprocError, PicklingError, ServerDied, UnpicklingError
from .containers import theirs

__all__ = [
    "Channel",
    "Place",
    "RemoteTraceback",
    "SocketEnd",
    "namespace",
    "place_of",
    "via",
]

Address = Any  # (host, port), a path, or the bytes of an abstract name


class RemoteTraceback(Exception):
    """The cause of an exception that a registered method raised: its traceback in the server, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def namespace() -> str:
    """Where pids mean the same as here: what shares memory must share that too."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


# ---- what carries the messages ---------------------------------------------------------------------------


class SocketEnd:
    """A socket's connection with the interface of a Pipe's end, as far as a channel needs it.

    An error in pickling leaves it as it was; any other may have torn a message, and it must be given up.
    """

    pickler: Any = ForkingPickler  # of what is sent

    def __init__(self, connection: Any, address: Address = None, authkey: bytes | None = None) -> None:
        self.connection = connection
        self.address = address
        self.authkey = authkey

    def send(self, obj: Any) -> None:
        try:
            data = self.pickler.dumps(obj)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise PicklingError(f"cannot be sent to the manager's server: {error}") from error
        self.connection.send_bytes(data)

    def recv(self) -> Any:
        data = self.connection.recv_bytes()
        before, _arriving.end = _arriving.end, self
        try:
            return pickle.loads(data)
        except Exception as error:
            raise UnpicklingError(f"a message that cannot be unpickled: {error}", data) from error
        finally:
            _arriving.end = before

    def close(self) -> None:
        self.connection.close()


class _Arriving(threading.local):
    """The end whose message this thread is unpickling."""

    end: SocketEnd | None = None


_arriving = _Arriving()


def via() -> SocketEnd | None:
    """The end whose message this thread is unpickling, if it is."""
    return _arriving.end


class Channel:
    """One thread's connection to a server.

    Who makes a call takes the channel out of its Place, and puts it back when it has the answer. So a call
    that was interrupted leaves no channel behind: the next one gets a new one, and waits for nobody. That an
    answer has the number of its request is checked all the same.
    """

    __slots__ = ("__weakref__", "arena", "end", "number")

    def __init__(self, end: Any, arena: _core.Arena | None) -> None:
        self.end = end
        self.arena = arena  # that both sides are members of; None: the server's objects are far away
        self.number = 0

    def tell(self, ident: str | None, method: str, args: tuple[Any, ...]) -> None:
        """A request that has no answer."""
        self.end.send((0, ident, method, *args))


class Place(threading.local):
    """Where each thread keeps its channel to one server while no call is under way in it."""

    channel: Channel | None = None

    def call(
        self,
        address: Address,
        authkey: bytes,
        ident: str | None,
        method: str,
        args: tuple[Any, ...] = (),
        kwds: dict[str, Any] | None = None,
    ) -> tuple[str, Any]:
        """Asks the server and returns its answer: a kind and what goes with it.

        Raises ServerDied, PicklingError (nothing was sent), UnpicklingError, AuthenticationError.
        """
        channel = self.channel
        if channel is None:
            channel = open_channel(address, authkey)
        self.channel = None
        end = channel.end
        channel.number = number = channel.number + 1
        try:
            try:
                # A flat tuple where that does: of small plain values it needs no pickle.
                request = (None, method, args, kwds) if kwds else (method, *args)
                try:
                    end.send((number, ident, *request))
                except (PicklingError, ArenaFull):
                    channel.number = number - 1  # nothing was sent
                    raise
                answer = end.recv()
                while answer[0] != number:
                    answer = end.recv()
            except (PicklingError, UnpicklingError, ArenaFull):
                self.channel = channel
                raise
            except BaseException:
                end.close()
                raise
        except (EOFError, ConnectionError) as error:
            raise ServerDied(
                f"{method}(): the manager's server at {address!r} ended, or was killed, before it answered"
            ) from error
        self.channel = channel
        return answer[1], answer[2]


_places: weakref.WeakValueDictionary[Any, Place] = weakref.WeakValueDictionary()
_lock = threading.RLock()
_session = secrets.token_hex(8)  # this process, to servers that count for it
_keepers: dict[Any, Any] = {}  # for each far server, the connection that it watches
# Recursive, since finalizers and handlers of signals come in anywhere.
_joining = threading.RLock()  # one membership of an arena is enough for a process


def place_of(address: Address) -> Place:
    """The one Place of a server's address in this process."""
    place = _places.get(address)
    if place is None:
        with _lock:
            place = _places.get(address)
            if place is None:
                place = _places[address] = Place()
    return place


def known_place(address: Address) -> Place | None:
    """The Place of an address, if there is one: for finalizers, which run anywhere."""
    return _places.get(address)


def new_place(address: Address) -> Place:
    """A Place for a server that has just been started or found: what leads to an earlier one is forgotten."""
    with _lock:
        _places.pop(address, None)
    return place_of(address)


def _after_fork_in_child() -> None:
    """The channels are the parent's."""
    global _lock, _joining, _session
    _session = secrets.token_hex(8)
    _keepers.clear()
    _lock = threading.RLock()
    _joining = threading.RLock()
    for place in list(_places.values()):
        place.__dict__.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


# ---- coming to a channel ---------------------------------------------------------------------------------

# The arenas of other trees that this process was let into, by uid. Whoever uses one keeps it: a handle, a
# channel.
_visited: weakref.WeakValueDictionary[str, _core.Arena] = weakref.WeakValueDictionary()


def arena_of(uid: str) -> _core.Arena | None:
    """The arena, if this process is a member of it."""
    default = _core.Arena.default()
    return default if default.uid == uid else _visited.get(uid)


def arenas() -> list[str]:
    """The arenas that this process is a member of, to be offered to servers."""
    return [_core.Arena.default().uid, *_visited.keys()]


def note_arena(arena: _core.Arena) -> None:
    """An arena that this process has come to otherwise."""
    _visited[arena.uid] = arena


def open_channel(address: Address, authkey: bytes) -> Channel:
    """Connects to a server. Raises ServerDied if it cannot be reached, AuthenticationError."""
    try:
        connection: Any = Client(address, authkey=authkey)
    except (FileNotFoundError, ConnectionError, EOFError) as error:
        raise ServerDied(
            f"the manager's server at {address!r} has ended or cannot be reached: {error}"
        ) from error
    try:
        return _negotiate(connection, address, authkey)
    except BaseException:
        connection.close()
        raise


def _negotiate(connection: Any, address: Address, authkey: bytes) -> Channel:
    """After the authentication: finds the best way that both sides have."""
    name = process.current_process().name
    if threading.current_thread() is not threading.main_thread():
        name += "|" + threading.current_thread().name
    try:
        way, *more = theirs.dispatch(
            connection, None, "open_channel", (name, _session, arenas(), namespace())
        )
        arena = None
        if way == "join":
            with _joining:
                arena = _join(connection, *more)
                connection.send(arena is not None)
                way, *more = connection.recv()
        if way == "pipe":
            uid, end = more
            connection.send(True)  # the server has held the end for us until now
            connection.close()
            return Channel(end, arena or arena_of(uid))
        _keep(address, authkey)
        return Channel(SocketEnd(connection, address, authkey), None)
    except (EOFError, ConnectionError) as error:
        raise ServerDied(
            f"the manager's server at {address!r} has ended, or was killed, while it was connected to"
        ) from error


def _keep(address: Address, authkey: bytes) -> None:
    """Sees to it that the server learns of this process's end, however it comes."""
    with _joining:
        keeper = _keepers.get(address)
        if keeper is not None and not keeper.poll(0):
            return
        _keepers[address] = keeper = Client(address, authkey=authkey)
        theirs.dispatch(keeper, None, "keep", (_session,))


def _join(connection: Any, uid: str, slot: int) -> _core.Arena | None:
    """Becomes a member of the server's arena; its descriptor comes through the socket. None.

    It is not to be.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as door:
        _, descriptors, _, _ = socket.recv_fds(door, 1, 1)
    if not descriptors:
        return None
    arena = arena_of(uid)
    if arena is not None:  # another thread was faster
        os.close(descriptors[0])
        return arena
    try:
        arena = _core.Arena.adopt(descriptors[0], slot)
    except (InterprocError, OSError):
        return None
    note_arena(arena)
    return arena


def raise_answer(kind: str, result: Any) -> Any:
    """Raises what an answer other than '#RETURN' and '#PROXY' says."""
    if kind == "#ERROR":
        data, text = result
        try:
            error = pickle.loads(data)
        except Exception:
            error = RemoteError(text)
        else:
            error.__cause__ = RemoteTraceback(text)
    elif kind in ("#TRACEBACK", "#UNSERIALIZABLE"):
        error = RemoteError(result if kind == "#TRACEBACK" else f"Unserializable message: {result}\n")
    else:
        error = ValueError(f"Unrecognized message type {kind!r}")
    try:
        raise error
    finally:
        del error


def ask(place: Place, address: Address, authkey: bytes, method: str, *args: Any, **kwds: Any) -> Any:
    """What the server itself answers, of its `controls`."""
    kind, result = place.call(address, authkey, None, method, args, kwds)
    if kind == "#RETURN":
        return result
    return raise_answer(kind, result)
