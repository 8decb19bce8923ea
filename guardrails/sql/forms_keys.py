"""Keys of CREATE TABLE in the one form that sqlglot writes as it reads.

sqlglot moves a SQLite table's key of one column to that column, and writes PostgreSQL's `serial` as an identity, which is the same sequence
under SQL's own name (https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-SERIAL). Both keep what they mean.
"""

from __future__ import annotations

from sqlglot import exp

__all__ = ["give_identities", "move_key"]

_COUNTED = {exp.DType.SERIAL: exp.DType.INT, exp.DType.SMALLSERIAL: exp.DType.SMALLINT, exp.DType.BIGSERIAL: exp.DType.BIGINT}


def move_key(tree: exp.Expr) -> None:
    """Moves a key of one column, without a name or an order of its own, from the end of a table to its column; in place."""
    for schema in [tree.this] if isinstance(tree, exp.Create) and isinstance(tree.this, exp.Schema) else []:
        for key in [item for item in schema.expressions if isinstance(item, exp.PrimaryKey)]:
            columns = [c for c in schema.expressions if isinstance(c, exp.ColumnDef) and [c.this] == key.expressions]
            further = key.args.get("include")
            is_plain = not key.args.get("options") and not (further is not None and any(further.args.values()))
            if len(columns) == 1 and is_plain:
                key.pop()
                columns[0].append("constraints", exp.ColumnConstraint(kind=exp.PrimaryKeyColumnConstraint()))


def give_identities(tree: exp.Expr) -> None:
    """Writes columns of the type `serial` as identities; in place."""
    for column in list(tree.find_all(exp.ColumnDef)):
        kind = column.args.get("kind")
        if isinstance(kind, exp.DataType) and kind.this in _COUNTED:
            kind.set("this", _COUNTED[kind.this])
            own = column.args.get("constraints") or []
            added: list[exp.Expr] = [exp.GeneratedAsIdentityColumnConstraint(this=False), exp.NotNullColumnConstraint()]
            missing = [exp.ColumnConstraint(kind=c) for c in added if all(c != o.args.get("kind") for o in own)]
            column.set("constraints", [*missing, *own])
