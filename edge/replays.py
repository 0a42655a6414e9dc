"""``headwater record``, ``replay``, ``diff``: what a flow did, done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from ..flows.errors import HeadwaterError, SettingsError
from ..flows.graph import Graph, SourceSpec
from .arguments import (
    AtOption,
    DeadOption,
    FlowArgument,
    FromOption,
    LiveOption,
    PartitionOption,
    RecordingArgument,
    ReplaceOption,
    ReportOption,
    SeedOption,
    SetOption,
    ToOption,
    TracebackOption,
    WorkersOption,
)
from .endings import ABORTED, FAILED, USAGE, fail, failing_with, loaded, say

if TYPE_CHECKING:
    from .catching import Catch
    from .replaying import Part

__all__ = ["PANEL", "caught", "part_of", "prepared", "register"]

PANEL: Final = "Record and replay"
_FULL: Final = 0.2
"""Seconds between two looks at whether a full disk has room again."""
_SHORT: Final = 1.0
"""Seconds below which the first of two runs tells nothing about rates."""


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    commands: dict[str, Callable[..., None]] = {
        "record": record,
        "replay": replay,
        "diff": diff,
    }
    for name, command in commands.items():
        app.command(name, rich_help_panel=PANEL)(command)


def record(
    flow: FlowArgument,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where to, a new folder.")],
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="OPERATOR", help="What to record; all sources by default."),
    ] = None,
    compression: Annotated[
        Literal["zstd", "lz4", "none"], typer.Option(help="Of the recorded rows.")
    ] = "zstd",
    workers: WorkersOption = 1,
    report: ReportOption = None,
    settings: SetOption = None,
    seed: SeedOption = 0,
    batch_rows: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="Rows of a batch at the most.")
    ] = 65_536,
    dead: DeadOption = None,
    live: LiveOption = True,
    show_traceback: TracebackOption = False,
) -> None:
    """Run a flow as `run` does, and record what its sources give, or what leaves operators."""
    from ..connectors.journal import FileStorage, JournalSettings
    from ..connectors.recordings import FolderTape
    from ..flows.engine.recorder import Recorder
    from ..flows.rewiring import Rewiring
    from .clock import SystemClock
    from .collector import relax_collector
    from .running import Choices, Way, run_graph

    relax_collector()
    graph, values = prepared(flow, settings, show_traceback=show_traceback)
    sources = [node.id for node in graph.sources()]
    chosen = list(dict.fromkeys(at or sources))
    taps = tuple(name for name in chosen if name not in sources)
    clock = SystemClock()
    with failing_with(USAGE, show_traceback=show_traceback):
        tape = FolderTape(
            FileStorage(to, create=True),
            graph,
            chosen,
            clock,
            settings=JournalSettings(compression=None if compression == "none" else compression),
            wait=lambda: time.sleep(_FULL),
            notice=say,
        )
    make = partial(Recorder, tape=tape, at=chosen)
    way = Way(make, clock, Rewiring(tapped=taps) if taps else None)
    choices = Choices(workers, seed, batch_rows, report, dead, live)
    try:
        with failing_with(FAILED, f"{graph.flow}: failed: ", show_traceback=show_traceback):
            try:
                run_graph(graph, flow, values, choices, say, way=way)
            except KeyboardInterrupt:
                fail(ABORTED, [f"{graph.flow}: aborted; the recording has what was read"])
    finally:
        tape.close()
        say(f"  recorded {tape.rows:,} rows of {', '.join(chosen)} in {to}")


def replay(
    flow: FlowArgument,
    recording: RecordingArgument,
    speed: Annotated[
        str, typer.Option(metavar="N", help="1x is as it was, 10x ten times as fast, or max.")
    ] = "max",
    at: AtOption = None,
    first: FromOption = None,
    last: ToOption = None,
    partition: PartitionOption = None,
    loop: Annotated[
        int, typer.Option(min=0, metavar="N", help="How often, one after the other; 0: always.")
    ] = 1,
    replaced: ReplaceOption = None,
    workers: WorkersOption = 1,
    report: ReportOption = None,
    settings: SetOption = None,
    seed: SeedOption = 0,
    dead: DeadOption = None,
    live: LiveOption = True,
    show_traceback: TracebackOption = False,
) -> None:
    """Run a flow on a recording: at any speed and with any workers, it gives the same."""
    from ..connectors.recordings import Recording
    from .collector import relax_collector
    from .replaying import replay as fed
    from .running import Choices, run_graph

    relax_collector()
    graph, values = prepared(flow, settings, show_traceback=show_traceback)
    with failing_with(USAGE, show_traceback=show_traceback):
        part = part_of(at, partition, first, last, replaced, speed, loop)
        found = fed(graph, Recording(recording), part)
    for node in found.graph.sources():
        if node.id not in found.fed and isinstance(graph.node(node.id).spec, SourceSpec):
            say(f"  {node.id} is not in the recording: it is read")
    choices = Choices(workers, seed, report=report, dead=dead, live=live)
    with failing_with(FAILED, f"{graph.flow}: failed: ", show_traceback=show_traceback):
        try:
            run_graph(found.graph, flow, values, choices, say, way=found.way)
        except KeyboardInterrupt:
            fail(ABORTED, [f"{graph.flow}: aborted; the sinks have nothing of this replay"])


def prepared(flow: str, settings: list[str] | None, *, show_traceback: bool) -> tuple[Graph, Any]:
    """Load a flow and its settings, or end with what is wrong."""
    from .overrides import settings_of

    described, graph = loaded(flow, show_traceback=show_traceback)
    with failing_with(USAGE, show_traceback=show_traceback):
        return graph, settings_of(described.settings, settings or ())


def _time(option: str, text: str | None) -> int | None:
    """Return a time in µs; one without a zone is in UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{option} {text}: write a time as 2026-01-31T12:00:00Z") from None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    since = found - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        found = float(text.removesuffix("x").replace(",", ""))
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise SettingsError(f"--speed {text}: write 1x, 10x, 0.5x or max")
    return found


