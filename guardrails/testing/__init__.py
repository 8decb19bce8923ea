"""A scripted model on loopback, so that agents can be tested with their vendors' own clients, without a key or a network."""

from guardrails.testing.conversation import Conversation, Failure, ToolCall, Turn, refusal_code
from guardrails.testing.follow import Script, Step, follow
from guardrails.testing.loopback import only_loopback
from guardrails.testing.server import ModelServer, Request

__all__ = [
    "Conversation",
    "Failure",
    "ModelServer",
    "Request",
    "Script",
    "Step",
    "ToolCall",
    "Turn",
    "follow",
    "only_loopback",
    "refusal_code",
]
