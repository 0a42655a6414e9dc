"""Records and columns: both kernels, against each other, polars and plain Python."""

from __future__ import annotations

import enum
import gc
import math
import struct
import sys
import weakref
from array import array
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Context, Decimal
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ext import records
from headwater.ext.recordvalues import Kept, NoMember

from . import components

LONGEST = timedelta(days=106_751_990)
ROME = ZoneInfo("Europe/Rome")
ODD = timezone(timedelta(hours=-7, minutes=30))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module", params=components.KINDS)
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    return components.kernel("records", request.param)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "a blue of more than twelve bytes"


class Level(enum.Enum):
    LOW = 1
    HIGH = -(2**63)


class Sure(enum.Enum):
    YES = True
    NO = False


class Slotted:
    """Compares by its slots."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, *values: object) -> None:
        for name, value in zip(self.names(), values, strict=True):
            setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and list(map(plain, self.parts())) == list(
            map(plain, other.parts())
        )

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.parts()}"

    def parts(self) -> list[object]:
        return [getattr(self, name, "<empty>") for name in self.names()]

    @classmethod
    def names(cls) -> list[str]:
        return [name for one in reversed(cls.__mro__) for name in vars(one).get("__slots__", ())]


def plain(value: object) -> object:
    """Times as their instant: one that is there twice in its zone equals none of another zone."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return (value - EPOCH) // timedelta(microseconds=1)
    return list(map(plain, value)) if isinstance(value, list) else value


class Inner(Slotted):
    __slots__ = ("at", "colour", "n")


INNER = (
    Kept("at", "instant"),
    Kept("colour", "member", True, Colour, (Kept("", "text"),)),
    Kept("n", "int16", True),
)

int64 = st.integers(-(2**63), 2**63 - 1)
instants = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)).flatmap(
    lambda naive: st.sampled_from([UTC, ROME, ODD]).map(
        lambda zone: naive.replace(tzinfo=UTC).astimezone(zone)
    )
) | st.sampled_from(
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(2024, 10, 27, 1, 30, tzinfo=UTC).astimezone(ROME),
        datetime(1900, 2, 28, tzinfo=UTC),
        datetime(2000, 2, 29, 23, tzinfo=UTC),
    ]
)
texts = st.text(max_size=30) | st.sampled_from(["", "device-0001", "é" * 6, "é" * 7, "x" * 300])
inners = st.builds(Inner, instants, st.none() | st.sampled_from(Colour), st.none() | st.just(7))

