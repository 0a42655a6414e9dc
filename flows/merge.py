"""Merges channels into one, in canonical order: by watermark, then channel, then sequence.

A row may leave once no other channel can still give one that stands before it. As a row's
watermark is a function of its position, the merged order does not depend on how the channels were
cut into batches or which of them was read first.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from .batch import END, START, WATERMARK, Batch
from .snapshot import Tables, scalars, scalars_in

__all__ = ["Merge"]


class Merge:
    """A state machine over `channels` channels.

    With `in_order` False (streams without event time) rows leave as they come. An idle channel no
    longer holds the others back; when it has rows again, those that the merged stream has passed
    are taken to be read at the watermark that it has reached.
    """

    __slots__ = ("_frontier", "_held", "_idle", "_in_order", "_newest", "held_rows", "watermark")

    def __init__(self, channels: int, *, in_order: bool = True) -> None:
        self._in_order: Final = in_order
        self._frontier = [START] * channels
        self._held: list[list[pl.DataFrame]] = [[] for _ in range(channels)]
        self._idle = [False] * channels
        self._newest = START
        self.watermark = START
        """The watermark of the merged stream."""
        self.held_rows = 0

    def frontier(self, channel: int) -> int:
        """Return the channel's watermark."""
        return self._frontier[channel]

    def receive(self, channel: int, batch: Batch) -> Batch:
        """Take a batch of a channel; return what may leave now."""
        rows = batch.rows
        if rows is not None:
            self._idle[channel] = False
            if self._frontier[channel] < self.watermark:  # it has been idle, and is behind yet
                floor = self.watermark
                rows = rows.with_columns(pl.col(WATERMARK).clip(lower_bound=floor))
        self._frontier[channel] = max(batch.watermark, self._frontier[channel])
        if batch.watermark < END:
            self._newest = max(batch.watermark, self._newest)
        if not self._in_order or len(self._held) == 1:
            self.watermark = max(self.watermark, self._lowest())
            return Batch(rows, self.watermark)
        if rows is not None:
            self._held[channel].append(rows)
            self.held_rows += rows.height
        return self._release()

    def idle(self, channel: int) -> Batch:
        """Set a channel aside until it has rows again; return what may leave for that."""
        self._idle[channel] = True
        return self._release()

    def follow(self, watermark: int) -> Batch:
        """Go along with other streams up to `watermark`, all channels being idle."""
        self.watermark = max(watermark, self.watermark)
        return Batch(None, self.watermark)

    def snapshot(self) -> Tables:
        """Return how far each channel is, as ``channels``, and as ``rows`` those held, if any."""
        tables = scalars(watermark=self.watermark, newest=self._newest)
        tables["channels"] = pl.DataFrame(
            {
                "watermark": pl.Series(self._frontier, dtype=pl.Int64),
                "idle": pl.Series(self._idle, dtype=pl.Boolean),
                "held": pl.Series([sum(f.height for f in h) for h in self._held], dtype=pl.Int64),
            }
        )
        if self.held_rows:
            tables["rows"] = pl.concat([frame for held in self._held for frame in held])
        return tables

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave."""
        found, channels = scalars_in(tables), tables["channels"]
        self.watermark, self._newest = found["watermark"], found["newest"]
        self._frontier = channels["watermark"].to_list()
        self._idle = channels["idle"].to_list()
        self.held_rows = 0
        for held, count in zip(self._held, channels["held"], strict=True):
            if count:
                held.append(tables["rows"].slice(self.held_rows, count))
            self.held_rows += count

    def _lowest(self) -> int:
        if self.finished():
            return END
        active = [
            frontier
            for frontier, idle in zip(self._frontier, self._idle, strict=True)
            if frontier < END and not idle
        ]
        # An idle channel may have rows again, so the others' end is not the end of the stream.
        return min(active, default=max(self._newest, self.watermark))

    def _release(self) -> Batch:
        lowest = self._lowest()
        first = next(
            (
                c
                for c, frontier in enumerate(self._frontier)
                if frontier <= lowest and not self._idle[c]
            ),
            len(self._held),
        )
        parts: list[pl.DataFrame] = []
        for channel, held in enumerate(self._held):
            # What stands at the lowest watermark itself may leave up to the channel that is
            # there still: its coming rows go before those of the channels after it.
            limit = lowest if channel <= first else lowest - 1
            while held:
                head = held[0]
                if head.item(-1, WATERMARK) <= limit:
                    parts.append(head)
                    held.pop(0)
                    continue
                cut = head[WATERMARK].search_sorted(limit, side="right")
                if cut:
                    parts.append(head[:cut])
                    held[0] = head[cut:]
                break
        self.watermark = max(self.watermark, lowest)
        if not parts:
            return Batch(None, self.watermark)
        rows = parts[0]
        if len(parts) > 1:
            rows = pl.concat(parts)
            if not rows[WATERMARK].is_sorted():
                rows = rows.sort(WATERMARK, maintain_order=True)
        self.held_rows -= rows.height
        return Batch(rows, self.watermark)

    def finished(self) -> bool:
        """Whether every channel has ended."""
        return all(frontier >= END for frontier in self._frontier)
