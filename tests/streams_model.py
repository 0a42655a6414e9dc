"""Rows for one-input operators, cut into batches in any way, and what must always hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import polars as pl
from hypothesis import strategies as st

from headwater.ext import key_groups, row_hashes
from headwater.flows.aggregates import Aggregate
from headwater.flows.batch import (
    DELETED,
    END,
    HIDDEN,
    KEY_GROUPS,
    NO_ORIGIN,
    ORIGIN,
    START,
    WATERMARK,
    Batch,
    Logic,
    visible,
)
from headwater.flows.clock import ManualClock
from headwater.flows.decompose import Buffered, Incremental, decompose
from headwater.flows.graph import Place, Spec
from headwater.flows.merge import Merge
from headwater.flows.schema import Schema

TIME = pl.Datetime("us", "UTC")
SCHEMA = Schema(
    (
        ("at", TIME),
        ("k", pl.String()),
        ("j", pl.Int64()),
        ("v", pl.Int64()),
        ("x", pl.Float64()),
    ),
    event_time="at",
    nullable=frozenset({"k", "j", "v", "x"}),
)
UNTIMED = Schema(SCHEMA.columns[1:], nullable=SCHEMA.nullable)
KEYS = ("k", "j")


class Row(NamedTuple):
    """A row of `SCHEMA`, its time in µs."""

    at: int
    k: str | None
    j: int | None
    v: int | None
    x: float | None


@cache
def group(k: str | None, j: int | None) -> int:
    """The key group of a key of `KEYS`."""
    columns = [pl.Series([k], dtype=pl.String), pl.Series([j], dtype=pl.Int64)]
    found: int = key_groups([c.to_arrow() for c in columns], KEY_GROUPS)[0].as_py()
    return found


@cache
def hashed(k: str | None, j: int | None) -> int:
    """The hash of a key of `KEYS`, of which its key group is the uppermost part."""
    columns = [pl.Series([k], dtype=pl.String), pl.Series([j], dtype=pl.Int64)]
    found: int = row_hashes(columns)[0].as_py()
    return found


_TWIN = next(j for j in range(1, 10_000) if group("a", j) == group("a", 0))
_ROW = st.builds(
    Row,
    st.integers(-8, 16),
    st.sampled_from([None, "a"]),
    st.sampled_from([None, 0, _TWIN]),
    st.one_of(st.none(), st.integers(-3, 3)),
    st.sampled_from([None, 0.1, 0.2, 0.7, -0.3, 1e16, -1e16, 3.0]),
)
ROWS = st.one_of(st.lists(_ROW, max_size=8), st.lists(_ROW, min_size=15, max_size=30))
"""Rows with nulls, ties in time, whole repetitions and keys of one group, in any order."""
CUTS = st.lists(st.integers(0, 30), max_size=6)
DISORDER = st.integers(0, 25)


def nulls_first(values: Iterable[Any]) -> tuple[Any, ...]:
    """A sort key in which a null is the least value."""
    return tuple((value is not None, 0 if value is None else value) for value in values)


def canonical(rows: Iterable[Row]) -> list[Row]:
    """Rows by (time, key group, all columns)."""
    return sorted(rows, key=lambda r: (r.at, group(r.k, r.j), *nulls_first(r[1:])))


def judged(rows: Sequence[Row], disorder: int, lateness: int = 0) -> tuple[list[Row], list[Row]]:
    """The rows that are on time and those that are late, both in the order they came."""
    on_time: list[Row] = []
    late: list[Row] = []
    newest = -math.inf
    for row in rows:
        (late if row.at + lateness < newest - disorder else on_time).append(row)
        newest = max(newest, row.at)
    return on_time, late


def by_key(rows: Iterable[Row]) -> dict[tuple[Any, Any], list[Row]]:
    """Rows of each key, in their order."""
    found: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        found.setdefault((row.k, row.j), []).append(row)
    return found


def fed(
    rows: Sequence[Row], disorder: int, cuts: Sequence[int] = (), *, timed: bool = True
) -> list[Batch]:
    """The rows in batches cut at positions, the end of the stream in the last."""
    marks, newest = [START], -math.inf
    for row in rows:
        newest = max(newest, row.at)
        marks.append(int(newest) - disorder if timed else START)
    columns = [
        pl.Series(name, [getattr(row, name) for row in rows], dtype=pl.Int64 if i == 0 else dtype)
        .cast(dtype)
        for i, (name, dtype) in enumerate(SCHEMA.columns)
    ]  # fmt: skip
    frame = pl.DataFrame(
        [
            *(columns if timed else columns[1:]),
            pl.Series(WATERMARK, marks[:-1], dtype=pl.Int64),
            pl.Series(ORIGIN, range(len(rows)), dtype=pl.Int64),
        ]
    )
    places = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    batches = [Batch(frame[begin:end], marks[end]) for begin, end in pairwise(places)]
    return [*batches, Batch(None, END)]


@dataclass(slots=True)
class Ran:
    """What an operator gave."""

    rows: pl.DataFrame
    late: list[int] = field(default_factory=list)
    """The origins of late rows."""
    logic: Any = None
    batches: list[Batch] = field(default_factory=list)


def place(out: Schema, clock: ManualClock | None = None, *, timed: bool = True) -> Place:
    """Where an operator over `SCHEMA` stands."""
    return Place("op", (SCHEMA if timed else UNTIMED,), out, clock or ManualClock(), 0)


def run(spec: Spec, out: Schema, batches: Sequence[Batch], *, timed: bool = True) -> Ran:
    """Feed an operator; check columns, order and the honesty of its watermarks."""
    logic = spec.build(place(out, timed=timed))
    ran = Ran(pl.DataFrame(), logic=logic)
    late: list[pl.DataFrame] = []
    for batch in batches:
        output = logic.receive(0, batch)
        assert output.batches
        assert output.dead == []
        ran.batches.extend(output.batches)
        late.extend(output.late)
    honest(ran.batches, out)
    assert ran.batches[-1].watermark == END
    ran.rows = gathered(ran.batches, out)
    ran.late = [origin for frame in late for origin in frame[ORIGIN].to_list()]
    return ran


def gathered(batches: Sequence[Batch], out: Schema) -> pl.DataFrame:
    """All rows of batches."""
    upsert = {DELETED: pl.Boolean} if out.key is not None else {}
    empty = pl.DataFrame(schema={**out.polars(), **upsert, WATERMARK: pl.Int64, ORIGIN: pl.Int64})
    return pl.concat([empty, *(b.rows for b in batches if b.rows is not None)])


def honest(batches: Sequence[Batch], out: Schema) -> None:
    """Check that no row stands before a watermark that was given, and rows in their order."""
    passed = newest = START
    for batch in batches:
        assert batch.watermark >= passed
        if batch.rows is not None:
            marks = batch.rows[WATERMARK].to_list()
            assert marks == sorted(marks)
            assert all(mark >= max(passed, newest) for mark in marks)
            newest = max([newest, *marks])
            if out.event_time is not None:
                times = batch.rows[out.event_time].to_physical().to_list()
                for time, mark in zip(times, marks, strict=True):
                    # Rows that stand at the end are what the end of the stream cut short.
                    assert mark == END - 1 or (mark <= time and passed <= time)
        passed = batch.watermark


def sharded(spec: Spec, out: Schema, batches: Sequence[Batch], shards: int) -> pl.DataFrame:
    """What the operator gives in shards that hold a range of key groups each, merged."""
    logics: list[Logic] = [spec.build(place(out)) for _ in range(shards)]
    merge = Merge(shards)
    merged: list[Batch] = []
    for batch in batches:
        for shard, logic in enumerate(logics):
            rows = batch.rows
            if rows is not None:
                groups = [group(k, j) for k, j in rows.select(KEYS).rows()]
                here = [g * shards // KEY_GROUPS == shard for g in groups]
                rows = rows.filter(pl.Series(here, dtype=pl.Boolean))
            for given in logic.receive(0, Batch(rows, batch.watermark)).batches:
                merged.append(merge.receive(shard, given))
    assert merge.held_rows == 0
    return gathered(merged, out)


def plain(rows: pl.DataFrame, *, hidden: bool = False) -> list[tuple[Any, ...]]:
    """Rows as tuples, times in µs."""
    rows = rows.drop(DELETED, strict=False)
    frame = rows if hidden else visible(rows)
    return frame.with_columns(pl.selectors.temporal().to_physical()).rows()


def arrived(rows: Sequence[Row], disorder: int, order: Sequence[int]) -> list[Row]:
    """The rows in another order of arrival in which none is late: each `disorder` at most old."""
    delays = [order[i % len(order)] % (disorder + 1) if order else 0 for i in range(len(rows))]
    places = sorted(range(len(rows)), key=lambda i: (rows[i].at + delays[i], -i))
    return [rows[i] for i in places]


class Spread(Aggregate[tuple[int, int] | None]):
    """A user's own aggregate: the greatest value less the least."""

    returns = int

    def init(self) -> tuple[int, int] | None:
        return None

    def add(self, state: tuple[int, int] | None, value: int | None) -> tuple[int, int] | None:
        if value is None:
            return state
        return (value, value) if state is None else (min(state[0], value), max(state[1], value))

    def merge(self, a: tuple[int, int] | None, b: tuple[int, int] | None) -> tuple[int, int] | None:
        if a is None or b is None:
            return b if a is None else a
        return min(a[0], b[0]), max(a[1], b[1])

    def result(self, state: tuple[int, int] | None) -> int | None:
        return None if state is None else state[1] - state[0]


