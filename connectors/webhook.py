"""Posts rows to an HTTP address, in batches, and tries again."""

from __future__ import annotations

import http.client
import io
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from ..flows.connector import SinkContext, Writer
from ..flows.errors import ConnectorError
from .encoders import JsonLinesEncoding

__all__ = ["Webhook", "WebhookWriter", "pauses"]

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
_TOO_MANY = 429
_SERVER = 500


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: it would turn a POST into a GET, which takes no rows."""

    def redirect_request(self, *args: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where rows are posted, and how patiently; `timeout` is in seconds."""

    url: str
    batch: int
    timeout: float
    retries: int
    lines: bool
    pause: Callable[[float], None] = time.sleep


def pauses(retries: int, rng: random.Random) -> list[float]:
    """Return the seconds to wait before each repetition: doubling, with a jitter of a half."""
    longest = (min(_LONGEST_SECONDS, _FIRST_SECONDS * 2**n) for n in range(retries))
    return [rng.uniform(seconds / 2, seconds) for seconds in longest]


class WebhookWriter(Writer):
    """Holds less than a batch; `write` and `flush` return once the receiver has answered."""

    def __init__(self, hook: Webhook, context: SinkContext) -> None:
        self._hook = hook
        self._operator = context.operator
        self._random = random.Random(context.seed)
        self._buffer = io.BytesIO()
        self._encoder = JsonLinesEncoding().start(context.schema, self._buffer)
        self._held: list[pl.DataFrame] = []
        self._rows = 0
        self._sent = 0
        self._done = False

    def write(self, rows: pl.DataFrame) -> None:
        self._held.append(rows)
        self._rows += len(rows)
        if self._rows < self._hook.batch:
            return
        every = pl.concat(self._held)
        whole = self._rows - self._rows % self._hook.batch
        self._held, self._rows = [every.slice(whole)], self._rows - whole
        for start in range(0, whole, self._hook.batch):
            self._send(every.slice(start, self._hook.batch))

    def flush(self) -> None:
        if self._rows:
            every = pl.concat(self._held)
            self._held, self._rows = [], 0
            self._send(every)

    def close(self) -> None:
        if not self._done:
            self._done = True
            self.flush()

    def abort(self) -> None:
        self._done = True
        self._held, self._rows = [], 0

    def _send(self, rows: pl.DataFrame) -> None:
        body = self._body(rows)
        waits = pauses(self._hook.retries, self._random)
        for wait in [*waits, None]:
            failure = self._post(body)
            if failure is None:
                self._sent += 1
                return
            if wait is None:
                tries = self._hook.retries + 1
                raise ConnectorError(f"{self._hook.url}: {failure} ({tries} tries)")
            self._hook.pause(wait)

    def _body(self, rows: pl.DataFrame) -> bytes:
        self._encoder.write(rows)
        lines = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return lines if self._hook.lines else b"[" + b",".join(lines.splitlines()) + b"]"

    def _post(self, body: bytes) -> str | None:
        """Return None if the receiver took the body, or why it may be tried again."""
        kind = "application/x-ndjson" if self._hook.lines else "application/json"
        headers = {
            "Content-Type": kind,
            "X-Headwater-Operator": self._operator,
            "X-Headwater-Batch": str(self._sent),
        }
        request = urllib.request.Request(self._hook.url, body, headers, method="POST")
        try:
            with _OPENER.open(request, timeout=self._hook.timeout) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < _SERVER and error.code != _TOO_MANY:
                raise ConnectorError(
                    f"{self._hook.url}: refused with {error.code} {error.reason}; not tried again"
                ) from error
            return f"answered {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            return f"cannot be reached: {error}"
        return None
