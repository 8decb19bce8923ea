"""What of a request one viewer is shown: values only for who may answer it or has asked, the normalised statement for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from guardrails.console.interim import InterimStatus
from guardrails.console.viewer import Viewer
from guardrails.errors import GuardrailsError
from guardrails.model import ApprovalRequest

__all__ = ["RequestView", "view_of"]

_KIND_TITLES = {"statement": "Statement", "action": "Action", "reveal": "Resolving a token", "grant": "Grant ahead"}


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request as one viewer sees it.

    Args:
        status: The request and how far it is.
        is_complete: Whether values are shown.
        text: What would run: complete, or normalised; empty where this viewer may see neither.
        asked: What the agent wrote, complete; empty where it is not shown.
        values: Names and values that are bound, as text; empty where they are not shown.
        objection: Why this viewer may not answer; None when they may.
        is_own: Whether they asked themselves.
        has_voted: Whether they have said yes already.
    """

    status: InterimStatus
    is_complete: bool
    text: str
    asked: str
    values: tuple[tuple[str, str], ...]
    objection: GuardrailsError | None
    is_own: bool
    has_voted: bool

    @property
    def request(self) -> ApprovalRequest:
        return self.status.request

    @property
    def kind_title(self) -> str:
        """What is asked for, in a word or two."""
        return _KIND_TITLES.get(self.request.kind, self.request.kind)

    @property
    def yes_count(self) -> int:
        """How many different people have said yes."""
        return sum(vote.answer == "approved" for vote in cast("Sequence[Any]", self.status.votes))

    @property
    def is_open(self) -> bool:
        return self.status.state == "pending"

    @property
    def may_answer(self) -> bool:
        """Whether a form makes sense: it waits, and this viewer may answer and has not yet."""
        return self.is_open and self.objection is None and not self.has_voted

    def understood(self, name: str) -> Sequence[Any]:
        """Returns a list of what the guard understood: `reads`, `writes`, `functions`, `obligations`, `reasons`."""
        found = self.request.understood.get(name)
        return found if isinstance(found, list | tuple) else ()


def view_of(status: InterimStatus, viewer: Viewer) -> RequestView:
    """Returns a request as a viewer may see it."""
    request = status.request
    is_complete = viewer.may_read(request)
    normalised = request.understood.get("normalised")
    statement = request.statement
    return RequestView(
        status,
        is_complete,
        request.sql if is_complete else normalised if isinstance(normalised, str) else "",
        statement.sql if is_complete and statement is not None else "",
        _values(statement.params) if is_complete and statement is not None else (),
        viewer.objection(request),
        viewer.is_requester(request),
        any(vote.by == viewer.principal.id for vote in cast("Sequence[Any]", status.votes)),
    )


def _values(params: Mapping[str, object] | Sequence[object]) -> tuple[tuple[str, str], ...]:
    if isinstance(params, Mapping):
        return tuple((name, repr(value)) for name, value in params.items())
    return tuple((str(index), repr(value)) for index, value in enumerate(params, 1))
