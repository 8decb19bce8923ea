"""Resolution of expressions: every column, whole row, field, call and subquery inside them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import ColumnRef
from guardrails.sql.allow import function_name
from guardrails.sql.output_names import OUTPUT_META
from guardrails.sql.scope import Clause, Lineage, Scope
from guardrails.sql.sources import SourceResolver

__all__ = ["NOTHING", "ExpressionResolver", "column_node"]

NOTHING: Lineage = frozenset()
_CALLS: dict[type[exp.Expr], str] = {
    exp.CurrentDate: "current_date",
    exp.CurrentTime: "current_time",
    exp.CurrentTimestamp: "current_timestamp",
    exp.Extract: "extract",
    exp.Localtime: "localtime",
    exp.Localtimestamp: "localtimestamp",
    exp.Overlaps: "overlaps",
    exp.Overlay: "overlay",
    exp.StrPosition: "position",
    exp.Substring: "substring",
    exp.Trim: "trim",
}
"""Calls with a syntax of their own."""
_LISTS = frozenset(
    {
        *(
            "flatten",
            "generate_series",
            "json_keys",
            "list",
            "list_agg",
            "list_append",
            "list_cat",
            "list_concat",
            "list_distinct",
        ),
        *("list_grade_up", "list_intersect", "list_pack", "list_prepend", "list_resize", "list_reverse", "list_reverse_sort"),
        *("list_slice", "list_sort", "list_value", "list_zip", "map_keys", "map_values", "range", "regexp_extract_all"),
        *(
            "regexp_split_to_array",
            "split",
            "str_split",
            "str_split_regex",
            "string_split",
            "string_split_regex",
            "string_to_list",
        ),
    }
)
"""Functions of DuckDB's that return lists; `array_` is another word for `list_`."""


