"""Operators that aggregate go on from their snapshots as if nothing had happened."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.aggregates import Aggregate, approx_quantile
from headwater.flows.batch import END, ORIGIN, START, WATERMARK, Batch, Logic, Output
from headwater.flows.clock import ManualClock
from headwater.flows.decompose import decompose
from headwater.flows.graph import Place, Spec
from headwater.flows.operators.ordered_window import OrderedWindow, ordered_window_schema
from headwater.flows.operators.running import Running, running_schema
from headwater.flows.operators.window import WindowAggregate, window_schema
from headwater.flows.operators.window_slots import HoppingSlots, WholeSlots
from headwater.flows.schema import Schema
from headwater.flows.snapshot import Tables
from headwater.flows.values import StateError
from headwater.flows.windows import (
    CountWindow,
    HoppingWindow,
    SessionWindow,
    SlidingWindow,
    WholeWindow,
)

from .restarting import through_bytes
from .streams_model import (
    ALL,
    CUTS,
    DISORDER,
    INCREMENTAL,
    KEYS,
    ROWS,
    SCHEMA,
    UNTIMED,
    Row,
    aggregates,
    fed,
    place,
)


@dataclass
class Seen:
    """The state of `Newest`: it is changed in place, and holds what no column does."""

    values: deque[float | None] = field(default_factory=lambda: deque(maxlen=3))
    kinds: dict[tuple[Any, ...], int] = field(default_factory=dict)


class Newest(Aggregate[Seen]):
    """The last three values, and how many different ones there were."""

    returns = pl.List(pl.Float64())

    def init(self) -> Seen:
        return Seen()

    def add(self, state: Seen, value: Any) -> Seen:
        state.values.append(value[0])
        state.kinds[value] = state.kinds.get(value, 0) + 1
        return state

    def merge(self, a: Seen, b: Seen) -> Seen:
        raise NotImplementedError

    def result(self, state: Seen) -> list[float | None]:
        return [*state.values, float(len(state.kinds))]


V, X, K = pl.col("v"), pl.col("x"), pl.col("k")
RUNNING: dict[str, pl.Expr | Aggregate[Any]] = {
    **INCREMENTAL,
    "least": X.min(),
    "text": K.min(),
    "word": K.last(),
    "exact": X.cast(pl.Decimal(38, 9), strict=False).sum(),
    "ticks": (V * 1000).cast(pl.Duration("us")).mean(),
    "spread of x": X.var(),
    "kinds of v": V.approx_n_unique(),
    "p90": approx_quantile("x", 0.9),
    "newest": Newest("x", "v"),
    "head.0": X.drop_nulls().first(),
}
EVERY = {**ALL, **RUNNING, "one": V.sort().first(), "all": X.implode()}
SPECIAL = {3.0: math.nan, 0.7: -0.0, 0.2: math.inf}


def rows_of(rows: Sequence[Row]) -> list[Row]:
    """The rows, with floats that are easily lost in place of some."""
    return [row._replace(x=SPECIAL.get(row.x, row.x) if row.x else row.x) for row in rows]


def bits(output: Output | None) -> str:
    """Everything that a step gives; a float's sign and NaN are seen in it."""
    if output is None:
        return "nothing"
    found = [
        [(b.watermark, None if b.rows is None else (b.rows.schema, b.rows.rows()))]
        for b in output.batches
    ]
    return repr((found, [frame.rows() for frame in output.late], output.dead))


def waiting(logic: Any) -> tuple[Any, ...]:
    return logic.live, getattr(logic, "held_rows", None)


def same(expected: Tables, actual: Tables) -> None:
    assert expected.keys() == actual.keys()
    for name, table in expected.items():
        assert table.schema == actual[name].schema, name
        rows, found = [list(map(repr, frame.rows())) for frame in (table, actual[name])]
        if name == "buffer.rows":  # in what order they wait makes no difference
            rows, found = sorted(rows), sorted(found)
        assert rows == found, name


