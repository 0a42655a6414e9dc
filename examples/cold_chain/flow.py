"""A cold chain: freezers in stores, and an alarm for one that is warm or has gone silent.

Six hours of a fleet that does not exist; with MQTT in the place of `synthetic.sensors` and Kafka
in the place of standard output, nothing else would change. Ten minutes after the last reading
every freezer is silent.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

import headwater as hw
from headwater.connectors import stdio, synthetic


class Reading(hw.Event):
    at: hw.EventTime
    store: hw.Site
    freezer: str
    celsius: float


class Alarm(hw.Event):
    at: hw.EventTime
    store: hw.Site
    freezer: str
    what: str


flow = hw.Flow("cold-chain")
FREEZER = ("store", "freezer")


@flow.source(tier="edge", disorder="10s")
def readings() -> hw.Source[Reading]:
    return synthetic.sensors(
        sites=3, devices=4, rate="5s", duration="6h", disorder="10s", gaps=0.02, warm=1, seed=7
    )


@flow.operator(readings)
def per_minute(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.key_by(*FREEZER).window(hw.tumbling("1m")).agg(celsius=pl.col("celsius").mean())


@flow.operator(per_minute, key=FREEZER)
def warm(minute: Reading, streak: hw.State[int]) -> Alarm | None:
    streak.value = streak.value + 1 if minute.celsius > -15 else 0
    if streak.value != 5:
        return None
    return Alarm(at=minute.at, store=minute.store, freezer=minute.freezer, what="warm")


@flow.operator(readings, key=FREEZER)
def silent(
    event: Reading | hw.Fired, last: hw.State[Reading | None], timer: hw.Timer
) -> Alarm | None:
    if isinstance(event, Reading):
        last.value = event
        timer.set(event.at + timedelta(minutes=10))
        return None
    assert last.value
    return Alarm(at=event.at, store=last.value.store, freezer=last.value.freezer, what="silent")


@flow.sink(warm, silent, tier="cloud")
def alarms() -> hw.Sink:
    return stdio.to_json_lines()
