"""Runs a flow from the command line: settings, view, signals, dead letters, summary, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ..connectors.terminal import terminal
from ..flows.clock import Clock
from ..flows.engine.log import RunLog
from ..flows.engine.runner import BATCH_ROWS, Executor, Options, Progress, Runner
from ..flows.engine.signatures import flow_hash
from ..flows.errors import HeadwaterError
from ..flows.graph import Graph, SinkSpec
from ..flows.journal.records import SyncPolicy
from ..flows.rewiring import Rewiring
from .clock import SystemClock
from .deadletters import DeadLetters
from .live import LineView, LiveView, View, duration
from .report import Measured, report_of, write_report
from .stopping import Stopping
from .tally import rows_read, tallies
from .traces import shown, user_place

__all__ = ["Choices", "Outcome", "Way", "run_graph"]

Say = Callable[[str], None]
_WATCH_EVERY: Final = 100_000
"""µs between two looks at where the run stands, at the least."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How to run, as chosen on the command line."""

    workers: int = 1
    seed: int = 0
    batch_rows: int = BATCH_ROWS
    report: Path | None = None
    dead: Path | None = None
    live: bool = True
    state: Path | None = None
    """The folder of a durable run."""
    sync: SyncPolicy = "interval"
    image_every: int = 10_000_000
    """µs between two images of a durable run."""
    reset: tuple[str, ...] = ()
    """Operators that begin without the state that was kept for them."""
    savepoint: Path | None = None
    """The folder of a savepoint that a durable run begins from."""
    new_sinks: bool = False
    """Whether its sinks begin anew then, and not where they stood."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    progress: Progress
    seconds: float
    stopped: bool
    """Whether it was asked to stop before its input ended."""


@dataclass(frozen=True, slots=True)
class Way:
    """What runs a graph, where that is not a plain `Runner`."""

    make: Callable[..., Runner] = Runner
    """Takes what `Runner` does."""
    clock: Clock = field(default_factory=SystemClock)
    rewiring: Rewiring | None = None
    """How workers, which load the flow themselves, get the graph that they share in."""


def run_graph(
    graph: Graph,
    reference: str,
    settings: Any,
    choices: Choices,
    say: Say,
    *,
    way: Way | None = None,
) -> Outcome:
    """Run a flow until its sources end or a signal stops it; then write the report.

    `say` prints a line for a person. The first SIGINT or SIGTERM lets the flow end properly; a
    second raises KeyboardInterrupt. Raises what the run raises.
    """
    options = Options(
        batch_rows=choices.batch_rows,
        seed=choices.seed,
        settings=settings,
        reset=frozenset(choices.reset),
        leaf=terminal(),
    )
    letters = DeadLetters(choices.dead or Path(f"{_file_name(graph.flow)}.dead.jsonl"))
    way = way or Way()
    clock = way.clock
    started, begun = SystemClock().now(), time.monotonic()
    view = _view(graph, clock, choices, say)
    stopping = Stopping(say)
    try:
        executor = _executor(reference, choices.workers, options, way.rewiring)
        with stopping.heard():
            log = None if choices.state is None else _log(graph, clock, choices, say, stopping)
            runner = way.make(
                graph, clock, options, letters.bury, executor, log=log, letters=letters, notice=say
            )
            stopping.of(runner)
            progress = runner.run(view.watch, watch_every=_WATCH_EVERY)
    except SystemExit as error:
        raise HeadwaterError(_told(error)) from error
    finally:
        view.close()
        letters.close()
    outcome = Outcome(progress, time.monotonic() - begun, stopping.asked)
    _summarise(graph, outcome, letters, say)
    if choices.report is not None:
        measured = Measured(started, outcome.seconds, choices.workers)
        write_report(choices.report, report_of(graph, progress, measured))
    return outcome


def _log(graph: Graph, clock: Clock, choices: Choices, say: Say, stopping: Stopping) -> RunLog:
    from ..connectors.journal import FileStorage, JournalSettings
    from ..connectors.runlog import FolderLog
    from ..connectors.savepoints import begin_from, check_begun

    assert choices.state is not None
    if choices.savepoint is not None:
        begin_from(choices.savepoint, choices.state, new_sinks=choices.new_sinks)
    else:
        check_begun(choices.state)
    return FolderLog(
        FileStorage(choices.state, create=True),
        clock,
        flow_hash(graph),
        settings=JournalSettings(sync=choices.sync),
        every=choices.image_every,
        wait=stopping.wait,
        notice=say,
    )


def _told(error: SystemExit) -> str:
    """Say in one line that a function of the user ended Python."""
    where = user_place(error, None)
    place = f"{shown(where[0])}:{where[1]}: " if where else ""
    return f"{place}a function of the flow ends Python (sys.exit); raise an exception instead"


def _executor(
    reference: str, workers: int, options: Options, rewiring: Rewiring | None
) -> Executor | None:
    if workers == 1:
        return None
    from .spread import Spread

    return Spread(reference, workers, options, rewiring)


def _file_name(flow: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in flow) or "flow"


def _view(graph: Graph, clock: Clock, choices: Choices, say: Say) -> View:
    console = Console(stderr=True, highlight=False)
    if choices.live and console.is_terminal and not console.is_dumb_terminal:
        return LiveView(graph, clock, console, redirect=sys.stdout.isatty())
    return LineView(graph, say)


def _summarise(graph: Graph, outcome: Outcome, letters: DeadLetters, say: Say) -> None:
    progress, seconds = outcome.progress, outcome.seconds
    rows = rows_read(graph, progress)
    rate = f", {rows / seconds:,.0f} rows/s" if seconds > 0 else ""
    end = "stopped and drained" if outcome.stopped else "done"
    say(f"{graph.flow}: {end} in {duration(seconds)}, {rows:,} rows read{rate}")
    for name, written in progress.sinks.items():
        node = graph.node(name)
        how = "printed" if isinstance(node.spec, SinkSpec) and node.spec.make is None else "written"
        say(f"  {node.operator}: {_counted(written, 'row')} {how}")
    every = tallies(graph, progress)
    late = [(tally.operator, tally.late) for tally in every if tally.late]
    if late:
        where = ", ".join(f"{name} {count:,}" for name, count in late)
        say(f"  {_counted(sum(count for _, count in late), 'late row')} ({where})")
    if progress.dead:
        say(f"  {_counted(progress.dead, 'dead letter')}{_resting(progress.dead, letters)}")
        if letters.first is not None:
            say(f"    the first: {letters.first}")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _resting(dead: int, letters: DeadLetters) -> str:
    """Say where dead letters are: in the file, or with the operators that read them."""
    if not letters.count:
        return ", all read by operators of the flow"
    if letters.count < dead:
        return f", {letters.count:,} of them in {letters.path}"
    return f" in {letters.path}"
