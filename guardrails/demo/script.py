"""What the scripted model says next: a state machine over the conversation so far, driven by a table of scenes.

The state is the last question of the person and the tool results that came after it. Each result is read as a model would read
it: rows, a refusal with its reason, or a request to wait; the scene's table says which statement the model tries after which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from guardrails.testing import Conversation, ToolCall, Turn, refusal_code

__all__ = ["Answer", "Attempt", "Question", "next_turn"]

Reaction = Literal["always", "refused", "answered"]
_UNSCRIPTED = "I have nothing to say to that."


@dataclass(frozen=True, slots=True)
class Attempt:
    """A statement that the model tries.

    Args:
        sql: The statement; None to take one out of the last result's own text, as a model does that follows injected orders.
        says: What the model says along with the call.
        after: The kind of result before it that leads here.
    """

    sql: str | None
    says: str
    after: Reaction = "always"


@dataclass(frozen=True, slots=True)
class Answer:
    """The final text for a kind of last result; `{rows}` are its rows as dictionaries, `{count}` their number."""

    text: str
    after: Reaction = "always"


@dataclass(frozen=True, slots=True)
class Question:
    """A person's message, and how the model deals with it: attempts in order, then the first answer that fits."""

    text: str
    attempts: tuple[Attempt, ...]
    answers: tuple[Answer, ...]


def next_turn(questions: Iterable[Question], conversation: Conversation) -> Turn:
    """Returns what the model says next. Pure: the same conversation gives the same turn."""
    question = next((q for q in questions if q.text == conversation.question), None)
    if question is None:
        return Turn(_UNSCRIPTED)
    position = 0
    last = ""
    for last in conversation.results:
        position = _next_position(question.attempts, position + 1, _reaction(last))
    if not conversation.results or position < len(question.attempts):
        attempt = question.attempts[position]
        sql = attempt.sql if attempt.sql is not None else _order_in(last)
        if sql and conversation.tools:
            number = len(conversation.results) + 1
            call = ToolCall(f"call_{_slug(question.text)}_{number}", conversation.tools[0], {"sql": sql})
            return Turn(attempt.says, (call,))
    return Turn(_answer(question.answers, last))


def _next_position(attempts: Sequence[Attempt], start: int, reaction: Reaction) -> int:
    fitting = (i for i in range(start, len(attempts)) if attempts[i].after in ("always", reaction))
    return next(fitting, len(attempts))


def _reaction(result: str) -> Reaction:
    return "refused" if refusal_code(result) else "answered"


def _order_in(result: str) -> str | None:
    """Finds the statement that a text orders its reader to run."""
    found = re.search(r"[Rr]un this query\b.*?: (SELECT .*?);", result, re.DOTALL)
    return found.group(1) if found else None


def _answer(answers: Sequence[Answer], result: str) -> str:
    reaction = _reaction(result)
    text = next((a.text for a in answers if a.after in ("always", reaction)), _UNSCRIPTED)
    rows = _rows(result)
    try:
        return text.format(rows=rows, count=len(rows), result=result)
    except (IndexError, KeyError):
        return _UNSCRIPTED


def _rows(result: str) -> list[dict[str, object]]:
    """Reads a tool's result text; anything but a JSON object with rows counts as none."""
    try:
        found = json.loads(result)
    except ValueError:
        return []
    rows = found.get("rows") if isinstance(found, dict) else found
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _slug(text: str) -> str:
    return re.sub(r"[^a-z]+", "_", text.lower())[:24].strip("_")
