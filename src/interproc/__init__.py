"""The face: `multiprocessing`'s whole vocabulary on shared memory; `import interproc as mp`, and it runs.

Names are imported when they are first asked for, so that `import interproc` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .context import Process, _default_context
from .errors import ArenaClosed as ArenaClosed
from .errors import ArenaCorrupted as ArenaCorrupted
from .errors import ArenaFull as ArenaFull
from .errors import HandleError as HandleError
from .errors import InterprocError as InterprocError
from .errors import NotLocked as NotLocked
from .errors import NotOwner as NotOwner
from .errors import ObjectFreed as ObjectFreed
from .errors import PicklingError as PicklingError
from .errors import ServerDied as ServerDied
from .errors import ShutDown as ShutDown
from .errors import SnapshotError as SnapshotError
from .errors import UnpicklingError as UnpicklingError

if TYPE_CHECKING:
    from multiprocessing import dummy as dummy
    from multiprocessing import process as process
    from multiprocessing import reduction as reduction
    from multiprocessing import util as util

    from . import connection as connection
    from . import context as context
    from . import csp as csp
    from . import locks as locks
    from . import managers as managers
    from . import pool as pool
    from . import queues as queues
    from . import shared as shared
    from . import shared_memory as shared_memory
    from . import sharedctypes as sharedctypes
    from . import synchronize as synchronize
    from ._core import Arena as Arena
    from .connection import Connection as Connection
    from .connection import Pipe
    from .connection import wait as wait
    from .locks import Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore
    from .queues import JoinableQueue, Queue, SimpleQueue
    from .shared import Array, RawArray, RawValue, Value

    __version__: str

# What the default context decides.
Manager = _default_context.Manager
Pool = _default_context.Pool
get_context = _default_context.get_context
get_start_method = _default_context.get_start_method
set_start_method = _default_context.set_start_method
get_all_start_methods = _default_context.get_all_start_methods

# What is multiprocessing's, whatever the context.
AuthenticationError = _default_context.AuthenticationError
BufferTooShort = _default_context.BufferTooShort
ProcessError = _default_context.ProcessError
TimeoutError = _default_context.TimeoutError
active_children = _default_context.active_children
allow_connection_pickling = _default_context.allow_connection_pickling
cpu_count = _default_context.cpu_count
current_process = _default_context.current_process
freeze_support = _default_context.freeze_support
get_logger = _default_context.get_logger
log_to_stderr = _default_context.log_to_stderr
parent_process = _default_context.parent_process
reducer = _default_context.reducer
set_executable = _default_context.set_executable
set_forkserver_preload = _default_context.set_forkserver_preload

# What is interproc's: the classes themselves, so that `Queue[int]()` and isinstance work.
_HOMES = {
    "Arena": "_core",
    "Array": "shared",
    "Barrier": "locks",
    "BoundedSemaphore": "locks",
    "Condition": "locks",
    "Connection": "connection",
    "Event": "locks",
    "JoinableQueue": "queues",
    "Lock": "locks",
    "Pipe": "connection",
    "Queue": "queues",
    "RLock": "locks",
    "RawArray": "shared",
    "RawValue": "shared",
    "Semaphore": "locks",
    "SimpleQueue": "queues",
    "Value": "shared",
    "wait": "connection",
}

# Modules that are reached for through the package: its own, and those that are multiprocessing's.
_OWN_MODULES = (
    "connection", "context", "csp", "locks", "managers", "pool",
    "queues", "shared", "shared_memory", "sharedctypes", "synchronize",
)  # fmt: skip
_THEIR_MODULES = ("dummy", "process", "reduction", "util")

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "SimpleQueue",
    "TimeoutError",
    "Value",
    "active_children",
    "allow_connection_pickling",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "reducer",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]


if not TYPE_CHECKING:  # or every misspelt name would pass for one of these

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        elif name in _OWN_MODULES:
            value = importlib.import_module(f".{name}", __name__)
        elif name in _THEIR_MODULES:
            value = importlib.import_module(f"multiprocessing.{name}")
        elif name == "__version__":
            from importlib.metadata import version

            value = version(__name__)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_OWN_MODULES, *_THEIR_MODULES, "__version__"})
