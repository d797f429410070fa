"""Tests of the package as installed: all of src/ arrived, typed, and nothing shadows the extension."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import re
from pathlib import Path

import interproc

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "interproc"
INSTALLED = Path(interproc.__file__).parent


def test_the_installed_package_is_tested_and_not_the_source_tree() -> None:
    assert not INSTALLED.is_relative_to(ROOT / "src")


def test_the_extension_is_a_module_and_not_a_package() -> None:
    core = importlib.import_module("interproc._core")
    assert core.__file__ is not None
    assert core.__file__.endswith(".so")
    assert not hasattr(core, "__path__")
    assert not (INSTALLED / "_core").exists()


def test_the_type_information_is_installed() -> None:
    assert (INSTALLED / "py.typed").exists()
    assert (INSTALLED / "_core.pyi").read_text() == (SOURCES / "_core" / "_core.pyi").read_text()


def test_every_module_is_installed_as_it_is_in_the_sources() -> None:
    def modules(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.py")}

    assert modules(INSTALLED) == modules(SOURCES)


def test_every_module_can_be_imported() -> None:
    names = [module.name for module in pkgutil.walk_packages(interproc.__path__, "interproc.")]
    assert "interproc.errors" in names
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)


def test_the_version_is_the_one_in_meson_build() -> None:
    stated = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())
    assert stated is not None
    assert importlib.metadata.version("interproc") == stated[1]


def test_cloudpickle_is_all_that_is_required_at_run_time() -> None:
    required = importlib.metadata.requires("interproc") or []
    assert [re.split(r"[^\w-]", line)[0] for line in required if "extra ==" not in line] == ["cloudpickle"]
