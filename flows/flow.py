"""Writing a flow: decorators register functions, and wire them by the objects they return."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Literal, ParamSpec, TypeVar, overload

from .declaration import (
    Declaration,
    Declared,
    Decorator,
    Operator,
    Options,
    Role,
    Upstream,
)
from .durations import Duration, microseconds
from .errors import Problem
from .event import Event
from .graph import Graph, OnError, Tier
from .loading import load
from .settings import Settings
from .signature import scope_of

__all__ = ["Flow"]

P = ParamSpec("P")
R = TypeVar("R")


class Flow:
    """A dataflow in the making.

    Decorating runs nothing; `graph()` loads the flow: it reads the annotations, calls the
    functions on streams, checks every schema, and gives the graph or all that is wrong with it.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: type[Settings] | None = None,
        on_error: OnError = "dead",
        max_latency: Duration = "50ms",
        vectorize: bool = True,
    ) -> None:
        """Begin a flow.

        `on_error` says what happens when a user's function raises for a row: "dead" sends the row
        to the dead letters and goes on, "stop" ends the flow. `max_latency` bounds how long rows
        wait for others to come in one batch with them. With `vectorize`, functions
        of a row run on columns wherever that gives the same.
        """
        self.name = name
        self.settings = settings
        self.on_error: OnError = on_error
        self.max_latency = microseconds(max_latency)
        self.vectorize = vectorize
        self.declarations: list[Declaration] = []
        self.problems: list[Problem] = []
        self.unapplied: list[Problem] = []
        """Decorators that were given a function to read, and so far none to decorate."""
        self._scope: tuple[str, ...] = ()
        self._graph: Graph | None = None

    @overload
    def source(self, function: Callable[P, R], /) -> Operator[P, R]: ...

    @overload
    def source(
        self,
        *,
        name: str | None = None,
        tier: Tier | None = None,
        disorder: Duration = "0s",
        idle: Duration | None = None,
    ) -> Decorator: ...

    def source(
        self,
        function: Callable[P, R] | None = None,
        *,
        name: str | None = None,
        tier: Tier | None = None,
        disorder: Duration = "0s",
        idle: Duration | None = None,
    ) -> Operator[P, R] | Decorator:
        """Declare where events come from.

        The function returns a `Source`, or is a generator of events (at most once). `disorder` is
        by how much a row may be older than the newest before it in its partition; `idle` is how
        long a silent partition holds the others back.
        """
        wrong: dict[str, str] = {}
        options = Options(
            tier=tier,
            disorder=_length("disorder", disorder, wrong) or 0,
            idle=_length("idle", idle, wrong),
            wrong=wrong,
        )
        scope = scope_of(sys._getframe(1))
        declares = self._declares("source", (), name, options, scope)
        return declares if function is None else declares(function)

    def operator(
        self,
        *upstream: Upstream,
        name: str | None = None,
        key: str | Sequence[str] | None = None,
        tier: Tier | None = None,
        returns: type[Event] | None = None,
        ttl: Duration | None = None,
        order: Literal["event", "arrival"] = "event",
        timers: Literal["event", "processing"] = "event",
        in_flight: int = 100,
        timeout: Duration | None = None,
        retries: int = 0,
        ordered: bool = True,
        vectorize: bool | None = None,
    ) -> Decorator:
        """Declare what is done to the rows of `upstream`; annotations say how it is called.

        `key`, `ttl`, `order` and `timers` are for functions with state (see `State`, `Timer`);
        `in_flight`, `timeout`, `retries` and `ordered` for ``async def`` functions; `returns`
        for functions on batches; `vectorize` for functions of a row (None: as the flow says).
        """
        wrong: dict[str, str] = {}
        options = Options(
            tier=tier,
            key=None if key is None else (key,) if isinstance(key, str) else tuple(key),
            returns=returns,
            ttl=_length("ttl", ttl, wrong),
            order=order,
            timers=timers,
            in_flight=in_flight,
            timeout=_length("timeout", timeout, wrong),
            wrong=wrong,
            retries=retries,
            ordered=ordered,
            vectorize=self.vectorize if vectorize is None else vectorize,
        )
        scope = scope_of(sys._getframe(1))
        return self._declares("operator", upstream, name, options, scope)

    def sink(
        self, *upstream: Upstream, name: str | None = None, tier: Tier | None = None
    ) -> Decorator:
        """Declare where the rows of `upstream` go.

        The function returns a `Sink`; or it takes an input as an operator does and returns None,
        and is called with what comes.
        """
        scope = scope_of(sys._getframe(1))
        options = Options(tier=tier)
        return self._declares("sink", upstream, name, options, scope)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put the operators declared within under ``name/``, so that a sub-flow can be reused."""
        before = self._scope
        self._scope = (*before, name)
        try:
            yield
        finally:
            self._scope = before

    def graph(self) -> Graph:
        """Load the flow; raises `FlowError` with everything that is wrong with it."""
        if self._graph is None:
            self._graph = load(
                Declared(
                    self,
                    tuple(self.declarations),
                    (*self.problems, *self.unapplied),
                    self.settings,
                    self.on_error,
                    self.max_latency,
                )
            )
        return self._graph

    def _declares(
        self,
        role: Role,
        upstream: tuple[Any, ...],
        name: str | None,
        options: Options,
        scope: dict[str, Any],
    ) -> Decorator:
        bare = _bare(role, upstream)
        if bare is not None:
            self.unapplied.append(bare)

        def declare(function: Callable[P, R], /) -> Operator[P, R]:
            if bare in self.unapplied:
                self.unapplied.remove(bare)
            return self._declare(function, role, upstream, name, options, scope)

        return declare

    def _declare(
        self,
        function: Callable[P, R],
        role: Role,
        upstream: tuple[Any, ...],
        name: str | None,
        options: Options,
        scope: dict[str, Any],
    ) -> Operator[P, R]:
        if isinstance(function, Operator):  # decorated twice: the function serves in both places
            function = function.function
        own = name or str(getattr(function, "__name__", "operator"))
        full = "/".join((*self._scope, own))
        code = getattr(function, "__code__", None)
        declaration = Declaration(
            full,
            role,
            function,
            upstream,
            options,
            scope,
            code.co_filename if code else "",
            code.co_firstlineno if code else 0,
        )
        if any(other.name == full for other in self.declarations):
            self.problems.append(
                Problem(
                    full,
                    "is declared twice; names are identity, so give one of them name=…",
                    file=declaration.file,
                    line=declaration.line,
                )
            )
        self.declarations.append(declaration)
        self._graph = None
        return Operator(function, full, self)

    def __repr__(self) -> str:
        return f"<flow {self.name}: {len(self.declarations)} operators>"


def _bare(role: Role, upstream: tuple[Any, ...]) -> Problem | None:
    """Return what is wrong if the decorator turns out to stand without parentheses."""
    if len(upstream) != 1 or not isinstance(upstream[0], FunctionType):
        return None
    function = upstream[0]
    code = function.__code__
    return Problem(
        function.__name__,
        f"is decorated without what it reads; write @flow.{role}(readings), with the operator "
        f"that it reads",
        file=code.co_filename,
        line=code.co_firstlineno,
    )


def _length(option: str, duration: Duration | None, wrong: dict[str, str]) -> int | None:
    """Return an option's duration in µs; what is wrong with it is told when the flow is loaded."""
    if duration is None:
        return None
    try:
        return microseconds(duration)
    except ValueError as error:
        wrong[option] = str(error)
        return None
