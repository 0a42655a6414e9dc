"""Differences between tables, and the pace of a replay, against models."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.edge.comparing import compare
from headwater.edge.pacing import paced
from headwater.flows.connector import (
    Chunk,
    Dead,
)
from headwater.flows.engine.replayer import Arrival

# Differences

ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.one_of(st.none(), st.floats(), st.integers(0, 2).map(float))),
    max_size=12,
)
SCHEMA = {"k": pl.Int64, "v": pl.Float64}


def by_key(rows: list[tuple[int, float | None]]) -> dict[tuple[int, int], str]:
    found: dict[tuple[int, int], str] = {}
    for key, value in rows:
        number = sum(known[0] == key for known in found)
        found[key, number] = repr(value)
    return found


@settings(max_examples=200, deadline=None)
@given(ROWS, ROWS)
def test_differences_by_key_follow_the_model(
    one: list[tuple[int, float | None]], other: list[tuple[int, float | None]]
) -> None:
    before, after = (pl.DataFrame(rows, schema=SCHEMA, orient="row") for rows in (one, other))
    found = compare(before, after, ["k"], show=100)
    old, new = by_key(one), by_key(other)
    changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
    signed = {k for k in changed if {old[k], new[k]} == {"0.0", "-0.0"}}
    assert len(new.keys() - old.keys()) == found.added == len(found.some_added)
    assert len(old.keys() - new.keys()) == found.missing == len(found.some_missing)
    assert len(changed - signed) == found.changed == len(found.some_changed)


@settings(max_examples=200, deadline=None)
@given(ROWS, ROWS)
def test_whole_rows_are_compared_as_bags(
    one: list[tuple[int, float | None]], other: list[tuple[int, float | None]]
) -> None:
    before, after = (pl.DataFrame(rows, schema=SCHEMA, orient="row") for rows in (one, other))
    found = compare(before, after)
    bags = [[(k, repr(v).replace("-0.0", "0.0")) for k, v in rows] for rows in (one, other)]
    expected = [
        sum(max(0, b.count(row) - a.count(row)) for row in set(b)) for a, b in (bags, bags[::-1])
    ]
    assert [*expected, 0] == [found.added, found.missing, found.changed]


# Pace


class Watch:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(seconds, 1e-6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=6), max_size=6),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_rows_come_when_they_are_due_in_their_order(steps: list[list[int]], speed: float) -> None:
    watch, offset = Watch(), 0
    arrivals: list[Arrival] = []
    buried: list[int] = []
    for seconds in steps:
        times = pl.Series("at", [s * 1_000_000 for s in seconds]).cast(pl.Datetime("us", "UTC"))
        offsets = pl.Series(range(offset, offset + 2 * len(seconds), 2), dtype=pl.Int64)
        dead = [Dead(offset + 1, b"x", "odd")]
        buried.append(offset + 1)
        arrivals.append(Arrival(0, ("s", "p"), Chunk(times.to_frame(), offsets, dead)))
        offset += 2 * len(seconds)
    came: list[tuple[int, float]] = []
    letters: list[int] = []
    for arrival in paced(iter(arrivals), speed, {"s": "at"}, watch.sleep, watch.now):
        if arrival is None:
            continue
        assert isinstance(arrival.content, Chunk)
        letters += [letter.offset for letter in arrival.content.dead]
        seconds = (arrival.content.rows["at"].to_physical() // 1_000_000).to_list()
        came += [(second, watch.time - 100) for second in seconds]
    flat = [second for seconds in steps for second in seconds]
    assert flat == [second for second, _ in came]
    assert buried == letters
    first = flat[0] if flat else 0
    for second, time in came:
        assert (second - first) / speed <= time + 1e-4
    assert (max(flat, default=0) - first) / speed + 0.1 >= watch.time - 100
