"""A guarded MCP server over HTTP on loopback in a thread, tokens of an issuer of the tests' own, and clients that send them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel import Server

from guardrails import Guard
from guardrails.identity import JwtVerifier
from guardrails.mcp_server import BearerVerifier, Calls, HttpSettings, ServerSettings, make_server, principal_of
from guardrails.mcp_server.serving import http_app

__all__ = ["ISSUER", "VERSIONS", "Running", "connected", "running", "token"]

ISSUER = "https://id.example.com"
VERSIONS = ["2026-07-28", "legacy"]
"""How clients connect: each request for itself, or with the older revisions' handshake and a session."""

_KEY = Ed25519PrivateKey.generate()


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs, at `url`."""

    url: str


def token(
    subject: str = "ana@example.com",
    groups: Sequence[str] = ("support",),
    *,
    audience: str,
    issuer: str = ISSUER,
    seconds: float = 600,
    actors: Sequence[str] = (),
    **further: Any,
) -> str:
    """Signs a token: of a person, for a server, given to the outermost of some actors."""
    claims: dict[str, Any] = {"iss": issuer, "aud": audience, "sub": subject, "groups": list(groups)}
    claims |= {"exp": time.time() + seconds, "client_id": "desktop", **further}
    holder = claims
    for actor in actors:
        holder["act"] = holder = {"sub": actor}
    return jwt.encode(claims, _KEY, "EdDSA", headers={"kid": "k"})


@contextmanager
def running(
    guard: Guard, *, scopes: Sequence[str] = (), server: Server[Any] | None = None, **options: Any
) -> Iterator[Running]:
    """Serves a guard, or another server, to whoever shows a token; `options` are those of `ServerSettings`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        verifier = BearerVerifier(JwtVerifier(ISSUER, url, keys={"k": _KEY.public_key()}, leeway_s=0))
        served = server or make_server(Calls(guard, principal_of, ServerSettings(**options)))
        app = http_app(served, HttpSettings(url, ISSUER, verifier, tuple(scopes)))
        web = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not web.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Running(url)
        finally:
            web.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@asynccontextmanager
async def connected(url: str, bearer: str, mode: str = "2026-07-28", **options: Any) -> AsyncIterator[Client]:
    """Connects the official client with a token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {bearer}"}, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **options) as client,
    ):
        yield client
