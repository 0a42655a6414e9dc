"""How a command ends: with an exit code, and a line for each thing that is wrong."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

from ..flows.errors import FlowError, HeadwaterError, SettingsError
from ..flows.flow import Flow
from ..flows.graph import Graph
from .traces import FlowFileError, one_line, shown, user_place

__all__ = ["ABORTED", "DEAD", "FAILED", "USAGE", "fail", "failing_with", "loaded", "say"]

FAILED: Final = 1
USAGE: Final = 2
DEAD: Final = 3
ABORTED: Final = 130


def loaded(reference: str, *, show_traceback: bool) -> tuple[Flow, Graph]:
    """Load a flow or end with every problem."""
    from .checking import spoken
    from .flowfile import load_flow

    with failing_with(USAGE, show_traceback=show_traceback):
        flow = load_flow(reference)
        try:
            return flow, flow.graph()
        except FlowError as error:
            if show_traceback:
                typer.echo(traceback.format_exc(), err=True)
            fail(USAGE, [spoken(problem) for problem in error.problems])


@contextmanager
def failing_with(code: int, prefix: str = "", *, show_traceback: bool = False) -> Iterator[None]:
    """End with an exit code and a line when anything is raised: this is the outermost edge."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # functions of the user run within
        if show_traceback:
            typer.echo(traceback.format_exc(), err=True)
        fail(code, _lines(error, prefix))


def _lines(error: Exception, prefix: str) -> Sequence[str]:
    if isinstance(error, FlowFileError | SettingsError | FlowError):
        return [f"{prefix}{line}" for line in str(error).splitlines()]
    if isinstance(error, HeadwaterError):
        return [prefix + " ".join(str(error).split())]
    where = user_place(error, None)
    place = f"{shown(where[0])}:{where[1]}: " if where else ""
    return [f"{prefix}{place}{one_line(error)} (--traceback shows where)"]


def say(line: str) -> None:
    """Print a line for a person."""
    typer.echo(line, err=True)


def fail(code: int, lines: Sequence[str]) -> NoReturn:
    """Print lines and end with an exit code."""
    for line in lines:
        say(line)
    raise typer.Exit(code)
