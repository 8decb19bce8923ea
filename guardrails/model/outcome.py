"""What runs, what came back, and where it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guardrails.model.access import RelationUse
from guardrails.model.decision import Decision, Limits
from guardrails.model.schema import ColumnRef
from guardrails.model.values import Action, DialectName, IndexUse, Row, Value

__all__ = ["Execution", "Plan", "Receipt", "Result", "ScanFinding"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an engine runs: text regenerated from the checked AST, every value bound by name, and the limits to hold.

    Args:
        sql: Placeholders are `:name` in SQLite and MySQL, `$name` in DuckDB, and `$1`, `$2`, … (in the order of `params`) in PostgreSQL.
        params: Bound values by name, in placeholder order.
        actions: The actions that may happen; the engine's lock allows nothing else.
        writes: Relation keys that may be changed.
        reads: Columns that may be read: the second lock refuses others where the engine can tell.
        limits: Ceilings.
        catalog_version: The catalog's version that the plan was made against; an engine whose schema differs refuses.
        is_explain: It asks for the plan of a query and runs nothing.
        index_use: What the engine may do with indexes, where it can be told (PostgreSQL); the narrowest when nobody said.
        is_grouped_by_sorting: Groups in a hash table would come in an order that tells how many different values a masked column has.
        settings: Texts by name that hold for its transaction alone: the principal's values, for row filters in the database. The engine
            sets them with bound values.
        lookups: Names of parameters with the plan that finds the one value to bind there; the guard runs them first.
    """

    sql: str
    params: Mapping[str, Value]
    dialect: DialectName
    actions: tuple[Action, ...]
    relations: tuple[RelationUse, ...]
    reads: tuple[ColumnRef, ...]
    writes: tuple[ColumnRef, ...]
    limits: Limits
    catalog_version: str = ""
    is_explain: bool = False
    index_use: IndexUse = "bitmap"
    is_grouped_by_sorting: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    lookups: tuple[tuple[str, Plan], ...] = ()

    @property
    def is_read_only(self) -> bool:
        return set(self.actions) <= {"select"}


@dataclass(frozen=True, slots=True)
class Execution:
    """What an engine returned for a plan, before the scan: `duration_ms` is the engine's wall time in milliseconds.

    `recorded` is the entry id, index and leaf hash of the outcome, where it was written in the transaction of the change itself.
    `changed_by` tells the rows changed by relation, where the engine counts them so; `rows_changed` is all of them.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    rows_changed: int = 0
    is_truncated: bool = False
    duration_ms: float = 0.0
    changed_by: tuple[tuple[str, int], ...] = ()
    recorded: tuple[str, int, str] | None = None


@dataclass(frozen=True, slots=True)
class ScanFinding:
    """The second net caught something: how many values of `kind` were replaced in result column `column`."""

    column: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an action is recorded: the leaf of its outcome, and of the intent that came before it."""

    entry_id: str
    leaf_index: int
    leaf_hash: str
    intent_index: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came back: `rows` as tuples in the order of `columns`; `rows_changed` for writes."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    receipt: Receipt
    decision: Decision
    rows_changed: int = 0
    is_truncated: bool = False
    findings: tuple[ScanFinding, ...] = ()

    def dicts(self) -> list[dict[str, Value]]:
        """Returns the rows as dictionaries, a later column of the same name replacing an earlier one."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]
