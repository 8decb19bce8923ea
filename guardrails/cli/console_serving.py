"""Listening on an address and serving an application there until the process is interrupted."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from guardrails.errors import UsageError

__all__ = ["listening", "served"]


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listens on an address.

    Raises:
        UsageError: It is taken or not this machine's (usage.input_invalid).
    """
    try:
        made = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UsageError("usage.input_invalid", f"Nothing can listen on {host}, port {port}: {error.strerror}.") from error
    with made:
        yield made


def served(app: ASGIApp, listener: socket.socket, proxies: Sequence[str]) -> None:
    """Serves until SIGINT or SIGTERM; open streams are cut off after a second.

    Args:
        app: The application.
        listener: Where it listens.
        proxies: Addresses whose ``X-Forwarded-For`` is believed.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="off",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])
