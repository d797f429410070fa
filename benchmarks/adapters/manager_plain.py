"""Python's own dict, private to the process: what the size of a dict costs, with no sharing at all."""

from __future__ import annotations

import platform
from typing import Any

from benchmarks.adapters.manager_base import DictClient, StoreAdapter


class PlainDict(StoreAdapter):
    name = "dict"
    package = "builtins"
    note = "a `dict` of the process's own, shared with nobody"

    def version(self) -> str:
        return f"of Python {platform.python_version()}"

    def dict(self, server: Any, method: str, entries: int, size: int) -> Any:
        return {}

    def dict_client(self, made: Any) -> DictClient:
        return DictClient(made)
