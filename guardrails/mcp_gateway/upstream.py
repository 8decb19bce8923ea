"""One server behind the gateway: started or reached when it is needed, listed, called, and started anew when it has died.

What it says is a stranger's word. It may not ask for anything in return (sampling, elicitation, roots), its log goes nowhere, and each
answer has its time. A call whose answer never came may have been carried out: its outcome is unknown, and it is not tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from guardrails.errors import EngineError, GuardrailsError, UsageError
from guardrails.mcp_gateway.config import UpstreamConfig, resolved
from guardrails.mcp_gateway.definitions import Definition, instructions_of, prompt_of, tool_of, unambiguous
from guardrails.mcp_gateway.definitions import DefinitionKey as Key

try:
    from mcp.client.client import Client
    from mcp.client.session import ClientSession
    from mcp.client.stdio import StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client
    from mcp.shared.dispatcher import ProgressFnT
    from mcp.shared.exceptions import MCPError
    from mcp_types import (
        CONNECTION_CLOSED,
        REQUEST_TIMEOUT,
        CallToolResult,
        GetPromptResult,
        Implementation,
        InputRequiredResult,
        PaginatedRequestParams,
        PromptListChangedNotification,
        ReadResourceResult,
        Resource,
        ToolListChangedNotification,
    )
    from mcp_types.version import MODERN_PROTOCOL_VERSIONS
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP gateway needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["Call", "Progress", "Upstream"]

T = TypeVar("T")
R = TypeVar("R", bound=BaseModel)
Progress: TypeAlias = ProgressFnT
"""Told how far an answer is: of how much, and in which words."""

_CONNECT_S = 30.0
_LIST_S = 10.0
_MOST_PAGES = 25
_MOST_LISTED = 1000
_MOST_LISTED_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """What goes with one request to an upstream: how long its answer may take, who is told how far it is, and whether it is still wanted.

    Args:
        seconds: For the answer.
        progress: Told as the upstream tells.
        cancelled: Set when nobody waits for the answer any more.
    """

    seconds: float
    progress: Progress | None = None
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


class Upstream:
    """Use it as an asynchronous context manager, on one event loop; calls may run at the same time.

    Args:
        name: In the configuration.
        config: What that says.
        changed: Called when the server tells that its tools or prompts have changed.
        environment: For the references in the configuration; the process's own when None.

    Raises:
        UsageError: A variable that the configuration refers to is not set (``mcp.config_invalid``).
    """

    def __init__(
        self,
        name: str,
        config: UpstreamConfig,
        changed: Callable[[], None] = lambda: None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        known = os.environ if environment is None else environment
        self.name = name
        self.config = config
        self.server = ""
        """What the server calls itself, once it is connected."""
        self._env = {key: resolved(value, known) for key, value in config.env.items()}
        self._headers = {key: resolved(value, known) for key, value in config.headers.items()}
        self._changed = changed
        self._connecting = asyncio.Lock()
        self._client: Client | None = None
        self._holder: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._under_way = 0

    async def __aenter__(self) -> Upstream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()

    async def definitions(self) -> dict[Key, Definition]:
        """Returns what the server tells now of its tools, its prompts and itself; what is listed twice is left out.

        Raises:
            EngineError: It cannot be reached (``mcp.upstream_down``) or answers wrongly (``mcp.upstream_failed``).
        """
        return unambiguous(filter(_has_form, await self._asked_again(self._definitions)))

    async def resources(self) -> Sequence[Resource]:
        """Returns the resources that the server lists. Raises as `definitions`."""

        async def listed(session: ClientSession) -> list[Resource]:
            return await _pages(lambda params: session.list_resources(params=params), "resources")

        return await self._asked_again(listed)

    async def call(self, tool: str, arguments: Mapping[str, Any], call: Call) -> CallToolResult:
        """Calls a tool, once.

        Raises:
            EngineError: Nothing was sent (``mcp.upstream_down``), the server refused (``mcp.upstream_failed``), it wanted something in
                return (``mcp.upstream_asks``), or no answer came (``engine.unknown_outcome``).
        """
        session = await self._session()
        asked = session.call_tool(tool, dict(arguments), call.seconds, call.progress, allow_input_required=True)
        return _complete(await self._carried_out(asked, call))

    async def read(self, uri: str, call: Call) -> ReadResourceResult:
        """Reads a resource. Raises as `call`."""
        session = await self._session()
        return _complete(await self._carried_out(session.read_resource(uri, allow_input_required=True), call))

    async def prompt(self, name: str, arguments: Mapping[str, str], call: Call) -> GetPromptResult:
        """Gets a prompt. Raises as `call`."""
        session = await self._session()
        return _complete(await self._carried_out(session.get_prompt(name, dict(arguments), allow_input_required=True), call))

    async def _carried_out(self, asked: Awaitable[T], call: Call) -> T:
        self._under_way += 1
        try:
            return await self._answer(asked, call)
        finally:
            self._under_way -= 1

    async def _answer(self, asked: Awaitable[T], call: Call) -> T:
        """Waits for an answer until its time is over or nobody wants it; the server is told when it is given up."""
        answering = asyncio.ensure_future(asked)
        unwanted = asyncio.ensure_future(call.cancelled.wait())
        try:
            await asyncio.wait({answering, unwanted}, timeout=call.seconds, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                why = "The call was cancelled" if unwanted.done() else f"No answer came within {call.seconds:g} seconds"
                raise EngineError("engine.unknown_outcome", f"{why}: the upstream server may have carried it out.")
            return answering.result()
        except GuardrailsError:
            raise
        except MCPError as error:
            raise self._told(error) from error
        except (ValidationError, RuntimeError, ValueError) as error:
            raise _failed(error) from error
        except Exception as error:
            # A transport that fails in its own way: nobody knows how far the call had come.
            self._client = None
            message = "The connection to the upstream server failed; it may have carried the call out."
            raise EngineError("engine.unknown_outcome", message, evidence={"error": type(error).__name__}) from error
        finally:
            await _given_up(answering, unwanted)

    def _told(self, error: MCPError) -> EngineError:
        """The text of an upstream's error may hold data; it stays the cause, for the operator."""
        if error.code == CONNECTION_CLOSED:
            self._client = None
        if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
            message = "The upstream server ended or fell silent before it answered; it may have carried the call out."
            return EngineError("engine.unknown_outcome", message, evidence={"code": error.code})
        return _failed(error)

    async def _asked_again(self, ask: Callable[[ClientSession], Awaitable[T]]) -> T:
        """Asks what changes nothing, so that it may be asked once more over a new connection: the server may be another one by now."""
        call = Call(min(_LIST_S, self.config.seconds))
        try:
            return await self._answer(ask(await self._session()), call)
        except EngineError as error:
            if error.code in ("mcp.upstream_down", "mcp.upstream_asks"):
                raise
            if self._client is not None and self._under_way:
                # It may be busy with a call, which a new connection would end.
                raise self._down() from error
        await self._disconnect()
        try:
            return await self._answer(ask(await self._session()), call)
        except EngineError as error:
            if error.code != "engine.unknown_outcome":
                raise
            raise self._down() from error

    async def _definitions(self, session: ClientSession) -> list[Definition]:
        capabilities = session.server_capabilities
        made: list[Definition] = []
        if session.instructions:
            made.append(instructions_of(self.name, session.instructions))
        if capabilities is None or capabilities.tools is not None:
            tools = await _pages(lambda params: session.list_tools(params=params), "tools")
            made += [tool_of(self.name, _json(tool)) for tool in tools]
        if self.config.prompts and capabilities is not None and capabilities.prompts is not None:
            prompts = await _pages(lambda params: session.list_prompts(params=params), "prompts")
            made += [prompt_of(self.name, _json(prompt)) for prompt in prompts]
        return made

    async def _session(self) -> ClientSession:
        async with self._connecting:
            if self._client is None:
                await self._disconnect()
                self._client = await self._connect()
            return self._client.session

    async def _connect(self) -> Client:
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        # The SDK's scopes have to be left by the task that entered them, so that one task holds the connection.
        self._holder = asyncio.create_task(self._hold(ready, self._ended))
        try:
            client = await asyncio.wait_for(ready, _CONNECT_S)
        except Exception as error:
            await self._disconnect()
            raise self._down() from error
        told = client.server_info
        self.server = f"{told.name} {told.version}".strip() if told else ""
        return client

    async def _hold(self, ready: asyncio.Future[Client], ended: asyncio.Event) -> None:
        try:
            async with (
                _transport(self.config, self._env, self._headers) as streams,
                Client(
                    _given(streams), cache=None, mode=self.config.protocol, message_handler=self._heard, client_info=_US
                ) as client,
                contextlib.AsyncExitStack() as stack,
            ):
                if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                    listener = asyncio.create_task(self._listen(client))
                    stack.callback(listener.cancel)
                ready.set_result(client)
                await ended.wait()
        except Exception as error:  # noqa: BLE001 - whoever connects is told; what ends a connection later shows in its calls
            if not ready.done():
                ready.set_exception(error)

    async def _disconnect(self) -> None:
        holder, self._holder, self._client = self._holder, None, None
        self._ended.set()
        if holder is not None:
            done, _ = await asyncio.wait({holder}, timeout=_CONNECT_S)
            if not done:
                holder.cancel()

    async def _heard(self, message: object) -> None:
        if isinstance(message, (ToolListChangedNotification, PromptListChangedNotification)):
            self._changed()

    async def _listen(self, client: Client) -> None:
        """Hears of changes from a server of the revision of 2026, which tells of them only to who asks; without it, time has to do."""
        with contextlib.suppress(Exception):
            async with client.listen(tools_list_changed=True, prompts_list_changed=True) as told:
                async for _ in told:
                    self._changed()

    def _down(self) -> EngineError:
        return EngineError("mcp.upstream_down", f"The upstream server {self.name} cannot be reached.")


