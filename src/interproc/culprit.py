"""Finds which part of an object cannot be pickled, after pickling has failed, and words the error."""

from __future__ import annotations

import functools
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

__all__ = ["describe", "explain", "search"]

MAX_DEPTH = 64  # levels
MAX_PARTS = 100_000  # parts looked at, on all levels together
MAX_SECONDS = 2.0
MAX_TEXT = 60  # characters of a key's repr

ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, type(...), type(NotImplemented)}
)

Probe = Callable[[object], object]
Reducers = Mapping[type, Callable[[Any], Any]]
Part = tuple[str, object]  # an expression with {} in place of the whole, and the part it gives


def explain(item: object, error: Exception, probe: Probe, reducers: Reducers) -> str:
    """The message for `item`, whose pickling raised `error`.

    Args:
        probe: pickles what it is given, for nothing but the exception.
        reducers: the pickler's dispatch table.

    The path to the culprit is an expression in terms of `item`, such as item['jobs'][3].callback.
    """
    try:
        path, culprit, reason, exact = search(item, error, probe, reducers)
    except Exception:  # a hostile object may raise anywhere; the first error is still worth telling
        path, culprit, reason, exact = "item", item, error, True
    place = "" if path == "item" else f" at {path}" if exact else f" within {path}"
    return f"cannot pickle {_name(culprit)}{place}: {describe(reason)}; nothing was sent; {_advice(culprit)}"


def describe(error: BaseException) -> str:
    """The exception's type and text on one line, whatever its __str__ does."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def search(
    item: object, error: Exception, probe: Probe, reducers: Reducers
) -> tuple[str, object, BaseException, bool]:
    """Goes down from part to part that fails by itself; the last such part is the culprit.

    Returns its path as an expression in terms of `item`, itself, its error, and whether the search was
    complete.
    """
    path, here, reason = "item", item, error
    above = [item]  # also keeps the parts alive, so that their ids stay theirs
    left = MAX_PARTS
    end = time.monotonic() + MAX_SECONDS
    for _ in range(MAX_DEPTH):
        for expression, part in _parts(here, reducers):
            left -= 1
            if left < 0 or time.monotonic() > end:
                return path, here, reason, False
            if type(part) in ATOMS or any(part is one for one in above):
                continue
            failure = _failure(part, probe)
            if failure is not None:
                path, here, reason = expression.replace("{}", path, 1), part, failure
                above.append(part)
                break
        else:
            return path, here, reason, True
    return path, here, reason, False


def _failure(part: object, probe: Probe) -> Exception | None:
    try:
        probe(part)
    except Exception as error:
        return error
    return None


def _parts(whole: object, reducers: Reducers) -> Iterator[Part]:
    """What pickling `whole` pickles in turn. A hostile object ends the list early."""
    try:
        kind = type(whole)
        if kind is dict:
            yield from _dict_parts(whole)  # type: ignore[arg-type]
        elif kind is list or kind is tuple:
            yield from _sequence_parts("{{}}[{}]", whole)  # type: ignore[arg-type]
        elif kind is set or kind is frozenset:
            yield from _sequence_parts("list({{}})[{}]", whole)  # type: ignore[arg-type]
        elif kind not in (type, types.FunctionType):
            yield from _reduced_parts(whole, reducers)
    except Exception:
        return


def _sequence_parts(pattern: str, parts: Iterable[object]) -> Iterator[Part]:
    for i, part in enumerate(parts):
        yield pattern.format(i), part


def _dict_parts(whole: dict[object, object]) -> Iterator[Part]:
    for i, (key, value) in enumerate(list(whole.items())):
        yield f"list({{}})[{i}]", key
        yield f"{{}}[{_text(key)}]", value


def _reduced_parts(whole: object, reducers: Reducers) -> Iterator[Part]:
    if isinstance(whole, functools.partial):
        yield "{}.func", whole.func
        yield "{}.args", whole.args
        yield "{}.keywords", whole.keywords
    elif isinstance(whole, types.MethodType):
        yield "{}.__self__", whole.__self__
    reducer = reducers.get(type(whole))
    reduced = whole.__reduce_ex__(5) if reducer is None else reducer(whole)
    if not isinstance(reduced, tuple) or len(reduced) < 2:
        return
    how = "{}.__reduce_ex__(5)" if reducer is None else f"reduce_{type(whole).__name__}({{}})"
    function, arguments = reduced[:2]
    more = list(reduced[2:]) + [None] * 4
    yield from _argument_parts(whole, arguments, how)
    if more[0] is not None:
        yield from _state_parts(whole, more[0], how)
    if more[1] is not None:
        yield from _sequence_parts("{{}}[{}]", more[1])
    if more[2] is not None:
        yield from _dict_parts(dict(more[2]))
    yield f"{how}[0]", function


def _argument_parts(whole: object, arguments: tuple[object, ...], how: str) -> Iterator[Part]:
    if isinstance(whole, tuple):
        fields = getattr(type(whole), "_fields", ())
        for i, part in enumerate(whole):
            yield (f"{{}}.{fields[i]}" if len(fields) == len(whole) else f"{{}}[{i}]"), part
    for i, part in enumerate(arguments):
        if part is type(whole):
            yield "type({})", part
        elif isinstance(whole, BaseException):
            yield f"{{}}.args[{i}]", part
        else:
            yield f"{how}[1][{i}]", part


def _state_parts(whole: object, state: object, how: str) -> Iterator[Part]:
    pair = isinstance(state, tuple) and len(state) == 2
    halves = state if isinstance(state, tuple) and pair else (state,)
    if not all(half is None or isinstance(half, dict) for half in halves):
        yield f"{how}[2]", state
        return
    for i, half in enumerate(halves):
        for name, part in list((half or {}).items()):
            # The state is what the object is made of only by default; else say where the part was found.
            if isinstance(name, str) and name.isidentifier() and _attribute(whole, name) is part:
                yield f"{{}}.{name}", part
            else:
                yield f"{how}[2]{f'[{i}]' if pair else ''}[{_text(name)}]", part


def _attribute(whole: object, name: str) -> object:
    try:
        return getattr(whole, name, None)
    except Exception:
        return None


def _text(key: object) -> str:
    try:
        text = repr(key).replace("{}", "{ }")  # {} marks the place of the whole
    except Exception:
        text = f"<{type(key).__name__}>"
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def _name(culprit: object) -> str:
    if isinstance(culprit, (type, types.FunctionType)):
        kind = "class" if isinstance(culprit, type) else "function"
        return f"the {kind} {culprit.__module__}.{culprit.__qualname__}"
    return f"{type(culprit).__name__!r} object"


def _advice(culprit: object) -> str:
    if isinstance(culprit, (type, types.FunctionType)):
        return "define it under its own name at the top level of a module that the receiver can import"
    return "leave it out, or tell pickle how to send it (__reduce__, __getstate__ or copyreg.pickle)"
