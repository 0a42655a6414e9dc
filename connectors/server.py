"""The HTTP server of `http.events`: bodies into an inbox, answers out."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_WR, socket
from typing import Any

from ..flows.errors import ConnectorError
from .inbox import Full, Inbox, NotJson, NotKept

__all__ = ["Running", "serve"]

_CONNECTIONS = 64
_QUIET_SECONDS = 10.0
_RETRY_SECONDS = "1"
_LINGER_SECONDS = 2.0
"""How long a client that was refused may go on sending."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    port: int
    stop: Callable[[], None]


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def serve(
    inbox: Inbox, host: str, port: int, path: str, max_body: int, *, stoppable: bool
) -> Running:
    """Start a server in a thread; raises `ConnectorError` if it cannot listen."""
    root = path.rstrip("/")

    class Handler(_Handler):
        pass

    Handler.inbox = inbox
    Handler.root = root
    Handler.max_body = max_body
    Handler.stoppable = stoppable
    try:
        server = _Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise ConnectorError(f"cannot listen on {host}:{port}: {error}") from error
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="http", daemon=True
    )
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return Running(server.server_address[1], stop)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = _CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._free = threading.BoundedSemaphore(_CONNECTIONS)

    def process_request(self, request: socket | tuple[bytes, socket], client: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client)

    def process_request_thread(
        self, request: socket | tuple[bytes, socket], client_address: Any
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a sender that breaks off is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "headwater"
    sys_version = ""
    timeout = _QUIET_SECONDS
    inbox: Inbox
    root: str
    max_body: int
    stoppable: bool

    def do_GET(self) -> None:
        if self._path() != self.root + "/health":
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"post events to {self.root or '/'}"})
            return
        self._answer(HTTPStatus.OK, {"status": "ok", "waiting": self.inbox.waiting})

    def do_POST(self) -> None:
        try:
            body = self._body()
            if self.stoppable and self._path() == self.root + "/end":
                self.inbox.end()
                self._answer(HTTPStatus.ACCEPTED, {"ended": True})
                return
            if self._path().rstrip("/") != self.root:
                raise _Refused(HTTPStatus.NOT_FOUND, f"post events to {self.root or '/'}")
            taken = self.inbox.put(body)
        except _Refused as refused:
            self.close_connection = True
            self._answer(refused.status, {"error": str(refused)})
            self._linger()
        except NotJson:
            reason = "the body is no JSON object, JSON array or JSON Lines"
            self._answer(HTTPStatus.BAD_REQUEST, {"error": reason})
        except NotKept:
            reason = "the flow stopped before the rows were kept; send the body again later"
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": reason})
        except Full:
            reason = "the queue has no room now; send the body again later"
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": reason})
        else:
            self._answer(HTTPStatus.ACCEPTED, asdict(taken))

    def _linger(self) -> None:
        """Read on for a moment: a reset would take the answer from a client that still sends.

        See RFC 9112, section 9.6.
        """
        deadline = time.monotonic() + _LINGER_SECONDS
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.rfile.read1(65_536):
                    break

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "give a Content-Length")
        if int(length) > self.max_body:
            raise self._too_large()
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _Refused(HTTPStatus.BAD_REQUEST, "the body is shorter than its Content-Length")
        coding = self.headers.get("Content-Encoding", "identity").lower()
        if coding == "identity":
            return body
        if coding not in ("gzip", "x-gzip"):
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compress with gzip, or not at all")
        return self._unpacked(body)

    def _unpacked(self, body: bytes) -> bytes:
        inflate = zlib.decompressobj(wbits=31)
        try:
            text = inflate.decompress(body, self.max_body + 1)
        except zlib.error as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"the gzip data is damaged: {error}") from error
        if len(text) > self.max_body:
            raise self._too_large()
        if not inflate.eof:
            raise _Refused(HTTPStatus.BAD_REQUEST, "the gzip data is cut short")
        return text

    def _too_large(self) -> _Refused:
        reason = f"the body has more than {self.max_body} bytes; send it in parts"
        return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)

    def _answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", _RETRY_SECONDS)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for the flow."""
