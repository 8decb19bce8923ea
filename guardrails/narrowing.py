"""Narrowing what a judgement allows to the relations that a way in offers, such as a toolkit that was given a few tables.

It only ever refuses more: what the policy refuses stays refused.
"""

from __future__ import annotations

from collections.abc import Set

from guardrails.model import Decision, Reason
from guardrails.steps import Judgement

__all__ = ["narrowed"]


def narrowed(judgement: Judgement, offered: Set[str]) -> Judgement:
    """Returns a judgement that refuses whatever names another relation, or reads the description of the schema.

    Args:
        judgement: About a statement.
        offered: Keys of the relations that may be named. What a view of them reads is the view's affair.
    """
    decision = judgement.decision
    if decision.effect == "deny":
        return judgement
    access = decision.access
    if access is not None and not access.reads_schema:
        named = {use.relation for use in access.relations if use.via is None}
        if named <= offered:
            return judgement
    reason = Reason(
        "sql.relation_unknown", "It uses more than what is offered here.", "Use only the tables that are listed here."
    )
    refusal = Decision("deny", (reason,), policy_digest=decision.policy_digest, access=access)
    return Judgement(judgement.statement, refusal, normalised=judgement.normalised)
