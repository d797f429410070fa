"""The manager's server: the process in which registered objects live, and what it does for those who call."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection as mpconnection
from multiprocessing import managers as mpm
from multiprocessing import process, util
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar

from .. import _core
from ..connection import Connection
from ..errors import ObjectFreed, PicklingError, UnpicklingError
from . import twins
from .channel import SocketEnd, namespace
from .dicts import DictProxy
from .objects import Objects, note_ours
from .sharing import share
from .snapshot import load, save
from .transaction import transaction

__all__ = ["Server"]

PATIENCE = 10  # seconds that a client has for each step of its authentication
GRACE = 5.0  # seconds that the server gives itself to end in order when its parent has died
TICK = 1.0  # seconds between looks at whose holders have died


class Server(Objects):
    """multiprocessing's server, which also speaks by channels; multiprocessing's clients can connect too."""

    public = [*mpm.Server.public, "open_channel", "keep"]  # noqa: RUF012

    # What can be asked for through a channel only.
    controls: ClassVar[frozenset[str]] = frozenset(
        {"let_go", "root", "share", "save", "load", "begin", "end"}
    )

    listener: Any  # as multiprocessing's has it
    authkey: bytes

    def __init__(self, registry: Any, address: Any, authkey: bytes, serializer: str) -> None:
        super().__init__(registry, address, authkey, serializer)
        self.stop_event = threading.Event()
        self._root: Any = None
        listening = getattr(getattr(self.listener, "_listener", None), "_socket", None)
        if listening is not None:
            note_ours(listening)

    # ---- running ------------------------------------------------------------------------------------------

    def serve_forever(self) -> None:
        """Serves until it is told to shut down or its parent ends, then leaves by SystemExit."""
        process.current_process()._manager_server = self  # type: ignore[attr-defined]
        for work in (self._watch_parent, self._watch_lives, self.accepter):
            threading.Thread(target=work, daemon=True).start()
        try:
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                self.stop_event.wait()
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
            sys.exit(0)

    def _watch_parent(self) -> None:
        """Ends the server with its parent, however that ended."""
        if process.parent_process() is None:
            return
        wait_for_parent()
        util.info("the manager's parent has ended")
        self.stop_event.set()
        threading.Event().wait(GRACE)
        os._exit(1)

    def _watch_lives(self) -> None:
        while not self.stop_event.wait(TICK):
            self.sweep()

    def accepter(self) -> None:
        """Gives each client a thread, so that one that is silent holds up nobody."""
        while True:
            try:
                client = self.listener.accept()
            except OSError:
                if self.stop_event.wait(0.01):  # out of descriptors, as a rule: it passes
                    return
                continue
            threading.Thread(target=self.handle_request, args=(client,), daemon=True).start()

    def _handle_request(self, c: Any) -> None:
        request = None
        try:
            with _patience(c, PATIENCE):
                mpconnection.deliver_challenge(c, self.authkey)
                mpconnection.answer_challenge(c, self.authkey)
                request = c.recv()
            _, method, args, kwds = request
            if method not in self.public:
                raise ValueError(f"the manager's server has no function {method!r}")
        except Exception as error:  # garbage, a wrong key, silence: the others must not suffer
            util.info("a client was dropped: %r", error)
            return
        try:
            message = "#RETURN", getattr(self, method)(c, *args, **kwds)
        except Exception:
            message = "#TRACEBACK", traceback.format_exc()
        try:
            c.send(message)
        except Exception:
            with contextlib.suppress(Exception):
                c.send(("#TRACEBACK", traceback.format_exc()))

    # ---- channels -----------------------------------------------------------------------------------------

    def keep(self, c: Any, session: str) -> None:
        """Keeps what the process of that session has counted for as long as it keeps this connection."""
        c.send(("#RETURN", None))
        _keep_alive(c)
        with contextlib.suppress(EOFError, OSError):
            c.recv()
        self.end_session(session)
        raise SystemExit

    def open_channel(self, c: Any, name: str, session: str, uids: list[str], pids: str) -> None:
        """Agrees with a client on the best way to talk, and serves it until it goes."""
        threading.current_thread().name = name
        self.serving.session = session
        answer: tuple[Any, ...] = ("socket",)
        joined = self.arena.uid in uids
        offer: Callable[[Any], None] = lambda answer: c.send(("#RETURN", answer))  # noqa: E731
        if not joined and pids == namespace() and self._let_in(c):
            joined = c.recv()
            offer = c.send
        if not joined:
            offer(answer)
            _keep_alive(c)
            end = SocketEnd(c)
            end.pickler = twins.pickler(self)
            self.serve(end, False)
        else:
            ours, theirs = _core.pipe(Connection, arena=self.arena)
            note_ours(ours)
            try:
                offer(("pipe", self.arena.uid, theirs))
                c.recv()  # it has it
            except BaseException:
                ours.close()
                raise
            theirs.close()
            c.close()
            self.serve(ours, True)
        raise SystemExit  # as serve_client does: there is nothing to answer

    def _let_in(self, c: Any) -> bool:
        """Offers a place in the arena to a client on this machine; whether an offer was made."""
        with socket.socket(fileno=os.dup(c.fileno())) as door:
            if door.family != socket.AF_UNIX:
                return False
            try:
                descriptor, slot = self.arena.reserve()
            except (MemoryError, OSError):
                return False
            try:
                c.send(("#RETURN", ("join", self.arena.uid, slot)))
                socket.send_fds(door, [b"."], [descriptor])
            finally:
                os.close(descriptor)
        return True

    def serve(self, end: Any, near: bool) -> None:
        """Answers the requests that come through a channel until the other side is gone.

        `near`: it is a member of the arena.
        """
        number = 0
        args: Any
        kwds: Any
        reply: Any
        send, recv, answer = end.send, end.recv, self._answer
        try:
            while not self.stop_event.is_set():
                try:
                    number, ident, method, *args = recv()
                except UnpicklingError:
                    number += 1
                    send((number, "#TRACEBACK", traceback.format_exc()))
                    continue
                kwds = {}
                if method is None:
                    method, args, kwds = args
                if not near and method == "acquire" and ident in self.id_to_obj:
                    self.serving.locks.append(self.id_to_obj[ident][0])
                reply = answer(near, number, ident, method, args, kwds)
                if not number:
                    args = kwds = reply = None
                    continue
                try:
                    send(reply)
                except (PicklingError, MemoryError):
                    send((number, "#UNSERIALIZABLE", traceback.format_exc()))
                args = kwds = reply = None  # nothing of it is kept until the next comes
        except (EOFError, OSError):
            pass
        finally:
            end.close()
            if not near:
                self._undo()

    def _undo(self) -> None:
        """The client that this thread has served is gone.

        What it has locked, as a thread of ours, is given back.
        """
        here = self.serving
        if here.transaction is not None:
            self.end(None, False)
        for lock in here.locks:
            mine = getattr(lock, "is_mine", None) or getattr(getattr(lock, "_lock", None), "is_mine", None)
            with contextlib.suppress(Exception):
                while mine is not None and mine():
                    lock.release()

    def _answer(
        self, near: bool, number: int, ident: str | None, method: str, args: Any, kwds: Any
    ) -> tuple[int, str, Any]:
        if ident is None:
            return self._control(near, number, method, args, kwds)
        try:
            obj, exposed, typeids = self.id_to_obj[ident]
        except KeyError:
            return self._failed(
                number,
                ObjectFreed(
                    f"{method}(): the object was freed in the manager's server, since nobody held it"
                ),
            )
        function = getattr(obj, method, None) if method in exposed else None
        if function is None:
            return self._unexposed(number, ident, obj, exposed, method, args, kwds)
        try:
            result = function(*args, **kwds)
        except BaseException as error:
            return self._failed(number, error)
        if typeids and method in typeids:
            try:
                return number, *self._make(near, typeids[method], (result,), {})
            except Exception:
                return number, "#TRACEBACK", traceback.format_exc()
        return number, "#RETURN", result

    def _unexposed(
        self, number: int, ident: str, obj: Any, exposed: Any, method: str, args: Any, kwds: Any
    ) -> tuple[int, str, Any]:
        fallback: Any = self.fallback_mapping.get(method)
        try:
            if fallback is None:
                raise AttributeError(
                    f"method {method!r} of {type(obj)!r} object is not in exposed={exposed!r}"
                )
            return number, "#RETURN", fallback(self, None, ident, obj, *args, **kwds)
        except Exception:
            return number, "#TRACEBACK", traceback.format_exc()

    def _failed(self, number: int, error: BaseException) -> tuple[int, str, Any]:
        """An exception as it travels: by itself, so that one that cannot be unpickled there is still told."""
        text = "".join(traceback.format_exception(error))
        if not isinstance(error, Exception):  # SystemExit, say, is not the caller's
            return number, "#TRACEBACK", text
        try:
            return number, "#ERROR", (bytes(ForkingPickler.dumps(error)), text)
        except Exception:
            return number, "#TRACEBACK", text

    def _control(self, near: bool, number: int, method: str, args: Any, kwds: Any) -> tuple[int, str, Any]:
        try:
            if method == "make":
                return number, *self._make(near, args[0], args[1:], kwds)
            if method not in self.controls and method not in self.public:
                raise ValueError(f"the manager's server has no function {method!r}")
            return number, "#RETURN", getattr(self, method)(None, *args, **kwds)
        except Exception as error:
            return self._failed(number, error)

    # ---- for clients out of reach of the arena, and those who come later ----------------------------------

    def root(self, c: Any) -> Any:
        """The dict from which everything that is to be found by others can be reached."""
        with self.mutex:
            if self._root is None:
                self._root = DictProxy(arena=self.arena, deep=True)
            return self._root

    def share(self, c: Any, obj: Any) -> Any:
        """A live shared copy of a nested container."""
        return share(obj, self.arena)

    def save(self, c: Any, path: str, timeout: float | None) -> None:
        """The root, to a file here."""
        save(self.root(c), path, timeout)

    def load(self, c: Any, path: str, timeout: float | None) -> None:
        """The root, from a file here."""
        load(self.root(c), path, timeout)

    def begin(self, c: Any, containers: Any, timeout: float | None) -> None:
        """Begins a transaction of the thread that serves the client."""
        if self.serving.transaction is not None:
            raise RuntimeError("this thread is in a transaction already")
        begun = transaction(*containers, timeout=timeout)
        begun.__enter__()
        self.serving.transaction = begun

    def end(self, c: Any, commit: bool) -> None:
        """Ends it."""
        begun, self.serving.transaction = self.serving.transaction, None
        if begun is None:
            raise RuntimeError(
                "the transaction was undone, since the connection to the server was replaced in it"
            )
        if commit:
            begun.__exit__(None, None, None)
        else:
            undo = _Undone()
            begun.__exit__(_Undone, undo, None)

    def fallback_getvalue(self, c: Any, ident: str, obj: Any) -> Any:
        """The object itself, of which the caller gets a copy; of a shared container a plain copy."""
        return obj._getvalue() if isinstance(obj, _core.Handle) and hasattr(obj, "_getvalue") else obj

    fallback_mapping: Any = {  # noqa: RUF012
        **mpm.Server.fallback_mapping,
        "#GETVALUE": fallback_getvalue,
    }


class _Undone(Exception):
    """Why a transaction ends that its client undoes."""


def wait_for_parent() -> None:
    """Returns when the process that started this one has ended, however it did."""
    parent = process.parent_process()
    assert parent is not None
    assert parent.pid is not None
    watched: list[Any] = [parent.sentinel]  # others may have inherited its other side, hence also
    with contextlib.suppress(OSError):
        watched.append(os.pidfd_open(parent.pid))
    if parent.is_alive():
        mpconnection.wait(watched)


@contextlib.contextmanager
def _patience(c: Any, seconds: int) -> Iterator[None]:
    """Within the block, a read from the connection or a write to it fails with OSError after so long."""
    options = (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)
    with socket.socket(fileno=os.dup(c.fileno())) as door:
        for option in options:
            door.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
        yield
        for option in options:
            door.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 0, 0))


def _keep_alive(c: Any) -> None:
    """Learn of the end of a machine at the other side."""
    with socket.socket(fileno=os.dup(c.fileno())) as door:
        if door.family != socket.AF_UNIX:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
