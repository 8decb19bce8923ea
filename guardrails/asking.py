"""Asking for approval: use what was said yes to, file a request, ask the channel; every request, answer and exception is in the ledger.

In this order a statement that needs people's yes gets it, or does not run:

1. a yes to exactly this that nobody has used yet;
2. grants given ahead, one for each rule that asks;
3. breaking the glass, where the session does so and the policy lets it: a review is opened, and the channel told;
4. the channel's answer to a request that is filed now. Without one, the caller runs the same again later.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from guardrails import flow
from guardrails.approval import ApprovalDesk, Channel, Review, ask_channel, notify_channel
from guardrails.approval.digest import window_digest
from guardrails.as_json import decision_fields, json_value
from guardrails.entries import JSON, call_fields, scrubbed
from guardrails.errors import ApprovalRequired, Denied
from guardrails.model import ApprovalGrant, ApprovalRequest, ApprovalTerms, Context, Impact, Principal, RequestKind, Statement

__all__ = ["Approvals", "Asker", "database_label"]

_MOST_NAMES = 10


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: on whose behalf, through what and of which database; why the glass is broken, empty when it is not; what to check
    before going on."""

    principal: Principal
    context: Context
    database: Mapping[str, JSON]
    emergency: str = ""
    require_valid: Callable[[], None] = lambda: None


