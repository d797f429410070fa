"""multiprocessing.managers' names.

Managers, their server and proxies, ours wherever there is something to gain.
"""

from __future__ import annotations

from multiprocessing import managers as _theirs
from multiprocessing.managers import RemoteError, SharedMemoryManager
from typing import TYPE_CHECKING, Any

from ..errors import ServerDied
from .channel import RemoteTraceback
from .containers import Shared
from .dicts import DictProxy
from .lists import ListProxy
from .manager import BaseManager, SyncManager
from .namespaces import Namespace, NamespaceProxy
from .remote import (
    AcquirerProxy,
    ArrayProxy,
    AutoProxy,
    BarrierProxy,
    BaseProxy,
    ConditionProxy,
    EventProxy,
    IteratorProxy,
    MakeProxyType,
    PoolProxy,
    RebuildProxy,
    Token,
)
from .server import Server
from .sets import SetProxy
from .sharing import share, unshare
from .store import NamedManager
from .transaction import transaction
from .values import Value, ValueProxy

__all__ = [
    "AcquirerProxy",
    "ArrayProxy",
    "AutoProxy",
    "BarrierProxy",
    "BaseManager",
    "BaseProxy",
    "ConditionProxy",
    "DictProxy",
    "EventProxy",
    "IteratorProxy",
    "ListProxy",
    "MakeProxyType",
    "NamedManager",
    "Namespace",
    "NamespaceProxy",
    "PoolProxy",
    "RebuildProxy",
    "RemoteError",
    "RemoteTraceback",
    "Server",
    "ServerDied",
    "SetProxy",
    "Shared",
    "SharedMemoryManager",
    "SyncManager",
    "Token",
    "Value",
    "ValueProxy",
    "share",
    "transaction",
    "unshare",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return getattr(_theirs, name)  # what is left of theirs, down to its helpers
