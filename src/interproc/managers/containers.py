"""What the shared containers have in common: their lock, watching, plain copies of them, how they print."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from multiprocessing import managers as mpm
from types import TracebackType
from typing import Any, ClassVar, Generic, NoReturn, Self, TypeVar

from .. import _core

__all__ = ["DEEP", "Locked", "Shared"]

C = TypeVar("C", bound="Shared")

theirs: Any = mpm  # multiprocessing's, also what is not in its stubs

DEEP = 256  # in a container's flavour: what is stored in it becomes live as well
_MISSING = b"there is no such thing"  # what _peek() answers for it; no value has this form

# Public names may be the user's own attributes (see NamespaceProxy), hence the class's functions and not
# self's.
_acquire, _release = _core.Container.acquire, _core.Container.release
_wait = _core.Container.wait


def version_of(container: _core.Container) -> int:
    """How many changes were ever made to it, whatever its public attributes are."""
    version: int = _core.Container.version.__get__(container)
    return version


def arena_of(container: _core.Handle) -> _core.Arena:
    """The arena that it is in, whatever its public attributes are."""
    arena: _core.Arena = _core.Handle.arena.__get__(container)
    return arena


def is_deep(container: _core.Container) -> bool:
    """Whether what is stored in it becomes live, whatever its public attributes are."""
    deep: bool = _core.Container.deep.__get__(container)
    return deep


def who(container: _core.Handle) -> str:
    """A container's name for messages, without reading it."""
    return _core.Handle.__repr__(container)


def not_subscriptable(self: object, *args: object) -> NoReturn:
    """What `x[...]` is, for what a table underlies without being a mapping."""
    raise TypeError(f"{type(self).__name__!r} object is not subscriptable")


def _share_one(value: Any, arena: _core.Arena) -> Any:
    return share_values([value], arena)[0]


def share_values(values: list[Any], arena: _core.Arena) -> list[Any]:
    """The values, plain dicts, lists and sets replaced by live ones; what is in it twice stays one."""
    from .sharing import live_values  # which knows all kinds, and so imports this

    return live_values(values, arena)


_core.set_sharing(_share_one)


class Locked(Generic[C]):
    """What `with container.lock():` enters: until its end the calls of all others on the container wait."""

    __slots__ = ("_container", "_timeout")

    def __init__(self, container: C, timeout: float | None) -> None:
        self._container = container
        self._timeout = timeout

    def __enter__(self) -> C:
        if not _acquire(self._container, self._timeout):
            raise TimeoutError(f"others had the lock of {who(self._container)} for {self._timeout} s")
        return self._container

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _release(self._container)


class _Printed:
    """A container inside another, printed as the plain object it stands for."""

    __slots__ = ("container",)

    def __init__(self, container: Shared) -> None:
        self.container = container

    def __repr__(self) -> str:
        return self.container._text()


class _Printing(threading.local):
    """The containers that this thread is printing, so that one that contains itself ends."""

    def __init__(self) -> None:
        self.under_way: set[object] = set()


_printing = _Printing()


