"""Asking whoever sits at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from rich.console import Console, Group
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from guardrails.approval.channel import Answer
from guardrails.approval.printing import printable
from guardrails.model import ApprovalRequest, Principal

__all__ = ["TerminalChannel"]

_MOST_TRIES = 3


class TerminalChannel:
    """Asks whoever sits at the terminal, who must be somebody else than the requester.

    Args:
        approver: The person at the terminal.
        console: Where to ask; standard error when None, so that standard output stays the program's.
    """

    def __init__(self, approver: Principal, *, console: Console | None = None) -> None:
        self._approver = approver
        self._console = console or Console(stderr=True)

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Shows the request and asks. Without a terminal, or without an answer, returns None."""
        if not (sys.stdin.isatty() and self._console.is_terminal):
            return None
        self._console.print(_shown(request))
        try:
            return self._answer(request)
        except EOFError:
            return None

    def _answer(self, request: ApprovalRequest) -> Answer | None:
        for _ in range(_MOST_TRIES):
            said = self._console.input(f"Approve as {printable(self._approver.id)}? yes, no or later: ", markup=False)
            match said.strip().lower():
                case "y" | "yes":
                    return self._approval(request)
                case "n" | "no":
                    return Answer(False, self._approver, self._console.input("Why not: ", markup=False).strip())
                case "l" | "later":
                    return None
        return None

    def _approval(self, request: ApprovalRequest) -> Answer | None:
        for _ in range(_MOST_TRIES):
            reason = self._console.input("Why: ", markup=False).strip()
            if reason or not request.terms.reason_required:
                return Answer(True, self._approver, reason)
        return None


def _shown(request: ApprovalRequest) -> Panel:
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("requester", request.requester),
        ("agent", request.agent or "not named"),
        ("purpose", request.purpose or "not declared"),
        ("does", request.summary),
        ("request", request.id),
        *_values(request),
    ):
        facts.add_row(Text(name, style="dim"), Text(printable(value)))
    statement = Syntax(printable(request.sql), "sql", word_wrap=True, background_color="default")
    return Panel(Group(facts, Text(), statement), title="Approval needed", border_style="yellow")


def _values(request: ApprovalRequest) -> Iterator[tuple[str, str]]:
    """Yields what is bound, and a tool's arguments, as the policy lets approvers see them."""
    params = request.statement.params if request.statement is not None else {}
    named = params if isinstance(params, Mapping) else {str(number): value for number, value in enumerate(params, 1)}
    arguments = request.understood.get("arguments")
    for name, value in {**named, **(arguments if isinstance(arguments, Mapping) else {})}.items():
        yield f"with {name}", repr(value)
