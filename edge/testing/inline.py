"""An executor that does at once what it is given."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

__all__ = ["Inline"]

P = ParamSpec("P")
R = TypeVar("R")


class Inline(Executor):
    """Runs what is submitted before `submit` returns, so that nothing depends on threads."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # as the executors of the standard library have it
            future.set_exception(error)
        return future
