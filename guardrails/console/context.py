"""What the pages of one console share: the approvals, the ledger, the policy, and how people sign in."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from guardrails.approval.desk import ApprovalDesk
from guardrails.console.changes import Changes
from guardrails.console.projection import Projection
from guardrails.console.settings import ConsoleSettings
from guardrails.console.signins import SignIns
from guardrails.console.tickets import Tickets
from guardrails.console.tokens import TokenVerifier
from guardrails.guard import Guard
from guardrails.ledger import Ledger
from guardrails.policy import Policy

__all__ = ["Console", "console_of"]


@dataclass(frozen=True, slots=True)
class Console:
    """Everything that pages use; on `request.app.state.console`, and returned by `console_of`.

    Args:
        settings: How it is set up.
        desk: Requests, answers, windows and reviews.
        ledger: The log.
        tickets: Who is signed in.
        sign_ins: The ways to sign in.
        guard: The guarded database; None where the console has no access to it, and then shows no previews.
        policy: The policy file; None where the console was given none.
        projection: What lists and figures are made from; None where there is none, and then pages that need it say so.
        tokens: Verifies the bearer tokens of programs; None where only signed-in browsers may use the API.
    """

    settings: ConsoleSettings
    desk: ApprovalDesk
    ledger: Ledger
    tickets: Tickets
    sign_ins: SignIns = field(default_factory=SignIns)
    guard: Guard | None = None
    policy: Policy | None = None
    projection: Projection | None = None
    changes: Changes = field(default_factory=Changes)
    tokens: TokenVerifier | None = None


def console_of(request: Request) -> Console:
    """Returns the console that a request came to."""
    console: Console = request.app.state.console
    return console
