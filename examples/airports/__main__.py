"""The demo: ``python -m examples.airports`` runs the flow on a year and shows what it found.

Everything goes to ``build/demo`` (or ``--out``): the data as the airports would have seen them,
the four files of the flow, a report, and a picture.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from headwater.edge.flowfile import load_flow
from headwater.edge.overrides import settings_of
from headwater.edge.running import Choices, Outcome, run_graph

from . import data
from .picture import picture

HERE = Path(__file__).parent
AIRPORTS = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "LaGuardia"}
ENOUGH = 1 / 20_000
"""The share of all flights below which the picture does not show an hour of the day."""
MEAN = (pl.col("delay") * pl.col("flights")).sum() / pl.col("flights").sum()
"""The mean delay of all flights of several rows."""
ZONE = "America/New_York"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser("python -m examples.airports", description="The demo.")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="a folder")
    parser.add_argument("--workers", type=int, default=1, help="processes for keyed operators")
    parser.add_argument("--rows", type=int, help="only the first so many departures")
    chosen = parser.parse_args(arguments)
    if chosen.workers < 1 or (chosen.rows is not None and chosen.rows < 1):
        parser.error("--workers and --rows are at least 1")
    console = Console()
    begun = time.monotonic()
    try:
        departures = laid_out(chosen.out / "data", chosen.rows)
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n")
    outcome = run(chosen.out, chosen.workers, console)
    show(chosen.out, console)
    drawing = chosen.out / "airports.svg"
    drawing.write_text(drawn(chosen.out), "utf-8")
    rate = departures / outcome.seconds
    console.print(
        f"\n{departures:,} departures in {outcome.seconds:.1f} s ({rate:,.0f} departures/s); "
        f"{time.monotonic() - begun:.1f} s with laying out and drawing\n"
        f"the picture: {drawing}",
        highlight=False,
        soft_wrap=True,
    )


def laid_out(target: Path, rows: int | None) -> int:
    """Lay the data out unless that has been done from the same package; return the departures."""
    stamp = target / "laid-out.txt"
    version = f"{version_of(data.package_data())} {rows or 'all'}"
    if stamp.exists():
        laid, _, known = stamp.read_text("utf-8").rpartition(" ")
        if laid == version:
            return int(known)
        stamp.unlink()
    count = data.lay_out(target, rows=rows)
    stamp.write_text(f"{version} {count}", "utf-8")
    return count


def version_of(folder: Path) -> str:
    """Return a digest of what the layout depends on."""
    files = [folder / "flights.csv.zip", folder / "weather.csv", HERE / "data.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def run(out: Path, workers: int, console: Console) -> Outcome:
    """Run the flow as ``headwater run`` does, and say how it went."""
    file = str(HERE / "flow.py")
    flow = load_flow(file)
    settings = settings_of(flow.settings, [f"data={out / 'data'}", f"out={out}"])
    choices = Choices(workers=workers, report=out / "report.json", dead=out / "airports.dead.jsonl")
    say = Console(stderr=True, highlight=False, soft_wrap=True)
    return run_graph(flow.graph(), file, settings, choices, lambda line: say.print(line))


# What it found


def show(out: Path, console: Console) -> None:
    """Print the tables."""
    for table in (carriers(pl.read_parquet(out / "network.parquet")), hours(out / "worst.csv")):
        console.print()
        console.print(table)
    legs = pl.read_ndjson(out / "carried.jsonl", schema={"tail": pl.String})
    console.print(
        f"\n{legs.height:,} delays were carried from one leg to the next", highlight=False
    )
    if legs.height:
        champion = legs.group_by("tail").len().sort("len", "tail", descending=[True, False])
        tail, times = champion.row(0)
        console.print(f"the champion is {tail}, with {times}", highlight=False)


def carriers(network: pl.DataFrame) -> Table:
    """Return the five carriers with the worst mean delay, over all flights."""
    worst = (
        network.group_by("carrier")
        .agg(pl.col("flights").sum(), delay=MEAN)
        .sort("delay", "carrier", descending=[True, False])
        .head(5)
    )
    names = pl.read_csv(data.package_data() / "airlines.csv")
    named = dict(names.select("carrier", "name").iter_rows())
    table = Table(title="Worst carriers", title_justify="left")
    table.add_column("carrier")
    table.add_column("flights", justify="right")
    table.add_column("mean delay, min", justify="right")
    for carrier, flights, delay in worst.iter_rows():
        table.add_row(f"{carrier}  {named.get(carrier, '')}", f"{flights:,}", f"{delay:.1f}")
    return table


def hours(file: Path) -> Table:
    """Return the ten worst hours of rough weather."""
    table = Table(title="Worst hours in rough weather (minutes, mph, inches, miles)")
    table.title_justify = "left"
    table.add_column("hour (New York)", no_wrap=True)
    table.add_column("airport", no_wrap=True)
    for name in ("flights", "delay", "wind", "rain", "sight"):
        table.add_column(name, justify="right")
    worst = pl.read_csv(file, schema_overrides={"start": pl.String})
    local = pl.col("start").str.to_datetime(time_zone="UTC").dt.convert_time_zone(ZONE)
    weather = [pl.col("wind_speed"), pl.col("precip"), pl.col("visib")]
    for start, origin, flights, delay, *readings in worst.select(
        local, "origin", "flights", "delay", *weather
    ).iter_rows():
        shown = ["-" if reading is None else f"{reading:g}" for reading in map(rounded, readings)]
        table.add_row(
            f"{start:%d %b %H:00}", AIRPORTS[origin], str(flights), f"{delay:.1f}", *shown
        )
    return table


def rounded(reading: float | None) -> float | None:
    """Return a reading with as many digits as the instrument has."""
    return None if reading is None else round(reading, 2)


def drawn(out: Path) -> str:
    """Return the picture of how delays grow over the day."""
    hourly = pl.read_parquet(out / "hourly.parquet")
    flights: int = hourly.select(pl.col("flights").sum()).item()
    by_hour = (
        hourly.group_by("origin", hour=pl.col("start").dt.convert_time_zone(ZONE).dt.hour())
        .agg(pl.col("flights").sum(), delay=MEAN)
        .filter(pl.col("flights") >= ENOUGH * flights)
        .sort("origin", "hour")
    )
    lines: dict[str, dict[int, float]] = {}
    for origin, hour, _, delay in by_hour.iter_rows():
        lines.setdefault(AIRPORTS[origin], {})[hour] = delay
    local = pl.col("start").dt.convert_time_zone(ZONE).dt.strftime("%d %b %Y")
    first, last = hourly.sort("start").select(local.first(), last=local.last()).row(0)
    return picture(
        lines,
        title="Delays grow over the day",
        subtitle=f"{flights:,} departures from New York's airports, {first} to {last}",
    )


if __name__ == "__main__":
    main()
