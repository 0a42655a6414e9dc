"""User functions with keyed state and timers: called per row and per timer, in event-time order.

Rows and timers are one sequence, ordered by (event time, key group, rows before timers, content);
see `OrderedBuffer`. A timer set at or before the present goes off right after the present row. When
the stream ends, every timer that is set goes off once; what `Fired` sets then stays silent.
"""

from __future__ import annotations

import functools
import heapq
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, chain
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import polars as pl

from ..batch import END, HIDDEN, NO_ORIGIN, ORIGIN, START, WATERMARK, Batch, DeadRow, Logic, Output
from ..event import Event
from ..graph import Place
from ..keyed import Fired, State, Timer
from ..rows import events_of, frame_of
from ..snapshot import Tables, part_of, with_parts
from ..values import Encoding
from .calls import EVENTS, Gathered
from .dead import dead_rows, lines_of
from .ordered import GROUP, OrderedBuffer, with_group
from .processstate import Alarm, ByKey, Key, alarms, keys_of, times, values

__all__ = ["Parameter", "Process"]

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that is injected: a state (with what a fresh key starts at), or a timer."""

    name: str
    kind: Literal["state", "timer"]
    fresh: Callable[[], Any] = lambda: None
    held: Any = Any
    """The type of a state's values, by which a snapshot writes them."""


@dataclass(frozen=True, slots=True)
class Process:
    """Calls `call` with each row, or with `Fired`, and the state of its key."""

    call: Callable[..., Any]
    inputs: tuple[type[Event], ...]
    output: type[Event] | None
    keys: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    many: bool = False
    optional: bool = True
    """Whether it may return None, for no row."""
    settings: str | None = None
    ttl: int | None = None
    """µs of event time after which the state of a key that had no row is forgotten."""
    order: Literal["event", "arrival"] = "event"
    timers: Literal["event", "processing"] = "event"

    @property
    def title(self) -> str:
        kinds = sorted({parameter.kind for parameter in self.parameters})
        return f"per row by {', '.join(self.keys)}" + (f" with {', '.join(kinds)}" if kinds else "")

    def encoding(self, state: Parameter, operator: str) -> Encoding:
        """Return how the values of a state are written in a snapshot."""
        call = self.call
        while isinstance(call, functools.partial):
            call = call.func
        owner = f"operator {operator!r}, state {state.name!r}"
        return Encoding(owner, state.held, getattr(call, "__module__", None))

    def build(self, place: Place) -> Logic:
        return _ProcessLogic(self, place)


_Call: TypeAlias = tuple[int, int, Key, Event | Fired, int, int]
"""One call: its time, key group and key, the row or what fired, and the hidden columns."""


_Wakeup: TypeAlias = tuple[int, int, tuple[Any, ...], str, Key, int]


class _Values(NamedTuple):
    """A state parameter: the object that every call is handed, and each key's value."""

    state: State[Any]
    by_key: ByKey[Any]
    fresh: Callable[[], Any]
    name: str


class _Alarms(NamedTuple):
    """A timer parameter: the object that every call is handed, and each key's alarm."""

    timer: Timer
    by_key: ByKey[Alarm]
    name: str


