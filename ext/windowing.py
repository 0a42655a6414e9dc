"""Aggregates per key and window of event time: the plain Python twin of `_windowing`.

A `WindowTable` takes rows as they come and gives the rows of windows that have closed. Windows are
`size` µs long, and one begins every `every` µs, at `offset`. Time is cut into panes of the greatest
common divisor of the two; a row is folded into the pane that its time lies in, once, and a window
is its panes from the earliest to the latest. Between two rows, windows close whose end, plus
`lateness`, has been reached by the watermark that the later row carries, so that the rows of
windows do not depend on how rows were cut into batches.

Parts, of the values of one column that are not null; rows are folded strictly in their order:

    len      how many rows
    count    how many values
    sum      of int64, which wraps, or of float64 one at a time
    mean     the sum of float64 over the count
    min      the least; a NaN counts only if there is nothing else, and of equal values (zeros that
    max      differ in sign) the last stays; the greatest likewise
    var      of float64, the sum of squared differences from the mean over count - ddof, null if
    std      that is below 1; std is its root. Welford, Technometrics 4 (1962)
    first    the value of the row whose time is the least, or the greatest. Of rows of one time
    last     the least value is the first and the greatest the last, a null before all values and a
             NaN after them; without a column of times, rows go by their order. Nulls count as
             values unless `skip_nulls`

Panes are merged by what a later row would do: sums are added, moments are combined as by Chan,
Golub and LeVeque (1979). So sums of floats in windows of several panes are sums of the panes' sums.

Keys are columns of numbers, booleans, times, and views of strings or bytes. A null is a key, -0.0
is 0.0, every NaN is one. The rows of a window come sorted by the hash of their key as `row_hashes`
gives it, unsigned, then by the key columns in order, nulls first, NaNs last.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from .accumulators import WindowPart, accumulator, gives_real
from .hashing import row_hashes
from .windowentries import EARLIEST, LATEST, checked_place
from .windowkeys import checked_keys, key_column, key_values
from .windowpanes import Entry, Key, Pane, taken_back, written

__all__ = ["END", "START", "WindowPart", "WindowTable"]

START: Final = EARLIEST
"""The watermark before the first row."""
END: Final = LATEST
"""The watermark after the last row."""
_LIMIT: Final = 2**61
_LONGEST: Final = 2**60
_MOST_PARTS: Final = 256


class WindowTable:
    """The open windows of all keys.

    `keys` are the names and types of the key columns. Without a `size` there is one window, from
    `START` to `END`. `time` and `watermark` name int64 columns (or of a type of that form) without
    nulls; both are needed unless rows come with a time of their own or there is one window. With
    `updates`, only keys that rows came for since the last `update` are given.

    Raises TypeError for key columns of another type than those above, ValueError for a window that
    has no length, is shorter than `every`, or is longer than 2**60 µs, for parts that lack what
    they need, and for more than 32 keys or 256 parts. Not for several threads at a time.
    """

    def __init__(
        self,
        keys: pa.Schema,
        parts: Sequence[WindowPart],
        *,
        size: int | None = None,
        every: int | None = None,
        offset: int = 0,
        lateness: int = 0,
        time: str | None = None,
        watermark: str | None = None,
        updates: bool = False,
    ) -> None:
        self._keys = checked_keys(keys)
        self._parts = checked_parts(parts, time)
        checked = checked_window(size, every, offset, lateness)
        self._size, self._every, self._offset, self._lateness = checked
        self._width = math.gcd(self._size, self._every)
        self._time, self._watermark, self._updates = time, watermark, updates
        self._panes: dict[int, Pane] = {}
        """The open panes, by begin."""
        self._passed = START
        self._sequence = 0
        self._found: list[tuple[Entry, int]] = []

    @property
    def live(self) -> int:
        """How many keys have rows, summed over open panes."""
        return sum(len(pane.entries) for pane in self._panes.values())

    @property
    def passed(self) -> int:
        """The highest watermark so far, `START` before the first."""
        return self._passed

    @property
    def sequence(self) -> int:
        """How many rows came so far."""
        return self._sequence

    def add(self, rows: Any, now: int | None = None) -> pa.Array | None:
        """Fold the rows of a frame that exports Arrow; return the places of those that are late.

        A row is late when all its windows have closed; its key need not be looked at. Watermarks
        are from `START` to `END` and never fall. With `now`, that is the time of all rows, and
        their watermarks are not looked at. Raises, with the rows before it folded and the table
        of no use any more, TypeError for a column of another type than it was said to be,
        KeyError for one that is not there, ValueError for a frame of several chunks, a null among
        times, a time beyond 2**61 µs and a view that points outside, and MemoryError, also for
        more than 2 GB of texts in the rows of windows that have not been taken.
        """
        table = pa.RecordBatchReader.from_stream(rows).read_all()
        if table.num_rows and any(column.num_chunks > 1 for column in table.columns):
            raise ValueError("there are several chunks; make them one with rechunk()")
        batch = _Batch(self, table.combine_chunks(), now)
        late = array("q")
        for row in range(table.num_rows):
            time, mark = batch.times[row], batch.marks[row]
            if mark is not None:
                self._advance(mark)
            pane = self._pane_at(time)
            if pane is None:
                late.append(row)
                continue
            entry = pane.entries.get(batch.keys[row])
            if entry is None:
                parts = [accumulator(part) for part in self._parts]
                entry = Entry(batch.keys[row], batch.hashes[row], parts)
                pane.entries[entry.key] = entry
            entry.rows += 1
            entry.touched = True
            for part, values in zip(entry.parts, batch.values, strict=True):
                part.add(values[row], batch.orders[row])
        self._sequence += table.num_rows
        if not late:
            return None
        return pa.Array.from_buffers(pa.int64(), len(late), [None, pa.py_buffer(late)])

    def update(self) -> None:
        """Give the rows, as they are now, of the windows that rows came for since the last time."""
        touched = [
            pane
            for pane in self._panes.values()
            if any(entry.touched for entry in pane.entries.values())
        ]
        for end in sorted({end for pane in touched for end in self._ends(pane)}):
            self._give(end)
        for pane in touched:
            for entry in pane.entries.values():
                entry.touched = False

    def close(self, watermark: int) -> None:
        """Close the windows whose end plus the lateness the watermark has reached."""
        self._advance(watermark)

    def take(self) -> pa.RecordBatch | None:
        """Return the rows given since the last time, None if there are none.

        The columns are the keys in their types, the end of the window in µs (int64), and what the
        parts give (int64 or float64), in this order and named by their place.
        """
        if not self._found:
            return None
        found, self._found = self._found, []
        columns = [
            key_column([entry.key[place] for entry, _ in found], kind)
            for place, kind in enumerate(self._keys.types)
        ]
        columns.append(pa.array([end for _, end in found], pa.int64()))
        for place, part in enumerate(self._parts):
            kind = pa.float64() if gives_real(part) else pa.int64()
            given = [entry.parts[place].result(entry.rows) for entry, _ in found]
            columns.append(pa.array(given, kind))
        return pa.RecordBatch.from_arrays(columns, [str(place) for place in range(len(columns))])

    def entries(self) -> pa.RecordBatch:
        """Return a row for each key of each open pane: with `passed` and `sequence`, all there is.

        The columns are those of `windowentries`; the rows stand by the begin of their pane, then in
        the order in which keys came. Raises ValueError if rows of windows have not been taken, or
        rows came since the last `update` of a table that gives updates.
        """
        panes = [self._panes[begin] for begin in sorted(self._panes)]
        known = [entry for pane in panes for entry in pane.entries.values()]
        if self._found or (self._updates and any(entry.touched for entry in known)):
            raise ValueError("there are rows of windows to be given and taken first")
        return written(panes, self._keys, self._parts, whole=self._width == 0)

    def take_back(self, entries: Any, *, passed: int, sequence: int) -> None:
        """Go on as the table that gave `entries`, `passed` and `sequence`, made like this one.

        `entries` is a frame that exports Arrow. Raises MemoryError, and ValueError for a table that
        is not fresh, for a frame of several chunks and for entries that no such table gave; then
        this one is of no use any more.
        """
        if self._panes or self._sequence or self._passed != START:
            raise ValueError("a table that is not fresh takes nothing back")
        checked_place(passed, sequence)
        whole = self._width == 0
        self._passed, self._sequence = passed, sequence
        newest, left = START, sequence
        for begin, entry in taken_back(entries, self._keys, self._parts, whole=whole):
            # A pane may begin before the earliest time that a row may have.
            pane = self._pane_at(min(max(begin, -_LIMIT), _LIMIT))
            if pane is None or pane.begin != begin or begin < newest:
                raise ValueError(f"no open pane begins at {begin} µs, or not after {newest} µs")
            newest, left = begin, left - entry.rows
            if left < 0:
                raise ValueError(f"more than {sequence} rows cannot be held")
            if pane.entries.setdefault(entry.key, entry) is not entry:
                raise ValueError(f"a key is there twice in the pane at {begin} µs")

    def _pane_at(self, time: int) -> Pane | None:
        """The pane of a time; None if its windows have all closed."""
        if not -_LIMIT <= time <= _LIMIT:
            raise ValueError(f"a time of {time} µs is out of range")
        whole = self._width == 0
        begin = START if whole else _floored(time, self._width, self._offset)
        last = END if whole else _floored(begin, self._every, self._offset) + self._size
        if last + self._lateness <= self._passed:
            return None
        return self._panes.setdefault(begin, Pane(begin, last))

    def _ends(self, pane: Pane) -> Iterator[int]:
        """The ends of the windows that a pane is part of and that have not closed, in order."""
        if self._width == 0:
            yield pane.last_end
            return
        earliest = max(pane.begin + self._width, self._passed - self._lateness + 1)
        end = _floored(earliest + self._every - 1, self._every, self._offset + self._size)
        yield from range(end, pane.last_end + 1, self._every)

    def _advance(self, watermark: int) -> None:
        while self._panes:
            end = min(end for pane in self._panes.values() for end in self._ends(pane))
            if end + self._lateness > watermark:
                break
            self._give(end)
            self._passed = max(self._passed, end + self._lateness)
            kept = {b: pane for b, pane in self._panes.items() if pane.last_end > end}
            self._panes = kept
        self._passed = max(self._passed, watermark)

    def _give(self, end: int) -> None:
        merged: dict[Key, Entry] = {}
        touched: set[Key] = set()
        begin = START if self._width == 0 else end - self._size
        for start in sorted(start for start in self._panes if begin <= start < end):
            for key, entry in self._panes[start].entries.items():
                if key in merged:
                    merged[key].merge(entry)
                else:
                    merged[key] = entry.copy()
                if entry.touched or not self._updates:
                    touched.add(key)
        given = [merged[key] for key in touched]
        given.sort(key=lambda entry: (entry.hash, [_rank(value) for value in entry.key]))
        self._found.extend((entry, end) for entry in given)


class _Batch:
    """What a table reads of the rows of a batch."""

    def __init__(self, table: WindowTable, rows: pa.Table, now: int | None) -> None:
        count = rows.num_rows
        keys = [_column(rows, name) for name in table._keys.names]
        for key, kind in zip(keys, table._keys.types, strict=True):
            if key.type != kind:
                raise TypeError(f"a key column is {key.type}, and was said to be {kind}")
        # This looks at all of them: a view that points outside is told here.
        self.hashes = row_hashes(keys).to_pylist() if keys else [0] * count
        self.keys: list[Key] = list(zip(*map(key_values, keys), strict=True)) or [()] * count
        whole = table._width == 0
        self.marks: list[int | None] = [None] * count
        if now is not None or whole:
            self.times = [0 if now is None else now] * count
        else:
            if table._time is None or table._watermark is None:
                raise ValueError("rows without a time of their own need a column of times")
            self.times = _instants(rows, table._time)
            self.marks = [*_instants(rows, table._watermark)]
        self.orders: Sequence[int] = range(table._sequence, table._sequence + count)
        if table._time is not None:
            self.orders = _instants(rows, table._time)
        self.values = [_numbers(rows, part) for part in table._parts]


# What a batch holds


def _column(rows: pa.Table, name: str) -> pa.Array:
    if name not in rows.column_names:
        raise KeyError(name)
    column = rows.column(name)
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _instants(rows: pa.Table, name: str) -> list[int]:
    column = _column(rows, name)
    if column.null_count:
        raise ValueError(f"the column {name} holds {column.null_count} nulls")
    return _words(column, name, real=False)


def _numbers(rows: pa.Table, part: WindowPart) -> list[Any]:
    if part.column is None:
        return [None] * rows.num_rows
    column = _column(rows, part.column)
    if part.kind == "count":
        return [True if valid else None for valid in column.is_valid().to_pylist()]
    return _words(column, part.column, real=part.real)


def _words(column: pa.Array, name: str, *, real: bool) -> list[Any]:
    kind = column.type
    if pa.types.is_temporal(kind) and kind.bit_width == 64:
        kind, column = pa.int64(), column.view(pa.int64())
    if kind != (pa.float64() if real else pa.int64()):
        raise TypeError(f"the column {name} is {kind}, and was said to be of another form")
    found: list[Any] = column.to_pylist()
    return found


def _rank(value: Any) -> tuple[Any, ...]:
    return (False,) if value is None else (True, value)


def _floored(time: int, step: int, offset: int) -> int:
    return time - (time - offset) % step


# What a table is made of


def checked_parts(parts: Sequence[WindowPart], time: str | None) -> tuple[WindowPart, ...]:
    """`parts` if a table can have them; raises ValueError."""
    if len(parts) > _MOST_PARTS:
        raise ValueError(f"there are {len(parts)} parts; there may be {_MOST_PARTS}")
    for part in parts:
        if (part.column is None) != (part.kind == "len"):
            raise ValueError(f"{part.kind} of the column {part.column}")
        if part.kind in ("mean", "var", "std") and not part.real:
            raise ValueError(f"{part.kind} is of float64")
    return tuple(parts)


def checked_window(
    size: int | None, every: int | None, offset: int, lateness: int
) -> tuple[int, int, int, int]:
    """Size, every, offset and lateness of windows, size 0 for one without end.

    Raises ValueError.
    """
    if size is None:
        return 0, 0, 0, 0
    every = size if every is None else every
    if not 0 < every <= size <= _LONGEST or not 0 <= lateness <= _LONGEST:
        raise ValueError(f"windows of {size} µs every {every} µs, {lateness} µs of lateness")
    return size, every, offset % every, lateness
