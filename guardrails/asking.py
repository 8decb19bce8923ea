"""Asking for approval: use a grant that is there, file a request, ask the channel; every request and answer is in the ledger."""

from __future__ import annotations

import functools
import time
import uuid

from guardrails import flow
from guardrails.approval import ApprovalStore, Channel, ask_channel
from guardrails.errors import ApprovalRequired, Denied
from guardrails.ledger import Ledger
from guardrails.model import ApprovalGrant, ApprovalRequest, ApprovalTerms, Context, Principal

__all__ = ["Approvals"]


class Approvals:
    """The approvals of one guard: its store, its channel, and the ledger that records them."""

    def __init__(self, store: ApprovalStore, ledger: Ledger, channel: Channel | None) -> None:
        self._store = store
        self._ledger = ledger
        self._channel = channel

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def pending(self) -> list[ApprovalRequest]:
        """Returns the requests that wait for a person, oldest first."""
        return list(self._store.pending(now=_now()))

    def approve(self, request_id: str, by: Principal, reason: str) -> None:
        """Says yes; see `Guard.approve`."""
        self._store.approve(request_id, by, reason, _now(), record=functools.partial(self._record, "approved", by, reason))

    def deny(self, request_id: str, by: Principal, reason: str) -> None:
        """Says no; see `Guard.deny`."""
        self._store.deny(request_id, by, reason, _now(), record=functools.partial(self._record, "denied", by, reason))

    def seek(self, digest: str, judgement: flow.Judgement, principal: Principal, context: Context) -> ApprovalGrant:
        """Uses a grant that is there, or files a request and asks the channel; without an answer, raises ApprovalRequired."""
        grant = self._store.consume(digest, now=_now())
        if grant:
            return grant
        request = self._file(digest, judgement, principal, context)
        answer = ask_channel(self._channel, request) if self._channel else None
        if answer is not None:
            decide = self.approve if answer.is_approved else self.deny
            decide(request.id, answer.by, answer.reason)
            if not answer.is_approved:
                raise Denied("approval.denied", "The approver said no.", decision=judgement.decision)
        grant = self._store.consume(digest, now=_now())
        if grant:
            return grant
        raise ApprovalRequired(f"A person has to approve this first (request {request.id}).", request=request)

    def _file(self, digest: str, judgement: flow.Judgement, principal: Principal, context: Context) -> ApprovalRequest:
        terms = judgement.decision.obligations.approval or ApprovalTerms()
        now = _now()
        access = judgement.decision.access
        wanted = ApprovalRequest(
            id=uuid.uuid4().hex,
            digest=digest,
            requester=principal.id,
            agent=context.agent,
            purpose=context.purpose,
            sql=judgement.asked[0],
            summary=_summary(access.actions if access else (), [str(c) for c in access.writes] if access else []),
            terms=terms,
            created_at=now,
            expires_at=now + terms.expires_s,
        )
        request = self._store.submit(wanted)
        if request.id == wanted.id:
            self._ledger.append(
                {
                    "type": "approval.requested",
                    "session": context.session_id,
                    "request": request.id,
                    "digest": digest,
                    "requester": request.requester,
                    "expires_at": request.expires_at,
                },
                private={"sql": request.sql.encode("utf-8", "backslashreplace")},
            )
        return request

    def _record(self, answer: str, by: Principal, reason: str, request: ApprovalRequest) -> None:
        self._ledger.append(
            {
                "type": "approval.decided",
                "session": request.id,
                "request": request.id,
                "digest": request.digest,
                "answer": answer,
                "approver": {"id": by.id, "issuer": by.issuer, "verified": by.verified},
            },
            private={"reason": reason.encode("utf-8", "backslashreplace")},
        )


def _summary(actions: tuple[str, ...], writes: list[str]) -> str:
    return " and ".join(actions) + (f"; writes {', '.join(writes[:10])}" if writes else "")


def _now() -> int:
    return int(time.time())
