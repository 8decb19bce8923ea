"""Serving a gateway over standard input and output, to the client that has started this process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from guardrails.errors import UsageError
from guardrails.mcp_gateway.gateway import Gateway

try:
    from mcp.server.stdio import stdio_server
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP gateway needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["serve_stdio"]

_STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


def serve_stdio(gateway: Gateway, end: Callable[[], None]) -> None:
    """Serves until the client closes standard input, or the process gets a signal.

    What runs then is ended and recorded, and the upstream servers are stopped.

    Args:
        gateway: Not entered yet.
        end: Closes what else is open, after a signal: standard input cannot be woken, so that the process is left at once.
    """
    asyncio.run(_serve(gateway, end))


async def _serve(gateway: Gateway, end: Callable[[], None]) -> None:
    signalled = asyncio.Event()
    statuses: list[int] = []

    def stop(status: int) -> None:
        statuses.append(status)
        signalled.set()

    if os.name == "posix":
        for number, status in _STATUS.items():
            asyncio.get_running_loop().add_signal_handler(number, stop, status)
    async with gateway:
        serving, stopping = asyncio.create_task(_run(gateway)), asyncio.create_task(signalled.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not statuses:
            stopping.cancel()
            await serving
            return
    await asyncio.to_thread(end)
    os._exit(statuses[0])


async def _run(gateway: Gateway) -> None:
    async with stdio_server() as (reading, writing):
        await gateway.server.run(reading, writing, gateway.server.create_initialization_options())
