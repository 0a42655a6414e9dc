"""The HTTP source and the webhook, over real sockets on this machine."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.connectors import http as hw_http
from headwater.connectors.conformance import (
    Bell,
    check_sink,
    check_source,
    sink_context,
    source_context,
)
from headwater.connectors.inbox import InboxReader, NotJson, pieces
from headwater.connectors.webhook import Webhook, WebhookWriter, pauses
from headwater.flows.connector import Chunk, Signal
from headwater.flows.errors import ConnectorError
from headwater.flows.event import Event


class Pair(Event):
    a: int
    b: str


Answer = tuple[int, dict[str, Any], http.client.HTTPMessage]


def ask(
    port: int,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    method: str = "POST",
) -> Answer:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        link.request(method, path, body, headers or {})
        answer = link.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        link.close()


@contextmanager
def listening(path: str = "/", **options: Any) -> Iterator[tuple[int, InboxReader, Bell]]:
    source = hw_http.events(0, path, **options)
    bell = Bell()
    reader = source.open(source.partitions()[0], source_context(Pair, bell))
    assert isinstance(reader, InboxReader)
    try:
        yield reader.port, reader, bell
    finally:
        reader.close()


GOOD = b'{"a": 1, "b": "x"}'
BAD = b'{"a": "one"}'


@pytest.mark.parametrize(
    ("body", "accepted", "dead"),
    [
        (GOOD, 1, []),
        (b"[" + GOOD + b",\n" + BAD + b", " + GOOD + b"]", 2, [BAD]),
        (GOOD + b"\n" + BAD + b"\r\n\n" + GOOD + b"\n", 2, [BAD]),
        (GOOD + b"\nnot json\n", 1, [b"not json"]),
        (b'{"a": 1,\n "b": "x"}', 1, []),
        (b"[]", 0, []),
        (b"", 0, []),
        (b"17", 0, [b"17"]),
    ],
)
def test_bodies(body: bytes, accepted: int, dead: list[bytes]) -> None:
    with listening() as (port, reader, bell):
        assert Signal.WAIT is reader.read(10)
        for sent, headers in ((body, {}), (gzip.compress(body), {"Content-Encoding": "gzip"})):
            status, answer, _ = ask(port, "/", sent, headers)
            assert (202, {"accepted": accepted, "dead": len(dead)}) == (status, answer)
            if not accepted and not dead:
                continue
            assert bell.wait(10)
            found = reader.read(10)
            assert isinstance(found, Chunk)
            assert [(1, "x")] * accepted == found.rows.rows()
            assert dead == [one.raw for one in found.dead]


def test_refusals() -> None:
    with listening("/in", max_body=100) as (port, reader, _):
        cases: list[tuple[int, str, bytes, dict[str, str]]] = [
            (400, "/in", b"not json", {}),
            (400, "/in", b"\xff\xfe", {}),
            (400, "/in", b'[{"a": 1', {}),
            (400, "/in", b"not gzip", {"Content-Encoding": "gzip"}),
            (400, "/in", gzip.compress(GOOD)[:-9], {"Content-Encoding": "gzip"}),
            (415, "/in", GOOD, {"Content-Encoding": "br"}),
            (413, "/in", b"x" * 101, {}),
            (413, "/in", gzip.compress(b" " * 10**6), {"Content-Encoding": "gzip"}),
            (404, "/other", GOOD, {}),
            (404, "/in/end", GOOD, {}),
        ]
        for expected, path, body, headers in cases:
            status, answer, _headers = ask(port, path, body, headers)
            assert (expected, body) == (status, body)
            assert answer["error"]
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        link.request("POST", "/in", iter([GOOD]), encode_chunked=True)
        assert 411 == link.getresponse().status
        link.close()
        assert (200, {"status": "ok", "waiting": 0}) == ask(port, "/in/health", method="GET")[:2]
        assert 404 == ask(port, "/in", method="GET")[0]
        assert Signal.WAIT is reader.read(1)


def test_a_full_queue_pushes_back() -> None:
    with listening(queue=3) as (port, reader, _):
        lines = b"\n".join([GOOD] * 2)
        assert 202 == ask(port, "/", lines)[0]
        status, _, headers = ask(port, "/", lines)
        assert (503, "1") == (status, headers["Retry-After"])
        assert (200, {"status": "ok", "waiting": 2}) == ask(port, "/health", method="GET")[:2]
        assert isinstance(reader.read(1), Chunk)
        assert 202 == ask(port, "/", lines)[0]


def test_offsets_go_on_over_bodies_and_limits_hold() -> None:
    with listening(stoppable=True) as (port, reader, _):
        ask(port, "/", b"[" + b",".join([GOOD] * 3) + b"]")
        ask(port, "/", BAD + b"\n" + GOOD)
        assert (202, {"ended": True}) == ask(port, "/end", b"")[:2]
        assert 503 == ask(port, "/", GOOD)[0]
        found = []
        while isinstance(chunk := reader.read(2), Chunk):
            found.append((chunk.offsets.to_list(), [one.offset for one in chunk.dead]))
        assert [([1, 2], []), ([3], []), ([5], [4])] == found
        assert Signal.END is chunk


def test_source_conforms() -> None:
    def feed(port: int) -> None:
        def run() -> None:
            # The suite also closes readers that have not come to their end.
            with suppress(OSError, http.client.HTTPException):
                for n in range(20):
                    ask(port, "/x", b'{"a": %d, "b": "x"}\n{}' % n)
                ask(port, "/x/end", b"")

        threading.Thread(target=run, daemon=True).start()

    source = hw_http.events(0, "/x", stoppable=True, on_listen=feed)
    assert not source.bounded
    assert not source.rewinds
    check_source(source, Pair, pl.DataFrame({"a": range(20), "b": ["x"] * 20}))


def test_a_taken_port_and_wrong_options() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        source = hw_http.events(port)
        with pytest.raises(ConnectorError, match=f"cannot listen on 127.0.0.1:{port}"):
            source.open(source.partitions()[0], source_context(Pair, Bell()))
    with pytest.raises(ValueError, match="begins with /"):
        hw_http.events(1, "x")
    with pytest.raises(ValueError, match="at least 1"):
        hw_http.events(1, queue=0)
    with pytest.raises(ValueError, match="no http or https"):
        hw_http.webhook("ftp://x")
    with pytest.raises(ValueError, match="at least 1"):
        hw_http.webhook("http://x", batch=0)


def test_senders_that_break_off_do_no_harm() -> None:
    with listening() as (port, reader, _):
        for piece in (b"", b"POST", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
                link.sendall(piece)
        assert 202 == ask(port, "/", GOOD)[0]
        assert isinstance(reader.read(1), Chunk)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=6), st.sampled_from([None, 1]))
@settings(max_examples=100, deadline=None)
def test_pieces_of_an_array_are_its_elements(values: list[Any], indent: int | None) -> None:
    body = json.dumps(values, indent=indent).encode()
    assert values == [json.loads(piece) for piece in pieces(body)]


@given(st.binary(max_size=80) | st.text('[]{},:" \n1a', max_size=40).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_pieces_never_fail_otherwise(body: bytes) -> None:
    try:
        found = pieces(body)
    except NotJson:
        return
    assert all(piece.strip() for piece in found)


class Receiver:
    """A web server that answers as it is told, and keeps what it took."""

    def __init__(self, *answers: int) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        left = list(answers)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = left.pop(0) if left else 200
                if status == 200:
                    receiver.bodies.append(body)
                    receiver.headers.append(dict(self.headers))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(*answers: int) -> Receiver:
        made.append(Receiver(*answers))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def hook(url: str, pauses: list[float], **options: Any) -> WebhookWriter:
    plain = Webhook(url, 2, 10.0, 3, False, pauses.append)
    return WebhookWriter(replace(plain, **options), sink_context(Pair, "op"))


PAIRS = pl.DataFrame({"a": range(5), "b": [*"vwxyz"]})


def test_webhook_conforms(receive: Callable[..., Receiver]) -> None:
    made: list[Receiver] = []

    def fresh() -> Any:
        made.append(receive())
        return hw_http.webhook(made[-1].url, batch=30)

    def content() -> pl.DataFrame | None:
        rows = [row for body in made[-1].bodies for row in json.loads(body)]
        return pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String})

    check_sink(fresh, content, Pair, atomic=False)
    assert all(len(json.loads(body)) <= 30 for one in made for body in one.bodies)


def test_webhook_batches_and_tells_them_apart(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    writer = hook(receiver.url, [], lines=True)
    writer.write(PAIRS)
    assert [b'{"a":0,"b":"v"}\n{"a":1,"b":"w"}\n'] == receiver.bodies[:1]
    assert 2 == len(receiver.bodies)
    writer.flush()
    assert b'{"a":4,"b":"z"}\n' == receiver.bodies[2]
    assert ["0", "1", "2"] == [one["X-Headwater-Batch"] for one in receiver.headers]
    writer.close()
    assert 3 == len(receiver.bodies)


def test_webhook_tries_again_with_growing_pauses(receive: Callable[..., Receiver]) -> None:
    receiver = receive(500, 429, 503, 200)
    waited: list[float] = []
    writer = hook(receiver.url, waited)
    writer.write(PAIRS.head(2))
    assert 1 == len(receiver.bodies)
    assert pauses(3, random.Random(0)) == waited
    assert all(low <= wait <= 2 * low for low, wait in zip([0.25, 0.5, 1.0], waited, strict=True))
    assert max(pauses(20, random.Random(1))) <= 30


def test_webhook_gives_up(receive: Callable[..., Receiver]) -> None:
    waited: list[float] = []
    writer = hook(receive(500, 500, 500, 500).url, waited)
    with pytest.raises(ConnectorError, match=r"answered 500 .*\(4 tries\)"):
        writer.write(PAIRS)
    assert 3 == len(waited)
    for status in (400, 404, 302):
        waited.clear()
        with pytest.raises(ConnectorError, match=f"refused with {status}"):
            hook(receive(status).url, waited).write(PAIRS)
        assert [] == waited
    with socket.create_server(("127.0.0.1", 0)) as quiet:
        url = f"http://127.0.0.1:{quiet.getsockname()[1]}/"
        with pytest.raises(ConnectorError, match="cannot be reached"):
            hook(url, waited, retries=1, timeout=0.05).write(PAIRS)
    with pytest.raises(ConnectorError, match="cannot be reached"):
        hook(url, waited, retries=0).write(PAIRS)


def test_webhook_abort_sends_nothing_more(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    writer = hook(receiver.url, [])
    writer.write(PAIRS.head(1))
    writer.abort()
    writer.close()
    assert [] == receiver.bodies
