"""Functions per row and per batch, unions, async, changes: against plain Python, at any cut."""

from __future__ import annotations

import asyncio
import enum
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.edge.flowfile import load_flow
from headwater.edge.spread import Spread
from headwater.flows.clock import ManualClock
from headwater.flows.engine.runner import Options, Runner

from .harness import Kept, Rows, at, run


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(hw.Event):
    when: hw.EventTime
    amount: Decimal | None
    names: list[str | None]


@dataclass(frozen=True)
class Kind:
    """A type of field, and values for it."""

    annotation: Any
    values: st.SearchStrategy[Any]


times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
decimals = st.decimals(-1000, 1000, places=3)
inners = st.builds(
    Inner,
    when=times,
    amount=st.none() | decimals,
    names=st.lists(st.none() | st.text(max_size=3), max_size=3),
)
PLAIN = [
    Kind(int, st.integers(-(2**63), 2**63 - 1)),
    Kind(Annotated[int, hw.Width(16)], st.integers(-(2**15), 2**15 - 1)),
    Kind(float, st.floats()),
    Kind(bool, st.booleans()),
    Kind(str, st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    Kind(bytes, st.binary(max_size=5)),
    Kind(date, st.dates()),
    Kind(time, st.times()),
    Kind(timedelta, st.timedeltas(timedelta(-10_000), timedelta(10_000))),
    Kind(datetime, times),
    Kind(Annotated[datetime, hw.Zone("America/New_York")], times),
    Kind(Decimal, decimals),
    Kind(Colour, st.sampled_from(Colour)),
    Kind(Literal["p", "q"], st.sampled_from(["p", "q"])),
    Kind(Inner, inners),
]
LISTS = [Kind(list[kind.annotation], st.lists(kind.values, max_size=3)) for kind in PLAIN]  # type: ignore[name-defined]
OPTIONAL = [Kind(kind.annotation | None, st.none() | kind.values) for kind in PLAIN + LISTS]
kinds = st.sampled_from(PLAIN + LISTS + OPTIONAL)
cuts = st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple)


@st.composite
def typed_rows(draw: st.DrawFn) -> tuple[type[hw.Event], list[Any]]:
    """Draw an event class and events of it; `n` numbers them."""
    fields = draw(st.lists(kinds, min_size=1, max_size=5))
    annotations: dict[str, Any] = {"at": hw.EventTime, "n": int}
    annotations |= {f"f{i}": kind.annotation for i, kind in enumerate(fields)}
    body = {"__annotations__": annotations, "__module__": __name__}
    made: Any = type(hw.Event)("Drawn", (hw.Event,), body)  # type: ignore[misc]
    values = [
        {"at": at(n), "n": n, **{f"f{i}": draw(kind.values) for i, kind in enumerate(fields)}}
        for n in range(draw(st.integers(0, 8)))
    ]
    return made, [made(**row) for row in values]


def plain(value: Any) -> Any:
    """Return a value so that it equals another only if they are the same to the last bit."""
    if isinstance(value, hw.Event):
        return tuple(plain(getattr(value, name)) for name in type(value).__event_names__)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return "nan" if value != value else struct.pack("d", value)
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


def as_dict(value: Any) -> Any:
    """Return an event as a source's frame holds it."""
    if isinstance(value, hw.Event):
        return {name: as_dict(getattr(value, name)) for name in type(value).__event_names__}
    if isinstance(value, list):
        return [as_dict(item) for item in value]
    return value.value if isinstance(value, enum.Enum) else value


def annotated(function: Callable[..., Any], **annotations: Any) -> Callable[..., Any]:
    function.__annotations__ = annotations
    return function


def source(flow: hw.Flow, name: str, rows: Rows, cls: type[hw.Event], **options: Any) -> Any:
    made = annotated(lambda: rows, **{"return": hw.Source[cls]})  # type: ignore[valid-type]
    return flow.source(name=name, **options)(made)


def sink(flow: hw.Flow, name: str, *upstream: Any) -> Kept:
    kept = Kept()
    flow.sink(*upstream, name=name)(annotated(lambda: kept, **{"return": hw.Sink}))
    return kept