# name, how it is kept, and what fits
FIELDS: list[tuple[Kept, st.SearchStrategy[Any]]] = [
    (Kept("flag", "bool"), st.booleans()),
    (Kept("tiny", "int8"), st.integers(-128, 127)),
    (Kept("small", "int16", True), st.none() | st.integers(-(2**15), 2**15 - 1)),
    (Kept("middle", "int32"), st.integers(-(2**31), 2**31 - 1)),
    (Kept("whole", "int64"), int64),
    (Kept("real", "float"), st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)),
    (Kept("maybe", "bool", True), st.none() | st.booleans()),
    (Kept("text", "text"), texts),
    (Kept("word", "text", True), st.none() | texts),
    (Kept("blob", "bytes"), st.binary(max_size=20)),
    (Kept("at", "instant"), instants),
    (
        Kept("local", "instant", True, ROME),
        st.none() | st.datetimes(datetime(2, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    ),
    (Kept("day", "date", True), st.none() | st.dates()),
    (Kept("clock", "time"), st.times()),
    (Kept("span", "duration", False, LONGEST), st.timedeltas(-LONGEST, LONGEST)),
    (
        Kept("amount", "decimal", True, (38, 9)),
        st.none()
        | st.integers(-(10**38) + 1, 10**38 - 1).map(
            lambda n: Decimal(n).scaleb(-9, Context(prec=60))
        ),
    ),
    (Kept("price", "decimal", False, (5, 2)), st.decimals(-999, 999, places=2)),
    (Kept("colour", "member", False, Colour, (Kept("", "text"),)), st.sampled_from(Colour)),
    (Kept("level", "member", True, Level, (Kept("", "int64"),)), st.sampled_from([None, *Level])),
    (Kept("sure", "member", False, Sure, (Kept("", "bool"),)), st.sampled_from(Sure)),
    (
        Kept("kind", "literal", True, ("a", "b" * 20), (Kept("", "text"),)),
        st.sampled_from([None, "a", "b" * 20]),
    ),
    (Kept("digit", "literal", False, (1, 2), (Kept("", "int64"),)), st.sampled_from([1, 2])),
    (Kept("inner", "record", True, Inner, INNER), st.none() | inners),
    (
        Kept("numbers", "list", True, None, (Kept("item", "int64", True),)),
        st.none() | st.lists(st.none() | int64, max_size=3),
    ),
    (
        Kept("inners", "list", False, None, (Kept("item", "record", False, Inner, INNER),)),
        st.lists(inners, max_size=2),
    ),
    (
        Kept(
            "nested",
            "list",
            False,
            None,
            (Kept("item", "list", True, None, (Kept("item", "text"),)),),
        ),
        st.lists(st.none() | st.lists(texts, max_size=2), max_size=2),
    ),
]


class Wide(Slotted):
    __slots__ = tuple(kept.name for kept, _ in FIELDS)


KEPT = tuple(kept for kept, _ in FIELDS)
wides = st.builds(Wide, *(values for _, values in FIELDS))

strange = st.sampled_from(
    [
        None,
        True,
        128,
        -129,
        2**31,
        2**63,
        10**400,
        1.5,
        math.inf,
        "\ud800",
        "c",
        b"\xff",
        datetime(2024, 7, 1),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=ODD),
        date(2024, 7, 1),
        time(1, tzinfo=UTC),
        LONGEST + timedelta(microseconds=1),
        -LONGEST - timedelta(microseconds=1),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1E-10"),
        Decimal("1E+40"),
        Decimal("0E+999999"),
        Decimal("-0.000000000000"),
        Colour.RED,
        Level.LOW,
        (),
        [None],
        ["1"],
        [[None]],
        [3],
        Inner(3, None, None),
        Inner(NOON, None, 2**15),
    ]
)


class Instant(datetime):
    """A subclass, which does not fit exactly."""


class Text(str):
    """Likewise."""


def written(kernel: ModuleType, cls: type, kept: tuple[Kept, ...], made: list[Any]) -> Any:
    writer = kernel.RecordWriter(kernel.RecordPlan(cls, kept))
    writer.extend(made)
    return writer.finish()


def read(kernel: ModuleType, cls: type, kept: tuple[Kept, ...], frame: pl.DataFrame) -> list[Any]:
    found: list[Any] = kernel.RecordReader(kernel.RecordPlan(cls, kept), frame).rest()
    return found


@settings(max_examples=60)
@given(made=st.lists(wides, max_size=5))
def test_what_fits_comes_back(kernel: ModuleType, made: list[Wide]) -> None:
    found = written(kernel, Wide, KEPT, made)
    found.rows.validate(full=True)
    assert [] == found.rest
    assert found.places is None
    assert [kept.arrow for kept in KEPT] == found.rows.schema.types
    assert made == read(kernel, Wide, KEPT, pl.DataFrame(found.rows))


@settings(max_examples=30)
@given(made=st.lists(wides, min_size=1, max_size=40), cut=st.integers(0, 40))
def test_a_slice_is_read_as_its_rows(kernel: ModuleType, made: list[Wide], cut: int) -> None:
    frame = pl.DataFrame(written(kernel, Wide, KEPT, made).rows)
    assert made[cut:] == read(kernel, Wide, KEPT, frame.slice(cut))
    assert made[:cut] == read(kernel, Wide, KEPT, frame.slice(0, cut))


@settings(max_examples=60)
@given(made=st.lists(wides, min_size=1, max_size=3), data=st.data())
def test_twins_agree_on_anything(made: list[Wide], data: st.DataObject) -> None:
    compiled = components.kernel("records")
    for record in made:
        for name in data.draw(st.sets(st.sampled_from(Wide.__slots__), max_size=2)):
            setattr(record, name, data.draw(strange))
    expected, actual = (written(one, Wide, KEPT, made) for one in (records, compiled))
    assert expected.rows.equals(actual.rows)
    assert expected.places == actual.places
    assert expected.rest == actual.rest


