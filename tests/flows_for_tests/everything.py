"""A flow with an operator of every kind, for tests that compare ways of running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

import headwater as hw
from headwater.connectors import files, synthetic


class Where(hw.Settings):
    out: Path = Path()
    rows: int = 3000


class Reading(hw.Event):
    at: hw.EventTime
    site: hw.Site
    device: str
    celsius: float
    count: int


class Limit(hw.Event):
    at: hw.EventTime
    device: str
    limit: float


class Alarm(hw.Event):
    at: hw.EventTime
    device: str
    text: str


flow = hw.Flow("everything", settings=Where)


@flow.source(tier="edge", disorder="20s")
def readings(where: Where) -> hw.Source[Reading]:
    return synthetic.sensors(
        devices=6, sites=3, rate="1s", rows=where.rows, seed=7, disorder="20s", gaps=0.3
    )


@flow.source(tier="edge", disorder="5s")
def strict(where: Where) -> hw.Source[Reading]:
    # It claims less disorder than there is, so that some rows are late.
    return synthetic.sensors(
        devices=6, sites=2, rate="1s", rows=where.rows // 2, seed=8, disorder="20s"
    )


@flow.operator(readings)
def hot(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.filter(pl.col("count") % 3 != 0).with_columns(
        celsius=pl.col("celsius") * 9 / 5 + 32
    )


@flow.operator(hot)
def tumbling(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    return (
        rows.key_by("device")
        .window(hw.tumbling("30s"))
        .agg(
            n=pl.len(),
            mean=pl.col("celsius").mean(),
            median=pl.col("celsius").median(),
            first=pl.col("celsius").first(),
            spread=pl.col("celsius").std(),
        )
    )


@flow.operator(strict)
def hopping(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    windowed = rows.key_by("site", "device").window(hw.hopping("20s", "5s"), lateness="2s")
    return windowed.agg(n=pl.len(), best=pl.col("celsius").max())


@flow.operator(hot)
def sliding(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    return rows.key_by("device").window(hw.sliding("10s")).agg(mean=pl.col("celsius").mean())


@flow.operator(hot)
def sessions(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    return rows.key_by("site", "device").window(hw.session("3s")).agg(n=pl.len())


@flow.operator(hot)
def counted(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    return rows.key_by("device").window(hw.count(7)).agg(total=pl.col("celsius").sum())


@flow.operator(hot)
def running(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    return rows.key_by("device").running(total=pl.col("celsius").sum(), n=pl.len())


@flow.operator(hot)
def rare(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.key_by("device").deduplicate(within="15s")


@flow.operator(hot)
def hottest(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    return rows.key_by("site").window(hw.tumbling("1m")).top(2, by="celsius")


@flow.operator(rare)
def limits(rows: hw.Stream[Reading]) -> hw.Stream[Limit]:
    return rows.select("at", "device", limit=pl.col("celsius") + 1)


@flow.operator(hot, limits)
def above(rows: hw.Stream[Reading], table: hw.Stream[Limit]) -> hw.Stream[Any]:
    return rows.lookup(table, by="device").filter(pl.col("celsius") > pl.col("limit"))


@flow.operator(tumbling, limits)
def against(rows: hw.Stream[Any], table: hw.Stream[Limit]) -> hw.Stream[Any]:
    return rows.lookup(table, by="device", broadcast=True)


@flow.operator(rare, strict)
def near(left: hw.Stream[Reading], right: hw.Stream[Reading]) -> hw.Stream[Any]:
    return left.join_interval(right, by="device", before="2s", after="3s", how="left")


@flow.operator(hot, rare)
def together(left: hw.Stream[Reading], right: hw.Stream[Reading]) -> hw.Stream[Any]:
    return left.join_window(right, by=["site", "device"], window=hw.tumbling("10s"))


@flow.operator(rare, limits, key="device")
def watch(event: Reading | Limit | hw.Fired, seen: hw.State[int], timer: hw.Timer) -> Alarm | None:
    if isinstance(event, hw.Fired):
        return Alarm(at=event.at, device="", text=f"silent after {seen.value}")
    if isinstance(event, Limit):
        return Alarm(at=event.at, device=event.device, text=f"{event.limit:.6f}")
    seen.value += 1
    timer.set(event.at + timedelta(seconds=40))
    if seen.value % 5 == 0:
        raise ValueError("every fifth is refused")
    return None


@flow.operator(watch)
def letters(alarm: Alarm) -> Iterator[Alarm]:
    for word in alarm.text.split():
        yield alarm.replace(text=word)


@flow.operator(watch, letters)
def both(first: hw.Stream[Alarm], second: hw.Stream[Alarm]) -> hw.Stream[Alarm]:
    return first.union(second)


@flow.operator(tumbling)
def again(rows: hw.Stream[Any]) -> hw.Stream[Any]:
    return rows.window(hw.tumbling("1m")).agg(n=pl.col("n").sum(), mean=pl.col("mean").mean())


OUTPUTS: dict[str, hw.Operator[..., Any]] = {
    "tumbling": tumbling,
    "hopping": hopping,
    "sliding": sliding,
    "sessions": sessions,
    "counted": counted,
    "running": running,
    "rare": rare,
    "hottest": hottest,
    "above": above,
    "against": against,
    "near": near,
    "together": together,
    "watch": watch,
    "letters": letters,
    "both": both,
    "again": again,
}


def written(name: str) -> Callable[[Where], hw.Sink]:
    def sink(where: Where) -> hw.Sink:
        return files.to_json_lines(where.out / f"{name}.jsonl")

    return sink


for _name, _operator in OUTPUTS.items():
    flow.sink(_operator, name=f"{_name} out")(written(_name))
