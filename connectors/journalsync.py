"""A sync that nothing waits for until its result is needed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor

__all__ = ["Syncing"]


class Syncing:
    """At most one sync under way, in a thread of its own or where `executor` runs it."""

    __slots__ = ("_executor", "_future", "_own")

    def __init__(self, executor: Executor | None) -> None:
        self._executor, self._own = executor, executor is None
        self._future: Future[None] | None = None

    @property
    def under_way(self) -> bool:
        """Whether there is one whose result was not taken."""
        return self._future is not None

    @property
    def ended(self) -> bool:
        """Whether there is one, and `result` does not wait."""
        return self._future is not None and self._future.done()

    def begin(self, sync: Callable[[], None]) -> None:
        """Let a sync begin; none may be under way. Raises RuntimeError if there is no thread."""
        assert self._future is None
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")
        self._future = self._executor.submit(sync)

    def result(self) -> OSError | None:
        """Wait for the sync that is under way; return what it failed with."""
        assert self._future is not None
        error = self._future.exception()
        self._future = None
        if error is not None and not isinstance(error, OSError):
            raise error
        return error

    def close(self) -> None:
        """Wait until nothing is under way, whatever becomes of it, and let go of the thread."""
        if self._future is not None:
            self._future.exception()
            self._future = None
        if self._own and self._executor is not None:
            self._executor.shutdown()
            self._executor = None
