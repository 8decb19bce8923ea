"""What happens in the demo, as values, and a teller that writes them as JSON Lines.

`Steps` listens to the guard: every statement that an agent sends becomes one `Step`, whether it ran, was refused or waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO, TypeAlias

from guardrails.as_json import decision_fields, result_fields
from guardrails.demo.scenes import AgentKind, Scene
from guardrails.flow import Event
from guardrails.ledger.report import Report
from guardrails.model import ApprovalRequest, Decision, Result

__all__ = ["Answered", "Flip", "JsonTeller", "Leaf", "Step", "Steps", "Teller"]

JSON: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where something is recorded: `hash` is the leaf hash in hexadecimal, `intent_index` the entry that came before it ran."""

    index: int
    hash: str
    intent_index: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of an agent and what became of it.

    Args:
        sql: As the agent wrote it.
        decision: What the guard decided.
        code: `ok`, or why nothing came back.
        result: What came back, None when nothing did.
        leaf: Where it is recorded.
    """

    sql: str
    decision: Decision
    code: str
    result: Result | None
    leaf: Leaf | None


@dataclass(frozen=True, slots=True)
class Answered:
    """Somebody answered, or tried to answer, an approval request; `code` is `ok` or why the answer did not count."""

    request: ApprovalRequest
    by: str
    reason: str
    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Flip:
    """One byte of a copy of the ledger that was changed: `context` is the text around it, before and after."""

    offset: int
    entry: int
    context: tuple[str, str]


class Teller(Protocol):
    """Tells the story while it happens."""

    def opening(self, folder: str, agents: tuple[AgentKind, ...]) -> None:
        """The shop is built, the agents are about to start."""
        ...

    def scene(self, number: int, scene: Scene, agent: AgentKind) -> None:
        """A scene begins."""
        ...

    def asks(self, text: str) -> None:
        """The person asks."""
        ...

    def says(self, text: str) -> None:
        """The agent says something along with a statement."""
        ...

    def step(self, step: Step) -> None:
        """A statement was dealt with."""
        ...

    def approval(self, answered: Answered) -> None:
        """Somebody answered an approval request."""
        ...

    def answer(self, text: str) -> None:
        """The agent's final answer."""
        ...

    def checkpoint(self, note: str) -> None:
        """The ledger's signed head."""
        ...

    def verified(self, report: Report) -> None:
        """The ledger was verified."""
        ...

    def tampered(self, flip: Flip, report: Report) -> None:
        """A copy with one byte changed was verified."""
        ...

    def closing(self, is_as_wanted: bool, kept: str | None) -> None:
        """The end: whether every step went as the scenes want, and where the files are kept."""
        ...


class Steps:
    """Turns the guard's events into steps, in order; pass it to `Guard.open` as its observer.

    Args:
        tell: Called with each step.
        newest_request: Returns the leaf of the request for approval that has just been recorded, None if none was.
    """

    def __init__(self, tell: Callable[[Step], None], newest_request: Callable[[], Leaf | None]) -> None:
        self._tell = tell
        self._newest_request = newest_request
        self._waiting: Event | None = None
        self.codes: list[str] = []

    def __call__(self, event: Event) -> None:
        """Takes an event of the flow."""
        if event.stage == "decide":
            self.flush()
            self._waiting = event
        elif event.stage == "outcome":
            self._waiting = None
            code = event.error.code if event.error else "ok"
            receipt = event.receipt
            leaf = Leaf(receipt.leaf_index, receipt.leaf_hash, receipt.intent_index) if receipt else None
            self._emit(event, code, leaf)

    def flush(self) -> None:
        """Tells the step that ended without an outcome, because it waits for approval."""
        event, self._waiting = self._waiting, None
        if event is not None:
            self._emit(event, "approval.required", self._newest_request())

    def _emit(self, event: Event, code: str, leaf: Leaf | None) -> None:
        if event.statement is None or event.decision is None:
            return
        self.codes.append(code)
        self._tell(Step(event.statement.sql, event.decision, code, event.result, leaf))


class JsonTeller:
    """Writes every event of the story as one JSON object a line, in ASCII."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._scene = ""

    def opening(self, folder: str, agents: tuple[AgentKind, ...]) -> None:
        self._write("opening", folder=folder, agents=list(agents))

    def scene(self, number: int, scene: Scene, agent: AgentKind) -> None:
        self._scene = scene.id
        who = {"agent": agent, "principal": scene.principal.id, "purpose": scene.purpose}
        self._write("scene", number=number, title=scene.title, **who)

    def asks(self, text: str) -> None:
        self._write("question", text=text)

    def says(self, text: str) -> None:
        self._write("says", text=text)

    def step(self, step: Step) -> None:
        fields = decision_fields(None, step.decision) | {"code": step.code, "sql": step.sql}
        del fields["id"]
        leaf, result = step.leaf, step.result
        self._write(
            "statement",
            **fields,
            executed=step.decision.sql if result else None,
            result=result_fields(result) if result else None,
            leaf={"index": leaf.index, "hash": leaf.hash, "intent_index": leaf.intent_index} if leaf else None,
        )

    def approval(self, answered: Answered) -> None:
        self._write("approval", request=answered.request.id, by=answered.by, reason=answered.reason, code=answered.code)

    def answer(self, text: str) -> None:
        self._write("answer", text=text)

    def checkpoint(self, note: str) -> None:
        self._scene = ""
        self._write("checkpoint", note=note)

    def verified(self, report: Report) -> None:
        self._write("verify", **report.to_dict())

    def tampered(self, flip: Flip, report: Report) -> None:
        self._write("tamper", offset=flip.offset, entry=flip.entry, **report.to_dict())

    def closing(self, is_as_wanted: bool, kept: str | None) -> None:
        self._write("closing", as_wanted=is_as_wanted, kept=kept)

    def _write(self, kind: str, **fields: JSON) -> None:
        self._stream.write(json.dumps({"type": kind, "scene": self._scene or None, **fields}) + "\n")
        self._stream.flush()