@given(value=strange, number=st.integers(0, len(FIELDS) - 1))
def test_twins_agree_on_each_value(value: object, number: int) -> None:

    class One(Slotted):
        __slots__ = (FIELDS[number][0].name,)

    compiled = components.kernel("records")
    expected, actual = (
        written(one, One, (FIELDS[number][0],), [One(value)]) for one in (records, compiled)
    )
    assert expected.rest == actual.rest
    assert expected.rows.equals(actual.rows)


def test_columns_are_what_polars_makes_of_the_values(kernel: ModuleType) -> None:
    class Row(Slotted):
        __slots__ = ("at", "n", "name", "real")

    kept = (
        Kept("at", "instant", True),
        Kept("n", "int64", True),
        Kept("name", "text", True),
        Kept("real", "float", True),
    )
    rows: list[tuple[Any, ...]] = [
        (NOON + timedelta(microseconds=7 * i), i, f"device-{i % 50:04d}" * (i % 3), i / 7)
        if i % 5
        else (None, None, None, None)
        for i in range(3000)
    ]
    frame = pl.DataFrame(
        rows,
        schema={
            "at": pl.Datetime("us", "UTC"),
            "n": pl.Int64,
            "name": pl.String,
            "real": pl.Float64,
        },
        orient="row",
    )
    made = [Row(*row) for row in rows]
    assert frame.equals(pl.DataFrame(written(kernel, Row, kept, made).rows))
    assert made == read(kernel, Row, kept, frame)
    assert all(one.at is None or one.at.tzinfo is UTC for one in read(kernel, Row, kept, frame))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Instant(2024, 7, 1, tzinfo=UTC), Kept("v", "instant")),
        (Text("a"), Kept("v", "text")),
        (Text("a"), Kept("v", "literal", False, ("a",), (Kept("", "text"),))),
        (True, Kept("v", "int8")),
        (True, Kept("v", "float")),
        (True, Kept("v", "literal", False, (1,), (Kept("", "int64"),))),
        (NOON, Kept("v", "date")),
        ((), Kept("v", "list", False, None, (Kept("item", "bool"),))),
    ],
)
def test_only_the_class_itself_fits(kernel: ModuleType, value: object, kept: Kept) -> None:
    class One(Slotted):
        __slots__ = ("v",)

    class Other(One):
        __slots__ = ()

    one, other = One(value), Other(None)
    found = written(kernel, One, (kept,), [one, other, 3])
    assert [(0, 0, one), (0, 1, other), (0, 2, 3)] == found.rest
    assert 0 == found.rows.num_rows


def test_a_record_with_an_empty_slot_does_not_fit(kernel: ModuleType) -> None:
    record = Inner(NOON, None, None)
    del record.n  # type: ignore[attr-defined]
    found = written(kernel, Inner, INNER, [Inner(NOON, None, 1), record, Inner(NOON, None, 2)])
    assert [(1, 1, record)] == found.rest
    assert [1, 2] == found.rows["n"].to_pylist()
    assert [0, 2] == found.places.to_pylist()


def test_what_does_not_fit_leaves_no_trace(kernel: ModuleType) -> None:
    class Row(Slotted):
        __slots__ = ("lists", "inners", "n")

    kept = (
        Kept("lists", "list", True, None, (Kept("item", "text", True),)),
        Kept("inners", "list", True, None, (Kept("item", "record", True, Inner, INNER),)),
        Kept("n", "int8"),
    )
    good = [Row(["x" * 40, None], [None, Inner(NOON, None, n)], n) for n in range(3)]
    late = Row([None], [None, Inner(NOON, Colour.RED, None)], 1000)
    early = Row(["y", None, 3], [], 1)
    inside = Row([], [None, Inner(NOON, None, 2**15)], 1)
    made = [late, good[0], early, inside, good[1], late, good[2], inside]
    found = written(kernel, Row, kept, made)
    found.rows.validate(full=True)
    assert good == read(kernel, Row, kept, pl.DataFrame(found.rows))
    assert [1, 4, 6] == found.places.to_pylist()
    assert [(0, late), (1, early), (1, inside), (2, late), (3, inside)] == [
        (before, one) for before, _, one in found.rest
    ]