class Shared(_core.Container):
    """A container in shared memory: each call on it is atomic, seen by all processes, and asks no server.

    A proxy can be pickled and sent anywhere at any time, and forked children use it at once. The container is
    freed when no process has a proxy on it, and no other container or message has it inside.
    """

    __slots__ = ()
    _flavour: ClassVar[int]
    _itself: ClassVar[str] = "..."  # how one is printed that is within itself
    _inner: ClassVar[frozenset[str]] = frozenset(  # what is not for users, and left out of dir()
        ["acquire", "release", "is_mine", "wait", "flavour", "end", "deep"]
    ) | {"insert", "keys_list", "values_list", "items_list", "update_many"}

    def __dir__(self) -> list[str]:
        return sorted(set(object.__dir__(self)) - self._inner)

    # ---- what each kind defines

    def _blank(self) -> Any:
        """A new plain object of the kind, without contents."""
        raise NotImplementedError

    def _fill(self, plain: Any, convert: Callable[[Any], Any]) -> None:
        """Puts what is in the container at one moment into a plain object, each value converted."""
        raise NotImplementedError

    def _peek(self, key: Any) -> Any:
        """The value of a key. Raises KeyError or IndexError."""
        raise NotImplementedError

    # ---- several steps, and waiting

    def lock(self, timeout: float | None = None) -> Locked[Self]:
        """`with d.lock(): ...`: several steps that no other process or thread sees or disturbs in between.

        Until then all others' calls wait, reads too. Recursive within a thread. If the process dies, the next
        to come goes on (with what was done so far; a transaction would undo it).

        Raises (when it is entered):
            TimeoutError: it could not be had within `timeout` seconds; None waits as long as it takes.
        """
        return Locked(self, timeout)

    def watch(self, key: Any = None, timeout: float | None = None, *, since: int | None = None) -> bool:
        """Wait for a change: of anything, or of the value of a key (an index, an attribute, an element).

        With a key, until its value is another than when the call began, is gone, or has come. With
        `since=d.version`, noted before the container was read, a change that was made since then counts too
        (of whatever key), so that none is missed between reading and watching. Of a container nested in this
        one, only its being put in or taken out is a change of this one.

        Returns False when `timeout` seconds have passed; None waits as long as it takes.
        Raises RuntimeError if this thread has the container's lock, so that nobody could change it.
        """
        if _core.Container.is_mine(self):
            raise RuntimeError(f"watching {who(self)} while this thread has locked it would never end")
        deadline = None if timeout is None else time.monotonic() + timeout
        if key is None and since is not None:
            return _wait(self, since, timeout)
        first: object = None
        seen, began = -1, False
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if began and not _wait(self, seen, left):
                return False
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not _acquire(self, left):  # so that reading does not wait for longer than the caller will
                return False
            try:
                seen, value = version_of(self), None if key is None else self._form(key)
            finally:
                _release(self)
            if began and (key is None or value != first):
                return True
            if not began and since is not None and seen != since:
                return True
            first, began = value, True

    def _form(self, key: Any) -> object:
        """A value as it is stored: comparable also where `==` is not a truth value."""
        try:
            return _core.dumps(self._peek(key))
        except (KeyError, IndexError):
            return _MISSING

    # ---- as multiprocessing's proxies have it

    def _getvalue(self, deep: bool = False) -> Any:
        """A plain copy of one moment; with `deep`, of all containers in it too (see unshare)."""
        if deep:
            from .sharing import unshare

            return unshare(self)
        plain = self._blank()
        self._fill(plain, _as_it_is)
        return plain

    def _callmethod(
        self, methodname: str, args: tuple[Any, ...] = (), kwds: dict[str, Any] | None = None
    ) -> Any:
        """Calls a method by its name, as on the plain object."""
        if methodname == "#GETVALUE":
            return self._getvalue()
        if methodname in ("__repr__", "__str__"):
            return str(self)
        return getattr(self, methodname)(*args, **(kwds or {}))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._getvalue(deep=is_deep(self))

    # ---- printing

    def _text(self) -> str:
        """The repr of the plain object; of one that is just being printed, what Python writes there."""
        me = self._identity()
        if me in _printing.under_way:
            return self._itself
        _printing.under_way.add(me)
        try:
            plain = self._blank()
            self._fill(plain, _as_printed if is_deep(self) else _as_it_is)
            return repr(plain)
        finally:
            _printing.under_way.discard(me)

    def __str__(self) -> str:
        try:
            return self._text()
        except Exception as error:  # closed, freed, or with a value of a class that is not there
            return f"{who(self)[:-1]}; it cannot be read: {error}>"

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} {self._text()}>"
        except Exception as error:
            return f"{who(self)[:-1]}; it cannot be read: {error}>"


def _as_it_is(value: Any) -> Any:
    return value


def _as_printed(value: Any) -> Any:
    return _Printed(value) if isinstance(value, Shared) else value
