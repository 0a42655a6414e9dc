"""The errors of Headwater: one family, each saying what to do next.

HeadwaterError                  everything below
├── FlowError                   a flow that cannot be loaded; holds every Problem found
├── SchemaError                 a type or a schema that cannot be used
├── ExpressionError             an expression that an operation does not take
├── ConnectorError              an outside system: a file, a port, a broker
│   └── NoRoomError             it has no room, and took nothing: try again
├── SettingsError               a flow's settings do not validate
├── RowError                    a user function raised for a row and the flow stops on errors
├── WorkerError                 a worker process died or answered with an error
├── RecoveryError               a run cannot go on from what was kept of it
├── RecordingError              a recording that is not there, or does not fit a flow
├── StateError                  a value that cannot be kept; see `flows.values`
└── JournalError                a journal; its kinds are drawn in `flows.journal.errors`
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "ConnectorError",
    "ExpressionError",
    "FlowError",
    "HeadwaterError",
    "NoRoomError",
    "Problem",
    "RecordingError",
    "RecoveryError",
    "RowError",
    "SchemaError",
    "SettingsError",
    "WorkerError",
]


class HeadwaterError(Exception):
    """Any error that Headwater raises on purpose; its text says what to do next."""


class SchemaError(HeadwaterError):
    """A type or a schema that cannot be used."""


class ExpressionError(HeadwaterError):
    """An expression that an operation does not take."""


class ConnectorError(HeadwaterError):
    """An outside system (a file, a port, a broker) refused or is not as described."""


class NoRoomError(ConnectorError):
    """There is no room for what was given; nothing of it was taken, so that it may be given again.

    A durable run waits for room; any other fails.
    """


class SettingsError(HeadwaterError):
    """A flow's settings do not validate."""


class RowError(HeadwaterError):
    """A user function raised for a row, in a flow that stops on errors."""


class WorkerError(HeadwaterError):
    """A worker process died or answered with an error."""


class RecoveryError(HeadwaterError):
    """A run cannot go on from what was kept of it."""


class RecordingError(HeadwaterError):
    """A recording that is not there, cannot be written, or does not fit a flow."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a flow: where, what was found, what would be right."""

    operator: str
    message: str
    parameter: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.operator}({self.parameter})" if self.parameter else self.operator
        where = f"{self.file}:{self.line}: " if self.file and self.line else ""
        return f"{where}{place}: {self.message}"


class FlowError(HeadwaterError):
    """A flow that cannot be loaded.

    `problems` holds everything that was found, not only the first.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def unknown_column(column: str, columns: Iterable[str]) -> str:
    """Say that a column does not exist, what comes close, and what there is."""
    known = list(columns)
    close = difflib.get_close_matches(column, known, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown column {column!r}; {hint}the stream has {', '.join(known)}"
