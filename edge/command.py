"""The command line: ``headwater run``, ``check``, ``graph``, ``journal``, ``version``.

Exit codes:

    0    done; also when the flow was stopped by a signal and drained
    1    the flow failed while running
    2    wrong usage, or the flow does not load
    3    with --strict: there were dead letters
    130  aborted by a second signal
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn

import typer

from ..flows.errors import FlowError, HeadwaterError, SettingsError
from ..flows.flow import Flow
from ..flows.graph import Graph
from .journals import app as journals
from .traces import FlowFileError, one_line, shown, user_place

__all__ = ["app", "main"]

FAILED: Final = 1
USAGE: Final = 2
DEAD: Final = 3
ABORTED: Final = 130

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

app.add_typer(journals, rich_help_panel=_RECOVER)

FlowArgument = Annotated[
    str,
    typer.Argument(
        metavar="FLOW",
        help="path/to/flow.py, flow.py:attribute if it has several flows, or module:attribute.",
        show_default=False,
    ),
]
ReportOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what was measured, as JSON.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set a field of the flow's settings."),
]
DeadOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Append dead letters to this file.",
        show_default="NAME-OF-FLOW.dead.jsonl",
    ),
]
TracebackOption = Annotated[
    bool, typer.Option("--traceback", help="Show the traceback of an error.")
]


def main() -> None:
    """Run the command line; what ``headwater`` calls."""
    app()


@app.command(rich_help_panel=_WRITE, epilog=_CODES)
def run(
    flow: FlowArgument,
    workers: Annotated[
        int, typer.Option(min=1, max=1024, help="Processes for operators with a key.")
    ] = 1,
    report: ReportOption = None,
    settings: SetOption = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is random.")] = 0,
    batch_rows: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="Rows of a batch at the most.")
    ] = 65_536,
    dead: DeadOption = None,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Show a live table on a terminal.")
    ] = True,
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
    show_traceback: TracebackOption = False,
) -> None:
    """Run a flow on this machine until its input ends.

    Ctrl-C stops reading, works off what was read and completes the sinks; a second one aborts.
    """
    from .collector import relax_collector
    from .overrides import settings_of
    from .running import Choices, run_graph

    relax_collector()
    loaded, graph = _loaded(flow, show_traceback=show_traceback)
    with _failing_with(USAGE, show_traceback=show_traceback):
        values = settings_of(loaded.settings, settings or ())
    choices = Choices(
        workers, seed, batch_rows, report, dead, live,
        state, sync, round(image_every * 1e6), tuple(reset or ()),
    )  # fmt: skip
    with _failing_with(FAILED, f"{graph.flow}: failed: ", show_traceback=show_traceback):
        try:
            outcome = run_graph(graph, flow, values, choices, _say)
        except KeyboardInterrupt:
            _fail(ABORTED, [f"{graph.flow}: aborted; the sinks have nothing of this run"])
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

    _, graph = _loaded(flow, show_traceback=show_traceback)
    with _failing_with(FAILED, show_traceback=show_traceback):
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

    _, loaded = _loaded(flow, show_traceback=show_traceback)
    drawing = drawing_of(loaded)
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
        _fail(FAILED, [f"{output}: cannot be written: {error.strerror}"])
    _say(f"wrote {output}")


@app.command(name="version", rich_help_panel="About")
def print_version() -> None:
    """Print the version of Headwater."""
    try:
        typer.echo(f"headwater {version('headwater')}")
    except PackageNotFoundError:
        typer.echo("headwater (not installed; run from a checkout)")


def _loaded(reference: str, *, show_traceback: bool) -> tuple[Flow, Graph]:
    """Load a flow or end with every problem."""
    from .checking import spoken
    from .flowfile import load_flow

    with _failing_with(USAGE, show_traceback=show_traceback):
        flow = load_flow(reference)
        try:
            return flow, flow.graph()
        except FlowError as error:
            if show_traceback:
                typer.echo(traceback.format_exc(), err=True)
            _fail(USAGE, [spoken(problem) for problem in error.problems])


@contextmanager
def _failing_with(code: int, prefix: str = "", *, show_traceback: bool = False) -> Iterator[None]:
    """End with an exit code and a line when anything is raised: this is the outermost edge."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # functions of the user run within
        if show_traceback:
            typer.echo(traceback.format_exc(), err=True)
        _fail(code, _lines(error, prefix))


def _lines(error: Exception, prefix: str) -> Sequence[str]:
    if isinstance(error, FlowFileError | SettingsError | FlowError):
        return [f"{prefix}{line}" for line in str(error).splitlines()]
    if isinstance(error, HeadwaterError):
        return [prefix + " ".join(str(error).split())]
    where = user_place(error, None)
    place = f"{shown(where[0])}:{where[1]}: " if where else ""
    return [f"{prefix}{place}{one_line(error)} (--traceback shows where)"]


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


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _fail(code: int, lines: Sequence[str]) -> NoReturn:
    for line in lines:
        _say(line)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
