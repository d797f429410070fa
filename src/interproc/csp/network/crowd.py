"""Which threads may yet act: a process that has such a one, and not as a party, is in no deadlock.

Whether a thread that takes part in no communication could end somebody's wait cannot be known of it in
general: it may have an end, or come by one. So an unknown thread is taken for one who acts, also one that is
older than the first channel. But of the machinery of the standard library and of some tools it is known that
it does not; were it taken for that, no deadlock would ever be found in a notebook, or under a debugger.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Collection, Mapping
from types import FrameType
from typing import Any

__all__ = ["MACHINERY", "may_act"]

# "module:name" of the function that a thread runs or, where it has a class of its own, of that. None of them
# calls what a user wrote, but in passing (as QueueListener calls handlers). So these are not among them: a
# manager's handle_request (methods of users' objects), threads of Pool and ProcessPoolExecutor (callbacks), a
# multiprocessing.Queue's feeder (it may have an end to send), Timer, servers, event loops.
MACHINERY = frozenset(
    {
        # Python's: managers, descriptors sent between processes, logging, IDLE.
        "multiprocessing.managers:Server.accepter",
        "multiprocessing.resource_sharer:_ResourceSharer._serve",
        "logging.handlers:QueueListener._monitor",
        "idlelib.run:manage_socket",
        # Of interproc's manager; what csp starts says so itself, by quiet_thread().
        "interproc.managers.server:Server.accepter",
        "interproc.managers.server:Server._watch_parent",
        "interproc.managers.server:Server._watch_lives",
        "interproc.managers.manager:_end_with_server",
        # A notebook's kernel. A SubshellThread runs users' code.
        "ipykernel.control:ControlThread",
        "ipykernel.heartbeat:Heartbeat",
        "ipykernel.iostream:IOPubThread._thread_main",
        "ipykernel.iostream:OutStream._watch_pipe_fd",
        "ipykernel.parentpoller:ParentPollerUnix",
        "ipykernel.shellchannel:ShellChannelThread",
        "zmq.utils.garbage:GarbageCollectorThread",
        # IPython
        "IPython.core.history:HistorySavingThread",
        "prompt_toolkit.history:ThreadedHistory._in_load_thread",
        "prompt_toolkit.patch_stdout:StdoutProxy._write_thread",
        # Debuggers: debugpy and PyCharm's.
        "_pydevd_bundle.pydevd_comm:FSNotifyThread",
        "_pydevd_bundle.pydevd_comm:ReaderThread",
        "_pydevd_bundle.pydevd_comm:WriterThread",
        "_pydevd_bundle.pydevd_timeout:_TimeoutThread",
        "pydevd:CheckAliveThread",
        "pydevd:PyDBCommandThread",
        # Progress
        "rich.live:_RefreshThread",
        "rich.progress:_TrackThread",
        "tqdm._monitor:TMonitor",
    }
)
EXECUTOR = "concurrent.futures.thread:_worker"  # of ThreadPoolExecutor and asyncio.to_thread


def may_act(parties: Collection[threading.Thread]) -> bool:
    """Whether this process has a thread that may do something by itself, and is not among these."""
    frames = _frames()
    active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]  # all, also a debugger's
    if threading._limbo or not frames.keys() <= active.keys():  # type: ignore[attr-defined]
        return True  # one begins, or ends, or is none of the module threading's
    return any(_acts(thread, frames) for thread in set(active.values()).difference(parties))


def _frames() -> dict[int, FrameType]:
    """Of each thread. Should the garbage collector run meanwhile, CPython 3.11 can come to a standstill."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if collects:
            gc.enable()


def _acts(thread: threading.Thread, frames: Mapping[int, FrameType]) -> bool:
    made: Any = type(thread)
    runs = getattr(thread, "_target", None) if made is threading.Thread else made
    name = f"{getattr(runs, '__module__', '')}:{getattr(runs, '__qualname__', '')}"
    return name not in MACHINERY and not (name == EXECUTOR and _idles(thread, runs, frames))


def _idles(worker: threading.Thread, runs: Any, frames: Mapping[int, FrameType]) -> bool:
    """Whether a worker of an executor waits for something to do, and there is nothing.

    Between taking it and doing it lie a few instructions, in which it is not made to let others run.
    """
    queues = getattr(sys.modules.get(runs.__module__), "_threads_queues", {})
    frame = frames.get(worker.ident or 0)
    work = queues.get(worker)
    return frame is not None and frame.f_code is runs.__code__ and work is not None and not work.qsize()
