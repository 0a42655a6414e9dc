"""Functions with state and timers made anew from snapshots, and states that have none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Protocol

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.flows.batch import END, ORIGIN, START, WATERMARK, Batch, Logic, Output
from headwater.flows.clock import ManualClock
from headwater.flows.event import Zone
from headwater.flows.graph import Place
from headwater.flows.operators.process import Process
from headwater.flows.operators.processstate import ByKey, alarms, keys_of, times, values
from headwater.flows.schema import schema_of
from headwater.flows.snapshot import Tables
from headwater.flows.statecheck import check_snapshots
from headwater.flows.values import Encoding, StateError

from .harness import Kept, Rows, at, run
from .restarting import through_bytes

NAN = float("nan")
SECOND = 1_000_000
FIRST = int(at(0).timestamp()) * SECOND
HOUR_PUT_BACK = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
"""Half past two in Rome, an hour before the next."""


class Tick(hw.Event):
    at: hw.EventTime
    name: str | None
    x: float | None
    zoned: Annotated[datetime, Zone("Europe/Rome")]
    n: int


class Tock(hw.Event):
    at: hw.EventTime
    name: str | None
    x: float | None
    zoned: Annotated[datetime, Zone("Europe/Rome")]


class Plain(hw.Event):
    name: str | None
    n: int


class Said(hw.Event):
    text: str


@dataclass
class Seen:
    rows: list[int] = field(default_factory=list)
    last: Tick | Tock | None = None
    least: float = -0.0


def said(
    event: Tick | Tock | Plain | hw.Fired,
    count: hw.State[int],
    mixed: hw.State[list[Any] | float | str | None],
    seen: hw.State[Seen | None],
    soon: hw.Timer,
    later: hw.Timer,
) -> Iterator[Said]:
    """Does something else with every row, so that a state or timer that is lost would show."""
    found = f"{event!r} {count.value} {mixed.value!r} {seen.value!r} {soon.at} {later.at}"
    count.value += 1
    if isinstance(event, hw.Fired):
        if count.value % 3 == 0:
            soon.set(event.at + timedelta(seconds=2))
        yield Said(text=found)
        return
    n = event.n if isinstance(event, Tick | Plain) else 7
    now = at(n) if isinstance(event, Plain) else event.at
    mixed.value = [None, float(n), -0.0, str(n), [n, {"n": (n, NAN)}]][n % 5]
    if n % 3 == 0:
        kept = seen.value or Seen()
        kept.rows.append(n)
        kept.last = event if isinstance(event, Tick | Tock) else None
        seen.value = kept
    yield Said(text=found)
    if n == 1:
        soon.set(now + timedelta(seconds=3))
    elif n == 2:
        soon.clear()
        later.set(now + timedelta(seconds=6, microseconds=1))
    elif n == 3:
        soon.set(now - timedelta(seconds=30))
    elif n == 4:
        raise ValueError("every fourth is refused")


def spec(inputs: tuple[type[hw.Event], ...], keys: tuple[str, ...], **options: Any) -> Process:
    """Return how a flow that has `said` describes it."""
    flow = hw.Flow("f")
    given: list[Any] = []
    for number, kind in enumerate(inputs):

        def source() -> hw.Source[Any]:
            return Rows({})

        source.__annotations__["return"] = hw.Source[kind]  # type: ignore[valid-type]
        given.append(flow.source(name=f"in{number}")(source))
    timers = options.get("timers", "event") if Plain not in inputs else "processing"
    flow.operator(*given, key=keys, **{**options, "timers": timers})(said)
    [found] = [node.spec for node in flow.graph().nodes if isinstance(node.spec, Process)]
    return found


def built(process: Process) -> Logic:
    inputs = tuple(schema_of(kind) for kind in process.inputs)
    return process.build(Place("said", inputs, schema_of(Said), ManualClock(), 0))


def bits(value: Any) -> Any:
    """Return what is equal only for what is the same to the last bit."""
    if isinstance(value, Output):
        return [[bits(one) for one in part] for part in (value.batches, value.late, value.dead)]
    if isinstance(value, Batch):
        return bits(value.rows), value.watermark
    if isinstance(value, pl.DataFrame):
        return value.schema, repr(value.rows())
    if isinstance(value, dict):
        return {name: bits(one) for name, one in value.items()}
    return repr(value)


row = st.tuples(
    st.integers(0, 40),
    st.sampled_from(["a", "b", None]),
    st.sampled_from([0.0, -0.0, NAN, 1.5, None]),
    st.sampled_from([0, 1]),
    st.integers(0, 7),
)
step = st.one_of(
    st.tuples(st.sampled_from([0, 1]), st.lists(row, max_size=6), st.integers(0, 12)),
    st.integers(0, 15),
)
"""Rows of an input, and by how much its watermark moves then; or how much time passes."""
action = st.sampled_from(["go on", "go on", "snapshot", "restart"])


def frame_of_rows(kind: type[hw.Event], given: list[Any], watermark: int) -> pl.DataFrame:
    schema = schema_of(kind)
    rows = [
        {
            "at": at(second),
            "name": name,
            "x": x,
            "zoned": HOUR_PUT_BACK + timedelta(hours=hour),
            "n": n,
        }
        for second, name, x, hour, n in given
    ]
    return pl.DataFrame(
        [{name: one[name] for name in schema.names} for one in rows],
        schema=schema.polars(),
    ).with_columns(
        pl.lit(watermark, pl.Int64).alias(WATERMARK),
        pl.int_range(pl.len(), dtype=pl.Int64).alias(ORIGIN),
    )


def calls(process: Process, steps: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield what is called: `receive` with an input and a batch, or `tick` with a time."""
    ports = len(process.inputs)
    timed = Plain not in process.inputs
    marks, now = [START] * ports, FIRST
    for one in steps:
        if isinstance(one, int):
            now += one * SECOND
            yield (now,)
            continue
        port, given, moved = one
        port %= ports
        rows = frame_of_rows(process.inputs[port], given, marks[port]) if given else None
        if timed:
            marks[port] = max(marks[port], FIRST) + moved * SECOND
        yield port, Batch(rows, marks[port])
    for port in range(ports):
        yield port, Batch(None, END)


