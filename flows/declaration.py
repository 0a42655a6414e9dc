"""What decorators leave behind: operators, to be wired and called, and what was said of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar

from .errors import Problem
from .event import Event
from .graph import OnError, Tier
from .settings import Settings

__all__ = [
    "DeadLetter",
    "Declaration",
    "Declared",
    "Decorator",
    "Operator",
    "Options",
    "Role",
    "SideOutput",
    "Upstream",
]

P = ParamSpec("P")
R = TypeVar("R")
Role = Literal["source", "operator", "sink"]


class DeadLetter(Event):
    """A row that could not be taken: what `.dead` of an operator carries."""

    operator: str
    origin: str
    """Where it was read, in a person's words; empty if it was made within the flow."""
    reason: str
    raw: bytes
    """The input as it was, or the row as JSON."""


class Owner(Protocol):
    """The flow that an operator belongs to."""

    name: str


@dataclass(frozen=True, slots=True)
class SideOutput:
    """The late rows or the dead letters of an operator, as an input of another."""

    operator: Operator[..., Any]
    output: Literal["late", "dead"]


class Operator(Generic[P, R]):
    """What a decorator returns: the function itself, which can be wired to others.

    Calling it calls the function unchanged, so that an operator is tested like any function.
    """

    def __init__(self, function: Callable[P, R], name: str, flow: Owner) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        """Its name in the flow, which is its identity: its state is kept under it."""
        self.flow = flow

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def late(self) -> SideOutput:
        """Its rows that came after the watermark had passed them, as they came in."""
        return SideOutput(self, "late")

    @property
    def dead(self) -> SideOutput:
        """Rows that it could not take, as `DeadLetter`."""
        return SideOutput(self, "dead")

    def __repr__(self) -> str:
        return f"<operator {self.name} of flow {self.flow.name}>"


class Decorator(Protocol):
    """Makes an operator of a function."""

    def __call__(self, function: Callable[P, R], /) -> Operator[P, R]: ...


Upstream = Operator[..., Any] | SideOutput


@dataclass(frozen=True, slots=True)
class Options:
    """What was said in the decorator beside the upstream operators."""

    tier: Tier | None = None
    disorder: int = 0
    idle: int | None = None
    key: tuple[str, ...] | None = None
    returns: type[Event] | None = None
    ttl: int | None = None
    order: Literal["event", "arrival"] = "event"
    timers: Literal["event", "processing"] = "event"
    in_flight: int = 100
    timeout: int | None = None
    retries: int = 0
    ordered: bool = True
    vectorize: bool = True
    """Whether a function of a row may run on columns."""
    wrong: dict[str, str] = field(default_factory=dict, repr=False)
    """What is wrong with an option, by its name."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One decorated function, as it was written."""

    name: str
    role: Role
    function: Callable[..., Any]
    upstream: tuple[Any, ...]
    options: Options
    scope: dict[str, Any] = field(repr=False)
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Declared:
    """A flow as it has been written so far."""

    owner: Owner
    declarations: tuple[Declaration, ...]
    problems: tuple[Problem, ...]
    settings: type[Settings] | None
    on_error: OnError
    max_latency: int

    @property
    def name(self) -> str:
        """The flow's name."""
        return self.owner.name
