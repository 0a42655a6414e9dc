"""The cold-chain example: its operators as functions, and the whole flow."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import fmean
from typing import Any, Final

import pytest

import headwater as hw
from headwater.connectors.conformance import drain
from headwater.edge.flowfile import module_of

from .running import EXAMPLES, run

FLOW: Final = EXAMPLES / "cold_chain" / "flow.py"
NOON: Final = datetime(2024, 1, 1, 12, tzinfo=UTC)
QUIET: Final = timedelta(minutes=10)
ALARMS: Final = 23

Freezer = tuple[str, str]
Alarm = tuple[datetime, str, str, str]


@pytest.fixture(scope="module")
def chain() -> Any:
    return module_of(FLOW)


def reading(chain: Any, celsius: float, at: datetime = NOON) -> Any:
    return chain.Reading(at=at, store="pavia", freezer="f1", celsius=celsius)


# The operators as functions


def test_fifth_warm_minute(chain: Any) -> None:
    streak = hw.State(4)
    alarm = chain.warm(reading(chain, -14.9), streak)
    assert (NOON, "pavia", "f1", "warm") == (alarm.at, alarm.store, alarm.freezer, alarm.what)
    assert 5 == streak.value


@pytest.mark.parametrize("before", [0, 1, 3, 5, 6])
def test_no_alarm_at_other_warm_minutes(chain: Any, before: int) -> None:
    streak = hw.State(before)
    assert chain.warm(reading(chain, -14.9), streak) is None
    assert before + 1 == streak.value


@pytest.mark.parametrize("celsius", [-15.0, -18.0])
def test_a_cold_minute_ends_the_streak(chain: Any, celsius: float) -> None:
    streak = hw.State(4)
    assert chain.warm(reading(chain, celsius), streak) is None
    assert 0 == streak.value


def test_a_reading_sets_the_timer(chain: Any) -> None:
    last: hw.State[Any] = hw.State(None)
    timer = hw.Timer()
    event = reading(chain, -18.0)
    assert chain.silent(event, last, timer) is None
    assert (event, NOON + QUIET) == (last.value, timer.at)


def test_a_timer_that_fires_is_an_alarm(chain: Any) -> None:
    last: hw.State[Any] = hw.State(reading(chain, -18.0))
    alarm = chain.silent(hw.Fired(NOON + QUIET), last, hw.Timer())
    expected = (NOON + QUIET, "pavia", "f1", "silent")
    assert expected == (alarm.at, alarm.store, alarm.freezer, alarm.what)


# The whole flow


def readings_of(chain: Any) -> dict[Freezer, list[tuple[datetime, float]]]:
    """Return what each freezer sent, by time."""
    source = chain.readings()
    found: dict[Freezer, list[tuple[datetime, float]]] = defaultdict(list)
    for partition in source.partitions():
        for row in drain(source, partition, chain.Reading).rows.iter_rows(named=True):
            found[row["store"], row["freezer"]].append((row["at"], row["celsius"]))
    return {freezer: sorted(sent) for freezer, sent in found.items()}


def warm_alarms(freezer: Freezer, sent: list[tuple[datetime, float]]) -> list[Alarm]:
    minutes: dict[datetime, list[float]] = defaultdict(list)
    for at, celsius in sent:
        minutes[at.replace(second=0, microsecond=0)].append(celsius)
    alarms: list[Alarm] = []
    streak = 0
    for minute, values in sorted(minutes.items()):
        streak = streak + 1 if fmean(values) > -15 else 0
        if streak == 5:
            end = minute + timedelta(minutes=1, microseconds=-1)
            alarms.append((end, *freezer, "warm"))
    return alarms


def silent_alarms(freezer: Freezer, sent: list[tuple[datetime, float]]) -> list[Alarm]:
    times = [at for at, _ in sent]
    gaps = [before for before, after in pairwise(times) if after - before > QUIET]
    return [(at + QUIET, *freezer, "silent") for at in [*gaps, times[-1]]]


def expected_alarms(chain: Any) -> list[Alarm]:
    every = readings_of(chain).items()
    warm = [alarm for freezer, sent in every for alarm in warm_alarms(freezer, sent)]
    silent = [alarm for freezer, sent in every for alarm in silent_alarms(freezer, sent)]
    return sorted(warm + silent)


@pytest.mark.parametrize(("batch_rows", "workers"), [(200, 1), (65_536, 1), (10_000, 2)], ids=str)
def test_alarms_equal_those_of_the_oracle(
    chain: Any, capfdbinary: pytest.CaptureFixture[bytes], batch_rows: int, workers: int
) -> None:
    progress = run(FLOW, batch_rows=batch_rows, workers=workers)
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    actual = [
        (datetime.fromisoformat(row["at"]), row["store"], row["freezer"], row["what"])
        for row in lines
    ]
    assert expected_alarms(chain) == sorted(actual)
    assert ALARMS == progress.sinks["alarms"] == len(lines)


def test_the_example_has_alarms_of_both_kinds_while_readings_come(chain: Any) -> None:
    sent = readings_of(chain)
    end = max(times[-1][0] for times in sent.values())
    alarms = [what for at, _, _, what in expected_alarms(chain) if at <= end]
    assert (3, 8) == (alarms.count("warm"), alarms.count("silent"))
    assert 12 == len(sent)


def test_the_lines_do_not_depend_on_batches_or_workers(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    found = []
    for batch_rows, workers in ((333, 1), (65_536, 1), (5_000, 2), (65_536, 3)):
        run(FLOW, batch_rows=batch_rows, workers=workers)
        found.append(capfdbinary.readouterr().out)
    assert b"warm" in found[0]
    assert [found[0]] * len(found) == found