def _replacement(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise HeadwaterError(f"--replace {text}: write it as OPERATOR=RECORDING")
    return name, Path(folder)


def diff(
    before: Annotated[
        str, typer.Argument(metavar="FLOW_A", help="The version before.", show_default=False)
    ],
    after: Annotated[
        str, typer.Argument(metavar="FLOW_B", help="The version after.", show_default=False)
    ],
    recording: RecordingArgument,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="[SINK:]COLUMN,...", help="What tells rows apart."),
    ] = None,
    show: Annotated[int, typer.Option(min=0, metavar="N", help="Examples of each kind.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
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
    """Run two versions of a flow on one recording, and show what sinks would get differently.

    Sinks are not opened. Exit codes: 0 the same, 1 there are differences, 2 anything else.
    """
    from .collector import relax_collector
    from .differences import compared

    relax_collector()
    with failing_with(USAGE, show_traceback=show_traceback):
        part = part_of(at, partition, first, last, replaced)
        old, new = (
            caught(flow, recording, part, settings, workers, seed, show_traceback=show_traceback)
            for flow in (before, after)
        )
        if old.seconds < _SHORT:  # it paid for what both need; it is measured again, warm
            old = caught(
                before, recording, part, settings, workers, seed, show_traceback=show_traceback
            )
        found = compared(old, new, _keys(key or ()), show=show)
    if as_json:
        typer.echo(found.to_json())
    else:
        for line in found.lines():
            typer.echo(line)
    if not found.equal:
        raise typer.Exit(FAILED)


def part_of(
    at: list[str] | None,
    partition: list[str] | None,
    first: str | None,
    last: str | None,
    replaced: list[str] | None,
    speed: str = "max",
    loop: int = 1,
) -> Part:
    """Return what options say; raises `SettingsError`."""
    from .replaying import Part

    return Part(
        tuple(at or ()), tuple(partition or ()), _time("--from", first), _time("--to", last),
        loop or None, _speed(speed), tuple(map(_replacement, replaced or ())),
    )  # fmt: skip


def caught(
    flow: str,
    recording: Path,
    part: Part,
    settings: list[str] | None,
    workers: int,
    seed: int,
    *,
    show_traceback: bool,
) -> Catch:
    """Replay a recording with the sinks caught, or end with what is wrong."""
    from ..connectors.recordings import Recording
    from .catching import catch

    graph, values = prepared(flow, settings, show_traceback=show_traceback)
    with failing_with(USAGE, f"{flow}: ", show_traceback=show_traceback):
        return catch(graph, flow, values, Recording(recording), part, workers=workers, seed=seed)


def _keys(texts: Sequence[str]) -> dict[str | None, Sequence[str]]:
    """Return keys by sink, None for all that have none of their own."""
    found: dict[str | None, Sequence[str]] = {}
    for text in texts:
        sink, colon, columns = text.rpartition(":")
        found[sink if colon else None] = tuple(name.strip() for name in columns.split(","))
    return found