def test_long_texts_fill_several_blocks(kernel: ModuleType) -> None:
    class Row(Slotted):
        __slots__ = ("text", "blob")

    kept = (Kept("text", "text"), Kept("blob", "bytes"))
    sizes = [12, 13, 70_000, 0, 1, 3_000_000, 5, 100, *[9_999] * 40, 20_000_000, 14]
    made = [Row(chr(233 + n) * (size // 2), bytes([n]) * size) for n, size in enumerate(sizes)]
    found = written(kernel, Row, kept, made)
    found.rows.validate(full=True)
    frame = pl.DataFrame({"text": [r.text for r in made], "blob": [r.blob for r in made]})  # type: ignore[attr-defined]
    assert frame.equals(pl.DataFrame(found.rows))
    assert made == read(kernel, Row, kept, frame)


@given(st.lists(st.floats(), min_size=1))
def test_floats_keep_their_bits(kernel: ModuleType, numbers: list[float]) -> None:
    class One(Slotted):
        __slots__ = ("v",)

    kept = (Kept("v", "float"),)
    rows = pl.DataFrame(written(kernel, One, kept, list(map(One, numbers))).rows)
    expected = struct.pack(f"{len(numbers)}d", *numbers)
    assert expected == rows["v"].to_arrow().buffers()[1].to_pybytes()[: len(expected)]
    found = [one.v for one in read(kernel, One, kept, rows)]
    assert expected == struct.pack(f"{len(found)}d", *found)


@given(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 38))
def test_decimals_are_read_as_polars_reads_them(
    kernel: ModuleType, number: int, places: int
) -> None:
    class One(Slotted):
        __slots__ = ("v",)

    frame = pl.DataFrame({"v": [Decimal((number < 0, [*map(int, str(abs(number)))], -places))]})
    frame = frame.cast(pl.Decimal(38, places))
    found = read(kernel, One, (Kept("v", "decimal", False, (38, places)),), frame)
    assert list(map(repr, frame["v"])) == [repr(one.v) for one in found]


def test_a_writer_starts_anew(kernel: ModuleType) -> None:
    writer = kernel.RecordWriter(kernel.RecordPlan(Inner, INNER), 2)
    for start in (0, 5):
        writer.add(start, Inner(NOON, None, start))
        writer.add(9, "no record")
        found = writer.finish()
        assert [start] == found.rows["n"].to_pylist()
        assert ([0] if start == 0 else [5]) == (
            [0] if found.places is None else found.places.to_pylist()
        )
        assert [(1, 9, "no record")] == found.rest
    empty = writer.finish()
    assert (0, None, []) == (empty.rows.num_rows, empty.places, empty.rest)


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (pl.DataFrame({"at": [NOON], "colour": ["red"]}), KeyError),
        (pl.DataFrame({"at": [NOON], "colour": ["red"], "n": [1]}), TypeError),
        (pl.DataFrame({"at": ["noon"], "colour": ["red"], "n": [1]}), TypeError),
        (
            pl.DataFrame({"at": [NOON.replace(tzinfo=None)], "colour": ["red"], "n": [1]}),
            TypeError,
        ),
    ],
)
def test_another_column_is_refused(
    kernel: ModuleType, frame: pl.DataFrame, error: type[Exception]
) -> None:
    with pytest.raises(error):
        kernel.RecordReader(kernel.RecordPlan(Inner, INNER), frame)


def test_a_struct_with_other_fields_is_refused(kernel: ModuleType) -> None:
    class Outer(Slotted):
        __slots__ = ("inner",)

    plan = kernel.RecordPlan(Outer, (Kept("inner", "record", True, Inner, INNER),))
    for fields in (["n", "at", "colour"], ["at", "colour"], ["at", "colour", "n", "m"]):
        values = {"at": NOON, "colour": "red", "n": 1, "m": 2}
        frame = pl.DataFrame({"inner": [{name: values[name] for name in fields}]})
        with pytest.raises(TypeError):
            kernel.RecordReader(plan, frame)


def test_several_chunks_are_refused(kernel: ModuleType) -> None:
    rows = written(kernel, Inner, INNER, [Inner(NOON, None, 1)]).rows
    with pytest.raises(ValueError, match="rechunk"):
        kernel.RecordReader(kernel.RecordPlan(Inner, INNER), pa.Table.from_batches([rows, rows]))


