"""PyCSP's names: a program that did `from pycsp.parallel import *` does `from interproc.csp.pycsp import *`.

It is of PyCSP 0.9.2 (https://pypi.org/project/pycsp/), with the older names Skip, Timeout, IN and OUT. As
there, a `@process` is a thread and a `@multiprocess` an OS process; an end keeps its side of a channel
until it is retired, and not only until its process returns; poison and retire that leave a process go on to
the ends in its arguments, and to no others; and who retires an end, in whatever process it has got to,
retires it.

What is other than there, on purpose:

- A process that fails poisons the ends in its arguments, and Parallel, Sequence and shutdown() raise an
  ExceptionGroup. (There, its traceback is printed, and the rest may wait for ever.)
- A wait that can never end raises Deadlock.
- What is sent is copied, between threads, too; only what cannot be pickled is handed over as it is, within
  its process.
- Channels and processes are on one machine: `connect=`, sshprocess and clusterprocess say so.
- shutdown() can be left out.
"""

from __future__ import annotations

from ...errors import ChannelPoison as ChannelPoisonException
from ...errors import ChannelRetire as ChannelRetireException
from .configuration import (
    PYCSP_HOST,
    PYCSP_PORT,
    SOCKETS_BIND_RETRY_DELAY,
    SOCKETS_BIND_TIMEOUT,
    SOCKETS_CONNECT_RETRY_DELAY,
    SOCKETS_CONNECT_TIMEOUT,
    SOCKETS_STRICT_MODE,
    ChannelBindException,
    ChannelConnectException,
    ChannelLostException,
    ChannelSocketException,
    Configuration,
    FatalException,
    InfoException,
)
from .ends import IN, OUT, Channel, ChannelEndRead, ChannelEndWrite, poison, retire
from .processes import (
    ClusterProcess,
    Io,
    MultiProcess,
    Parallel,
    Process,
    Sequence,
    Spawn,
    SSHProcess,
    clusterprocess,
    current_process_id,
    io,
    multiprocess,
    process,
    shutdown,
    sshprocess,
)
from .selects import (
    Alternation,
    AltSelect,
    FairSelect,
    InputGuard,
    OutputGuard,
    PriSelect,
    Skip,
    SkipGuard,
    Timeout,
    TimeoutGuard,
    choice,
)

version = (0, 9, 2, "parallel")

__all__ = [
    "IN",
    "OUT",
    "PYCSP_HOST",
    "PYCSP_PORT",
    "SOCKETS_BIND_RETRY_DELAY",
    "SOCKETS_BIND_TIMEOUT",
    "SOCKETS_CONNECT_RETRY_DELAY",
    "SOCKETS_CONNECT_TIMEOUT",
    "SOCKETS_STRICT_MODE",
    "AltSelect",
    "Alternation",
    "Channel",
    "ChannelBindException",
    "ChannelConnectException",
    "ChannelEndRead",
    "ChannelEndWrite",
    "ChannelLostException",
    "ChannelPoisonException",
    "ChannelRetireException",
    "ChannelSocketException",
    "ClusterProcess",
    "Configuration",
    "FairSelect",
    "FatalException",
    "InfoException",
    "InputGuard",
    "Io",
    "MultiProcess",
    "OutputGuard",
    "Parallel",
    "PriSelect",
    "Process",
    "SSHProcess",
    "Sequence",
    "Skip",
    "SkipGuard",
    "Spawn",
    "Timeout",
    "TimeoutGuard",
    "choice",
    "clusterprocess",
    "current_process_id",
    "io",
    "multiprocess",
    "poison",
    "process",
    "retire",
    "shutdown",
    "sshprocess",
    "version",
]
