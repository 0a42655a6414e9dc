"""The command line: ``headwater run``, ``check``, ``graph``, ``journal``, ``version``.

Exit codes:

    0    done; also when the flow was stopped by a signal and drained
    1    the flow failed while running
    2    wrong usage, or the flow does not load
    3    with --strict: there were dead letters
    130  aborted by a second signal
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from . import replays, trying
from .arguments import (
    DeadOption,
    FlowArgument,
    LiveOption,
    ReportOption,
    SeedOption,
    SetOption,
    TracebackOption,
    WorkersOption,
)
from .endings import ABORTED, DEAD, FAILED, USAGE, fail, failing_with, loaded, say
from .flows import app as flows
from .journals import app as journals

__all__ = ["app", "main"]

_CODES: Final = (
    "Exit codes: 0 done, or stopped by a signal and drained; 1 the flow failed while running; "
    "2 wrong usage, or the flow does not load; 3 dead letters, with --strict; 130 aborted by a "
    "second signal."
)
_WRITE: Final = "Write"
_RECOVER: Final = "Recover"

app = typer.Typer(
    name="headwater",
    help="Stream processing that starts at the edge.",
    epilog=_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(flows, rich_help_panel=_RECOVER)
app.add_typer(journals, rich_help_panel=_RECOVER)
replays.register(app)
trying.register(app)


def main() -> None:
    """Run the command line; what ``headwater`` calls."""
    app()


@app.command(rich_help_panel=_WRITE, epilog=_CODES)
def run(
    flow: FlowArgument,
    workers: WorkersOption = 1,
    report: ReportOption = None,
    settings: SetOption = None,
    seed: SeedOption = 0,
    batch_rows: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="Rows of a batch at the most.")
    ] = 65_536,
    dead: DeadOption = None,
    live: LiveOption = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if there was a dead letter.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep the run here, so that it survives a crash."),
    ] = None,
    sync: Annotated[
        Literal["always", "interval", "never"],
        typer.Option(help="With --state: when what was read is made durable."),
    ] = "interval",
    image_every: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="With --state: time between images.")
    ] = 10.0,
    reset: Annotated[
        list[str] | None,
        typer.Option(metavar="OPERATOR", help="With --state: forget the state of an operator."),
    ] = None,
    savepoint: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="With --state: begin at this savepoint."),
    ] = None,
    new_sinks: Annotated[
        bool, typer.Option("--new-sinks", help="With --from: let sinks begin anew.")
    ] = False,
    show_traceback: TracebackOption = False,
) -> None:
    """Run a flow on this machine until its input ends.

    Ctrl-C stops reading, works off what was read and completes the sinks; a second one aborts.
    """
    from .collector import relax_collector
    from .overrides import settings_of
    from .running import Choices, run_graph

    relax_collector()
    described, graph = loaded(flow, show_traceback=show_traceback)
    with failing_with(USAGE, show_traceback=show_traceback):
        values = settings_of(described.settings, settings or ())
    if savepoint is not None and state is None:
        fail(USAGE, ["--from is for a run that is kept: say where with --state"])
    choices = Choices(
        workers, seed, batch_rows, report, dead, live,
        state, sync, round(image_every * 1e6), tuple(reset or ()), savepoint, new_sinks,
    )  # fmt: skip
    with failing_with(FAILED, f"{graph.flow}: failed: ", show_traceback=show_traceback):
        try:
            outcome = run_graph(graph, flow, values, choices, say)
        except KeyboardInterrupt:
            fail(ABORTED, [f"{graph.flow}: aborted; the sinks have nothing of this run"])
    if strict and outcome.progress.dead:
        raise typer.Exit(DEAD)


@app.command(rich_help_panel=_RECOVER, epilog=_CODES)
def state(
    flow: FlowArgument,
    operator: Annotated[
        str | None, typer.Argument(metavar="[OPERATOR]", show_default=False)
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY...]", help="The values of its key.", show_default=False),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--state", metavar="FOLDER", help="Where the run is kept.")
    ] = Path(),
    show_traceback: TracebackOption = False,
) -> None:
    """Print what an operator of a durable run remembers, as of its newest image."""
    from .states import state_lines

    _, graph = loaded(flow, show_traceback=show_traceback)
    with failing_with(FAILED, show_traceback=show_traceback):
        for line in state_lines(folder, graph, operator, key or ()):
            typer.echo(line)


@app.command(rich_help_panel=_WRITE, epilog=_CODES)
def check(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FLOW_OR_FOLDER...",
            help="Flows, or folders of which every file that defines a flow is checked.",
            show_default=False,
        ),
    ],
) -> None:
    """Load flows without running them, and print every problem."""
    from .checking import check as checked

    good = bad = problems = warnings = 0
    for path in paths:
        for finding in checked(path):
            for line in (*finding.problems, *finding.warnings):
                typer.echo(line)
            problems += len(finding.problems)
            warnings += len(finding.warnings)
            good, bad = (good, bad + 1) if finding.problems else (good + 1, bad)
    typer.echo(_counted(good, bad, problems, warnings))
    if bad:
        raise typer.Exit(USAGE)


@app.command(rich_help_panel=_WRITE, epilog=_CODES)
def graph(
    flow: FlowArgument,
    format: Annotated[
        Literal["tree", "mermaid", "svg"],
        typer.Option(help="How to draw: for the terminal, for Markdown, or as a picture."),
    ] = "tree",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to a file instead of the terminal.")
    ] = None,
    show_traceback: TracebackOption = False,
) -> None:
    """Draw a flow: its tiers, its stages, and the operators with their schemas."""
    from .drawing import drawing_of
    from .mermaid import mermaid
    from .svg import svg
    from .tree import print_tree, tree_text

    _, found = loaded(flow, show_traceback=show_traceback)
    drawing = drawing_of(found)
    if format == "tree" and output is None:
        print_tree(drawing)
        return
    drawn = {"tree": tree_text, "mermaid": mermaid, "svg": svg}[format](drawing)
    if output is None:
        typer.echo(drawn, nl=False)
        return
    try:
        output.write_text(drawn, "utf-8")
    except OSError as error:
        fail(FAILED, [f"{output}: cannot be written: {error.strerror}"])
    say(f"wrote {output}")


@app.command(name="version", rich_help_panel="About")
def print_version() -> None:
    """Print the version of Headwater."""
    try:
        typer.echo(f"headwater {version('headwater')}")
    except PackageNotFoundError:
        typer.echo("headwater (not installed; run from a checkout)")


def _counted(good: int, bad: int, problems: int, warnings: int) -> str:
    total = good + bad
    parts = [f"{total} {_plural('flow', total)} checked"]
    if bad:
        parts.append(f"{problems} {_plural('problem', problems)} in {bad} of them")
    else:
        parts.append("no problems")
    if warnings:
        parts.append(f"{warnings} {_plural('warning', warnings)}")
    return ", ".join(parts)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


if __name__ == "__main__":
    main()