def check(make: Callable[[], Logic], batches: Sequence[Batch], restarts: Sequence[int]) -> None:
    """Feed two, of which one is made anew before some batches, and compare all that they give."""
    whole, restarted = make(), make()
    fresh = whole.snapshot()
    untouched = make()
    untouched.restore(through_bytes(fresh))
    same(fresh, untouched.snapshot())
    for number, batch in enumerate(batches):
        before = restarted
        if number in restarts:
            taken = before.snapshot()
            copied = through_bytes(taken)
            restarted = make()
            restarted.restore(through_bytes(taken))
            assert waiting(before) == waiting(restarted)
            same(copied, restarted.snapshot())
        assert bits(whole.receive(0, batch)) == bits(restarted.receive(0, batch))
        assert waiting(whole) == waiting(restarted)
        if before is not restarted:
            before.receive(0, batch)
            same(copied, taken)


def making(spec: Spec, out: Schema, *, timed: bool = True) -> Callable[[], Logic]:
    return lambda: spec.build(place(out, timed=timed))


AT = st.lists(st.integers(0, 7), max_size=4)
LATENESS = st.integers(0, 10)
EMIT = st.sampled_from(["close", "updates"])
ALL_OF, RUNNING_OF = aggregates(EVERY), aggregates(RUNNING)
UNTIMED_ALL, UNTIMED_RUNNING = aggregates(EVERY, UNTIMED), aggregates(RUNNING, UNTIMED)
KEYED = st.sampled_from([KEYS, ("k",), ()])


@settings(max_examples=25, deadline=None)
@given(ROWS, DISORDER, CUTS, AT, KEYED, st.sampled_from([(4, 4), (6, 4), (9, 3)]), LATENESS, EMIT)
def test_tumbling_and_hopping_windows(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    at: list[int],
    keys: tuple[str, ...],
    window: tuple[int, int],
    lateness: int,
    emit: Any,
) -> None:
    spec = WindowAggregate(keys, HoppingWindow(*window), ALL_OF, lateness, emit)
    make = making(spec, window_schema(SCHEMA, keys, spec.window, ALL_OF, emit))
    assert isinstance(make(), HoppingSlots)
    check(make, fed(rows_of(rows), disorder, cuts), at)


@settings(max_examples=20, deadline=None)
@given(ROWS, CUTS, AT, KEYED, st.booleans(), EMIT)
def test_whole(
    rows: list[Row], cuts: list[int], at: list[int], keys: tuple[str, ...], timed: bool, emit: Any
) -> None:
    schema, found = (SCHEMA, ALL_OF) if timed else (UNTIMED, UNTIMED_ALL)
    spec = WindowAggregate(keys, WholeWindow(), found, 0, emit)
    make = making(spec, window_schema(schema, keys, spec.window, found, emit), timed=timed)
    assert isinstance(make(), WholeSlots)
    check(make, fed(rows_of(rows), 5, cuts, timed=timed), at)


@settings(max_examples=20, deadline=None)
@given(ROWS, DISORDER, CUTS, AT, KEYED, st.integers(1, 8), LATENESS, EMIT)
def test_sessions(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    at: list[int],
    keys: tuple[str, ...],
    gap: int,
    lateness: int,
    emit: Any,
) -> None:
    spec = OrderedWindow(keys, SessionWindow(gap), ALL_OF, lateness, emit)
    make = making(spec, ordered_window_schema(SCHEMA, keys, spec.window, ALL_OF, emit))
    check(make, fed(rows_of(rows), disorder, cuts), at)


@settings(max_examples=20, deadline=None)
@given(ROWS, DISORDER, CUTS, AT, KEYED, st.integers(1, 5), st.booleans())
def test_counts(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    at: list[int],
    keys: tuple[str, ...],
    size: int,
    timed: bool,
) -> None:
    schema, found = (SCHEMA, ALL_OF) if timed else (UNTIMED, UNTIMED_ALL)
    spec = OrderedWindow(keys, CountWindow(size), found)
    make = making(spec, ordered_window_schema(schema, keys, spec.window, found), timed=timed)
    check(make, fed(rows_of(rows), disorder, cuts, timed=timed), at)


