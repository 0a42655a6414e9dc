"""Golden files: what a sink was given, held against a file that was looked at once."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from ..connectors.filesink import FileSink, TableSink, encoding_of
from ..flows.clock import ManualClock
from ..flows.connector import SinkContext
from ..flows.errors import RecordingError, SettingsError
from .catching import Catch, Written
from .comparing import compare

__all__ = ["Golden", "written_of"]

_TEXT: Final = (".csv", ".jsonl", ".ndjson")
_LINES: Final = 20
"""Lines of a difference that are shown."""
_ALIGNED: Final = 2_000
"""Lines up to which what differs is aligned; more are compared one by one."""


def written_of(caught: Catch, sink: str | None) -> Written:
    """Return what a sink was given, None being the only one; raises `SettingsError`."""
    if sink is None and len(caught.sinks) == 1:
        return next(iter(caught.sinks.values()))
    if sink is None or sink not in caught.sinks:
        wrong = "say which one with --sink" if sink is None else f"there is no sink {sink}"
        raise SettingsError(f"{wrong}: {', '.join(caught.sinks) or 'the flow has none'}")
    return caught.sinks[sink]


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden file: CSV, JSON Lines, Parquet or Arrow, as the suffix says."""

    path: Path

    def __post_init__(self) -> None:
        try:
            encoding_of(str(self.path))
        except ValueError as error:
            raise SettingsError(f"--expect {error}") from error

    def write(self, written: Written) -> None:
        """Write the file as a sink of files would; raises `ConnectorError`."""
        _write(self.path, written)

    def differences(self, written: Written) -> list[str]:
        """Return the differences in words, a line each; none if there are none.

        Raises `RecordingError` if there is no such file, or it is none of its format.
        """
        if not self.path.is_file():
            raise RecordingError(f"{self.path}: there is no such file; --update writes it")
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / self.path.name
            _write(fresh, written)
            if fresh.read_bytes() == self.path.read_bytes():
                return []
            if self.path.suffix in _TEXT:
                return list(_unlike(_lines(self.path), _lines(fresh)))
            return self._tables(_read(self.path), _read(fresh))

    def _tables(self, expected: pl.DataFrame, actual: pl.DataFrame) -> list[str]:
        found = compare(expected, actual, show=_LINES // 2)
        if found.equal:
            return [] if expected.equals(actual) else ["the same rows in another order"]
        lines = [*found.schema, *(f"-{row}" for row in found.some_missing)]
        lines += [f"+{row}" for row in found.some_added]
        return [*lines, f"{found.missing} rows missing, {found.added} added"]


def _write(path: Path, written: Written) -> None:
    encoding = encoding_of(str(path))
    kind = FileSink if written.schema.key is None else TableSink
    context = SinkContext(path.name, written.schema, ManualClock(), 0)
    writer = kind(str(path), encoding).open(context)
    try:
        writer.write(written.rows)
        writer.close()
    except BaseException:
        writer.abort()
        raise


def _read(path: Path) -> pl.DataFrame:
    if path.suffix == ".gz":
        raise SettingsError(f"{path}: a golden file is not compressed")
    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ipc(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from error


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", errors="backslashreplace").splitlines()


def _unlike(expected: list[str], actual: list[str]) -> Iterator[str]:
    """Yield the lines that differ, each with its number in the golden file or the fresh one."""
    first = 0
    while first < min(len(expected), len(actual)) and expected[first] == actual[first]:
        first += 1
    end = 0
    room = min(len(expected), len(actual)) - first
    while end < room and expected[-1 - end] == actual[-1 - end]:
        end += 1
    old, new = expected[first : len(expected) - end], actual[first : len(actual) - end]
    found = list(_aligned(old, new, first + 1))
    yield from found[:_LINES]
    if len(found) > _LINES:
        yield f"and {len(found) - _LINES:,} more"


def _aligned(old: list[str], new: list[str], line: int) -> Iterator[str]:
    if max(len(old), len(new)) > _ALIGNED:
        for number, (one, other) in enumerate(zip(old, new, strict=False)):
            if one != other:
                yield f"-{line + number}: {one}"
                yield f"+{line + number}: {other}"
        if len(old) != len(new):
            yield f"{len(new):,} lines where {len(old):,} were expected"
        return
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, first, last, begin, end in matcher.get_opcodes():
        if kind == "equal":
            continue
        yield from (f"-{line + at}: {old[at]}" for at in range(first, last))
        yield from (f"+{line + at}: {new[at]}" for at in range(begin, end))
