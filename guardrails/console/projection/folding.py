"""What entries add to the projection: pure, from decoded entries to rows and counts.

An entry of a kind that is not known here counts as an entry and nothing else; a field of another form than the library writes is left
out. So a projection follows any ledger, also one with entries of the user's own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from guardrails.errors import LedgerError
from guardrails.ledger.entry import parse_time

__all__ = [
    "DAMAGED",
    "DAY_S",
    "GRAINS",
    "HOUR_S",
    "Folded",
    "FoldedEntry",
    "FoldedRule",
    "FoldedSession",
    "Known",
    "bin_bounds",
    "fold",
    "latency_bin",
    "session_of",
]

DAMAGED = "(damaged)"
"""Kind of an entry that does not have its leaf hash, or is no entry at all."""
HOUR_S = 3600
DAY_S = 86_400
GRAINS = {"day": DAY_S, "week": 7 * DAY_S, "month": 28 * DAY_S, "all": 0}
"""Widths in seconds of the buckets of what is counted by principal and column, so that a long time is added up from few rows."""
_BINS_PER_OCTAVE = 2
_LONGEST = 300
_ABOUT_REQUESTS = "approval."


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier batches know of a session: its number and its principal."""

    first: int
    principal: str | None


@dataclass(frozen=True, slots=True)
class FoldedEntry:
    """One row of the list of entries; `session` is the session's number."""

    index: int
    kind: str
    session: int | None
    principal: str | None
    time_us: int


