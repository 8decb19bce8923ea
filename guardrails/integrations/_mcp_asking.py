"""How a call of an MCP client waits for a person: its user is sent to the console, and the call goes on once somebody has answered there.

Whoever sits at the client is as a rule the requester, who may never say yes. So nothing is asked in the client but that its user opens
the console's link or passes it on (elicitation in URL mode). A client of MCP 2026-07-28 is asked between two rounds of the call
(`InputRequiredResult`), one of 2025-11-25 by a request in mid-call; one that cannot be asked gets the answer that the statement waits,
and calls again later. What a client answers permits nothing: the statement is run again, and the guard looks for a yes.

Source: Model Context Protocol, elicitation in the revisions 2025-11-25 and 2026-07-28.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from guardrails.approval.notice import request_link
from guardrails.errors import ApprovalRequired, UsageError
from guardrails.guard import Guard
from guardrails.integrations._toolbox import refusal_text
from guardrails.model import ApprovalRequest

try:
    from mcp.server.session import ServerSession
    from mcp.shared.exceptions import MCPError
    from mcp_types import (
        CallToolResult,
        ElicitRequest,
        ElicitRequestURLParams,
        ElicitResult,
        InputRequiredResult,
        RequestId,
        TextContent,
    )
    from mcp_types.version import is_version_at_least
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["Answered", "Asking", "Told", "answer"]

Answered: TypeAlias = CallToolResult | InputRequiredResult
Told: TypeAlias = Callable[[str], Awaitable[None]]
"""Tells the client how far a call is."""

_ROUNDS_SINCE = "2026-07-28"
_LOOK_S = 0.25
_TELL_S = 2.0
_MESSAGE = (
    "This statement waits for another person's approval. Open the page to see the request and pass the link on to somebody "
    "who may approve; requesters cannot approve their own."
)


class Asking:
    """Carries calls through the wait for a person.

    Args:
        guard: The guard, opened without a channel that waits: the caller itself asks.
        console_url: Where the console is; without it nobody is asked, and the statement waits.
        wait_s: Seconds for which a call waits for the answer once the user has been sent to the console; clients end calls after a
            time of their own.
    """

    def __init__(self, guard: Guard, console_url: str | None, wait_s: float) -> None:
        self._guard = guard
        self._console_url = console_url
        self._wait_s = wait_s

    async def run(
        self,
        call: Callable[[], Awaitable[CallToolResult]],
        session: ServerSession,
        request_id: RequestId | None,
        responses: Any = None,
        *,
        told: Told | None = None,
    ) -> Answered:
        """Calls, and calls once more when somebody has answered in the meantime.

        Args:
            call: What may raise `ApprovalRequired`; other refusals are results of its own.
            session: The client's.
            request_id: Of the client's request.
            responses: The client's `input_responses`, when it calls again after an `InputRequiredResult`.
            told: Tells the client that the call waits.
        """
        try:
            return await call()
        except ApprovalRequired as waiting:
            asked = await self._send(waiting.request, session, request_id, responses)
            if isinstance(asked, InputRequiredResult):
                return asked
            if not asked:
                return self._waits(waiting)
            is_answered = await self._is_answered(waiting.request, told)
            if is_answered and not _has_rounds(session):
                await session.send_elicit_complete(waiting.request.id)
        try:
            return await call()
        except ApprovalRequired as waiting:
            return self._waits(waiting)

    async def _send(
        self, request: ApprovalRequest, session: ServerSession, request_id: RequestId | None, responses: Any
    ) -> bool | InputRequiredResult:
        """Sends the user to the console; returns whether they went, or what asks them between two rounds."""
        link = request_link(self._console_url, request.id)
        capabilities = session.client_capabilities
        if link is None or capabilities is None or capabilities.elicitation is None or capabilities.elicitation.url is None:
            return False
        if not _has_rounds(session):
            try:
                return (await session.elicit_url(_MESSAGE, link, request.id, request_id)).action == "accept"
            except MCPError:
                # The client said that it could be asked, and then could not.
                return False
        # The key names the request, so that an answer to another one does not count.
        key = f"approval-{request.id}"
        response = (responses or {}).get(key)
        if response is None:
            asking = ElicitRequest(params=ElicitRequestURLParams(message=_MESSAGE, url=link))
            return InputRequiredResult(input_requests={key: asking})
        return isinstance(response, ElicitResult) and response.action == "accept"

    async def _is_answered(self, request: ApprovalRequest, told: Told | None) -> bool:
        """Waits until the request is answered; False when the time is over."""
        deadline = time.monotonic() + self._wait_s
        told_at = 0.0
        while (now := time.monotonic()) < deadline:
            waiting = await asyncio.to_thread(self._guard.pending)
            if all(pending.id != request.id for pending in waiting):
                return True
            if told is not None and now - told_at >= _TELL_S:
                told_at = now
                await told("Waiting for another person's approval.")
            await asyncio.sleep(_LOOK_S)
        return False

    def _waits(self, waiting: ApprovalRequired) -> CallToolResult:
        link = request_link(self._console_url, waiting.request.id)
        where = f" People see it at {link}." if link else ""
        return answer(refusal_text(waiting) + where, is_error=True, code=waiting.code, request=waiting.request.id)


def answer(text: str, *, is_error: bool = False, **facts: object) -> CallToolResult:
    """Returns a text as the result of a call; `facts` are for the program around the model, under `_meta.guardrails`."""
    result = CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)
    return result.model_copy(update={"meta": {"guardrails": facts}}) if facts else result


def _has_rounds(session: ServerSession) -> bool:
    return is_version_at_least(session.protocol_version, _ROUNDS_SINCE)
