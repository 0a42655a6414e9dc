"""The process in which a flow on a bench runs: it can die, and another goes on in its place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...connectors.runlog import FolderLog
from ...flows.batch import START
from ...flows.clock import ManualClock
from ...flows.engine.log import RunLog
from ...flows.engine.options import Options
from ...flows.engine.runner import Did, Runner
from ...flows.engine.signatures import flow_hash
from ...flows.errors import FlowError, HeadwaterError
from ...flows.flow import Flow
from ...flows.graph import OutputName, SourceSpec
from ...flows.journal.faulty import FaultyStorage
from ...flows.journal.settings import JournalSettings
from ...flows.snapshot import Tables
from ...flows.statecheck import check_snapshots
from .caught import Buried, Caught
from .fed import Died, Fed
from .inline import Inline
from .rig import Rig, Tapped, rigged
from .showing import shortened

__all__ = ["Choices", "Process"]


@dataclass(frozen=True, slots=True)
class Choices:
    """How the flow runs."""

    settings: Any
    seed: int
    batch_rows: int
    journal: JournalSettings
    image_every: int
    """µs between two images."""
    rewinds: bool
    """Whether sources can give again what they gave."""


class Process:
    """A run of a flow, and what outlives it: clock, storage, what was fed, what was caught.

    `partitions` are the names of those of each source; one that is not there has one, ``0``.
    """

    def __init__(
        self,
        flow: Flow,
        clock: ManualClock,
        choices: Choices,
        partitions: Mapping[str, Sequence[str]],
    ) -> None:
        self.flow = flow
        self.fed: dict[str, dict[str, Fed]] = {}
        """By source and partition."""
        self.buried = Buried()
        self.notices: list[str] = []
        self.rig: Rig
        self.done = False
        """Whether every source has ended and the sinks are complete."""
        self._clock = clock
        self._choices = choices
        self._partitions = partitions
        self._storage = FaultyStorage(choices.seed)
        self._caught: dict[tuple[str, OutputName, str], Caught] = {}
        self._begun = False
        self._failure: BaseException | None = None
        self._unkept: FlowError | None = None
        """Why the run cannot be interrupted, if it holds a state that no image can hold."""
        self._executor: Tapped
        self._runner: Runner
        self._begin(frozenset())

    # A life

    def work(self) -> None:
        """Step until there is nothing to do; go on after each death that was fed.

        Raises what the flow raises.
        """
        self.check()
        self._work(exact=True)

    def stop(self) -> None:
        """Stop in good order, with an image; raises `FlowError` if the flow's state allows none.

        A run that never began has nothing to stop.
        """
        if not self._begun:
            self.die(unsynced=False)
            return
        self.check()
        self._check_durable()
        if not self.done:
            self._runner.stop()
            self._guarded(self._runner.finish)
        self._runner.close()
        self._storage.kill()

    def die(self, unsynced: bool) -> bool:
        """Die: what the runner does from now on reaches nothing. Raises as `stop` does.

        Return whether all that was put out will come again as it was, as no step was lost.
        """
        self._check_durable()
        storage = copy.deepcopy(self._storage)
        with suppress(Exception):  # of a process that is dead
            self._runner.close()
        if unsynced:
            storage.crash()
        else:
            storage.kill()
        self._storage = storage
        return not unsynced or self._choices.journal.sync == "always"

    def again(self, flow: Flow | None, reset: frozenset[str], *, exact: bool) -> None:
        """Go on from what the storage holds.

        Raises `AssertionError` if another version of what was taken back comes of the same flow,
        and `exact` says that it must not.
        """
        exact = exact and (flow is None or flow is self.flow)
        self.flow = flow or self.flow
        self._begin(reset)
        self._work(exact)

    def close(self) -> None:
        """Let go of the run."""
        self._runner.close()

    def check(self) -> None:
        """Raise `HeadwaterError` if the run has failed."""
        if self._failure is not None:
            raise HeadwaterError("the run has failed; crash() begins it anew") from self._failure

    # Where it stands

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(node.operator for node in self.flow.graph().sources())

    def watermark(self, node: str) -> int:
        """Return how far a node is in event time (µs)."""
        progress = self._runner.progress()
        for source in progress.sources:
            if source.node.id == node:
                return source.intake.watermark
        return progress.counts[node].watermark if node in progress.counts else START

    def tables(self) -> Mapping[str, Tables]:
        """Return what the operators remember, by node."""
        return self._executor.snapshot()

    def stops(self, now: int) -> list[int]:
        """Return the times after `now` at which a pause or the patience with a source ends."""
        stops = []
        for spec, fed in self._all_fed():
            due = fed.due()
            if due is not None:
                stops.append(due)
            if spec.idle is not None:
                stops.append(fed.last_read + spec.idle)
        return [stop for stop in stops if stop > now]

    def _all_fed(self) -> Iterator[tuple[SourceSpec, Fed]]:
        for node in self.flow.graph().sources():
            assert isinstance(node.spec, SourceSpec)
            for fed in self.fed[node.operator].values():
                yield node.spec, fed

    # How it runs

    def _begin(self, reset: frozenset[str]) -> None:
        """Make a runner, and have it go on from what the storage holds."""
        choices = self._choices
        self._lay_out()
        self.rig = rigged(self.flow, self.fed, self._caught, rewinds=choices.rewinds)
        options = Options(choices.batch_rows, choices.seed, choices.settings, reset)
        self._executor = Tapped(self.rig, options)
        self._runner = Runner(
            self.rig.graph,
            self._clock,
            options,
            self.buried.bury,
            self._executor,
            log=self._log(),
            letters=self.buried,
            notice=self.notices.append,
        )
        self._failure, self.done, self._begun = None, False, False
        self._guarded(self._runner.begin)
        self._begun = True

    def _log(self) -> RunLog | None:
        """Return a log of the run; there is none where the flow's state allows none."""
        try:
            check_snapshots(self.rig.graph)
        except FlowError as error:
            self._unkept = error
            return None
        return FolderLog(
            self._storage,
            self._clock,
            flow_hash(self.rig.graph),
            settings=self._choices.journal,
            every=self._choices.image_every,
            wait=_never,
            notice=self.notices.append,
            executor=Inline(),
        )

    def _lay_out(self) -> None:
        """Make the partitions of the sources that have none yet."""
        for node in self.flow.graph().sources():
            spec, partitions = node.spec, self.fed.setdefault(node.operator, {})
            assert isinstance(spec, SourceSpec)
            for fed in partitions.values():
                fed.event = spec.event
            for name in self._partitions.get(node.operator, ("0",)):
                if name not in partitions:
                    rewinds = self._choices.rewinds
                    partitions[name] = Fed(name, spec.event, self._clock, rewinds=rewinds)

    def _work(self, exact: bool) -> None:
        while True:
            for _, fed in self._all_fed():
                fed.wake()
            try:
                self._guarded(self._steps)
                break
            except Died as died:
                exact = self.die(died.unsynced) and exact
                self._begin(frozenset())
        self._compare(exact)

    def _steps(self) -> None:
        while not self.done:
            did = self._runner.step()
            if did is Did.NOTHING:
                return
            if did is Did.END:
                self._runner.finish()
                self.done = True

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Died:
            raise
        except BaseException as error:
            self._failure = error
            raise

    def _check_durable(self) -> None:
        if self._unkept is not None:
            raise self._unkept

    def _compare(self, exact: bool) -> None:
        """Check that what was taken back came again, as it was if `exact`."""
        places = {name: place for place, name in enumerate(self.rig.operators)}
        for (name, output, _), caught in sorted(
            self._caught.items(), key=lambda found: places.get(found[0][0], len(places))
        ):
            differing = caught.differing()
            if differing is not None and exact:
                place, before, after = differing
                what = "" if output == "main" else f" ({output})"
                was = shortened(str(before.to_dicts()[0]))
                now = shortened(str(after.to_dicts()[0])) if after.height else "missing"
                raise AssertionError(
                    f"{name}{what}: other rows came when steps were done again; row {place} was "
                    f"{was}, and is {now}"
                )


def _never() -> None:
    raise AssertionError("a storage in memory is not full")
