"""What the design promises a user, claim by claim, where no other test holds it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import pytest

import headwater as hw
from headwater.connectors import files

from .harness import EPOCH, Kept, Ran, Rows, at, run

Streams = Callable[[hw.Stream[Any]], hw.Stream[Any]]


class Reading(hw.Event):
    at: hw.EventTime
    site: hw.Site
    device: str
    value: float | None


def reading(seconds: float, device: str = "a", value: float | None = 1.0) -> dict[str, Any]:
    return {"at": at(seconds), "site": "s", "device": device, "value": value}


def tried(
    function: Callable[..., Any], *rows: object, batch_rows: int = 65_536, **options: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Ran]:
    """Run an operator over rows; return what it gives, its late rows, and what was buried."""
    flow, kept, late = hw.Flow("f"), Kept(), Kept()

    @flow.source
    def readings() -> hw.Source[Reading]:
        return Rows({"p": rows})

    made = flow.operator(readings, name="made", **options)(function)
    flow.sink(made, name="kept")(_sink_of(kept))
    if any(node.operator == "made" and node.inputs for node in flow.graph().nodes):
        flow.sink(made.late, name="late")(_sink_of(late))
    ran = run(flow, batch_rows=batch_rows)
    return kept.rows, late.rows, ran


def _sink_of(kept: Kept) -> Callable[[], hw.Sink]:
    def sink() -> hw.Sink:
        return kept

    return sink


def on_streams(function: Streams) -> Callable[..., Any]:
    def made(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
        return function(rows)

    return made


def problem(function: Callable[..., Any], **options: Any) -> str:
    with pytest.raises(hw.FlowError) as caught:
        tried(function, reading(0), **options)
    return str(caught.value)


# Fields of every kind


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Grade(enum.Enum):
    A = 1
    B = 2


class Inner(hw.Event):
    a: int
    b: str | None


class Plain(hw.Event):
    at: hw.EventTime
    site: hw.Site
    n: int
    small: Annotated[int, hw.Width(16)]
    real: float
    text: str
    flag: bool
    when: datetime
    zoned: Annotated[datetime, hw.Zone("Europe/Rome")]
    stamp: Annotated[datetime, hw.Unit("ms")]
    day: date
    clock: time
    span: timedelta
    money: Decimal
    colour: Colour
    level: Level
    grade: Grade
    word: Literal["x", "y"]
    number: Literal[1, 2] | None
    always: Literal[True]
    maybe: float | None = None


class Nested(Plain):
    inner: Inner
    none: Inner | None
    many: list[Inner]
    tags: list[str]
    numbers: list[int | None] | None
    deep: list[list[int]]


class Whole(Nested):
    raw: bytes


PLAIN: dict[str, Any] = {
    "at": datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC),
    "site": "pavia",
    "n": -5,
    "small": -7,
    "real": 0.1,
    "text": 'a,"b"\nü',
    "flag": True,
    "when": datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC),
    "zoned": datetime(2026, 7, 1, tzinfo=UTC),
    "stamp": datetime(2026, 1, 1, 0, 0, 0, 5000, tzinfo=UTC),
    "day": date(2026, 2, 3),
    "clock": time(4, 5, 6, 7),
    "span": timedelta(days=-400, microseconds=3),
    "money": Decimal("12345.678900001"),
    "colour": Colour.BLUE,
    "level": Level.HIGH,
    "grade": Grade.B,
    "word": "y",
    "number": 2,
    "always": True,
}
NESTED: dict[str, Any] = {
    "inner": Inner(a=1, b=None),
    "none": None,
    "many": [Inner(a=2, b="q"), Inner(a=3, b=None)],
    "tags": ["p", ""],
    "numbers": [1, None],
    "deep": [[1], [], [2, 3]],
}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("csv", Plain(**PLAIN)),
        ("json_lines", Nested(**PLAIN, **NESTED)),
        ("parquet", Whole(**PLAIN, **NESTED, raw=b"\x00\xff")),
        ("ipc", Whole(**PLAIN, **NESTED, raw=b"\x00\xff")),
    ],
)
def test_fields_of_every_kind_go_through_a_function_into_a_file_and_back(
    tmp_path: Path, form: str, expected: Plain
) -> None:
    path, event = tmp_path / "rows", type(expected)
    writes, reads = hw.Flow("writes"), hw.Flow("reads")
    none = expected.replace(number=None, maybe=1.5)

    @writes.source
    def made() -> Iterator[event]:  # type: ignore[valid-type]
        yield expected
        yield none

    @writes.operator(made)
    def same(row: event) -> event:  # type: ignore[valid-type]
        return row

    @writes.sink(same)
    def out() -> hw.Sink:
        sink: hw.Sink = getattr(files, f"to_{form}")(path)
        return sink

    found: list[Any] = []

    @reads.source
    def rows() -> hw.Source[event]:  # type: ignore[valid-type]
        source: hw.Source[Any] = getattr(files, form)(path)
        return source

    @reads.sink(rows)
    def seen(row: event) -> None:  # type: ignore[valid-type]
        found.append(row)

    assert [] == run(writes).buried
    assert [] == run(reads).buried
    assert [expected, none] == found


def test_literals_and_enums_of_numbers_are_read_from_text(tmp_path: Path) -> None:
    class Marked(hw.Event):
        number: Literal[1, 2] | None
        always: Literal[True]
        grade: Grade
        short: str = hw.Field(default="q", max_length=3)

    lines = ["1,true,2", ",true,1", "3,true,1", "1,false,1", "1,true,5"]
    (tmp_path / "in.csv").write_text("\n".join(["number,always,grade", *lines]))
    flow, kept = hw.Flow("f"), Kept()

    @flow.source
    def rows() -> hw.Source[Marked]:
        return files.csv(tmp_path / "in.csv")

    flow.sink(rows, name="out")(_sink_of(kept))
    ran = run(flow)
    assert [(1, 2), (None, 1)] == [(row["number"], row["grade"]) for row in kept.rows]
    assert ["number", "always", "grade"] == [b["reason"].split(":")[0] for b in ran.buried]


def test_a_naive_time_that_a_function_returns_is_a_dead_letter() -> None:
    def naive(row: Reading) -> Reading:
        return row.replace(at=datetime(2026, 1, 1))

    kept, _, ran = tried(naive, reading(0))
    assert [] == kept
    assert ["returned at: Value should have a time zone"] == [
        letter["reason"].split(",")[0] for letter in ran.buried
    ]


# Wiring


def test_a_generator_that_says_it_returns_a_source_is_told_at_load() -> None:
    flow = hw.Flow("f")

    @flow.source
    def readings() -> hw.Source[Reading]:  # type: ignore[misc]
        yield Reading(at=at(0), site="s", device="a", value=None)

    with pytest.raises(hw.FlowError, match=r"annotate it -> Iterator\[Reading\]"):
        flow.graph()


@pytest.mark.parametrize("kind", [hw.Stream[Reading], pl.DataFrame])
def test_a_sink_that_would_see_no_rows_is_told_at_load(kind: Any) -> None:
    flow = hw.Flow("f")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return Rows({"p": []})

    @flow.sink(readings)
    def out(rows: kind) -> None:
        """Nothing."""

    with pytest.raises(hw.FlowError, match=r"takes rows one by one \(row: Reading\)"):
        flow.graph()


def test_options_that_a_function_does_not_heed_are_told_at_load() -> None:
    def plain(row: Reading) -> Reading:
        return row

    def stateful(row: Reading, n: hw.State[int]) -> Reading:
        return row

    async def awaited(row: Reading) -> Reading:
        return row

    assert "timeout=, retries= is for async" in problem(plain, timeout="1s", retries=2)
    assert "ttl= is for functions with hw.State" in problem(plain, ttl="1s")
    assert "order= is for functions with hw.State" in problem(awaited, order="arrival")
    assert "in_flight= is for async" in problem(stateful, key="device", in_flight=3)
    assert "returns= is for functions on batches" in problem(plain, returns=Reading)
    assert "ordered= is for async" in problem(on_streams(lambda rows: rows), ordered=False)


def test_functions_on_batches_are_handed_the_settings() -> None:
    class Limits(hw.Settings):
        least: float = 2.0

    def build(returns: type[hw.Event] | None) -> tuple[hw.Flow, Kept]:
        flow, kept = hw.Flow("f", settings=Limits), Kept()

        @flow.source
        def readings() -> hw.Source[Reading]:
            return Rows({"p": [reading(i, value=float(i)) for i in range(6)]})

        @flow.operator(readings, returns=returns)
        def large(rows: pl.DataFrame, limits: Limits) -> pl.DataFrame:
            return rows.filter(pl.col("value") >= limits.least)

        flow.sink(large, name="out")(_sink_of(kept))
        return flow, kept

    flow, kept = build(Reading)
    run(flow, batch_rows=2, settings=Limits(least=4))
    assert [4.0, 5.0] == [row["value"] for row in kept.rows]
    with pytest.raises(hw.FlowError, match="say what it gives with returns="):
        build(None)[0].graph()


# Append or upsert


def updated(rows: hw.Stream[Any]) -> hw.Stream[Any]:
    windowed = rows.key_by("device").window(hw.tumbling("10s"), emit="updates")
    return windowed.agg(value=pl.col("value").sum())


def returned(row: Reading) -> Reading:
    return row


@pytest.mark.parametrize(
    "refused",
    [
        lambda rows: rows.key_by("device").window(hw.tumbling("1m")).agg(n=pl.len()),
        lambda rows: rows.key_by("device").window(hw.session("1m")).agg(n=pl.len()),
        lambda rows: rows.key_by("device").running(n=pl.len()),
        lambda rows: rows.key_by("device").deduplicate(),
        lambda rows: rows.key_by("device").top(1, by="value"),
        lambda rows: rows.union(rows),
        lambda rows: rows.join_asof(rows, by="device"),
        lambda rows: rows.join_interval(rows, by="device"),
        lambda rows: rows.join_window(rows, by="device", window=hw.tumbling("1m")),
        lambda rows: rows.lookup(rows, by="device"),
        lambda rows: rows.map(returned),
        lambda rows: rows.select("value"),
        lambda rows: rows.with_columns(device=pl.lit("x")),
        lambda rows: rows.select("start", device=pl.col("device").str.to_uppercase()),
    ],
)
def test_what_needs_rows_that_stay_refuses_an_upsert_stream(refused: Streams) -> None:
    assert "made: " in problem(on_streams(lambda rows: refused(updated(rows))))


def test_an_upsert_stream_may_keep_its_key_and_change_the_rest() -> None:
    twice = pl.col("value") * 2
    kept, _, _ = tried(
        on_streams(
            lambda rows: (
                updated(rows)
                .with_columns(value=twice)
                .select("start", pl.col("device").alias("device"), value=pl.col("value") + 1)
            )
        ),
        reading(1),
        reading(2, value=2.0),
        batch_rows=1,
    )
    assert [3.0, 7.0] == [row["value"] for row in kept]


# Late rows, whatever has a memory


@pytest.mark.parametrize(
    "late_for",
    [
        lambda rows: rows.key_by("device").window(hw.tumbling("10s")).agg(n=pl.len()),
        lambda rows: rows.key_by("device").window(hw.hopping("10s", "5s")).agg(n=pl.len()),
        lambda rows: rows.key_by("device").window(hw.sliding("10s")).agg(n=pl.len()),
        lambda rows: rows.key_by("device").window(hw.session("10s")).agg(n=pl.len()),
        lambda rows: rows.key_by("device").window(hw.count(2)).agg(n=pl.len()),
        lambda rows: rows.key_by("device").window(hw.tumbling("10s")).top(1, by="value"),
        lambda rows: rows.key_by("device").top(1, by="value"),
        lambda rows: rows.key_by("device").running(n=pl.len()),
        lambda rows: rows.key_by("device").deduplicate(within="10s"),
        lambda rows: rows.join_asof(rows, by="device"),
        lambda rows: rows.join_interval(rows, by="device"),
        lambda rows: rows.join_window(rows, by="device", window=hw.tumbling("10s")),
        lambda rows: rows.lookup(rows, by="device"),
        # A step before it, which tries what may fail, has no memory:
        lambda rows: rows.key_by("site").running(n=pl.col("device").cast(pl.Binary).max()),
    ],
)
def test_every_operator_with_a_memory_gives_its_late_rows(late_for: Streams) -> None:
    rows = [reading(second) for second in (0, 100, 5, 101, 200)]
    _, late, ran = tried(on_streams(late_for), *rows)
    assert [reading(5)] == late
    assert 1 == sum(counts.late for counts in ran.progress.counts.values())


def test_order_of_arrival_has_no_late_rows() -> None:
    def trace(row: Reading, seen: hw.State[list[float]]) -> Reading:
        seen.value = [*seen.value, (row.at - EPOCH).total_seconds()]
        return row.replace(device=str(seen.value))

    rows = [reading(second) for second in (5, 3, 100, 20)]
    for batch_rows in (1, 100):
        kept, late, _ = tried(trace, *rows, key="device", order="arrival", batch_rows=batch_rows)
        assert "[5.0, 3.0, 100.0, 20.0]" == kept[-1]["device"]
        assert [] == late
        kept, late, _ = tried(trace, *rows, key="device", batch_rows=batch_rows)
        assert "[5.0, 100.0]" == kept[-1]["device"]
        assert [reading(3), reading(20)] == late


# Bad rows within the flow


@pytest.mark.parametrize(
    ("aggregated", "expected"),
    [
        (pl.col("device").cast(pl.Int64).sum(), 4),
        (pl.col("device").str.to_integer().max(), 3),
        (pl.col("device").cast(pl.Int64).median() + 1, 3.0),
        (pl.col("device").filter(pl.col("device") != "x").cast(pl.Int64).sum(), 4),
    ],
)
@pytest.mark.parametrize("window", [hw.tumbling("10s"), hw.session("10s"), hw.whole()])
def test_a_row_that_an_aggregate_cannot_read_is_dead_and_the_others_go_on(
    window: Any, aggregated: pl.Expr, expected: float
) -> None:
    rows = [reading(0, "1"), reading(1, "x"), reading(2, "3")]
    filtered = "filter" in str(aggregated)
    for batch_rows in (1, 100):
        kept, _, ran = tried(
            on_streams(lambda rows: rows.key_by("site").window(window).agg(n=aggregated)),
            *rows,
            batch_rows=batch_rows,
        )
        assert [expected] == [row["n"] for row in kept]
        assert ([] if filtered else ["row 1"]) == [b["origin"] for b in ran.buried]


def test_a_running_aggregate_goes_on_without_a_row_it_cannot_read() -> None:
    rows = [reading(0, "1"), reading(1, "x"), reading(2, "3")]
    total = pl.col("device").cast(pl.Int64).sum()
    kept, _, ran = tried(
        on_streams(lambda rows: rows.key_by("site").running(n=pl.len(), total=total)), *rows
    )
    assert [(1, 1), (2, 4)] == [(row["n"], row["total"]) for row in kept]
    assert ["row 1"] == [letter["origin"] for letter in ran.buried]


@pytest.mark.parametrize("kind", ["row", "async", "state", "timer", "map", "batch", "step", "agg"])
def test_a_flow_that_stops_on_errors_stops_on_those_of_every_kind(kind: str) -> None:
    def fails(row: Reading) -> Reading:
        raise ValueError("no")

    async def fails_later(row: Reading) -> Reading:
        raise ValueError("no")

    def fails_with_state(row: Reading, n: hw.State[int]) -> Reading:
        raise ValueError("no")

    def fails_when_fired(row: Reading | hw.Fired, timer: hw.Timer) -> Reading | None:
        if isinstance(row, hw.Fired):
            raise ValueError("no")
        timer.set(row.at)
        return None

    def fails_on_rows(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(value=pl.col("device").cast(pl.Float64))

    number = pl.col("device").cast(pl.Float64)
    functions: dict[str, tuple[Callable[..., Any], str | None]] = {
        "row": (fails, None),
        "async": (fails_later, None),
        "state": (fails_with_state, "device"),
        "timer": (fails_when_fired, "device"),
        "map": (on_streams(lambda rows: rows.map(fails)), None),
        "batch": (fails_on_rows, None),
        "step": (on_streams(lambda rows: rows.with_columns(value=number)), None),
        "agg": (on_streams(lambda rows: rows.window(hw.whole()).agg(n=number.sum())), None),
    }
    function, key = functions[kind]

    for on_error, letters in (("dead", 1), ("stop", None)):
        flow = hw.Flow("f", on_error=on_error)  # type: ignore[arg-type]  # one of the two words

        @flow.source
        def readings() -> hw.Source[Reading]:
            return Rows({"p": [reading(0)]})

        flow.operator(readings, key=key, name="made")(function)
        if letters is None:
            with pytest.raises(hw.RowError, match=r"^made: \w+Error: "):
                run(flow)
        else:
            assert letters == len(run(flow).buried)


def test_a_list_of_state_that_is_changed_in_place_stays_as_it_was_assigned() -> None:
    def grows(row: Reading, seen: hw.State[list[float]]) -> Reading:
        before = len(seen.value)
        seen.value.append(2.0)
        return row.replace(value=float(before))

    for batch_rows in (1, 100):
        kept, _, _ = tried(grows, *map(reading, range(3)), key="device", batch_rows=batch_rows)
        assert [0.0, 0.0, 0.0] == [row["value"] for row in kept]
