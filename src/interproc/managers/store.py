"""Stores: what every manager has in its root; and NamedManager, in which unrelated processes meet."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from .. import _core, locks, queues
from ..errors import HandleError
from .containers import arena_of
from .dicts import DictProxy
from .lists import ListProxy
from .makers import Makers
from .namespaces import NamespaceProxy
from .sets import SetProxy
from .sharing import share
from .snapshot import load, save
from .transaction import Transaction, transaction
from .values import ValueProxy

__all__ = ["NamedManager", "StoreFace"]

ROOT = "root"  # the name of a named store's root in its arena


class StoreFace:
    """What a manager has for everything that lives in its arena; to be mixed in. Needs `self._arena`.

    If all processes that use a manager are to have the same root, whoever makes the manager sets `_root`
    before it goes to others, and sends it with it.
    """

    _arena: _core.Arena
    _root: DictProxy[str, Any] | None = None

    @property
    def root(self) -> DictProxy[str, Any]:
        """A live shared dict, from which everything else can be reached: see open(), save() and load().

        Plain dicts, lists and sets that are stored in it become live, all the way down.
        """
        found = self._root
        if found is None:
            with _making:
                found = self._root
                if found is None:
                    found = self._root = DictProxy(arena=self._arena, deep=True)
        return found

    def open(self, name: str, factory: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """The object of this name in `root`; if there is none, what factory(*args, **kwargs) makes.

        `jobs = m.open("jobs", m.Queue)` in each process: the first makes it, all others get the same one. (If
        two are first at the same time, one of the two that were made is dropped.) A factory that gives a
        plain dict, list or set makes a live one.

        Raises:
            KeyError: there is none, and no factory.
            TypeError: what is there is of another kind than the factory makes, as far as that is known: a
                manager's own methods, or dict, list and set.
            HandleError: the factory made an object of another arena, which others could not open: take the
                manager's own (m.Queue, not interproc.Queue).
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of an object in a store is a str, not {type(name).__name__}")
        root = self.root
        found = root.get(name, _NONE)
        if found is not _NONE:
            return _of_kind(found, factory, name)
        if factory is None:
            raise KeyError(f"there is no {name!r} in the store, and no factory to make it with")
        made = factory(*args, **kwargs)
        self._check_arena(name, made)
        return _of_kind(root.setdefault(name, made), factory, name)

    def _check_arena(self, name: str, made: Any) -> None:
        if any(arena_of(handle) is not self._arena for handle in _handles_in(made)):
            raise HandleError(
                f"open({name!r}): the factory made a {type(made).__name__} outside of this manager's arena; "
                "use the manager's own methods, as m.Queue"
            )

    def share(self, obj: Any) -> Any:
        """A live shared copy of a nested dict, list or set, all the way down:
        `m.share(tree)["a"]["b"].append(1)`.

        Reading a nested container gives a live proxy, and what is stored later becomes live as well.
        Raises TypeError for anything else.
        """
        return share(obj, self._arena)

    def transaction(self, *proxies: _core.Container, timeout: float | None = None) -> Transaction:
        """`with m.transaction(d, l): ...`: all or nothing of what the block does to them.

        It is the thread's: in a coroutine, await nothing in the block, or others' calls come into it.
        """
        return transaction(*proxies, timeout=timeout)

    def save(self, path: str | os.PathLike[str], timeout: float | None = None) -> None:
        """Writes `root` and all it leads to, as they are at one moment, to a file that is replaced at once.

        Raises PicklingError with the path to what cannot be saved, TimeoutError, OSError: the old file stays.
        """
        save(self.root, path, timeout)

    def load(self, path: str | os.PathLike[str], timeout: float | None = None) -> None:
        """Replaces what `root` has by a snapshot's, all or nothing. A snapshot is a pickle: load what you
        trust. Proxies that were taken from `root` before stay what they were; open() gives the new ones.

        Raises SnapshotError if the file is none, or damaged, TimeoutError, OSError: nothing was changed.
        """
        load(self.root, path, timeout)


