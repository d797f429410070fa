"""Choice as PyCSP has it: guards with actions, Alternation, and selects that run the action.

The names and what they do are those of PyCSP 0.9 (https://github.com/runefriborg/pycsp).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, TypeAlias

from . import guards as _guards
from .channels import Reader, Writer
from .choice import Choice

__all__ = [
    "Action",
    "AltSelect",
    "Alternation",
    "FairSelect",
    "InputGuard",
    "OutputGuard",
    "PriSelect",
    "Skip",
    "SkipGuard",
    "Timeout",
    "TimeoutGuard",
    "choice",
]


class Action:
    """A function with the arguments that it will be called with: what a function made by @choice returns."""

    def __init__(
        self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs

    def __call__(self, **more: Any) -> object:
        return self.function(*self.args, **self.kwargs, **more)


def choice(function: Callable[..., object]) -> Callable[..., Action]:
    """Makes of a function a maker of actions: calling it gives an action, which calls it when its guard is
    chosen.

        @choice
        def add(total, channel_input):
            total.append(channel_input)

        AltSelect(InputGuard(inp, action=add(total)))

    The keyword argument `channel_input` is what was received; of a guard that receives nothing it is None,
    and is left out if the function does not take it.
    """

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Action:
        return Action(function, args, kwargs)

    make.makes_actions = True  # type: ignore[attr-defined]
    return make


# Code as a string is run where the select is called, and sees what was received as `channel_input`.
ActionLike: TypeAlias = Action | Callable[..., object] | str | None


class _Guard:
    """A guard with its action, and what a select returns for it."""

    guard: Any
    key: Any

    def __init__(self, action: ActionLike = None) -> None:
        if getattr(action, "makes_actions", False):
            name = getattr(action, "__name__", "action")
            raise TypeError(f"{name} makes actions: call it, action={name}()")
        if not (action is None or callable(action) or isinstance(action, str)):
            raise TypeError(f"an action is what can be called, code in a string, or None, not {action!r}")
        self.action = action

    def __repr__(self) -> str:
        action = "" if self.action is None else f", action={self.action!r}"
        return f"{type(self).__name__}({self.guard!r}{action})"

    def run(self, received: Any, frame: FrameType) -> None:
        action = self.action
        if action is None:
            return
        receives = isinstance(self, InputGuard)
        if isinstance(action, str):
            place = f"{frame.f_code.co_filename} line {frame.f_lineno} in string"
            names = frame.f_locals  # of a module they are its own, and the code can set them
            if names is not frame.f_globals:
                names = dict(names)
            if receives:
                names["channel_input"] = names["__channel_input"] = received  # the latter is its older name
            exec(compile(action, place, "exec"), frame.f_globals, names)
        elif receives or _takes_input(action):
            action(channel_input=received)
        else:
            action()


def _takes_input(action: Callable[..., object]) -> bool:
    """Whether the user's function names `channel_input`, and does not have it yet."""
    function = action
    if isinstance(action, Action):
        function = action.function
        if "channel_input" in action.kwargs:
            return False
    try:
        return "channel_input" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


class InputGuard(_Guard):
    """Receives from a reader; the action is called with `channel_input=` what was received.

    Raises TypeError: it is no reader; the action is none.
    """

    def __init__(self, ch_end_read: Reader[Any], action: ActionLike = None) -> None:
        super().__init__(action)
        if not isinstance(ch_end_read, Reader):
            raise TypeError(f"an InputGuard is made of a reader, not of {ch_end_read!r}")
        self.guard = self.key = ch_end_read


class OutputGuard(_Guard):
    """Sends `msg` to a writer. Raises TypeError: it is no writer; the action is none."""

    def __init__(self, ch_end_write: Writer[Any], msg: Any, action: ActionLike = None) -> None:
        super().__init__(action)
        if not isinstance(ch_end_write, Writer):
            raise TypeError(f"an OutputGuard is made of a writer, not of {ch_end_write!r}")
        self.guard = ch_end_write, msg
        self.key = ch_end_write


