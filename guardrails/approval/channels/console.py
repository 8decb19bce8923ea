"""Points whoever runs the program to the web console, and waits there."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from guardrails.approval.channel import Answer, WaitingChannel
from guardrails.approval.notice import request_link
from guardrails.approval.printing import one_line
from guardrails.approval.store import ApprovalStore
from guardrails.model import ApprovalRequest

__all__ = ["ConsoleChannel"]


class ConsoleChannel:
    """Says once where the request can be answered, then waits until somebody does.

    Args:
        store: Where the answer will be.
        console_url: Where the console is.
        timeout_s: Seconds after which the request is left pending.
        console: Where to say it; standard error when None, so that standard output stays the program's.
    """

    def __init__(
        self, store: ApprovalStore, console_url: str, *, timeout_s: float = 300, console: Console | None = None
    ) -> None:
        self._waiting = WaitingChannel(store, timeout_s=timeout_s)
        self._console_url = console_url
        self._console = console or Console(stderr=True)

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """As `WaitingChannel.ask`."""
        link = request_link(self._console_url, request.id) or ""
        self._console.print(Text(f"{one_line(request.requester, 80)} waits for approval: {link}"), soft_wrap=True)
        return self._waiting.ask(request)
