"""Tests of named objects within a process: one name is one object, in the arena that the name says."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from interproc import HandleError
from interproc._core import Arena, Memory
from interproc.queues import Queue

MIB = 1 << 20


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "interproc"


def test_queues_of_one_name_are_one_queue_with_the_bounds_of_the_first(runtime: Path) -> None:
    first = Queue[int](3, name="jobs")
    second = Queue[int](name="jobs")
    assert first.name == second.name == "jobs"
    assert first.id == second.id
    assert (second.maxsize, second.max_bytes) == (3, 0)
    second.put(1)
    first.close()
    assert second.get() == 1
    assert "'jobs'" in repr(second)
    assert pickle.loads(pickle.dumps(second)).name == "jobs"


def test_a_name_is_of_the_arena_before_the_slash(runtime: Path) -> None:
    here, there = Queue[int](name="jobs"), Queue[int](name="other/jobs")
    assert here.arena.name == "default"
    assert there.arena.name == "other"
    assert sorted(path.name for path in runtime.iterdir()) == ["default.arena", "other.arena"]
    here.put(1)
    assert there.empty()


def test_a_queue_of_a_name_ends_with_its_last_handle(runtime: Path) -> None:
    first, second = Queue[int](name="jobs"), Queue[int](name="jobs")
    keeps_the_arena = Queue[int](name="keep")
    first.put(1)
    first.close()
    del second
    anew = Queue[int](name="jobs")
    assert anew.empty()
    del anew, first, keeps_the_arena
    assert list(runtime.iterdir()) == []


def test_a_name_that_another_kind_has_is_refused(runtime: Path) -> None:
    memory = Memory(8, name="jobs")
    with pytest.raises(HandleError, match="another kind"):
        Queue[int](name="jobs")
    assert memory.size == 8


@pytest.mark.parametrize("name", ["", "/", "arena/", "n" * 201, "../x", "a b/x"])
def test_what_is_no_name_is_refused(runtime: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Queue[int](name=name)


def test_a_name_in_a_given_arena_is_only_of_that() -> None:
    arena, other = Arena.create(limit=16 * MIB), Arena.create(limit=16 * MIB)
    first = Queue[int](name="jobs", arena=arena)
    assert Queue[int](name="jobs", arena=arena).id == first.id
    first.put(1)
    assert Queue[int](name="jobs", arena=other).empty()
