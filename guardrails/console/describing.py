"""What an entry says, in words and parts that pages show; from the entry's JSON alone, which need not be one that this library wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from guardrails.console.showing import duration
from guardrails.errors import LedgerError
from guardrails.ledger.entry import parse_time

__all__ = ["Described", "Entry", "describe", "read_entry", "span_us", "time_us"]

Entry = Mapping[str, Any]

_TITLES = {
    "key.bind": "Session begins",
    "intent": "Statement",
    "refusal": "Refused",
    "outcome": "Outcome",
    "outcome.unknown": "Outcome unknown",
    "message": "Message",
    "approval.requested": "Asks for approval",
    "approval.decided": "Answer",
    "approval.used": "Approval used",
    "approval.review.opened": "Review opened",
    "approval.review.closed": "Review closed",
    "approval.window.ended": "Grant ended",
    "session.expired": "Token expired",
    "values.viewed": "Kept values shown",
    "mask_key.rotated": "New mask key",
    "erasure": "Erasure",
    "archive": "Archive",
    "key.rotate": "New key of the log",
    "key.retire": "Key of the log retired",
    "key.revoke": "Key of the log revoked",
}
_DIGEST = re.compile(r"[0-9a-f]{32,}")
_GRANTED = {"break_glass": ("glass broken", "bad"), "window": ("granted ahead", "good")}
_TONES = {
    "allow": "good",
    "approve": "good",
    "ok": "good",
    "approved": "good",
    "deny": "bad",
    "denied": "bad",
    "error": "bad",
    "unknown": "bad",
}


@dataclass(frozen=True, slots=True)
class Described:
    """An entry in a line.

    Args:
        kind: Its type; empty where it has none.
        title: What kind of entry it is, for people.
        text: A statement's normalised text; empty for other entries.
        detail: The rest in a line.
        chip: A word that stands out, such as the effect; empty for none.
        tone: How it stands out: ``good``, ``bad``, ``wait``, ``mark`` or ``quiet``.
    """

    kind: str
    title: str
    text: str = ""
    detail: str = ""
    chip: str = ""
    tone: str = "quiet"


def read_entry(leaf: bytes | None) -> Entry | None:
    """Returns the entry that bytes say; None where there is none, or what is stored is no entry."""
    try:
        entry = orjson.loads(leaf) if leaf is not None else None
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


def time_us(entry: Entry) -> int | None:
    """Returns an entry's time in Unix microseconds; None where it has none in the ledger's form."""
    try:
        return parse_time(entry.get("time"))
    except LedgerError:
        return None


def describe(entry: Entry | None) -> Described:
    """Returns what an entry says in a line."""
    if entry is None:
        return Described("", "Not readable", detail="What is stored here is not an entry.", chip="damaged", tone="bad")
    kind = str(entry.get("type") or "")
    title = _TITLES.get(kind, kind or "Entry")
    match kind:
        case "intent" | "refusal":
            return _decided(entry, kind, title)
        case "outcome" | "outcome.unknown":
            return _ended(entry, kind, title)
        case "key.bind":
            return Described(kind, title, detail=_who(entry))
        case "message":
            return Described(kind, title, detail=f"from {_word(entry, 'role')}, {_word(entry, 'bytes')} bytes")
        case "approval.requested":
            return Described(kind, title, detail=f"by {_word(entry, 'requester')}", chip="asked", tone="wait")
        case "approval.decided":
            answer = _word(entry, "answer")
            return Described(kind, title, detail=f"by {_by(entry, 'approver')}", chip=answer, tone=_tone(answer))
        case "approval.review.opened":
            return Described(kind, title, detail=f"by {_word(entry, 'requester')}", chip="glass broken", tone="bad")
        case "approval.review.closed":
            return Described(kind, title, detail=f"by {_by(entry, 'approver')}", chip="closed", tone="good")
        case "values.viewed":
            return Described(kind, title, detail=f"to {_by(entry, 'by')}", chip="seen", tone="mark")
    return Described(kind, title, detail=_rest(entry))


def span_us(microseconds: int) -> str:
    """Returns a short span of time: ``850 µs``, ``1.2 ms``, ``3.4 s``, ``2 min``."""
    if microseconds < 1000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms"
    return f"{microseconds / 1_000_000:.3g} s" if microseconds < 100_000_000 else duration(microseconds / 1_000_000)


def _decided(entry: Entry, kind: str, title: str) -> Described:
    statement, action, decision = (_part(entry, name) for name in ("statement", "action", "decision"))
    effect = str(decision.get("effect") or "deny")
    text = str(statement.get("normalised") or "")
    if name := action.get("name"):
        title, detail = "Action" if kind == "intent" else title, f"{name}({', '.join(map(str, action.get('arguments') or []))})"
    elif text:
        detail = ""
    else:
        detail = f"{statement.get('kind', 'a statement')}, {statement.get('bytes', '?')} bytes"
    if kind == "refusal":
        codes = [str(reason.get("code")) for reason in decision.get("reasons") or [] if isinstance(reason, dict)]
        detail = ", ".join(codes) + (f"; {detail}" if detail else "")
        return Described(kind, title, text, detail, "refused", "bad")
    chip = {"allow": "allowed", "approve": "approved"}.get(effect, effect)
    chip, tone = _GRANTED.get(str(_part(entry, "approval").get("kind")), (chip, _TONES.get(effect, "bad")))
    return Described(kind, title, text, detail, chip, tone)


def _ended(entry: Entry, kind: str, title: str) -> Described:
    status = "unknown" if kind == "outcome.unknown" else str(entry.get("status") or "unknown")
    if status == "rolled_back":
        return Described(kind, title, detail="everything was taken back", chip="rolled back", tone="quiet")
    if status not in ("ok", "uncommitted"):
        return Described(kind, title, detail=str(entry.get("error") or "nobody knows how it ended"), chip=status, tone="bad")
    parts = [f"{entry.get('rows', 0)} rows"]
    if changed := entry.get("rows_changed"):
        parts.append(f"{changed} changed")
    if type(entry.get("duration_us")) is int:
        parts.append(span_us(entry["duration_us"]))
    if entry.get("truncated"):
        parts.append("cut off by a limit")
    return Described(kind, title, detail=", ".join(parts), chip=status, tone="good" if status == "ok" else "quiet")


def _who(entry: Entry) -> str:
    agent, purpose = _part(entry, "agent").get("name"), entry.get("purpose")
    parts = [str(_part(entry, "principal").get("id") or "nobody")]
    parts += [f"through {agent}"] if agent else []
    return " ".join(parts + ([f"for {purpose}"] if purpose else []))


def _by(entry: Entry, name: str) -> str:
    return str(_part(entry, name).get("id") or "?")


def _rest(entry: Entry) -> str:
    """Names and plain values of an entry of another kind."""
    stamped = {"type", "v", "id", "time", "seq", "session", "writer", "sig", "commitments", "salts"}
    plain = [
        f"{name} {str(value)[:12] + '…' if _DIGEST.fullmatch(str(value)) else value}"
        for name, value in entry.items()
        if name not in stamped and isinstance(value, (str, int))
    ]
    return ", ".join(plain)[:300]


def _part(entry: Entry, name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, dict) else {}


def _word(entry: Entry, name: str) -> str:
    value = entry.get(name)
    return "?" if value is None else str(value)


def _tone(word: str) -> str:
    return _TONES.get(word, "quiet")
