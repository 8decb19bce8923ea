"""The names of result columns: each engine's own, for expressions that were given none."""

from __future__ import annotations

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.sql.duckdb_parser import duckdb_label
from guardrails.sql.expressions import ExpressionResolver
from guardrails.sql.labels import postgres_label, sqlite_label
from guardrails.sql.labels_mysql import mysql_label
from guardrails.sql.merged_mysql import is_merged, query_behind
from guardrails.sql.scope import Scope
from guardrails.sql.sources import relation_of

__all__ = ["NamingResolver"]


class NamingResolver(ExpressionResolver):
    """Resolves expressions, and names those that a query returns."""

    def label(self, value: exp.Expr, scope: Scope, text: str | None) -> str:
        """Returns the name that the engine gives to a result column without alias.

        Args:
            value: The expression, not resolved yet.
            scope: What its names refer to.
            text: Its text as written, None where only the tree is known.

        Raises:
            StatementError: The engine's name depends on how it runs the query.
        """
        if self.dialect.labels == "postgres":
            return postgres_label(value)
        if self.dialect.labels == "mysql":
            return self._merged_name(value, scope) or mysql_label(value, text, self.dialect)
        if self.dialect.labels in ("duckdb", "sqlite"):
            # To these a column in parentheses is a column.
            value = value.unnest()
        if self.dialect.labels == "duckdb" and not isinstance(value, exp.Column):
            select = value.find_ancestor(exp.Select)
            windows = select.args.get("windows") or [] if select is not None else []
            named = (
                ", ".join(self._written(w).replace(" OVER (", " AS (", 1) for w in windows) if value.find(exp.Window) else ""
            )
            label = duckdb_label(text or self._written(value), named)
            if label is None:
                message = "A result column has no name that is known before the query runs."
                raise StatementError("sql.construct_unsupported", message, hint="Give it an alias.")
            return label
        if isinstance(value, exp.Column) and isinstance(value.this, exp.Identifier):
            if self.dialect.labels == "sqlite" and text is None:
                # Only the outermost query shows a column by its own name; a subquery's is called as it is written there.
                return str(value.this.this)
            key = self.dialect.fold(value.this)
            alias = self.dialect.fold(value.args["table"]) if value.table else None
            for level in scope.levels():
                if self.dialect.labels == "sqlite" and alias is None and key in level.full_merged:
                    break
                for source in level.sources.values():
                    if key in source.columns and alias in (None, source.alias):
                        return source.columns[key].name
        return text or sqlite_label(value, self.dialect)

    def _written(self, node: exp.Expr) -> str:
        return self.dialect.sqlglot.generate(node, comments=False, normalize_functions=False)

    def _merged_name(self, value: exp.Expr, scope: Scope) -> str | None:
        """The name of a column where it is written with other capitals, if it shows its own (see `merged_mysql`)."""
        column, select = value.unnest(), value.find_ancestor(exp.Select)
        if select is None or not isinstance(column, exp.Column) or not isinstance(column.this, exp.Identifier):
            return None
        key = self.dialect.fold(column.this)
        alias = self.dialect.fold(column.args["table"]) if column.table else (scope.find_column(key) or (None,))[0]
        source = scope.sources.get(alias or "")
        name = source.columns[key].name if source is not None and key in source.columns else column.name
        if alias is None or name == column.name:
            return None
        query = query_behind(select, alias, self._view_tree)
        return name if query is not None and is_merged(query) else None

    def _view_tree(self, table: exp.Table) -> exp.Expr | None:
        key = relation_of(table)
        relation = self.catalog.relations[key] if key is not None else None
        return self._views(key, relation).tree if key and relation is not None and relation.kind == "view" else None
