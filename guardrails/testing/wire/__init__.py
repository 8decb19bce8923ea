"""The wire formats of three model APIs, each as a reader of requests and a writer of answers: pure functions over JSON.

Sources: OpenAI's Chat Completions and Responses, Anthropic's Messages (version 2023-06-01), their streams as server-sent events.
Only what tool-calling clients use is written; a request that is not understood raises ValueError.
"""

from collections.abc import Mapping
from types import MappingProxyType

from guardrails.testing.wire.chat import CHAT
from guardrails.testing.wire.format import ServerEvent, Unsupported, WireFormat
from guardrails.testing.wire.messages import MESSAGES
from guardrails.testing.wire.responses import RESPONSES

__all__ = ["FORMATS", "ServerEvent", "Unsupported", "WireFormat"]

FORMATS: Mapping[str, WireFormat] = MappingProxyType(
    {"/v1/chat/completions": CHAT, "/v1/responses": RESPONSES, "/v1/messages": MESSAGES}
)
"""By the path that clients post to."""
