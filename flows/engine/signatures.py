"""Whether state that one version of a flow kept is of use to another.

Two things are told apart. The *signature* of an operator says what its state is about: its kind,
keys, windows, aggregates, columns; it says nothing of the functions' code. The *hash* of a flow
changes with the code too: steps are done again only by the code that did them first.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Set
from hashlib import blake2b
from types import CodeType, FunctionType, MethodType
from typing import Any

import polars as pl

from ..errors import RecoveryError
from ..event import Event
from ..graph import Graph, Node, SinkSpec, SourceSpec
from ..schema import schema_of
from ..snapshot import Tables
from .image import Image

__all__ = ["flow_hash", "kept_state", "signatures_of"]


def signatures_of(graph: Graph) -> dict[str, str]:
    """Return the signature of every operator that may hold state, by node."""
    return {
        node.id: _digest(_told(node, graph, code=False)).hex()
        for node in graph.nodes
        if not isinstance(node.spec, SourceSpec | SinkSpec)
    }


def flow_hash(graph: Graph) -> bytes:
    """Return 16 bytes that change when the flow or the code of its functions does."""
    return _digest("\n".join(_told(node, graph, code=True) for node in graph.nodes))


def kept_state(
    image: Image, graph: Graph, reset: Set[str] = frozenset(), workers: int = 0
) -> dict[str, Tables]:
    """Return the state that operators go on with, by node; those in `reset` begin anew.

    Raises `RecoveryError` if state was kept by operators that are not there as they were, or shared
    by another number of workers.
    """
    if image.workers != workers:
        kept_with = max(1, image.workers)
        raise RecoveryError(
            f"the run was kept with {kept_with} worker{'s' if kept_with > 1 else ''}; run it with "
            f"--workers {kept_with}"
        )
    now = signatures_of(graph)
    unknown = reset - set(image.owners.values())
    if unknown:
        raise RecoveryError(
            f"no state was kept of {', '.join(sorted(unknown))}; there is some of "
            f"{', '.join(sorted(set(image.owners[node] for node in image.operators)))}"
        )
    kept = {n: tables for n, tables in image.operators.items() if image.owners[n] not in reset}
    there = {node.operator for node in graph.nodes}
    odd = {image.owners[node] for node in kept if image.signatures[node] != now.get(node)}
    if not odd:
        return kept
    told = [f"{name} {'has changed' if name in there else 'is gone'}" for name in sorted(odd)]
    options = " ".join(f"--reset {name}" for name in sorted(odd))
    raise RecoveryError(
        f"{'; '.join(told)}: what was kept for it does not fit any more. To go on without that "
        f"state, run with {options}; to keep it, bring the operator back (name= keeps its name)"
    )


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def _told(node: Node, graph: Graph, *, code: bool) -> str:
    inputs = [graph.schema_of(edge) for edge in node.inputs]
    return repr(
        [
            node.id,
            [_schema(schema.columns, schema.event_time, schema.key) for schema in inputs],
            _schema(node.schema.columns, node.schema.event_time, node.schema.key),
            node.keys,
            _value(node.spec, code),
        ]
    )


def _schema(columns: Any, time: str | None, key: tuple[str, ...] | None) -> str:
    return repr([[(name, str(dtype)) for name, dtype in columns], time, key])


def _value(value: Any, code: bool) -> Any:
    """Return what is equal where the description is, from process to process."""
    if isinstance(value, pl.Expr):
        return str(value)
    if isinstance(value, type):
        if issubclass(value, Event):
            schema = schema_of(value)
            return _schema(schema.columns, schema.event_time, schema.key)
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, functools.partial):
        return [_value(v, code) for v in (value.func, value.args, value.keywords)]
    if isinstance(value, FunctionType | MethodType):
        return _code(value.__code__) if code else "function"
    if dataclasses.is_dataclass(value):
        fields = [(f.name, _value(getattr(value, f.name), code)) for f in dataclasses.fields(value)]
        return [type(value).__name__, fields]
    if isinstance(value, Mapping):
        return sorted((str(k), repr(_value(v, code))) for k, v in value.items())
    if isinstance(value, Set):
        return sorted(repr(_value(v, code)) for v in value)
    if isinstance(value, tuple | list):
        return [_value(v, code) for v in value]
    # What shows its address would differ from process to process.
    return type(value).__name__ if " at 0x" in repr(value) else repr(value)


def _code(code: CodeType) -> Any:
    constants = [_constant(constant) for constant in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames]


def _constant(constant: Any) -> Any:
    if isinstance(constant, CodeType):
        return _code(constant)
    return _value(constant, True)