def through(
    cls: type[hw.Event],
    events: list[Any],
    sizes: tuple[int, ...],
    function: Callable[..., Any],
    returns: Any,
    method: str | None,
) -> list[Any]:
    """Call a function on every event within a flow; return what a sink is called with."""
    flow = hw.Flow("f")
    seen: list[Any] = []
    rows = Rows({"p": [as_dict(event) for event in events]}, sizes)
    given_rows = source(flow, "given_rows", rows, cls)
    per_row = annotated(function, row=cls, **{"return": returns})
    if method is not None:
        call = lambda rows: getattr(rows, method)(per_row)  # noqa: E731
        taken = hw.Stream[cls]  # type: ignore[valid-type]
        stream_function = annotated(call, rows=taken, **{"return": hw.Stream})
        made = flow.operator(given_rows, name="made")(stream_function)
    else:
        made = flow.operator(given_rows, name="made")(per_row)
    flow.sink(made, name="seen")(
        annotated(lambda row: seen.append(row), row=cls, **{"return": None})
    )
    assert [] == run(flow).buried
    return seen


@settings(max_examples=60, deadline=None)
@given(typed_rows(), cuts, st.sampled_from([None, "map", "flat_map"]))
def test_every_value_reaches_a_function_and_comes_back_as_it_was(
    drawn: tuple[type[hw.Event], list[Any]], sizes: tuple[int, ...], method: str | None
) -> None:
    cls, events = drawn
    called: list[Any] = []

    def same(row: Any) -> Any:
        called.append(row)
        return row

    found = through(cls, events, sizes, same, cls, method)
    assert plain(events) == plain(called)
    assert plain(events) == plain(found)


@settings(max_examples=40, deadline=None)
@given(typed_rows(), cuts, st.booleans())
def test_a_function_gives_none_one_or_many(
    drawn: tuple[type[hw.Event], list[Any]], sizes: tuple[int, ...], by_stream: bool
) -> None:
    cls, events = drawn

    def odd(row: Any) -> Any:
        return row if row.n % 2 else None

    def copies(row: Any) -> Any:
        for i in range(row.n % 3):
            yield row.replace(n=i)

    some = through(cls, events, sizes, odd, cls | None, "map" if by_stream else None)
    assert plain([event for event in events if event.n % 2]) == plain(some)
    method = "flat_map" if by_stream else None
    many = through(cls, events, sizes, copies, Iterator[cls], method)  # type: ignore[valid-type]
    expected = [event.replace(n=i) for event in events for i in range(event.n % 3)]
    assert plain(expected) == plain(many)


@settings(max_examples=30, deadline=None)
@given(typed_rows(), cuts)
def test_a_row_whose_call_raises_is_dead_with_its_values_and_the_others_go_on(
    drawn: tuple[type[hw.Event], list[Any]], sizes: tuple[int, ...]
) -> None:
    cls, events = drawn
    flow = hw.Flow("f")
    rows = Rows({"p": [as_dict(event) for event in events]}, sizes)
    given_rows = source(flow, "given_rows", rows, cls)

    def half_way(row: Any) -> Any:
        yield row
        if row.n % 2:
            raise LookupError(f"row {row.n}")

    def keyed(row: Any, count: hw.State[int]) -> Any:
        if row.n % 2:
            raise LookupError(f"row {row.n}")
        return row

    first = flow.operator(given_rows, name="first")(
        annotated(half_way, row=cls, **{"return": Iterator[cls]})  # type: ignore[valid-type]
    )
    second = flow.operator(given_rows, name="second", key="n")(
        annotated(keyed, row=cls, count=hw.State[int], **{"return": cls})
    )
    kept = sink(flow, "out", first, second)
    buried = run(flow).buried
    assert sorted(2 * [e.n for e in events if e.n % 2 == 0]) == sorted(r["n"] for r in kept.rows)
    odd = [event.n for event in events if event.n % 2]
    for name in ("first", "second"):
        mine = [letter for letter in buried if letter["operator"] == name]
        assert [f"LookupError: row {n}" for n in odd] == [letter["reason"] for letter in mine]
        assert odd == [json.loads(letter["raw"])["n"] for letter in mine]


