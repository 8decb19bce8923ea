"""The query that finds the value behind a token: built as a tree, of catalog names and bound values alone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from guardrails.model import Access, Catalog, ColumnRef, MaskExpression, RowFilter, Value
from guardrails.sql.dialects import dialect_of
from guardrails.sql.effects import require_known_effects
from guardrails.sql.filters import parse_predicate
from guardrails.sql.masked import masked_column
from guardrails.sql.params import number_params
from guardrails.sql.parse import check_round_trip
from guardrails.sql.rewrite import Rewritten

__all__ = ["token_query"]

_ROW, _TOKEN = "gr_row", "mask_token"
_MOST_VALUES = 2
"""A second value tells that the token stands for more than one."""


def token_query(
    access: Access,
    column: ColumnRef,
    masks: Sequence[MaskExpression],
    token: Value,
    row_filters: Sequence[RowFilter],
    catalog: Catalog,
) -> Rewritten:
    """Returns the query whose rows are the different values that have the token, among the rows that the filters leave.

    Args:
        access: Of a SELECT of the column.
        column: The real column, of a table.
        masks: The column's mask, once under each key.
        token: What the mask gave, as the engine compares it.
        row_filters: Of the column's relation.
        catalog: The schema.

    Raises:
        StatementError: Reading the relation would set off unknown code (``sql.effects_unknown``), or the query cannot be written.
    """
    require_known_effects(access, catalog)
    dialect, relation = dialect_of(catalog.dialect), catalog.relations[column.relation]
    params: dict[str, Value] = {_TOKEN: token}
    reads = {column}
    conditions: list[exp.Expr] = []
    for row_filter in row_filters:
        predicate = parse_predicate(row_filter, relation, dialect)
        params |= predicate.bindings
        reads |= {ColumnRef(column.relation, name) for name in predicate.columns}
        conditions.append(exp.Paren(this=predicate.tree(_ROW)))
    matches: list[exp.Expr] = []
    for number, mask in enumerate(masks):
        value = exp.Paren(this=masked_column(mask, _column(column.column), dialect.name))
        for node in list(value.find_all(exp.Placeholder)):
            node.set("this", f"{node.this}_{number}")
        params |= {f"{name}_{number}": bound for name, bound in mask.bindings.items()}
        matches.append(exp.EQ(this=value, expression=exp.Placeholder(this=_TOKEN)))
    conditions.append(exp.Paren(this=exp.or_(*matches, copy=False) if len(matches) > 1 else matches[0]))
    table = exp.Table(
        this=exp.to_identifier(relation.name, quoted=True),
        db=exp.to_identifier(relation.schema, quoted=True) if relation.schema else None,
        alias=exp.TableAlias(this=exp.to_identifier(_ROW, quoted=True)),
    )
    tree = exp.Select(
        distinct=exp.Distinct(),
        expressions=[exp.Alias(this=_column(column.column), alias=exp.to_identifier("value", quoted=True))],
        from_=exp.From(this=table),
        where=exp.Where(this=exp.and_(*conditions, copy=False) if len(conditions) > 1 else conditions[0]),
        limit=exp.Limit(expression=exp.Literal.number(_MOST_VALUES)),
    )
    if dialect.placeholders == "numbered":
        params = number_params(tree, params)
    return Rewritten(check_round_trip(tree, dialect), params, tuple(sorted(reads)))


def _column(name: str) -> exp.Column:
    return exp.Column(this=exp.to_identifier(name, quoted=True), table=exp.to_identifier(_ROW, quoted=True))
