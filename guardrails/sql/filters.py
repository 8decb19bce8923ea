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

__all__ = ["Predicate", "check_predicate", "filter_tree", "is_principals", "own_column", "parse_predicate", "value_name"]


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
    tree = filter_tree(row_filter.predicate, dialect)
    holder = exp.Paren(this=tree)
    for node in list(tree.find_all(exp.Column)):
        if is_principals(node, dialect):
            name = value_name(node.name.removeprefix("principal."), values, relation, dialect)
            _bind(node, f"principal_{name}", values[name], bindings)
        else:
            column = own_column(node, relation, dialect)
            node.set("this", exp.to_identifier(column, quoted=True))
            node.set("table", None)
            columns.add(column)
    return Predicate(holder.this, frozenset(columns), bindings)


def check_predicate(text: str, relation: Relation, dialect: EngineDialect) -> None:
    """Checks a policy's filter text against its relation, without a principal.

    Raises:
        StatementError: It is not a plain predicate over the relation's columns.
    """
    names = {n.name: "" for n in filter_tree(text, dialect).find_all(exp.Column) if n.table and n.table.lower() == "principal"}
    parse_predicate(RowFilter("", text, tuple(names.items())), relation, dialect)


def is_principals(node: exp.Column, dialect: EngineDialect) -> bool:
    """Whether a name in a filter stands for a value of the principal's."""
    return bool(node.table) and dialect.fold(node.args["table"]) == dialect.fold_unquoted("principal")


def own_column(node: exp.Column, relation: Relation, dialect: EngineDialect) -> str:
    """Returns the column of the relation that a name in its filter means.

    Raises:
        StatementError: There is none (``policy.row_filter_invalid``).
    """
    column = next((c.name for c in relation.columns if dialect.fold_name(c.name) == dialect.fold(node.this)), None)
    if column is None or (node.table and dialect.fold(node.args["table"]) != dialect.fold_name(relation.name)):
        raise StatementError("policy.row_filter_invalid", f"The row filter of {relation.name} names {node.name}.")
    return column


def filter_tree(text: str, dialect: EngineDialect) -> exp.Expr:
    """Parses the text of a filter, its names as they are written.

    Raises:
        StatementError: It is not one plain predicate (``policy.row_filter_invalid``).
    """
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


def value_name(name: str, values: Mapping[str, Value], relation: Relation, dialect: EngineDialect) -> str:
    """Returns the name of the principal's value that is meant, which the parser may have folded.

    Raises:
        StatementError: The principal has none of that name (``policy.obligation``), or several (``policy.row_filter_invalid``).
    """
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
    part = node.parent if isinstance(node.parent, exp.Paren) else node
    holder = part.parent
    if not isinstance(holder, exp.In) or holder.this is part:
        raise StatementError("policy.row_filter_invalid", "A list of the principal's stands outside IN.")
    items = sorted(value, key=repr)
    names = [f"{name}_{i}" for i in range(len(items))]
    bindings |= dict(zip(names, items, strict=True))
    # IN with nothing is never true, and PostgreSQL has no empty list.
    spread: list[exp.Expr] = [exp.Placeholder(this=n) for n in names] or [exp.Null()]
    # What else the list holds stays in it: without it, NOT IN would show more rows.
    listed = [s for e in holder.expressions for s in (spread if e is part else [e])] if part in holder.expressions else spread
    holder.set("expressions", listed)
    for key in ("field", "unnest", "query"):
        holder.set(key, None)