class Approvals:
    """How one guard asks: at a desk, through a channel, which it closes when it `owns_channel`."""

    def __init__(self, desk: ApprovalDesk, channel: Channel | None, *, owns_channel: bool = False) -> None:
        self.desk = desk
        self._channel = channel
        self._owns_channel = owns_channel

    def close(self) -> None:
        """Closes the desk's store, and the channel if it was opened for this guard."""
        close = getattr(self._channel, "close", None)
        if self._owns_channel and close is not None:
            close()
        self.desk.close()

    def seek(
        self, digest: str, judgement: flow.Judgement, asker: Asker, impact: Callable[[ApprovalTerms], Impact | None]
    ) -> ApprovalGrant:
        """Returns the permission to run what was judged.

        Args:
            digest: Binds what would run.
            judgement: With a decision of effect ``approve``.
            asker: Who asks.
            impact: Finds out what it would change, for the approvers.

        Raises:
            ApprovalRequired: Nobody has said yes yet; a request is filed.
            Denied: Somebody said no, nobody can be asked, or the glass may not be broken.
            IdentityError: The principal's token has expired while somebody was asked.
        """
        grant = self._held(digest, judgement, asker) or self._broken(digest, judgement, asker)
        if grant:
            return grant
        waiting = self.desk.waiting(digest, _now())
        request = waiting or self._file(_request(digest, judgement, asker, impact), asker)
        self._ask(request)
        asker.require_valid()
        grant = self.desk.consume(digest, _now(), requester=asker.principal.id, terms=_terms(judgement))
        if grant:
            return grant
        # What it would change is for the approvers: it may tell of rows that the requester must not know of.
        shown = replace(request, impact=None)
        raise ApprovalRequired(f"A person has to approve this first (request {request.id}).", request=shown)

    def ask(
        self, digest: str, judgement: flow.Judgement, asker: Asker, impact: Callable[[ApprovalTerms], Impact | None]
    ) -> ApprovalRequest | None:
        """Asks as `seek` does, and uses no permission: for a framework that pauses before it calls. Arguments as there.

        Returns:
            The request that waits, the same one however often it is asked; None when there is nothing to wait for, be it that a
            permission is there, that somebody said no, or that nobody can be asked: which of them, `seek` tells.
        """
        if asker.emergency or self._is_permitted(digest, judgement, asker):
            return None
        try:
            request = self.desk.waiting(digest, _now()) or self._file(_request(digest, judgement, asker, impact), asker)
            self._ask(request)
        except Denied:
            return None
        return None if self._is_permitted(digest, judgement, asker) else replace(request, impact=None)

    def open_request(self, digest: str, judgement: flow.Judgement, asker: Asker) -> ApprovalRequest | None:
        """Returns the request that what was judged waits for, without asking anybody; None when it waits for none."""
        if asker.emergency or self._is_permitted(digest, judgement, asker):
            return None
        request = self.desk.waiting(digest, _now())
        return replace(request, impact=None) if request is not None else None

    def ask_ahead(
        self, rule: str, terms: ApprovalTerms, seconds: int, why: str, policy_digest: str, asker: Asker
    ) -> ApprovalRequest:
        """Files a request for a grant ahead: for whatever a rule would ask approval for, within a time.

        Args:
            rule: Its id.
            terms: The rule's.
            seconds: For how long.
            why: What for; approvers read it.
            policy_digest: Of the policy in force.
            asker: Who asks.

        Raises:
            Denied: The policy lets none be given for so long (approval.window); somebody said no, or nobody can be asked.
        """
        if not 0 < seconds <= terms.window_s:
            longest = f"at most {terms.window_s} seconds" if terms.window_s else "no time"
            raise Denied("approval.window", f"The rule {rule} lets grants be given ahead for {longest}.")
        now = _now()
        request = self._file(
            ApprovalRequest(
                id=uuid.uuid4().hex,
                digest=window_digest(asker.principal, rule, policy_digest, asker.context, asker.database),
                requester=asker.principal.id,
                agent=asker.context.agent,
                purpose=asker.context.purpose,
                sql="",
                summary=f"whatever the rule {rule} asks approval for, for {seconds} seconds",
                terms=terms,
                created_at=now,
                expires_at=now + terms.expires_s,
                kind="grant",
                rules=(rule,),
                policy_digest=policy_digest,
                session_id=asker.context.session_id,
                why=why,
                window_s=seconds,
                requester_verified=asker.principal.verified,
                database=database_label(asker.database),
            ),
            asker,
        )
        self._ask(request)
        return self.desk.get(request.id)

    def _held(self, digest: str, judgement: flow.Judgement, asker: Asker) -> ApprovalGrant | None:
        """A yes to exactly this, or grants ahead for all rules that ask."""
        grant = self.desk.consume(digest, _now(), requester=asker.principal.id, terms=_terms(judgement))
        return grant or self._ahead(digest, judgement, asker)

    def _is_permitted(self, digest: str, judgement: flow.Judgement, asker: Asker) -> bool:
        return self.desk.is_approved(digest, _now()) or self._ahead(digest, judgement, asker) is not None

    def _ahead(self, digest: str, judgement: flow.Judgement, asker: Asker) -> ApprovalGrant | None:
        """Grants ahead for all rules that ask."""
        now, rules, terms = _now(), _asking_rules(judgement), _terms(judgement)
        requester, policy = asker.principal.id, judgement.decision.policy_digest
        if not rules or not terms.window_s:
            return None
        ahead = [window_digest(asker.principal, rule, policy, asker.context, asker.database) for rule in rules]
        found = [self.desk.windows(digest_ahead, now, requester=requester, terms=terms) for digest_ahead in ahead]
        windows = [window for window in found if window]
        if len(windows) < len(rules):
            return None
        last = windows[-1]
        people = tuple(dict.fromkeys(person for window in windows for person in window.approvers))
        return ApprovalGrant(last.request_id, digest, last.approver, last.reason, last.decided_at, "window", people)

    def _broken(self, digest: str, judgement: flow.Judgement, asker: Asker) -> ApprovalGrant | None:
        """The permission of who breaks the glass; None when nobody does.

        Raises:
            Denied: The policy does not let this principal, or a review of theirs is overdue (approval.break_glass).
        """
        if not asker.emergency:
            return None
        terms, principal, now = _terms(judgement), asker.principal, _now()
        glass = terms.break_glass
        if glass is None or principal.groups.isdisjoint(glass.groups):
            raise Denied("approval.break_glass", "The policy does not let this principal go ahead here without an approval.")
        if self.desk.overdue(principal.id, now):
            raise Denied("approval.break_glass", "A review of an earlier emergency of this principal is overdue.")
        request = _request(digest, judgement, asker, lambda _: None)
        review = Review(request.id, request, asker.emergency, now, now + glass.review_s)
        self.desk.open_review(review)
        notify_channel(self._channel, review)
        return ApprovalGrant(review.id, digest, principal.id, asker.emergency, now, "break_glass", (principal.id,))

    def _file(self, request: ApprovalRequest, asker: Asker) -> ApprovalRequest:
        return self.desk.submit(request, call_fields(asker.context))

    def _ask(self, request: ApprovalRequest) -> None:
        """Asks the channel, and takes its answer to the desk.

        Raises:
            Denied: The answer is no, does not count, or nobody could be asked.
        """
        answer = ask_channel(self._channel, request) if self._channel else None
        if answer is None:
            return
        decide = self.desk.approve if answer.is_approved else self.desk.deny
        decide(request.id, answer.by, answer.reason, _now())
        if not answer.is_approved:
            raise Denied("approval.denied", "The approver said no.")