_US = Implementation(name="guardrails-mcp-gateway", version="1")


@asynccontextmanager
async def _transport(
    config: UpstreamConfig, env: Mapping[str, str], headers: Mapping[str, str]
) -> AsyncIterator[tuple[Any, Any]]:
    if config.command is not None:
        started = StdioServerParameters(command=config.command, args=list(config.args), env=dict(env), cwd=config.cwd)
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            async with stdio_client(started, errlog=sys.stderr if config.log else nowhere) as streams:
                yield streams
    else:
        async with (
            create_mcp_http_client(dict(headers)) as http,
            streamable_http_client(str(config.url), http_client=http) as streams,
        ):
            yield streams


@asynccontextmanager
async def _given(streams: tuple[Any, Any]) -> AsyncIterator[tuple[Any, Any]]:
    yield streams


async def _given_up(*tasks: asyncio.Future[Any]) -> None:
    """Ends what is still waiting, and looks at what it raises: nobody else will."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _pages(ask: Callable[[PaginatedRequestParams | None], Awaitable[Any]], field: str) -> list[Any]:
    """All pages of a listing; one that does not end, or is too large, is no answer."""
    found: list[Any] = []
    params: PaginatedRequestParams | None = None
    size = 0
    for _ in range(_MOST_PAGES):
        page = await ask(params)
        found += getattr(page, field)
        size += len(page.model_dump_json())
        if len(found) > _MOST_LISTED or size > _MOST_LISTED_BYTES:
            break
        if page.next_cursor is None:
            return found
        params = PaginatedRequestParams(cursor=page.next_cursor)
    raise EngineError("mcp.upstream_failed", "The upstream server lists more than can be looked at.")


def _has_form(definition: Definition) -> bool:
    """Tells whether a definition has a digest; one without is as good as none, and keeps nobody from the others."""
    try:
        return bool(definition.digest)
    except UsageError:
        return False


def _json(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _complete(result: R | InputRequiredResult) -> R:
    if isinstance(result, InputRequiredResult):
        raise EngineError("mcp.upstream_asks", "The upstream server wants input of its own before it goes on.")
    return result


def _failed(error: Exception) -> EngineError:
    evidence = {"error": type(error).__name__, "code": getattr(error, "code", None)}
    return EngineError("mcp.upstream_failed", "The upstream server refused the call, or answered wrongly.", evidence=evidence)
