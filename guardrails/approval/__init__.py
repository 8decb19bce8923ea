"""Asking a person: requests bound to exactly what runs, answered once by somebody else, used once."""

from guardrails.approval.channel import Answer, CallbackChannel, Channel, TerminalChannel, WaitingChannel, ask_channel
from guardrails.approval.desk import ApprovalDesk
from guardrails.approval.digest import request_digest
from guardrails.approval.status import ApprovalStatus, Review, State, Vote
from guardrails.approval.store import ApprovalStore

__all__ = [
    "Answer",
    "ApprovalDesk",
    "ApprovalStatus",
    "ApprovalStore",
    "CallbackChannel",
    "Channel",
    "Review",
    "State",
    "TerminalChannel",
    "Vote",
    "WaitingChannel",
    "ask_channel",
    "request_digest",
]
