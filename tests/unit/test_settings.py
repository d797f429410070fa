"""Tests of what can be set from outside: the arena's limit, and where named arenas are."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from interproc import settings
from interproc._core import Arena

GIB = 1 << 30
MACHINE = 64 * GIB

Layout = Callable[[dict[str, str]], None]


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that settings takes for /, on a machine of 64 GiB, with nothing set in the environment."""
    monkeypatch.setattr(settings, "Path", lambda text: tmp_path / str(text).lstrip("/"))
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": MACHINE // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    monkeypatch.delenv("INTERPROC_LIMIT", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path


@pytest.fixture
def files(root: Path) -> Layout:
    """Writes files below that folder: their paths and texts."""

    def write(texts: dict[str, str]) -> None:
        for name, text in texts.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


# ---- the limit, from the container's memory


def test_without_control_groups_the_limit_is_half_of_the_machine(root: Path) -> None:
    assert settings.memory_limit() == MACHINE // 2


def test_the_limit_is_half_of_what_cgroup_v2_allows(files: Layout) -> None:
    files({"/proc/self/cgroup": "0::/app\n", "/sys/fs/cgroup/app/memory.max": f"{2 * GIB}\n"})
    assert settings.memory_limit() == GIB


def test_in_a_container_the_limit_stands_at_the_root_of_cgroup_v2(files: Layout) -> None:
    files({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": f"{2 * GIB}\n"})
    assert settings.memory_limit() == GIB


@pytest.mark.parametrize(("outer", "inner"), [("8589934592", "max"), ("8589934592", "17179869184")])
def test_the_least_limit_of_all_groups_above_counts(files: Layout, outer: str, inner: str) -> None:
    files(
        {
            "/proc/self/cgroup": "0::/pod/app/task\n",
            "/sys/fs/cgroup/pod/memory.max": outer + "\n",
            "/sys/fs/cgroup/pod/app/task/memory.max": inner + "\n",
        }
    )
    assert settings.memory_limit() == 4 * GIB


def test_the_limit_is_half_of_what_cgroup_v1_allows(files: Layout) -> None:
    files(
        {
            "/proc/self/cgroup": "12:cpu,cpuacct:/docker/1\n8:memory:/docker/1\n0::/\n",
            "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": f"{6 * GIB}\n",
            "/sys/fs/cgroup/cpu/docker/1/memory.limit_in_bytes": f"{1 * GIB}\n",
        }
    )
    assert settings.memory_limit() == 3 * GIB


def test_cgroup_v1_without_a_limit_says_a_number_larger_than_any_machine(files: Layout) -> None:
    files(
        {
            "/proc/self/cgroup": "8:memory:/\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        }
    )
    assert settings.memory_limit() == MACHINE // 2


def test_a_path_with_a_colon_or_dots_in_it_is_read(files: Layout) -> None:
    files({"/proc/self/cgroup": "0::/../a:b\n", "/sys/fs/cgroup/memory.max": f"{2 * GIB}\n"})
    assert settings.memory_limit() == GIB


def test_the_files_of_a_group_outside_of_the_hierarchy_are_not_looked_at(files: Layout) -> None:
    files({"/proc/self/cgroup": "0::/app\n", "/sys/fs/memory.max": "1000\n", "/memory.max": "1000\n"})
    assert settings.memory_limit() == MACHINE // 2


def test_the_tiniest_container_gets_16_mib(files: Layout) -> None:
    files({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "4096\n"})
    assert settings.memory_limit() == 16 << 20


# ---- the limit, from INTERPROC_LIMIT


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1 << 20),
        ("500M", 500 << 20),
        ("8G", 8 << 30),
        ("8g", 8 << 30),
        ("2T", 2 << 40),
        ("1.5G", 3 << 29),
        ("64K", 64 << 10),
        (" 10 MiB ", 10 << 20),
        ("10MB", 10 << 20),
        ("10B", 10),
    ],
)
def test_interproc_limit_is_a_size(root: Path, monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("INTERPROC_LIMIT", text)
    assert settings.memory_limit() == size


@pytest.mark.parametrize("text", ["lots", "8X", "G", "-8G", "8 G 1", "0x10", "8,5G", "nan", "1e9"])
def test_what_is_no_size_is_refused_and_named(root: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("INTERPROC_LIMIT", text)
    with pytest.raises(ValueError, match=r"INTERPROC_LIMIT.*is not a size.*such as 8G") as caught:
        settings.memory_limit()
    assert repr(text) in str(caught.value)


def test_an_empty_interproc_limit_counts_as_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPROC_LIMIT", "")
    assert settings.memory_limit() == MACHINE // 2


def test_a_new_arena_has_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPROC_LIMIT", "20M")
    assert Arena.create().limit == 20 << 20
    assert Arena.create(limit=30 << 20).limit == 30 << 20


def test_a_limit_too_small_for_an_arena_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPROC_LIMIT", "100K")
    with pytest.raises(ValueError, match="at least 1 MiB, not 102400 bytes"):
        Arena.create()


# ---- the folder of named arenas


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def runtime(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that XDG_RUNTIME_DIR names."""
    folder = root / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(settings, "Path", Path)
    return folder


def test_it_is_in_the_users_runtime_directory_and_private(runtime: Path) -> None:
    folder = settings.runtime_directory()
    assert folder == runtime / "interproc"
    assert mode(folder) == 0o700
    assert settings.runtime_directory() == folder  # it may be there already


@pytest.mark.parametrize("wide", [0o755, 0o770, 0o701, 0o1777])
def test_a_folder_that_others_can_enter_is_refused(runtime: Path, wide: int) -> None:
    folder = runtime / "interproc"
    folder.mkdir()
    folder.chmod(wide)
    with pytest.raises(PermissionError, match=r"interproc must be a folder of your own with mode 0700"):
        settings.runtime_directory()
    assert mode(folder) == wide


def test_a_link_in_its_place_is_refused(runtime: Path) -> None:
    (runtime / "elsewhere").mkdir(mode=0o700)
    (runtime / "interproc").symlink_to(runtime / "elsewhere")
    with pytest.raises(PermissionError):
        settings.runtime_directory()


def test_a_file_in_its_place_is_refused(runtime: Path) -> None:
    (runtime / "interproc").touch(mode=0o600)
    with pytest.raises(PermissionError):
        settings.runtime_directory()


def test_another_users_folder_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.runtime_directory()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="of your own"):
        settings.runtime_directory()


def test_without_a_runtime_directory_it_is_in_memory_under_the_users_number(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "dev/shm").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, how: str(path) == "/dev/shm")
    assert settings.runtime_directory() == root / f"dev/shm/interproc-{os.geteuid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/gone")  # as after a logout
    assert settings.runtime_directory() == root / f"dev/shm/interproc-{os.geteuid()}"


def test_without_any_of_these_it_is_among_the_temporary_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "temporary").mkdir()
    monkeypatch.setattr(os, "access", lambda path, how: False)
    monkeypatch.setattr(settings.tempfile, "gettempdir", lambda: "/temporary")
    folder = settings.runtime_directory()
    assert folder == root / f"temporary/interproc-{os.geteuid()}"
    assert mode(folder) == 0o700


@pytest.mark.parametrize("name", ["jobs", "a", "_x", "2024-01.run_3", "n" * 100])
def test_a_name_becomes_a_file_in_that_folder(runtime: Path, name: str) -> None:
    assert settings.arena_path(name) == str(runtime / "interproc" / f"{name}.arena")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "-x", "a/b", "a b", "ä", "a\n", "n" * 101, "a\0"])
def test_a_name_that_cannot_be_a_file_is_refused(runtime: Path, name: str) -> None:
    with pytest.raises(ValueError, match="an arena's name is") as caught:
        settings.arena_path(name)
    assert repr(name) in str(caught.value)
    assert not (runtime / "interproc").exists()


def test_the_file_of_a_named_arena_is_private_and_goes_with_its_last_member(runtime: Path) -> None:
    arena = Arena.open("jobs")
    file = runtime / "interproc" / "jobs.arena"
    assert mode(file) == 0o600
    del arena
    assert list(file.parent.iterdir()) == []
