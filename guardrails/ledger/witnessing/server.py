"""The witness over HTTP, by the standard library's server: `POST /add-checkpoint` and `GET /<origin hash>/checkpoint`.

Bodies, times and connections are bounded. It listens on loopback unless told otherwise; facing the internet, put a proxy that speaks
TLS and buffers requests before it.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from guardrails.errors import GuardrailsError
from guardrails.ledger.witnessing.request import MAX_REQUEST_BYTES
from guardrails.ledger.witnessing.witness import Answer, Witness

__all__ = ["WitnessServer"]

_LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)
_MONITORED = re.compile(r"/([0-9a-f]{64})/checkpoint", re.ASCII)
_log = logging.getLogger(__name__)


class WitnessServer(ThreadingHTTPServer):
    """Serves a witness until `shutdown`. `server_port` tells the port where 0 was asked for.

    Args:
        witness: Answers the requests.
        host: Address to listen on.
        port: 0 picks a free one.
        timeout_s: How long a connection may be idle and a request's body may take.
        max_connections: Further ones are closed at once.
    """

    daemon_threads = True

    def __init__(
        self, witness: Witness, host: str = "127.0.0.1", port: int = 0, *, timeout_s: float = 10, max_connections: int = 64
    ) -> None:
        self.witness = witness
        self.timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(max_connections)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:  # noqa: ARG002
        _log.info("A connection to the witness broke off.", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "witness"
    sys_version = ""

    def setup(self) -> None:
        self.request.settimeout(self.server.timeout_s)
        super().setup()

    def do_POST(self) -> None:
        body = self._body()
        if isinstance(body, Answer):
            self.close_connection = True  # what is left of the request is not read
            self._send(body)
        elif self.path != "/add-checkpoint":
            self._send(Answer(404, "There is nothing here.\n"))
        else:
            self._send(self._ask(body))

    def do_GET(self) -> None:
        monitored = _MONITORED.fullmatch(self.path)
        if not monitored:
            self._send(Answer(404, "There is nothing here.\n"))
            return
        try:
            self._send(self.server.witness.checkpoint(monitored[1]))
        except GuardrailsError:
            _log.exception("The witness cannot answer.")
            self._send(Answer(503, "The witness cannot read its state.\n"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        _log.debug(format, *args)

    def _ask(self, body: bytes) -> Answer:
        try:
            return self.server.witness.add_checkpoint(body)
        except GuardrailsError:
            _log.exception("The witness cannot answer.")
            return Answer(503, "The witness cannot write its state; nothing was signed.\n")

    def _body(self) -> bytes | Answer:
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") is not None or not _LENGTH.fullmatch(length):
            return Answer(411, "Say how long the body is.\n")
        wanted, deadline = int(length), time.monotonic() + self.server.timeout_s
        if wanted > MAX_REQUEST_BYTES:
            return Answer(413, f"A request has at most {MAX_REQUEST_BYTES} bytes.\n")
        body = b""
        while len(body) < wanted:
            try:
                part = self.rfile.read1(wanted - len(body))
            except TimeoutError:
                part = b""
            if not part or time.monotonic() > deadline:
                return Answer(408, "The body did not arrive in time.\n")
            body += part
        return body

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
