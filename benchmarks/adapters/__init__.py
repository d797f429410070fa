"""One file a peer; the list here is the order in which a round visits them."""

from __future__ import annotations

from benchmarks.adapters.base import Adapter, NotOffered, Payload
from benchmarks.adapters.faster_fifo_adapter import FasterFifo
from benchmarks.adapters.interproc_adapter import Interproc
from benchmarks.adapters.memcpy_adapter import Memcpy
from benchmarks.adapters.multiprocessing_adapter import Multiprocessing
from benchmarks.adapters.pyzmq_adapter import PyZmq

PEERS: tuple[Adapter, ...] = (Multiprocessing(), Interproc(), FasterFifo(), PyZmq())
MEMCPY: Adapter = Memcpy()

__all__ = ["MEMCPY", "PEERS", "Adapter", "NotOffered", "Payload"]
