"""Other people's MCP servers, for tests of the gateway: what they list and answer can change while they run."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

from guardrails import Guard, Principal
from guardrails.ledger import Ledger
from guardrails.listening import listening
from guardrails.mcp_gateway import Gateway, GatewayConfig, LockFile, Upstream, accept
from guardrails.mcp_server import ServerSettings

__all__ = ["ADMIN", "THIRD_PARTY", "Stranger", "accept_all", "accept_waiting", "gateway_of", "said", "sql_tool", "text", "tool"]

ADMIN = Principal("admin@example.com")
THIRD_PARTY = ("mcp-server-sqlite==2025.4.25", "mcp-alchemy==2026.8.1.2602", "psycopg[binary]", "mcp<2")
"""Database servers from the package index, of the first generation of the SDK: they live in an environment of their own."""

Answer = Callable[[str, dict[str, Any]], Awaitable[Any]]


def tool(name: str, description: str = "Does it.", **properties: Any) -> types.Tool:
    """A tool whose arguments are texts unless a schema is given."""
    schemas = {key: value if isinstance(value, dict) else {"type": "string"} for key, value in properties.items()}
    return types.Tool(name=name, description=description, input_schema={"type": "object", "properties": schemas})


def sql_tool(name: str = "query", **properties: Any) -> types.Tool:
    """A tool with an argument that holds SQL."""
    return tool(name, "Runs a statement.", sql=True, **properties)


def said(*texts: str, **fields: Any) -> types.CallToolResult:
    """An answer of texts."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=t) for t in texts], **fields)


def text(result: Any) -> str:
    """All text of an answer."""
    return "\n".join(block.text for block in result.content)


class Stranger:
    """A server that notes what it was called with.

    Args:
        tools: What it lists at first.
        answer: Called with the tool's name and the arguments; echoes them when None.
        handlers: Further ones of the SDK's server.
    """

    def __init__(
        self, *tools: types.Tool, answer: Answer | None = None, instructions: str | None = None, **handlers: Any
    ) -> None:
        self.tools = list(tools)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.listings = 0
        self.answer = answer
        self.sessions: list[Any] = []
        self.bus = InMemorySubscriptionBus()
        self.loop: Any = None
        self.server: Server[Any] = Server(
            "stranger",
            version="7",
            instructions=instructions,
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_subscriptions_listen=ListenHandler(self.bus),
            **handlers,
        )
        made = self.server.create_initialization_options
        self.server.create_initialization_options = lambda *a, **k: made(NotificationOptions(tools_changed=True))  # type: ignore[method-assign]

    async def _list(self, context: Any, _: object) -> types.ListToolsResult:
        self.listings += 1
        self.sessions.append(context.session)
        return types.ListToolsResult(tools=self.tools)

    async def _call(self, context: Any, asked: types.CallToolRequestParams) -> Any:
        arguments = dict(asked.arguments or {})
        self.calls.append((asked.name, arguments))
        self.sessions.append(context.session)
        return said(str(arguments)) if self.answer is None else await self.answer(asked.name, arguments)

    async def tell(self) -> None:
        """Tells its clients that the tools have changed; to be called on its own event loop."""
        await self.bus.publish(ToolsListChanged())
        await self.sessions[-1].send_tool_list_changed()

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[str]:
        """Serves over HTTP in a thread; yields the URL."""
        with listening("127.0.0.1", port) as listener:
            yield from self._served(listener)

    def _served(self, listener: socket.socket) -> Iterator[str]:
        web = uvicorn.Server(uvicorn.Config(self.server.streamable_http_app(), log_level="critical", lifespan="on"))
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not web.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        finally:
            web.should_exit = web.force_exit = True
            thread.join(20)


def gateway_of(guard: Guard, folder: Path, upstreams: dict[str, Any], *, accepted: bool = True, **options: Any) -> Gateway:
    """A gateway in front of servers given by URL, or by their part of the configuration.

    Args:
        guard: With a session in force, or none where `principal_of` is given.
        folder: Gets the lock file.
        upstreams: By name.
        accepted: Whether everything that the servers list when it is entered is accepted first.
        options: Of the configuration (`prefix`, `recheck`) and the gateway.
    """
    known = {name: given if isinstance(given, dict) else {"url": given} for name, given in upstreams.items()}
    settings = {key: options.pop(key) for key in ("prefix", "recheck") if key in options}
    config = GatewayConfig.model_validate({"version": 1, "upstreams": known, **settings})
    told = ServerSettings(**{key: options.pop(key) for key in ("agent", "console_url", "wait_s") if key in options})
    made = _Accepting if accepted else Gateway
    return made(guard, config, LockFile(folder / "gateway.lock.json"), settings=told, **options)


class _Accepting(Gateway):
    async def __aenter__(self) -> Gateway:
        await super().__aenter__()
        await accept_all(self)
        return self


async def accept_all(gateway: Gateway) -> None:
    """Accepts everything that waits."""
    offers = await gateway.offers()
    waiting = [offer.definition for offer in offers.all if offer.state in ("unknown", "changed")]
    accept(gateway._watch._lock, gateway._guard.ledger, waiting, ADMIN)


async def accept_waiting(config: str, lock: str, ledger_url: str) -> None:
    """Accepts everything that the servers of a configuration file list, in a ledger."""
    found = []
    for name, upstream in GatewayConfig.load(config).upstreams.items():
        async with Upstream(name, upstream) as opened:
            found += (await opened.definitions()).values()
    with Ledger.open(ledger_url) as ledger:
        accept(LockFile(lock), ledger, found, ADMIN)
