"""What the pages of one console share: the approvals, the ledger, the policy, and how people sign in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request

from guardrails.console.changes import Changes
from guardrails.console.settings import ConsoleSettings
from guardrails.console.signins import SignIns
from guardrails.console.tickets import Tickets
from guardrails.guard import Guard
from guardrails.ledger import Ledger
from guardrails.model import Principal
from guardrails.policy import Policy

if TYPE_CHECKING:
    from guardrails.console.interim import InterimDesk

__all__ = ["Console", "TokenVerifier", "console_of"]


class TokenVerifier(Protocol):
    """Says whom a token is about, as `guardrails.identity.JwtVerifier` does."""

    def principal(self, token: str) -> Principal:
        """Returns who the token is about.

        Raises:
            IdentityError: It is not good.
        """
        ...


@dataclass(frozen=True, slots=True)
class Console:
    """Everything that pages use; on `request.app.state.console`, and returned by `console_of`.

    Args:
        settings: How it is set up.
        desk: Requests, answers, windows and reviews.
        ledger: The log.
        tickets: Who is signed in.
        tokens: Verifies the bearer tokens of programs; None where only signed-in browsers may use the API.
        sign_ins: The ways to sign in.
        guard: The guarded database; None where the console has no access to it, and then shows no previews.
        policy: The policy file; None where the console was given none.
        projection: Figures derived from the ledger; None where there are none.
    """

    settings: ConsoleSettings
    desk: InterimDesk
    ledger: Ledger
    tickets: Tickets
    sign_ins: SignIns = field(default_factory=SignIns)
    tokens: TokenVerifier | None = None
    guard: Guard | None = None
    policy: Policy | None = None
    projection: object | None = None
    changes: Changes = field(default_factory=Changes)


def console_of(request: Request) -> Console:
    """Returns the console that a request came to."""
    console: Console = request.app.state.console
    return console
