"""Resolving a token for a person: decided by the policy, recorded before and after, run as a plan like any other.

The value is looked for among the rows that the principal may see, under the current mask key and all earlier ones. What is recorded
names the column; the token and the reason are committed to, and the value is in no entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from guardrails.entries import JSON
from guardrails.errors import Denied, StatementError, UsageError
from guardrails.flow import Flow, Judgement, run
from guardrails.lookups import lookup_plan, reading
from guardrails.masking.masked_text import is_token
from guardrails.masking.types import ColumnType, column_type
from guardrails.model import (
    Access,
    Column,
    ColumnRef,
    Context,
    Decision,
    DialectName,
    Mask,
    MaskExpression,
    Principal,
    Reason,
    RelationUse,
    Statement,
    Value,
)
from guardrails.policy import BoundPolicy, decide_reveal, named_column, revealed_mask

__all__ = ["judge_reveal", "run_reveal"]

MasksSql = Callable[[Mask, Column], Sequence[MaskExpression]]

_ACTION = "reveal"
_UNKNOWN = "mask.token_unknown"
_MOST_BITS = 64
_NOWHERE = ColumnRef("", "")


def judge_reveal(
    token: Value,
    column: str,
    reason: str,
    policy: BoundPolicy,
    principal: Principal,
    context: Context,
    masks_sql: MasksSql,
) -> Judgement:
    """Decides whether the principal may have a token resolved, and how the value is found. Pure.

    Args:
        token: What the principal was shown.
        column: ``relation.column``, as the policy would name it.
        reason: Why; recorded as a commitment, and shown to who approves.
        policy: The policy, bound to the schema.
        principal: On whose behalf.
        context: Agent, session, purpose.
        masks_sql: Gives a mask as SQL for a column, once under each key.

    Returns:
        The judgement; who may not is told the same of every column, whether it exists or not.

    Raises:
        UsageError: There is no reason (usage.input_invalid).
    """
    if not reason.strip():
        raise UsageError("usage.input_invalid", "A reason has to be given.")
    named = named_column(column, policy.catalog)
    ref = named or _NOWHERE
    decision = decide_reveal(ref, reason, reading(ref), policy, principal, context)
    given: dict[str, Value] = {"column": column, "token": token, "reason": reason}
    shown = token.hex() if isinstance(token, bytes) else str(token)
    statement = Statement(f"{_ACTION} {column} of {shown}: {reason}", given, policy.catalog.dialect)
    recorded = Access("other", (_ACTION,))
    if named:
        recorded = replace(recorded, relations=(RelationUse(ref.relation, _ACTION),), reads=(ref,))
    text = f"{_ACTION} {named}" if named else _ACTION
    judged = Judgement(statement, replace(decision, access=recorded), normalised=text, is_action=True)
    if decision.effect == "deny":
        return judged
    mask = revealed_mask(ref, policy, principal, context)
    relation = policy.catalog.relations[ref.relation]
    described = next(c for c in relation.columns if c.name == ref.column)
    if mask is None or relation.kind != "table":
        return _denied(judged, "mask.unsupported", f"Tokens of {ref} cannot be resolved: it is no column of a table.")
    stored = _stored(token, mask, column_type(described, policy.catalog.dialect), policy.catalog.dialect)
    if stored is None:
        return _denied(judged, _UNKNOWN, f"This is no token of {ref}.")
    try:
        plan = lookup_plan(ref, stored, masks_sql(mask, described), decision, policy)
    except StatementError as error:
        return _denied(judged, error.code, error.message, error.hint)
    return replace(judged, plan=plan, decision=replace(judged.decision, sql=plan.sql))


def run_reveal(judgement: Judgement, principal: Principal, context: Context, database: dict[str, JSON]) -> Flow:
    """Carries the judgement out as `guardrails.flow.run` does, without the second net: the value is what was asked for.

    Returns:
        A result of one column, ``value``, and one row.

    Raises:
        Denied: Also when the token stands for no value that the principal may see, or for several (``mask.token_unknown``).
    """
    result = yield from run(judgement, principal, context, database, scan=False)
    if len(result.rows) != 1:
        message = (
            "The token stands for several values." if result.rows else "No value that this principal may see has this token."
        )
        refused = _denied(judgement, _UNKNOWN, message).decision
        raise Denied(_UNKNOWN, message, decision=refused, receipt=result.receipt)
    return result


def _denied(judged: Judgement, code: str, message: str, hint: str = "") -> Judgement:
    decision = judged.decision
    refusal = Decision("deny", (Reason(code, message, hint),), policy_digest=decision.policy_digest, access=decision.access)
    return replace(judged, decision=refusal)


def _stored(token: Value, mask: Mask, type_: ColumnType, dialect: DialectName) -> Value | None:
    """Returns a token in the form in which the engine compares it; None for what no token of the mask looks like."""
    try:
        match type_.family, token:
            case "text", str():
                # A column of fixed length pads it.
                return token if is_token(mask.kind, token.rstrip(" ")) else None
            case "integer", (int() | str()) if not isinstance(token, bool):
                number = int(token)
                return number if 0 <= number < 2 ** (_MOST_BITS - 1) else None
            case "uuid", (UUID() | str()):
                value = UUID(str(token))
                return str(value) if dialect == "mysql" else value
            case "bytes", (bytes() | str()):
                return token if isinstance(token, bytes) else bytes.fromhex(token)
    except ValueError:
        return None
    return None
