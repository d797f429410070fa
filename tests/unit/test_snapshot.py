"""save() and load(): what is kept, that a file is replaced whole, and what is refused."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dropin.support import NEVER, SOON, Crew, in_thread, until
from hypothesis import given, settings
from hypothesis import strategies as st

import interproc as mp
from interproc import Arena, PicklingError
from interproc.errors import InterprocError, SnapshotError
from interproc.managers import snapshot
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.sets import SetProxy
from interproc.managers.sharing import share, unshare
from interproc.managers.snapshot import load, save
from interproc.managers.transaction import transaction
from interproc.managers.values import ValueProxy


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Forked children."""
    crew = Crew(mp.get_context("fork"))
    yield crew
    crew.end()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.snapshot"


def copied(root: Any, path: Path) -> Any:
    """What comes back of a container that is saved, in a new one of its kind."""
    save(root, path)
    other = type(root)() if not isinstance(root, ValueProxy) else ValueProxy("i", 0)
    load(other, path)
    return other


def is_free(container: Any) -> bool:
    """Whether another thread can lock it."""

    def lock() -> bool:
        if not container.acquire(NEVER):
            return False
        container.release()
        return True

    return bool(in_thread(lock))


class Point:
    """A user's class."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


class Named(DictProxy[str, Any]):
    """A user's own kind of shared dict."""

    def shout(self) -> str:
        """Something that a DictProxy cannot."""
        return str(self["name"]).upper()


# ---- what is kept


def test_values_of_any_kind(path: Path) -> None:
    contents = {"a": 1, 2: None, (1, "x"): [1, {"y": (2.5, b"z")}], "point": Point(3), "long": "x" * 100_000}
    other = copied(DictProxy(contents), path)
    assert other.items_list() == list(contents.items())
    assert not other.deep and type(other[(1, "x")]) is list


@pytest.mark.parametrize(
    "root",
    [
        lambda: DictProxy({"a": 1, "b": 2}),
        lambda: ListProxy([3, 1, 2]),
        lambda: SetProxy(["x", (1, 2), 5]),
        lambda: NamespaceProxy({"x": 1, "name": "mine", "close": 2}),
        lambda: ValueProxy("d", {"any": "thing"}),
    ],
    ids=["dict", "list", "set", "Namespace", "Value"],
)
def test_each_kind_as_the_root(root: Any, path: Path) -> None:
    made = root()
    other = copied(made, path)
    assert type(other) is type(made) and str(other) == str(made) and other._identity() != made._identity()


def test_each_kind_within_and_whether_it_is_deep(path: Path) -> None:
    root = DictProxy[str, Any](
        {
            "dict": DictProxy({"k": [1]}),
            "deep": DictProxy({"k": [1]}, deep=True),
            "list": ListProxy([1, "b"]),
            "deep list": ListProxy([[1]], deep=True),
            "set": SetProxy([1, 2]),
            "Namespace": NamespaceProxy(x=1, _hidden=2),
            "deep Namespace": NamespaceProxy({"x": []}, deep=True),
            "Value": ValueProxy("i", 5),
        }
    )
    other = copied(root, path)
    assert list(other) == list(root)
    for name, old in root.items():
        new = other[name]
        assert type(new) is type(old) and str(new) == str(old), name
        assert type(new).deep.__get__(new) is type(old).deep.__get__(old), name
    other["deep"]["k"].append(2)
    assert other["deep"]["k"] == [1, 2] and root["deep"]["k"] == [1]
    assert other["Value"].typecode == "i"


def test_within_plain_values(path: Path) -> None:
    inner = ListProxy([1])
    other = copied(DictProxy({"t": (inner, {"k": [inner]}), "p": Point(inner)}), path)  # type: ignore[arg-type]
    new = other["t"][0]
    new.append(2)
    assert other["t"][1]["k"][0] == [1, 2] and other["p"].x == [1, 2] and inner == [1]


def test_what_is_shared_stays_shared(path: Path) -> None:
    both = ListProxy([1])
    other = copied(share({"a": both, "b": {"c": both}}), path)
    other["a"].append(2)
    assert other["b"]["c"] == [1, 2] and both == [1]
    assert other["a"]._identity() == other["b"]["c"]._identity()


