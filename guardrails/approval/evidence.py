"""What the signed ledger says of one request: that it was made so, who answered it, and whether the answer was used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from guardrails.approval.approvers import is_same_person, person_key
from guardrails.approval.recording import (
    DECIDED,
    REQUESTED,
    REVIEW_CLOSED,
    REVIEW_OPENED,
    USED,
    WINDOW_ENDED,
    committed_request,
    committed_sql,
    plain,
)
from guardrails.approval.status import ApprovalStatus, Review, Vote, VoteAnswer
from guardrails.errors import Denied
from guardrails.ledger import Ledger
from guardrails.ledger.entry import decode, parse_time
from guardrails.ledger.merkle import leaf_hash
from guardrails.model import ApprovalRequest, ApprovalTerms, Verification

__all__ = ["Evidence", "require_as_asked", "require_as_opened", "unclosed_reviews"]

_CLOCKS_S = 2
"""The ledger stamps an answer a moment after the caller's clock was read."""
_PAGE = 500
_REVIEW = b'"approval.review.'


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer's entry, with where it is."""

    index: int
    leaf_hash: str
    entry: Mapping[str, Any]

    @property
    def approver(self) -> Mapping[str, Any]:
        found = self.entry.get("approver")
        return found if isinstance(found, dict) else {}

    @property
    def by(self) -> str:
        return str(self.approver.get("id", ""))

    @property
    def at(self) -> int:
        return parse_time(self.entry.get("time")) // 1_000_000

    def number(self, name: str, default: int) -> int:
        found = self.entry.get(name, default)
        return found if type(found) is int else default


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
            evidence.is_used |= kind == USED
            evidence.is_ended |= kind == WINDOW_ENDED
            if kind == DECIDED:
                evidence.answers.append(_Said(index, leaf_hash(leaf).hex(), entry))
        return evidence

    @property
    def votes(self) -> int:
        """How many different people have answered."""
        return len({person_key(said.by) for said in self.answers})

    def answers_beside(self, status: ApprovalStatus) -> tuple[Vote, ...]:
        """Returns the answers that were recorded and that the store does not have. Their reasons are lost: only digests are here."""
        known = {vote.entry_index for vote in status.votes}
        return tuple(
            _vote(said)
            for said in self.answers
            if said.index not in known and said.entry.get("digest") == status.request.digest
        )

    def require_yes(
        self,
        status: ApprovalStatus,
        digest: str,
        now: int,
        *,
        requester: str | None = None,
        terms: ApprovalTerms | None = None,
    ) -> None:
        """Checks that a request is approved, within its time and not used, by what the ledger says alone.

        Args:
            status: What the store says; each of its votes must be found in the ledger as it is.
            digest: Of what is about to run: what people said yes to.
            now: Unix seconds.
            requester: Who asked; none of the answers may be theirs.
            terms: How many people must have said yes, of which groups, and how long a window may be.

        Raises:
            Denied: The ledger says otherwise (approval.forged).
        """
        if status.request.digest != digest:
            self.refuse("It is an approval of something else.")
        if self.is_used:
            self.refuse("It was used already.")
        if self.is_ended:
            self.refuse("The window was ended.")
        if any(said.entry.get("answer") != "approved" for said in self.answers):
            self.refuse("Somebody said no.")
        counted = [self._counted(vote, status, requester, terms) for vote in status.votes]
        quorum = max(
            status.request.terms.quorum, terms.quorum if terms else 1, *(said.number("quorum", 1) for said in counted), 1
        )
        if len({person_key(said.by) for said in counted}) < quorum:
            self.refuse("Fewer people said yes than have to.")
        if now >= _ends_at(counted, status.request, terms):
            self.refuse("Its time is over.")

    def refuse(self, why: str) -> NoReturn:
        """Raises Denied (approval.forged)."""
        raise _forged(self.request_id, why)

    def _counted(self, vote: Vote, status: ApprovalStatus, requester: str | None, terms: ApprovalTerms | None) -> _Said:
        """Returns the entry that bears out a vote."""
        said = self._entry_of(vote)
        request = status.request
        if said is None or said.entry.get("digest") != request.digest or said.entry.get("kind", "statement") != request.kind:
            self.refuse("An answer is not in the ledger as it is in the approvals.")
        if any(name and is_same_person(said.by, name) for name in (request.requester, requester, said.entry.get("requester"))):
            self.refuse("An answer is the requester's own.")
        if terms and terms.groups and not set(terms.groups).intersection(_groups(said, terms)):
            self.refuse("An answer is not of somebody who may approve this.")
        return said

    def _entry_of(self, vote: Vote) -> _Said | None:
        """Returns the entry that recorded a vote; one that an earlier release kept is found by who answered."""
        for said in self.answers:
            is_there = vote.entry_index is None or (said.index, said.leaf_hash) == (vote.entry_index, vote.leaf_hash)
            if is_there and is_same_person(said.by, vote.by) and said.entry.get("answer") == vote.answer == "approved":
                return said
        return None


