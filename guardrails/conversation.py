"""What a ledger keeps of a conversation: that something was said, by whom and when; the text itself only sealed, beside the tree."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from guardrails.entries import JSON, Private
from guardrails.errors import UsageError
from guardrails.model import Context

__all__ = ["MESSAGE", "Role", "message_entry"]

Role: TypeAlias = Literal["user", "assistant", "system", "tool"]

MESSAGE = "message"
"""Type of the entries, and the name under which they commit to the text."""
_ROLES = frozenset(get_args(Role))


def message_entry(role: str, text: str, context: Context) -> tuple[dict[str, JSON], Private]:
    """Returns the entry of one message of the conversation, and the text that it commits to.

    Args:
        role: Who said it: ``user``, ``assistant``, ``system`` or ``tool``.
        text: What was said.
        context: The session that it belongs to.

    Raises:
        UsageError: There is no such role (usage.input_invalid).
    """
    if role not in _ROLES:
        raise UsageError("usage.input_invalid", f"A message is from one of {', '.join(sorted(_ROLES))}.")
    value = text.encode("utf-8", "backslashreplace")
    entry: dict[str, JSON] = {
        "type": MESSAGE,
        "session": context.session_id,
        "role": role,
        "bytes": len(value),
        "conversation": context.conversation_id,
        "tool": context.tool,
        "tool_call": context.tool_call_id,
    }
    return entry, {MESSAGE: value}
