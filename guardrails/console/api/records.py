"""Operations about what happened: sessions, lists of entries, figures. From the console's projection of the ledger."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field

from guardrails.console.api.models import (
    EntryItem,
    EntryPage,
    KeptAnswer,
    SessionAnswer,
    SessionPage,
    StatisticsAnswer,
    TallyAnswer,
)
from guardrails.console.api.operations import Call, Given, Identifier, Index, Label, Nothing, Seconds, Size, operation
from guardrails.console.context import Console
from guardrails.console.pages.records import is_own, may_see_values
from guardrails.console.projection import Projection
from guardrails.console.projection.queries import Queries
from guardrails.console.projection.rows import SessionFilter
from guardrails.errors import Denied, IdentityError, LedgerError

__all__ = ["OPERATIONS"]

_SOON = 1000
"""So many entries are folded while a caller waits."""
_MOST_BUCKETS = 1000


class _Sessions(Given):
    principal: Label | None = None
    """Only those of this principal."""
    agent: Label | None = None
    """Only those through this agent."""
    conversation: Label | None = None
    """Only those of this conversation."""
    before: Index | None = None
    """Only those that began before this entry: `next` of the page before."""
    limit: Size = 50
    """At most so many."""


class _Session(Given):
    id: Identifier
    """Of the session."""


class _Entries(Given):
    type: Label | None = None
    """Only entries of this type."""
    session: Identifier | None = None
    """Only those of this session."""
    principal: Label | None = None
    """Only those of this principal's sessions."""
    before: Index | None = None
    """Only those before this one: `next` of the page before."""
    limit: Size = 50
    """At most so many."""


class _Entry(Given):
    index: Index
    """Of the entry, from 0."""


class _Why(Given):
    """Why somebody looks at values."""

    reason: Annotated[str, Field(max_length=4000)] = ""
    """Why; needed for other people's."""


class _Statistics(Given):
    measure: Literal["decision", "refusal", "outcome", "error", "finding", "latency"] = "decision"
    """What is counted."""
    since: Seconds
    """From when on."""
    until: Seconds
    """Until before when."""
    step: Seconds = 0
    """Width of a bucket; 0 for one."""


@operation("GET", "/sessions", SessionPage, parameters=_Sessions, statuses=(409, 503))
def list_sessions(call: Call[_Sessions, Nothing]) -> SessionPage:
    """Lists the sessions in which somebody acted, the latest first."""
    wanted = call.parameters
    only = SessionFilter(wanted.principal or "", wanted.agent or "", wanted.conversation or "")
    found = _queries(call.console).sessions(only, before=wanted.before, limit=wanted.limit + 1)
    shown = found[: wanted.limit]
    return SessionPage(
        items=[SessionAnswer(**asdict(row)) for row in shown], next=shown[-1].first if len(found) > len(shown) else None
    )


@operation("GET", "/sessions/{id}", SessionAnswer, parameters=_Session, statuses=(404, 409, 503))
def get_session(call: Call[_Session, Nothing]) -> SessionAnswer:
    """Returns one session; its entries are those of `/entries?session=`."""
    found = _queries(call.console).session(call.parameters.id)
    if found is None:
        raise LedgerError("ledger.index_range", "There is no such session.")
    return SessionAnswer(**asdict(found))


@operation("GET", "/entries", EntryPage, parameters=_Entries, statuses=(409, 503))
def list_entries(call: Call[_Entries, Nothing]) -> EntryPage:
    """Lists entries of the ledger, the latest first."""
    wanted = call.parameters
    found = _queries(call.console).entries(
        kind=wanted.type or "",
        session=wanted.session or "",
        principal=wanted.principal or "",
        before=wanted.before,
        limit=wanted.limit + 1,
    )
    items = [
        EntryItem(index=row.index, type=row.kind, session=row.session, principal=row.principal, time_us=row.time_us)
        for row in found[: wanted.limit]
    ]
    return EntryPage(items=items, next=items[-1].index if len(found) > len(items) else None)


@operation("GET", "/statistics", StatisticsAnswer, parameters=_Statistics, statuses=(400, 409, 503))
def get_statistics(call: Call[_Statistics, Nothing]) -> StatisticsAnswer:
    """Counts decisions, refusals by code, outcomes, errors, findings and latencies over time."""
    wanted = call.parameters
    found = _queries(call.console).tallies(wanted.measure, since_s=wanted.since, until_s=wanted.until, step_s=wanted.step)
    tallies = [TallyAnswer(begins=t.bucket, subject=t.subject, name=t.name, count=t.count) for t in found]
    return StatisticsAnswer(measure=wanted.measure, since=wanted.since, until=wanted.until, step=wanted.step, tallies=tallies)


@operation("POST", "/entries/{index}/kept", KeptAnswer, parameters=_Entry, body=_Why, statuses=(404, 409, 410, 503))
def show_kept(call: Call[_Entry, _Why]) -> KeptAnswer:
    """Returns the values that were kept of an entry, to the person that its session was for, and auditors; recorded first."""
    ledger, index, viewer = call.console.ledger, call.parameters.index, call.viewer
    entry = ledger.entry(index)
    session = _queries(call.console).session(str(entry.get("session") or ""))
    if session is None or not may_see_values(viewer, session):
        raise IdentityError("identity.role_missing", "Values of this entry are for the person it is about, and for auditors.")
    if not call.body.reason.strip() and not is_own(viewer, session):
        raise Denied("approval.reason_required", "Whoever looks at other people's values says why.")
    by = {"id": viewer.principal.id, "issuer": viewer.principal.issuer, "verified": viewer.principal.verified}
    ledger.append(
        {"type": "values.viewed", "of": session.id, "by": by, "from": index, "to": index},
        private={"reason": call.body.reason.encode("utf-8", "backslashreplace")},
    )
    committed = entry.get("commitments")
    names = sorted(committed) if isinstance(committed, dict) else []
    kept = {name: value for name in names if (value := ledger.kept(index, name)) is not None}
    return KeptAnswer(index=index, values={name: b64encode(value).decode("ascii") for name, value in kept.items()})


def _queries(console: Console) -> Queries:
    projection = console.projection
    if not isinstance(projection, Projection):
        raise LedgerError("ledger.unavailable", "This console was started without figures of the ledger.")
    projection.refresh(_SOON)
    return Queries(projection)


OPERATIONS = (list_sessions, get_session, list_entries, show_kept, get_statistics)
