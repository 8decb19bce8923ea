"""A model on loopback that follows a script, behind the real wire formats of `guardrails.demo.wire`.

It lets the demo and the tests drive the vendors' own client libraries without a key or a network. It binds to 127.0.0.1 on a
free port, bounds what it reads and keeps nothing between requests.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from guardrails.demo.script import Conversation, Turn
from guardrails.demo.wire import FORMATS, ServerEvent

__all__ = ["ModelServer"]

_MAX_BODY_BYTES = 10_000_000
_SOCKET_TIMEOUT_S = 30


class ModelServer:
    """Serves a script until the `with` block ends.

    Args:
        script: Gives the model's next turn for a conversation.

    Example:
        >>> from guardrails.demo.script import Turn
        >>> with ModelServer(lambda conversation: Turn("Hello")) as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(self, script: Callable[[Conversation], Turn]) -> None:
        handler = type("Handler", (_Handler,), {"script": staticmethod(script)})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The server's root, without a path: Anthropic's clients take it so; OpenAI's want `/v1` added."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One request: read, ask the script, answer."""

    protocol_version = "HTTP/1.1"
    timeout = _SOCKET_TIMEOUT_S
    script: Callable[[Conversation], Turn]

    def do_POST(self) -> None:
        wire = FORMATS.get(self.path.partition("?")[0])
        if wire is None:
            self._send_error(HTTPStatus.NOT_FOUND, "no such path")
            return
        try:
            body = self._body()
            turn = self.script(wire.read(body))
            model = str(body["model"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self._send_error(HTTPStatus.BAD_REQUEST, f"the request is not understood: {error}")
            return
        if not body.get("stream"):
            self._send_json(HTTPStatus.OK, wire.write(turn, model))
        elif wire.stream is None:
            self._send_error(HTTPStatus.BAD_REQUEST, "this path does not stream")
        else:
            self._send_events(wire.stream(turn, model))

    def do_GET(self) -> None:
        self._send_error(HTTPStatus.NOT_FOUND, "no such path")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        """Says nothing: standard error is the caller's."""

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", ""))
        if not 0 <= length <= _MAX_BODY_BYTES:
            self.close_connection = True
            raise ValueError("the request is too large")
        body = json.loads(self.rfile.read(length))
        if not isinstance(body, dict):
            raise ValueError("the request is not an object")
        return body

    def _send_json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_error(self, status: HTTPStatus, message: str) -> None:
        # Both vendors' clients read this shape.
        self._send_json(status, {"type": "error", "error": {"type": "invalid_request_error", "message": message}})

    def _send_events(self, events: Iterator[ServerEvent]) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for name, content in events:
            data = content if isinstance(content, str) else json.dumps(content)
            self.wfile.write((f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode())