V, X = pl.col("v"), pl.col("x")
INCREMENTAL: dict[str, pl.Expr | Aggregate[Any]] = {
    "n": pl.len(),
    "some": V.count(),
    "total": X.sum(),
    "whole": V.sum(),
    "mean": X.mean(),
    "low": V.min(),
    "high": X.max(),
    "name": pl.col("k").max(),
    "sd": X.std(),
    "mixed": (V.sum() / pl.len()) * 2,
    "head": V.first(),
    "tail": pl.col("j").last(),
    "spread": Spread("v"),
}
ALL: dict[str, pl.Expr | Aggregate[Any]] = {
    **INCREMENTAL,
    "middle": V.median(),
    "kinds": V.n_unique(),
}


def aggregates(
    columns: dict[str, pl.Expr | Aggregate[Any]], schema: Schema = SCHEMA
) -> tuple[Incremental | Buffered, ...]:
    """The aggregates, taken apart."""
    return tuple(decompose(name, expr, dict(schema.columns)) for name, expr in columns.items())


def _total(values: Sequence[float]) -> float:
    found = 0.0
    for value in values:
        found += value
    return found


def _deviation(values: Sequence[float]) -> float | None:
    count, mean, squares = 0, 0.0, 0.0
    for value in values:
        count += 1
        delta = value - mean
        mean += delta / count
        squares += delta * (value - mean)
    return math.sqrt(squares / (count - 1)) if count > 1 else None


