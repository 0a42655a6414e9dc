"""Word count: text files in, a table of words out."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

import headwater as hw
from headwater.connectors import files

HERE = Path(__file__).parent


class Line(hw.Event):
    text: str


class Word(hw.Event):
    word: str


class Count(hw.Event):
    word: str
    n: int


flow = hw.Flow("word-count")


@flow.source
def lines() -> hw.Source[Line]:
    return files.text(HERE / "*.txt")


@flow.operator(lines)
def words(line: Line) -> Iterator[Word]:
    for word in re.findall(r"\w+", line.text.lower()):
        yield Word(word=word)


@flow.operator(words)
def counts(words: hw.Stream[Word]) -> hw.Stream[Count]:
    return words.key_by("word").window(hw.whole()).agg(n=pl.len())
