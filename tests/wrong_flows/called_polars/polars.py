# expect: the file is called like the package 'polars'
# expect: rename it, for example to polars_flow.py

import polars as pl

import headwater as hw
from headwater.connectors import files


class Line(hw.Event):
    text: str


flow = hw.Flow("wrong")


@flow.source
def lines() -> hw.Source[Line]:
    return files.text("*.txt")


@flow.operator(lines)
def short(rows: hw.Stream[Line]) -> hw.Stream[Line]:
    return rows.filter(pl.col("text").str.len_chars() < 80)
