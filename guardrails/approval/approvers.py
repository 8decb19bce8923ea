"""Who may answer a request: somebody else than the requester, of the groups that the terms name."""

from __future__ import annotations

import unicodedata

from guardrails.errors import Denied, IdentityError
from guardrails.model import ApprovalRequest, Principal

__all__ = ["is_same_person", "person_key", "require_approver"]


def require_approver(request: ApprovalRequest, by: Principal, reason: str, *, is_yes: bool) -> None:
    """Checks that `by` may answer a request, with this reason.

    Raises:
        Denied: `by` is the requester (approval.self); not in a group of the terms, a workload or an agent that acts for somebody, the
            agent that asked, or merely named where the requester is known by more than a name (approval.not_approver); or says yes
            without the reason that the terms ask for (approval.reason_required).
        IdentityError: `by` has no id (identity.principal_invalid).
    """
    if not person_key(by.id):
        raise IdentityError("identity.principal_invalid", "The approver has no id.")
    if is_same_person(by.id, request.requester):
        raise Denied("approval.self", "Requesters cannot answer their own request.")
    if by.actors or by.verified == "spiffe" or (request.agent and is_same_person(by.id, request.agent)):
        raise Denied("approval.not_approver", "Neither an agent nor a workload can answer; a person has to.")
    if by.verified == "unverified" and request.requester_verified != "unverified":
        raise Denied("approval.not_approver", "The approver has to sign in, as the requester has.")
    if request.terms.groups and not by.groups.intersection(request.terms.groups):
        raise Denied("approval.not_approver", "The approver is not in any of the groups that may answer this request.")
    if is_yes and request.terms.reason_required and not reason.strip():
        raise Denied("approval.reason_required", "An approval of this request needs a reason.")


def is_same_person(one: str, other: str) -> bool:
    """Tells whether two ids differ only in case, compatibility forms, blanks or characters that do not show."""
    return person_key(one) == person_key(other)


def person_key(id_: str) -> str:
    """Returns what is the same for all ways of writing one person's id; empty where nothing of it shows."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", id_).casefold())
    return "".join(character for character in folded if unicodedata.category(character)[0] not in "CZ")
