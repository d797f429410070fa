"""The peers of CSP, in the order in which a round visits them."""

from __future__ import annotations

from benchmarks.adapters.csp_asyncio import Asyncio
from benchmarks.adapters.csp_base import CspAdapter
from benchmarks.adapters.csp_interproc import InterprocCsp
from benchmarks.adapters.csp_pipes import Pipes
from benchmarks.adapters.csp_pycsp import PyCsp
from benchmarks.adapters.csp_threads import Threads
from benchmarks.adapters.csp_trio import Trio

_ALL: tuple[CspAdapter, ...] = (Pipes(), InterprocCsp(), PyCsp(), Threads(), Asyncio(), Trio())

PROCESSES: tuple[CspAdapter, ...] = tuple(peer for peer in _ALL if "process" in peer.kinds)
THREADS: tuple[CspAdapter, ...] = tuple(peer for peer in _ALL if "thread" in peer.kinds)
TASKS: tuple[CspAdapter, ...] = tuple(peer for peer in _ALL if "task" in peer.kinds)