@settings(max_examples=15, deadline=None)
@given(ROWS, DISORDER, CUTS, AT, KEYED, st.integers(1, 8), LATENESS)
def test_sliding_windows(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    at: list[int],
    keys: tuple[str, ...],
    size: int,
    lateness: int,
) -> None:
    spec = OrderedWindow(keys, SlidingWindow(size), ALL_OF, lateness)
    make = making(spec, ordered_window_schema(SCHEMA, keys, spec.window, ALL_OF))
    check(make, fed(rows_of(rows), disorder, cuts), at)


@settings(max_examples=25, deadline=None)
@given(ROWS, DISORDER, CUTS, AT, KEYED, st.one_of(st.none(), st.integers(0, 12)), st.booleans())
def test_running_aggregates(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    at: list[int],
    keys: tuple[str, ...],
    ttl: int | None,
    timed: bool,
) -> None:
    schema, found = (SCHEMA, RUNNING_OF) if timed else (UNTIMED, UNTIMED_RUNNING)
    spec = Running(keys, found, ttl if timed else None)
    make = making(spec, running_schema(schema, keys, found, spec.ttl), timed=timed)
    check(make, fed(rows_of(rows), disorder, cuts, timed=timed), at)


KINDS: dict[str, tuple[pl.DataType, list[Any]]] = {
    "bool": (pl.Boolean(), [True, None, False]),
    "small": (pl.Int8(), [-128, None, 127]),
    "float": (pl.Float64(), [math.nan, -0.0, 0.0, None, 1e300]),
    "half": (pl.Float32(), [math.nan, -0.0, 0.1]),
    "bytes": (pl.Binary(), [b"", b"\xff", None]),
    "date": (pl.Date(), [date(1, 1, 1), None, date(9999, 12, 31)]),
    "time": (pl.Time(), [time(0), None, time(23, 59, 59, 999_999)]),
    "zone": (
        pl.Datetime("us", "Europe/Rome"),
        [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)],
    ),
    "nano": (pl.Datetime("ns"), [datetime(2026, 1, 1), None]),
    "span": (pl.Duration("us"), [timedelta(-1), None, timedelta(1)]),
    "money": (pl.Decimal(38, 9), [Decimal("-1.5"), None, Decimal("0.000000001")]),
    "text": (pl.String(), ["", None, "é"]),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_keys_of_every_type(kind: str) -> None:
    dtype, values = KINDS[kind]
    time = pl.Datetime("us", "UTC")
    schema = Schema((("at", time), (kind, dtype), ("v", pl.Int64())), event_time="at")
    found = (decompose("word", pl.col("v").cast(pl.String).max(), dict(schema.columns)),)
    specs: list[tuple[Spec, Schema]] = [
        (Running((kind,), found, 50), running_schema(schema, (kind,), found, 50)),
    ]
    for window in (HoppingWindow(40, 20), WholeWindow()):
        out = window_schema(schema, (kind,), window, found)
        specs.append((WindowAggregate((kind,), window, found), out))
    for ordered in (SessionWindow(60), CountWindow(4), SlidingWindow(60)):
        out = ordered_window_schema(schema, (kind,), ordered, found)
        specs.append((OrderedWindow((kind,), ordered, found), out))
    column = pl.Series(kind, [*values * 6], dtype=pl.Datetime("us", "UTC") if kind == "zone" else (
        pl.Float64() if kind == "half" else dtype
    )).cast(dtype)  # fmt: skip
    many = len(column)
    frame = pl.DataFrame(
        [
            pl.Series("at", range(0, 10 * many, 10), dtype=pl.Int64).cast(time),
            column,
            pl.Series("v", range(many), dtype=pl.Int64),
            pl.Series(WATERMARK, [START, *range(0, 10 * many - 10, 10)], dtype=pl.Int64),
            pl.Series(ORIGIN, range(many), dtype=pl.Int64),
        ]
    )
    batches = [Batch(frame[i : i + 2], 10 * (i + 1)) for i in range(0, many, 2)]
    for spec, out in specs:
        at = Place("op", (schema,), out, ManualClock(), 0)
        check(
            lambda spec=spec, at=at: spec.build(at),  # type: ignore[misc]
            [*batches, Batch(None, END)],
            range(1, len(batches), 2),
        )


