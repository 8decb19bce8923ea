"""What every engine offers, and what their executions share: collecting rows within the limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from guardrails.errors import EngineError
from guardrails.model import Catalog, DialectName, Execution, Limits, Plan, Row

__all__ = ["Engine", "RowCollector", "TransactionalEngine", "Work", "require_rehearsable"]

_DATA_ACTIONS = frozenset({"select", "insert", "update", "delete", "merge"})


class Engine(Protocol):
    """One database. Safe to share between threads.

    Attributes:
        dialect: Whose SQL it runs.
        name: A label of the database for the ledger, without credentials.
    """

    @property
    def dialect(self) -> DialectName: ...

    @property
    def name(self) -> str: ...

    def catalog(self) -> Catalog:
        """Returns the schema as it is now; the same object as long as nothing changed.

        Raises:
            EngineError: The database cannot be reached.
        """
        ...

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan in a transaction of its own, under lock-down, and ends the transaction.

        Raises:
            EngineError: The database refused or failed, a limit was reached, or the schema is not the plan's.
        """
        ...

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan as `execute` does, with the same lock-down and limits, and rolls back whatever it changed.

        Numbers that sequences and counters gave out stay given out. Rows that it changes are locked until it ends.

        Returns:
            What would have come back; `changed_by` names the relations that would have changed.

        Raises:
            EngineError: As `execute`; also for everything but changes of rows (``engine.refused``), which locks whole relations, or
                cannot be undone.
        """
        ...

    def dispose(self) -> None:
        """Closes the connections that this engine opened itself."""
        ...


class Work(Protocol):
    """One open transaction of a database, which several plans run in, each under its own lock-down. Safe to share between threads.

    A plan that fails takes back what it did itself, and nothing else. What the database ended of its own accord is lost: everything
    but `rollback` then raises.
    """

    def catalog(self) -> Catalog:
        """Returns the schema as the transaction sees it."""
        ...

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan in the transaction; raises as `Engine.execute`."""
        ...

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan in the transaction and takes back what it did; raises as `Engine.rehearse`."""
        ...

    def save(self, name: str) -> None:
        """Sets a savepoint of this name, which is made of ASCII letters, digits and underscores."""
        ...

    def roll_back_to(self, name: str) -> None:
        """Takes back everything since a savepoint, which stays."""
        ...

    def release(self, name: str) -> None:
        """Lets go of a savepoint."""
        ...

    def commit(self) -> None:
        """Commits, and gives the connection back.

        Raises:
            EngineError: It could not: everything was rolled back, or nobody knows (``engine.unknown_outcome``).
        """
        ...

    def roll_back(self) -> None:
        """Takes everything back, and gives the connection back; after the end it does nothing."""
        ...


@runtime_checkable
class TransactionalEngine(Protocol):
    """An engine that can keep a transaction open for several plans, where it `is_transactional`: it has a connection to spare."""

    @property
    def is_transactional(self) -> bool: ...

    def begin(self) -> Work:
        """Begins one.

        Raises:
            EngineError: The database cannot be reached, or was locked by others for too long.
        """
        ...


def require_rehearsable(plan: Plan) -> None:
    """Checks that a plan can be run and rolled back without anybody noticing.

    Raises:
        EngineError: It changes the schema, which locks whole relations and is not undone everywhere (``engine.refused``).
    """
    if not set(plan.actions) <= _DATA_ACTIONS:
        raise EngineError("engine.refused", "Only changes of rows are rehearsed.", evidence={"actions": list(plan.actions)})


class RowCollector:
    """Takes rows until a limit is reached.

    Args:
        limits: `rows` and `result_bytes` count here.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self.rows: list[Row] = []
        self.is_truncated = False

    def take(self, rows: Iterable[Row]) -> bool:
        """Takes rows; returns False, and leaves the rest, once a limit is reached.

        Raises:
            EngineError: One row alone is larger than the result may be (``engine.row_too_large``).
        """
        for row in rows:
            size = sum(map(_size, row))
            if size > self._limits.result_bytes:
                raise EngineError(
                    "engine.row_too_large",
                    f"A row is larger than the {self._limits.result_bytes:,} bytes that a result may have.",
                    evidence={"bytes": size},
                )
            if len(self.rows) >= self._limits.rows or self._bytes + size > self._limits.result_bytes:
                self.is_truncated = True
                return False
            self._bytes += size
            self.rows.append(row)
        return True


def _size(value: object) -> int:
    """Bytes that a value takes in a result, roughly: text and bytes by length, containers by their items, the rest eight."""
    match value:
        case str():
            return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        case bytes():
            return len(value)
        case list():
            return 8 + sum(map(_size, value))
        case dict():
            return 8 + sum(_size(k) + _size(v) for k, v in value.items())
        case _:
            return 8
