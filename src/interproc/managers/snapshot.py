"""Snapshots: a shared container, and all that it leads to, into a file and back.

A file is a header (what it is, its version, and the length and checksum of the rest), then pickles: first a
list of (kind, deep, class) of each container, the first of which is the one that was saved, then the contents
of each. A container inside another is its place in that list, so that what is shared stays shared and cycles
are nothing special.
"""

from __future__ import annotations

import contextlib
import copyreg
import fcntl
import functools
import hashlib
import io
import os
import pickle
import re
import stat
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import managers as mpm
from typing import Any

from .. import _core, culprit
from ..errors import PicklingError, SnapshotError
from .containers import DEEP, arena_of, is_deep, who
from .dicts import DictProxy
from .lists import ListProxy
from .namespaces import NamespaceProxy
from .sets import SetProxy
from .transaction import acquire_all, deadline_of, patience, time_left, transaction, under_way
from .values import ValueProxy

__all__ = ["load", "save"]

VERSION = 1
_MAGIC = b"interproc snapshot\n\0"
_HEADER = struct.Struct("<20sIQ16s")  # magic, version, bytes after the header, their checksum

_KINDS: dict[str, type[Any]] = {
    "dict": DictProxy,
    "list": ListProxy,
    "set": SetProxy,
    "Namespace": NamespaceProxy,
    "Value": ValueProxy,
}
_NAMES = {cls._flavour: name for name, cls in _KINDS.items()}

_SUFFIX = ".saving"  # of the file beside the old one that a snapshot is written to
_STALE = 60.0  # seconds after which such a file that nobody has locked was left by a process that was killed

_LIVING = (_core.Handle, _core.Arena, mpm.BaseProxy, mpm.BaseManager)  # what is no data

_ITEM = re.compile(r"\bitem\b")
_ATTRIBUTE = re.compile(r"\bitem\['([A-Za-z_]\w*)'\]")

_Table, _List = _core.Table, _core.List


# ---- saving


def save(root: _core.Container, path: str | os.PathLike[str], timeout: float | None = None) -> None:
    """Writes a shared container, and all containers that it leads to, to a file: what they have at one
    moment.

    All of them are locked while they are read, so others' calls on them wait; not while the file is written.
    The file is replaced at once, when all of it is on the disk: whoever reads it gets the old one or the new
    one, and if this process is killed, the old one stays. A new file is readable by this user alone.

    Kinds and references are kept: a container that is in two others, or in itself, is so when it is loaded.
    What is in the containers besides has to be picklable.

    Raises:
        PicklingError: something cannot be saved (a queue, a lock...), with the path to it; the file is as it
            was.
        TimeoutError: the locks could not be had within `timeout` seconds (None: as long as it takes).
        RuntimeError: this thread is in a transaction, so that what it would save may yet be undone.
        OSError: the file cannot be written; an old one is as it was.
    """
    if under_way() is not None:
        raise RuntimeError(
            "a snapshot in a transaction would have what may yet be undone: save it afterwards"
        )
    payload = _collect(root, timeout)
    checksum = _new_checksum()
    for piece in payload:
        checksum.update(piece)
    header = _HEADER.pack(_MAGIC, VERSION, sum(map(len, payload)), checksum.digest())
    _replace(os.fsdecode(path), [header, *payload])


def _collect(root: _core.Container, timeout: float | None) -> list[bytes]:
    """The pickles of all that root leads to.

    What that is shows only as it is read, so containers are locked as they are found. If somebody else has
    one, all are let go of, and taken again with that one first: while anything is
    locked, another is waited for a moment only.
    """
    deadline = deadline_of(timeout)
    wanted: list[_core.Container] = [root]
    attempt = 0
    while True:
        missing = acquire_all(wanted, deadline)
        if missing is None:
            reading = _Reading(root, wanted, functools.partial(patience, attempt, deadline))
            try:
                return reading.pickles()
            except _Locked as found:
                missing = found.container
                wanted = [missing, *reading.locked.values()]
            finally:
                for container in reading.locked.values():
                    _core.Container.release(container)
        if time_left(deadline) == 0.0:
            raise TimeoutError(
                f"saving {who(root)}: others had locked {who(missing)}, to which it leads, for {timeout} s"
            )
        attempt += 1


class _Locked(Exception):
    """Somebody else has locked a container."""

    def __init__(self, container: _core.Container) -> None:
        self.container = container


class _Found(Exception):
    """The container whose path is looked for."""


