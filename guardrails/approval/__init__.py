"""Asking a person: requests bound to exactly what runs, answered once by somebody else, used once."""

from guardrails.approval.channel import (
    Answer,
    CallbackChannel,
    Channel,
    ChannelGroup,
    PendingChannel,
    WaitingChannel,
    ask_channel,
    tell_channel,
)
from guardrails.approval.digest import request_digest
from guardrails.approval.notice import Notice
from guardrails.approval.store import ApprovalStatus, ApprovalStore
from guardrails.approval.terminal import TerminalChannel

__all__ = [
    "Answer",
    "ApprovalStatus",
    "ApprovalStore",
    "CallbackChannel",
    "Channel",
    "ChannelGroup",
    "Notice",
    "PendingChannel",
    "TerminalChannel",
    "WaitingChannel",
    "ask_channel",
    "request_digest",
    "tell_channel",
]