def test_cycles(path: Path) -> None:
    root = share({"list": [], "twins": [{}, {}]})
    root["me"] = root
    root["list"].append(root["list"])
    first, second = root["twins"]
    first["other"], second["other"] = second, first
    other = copied(root, path)
    try:
        assert other["me"]._identity() == other._identity()
        assert other["list"][0]._identity() == other["list"]._identity()
        assert other["twins"][0]["other"]["other"]._identity() == other["twins"][0]._identity()
        assert other["twins"][0]["other"]._identity() == other["twins"][1]._identity()
    finally:
        for each in (root, other):
            each["list"].clear(), each["twins"][0].clear(), each.clear()


def test_nested_beyond_any_stack(path: Path) -> None:
    root = here = share({})
    for n in range(3000):
        here["next"] = {"n": n}
        here = here["next"]
    other = here = copied(root, path)
    for n in range(3000):
        here = here["next"]
        assert here["n"] == n
    assert other["next"]["n"] == 0


def test_a_class_of_the_users(path: Path) -> None:
    root = DictProxy({"named": Named({"name": "me"})})
    other = copied(root, path)
    assert type(other["named"]) is Named and other["named"].shout() == "ME"


def test_keys_that_only_their_pickles_tell_apart(path: Path) -> None:
    nan = float("nan")
    root = DictProxy({nan: "nan", 2.0: "two", frozenset({1}): "set", True: "one"})
    other = copied(root, path)
    assert other.values() == ["nan", "two", "set", "one"]
    assert [type(key) for key in other] == [float, float, frozenset, bool] and other[1] == "one"


JSON = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner, max_size=4),
        st.tuples(inner, inner),
        st.sets(st.integers(), max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=5), st.booleans())
def test_whatever_it_is_it_comes_back(tmp_path_factory: Any, contents: dict[str, Any], deep: bool) -> None:
    root = DictProxy[str, Any](contents, deep=deep)
    other = copied(root, tmp_path_factory.mktemp("any") / "file")
    assert unshare(other) == unshare(root) == contents
    assert list(other) == list(contents)


def test_what_was_there_is_replaced_and_goes_on_for_those_who_have_it(path: Path) -> None:
    root = share({"a": {"n": 1}, "gone": 1})
    save(root, path)
    old = root["a"]
    root["later"] = 5
    del root["gone"]
    old["n"] = 2
    load(root, path)
    assert unshare(root) == {"a": {"n": 1}, "gone": 1}
    assert old["n"] == 2 and old._identity() != root["a"]._identity()


def test_what_is_loaded_is_in_the_arena_of_the_root(path: Path) -> None:
    save(share({"a": [1]}), path)
    arena = Arena.create()
    root = DictProxy(arena=arena)
    load(root, path)
    assert root["a"].arena is arena and root["a"] == [1]


def test_memory_returns(path: Path) -> None:
    arena = Arena.default()
    root = share({"a": [[n] for n in range(100)], "b": "x" * 100_000})
    save(root, path)
    load(root, path)
    gc.collect()
    used, objects = arena.used, len(arena.objects())
    for _ in range(50):
        load(root, path)
        save(root, path)
    assert len(arena.objects()) == objects
    assert arena.used <= used * 1.1  # not to the byte: a block may be a little larger than what it is for
    arena.check()


# ---- what cannot be saved


@pytest.mark.parametrize(
    ("make", "where", "what"),
    [
        (lambda: {"q": mp.Queue()}, "root['q']", "Queue"),
        (lambda: {"a": {"b": [0, mp.Lock()]}}, "root['a']['b'][1]", "Lock"),
        (lambda: {"a": [{"x": (1, mp.Event())}]}, "root['a'][0]['x'][1]", "Memory"),
        (lambda: {"ns": NamespaceProxy({"lock": mp.RLock()})}, "root['ns'].lock", "RLock"),
        (lambda: {"v": ValueProxy("i", [mp.Semaphore()])}, "root['v'].value[0]", "Semaphore"),
        (lambda: {"array": mp.Array("i", 3)}, "root['array']", ""),
        (lambda: {"a": {1: Arena.default()}}, "root['a'][1]", "Arena"),
        (lambda: {"item": {"item": [mp.Queue()]}}, "root['item']['item'][0]", "Queue"),
    ],
)
def test_what_cannot_be_saved_is_named_with_the_path_to_it(
    make: Any, where: str, what: str, path: Path
) -> None:
    root = DictProxy(make(), deep=True)
    save(share({"the": "old one"}), path)
    before = path.read_bytes()
    with pytest.raises(PicklingError, match="nothing was saved") as raised:
        save(root, path)
    assert f"{what} " in str(raised.value) and where in str(raised.value)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    assert is_free(root)


