"""Communicating sequential processes: networks of processes that share nothing and talk over channels.

C. A. R. Hoare, Communicating Sequential Processes, 1978 and 1985; in Python first PyCSP, whose names work
here too (`interproc.csp.pycsp`). A process is an OS process, a thread or an asyncio task; the same channels
join them all. `interproc.csp.parts` has processes that are ready to use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import (
    ChannelEnded,
    ChannelPoison,
    ChannelRetire,
    ChannelTimeout,
    ConnectionEnded,
    Deadlock,
    ProcessKilled,
)
from .alternation import (
    Alternation,
    AltSelect,
    FairSelect,
    InputGuard,
    OutputGuard,
    PriSelect,
    SkipGuard,
    TimeoutGuard,
    choice,
)
from .barrier import Barrier, BarrierInfo, Enrolment
from .channels import (
    Channel,
    ChannelInfo,
    ChannelPoisonException,
    ChannelRetireException,
    Dropping,
    Overwriting,
    Reader,
    Sliding,
    Writer,
    poison,
    retire,
)
from .choice import Choice, aselect, aselecting, select, selecting
from .composition import Composition, Parallel, Part, Results, Sequence
from .guards import Exited, Guard, Ready, Received, Selected, Sent, Skipped, Synced, TimedOut, after, skip
from .process import Description, Kind, ProcessType, process
from .running.failures import ProcessFailed
from .spawning import Member, Spawn, Spawned

if TYPE_CHECKING:
    from . import parts as parts
    from . import pycsp as pycsp

_FOLDERS = ("parts", "pycsp")  # imported when they are asked for

__all__ = [
    "AltSelect",
    "Alternation",
    "Barrier",
    "BarrierInfo",
    "Channel",
    "ChannelEnded",
    "ChannelInfo",
    "ChannelPoison",
    "ChannelPoisonException",
    "ChannelRetire",
    "ChannelRetireException",
    "ChannelTimeout",
    "Choice",
    "Composition",
    "ConnectionEnded",
    "Deadlock",
    "Description",
    "Dropping",
    "Enrolment",
    "Exited",
    "FairSelect",
    "Guard",
    "InputGuard",
    "Kind",
    "Member",
    "OutputGuard",
    "Overwriting",
    "Parallel",
    "Part",
    "PriSelect",
    "ProcessFailed",
    "ProcessKilled",
    "ProcessType",
    "Reader",
    "Ready",
    "Received",
    "Results",
    "Selected",
    "Sent",
    "Sequence",
    "SkipGuard",
    "Skipped",
    "Sliding",
    "Spawn",
    "Spawned",
    "Synced",
    "TimedOut",
    "TimeoutGuard",
    "Writer",
    "after",
    "aselect",
    "aselecting",
    "choice",
    "poison",
    "process",
    "retire",
    "select",
    "selecting",
    "skip",
]


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        import importlib

        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
