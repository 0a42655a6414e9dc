"""Merging channels: the order depends on the rows alone."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from headwater.flows.batch import END, START, WATERMARK, Batch
from headwater.flows.merge import Merge

Channel = list[int]

channels = st.lists(st.lists(st.integers(0, 12), max_size=12).map(sorted), min_size=1, max_size=4)


def batches(marks: Channel, channel: int, cuts: list[int]) -> list[Batch]:
    """Cut a channel's rows, whose watermarks are given, into batches."""
    rows = pl.DataFrame(
        {"channel": [channel] * len(marks), "n": range(len(marks)), WATERMARK: marks},
        schema={"channel": pl.Int64, "n": pl.Int64, WATERMARK: pl.Int64},
    )
    places = sorted({0, len(marks), *(c % (len(marks) + 1) for c in cuts)})
    found = []
    for first, last in pairwise(places):
        coming = marks[last] if last < len(marks) else marks[-1]
        found.append(Batch(rows[first:last], coming))
    return [*found, Batch(None, END)]


def merged(lists: list[Channel], cuts: list[int], order: list[int]) -> list[tuple[int, int]]:
    """Feed the channels in an interleaving, and return (channel, number) as they leave."""
    merge = Merge(len(lists))
    waiting = [batches(marks, c, cuts) for c, marks in enumerate(lists)]
    left: list[pl.DataFrame] = []
    last = START
    turn = 0
    while any(waiting):
        channel = order[turn % len(order)] % len(lists)
        turn += 1
        if not waiting[channel]:
            channel = next(c for c, w in enumerate(waiting) if w)
        out = merge.receive(channel, waiting[channel].pop(0))
        assert last <= out.watermark
        if out.rows is not None:
            assert out.rows[WATERMARK].min() >= last  # type: ignore[operator]
            left.append(out.rows)
        last = out.watermark
    assert merge.held_rows == 0
    assert last == END
    return [row for frame in left for row in frame.select("channel", "n").rows()]


@given(
    channels,
    st.lists(st.integers(0, 20), max_size=5),
    st.lists(st.integers(0, 3), min_size=1, max_size=20),
)
def test_order_is_by_watermark_then_channel_then_sequence(
    lists: list[Channel], cuts: list[int], order: list[int]
) -> None:
    expected = sorted(
        ((mark, c, n) for c, marks in enumerate(lists) for n, mark in enumerate(marks))
    )
    assert [(c, n) for _, c, n in expected] == merged(lists, cuts, order)


def test_an_idle_channel_does_not_hold_others_and_comes_back_where_the_stream_is() -> None:
    merge = Merge(2)
    first = batches([0, 5, 9], 0, [])[0]
    assert merge.receive(0, first).rows is None
    out = merge.idle(1)
    assert out.rows is not None
    assert [0, 5, 9] == out.rows[WATERMARK].to_list()
    assert out.watermark == 9
    back = merge.receive(1, batches([2, 3], 1, [])[0])
    assert back.watermark == 9
    released = merge.receive(0, Batch(None, END))
    final = merge.receive(1, Batch(None, END))
    frames = [b.rows for b in (back, released, final) if b.rows is not None]
    assert [9, 9] == [mark for frame in frames for mark in frame[WATERMARK].to_list()]


def test_without_order_rows_leave_as_they_come() -> None:
    merge = Merge(2, in_order=False)
    rows = batches([START, START], 1, [])[0]
    out = merge.receive(1, rows)
    assert out.rows is not None
    assert [0, 1] == out.rows["n"].to_list()
    assert merge.receive(1, Batch(None, END)).watermark == START
    assert merge.receive(0, Batch(None, END)).watermark == END
