"""Telling what a principal may see of the schema: which relations, their columns, what is masked.

Each telling is a statement on the schema, which goes the way of all statements: judged, recorded, answered from the catalog with what
the principal may see. So there is an entry for whoever asks later what an agent knew, and a relation that may not be seen is one that
does not exist: the same statement finds nothing. What the answer adds (types, masks) is `Guard.seen`, for the relations found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from guardrails.guard import Guard
from guardrails.mcp_server.shapes import ColumnShown, ReceiptShown, RelationList, RelationShown, RelationSummary
from guardrails.model import DialectName
from guardrails.policy import SeenRelation

__all__ = ["find", "listed", "masks_of"]

_Call: TypeAlias = tuple[str, str | None]
"""Name of the tool and id of the call, for the ledger."""

_INFORMATION_SCHEMA = "SELECT table_schema, table_name FROM information_schema.tables"
_LIST: Mapping[DialectName, str] = {"sqlite": "SELECT 'main', name FROM sqlite_master WHERE type IN ('table', 'view')"}
_FIND: Mapping[DialectName, str] = {
    "sqlite": "SELECT 'main', name FROM sqlite_master WHERE 'main' = :schema AND name = :name",
    "duckdb": f"{_INFORMATION_SCHEMA} WHERE table_schema = $schema AND table_name = $name",
}


def listed(guard: Guard, call: _Call) -> RelationList:
    """Returns the relations that the session's principal may select from."""
    result = guard.execute(_LIST.get(guard.database.dialect, _INFORMATION_SCHEMA), tool=call[0], tool_call_id=call[1])
    found = {(str(schema), str(name)) for schema, name in result.rows}
    tables = [_summary(s) for s in guard.seen() if (s.relation.schema, s.relation.name) in found]
    return RelationList(tables=tables, receipt=ReceiptShown.of(result.receipt))


def find(guard: Guard, name: str, call: _Call) -> RelationShown | None:
    """Returns a relation; None when there is none of that name which the session's principal may select from."""
    meant = _meant(name, guard.seen())
    schema, named = (meant.relation.schema, meant.relation.name) if meant is not None else ("", name)
    text = _FIND.get(guard.database.dialect, f"{_INFORMATION_SCHEMA} WHERE table_schema = :schema AND table_name = :name")
    result = guard.execute(text, {"schema": schema, "name": named}, tool=call[0], tool_call_id=call[1])
    if meant is None or not result.rows:
        return None
    return RelationShown(
        name=meant.key,
        kind=meant.relation.kind,
        columns=[
            ColumnShown(name=c.column.name, type=c.column.type, nullable=c.column.is_nullable, mask=c.mask)
            for c in meant.columns
        ],
        primary_key=list(meant.primary_key),
        rows_filtered=meant.is_filtered,
        needs_approval=meant.effect != "allow",
        receipt=ReceiptShown.of(result.receipt),
    )


def masks_of(relation: SeenRelation) -> dict[str, str]:
    """Returns the columns whose values are masked, with the kind of mask."""
    return {c.column.name: c.mask for c in relation.columns if c.mask is not None}


def _summary(relation: SeenRelation) -> RelationSummary:
    return RelationSummary(
        name=relation.key,
        kind=relation.relation.kind,
        columns=[c.column.name for c in relation.columns],
        masked=masks_of(relation),
        rows_filtered=relation.is_filtered,
        needs_approval=relation.effect != "allow",
    )


def _meant(name: str, relations: Sequence[SeenRelation]) -> SeenRelation | None:
    """The relation that is named so: to the letter, or else the only one in other letters."""
    named = [(text, r) for r in relations for text in {r.key, f"{r.relation.schema}.{r.relation.name}"}]
    wanted = name.strip().replace('"', "").replace("`", "")
    exact = [r for text, r in named if text == name] or [r for text, r in named if text == wanted]
    loose = [r for text, r in named if text.casefold() == wanted.casefold()]
    return exact[0] if exact else loose[0] if len({r.key for r in loose}) == 1 else None