# --- functions on batches ---


class Reading(hw.Event):
    at: hw.EventTime
    n: int
    x: float | None
    tags: list[str]


class Tagged(hw.Event):
    at: hw.EventTime
    n: int
    tags: str


readings = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.none() | st.floats(),
        st.lists(st.sampled_from("abc"), max_size=3),
    ),
    max_size=12,
).map(
    lambda rows: [
        {"at": at(t), "n": i, "x": x, "tags": tags} for i, (t, x, tags) in enumerate(rows)
    ]
)


def keep(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("n") % 3 != 0)


def add(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(width=pl.lit(rows.width), x=pl.col("x") / 7)


def drop(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("n", "at")


def explode(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("tags").list.len() > 0).explode("tags").drop("x")


def doubled(rows: pl.DataFrame) -> pl.DataFrame:
    return keep(rows).with_columns(pl.selectors.integer() * 2)


def forgetful(rows: pl.DataFrame) -> pl.DataFrame:
    chosen = [row for row in rows.rows() if row[1] % 2]
    return pl.DataFrame(chosen, schema=rows.schema, orient="row")


def arrow_keep(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.filter(pc.greater(rows["n"], 2))


def arrow_add(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.append_column("m", pc.add(rows["n"], rows.num_columns))


def arrow_drop(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.select(["x"])


Dict = dict[str, Any]
BATCHES: list[tuple[Callable[..., Any], type, Callable[[Dict], list[Dict]]]] = [
    (keep, pl.DataFrame, lambda r: [r] if r["n"] % 3 else []),
    (add, pl.DataFrame, lambda r: [{**r, "x": None if r["x"] is None else r["x"] / 7, "width": 4}]),
    (drop, pl.DataFrame, lambda r: [{"n": r["n"], "at": r["at"]}]),
    (explode, pl.DataFrame, lambda r: [{"at": r["at"], "n": r["n"], "tags": t} for t in r["tags"]]),
    (doubled, pl.DataFrame, lambda r: [{**r, "n": r["n"] * 2}] if r["n"] % 3 else []),
    (forgetful, pl.DataFrame, lambda r: [r] if r["n"] % 2 else []),
    (arrow_keep, pa.RecordBatch, lambda r: [r] if r["n"] > 2 else []),
    (arrow_add, pa.RecordBatch, lambda r: [{**r, "m": r["n"] + 4}]),
    (arrow_drop, pa.RecordBatch, lambda r: [{"x": r["x"]}]),
]


def near(value: Any) -> Any:
    """Return a value with floats to 13 digits: polars may divide by way of the reciprocal."""
    if isinstance(value, float):
        return "nan" if value != value else f"{value:.12e}"
    if isinstance(value, dict):
        return {name: near(part) for name, part in value.items()}
    return value


@settings(max_examples=100, deadline=None)
@given(readings, cuts, st.sampled_from(BATCHES))
def test_functions_on_batches_give_what_python_gives_row_by_row(
    rows: list[Dict], sizes: tuple[int, ...], chosen: Any
) -> None:
    function, kind, oracle = chosen
    bits: list[Any] = []
    for cut in (sizes, (1,), ()):
        flow = hw.Flow("f")
        given_rows = source(flow, "given_rows", Rows({"p": rows}, cut), Reading, disorder="30s")
        others = source(flow, "others", Rows({"p": rows[:1] * 3}), Reading)
        made = flow.operator(given_rows, name="made")(
            annotated(function, rows=kind, **{"return": kind})
        )

        @flow.operator(made, others)
        def both(left: hw.Stream[Any], right: hw.Stream[Any]) -> hw.Stream[Any]:
            number = pl.lit(-1, pl.Int64)
            names = left.schema.names
            mine = left.select("n") if "n" in names else left.select(n=number)
            return mine.union(right.select(n=number))

        kept, merged = sink(flow, "out", made), sink(flow, "merged", both)
        assert [] == run(flow).buried
        bits.append([plain(list(row.values())) for row in kept.rows])
        bits.append([row["n"] for row in merged.rows])
        expected = [made_row for row in rows for made_row in oracle(row)]
        assert near_all(expected) == near_all(kept.rows)
    assert bits[0] == bits[2] == bits[4]
    assert bits[1] == bits[3] == bits[5]


def near_all(rows: list[Dict]) -> list[Any]:
    return [near(row) for row in rows]


def test_a_function_that_explodes_into_another_event() -> None:
    flow = hw.Flow("f")
    rows: list[Dict] = [
        {"at": at(i), "n": i, "x": None, "tags": list("abc"[: i % 3])} for i in range(9)
    ]
    given_rows = source(flow, "given_rows", Rows({"p": rows}, (2, 3)), Reading)
    tagged = flow.operator(given_rows, returns=Tagged, name="tagged")(
        annotated(explode, rows=pl.DataFrame, **{"return": pl.DataFrame})
    )
    kept = sink(flow, "out", tagged)
    run(flow)
    expected = [(row["n"], tag) for row in rows for tag in row["tags"]]
    assert expected == [(row["n"], row["tags"]) for row in kept.rows]


# --- several inputs ---


def marks(seconds: list[int], disorder: int) -> list[float]:
    """Return the watermark before each row."""
    found, newest = [], float("-inf")
    for second in seconds:
        found.append(newest - disorder)
        newest = max(newest, second)
    return found


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 15), max_size=8), st.integers(0, 4)),
        min_size=2,
        max_size=3,
    ),
    cuts,
)
def test_a_union_is_ordered_by_watermark_then_input_then_place(
    inputs: list[tuple[list[int], int]], sizes: tuple[int, ...]
) -> None:
    flow, kept = hw.Flow("f"), Kept()
    sources = []
    for number, (seconds, disorder) in enumerate(inputs):
        rows: list[Dict] = [
            {"at": at(s), "n": number * 100 + i, "x": None, "tags": []}
            for i, s in enumerate(seconds)
        ]
        late = timedelta(seconds=disorder)
        sources.append(source(flow, f"s{number}", Rows({"p": rows}, sizes), Reading, disorder=late))

    @flow.operator(*sources)
    def together(*streams: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return streams[0].union(*streams[1:])

    @flow.sink(together)
    def out() -> hw.Sink:
        return kept

    run(flow)
    expected = sorted(
        (mark, number, i)
        for number, (seconds, disorder) in enumerate(inputs)
        for i, mark in enumerate(marks(seconds, disorder))
    )
    assert [number * 100 + i for _, number, i in expected] == [row["n"] for row in kept.rows]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=15),
    cuts,
    st.booleans(),
    st.integers(1, 4),
)
def test_async_functions_give_each_row_once_and_ordered_ones_in_order(
    given_rows: list[tuple[int, int]], sizes: tuple[int, ...], ordered: bool, in_flight: int
) -> None:
    flow, kept = hw.Flow("f"), Kept()
    most = [0, 0]

    @flow.source
    def numbered() -> hw.Source[Reading]:
        rows: list[Dict] = [
            {"at": at(i), "n": i, "x": float(10 * turns + what), "tags": []}
            for i, (turns, what) in enumerate(given_rows)
        ]
        return Rows({"p": rows}, sizes)

    @flow.operator(numbered, ordered=ordered, in_flight=in_flight)
    async def slow(row: Reading) -> Reading | None:
        most[0] += 1
        most[1] = max(most)
        turns, what = divmod(int(row.x or 0), 10)
        for _ in range(turns):
            await asyncio.sleep(0)
        most[0] -= 1
        if what == 0:
            raise LookupError("zero")
        return None if what == 1 else row

    @flow.sink(slow)
    def out() -> hw.Sink:
        return kept

    ran = run(flow)
    expected = [i for i, (_, what) in enumerate(given_rows) if what > 1]
    found = [row["n"] for row in kept.rows]
    assert expected == (found if ordered else sorted(found))
    assert [f"row {i}" for i, (_, what) in enumerate(given_rows) if what == 0] == [
        letter["origin"] for letter in ran.buried
    ]
    assert most[1] <= in_flight


