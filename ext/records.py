"""Records out of columns, and columns out of records: the contract, and the plain twin.

A record is an instance of a class whose fields are slots. A `RecordPlan` says how each field is
kept; which values fit, and as what, is told in `recordvalues`. Whoever writes records is told
which of them do not fit exactly, and has to decide about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa

from .recordvalues import Kept, Unfit, array_of, fields_of, values_of

__all__ = [
    "RecordPlan",
    "RecordReader",
    "RecordWriter",
    "Written",
    "call_each",
    "install_constructor",
    "install_replace",
]


class RecordPlan:
    """How records of `cls` are kept, worked out once.

    Raises TypeError for a name in `fields` that is no slot of the class.
    """

    __slots__ = ("arrow", "cls", "fields")

    def __init__(self, cls: type, fields: tuple[Kept, ...]) -> None:
        self.cls = cls
        self.fields = fields
        self.arrow: Final = [field.arrow for field in fields]


class Written(NamedTuple):
    """The columns of the records that fit, and what is left over."""

    rows: pa.RecordBatch
    places: pa.Array | None
    """The place of each row, int64; None if they are 0, 1, 2 and so on."""
    rest: list[tuple[int, int, object]]
    """What did not fit: how many rows stand before it, its place, and itself."""
    height: int
    """How many records fit, also where `rows` has no column."""
    passed: Sequence[str] = ()
    """The columns that are not in `rows`, since the frame that was read has them: its rows at
    `places`."""


class RecordReader:
    """The rows of a frame, one after the other as records made without `__init__`.

    `frame` is anything with `__arrow_c_stream__`, in one chunk; columns that the plan lacks do not
    matter. Raises KeyError for a column that is missing, TypeError for one of another type,
    ValueError for several chunks; by the time the row is read, NoMember for what is in no enum,
    OverflowError for a time outside of the years 1 to 9999.
    """

    __slots__ = ("_at", "_columns", "_height", "_plan")

    def __init__(self, plan: RecordPlan, frame: Any) -> None:
        table = pa.table(frame)
        self._plan = plan
        self._at = 0
        self._height: int = table.num_rows
        self._columns: list[tuple[Callable[[Any, Any], None], list[Any]]] = []
        for field, kind in zip(plan.fields, plan.arrow, strict=True):
            if field.name not in table.schema.names:
                raise KeyError(field.name)
            column = table.column(field.name)
            if not column.type.equals(kind):
                raise TypeError(f"column '{field.name}' is {column.type}, not {kind}")
            if column.num_chunks > 1:
                raise ValueError("there are several chunks; make them one with rechunk()")
            chunk = column.chunk(0) if column.num_chunks else pa.array([], kind)
            setter = getattr(plan.cls, field.name).__set__
            self._columns.append((setter, values_of(field, chunk)))

    def __len__(self) -> int:
        return self._height

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        row = self._at
        if row >= self._height:
            raise StopIteration
        self._at += 1
        record: Any = object.__new__(self._plan.cls)
        for setter, values in self._columns:
            setter(record, values[row])
        return record

    def rest(self) -> list[Any]:
        """The records that have not been read yet."""
        return list(self)


class RecordWriter:
    """Columns that grow by a row with each record added that fits exactly."""

    __slots__ = ("_places", "_plan", "_rest", "_rows")

    def __init__(self, plan: RecordPlan, rows: int = 0) -> None:
        """Make room for `rows` at first."""
        self._plan = plan
        self._start()

    def _start(self) -> None:
        self._rows: list[list[Any]] = []
        self._places: list[int] = []
        self._rest: list[tuple[int, int, object]] = []

    def add(self, place: int, record: object) -> None:
        """Append a record, or keep it as one that does not fit; `place` is the caller's."""
        try:
            if type(record) is not self._plan.cls:
                raise Unfit
            self._rows.append(fields_of(self._plan.fields, record))
            self._places.append(place)
        except Unfit:
            self._rest.append((len(self._rows), place, record))

    def extend(self, records: Iterable[object]) -> None:
        """Add records with the places 0, 1, 2 and so on."""
        for place, record in enumerate(records):
            self.add(place, record)

    def finish(self, passing: bool = False) -> Written:
        """Return what was added, and start anew.

        With `passing`, it may leave out columns that have, for each record, the very value that
        `call_each` handed to the call that returned it.
        """
        fields, places = self._plan.fields, self._places
        columns = zip(*self._rows, strict=True) if places else [()] * len(fields)
        arrays = [array_of(field, [*column]) for field, column in zip(fields, columns, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, [field.name for field in fields])
        in_step = places == list(range(len(places)))
        stepped = None if in_step else pa.array(places, pa.int64())
        written = Written(batch, stepped, self._rest, len(places))
        self._start()
        return written


def call_each(
    call: Callable[[Any], Any],
    reader: RecordReader,
    writer: RecordWriter | None,
    optional: bool,
    take: Callable[[int, Any], None],
    fail: Callable[[int, Exception], None],
) -> None:
    """Call with every record that `reader` still has; the first is number 0.

    A record of the writer's class goes straight to the writer, anything else with its number to
    `take`, save None if that is `optional`. An exception of the call or of `take` goes to `fail`.
    """
    made = None if writer is None else writer._plan.cls
    for number, record in enumerate(reader):
        try:
            result = call(record)
            if writer is not None and type(result) is made:
                writer.add(number, result)
            elif result is not None or not optional:
                take(number, result)
        except Exception as error:  # whatever the function raises
            fail(number, error)


def install_constructor(
    cls: type,
    parameters: Mapping[str, str],
    defaults: Mapping[str, Any],
    factories: Mapping[str, Callable[[], Any]],
) -> bool:
    """Let `cls(...)` store its arguments without running the `__init__` that it has.

    `parameters` names each field's parameter, all of them keywords, in the order in which they are
    stored; a field without an argument is given its default, or what its factory makes. Any other
    call runs `__init__`, which raises what is due; so does every call once `__init__` or `__new__`
    was changed. False if that cannot be, as it cannot here.
    """
    return False


def install_replace(cls: type) -> bool:
    """Let `replace` of `cls`, a method, copy records without running it where that can be.

    These are instances of classes below `cls` that have their constructor from
    `install_constructor`. The method runs, and raises what is due, where a field is empty or a
    name is none. False if nothing was changed, as here.
    """
    return False
