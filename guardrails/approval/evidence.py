"""What the signed ledger says of one request: who answered it, and whether the answer was used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from guardrails.approval.approvers import is_same_person, person_key
from guardrails.approval.status import ApprovalStatus, Vote
from guardrails.errors import Denied
from guardrails.ledger import Ledger
from guardrails.ledger.entry import decode, parse_time
from guardrails.ledger.merkle import leaf_hash
from guardrails.model import ApprovalTerms

__all__ = ["Evidence"]

_USED = "approval.used"
_ENDED = "approval.window.ended"
_DECIDED = "approval.decided"


@dataclass(frozen=True, slots=True)
class _Said:
    """An entry of the ledger, with where it is."""

    index: int
    leaf_hash: str
    entry: Mapping[str, Any]


@dataclass(slots=True)
class Evidence:
    """The entries of one request, oldest first; see `Evidence.of`."""

    request_id: str
    answers: list[_Said] = field(default_factory=list)
    is_used: bool = False
    is_ended: bool = False

    @classmethod
    def of(cls, ledger: Ledger, request_id: str) -> Evidence:
        """Reads what the ledger says of a request.

        Raises:
            LedgerError: The ledger cannot be read, or was tampered with.
        """
        evidence = cls(request_id)
        for index, leaf in ledger.leaves(session=request_id):
            entry = decode(leaf)
            if entry.get("request") != request_id:
                continue
            kind = entry.get("type")
            evidence.is_used |= kind == _USED
            evidence.is_ended |= kind == _ENDED
            if kind == _DECIDED:
                evidence.answers.append(_Said(index, leaf_hash(leaf).hex(), entry))
        return evidence

    @property
    def votes(self) -> int:
        """How many different people have answered."""
        return len({person_key(_approver(said)) for said in self.answers})

    def require_yes(
        self, status: ApprovalStatus, now: int, *, requester: str | None = None, terms: ApprovalTerms | None = None
    ) -> None:
        """Checks that a request is approved, within its time and not used, by what the ledger says alone.

        Args:
            status: What the store says; each of its votes must be found in the ledger as it is.
            now: Unix seconds.
            requester: Who asked; none of the answers may be theirs.
            terms: How many people must have said yes, and of which groups.

        Raises:
            Denied: The ledger says otherwise (approval.forged).
        """
        if self.is_used:
            self._refuse("It was used already.")
        if self.is_ended:
            self._refuse("The window was ended.")
        if any(said.entry.get("answer") != "approved" for said in self.answers):
            self._refuse("Somebody said no.")
        asked = {person_key(name) for name in (status.request.requester, requester) if name}
        approvers: set[str] = set()
        times: list[int] = []
        for vote in status.votes:
            said = self._entry_of(vote)
            if said is None or said.entry.get("digest") != status.request.digest:
                self._refuse("An answer is not in the ledger as it is in the approvals.")
            person = person_key(vote.by)
            if person in asked or person_key(str(said.entry.get("requester", ""))) == person:
                self._refuse("An answer is the requester's own.")
            if terms and terms.groups and not set(terms.groups).intersection(_groups(said, terms)):
                self._refuse("An answer is not of somebody who may approve this.")
            if _number(said.entry, "expires_at", now + 1) <= now and status.request.kind != "grant":
                self._refuse("Its time is over.")
            approvers.add(person)
            times.append(parse_time(said.entry.get("time")) // 1_000_000)
        quorum = max(status.request.terms.quorum, terms.quorum if terms else 1, 1)
        if len(approvers) < quorum:
            self._refuse("Fewer people said yes than have to.")
        if status.request.kind == "grant":
            self._require_open(times, now, terms)

    def _require_open(self, times: list[int], now: int, terms: ApprovalTerms | None) -> None:
        """A window is open for as long as was asked for when people said yes, from when the last of them did."""
        asked_s = min(_number(said.entry, "window_s", 0) for said in self.answers)
        if terms:
            asked_s = min(asked_s, terms.window_s)
        if now >= max(times) + asked_s + _CLOCKS_S:
            self._refuse("The window is closed.")

    def _entry_of(self, vote: Vote) -> _Said | None:
        """Returns the entry that recorded a vote; one that an earlier release kept is found by who answered."""
        for said in self.answers:
            is_theirs = _approver(said) == vote.by or is_same_person(_approver(said), vote.by)
            is_there = vote.entry_index is None or (said.index, said.leaf_hash) == (vote.entry_index, vote.leaf_hash)
            if is_theirs and is_there and said.entry.get("answer") == vote.answer == "approved":
                return said
        return None

    def _refuse(self, why: str) -> NoReturn:
        evidence = {"request_id": self.request_id, "why": why}
        raise Denied("approval.forged", f"The ledger does not bear out the approval. {why}", evidence=evidence)


_CLOCKS_S = 2
"""The ledger stamps an answer a moment after the caller's clock was read."""


def _approver(said: _Said) -> str:
    approver = said.entry.get("approver")
    return str(approver.get("id", "")) if isinstance(approver, dict) else ""


def _groups(said: _Said, terms: ApprovalTerms) -> set[str]:
    approver = said.entry.get("approver")
    groups = approver.get("groups") if isinstance(approver, dict) else None
    # Entries of the first release do not list groups; the store's check at the answer has to do for the time they are good.
    return set(terms.groups) if groups is None else {str(group) for group in groups}


def _number(entry: Mapping[str, Any], name: str, default: int) -> int:
    found = entry.get(name, default)
    return found if isinstance(found, int) else default
