"""How a process ends: its value or its failure, how a failure travels, and how several are raised as one."""

from __future__ import annotations

import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ChannelPoison, ChannelRetire, Deadlock, InterprocError, ProcessKilled
from ..network import deadlock

__all__ = ["Outcome", "ProcessFailed", "Settled", "group", "killed", "settle"]


class ProcessFailed(InterprocError):
    """A process failed by what cannot be raised here: it ended by itself, or its exception cannot be pickled.

    Attributes:
        exitcode: of an OS process that ended before it had returned, else None.
    """

    def __init__(self, message: str, exitcode: int | None = None) -> None:
        super().__init__(message)
        self.exitcode = exitcode

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.exitcode)


class Outcome:
    """What has become of a process: `error` is None if it ended well, with `value`.

    interrupted: by Ctrl-C, which it got itself.
    """

    __slots__ = ("error", "interrupted", "value")

    def __init__(
        self, value: object = None, error: BaseException | None = None, interrupted: bool = False
    ) -> None:
        self.value = value
        self.error = error
        self.interrupted = interrupted


QUIET = Outcome()


class Settled:
    """How a process ended: its outcome, and what has to be done with its ends.

    It keeps the exception that has ended the process, and with its traceback the ends that the process had in
    its variables: those that are to be poisoned must not retire before, because nobody refers to them.
    """

    __slots__ = ("cause", "outcome", "poisons")

    def __init__(self, outcome: Outcome, poisons: bool, cause: BaseException | None = None) -> None:
        self.outcome = outcome
        self.poisons = poisons
        self.cause = cause


def returned(value: object) -> Settled:
    """It has returned, or was told to end by a channel."""
    return Settled(Outcome(value), poisons=False)


def settle(error: BaseException, skip: int = 0) -> Settled:
    """The first `skip` frames of its traceback are ours, and are left out.

    What an exception means that leaves a process: the end of a channel spreads; sys.exit() is a return.
    """
    trace = error.__traceback__
    for _ in range(skip):
        trace = trace.tb_next if trace is not None else None
    error.__traceback__ = trace
    if isinstance(error, ChannelPoison):
        return Settled(QUIET, poisons=True, cause=error)
    if isinstance(error, ChannelRetire):
        return Settled(QUIET, poisons=False)
    if isinstance(error, SystemExit):
        if error.code is None or (isinstance(error.code, int) and error.code == 0):
            return Settled(QUIET, poisons=False)
        exitcode = error.code if isinstance(error.code, int) else 1
        failed = ProcessFailed(f"it called sys.exit({error.code!r})", exitcode)
        return Settled(Outcome(error=failed.with_traceback(trace)), poisons=True, cause=error)
    if isinstance(error, KeyboardInterrupt):
        return Settled(Outcome(interrupted=True), poisons=True, cause=error)
    return Settled(Outcome(error=error), poisons=True, cause=error)


# ---- travelling --------------------------------------------------------------------------------------------


class RemoteTraceback(Exception):
    """The text of a traceback in another process; as `__cause__` it is printed with the exception."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


class Parcel:
    """An exception on its way to who started its process; it arrives, or a substitute with its text."""

    def __init__(self, error: BaseException, *ways: Callable[[object], bytes]) -> None:
        """`ways` to pickle it, the first that does being taken."""
        self.text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.line = "".join(traceback.format_exception_only(type(error), error)).strip()
        self.pickled: bytes | None = None
        for dumps in ways:
            try:
                pickled = dumps(error)
                pickle.loads(pickled)  # many an exception's __init__ does not take what its args are
            except Exception:
                continue
            self.pickled = pickled
            break

    def open(self) -> BaseException:
        """The exception, with its traceback there as the cause."""
        error: Any = None
        text = self.text
        if self.pickled is not None:
            try:
                error = pickle.loads(self.pickled)
                text = text.rstrip().removesuffix(self.line)  # it is printed after its cause
            except Exception:
                error = None
        if not isinstance(error, Exception):  # or a BaseException, which does not go into an ExceptionGroup
            error = ProcessFailed(self.line)
        error.__cause__ = RemoteTraceback(text)
        return error  # type: ignore[no-any-return]


def killed(name: str, pid: int | None, exitcode: int) -> Exception:
    """The failure of an OS process that ended without a word."""
    if exitcode < 0:
        try:
            number = signal.Signals(-exitcode).name
        except ValueError:
            number = f"signal {-exitcode}"
        return ProcessKilled(f"{name} (pid {pid}) was killed by {number}", -exitcode)
    text = f"{name} (pid {pid}) ended with exit code {exitcode} before it had returned"
    return ProcessFailed(text, exitcode)


def group(failed: Sequence[tuple[str, BaseException]], of: int) -> ExceptionGroup[Exception]:
    """What a composition of so many processes raises: of those that have failed, names and failures."""
    errors = []
    drawn: set[str] = set()
    for name, error in failed:
        _draw_once(name, error, drawn)
        if not isinstance(error, Exception):
            substitute = ProcessFailed("".join(traceback.format_exception_only(type(error), error)).strip())
            substitute.__cause__ = error
            error = substitute
        errors.append(error)
    return ExceptionGroup(f"{len(errors)} of {of} process{'es' if of != 1 else ''} failed", errors)


def _draw_once(name: str, error: BaseException, drawn: set[str]) -> None:
    """Each process of a deadlock has all of its message: the first keeps it, the others refer to that."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            _draw_once("", part, drawn)
    elif isinstance(error, Deadlock):
        text = str(error)
        if text in drawn:
            error.args = (f"as above: {deadlock.line_of(name, text) or 'another wait of the same deadlock'}",)
        drawn.add(text)
