"""RETURNING of a change, with masked values: what it gives back of the changed rows is what a query of them would show.

Only the clause itself is rewritten: a protected column that the change reads anywhere else stays a refusal, as a masked value could be
stored there. RETURNING is the last thing that a change computes, so nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, Mask
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.sources import relation_of

__all__ = ["keep_returned_order", "mask_returning"]

Masks = Mapping[str, Mapping[str, Mask]]
"""By relation key and column."""


def keep_returned_order(tree: exp.Expr, masks: Masks, catalog: Catalog, dialect: EngineDialect) -> None:
    """Sees to it that changed rows are not given back in the order of a protected column, as an index over it or a key could do.

    Args:
        tree: The resolved statement.
        masks: What is protected.
        catalog: The schema.
        dialect: Whose SQL it is.

    Raises:
        StatementError: The engine cannot be kept from it (``mask.unsupported``).
    """
    for node in tree.find_all(exp.Update, exp.Delete, exp.Merge):
        table = _target(node)
        key = relation_of(table) if table is not None else None
        if node.args.get("returning") is None or table is None or key is None:
            continue
        relation, own = catalog.relations[key], masks.get(key, {}).keys()
        # An index over protected columns alone is of no use to conditions, which cannot name them.
        is_mixed = dialect.index_hint == "ignored" and any(columns & own and columns - own for _, columns in relation.indexes)
        is_stored = dialect.key_order is not None and bool(own & set(relation.stored_by or relation.primary_key))
        if is_mixed or is_stored:
            raise StatementError(
                "mask.unsupported",
                "The order of what is returned could tell of a protected column.",
                hint="Leave RETURNING out.",
            )
        if dialect.index_hint == "not_indexed" and own & relation.indexed_columns:
            table.set("indexed", False)


def mask_returning(tree: exp.Expr, masks: Masks, masked: Callable[[Mask, exp.Column], exp.Expr]) -> None:
    """Puts the mask in the place of every protected column of the target in the outermost RETURNING.

    Args:
        tree: The resolved statement.
        masks: What is protected.
        masked: Gives the mask of a column as an expression over a reference to it.

    Raises:
        StatementError: The target stands there as a whole row (``mask.write_reads_protected``), or its name means something else
            inside (``mask.unsupported``).
    """
    clause, table = tree.args.get("returning"), _target(tree)
    own = masks.get(relation_of(table) or "", {}) if table is not None else {}
    if clause is None or table is None or not own:
        return
    names = {table.alias_or_name, table.name}
    if any(node.alias_or_name in names for node in clause.find_all(exp.Table, exp.Subquery, exp.CTE, exp.Lateral)):
        raise StatementError("mask.unsupported", "A query inside RETURNING uses the name of the changed relation.")
    for column in list(clause.find_all(exp.Column)):
        is_row = isinstance(column.this, exp.Star) and column.table in names
        if is_row or (not column.table and column.name in {*names, *own}):
            message = "RETURNING gives the whole row of a relation with protected columns."
            raise StatementError("mask.write_reads_protected", message, hint="Name the columns, or write RETURNING *.")
        mask = own.get(column.name)
        if mask is not None and column.table in names:
            column.replace(masked(mask, column))


def _target(node: exp.Expr) -> exp.Table | None:
    """The relation that a change is made to."""
    table = node.this.this if isinstance(node.this, exp.Schema) else node.this
    return table if isinstance(node, (exp.Insert, exp.Update, exp.Delete, exp.Merge)) and isinstance(table, exp.Table) else None
