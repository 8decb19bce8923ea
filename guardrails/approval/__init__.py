"""Asking a person: requests bound to exactly what runs, answered once by somebody else, used once."""

from guardrails.approval.channel import (
    Answer,
    CallbackChannel,
    Channel,
    ChannelGroup,
    PendingChannel,
    WaitingChannel,
    ask_channel,
    notify_channel,
    tell_channel,
)
from guardrails.approval.desk import ApprovalDesk
from guardrails.approval.digest import request_digest
from guardrails.approval.notice import Notice
from guardrails.approval.status import ApprovalStatus, Review, State, Vote
from guardrails.approval.store import ApprovalStore
from guardrails.approval.terminal import TerminalChannel

__all__ = [
    "Answer",
    "ApprovalDesk",
    "ApprovalStatus",
    "ApprovalStore",
    "CallbackChannel",
    "Channel",
    "ChannelGroup",
    "Notice",
    "PendingChannel",
    "Review",
    "State",
    "TerminalChannel",
    "Vote",
    "WaitingChannel",
    "ask_channel",
    "notify_channel",
    "request_digest",
    "tell_channel",
]
