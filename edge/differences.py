"""Differences between two versions of a flow in words, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from .catching import Catch
from .comparing import Difference, compare, differing

__all__ = ["LETTERS", "Comparison", "compared", "row_json"]

LETTERS: Final = "dead letters"
"""What they are called where sinks have names."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions of a flow on one recording."""

    before: Catch
    after: Catch
    sinks: Mapping[str, Difference | str]
    """By operator; a text for a sink that only one of them has."""

    @property
    def equal(self) -> bool:
        """Whether every sink was given the same."""
        return all(isinstance(d, Difference) and d.equal for d in self.sinks.values())

    def lines(self) -> Iterator[str]:
        """Yield it in words, a line each."""
        for name, found in self.sinks.items():
            if isinstance(found, str):
                yield f"{name}: {found}"
                continue
            yield f"{name}: {_summary(found)}"
            yield from (f"  {text}" for text in found.schema)
            yield from (f"  + {row_json(row)}" for row in found.some_added)
            yield from (f"  - {row_json(row)}" for row in found.some_missing)
            for changed in found.some_changed:
                was, now = row_json(changed.old), row_json(changed.new)
                yield f"  ~ {row_json(changed.key)}: {was} -> {now}"
        yield from self._measured()

    def _measured(self) -> Iterator[str]:
        rates = [ran.read / ran.seconds for ran in (self.before, self.after)]
        steps = [_quantile(pl.Series(ran.steps), 0.99) for ran in (self.before, self.after)]
        yield f"rate: {rates[0]:,.0f} -> {rates[1]:,.0f} rows/s ({_percent(*rates)})"
        if all(steps):
            told = [f"{1000 * step:.1f}" for step in steps]
            yield f"a step, p99: {told[0]} -> {told[1]} ms ({_percent(*steps)})"
        for name, waits in self._waits().items():
            if waits[0] != waits[1]:
                yield f"{name}: rows come {waits[0]:g} -> {waits[1]:g} s after their time (median)"

    def _waits(self) -> Mapping[str, tuple[float, float]]:
        """Return by how many seconds of event time rows are behind, the median of each sink."""
        old, new = self.before.sinks, self.after.sinks
        found = {name: (old[name].waits, new[name].waits) for name in old if name in new}
        return {
            name: (_quantile(before, 0.5) / 1e6, _quantile(after, 0.5) / 1e6)
            for name, (before, after) in found.items()
            if before.len() and after.len()
        }

    def to_json(self) -> str:
        """Return it as a JSON object."""
        waits = self._waits()
        sinks: dict[str, Any] = {}
        for name, found in self.sinks.items():
            told = found if isinstance(found, str) else {**asdict(found), "equal": found.equal}
            sinks[name] = {"only": told} if isinstance(told, str) else told
            if name in waits:
                sinks[name]["wait_seconds"] = waits[name]
        whole = {"equal": self.equal, "sinks": sinks}
        for name, ran in (("before", self.before), ("after", self.after)):
            whole[name] = {
                "rows": ran.read,
                "seconds": ran.seconds,
                "step_p99_seconds": _quantile(pl.Series(ran.steps), 0.99),
            }
        return json.dumps(whole, default=_plain, ensure_ascii=False)


def compared(
    before: Catch, after: Catch, keys: Mapping[str | None, Sequence[str]], *, show: int
) -> Comparison:
    """Compare every sink, and the dead letters; `keys` by sink, None for those without their own.

    Raises `SettingsError` for a key that is not there.
    """
    sinks: dict[str, Difference | str] = {}
    for name in dict.fromkeys([*before.sinks, *after.sinks]):
        if name not in after.sinks:
            sinks[name] = "is gone"
        elif name not in before.sinks:
            sinks[name] = "is new"
        else:
            key = keys.get(name, keys.get(None))
            sinks[name] = differing(before.sinks[name], after.sinks[name], key, show=show)
    if before.letters.height or after.letters.height:
        sinks[LETTERS] = compare(before.letters, after.letters, show=show)
    return Comparison(before, after, sinks)


def _summary(found: Difference) -> str:
    if found.equal:
        return f"equal, {_counted(found.before)}"
    counts = [
        f"{count:,} {what}"
        for count, what in (
            (found.added, "added"), (found.missing, "missing"), (found.changed, "changed"),
        )
        if count
    ]  # fmt: skip
    columns = ", ".join(f"{name} {count:,}" for name, count in found.columns.items())
    by = f" by {', '.join(found.key)}" if found.key else ""
    told = ", ".join(counts) or "the same rows"
    return (
        f"{told}{by}{f' ({columns})' if columns else ''}; "
        f"{_counted(found.before)} before, {found.after:,} after"
    )


def _counted(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _percent(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.0f} %" if before else "?"


def _quantile(values: pl.Series, share: float) -> float:
    found = values.quantile(share, interpolation="nearest") if values.len() else None
    return 0.0 if found is None else float(found)


def row_json(row: Mapping[str, Any]) -> str:
    """Return a row as JSON on one line."""
    return json.dumps(row, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)
