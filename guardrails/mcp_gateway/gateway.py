"""`Gateway`: an MCP server that offers what other MCP servers offer, as far as it was accepted, and passes every call through a guard.

It is a server to the client and a client to the servers behind it. Nothing of theirs reaches the client that was not accepted or looked
through, and nothing of the client's reaches them that the guard has not allowed and recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

from guardrails.errors import ApprovalRequired, Denied, EngineError, GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._mcp_asking import Asking, answer
from guardrails.integrations._mcp_runtime import client_of, conversation_of
from guardrails.integrations._toolbox import refusal_text
from guardrails.mcp_gateway.calls import call_tool, get_prompt, read_resource
from guardrails.mcp_gateway.config import GatewayConfig
from guardrails.mcp_gateway.definitions import Kind
from guardrails.mcp_gateway.lock import LockFile
from guardrails.mcp_gateway.offers import Offer, Offers
from guardrails.mcp_gateway.upstream import Call, Progress, Upstream
from guardrails.mcp_gateway.watching import Watch
from guardrails.mcp_server.calls import PrincipalSource, ServerSettings
from guardrails.model import Principal, Runtime

try:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import NotificationOptions, Server
    from mcp.server.models import InitializationOptions
    from mcp.server.session import ServerSession
    from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
    from mcp.shared.exceptions import MCPError
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP gateway needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["Gateway"]

T = TypeVar("T")
Message = ServerRequestContext[Any, Any]

FRAMEWORK = "mcp-gateway"
REFUSAL_TYPE = "mcp.refusal"
"""Type of the ledger's entries of calls that were refused before there was anything to judge."""
_MOST_SESSIONS = 1000
_GRACE_S = 1.0
_LEAVING = re.compile(r"\.\.|\\|%(2e|2f|5c|25|0)", re.IGNORECASE)


