"""Asking a person: requests bound to exactly what runs, answered once by somebody else, used once."""

from guardrails.approval.channel import Answer, CallbackChannel, Channel, TerminalChannel, WaitingChannel, ask_channel
from guardrails.approval.digest import request_digest
from guardrails.approval.store import ApprovalStatus, ApprovalStore

__all__ = [
    "Answer",
    "ApprovalStatus",
    "ApprovalStore",
    "CallbackChannel",
    "Channel",
    "TerminalChannel",
    "WaitingChannel",
    "ask_channel",
    "request_digest",
]
