"""The lookup join: each left row with a table's row of its key, as of the left row's time."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from .asof import AsofJoin, AsofLogic, Match
from .joined import joined_schema

__all__ = ["LookupJoin", "lookup_schema"]


@dataclass(frozen=True, slots=True)
class LookupJoin:
    """Join each left row with what a changing table had under its key at the row's event time.

    The right input is the table's changes: an append stream, of which the newest row per key
    counts, or an upsert stream by `right_keys`, which also deletes. Of changes of the same key and
    time the last counts: by all columns in an append stream, in the stream's order in an upsert.
    """

    keys: tuple[str, ...]
    right_keys: tuple[str, ...]
    left_time: str
    right_time: str
    how: Match = "left"
    suffix: str = "_right"

    @property
    def title(self) -> str:
        """A few words for the drawing of the graph."""
        return f"lookup ({', '.join(self.keys)})"

    def build(self, place: Place) -> AsofLogic:
        """Make the state machine: an as-of join without a tolerance."""
        spec = AsofJoin(
            self.keys, self.left_time, self.right_time, how=self.how, suffix=self.suffix
        )
        return AsofLogic(spec, place, self.right_keys, upsert=place.inputs[1].key is not None)


def lookup_schema(
    left: Schema,
    right: Schema,
    keys: tuple[str, ...],
    right_keys: tuple[str, ...],
    how: Match = "left",
    suffix: str = "_right",
) -> Schema:
    """Return what a lookup join gives; raises SchemaError if the streams cannot be joined so."""
    if how not in ("inner", "left"):
        raise SchemaError(f"a lookup join takes how='inner' or how='left', not {how!r}")
    if not keys:
        raise SchemaError("a lookup join needs a key column: by what is the table looked up?")
    if right.key is not None and set(right.key) != set(right_keys):
        raise SchemaError(
            f"the right stream is a table by {', '.join(right.key)}, but is looked up by "
            f"{', '.join(right_keys) or 'nothing'}; look it up by its own key"
        )
    return joined_schema(left, right, keys, right_keys, suffix, how)
