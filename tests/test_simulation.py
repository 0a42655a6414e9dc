"""Durable runs in a simulated world, and bugs planted in them, each of which it has to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from headwater.connectors.runlog import FolderLog
from headwater.flows.connector import Chunk, Signal
from headwater.flows.engine.executor import Local
from headwater.flows.engine.image import ChannelImage, Image
from headwater.flows.engine.inputs import Inputs
from headwater.flows.engine.progress import SourceState
from headwater.flows.engine.room import Room
from headwater.flows.engine.runner import Runner
from headwater.flows.errors import NoRoomError
from headwater.flows.snapshot import Tables

from .simulation import ends
from .simulation.disk import Disk
from .simulation.ends import FileWriter, Letters
from .simulation.history import Violation
from .simulation.world import World, simulate

SEEDS = 48
WITHIN = 1000
"""Seeds within which a bug has to be found."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_run_goes_on_whatever_happens(seed: int) -> None:
    simulate(seed)


def test_a_seed_is_the_same_world_each_time() -> None:
    first, second = simulate(7), simulate(7)
    assert first.disk.operations == second.disk.operations
    assert first.clock.time == second.clock.time
    assert first.deaths == second.deaths > 0


# The simulation has teeth


def found(disk: type[Disk] = Disk, flow: int = 0, of: int = 1, *, full: bool = False) -> int | None:
    """The first seed that finds something wrong; one `of` so many is about one `flow`.

    With `full`, of those whose disk may be full.
    """
    for seed in range(flow, WITHIN, of):
        world = World(seed, disk=disk)
        if full and not world.nature.full:
            continue
        try:
            world.run()
        except Violation:
            return seed
    return None


class SkipsASync(Disk):
    """Of all syncs of the journal, one does nothing."""

    skipped = False

    def sync(self, name: str) -> None:
        if name.endswith(".seg") and not self.skipped and self.random.random() < 0.2:
            self.skipped = True
            return
        super().sync(name)


def test_a_sync_of_the_journal_that_is_skipped_is_found() -> None:
    assert found(SkipsASync, flow=2, of=3) is not None


class ForgetsTheFolder(Disk):
    """Names are never made durable."""

    def sync_directory(self) -> None:
        return


def test_names_that_are_not_made_durable_are_found() -> None:
    assert found(ForgetsTheFolder) is not None


def test_a_position_without_a_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileWriter, "_sync", lambda self: None)
    assert found() is not None


def test_dead_letters_without_a_sync_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Letters, "position", lambda self: b"%d" % self._disk.size(Letters.NAME))
    assert found(flow=2, of=3) is not None


def test_an_image_before_its_steps_are_durable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    early = False
    save_of_runner, save = Runner._save, FolderLog.save
    sync = FolderLog.sync
    committed: Any = FolderLog.committed

    def saves(self: Runner, *given: Any, **named: Any) -> None:
        nonlocal early
        early = True
        save_of_runner(self, *given, **named)

    def saved(self: FolderLog, image: Image, *, needed: bool) -> None:
        nonlocal early
        self._written(image, needed=needed)
        early = False
        save(self, image, needed=needed)

    def synced(self: FolderLog) -> None:
        if not early:
            sync(self)

    def is_committed(self: FolderLog) -> int:
        return self.following if early else int(committed.fget(self))

    monkeypatch.setattr(Runner, "_save", saves)
    monkeypatch.setattr(FolderLog, "save", saved)
    monkeypatch.setattr(FolderLog, "sync", synced)
    monkeypatch.setattr(FolderLog, "committed", property(is_committed))
    assert found() is not None


def test_an_acknowledgement_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Inputs.read

    def acknowledges(self: Inputs, source: SourceState, partition: int) -> Chunk | Signal:
        chunk = read(self, source, partition)
        if isinstance(chunk, Chunk) and chunk.rows.height:
            source.readers[partition].acknowledge(chunk.offsets[-1])
        return chunk

    monkeypatch.setattr(Inputs, "read", acknowledges)
    assert found() is not None


def test_half_a_row_that_is_left_where_there_was_no_room_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leaves(disk: Disk, name: str, data: Sequence[bytes]) -> None:
        try:
            disk.append(name, data)
        except OSError as error:
            raise NoRoomError(f"{name}: there is no room") from error

    monkeypatch.setattr(ends, "append", leaves)
    assert found(flow=0, of=3, full=True) is not None


def test_going_on_without_what_finds_no_room_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def goes_on(self: Room, act: Callable[[], object]) -> object:
        with suppress(NoRoomError):
            return act()
        return None

    monkeypatch.setattr(Room, "found", goes_on)
    assert found(flow=0, of=3, full=True) is not None


def test_rows_that_are_put_out_before_the_commit_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = Runner._release

    def releases(self: Runner) -> None:
        for _, made in self._uncommitted:
            for sink, rows in made.rows:
                self._outputs.write(sink, rows)
            made.rows = []
        release(self)

    monkeypatch.setattr(Runner, "_release", releases)
    assert found() is not None


def _without_an_offset(channels: tuple[ChannelImage, ...]) -> tuple[ChannelImage, ...]:
    return tuple(replace(channel, offset=None) for channel in channels)


def _without_ends(channels: tuple[ChannelImage, ...]) -> tuple[ChannelImage, ...]:
    return tuple(replace(channel, ended=False) for channel in channels)


@pytest.mark.parametrize("forgotten", [_without_an_offset, _without_ends])
def test_an_image_that_forgets_something_of_a_channel_is_found(
    monkeypatch: pytest.MonkeyPatch,
    forgotten: Callable[[tuple[ChannelImage, ...]], tuple[ChannelImage, ...]],
) -> None:
    channels = Inputs.channels
    monkeypatch.setattr(Inputs, "channels", lambda self: forgotten(channels(self)))
    assert found() is not None


def test_an_image_that_forgets_an_operator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Local.snapshot

    def forgets(self: Local) -> Mapping[str, Tables]:
        tables = snapshot(self)
        return {name: table for name, table in tables.items() if name != "alarms"}

    monkeypatch.setattr(Local, "snapshot", forgets)
    assert found() is not None
