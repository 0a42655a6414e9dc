"""Whether the states of a flow can be written down, asked before a run that needs it begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from .errors import FlowError, Problem
from .graph import Graph
from .operators.process import Parameter, Process
from .valueclasses import record_of
from .values import Encoding, StateError

__all__ = ["check_snapshots"]


def check_snapshots(graph: Graph) -> None:
    """Raise `FlowError` with a problem for each state that no snapshot can hold.

    What cannot be told from the declared type is found by the snapshot that meets such a value.
    """
    problems = [
        Problem(node.operator, why, state.name)
        for node in graph.nodes
        if isinstance(node.spec, Process)
        for state in node.spec.parameters
        if state.kind == "state" and (why := _refusal(state)) is not None
    ]
    if problems:
        raise FlowError(problems)


def _refusal(state: Parameter) -> str | None:
    """Return why values of a state have no form in a snapshot, or None."""
    spelled = getattr(state.held, "__name__", None) if not get_args(state.held) else None
    encoding = Encoding(f"hw.State[{spelled or state.held}]", state.held)
    try:
        encoding.encode(state.fresh())
        for unknown in _unknown(state.held):
            encoding.encode(unknown)
    except StateError as error:
        return str(error)
    return None


def _unknown(kind: Any) -> Iterator[Any]:
    """Yield a blank object of each class in a type whose objects are no records of fields."""
    if get_origin(kind) is not None:
        for part in (get_origin(kind), *get_args(kind)):
            yield from _unknown(part)
        return
    if not isinstance(kind, type) or kind.__module__ == "typing" or record_of(kind) is not None:
        return
    if kind.__subclasses__() or getattr(kind, "_is_protocol", False):
        return  # a value is, or may be, of another class
    try:
        yield object.__new__(kind)
    except TypeError:
        return  # a type of Python itself, or an abstract one
