"""The peers of Manager, in the order in which a round visits them."""

from __future__ import annotations

from benchmarks.adapters.manager_base import StoreAdapter
from benchmarks.adapters.manager_lmdb import Lmdb
from benchmarks.adapters.manager_plain import PlainDict
from benchmarks.adapters.manager_proxies import InterprocManager, MultiprocessingManager
from benchmarks.adapters.manager_redis import Redis
from benchmarks.adapters.manager_shared_memory_dict import SharedMemoryDict
from benchmarks.adapters.manager_ultradict import UltraDict

STORES: tuple[StoreAdapter, ...] = (
    MultiprocessingManager(),
    InterprocManager(),
    UltraDict(),
    SharedMemoryDict(),
    Lmdb(),
    Redis(),
)
PLAIN: StoreAdapter = PlainDict()
