"""Reading on from an offset gives what reading from the beginning gives after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import field_validator

from headwater.connectors import files
from headwater.connectors.conformance import drain
from headwater.connectors.delimited import Csv
from headwater.connectors.formats import Format, JsonLines, Origin, Text
from headwater.connectors.lines import LineCutter
from headwater.flows.boundary import boundary_of
from headwater.flows.connector import Chunk, Source
from headwater.flows.errors import ConnectorError
from headwater.flows.event import Event

LONGEST = 24
FORMS: dict[str, Format] = {
    "text": Text(LONGEST),
    "json": JsonLines(LONGEST),
    "csv": Csv(max_line=LONGEST),
    "csv without header": Csv(header=False, max_line=LONGEST),
}
PIECES = (b"\n", b"\n", b"\n", b"text\n", b'{"text":"x"}\n', b"a", b'"', b'""', b",", b"\r\n")
MORE = (b"\xff", b"x" * 13, b"y" * (LONGEST + 2), b"{", b'{"text":1}', b'"a\nb"\n', b" \n")

Step = bytes | bool
"""A block, or that the stream breaks off; whether there is always a dead letter for that."""


class Line(Event):
    text: str


class Watched(Event):
    text: str

    @field_validator("text")
    @classmethod
    def seen(cls, text: str) -> str:
        SEEN.append(text)
        return text


SEEN: list[str] = []

blocks = st.lists(st.sampled_from(PIECES + MORE), min_size=1, max_size=8).map(b"".join)
streams = st.lists(st.one_of(blocks, blocks, blocks, st.booleans()), max_size=6)


def told(chunk: Chunk, after: int) -> tuple[list[Any], list[Any]]:
    rows = zip(chunk.offsets.to_list(), chunk.rows.rows(), strict=True)
    dead = [(one.offset, one.raw, one.reason) for one in chunk.dead if one.offset > after]
    return [pair for pair in rows if pair[0] > after], dead


def given_by(form: Format, steps: Sequence[Step], after: int, *, asked: bool) -> list[Any]:
    """What a parser gives of each step after an offset, and how it fails."""
    parser = form.start(Origin("x", Line, boundary_of(Line)))
    found: list[Any] = []
    try:
        for step in steps:
            if isinstance(step, bool):
                found.append(told(parser.abandon("cut", always=step), after))
            else:
                chunk = parser.feed(step, after) if asked else parser.feed(step)
                found.append(told(chunk, after))
        found.append(told(parser.finish(), after))
    except ConnectorError as error:
        found.append(str(error))
    return found


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=150, deadline=None)
@given(steps=streams, after=st.integers(0, 14))
def test_what_is_not_asked_for_changes_nothing(name: str, steps: list[Step], after: int) -> None:
    begun: list[Step] = [b"text\n", *steps]
    expected = given_by(FORMS[name], begun, after, asked=False)
    assert expected == given_by(FORMS[name], begun, after, asked=True)


@settings(max_examples=300, deadline=None)
@given(text=blocks, cut=st.integers(0, 40), last=st.integers(0, 12))
def test_lines_are_passed_over_by_number(text: bytes, cut: int, last: int) -> None:
    cutter = LineCutter()
    rest = cutter.skip(text[:cut], last)
    rest += cutter.skip(text[cut:], last)
    lines = text.split(b"\n")
    assert b"\n".join(lines[last:]) == rest
    assert min(last + 1, len(lines)) == cutter.number


def made(folder: Path, kind: str) -> Source[Any]:
    lines = [f"row {number}" for number in range(1, 21)]
    path = folder / kind
    if kind == "text":
        path.write_text("\n".join(lines))
        return files.text(path)
    rows = pl.DataFrame({"text": lines})
    if kind == "csv":
        rows.write_csv(path)
        return files.csv(path)
    rows.write_ndjson(path)
    return files.json_lines(path)


@pytest.mark.parametrize(("kind", "header"), [("text", 0), ("json", 0), ("csv", 1)])
def test_rows_before_the_start_are_not_checked_again(
    tmp_path: Path, kind: str, header: int
) -> None:
    source = made(tmp_path, kind)
    SEEN.clear()
    found = drain(source, str(tmp_path / kind), Watched, start=17 + header)
    assert ["row 18", "row 19", "row 20"] == SEEN == found.rows["text"].to_list()