_ORACLE: dict[str, Callable[[Sequence[Row], list[int], list[float]], Any]] = {
    "n": lambda rows, vs, xs: len(rows),
    "some": lambda rows, vs, xs: len(vs),
    "total": lambda rows, vs, xs: _total(xs),
    "whole": lambda rows, vs, xs: sum(vs),
    "mean": lambda rows, vs, xs: _total(xs) / len(xs) if xs else None,
    "low": lambda rows, vs, xs: min(vs, default=None),
    "high": lambda rows, vs, xs: max(xs, default=None),
    "name": lambda rows, vs, xs: max((r.k for r in rows if r.k is not None), default=None),
    "sd": lambda rows, vs, xs: _deviation(xs),
    "mixed": lambda rows, vs, xs: sum(vs) / len(rows) * 2,
    "head": lambda rows, vs, xs: rows[0].v,
    "tail": lambda rows, vs, xs: rows[-1].j,
    "spread": lambda rows, vs, xs: max(vs) - min(vs) if vs else None,
    "middle": lambda rows, vs, xs: float(median(vs)) if vs else None,
    "kinds": lambda rows, vs, xs: len({r.v for r in rows}),
}


def folded(rows: Sequence[Row], names: Iterable[str] = ALL) -> tuple[Any, ...]:
    """What the aggregates of `ALL` give for rows, folded in plain Python in their order."""
    vs = [row.v for row in rows if row.v is not None]
    xs = [row.x for row in rows if row.x is not None]
    return tuple(_ORACLE[name](rows, vs, xs) for name in names)


__all__ = [
    "ALL",
    "CUTS",
    "DISORDER",
    "HIDDEN",
    "INCREMENTAL",
    "KEYS",
    "NO_ORIGIN",
    "ROWS",
    "SCHEMA",
    "TIME",
    "UNTIMED",
    "Ran",
    "Row",
    "Spread",
    "aggregates",
    "arrived",
    "by_key",
    "canonical",
    "fed",
    "folded",
    "gathered",
    "group",
    "hashed",
    "honest",
    "judged",
    "nulls_first",
    "place",
    "plain",
    "run",
    "sharded",
]
