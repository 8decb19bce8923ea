"""A model on loopback that follows a script, behind the real wire formats of `guardrails.testing.wire`.

It drives the vendors' own client libraries without a key or a network. It binds to 127.0.0.1 on a free port, bounds what it reads and
keeps nothing between requests but the newest of them for the tests to look at.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from guardrails.testing.conversation import Failure, Turn
from guardrails.testing.follow import Script
from guardrails.testing.wire import FORMATS, ServerEvent, Unsupported

__all__ = ["ModelServer", "Request"]

_MAX_BODY_BYTES = 10_000_000
_MAX_REQUESTS = 1000
_SOCKET_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent.

    Args:
        path: With the query, such as ``/v1/messages?beta=true``.
        body: The JSON object.
    """

    path: str
    body: Mapping[str, Any]


class ModelServer:
    """Serves a script until the `with` block ends.

    Args:
        script: Gives the model's next turn for a conversation; `follow` makes one from a list of turns.
        record: Keep the newest thousand requests in `requests`.

    Example:
        >>> from guardrails.testing import Turn
        >>> with ModelServer(lambda conversation: Turn("Hello")) as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(self, script: Script, *, record: bool = True) -> None:
        self._requests: deque[Request] = deque(maxlen=_MAX_REQUESTS if record else 0)
        handler = type("Handler", (_Handler,), {"script": staticmethod(script), "requests": self._requests})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The server's root, without a path: Anthropic's clients take it so; OpenAI's want `/v1` added."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> tuple[Request, ...]:
        """What clients sent, oldest first."""
        return tuple(self._requests)

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
    script: Script
    requests: deque[Request]

    def do_POST(self) -> None:
        wire = FORMATS.get(self.path.partition("?")[0])
        if wire is None:
            self._send_failure(Failure(HTTPStatus.NOT_FOUND, "no such path"))
            return
        try:
            body = self._body()
            self.requests.append(Request(self.path, body))
            conversation = wire.read(body)
        except Unsupported as error:
            self._send_failure(Failure(HTTPStatus.BAD_REQUEST, str(error)), error.details)
            return
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self._send_failure(Failure(HTTPStatus.BAD_REQUEST, f"the request is not understood: {error!r}"))
            return
        try:
            turn = self.script(conversation)
            if isinstance(turn, Failure):
                self._send_failure(turn)
                return
            _require_single(turn, body)
            answer = wire.stream(turn, body) if body.get("stream") else wire.write(turn, body)
        except Exception as error:  # noqa: BLE001 - whatever a script raises: the client's caller has to read it
            self._send_failure(Failure(HTTPStatus.BAD_REQUEST, f"the script failed: {error!r}"))
            return
        if isinstance(answer, dict):
            self._send_json(HTTPStatus.OK, answer)
        else:
            self._send_events(answer)

    def do_GET(self) -> None:
        self._send_failure(Failure(HTTPStatus.NOT_FOUND, "no such path"))

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

    def _send_json(self, status: int, content: Mapping[str, Any], headers: Iterable[tuple[str, str]] = ()) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _send_failure(self, failure: Failure, details: Mapping[str, object] | None = None) -> None:
        # Both vendors' clients read this shape, and this header.
        kind = "api_error" if failure.status >= 500 else "invalid_request_error"
        error = {"type": kind, "message": failure.message, "details": details}
        headers = [("retry-after-ms", str(failure.retry_after_ms))]
        self._send_json(failure.status, {"type": "error", "error": error}, headers)

    def _send_events(self, events: Iterable[ServerEvent]) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for name, content in events:
            data = content if isinstance(content, str) else json.dumps(content)
            self.wfile.write((f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode())


def _require_single(turn: Turn, body: Mapping[str, Any]) -> None:
    """The vendors' models make one call at most where a request says so; a script that makes several is mistaken."""
    choice = body.get("tool_choice")
    is_forbidden = body.get("parallel_tool_calls") is False or (
        isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
    )
    if is_forbidden and len(turn.calls) > 1:
        raise ValueError("the request forbids several calls in one turn")
