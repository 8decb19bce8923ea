"""What of a request one viewer is shown: values only for who may answer it or has asked, the normalised statement for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guardrails.approval.approvers import is_same_person
from guardrails.approval.hours import require_hours
from guardrails.approval.status import ApprovalStatus
from guardrails.console.showing import duration, tidy
from guardrails.console.understanding import relations_of
from guardrails.console.viewer import Viewer
from guardrails.errors import Denied, GuardrailsError
from guardrails.model import ApprovalRequest

__all__ = ["RequestView", "title_of", "view_of"]

_MOST_NAMES = 4
_VERBS = {
    "select": "Read",
    "insert": "Insert into",
    "update": "Update",
    "delete": "Delete from",
    "merge": "Merge into",
    "truncate": "Empty",
    "drop": "Drop",
    "alter": "Alter",
    "create": "Create",
}
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
        outside_hours: Why a yes does not count now; None when it does.
    """

    status: ApprovalStatus
    is_complete: bool
    text: str
    asked: str
    values: tuple[tuple[str, str], ...]
    objection: GuardrailsError | None
    is_own: bool
    has_voted: bool
    outside_hours: GuardrailsError | None = None

    @property
    def request(self) -> ApprovalRequest:
        return self.status.request

    @property
    def shows_impact(self) -> bool:
        """Whether what it would change is shown: to who may answer alone, for it may tell of rows that the requester must not know of."""
        return self.objection is None

    @property
    def title(self) -> str:
        """What is asked for, in a line."""
        return title_of(self.request)

    @property
    def kind_title(self) -> str:
        """What is asked for, in a word or two."""
        return _KIND_TITLES.get(self.request.kind, self.request.kind)

    @property
    def yes_count(self) -> int:
        """How many different people have said yes."""
        return sum(vote.answer == "approved" for vote in self.status.votes)

    @property
    def is_open(self) -> bool:
        return self.status.state == "pending"

    @property
    def may_answer(self) -> bool:
        """Whether a form makes sense: it waits, and this viewer may answer and has not yet."""
        return self.is_open and self.objection is None and not self.has_voted


def title_of(request: ApprovalRequest) -> str:
    """Returns what is asked for in a line: ``Update orders: status``, ``Read real values of customers.ssn``."""
    if request.kind == "grant":
        return f"Grant ahead for {duration(request.window_s)}: {', '.join(request.rules)}"
    if request.kind == "reveal":
        return "Resolve a token"
    relations = relations_of(request.understood)
    lifted = [f"{r.name}.{c.name}" for r in relations for c in r.columns if c.happening == "lifted"]
    if lifted:
        return f"Read real values of {_listed(lifted)}"
    kind = request.understood.get("statement_kind")
    written = [r for r in relations if any(c.happening == "written" for c in r.columns)]
    if isinstance(kind, str) and kind in _VERBS and (written or relations):
        target = written or relations
        columns = [c.name for c in target[0].columns if c.happening == "written"]
        named = f": {_listed(columns)}" if kind == "update" and len(target) == 1 else ""
        return f"{_VERBS[kind]} {_listed([r.name for r in target])}{named}"
    return request.summary or _KIND_TITLES[request.kind]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else shown


def view_of(status: ApprovalStatus, viewer: Viewer, now: int) -> RequestView:
    """Returns a request as a viewer may see it at a time, in Unix seconds."""
    request = status.request
    is_complete = viewer.may_read(request)
    normalised = request.understood.get("normalised")
    statement = request.statement
    return RequestView(
        status,
        is_complete,
        request.sql if is_complete else tidy(normalised) if isinstance(normalised, str) else "",
        statement.sql if is_complete and statement is not None else "",
        _values(statement.params) + _values(_arguments(request)) if is_complete and statement is not None else (),
        viewer.objection(request),
        viewer.is_requester(request),
        any(is_same_person(vote.by, viewer.principal.id) for vote in status.votes),
        _outside_hours(request, now),
    )


def _outside_hours(request: ApprovalRequest, now: int) -> GuardrailsError | None:
    try:
        require_hours(request.terms, now)
    except Denied as error:
        return error
    return None


def _arguments(request: ApprovalRequest) -> Mapping[str, object]:
    """A tool's arguments beside its statement, as the policy lets approvers see them."""
    arguments = request.understood.get("arguments")
    return arguments if isinstance(arguments, Mapping) else {}


def _values(params: Mapping[str, object] | Sequence[object]) -> tuple[tuple[str, str], ...]:
    if isinstance(params, Mapping):
        return tuple((name, repr(value)) for name, value in params.items())
    return tuple((str(index), repr(value)) for index, value in enumerate(params, 1))
