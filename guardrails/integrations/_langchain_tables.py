"""Relations as one principal sees them, as SQLAlchemy tables: how they are described to a model, and how to read a few rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from guardrails.policy import SeenRelation

__all__ = ["create_table", "sample"]


class _Declared(sa.types.UserDefinedType[Any]):
    """A type by the text with which the schema declares it."""

    cache_ok = True

    def __init__(self, text: str) -> None:
        self.text = text

    def get_col_spec(self, **_: object) -> str:
        return self.text


def create_table(relation: SeenRelation, seen: Mapping[str, SeenRelation], dialect: sa.Dialect) -> str:
    """Returns CREATE TABLE with what of a relation is seen; foreign keys only where their other end is seen too."""
    metadata = sa.MetaData()
    table = _table(relation, metadata)
    ours = {column.name for column in table.columns}
    for constraint in relation.relation.constraints:
        other = seen.get(constraint.refers_to)
        if constraint.kind != "foreign" or other is None or not ours.issuperset(constraint.columns):
            continue
        referred = table if other.key == relation.key else _table(other, metadata)
        if set(constraint.referred) <= {column.name for column in referred.columns}:
            table.append_constraint(
                sa.ForeignKeyConstraint(constraint.columns, [referred.columns[name] for name in constraint.referred])
            )
    return str(CreateTable(table).compile(dialect=dialect)).rstrip()


def sample(relation: SeenRelation, count: int, dialect: sa.Dialect) -> str:
    """Returns the SELECT of a relation's first rows, with the columns that are seen."""
    statement = sa.select(_table(relation, sa.MetaData())).limit(count)
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _table(relation: SeenRelation, metadata: sa.MetaData) -> sa.Table:
    described = relation.relation
    columns = [
        sa.Column(
            c.column.name,
            _Declared((c.column.declared.type if c.column.declared else "") or c.column.type),
            primary_key=c.column.name in relation.primary_key,
            nullable=c.column.is_nullable,
        )
        for c in relation.columns
    ]
    schema = None if relation.key == described.name else described.schema
    return sa.Table(described.name, metadata, *columns, schema=schema, extend_existing=True)