# --- changes ---


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.integers(-4, 4)), max_size=15),
    cuts,
)
def test_changes_applied_one_after_the_other_make_the_table(
    given_rows: list[tuple[int, str, int]], sizes: tuple[int, ...]
) -> None:
    flow, kept = hw.Flow("f"), Kept()
    ordered = sorted(given_rows, key=lambda row: row[0])

    @flow.source
    def numbered() -> hw.Source[Reading]:
        rows = [{"at": at(t), "n": n, "x": None, "tags": [key]} for t, key, n in ordered]
        return Rows({"p": rows}, sizes)

    @flow.operator(numbered)
    def log(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
        keyed = rows.with_columns(key=pl.col("tags").list.first()).key_by("key")
        summed = keyed.window(hw.tumbling("10s"), emit="updates").agg(total=pl.col("n").sum())
        return summed.filter(pl.col("total") > 0).changes()

    @flow.sink(log)
    def out() -> hw.Sink:
        return kept

    run(flow)
    table: dict[tuple[str, datetime], int] = {}
    for row in kept.rows:
        if row["change"] == "delete":
            table.pop((row["key"], row["start"]), None)
        else:
            table[row["key"], row["start"]] = row["total"]
    totals: dict[tuple[str, datetime], int] = {}
    for t, key, n in ordered:
        window = key, at(t // 10 * 10)
        totals[window] = totals.get(window, 0) + n
    assert {window: total for window, total in totals.items() if total > 0} == table


# --- in workers ---

FLOW = """
from collections.abc import Iterator
from pathlib import Path
import polars as pl
import headwater as hw
from headwater.connectors import files, synthetic


class Where(hw.Settings):
    out: Path = Path()


class Reading(hw.Event):
    at: hw.EventTime
    site: hw.Site
    device: str
    celsius: float
    count: int


class Twin(hw.Event):
    at: hw.EventTime
    device: str
    n: int


flow = hw.Flow("functions", settings=Where)


@flow.source(disorder="3s")
def readings() -> hw.Source[Reading]:
    return synthetic.sensors(devices=6, sites=3, rate="1s", rows=900, seed=3, disorder="20s")


@flow.source(disorder="9s")
def others() -> hw.Source[Reading]:
    return synthetic.sensors(devices=6, sites=3, rate="1s", rows=500, seed=4, disorder="9s")


@flow.operator(readings)
def twins(row: Reading) -> Iterator[Twin]:
    for n in range(row.count % 3):
        yield Twin(at=row.at, device=row.device, n=n)


@flow.operator(others)
def singles(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("count") % 2 == 0).select("at", "device", n="count")


@flow.operator(twins, singles)
def together(left: hw.Stream[Twin], right: hw.Stream[Twin]) -> hw.Stream[Twin]:
    return left.union(right)


@flow.operator(together, key="device")
def numbered(row: Twin, count: hw.State[int]) -> Twin:
    count.value += row.n + 1
    return row.replace(n=count.value)


@flow.operator(numbered)
def again(row: Twin) -> Twin | None:
    return row if row.n % 5 else None


@flow.sink(again)
def out(where: Where) -> hw.Sink:
    return files.to_json_lines(where.out / "out.jsonl")


@flow.sink(numbered.late)
def late(where: Where) -> hw.Sink:
    return files.to_json_lines(where.out / "late.jsonl")
"""


def test_workers_and_cuts_change_no_byte_of_what_follows_a_keyed_function(tmp_path: Path) -> None:
    file = tmp_path / "functions.py"
    file.write_text(FLOW)
    graph = load_flow(str(file)).graph()
    found = []
    for workers, batch_rows in ((0, 10_000), (0, 13), (2, 101)):
        folder = tmp_path / f"{workers}-{batch_rows}"
        folder.mkdir()
        assert graph.settings is not None
        options = Options(batch_rows=batch_rows, settings=graph.settings(out=folder))
        spread = Spread(str(file), workers, options) if workers else None
        Runner(graph, ManualClock(), options, lambda frame: None, spread).run()
        found.append({p.name: p.read_bytes() for p in sorted(folder.iterdir())})
    assert all(found[0].values())
    assert found[0] == found[1]
    assert found[0]["out.jsonl"] == found[2]["out.jsonl"]
    late = [sorted(each["late.jsonl"].splitlines()) for each in found]
    assert late[0] == late[2]
