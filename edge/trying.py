"""``headwater test``: what a flow makes of a recording, against what it should make of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from ..flows.errors import SettingsError
from ..flows.graph import Graph
from .arguments import (
    AtOption,
    FlowArgument,
    FromOption,
    PartitionOption,
    RecordingArgument,
    ReplaceOption,
    SeedOption,
    SetOption,
    ToOption,
    TracebackOption,
    WorkersOption,
)
from .endings import FAILED, USAGE, fail, failing_with, say
from .replays import PANEL, caught, part_of, prepared

if TYPE_CHECKING:
    from .replaying import Part

__all__ = ["register"]

_SEEDS: Final = 20
"""How many are tried, if nothing is said."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("test", rich_help_panel=PANEL)(held_against)


def held_against(
    flow: FlowArgument,
    recording: RecordingArgument,
    first_seed: Annotated[
        int | None,
        typer.Argument(metavar="SEED", help="With --faults: this one.", show_default=False),
    ] = None,
    expect: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The golden file: .csv, .jsonl, .parquet, .arrow."),
    ] = None,
    faults: Annotated[
        bool, typer.Option("--faults", help="Let a durable run die again and again.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With --faults: so many seeds.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.0, metavar="S", help="With --faults: for so long.")
    ] = None,
    sink: Annotated[
        str | None, typer.Option(metavar="NAME", help="The sink, if there are several.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write the file instead of comparing.")
    ] = False,
    at: AtOption = None,
    first: FromOption = None,
    last: ToOption = None,
    partition: PartitionOption = None,
    replaced: ReplaceOption = None,
    workers: WorkersOption = 1,
    settings: SetOption = None,
    seed: SeedOption = 0,
    show_traceback: TracebackOption = False,
) -> None:
    """Run a flow on a recording, and hold what sinks would get against what they should get.

    That is a golden file; or, with --faults, what they get when nothing goes wrong, while the flow
    runs as with --state and dies again and again, as the seeds have it.

    Sinks are not opened. Exit codes: 0 the same, 1 there are differences, 2 anything else.
    """
    from .collector import relax_collector
    from .golden import Golden, written_of

    relax_collector()
    with failing_with(USAGE, show_traceback=show_traceback):
        part = part_of(at, partition, first, last, replaced)
        if faults and expect is None and workers == 1 and not update:
            tried = _seeds(first_seed, seeds, seconds)
            _under_faults(
                flow, recording, part, settings, seed, tried, show_traceback=show_traceback
            )
            return
        if faults or expect is None or (first_seed, seeds, seconds) != (None, None, None):
            raise SettingsError(
                "say one of --expect FILE and --faults [SEED]; --seeds and --seconds go with "
                "--faults, and --workers and --update with --expect"
            )
        golden = Golden(expect)
        ran = caught(flow, recording, part, settings, workers, seed, show_traceback=show_traceback)
        written = written_of(ran, sink)
        if update:
            golden.write(written)
            say(f"wrote {expect}: {_times(written.rows.height, 'row')}")
            return
        lines = golden.differences(written)
    for line in lines:
        typer.echo(line)
    if lines:
        say(f"{expect}: differs; --update writes it anew")
        raise typer.Exit(FAILED)
    say(f"{expect}: as expected, {_times(written.rows.height, 'row')}")


def _seeds(first: int | None, seeds: int | None, seconds: float | None) -> Iterator[int]:
    """Yield seeds: the first alone, or so many, or for so long; as it is without, 20 of them."""
    begun = time.monotonic()
    if seeds is None and seconds is None:
        seeds = _SEEDS if first is None else 1
    for seed in count(first or 0):
        done = seed - (first or 0)
        if done == seeds or (done and seconds is not None and time.monotonic() - begun >= seconds):
            return
        yield seed


def _under_faults(
    flow: str,
    recording: Path,
    part: Part,
    settings: list[str] | None,
    seed: int,
    seeds: Iterator[int],
    *,
    show_traceback: bool,
) -> None:
    """Try seeds, until one shows a difference; end with it."""
    from ..connectors.recordings import Recording
    from .faults import Faults, Subject
    from .flowfile import forget

    def load() -> tuple[Graph, Any]:
        forget(flow)
        return prepared(flow, settings, show_traceback=show_traceback)

    with failing_with(USAGE, f"{flow}: ", show_traceback=show_traceback):
        faults = Faults(Subject(load, Recording(recording), part, seed))
    if faults.unsteady:
        _unlike(faults.unsteady, f"{flow}: gives something else each time, without a fault")
    tried = deaths = 0
    for number in seeds:
        trial = faults.tried(number)
        tried, deaths = tried + 1, deaths + trial.deaths
        if trial.differences:
            again = f"headwater test {flow} {recording} --faults {number}"
            _unlike(
                trial.differences,
                f"{flow}: seed {number} gives something else after "
                f"{_times(trial.deaths, 'death')}; {again} shows it again",
            )
    say(
        f"{flow}: as without faults, {faults.rows:,} rows; {_times(tried, 'seed')}, "
        f"{_times(deaths, 'death')}"
    )


def _unlike(lines: Sequence[str], told: str) -> NoReturn:
    for line in lines:
        typer.echo(line)
    fail(FAILED, [told])


def _times(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
