"""What is checked of a sink that `resumes`: a run that is cut off anywhere leaves what one leaves
that is not. `conformance.check_sink` calls it.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ..flows.connector import Sink, SinkContext

__all__ = ["check_resumption", "equal"]


def equal(one: object, other: object) -> bool:
    """Whether two contents of a place are the same."""
    if isinstance(one, pl.DataFrame) and isinstance(other, pl.DataFrame):
        return one.equals(other)
    return one == other


def check_resumption(
    make_sink: Callable[[], Sink],
    read_back: Callable[[], object],
    context: SinkContext,
    rows: pl.DataFrame,
    *,
    atomic: bool,
) -> None:
    """Check `Sink.resume`, `Writer.position` and `Writer.suspend`; raises `AssertionError`.

    The arguments are as for `check_sink`.
    """
    checks = _Checks(make_sink, read_back, context, rows, atomic)
    checks.undone()
    checks.begun_anew()
    checks.completed_later()
    checks.completed_before()
    checks.aborted()


class _Checks:
    def __init__(
        self,
        make_sink: Callable[[], Sink],
        read_back: Callable[[], object],
        context: SinkContext,
        rows: pl.DataFrame,
        atomic: bool,
    ) -> None:
        self._make_sink = make_sink
        self._read_back = read_back
        self._context = context
        self._rows = rows
        self._atomic = atomic
        writer = make_sink().resume(context, None)
        writer.write(rows)
        writer.close()
        self._whole = read_back()
        writer = make_sink().open(context)
        writer.write(rows)
        writer.close()
        assert equal(self._whole, read_back()), "resume(None) writes what open does"

    def undone(self) -> None:
        """What was written after a position is undone, as often as the run is cut off there."""
        for kept in (0, 1, self._rows.height // 2, self._rows.height):
            sink = self._make_sink()
            position = self._cut_off(sink, None, self._rows.head(kept))
            self._cut_off(sink, position, self._rows.slice(kept, 1))
            self._cut_off(sink, position, self._rows.clear())
            writer = sink.resume(self._context, position)
            writer.write(self._rows.slice(kept))
            writer.close()
            self._same("what was written after a position is undone")

    def begun_anew(self) -> None:
        """Without a position everything is undone."""
        sink = self._make_sink()
        self._cut_off(sink, None, self._rows.head(3))
        writer = sink.resume(self._context, None)
        writer.write(self._rows)
        writer.close()
        self._same("resume(None) undoes everything")

    def completed_later(self) -> None:
        """A run that ended, but whose sink was not completed, is completed by the next."""
        sink = self._make_sink()
        writer = sink.resume(self._context, None)
        writer.write(self._rows)
        position = writer.position()
        writer.suspend()
        writer.suspend()
        sink.resume(self._context, position).close()
        self._same("what was suspended can be completed")

    def completed_before(self) -> None:
        """A run that dies after its sink was completed is resumed where that is so already."""
        sink = self._make_sink()
        writer = sink.resume(self._context, None)
        writer.write(self._rows)
        position = writer.position()
        writer.close()
        for _ in range(2):
            sink.resume(self._context, position).close()
            self._same("what was completed stays, when it is resumed from its last position")

    def aborted(self) -> None:
        """A writer that was resumed can be aborted as any."""
        sink = self._make_sink()
        position = self._cut_off(sink, None, self._rows.head(3))
        sink.resume(self._context, position).abort()
        if self._atomic:
            assert self._read_back() is None, "abort leaves nothing of a sink that was resumed"

    def _cut_off(self, sink: Sink, position: bytes | None, kept: pl.DataFrame) -> bytes:
        """Write rows up to a position, and others after it that are to be undone; return it."""
        writer = sink.resume(self._context, position)
        writer.write(kept)
        reached = writer.position()
        assert isinstance(reached, bytes), "position is bytes, where the sink resumes"
        writer.write(self._rows.reverse())
        writer.flush()
        writer.suspend()
        if self._atomic:
            assert self._read_back() is None, "suspend completes nothing"
        return reached

    def _same(self, sentence: str) -> None:
        assert equal(self._whole, self._read_back()), sentence
