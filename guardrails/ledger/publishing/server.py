"""Serves a log read-only over HTTP, as C2SP tlog-tiles lays it out: checkpoint, tiles, and entry bundles unless they are withheld.

Only the paths of that layout exist; each is parsed and its canonical form looked up, so no request reaches any other file. Python's
own threading server is enough for files that never change, and needs no further package; before the open internet it belongs behind
a proxy that ends TLS and keeps copies.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socket import AF_INET6, socket
from threading import BoundedSemaphore
from typing import Any

from guardrails.errors import GuardrailsError, LedgerError, UsageError
from guardrails.ledger.publishing.headers import cache_control, content_type
from guardrails.ledger.publishing.source import Reader, limit_of
from guardrails.ledger.tiles import CHECKPOINT_PATH, BundleId, parse_path

__all__ = ["LogServer"]

_TIMEOUT_S = 30
_MAX_CONNECTIONS = 128


class LogServer(ThreadingHTTPServer):
    """A server of one log; `serve_forever` runs it, `server_close` ends it.

    Args:
        reader: The published files, or a `SourceReader` of a live log.
        host: Address to listen on. Other machines reach it only when it is not a loopback address.
        port: 0 for any free one.
        has_entries: Serve entry bundles. Without them others can check that the log only grows, and read nothing of it.
        names: Host names, besides those of this machine itself, under which a server on a loopback address answers. Any other
            is refused, so that no web page can have a visitor's browser read the log under a name of its own.
        on_error: Called with what made a request fail inside.

    Raises:
        UsageError: The address cannot be listened on (usage.input_invalid).
    """

    daemon_threads = True
    request_queue_size = _MAX_CONNECTIONS

    def __init__(
        self,
        reader: Reader,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        has_entries: bool = True,
        names: Collection[str] = (),
        on_error: Callable[[GuardrailsError], None] | None = None,
    ) -> None:
        self.reader = reader
        self.has_entries = has_entries
        self.on_error = on_error
        self._free = BoundedSemaphore(_MAX_CONNECTIONS)
        if ":" in host:
            self.address_family = AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError("usage.input_invalid", f"{host}:{port} cannot be listened on.") from error
        is_local = _is_loopback(str(self.server_address[0]))
        self.names = frozenset(name.lower() for name in names) if is_local else None

    @property
    def url(self) -> str:
        """The log's prefix."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Serves a connection in a thread; hangs up where there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Prints what went wrong, except that a reader went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def answers_as(self, host: str) -> bool:
        """Tells whether requests may name this host (the Host header of HTTP)."""
        if self.names is None:
            return True
        name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
        return name.lower() in self.names or name.lower() == "localhost" or _is_loopback(name)


class _Handler(BaseHTTPRequestHandler):
    server: LogServer
    protocol_version = "HTTP/1.1"
    server_version = "guardrails"
    sys_version = ""
    timeout = _TIMEOUT_S
    wbufsize = -1

    def do_GET(self) -> None:
        self._respond(is_head=False)

    def do_HEAD(self) -> None:
        self._respond(is_head=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Keeps no log of requests."""

    def _respond(self, *, is_head: bool) -> None:
        # A body that was not read would be taken for the next request.
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        status, path, data = self._looked_up()
        encoding = None
        if status == HTTPStatus.OK and path.startswith("tile/entries/"):
            encoding = "gzip" if _accepts_gzip(self.headers.get("Accept-Encoding", "")) else None
            data = gzip.compress(data, compresslevel=6, mtime=0) if encoding else data
        self.send_response(status)
        if status == HTTPStatus.OK:
            self.send_header("Content-Type", content_type(path))
            self.send_header("Cache-Control", cache_control(path))
            if path.startswith("tile/entries/"):
                self.send_header("Vary", "Accept-Encoding")
        else:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Cache-Control", "no-store")
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if not is_head:
            self.wfile.write(data)

    def _looked_up(self) -> tuple[HTTPStatus, str, bytes]:
        path = self.path.removeprefix("/")
        if not self.server.answers_as(self.headers.get("Host", "")):
            return HTTPStatus.MISDIRECTED_REQUEST, path, b"not served under this name\n"
        try:
            if path != CHECKPOINT_PATH and isinstance(parse_path(path), BundleId) and not self.server.has_entries:
                return HTTPStatus.FORBIDDEN, path, b"entries are not served here\n"
        except LedgerError:
            return HTTPStatus.NOT_FOUND, path, b"not found\n"
        try:
            data = self.server.reader.get(path, limit_of(path))
        except GuardrailsError as error:
            if self.server.on_error is not None:
                self.server.on_error(error)
            return HTTPStatus.SERVICE_UNAVAILABLE, path, b"not available\n"
        return (HTTPStatus.NOT_FOUND, path, b"not found\n") if data is None else (HTTPStatus.OK, path, data)


def _accepts_gzip(header: str) -> bool:
    for item in header.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        if coding == "gzip" and not any(p.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for p in parameters):
            return True
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