class NamedManager(StoreFace, Makers):
    """`interproc.Manager(name="app")`: a store that unrelated processes of this user share, without a server.

    The first to open the name makes the store. It lives as long as any process has it open, or any of its
    objects, and the last one out, however it ends, frees it. It may be opened before a fork or after it, and
    sent to other processes of the tree. What is made by its methods lives while a process or a container has
    it; what others are to find goes into `root`, by open() or by an assignment.

    Args:
        name: 1 to 100 letters, digits, "_", "-", "."
        limit: of its memory, in bytes, if this call makes it; see interproc.Arena.

    Raises:
        ValueError: the name cannot be one.
        OSError: its file cannot be used; ArenaCorrupted: it is damaged.
    """

    def __init__(self, name: str, limit: int | None = None) -> None:
        self._name = name
        arena = _core.Arena.open(name, limit)
        self._root = DictProxy(name=ROOT, arena=arena, deep=True)
        arena.keep(self._root)  # who still has an object of the store is to find the same root by its name

    @property
    def _arena(self) -> _core.Arena:  # type: ignore[override]
        return arena_of(self.root)

    @property
    def name(self) -> str:
        """The name that it was opened by."""
        return self._name

    @property
    def root(self) -> DictProxy[str, Any]:
        """A live shared dict that all who open the name find. Plain containers stored in it become live."""
        if self._root is None:
            raise HandleError(f"{self!r} is closed: Manager(name={self._name!r}) opens it again")
        return self._root

    def close(self) -> None:
        """Lets go of the store, and closes `root`. Other proxies that it gave go on. Idempotent."""
        root, self._root = self._root, None
        if root is not None:
            root.close()

    shutdown = close

    def __enter__(self) -> Self:
        _ = self.root  # raises if it is closed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self._name, self.root)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}{' closed' if self._root is None else ''}>"


_NONE: Any = object()
_KINDS: dict[str, type] = {
    "dict": DictProxy,
    "list": ListProxy,
    "set": SetProxy,
    "Namespace": NamespaceProxy,
    "Value": ValueProxy,
    "Queue": queues.JoinableQueue,
    "JoinableQueue": queues.JoinableQueue,
    "Lock": locks.Lock,
    "RLock": locks.RLock,
    "Semaphore": locks.Semaphore,
    "BoundedSemaphore": locks.BoundedSemaphore,
    "Condition": locks.Condition,
    "Event": locks.Event,
    "Barrier": locks.Barrier,
}


def _of_kind(found: Any, factory: Any, name: str) -> Any:
    """What was found, if it is what the factory makes, or might be."""
    own = factory in (dict, list, set) or isinstance(getattr(factory, "__self__", None), Makers)
    kind = _KINDS.get(getattr(factory, "__name__", "")) if own else None
    if kind is not None and not isinstance(found, kind):
        is_there = type(found).__name__.removesuffix("Proxy")
        raise TypeError(f"{name!r} in the store is a {is_there}, not what {factory.__name__} makes")
    return found


_making = threading.Lock()


def _handles_in(obj: object) -> list[_core.Handle]:
    """The handles on shared objects that are part of it."""
    pickler = _Searching(io.BytesIO(), 5)
    with contextlib.suppress(Exception):  # storing it will raise the same, and say more
        pickler.dump(obj)
    return pickler.found


class _Searching(pickle.Pickler):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.found: list[_core.Handle] = []

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, _core.Handle):
            return NotImplemented
        self.found.append(obj)
        return object, ()


def _revive(cls: type[NamedManager], name: str, root: DictProxy[str, Any]) -> NamedManager:
    """Unpickles one: it is the store that was sent, or an error, and not another that has the name by now."""
    manager = cls.__new__(cls)
    manager._name = name
    manager._root = root
    return manager
