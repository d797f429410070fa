"""What every manager has in its root, and the manager that has a name."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dropin.support import METHODS, SOON, Crew, in_thread, until

import interproc as mp
from interproc import Arena, HandleError
from interproc.managers.dicts import DictProxy
from interproc.managers.lists import ListProxy
from interproc.managers.makers import Makers
from interproc.managers.namespaces import NamespaceProxy
from interproc.managers.sets import SetProxy
from interproc.managers.sharing import unshare
from interproc.managers.store import NamedManager, StoreFace
from interproc.managers.values import ValueProxy


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's runtime directory of its own for each test."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def m() -> Iterator[NamedManager]:
    with NamedManager("app") as manager:
        yield manager


@pytest.fixture(params=METHODS)
def children(request: Any) -> Iterator[Crew]:
    crew = Crew(mp.get_context(request.param))
    yield crew
    crew.end()


def files(runtime: Path) -> list[str]:
    return [path.name for path in runtime.rglob("*") if not path.is_dir()]


class Plain(StoreFace, Makers):
    """A manager that has an arena and nothing else."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena


# ---- root and open


def test_the_root_is_one_live_dict(m: NamedManager) -> None:
    m.root["config"] = {"limits": {"n": 1}, "names": ["a"]}
    m.root["config"]["limits"]["n"] += 1
    m.root["config"]["names"].append("b")
    assert unshare(m.root) == {"config": {"limits": {"n": 2}, "names": ["a", "b"]}}
    assert NamedManager("app").root["config"]["limits"]["n"] == 2
    assert m.root.arena.name == "app" and m.name == "app"


def test_a_manager_without_a_name_has_a_root_of_its_own() -> None:
    one, other = Plain(Arena.default()), Plain(Arena.default())
    one.root["x"] = {"y": []}
    one.root["x"]["y"].append(1)
    assert one.root == {"x": {"y": [1]}} and other.root == {}
    assert one.root is one.root


def test_a_root_is_made_once_by_several_threads() -> None:
    m = Plain(Arena.default())
    begin = threading.Barrier(8)
    roots: list[Any] = []

    def look() -> None:
        begin.wait(SOON)
        roots.append(m.root)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(roots) == 8 and all(root is roots[0] for root in roots)


def test_open_makes_what_is_not_there(m: NamedManager) -> None:
    users = m.open("users", m.dict, {"a": 1}, b=2)
    assert type(users) is DictProxy and users == {"a": 1, "b": 2}
    assert m.open("users", m.dict) == users and m.open("users")._identity() == users._identity()
    queue = m.open("jobs", m.Queue, maxsize=3)
    queue.put(1)
    assert m.open("jobs").get(timeout=SOON) == 1 and m.open("jobs").maxsize == 3
    with m.open("lock", m.Lock):
        assert m.open("lock").locked()
    m.open("tree", dict, a={"b": 1})["a"]["b"] = 2
    assert unshare(m.open("tree")) == {"a": {"b": 2}}
    assert m.open("number", int, "5") == 5 and list(m.root) == ["users", "jobs", "lock", "tree", "number"]
    assert m.open("none", lambda: None) is None and "none" in m.root


def test_open_without_a_factory(m: NamedManager) -> None:
    with pytest.raises(KeyError, match="no 'users' in the store"):
        m.open("users")
    m.root["users"] = 5
    assert m.open("users") == 5


def test_open_by_many_at_once_gives_all_the_same(m: NamedManager) -> None:
    begin = threading.Barrier(6)

    def add() -> None:
        begin.wait(SOON)
        m.open("items", m.list).append(threading.get_ident())

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert sorted(m.open("items")) == sorted(thread.ident for thread in threads if thread.ident)


@pytest.mark.parametrize(
    "factory",
    [mp.Queue, DictProxy, mp.Event, lambda: (1, [mp.Lock()]), lambda: mp.Array("i", 3)],
    ids=["Queue", "dict", "Event", "within", "Array"],
)
def test_open_refuses_what_is_in_another_arena(m: NamedManager, factory: Any) -> None:
    with pytest.raises(HandleError, match=r"use the manager's own methods, as m\.Queue"):
        m.open("x", factory)
    assert "x" not in m.root


