"""The jobs in Faust without a broker: a stream over an in-memory channel that is full already.

Windows are in a table in memory whose changelog is not sent, as that needs a broker; Faust has no
final result of a window, so what the table holds at the end is taken. Its compiled event loop is
on, with the fast path that it leaves off by default.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any, Final

import faust
import orjson
from faust.events import Event
from faust.types.tuples import TP, Message

from ..functions import WARM, calibrated, fahrenheit, without_humidity
from ..work import Inputs, Prepare, Totals, Work, dicts, in_ms
from .texts import lines_of, result_of

__all__ = ["PREPARE"]

_TP: Final = TP("readings", 0)
_UNSENT: Final = SimpleNamespace(message=SimpleNamespace(partition=0))
_NEVER: Final = 1_000_000.0
Row = dict[str, Any]
Loop = Callable[[Any, int], Coroutine[Any, Any, None]]


def _app(folder: Path) -> Any:
    return faust.App(
        "bench",
        broker="kafka://localhost",
        store="memory://",
        datadir=mkdtemp(dir=folder),
        web_enabled=False,
        cython_optimizations=True,
    )


def _run(app: Any, values: list[Any], loop: Loop) -> Callable[[], None]:
    """Return what runs a loop over a stream of the values; the stream is filled right away."""
    runner = asyncio.Runner()

    async def filled() -> Any:
        app.flow_control.resume()
        stream = app.stream(app.channel(maxsize=0))
        for value in values:
            stream.channel.queue.put_nowait(value)
        return stream

    stream = runner.run(filled())

    def run() -> None:
        with runner:
            runner.run(loop(stream, len(values)))

    return run


def _by_row(step: Callable[[Row], Row | None]) -> Prepare:
    def prepare(inputs: Inputs) -> Work:
        totals = Totals(())

        async def loop(stream: Any, left: int) -> None:
            count, total = 0, 0.0
            async for row in stream:
                made = step(row)
                if made is not None:
                    count += 1
                    total += made["f"]
                left -= 1
                if not left:
                    break
            totals.count(count, f=total)

        run = _run(_app(inputs.out), dicts(inputs.frame()), loop)
        return Work(run, totals.result)

    return prepare


def _warm(row: Row) -> Row | None:
    return without_humidity(row) if row["temp"] > WARM else None


def _looked_up(row: Row) -> Row:
    return {**row, "f": calibrated(row["device"], row["site"], row["temp"])}


def _messages(inputs: Inputs) -> Work:
    out = BytesIO()
    loads, dumps, line_end = orjson.loads, orjson.dumps, orjson.OPT_APPEND_NEWLINE

    async def loop(stream: Any, left: int) -> None:
        async for line in stream:
            row = loads(line)
            if row["temp"] > WARM:
                row["f"] = row["temp"] * 9 / 5 + 32
                out.write(dumps(row, option=line_end))
            left -= 1
            if not left:
                break

    return Work(_run(_app(inputs.out), lines_of(inputs), loop), lambda: result_of(out))


def _windowed(fleet: str = "sensors", *, hopping: bool = False) -> Prepare:
    """Windows in a table, kept to the end; one value holds all three aggregates."""

    def prepare(inputs: Inputs) -> Work:
        app, totals = _app(inputs.out), Totals(())
        table = app.Table("windows", default=lambda: (0, 0.0, -math.inf), use_partitioner=True)
        table.send_changelog = lambda *args, **kwargs: _UNSENT
        windows = table.hopping(60, 10, expires=_NEVER) if hopping else table.tumbling(10, _NEVER)

        async def loop(stream: Any, left: int) -> None:
            async for row in stream:
                _fold(table, windows, row)
                left -= 1
                if not left:
                    break
            kept = list(table.values())
            totals.count(
                len(kept),
                n=math.fsum(n for n, _, _ in kept),
                mean=math.fsum(total / n for n, total, _ in kept),
                peak=math.fsum(peak for _, _, peak in kept),
            )

        events = [_event(app, row) for row in dicts(in_ms(inputs.frame(fleet)))]
        return Work(_run(app, events, loop), totals.result)

    return prepare


def _fold(table: Any, windows: Any, row: Row) -> None:
    """Fold a row into each window that it belongs to: ``windows[key] = value`` for them all."""
    device, temp = row["device"], row["temp"]
    for window in table._window_ranges(windows.get_timestamp()):
        n, total, peak = table[device, window]
        table[device, window] = (n + 1, total + temp, temp if temp > peak else peak)


def _event(app: Any, row: Row) -> Any:
    key, at = row["device"], row["ts"] / 1000
    generation = app.consumer_generation_id
    message = Message(
        "readings", 0, 0, at, 0, None, key, row, None, tp=_TP, generation_id=generation
    )
    return Event(app, key, row, {}, message)


PREPARE: Final[dict[str, Prepare]] = {
    "A": _by_row(_warm),
    "B": _windowed(),
    "C": _messages,
    "D-vector": _by_row(fahrenheit),
    "D-python": _by_row(_looked_up),
    "E": _windowed(hopping=True),
    "G": _windowed("keys"),
}