def require_as_asked(ledger: Ledger, status: ApprovalStatus, request: ApprovalRequest) -> None:
    """Checks that a request is the one that was recorded, in every word that people are shown.

    Args:
        ledger: The ledger.
        status: Says where the request is recorded; where it does not, the ledger is searched back to when the request was made.
        request: What people are shown.

    Raises:
        Denied: It is not (approval.forged).
        LedgerError: The ledger cannot be read, or was tampered with.
    """
    index = status.entry_index if status.entry_index is not None else _searched(ledger, request)
    entry = ledger.entry(index) if index is not None and 0 <= index < ledger.size else {}
    facts = {"type": REQUESTED, "request": request.id, "digest": request.digest, "requester": plain(request.requester)}
    commitments = entry.get("commitments")
    if index is None or any(entry.get(name) != fact for name, fact in facts.items()) or not isinstance(commitments, dict):
        raise _forged(request.id, "The request is not in the ledger.")
    # The first release committed to the statement alone.
    name, value = ("request", committed_request(request)) if "request" in commitments else ("sql", committed_sql(request))
    if ledger.commitment_holds(index, name, value) is not True:
        raise _forged(request.id, "The request is not as it was asked.")


def require_as_opened(ledger: Ledger, review: Review) -> None:
    """Checks that a review is the one that was opened: of this request, of this person, to be closed by these groups.

    Raises:
        Denied: It is not (approval.forged).
        LedgerError: The ledger cannot be read, or was tampered with.
    """
    for index, leaf in ledger.leaves(session=review.id):
        entry = decode(leaf)
        if entry.get("type") == REVIEW_OPENED and entry.get("review") == review.id:
            if ledger.commitment_holds(index, "request", committed_request(review.request)) is not True:
                raise _forged(review.id, "The review is not as it was opened.")
            return
    raise _forged(review.id, "The review is not in the ledger.")


def unclosed_reviews(ledger: Ledger) -> set[str]:
    """Returns the ids of the reviews that the ledger has opened and not closed. Reads every entry.

    Raises:
        LedgerError: The ledger cannot be read, or was tampered with.
    """
    found: set[str] = set()
    for _, leaf in ledger.leaves(ledger.archived):
        if _REVIEW in leaf:
            entry = decode(leaf)
            if entry.get("type") == REVIEW_OPENED:
                found.add(str(entry.get("review")))
            elif entry.get("type") == REVIEW_CLOSED:
                found.discard(str(entry.get("review")))
    return found


def _searched(ledger: Ledger, request: ApprovalRequest) -> int | None:
    """Returns where a request is recorded, looking from the newest entry back to the time at which it was made."""
    end = ledger.size
    wanted = request.id.encode()
    while end > ledger.archived:
        start = max(end - _PAGE, ledger.archived)
        page = list(ledger.leaves(start, end))
        for index, leaf in reversed(page):
            if wanted in leaf and (entry := decode(leaf)).get("type") == REQUESTED and entry.get("request") == request.id:
                return index
        if parse_time(decode(page[0][1]).get("time")) // 1_000_000 < request.created_at - _CLOCKS_S:
            return None
        end = start
    return None


def _ends_at(counted: list[_Said], request: ApprovalRequest, terms: ApprovalTerms | None) -> int:
    """Until when a yes is good: as was recorded with it, and never longer than the store or the policy says now."""
    if request.kind != "grant":
        return min(request.expires_at, *(said.number("expires_at", request.expires_at) for said in counted))
    seconds = min(request.window_s, *(said.number("window_s", 0) for said in counted))
    if terms:
        seconds = min(seconds, terms.window_s)
    return max(said.at for said in counted) + seconds + _CLOCKS_S


def _groups(said: _Said, terms: ApprovalTerms) -> set[str]:
    groups = said.approver.get("groups")
    # Entries of the first release list no groups; that the store checked them has to do for the time that such a yes is good.
    return set(terms.groups) if groups is None else {str(group) for group in groups}


def _vote(said: _Said) -> Vote:
    issuer, verified = said.approver.get("issuer"), said.approver.get("verified", "unverified")
    answer: VoteAnswer = "approved" if said.entry.get("answer") == "approved" else "denied"
    return Vote(said.by, issuer, cast("Verification", verified), answer, "", said.at, said.index, said.leaf_hash)


def _forged(request_id: str, why: str) -> Denied:
    evidence = {"request_id": request_id, "why": why}
    return Denied("approval.forged", f"The ledger does not bear out the approval. {why}", evidence=evidence)
