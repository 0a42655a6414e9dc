"""Which files a path with wildcards and ``{field}`` placeholders means."""

from __future__ import annotations

import glob
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..flows.errors import ConnectorError

__all__ = ["Found", "PathLike", "Patterns", "find", "locate", "patterns"]

PathLike = str | os.PathLike[str]
Patterns = tuple[str, ...]
_Fields = tuple[tuple[str, str], ...]

_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PIECE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}|\*\*/|\*\*|\*|\?|\[!?[^\]]+\]")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a member of a zip archive, and what its path says about every row of it."""

    name: str
    path: str
    member: str | None
    fields: _Fields


def patterns(pattern: PathLike | Sequence[PathLike]) -> Patterns:
    """Return a source's pattern, or patterns, as texts; raises `ValueError` if there are none."""
    many = [pattern] if isinstance(pattern, str | os.PathLike) else list(pattern)
    if not many:
        raise ValueError("give at least one path or pattern")
    return tuple(os.fspath(one) for one in many)


def find(wanted: Patterns) -> list[Found]:
    """Return the files that match, sorted by name, each once.

    A ``.zip`` archive stands for its members. Raises `ConnectorError` if a pattern matches
    nothing, with a hint at what there is instead.
    """
    found: dict[str, Found] = {}
    for pattern in wanted:
        matches = _matches(pattern)
        if not matches:
            raise ConnectorError(f"no file matches {pattern!r}; {_hint(pattern)}")
        for path, fields in matches:
            for one in _members(path, fields):
                if not one.name.isascii() and _no_utf8(one.name):
                    raise ConnectorError(f"{one.name!r}: the file's name is not UTF-8; rename it")
                found.setdefault(one.name, one)
    return [found[name] for name in sorted(found)]


def locate(wanted: Patterns, name: str) -> Found:
    """Return the file that `find` gave this name; raises `ConnectorError` if it is gone."""
    archive, inside, member = name.partition(".zip/")
    path = archive + ".zip" if inside else name
    for pattern in wanted:
        fields = _fields(pattern, path)
        if fields is not None and Path(path).is_file():
            return Found(name, path, member if inside else None, fields)
    raise ConnectorError(f"{name}: the file is gone, or was never one of {', '.join(wanted)}")


def _members(path: str, fields: _Fields) -> list[Found]:
    if not path.endswith(".zip"):
        return [Found(path, path, None, fields)]
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise ConnectorError(f"{path}: cannot be read as a zip archive: {error}") from error
    return [Found(f"{path}/{name}", path, name, fields) for name in names]


def _no_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def _matches(pattern: str) -> list[tuple[str, _Fields]]:
    if Path(pattern).is_file():
        return [(pattern, ())]
    matches = []
    for path in glob.glob(_HOLE.sub("*", pattern), recursive=True):  # noqa: PTH207 - patterns may be absolute
        fields = _fields(pattern, path)
        if fields is not None and Path(path).is_file():
            matches.append((path, fields))
    return matches


def _fields(pattern: str, path: str) -> _Fields | None:
    if pattern == path:
        return ()
    holes = _HOLE.findall(pattern)
    if len(set(holes)) != len(holes):
        raise ConnectorError(f"{pattern!r} has the same placeholder twice; give each its own name")
    match = re.fullmatch(_expression(pattern), path, re.DOTALL)
    return tuple((name, match[name]) for name in holes) if match else None


def _expression(pattern: str) -> str:
    pieces, end = [], 0
    for piece in _PIECE.finditer(pattern):
        pieces.append(re.escape(pattern[end : piece.start()]))
        end = piece.end()
        text = piece[0]
        if piece[1]:
            pieces.append(f"(?P<{piece[1]}>[^/]+)")
        elif text.startswith("["):
            pieces.append(text.replace("[!", "[^", 1))
        else:
            pieces.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[text])
    return "".join(pieces) + re.escape(pattern[end:])


def _hint(pattern: str) -> str:
    folder = Path(pattern).parent
    while any(sign in str(folder) for sign in "*?[{") and folder != folder.parent:
        folder = folder.parent
    where = "the current folder" if folder == Path() else f"the folder {str(folder)!r}"
    if not folder.is_dir():
        return f"{where} does not exist"
    names = sorted(one.name + ("/" if one.is_dir() else "") for one in folder.iterdir())
    if not names:
        return f"{where} is empty"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{where} holds {', '.join(names[:_SHOWN])}{more}"
