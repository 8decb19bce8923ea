"""pydantic-ai's own pause: a statement that needs a person ends the run with deferred tool requests, and a later run goes on.

Give a `DeferringChannel` to `Guard.open` and `DeferredToolRequests` to the agent as an output type. When somebody has answered, run the
agent with the message history and `resume(requests)`: the call is made again, and what becomes of it is what the store says (see
`guardrails.integrations._pausing`).
"""

from __future__ import annotations

from typing import Any

from guardrails.approval import Answer
from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.integrations._pausing import is_pause, pause_facts
from guardrails.integrations._query import query_function
from guardrails.integrations._toolbox import QUERY_TOOL, Toolbox
from guardrails.model import ApprovalRequest

try:
    from pydantic_ai import ApprovalRequired, DeferredToolRequests, DeferredToolResults, RunContext, Tool, ToolApproved
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "Deferring tool calls needs pydantic-ai.", hint="Install guardrails-sql[pydantic-ai]."
    ) from missing

__all__ = ["DeferringChannel", "resume", "sql_tool"]


class DeferringChannel:
    """Defers the tool call in which the guard runs.

    Args:
        console_url: Where the console is, for the link in the call's metadata; None leaves it out.
    """

    pauses_with: tuple[type[Exception], ...] = (ApprovalRequired,)

    def __init__(self, console_url: str | None = None) -> None:
        self._console_url = console_url

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Defers; does not return.

        Raises:
            pydantic_ai.ApprovalRequired: With what may be shown of the request as its metadata.
        """
        raise ApprovalRequired(metadata=pause_facts(request, self._console_url))


def resume(requests: DeferredToolRequests) -> DeferredToolResults:
    """Returns the results with which the agent makes its deferred calls again.

    To pydantic-ai they are approved, which is not enough for the guard: what nobody has approved in the store is deferred once more,
    what was denied is refused. Calls that others deferred are left to the application, which may `update` the results with its own.
    """
    ours = {call.tool_call_id for call in requests.approvals if is_pause(requests.metadata.get(call.tool_call_id))}
    return requests.build_results(approvals={call_id: ToolApproved() for call_id in ours})


def sql_tool(guard: Guard, *, name: str = QUERY_TOOL, description: str | None = None) -> Tool[Any]:
    """Returns a ready-made tool that runs the model's SQL on the guard's own engine, under its lock-down.

    Args:
        guard: The guard; a session must be active when the agent runs.
        name: The tool's name.
        description: For the model; a general one that names the dialect when None.
    """
    toolbox = Toolbox([query_function(guard, name, description)])
    (definition,) = toolbox.definitions

    async def query(context: RunContext[Any], **arguments: Any) -> str:
        return (await toolbox.adispatch(name, arguments, context.tool_call_id)).text

    return Tool.from_schema(query, name, definition.description, definition.schema, takes_ctx=True)
