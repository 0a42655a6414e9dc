"""Writes results: JSON for programs, Markdown and a picture for people, and into the docs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .picture import picture
from .ratios import Ratio
from .report import Report

__all__ = ["BEGIN", "END", "between", "save", "write"]

BEGIN: Final = "<!-- results: written by `make bench SAVE=1` -->"
END: Final = "<!-- end of results -->"


def write(folder: Path, report: Report, ratios: Sequence[Ratio], text: str) -> None:
    """Write results.json, results.md and results.svg into a folder."""
    (folder / "results.json").write_text(_json(report, ratios))
    (folder / "results.md").write_text(text + "\n")
    (folder / "results.svg").write_text(picture(report))


def save(root: Path, report: Report, ratios: Sequence[Ratio], text: str) -> None:
    """Put the results into the repository: the JSON, the page of the docs and its picture."""
    (root / "benchmarks" / "results.json").write_text(_json(report, ratios))
    (root / "docs" / "benchmarks.svg").write_text(picture(report))
    page = root / "docs" / "benchmarks.md"
    page.write_text(between(page.read_text(), text))


def between(page: str, text: str) -> str:
    """Return a page with `text` between the markers; raises ValueError if it has none."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{head}{begin}\n\n{text}\n\n{end}{tail}"


def _json(report: Report, ratios: Sequence[Ratio]) -> str:
    found = report.as_json({one.name: one.value for one in ratios})
    return json.dumps(found, indent=1, allow_nan=False) + "\n"
