"""Standard input and output, over streams and over real pipes."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import polars as pl
import pytest

from headwater.connectors import stdio
from headwater.connectors.conformance import (
    Bell,
    check_sink,
    check_source,
    drain,
    sink_context,
    source_context,
)
from headwater.flows.connector import DELETED, Signal
from headwater.flows.errors import ConnectorError
from headwater.flows.event import Event
from headwater.flows.schema import schema_of

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Line(Event):
    text: str


class Pair(Event):
    a: int
    b: str


PAIRS = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})


def given(data: bytes) -> BinaryIO:
    return io.BytesIO(data)


def test_sources_conform() -> None:
    check_source(
        stdio.csv(stream=lambda: given(b"\xef\xbb\xbfa,b\n1,x\nbad,row\n2,y")), Pair, PAIRS
    )
    lines = b'{"a":1,"b":"x"}\n{"a":\n{"a":2,"b":"y"}\n'
    check_source(stdio.json_lines(stream=lambda: given(lines)), Pair, PAIRS)
    texts = pl.DataFrame({"text": ["one", "", "two"]})
    check_source(stdio.text(stream=lambda: given(b"one\n\ntwo\n")), Line, texts)
    check_source(
        stdio.text(stream=lambda: given(b"")), Line, pl.DataFrame(schema={"text": pl.String})
    )
    assert not stdio.text().rewinds


def test_a_pipe_waits_and_wakes() -> None:
    ours, theirs = os.pipe()
    bell = Bell()
    pipe = cast(BinaryIO, os.fdopen(ours, "rb", buffering=0))
    source = stdio.text(stream=lambda: pipe)
    reader = source.open("stdin", source_context(Line, bell))
    assert Signal.WAIT is reader.read(10)
    os.write(theirs, b"one\ntw")
    assert bell.wait(10)
    found = reader.read(10)
    assert not isinstance(found, Signal)
    assert [("one",)] == found.rows.rows()
    os.write(theirs, b"o")
    os.close(theirs)
    texts = []
    while (found := reader.read(10)) is not Signal.END:
        if isinstance(found, Signal):
            assert bell.wait(10)
        else:
            texts += found.rows["text"].to_list()
    assert ["two"] == texts
    reader.close()
    pipe.close()


def test_much_input_is_bounded_and_complete() -> None:
    data = b"".join(b"%d,x\n" % n for n in range(300_000))
    found = drain(stdio.csv(header=False, stream=lambda: given(data)), "stdin", Pair)
    assert list(range(300_000)) == found.rows["a"].to_list()


def test_a_broken_stream_is_an_error() -> None:
    closed = given(b"")
    closed.close()
    with pytest.raises(ConnectorError, match="stdin: cannot be read"):
        drain(stdio.text(stream=lambda: closed), "stdin", Line)
    with pytest.raises(ConnectorError, match="'other' is no partition"):
        drain(stdio.text(), "other", Line)


class Out(io.BytesIO):
    """A stream that stays readable."""


def test_sinks_conform() -> None:
    outs: list[Out] = []

    def fresh() -> BinaryIO:
        outs.append(Out())
        return outs[-1]

    def content() -> bytes:
        return outs[-1].getvalue()

    check_sink(lambda: stdio.to_csv(stream=fresh), content, Pair, atomic=False)
    check_sink(lambda: stdio.to_json_lines(stream=fresh), content, Pair, atomic=False)
    check_sink(lambda: stdio.to_text("b", stream=fresh), content, Pair, atomic=False)
    writer = stdio.to_csv(stream=fresh).open(sink_context(Pair))
    writer.write(PAIRS)
    assert content() == b""
    writer.flush()
    assert content() == b"a,b\n1,x\n2,y\n"
    writer.abort()


class Keeping(io.RawIOBase):
    """Takes at most 1,000 bytes at a time, and keeps them where they lie."""

    def __init__(self) -> None:
        self.taken: list[memoryview] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        self.taken.append(memoryview(data)[:1000])
        return len(self.taken[-1])


def test_a_stream_may_take_a_part_and_keep_it() -> None:
    out = Keeping()
    writer = stdio.to_text(stream=lambda: cast(BinaryIO, out)).open(sink_context(Line))
    texts = [f"{number:>99}" for number in range(25_000)]
    for begin in range(0, len(texts), 100):
        writer.write(pl.DataFrame({"text": texts[begin : begin + 100]}))
        if begin % 700 == 0:
            writer.flush()
    writer.close()
    assert "".join(f"{text}\n" for text in texts).encode() == b"".join(out.taken)


def test_what_could_not_be_written_is_not_forgotten() -> None:
    class Full(io.BytesIO):
        full = True

        def write(self, data: Buffer, /) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    out = Full()
    writer = stdio.to_csv(stream=lambda: out).open(sink_context(Pair))
    writer.write(PAIRS)
    with pytest.raises(ConnectorError, match="stdout: cannot be written: No space left") as told:
        writer.flush()
    writer.write(PAIRS)
    with pytest.raises(ConnectorError, match="No space left"):
        writer.flush()
    assert "stdout" in str(told.value)
    out.full = False
    writer.close()
    assert b"a,b\n1,x\n2,y\n1,x\n2,y\n" == out.getvalue()


class Broken(io.BytesIO):
    """A pipe that nobody reads."""

    def write(self, data: object, /) -> int:
        raise BrokenPipeError


def test_a_broken_pipe_is_no_error() -> None:
    writer = stdio.to_csv(stream=Broken).open(sink_context(Pair))
    for _ in range(3):
        writer.write(PAIRS)
        writer.flush()
    writer.close()

    class BrokenText(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    shown = stdio.terminal(stream=BrokenText).open(sink_context(Pair))
    shown.write(PAIRS)
    shown.write(PAIRS)
    shown.close()


def test_terminal_prints_every_row_aligned() -> None:
    out = io.StringIO()
    writer = stdio.terminal(stream=lambda: out).open(sink_context(Pair, "pairs"))
    writer.write(pl.DataFrame({"a": [1, 222], "b": ["x y", "z"]}))
    writer.write(PAIRS.clear())
    writer.write(PAIRS)
    writer.close()
    expected = ["a=1   b='x y'", "a=222 b=z", "a=1   b=x", "a=2   b=y"]
    assert [f"pairs  {line}" for line in expected] == out.getvalue().splitlines()


def test_terminal_marks_upserts() -> None:
    out = io.StringIO()
    sink = stdio.terminal(stream=lambda: out)
    writer = sink.open(sink_context(schema_of(Pair).with_key("a"), "pairs"))
    writer.write(PAIRS.with_columns(pl.Series(DELETED, [False, True])))
    assert sink.upsert
    assert ["pairs  ~ a=1 b=x", "pairs  - a=2 b=y"] == out.getvalue().splitlines()


PROGRAM = """
from headwater.connectors import stdio
from headwater.connectors.conformance import Bell, sink_context, source_context
from headwater.flows.connector import Signal
from headwater.flows.event import Event
class Line(Event):
    text: str
bell = Bell()
reader = stdio.text().open("stdin", source_context(Line, bell))
writer = stdio.to_text().open(sink_context(Line))
seen = 0
while seen < 2 and (chunk := reader.read(1)) is not Signal.END:
    if chunk is Signal.WAIT:
        bell.wait(10)
    else:
        writer.write(chunk.rows)
        seen += 1
writer.close()
"""


def test_a_process_ends_while_its_input_stays_open(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        stdin = cast(BinaryIO, process.stdin)
        stdin.write(b"one\ntwo\n")
        stdin.flush()
        assert 0 == process.wait(60)
        assert b"one\ntwo\n" == cast(BinaryIO, process.stdout).read()
        assert b"" == cast(BinaryIO, process.stderr).read()
