"""Operations about the policy: what it says, to those who may see it, and what it would say about a statement."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from guardrails.console.api.models import (
    FatedColumn,
    FatedPiece,
    FatedRelation,
    JudgedAnswer,
    PolicyAnswer,
    ReasonAnswer,
    RuleAnswer,
    ViewerAnswer,
)
from guardrails.console.api.operations import Call, Given, Label, Nothing, operation
from guardrails.console.colouring import ColouredColumn, ColouredRelation
from guardrails.console.dry_run import Asked, dry_run
from guardrails.console.rules import policy_of, rules_shown
from guardrails.errors import IdentityError, UsageError
from guardrails.model import Principal

__all__ = ["OPERATIONS"]

_Value = str | bool | int | Annotated[float, Field(allow_inf_nan=False)] | None
_Sql = Annotated[str, StringConstraints(max_length=100_000)]


class _Principal(Given):
    """As whom a statement is tried."""

    id: Label
    """Of the person."""
    groups: Annotated[tuple[Label, ...], Field(max_length=200)] = ()
    """Their groups."""
    attributes: Annotated[dict[str, _Value], Field(max_length=100, default_factory=dict)]
    """What else is known of them."""
    issuer: Label | None = None
    """Who vouches for them."""


class _Check(Given):
    """A statement that is tried."""

    sql: _Sql
    """One statement."""
    params: Annotated[dict[str, _Value] | tuple[_Value, ...], Field(max_length=1000, default_factory=dict)]
    """Bound values, by name or by position."""
    principal: _Principal | None = None
    """As somebody else, which auditors may; as the caller when null."""
    agent: Label | None = None
    """Through which agent."""
    purpose: Label | None = None
    """For which purpose."""


@operation("GET", "/me", ViewerAnswer)
def get_me(call: Call[Nothing, Nothing]) -> ViewerAnswer:
    """Returns who calls."""
    principal = call.viewer.principal
    return ViewerAnswer(
        id=principal.id,
        groups=sorted(principal.groups),
        issuer=principal.issuer,
        verified=principal.verified,
        roles=sorted(call.viewer.roles),
    )


@operation("GET", "/policy", PolicyAnswer, roles=("auditor",), statuses=(400, 409, 502, 503))
def get_policy(call: Call[Nothing, Nothing]) -> PolicyAnswer:
    """Returns the policy in force."""
    policy = policy_of(call.console)
    return PolicyAnswer(
        digest=policy.digest,
        rules=[
            RuleAnswer(line=shown.line, rule=shown.rule.model_dump(mode="json", by_alias=True, exclude_defaults=True))
            for shown in rules_shown(policy)
        ],
        columns={
            name: rule.model_dump(mode="json", by_alias=True, exclude_none=True) for name, rule in policy.file.columns.items()
        },
        rows={name: rule.model_dump(mode="json", by_alias=True, exclude_none=True) for name, rule in policy.file.rows.items()},
        limits=policy.file.limits.model_dump(mode="json"),
        purposes={name: rule.description if rule else "" for name, rule in policy.file.purposes.items()},
    )


@operation("POST", "/check", JudgedAnswer, body=_Check, statuses=(400, 409, 502, 503))
def check_statement(call: Call[Nothing, _Check]) -> JudgedAnswer:
    """Decides about a statement as the guard would; runs nothing and records nothing."""
    guard, body, is_auditor = call.console.guard, call.body, call.viewer.has_role("auditor")
    if guard is None:
        raise UsageError("usage.no_schema", "This console has no access to the guarded database.")
    principal = call.viewer.principal
    if body.principal is not None:
        if not is_auditor:
            raise IdentityError("identity.role_missing", "Your groups may not try a statement as somebody else.")
        given = body.principal
        principal = Principal(given.id, frozenset(given.groups), dict(given.attributes), given.issuer)
    found = dry_run(guard, Asked(body.sql, principal, body.params, body.agent, body.purpose), is_whole=is_auditor)
    fields = found.fields
    return JudgedAnswer(
        **fields | {"reasons": [ReasonAnswer(**reason) for reason in fields["reasons"]]},
        relations=[_relation(relation) for relation in found.colours.relations],
        pieces=[FatedPiece(text=piece.text, fate=piece.fate, title=piece.title) for piece in found.pieces],
        is_whole=found.is_whole,
    )


def _relation(relation: ColouredRelation) -> FatedRelation:
    return FatedRelation(
        name=relation.relation,
        fate=relation.fate,
        actions=list(relation.actions),
        via=list(relation.via),
        is_filtered=bool(relation.filters),
        filters=[predicate for predicate in relation.filters if predicate],
        columns=[_column(column) for column in relation.columns],
    )


def _column(column: ColouredColumn) -> FatedColumn:
    return FatedColumn(
        name=column.column.column, fate=column.fate, uses=list(column.uses), mask=column.mask, exception=column.exception
    )


OPERATIONS = (get_me, get_policy, check_statement)
