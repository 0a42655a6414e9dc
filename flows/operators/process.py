"""User functions with keyed state and timers: called per row and per timer, in event-time order.

Rows and timers are one sequence, ordered by (event time, key group, rows before timers, content);
see `OrderedBuffer`. A timer set at or before the present goes off right after the present row. When
the stream ends, every timer that is set goes off once; what `Fired` sets then stays silent.
"""

from __future__ import annotations

import copy
import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import polars as pl

from ..batch import END, HIDDEN, NO_ORIGIN, ORIGIN, START, WATERMARK, Batch, DeadRow, Logic, Output
from ..event import Event
from ..graph import Place
from ..keyed import Fired, State, Timer
from ..rows import events_of
from ..schema import schema_of
from .calls import Gathered
from .dead import dead_rows
from .ordered import GROUP, OrderedBuffer

__all__ = ["Parameter", "Process"]

Key = tuple[Any, ...]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ATOMS: Final = (int, float, str, bytes, bool, type(None), datetime, timedelta, Event)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that is injected: a state (with what a fresh key starts at), or a timer."""

    name: str
    kind: Literal["state", "timer"]
    fresh: Callable[[], Any] = lambda: None


@dataclass(frozen=True, slots=True)
class Process:
    """Calls `call` with each row, or with `Fired`, and the state of its key."""

    call: Callable[..., Any]
    inputs: tuple[type[Event], ...]
    output: type[Event] | None
    keys: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    many: bool = False
    settings: str | None = None
    ttl: int | None = None
    """µs of event time after which the state of a key that had no row is forgotten."""
    order: Literal["event", "arrival"] = "event"
    timers: Literal["event", "processing"] = "event"

    @property
    def title(self) -> str:
        kinds = sorted({parameter.kind for parameter in self.parameters})
        return f"per row by {', '.join(self.keys)}" + (f" with {', '.join(kinds)}" if kinds else "")

    def build(self, place: Place) -> Logic:
        return _ProcessLogic(self, place)


@dataclass(slots=True)
class _Call:
    """One call to come: a row, or a timer that goes off."""

    time: int
    key: Key
    event: Event | Fired
    watermark: int
    origin: int


class _ProcessLogic(Logic):
    __slots__ = (
        "_buffers",
        "_interleaved",
        "_place",
        "_spec",
        "_states",
        "_timed",
        "_timers",
        "_touched",
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
        self._states: dict[Key, dict[str, Any]] = {}
        self._touched: dict[Key, int] = {}
        self._timers: dict[tuple[Key, str], int] = {}
        self._wakeups: list[tuple[int, int, Any, str, Key, int]] = []

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
        due = watermark if self._spec.timers == "event" else START
        self._run(released, due, output)
        self._watermark = watermark
        self._forget(watermark)
        output.batches.append(Batch(None, watermark))
        return output

    def tick(self, now: int) -> Output | None:
        if self._spec.timers == "event" or not self._wakeups or self._wakeups[0][0] > now:
            return None
        output = Output()
        self._run([], now + 1, output)
        return output

    # In order

    def _run(self, released: list[pl.DataFrame | None], due: int, output: Output) -> None:
        spec, place = self._spec, self._place
        gathered = Gathered(place.operator, spec.output, spec.many, place.on_error)
        calls: list[_Call] = []
        rows = self._rows(released)
        row = next(rows, None)
        while True:
            if row is None:
                position = (due, 0)
            else:
                position = row[:2] if self._interleaved else (START, 0)
            fired = self._next_timer(position)
            silent = fired is not None and due >= END
            if fired is not None:
                call, group = fired
            elif row is not None:
                _, group, call = row
                row = next(rows, None)
            else:
                break
            calls.append(call)
            try:
                gathered.take(len(calls) - 1, self._call(call, group, silent))
            except Exception as error:  # whatever the user's function raises
                gathered.fail(len(calls) - 1, error)
        if not calls:
            return
        hidden = pl.DataFrame(
            {WATERMARK: [c.watermark for c in calls], ORIGIN: [c.origin for c in calls]},
            schema=_HIDDEN_SCHEMA,
        )
        made = gathered.frame(hidden)
        output.dead.extend(
            _dead_call(place.operator, calls[i], why) for i, why in gathered.failed.items()
        )
        if made is not None:
            output.batches.append(Batch(made, self._watermark))

    def _rows(self, released: list[pl.DataFrame | None]) -> Iterator[tuple[int, int, _Call]]:
        """Yield (time, key group, call) of every released row, in order."""
        streams = [
            self._port(port, rows) for port, rows in enumerate(released) if rows is not None
        ]
        if len(streams) == 1:
            return streams[0]
        return heapq.merge(*streams, key=lambda item: item[:2])

    def _port(self, port: int, rows: pl.DataFrame) -> Iterator[tuple[int, int, _Call]]:
        time = self._place.inputs[port].event_time
        watermarks = rows[WATERMARK].to_list()
        times = watermarks if time is None else rows[time].to_physical().to_list()
        events = events_of(rows.drop(*HIDDEN, GROUP), self._spec.inputs[port])
        keys = rows.select(self._spec.keys).rows()
        out = times if self._timed and time is not None else watermarks
        for i, (event, key, group, origin) in enumerate(
            zip(events, keys, rows[GROUP].to_list(), rows[ORIGIN].to_list(), strict=True)
        ):
            yield times[i], group, _Call(times[i], key, event, out[i], origin)

    # One call

    def _call(self, call: _Call, group: int, silent: bool) -> object:
        spec = self._spec
        states, timers = self._load(call)
        injected: dict[str, Any] = {**states, **timers}
        if spec.settings is not None:
            injected[spec.settings] = self._place.settings
        result = spec.call(call.event, **injected)
        if spec.many and result is not None:
            result = list(result)  # a generator changes state while it runs
        for name, state in states.items():
            if state.changed:
                self._states.setdefault(call.key, {})[name] = state.value_
        for name, timer in timers.items():
            if timer.changed and not silent:
                self._set(call, group, name, timer.at)
        return result

    def _load(self, call: _Call) -> tuple[dict[str, State[Any]], dict[str, Timer]]:
        key, ttl = call.key, self._spec.ttl
        if ttl is not None:
            touched = self._touched.pop(key, None)
            if touched is not None and call.time - touched > ttl:
                self._states.pop(key, None)
            self._touched[key] = call.time
        kept = self._states.get(key, {})
        states: dict[str, State[Any]] = {}
        timers: dict[str, Timer] = {}
        for parameter in self._spec.parameters:
            name = parameter.name
            if parameter.kind == "state":
                value = kept[name] if name in kept else parameter.fresh()
                # Only assignment counts, so what can be changed in place is handed out as a copy.
                states[name] = State(value if isinstance(value, _ATOMS) else copy.deepcopy(value))
            else:
                at = self._timers.get((key, name))
                timers[name] = Timer(None if at is None else _EPOCH + timedelta(microseconds=at))
        return states, timers

    def _set(self, call: _Call, group: int, name: str, at: datetime | None) -> None:
        if at is None:
            self._timers.pop((call.key, name), None)
            return
        micros = (at - _EPOCH) // timedelta(microseconds=1)
        self._timers[call.key, name] = micros
        when = max(micros, call.time) if self._interleaved else micros
        order = tuple((part is not None, part) for part in call.key)
        heapq.heappush(self._wakeups, (when, group, order, name, call.key, micros))

    def _next_timer(self, position: tuple[int, int]) -> tuple[_Call, int] | None:
        """Return the call of the next timer that stands before `position`, if there is one."""
        while self._wakeups and self._wakeups[0][:2] < position:
            when, group, _, name, key, micros = heapq.heappop(self._wakeups)
            if self._timers.get((key, name)) != micros:
                continue  # it was moved or cleared
            del self._timers[key, name]
            fired = Fired(_EPOCH + timedelta(microseconds=micros), name)
            watermark = when if self._interleaved else self._watermark
            return _Call(when, key, fired, watermark, NO_ORIGIN), group
        return None

    def _forget(self, watermark: int) -> None:
        ttl = self._spec.ttl
        if ttl is None:
            return
        while self._touched:
            key, touched = next(iter(self._touched.items()))
            if touched + ttl >= watermark:
                break
            del self._touched[key]
            self._states.pop(key, None)


_HIDDEN_SCHEMA: Final = {WATERMARK: pl.Int64, ORIGIN: pl.Int64}


def _dead_call(operator: str, call: _Call, reason: str) -> DeadRow:
    event = call.event
    if isinstance(event, Fired):
        raw: dict[str, Any] = {"fired": event.at, "timer": event.timer, "key": call.key}
    else:
        raw = {name: getattr(event, name) for name in schema_of(type(event)).names}
    line = json.dumps(raw, default=str).encode()
    return DeadRow(operator, line, reason, call.origin, call.watermark)