def test_a_set_and_an_own_object_on_the_path(path: Path) -> None:
    root = share({"p": Point(mp.Queue())})  # type: ignore[arg-type]
    with pytest.raises(PicklingError, match=r"root\['p'\]\.x"):
        save(root, path)
    assert not path.exists()


# ---- the file


def test_a_new_file_is_the_users_alone_and_an_old_one_keeps_its_mode(path: Path) -> None:
    root = share({"a": 1})
    save(root, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    save(root, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    save(root, os.fsencode(path))  # type: ignore[arg-type]
    assert os.listdir(path.parent) == [path.name]


def test_where_a_link_leads_to(path: Path) -> None:
    link = path.parent / "link"
    link.symlink_to(path)
    save(share({"a": 1}), link)
    assert link.is_symlink() and path.is_file()
    root = share({})
    load(root, link)
    assert root == {"a": 1}


def test_a_relative_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    save(share({"a": 1}), path.name)
    assert path.exists()


def test_who_reads_while_it_is_replaced_reads_one_or_the_other(path: Path) -> None:
    one, other = share({"n": ["a"] * 5000}), share({"n": ["b"] * 5000})
    save(one, path)
    done = threading.Event()

    def write() -> None:
        for _ in range(20):
            save(other, path)
            save(one, path)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    root, seen = share({}), set()
    while not done.is_set() or not seen:
        load(root, path)
        items = root["n"][:]
        assert len(items) == 5000 and len(set(items)) == 1
        seen.add(items[0])
    thread.join(SOON)
    assert seen <= {"a", "b"}


def test_no_place_for_it(path: Path) -> None:
    root = share({"a": 1})
    with pytest.raises(FileNotFoundError):
        save(root, path / "deeper")
    path.mkdir()
    with pytest.raises(OSError):
        save(root, path)
    assert os.listdir(path.parent) == [path.name]


def test_what_the_killed_have_left_beside_it_goes(path: Path) -> None:
    left, fresh = path.parent / f".{path.name}.left.saving", path.parent / f".{path.name}.fresh.saving"
    other = path.parent / ".other.saving"
    for each in (left, fresh, other):
        each.write_bytes(b"half of one")
    for each in (left, other):
        os.utime(each, (1, 1))
    save(share({"a": 1}), path)
    assert not left.exists() and fresh.exists() and other.exists()


# ---- what cannot be loaded


def saved(path: Path) -> bytes:
    save(share({"a": [1, 2, 3]}), path)
    return path.read_bytes()


def refused(path: Path) -> str:
    root = share({"mine": [1]})
    with pytest.raises(SnapshotError) as raised:
        load(root, path)
    assert isinstance(raised.value, InterprocError) and isinstance(raised.value, ValueError)
    assert root == {"mine": [1]} and str(path) in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("content", [b"", b"no snapshot", pickle.dumps({"a": 1}), bytes(1000)])
def test_no_snapshot(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "not a snapshot" in refused(path)


def test_cut_short_anywhere(path: Path) -> None:
    data = saved(path)
    for length in [*range(1, 60), len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:length])
        assert "cut short" in refused(path), length


def test_a_flipped_bit_anywhere(path: Path) -> None:
    data = saved(path)
    for place in range(20, len(data)):
        wrong = bytearray(data)
        wrong[place] ^= 0x40
        path.write_bytes(wrong)
        assert any(word in refused(path) for word in ("damaged", "cut short", "newer")), place
    path.write_bytes(data + b"more")
    assert "damaged" in refused(path)


def test_a_newer_version(path: Path) -> None:
    data = bytearray(saved(path))
    struct.pack_into("<I", data, 20, snapshot.VERSION + 1)
    path.write_bytes(data)
    assert f"newer interproc (format {snapshot.VERSION + 1}" in refused(path)


def test_of_another_kind(path: Path) -> None:
    save(ListProxy([1]), path)
    assert "snapshot of a list" in refused(path)


def test_no_file(path: Path) -> None:
    root = share({"mine": 1})
    with pytest.raises(FileNotFoundError):
        load(root, path)
    assert root == {"mine": 1}


def test_a_class_that_is_no_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(share({"a": {"b": Point(1)}, "c": [[], []]}), path)
    root = share({"mine": [1]})
    used = Arena.default().used
    monkeypatch.delattr(f"{__name__}.Point")
    with pytest.raises(AttributeError) as raised:
        load(root, path)
    assert str(path) in raised.value.__notes__[0]
    assert root == {"mine": [1]}
    del raised
    until(lambda: Arena.default().used <= used, "what was made is freed")


def test_a_part_of_a_snapshot_is_no_pickle_of_its_own() -> None:
    with pytest.raises(pickle.UnpicklingError, match="load"):
        snapshot._container(1)


# ---- locks


@contextlib.contextmanager
def locked_elsewhere(container: Any) -> Iterator[threading.Event]:
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        with container.lock():
            ready.set()
            done.wait(SOON)

    thread = threading.Thread(target=hold)
    thread.start()
    assert ready.wait(SOON)
    try:
        yield done
    finally:
        done.set()
        thread.join(SOON)


@pytest.mark.parametrize("which", ["root", "nested", "root of load"])
def test_no_lock_in_time(path: Path, which: str) -> None:
    root = share({"a": {"b": [1]}, "c": [2]})
    locked = root["a"]["b"] if which == "nested" else root
    save(root, path)
    before = path.read_bytes()
    with locked_elsewhere(locked):
        if which == "root of load":
            with pytest.raises(TimeoutError, match=locked.id):
                load(root, path, NEVER)
        else:
            with pytest.raises(TimeoutError, match=locked.id):
                save(root, path, NEVER)
        others = [root["a"], root["c"]] if which == "nested" else []
        for container in others:
            assert is_free(container)
    assert path.read_bytes() == before
    save(root, path, SOON)


def test_it_waits_for_a_lock_of_what_is_nested(path: Path) -> None:
    root = share({"a": {"b": [1]}})
    nested = root["a"]["b"]
    with locked_elsewhere(nested) as done:
        waiting = threading.Thread(target=save, args=(root, path, SOON))
        waiting.start()
        # It never keeps the others while it waits for the one.
        with root.lock(), root["a"].lock():
            root["x"] = 1
        assert not path.exists()
        done.set()
        waiting.join(SOON)
    assert path.exists()


def test_in_a_transaction_it_is_refused_and_in_a_lock_not(path: Path) -> None:
    root = share({"a": [1]})
    with transaction(root):
        with pytest.raises(RuntimeError, match="in a transaction"):
            save(root, path)
        with pytest.raises(RuntimeError, match="transaction"):
            load(root, path)
    with root.lock(), root["a"].lock():
        save(root, path)
        root["a"].append(2)
        load(root, path)
    assert root["a"] == [1] and is_free(root)


def move_for_ever(left: Any, right: Any) -> None:
    while True:
        with transaction(right, left):
            left["n"] -= 1
            right["n"] += 1
        with left.lock(), right.lock():
            left["n"] += 1
            right["n"] -= 1


def test_it_is_of_one_moment(path: Path, crew: Crew) -> None:
    """Others move amounts between containers all the time, and their sum is the same in each snapshot."""
    root = share({"left": {"n": 100}, "right": {"n": 0}, "log": []})
    left, right = root["left"], root["right"]
    processes = [crew.start(move_for_ever, left, right) for _ in range(2)]
    for nested in (left, right):
        assert nested.watch(timeout=SOON)
    other = share({})
    for _ in range(30):
        save(root, path, SOON)
        load(other, path)
        assert other["left"]["n"] + other["right"]["n"] == 100
    for process in processes:
        crew.kill(process)


def test_two_savers_do_not_block_each_other(path: Path) -> None:
    one, two = share({"n": 1}), share({"n": 2})
    one["other"], two["other"] = two, one

    def write(root: Any, to: Path) -> None:
        for _ in range(40):
            save(root, to, SOON)

    threads = [
        threading.Thread(target=write, args=(root, path.parent / name))
        for root, name in ((one, "1"), (two, "2"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON * 2)
        assert not thread.is_alive()
    assert sorted(os.listdir(path.parent)) == ["1", "2"]
    one.clear()
