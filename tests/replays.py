"""Calls the commands that record and replay."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from headwater.edge.command import app

__all__ = ["called"]


def called(*arguments: str | Path, code: int = 0) -> Result:
    """Run ``headwater`` with these arguments; any other exit code than `code` fails."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert code == result.exit_code, result.output
    return result
