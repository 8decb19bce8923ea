"""A change and the record of its outcome in one transaction, where database and ledger are the same PostgreSQL database.

Both are committed, or neither: no crash leaves a change of which the ledger does not know the outcome. The intent is durable before,
as always, so a change that was rolled back leaves an intent whose outcome recovery marks unknown, or the error's own outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from guardrails.engines import Engine
from guardrails.entries import JSON
from guardrails.errors import EngineError, UsageError
from guardrails.ledger import Ledger, Private
from guardrails.model import Execution, Plan

__all__ = ["JointOutcomes"]


@dataclass(frozen=True, slots=True)
class JointOutcomes:
    """Runs changes with their outcomes; made by `of`."""

    engine: Any
    ledger: Ledger

    @classmethod
    def of(cls, engine: Engine, ledger: Ledger) -> JointOutcomes:
        """Returns it for an engine and a ledger that can share a transaction.

        Raises:
            UsageError: They cannot: one of them is not PostgreSQL (usage.database_unsupported).
        """
        if engine.dialect != "postgres" or not ledger.is_joinable:
            message = "Outcomes can be written with the change only where database and ledger are the same PostgreSQL database."
            raise UsageError("usage.database_unsupported", message, hint="Leave `joint_outcomes` out.")
        return cls(engine, ledger)

    def execute(self, plan: Plan, outcome: Callable[[Execution], tuple[dict[str, JSON], dict[str, Private]]]) -> Execution:
        """Runs a change and records its outcome in the same transaction.

        Raises:
            EngineError: As the engine does. A commit whose answer was lost is looked up: only when it can be neither found nor
                excluded is the outcome unknown.
            LedgerError: The outcome could not be written; nothing was changed.
        """
        written: list[Execution] = []

        def record(connection: object, execution: Execution) -> Execution:
            entry, private = outcome(execution)
            appended = self.ledger.append_within(connection, entry, private=private)
            recorded = appended.entry_id, appended.index, appended.leaf_hash.hex()
            written.append(replace(execution, recorded=recorded))
            return written[0]

        try:
            executed = self.engine.execute(plan, before_commit=record)
        except EngineError as error:
            if error.code != "engine.unknown_outcome" or not written or written[0].recorded is None:
                raise
            entry_id, index, _ = written[0].recorded
            if self.ledger.has(index, entry_id):
                return written[0]
            raise EngineError("engine.failed", "The connection was lost, and nothing was changed.") from error
        if not isinstance(executed, Execution):
            raise UsageError("usage.bug", "The engine gave no result.")
        return executed
