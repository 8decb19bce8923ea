"""How a person is asked: in the terminal, through a function of the application's own, or by waiting until the store has an answer.

A channel that fails means no: an approver who cannot be reached has not said yes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from guardrails.approval.store import ApprovalStore
from guardrails.errors import Denied, GuardrailsError
from guardrails.model import ApprovalRequest, Principal

__all__ = ["Answer", "CallbackChannel", "Channel", "TerminalChannel", "WaitingChannel", "ask_channel", "printable"]

_MOST_TRIES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer, which still has to be written into the store: `by` whom, and why."""

    is_approved: bool
    by: Principal
    reason: str = ""


class Channel(Protocol):
    """A way to ask a person."""

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Returns the answer; None when there is none to write down: still pending, or already in the store.

        Raises:
            Denied: The answer is no, or nobody could be asked (approval.channel_down).
        """
        ...


def ask_channel(channel: Channel, request: ApprovalRequest) -> Answer | None:
    """Asks; whatever goes wrong in the channel is a refusal.

    Raises:
        Denied: As `Channel.ask`.
    """
    try:
        answer = channel.ask(request)
    except GuardrailsError:
        raise
    except Exception as error:
        raise _down("The approval channel failed.", error) from error
    if not isinstance(answer, (Answer, type(None))) or (answer and not isinstance(answer.is_approved, bool)):
        raise _down("The approval channel gave no answer of the right kind.")
    return answer


class CallbackChannel:
    """Asks a function.

    Args:
        function: Gets the request, returns an `Answer` or None.
    """

    def __init__(self, function: Callable[[ApprovalRequest], Answer | None]) -> None:
        self._function = function

    def ask(self, request: ApprovalRequest) -> Answer | None:
        return ask_channel(_Function(self._function), request)


class WaitingChannel:
    """Waits until somebody answers through the store, in another thread or process.

    Args:
        store: Where the answer will be.
        poll_s: Seconds between two looks.
        timeout_s: Seconds after which the request is left pending.
    """

    def __init__(self, store: ApprovalStore, poll_s: float = 0.5, timeout_s: float = 300) -> None:
        self._store = store
        self._poll_s = poll_s
        self._timeout_s = timeout_s

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Returns None when the request was approved, for then the store has the grant, or when it is still pending.

        Raises:
            Denied: Somebody said no (approval.denied), or its time is over (approval.expired).
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            state = self._store.status(request.id, now=int(time.time())).state
            if state == "denied":
                raise Denied("approval.denied", "The approver said no.")
            if state == "expired":
                raise Denied("approval.expired", "Nobody answered the request in time.")
            left_s = deadline - time.monotonic()
            if state != "pending" or left_s <= 0:
                return None
            time.sleep(min(self._poll_s, left_s))


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


@dataclass(frozen=True, slots=True)
class _Function:
    ask: Callable[[ApprovalRequest], Answer | None]


def printable(text: str) -> str:
    """Returns a text whose control and direction characters show instead of acting on the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _shown(request: ApprovalRequest) -> Panel:
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("requester", request.requester),
        ("agent", request.agent or "not named"),
        ("purpose", request.purpose or "not declared"),
        ("does", request.summary),
        ("request", request.id),
    ):
        facts.add_row(Text(name, style="dim"), Text(printable(value)))
    statement = Syntax(printable(request.sql), "sql", word_wrap=True, background_color="default")
    return Panel(Group(facts, Text(), statement), title="Approval needed", border_style="yellow")


def _down(message: str, error: Exception | None = None) -> Denied:
    return Denied("approval.channel_down", message, evidence={"error": type(error).__name__} if error else None)
