"""Standard input and output, for flows in a pipeline of a shell.

Standard input cannot be read again: a flow that must not lose rows reads files instead. It is one
partition, ``stdin``, and a second reader finds what the first one left. Writing stops silently
when whoever reads the output goes away, as with ``| head``.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, cast

import polars as pl

from ..flows.connector import Reader, Signal, Sink, SinkContext, Source, SourceContext, Writer
from ..flows.errors import ConnectorError
from .blocks import Blocks, checked_start
from .delimited import Csv
from .encoders import CsvEncoding, Encoding, JsonLinesEncoding, TextEncoding
from .formats import Format, JsonLines, Origin, Text
from .lines import MAX_LINE
from .stream import StreamReader
from .terminal import terminal

__all__ = ["csv", "json_lines", "terminal", "text", "to_csv", "to_json_lines", "to_text"]

_NAME = "stdin"
_PIECE = 2**18
_PIECES = 16

Opener = Callable[[], BinaryIO]


def _stdin() -> BinaryIO:
    # The raw file: a thread that waits in the buffered one holds a lock the interpreter needs to
    # exit.
    if sys.stdin is None:
        raise ConnectorError("stdin: is closed")
    return cast(BinaryIO, getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))


def _stdout() -> BinaryIO:
    if sys.stdout is None:
        raise ConnectorError("stdout: is closed")
    return sys.stdout.buffer


@dataclass(frozen=True, slots=True)
class _StreamSource(Source[Any]):
    rewinds: ClassVar[bool] = False

    form: Format
    stream: Opener

    def partitions(self) -> Sequence[str]:
        return [_NAME]

    def open(self, partition: str, context: SourceContext) -> Reader:
        if partition != _NAME:
            raise ConnectorError(f"{partition!r} is no partition; there is only {_NAME!r}")
        parser = self.form.start(Origin(_NAME, context.event, context.boundary))
        blocks = _PipeBlocks(self.stream(), context.wake)
        return StreamReader(_NAME, blocks, parser, context.start)


class _PipeBlocks(Blocks):
    """Reads a stream in a thread; at most 4 MiB wait between the thread and the reader."""

    def __init__(self, stream: BinaryIO, wake: Callable[[], None]) -> None:
        self._stream = stream
        self._wake = wake
        self._queue: queue.Queue[bytes | str | None] = queue.Queue(_PIECES)
        self._stop = threading.Event()
        self._ended = False
        self._first = True
        # A read of a pipe cannot be interrupted, so the thread must not keep the process alive.
        threading.Thread(target=self._run, name=_NAME, daemon=True).start()

    def _run(self) -> None:
        read = getattr(self._stream, "read1", self._stream.read)
        end: str | None = None
        try:
            while piece := read(_PIECE):
                if not self._put(piece):
                    return
        except (OSError, ValueError) as error:
            end = str(error)
        self._put(end)

    def _put(self, piece: bytes | str | None) -> bool:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(piece, timeout=0.1)
                self._wake()
                return True
        return False

    def next(self) -> bytes | Signal:
        if self._ended:
            return Signal.END
        try:
            piece = self._queue.get_nowait()
        except queue.Empty:
            return Signal.WAIT
        if isinstance(piece, bytes):
            if self._first:
                self._first = False
                piece = checked_start(piece, _NAME)
            return piece
        self._ended = True
        if piece is not None:
            raise ConnectorError(f"{_NAME}: cannot be read: {piece}")
        return Signal.END

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._ended = True
        self._stop.set()


@dataclass(frozen=True, slots=True)
class _StreamSink(Sink):
    encoding: Encoding
    stream: Opener

    def open(self, context: SinkContext) -> Writer:
        return _StreamWriter(self.encoding, context, self.stream())


class _StreamWriter(Writer):
    """Writes when it is flushed or closed, or more than 1 MiB is held back."""

    def __init__(self, encoding: Encoding, context: SinkContext, out: BinaryIO) -> None:
        self._out = _Held(out)
        self._encoder = encoding.start(context.schema, cast(BinaryIO, self._out))

    def write(self, rows: pl.DataFrame) -> None:
        self._encoder.write(rows)

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self._encoder.finish()
        self._out.flush()

    def abort(self) -> None:
        self._out.drop()


class _Held:
    """Bytes that wait to be written; nothing more is written once the pipe is broken.

    They are copied when they come, as the encoder uses its memory again, and not when they go.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._held = bytearray()
        self._broken = False

    def write(self, data: bytes | memoryview) -> int:
        self._held += data
        if len(self._held) > 2**20:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if not self._broken:
            try:
                self._put()
            except BrokenPipeError:
                self._broken = True
            except OSError as error:
                raise ConnectorError(f"stdout: cannot be written: {error.strerror}") from error
        self.drop()

    def drop(self) -> None:
        self._held = bytearray()  # another one: whoever was given this one may have kept it

    def _put(self) -> None:
        left = memoryview(self._held)
        try:
            while left:  # a stream without a buffer, as with `python -u`, may take a part
                left = left[self._out.write(left) or len(left) :]
        finally:
            left.release()  # an error that is kept would keep it, and nothing could be added
        self._out.flush()


def text(*, max_line: int = MAX_LINE, stream: Opener = _stdin) -> Source[Any]:
    """Return a source of the lines of standard input, as `files.text` gives them.

    `stream` opens another binary stream in its place.
    """
    return _StreamSource(Text(max_line), stream)


def csv(
    *,
    delimiter: str = ",",
    null: str = "",
    header: bool = True,
    max_line: int = MAX_LINE,
    stream: Opener = _stdin,
) -> Source[Any]:
    """Return a source of CSV rows from standard input, with the options of `files.csv`."""
    return _StreamSource(Csv(delimiter, null, header, max_line), stream)


def json_lines(*, max_line: int = MAX_LINE, stream: Opener = _stdin) -> Source[Any]:
    """Return a source of JSON objects from standard input, one a line."""
    return _StreamSource(JsonLines(max_line), stream)


def to_text(column: str | None = None, *, stream: Opener = _stdout) -> Sink:
    """Return a sink that writes one text column to standard output, a line a row."""
    return _StreamSink(TextEncoding(column), stream)


def to_csv(*, delimiter: str = ",", header: bool = True, stream: Opener = _stdout) -> Sink:
    """Return a sink that writes CSV to standard output."""
    return _StreamSink(CsvEncoding(delimiter, header), stream)


def to_json_lines(*, stream: Opener = _stdout) -> Sink:
    """Return a sink that writes a JSON object a line to standard output."""
    return _StreamSink(JsonLinesEncoding(), stream)