def test_windows_by_processing_time() -> None:
    clock = ManualClock()
    window = HoppingWindow(20, 10, time="processing")
    found = aggregates({"text": K.max(), "first": X.first()}, UNTIMED)
    out = window_schema(UNTIMED, KEYS, window, found)
    spec = WindowAggregate(KEYS, window, found)

    def make() -> Logic:
        return spec.build(Place("op", (UNTIMED,), out, clock, 0))

    whole, restarted = make(), make()
    for batch in fed([Row(0, "a", n % 2, n, n / 7) for n in range(12)], 0, [3, 6, 9], timed=False):
        clock.advance(7)
        now = clock.now()
        assert bits(whole.tick(now)) == bits(restarted.tick(now))
        taken = restarted.snapshot()
        restarted = make()
        restarted.restore(through_bytes(taken))
        assert bits(whole.receive(0, batch)) == bits(restarted.receive(0, batch))
        assert waiting(whole) == waiting(restarted)


def test_slots_that_are_free_are_not_kept() -> None:
    found = aggregates({"text": K.max(), "total": X.sum()})
    window = SessionWindow(5)
    make = making(
        OrderedWindow(("j",), window, found), ordered_window_schema(SCHEMA, ("j",), window, found)
    )
    logic = make()
    many = [Row(0, "a", n, 1, 0.5) for n in range(500)]
    for batch in fed([*many, Row(100, "b", 1, 1, 0.5), Row(103, "c", 1, 1, 0.5)], 0)[:-1]:
        logic.receive(0, batch)
    tables = logic.snapshot()
    assert 1 == waiting(logic)[0]
    assert 1 == max(len(tables[f"aggregates.{name}"]) for name in ("slots", "total[0].slots"))
    assert ["b"] == tables["aggregates.text[0].states"]["state"].to_list()


class Odd(Aggregate[Any]):
    """An aggregate with a state that no snapshot can hold."""

    returns = pl.Int64()

    def init(self) -> Any:
        return lambda: 0

    def add(self, state: Any, value: Any) -> Any:
        return state

    def merge(self, a: Any, b: Any) -> Any:
        return a

    def result(self, state: Any) -> int:
        found: int = state()
        return found


def test_a_state_that_cannot_be_kept_is_refused_with_its_operator() -> None:
    found = aggregates({"odd": Odd("v")})
    make = making(Running(KEYS, found), running_schema(SCHEMA, KEYS, found))
    logic = make()
    logic.snapshot()
    for batch in fed([Row(0, "a", 1, 1, 0.5)], 0)[:1]:
        logic.receive(0, batch)
    logic.receive(0, Batch(None, 10))
    with pytest.raises(StateError, match="operator 'op', aggregate 'odd': a .*function"):
        logic.snapshot()


def test_the_state_of_an_aggregate_may_be_of_a_class_in_a_function() -> None:
    @dataclass
    class Local:
        total: int = 0

    class Total(Aggregate[Local]):
        returns = pl.Int64()

        def init(self) -> Local:
            return Local()

        def add(self, state: Local, value: Any) -> Local:
            return Local(state.total + (value or 0))

        def merge(self, a: Local, b: Local) -> Local:
            return Local(a.total + b.total)

        def result(self, state: Local) -> int:
            return state.total

    found = aggregates({"total": Total("v")})
    make = making(Running(KEYS, found), running_schema(SCHEMA, KEYS, found))
    rows = [Row(n, "a", n % 2, n, 0.5) for n in range(20)]
    check(make, fed(rows, 3, [4, 8, 12, 16]), [1, 2, 4])


def test_sessions_opened_after_a_restart_come_after_those_before_it() -> None:
    found = aggregates({"text": K.max()})
    window = SessionWindow(5)
    make = making(
        OrderedWindow(("j",), window, found), ordered_window_schema(SCHEMA, ("j",), window, found)
    )
    # The first session moves on to the time at which the second, opened later, ends as well.
    rows = [Row(0, "a", 1, 1, 0.5), Row(1, "a", 1, 1, 0.5), Row(3, "a", 1, 1, 0.5)]
    rows += [Row(3, "b", 2, 1, 0.5), Row(6, "c", 3, 1, 0.5), Row(9, "c", 3, 1, 0.5)]
    check(make, fed(rows, 0, [2, 5]), [1])
