"""pyzmq: PUSH/PULL over ipc (a Unix socket) as a queue, PAIR as a pipe, pickle 5 with buffers out of band."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.adapters.base import IN_FLIGHT, Adapter, Duplex, Payload, Receiver, Sender

SMALL_MARK = 100_000  # messages that may wait on either side; its default, 1000, makes it wait more often

CONNECTS = 20  # seconds within which the other process binds


class PyZmq(Adapter):
    name = "pyzmq"
    package = "zmq"
    distribution = "pyzmq"
    note = (
        "PUSH/PULL over ipc, a batch is one message with a list; arrays as pickle 5 with their buffers as"
        " frames of their own, bytes as one frame; as a pipe, PAIR over ipc"
    )

    def queue(self, method: str, payload: Payload) -> Any:
        return tempfile.mkdtemp(prefix="bench-zmq-")

    def discard(self, made: Any) -> None:
        folder = made[0] if isinstance(made, tuple) else made
        shutil.rmtree(folder, ignore_errors=True)

    def _socket(self, kind: str, folder: str, mark: int, bind: bool) -> tuple[Any, Callable[[], None]]:
        zmq = self.library()
        context = zmq.Context()
        socket = context.socket(getattr(zmq, kind))
        socket.set_hwm(mark)
        address = f"ipc://{folder}/queue"
        if bind:
            socket.bind(address)
        else:
            socket.setsockopt(
                zmq.IMMEDIATE, 1
            )  # writable only once connected: connecting is no part of a run
            socket.setsockopt(zmq.RECONNECT_IVL, 2)
            socket.connect(address)
            if not socket.poll(CONNECTS * 1000, zmq.POLLOUT):
                raise TimeoutError(f"{address}: nobody bound it within {CONNECTS} s")

        def close() -> None:
            socket.close(linger=60_000)
            context.term()

        return socket, close

    def sender(self, queue: Any, payload: Payload) -> Sender:
        socket, close = self._socket("PUSH", queue, _mark(payload), False)
        return Sender(_putter(socket, payload), _putter(socket, "small"), close)

    def receiver(self, queue: Any, payload: Payload) -> Receiver:
        socket, close = self._socket("PULL", queue, _mark(payload), True)
        return Receiver(_getter(socket, payload), lambda n: _getter(socket, "small")(), close)

    def pipe(self, method: str) -> tuple[Any, Any]:
        folder = tempfile.mkdtemp(prefix="bench-zmq-")
        return (folder, True), (folder, False)

    def duplex(self, end: Any) -> Duplex:
        folder, bind = end
        socket, close = self._socket("PAIR", folder, SMALL_MARK, bind)
        return Duplex(_putter(socket, "small"), _getter(socket, "small"), close)


def _mark(payload: Payload) -> int:
    return SMALL_MARK if payload == "small" else IN_FLIGHT // 2  # on either side


def _putter(socket: Any, payload: Payload) -> Callable[[Any], object]:
    send, send_multipart, dumps = socket.send, socket.send_multipart, pickle.dumps

    def put_small(item: Any) -> None:
        send(dumps(item, 5))

    def put_bytes(item: Any) -> None:
        send(item, copy=False)

    def put_array(item: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        head = dumps(item, 5, buffer_callback=buffers.append)
        send_multipart([head, *buffers], copy=False)

    return {"small": put_small, "bytes": put_bytes}.get(payload, put_array)


def _getter(socket: Any, payload: Payload) -> Callable[[], Any]:
    recv, recv_multipart, loads = socket.recv, socket.recv_multipart, pickle.loads

    def get_small() -> Any:
        return loads(recv())

    def get_array() -> Any:
        head, *frames = recv_multipart(copy=False)
        return loads(head.buffer, buffers=[frame.buffer for frame in frames])

    getters: dict[str, Callable[[], Any]] = {"small": get_small, "bytes": recv}
    return getters.get(payload, get_array)
