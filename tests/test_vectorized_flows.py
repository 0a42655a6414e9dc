"""Functions of a row on columns: what is passed on, and whole flows in both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import pytest

import headwater as hw
from headwater.edge.drawing import drawing_of
from headwater.edge.report import Measured, report_of
from headwater.flows.batch import ORIGIN, WATERMARK
from headwater.flows.schema import schema_of
from headwater.flows.vectorized.nodes import Refused

from .harness import Kept as Kept_
from .harness import Rows, at, run
from .rowgrammar import Colour, Row
from .twoways import both_ways, frame_of, hidden, returning, spec_of


class Base(hw.Event):
    at: hw.EventTime
    i: int


class Derived(Base):
    x: float = 0.0

    @property
    def twice(self) -> float:
        return self.x * 2


# --- columns that are only passed on ---


class Kept(hw.Event):
    """A field of every kind that expressions do not calculate with."""

    at: hw.EventTime
    n: int
    local: Annotated[datetime, hw.Zone("America/New_York")]
    day: date
    clock: time
    span: timedelta
    price: Decimal
    raw: bytes
    colour: Colour
    size: Literal[1, 2]
    inner: Base
    maybe: Base | None
    colours: list[Colour]
    numbers: list[int | None]
    days: list[date]


def kept_rows(height: int, **columns: list[Any]) -> pl.DataFrame:
    plain: dict[str, Any] = {
        "at": at(1), "n": 1, "local": at(1), "day": date(2026, 1, 1), "clock": time(1, 2, 3),
        "span": timedelta(seconds=1), "price": Decimal("1.5"), "raw": b"\x00", "colour": "red",
        "size": 2, "inner": {"at": at(3), "i": 1}, "maybe": None, "colours": ["red", "blue"],
        "numbers": [1, None], "days": [date(2026, 1, 2)],
    }  # fmt: skip
    filled = {name: columns.get(name, [value] * height) for name, value in plain.items()}
    return hidden(pl.DataFrame(filled, schema=schema_of(Kept).polars()))


def passed(row: Kept) -> Kept | None:
    return row.replace(n=row.n + 1) if row.n > 0 else None


def test_columns_that_are_passed_on_are_not_copied() -> None:
    spec = spec_of(passed, Kept, Kept)
    rows = kept_rows(100)
    assert spec.program is not None
    made = spec.program.over(rows)
    assert made is not None

    def addresses(frame: pl.DataFrame, name: str) -> list[int | None]:
        chunks = frame.get_column(name).to_arrow()
        return [buffer and buffer.address for buffer in chunks.buffers()]

    for name in ("at", "local", "span", "inner", "numbers", WATERMARK, ORIGIN):
        assert addresses(rows, name) == addresses(made, name)
    assert addresses(rows, "n") != addresses(made, "n")


LAST = 253_402_300_799_999_999
STRANGE: list[tuple[str, Any, str | None]] = [
    ("n", pl.Series([0, 5, 3]), None),
    ("maybe", pl.Series([None, {"at": at(1), "i": 3}, None]), None),
    ("at", pl.Series([0, LAST, 3]), None),
    ("at", pl.Series([0, LAST + 1, 3]), "a value of at that its field cannot have"),
    ("at", pl.Series([0, None, 3]), "None for at, which is not optional"),
    ("local", pl.Series([0, LAST, 3]), "a value of local that its field cannot have"),
    ("day", pl.Series([0, 3_000_000, 3]), "a value of day that its field cannot have"),
    ("clock", pl.Series([0, 86_399_999_999_000, 3_000]), None),
    ("clock", pl.Series([0, 1_001, 3_000]), "a value of clock that its field cannot have"),
    ("span", pl.Series([0, 2**63 - 1, 3]), "a value of span that its field cannot have"),
    ("colour", pl.Series(["red", "blue", "blue"]), None),
    ("colour", pl.Series(["red", "green", "blue"]), "a value of colour that its field cannot have"),
    ("size", pl.Series([1, 2, 3]), "a value of size that its field cannot have"),
    ("inner", pl.Series([{"at": at(1), "i": None}] * 3), "None for inner.i, which is not optional"),
    ("maybe", pl.Series([{"at": at(1), "i": None}] * 3), "None for maybe.i, which is not optional"),
    (
        "colours",
        pl.Series([["red"], ["green"], []]),
        "a value of colours that its field cannot have",
    ),
    ("colours", pl.Series([["red"], [], [None]]), "None for colours, which is not optional"),
    ("numbers", pl.Series([[None], [], [3]]), None),
    ("days", pl.Series([[3_000_000], [], [3]]), "a value of days that its field cannot have"),
]


@pytest.mark.parametrize(("name", "values", "why"), STRANGE)
def test_values_that_no_field_has_go_by_the_loop(name: str, values: Any, why: str | None) -> None:
    spec = spec_of(passed, Kept, Kept)
    column = values.cast(schema_of(Kept).dtype(name)).alias(name)
    rows = kept_rows(3).with_columns(column)
    columns, loop = both_ways(spec, rows)
    assert loop.result == columns.result
    assert (why is None, why or "") == (columns.by_columns, columns.why)


@pytest.mark.parametrize(("name", "values", "why"), STRANGE)
def test_values_that_no_field_has_count_even_if_nothing_reads_them(
    name: str, values: Any, why: str | None
) -> None:
    def drawn(row: Kept) -> Base:
        return Base(at=row.at, i=row.n)

    column = values.cast(schema_of(Kept).dtype(name)).alias(name)
    rows = kept_rows(3).with_columns(column)
    columns, loop = both_ways(spec_of(drawn, Kept, Base), rows)
    assert loop.result == columns.result
    assert why is None or name in ("inner", "maybe") or columns.why in (why, "")


def test_a_class_above_takes_what_a_class_below_has() -> None:
    def drawn(row: Derived) -> Base | None:
        return row if row.i else None

    def property_read(row: Derived) -> Base:
        return row.replace(x=row.twice)

    rows = hidden(pl.DataFrame({"at": [at(1)] * 3, "i": [0, 1, 2], "x": [0.0, 1.0, 2.0]}))
    rows = rows.cast({"at": pl.Datetime("us", "UTC")})
    columns, loop = both_ways(spec_of(drawn, Derived, Base), rows)
    assert loop.result == columns.result
    assert columns.by_columns
    with pytest.raises(Refused, match="reads .twice, which is no field of Derived"):
        spec_of(property_read, Derived, Base)


def test_a_flow_that_stops_on_errors_stops_in_both_ways() -> None:
    spec = spec_of(returning("row.i // row.j", "i"), Row, Row)
    columns, loop = both_ways(spec, frame_of(2, j=[1, 0]), on_error="stop")
    assert "made: ZeroDivisionError: integer division or modulo by zero" == loop.raised
    assert loop.result == columns.result


# --- in a flow ---


class Reading(hw.Event):
    at: hw.EventTime
    site: str
    temp: float
    count: int | None


class Hot(hw.Event):
    at: hw.EventTime
    site: str
    f: float


LIMIT = 25


def hot(row: Reading) -> Hot | None:
    if row.temp <= LIMIT:
        return None
    return Hot(at=row.at, site=row.site, f=row.temp * 9 / 5 + 32)


def per(row: Reading) -> Reading:
    return row.replace(temp=row.temp / row.count)  # type: ignore[operator]


def looked_up(row: Reading) -> Reading:
    return row.replace(site=json.dumps(row.site))


def many(row: Reading) -> Iterator[Reading]:
    yield row


def built(seen: list[Any], **options: Any) -> tuple[hw.Flow, Kept_]:
    kept = Kept_()
    rows = [
        {"at": at(n), "site": f"s{n % 3}", "temp": n * 1.7, "count": [1, 3, 0, None][n % 4]}
        for n in range(40)
    ]
    flow = hw.Flow("f", **options)

    @flow.source
    def readings() -> hw.Source[Reading]:
        return Rows({"p": rows}, (7,))

    @flow.source
    def others() -> hw.Source[Reading]:
        return Rows({"p": rows[:20]}, (3,))

    made = flow.operator(readings, others, name="hot")(hot)
    flow.operator(readings, name="per")(per)
    flow.operator(readings, name="looked_up")(looked_up)
    flow.operator(readings, name="many")(many)
    flow.operator(readings, name="off", vectorize=False)(hot)

    @flow.sink(made)
    def out() -> hw.Sink:
        return kept

    @flow.sink(made)
    def seeing(row: Hot) -> None:
        seen.append(row)

    return flow, kept


def titles(flow: hw.Flow) -> dict[str, str]:
    return {box.name: box.titles[-1] for box in drawing_of(flow.graph()).boxes}


def test_the_graph_says_which_way_each_runs_and_why() -> None:
    flow, _ = built([])
    found = titles(flow)
    line = looked_up.__code__.co_firstlineno + 1
    assert "per row, on columns" == found["hot"] == found["per"]
    assert f"per row: line {line} calls json.dumps" == found["looked_up"]
    assert "per row: it may give several rows for one" == found["many"]
    assert "per row: vectorize=False" == found["off"]
    assert "per row" == found["seeing"]
    flow, _ = built([], vectorize=False)
    assert "per row: vectorize=False" == titles(flow)["hot"]


def test_a_flow_gives_the_same_with_and_without_columns() -> None:
    results = []
    for vectorize in (True, False):
        seen: list[Any] = []
        flow, kept = built(seen, vectorize=vectorize)
        ran = run(flow, batch_rows=10)
        results.append((kept.rows, seen, ran.buried))
        report = report_of(flow.graph(), ran.progress, Measured(0, 1.0, 1))["operators"]
        by_columns, by_rows = (
            {name: found.get(f"batches_by_{way}") for name, found in report.items()}
            for way in ("columns", "rows")
        )
        if vectorize:
            assert 0 == by_rows["hot"] == by_columns["looked_up"] == by_columns["off"]
            assert by_columns["hot"] == report["hot"]["batches"]
            assert 6 == by_rows["per"] + by_columns["per"]
            assert "zero" in report["per"]["by_rows_because"] or (
                "is None where" in report["per"]["by_rows_because"]
            )
            assert report["hot"]["by_rows_because"] is None
        else:
            assert 0 == by_columns["hot"] == by_columns["per"]
            assert "vectorize=False" == report["hot"]["by_rows_because"]
    assert results[0] == results[1]
    reasons = {letter["reason"].split(":")[0] for letter in results[0][2]}
    assert {"ZeroDivisionError", "TypeError"} == reasons


def test_titles_are_in_every_picture(tmp_path: Path) -> None:
    from headwater.edge.mermaid import mermaid
    from headwater.edge.svg import svg
    from headwater.edge.tree import tree_text

    drawing = drawing_of(built([])[0].graph())
    for picture in (mermaid(drawing), svg(drawing), tree_text(drawing)):
        assert "per row, on columns" in picture
        assert "calls json.dumps" in picture