def call(logic: Logic, arguments: tuple[Any, ...]) -> Output | None:
    return logic.tick(*arguments) if len(arguments) == 1 else logic.receive(*arguments)


SPECS = {
    "one input": spec((Tick,), ("name",)),
    "floats": spec((Tick,), ("x",)),
    "zone": spec((Tick,), ("zoned",), ttl="5s"),
    "two inputs": spec((Tick, Tock), ("name", "x"), ttl="7s"),
    "arrival": spec((Tick, Tock), ("name",), order="arrival", ttl="7s"),
    "by the clock": spec((Tick,), ("name",), timers="processing", ttl="3s"),
    "untimed": spec((Plain,), ("name",), ttl="3s"),
}


@pytest.mark.parametrize("process", SPECS.values(), ids=SPECS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_made_anew_gives_the_same_bits(process: Process, data: Any) -> None:
    steps = data.draw(st.lists(step, max_size=12))
    undisturbed, other = built(process), built(process)
    taken: list[tuple[Tables, Any]] = []
    for arguments in calls(process, steps):
        chosen = data.draw(action)
        if chosen != "go on":
            tables = other.snapshot()
            taken.append((tables, bits(tables)))
        if chosen == "restart":
            other = built(process)
            other.restore(through_bytes(tables))
        assert bits(call(undisturbed, arguments)) == bits(call(other, arguments))
    for tables, before in taken:
        assert before == bits(tables)


@pytest.mark.parametrize("process", SPECS.values(), ids=SPECS)
def test_what_is_fresh_stays_fresh(process: Process) -> None:
    tables = built(process).snapshot()
    other = built(process)
    other.restore(through_bytes(tables))
    assert bits(tables) == bits(other.snapshot())


def test_the_tables_can_be_read() -> None:
    process = SPECS["two inputs"]
    logic = built(process)
    given = [(1, "a", 0.5, 0, 1), (2, "b", None, 0, 3)]
    logic.receive(0, Batch(frame_of_rows(Tick, given, START), FIRST + 3 * SECOND))
    logic.receive(1, Batch(None, FIRST + 3 * SECOND))
    tables = logic.snapshot()
    assert [("a", 0.5, 1), ("b", None, 1 + 1)] == tables["state.count"].sort("name").rows()
    assert ["name", "x", "value"] == tables["state.count"].columns
    assert [{"name": "a", "x": 0.5, "at": at(4)}] == tables["timer.soon"].to_dicts()
    assert ["name", "x", "at"] == tables["timer.later"].columns
    assert [at(1), at(2)] == tables["touched"]["at"].to_list()


# Values by key

KEYS: dict[str, tuple[pl.DataType, list[Any]]] = {
    "str": (pl.String(), ["", "a", "b" * 40, None]),
    "int": (pl.Int8(), [-128, 0, 127, None]),
    "float": (pl.Float64(), [0.0, -0.0, NAN, -NAN, float("inf"), None]),
    "bool": (pl.Boolean(), [True, False, None]),
    "bytes": (pl.Binary(), [b"", b"\0\xff", b"c" * 40, None]),
    "zoned": (
        pl.Datetime("us", "Europe/Rome"),
        [HOUR_PUT_BACK, HOUR_PUT_BACK + timedelta(hours=1), None],
    ),
    "instant": (pl.Datetime("us", "UTC"), [datetime.min.replace(tzinfo=UTC), at(0.000001), None]),
    "date": (pl.Date(), [date.min, date.max, None]),
    "time": (pl.Time(), [time.min, time.max, None]),
    "duration": (pl.Duration("us"), [timedelta(days=-106_751_990), timedelta(microseconds=1)]),
    "decimal": (pl.Decimal(38, 9), [Decimal("9" * 29), Decimal("-0.000000001"), None]),
}
VALUES = [0, 1, -(2**70), 0.5, -0.0, "text", None, [1, "a"], {"a": (1,)}, Seen([1], None, NAN)]


@settings(max_examples=200)
@given(st.data())
def test_values_by_key_are_those_of_a_dict(data: Any) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=2, unique=True))
    names = [*names, *data.draw(st.sampled_from([[], ["value"]]))]
    known: dict[str, tuple[pl.DataType, list[Any]]] = {
        **KEYS,
        "value": (pl.Int64(), [1, 2, 2**63 - 1]),
    }
    dtypes = {name: known[name][0] for name in names}
    some = data.draw(st.sampled_from([VALUES, VALUES[:2], VALUES[:3], VALUES[3:5]]))
    kept = ByKey[Any](dtypes, values(Encoding("it", Seen)))
    model: dict[tuple[Any, ...], Any] = {}
    for _ in range(data.draw(st.integers(0, 25))):
        columns = [
            pl.Series(n, [data.draw(st.sampled_from(known[n][1]))], dtype=d)
            for n, d in dtypes.items()
        ]
        frame = pl.DataFrame(columns) if columns else pl.DataFrame({"other": [1]})
        [key] = keys_of(frame, tuple(names))
        match data.draw(st.sampled_from(["put", "put", "move", "pop", "snapshot", "restart"])):
            case "put":
                kept.put(key, data.draw(st.sampled_from(some)))
                model[key] = kept.of[key]
            case "move":
                value = data.draw(st.sampled_from(some))
                assert bits(model.pop(key, None)) == bits(kept.pop(key))
                kept.put(key, value)
                model[key] = value
            case "pop":
                assert bits(model.pop(key, None)) == bits(kept.pop(key))
            case "snapshot":
                assert len(model) == kept.snapshot().height
            case "restart":
                table = kept.snapshot()
                assert [*dtypes.values()] == table.dtypes[:-1]
                kept = ByKey(dtypes, values(Encoding("it", Seen)))
                kept.restore(through_bytes({"table": table})["table"])
        assert {repr(k): repr(v) for k, v in model.items()} == {
            repr(k): repr(v) for k, v in kept.of.items()
        }


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["touch", "pop", "snapshot", "restart"])),
        max_size=40,
    )
)
def test_what_is_popped_and_put_comes_last(steps: list[tuple[int, str]]) -> None:
    dtypes = {"k": pl.Int64()}
    kept, model = ByKey(dtypes, times(True)), dict[tuple[Any, ...], int]()
    for k in range(100):  # so that few of them change
        kept.put((k,), -k)
        model[k,] = -k
    kept.snapshot()
    for number, (k, what) in enumerate(steps):
        if what in ("touch", "pop"):
            kept.pop((k,))
            model.pop((k,), None)
        if what == "touch":
            kept.put((k,), number)
            model[k,] = number
        if what in ("snapshot", "restart"):
            table = kept.snapshot()
            assert [(*key, at_) for key, at_ in model.items()] == [
                (k, at_) for k, at_ in table.with_columns(pl.col("at").to_physical()).rows()
            ]
        if what == "restart":
            kept = ByKey(dtypes, times(True))
            kept.restore(table)
        assert list(model.items()) == list(kept.of.items())


