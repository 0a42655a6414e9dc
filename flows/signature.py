"""Reads from a function's annotations how it is called: DESIGN's "the annotations say how"."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin

import polars as pl
import pyarrow as pa

from .connector import Sink, Source
from .event import Event
from .keyed import Fired, State, Timer
from .settings import Settings

__all__ = ["Injected", "Returned", "Signature", "SignatureError", "read_signature", "scope_of"]

Kind = Literal["stream", "row", "frame", "record_batch", "none"]
_MANY: Final = (
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.Sequence,
    list,
)


class SignatureError(Exception):
    """What is wrong with a function's signature, and in which parameter."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Injected:
    """A parameter that is not an input."""

    name: str
    kind: Literal["state", "timer", "settings"]
    fresh: Callable[[], Any] | None = None
    held: Any = Any
    """The type of a state's values."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What a function gives: an event class (None for nothing or unknown), one or many."""

    kind: Literal["stream", "row", "frame", "record_batch", "source", "sink", "none"]
    event: type[Event] | None = None
    many: bool = False
    optional: bool = False
    """Whether it may give None, for no row."""


@dataclass(frozen=True, slots=True)
class Signature:
    """How a function is called."""

    kind: Kind
    inputs: tuple[str, ...]
    """The parameters that are inputs."""
    events: tuple[type[Event] | None, ...]
    """Event classes: of each input of a Stream function (None if it does not say), or the members
    of a row function's union."""
    variadic: bool
    """Whether the last input is ``*streams``."""
    fired: bool
    injected: tuple[Injected, ...]
    returned: Returned
    asynchronous: bool

    @property
    def settings(self) -> str | None:
        """The parameter that takes the settings."""
        return next((i.name for i in self.injected if i.kind == "settings"), None)

    @property
    def stateful(self) -> tuple[Injected, ...]:
        """The parameters that take what is kept per key: states and timers."""
        return tuple(i for i in self.injected if i.kind != "settings")


def scope_of(frame: types.FrameType | None) -> dict[str, Any]:
    """Return the names that are local where a function is decorated.

    Those of its callers in the same file come along: a function around it has left no other trace
    of the names that only annotations use.
    """
    found: dict[str, Any] = {}
    file = None if frame is None else frame.f_code.co_filename
    while frame is not None and frame.f_code.co_filename == file:
        if frame.f_code.co_name == "<module>":
            break
        found = {**frame.f_locals, **found}
        frame = frame.f_back
    return found


def read_signature(function: Callable[..., Any], scope: dict[str, Any]) -> Signature:
    """Read how to call `function`; `scope` has the names around it.

    Raises `SignatureError`.
    """
    hints = _hints(function, scope)
    parameters = inspect.signature(function).parameters.values()
    bound = function.keywords if isinstance(function, functools.partial) else {}
    kind: Kind = "none"
    inputs: list[str] = []
    events: list[type[Event] | None] = []
    injected: list[Injected] = []
    variadic = fired = False
    for parameter in parameters:
        name = parameter.name
        if name in bound:
            continue
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            raise SignatureError("takes **keywords; name its parameters", name)
        if name not in hints:
            raise SignatureError(
                "has no annotation; annotate an input with hw.Stream[…], an event class or "
                "pl.DataFrame, or ask for hw.State[…], hw.Timer or the flow's settings",
                name,
            )
        given = _injected(name, hints[name])
        if given is not None:
            injected.append(given)
            continue
        found, classes, takes_fired = _input(name, hints[name])
        if injected or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            raise SignatureError("is an input, and is given by position; let it come first", name)
        if kind not in ("none", found):
            raise SignatureError(
                f"mixes a {kind} input with a {found} input; use one form for all", name
            )
        if found != "stream" and inputs:
            raise SignatureError(
                f"is a second row input; annotate one parameter with a union: "
                f"{inputs[0]}: {' | '.join(_names(events))} | {_names(classes)[0]}",
                name,
            )
        kind = found
        inputs.append(name)
        events.extend(classes)
        fired = fired or takes_fired
        variadic = variadic or parameter.kind is inspect.Parameter.VAR_POSITIONAL
    asynchronous = _is_asynchronous(function)
    returned = _returned(hints.get("return", inspect.Parameter.empty), kind)
    return Signature(
        kind,
        tuple(inputs),
        tuple(events),
        variadic,
        fired,
        tuple(injected),
        returned,
        asynchronous,
    )