def test_columns_may_stand_anywhere_beside_others(kernel: ModuleType) -> None:
    frame = pl.DataFrame(written(kernel, Inner, INNER, [Inner(NOON, None, 1)]).rows)
    frame = frame.select(pl.lit(3).alias("more"), "n", "at", "colour")
    assert [Inner(NOON, None, 1)] == read(kernel, Inner, INNER, frame)


def test_what_is_no_member_is_named(kernel: ModuleType) -> None:
    frame = pl.DataFrame(written(kernel, Inner, INNER, [Inner(NOON, None, 1)]).rows)
    with pytest.raises(NoMember, match="'green' is no Colour"):
        read(kernel, Inner, INNER, frame.with_columns(colour=pl.lit("green")))


@pytest.mark.parametrize("micros", [-(2**63), -62_135_596_800_000_001, 253_402_300_800_000_000])
def test_a_time_outside_of_the_years_overflows(kernel: ModuleType, micros: int) -> None:
    frame = pl.DataFrame(written(kernel, Inner, INNER, [Inner(NOON, None, 1)]).rows)
    outside = frame.with_columns(at=pl.lit(micros).cast(pl.Datetime("us", "UTC")))
    with pytest.raises(OverflowError):
        read(kernel, Inner, INNER, outside)


def test_a_name_that_is_no_slot_is_refused() -> None:
    class Loose:
        n = 3

    assert not records.install_constructor(Loose, {"n": "n"}, {}, {})
    assert not records.install_replace(Loose)


def test_a_plan_of_a_name_that_is_no_slot_is_refused() -> None:
    class Loose:
        n = 3

    compiled = components.kernel("records")
    with pytest.raises(TypeError, match="no slot"):
        compiled.RecordPlan(Loose, (Kept("n", "int64"),))


@pytest.mark.needs("kernels")
@pytest.mark.parametrize(
    ("view", "offsets"),
    [
        ((20, 0, 0, 1000), (0, 1)),
        ((20, 0, 1, 0), (0, 1)),
        ((20, 0, -1, 0), (0, 1)),
        ((13, 0, 0, -1), (0, 1)),
        ((-1, 0, 0, 0), (0, 1)),
        ((2**31 - 1, 0, 0, 0), (0, 1)),
        ((0, 0, 0, 0), (0, 2)),
        ((0, 0, 0, 0), (1, 0)),
        ((0, 0, 0, 0), (-1, 0)),
        ((0, 0, 0, 0), (0, 2**62)),
    ],
)
def test_what_points_outside_is_an_error(
    view: tuple[int, int, int, int], offsets: tuple[int, int]
) -> None:
    class Row(Slotted):
        __slots__ = ("text", "lists")

    kept = (Kept("text", "text"), Kept("lists", "list", False, None, (Kept("item", "int8"),)))
    views, places = array("i", [0, 0, 0, 0]), array("q", [0, 1])
    data = pa.py_buffer(b"x" * 19)
    rows = pa.RecordBatch.from_arrays(
        [
            pa.Array.from_buffers(pa.string_view(), 1, [None, pa.py_buffer(views), data]),
            pa.Array.from_buffers(
                pa.large_list(pa.int8()),
                1,
                [None, pa.py_buffer(places)],
                children=[pa.array([1], pa.int8())],
            ),
        ],
        list(Row.__slots__),
    )
    views[:], places[:] = array("i", view), array("q", offsets)
    compiled = components.kernel("records")
    with pytest.raises(ValueError, match="outside"):
        compiled.RecordReader(compiled.RecordPlan(Row, kept), rows).rest()


# --- calls ---


class In(Slotted):
    __slots__ = ("n", "name")


class Out(Slotted):
    __slots__ = ("n", "twice")


IN = (Kept("n", "int64"), Kept("name", "text"))
OUT = (Kept("n", "int64"), Kept("twice", "float", True))
ROWS = 300


def frame_in(rows: int = ROWS) -> pl.DataFrame:
    return pl.DataFrame({"n": range(rows), "name": [f"device-{i % 7}" for i in range(rows)]})


