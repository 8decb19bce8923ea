"""Who looks at the console, and what of a request they may see and do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from guardrails.approval.approvers import is_same_person, require_approver
from guardrails.console.settings import ConsoleSettings
from guardrails.errors import Denied, GuardrailsError, IdentityError
from guardrails.model import ApprovalRequest, Principal

__all__ = ["Role", "Viewer", "roles_of"]

Role: TypeAlias = Literal["viewer", "approver", "auditor"]


@dataclass(frozen=True, slots=True)
class Viewer:
    """A person who is signed in.

    Args:
        principal: Who it is, and how that is known.
        roles: What they may do here.
        csrf_token: What their forms carry, so that no other site can send one in their name.
    """

    principal: Principal
    roles: frozenset[Role]
    csrf_token: str = ""

    def has_role(self, role: Role) -> bool:
        return role in self.roles

    def is_requester(self, request: ApprovalRequest) -> bool:
        """Tells whether it is their own request."""
        return is_same_person(self.principal.id, request.requester)

    def objection(self, request: ApprovalRequest) -> GuardrailsError | None:
        """Returns why this viewer may not answer a request, whatever its state; None when they may."""
        if "approver" not in self.roles:
            return Denied("approval.not_approver", "Your groups may not answer requests in this console.")
        try:
            require_approver(request, self.principal, "a reason", is_yes=True)
        except (Denied, IdentityError) as error:
            return error
        return None

    def may_read(self, request: ApprovalRequest) -> bool:
        """Tells whether they may see the statement with its values: who may answer it, and who asked."""
        return self.is_requester(request) or self.objection(request) is None


def roles_of(principal: Principal, settings: ConsoleSettings) -> frozenset[Role]:
    """Returns the roles that a principal's groups give; none at all for who may not look."""
    groups = principal.groups
    if settings.viewer_groups and not groups & (settings.viewer_groups | settings.approver_groups | settings.auditor_groups):
        return frozenset()
    roles: set[Role] = {"viewer"}
    if not settings.approver_groups or groups & settings.approver_groups:
        roles.add("approver")
    if groups & settings.auditor_groups:
        roles.add("auditor")
    return frozenset(roles)
