"""The synthetic fleet: what each parameter promises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from headwater.connectors import synthetic
from headwater.connectors.conformance import check_source, drain
from headwater.flows.connector import Source
from headwater.flows.errors import ConnectorError
from headwater.flows.event import Event, EventTime, Site


class Reading(Event):
    at: EventTime
    store: Site
    freezer: str
    celsius: float
    n: int
    odd: bool
    more: Decimal | None


def rows_of(source: Source[Any], most: int | None = None) -> list[pl.DataFrame]:
    return [drain(source, name, Reading, most=most).rows for name in source.partitions()]


def behind(rows: pl.DataFrame) -> timedelta:
    lag = rows.select((pl.col("at").cum_max() - pl.col("at")).max()).item()
    assert isinstance(lag, timedelta)
    return lag


def test_conforms() -> None:
    options: dict[str, Any] = {"spikes": 0.1, "gaps": 0.2, "warm": 1, "drift": 0.1}
    check_source(
        synthetic.sensors(devices=3, sites=2, rows=301, disorder="20s", **options), Reading
    )
    check_source(synthetic.sensors(duration="30s", rows=1000), Reading)
    check_source(synthetic.sensors(rows=0), Reading)
    endless = synthetic.sensors(devices=2, disorder="3s")
    assert not endless.bounded
    check_source(endless, Reading, most=500)


def test_exactly_so_many_rows_over_the_sites() -> None:
    found = rows_of(synthetic.sensors(devices=7, sites=3, rows=200_002, gaps=0.3, disorder="9s"))
    assert [66_668, 66_667, 66_667] == [len(rows) for rows in found]


def test_order_names_and_counters() -> None:
    start = datetime(2025, 5, 5, 12, tzinfo=UTC)
    found = rows_of(synthetic.sensors(devices=2, sites=2, rate="10s", duration="25s", start=start))
    ats = [start + timedelta(seconds=10 * n) for n in range(3) for _ in range(2)]
    for site, rows in enumerate(found, start=1):
        assert ats == rows["at"].to_list()
        assert [f"store-0{site}"] * 6 == rows["store"].to_list()
        assert ["freezer-01", "freezer-02"] * 3 == rows["freezer"].to_list()
        assert [0, 0, 1, 1, 2, 2] == rows["n"].to_list()
        assert [None] * 6 == rows["more"].to_list()


def test_the_seed_decides() -> None:
    one, same, other = (
        rows_of(synthetic.sensors(rows=1000, seed=seed, disorder="5s"))[0] for seed in (1, 1, 2)
    )
    assert one.equals(same)
    assert not one.equals(other)
    two = rows_of(synthetic.sensors(sites=2, rows=1000))
    assert two[0]["celsius"].to_list() != two[1]["celsius"].to_list()


def test_disorder_is_used_and_bounded() -> None:
    options: dict[str, Any] = {"devices": 20, "rows": 200_000, "rate": "1s"}
    ordered = rows_of(synthetic.sensors(**options))[0]
    shuffled = rows_of(synthetic.sensors(disorder="5s", **options))[0]
    assert timedelta(0) == behind(ordered)
    assert timedelta(seconds=3) < behind(shuffled) <= timedelta(seconds=5)
    # Only the last rows may differ: those that the bound on rows cuts off.
    keys = ["freezer", "n"]
    both = shuffled.join(ordered, on=[*keys, "at", "celsius"], how="semi")
    assert len(both) > 199_800


def test_values_wander_about_base_across_blocks() -> None:
    rows = rows_of(synthetic.sensors(devices=40, rows=400_000, base=5.0, noise=2.0))[0]
    assert rows["celsius"].mean() == pytest.approx(5.0, abs=1.0)
    each = rows.group_by("freezer").agg(
        pl.col("celsius").std().alias("spread"), pl.col("celsius").diff().abs().max().alias("step")
    )
    assert each["spread"].mean() == pytest.approx(2.0, rel=0.15)
    assert each["step"].max() < 3.0  # type: ignore[operator]


def test_drift_spikes_and_warm() -> None:
    options: dict[str, Any] = {"devices": 4, "rate": "1m", "duration": "10h", "noise": 0.0}
    still = rows_of(synthetic.sensors(**options))[0]
    assert {-18.0} == set(still["celsius"].to_list())
    drifting = rows_of(synthetic.sensors(drift=1.0, **options))[0]
    expected = [-18.0 + n / 60 for n in range(600) for _ in range(4)]
    assert expected == pytest.approx(drifting["celsius"].to_list())
    spiky = rows_of(synthetic.sensors(spikes=0.1, **options))[0]
    off = (spiky["celsius"] + 18.0).abs()
    assert ((off >= 10.0) & (off <= 30.0)).to_list() == spiky["odd"].to_list()
    assert spiky["odd"].mean() == pytest.approx(0.1, abs=0.03)
    warm = rows_of(synthetic.sensors(warm=1, **options))[0]
    hot = warm.filter(pl.col("celsius") > -15)
    assert ["freezer-01"] == hot["freezer"].unique().to_list()
    assert -3.0 == hot["celsius"].max()
    minutes = {at.hour * 60 + at.minute for at in hot["at"].to_list()}
    assert set(range(13, 38)) | set(range(373, 398)) == minutes


def test_gaps_silence_a_device_for_whole_slots() -> None:
    rows = rows_of(synthetic.sensors(devices=20, rate="1m", duration="7d", gaps=0.2))[0]
    assert len(rows) / (20 * 7 * 1440) == pytest.approx(0.8, abs=0.02)
    slots = rows.group_by("freezer", pl.col("at").dt.truncate("10m")).len()
    assert [10] == slots["len"].unique().to_list()


@pytest.mark.parametrize(
    "options",
    [
        {"rate": "0s"},
        {"devices": 0},
        {"sites": 0},
        {"rows": -1},
        {"spikes": 1.5},
        {"gaps": 1.0},
        {"disorder": "5"},
        {"start": datetime(2024, 1, 1)},
    ],
)
def test_wrong_parameters(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        synthetic.sensors(**options)


def test_a_field_that_no_sensor_gives() -> None:
    class Odd(Event):
        many: list[int]

    with pytest.raises(ConnectorError, match=r"Odd\.many: no sensor"):
        drain(synthetic.sensors(rows=1), "site-01", Odd)
    with pytest.raises(ConnectorError, match="is no site"):
        drain(synthetic.sensors(rows=1), "site-09", Reading)
