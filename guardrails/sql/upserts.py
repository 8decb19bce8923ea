"""Which rows an INSERT … ON CONFLICT DO UPDATE meets: one condition for each row that it gives."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from guardrails.model import Relation

__all__ = ["conflicting_rows"]


def conflicting_rows(
    node: exp.Insert, relation: Relation, named: Sequence[str], alias: str, most: int
) -> tuple[tuple[dict[str, exp.Expr], exp.Expr], ...]:
    """Returns for each row of VALUES what it gives by column, and the condition of the row in whose place it would come.

    Nothing where the text does not tell: for rows of a query, or where a column of the key is not given.

    Args:
        node: The resolved change.
        relation: Its target.
        named: The columns that it gives values for.
        alias: The target's.
        most: How many rows are wanted.
    """
    conflict, source = node.args["conflict"], node.args.get("expression")
    keys = [k.this.name if isinstance(k, exp.Ordered) else k.name for k in conflict.args.get("conflict_keys") or []]
    # MySQL meets any unique key; its primary key is the one that is known here.
    keys = keys or (list(relation.primary_key) if conflict.args.get("duplicate") else [])
    if not keys or not isinstance(source, exp.Values) or not set(keys) <= set(named):
        return ()
    found = []
    for item in source.expressions[:most]:
        given = dict(zip(named, item.expressions if isinstance(item, exp.Tuple) else [item], strict=False))
        if not all(isinstance(given.get(key), (exp.Literal, exp.Placeholder, exp.Neg)) for key in keys):
            return ()
        parts = [
            exp.EQ(
                this=exp.Column(this=exp.to_identifier(key, quoted=True), table=exp.to_identifier(alias, quoted=True)),
                expression=given[key].copy(),
            )
            for key in keys
        ]
        found.append((given, exp.and_(*parts, copy=False) if len(parts) > 1 else parts[0]))
    return tuple(found)