def called(
    kernel: ModuleType,
    call: Callable[[Any], Any],
    optional: bool = True,
    direct: bool = True,
    rows: int = ROWS,
) -> tuple[Any, list[tuple[int, object]], list[tuple[int, Exception]]]:
    """What the writer got, what `take` got, and what `fail` got."""
    taken: list[tuple[int, object]] = []
    failed: list[tuple[int, Exception]] = []

    def take(number: int, result: object) -> None:
        if result == "refused":
            raise ValueError("refused")
        taken.append((number, result))

    writer = kernel.RecordWriter(kernel.RecordPlan(Out, OUT))
    kernel.call_each(
        call,
        kernel.RecordReader(kernel.RecordPlan(In, IN), frame_in(rows)),
        writer if direct else None,
        optional,
        take,
        lambda number, error: failed.append((number, error)),
    )
    return writer.finish(), taken, failed


def test_a_record_goes_to_the_writer_and_all_else_to_take(kernel: ModuleType) -> None:
    class Later(Out):
        __slots__ = ()

    later = Later(1, None)

    def call(row: Any) -> Any:
        results: list[Any] = [Out(row.n, row.n * 2), None, later, [Out(1, 1.0)], "refused"]
        if row.n % 6 == 5:
            raise KeyError(row.name)
        return results[row.n % 6]

    found, taken, failed = called(kernel, call)
    places = [n for n in range(ROWS) if n % 6 == 0]
    assert places == found.places.to_pylist()
    assert places == found.rows["n"].to_pylist()
    assert [2.0 * n for n in places] == found.rows["twice"].to_pylist()
    assert [
        (n, later if n % 6 == 2 else [Out(1, 1.0)]) for n in range(ROWS) if n % 6 in (2, 3)
    ] == taken
    assert [
        (n, "refused" if n % 6 == 4 else f"'device-{n % 7}'") for n in range(ROWS) if n % 6 > 3
    ] == [(n, str(error)) for n, error in failed]
    assert {KeyError, ValueError} == {type(error) for _, error in failed}
    _, taken, _ = called(kernel, call, optional=False)
    assert ROWS // 6 == sum(result is None for _, result in taken)
    _, taken, _ = called(kernel, call, direct=False)
    assert Out(6, 12) in [result for _, result in taken]


def test_what_is_no_exception_goes_through(kernel: ModuleType) -> None:
    def call(row: Any) -> Any:
        if row.n == 3:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        called(kernel, call)


def test_what_fail_raises_goes_through(kernel: ModuleType) -> None:
    def fail(number: int, error: Exception) -> None:
        raise LookupError(number) from error

    reader = kernel.RecordReader(kernel.RecordPlan(In, IN), frame_in())
    with pytest.raises(LookupError, match="^0$") as caught:
        kernel.call_each(lambda row: row.no_such, reader, None, True, print, fail)
    assert isinstance(caught.value.__cause__, AttributeError)
    assert ROWS - 1 == len(reader.rest())


@pytest.mark.parametrize("every", [1, 2, 3])
def test_records_that_are_kept_stay_as_they_were(kernel: ModuleType, every: int) -> None:
    kept: list[Any] = []
    gave: list[Any] = []

    def call(row: Any) -> Any:
        made = Out(row.n, None)
        if row.n % every == 0:
            kept.append(row)
            gave.append(made)
        return made

    found, _, _ = called(kernel, call)
    expected = [In(n, f"device-{n % 7}") for n in range(0, ROWS, every)]
    assert expected == kept
    assert len(expected) == len(set(map(id, kept)))
    assert [Out(n, None) for n in range(0, ROWS, every)] == gave
    assert list(range(ROWS)) == found.rows["n"].to_pylist()
    assert found.places is None
    assert all(map(gc.is_tracked, [*kept, *gave]))


def test_a_record_may_live_in_a_closure_or_generator(kernel: ModuleType) -> None:
    def call(row: Any) -> Any:
        return (part for part in [row.n, row.name, row])

    _, taken, _ = called(kernel, call)
    assert [[n, f"device-{n % 7}", In(n, f"device-{n % 7}")] for n in range(ROWS)] == [
        list(parts)  # type: ignore[call-overload]
        for _, parts in taken
    ]