class Gateway:
    """A server in front of others. Use it as an asynchronous context manager, and serve `server` inside.

    Args:
        guard: Over the database that the upstream servers' SQL is about.
        config: Which servers, and what is known of their tools.
        lock: Which of their definitions were accepted.
        principal_of: Says whose a message is; None: a session is in force where the server runs.
        settings: The agent and purpose of calls, and where people approve; the ready server's (`guardrails.mcp_server`), whose name
            and result size do not count here.
        environment: For the references of the configuration; the process's own when None.

    Raises:
        UsageError: A variable that the configuration refers to is not set (``mcp.config_invalid``).
    """

    def __init__(
        self,
        guard: Guard,
        config: GatewayConfig,
        lock: LockFile,
        *,
        principal_of: PrincipalSource | None = None,
        settings: ServerSettings | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._guard = guard
        self._config = config
        self._principal_of = principal_of
        self._settings = settings or ServerSettings()
        self._asking = Asking(guard, self._settings.console_url, self._settings.wait_s)
        self._connection = uuid.uuid4().hex
        self._upstreams = {
            name: Upstream(name, upstream, functools.partial(self._heard, name), environment)
            for name, upstream in config.upstreams.items()
        }
        self._watch = Watch(config, self._upstreams, lock, guard.ledger, self._tell_clients)
        self._bus = InMemorySubscriptionBus()
        self._clients: OrderedDict[str, ServerSession] = OrderedDict()
        self._running: dict[asyncio.Task[Any], Call] = {}
        self._stack = AsyncExitStack()
        self._is_open = False
        self.server: Server[Any] = self._made()

    async def __aenter__(self) -> Gateway:
        self._is_open = True
        for upstream in self._upstreams.values():
            await self._stack.enter_async_context(upstream)
        offers = await self._watch.offers()
        told = [str(offer.definition.body["text"]) for offer in offers.accepted("instructions")]
        self.server.instructions = "\n\n".join(told) or None
        return self

    async def __aexit__(self, *_: object) -> None:
        # Calls that are under way end with an outcome in the ledger before the upstreams are let go of.
        if self._running:
            await asyncio.wait(self._running, timeout=_GRACE_S)
        for call in self._running.values():
            call.cancelled.set()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._watch.close()
        await self._stack.aclose()
        self._is_open = False

    async def offers(self) -> Offers:
        """Returns what the upstreams offer now, accepted or not. Raises as `Watch.offers`."""
        return await self._watch.offers()

    def _made(self) -> Server[Any]:
        handlers: dict[str, Any] = {
            "on_list_tools": self._list_tools,
            "on_call_tool": self._call_tool,
            "on_subscriptions_listen": ListenHandler(self._bus),
        }
        if any(upstream.resources for upstream in self._config.upstreams.values()):
            handlers |= {"on_list_resources": self._list_resources, "on_read_resource": self._read_resource}
        if any(upstream.prompts for upstream in self._config.upstreams.values()):
            handlers |= {"on_list_prompts": self._list_prompts, "on_get_prompt": self._get_prompt}
        server = _Server(FRAMEWORK, version="1", lifespan=self._lifespan, **handlers)
        # Else the SDK would have everything listed before each call over HTTP.
        server.get_tool_input_schema = self._input_schema
        return server

    def _input_schema(self, shown: str) -> Mapping[str, Any] | None:
        offer = next((o for o in self._watch.last.named("tool", shown) if o.state == "accepted"), None)
        schema = offer.definition.body.get("inputSchema") if offer is not None else None
        return schema if isinstance(schema, Mapping) else None

    @asynccontextmanager
    async def _lifespan(self, _: Server[Any]) -> AsyncIterator[dict[str, Any]]:
        """For whoever serves `server` without having entered the gateway: over HTTP one lifespan is there for all clients."""
        if self._is_open:
            yield {}
        else:
            async with self:
                yield {}

    async def _list_tools(self, message: Message, _: object) -> types.ListToolsResult:
        self._remember(message)
        offers = await self._watch.offers()
        return types.ListToolsResult(tools=[_tool(offer) for offer in offers.accepted("tool")])

    async def _call_tool(
        self, message: Message, asked: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        self._remember(message)

        async def call() -> types.CallToolResult:
            try:
                return await self._in_session(message, lambda call_: self._called(message, asked, call_))
            except ApprovalRequired:
                raise
            except GuardrailsError as error:
                return answer(refusal_text(error), is_error=True)

        return await self._asking.run(call, message.session, message.request_id, asked.input_responses)

    async def _called(self, message: Message, asked: types.CallToolRequestParams, call: Call) -> types.CallToolResult:
        offer = await self._accepted(message, "tool", asked.name)
        upstream = self._upstreams[offer.key.upstream]
        return await call_tool(self._guard, upstream, offer, asked.arguments or {}, _with_time(call, upstream), _id(message))

    async def _list_resources(self, message: Message, _: object) -> types.ListResourcesResult:
        self._remember(message)
        found: list[types.Resource] = []
        for upstream in self._upstreams.values():
            if upstream.config.resources:
                with contextlib.suppress(EngineError):
                    # What else the server says of a resource nobody has accepted.
                    found += [
                        types.Resource(uri=r.uri, name=str(r.uri))
                        for r in await upstream.resources()
                        if _may_read(upstream, str(r.uri))
                    ]
        return types.ListResourcesResult(resources=found)

    async def _read_resource(self, message: Message, asked: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = str(asked.uri)
        able = [upstream for upstream in self._upstreams.values() if _may_read(upstream, uri)]

        async def read(call: Call) -> types.ReadResourceResult:
            if len(able) != 1:
                raise Denied("mcp.tool_unknown", "No resource with this URI may be read.")
            return await read_resource(self._guard, able[0], uri, _with_time(call, able[0]), _id(message))

        return await self._or_error(message, read)

    async def _list_prompts(self, message: Message, _: object) -> types.ListPromptsResult:
        self._remember(message)
        offers = await self._watch.offers()
        bodies = [dict(offer.definition.body) | {"name": offer.shown} for offer in offers.accepted("prompt")]
        return types.ListPromptsResult(prompts=[types.Prompt.model_validate(body) for body in bodies])

    async def _get_prompt(self, message: Message, asked: types.GetPromptRequestParams) -> types.GetPromptResult:
        async def get(call: Call) -> types.GetPromptResult:
            offer = await self._accepted(message, "prompt", asked.name)
            upstream = self._upstreams[offer.key.upstream]
            given = dict(asked.arguments or {})
            return await get_prompt(self._guard, upstream, offer, given, _with_time(call, upstream), _id(message))

        return await self._or_error(message, get)

    async def _or_error(self, message: Message, run: Callable[[Call], Awaitable[T]]) -> T:
        """What is no tool has no result to say a refusal in."""
        try:
            return await self._in_session(message, run)
        except GuardrailsError as error:
            raise MCPError(types.INVALID_REQUEST, refusal_text(error)) from error

    async def _accepted(self, message: Message, kind: Kind, shown: str) -> Offer:
        """Returns what a client names, as it was accepted.

        Raises:
            Denied: There is no such thing (mcp.tool_unknown), or it is not what was accepted (mcp.tool_changed).
        """
        offer = await self._watch.find(kind, shown)
        if offer is not None and offer.state == "accepted":
            return offer
        is_changed = offer is not None and offer.state == "changed"
        code = "mcp.tool_changed" if is_changed else "mcp.tool_unknown"
        text = "is not what was accepted" if is_changed else "has not been accepted"
        await self._record_refusal(message, code, offer)
        raise Denied(code, f"The {kind} {shown[:128]!r} {text}.")

    async def _record_refusal(self, message: Message, code: str, offer: Offer | None) -> None:
        principal = await self._principal(message)
        who = {"id": principal.id, "issuer": principal.issuer, "verified": principal.verified} if principal else None
        about = {"name": str(offer.key)[:300], "definition": offer.definition.digest} if offer else None
        call = {"principal": who, "conversation": self._conversation(message), "tool_call": _id(message)}
        await asyncio.to_thread(self._guard.ledger.append, {"type": REFUSAL_TYPE, "code": code, "about": about, **call})

    async def _in_session(self, message: Message, run: Callable[[Call], Awaitable[T]]) -> T:
        """Runs in a task of its own, under the message's principal: a client that goes away is passed on, and the rest is recorded."""
        principal = await self._principal(message)
        call = Call(0, _progress(message))
        with self._guard.calling(self._runtime(message, principal), principal, agent_key=self._settings.agent_key):
            running = asyncio.get_running_loop().create_task(cast("Any", run(call)))
        self._running[running] = call
        running.add_done_callback(self._finished)
        try:
            return cast(T, await asyncio.shield(running))
        except asyncio.CancelledError:
            call.cancelled.set()
            raise

    def _finished(self, running: asyncio.Task[Any]) -> None:
        self._running.pop(running, None)
        if not running.cancelled():
            running.exception()  # Nobody waits for what a cancelled call raises; it is recorded.

    async def _principal(self, message: Message) -> Principal | None:
        if self._principal_of is None:
            return None
        return await asyncio.to_thread(self._principal_of, message)

    def _runtime(self, message: Message, principal: Principal | None) -> Runtime:
        return Runtime(
            FRAMEWORK,
            agent=None if principal is not None and principal.actors else self._settings.agent,
            conversation_id=self._conversation(message),
            purpose=self._settings.purpose,
            client=client_of(message),
        )

    def _conversation(self, message: Message) -> str | None:
        return conversation_of(message, self._connection)

    def _remember(self, message: Message) -> None:
        """Keeps who is to be told of changes; clients of the revision of 2026 subscribe instead."""
        conversation = self._conversation(message)
        if conversation is not None:
            self._clients[conversation] = message.session
            self._clients.move_to_end(conversation)
            while len(self._clients) > _MOST_SESSIONS:
                self._clients.popitem(last=False)

    def _heard(self, name: str) -> None:
        self._watch.heard(name)

    async def _tell_clients(self) -> None:
        for event in (ToolsListChanged(), PromptsListChanged()):
            await self._bus.publish(event)
        for conversation, session in list(self._clients.items()):
            try:
                await session.send_tool_list_changed()
            except Exception:  # noqa: BLE001 - a client that has gone is told no more
                self._clients.pop(conversation, None)


class _Server(Server[Any]):
    """One that says that its lists may change."""

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **kwargs: Any
    ) -> InitializationOptions:
        told = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(told, *args, **kwargs)


def _tool(offer: Offer) -> types.Tool:
    body = dict(offer.definition.body) | {"name": offer.shown}
    if offer.rule.run == "guard":
        # The guard's own answer has another form.
        body.pop("outputSchema", None)
    return types.Tool.model_validate(body)


def _progress(about: Message) -> Progress:
    async def told(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001
        # Numbers alone: nothing looks through what is said with them.
        with contextlib.suppress(MCPError):
            await about.session.report_progress(progress, total)

    return told


def _with_time(call: Call, upstream: Upstream) -> Call:
    return Call(upstream.config.seconds, call.progress, call.cancelled)


def _may_read(upstream: Upstream, uri: str) -> bool:
    # What a server takes for the folder above would leave what the glob is about.
    is_plain = uri.isprintable() and not _LEAVING.search(uri)
    return is_plain and any(fnmatchcase(uri, glob) for glob in upstream.config.resources)


def _id(message: Message) -> str | None:
    return None if message.request_id is None else str(message.request_id)
