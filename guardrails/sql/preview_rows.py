"""One kind of row that a change makes of another: the expressions before and after, and the query's columns that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

__all__ = ["ShownRow", "assigned_values", "column", "computed", "merged_rows", "places_of", "projected", "with_excluded"]


@dataclass(frozen=True, slots=True)
class ShownRow:
    """What is shown of one kind of row: columns with the expressions before (None: no row) and after (None: not known).

    `hidden` are columns that belong to it and that the viewer may not see.
    """

    columns: tuple[str, ...]
    before: tuple[exp.Expr | None, ...]
    after: tuple[exp.Expr | None, ...]
    hidden: tuple[str, ...] = ()


def assigned_values(node: exp.Expr) -> dict[str, exp.Expr | None]:
    """By column the expression that is assigned, None where it is not known before the change runs."""
    found: dict[str, exp.Expr | None] = {}
    for item in node.expressions:
        if isinstance(item.this, exp.Tuple):
            values = item.expression.expressions if isinstance(item.expression, exp.Tuple) else []
            for index, column in enumerate(item.this.expressions):
                found[column.name] = computed(values[index]) if index < len(values) else None
        else:
            found[item.this.name] = computed(item.expression)
    return found


def computed(value: exp.Expr | None) -> exp.Expr | None:
    """What a query can compute: everything but DEFAULT."""
    is_default = isinstance(value, (exp.Var, exp.Column)) and value.name.upper() == "DEFAULT" and not value.args.get("table")
    return None if is_default else value


def with_excluded(value: exp.Expr | None, given: Mapping[str, exp.Expr]) -> exp.Expr | None:
    """An expression with the values that would have been inserted in their place; None where one of them is not known."""
    if value is None:
        return None
    holder = exp.Paren(this=value.copy())
    for node in list(holder.find_all(exp.Column, exp.Anonymous)):
        name = None
        if isinstance(node, exp.Column) and node.table.lower() == "excluded":
            name = node.name
        elif isinstance(node, exp.Anonymous) and str(node.this).lower() == "values":
            name = node.expressions[0].name
        if name is None:
            continue
        stand_in = computed(given.get(name))
        if stand_in is None:
            return None
        node.replace(stand_in.copy())
    inner: exp.Expr = holder.this
    return inner


def merged_rows(
    kind: tuple[bool, bool], target: exp.Table, source: exp.Expr, on: exp.Expr, conditions: Sequence[exp.Expr]
) -> exp.Select:
    """The rows that a branch of MERGE sees: pairs that match, or those of one side that match nothing."""
    is_matched, is_of_target = kind
    if is_matched:
        parts = [exp.Paren(this=on.copy()), *conditions]
        select = exp.Select(from_=exp.From(this=target.copy()), joins=[exp.Join(this=source.copy())])
    else:
        one, other = (target, source) if is_of_target else (source, target)
        missing = exp.Select(
            expressions=[exp.Literal.number(1)], from_=exp.From(this=other.copy()), where=exp.Where(this=on.copy())
        )
        parts = [exp.Not(this=exp.Exists(this=missing)), *conditions]
        select = exp.Select(from_=exp.From(this=one.copy()))
    select.set("where", exp.Where(this=exp.and_(*parts, copy=False) if len(parts) > 1 else parts[0]))
    return select


def projected(row: ShownRow) -> list[exp.Expr]:
    """Every expression that a row needs, each under a name of its own."""
    found: list[exp.Expr] = []
    for name, before, after in zip(row.columns, row.before, row.after, strict=True):
        if before is not None:
            found.append(exp.Alias(this=before.copy(), alias=exp.to_identifier(name, quoted=True)))
        if after is not None and after != before:
            found.append(exp.Alias(this=after.copy(), alias=exp.to_identifier(f"{name} after", quoted=True)))
    return found


def places_of(row: ShownRow) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Where in a result of `projected` each column's value before and after stands."""
    befores: list[int | None] = []
    afters: list[int | None] = []
    place = 0
    for before, after in zip(row.before, row.after, strict=True):
        at = place if before is not None else None
        place += before is not None
        befores.append(at)
        if after is None:
            afters.append(None)
        elif after == before:
            afters.append(at)
        else:
            afters.append(place)
            place += 1
    return tuple(befores), tuple(afters)


def column(name: str, alias: str) -> exp.Column:
    return exp.Column(this=exp.to_identifier(name, quoted=True), table=exp.to_identifier(alias, quoted=True))
