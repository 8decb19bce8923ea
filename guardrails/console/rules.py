"""The policy as people read it: each rule with its line in the file, what its names mean in the schema, and when it last decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from guardrails.console.context import Console
from guardrails.console.projection.queries import Queries
from guardrails.console.projection.rows import RuleHits
from guardrails.errors import PolicyError, UsageError
from guardrails.model import ApprovalRequest
from guardrails.policy import BoundPolicy, Policy, read_policy_text
from guardrails.policy.document import read_document
from guardrails.policy.schema import Rule

__all__ = ["RuleShown", "policy_of", "rules_shown"]


@dataclass(frozen=True, slots=True)
class RuleShown:
    """A rule of the policy.

    Args:
        rule: As written.
        line: Where it stands in the file, from 1; 0 where that is not known.
        relations: Keys of the relations that it is about; None for every one, and where no schema is known.
        hits: How often it decided; None where it never did, or nobody counts.
        waiting: How many requests that it asks for wait for an answer.
    """

    rule: Rule
    line: int = 0
    relations: tuple[str, ...] | None = None
    hits: RuleHits | None = None
    waiting: int = 0


def policy_of(console: Console) -> Policy:
    """Returns the policy in force.

    Raises:
        UsageError: The console knows none (usage.file_missing).
    """
    if console.policy is not None:
        return console.policy
    if console.guard is not None:
        return console.guard.policy
    raise UsageError("usage.file_missing", "This console was started without a policy.")


def rules_shown(
    policy: Policy,
    bound: BoundPolicy | None = None,
    queries: Queries | None = None,
    waiting: Iterable[ApprovalRequest] = (),
) -> tuple[RuleShown, ...]:
    """Returns the rules in the file's order.

    Args:
        policy: The policy.
        bound: The same, held against the schema.
        queries: Of the projection, which counts how often each rule decided.
        waiting: Requests that wait for an answer.
    """
    lines = _lines(policy)
    meant = {b.rule.id: None if b.relations is None else tuple(sorted(b.relations)) for b in bound.rules} if bound else {}
    hits = {hit.rule: hit for hit in queries.rule_hits()} if queries is not None else {}
    asked = Counter(id_ for request in waiting for id_ in request.rules)
    return tuple(
        RuleShown(rule, lines[index] if lines else 0, meant.get(rule.id), hits.get(rule.id), asked[rule.id])
        for index, rule in enumerate(policy.file.rules)
    )


def _lines(policy: Policy) -> tuple[int, ...]:
    """The lines in which the rules begin; none where the file is not there, or does not say any more what is in force."""
    if not Path(policy.source).is_file():
        return ()
    try:
        text = read_policy_text(policy.source)
        if Policy.from_text(text).digest != policy.digest:
            return ()
        document = read_document(text, policy.source)
    except (PolicyError, UsageError):
        return ()
    return tuple(document.place(("rules", index)).line for index in range(len(policy.file.rules)))
