"""A script for the usual case: the model's turns one after the other, whatever the tools answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from guardrails.errors import UsageError
from guardrails.testing.conversation import Conversation, Failure, Turn

__all__ = ["Script", "Step", "follow"]

Script: TypeAlias = Callable[[Conversation], Turn | Failure]
"""Gives the model's next turn, or a failure in its place. Called from the server's threads."""
Step: TypeAlias = Turn | Failure | Callable[[Conversation], Turn]
"""A turn, one that is made from the conversation so far, or a failure that comes once before the turn after it."""


def follow(steps: Sequence[Step]) -> Script:
    """Returns a script that takes turns in order: each comes when all calls of the turns before it have a result.

    A new question of the person starts over. The script keeps one thing: which failures have happened; use it for one server.

    Args:
        steps: The turns; failures stand before the turn that the client gets after its retries.

    Raises:
        UsageError: No turn follows a failure (``usage.input_invalid``). The script itself raises it when there is no turn left.

    Example:
        >>> from guardrails.testing import Conversation, ToolCall, Turn
        >>> script = follow([Turn("Looking.", (ToolCall("call_1", "query", {"sql": "SELECT 1"}),)), Turn("Done.")])
        >>> script(Conversation("How many?", results=("1",))).text
        'Done.'
    """
    return _Follower(steps)


class _Follower:
    def __init__(self, steps: Sequence[Step]) -> None:
        self._turns: list[Turn | Callable[[Conversation], Turn]] = []
        self._failures: list[list[Failure]] = [[]]
        self._lock = threading.Lock()
        for step in steps:
            if isinstance(step, Failure):
                self._failures[-1].append(step)
            else:
                self._turns.append(step)
                self._failures.append([])
        if self._failures[-1]:
            raise UsageError("usage.input_invalid", "No turn follows the script's last failure.")

    def __call__(self, conversation: Conversation) -> Turn | Failure:
        answered = 0
        for turn, failures in zip(self._turns, self._failures, strict=False):
            made = turn if isinstance(turn, Turn) else turn(_as_of(conversation, answered))
            if answered == len(conversation.results):
                with self._lock:
                    return failures.pop(0) if failures else made
            answered += len(made.calls)
        raise UsageError("usage.input_invalid", f"The script has no turn after {len(conversation.results)} results.")


def _as_of(conversation: Conversation, answered: int) -> Conversation:
    """The conversation when it had so many results: a turn that was made from it is made the same again."""
    return replace(
        conversation,
        results=conversation.results[:answered],
        errors=conversation.errors[:answered],
        call_ids=conversation.call_ids[:answered],
    )