class _ProcessLogic(Logic):
    __slots__ = (
        "_alarms",
        "_buffers",
        "_injected",
        "_interleaved",
        "_place",
        "_spec",
        "_timed",
        "_touched",
        "_values",
        "_wakeups",
        "_watermark",
        "_watermarks",
    )

    def __init__(self, spec: Process, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._timed = spec.order == "event"
        self._interleaved = self._timed and spec.timers == "event"
        self._buffers = [
            OrderedBuffer(schema.event_time if self._timed else None, spec.keys)
            for schema in place.inputs
        ]
        self._watermarks = [START] * len(place.inputs)
        self._watermark = START
        self._values: list[_Values] = []
        self._alarms: dict[str, _Alarms] = {}
        self._injected: dict[str, Any] = {}
        keys = {name: place.inputs[0].dtype(name) for name in spec.keys}
        for one in spec.parameters:
            if one.kind == "state":
                self._injected[one.name] = state = State[Any](None)
                by_key = ByKey(keys, values(spec.encoding(one, place.operator)))
                self._values.append(_Values(state, by_key, one.fresh, one.name))
            else:
                self._injected[one.name] = timer = Timer()
                self._alarms[one.name] = _Alarms(timer, ByKey(keys, alarms()), one.name)
        if spec.settings is not None:
            self._injected[spec.settings] = place.settings
        of_events = all(schema.event_time is not None for schema in place.inputs)
        self._touched = ByKey(keys, times(of_events))
        """When each key had its last row, the one that was longest ago first."""
        self._wakeups: list[_Wakeup] = []

    # What comes in

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        if batch.rows is not None:
            late = self._buffers[port].add(batch.rows)
            if late is not None and port == 0:
                output.late.append(late)
            elif late is not None:
                reasons = ["late: read on a further input"] * late.height
                output.dead.extend(dead_rows(self._place.operator, late, reasons))
        self._watermarks[port] = max(batch.watermark, self._watermarks[port])
        watermark = min(self._watermarks)
        released = [buffer.release(watermark) for buffer in self._buffers]
        by_event = self._spec.timers == "event" or watermark >= END
        due = watermark if by_event else START
        self._run(released, due, output)
        self._watermark = watermark
        self._forget(watermark)
        output.batches.append(Batch(None, watermark))
        return output

    @property
    def ticks(self) -> bool:
        return self._spec.timers == "processing"

    def tick(self, now: int) -> Output | None:
        if not self._wakeups or self._wakeups[0][0] > now:
            return None
        output = Output()
        self._run([], now + 1, output)
        return output if output.batches or output.dead else None

    # In order

    def _run(self, released: list[pl.DataFrame | None], due: int, output: Output) -> None:
        spec, place = self._spec, self._place
        gathered = Gathered(place.operator, spec.output, spec.many, spec.optional, place.on_error)
        made: list[_Call] = []
        wakeups, interleaved = self._wakeups, self._interleaved
        for call in self._rows(released):
            if wakeups and interleaved and wakeups[0] < call[:2]:
                self._fire(call[:2], due, gathered, made)
            self._take(call, gathered, made, False)
        self._fire((due, 0), due, gathered, made)
        if not made:
            return
        hidden = pl.DataFrame(
            {WATERMARK: self._marks(made), ORIGIN: [call[5] for call in made]},
            schema=_HIDDEN_SCHEMA,
        )
        rows = gathered.frame(hidden)
        output.dead.extend(
            _dead_call(place.operator, made[i], why) for i, why in gathered.failed.items()
        )
        if rows is not None:
            output.batches.append(Batch(rows, self._watermark))

    def _marks(self, made: list[_Call]) -> Iterable[int]:
        """Return the watermark of each call's results, none below the one before it."""
        if not self._timed and len(self._watermarks) > 1:
            return [self._watermark] * len(made)  # each input's own do not follow one another
        marks = [call[4] for call in made]
        return marks if self._interleaved else accumulate(marks, max)

    def _rows(self, released: list[pl.DataFrame | None]) -> Iterable[_Call]:
        """Return the calls of every released row, in order."""
        streams = [self._port(port, rows) for port, rows in enumerate(released) if rows is not None]
        if len(streams) == 1:
            return streams[0]
        return heapq.merge(*streams, key=lambda call: call[:2])

    def _port(self, port: int, rows: pl.DataFrame) -> Iterable[_Call]:
        return chain.from_iterable(self._calls(port, some) for some in rows.iter_slices(EVENTS))

    def _calls(self, port: int, rows: pl.DataFrame) -> Iterable[_Call]:
        time = self._place.inputs[port].event_time
        watermarks = rows[WATERMARK].to_list()
        times = watermarks if time is None else rows[time].to_physical().to_list()
        return zip(
            times,
            rows[GROUP].to_list(),
            keys_of(rows, self._spec.keys),
            events_of(rows.drop(*HIDDEN, GROUP), self._spec.inputs[port]),
            times if self._timed and time is not None else watermarks,
            rows[ORIGIN].to_list(),
            strict=True,
        )

    def _fire(
        self, position: tuple[int, int], due: int, gathered: Gathered, made: list[_Call]
    ) -> None:
        """Call with every timer that stands before `position`."""
        wakeups = self._wakeups
        # A longer tuple is greater: one at `position` itself is not before it.
        while wakeups and wakeups[0] < position:
            when, group, _, name, key, micros = heapq.heappop(wakeups)
            by_key = self._alarms[name].by_key
            alarm = by_key.of.get(key)
            if alarm is None or alarm.micros != micros:
                continue  # it was moved or cleared
            by_key.pop(key)
            watermark = when if self._interleaved else self._watermark
            call = (when, group, key, Fired(alarm.at, name), watermark, NO_ORIGIN)
            self._take(call, gathered, made, due >= END)

    # One call

    def _take(self, call: _Call, gathered: Gathered, made: list[_Call], silent: bool) -> None:
        """Call, keep what state and timers were set to, and gather what is returned.

        `made` gets the calls that give something or fail; one that fails changes nothing.
        """
        spec, key = self._spec, call[2]
        if spec.ttl is not None and (self._interleaved or not isinstance(call[3], Fired)):
            self._touch(key, call[0], spec.ttl)
        # The same objects serve every call: what a function keeps of them means nothing later.
        for state, by_key, fresh, _ in self._values:
            value = by_key.of.get(key, _MISSING)
            state.value_ = fresh() if value is _MISSING else value
            state.changed = False
        for timer, set_to, _ in self._alarms.values():
            at = set_to.of.get(key)
            timer.at = None if at is None else at.at
            timer.changed = False
        try:
            result = spec.call(call[3], **self._injected)
            if spec.many and isinstance(result, Iterable):
                result = list(result)  # a generator changes state while it runs
            if isinstance(call[3], Fired):
                self._check_progress(call[3].at)
        except Exception as error:  # whatever the user's function raises
            gathered.fail(len(made), error)
            made.append(call)
            return
        for state, by_key, _, _ in self._values:
            if state.changed:
                by_key.put(key, state.value_)
        for alarm in self._alarms.values():
            if alarm.timer.changed and not (silent and alarm.timer.at):
                self._set(call, alarm)
        if result is not None:
            gathered.take(len(made), result)
            made.append(call)

    def _check_progress(self, fired: datetime) -> None:
        """Raise ValueError if what went off set a timer so that it would go off for ever."""
        for timer, _, name in self._alarms.values():
            if timer.changed and timer.at is not None and timer.at <= fired:
                raise ValueError(f"{name} went off, and is set to no later time: {timer.at}")

    def _touch(self, key: Key, time: int, ttl: int) -> None:
        touched = self._touched.pop(key)
        if touched is not None and time - touched > ttl:
            self._drop(key)
        self._touched.put(key, time)

    def _drop(self, key: Key) -> None:
        for one in self._values:
            one.by_key.pop(key)

    def _set(self, call: _Call, alarm: _Alarms) -> None:
        time, group, key = call[:3]
        if alarm.timer.at is None:
            alarm.by_key.pop(key)
            return
        at = Alarm.when(alarm.timer.at)
        alarm.by_key.put(key, at)
        when = max(at.micros, time) if self._interleaved else at.micros
        heapq.heappush(self._wakeups, _wakeup(when, group, alarm.name, key, at.micros))

    def _forget(self, watermark: int) -> None:
        ttl = self._spec.ttl
        if ttl is None:
            return
        of = self._touched.of
        while of:
            key, touched = next(iter(of.items()))
            if touched + ttl >= watermark:
                break
            self._touched.pop(key)
            self._drop(key)

    # What is remembered

    def snapshot(self) -> Tables:
        """Return a table ``state.NAME`` or ``timer.NAME`` for each parameter, and what waits.

        Raises `HeadwaterError` if a value is not what its state is declared to hold.
        """
        inputs = {"inputs": pl.DataFrame({"watermark": self._watermarks}, {"watermark": pl.Int64})}
        if self._spec.ttl is not None:
            inputs["touched"] = self._touched.snapshot()
        buffers = {f"input{port}": buffer.snapshot() for port, buffer in enumerate(self._buffers)}
        return inputs | with_parts(
            state={one.name: one.by_key.snapshot() for one in self._values},
            timer={one.name: one.by_key.snapshot() for one in self._alarms.values()},
            **buffers,
        )

    def restore(self, tables: Tables) -> None:
        self._watermarks = tables["inputs"]["watermark"].to_list()
        self._watermark = min(self._watermarks)
        for port, buffer in enumerate(self._buffers):
            buffer.restore(part_of(tables, f"input{port}"))
        if self._spec.ttl is not None:
            self._touched.restore(tables["touched"])
        for one in self._values:
            one.by_key.restore(tables[f"state.{one.name}"])
        for alarm in self._alarms.values():
            table = tables[f"timer.{alarm.name}"]
            alarm.by_key.restore(table)
            groups = with_group(table, self._spec.keys)[GROUP]
            # What goes off is later than all calls so far, so that it goes off when it says.
            self._wakeups.extend(
                _wakeup(at.micros, group, alarm.name, key, at.micros)
                for (key, at), group in zip(alarm.by_key.of.items(), groups, strict=True)
            )
        heapq.heapify(self._wakeups)


_HIDDEN_SCHEMA: Final = {WATERMARK: pl.Int64, ORIGIN: pl.Int64}


def _wakeup(when: int, group: int, name: str, key: Key, micros: int) -> _Wakeup:
    """Return what stands in order: of the same time and group, by key, then by timer."""
    return when, group, tuple(_sortable(part) for part in key), name, key, micros


def _sortable(part: Any) -> tuple[Any, ...]:
    """Null before all values, NaN behind them."""
    if part is None:
        return (0,)
    return (1, part) if part == part else (2,)


def _dead_call(operator: str, call: _Call, reason: str) -> DeadRow:
    _, _, key, event, watermark, origin = call
    if isinstance(event, Fired):
        fired = {"fired": event.at.isoformat(), "timer": event.timer, "key": key}
        line = json.dumps(fired, default=str, ensure_ascii=False).encode()
    else:
        line = lines_of(frame_of([event], type(event)))[0]
    return DeadRow(operator, line, reason, origin, watermark)
