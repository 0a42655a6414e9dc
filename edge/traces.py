"""Exceptions as one line: where in the user's own file, and what."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Final

from ..flows.errors import HeadwaterError

__all__ = ["FlowFileError", "one_line", "shown", "told", "user_place"]

_OWN: Final = str(Path(__file__).absolute().parent.parent) + os.sep
_REAL: Final = str(Path(__file__).resolve().parent.parent) + os.sep
_LIBRARIES: Final = tuple(
    sysconfig.get_path(kind) + os.sep for kind in ("stdlib", "purelib", "platlib")
)
_PARTS: Final = ("connectors", "edge", "ext", "flows")


class FlowFileError(HeadwaterError):
    """A file from which no flow can be loaded; its text is one line, with the place."""


def shown(path: Path | str) -> str:
    """Return a path as a person in the working directory would write it."""
    path = Path(path)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def told(error: BaseException, path: Path | None) -> FlowFileError:
    """Say in one line what running a user's file raised; `path` is the file, if it is known."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{shown(error.filename)}:{error.lineno or 1}"
        return FlowFileError(f"{place}: {type(error).__name__}: {error.msg}")
    where = user_place(error, path)
    place = f"{shown(where[0])}:{where[1]}" if where else shown(path) if path else "the flow"
    return FlowFileError(f"{place}: {one_line(error)}{_advice(error)}")


def one_line(error: BaseException) -> str:
    """Return an exception as its type and the first line of its text; ours without the type."""
    text = str(error).strip().split("\n", 1)[0]
    if isinstance(error, HeadwaterError) and text:
        return text
    if isinstance(error, SystemExit):
        return "the file ends Python (sys.exit) while it is loaded; a flow file only declares"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def user_place(error: BaseException, path: Path | None) -> tuple[str, int] | None:
    """Return the innermost line of the user's code that an exception went through."""
    places = [(f.filename, f.lineno or 1) for f in traceback.extract_tb(error.__traceback__)]
    if path is not None:
        folder = str(path.parent) + os.sep
        beside = [p for p in places if p[0].startswith(folder) and _is_users(p[0])]
        if beside:
            return beside[-1]
    users = [place for place in places if _is_users(place[0])]
    return users[-1] if users else None


def _is_users(filename: str) -> bool:
    if filename.startswith("<") or filename.startswith(_LIBRARIES):
        return False
    for root in (_OWN, _REAL):
        if filename.startswith(tuple(root + part + os.sep for part in _PARTS)):
            return False
        if filename == f"{root}__init__.py":
            return False
    return True


def _advice(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition(".")[0]
        if root == "headwater":
            return ""
        return f"; if it is a package, install it: {shown(sys.executable)} -m pip install {root}"
    return ""
