"""A guarded tool for an MCP server of your own; `guardrails mcp` is a whole server (see `guardrails.mcp_server`).

When a statement needs a person's yes, the client's user is sent to the console (see `guardrails.integrations._mcp_asking`).
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from guardrails.errors import ApprovalRequired, GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import QUERY_TOOL, GuardedFunction, refusal_text, reply_text

try:
    from mcp.server.mcpserver import Context, MCPServer
    from mcp_types import CallToolResult, InputRequiredResult
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

from guardrails.integrations._mcp_asking import Asking, answer
from guardrails.integrations._mcp_runtime import runtime_of

__all__ = ["add_sql_tool"]


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
    asking = Asking(guard, console_url, wait_s)
    function = query_function(guard, name, description)
    opened, connection = session or (lambda _: nullcontext()), uuid.uuid4().hex

    async def query(sql: str, context: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
        with opened(context), guard.calling(runtime_of(context.request_context, connection=connection)):
            call = functools.partial(_call, function, sql, context.request_id)
            return await asking.run(call, context.session, context.request_id, context.input_responses)

    server.add_tool(query, name=name, description=function.definition.description)


async def _call(function: GuardedFunction, sql: str, request_id: str) -> CallToolResult:
    """Runs; a refusal is an answer for the model, but for the one that somebody may lift."""
    try:
        return answer(reply_text(await function.acall({"sql": sql}, request_id)))
    except ApprovalRequired:
        raise
    except GuardrailsError as error:
        return answer(refusal_text(error), is_error=True)