def test_calls_may_be_nested(kernel: ModuleType) -> None:
    def call(row: Any) -> Any:
        if row.n % 50 == 0:
            inner, _, _ = called(kernel, lambda one: Out(one.n, row.n), rows=20)
            return Out(sum(inner.rows["n"].to_pylist()), inner.rows["twice"][0].as_py())
        return Out(row.n, row.n)

    found, _, _ = called(kernel, call)
    expected = [(190, float(n)) if n % 50 == 0 else (n, float(n)) for n in range(ROWS)]
    assert expected == list(zip(*(column.to_pylist() for column in found.rows), strict=True))


def test_a_record_may_be_changed_and_returned(kernel: ModuleType) -> None:
    def call(row: Any) -> Any:
        row.n, row.name = -row.n, "x" * 50
        return row

    plan = kernel.RecordPlan(In, IN)
    writer = kernel.RecordWriter(plan)
    kernel.call_each(call, kernel.RecordReader(plan, frame_in()), writer, True, print, print)
    assert [(-n, "x" * 50) for n in range(ROWS)] == pl.DataFrame(writer.finish().rows).rows()


def test_nothing_is_leaked(kernel: ModuleType) -> None:
    name, real = "a name of some length", 1234.5
    made = [Wide(*(None for _ in KEPT)) for _ in range(3)]
    good = In(7, name)
    out_plan, in_plan = kernel.RecordPlan(Out, OUT), kernel.RecordPlan(In, IN)
    frame = frame_in()

    def once() -> None:
        writer = kernel.RecordWriter(in_plan)
        writer.extend([good, *made, good])
        writer.finish()
        writer = kernel.RecordWriter(out_plan)
        reader = kernel.RecordReader(in_plan, frame)
        kernel.call_each(
            lambda row: Out(row.n, real) if row.n % 3 else 1 // 0,
            reader, writer, True, print, lambda number, error: None,
        )  # fmt: skip
        writer.finish()
        for row in kernel.RecordReader(in_plan, frame):
            if row.n > 10:
                break

    once()
    gc.collect()
    before = [sys.getrefcount(one) for one in (name, real, good, made[0], In, Out)]
    objects = len(gc.get_objects())
    for _ in range(20):
        once()
    gc.collect()
    assert before == [sys.getrefcount(one) for one in (name, real, good, made[0], In, Out)]
    assert objects + 20 > len(gc.get_objects())