class _Reading:
    """One attempt to read all that a container leads to, with all of it locked in the end."""

    def __init__(
        self, root: _core.Container, locked: list[_core.Container], patience: Callable[[], float]
    ) -> None:
        self.patience = patience
        self.locked = {container._identity(): container for container in locked}
        self.containers: list[_core.Container] = []
        self.parents: list[int] = []  # in which of them each was found
        self._places: dict[object, int] = {}  # in these, by identity
        self._now = 0  # which is being pickled
        self.place(root)

    def place(self, container: _core.Container) -> int:
        """The place of a container among those found."""
        identity = container._identity()
        place = self._places.get(identity)
        if place is None:
            place = self._places[identity] = len(self.containers)
            self.containers.append(container)
            self.parents.append(self._now)
        return place

    def pickles(self) -> list[bytes]:
        """Reads all. Raises _Locked, PicklingError."""
        pieces = []
        for place, container in enumerate(self.containers):  # which grows meanwhile
            self._now = place
            identity = container._identity()
            if identity not in self.locked:
                if not _core.Container.acquire(container, self.patience()):
                    raise _Locked(container)
                self.locked[identity] = container
            try:
                pieces.append(self._pickled(_contents(container), self.place))
            except Exception as error:
                raise PicklingError(self._explained(error)) from error.__cause__
        return [pickle.dumps([_description(container) for container in self.containers], 5), *pieces]

    def _pickled(self, contents: object, place: Callable[[_core.Container], int]) -> bytes:
        buffer = io.BytesIO()
        _Pickler(buffer, place).dump(contents)
        return buffer.getvalue()

    def _explained(self, error: Exception) -> str:
        """The message for the container in which pickling has just failed."""

        def probe(part: object) -> None:
            self._pickled(part, lambda container: 0)

        contents = _as_plain(self.containers[self._now])
        path, object_, reason, exact = culprit.search(contents, error, probe, _Reducers())
        where = _within(path, self._path(self._now), self.containers[self._now])
        return (
            f"cannot save the {type(object_).__name__} {'at' if exact else 'within'} {where}: "
            f"{culprit.describe(reason)}; nothing was saved"
        )

    def _path(self, place: int) -> str:
        """How one comes from root to a container, as an expression."""
        if place == 0:
            return "root"
        target, parent = self.containers[place]._identity(), self.containers[self.parents[place]]

        def probe(part: object) -> None:
            self._pickled(part, check)

        def check(container: _core.Container) -> int:
            if container._identity() == target:
                raise _Found
            return 0

        path = culprit.search(_as_plain(parent), _Found(), probe, _Reducers())[0]
        return _within(path, self._path(self.parents[place]), parent)


class _Pickler(pickle.Pickler):
    """Pickles the contents of a container, in which other containers are their places."""

    def __init__(self, file: io.BytesIO, place: Callable[[_core.Container], int]) -> None:
        super().__init__(file, 5)
        self._place = place

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _core.Container):
            _description(obj)  # it may be none that can be saved
            return _container, (self._place(obj),)
        if isinstance(obj, _LIVING):
            raise pickle.PicklingError("this is no data, but lives only as long as the processes that use it")
        return NotImplemented


class _Reducers(dict[type, Any]):
    """What the search for a culprit takes objects apart with: the living ones it leaves whole."""

    def get(self, cls: type, default: Any = None) -> Any:
        return _whole if issubclass(cls, _LIVING) else copyreg.dispatch_table.get(cls, default)


def _whole(obj: object) -> str:
    return ""


def _container(place: int) -> Any:
    """What a container is in the pickle of another's contents; loading replaces it."""
    raise pickle.UnpicklingError("this pickle is a part of a snapshot: use load()")


def _description(container: _core.Container) -> tuple[str, bool, type[Any] | None]:
    """Its kind, whether it is deep, and its class if that is the user's own."""
    cls: Any = type(container)
    name = _NAMES.get(cls._flavour)
    if name is None:
        raise pickle.PicklingError("it is no dict, list, set, Namespace or Value")
    return name, is_deep(container), None if cls is _KINDS[name] else cls


def _contents(container: _core.Container) -> list[Any]:
    if isinstance(container, _core.List):
        return _List.items_list(container)
    assert isinstance(container, _core.Table)
    return _Table.keys_list(container) if isinstance(container, SetProxy) else _Table.items_list(container)


def _as_plain(container: _core.Container) -> Any:
    """The contents as a reader of a path to something in them thinks of them."""
    contents = _contents(container)
    if isinstance(container, SetProxy):
        return set(contents)
    return dict(contents) if isinstance(container, _core.Table) else contents


def _within(path: str, whole: str, container: _core.Container) -> str:
    """A path that begins with `item` as one that begins with `whole`, which is this container."""
    if isinstance(container, (NamespaceProxy, ValueProxy)):
        path = _ATTRIBUTE.sub(r"item.\1", path, count=1)
    return _ITEM.sub(lambda match: whole, path, count=1)


def _new_checksum() -> Any:
    return hashlib.blake2b(digest_size=16)


# ---- the file


