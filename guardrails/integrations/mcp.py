"""A guarded tool of an MCP server, which sends the client's user to the console when a statement needs a person's yes.

Whoever sits at the client is as a rule the requester, who may never say yes. So nothing is asked in the client but that its user opens
the console's link or passes it on (elicitation in URL mode); the answer is given there, after signing in. A client of MCP 2026-07-28 is
asked between two rounds of the call (`InputRequiredResult`), one of 2025-11-25 by a request in mid-call; one that cannot be asked gets
the answer that the statement waits, and calls again later.

Source: Model Context Protocol, elicitation in the revisions 2025-11-25 and 2026-07-28.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from guardrails.approval.notice import request_link
from guardrails.errors import ApprovalRequired, GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import QUERY_TOOL, refusal_text, reply_text
from guardrails.model import ApprovalRequest

try:
    from mcp.server.mcpserver import Context, MCPServer
    from mcp_types import (
        CallToolResult,
        ElicitRequest,
        ElicitRequestURLParams,
        ElicitResult,
        InputRequiredResult,
        TextContent,
    )
    from mcp_types.version import is_version_at_least
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["add_sql_tool"]

_KEY = "approval"
_ROUNDS_SINCE = "2026-07-28"
_LOOK_S = 0.25


def add_sql_tool(
    server: MCPServer[Any],
    guard: Guard,
    *,
    session: Callable[[Context[Any, Any]], AbstractContextManager[object]] | None = None,
    console_url: str | None = None,
    wait_s: float = 50,
    name: str = QUERY_TOOL,
    description: str | None = None,
) -> None:
    """Adds a tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        server: Of the `mcp` package.
        guard: The guard, opened without a channel: the tool itself asks.
        session: Gives the session of one call, as ``lambda context: guard.session(principal=…, agent=…)`` does; the principal belongs
            to the call's verified token. None: one is in force where the server runs.
        console_url: Where the console is; without it nobody is asked, and the statement waits.
        wait_s: Seconds for which a call waits for the answer once the user has been sent to the console; clients end calls after a
            time of their own.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """
    tool = _Tool(guard, console_url, wait_s, name, description)
    opened = session or (lambda _: nullcontext())

    async def query(sql: str, context: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
        with opened(context):
            return await tool.call(sql, context)

    server.add_tool(query, name=name, description=tool.description)


class _Tool:
    def __init__(self, guard: Guard, console_url: str | None, wait_s: float, name: str, description: str | None) -> None:
        self._guard = guard
        self._console_url = console_url
        self._wait_s = wait_s
        self._function = query_function(guard, name, description)
        self.description = self._function.definition.description

    async def call(self, sql: str, context: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
        try:
            return await self._run(sql, context)
        except ApprovalRequired as waiting:
            asked = await self._send(waiting.request, context)
            if isinstance(asked, InputRequiredResult):
                return asked
            if not asked:
                return _answer(refusal_text(waiting), is_error=True)
            if await self._is_answered(waiting.request) and not _has_rounds(context):
                await context.session.send_elicit_complete(waiting.request.id)
        try:
            return await self._run(sql, context)
        except ApprovalRequired as waiting:
            return _answer(refusal_text(waiting), is_error=True)

    async def _run(self, sql: str, context: Context[Any, Any]) -> CallToolResult:
        """Runs; a refusal is an answer for the model.

        Raises:
            ApprovalRequired: Somebody has to say yes first.
        """
        try:
            return _answer(reply_text(await self._function.acall({"sql": sql}, context.request_id)))
        except ApprovalRequired:
            raise
        except GuardrailsError as error:
            return _answer(refusal_text(error), is_error=True)

    async def _send(self, request: ApprovalRequest, context: Context[Any, Any]) -> bool | InputRequiredResult:
        """Sends the user to the console; returns whether they went, or what asks them between two rounds."""
        link = request_link(self._console_url, request.id)
        capabilities = context.client_capabilities
        if link is None or capabilities is None or capabilities.elicitation is None or capabilities.elicitation.url is None:
            return False
        message = (
            "This statement waits for another person's approval. Open the page to see the request and pass the link on to somebody "
            "who may approve; requesters cannot approve their own."
        )
        if not _has_rounds(context):
            return (await context.elicit_url(message, link, request.id)).action == "accept"
        response = (context.input_responses or {}).get(_KEY)
        if response is None:
            asking = ElicitRequest(params=ElicitRequestURLParams(message=message, url=link))
            return InputRequiredResult(input_requests={_KEY: asking}, request_state=request.id)
        return isinstance(response, ElicitResult) and response.action == "accept"

    async def _is_answered(self, request: ApprovalRequest) -> bool:
        """Waits until the request is answered; False when the time is over."""
        deadline = time.monotonic() + self._wait_s
        while time.monotonic() < deadline:
            waiting = await asyncio.to_thread(self._guard.pending)
            if all(pending.id != request.id for pending in waiting):
                return True
            await asyncio.sleep(_LOOK_S)
        return False


def _has_rounds(context: Context[Any, Any]) -> bool:
    return is_version_at_least(context.protocol_version or "", _ROUNDS_SINCE)


def _answer(text: str, *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)