class TimeoutGuard(_Guard):
    """Comes true `seconds` after the select began, if no other did."""

    def __init__(self, seconds: float, action: ActionLike = None) -> None:
        super().__init__(action)
        self.seconds = seconds
        self.guard = _guards.after(seconds)
        self.key = self


class SkipGuard(_Guard):
    """Comes true if no other is ready."""

    def __init__(self, action: ActionLike = None) -> None:
        super().__init__(action)
        self.guard = _guards.skip()
        self.key = self


Skip = SkipGuard
Timeout = TimeoutGuard


def _guard(item: Any, *rest: Any) -> _Guard:
    """Of what Alternation is given: (reader, action), ((writer, x), action), or (writer, x, action)."""
    if isinstance(item, tuple) and len(item) == 2:
        return OutputGuard(item[0], item[1], *rest)
    if isinstance(item, Writer):
        return OutputGuard(item, *rest)
    if isinstance(item, Reader):
        return InputGuard(item, *rest)
    if isinstance(item, (SkipGuard, TimeoutGuard)):
        if rest and rest[0] is not None:
            _Guard.__init__(item, *rest)
        return item
    raise TypeError(f"{item!r} is no guard: a reader, (writer, message), a TimeoutGuard or a SkipGuard is")


class Alternation:
    """A choice that can be made again and again: `Alternation([{inp: action, (out, x): action}, ...])`.

    What is in the list is a dict of guards and actions, a tuple (reader, action) or (writer, message,
    action), or an InputGuard, OutputGuard, TimeoutGuard or SkipGuard. The choice is fair, unless
    `ensurePriority`.

    Raises TypeError: something is no guard, or no action. ValueError: there are none.
    """

    def __init__(self, guards: Iterable[Any], ensurePriority: bool = False) -> None:
        self._guards: list[_Guard] = []
        for item in [guards] if isinstance(guards, Mapping) else guards:
            if isinstance(item, _Guard):
                self._guards.append(item)
            elif isinstance(item, Mapping):
                self._guards.extend(_guard(guard, action) for guard, action in item.items())
            else:
                self._guards.append(_guard(*item) if isinstance(item, tuple) else _guard(item))
        self._choice = Choice(*(guard.guard for guard in self._guards), priority=ensurePriority, strict=True)

    def select(self) -> tuple[Any, Any]:
        """Chooses, and returns the end (or the TimeoutGuard, or SkipGuard) and what was received, or None."""
        guard, received = self._choose()
        return guard.key, received

    def execute(self) -> tuple[Any, Any]:
        """The same, and runs the action of the guard that was chosen."""
        return self._execute(sys._getframe(1))

    def __repr__(self) -> str:
        return f"<Alternation of {', '.join(map(repr, self._guards))}>"

    def _choose(self) -> tuple[_Guard, Any]:
        event = self._choice.select()
        return self._guards[event.index], event.value

    def _execute(self, frame: FrameType) -> tuple[Any, Any]:
        guard, received = self._choose()
        guard.run(received, frame)
        return guard.key, received


def _flat(guards: tuple[Any, ...]) -> list[_Guard]:
    flat = [guard for item in guards for guard in (item if isinstance(item, list) else [item])]
    for guard in flat:
        if not isinstance(guard, _Guard):
            raise TypeError(f"{guard!r} is no guard: use InputGuard, OutputGuard, TimeoutGuard or SkipGuard")
    return flat


def AltSelect(*guards: _Guard | list[_Guard]) -> tuple[Any, Any]:
    """Chooses one of the guards (InputGuard, OutputGuard, TimeoutGuard, SkipGuard, and lists of them), runs
    its action, and
    returns its end (of the last two: the guard itself) and what was received, or None. Fair."""
    return Alternation(_flat(guards))._execute(sys._getframe(1))


def FairSelect(*guards: _Guard | list[_Guard]) -> tuple[Any, Any]:
    """AltSelect, which is fair anyhow."""
    return Alternation(_flat(guards))._execute(sys._getframe(1))


def PriSelect(*guards: _Guard | list[_Guard]) -> tuple[Any, Any]:
    """AltSelect that chooses the first guard of those that are ready."""
    return Alternation(_flat(guards), ensurePriority=True)._execute(sys._getframe(1))
