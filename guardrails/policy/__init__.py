"""The policy decision point: the policy file, its binding to a schema, and the decision."""

from guardrails.policy.binding import BoundPolicy
from guardrails.policy.decide import decide, decide_action, decide_reveal
from guardrails.policy.load import Policy, read_policy_text
from guardrails.policy.names import named_column
from guardrails.policy.obligations import revealed_mask, stored_mask, terms_of
from guardrails.policy.schema import PolicyFile, policy_schema
from guardrails.policy.seen import SeenColumn, SeenRelation, seen
from guardrails.policy.stores import require_kept_protection
from guardrails.policy.tells import require_silence
from guardrails.policy.tools import treatments_of
from guardrails.policy.visible import visible

__all__ = [
    "BoundPolicy",
    "Policy",
    "PolicyFile",
    "SeenColumn",
    "SeenRelation",
    "decide",
    "decide_action",
    "decide_reveal",
    "named_column",
    "policy_schema",
    "read_policy_text",
    "require_kept_protection",
    "require_silence",
    "revealed_mask",
    "seen",
    "stored_mask",
    "terms_of",
    "treatments_of",
    "visible",
]
