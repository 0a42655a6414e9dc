"""A reader over bytes: blocks go through a parser, rows come out."""

from __future__ import annotations

from ..flows.connector import Chunk, Reader, Signal
from .blocks import Blocks, Damage
from .formats import Parser
from .pending import Pending

__all__ = ["StreamReader"]


class StreamReader(Reader):
    """Reads a stream whose offsets are line numbers, from 1; holds one parsed block."""

    def __init__(self, name: str, blocks: Blocks, parser: Parser, start: int | None) -> None:
        self._name = name
        self._blocks = blocks
        self._parser = parser
        self._start = start
        self._pending = Pending()
        self._ended = False
        self._closed = False

    def read(self, limit: int) -> Chunk | Signal:
        while not len(self._pending):
            if self._ended or self._closed:
                return Signal.END
            chunk = self._parsed()
            if isinstance(chunk, Signal):
                return chunk
            self._pending.put(chunk, self._start)
        return self._pending.take(limit)

    def _parsed(self) -> Chunk | Signal:
        try:
            block = self._blocks.next()
        except Damage as damage:
            self._ended = damage.ends
            return self._parser.abandon(str(damage), always=damage.ends)
        if isinstance(block, bytes):
            return self._parser.feed(block, self._start or 0)
        if block is Signal.WAIT:
            return block
        self._ended = True
        return self._parser.finish()

    def stop(self) -> None:
        self._blocks.stop()

    def close(self) -> None:
        self._closed = True
        self._pending = Pending()
        self._blocks.close()

    def describe(self, offset: int) -> str:
        return f"{self._name}, line {offset}"

    def progress(self) -> float | None:
        return self._blocks.progress()
