"""Pipes between processes: Connection, Pipe, and waiting for several of them."""

from __future__ import annotations

from multiprocessing.connection import Client, Listener, answer_challenge, deliver_challenge, wait

from . import _core

__all__ = ["Client", "Connection", "Listener", "Pipe", "answer_challenge", "deliver_challenge", "wait"]


class Connection(_core.Connection):
    """One end of a pipe: what is sent here is received at the other end, in order, message by message.

    Several threads and processes may hold, read and write the same end: each message goes to one of them,
    whole. An end is closed for the other side when its last holder has closed it or died, however it died:
    then `recv` gives what was sent before and raises EOFError, and `send` raises BrokenPipeError.
    """


def Pipe(
    duplex: bool = True, *, max_bytes: int = _core.PIPE_BYTES, arena: _core.Arena | None = None
) -> tuple[Connection, Connection]:
    """Two connected ends. With duplex=False the first can only receive and the second only send.

    `send` waits while more than `max_bytes` bytes lie unread (a single larger message may pass).
    Raises ArenaFull (a MemoryError).
    """
    return _core.pipe(Connection, duplex, max_bytes, arena=arena)
