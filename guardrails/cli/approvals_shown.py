"""How the command line shows requests, grants ahead and reviews: tables for people, fields for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from guardrails.approval import ApprovalStatus, Review
from guardrails.approval.channel import printable
from guardrails.as_json import json_value
from guardrails.model import ApprovalRequest, Impact, Statement

__all__ = ["print_requests", "print_reviews", "print_status", "print_windows", "review_fields", "status_fields"]

_WIDTH_OF_FILES = 10_000
"""Without a terminal nothing is wrapped, so that other programs can read the lines."""


def status_fields(status: ApprovalStatus, *, is_whole: bool = False) -> dict[str, object]:
    """Returns a request as fields; the statement's values and what was understood only as a whole."""
    request = status.request
    fields: dict[str, object] = {
        "request": request.id,
        "state": status.state,
        "kind": request.kind,
        "digest": request.digest,
        "requester": request.requester,
        "database": request.database,
        "agent": request.agent,
        "purpose": request.purpose,
        "rules": list(request.rules),
        "sql": request.sql,
        "summary": request.summary,
        "why": request.why,
        "groups": list(request.terms.groups),
        "quorum": request.terms.quorum,
        "reason_required": request.terms.reason_required,
        "created_at": request.created_at,
        "expires_at": request.expires_at,
        "ends_at": status.ends_at,
        "decided_at": status.decided_at,
        "used_at": status.used_at,
        "votes": [
            {
                "by": vote.by, "issuer": vote.issuer, "verified": vote.verified, "answer": vote.answer, "reason": vote.reason,
                "at": vote.at, "entry_index": vote.entry_index,
            }
            for vote in status.votes
        ],
    }  # fmt: skip
    if request.kind == "grant":
        fields["window_s"] = request.window_s
    if is_whole:
        fields["statement"] = _statement(request.statement)
        fields["understood"] = dict(request.understood)
        fields["impact"] = _impact(request.impact)
    return fields


def review_fields(review: Review, now: int) -> dict[str, object]:
    """Returns a review as fields."""
    request = review.request
    return {
        "review": review.id,
        "state": "open" if review.is_open else "closed",
        "is_overdue": review.is_open and review.due_at <= now,
        "requester": request.requester,
        "database": request.database,
        "agent": request.agent,
        "purpose": request.purpose,
        "rules": list(request.rules),
        "sql": request.sql,
        "summary": request.summary,
        "reason": review.reason,
        "groups": list(request.terms.groups),
        "opened_at": review.opened_at,
        "due_at": review.due_at,
        "closed_by": review.closed_by or None,
        "closed_at": review.closed_at,
        "comment": review.comment,
    }


def print_requests(statuses: Sequence[ApprovalStatus], now: int) -> None:
    """Prints requests, a line each."""
    rows = []
    for status in statuses:
        request = status.request
        left = f"{max(request.expires_at - now, 0)} s" if status.state == "pending" else status.state
        yes = f"{len(status.approvers)} of {request.terms.quorum}"
        rows.append([request.id, *_who(request), left, yes, ", ".join(request.terms.groups), request.sql or request.summary])
    _print_table(("request", "requester", "agent", "purpose", "left", "yes", "groups", "statement"), rows)


def print_windows(statuses: Sequence[ApprovalStatus], now: int) -> None:
    """Prints grants ahead, a line each."""
    rows = [
        [s.request.id, *_who(s.request), f"{(s.ends_at or now) - now} s", ", ".join(s.approvers), ", ".join(s.request.rules)]
        for s in statuses
    ]
    _print_table(("request", "requester", "agent", "purpose", "left", "approvers", "rules"), rows)


def print_reviews(reviews: Sequence[Review], now: int) -> None:
    """Prints reviews, a line each."""
    rows = []
    for review in reviews:
        due = f"{review.due_at - now} s" if review.due_at > now else "overdue"
        told = [due, review.reason] if review.is_open else [f"closed by {review.closed_by}", review.comment]
        rows.append([review.id, *_who(review.request), *told, review.request.sql])
    _print_table(("review", "requester", "agent", "purpose", "due", "reason", "statement"), rows)


def print_status(status: ApprovalStatus) -> None:
    """Prints all of a request."""
    request, statement = status.request, status.request.statement
    facts = [
        ("request", request.id),
        ("state", status.state),
        ("requester", f"{request.requester} ({request.requester_verified})"),
        ("database", request.database or "none"),
        ("agent", request.agent or "not named"),
        ("purpose", request.purpose or "not declared"),
        ("rules", ", ".join(request.rules)),
        ("does", request.summary),
        ("why", request.why),
        ("wants", f"{request.terms.quorum} of {', '.join(request.terms.groups) or 'anybody else'}"),
        ("asked", _time(request.created_at)),
        ("ends", _time(status.ends_at or request.expires_at)),
        ("changes", _impact_text(request.impact)),
        ("runs", request.sql),
        ("written", statement.sql if statement and statement.sql != request.sql else ""),
        ("values", json.dumps(_statement(statement).get("params"), ensure_ascii=False) if statement else ""),
        ("understood", json.dumps(dict(request.understood), ensure_ascii=False) if request.understood else ""),
    ]
    facts += [(vote.answer, f"{vote.by} ({vote.verified}) {_time(vote.at)} {vote.reason}") for vote in status.votes]
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        if value:
            table.add_row(Text(name, style="dim"), Text(printable(value)))
    _console().print(table)


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    _console().print(table)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def _who(request: ApprovalRequest) -> tuple[str, str, str]:
    return request.requester, request.agent or "", request.purpose or ""


def _statement(statement: Statement | None) -> dict[str, object]:
    if statement is None:
        return {}
    given = statement.params
    values = dict(given) if isinstance(given, Mapping) else list(given)
    return {"sql": statement.sql, "params": json_value(values), "dialect": statement.dialect}


def _impact(impact: Impact | None) -> dict[str, object] | None:
    if impact is None:
        return None
    return {"rows": dict(impact.rows), "is_estimated": impact.is_estimated, "error": impact.error or None}


def _impact_text(impact: Impact | None) -> str:
    if impact is None:
        return ""
    if impact.error:
        return f"not known ({impact.error})"
    about = "about " if impact.is_estimated else ""
    return ", ".join(f"{about}{rows} rows of {relation}" for relation, rows in impact.rows) or "no rows"


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds")
