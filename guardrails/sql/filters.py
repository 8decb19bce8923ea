"""Row filters: a policy's predicate as a tree over one relation, its `principal.<name>` values bound, never written as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Limits, Relation, RowFilter, Value
from guardrails.sql.allow import check_nodes
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.parse import parse_tree
from guardrails.sql.tokens import tokenize

__all__ = ["Predicate", "check_predicate", "parse_predicate"]


@dataclass(frozen=True, slots=True)
class Predicate:
    """A parsed filter: the columns it reads, its bound values, and its tree with columns qualified by an alias of choice."""

    expression: exp.Expr
    columns: frozenset[str]
    bindings: dict[str, Value]

    def tree(self, alias: str) -> exp.Expr:
        """Returns a copy of the predicate for the relation that goes by `alias`."""
        copy = self.expression.copy()
        for column in copy.find_all(exp.Column):
            column.set("table", exp.to_identifier(alias, quoted=True))
        return copy


def parse_predicate(row_filter: RowFilter, relation: Relation, dialect: EngineDialect) -> Predicate:
    """Parses a row filter for a principal.

    Args:
        row_filter: Predicate text and the principal's values by name (`id`, `groups`, attributes; lists for IN).
        relation: The relation that it filters.
        dialect: The engine's rules.

    Raises:
        StatementError: It is not a plain predicate over the relation's columns (``policy.row_filter_invalid``).
    """
    values = dict(row_filter.bindings)
    bindings: dict[str, Value] = {}
    columns: set[str] = set()
    tree = _parse(row_filter.predicate, dialect)
    holder = exp.Paren(this=tree)
    for node in list(tree.find_all(exp.Column)):
        if node.table and dialect.fold(node.args["table"]) == dialect.fold_unquoted("principal"):
            name = _value_name(node.name.removeprefix("principal."), values, relation, dialect)
            _bind(node, f"principal_{name}", values[name], bindings)
        else:
            column = next((c.name for c in relation.columns if dialect.fold_name(c.name) == dialect.fold(node.this)), None)
            if column is None or (node.table and dialect.fold(node.args["table"]) != dialect.fold_name(relation.name)):
                raise StatementError("policy.row_filter_invalid", f"The row filter of {relation.name} names {node.name}.")
            node.set("this", exp.to_identifier(column, quoted=True))
            node.set("table", None)
            columns.add(column)
    return Predicate(holder.this, frozenset(columns), bindings)


def check_predicate(text: str, relation: Relation, dialect: EngineDialect) -> None:
    """Checks a policy's filter text against its relation, without a principal.

    Raises:
        StatementError: It is not a plain predicate over the relation's columns.
    """
    names = {n.name: "" for n in _parse(text, dialect).find_all(exp.Column) if n.table and n.table.lower() == "principal"}
    parse_predicate(RowFilter("", text, tuple(names.items())), relation, dialect)


def _parse(text: str, dialect: EngineDialect) -> exp.Expr:
    # Where nothing is run, `SELECT a = b` may give b the name a (T-SQL).
    clause, start = ("expressions", "SELECT") if dialect.is_executed else ("where", "SELECT 1 WHERE")
    sql = f"{start} {text}"
    try:
        tree = parse_tree(sql, tokenize(sql, dialect, Limits()), dialect)
        check_nodes(tree, dialect)
    except StatementError as error:
        raise StatementError("policy.row_filter_invalid", f"The row filter is not understood: {error.message}") from error
    present = {k for k, v in tree.args.items() if v}
    if not isinstance(tree, exp.Select) or present != {"expressions", clause} or len(tree.expressions) != 1:
        raise StatementError("policy.row_filter_invalid", "The row filter is not one predicate.")
    predicate = tree.expressions[0] if clause == "expressions" else tree.args["where"].this
    if predicate.find(exp.Query, exp.Star, exp.Alias, exp.Placeholder, exp.Parameter) is not None:
        raise StatementError("policy.row_filter_invalid", "The row filter is not a plain predicate.")
    return predicate  # type: ignore[no-any-return]


def _value_name(name: str, values: Mapping[str, Value], relation: Relation, dialect: EngineDialect) -> str:
    """Returns the name of the principal's value that is meant, which the parser may have folded."""
    found = [n for n in values if n == name or dialect.fold_unquoted(n) == name]
    if not found:
        raise StatementError("policy.obligation", f"The row filter of {relation.name} needs principal.{name}.")
    if len(found) > 1:
        message = f"The row filter of {relation.name} names principal.{found[0]} and principal.{found[1]}: one name here."
        raise StatementError("policy.row_filter_invalid", message)
    return found[0]


def _bind(node: exp.Column, name: str, value: Value, bindings: dict[str, Value]) -> None:
    """Puts placeholders in a principal value's place; a list spreads into the IN list that it stands in."""
    if not isinstance(value, (list, tuple, set, frozenset)):
        bindings[name] = value
        node.replace(exp.Placeholder(this=name))
        return
    parent = node.parent
    holder = parent.parent if isinstance(parent, exp.Paren) else parent
    if not isinstance(holder, exp.In):
        raise StatementError("policy.row_filter_invalid", "A list of the principal's stands outside IN.")
    items = sorted(value, key=repr)
    names = [f"{name}_{i}" for i in range(len(items))]
    bindings |= dict(zip(names, items, strict=True))
    # IN with nothing is never true, and PostgreSQL has no empty list.
    spread: list[exp.Expr] = [exp.Placeholder(this=n) for n in names] or [exp.Null()]
    holder.set("expressions", spread)
    for key in ("field", "unnest", "query"):
        holder.set(key, None)