class ExpressionResolver(SourceResolver):
    """Resolves expressions; the queries inside them are the subclass's."""

    def expression(self, root: exp.Expr, scope: Scope) -> Lineage:
        """Resolves every name of an expression in place.

        Returns:
            The base columns that it reads.
        """
        lineage: set[ColumnRef] = set()
        stack: list[exp.Expr] = [root]
        while stack:
            node = stack.pop()
            if isinstance(node, exp.Column):
                lineage |= self._column(node, scope)
            elif isinstance(node, (exp.Query, exp.Values, exp.Insert, exp.Update, exp.Delete, exp.Merge)):
                lineage |= NOTHING.union(*(o.lineage for o in self.query(node, scope, scope.ctes)))
            elif isinstance(node, exp.Dot):
                lineage |= self._field(node, scope)
            elif isinstance(node, exp.CurrentSchema):
                node.replace(self.default_schema())
            elif isinstance(node, (exp.Alias, exp.Star)) and not _is_count_star(node):
                raise StatementError("sql.construct_unsupported", "An alias or a * stands inside an expression.")
            elif isinstance(node, exp.Collate):
                if not isinstance(node.expression, (exp.Var, exp.Identifier, exp.Column)):
                    # `a COLLATE "C" % b`: the parser takes what follows for part of the collation's name.
                    raise StatementError(
                        "sql.construct_unsupported", "COLLATE is followed by an operator.", hint="Use parentheses."
                    )
                stack.append(node.this)
            elif isinstance(node, exp.Table):
                raise StatementError("sql.construct_unsupported", "A relation stands where a value should.")
            elif isinstance(node, exp.Ordered) and node is not root:
                lineage |= self._part(node, "ordered", scope)
            elif isinstance(node, exp.Where) and node is not root:
                lineage |= self._part(node, "filtered", scope)
            elif isinstance(node, exp.Window) and node.args.get("partition_by"):
                keys = list(node.args["partition_by"])
                lineage |= NOTHING.union(*(self._part(k, "grouped", scope) for k in keys))
                stack.extend(n for n in node.iter_expressions() if n.arg_key != "partition_by")
            else:
                if isinstance(node, exp.Anonymous):
                    self.functions.add(function_name(node))
                    if self.dialect.name == "duckdb" and function_name(node) == "unnest":
                        self._unnested(node, scope)
                elif type(node) in _CALLS:
                    self._no_column(_CALLS[type(node)], scope)
                    self.functions.add(_CALLS[type(node)])
                stack.extend(node.iter_expressions())
        self.reads |= lineage
        return frozenset(lineage)

    def _unnested(self, node: exp.Anonymous, scope: Scope) -> None:
        """DuckDB's `unnest` makes a row of each item of a list, and a column of each field of a struct: only lists are let through.

        Raises:
            StatementError: What is unnested is not certain to be a list.
        """
        value = node.expressions[0] if len(node.expressions) == 1 else None
        while isinstance(value, exp.Paren):
            value = value.this
        match value:
            case exp.Array() | exp.Cast(to=exp.DataType(this=exp.DataType.Type.ARRAY)):
                return
            case exp.Bracket() if isinstance(value.expressions[0], exp.Slice):
                return
            case exp.Anonymous() if function_name(value).replace("array_", "list_") in _LISTS:
                return
            case exp.Column() if isinstance(value.this, exp.Identifier) and self._is_list(value, scope):
                return
        raise StatementError(
            "sql.construct_unsupported",
            "unnest is supported for what is certain to be a list.",
            hint="Cast it, as in x::INT[].",
        )

    def _is_list(self, column: exp.Column, scope: Scope) -> bool:
        """Whether it is a column of a relation of the catalog that holds lists."""
        key = self.dialect.fold(column.this)
        found = scope.find_column(key) if not column.table else (self.dialect.fold(column.args["table"]), NOTHING)
        source = scope.find_source(found[0]) if found is not None and found[0] is not None else None
        if source is None or source.relation is None or key not in source.columns:
            return False
        types = {self.dialect.fold_name(c.name): c.type for c in self.catalog.relations[source.relation].columns}
        return types.get(key, "").endswith("]")

    def _no_column(self, name: str, scope: Scope) -> None:
        """DuckDB takes `current_date` for a column where there is one."""
        if self.dialect.name == "duckdb" and scope.find_column(name) is not None:
            raise StatementError("sql.column_ambiguous", f"{name} is a column here and a function.", hint="Qualify the column.")

    def _part(self, node: exp.Expr, clause: Clause, scope: Scope) -> Lineage:
        """Resolves the part of an expression that has a clause of its own: PARTITION BY and ORDER BY of a window, FILTER's WHERE."""
        lineage = self.expression(node, scope)
        self.clauses[clause] |= lineage
        return lineage

    def _column(self, node: exp.Column, scope: Scope) -> Lineage:
        if isinstance(node.this, exp.Star):
            return self._whole_row(node, self.dialect.fold(node.args["table"]), scope)
        key = self.dialect.fold(node.this)
        table = node.args.get("table")
        if table is not None:
            alias = self.dialect.fold(table)
            source = scope.find_source(alias)
            if source is None:
                raise StatementError("sql.relation_unknown", f"{alias}.{key} names nothing in FROM.")
            self._check_schema(node, source.relation)
            if key not in source.columns or key in source.duplicates:
                raise StatementError("sql.column_unknown", f"{alias} has no column {key}.")
            node.replace(column_node(source.alias, source.columns[key].name))
            return source.columns[key].lineage
        if node.meta.get(OUTPUT_META):
            return scope.names[key]
        found = scope.find_column(key)
        if found is None and scope.find_source(key) is not None and self.dialect.has_row_values:
            return self._whole_row(node, key, scope)
        if found is None:
            raise StatementError("sql.column_unknown", f"No relation in FROM has a column {key}.")
        alias_found, lineage = found
        if alias_found is not None:
            source = scope.find_source(alias_found)
            if source is None or key not in source.columns:
                raise StatementError(
                    "sql.column_ambiguous", f"The name {alias_found} stands for two relations on the way to {key}.",
                    hint="Give the relations different aliases.",
                )  # fmt: skip
            node.replace(column_node(alias_found, source.columns[key].name))
        return lineage

    def _whole_row(self, node: exp.Column, alias: str, scope: Scope) -> Lineage:
        source = scope.find_source(alias)
        if source is None or not self.dialect.has_row_values:
            raise StatementError("sql.column_unknown", f"{alias} is not a column here.")
        name = exp.to_identifier(alias, quoted=True)
        is_star = isinstance(node.this, exp.Star)
        node.replace(exp.Column(this=exp.Star(), table=name) if is_star else exp.Column(this=name))
        return source.lineage

    def _field(self, node: exp.Dot, scope: Scope) -> Lineage:
        """`(alias).column`: a column by way of the whole row; fields of composite values are not understood."""
        inner = node.this
        while isinstance(inner, exp.Paren):
            inner = inner.this
        field = node.expression
        if isinstance(inner, exp.Column) and not inner.table and isinstance(inner.this, exp.Identifier):
            alias, key = self.dialect.fold(inner.this), self.dialect.fold(field) if isinstance(field, exp.Identifier) else ""
            source = scope.find_source(alias)
            if scope.find_column(alias) is None and source is not None and key in source.columns:
                node.replace(column_node(alias, source.columns[key].name))
                return source.columns[key].lineage
        raise StatementError("sql.construct_unsupported", "A field of a composite value is not supported.")

    def _check_schema(self, node: exp.Column, relation: str | None) -> None:
        schema = node.args.get("db")
        if schema is None:
            return
        found = self.catalog.relations.get(relation) if relation else None
        if found is None or self.dialect.fold_name(found.schema) != self.dialect.fold(schema):
            raise StatementError("sql.relation_unknown", "A column is qualified with a schema that is not its relation's.")

    def _expressions(self, nodes: Iterable[exp.Expr | None], scope: Scope) -> None:
        for node in nodes:
            if node is not None:
                self.expression(node, scope)


def column_node(alias: str | None, name: str) -> exp.Column:
    """Returns a reference to a column, quoted, of a relation by its alias where there is one."""
    this = exp.to_identifier(name, quoted=True)
    return exp.Column(this=this, table=exp.to_identifier(alias, quoted=True)) if alias else exp.Column(this=this)


def _is_count_star(node: exp.Expr) -> bool:
    parent = node.parent
    is_plain = isinstance(node, exp.Star) and not node.args.get("except_")
    return is_plain and isinstance(parent, exp.Anonymous) and function_name(parent) == "count"