def test_a_column_of_numbers_becomes_one_of_anything_and_takes_numbers_still() -> None:
    dtypes, model = {"k": pl.Int64()}, dict[tuple[Any, ...], Any]()
    kept = ByKey[Any](dtypes, values(Encoding("it")))
    puts: list[tuple[int, Any]] = [*((k, k) for k in range(100)), (3, -3), (5, "five"), (7, -7)]
    tables = []
    for k, value in puts:
        kept.put((k,), value)
        model[k,] = value
        tables.append(kept.snapshot())
    assert [pl.Int64(), pl.Int64(), pl.Binary(), pl.Binary()] == [
        table.schema["value"] for table in tables[-4:]
    ]
    for table in tables[-4:]:
        assert 100 == table.height
    other = ByKey[Any](dtypes, values(Encoding("it")))
    other.restore(through_bytes({"t": tables[-1]})["t"])
    assert model == other.of


def test_alarms_are_kept_to_the_microsecond() -> None:
    kept = ByKey({"at": pl.String()}, alarms())
    for name, when in (("a", datetime.min), ("b", datetime.max), ("c", datetime(1970, 1, 1))):
        micros = (when.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
            microseconds=1
        )
        kept.put((name,), _alarm(micros))
    table = kept.snapshot()
    assert ["at", "_at"] == table.columns
    other = ByKey({"at": pl.String()}, alarms())
    other.restore(through_bytes({"t": table})["t"])
    assert kept.of == other.of


