"""Serving a console on an address until the process is interrupted."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import uvicorn

from guardrails.console.app import create_app
from guardrails.console.context import Console
from guardrails.listening import EndingServer, listening

__all__ = ["ConsoleServer", "listening"]


class ConsoleServer(EndingServer):
    """Serves a console; `run(sockets=[…])` returns at SIGINT, SIGTERM, or when `should_exit` is set.

    Args:
        console: The console.
        proxies: Addresses whose ``X-Forwarded-For`` is believed.
    """

    def __init__(self, console: Console, proxies: Sequence[str] = ()) -> None:
        config = uvicorn.Config(
            create_app(console),
            log_level="warning",
            lifespan="off",
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._console = console

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Open pages listen for changes without end; nobody waits for that.
        await self._console.changes.end()
        await super().shutdown(sockets)