def _replace(path: str, pieces: list[bytes]) -> None:
    """Makes these the contents of the file, at once and durably."""
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    prefix = f".{name[:100]}."
    _remove_stale(folder, prefix)
    descriptor, temporary = tempfile.mkstemp(_SUFFIX, prefix, folder)
    try:
        with open(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # a sign of life, see _remove_stale()
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(os.stat(path).st_mode))
            file.writelines(pieces)
            file.flush()
            os.fsync(descriptor)
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def _remove_stale(folder: str, prefix: str) -> None:
    """Removes what processes that were killed while they saved have left beside the file."""
    for entry in list(os.scandir(folder)):
        if not (entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX)):
            continue
        with contextlib.suppress(OSError), open(entry.path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(file.fileno()).st_mtime > _STALE:
                os.unlink(entry.path)


# ---- loading


def load(root: _core.Container, path: str | os.PathLike[str], timeout: float | None = None) -> None:
    """Replaces what a shared container has by what a snapshot has: at once, or not at all.

    The containers that it leads to are made anew; those that were in it before go on for whoever still has
    them.

    A snapshot is a pickle: loading one can run whatever its maker wanted. Load only what you trust.

    Raises:
        SnapshotError: the file is no snapshot, is cut short or damaged, of a newer version, or of another
            kind of container. Nothing was changed.
        TimeoutError: others had locked the container for `timeout` seconds (None: wait as long as it takes).
        RuntimeError: this thread is in a transaction.
        OSError: the file cannot be read. ArenaFull, and what unpickling raises: nothing was changed.
    """
    if under_way() is not None:
        raise RuntimeError("loading a snapshot is a transaction of its own: load it before or after this one")
    place = os.fsdecode(path)
    with open(place, "rb") as file:
        stream = io.BytesIO(_checked(file.read(), place))
    try:
        described = pickle.Unpickler(stream).load()
        kind = _description(root)[0]
        if described[0][0] != kind:
            raise SnapshotError(f"{place} is the snapshot of a {described[0][0]}; {who(root)} is a {kind}")
        made = [root]
        with _dismantled_on_error(made):
            for description in described[1:]:
                made.append(_new(description, arena_of(root)))
            unpickler = _Unpickler(stream, made)
            contents = unpickler.load()
            for container in made[1:]:  # nobody else has them yet
                _fill(container, _Unpickler(stream, made).load())
            with transaction(root, timeout=timeout):
                root.clear() if isinstance(root, _List) else _Table.clear(root)  # type: ignore[arg-type]
                _fill(root, contents)
    except Exception as error:
        error.add_note(f"The snapshot was {place}")
        raise


def _checked(data: bytes, path: str) -> memoryview:
    """What follows the header. Raises SnapshotError."""
    if data[: len(_MAGIC)] != _MAGIC[: len(data)] or not data:
        raise SnapshotError(f"{path} is not a snapshot made by save()")
    if len(data) < _HEADER.size:
        raise SnapshotError(f"{path} is cut short: it has {len(data):,} bytes")
    _, version, size, checksum = _HEADER.unpack_from(data)
    if version > VERSION:
        raise SnapshotError(f"{path} is of a newer interproc (format {version}; this one reads {VERSION})")
    payload = memoryview(data)[_HEADER.size :]
    if len(payload) < size:
        raise SnapshotError(f"{path} is cut short: it has {len(payload):,} of {size:,} bytes")
    found = _new_checksum()
    found.update(payload)
    if len(payload) != size or found.digest() != checksum:
        raise SnapshotError(f"{path} is damaged: its checksum is wrong")
    return payload


class _Unpickler(pickle.Unpickler):
    """Unpickles the contents of a container, in which places stand for other containers."""

    def __init__(self, file: io.BytesIO, made: list[_core.Container]) -> None:
        super().__init__(file)
        self._made = made

    def find_class(self, module: str, name: str) -> Any:
        if name == _container.__name__ and module == __name__:
            return self._made.__getitem__
        return super().find_class(module, name)


def _new(description: tuple[str, bool, type[Any] | None], arena: _core.Arena) -> _core.Container:
    """A container as described, empty."""
    kind, deep, own = description
    cls: Any = _KINDS[kind] if own is None else own
    if not issubclass(cls, _KINDS[kind]):
        raise SnapshotError(f"the class {cls.__qualname__} is no {_KINDS[kind].__name__} any more")
    base: Any = _List if kind == "list" else _Table
    made: _core.Container = cls.__new__(cls)
    base.__init__(made, cls._flavour | (DEEP if deep else 0), arena=arena)
    return made


def _fill(container: _core.Container, contents: list[Any]) -> None:
    if isinstance(container, _core.List):
        for item in contents:
            _List.append(container, item)
    elif isinstance(container, SetProxy):
        for element in contents:
            _Table.insert(container, element)
    else:
        assert isinstance(container, _core.Table)
        for key, value in contents:
            _Table.__setitem__(container, key, value)


@contextlib.contextmanager
def _dismantled_on_error(made: list[_core.Container]) -> Iterator[None]:
    """Those that are in themselves would stay for ever."""
    try:
        yield
    except Exception:  # and not after a Ctrl-C that came when the transaction was already complete
        for container in made[1:]:
            with contextlib.suppress(Exception):
                container.clear() if isinstance(container, _List) else _Table.clear(container)  # type: ignore[arg-type]
        raise
