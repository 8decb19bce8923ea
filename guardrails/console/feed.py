"""The newest entries of the ledger, folded into what people follow: statements with how they ended, answers, sessions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

__all__ = ["Feed", "FeedRow", "SessionRow", "feed_of"]

Entry: TypeAlias = Mapping[str, Any]
RowKind: TypeAlias = Literal["statement", "action", "approval", "session", "other"]

_APPROVALS = {
    "approval.requested": "asks for approval",
    "approval.used": "uses the approval",
    "approval.window.ended": "ends a window",
    "approval.review.opened": "went ahead without approval",
    "approval.review.closed": "closes a review",
}


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A line of the feed.

    Args:
        index: Of the entry in the ledger.
        time: As the entry has it (UTC).
        kind: What it is about.
        session: Its session; of answers the request's id.
        who: The principal, or the person who answered.
        agent: Through which agent; empty where none is named.
        text: The normalised statement, or what happened in words.
        effect: allow, deny or approve; of answers approved or denied; empty of everything else.
        status: How it ended: ok, uncommitted, rolled_back, error, unknown; empty while it runs.
        code: Why it was refused or failed.
        rows: Rows returned, or changed where it changes any; None while it runs.
        is_change: Whether the rows are changed ones.
        duration_us: Run time in microseconds; None while it runs.
        masked: How many columns are masked.
        request: The request that it is about; empty for none.
    """

    index: int
    time: str
    kind: RowKind
    session: str
    who: str
    agent: str
    text: str
    effect: str = ""
    status: str = ""
    code: str = ""
    rows: int | None = None
    is_change: bool = False
    duration_us: int | None = None
    masked: int = 0
    request: str = ""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session that has entries among the newest."""

    session: str
    who: str
    agent: str
    model: str
    purpose: str
    statements: int
    refused: int
    last: str


@dataclass(frozen=True, slots=True)
class Feed:
    """Lines and sessions, the newest first."""

    rows: tuple[FeedRow, ...]
    sessions: tuple[SessionRow, ...]


def feed_of(entries: Iterable[tuple[int, Entry | None]], *, limit: int) -> Feed:
    """Folds entries, oldest first with their indexes, into the feed's newest lines.

    Args:
        entries: Consecutive entries of the ledger, None for what is none. An outcome whose intent is not among them is left out.
            Nothing is taken for granted of them: somebody may have changed what is stored.
        limit: Most lines.
    """
    rows: dict[str, FeedRow] = {}
    sessions: dict[str, SessionRow] = {}
    for index, entry in entries:
        if entry is None:
            rows[f"damaged {index}"] = FeedRow(index, "", "other", "", "", "", "what is stored here is no entry", "damaged")
            continue
        kind = _text(entry, "type")
        if kind == "outcome" or kind.startswith("outcome."):
            intent = _text(entry, "intent")
            if intent in rows:
                rows[intent] = _ended(rows[intent], entry)
            continue
        rows[_text(entry, "id")] = row = _row(index, entry, kind)
        if row.kind in ("statement", "action", "session"):
            sessions[row.session] = _session(sessions.pop(row.session, None), row, entry)
    newest = tuple(rows.values())[: -limit - 1 : -1]
    return Feed(newest, tuple(reversed(sessions.values())))


def _row(index: int, entry: Entry, kind: str) -> FeedRow:
    decision, statement = _part(entry, "decision"), _part(entry, "statement")
    row = FeedRow(index, _text(entry, "time"), "other", _text(entry, "session"), "", "", kind)
    row = replace(row, who=_text(_part(entry, "principal"), "id"), agent=_text(_part(entry, "agent"), "name"))
    row = replace(row, request=_text(_part(entry, "approval"), "request") or _text(entry, "request"))
    if kind == "key.bind":
        return replace(row, kind="session", text="begins a session")
    if kind == "message":
        return replace(row, kind="session", text="says something")
    if kind in ("intent", "refusal"):
        action = _part(entry, "action")
        return replace(
            row,
            kind="action" if action else "statement",
            text=_text(action, "name") or _text(statement, "normalised") or _text(statement, "kind") or "not understood",
            effect="deny" if kind == "refusal" else _text(decision, "effect"),
            code=_first_code(decision) if kind == "refusal" else "",
            masked=_count(decision, "masks"),
        )
    if kind == "approval.decided":
        answer = _text(entry, "answer")
        text = "says yes" if answer == "approved" else "says no"
        return replace(row, kind="approval", who=_text(_part(entry, "approver"), "id"), text=text, effect=answer)
    if kind in _APPROVALS:
        who = _text(_part(entry, "by"), "id") or _text(entry, "requester") or row.who
        return replace(row, kind="approval", who=who, text=_APPROVALS[kind])
    return row


def _ended(row: FeedRow, entry: Entry) -> FeedRow:
    changed = _number(entry, "rows_changed")
    return replace(
        row,
        status=_text(entry, "status") or "unknown",
        code=_text(entry, "error"),
        rows=changed or _number(entry, "rows"),
        is_change=bool(changed),
        duration_us=_number(entry, "duration_us"),
        masked=_count(entry, "masks") or row.masked,
    )


def _session(known: SessionRow | None, row: FeedRow, entry: Entry) -> SessionRow:
    if known is None:
        agent = _part(entry, "agent")
        known = SessionRow(row.session, row.who, row.agent, _text(agent, "model"), _text(entry, "purpose"), 0, 0, row.time)
    is_statement = row.kind in ("statement", "action")
    return replace(
        known,
        who=known.who or row.who,
        statements=known.statements + is_statement,
        refused=known.refused + (row.effect == "deny"),
        last=row.time,
    )


def _part(entry: Entry, name: str) -> Entry:
    found = entry.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(entry: Entry, name: str) -> str:
    found = entry.get(name)
    return found if isinstance(found, str) else ""


def _number(entry: Entry, name: str) -> int | None:
    found = entry.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _count(entry: Entry, name: str) -> int:
    found = entry.get(name)
    return len(found) if isinstance(found, list) else 0


def _first_code(decision: Entry) -> str:
    reasons = decision.get("reasons")
    return _text(reasons[0], "code") if isinstance(reasons, list) and reasons and isinstance(reasons[0], Mapping) else ""
