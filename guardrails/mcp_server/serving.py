"""Serving: over standard input and output for a client that starts the process, or over HTTP as an OAuth resource server.

Over HTTP every request shows who sends it, or the server answers 401 and says where tokens come from (RFC 9728). Host and Origin are
checked, so that a page in somebody's browser cannot reach a server on their machine (DNS rebinding).

Source: Model Context Protocol, transports and authorization in the revisions 2025-11-25 and 2026-07-28.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from guardrails.errors import UsageError
from guardrails.mcp_server.auth import BearerVerifier

try:
    import uvicorn
    from mcp.server.auth.settings import AuthSettings
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.applications import Starlette
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

from guardrails.listening import EndingServer

__all__ = ["PATH", "HttpSettings", "http_app", "is_loopback", "serve_http", "serve_stdio"]

PATH = "/mcp"
_ENDED = 143
"""Exit status after SIGTERM, as a shell reports it."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How a server is reached.

    Args:
        resource_url: Its own URL, as clients ask for it: the audience of tokens. HTTPS, or on this machine.
        issuer: Who gives tokens; None only with `verifier` None.
        verifier: Verifies tokens; None: nobody has to show anything, which needs `unsafe_without_identity`.
        scopes: What every token has to be good for.
        origins: Further origins of pages in browsers that may call.
        unsafe_without_identity: Whoever reaches the server acts as its one principal; only for addresses of this machine.
    """

    resource_url: str
    issuer: str | None = None
    verifier: BearerVerifier | None = None
    scopes: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    unsafe_without_identity: bool = False


def http_app(server: Server[Any], settings: HttpSettings) -> Starlette:
    """Returns the web application: the endpoint at the path of `resource_url`, and the metadata that says where tokens come from.

    Raises:
        UsageError: Nobody would have to show who they are, and that was not asked for, or the URL will not do (usage.input_invalid).
    """
    parts = urlsplit(settings.resource_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise UsageError("usage.input_invalid", "The resource URL is no plain http or https URL.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        message = "Tokens must not travel in clear: the resource URL has to be https, or on this machine."
        raise UsageError("usage.input_invalid", message, hint="Put a proxy with TLS before the server and name its https URL.")
    if (settings.verifier is None) == (not settings.unsafe_without_identity) or (settings.verifier and not settings.issuer):
        raise UsageError(
            "usage.input_invalid", "Over HTTP the server needs an issuer of tokens, or the option that says unsafe."
        )
    if settings.verifier is None and not is_loopback(parts.hostname):
        raise UsageError("usage.input_invalid", "Without identity the server is reached from this machine only.")
    return server.streamable_http_app(
        streamable_http_path=parts.path or "/",
        transport_security=TransportSecuritySettings(
            allowed_hosts=_hosts(parts.netloc, parts.hostname, parts.port),
            allowed_origins=[f"{parts.scheme}://{parts.netloc}", *settings.origins],
        ),
        auth=_auth(settings),
        token_verifier=settings.verifier,
    )


def serve_http(
    server: Server[Any], settings: HttpSettings, listener: socket.socket, announce: Callable[[], None] = lambda: None
) -> None:
    """Serves until the process is interrupted; what runs then is ended and recorded.

    Args:
        server: The server.
        settings: How it is reached.
        listener: A socket that listens.
        announce: Called once everything that could be refused has been accepted.

    Raises:
        UsageError: As `http_app`; or the address is not this machine's alone, without identity.
    """
    bound = str(listener.getsockname()[0])
    if settings.verifier is None and not is_loopback(bound):
        raise UsageError("usage.input_invalid", "Without identity the server listens on this machine only.")
    app = http_app(server, settings)
    announce()
    logging.getLogger("uvicorn.error").addFilter(_without_endings)
    config = uvicorn.Config(app, log_level="warning", lifespan="on", server_header=False, timeout_graceful_shutdown=2)
    EndingServer(config).run(sockets=[listener])


def _without_endings(record: logging.LogRecord) -> bool:
    """That open streams are ended with the server is no error."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def serve_stdio(server: Server[Any], end: Callable[[], None]) -> None:
    """Serves the client that has started this process, until it closes standard input or sends a signal.

    Args:
        server: The server.
        end: Waits for what runs, and closes what was opened; for a signal, which finds standard input still open.
    """
    asyncio.run(_stdio(server, end))


async def _stdio(server: Server[Any], end: Callable[[], None]) -> None:
    def stop(status: int) -> None:
        # The thread that reads standard input cannot be woken, so the process does not wait for it.
        asyncio.get_running_loop().run_in_executor(None, end).add_done_callback(lambda _: os._exit(status))

    loop = asyncio.get_running_loop()
    if os.name == "posix":
        loop.add_signal_handler(signal.SIGTERM, stop, _ENDED)
        loop.add_signal_handler(signal.SIGINT, stop, 130)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def is_loopback(host: str) -> bool:
    """Tells whether an address or name is this machine's alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _auth(settings: HttpSettings) -> AuthSettings | None:
    if settings.verifier is None:
        return None
    # Read from texts, which keeps URLs without a path as they are written; issuers are compared letter by letter.
    return AuthSettings.model_validate(
        {
            "issuer_url": settings.issuer,
            "resource_server_url": settings.resource_url,
            "required_scopes": list(settings.scopes) or None,
            # Our verifier looks at the audience itself.
            "validate_token_resource": False,
        }
    )


def _hosts(netloc: str, hostname: str, port: int | None) -> list[str]:
    if not is_loopback(hostname) or port is None:
        return [netloc]
    return [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
