"""PyCSP's settings and the exceptions that are not of channels' ends."""

from __future__ import annotations

from typing import Any, Self

from ...errors import InterprocError

SOCKETS_CONNECT_TIMEOUT = 0
SOCKETS_CONNECT_RETRY_DELAY = 1
SOCKETS_BIND_TIMEOUT = 2
SOCKETS_BIND_RETRY_DELAY = 3
SOCKETS_STRICT_MODE = 4
PYCSP_PORT = 5
PYCSP_HOST = 6


class Configuration:
    """The settings, of which there is one set: `Configuration().set(PYCSP_PORT, 9998)`.

    All of them are about sockets, of which there are none here: they are kept and have no effect.
    """

    _instance: Configuration | None = None
    _settings: dict[int, Any]

    def __new__(cls) -> Self:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance._settings = {
                SOCKETS_CONNECT_TIMEOUT: 2,
                SOCKETS_CONNECT_RETRY_DELAY: 0.2,
                SOCKETS_BIND_TIMEOUT: 2,
                SOCKETS_BIND_RETRY_DELAY: 0.2,
                SOCKETS_STRICT_MODE: False,
                PYCSP_PORT: 0,
                PYCSP_HOST: "",
            }
        return cls._instance  # type: ignore[return-value]

    @classmethod
    def getInstance(cls) -> Self:
        return cls()

    def get(self, conf_id: int) -> Any:
        """Raises KeyError: there is no such setting."""
        return self._settings[conf_id]

    def set(self, conf_id: int, value: Any) -> None:
        self._settings[conf_id] = value


class _Told(InterprocError):
    """An exception with its text as `msg`."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg


class InfoException(_Told):
    """Something is used in a way that it is not meant to be; the text says how it is."""


class FatalException(_Told):
    """PyCSP's for a state without a way out; it is not raised here."""


class ChannelSocketException(InterprocError):
    """What PyCSP's channels raise of their sockets."""

    def __init__(self, addr: Any, msg: str) -> None:
        super().__init__(addr, msg)
        self.addr = addr
        self.msg = msg

    def __str__(self) -> str:
        return f"{self.msg} {self.addr}"


class ChannelConnectException(ChannelSocketException):
    """A channel on another machine cannot be reached."""


class ChannelBindException(ChannelSocketException):
    """PyCSP's for a port that is taken; it is not raised here."""


class ChannelLostException(ChannelSocketException):
    """PyCSP's for a connection that is lost; it is not raised here."""
