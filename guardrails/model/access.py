"""What a statement really does, as the resolver proved it against the catalog."""

from __future__ import annotations

from dataclasses import dataclass

from guardrails.model.schema import ColumnRef
from guardrails.model.values import Action, StatementKind

__all__ = ["Access", "OutputColumn", "Probe", "RelationUse"]


@dataclass(frozen=True, slots=True, order=True)
class Probe:
    """What the outcome of a change tells of, beyond what the change reads.

    Args:
        relation: Key of the relation.
        column: The column of whose stored values it tells; empty where it tells whether rows are there at all.
        is_equality: It tells no more than whether a value that the change gives is stored.
    """

    relation: str
    column: str = ""
    is_equality: bool = False


@dataclass(frozen=True, slots=True)
class RelationUse:
    """One relation that a statement touches, and how. `via` is the view through which it is reached, None when named directly."""

    relation: str
    action: Action
    via: str | None = None


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of the result with the base columns that its value derives from."""

    name: str
    sources: tuple[ColumnRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """What a statement really does, as the resolver proved it against the catalog.

    Args:
        kind: The statement's verb.
        actions: Every action that happens anywhere in it (a data-modifying CTE adds its own).
        relations: Each relation touched with its action, base relations of views included.
        reads: Columns whose values are read anywhere: returned, filtered, joined, grouped or sorted on, base columns of views included.
        writes: Columns assigned (all columns for DELETE).
        functions: Names of the functions called, in lower case.
        returned: Columns of the result in order, each with the base columns that it derives from.
        filtered: Columns in WHERE, HAVING, FILTER and QUALIFY, at any level.
        joined: Columns in join conditions (ON, USING, NATURAL).
        grouped: Columns in GROUP BY, DISTINCT ON and PARTITION BY.
        ordered: Columns in ORDER BY, of windows and aggregates too.
        is_restricted: For UPDATE, DELETE and MERGE: every change is bound to a condition that can be false. True for other kinds.
        has_where: The outermost query or change has a WHERE.
        has_limit: The outermost query has a LIMIT.
        has_tautology: A condition somewhere is true for every row (`1 = 1`, `x = x`, `a OR TRUE`).
        has_cross_join: Somewhere relations are joined without a condition that relates them.
        reads_schema: It reads the description of the schema, which is answered from the catalog with what the principal may see.
        probes: What its outcome (an error, the number of rows changed) tells of because of constraints.
        flows: Pairs of a column that is written and a column that the written value derives from.
    """

    kind: StatementKind
    actions: tuple[Action, ...]
    relations: tuple[RelationUse, ...] = ()
    reads: tuple[ColumnRef, ...] = ()
    writes: tuple[ColumnRef, ...] = ()
    functions: tuple[str, ...] = ()
    returned: tuple[OutputColumn, ...] = ()
    filtered: tuple[ColumnRef, ...] = ()
    joined: tuple[ColumnRef, ...] = ()
    grouped: tuple[ColumnRef, ...] = ()
    ordered: tuple[ColumnRef, ...] = ()
    is_restricted: bool = True
    has_where: bool = False
    has_limit: bool = False
    has_tautology: bool = False
    has_cross_join: bool = False
    reads_schema: bool = False
    probes: tuple[Probe, ...] = ()
    flows: tuple[tuple[ColumnRef, ColumnRef], ...] = ()

    @property
    def is_read_only(self) -> bool:
        return set(self.actions) <= {"select"}