@dataclass(slots=True)
class FoldedSession:
    """What a batch adds to a session; `facts` are those of its first entry that tells who acts."""

    id: str
    first: int
    last: int
    began_us: int
    last_us: int
    facts: dict[str, str | None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class FoldedRule:
    """What a batch adds to a rule's hits."""

    counts: Counter[str] = field(default_factory=Counter)
    last: int = -1
    last_us: int = 0


@dataclass(slots=True)
class Folded:
    """What a batch of entries adds. A tally's key is measure, bucket in Unix seconds, subject and name."""

    entries: list[FoldedEntry] = field(default_factory=list)
    sessions: dict[str, FoldedSession] = field(default_factory=dict)
    rules: dict[str, FoldedRule] = field(default_factory=dict)
    links: set[tuple[str, int]] = field(default_factory=set)
    tallies: Counter[tuple[str, int, str, str]] = field(default_factory=Counter)


def fold(entries: Iterable[tuple[int, Mapping[str, object]]], known: Mapping[str, Known]) -> Folded:
    """Folds entries in the order of the log.

    Args:
        entries: Index and entry.
        known: Sessions of earlier entries, by id; those of this batch that had begun before.
    """
    folded = Folded()
    principals = {session: found.principal for session, found in known.items()}
    time_us = 0
    for index, entry in entries:
        time_us = _time_us(entry, time_us)
        kind, name = _text(entry.get("type")) or "", session_of(entry)
        session = folded.sessions.get(name)
        if session is None:
            first = known[name].first if name in known else index
            session = folded.sessions[name] = FoldedSession(name, first, index, time_us, time_us)
        session.last, session.last_us = index, time_us
        if principals.get(name) is None and (facts := _facts(entry)):
            session.facts, principals[name] = facts, facts["principal"]
        principal = principals.get(name)
        folded.entries.append(FoldedEntry(index, kind, session.first, principal, time_us))
        _count(folded, session, index, kind, entry, principal or "", time_us // 1_000_000)
    return folded


def session_of(entry: Mapping[str, object]) -> str:
    """Returns the name under which an entry's session is kept; entries outside of any are in one without a name."""
    return _text(entry.get("session")) or ""


def latency_bin(duration_us: int) -> int:
    """Returns the bin of a duration: two to each doubling, from 1 µs on."""
    octave = max(duration_us, 1).bit_length() - 1
    is_upper = duration_us * duration_us >= 1 << (2 * octave + 1)
    return octave * _BINS_PER_OCTAVE + is_upper


def bin_bounds(number: int) -> tuple[int, int]:
    """Returns from which and below which duration in microseconds a bin of `latency_bin` holds."""
    return _bound(number), max(_bound(number + 1), _bound(number) + 1)


def _bound(number: int) -> int:
    octave, is_upper = divmod(number, _BINS_PER_OCTAVE)
    return math.isqrt((1 << (2 * octave + 1)) - 1) + 1 if is_upper else 1 << octave


def _count(
    folded: Folded,
    session: FoldedSession,
    index: int,
    kind: str,
    entry: Mapping[str, object],
    principal: str,
    time_s: int,
) -> None:
    hour = time_s - time_s % HOUR_S
    match kind:
        case "intent":
            session.counts["statements"] += 1
            _decided(folded, index, entry, principal, time_s)
        case "refusal":
            session.counts["refused"] += 1
            _decided(folded, index, entry, principal, time_s)
        case "outcome" | "outcome.unknown":
            _ended(folded, session, entry, hour)
        case "message":
            session.counts["messages"] += 1
        case "approval.requested":
            session.counts["asked"] += 1
    request = _text(entry.get("request")) if kind.startswith(_ABOUT_REQUESTS) else None
    approval = _mapping(entry.get("approval"))
    review = _text(entry.get("review")) if kind.startswith(_ABOUT_REQUESTS) else None
    viewed = _text(entry.get("of")) if kind == "values.viewed" else None
    for linked in (request, review, viewed, _text(approval.get("request"))):
        if linked:
            folded.links.add((linked, index))


def _decided(folded: Folded, index: int, entry: Mapping[str, object], principal: str, time_s: int) -> None:
    decision = _mapping(entry.get("decision"))
    effect = _text(decision.get("effect")) or "deny"
    hour = time_s - time_s % HOUR_S
    folded.tallies["decision", hour, "", effect] += 1
    reasons = [(_text(r.get("code")) or "", _text(r.get("rule")) or "") for r in _mappings(decision.get("reasons"))]
    if effect == "deny":
        for code, rule in set(reasons[:1]):
            folded.tallies["refusal", hour, code, rule] += 1
    outcome = {"allow": "allowed", "approve": "asked"}.get(effect, "refused")
    for rule in {*_texts(decision.get("rules")), *(rule for _, rule in reasons if rule and effect == "deny")}:
        hits = folded.rules.setdefault(rule, FoldedRule())
        hits.counts[outcome] += 1
        hits.last, hits.last_us = index, time_s * 1_000_000
    if effect != "deny":
        _columns(folded, entry, decision, principal, time_s)


def _columns(folded: Folded, entry: Mapping[str, object], decision: Mapping[str, object], principal: str, time_s: int) -> None:
    """Counts each column that a statement reads, by how it was shown; which of them are sensitive, the reader tells apart."""
    masked = {_text(mask.get("column")) for mask in _mappings(decision.get("masks"))}
    lifted = set(_texts(decision.get("lifted")))
    for column in {*_texts(_mapping(entry.get("statement")).get("reads")), *lifted}:
        how = "lifted" if column in lifted else "masked" if column in masked else "clear"
        for grain, width_s in GRAINS.items():
            folded.tallies[f"{how}.{grain}", time_s - time_s % width_s if width_s else 0, principal, column] += 1


def _ended(folded: Folded, session: FoldedSession, entry: Mapping[str, object], hour: int) -> None:
    status = "unknown" if entry.get("type") == "outcome.unknown" else _text(entry.get("status")) or "unknown"
    folded.tallies["outcome", hour, "", status] += 1
    if status == "error":
        session.counts["failed"] += 1
        folded.tallies["error", hour, "", _text(entry.get("error")) or ""] += 1
    elif status == "unknown":
        session.counts["unknown"] += 1
    session.counts["rows"] += _number(entry.get("rows"))
    # What a transaction changed counts when it is kept, by the outcome of the transaction.
    session.counts["rows_changed"] += _number(entry.get("rows_changed")) if status != "uncommitted" else 0
    duration_us = entry.get("duration_us")
    if type(duration_us) is int and duration_us >= 0:
        folded.tallies["latency", hour, "", f"{latency_bin(duration_us):03d}"] += 1
    for finding in _mappings(entry.get("findings")):
        folded.tallies["finding", hour, "", _text(finding.get("kind")) or ""] += _number(finding.get("count"))


def _facts(entry: Mapping[str, object]) -> dict[str, str | None] | None:
    """Returns who acts, where an entry says so."""
    principal, agent = _mapping(entry.get("principal")), _mapping(entry.get("agent"))
    who = _text(principal.get("id"))
    if not who:
        return None
    return {
        "principal": who,
        "issuer": _text(principal.get("issuer")),
        "verified": _text(principal.get("verified")),
        "agent": _text(agent.get("name")),
        "model": _text(agent.get("model")),
        "purpose": _text(entry.get("purpose")),
        "conversation": _text(entry.get("conversation")),
    }


def _time_us(entry: Mapping[str, object], before: int) -> int:
    try:
        return parse_time(entry.get("time"))
    except LedgerError:
        return before


def _text(value: object) -> str | None:
    """A text as a database keeps it: PostgreSQL has no NUL."""
    return value[:_LONGEST].replace("\0", "\ufffd") if isinstance(value, str) else None


def _number(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [text for item in value if (text := _text(item))] if isinstance(value, list) else []
