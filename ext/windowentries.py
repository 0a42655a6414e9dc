"""The columns that the entries of a `WindowTable` are written as, for both its twins.

They are, in this order: `begin`, of the pane in µs, unless there is one window; the keys in their
types; `rows`, how many there were; and what is held of each column that parts read, as `held_by`
says. A name that is taken by a column before it has `_` after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa

from .accumulators import WindowPart

__all__ = [
    "EARLIEST",
    "LATEST",
    "Held",
    "checked_held",
    "checked_place",
    "checked_schema",
    "entry_schema",
    "held_by",
]

EARLIEST: Final = -(2**62)
"""The watermark before the first row."""
LATEST: Final = 2**62
"""The watermark after the last row."""


class Held(NamedTuple):
    """A column of what is held of the values, that are not null, of the column that parts read.

    count               how many there were
    sum                 of them; 0 if there were none
    min, max            the least and the greatest; null if there were none
    mean, squares       of float64: their mean, and the sum of squared differences from it
    first, last         the value of the row that is the first or the last
    first_time          the time of that row, or its number in order; null if there was none.
    last_time           The value may be null by itself
    first_some, ...     likewise of rows whose value is not null
    """

    what: str
    column: str
    real: bool

    @property
    def name(self) -> str:
        """The name of the column, unless that is taken."""
        return f"{self.what}({self.column})"

    @property
    def kind(self) -> pa.DataType:
        """Its type."""
        real = self.real and self.what != "count" and not self.what.endswith("_time")
        return pa.float64() if real else pa.int64()

    @property
    def nullable(self) -> bool:
        """Whether it may hold nulls."""
        return self.what not in ("count", "sum", "mean", "squares")


def held_by(parts: Sequence[WindowPart]) -> Iterator[Held]:
    """Yield the columns of what parts hold, by the columns they read in the order of the parts."""
    kinds: dict[tuple[str, bool], set[str]] = {}
    for part in parts:
        if part.column is not None:
            end = part.kind in ("first", "last") and part.skip_nulls
            kind = f"{part.kind}_some" if end else part.kind
            kinds.setdefault((part.column, part.real), set()).add(kind)
    for (column, real), wanted in kinds.items():
        found = [
            ("count", wanted & {"count", "mean", "min", "max", "var", "std"}),
            ("sum", wanted & {"sum", "mean"}),
            ("min", wanted & {"min"}),
            ("max", wanted & {"max"}),
            ("mean", wanted & {"var", "std"}),
            ("squares", wanted & {"var", "std"}),
        ]
        for kind in ("first", "last", "first_some", "last_some"):
            found += [(f"{kind}_time", wanted & {kind}), (kind, wanted & {kind})]
        yield from (Held(what, column, real) for what, why in found if why)


def entry_schema(keys: pa.Schema, parts: Sequence[WindowPart], *, whole: bool) -> pa.Schema:
    """Return the names and types of all columns; without `begin` if there is one window."""
    fields = [] if whole else [("begin", pa.int64())]
    taken = set(keys.names)
    held = [(each.name, each.kind) for each in held_by(parts)]
    more = []
    for name, kind in [*fields, ("rows", pa.int64()), *held]:
        while name in taken:
            name += "_"
        taken.add(name)
        more.append((name, kind))
    begin, rest = more[: len(fields)], more[len(fields) :]
    return pa.schema([*begin, *zip(keys.names, keys.types, strict=True), *rest])


def checked_schema(found: pa.Schema, expected: pa.Schema) -> None:
    """Raise ValueError unless columns are of the names and types expected."""
    if found.names != expected.names or found.types != expected.types:
        said = ", ".join(f"{field.name}: {field.type}" for field in expected)
        shown = ", ".join(f"{field.name}: {field.type}" for field in found)
        raise ValueError(f"entries have the columns {said}, not {shown}")


def checked_place(passed: int, sequence: int) -> None:
    """Raise ValueError for a watermark or a number of rows that no table has."""
    if not EARLIEST <= passed <= LATEST or not 0 <= sequence <= LATEST:
        raise ValueError(f"no table has passed {passed} µs after {sequence} rows")


def checked_held(rows: int | None, held: Mapping[Held, Any]) -> None:
    """Raise ValueError for what cannot be held after a number of rows; for the twin."""
    if rows is None or rows < 1:
        raise ValueError(f"{rows} rows cannot be held")
    for each, value in held.items():
        wrong = value is None and not each.nullable
        if each.what == "count" and not wrong:
            wrong = not 0 <= value <= rows
        if each.what in ("min", "max"):
            wrong = (value is None) != (held[each._replace(what="count")] == 0)
        end = each._replace(what=each.what.removesuffix("_time"))
        if value is None and end != each:
            wrong = held[end] is not None
        if wrong:
            raise ValueError(f"{each.name} of {value} cannot be held after {rows} rows")