def _written(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that was written out: what a partial calls, an object's `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def _is_asynchronous(function: Callable[..., Any]) -> bool:
    written = _written(function)
    return inspect.iscoroutinefunction(written) or inspect.isasyncgenfunction(written)


def _names(classes: list[type[Event] | None]) -> list[str]:
    return [c.__name__ if c else "?" for c in classes]


def _hints(function: Callable[..., Any], scope: dict[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(_written(function), localns=scope, include_extras=True)
    except NameError as error:
        raise SignatureError(
            f"the name '{error.name}' in its annotations is not defined where the function is "
            f"written. If it is imported under `if TYPE_CHECKING:`, move the import out of it "
            f"(ruff keeps it out with lint.flake8-type-checking.runtime-evaluated-decorators = "
            f'["headwater.Flow.operator", "headwater.Flow.source", "headwater.Flow.sink"])'
        ) from None
    except TypeError as error:
        raise SignatureError(f"its annotations cannot be read: {error}") from None


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return list(get_args(annotation))
    return [annotation]


def _is_event(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Event)


def _injected(name: str, annotation: Any) -> Injected | None:
    origin = get_origin(annotation) or annotation
    if origin is Timer:
        return Injected(name, "timer")
    if isinstance(origin, type) and issubclass(origin, Settings):
        return Injected(name, "settings", origin)
    if origin is not State:
        return None
    arguments = get_args(annotation)
    if not arguments:
        raise SignatureError("is a State of nothing; write hw.State[int] or what it holds", name)
    held = arguments[0]
    if type(None) in _members(held):
        return Injected(name, "state", _nothing, held)
    fresh = get_origin(held) or held
    try:
        fresh()
    except TypeError:
        text = getattr(held, "__name__", str(held))
        raise SignatureError(
            f"a fresh key cannot start at {text}(); write hw.State[{text} | None]", name
        ) from None
    return Injected(name, "state", fresh, held)


def _nothing() -> None:
    return None


def _input(name: str, annotation: Any) -> tuple[Kind, list[type[Event] | None], bool]:
    origin = get_origin(annotation) or annotation
    if _form(origin) == "stream":
        arguments = get_args(annotation)
        if arguments and not _is_event(arguments[0]) and arguments[0] is not Any:
            if not isinstance(arguments[0], typing.TypeVar):
                raise SignatureError(f"is a stream of {arguments[0]!r}, not of an event", name)
            return "stream", [None], False
        event = arguments[0] if arguments and _is_event(arguments[0]) else None
        return "stream", [event], False
    if _form(origin) == "keyed":
        raise SignatureError("is Keyed; take hw.Stream[…] and call .key_by(…) inside", name)
    if annotation is pl.DataFrame:
        return "frame", [None], False
    if annotation is pa.RecordBatch:
        return "record_batch", [None], False
    members = _members(annotation)
    classes: list[type[Event] | None] = [m for m in members if _is_event(m)]
    if classes and all(_is_event(m) or m is Fired for m in members):
        return "row", classes, Fired in members
    if annotation is Fired:
        raise SignatureError("takes only hw.Fired; write Reading | hw.Fired", name)
    raise SignatureError(
        f"{_spelled(annotation)} is neither an input (hw.Stream[…], an event class, pl.DataFrame, "
        f"pa.RecordBatch) nor something that is handed in (hw.State[…], hw.Timer, the settings)",
        name,
    )


def _form(annotation: Any) -> str | None:
    """Return "stream" or "keyed" for the classes that say so of themselves."""
    return getattr(annotation, "__form__", None) if isinstance(annotation, type) else None


def _spelled(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _returned(annotation: Any, kind: Kind) -> Returned:
    if annotation is inspect.Parameter.empty:
        raise SignatureError(
            "has no return annotation; say what comes out: -> hw.Source[…], -> hw.Stream[…], "
            "an event class, an event or None, -> Iterator[…], or -> hw.Sink"
        )
    if annotation is None or annotation is type(None):
        return Returned("none")
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if _form(origin) == "stream":
        event = arguments[0] if arguments and _is_event(arguments[0]) else None
        return Returned("stream", event)
    if isinstance(origin, type) and issubclass(origin, Source):
        if not arguments or not _is_event(arguments[0]):
            raise SignatureError("returns a Source of no event; write -> hw.Source[Reading]")
        return Returned("source", arguments[0])
    if isinstance(origin, type) and issubclass(origin, Sink):
        return Returned("sink")
    if annotation is pl.DataFrame:
        return Returned("frame")
    if annotation is pa.RecordBatch:
        return Returned("record_batch")
    if origin in (*_MANY, collections.abc.AsyncIterator) and arguments:
        return Returned("row", _one_event(_members(arguments[0])), many=True, optional=True)
    members = [m for m in _members(annotation) if m is not type(None)]
    optional = len(members) < len(_members(annotation))
    return Returned("row", _one_event(members), optional=optional)


def _one_event(members: list[Any]) -> type[Event]:
    classes = [m for m in members if _is_event(m)]
    if len(classes) == 1 and len(members) == 1:
        return typing.cast(type[Event], classes[0])
    found = " | ".join(_spelled(m) for m in members)
    if len(classes) > 1:
        raise SignatureError(
            f"returns {found}; a stream has one event class: use one operator for each"
        )
    raise SignatureError(
        f"returns {found}, which is no event; return a class derived from hw.Event"
    )
