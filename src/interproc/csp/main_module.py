"""What a child that is started afresh finds in the program's main module."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast

__all__ = ["as_it_is", "has", "is_a_file", "looked_up"]

GUARDS = ("__name__ == '__main__'", "'__main__' == __name__")


def is_a_file() -> bool:
    """Not so in the REPL, in a notebook, of `python -c`, and of a program that is read from a pipe."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is not None or (file is not None and os.path.exists(file))


@contextlib.contextmanager
def as_it_is() -> Iterator[None]:
    """What is started afresh within the block does not look for the file "<stdin>"."""
    main = sys.modules["__main__"]
    if hasattr(main, "__file__") and not is_a_file():
        file = main.__file__
        del main.__file__
        try:
            yield
        finally:
            main.__file__ = file
    else:
        yield


def looked_up(module: object, qualname: str) -> object:
    """What is found there, or None."""
    found: object = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def has(obj: object, qualname: str) -> bool:
    """Whether a child that is started afresh finds this under that name in the main module."""
    return (
        is_a_file()
        and looked_up(sys.modules["__main__"], qualname) is obj
        and qualname.partition(".")[0] not in guarded(getattr(sys.modules["__main__"], "__file__", None))
    )


@functools.lru_cache(1)
def guarded(file: str | None) -> frozenset[str]:
    """The functions and classes that a script defines below `if __name__ == "__main__":`, and names there."""
    import ast
    import tokenize

    try:
        with tokenize.open(file or "") as script:
            tree = ast.parse(script.read())
    except (OSError, SyntaxError, ValueError):  # no script in Python: nothing is known
        return frozenset()
    names: set[str] = set()
    todo: list[ast.AST] = []
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in GUARDS:
            todo += statement.body
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.add(node.id)
        elif not isinstance(node, (ast.Lambda, ast.expr_context)):
            todo += ast.iter_child_nodes(node)
    return frozenset(names)