def test_a_factory_that_fails(m: NamedManager) -> None:
    with pytest.raises(ZeroDivisionError):
        m.open("x", lambda: 1 // 0)
    with pytest.raises(mp.PicklingError):
        m.open("x", lambda: lambda: threading.Lock())
    with pytest.raises(mp.PicklingError):
        m.open("x", threading.Lock)
    assert "x" not in m.root


# ---- what it makes


def test_what_it_makes_is_in_its_arena(m: NamedManager) -> None:
    gc.collect()
    default = {each["id"] for each in Arena.default().objects()}
    made = [
        m.dict({"a": 1}, b=2),
        m.list([1, 2]),
        m.set([1, 2]),
        m.Namespace(x=1, y=1),
        m.Value("i", 5),
        m.Array("i", [1, 2, 3]),
        m.Queue(5),
        m.JoinableQueue(),
        m.Lock(),
        m.RLock(),
        m.Semaphore(2),
        m.BoundedSemaphore(3),
        m.Condition(),
        m.Condition(m.Lock()),
        m.Event(),
        m.Barrier(2),
    ]
    kinds = [DictProxy, ListProxy, SetProxy, NamespaceProxy, ValueProxy]
    assert [type(each) for each in made[:5]] == kinds
    assert [str(each) for each in made[:4]] == ["{'a': 1, 'b': 2}", "[1, 2]", "{1, 2}", "Namespace(x=1, y=1)"]
    assert made[4].value == 5 and made[5][:] == [1, 2, 3] and made[6].maxsize == 5
    for number, each in enumerate(made):  # all can be found there by others
        m.root[number] = each  # type: ignore[index]
    here = {each["id"] for each in m.root.arena.objects()}
    del made
    gc.collect()
    assert {each["id"] for each in m.root.arena.objects()} == here
    assert {each["id"] for each in Arena.default().objects()} == default
    m.root[12].notify_all() if m.root[12].acquire() else None  # type: ignore[index]


def test_a_key_may_be_named_as_an_option(m: NamedManager) -> None:
    assert m.dict(name="n", arena="a", deep=1, self=2) == {"name": "n", "arena": "a", "deep": 1, "self": 2}
    ns = m.Namespace(name="n", arena="a", deep=1, self=2)
    assert (ns.name, ns.arena, ns.deep, ns.self) == ("n", "a", 1, 2)


def test_share_transaction_save_and_load(m: NamedManager, tmp_path: Path) -> None:
    tree = m.share({"a": {"n": [1]}})
    inner = tree["a"]
    assert tree.arena is m.root.arena and tree["a"]["n"].arena is m.root.arena
    m.root["tree"] = tree
    m.save(tmp_path / "file", SOON)
    with pytest.raises(ZeroDivisionError), m.transaction(m.root, tree, inner, timeout=SOON):
        tree["a"]["n"] = 5
        m.root.clear()
        raise ZeroDivisionError
    assert unshare(m.root) == {"tree": {"a": {"n": [1]}}}
    with m.transaction(m.root, tree):
        tree.clear()
        m.root["x"] = 1
    m.load(tmp_path / "file", timeout=SOON)
    assert unshare(m.root) == {"tree": {"a": {"n": [1]}}}


# ---- its life


def test_it_lives_while_it_is_open(runtime: Path) -> None:
    one = NamedManager("app")
    one.root["n"] = 1
    two = NamedManager("app")
    one.close()
    assert two.root["n"] == 1
    with NamedManager("app") as three:
        assert three.root["n"] == 1
    two.shutdown()
    gc.collect()
    assert files(runtime) == []
    with NamedManager("app") as fresh:
        assert fresh.root == {}


def test_what_was_taken_from_it_goes_on(runtime: Path) -> None:
    with NamedManager("app") as m:
        items = m.open("items", m.list, [1])
    items.append(2)
    assert items[:] == [1, 2] and files(runtime) == ["app.arena"]
    with NamedManager("app") as other:  # the same store, as long as this process has anything of it
        assert other.root == {"items": [1, 2]}
    del items, other, m
    gc.collect()
    assert files(runtime) == []


def test_a_closed_one_says_so() -> None:
    m = NamedManager("app")
    m.close()
    m.close()
    for use in (
        lambda: m.root,
        lambda: m.dict(),
        lambda: m.open("x", m.dict),
        lambda: m.share({}),
        lambda: m.save("x"),
        lambda: m.load("x"),
        lambda: pickle.dumps(m),
        m.__enter__,
    ):
        with pytest.raises(
            HandleError, match=r"<NamedManager 'app' closed> is closed: Manager\(name='app'\)"
        ):
            use()
    assert m.name == "app" and repr(NamedManager("app")) == "<NamedManager 'app'>"


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", "x" * 200, "\0"])
def test_a_name_that_cannot_be_one(name: str, runtime: Path) -> None:
    with pytest.raises(ValueError, match="an arena's name is"):
        NamedManager(name)
    assert files(runtime) == []


def test_a_limit_of_its_memory() -> None:
    with NamedManager("small", limit=4 << 20) as m:
        assert m.root.arena.limit == 4 << 20
        m.root["x"] = bytes(1_000_000)
        with pytest.raises(MemoryError):
            m.root["y"] = bytes(5_000_000)
        assert list(m.root) == ["x"]


# ---- other processes


def add_by(m: Any, number: int) -> None:
    m.open("items", m.list).append(number)
    m.root.update_with("total", lambda old: old + number, default=0)


def add_by_name(runtime: Path, number: int) -> None:
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # the forkserver may be of an earlier test
    with NamedManager("app") as m:
        add_by(m, number)


def test_children_are_sent_it(m: NamedManager, children: Crew) -> None:
    for number in (1, 2, 3):
        children.start(add_by, m, number)
    children.join()
    assert sorted(m.open("items")) == [1, 2, 3] and m.root["total"] == 6


def test_children_open_it_by_its_name(m: NamedManager, children: Crew, runtime: Path) -> None:
    for number in (1, 2, 3):
        children.start(add_by_name, runtime, number)
    children.join()
    assert sorted(m.open("items")) == [1, 2, 3] and m.root["total"] == 6


def test_it_goes_through_a_queue_and_a_pickle(m: NamedManager) -> None:
    m.root["n"] = 1
    queue: Any = mp.Queue()
    queue.put(m)
    for other in (queue.get(timeout=SOON), pickle.loads(pickle.dumps(m))):
        assert type(other) is NamedManager and other.name == "app" and other.root["n"] == 1
        other.close()
    assert m.root["n"] == 1


def test_a_pickle_of_one_that_is_no_more_is_not_another_of_its_name() -> None:
    m = NamedManager("app")
    data = pickle.dumps(m)
    m.close()
    del m
    gc.collect()
    with NamedManager("app"), pytest.raises(mp.ObjectFreed, match="another has its name"):
        pickle.loads(data)


def test_opened_before_a_fork_and_after_it(runtime: Path) -> None:
    """As a web server does: the parent may have it open or not, and workers come and go."""
    m = NamedManager("app")
    m.root["hits"] = 0

    def worker(manager: Any) -> None:
        for _ in range(100):
            manager.root.update_with("hits", lambda n: n + 1)

    before = [forked(lambda: worker(m)) for _ in range(2)]
    after = [forked(lambda: worker(NamedManager("app"))) for _ in range(2)]
    for pid in before + after:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert m.root["hits"] == 400
    m.close()
    until(lambda: files(runtime) == [], "the last one out has freed it")


def forked(work: Any) -> int:
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def test_a_thread_may_open_it_first(runtime: Path) -> None:
    m: Any = in_thread(lambda: NamedManager("app"))
    m.root["n"] = 1
    assert NamedManager("app").root["n"] == 1


def test_a_store_lives_as_long_as_one_of_its_objects(runtime: Path) -> None:
    def hits() -> Any:
        return NamedManager("app").open("hits", dict)

    mine = hits()
    mine["a"] = 1
    gc.collect()
    assert hits() == {"a": 1}
    del mine
    gc.collect()
    assert files(runtime) == []


def test_what_is_there_is_of_another_kind() -> None:
    with NamedManager("app") as m:
        m.open("jobs", m.dict)
        for factory in (m.list, list, m.Queue):
            with pytest.raises(TypeError, match="'jobs' in the store is a Dict, not what"):
                m.open("jobs", factory)
        assert m.open("jobs", dict) == m.open("jobs", lambda: 5) == {}
        m.open("lock", m.Lock)
        with pytest.raises(TypeError):
            m.open("lock", m.RLock)
        with pytest.raises(TypeError, match="is a str"):
            m.open(5, m.dict)  # type: ignore[arg-type]


def test_what_others_could_not_open_cannot_be_stored() -> None:
    with NamedManager("app") as m:
        for foreign in (mp.Lock(), mp.Queue(), [mp.Queue()]):
            with pytest.raises(mp.HandleError, match="is in another arena"):
                m.root["it"] = foreign
        assert m.root == {}
        m.root["it"] = m.Lock()
