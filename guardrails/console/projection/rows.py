"""What the projection answers: rows of lists, and figures, as the pages show them."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["EntryRow", "LatencyRow", "RuleHits", "SessionFilter", "SessionRow", "Tally", "session_address"]

_PLAIN = re.compile(r"(?!\d+$)\w[\w-]{0,99}", re.ASCII)


def session_address(session_id: str, first: int) -> str:
    """Returns what stands for a session in an address: its id where that is a plain one, otherwise the index of its first entry."""
    return session_id if _PLAIN.fullmatch(session_id) else str(first)


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions are wanted; an empty text stands for all."""

    principal: str = ""
    agent: str = ""
    conversation: str = ""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session: who acted through what, when, and how often.

    Args:
        first: Index of its first entry, by which sessions are ordered.
        id: Its id.
        last: Index of its latest entry.
        began_us: Unix microseconds of its first entry.
        last_us: Unix microseconds of its latest entry.
        principal: Who acted; None where no entry says so.
        issuer: Who vouches for that.
        verified: How it was verified.
        agent: Through which agent.
        model: With which model.
        purpose: What for.
        conversation: The framework's id of the conversation.
        statements: Intents.
        refused: Refusals.
        asked: Requests for approval.
        failed: Outcomes with an error.
        unknown: Outcomes that nobody knows.
        messages: Messages of the conversation.
        rows: Rows returned.
        rows_changed: Rows changed.
    """

    first: int
    id: str
    last: int
    began_us: int
    last_us: int
    principal: str | None
    issuer: str | None
    verified: str | None
    agent: str | None
    model: str | None
    purpose: str | None
    conversation: str | None
    statements: int
    refused: int
    asked: int
    failed: int
    unknown: int
    messages: int
    rows: int
    rows_changed: int

    @property
    def address(self) -> str:
        """What stands for it in an address."""
        return session_address(self.id, self.first)


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry in a list: its index, kind, session and principal, its time in Unix microseconds, and its session's first entry."""

    index: int
    kind: str
    session: str | None
    principal: str | None
    time_us: int
    session_first: int | None = None

    @property
    def session_address(self) -> str:
        """What stands for its session in an address."""
        return session_address(self.session or "", self.session_first or 0)


@dataclass(frozen=True, slots=True)
class RuleHits:
    """How often a rule decided, and at which entry last; `last_us` in Unix microseconds."""

    rule: str
    allowed: int
    asked: int
    refused: int
    last: int
    last_us: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many there were of a name, for a subject, in a bucket of time that begins at so many Unix seconds."""

    bucket: int
    subject: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """How many outcomes took from `from_us` to below `to_us` microseconds."""

    from_us: int
    to_us: int
    count: int
