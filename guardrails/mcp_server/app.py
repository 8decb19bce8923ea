"""The server itself: what a client may ask for, answered from the guard.

Tools answer with structured content and the same as text. What the guard refuses is a result with `isError`, which the model reads and
repairs its statement from; a resource that does not exist, or may not be seen, is a protocol error, the same for both.

Source: Model Context Protocol, revisions 2025-11-25 and 2026-07-28; older ones are served by the SDK's handshake.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from pydantic import ValidationError

from guardrails.errors import ApprovalRequired, GuardrailsError, PolicyError, UsageError
from guardrails.mcp_server import resources
from guardrails.mcp_server.calls import Calls
from guardrails.mcp_server.shapes import ReceiptShown
from guardrails.mcp_server.tools import GuardedTool, NotSeen, guarded_tools

try:
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError
    from mcp_types import (
        INTERNAL_ERROR,
        INVALID_PARAMS,
        CallToolRequestParams,
        CallToolResult,
        ListResourcesResult,
        ListResourceTemplatesResult,
        ListToolsResult,
        PaginatedRequestParams,
        ReadResourceRequestParams,
        ReadResourceResult,
        TextContent,
        TextResourceContents,
    )
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

from guardrails.integrations._mcp_asking import Answered, Asking, answer

__all__ = ["make_server"]

logger = logging.getLogger(__name__)

_INSTRUCTIONS = (
    "A database behind a guard. Begin with list_tables and describe; they show what you may read. Values may be masked, and a masked "
    "value is no error. A refusal says what to change: repair the statement, do not try to get around it. Where a person has to "
    "approve first, say so to the user and call again later with the same statement."
)
_UNSEEN = "Refused (sql.relation_unknown): There is no such table or view. list_tables names those that there are."
_RAISED = frozenset({"usage.no_session", "usage.bug"})
"""Mistakes of the program, which no other call mends."""
_MOST_ID = 200
_FAILED = "Refused (usage.bug): The server failed; whoever runs it finds more in its log."


def make_server(calls: Calls) -> Server[Any]:
    """Returns the server, to be served by `serve_stdio` or `serve_http`; when it ends, it waits for what still runs."""
    app = _App(calls)

    @asynccontextmanager
    async def lifespan(_: Server[Any]) -> AsyncIterator[dict[str, Any]]:
        try:
            yield {}
        finally:
            calls.close()

    return Server(
        calls.settings.name,
        version=version("guardrails-sql"),
        title="Guarded database",
        instructions=_INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=app.list_tools,
        on_call_tool=app.call_tool,
        on_list_resources=app.list_resources,
        on_list_resource_templates=app.list_templates,
        on_read_resource=app.read_resource,
    )


class _App:
    def __init__(self, calls: Calls) -> None:
        self._tools = guarded_tools(calls.guard, calls.settings.result_bytes)
        self._calls = calls
        self._asking = Asking(calls.guard, calls.settings.console_url, calls.settings.wait_s)

    async def list_tools(self, _: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[tool.definition for tool in self._tools.values()])

    async def call_tool(self, context: ServerRequestContext[Any], params: CallToolRequestParams) -> Answered:
        tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(code=INVALID_PARAMS, message="There is no such tool.")
        progress = _Progress(context)
        call = functools.partial(self._called, tool, context, params, progress)
        try:
            return await self._asking.run(call, context.session, context.request_id, params.input_responses, told=progress.tell)
        except Exception:
            logger.exception("The tool %s failed", params.name)
            return answer(_FAILED, is_error=True, code="usage.bug")

    async def _called(
        self, tool: GuardedTool, context: ServerRequestContext[Any], params: CallToolRequestParams, progress: _Progress
    ) -> CallToolResult:
        """Calls a tool; whatever the guard refuses is a result, but for what somebody may still approve."""
        try:
            given = tool.arguments.model_validate(params.arguments or {})
            shown = await self._calls.run(context, lambda: tool.run(given, _call_id(context)), progress.tell)
        except ApprovalRequired:
            raise
        except ValidationError as error:
            return answer(_misfit(error), is_error=True, code="usage.input_invalid")
        except NotSeen:
            return answer(_UNSEEN, is_error=True, code="sql.relation_unknown")
        except GuardrailsError as error:
            return _refused(error)
        text = TextContent(type="text", text=shown.model_dump_json())
        return CallToolResult(content=[text], structured_content=shown.model_dump(mode="json"))

    async def list_resources(self, context: ServerRequestContext[Any], _: PaginatedRequestParams | None) -> ListResourcesResult:
        guard = self._calls.guard
        found = await self._read(context, lambda: resources.listed_resources(guard, _call_id(context)))
        return ListResourcesResult(resources=found)

    async def list_templates(
        self, _: ServerRequestContext[Any], __: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(resource_templates=resources.templates())

    async def read_resource(self, context: ServerRequestContext[Any], params: ReadResourceRequestParams) -> ReadResourceResult:
        guard = self._calls.guard
        text = await self._read(context, lambda: resources.read(guard, params.uri, _call_id(context)))
        contents = TextResourceContents(uri=params.uri, mime_type=resources.JSON_TYPE, text=text)
        return ReadResourceResult(contents=[contents])

    async def _read(self, context: ServerRequestContext[Any], function: Any) -> Any:
        try:
            return await self._calls.run(context, function)
        except NotSeen:
            raise MCPError(code=INVALID_PARAMS, message="Resource not found.") from None
        except GuardrailsError as error:
            raise MCPError(code=INTERNAL_ERROR, message=_text(error)) from error
        except Exception as error:
            logger.exception("A resource could not be read")
            raise MCPError(code=INTERNAL_ERROR, message=_FAILED) from error


class _Progress:
    """Progress of one call, in steps that only grow, as the protocol asks; a client that asked for none gets none."""

    def __init__(self, context: ServerRequestContext[Any]) -> None:
        self._session = context.session
        self._step = 0

    async def tell(self, text: str) -> None:
        self._step += 1
        await self._session.report_progress(self._step, message=text)


def _call_id(context: ServerRequestContext[Any]) -> str | None:
    """The client's id of its request, which may be any text; what the ledger keeps of it is short."""
    return str(context.request_id)[:_MOST_ID] if context.request_id is not None else None


def _refused(error: GuardrailsError) -> CallToolResult:
    """A refusal for the model, with its code and receipt for the program around it."""
    if error.code in _RAISED:
        raise error
    receipt = getattr(error, "receipt", None)
    facts = {"receipt": ReceiptShown.of(receipt).model_dump()} if receipt is not None else {}
    return answer(_text(error), is_error=True, code=error.code, **facts)


def _text(error: GuardrailsError) -> str:
    if isinstance(error, PolicyError):
        # It names what the policy names, which is not for every caller.
        logger.error("%s", error)
        return f"Refused ({error.code}): The policy does not fit the database or the call; whoever runs the server can mend it."
    return error.for_model()


def _misfit(error: ValidationError) -> str:
    """Says which arguments do not fit, without repeating their values."""
    lines = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors(include_input=False)]
    return f"Refused (usage.input_invalid): The arguments do not fit the tool. {'; '.join(lines)}"
