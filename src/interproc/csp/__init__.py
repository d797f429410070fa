"""Communicating sequential processes: networks of processes that share nothing and talk over channels.

C. A. R. Hoare, Communicating Sequential Processes, 1978 and 1985; in Python first PyCSP, whose names work
here too (`interproc.csp.pycsp`). A process is an OS process, a thread or an asyncio task; the same channels
join them all. `interproc.csp.parts` has processes that are ready to use.
"""

from __future__ import annotations

from ..errors import ChannelEnded, ChannelPoison, ChannelRetire, Deadlock, ProcessKilled
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
from .barrier import Barrier, Enrolment
from .channels import (
    Channel,
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
from .composition import Composition, Parallel, Results, Sequence
from .guards import Exited, Ready, Received, Selected, Sent, Skipped, Synced, TimedOut, after, skip
from .process import Description, process
from .running.failures import ProcessFailed
from .spawning import Spawn, Spawned

__all__ = [
    "AltSelect",
    "Alternation",
    "Barrier",
    "Channel",
    "ChannelEnded",
    "ChannelPoison",
    "ChannelPoisonException",
    "ChannelRetire",
    "ChannelRetireException",
    "Choice",
    "Composition",
    "Deadlock",
    "Description",
    "Dropping",
    "Enrolment",
    "Exited",
    "FairSelect",
    "InputGuard",
    "OutputGuard",
    "Overwriting",
    "Parallel",
    "PriSelect",
    "ProcessFailed",
    "ProcessKilled",
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
