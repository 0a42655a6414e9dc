"""Functions on columns at load: on a Stream, called once, and on the frame of each batch."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from .declaration import Declaration
from .draft import Draft
from .errors import HeadwaterError
from .event import Event
from .loaded import Loaded, Wrong
from .operators.columns import BatchFunction, Columns, Step
from .schema import Schema, conforming, differences, schema_of
from .signature import Signature
from .stream import Keyed, Stream, Windowed

__all__ = ["batch_function", "stream_function"]


def stream_function(
    draft: Draft, declaration: Declaration, signature: Signature, inputs: list[Loaded]
) -> Loaded:
    """Call a Stream function, which adds its operators, and return what it gives.

    Raises `Wrong` for inputs or a result that do not fit it, or an error of its own.
    """
    if declaration.options.key is not None:
        raise Wrong("key= is for functions per row; call rows.key_by(…) on the stream")
    if signature.injected:
        raise Wrong(
            "a Stream function runs once, at load, and is handed nothing; take the event "
            "class to have state and timers per row",
            signature.injected[0].name,
        )
    _check_counted(signature, inputs)
    names = list(signature.inputs) + [signature.inputs[-1]] * len(inputs)
    events = list(signature.events) + [signature.events[-1]] * len(inputs)
    for made, name, event in zip(inputs, names, events, strict=False):
        if event is not None:
            _check_same(made, event, name)
    streams = [Stream[Any](draft, made.edge, made.schema) for made in inputs]
    result = _called(declaration.function, streams)
    if isinstance(result, Keyed | Windowed):
        raise Wrong(
            f"returns {type(result).__name__}; go on with "
            f"{'.agg(…)' if isinstance(result, Windowed) else '.window(…).agg(…)'}"
        )
    if not isinstance(result, Stream):
        raise Wrong(f"returns {type(result).__name__}, not a stream; is a `return` missing?")
    return _conformed(draft, declaration, result, signature.returned.event)


def _check_counted(signature: Signature, inputs: Sequence[Loaded]) -> None:
    takes, given = len(signature.inputs), len(inputs)
    if takes == given or (signature.variadic and given >= takes):
        return
    raise Wrong(
        f"takes {takes} stream{'s' * (takes != 1)} ({', '.join(signature.inputs)}) and is "
        f"wired to {given}: {', '.join(made.edge.node for made in inputs)}"
    )


def _check_same(made: Loaded, event: type[Event], parameter: str) -> None:
    wrong = differences(made.schema, schema_of(event))
    if wrong:
        raise Wrong(
            f"{made.edge.node} does not give {event.__name__}: {'; '.join(wrong)}", parameter
        )


def _called(function: Callable[..., Any], streams: Sequence[Stream[Any]]) -> object:
    try:
        return function(*streams)
    except HeadwaterError:
        raise
    except Exception as error:  # whatever the user's function raises
        text = str(error).split("\n", 1)[0]
        if isinstance(error, AttributeError | ValueError) and _is_ours(error):
            raise Wrong(text) from error
        if "truth value of an Expr is ambiguous" in text:
            text = (
                "`and`, `or`, `not` and `if` cannot take a polars expression; write &, | and ~, "
                "with parentheses: (pl.col('x') > 1) & (pl.col('y') < 2)"
            )
        raise Wrong(f"raised {type(error).__name__} at load: {text}") from error


def _is_ours(error: Exception) -> bool:
    """Whether an error was raised by Headwater, about what it was given."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).startswith("headwater.")


def batch_function(
    draft: Draft, declaration: Declaration, signature: Signature, inputs: list[Loaded]
) -> Loaded:
    """Add a function on frames or record batches, and return what it gives.

    It is called with no rows to see its columns. Raises `Wrong` if it fails, or does not fit.
    """
    if len(inputs) != 1:
        raise Wrong("a function on batches takes one input", signature.inputs[0])
    if signature.stateful:
        raise Wrong(
            "a function on batches is handed nothing but settings", signature.stateful[0].name
        )
    if declaration.options.key is not None:
        raise Wrong("a function on batches has no key=; its rows are independent")
    if signature.returned.kind != signature.kind:
        raise Wrong(f"takes a {signature.kind} and must return one")
    made = inputs[0]
    if made.schema.key is not None:
        raise Wrong("a function on batches takes an append stream", signature.inputs[0])
    call = declaration.function
    if signature.kind == "record_batch":
        call = _on_record_batches(call)
    event = declaration.options.returns
    raw = _found(call, made.schema) if signature.settings is None else _promised(signature, event)
    edge = draft.add(BatchFunction(call, signature.settings), [made.edge], raw)
    return _conformed(draft, declaration, Stream[Any](draft, edge, raw), event)


def _promised(signature: Signature, event: type[Event] | None) -> Schema:
    """The schema that a function is said to give, as there are no settings yet to call it with."""
    if event is None:
        raise Wrong(
            "asks for settings, so it cannot be called at load to see its columns; say what it "
            "gives with returns=…",
            signature.settings,
        )
    return schema_of(event)


def _found(call: Callable[..., Any], taken: Schema) -> Schema:
    """The schema that a function gives for no rows; raises `Wrong` if it fails on them."""
    try:
        empty = call(taken.empty())
    except Exception as error:  # whatever the user's function raises on no rows
        text = str(error).split("\n", 1)[0]
        raise Wrong(f"fails on a batch without rows: {type(error).__name__}: {text}") from None
    if not isinstance(empty, pl.DataFrame):
        raise Wrong(f"returns {type(empty).__name__}, not a frame")
    columns = tuple(empty.schema.items())
    kept = taken.event_time if taken.event_time in empty.columns else None
    site = taken.site if taken.site in empty.columns else None
    return Schema(columns, event_time=kept, site=site)


def _on_record_batches(call: Callable[..., Any]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def on_frames(frame: pl.DataFrame, **given: Any) -> pl.DataFrame:
        table = frame.rechunk().to_arrow()
        batches = table.to_batches()
        batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
        made = pl.from_arrow(call(batch, **given))
        assert isinstance(made, pl.DataFrame)
        return made

    return on_frames


def _conformed(
    draft: Draft, declaration: Declaration, stream: Stream[Any], event: type[Event] | None
) -> Loaded:
    """Give a stream the columns of the event it is declared as, and the operator's name."""
    found = stream.schema
    wanted = found
    if event is not None:
        declared = schema_of(event)
        wrong = differences(found, declared)
        if wrong:
            raise Wrong(f"returns a stream that is no {event.__name__}: {'; '.join(wrong)}")
        if found.key is not None and not set(found.key) <= set(declared.names):
            gone = ", ".join(sorted(set(found.key) - set(declared.names)))
            raise Wrong(
                f"returns an upsert stream by ({', '.join(found.key)}), and "
                f"{event.__name__} leaves out a part of that key: add {gone} to it"
            )
        wanted = Schema(
            declared.columns,
            declared.event_time,
            declared.site,
            found.key,
            declared.nullable,
            declared.name,
        )
    own = draft.nodes[stream._edge.node].operator == declaration.name
    same = (wanted.columns, wanted.event_time) == (found.columns, found.event_time)
    if own and same and not draft.read_within(stream._edge):
        edge = draft.rename(stream._edge, declaration.name)
        draft.reschema(edge, wanted)
    else:
        step = Step("select", conforming(found, wanted))
        spec = Columns((step,), upsert=found.key is not None)
        edge = draft.add(spec, [stream._edge], wanted, name=declaration.name)
    return Loaded(edge, wanted, event)
