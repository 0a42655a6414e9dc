"""``async def`` functions, called once a row, many at a time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..batch import HIDDEN, WATERMARK, Batch, Logic, Output, visible
from ..event import Event
from ..graph import Place
from ..rows import events_of
from .calls import Gathered

__all__ = ["AsyncFunction"]

_BACKOFF: Final = 0.05
"""Seconds before the first retry; each further one waits twice as long."""


@dataclass(frozen=True, slots=True)
class AsyncFunction:
    """Awaits `call` for each row, at most `in_flight` at a time.

    `timeout` (µs) bounds one attempt; a row is tried `retries` times more, and then is dead. With
    `ordered`, results leave in the order of their rows, otherwise within a batch as they are done.
    """

    call: Callable[..., Any]
    input: type[Event]
    output: type[Event] | None
    in_flight: int
    timeout: int | None
    retries: int
    ordered: bool
    optional: bool = True
    """Whether it may return None, for no row."""
    settings: str | None = None

    @property
    def title(self) -> str:
        return f"async, {self.in_flight} in flight"

    def build(self, place: Place) -> Logic:
        return _AsyncLogic(self, place)


class _AsyncLogic(Logic):
    __slots__ = ("_call", "_loop", "_place", "_spec")

    def __init__(self, spec: AsyncFunction, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._loop: asyncio.AbstractEventLoop | None = None
        call = spec.call
        if spec.settings is not None:
            call = functools.partial(call, **{spec.settings: place.settings})
        self._call = call

    def receive(self, port: int, batch: Batch) -> Output:
        if batch.rows is None:
            return Output([batch])
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        gathered = Gathered(
            self._place.operator,
            self._spec.output,
            False,
            self._spec.optional,
            self._place.on_error,
        )
        events = events_of(visible(batch.rows), self._spec.input)
        for index, result in self._loop.run_until_complete(self._all(events)):
            if isinstance(result, SystemExit):
                raise result
            if isinstance(result, Exception):
                gathered.fail(index, result)
            else:
                gathered.take(index, result)
        rows = gathered.frame(batch.rows.select(HIDDEN))
        if rows is not None and not self._spec.ordered:
            rows = rows.sort(WATERMARK, maintain_order=True)  # canonical order, see batch
        dead = gathered.dead(batch.rows)
        return Output([Batch(rows, batch.watermark)], dead=dead)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()

    async def _all(self, events: list[Any]) -> list[tuple[int, Any]]:
        """Return (index, result or exception) of each event."""
        gate = asyncio.Semaphore(self._spec.in_flight)
        done: list[tuple[int, Any]] = []

        async def one(index: int, event: Any) -> None:
            try:
                done.append((index, await self._attempts(event)))
            finally:
                gate.release()

        async with asyncio.TaskGroup() as tasks:
            for index, event in enumerate(events):
                await gate.acquire()
                tasks.create_task(one(index, event))
        return sorted(done, key=lambda item: item[0]) if self._spec.ordered else done

    async def _attempts(self, event: Any) -> Any:
        wait = _BACKOFF
        limit = None if self._spec.timeout is None else self._spec.timeout / 1e6
        for left in range(self._spec.retries, -1, -1):
            try:
                async with asyncio.timeout(limit):
                    return await self._call(event)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                found: Exception = RuntimeError("was cancelled")  # by something that it awaited
                found.__cause__ = error
            except SystemExit as error:
                return error  # raised where no task is, as asyncio would tell it with a traceback
            except Exception as error:  # whatever the user's function raises
                found = error
            if not left:
                return found
            await asyncio.sleep(wait)
            wait *= 2
        return None
