"""What masks and row filters forbid to a change: reading protected values, overwriting them, and touching or moving hidden rows."""

from __future__ import annotations

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Access, ColumnRef, Obligations
from guardrails.sql.resolve import Resolved
from guardrails.sql.sources import relation_of
from guardrails.sql.writes_mysql import JOINED_META

__all__ = ["check_change"]


def check_change(resolved: Resolved, obligations: Obligations, filter_columns: frozenset[ColumnRef]) -> None:
    """Holds a change to its obligations; a statement that only reads passes.

    Args:
        resolved: The statement.
        obligations: Masks and row filters of everything that it touches.
        filter_columns: What the row filters ask about.

    Raises:
        StatementError: It reads a protected column (``mask.write_reads_protected``: a masked value would be stored), overwrites one
            (``mask.write_protected``), or cannot be held to the visible rows (``mask.unsupported``).
    """
    access = resolved.access
    if access.is_read_only:
        return
    masked = {m.column for m in obligations.masks}
    if masked & (set(access.reads) - resolved.returned):
        raise StatementError("mask.write_reads_protected", "The change reads a protected column.")
    _check_definition(resolved, obligations, masked)
    actions = {u.relation: set[str]() for u in access.relations}
    for use in access.relations:
        actions[use.relation].add(use.action)
    if any(c in masked and "update" in actions.get(c.relation, ()) for c in access.writes):
        raise StatementError("mask.write_protected", "The change would overwrite a protected column.")
    for relation in {f.relation for f in obligations.row_filters}:
        asked = {c for c in filter_columns if c.relation == relation}
        _check_filtered(resolved, actions.get(relation, set()), asked)


def _check_filtered(resolved: Resolved, done: set[str], asked: set[ColumnRef]) -> None:
    """Holds what is done to one relation to the rows that its filters leave."""
    if "merge" in done:
        raise StatementError("mask.unsupported", "MERGE cannot be held to the rows that the principal may see.")
    if "insert" in done:
        raise StatementError("mask.unsupported", "Rows cannot be inserted where row filters hold.")
    if done & {"update", "delete"} and resolved.tree.meta.get(JOINED_META):
        raise StatementError("mask.unsupported", "A change over a join cannot be held to the rows that the principal may see.")
    if done & {"update", "delete"} and not resolved.dialect.is_executed:
        raise StatementError("mask.unsupported", f"Changes cannot be held to row filters in {resolved.dialect.name}.")
    if "update" in done and asked & set(resolved.access.writes):
        raise StatementError("mask.unsupported", "The change would move rows in or out of the principal's sight.")


def _check_definition(resolved: Resolved, obligations: Obligations, masked: set[ColumnRef]) -> None:
    """A schema change must not take a protection away, nor touch rows that the principal may not see."""
    access, tree = resolved.access, resolved.tree
    filtered = {f.relation for f in obligations.row_filters}
    for use in access.relations:
        if use.action in ("alter", "create", "drop", "truncate") and use.relation in filtered:
            raise StatementError("mask.unsupported", "The change would touch rows that the principal may not see.")
    references = (n.this for n in tree.find_all(exp.Reference))
    referred = {relation_of(n.this if isinstance(n, exp.Schema) else n) for n in references}
    if referred & filtered:
        raise StatementError("mask.unsupported", "A foreign key would tell of rows that the principal may not see.")
    altered = {u.relation for u in access.relations if u.action == "alter"}
    if any(c.relation in altered for c in masked & set(access.writes)):
        raise StatementError("mask.write_protected", "The change would take the protection of a column away.")
    if (
        isinstance(tree, exp.Create)
        and str(tree.args.get("kind")).upper() == "VIEW"
        and _reads_protected(access, filtered, masked)
    ):
        raise StatementError("mask.unsupported", "A view over protected data would outlive this principal's rights.")


def _reads_protected(access: Access, filtered: set[str], masked: set[ColumnRef]) -> bool:
    protected = filtered | {column.relation for column in masked}
    return any(use.relation in protected for use in access.relations if use.action == "select")
