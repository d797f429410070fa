"""The objects that a manager's server keeps: how they are made, named, counted and freed."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import weakref
from collections import Counter
from multiprocessing import managers as mpm
from typing import Any

from .. import _core
from ..connection import Connection
from ..errors import ObjectFreed
from . import twins
from .containers import theirs
from .remote import Life, Token

__all__ = ["Objects", "note_ours"]

# Ends of pipes, and the socket that it listens on, that are the server's alone; a process that it forks lets
# go of them, or nobody would ever learn of the server's death.
_ours: weakref.WeakSet[Any] = weakref.WeakSet()


def note_ours(end: Connection | socket.socket) -> None:
    """Remembers an end as this process's alone."""
    _ours.add(end)


def _after_fork_in_child() -> None:
    for end in list(_ours):
        end.close()


os.register_at_fork(after_in_child=_after_fork_in_child)


class _Serving(threading.local):
    """The client that this thread serves: its process's session, and what is to be undone when it goes."""

    def __init__(self) -> None:
        self.session = ""
        self.locks: list[Any] = []
        self.transaction: Any = None


class Objects(mpm.Server):
    """The half of a server that keeps objects.

    An object lives while somebody holds it: a client that is a member of this server's arena has a Life for
    it, by which the server learns of the holder's end, however it came; others are counted, as in
    multiprocessing.
    """

    # What multiprocessing's has.
    registry: Any
    id_to_obj: dict[str, Any]
    id_to_refcount: dict[str, int]
    id_to_local_proxy_obj: dict[str, Any]

    def __init__(self, registry: Any, address: Any, authkey: bytes, serializer: str) -> None:
        super().__init__(registry, address, authkey, serializer)
        self.mutex = threading.RLock()  # recursive: what is freed may come back here
        self.arena = _core.Arena.default()
        self.home = secrets.token_hex(8)  # names this server among all
        self.lives: dict[str, list[Connection]] = {}  # for each ident, our ends
        self.serving = _Serving()
        self.sessions: dict[str, Counter[str]] = {}  # what each process out of reach has counted

    def _make(self, near: bool, typeid: str, args: Any, kwds: Any) -> tuple[str, Any]:
        """An object of a registered type, as an answer.

        A token for a proxy, or itself if it is in the arena.
        """
        obj, exposed, typeids, proxytype = self._new(typeid, args, kwds)
        if twins.in_arena(obj):
            return "#RETURN", obj
        ident, life = self._publish(obj, exposed, typeids, near)
        token = Token(typeid, self.address, ident, life, self.home)
        return "#PROXY", (tuple(exposed), token, proxytype if _has_name(proxytype) else None)

    def _new(self, typeid: str, args: Any, kwds: Any) -> tuple[Any, Any, Any, Any]:
        function, exposed, typeids, proxytype = self.registry[typeid]
        if function is not None:
            obj = function(*args, **kwds)
        elif kwds or len(args) != 1:
            raise ValueError("Without callable, must have one non-keyword argument")
        else:
            obj = args[0]
        if exposed is None:
            exposed = theirs.public_methods(obj)
        if typeids is not None:
            if not isinstance(typeids, dict):
                raise TypeError(f"Method_to_typeid {typeids!r}: type {type(typeids)!s}, not dict")
            exposed = [*exposed, *typeids]
        return obj, exposed, typeids, proxytype

    def _publish(self, obj: Any, exposed: Any, typeids: Any, near: bool) -> tuple[str, Life | None]:
        """Makes the object known, with one reference to it more.

        A Life for the client, or one that is counted.
        """
        ident = f"{id(obj):x}"
        life = None
        with self.mutex:
            if near:
                ours, life = _core.pipe(Life, False, arena=self.arena)
                note_ours(ours)
                self.lives.setdefault(ident, []).append(ours)
                life.address, life.ident = self.address, ident
            else:
                self._count(ident)
            known = self.id_to_obj.get(ident)  # what several typeids give may be used as each of them says
            if known is not None:
                exposed = {*exposed, *known[1]}
                typeids = {**(known[2] or {}), **(typeids or {})}
            self.id_to_obj[ident] = obj, frozenset(exposed), typeids
        return ident, life

    def create(self, c: Any, typeid: str, /, *args: Any, **kwds: Any) -> tuple[str, tuple[str, ...]]:
        """For multiprocessing's own clients: a new object, counted."""
        obj, exposed, typeids, _ = self._new(typeid, args, kwds)
        ident, _ = self._publish(obj, exposed, typeids, False)
        return ident, tuple(exposed)

    def incref(self, c: Any, ident: str) -> None:
        """One more counted reference. Raises ObjectFreed."""
        with self.mutex:
            if ident not in self.id_to_obj:
                raise ObjectFreed(f"object {ident} of the manager's server was freed, since nobody held it")
            self._count(ident)

    def _count(self, ident: str) -> None:
        self.id_to_refcount[ident] = self.id_to_refcount.get(ident, 0) + 1
        self.sessions.setdefault(self.serving.session, Counter())[ident] += 1

    def end_session(self, session: str) -> None:
        """A process has ended, however it did: what it has counted and not given back is freed."""
        with self.mutex:
            counted = self.sessions.pop(session, Counter())
        for ident, count in counted.items():
            for _ in range(count):
                self.decref(None, ident)

    def decref(self, c: Any, ident: str) -> None:
        """One counted reference less."""
        with self.mutex:
            mine = self.sessions.get(self.serving.session)
            if mine is not None and mine[ident] > 0:
                mine[ident] -= 1
                if not mine[ident]:
                    del mine[ident]
            left = self.id_to_refcount.get(ident, 0) - 1
            if left < 0:
                raise AssertionError(f"object {ident} has no reference that is counted")
            if left:
                self.id_to_refcount[ident] = left
            else:
                del self.id_to_refcount[ident]
        self._free_if_unheld(ident)

    def let_go(self, c: Any, ident: str) -> None:
        """A Life of it has ended."""
        self._free_if_unheld(ident)

    def sweep(self) -> None:
        """Frees what nobody holds any more."""
        for ident in list(self.lives):
            self._free_if_unheld(ident)

    def _free_if_unheld(self, ident: str) -> None:
        entry = None
        with self.mutex:
            lives = [life for life in self.lives.get(ident, ()) if not life.poll(0)]
            if lives:
                self.lives[ident] = lives
            else:
                self.lives.pop(ident, None)
                if ident not in self.id_to_refcount and ident not in self.id_to_local_proxy_obj:
                    entry = self.id_to_obj.pop(ident, None)
        del entry  # without the mutex: it may have proxies of ours in it

    def get_methods(self, c: Any, token: Any) -> set[str]:
        """The names of the exposed methods."""
        return set(self.id_to_obj[token.id][1])

    def number_of_objects(self, c: Any) -> int:
        """How many registered objects somebody holds."""
        self.sweep()
        return len(self._held())

    def _held(self) -> list[str]:
        with self.mutex:
            return sorted({*self.id_to_refcount, *self.lives})

    def debug_info(self, c: Any) -> str:
        """A line or two for each object."""
        lines = []
        for ident in self._held():
            count = self.id_to_refcount.get(ident, 0) + len(self.lives.get(ident, ()))
            text = str(self.id_to_obj.get(ident, (None,))[0])[:75]
            lines.append(f"  {ident}:       refcount={count}\n    {text}")
        return "\n".join(lines)


def _has_name(proxytype: Any) -> bool:
    """Whether it can be sent by its name, to those who have no registry."""
    module = sys.modules.get(getattr(proxytype, "__module__", ""))
    return getattr(module, getattr(proxytype, "__qualname__", ""), None) is proxytype
