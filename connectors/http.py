"""HTTP: events that others post, and a webhook that events are posted to.

    curl -d '{"store": "pavia", "celsius": -18.2}' http://127.0.0.1:8080/

`events` takes a POST of a JSON object, a JSON array of objects, or JSON Lines, also compressed
(``Content-Encoding: gzip``), and answers in JSON:

- 202 ``{"accepted": 2, "dead": 1}`` once the rows are kept, in a run with ``--state``: they
  survive the death of the process, and with ``--sync always`` that of the machine. In another run
  once they wait in the queue, where they are lost with the process;
- 400 if nothing in the body is JSON, or the compression is damaged; nothing is kept;
- 411 without ``Content-Length``; 413 for a body above the bound, before or after decompression;
- 503 with ``Retry-After`` when the queue has no room for the body, or the flow stops; send it
  again.

``GET {path}/health`` answers 200 with the number of rows that wait. It has no authentication:
listen on 127.0.0.1, or put a proxy in front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..flows.connector import Reader, Sink, SinkContext, Source, SourceContext, Writer
from ..flows.durations import microseconds
from .inbox import Inbox, InboxReader
from .server import serve
from .webhook import Webhook, WebhookWriter

__all__ = ["events", "webhook"]

MAX_BODY = 2**24


@dataclass(frozen=True, slots=True)
class _Events(Source[Any]):
    bounded: ClassVar[bool] = False
    rewinds: ClassVar[bool] = False

    port: int
    path: str
    host: str
    queue: int
    max_body: int
    stoppable: bool
    on_listen: Callable[[int], None] | None

    def partitions(self) -> Sequence[str]:
        return [f"http://{self.host}:{self.port}{self.path}"]

    def open(self, partition: str, context: SourceContext) -> Reader:
        inbox = Inbox(context.boundary, self.queue, context.wake, context.acknowledged)
        server = serve(
            inbox, self.host, self.port, self.path, self.max_body, stoppable=self.stoppable
        )
        if self.on_listen is not None:
            self.on_listen(server.port)
        return InboxReader(inbox, server.port, server.stop, context.event)


def events(
    port: int,
    path: str = "/",
    host: str = "127.0.0.1",
    *,
    queue: int = 10_000,
    max_body: int = MAX_BODY,
    stoppable: bool = False,
    on_listen: Callable[[int], None] | None = None,
) -> Source[Any]:
    """Return a source of the events that are posted to a port; it never ends by itself.

    `queue` bounds the rows that wait, `max_body` the bytes of a request. Port 0 takes a free one;
    `on_listen` is called with the port once it listens, and the reader has it as `port`. With
    `stoppable`, ``POST {path}/end`` ends the stream after the rows that wait. Opening raises
    `ConnectorError` if the port is taken. Offsets count from 1 since the source was opened.
    """
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is no path; it begins with /")
    if queue < 1 or max_body < 1:
        raise ValueError("queue (rows) and max_body (bytes) are at least 1")
    return _Events(port, path, host, queue, max_body, stoppable, on_listen)


@dataclass(frozen=True, slots=True)
class _WebhookSink(Sink):
    hook: Webhook

    def open(self, context: SinkContext) -> Writer:
        return WebhookWriter(self.hook, context)


def webhook(
    url: str,
    *,
    batch: int = 500,
    timeout: str | timedelta = "10s",
    retries: int = 5,
    lines: bool = False,
) -> Sink:
    """Return a sink that posts rows to `url`, at most `batch` in a request, in order.

    The body is a JSON array, or JSON Lines with `lines`. A request that fails, or is answered
    with 429 or 5xx, is tried again up to `retries` times, after 0.5 s, 1 s, 2 s ... with jitter,
    30 s at most; then, or at once after another 4xx, writing raises `ConnectorError`. Rows come at
    least once: a request that arrived although its answer was lost is sent again. `write` waits
    for the answers, so a slow receiver slows the flow. Each request has `X-Headwater-Operator`
    and `X-Headwater-Batch` (from 0), by which a receiver can tell repetitions within a run.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError(f"{url!r} is no http or https address")
    if batch < 1 or retries < 0:
        raise ValueError("batch is at least 1 row, retries not negative")
    return _WebhookSink(Webhook(url, batch, microseconds(timeout) / 1e6, retries, lines))
