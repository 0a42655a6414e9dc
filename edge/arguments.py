"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DeadOption",
    "FlowArgument",
    "LiveOption",
    "ReportOption",
    "SeedOption",
    "SetOption",
    "TracebackOption",
    "WorkersOption",
]

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
WorkersOption = Annotated[
    int, typer.Option(min=1, max=1024, help="Processes for operators with a key.")
]
SeedOption = Annotated[int, typer.Option(help="Seed of all that is random.")]
LiveOption = Annotated[
    bool, typer.Option("--live/--no-live", help="Show a live table on a terminal.")
]
