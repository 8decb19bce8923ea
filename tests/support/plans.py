"""Plans built by hand, so that the engines' locks are tested without the SQL layer in front of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guardrails.model import ColumnRef, DialectName, Limits, Plan, RelationUse, Value

__all__ = ["make_plan"]


def make_plan(
    sql: str,
    dialect: DialectName,
    *,
    uses: Mapping[str, str] | None = None,
    reads: Sequence[str] = (),
    writes: Sequence[str] = (),
    params: Mapping[str, Value] | None = None,
    version: str = "",
    **limits: float,
) -> Plan:
    """Returns a plan.

    Args:
        sql: What would run.
        dialect: The engine.
        uses: Action by relation; a plan without any reads nothing.
        reads: Columns as `relation.column`.
        writes: Columns as `relation.column`.
        params: Bound values.
        version: The catalog's version, empty for any.
        limits: Fields of `Limits`.
    """
    used = dict(uses or {})
    return Plan(
        sql=sql,
        params=dict(params or {}),
        dialect=dialect,
        actions=tuple(sorted(set(used.values()) or {"select"})),
        relations=tuple(RelationUse(relation, action) for relation, action in used.items()),
        reads=tuple(_column(c) for c in reads),
        writes=tuple(_column(c) for c in writes),
        limits=Limits(**{"seconds": 5.0} | limits),  # type: ignore[arg-type]
        catalog_version=version,
    )


def _column(text: str) -> ColumnRef:
    relation, _, column = text.rpartition(".")
    return ColumnRef(relation, column)
