"""Feeds two inputs to a join, in any cut and any interleaving, and checks what must always hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import polars as pl
from hypothesis import strategies as st

from headwater.ext import key_groups
from headwater.flows.batch import (
    DELETED,
    END,
    KEY_GROUPS,
    ORIGIN,
    START,
    WATERMARK,
    Batch,
    DeadRow,
    Output,
)
from headwater.flows.clock import ManualClock
from headwater.flows.graph import Place
from headwater.flows.schema import Schema

Row = Mapping[str, Any]
Expected = tuple[int, Row, int]
"""When a row is due (µs), the row with times in µs, and the origin of its left row."""

TIME = pl.Datetime("us", "UTC")
LEFT = Schema(
    (("at", TIME), ("k", pl.String()), ("j", pl.Int64()), ("v", pl.Int64())),
    event_time="at",
    nullable=frozenset({"k", "j", "v"}),
)
RIGHT = Schema(
    (("j", pl.Int64()), ("v", pl.Int64()), ("k", pl.String()), ("on", TIME)),
    event_time="on",
    nullable=frozenset({"k", "j", "v"}),
)


class Join(Protocol):
    """A running join."""

    @property
    def held_rows(self) -> int: ...

    def receive(self, port: int, batch: Batch) -> Output: ...


@dataclass(frozen=True, slots=True)
class Feed:
    """Rows of one input in the order they arrive, with times in µs."""

    schema: Schema
    rows: tuple[Row, ...]
    disorder: int

    def watermarks(self) -> list[int]:
        """The watermark before each row, and after the last."""
        marks, newest = [START], None
        for row in self.rows:
            time = row[str(self.schema.event_time)]
            newest = time if newest is None else max(newest, time)
            marks.append(newest - self.disorder)
        return marks

    def split(self) -> tuple[list[tuple[int, Row]], list[tuple[int, Row]]]:
        """The rows that are on time and those that are late, each with its origin."""
        on_time: list[tuple[int, Row]] = []
        late: list[tuple[int, Row]] = []
        for origin, (row, mark) in enumerate(zip(self.rows, self.watermarks(), strict=False)):
            (late if row[str(self.schema.event_time)] < mark else on_time).append((origin, row))
        return on_time, late

    def frame(self) -> pl.DataFrame:
        """The rows as the engine holds them."""
        columns = dict(self.schema.columns)
        if self.schema.key is not None:
            columns[DELETED] = pl.Boolean()
        data = {name: [row[name] for row in self.rows] for name in columns}
        series = [
            pl.Series(name, data[name], pl.Int64).cast(dtype)
            if dtype == TIME
            else pl.Series(name, data[name], dtype)
            for name, dtype in columns.items()
        ]
        hidden = [
            pl.Series(WATERMARK, self.watermarks()[:-1], pl.Int64),
            pl.Series(ORIGIN, range(len(self.rows)), pl.Int64),
        ]
        return pl.DataFrame([*series, *hidden])

    def batches(self, cuts: Sequence[int]) -> list[Batch]:
        """The rows cut before these positions; END comes in a batch of its own."""
        rows, marks = self.frame(), self.watermarks()
        edges = [0, *sorted(min(cut, rows.height) for cut in cuts), rows.height]
        batches = [
            Batch(rows.slice(low, high - low) if high > low else None, marks[high])
            for low, high in pairwise(edges)
        ]
        return [*batches, Batch(None, END)]


@dataclass(slots=True)
class Run:
    """What a join gave."""

    rows: list[tuple[object, ...]] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)
    held_at_end: int = -1


def place_of(left: Schema, right: Schema, out: Schema) -> Place:
    """Where a join of these schemas stands."""
    return Place("join", (left, right), out, clock=ManualClock(), seed=0)


def run(join: Join, steps: Iterable[tuple[int, Batch]], out: Schema) -> Run:
    """Feed a join; check its batches against the rules for every operator."""
    result, mark = Run(), START
    for port, batch in steps:
        output = join.receive(port, batch)
        (given,) = output.batches
        if given.rows is not None:
            assert [*out.names, WATERMARK, ORIGIN] == given.rows.columns
            assert [dtype for _, dtype in out.columns] == given.rows.dtypes[:-2]
            times = given.rows[str(out.event_time)].to_physical().to_list()
            stamps = given.rows[WATERMARK].to_list()
            assert times, "a batch without rows has rows=None"
            assert all(time >= mark for time in times), "a row is older than the watermark"
            assert all(stamp <= time for stamp, time in zip(stamps, times, strict=True))
            result.rows += given.rows.with_columns(pl.col(TIME).to_physical()).rows()
        assert given.watermark >= mark
        mark = given.watermark
        for late in output.late:
            result.late += late[ORIGIN].to_list()
        result.dead += output.dead
    assert mark == END
    stamps_of_all: list[Any] = [row[-2] for row in result.rows]
    assert sorted(stamps_of_all) == stamps_of_all
    result.held_at_end = join.held_rows
    return result


def in_order(
    expected: Iterable[Expected], out: Schema, keys: Sequence[str], hold: int
) -> list[tuple[object, ...]]:
    """The rows in canonical order, with their hidden columns."""
    found = list(expected)
    columns = [pl.Series(key, [row[key] for _, row, _ in found], out.dtype(key)) for key in keys]
    groups = (
        key_groups([column.to_arrow() for column in columns], KEY_GROUPS).to_pylist()
        if columns and found
        else [0] * len(found)
    )
    keyed = []
    for (due, row, origin), group in zip(found, groups, strict=True):
        values = tuple(row[name] for name in out.names)
        nulls_first = [(value is not None, value) for value in values]
        keyed.append((due, group, _Comparable(nulls_first), origin, (*values, due - hold, origin)))
    return [row for *_, row in sorted(keyed, key=lambda one: one[:4])]


class _Comparable:
    def __init__(self, values: list[tuple[bool, Any]]) -> None:
        self._values = [(there, value if there else 0) for there, value in values]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Comparable) and self._values == other._values

    def __lt__(self, other: _Comparable) -> bool:
        return self._values < other._values

    __hash__ = None  # type: ignore[assignment]


def interleaved(
    left: Sequence[Batch], right: Sequence[Batch], choices: Sequence[bool]
) -> list[tuple[int, Batch]]:
    """Merge the batches of two inputs, taking the right one where a choice is true."""
    sides, picks = [list(left), list(right)], iter(choices)
    steps: list[tuple[int, Batch]] = []
    while sides[0] and sides[1]:
        port = int(next(picks, len(steps) % 2))
        steps.append((port, sides[port].pop(0)))
    return [*steps, *((0, batch) for batch in sides[0]), *((1, batch) for batch in sides[1])]


def outputs(
    make: Callable[[], Join], left: Feed, right: Feed, order: tuple[Any, Any, Any], out: Schema
) -> Run:
    """Run a fresh join over two feeds, cut and interleaved as `order` says."""
    cuts, other_cuts, choices = order
    steps = interleaved(left.batches(cuts), right.batches(other_cuts), choices)
    return run(make(), steps, out)


def same_key(left: Row, right: Row, keys: Sequence[str]) -> bool:
    """Whether two rows have equal keys as SQL sees it: null equals nothing."""
    return all(left[key] is not None and left[key] == right[key] for key in keys)


def check(
    make: Callable[[], Join],
    left: Feed,
    right: Feed,
    orders: Sequence[tuple[Any, Any, Any]],
    out: Schema,
    expected: Sequence[tuple[object, ...]],
) -> None:
    """Assert that a join gives these rows, whatever the cuts and the interleaving."""
    late_left = [origin for origin, _ in left.split()[1]]
    late_right = [origin for origin, _ in right.split()[1]]
    for order in orders:
        found = outputs(make, left, right, order, out)
        assert list(expected) == found.rows
        assert late_left == found.late
        assert late_right == [row.origin for row in found.dead]
        assert all(row.reason.startswith("late: ") for row in found.dead)
        assert found.held_at_end == 0


_TIMES = st.integers(-25, 40)
_VALUES = st.none() | st.integers(0, 2)
_KEYS = {"k": st.none() | st.sampled_from("ab"), "j": st.none() | st.integers(0, 1), "v": _VALUES}

ORDERS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 16), max_size=6),
        st.lists(st.integers(0, 16), max_size=6),
        st.lists(st.booleans(), max_size=14),
    ),
    min_size=2,
    max_size=3,
)
"""Cuts of the left input, cuts of the right, and whose turn it is."""


def feeds(schema: Schema) -> st.SearchStrategy[Feed]:
    """Rows with nulls, duplicates and disorder; more disorder than is allowed makes late rows."""
    names: dict[str, Any] = {
        name: _TIMES if dtype == TIME else _KEYS[name] for name, dtype in schema.columns
    }
    if schema.key is not None:
        names[DELETED] = st.booleans()
    rows = st.lists(st.fixed_dictionaries(names), max_size=16)
    return st.builds(
        lambda found, disorder: Feed(schema, tuple(found), disorder),
        rows,
        st.sampled_from([0, 5, 100]),
    )