def resident() -> int:
    """Bytes of memory that the process holds."""
    with open("/proc/self/statm") as found:  # noqa: PTH123
        return int(found.read().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow(kernel: ModuleType) -> None:
    class Row(Slotted):
        __slots__ = ("text", "texts", "inner")

    kept = (
        Kept("text", "text", True),
        Kept("texts", "list", True, None, (Kept("item", "text", True),)),
        Kept("inner", "record", True, Inner, INNER),
    )
    made = [Row("x" * 500, [None, "y" * 500], Inner(NOON, None, 1)), Row(None, None, None)] * 200

    def once() -> None:
        frame = pl.DataFrame(written(kernel, Row, kept, [*made, 3]).rows)
        assert len(made) == len(read(kernel, Row, kept, frame))

    for _ in range(20):
        once()
    before = resident()
    for _ in range(100):  # 20 MB of text
        once()
    assert before + 8_000_000 > resident()


# --- constructors ---


def constructed(fast: bool) -> Any:
    """A class with a generated-looking `__init__`, and a compiled constructor if `fast`."""

    class Made(Slotted):
        __slots__ = ("a", "b", "c", "d")

        def __init__(self, *, a: Any, bee: Any, c: Any = 3, d: Any = None) -> None:
            self.a, self.b, self.c = a, bee, c
            self.d = [] if d is None else d

    if fast:
        compiled = components.kernel("records")
        assert compiled.install_constructor(
            Made, {"a": "a", "b": "bee", "c": "c", "d": "d"}, {"c": 3}, {"d": list}
        )
    return Made


words = st.sampled_from(["a", "bee", "c", "d", "b", "x", "é"])
arguments = st.tuples(
    st.lists(st.integers(), max_size=1), st.dictionaries(words, st.integers(), max_size=5)
)


def outcome(call: Callable[[], Any]) -> object:
    try:
        return call().parts()
    except TypeError as error:
        return str(error)


@pytest.mark.needs("kernels")
@given(given_=arguments, interned=st.booleans())
def test_a_compiled_constructor_does_what_init_does(
    given_: tuple[list[int], dict[str, int]], interned: bool
) -> None:
    placed, named = given_
    if not interned:
        named = {"".join([*name]): value for name, value in named.items()}
    slow, fast = constructed(False), constructed(True)
    assert outcome(lambda: slow(*placed, **named)) == outcome(lambda: fast(*placed, **named))


@pytest.mark.needs("kernels")
def test_a_compiled_constructor_runs_no_init() -> None:
    ran: list[object] = []

    class Made(Slotted):
        __slots__ = ("a",)

        def __init__(self, *, a: Any) -> None:
            ran.append(a)
            self.a = a

    assert components.kernel("records").install_constructor(Made, {"a": "a"}, {}, {})
    assert [1] == Made(a=1).parts()
    assert [] == ran
    with pytest.raises(TypeError):
        Made()  # type: ignore[call-arg]

    class Below(Made):
        __slots__ = ()

    assert [2] == Below(a=2).parts()
    assert [2] == ran


@pytest.mark.needs("kernels")
def test_a_class_that_is_changed_constructs_as_it_says() -> None:
    fast = constructed(True)
    assert [1, 2, 3, []] == fast(a=1, bee=2).parts()
    old = fast.__init__

    def init(self: Any, **values: Any) -> None:
        old(self, **values)
        self.c = "changed"

    fast.__init__ = init
    assert [1, 2, "changed", []] == fast(a=1, bee=2).parts()
    fast.__init__ = old
    assert [1, 2, 3, []] == fast(a=1, bee=2).parts()

    def new(cls: Any, **values: Any) -> Any:
        return "new"

    fast.__new__ = new
    assert fast(a=1, bee=2) == "new"


@pytest.mark.needs("kernels")
def test_a_factory_may_fail_or_construct() -> None:
    class Made(Slotted):
        __slots__ = ("a", "b")

        def __init__(self, *, a: Any, b: Any = None) -> None:
            self.a, self.b = a, factory() if b is None else b

    def factory() -> Any:
        if depth[0] == 0:
            raise LookupError("no more")
        depth[0] -= 1
        return Made(a=depth[0])

    compiled = components.kernel("records")
    assert compiled.install_constructor(Made, {"a": "a", "b": "b"}, {}, {"b": factory})
    for start in (0, 5):
        depth = [start]
        with pytest.raises(LookupError):
            Made(a=9)


@pytest.mark.needs("kernels")
def test_a_class_with_a_compiled_constructor_can_be_collected() -> None:
    made = constructed(True)
    made.cycle = made(a=made, bee=2)
    plan = components.kernel("records").RecordPlan(
        made, tuple(Kept(name, "int64") for name in "abcd")
    )
    made.plan = plan
    gone = weakref.ref(made)
    del made, plan
    gc.collect()
    assert gone() is None


@pytest.mark.needs("kernels")
def test_many_classes_come_and_go() -> None:
    held = []
    for number in range(200):
        cls = constructed(True)
        if number % 3 == 0:
            held.append(cls)
        assert [number, 0, 3, []] == cls(a=number, bee=0).parts()
        if number % 20 == 0:
            gc.collect()
    for number, cls in enumerate(held):
        assert [1, number, 3, []] == cls(bee=number, a=1).parts()


@pytest.mark.needs("kernels")
def test_a_class_with_more_than_slots_is_read_and_kept_whole() -> None:
    """Its instances hold what a record's slots do not show, so none serves twice."""
    ended: list[int] = []

    class Loud(Slotted):
        __slots__ = ("n", "name", "__dict__", "__weakref__")

        def __del__(self) -> None:
            ended.append(self.n)  # type: ignore[attr-defined]

    compiled = components.kernel("records")
    plan = compiled.RecordPlan(Loud, IN)
    writer = compiled.RecordWriter(plan)
    seen: list[object] = []

    def call(row: Any) -> Any:
        seen.append(getattr(row, "mark", None))
        row.mark = row.n
        return row

    compiled.call_each(call, compiled.RecordReader(plan, frame_in(50)), writer, True, print, print)
    assert [None] * 50 == seen
    assert list(range(50)) == ended
    assert list(range(50)) == writer.finish().rows["n"].to_pylist()