def _alarm(micros: int) -> Any:
    [alarm] = alarms().decode(pl.Series([micros], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")))
    return alarm


class Listed(hw.Event):
    inner: list[int]


class Nested(hw.Event):
    listed: Listed | None


class Unkept(hw.Event):
    loose: dict[str, int]


def test_what_an_event_holds_is_changed_by_assignment_alone() -> None:
    """A change that is not assigned would be in no snapshot."""
    listed = hw.State(Listed(inner=[1]))
    listed.value.inner.append(2)
    assert Listed(inner=[1]) == listed.value
    nested = hw.State(Nested(listed=Listed(inner=[1])))
    assert nested.value.listed is not None
    nested.value.listed.inner.append(2)
    assert Nested(listed=Listed(inner=[1])) == nested.value
    unkept = hw.State(Unkept(loose={}))
    unkept.value.loose["a"] = 1
    assert Unkept(loose={}) == unkept.value


# States that no snapshot holds


class Thing:
    def __init__(self) -> None:
        self.lines: list[int] = []


class Shape(Protocol):
    def area(self) -> float: ...


@dataclass
class Around:
    thing: Any = None


def flow_with(kind: Any, kept: Kept, assigned: Any = None) -> hw.Flow:
    """Return a flow whose operator `watch` has a state `held` of that type."""
    flow = hw.Flow("f")

    @flow.source
    def rows() -> hw.Source[Plain]:
        return Rows({"p": [{"name": "a", "n": n} for n in range(3)]})

    def watch(row: Plain, held: Any) -> Said:
        held.value = held.value if assigned is None else assigned
        return Said(text=type(held.value).__name__)

    watch.__annotations__["held"] = hw.State[kind]
    watched = flow.operator(rows, key="name")(watch)

    @flow.sink(watched)
    def out() -> hw.Sink:
        return kept

    return flow


@pytest.mark.parametrize(
    "kind",
    [
        int,
        str | None,
        dict[str, Any],
        Annotated[list[int], "m"] | None,
        Seen,
        Tick | None,
        Around,
        Shape | None,
        dict[str, list[Decimal]],
        Exception | None,
    ],
    ids=str,
)
def test_states_of_these_types_are_taken(kind: Any) -> None:
    check_snapshots(flow_with(kind, Kept()).graph())


@pytest.mark.parametrize("kind", [Thing, Thing | None, dict[str, Thing]], ids=str)
def test_a_type_that_no_snapshot_holds_is_told_before_a_run_that_needs_it(kind: Any) -> None:
    flow = flow_with(kind, Kept())
    with pytest.raises(hw.FlowError) as raised:
        check_snapshots(flow.graph())
    [problem] = raised.value.problems
    assert ("watch", "held") == (problem.operator, problem.parameter)
    assert 1 == len(str(problem).splitlines())
    for part in ("watch(held): hw.State[", "Thing", "Keep None, bool, int"):
        assert part in str(problem)


def test_a_run_that_keeps_no_snapshots_takes_any_state() -> None:
    kept = Kept()
    run(flow_with(Thing, kept))
    assert ["Thing"] * 3 == [row["text"] for row in kept.rows]


def test_a_value_that_no_snapshot_holds_is_told_with_its_operator_and_state() -> None:
    flow = flow_with(Around, Kept(), Around(Thing()))
    [node] = [node for node in flow.graph().nodes if isinstance(node.spec, Process)]
    logic = node.spec.build(Place("watch", (schema_of(Plain),), schema_of(Said), ManualClock(), 0))
    assert 0 == logic.snapshot()["state.held"].height
    rows = pl.DataFrame({"name": ["a"], "n": [1], WATERMARK: [START], ORIGIN: [0]})
    logic.receive(0, Batch(rows, START))
    with pytest.raises(StateError, match="operator 'watch', state 'held'.*Thing"):
        logic.snapshot()
