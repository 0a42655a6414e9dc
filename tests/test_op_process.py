"""Keyed functions with state and timers, against a model that takes each key for itself."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.flows.clock import ManualClock

from .harness import Kept, Rows, at, run

DISORDER = 5
TTL = 20


class Tick(hw.Event):
    at: hw.EventTime
    key: str | None
    n: int


class Said(hw.Event):
    at: hw.EventTime
    key: str | None
    text: str


rows = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["a", "b", "c", None]), st.integers(0, 3)),
    max_size=25,
)


def delayed(given_rows: list[tuple[int, str | None, int]]) -> list[tuple[int, str | None, int]]:
    """Put rows in an order in which none is later than the disorder allows."""
    held = sorted(given_rows, key=lambda row: row[0] + (row[2] * 7 + row[0]) % DISORDER)
    newest = -(10**9)
    for row in held:
        assert row[0] >= newest - DISORDER
        newest = max(newest, row[0])
    return held


def kept_by_engine(
    order: list[tuple[int, str | None, int]], batch_rows: int, ttl: bool = False
) -> list[dict[str, Any]]:
    flow = hw.Flow("f")
    kept = Kept()

    @flow.source(disorder=timedelta(seconds=DISORDER))
    def ticks() -> hw.Source[Tick]:
        return Rows({"p": [{"at": at(t), "key": k, "n": n} for t, k, n in order]})

    @flow.operator(ticks, key="key", ttl=timedelta(seconds=TTL) if ttl else None)
    def said(
        event: Tick | hw.Fired, count: hw.State[int], names: hw.State[list[str]], timer: hw.Timer
    ) -> Said | None:
        if isinstance(event, hw.Fired):
            if count.value % 2:
                timer.set(event.at + timedelta(seconds=4))
            count.value += 1
            return Said(at=event.at, key="?", text=f"fired {count.value} {names.value}")
        count.value += event.n
        names.value.append("lost")  # only assignment counts
        names.value = [str(event.n)]
        if event.n == 1:
            timer.set(event.at + timedelta(seconds=3))
        elif event.n == 2:
            timer.clear()
        elif event.n == 3:
            timer.set(event.at - timedelta(seconds=30))
        return Said(at=event.at, key=event.key, text=f"row {count.value} {names.value}")

    @flow.sink(said)
    def out() -> hw.Sink:
        return kept

    run(flow, batch_rows=batch_rows)
    return kept.rows


def modelled(order: list[tuple[int, str | None, int]]) -> dict[str, list[str]]:
    """Run each key for itself, over its rows in order of time, then content."""
    by_key: dict[str | None, list[tuple[int, int]]] = defaultdict(list)
    for t, key, n in order:
        by_key[key].append((t, n))
    # The watermark before the end: what goes off after it may not set itself again.
    last = max(t for t, _, _ in order) - DISORDER
    return {str(key): _one_key(sorted(events), last) for key, events in by_key.items()}


def _one_key(events: list[tuple[int, int]], last: int) -> list[str]:
    count, now = 0, 0
    names: list[str] = []
    texts: list[str] = []
    timer: int | None = None
    waiting: list[tuple[int, int] | None] = [*events, None]
    for event in waiting:
        while timer is not None and (event is None or max(timer, now) < event[0]):
            now, asked, timer = max(timer, now), timer, None
            if count % 2 and now < last:
                timer = asked + 4
            count += 1
            texts.append(f"fired {count} {names}")
        if event is None:
            break
        now, n = event
        count += n
        names = [str(n)]
        timer = {1: now + 3, 2: None, 3: now - 30}.get(n, timer)
        texts.append(f"row {count} {names}")
    return texts


def by_key(found: list[dict[str, Any]]) -> list[str]:
    return sorted(row["text"] for row in found)


@settings(max_examples=60)
@given(rows)
def test_state_and_timers_follow_the_model_at_any_cut(
    given_rows: list[tuple[int, str | None, int]],
) -> None:
    order = delayed(given_rows)
    found = kept_by_engine(order, 1)
    assert found == kept_by_engine(order, 7)
    assert found == kept_by_engine(order, 1000)
    if order:
        model = modelled(order)
        assert sorted(text for texts in model.values() for text in texts) == by_key(found)
        for key, texts in model.items():
            mine = [text for text in texts if text.startswith("row")]
            name = None if key == "None" else key
            theirs = [r["text"] for r in found if r["key"] == name and r["text"][0] == "r"]
            assert mine == theirs


@settings(max_examples=30)
@given(rows, st.randoms(use_true_random=False))
def test_arrival_within_the_disorder_does_not_matter(
    given_rows: list[tuple[int, str | None, int]], random: Any
) -> None:
    ordered = sorted(given_rows, key=lambda row: row[0])
    jittered = sorted(ordered, key=lambda row: row[0] + random.random() * DISORDER)
    assert kept_by_engine(ordered, 3) == kept_by_engine(jittered, 4)


def test_state_is_forgotten_after_its_time_to_live() -> None:
    order = [(0, "a", 0), (TTL, "a", 0), (2 * TTL + 1, "a", 0), (2 * TTL + 2, "a", 2)]
    flow = hw.Flow("f")
    kept = Kept()

    @flow.source
    def ticks() -> hw.Source[Tick]:
        return Rows({"p": [{"at": at(t), "key": k, "n": n} for t, k, n in order]})

    @flow.operator(ticks, key="key", ttl=timedelta(seconds=TTL))
    def said(row: Tick, count: hw.State[int]) -> Said:
        count.value += 1
        return Said(at=row.at, key=row.key, text=str(count.value))

    @flow.sink(said)
    def out() -> hw.Sink:
        return kept

    run(flow, batch_rows=1)
    assert ["1", "2", "1", "2"] == [row["text"] for row in kept.rows]


def test_a_call_that_raises_changes_no_state() -> None:
    flow = hw.Flow("f")
    kept = Kept()

    @flow.source
    def ticks() -> hw.Source[Tick]:
        return Rows({"p": [{"at": at(t), "key": "a", "n": n} for t, n in enumerate([1, 0, 1])]})

    @flow.operator(ticks, key="key")
    def said(row: Tick, count: hw.State[int]) -> Said:
        count.value += 1
        return Said(at=row.at, key=row.key, text=f"{count.value} {1 // row.n}")

    @flow.sink(said)
    def out() -> hw.Sink:
        return kept

    ran = run(flow)
    assert ["1 1", "2 1"] == [row["text"] for row in kept.rows]
    assert ["row 1"] == [letter["origin"] for letter in ran.buried]


def test_timers_in_processing_time_go_by_the_clock() -> None:
    clock = ManualClock(int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000_000))
    flow = hw.Flow("f")
    kept = Kept()

    @flow.source
    def ticks() -> hw.Source[Tick]:
        return Rows({"p": [{"at": at(0), "key": "a", "n": n} for n in range(3)]})

    @flow.operator(ticks)
    def later(row: Tick) -> Tick:
        clock.advance(1_000_000)
        return row

    @flow.operator(later, key="key", timers="processing")
    def said(event: Tick | hw.Fired, timer: hw.Timer) -> Said | None:
        if isinstance(event, hw.Fired):
            return Said(at=event.at, key="a", text="fired")
        if event.n == 0:
            timer.set(at(1.5))
        return Said(at=event.at, key=event.key, text=f"row {event.n}")

    @flow.sink(said)
    def out() -> hw.Sink:
        return kept

    run(flow, batch_rows=1, clock=clock)
    assert "fired" in [row["text"] for row in kept.rows]
    assert at(1.5) == next(row["at"] for row in kept.rows if row["text"] == "fired")


def test_a_state_made_by_hand_is_as_in_a_run_changed_by_assignment_alone() -> None:
    seen: hw.State[list[int]] = hw.State([1])
    seen.value.append(2)
    assert [1] == seen.value
    seen.value = [*seen.value, 2]
    assert [1, 2] == seen.value
    nested: hw.State[dict[str, list[int]]] = hw.State({"a": []})
    nested.value["a"].append(1)
    assert {"a": []} == nested.value