def _request(
    digest: str, judgement: flow.Judgement, asker: Asker, impact: Callable[[ApprovalTerms], Impact | None]
) -> ApprovalRequest:
    terms, now, context = _terms(judgement), _now(), asker.context
    return ApprovalRequest(
        id=uuid.uuid4().hex,
        digest=digest,
        requester=asker.principal.id,
        agent=context.agent,
        purpose=context.purpose,
        sql=judgement.asked[0],
        summary=_summary(judgement),
        terms=terms,
        created_at=now,
        expires_at=now + terms.expires_s,
        kind=_kind(judgement),
        rules=_asking_rules(judgement),
        policy_digest=judgement.decision.policy_digest,
        session_id=context.session_id,
        statement=_shown_statement(judgement),
        understood=_understood(judgement),
        impact=impact(terms),
        row_filters=judgement.decision.obligations.row_filters,
        requester_verified=asker.principal.verified,
        database=database_label(asker.database) if judgement.plan is not None else "",
    )


def _shown_statement(judgement: flow.Judgement) -> Statement:
    """What approvers are shown: an action's arguments as the policy lets them see them."""
    statement, display = judgement.statement, judgement.display
    return replace(statement, params=display.for_approver()) if judgement.action and display is not None else statement


def _understood(judgement: flow.Judgement) -> dict[str, object]:
    """The decision as fields, with the text that shows no literal, for those who may not read what would run."""
    normalised = judgement.normalised
    fields: dict[str, object] = decision_fields(None, judgement.decision)
    if judgement.display is not None and not judgement.action:
        fields["arguments"] = json_value(judgement.display.for_approver())
    return fields | {"normalised": scrubbed(normalised) if normalised else None}


def database_label(database: Mapping[str, JSON]) -> str:
    """Returns a database as people are shown it: its name, and the role that statements run as."""
    role = database.get("role")
    return f"{database.get('name', '')}" + (f" as {role}" if role else "")


def _kind(judgement: flow.Judgement) -> RequestKind:
    if judgement.is_action:
        return "reveal"
    return "statement" if judgement.plan is not None else "action"


def _terms(judgement: flow.Judgement) -> ApprovalTerms:
    return judgement.decision.obligations.approval or ApprovalTerms()


def _asking_rules(judgement: flow.Judgement) -> tuple[str, ...]:
    return tuple(reason.rule for reason in judgement.decision.reasons if reason.code == "approval.required" and reason.rule)


def _summary(judgement: flow.Judgement) -> str:
    access = judgement.decision.access
    if access is None:
        return ""
    told = [f"writes {', '.join(map(str, access.writes[:_MOST_NAMES]))}"] if access.writes else []
    lifted = judgement.decision.obligations.lifted
    told += [f"reads the real values of {', '.join(map(str, lifted[:_MOST_NAMES]))}"] if lifted else []
    return "; ".join([" and ".join(access.actions), *told])


def _now() -> int:
    return int(time.time())
