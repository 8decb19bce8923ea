"""What a driver needs of a guard, so that it stands below it."""

from __future__ import annotations

from typing import Protocol

from guardrails.engines import Engine
from guardrails.model import Params, Result
from guardrails.policy import SeenRelation
from guardrails.transactions import Transaction

__all__ = ["Executor"]


class Executor(Protocol):
    """Runs statements for whoever is in session; `guardrails.Guard` is one."""

    @property
    def database(self) -> Engine:
        """The one database that it runs them on."""
        ...

    def begin(self) -> Transaction | None:
        """Begins a transaction; None where each change is committed by itself."""
        ...

    def seen(self) -> tuple[SeenRelation, ...]:
        """Returns what of the schema the session may read."""
        ...

    def execute(
        self,
        sql: str,
        params: Params | None = None,
        *,
        tool: str | None = None,
        tool_call_id: str | None = None,
        transaction: Transaction | None = None,
    ) -> Result:
        """Judges, records and runs one statement."""
        ...
