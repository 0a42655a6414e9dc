"""The syntax tree of a function, proven to be the function's own.

A file may have changed since it was imported, a decorator may have put another function in place:
so the file is compiled again, and the tree taken only if it gives the very code that runs.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import types
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from .nodes import Refused

__all__ = ["definition"]


def definition(function: Any) -> ast.FunctionDef:
    """Return a function's syntax tree; raises `Refused` if it cannot be had."""
    if not isinstance(function, types.FunctionType):
        raise Refused("it is not a function written with def")
    code = function.__code__
    if code.co_flags & inspect.CO_GENERATOR:
        raise Refused("it is a generator")
    if code.co_name == "<lambda>":
        raise Refused("it is a lambda")
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise Refused("its source is not at hand")
    try:
        tree, compiled = _compiled("".join(lines), code.co_filename)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused("its source cannot be read") from None
    if code not in compiled:
        raise Refused("its source has changed since it was loaded, or a decorator replaced it")
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.name, _first_line(node)) == (code.co_name, code.co_firstlineno)
    ]
    if len(found) != 1 or not isinstance(found[0], ast.FunctionDef):
        raise Refused("it is not a plain function")
    _check_names(found[0], code)
    return found[0]


def _check_names(tree: ast.FunctionDef, code: types.CodeType) -> None:
    """Raise `Refused` for a name that a class body around the function changes: ``__name``."""
    compiled = {*code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars}
    for node in ast.walk(tree):
        name = getattr(node, "id", None) or getattr(node, "attr", None)
        if name is not None and name.startswith("__") and name not in compiled:
            raise Refused(f"uses {name}, which has another name in a class", tree.lineno)


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


@lru_cache(maxsize=4)
def _compiled(text: str, file: str) -> tuple[ast.Module, frozenset[types.CodeType]]:
    """Return a file's syntax tree, and the code of every function in it."""
    with warnings.catch_warnings():  # the file's own were given when it was imported
        warnings.simplefilter("ignore")
        tree = ast.parse(text, file)
        code = compile(text, file, "exec", dont_inherit=True)
    return tree, frozenset(_within(code))


def _within(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _within(constant)
