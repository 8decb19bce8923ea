"""The policy decision point: the policy file, its binding to a schema, and the decision."""

from guardrails.policy.bind import BoundPolicy
from guardrails.policy.decide import decide, decide_action
from guardrails.policy.load import Policy
from guardrails.policy.schema import PolicyFile

__all__ = ["BoundPolicy", "Policy", "PolicyFile", "decide", "decide_action"]
