"""MySQL's hints against indexes that would return rows, or choose those to change, in the order of a protected column.

A scan of an index on (region, born) for `region = 'EU'` yields the rows of that region by their dates of birth, whatever the statement
then shows. PostgreSQL is told by settings instead; see `guardrails.sql.index_use`.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Relation

__all__ = ["ignore_indexes", "keep_change_order"]


def ignore_indexes(table: exp.Table, relation: Relation, masked: Collection[str]) -> bool:
    """Tells MySQL to leave the indexes over masked columns alone; returns whether there are any."""
    ignored = [name for name, columns in relation.indexes if not columns.isdisjoint(masked)]
    if ignored:
        names = [exp.to_identifier(name, quoted=True) for name in ignored]
        table.set("hints", [exp.IndexTableHint(this="IGNORE", expressions=names)])
    return bool(ignored)


def keep_change_order(table: exp.Table, relation: Relation, masked: Collection[str]) -> None:
    """Keeps MySQL from changing rows in the order of a masked column: LIMIT would choose by it, and RETURNING show it.

    Raises:
        StatementError: There is no hint for this form (``mask.unsupported``).
    """
    change = table.parent
    if isinstance(change, exp.Update):
        ignore_indexes(table, relation, masked)
        return
    # An index over masked columns alone is of no use to conditions, which cannot name them.
    is_mixed = any(columns & set(masked) and columns - set(masked) for _, columns in relation.indexes)
    is_choosing = isinstance(change, exp.Delete) and (change.args.get("limit") or change.args.get("returning"))
    if is_choosing and is_mixed:
        raise StatementError(
            "mask.unsupported",
            "An index over a protected column may choose or order the rows that are deleted.",
            hint="Leave LIMIT and RETURNING out, and name the rows in WHERE.",
        )
