"""The allowlist: a statement passes only when every node, and every argument that a node carries, is positively understood.

Arguments are checked by presence, not by truth: sqlglot keeps some switches as `False` (`NOT INDEXED` is `indexed=False`).
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.metadata import is_schema_function

__all__ = ["check_nodes", "function_name"]

_COMMON: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Add,
        exp.Alias,
        exp.And,
        exp.Anonymous,
        exp.Between,
        exp.BitwiseAnd,
        exp.BitwiseLeftShift,
        exp.BitwiseNot,
        exp.BitwiseOr,
        exp.BitwiseRightShift,
        exp.Boolean,
        exp.CTE,
        exp.Case,
        exp.Cast,
        exp.Collate,
        exp.Column,
        exp.CurrentDate,
        exp.CurrentSchema,
        exp.CurrentTime,
        exp.CurrentTimestamp,
        exp.DPipe,
        exp.DataType,
        exp.DataTypeParam,
        exp.Delete,
        exp.Distinct,
        exp.Div,
        exp.EQ,
        exp.Escape,
        exp.Except,
        exp.Exists,
        exp.Filter,
        exp.From,
        exp.GT,
        exp.GTE,
        exp.Group,
        exp.Having,
        exp.Identifier,
        exp.If,
        exp.In,
        exp.Insert,
        exp.Intersect,
        exp.Is,
        exp.Join,
        exp.LT,
        exp.LTE,
        exp.Like,
        exp.Limit,
        exp.Literal,
        exp.Mod,
        exp.Mul,
        exp.NEQ,
        exp.Neg,
        exp.Not,
        exp.Null,
        exp.Offset,
        exp.OnConflict,
        exp.Or,
        exp.Order,
        exp.Ordered,
        exp.Paren,
        exp.Placeholder,
        exp.Returning,
        exp.Schema,
        exp.Select,
        exp.Star,
        exp.StrPosition,
        exp.Sub,
        exp.Subquery,
        exp.Substring,
        exp.Table,
        exp.TableAlias,
        exp.Trim,
        exp.Tuple,
        exp.Union,
        exp.Update,
        exp.Values,
        exp.Var,
        exp.Where,
        exp.Window,
        exp.WindowSpec,
        exp.With,
        exp.WithinGroup,
    }
)

_NONE: frozenset[type[exp.Expr]] = frozenset()
_MERGE: frozenset[type[exp.Expr]] = frozenset({exp.Merge, exp.When, exp.Whens})
_DEFINITIONS: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.AddConstraint,
        exp.Alter,
        exp.AlterColumn,
        exp.AlterRename,
        exp.AutoIncrementColumnConstraint,
        exp.CheckColumnConstraint,
        exp.ColumnConstraint,
        exp.ColumnDef,
        exp.Constraint,
        exp.Create,
        exp.DefaultColumnConstraint,
        exp.Drop,
        exp.ForeignKey,
        exp.GeneratedAsIdentityColumnConstraint,
        exp.Index,
        exp.IndexParameters,
        exp.NotNullColumnConstraint,
        exp.PrimaryKey,
        exp.PrimaryKeyColumnConstraint,
        exp.Reference,
        exp.RenameColumn,
        exp.TruncateTable,
        exp.UniqueColumnConstraint,
    }
)

# For nodes with structure: the arguments that may be present. Nodes that are not listed are plain expressions of their operands.
_ARGUMENTS: Mapping[type[exp.Expr], frozenset[str]] = {
    node: frozenset(names.split())
    for node, names in {
        exp.Select: "with_ expressions distinct from_ joins where group having qualify windows order limit offset",
        exp.Union: "with_ this expression distinct order limit offset",
        exp.Except: "with_ this expression distinct order limit offset",
        exp.Intersect: "with_ this expression distinct order limit offset",
        exp.Subquery: "this alias with_ joins",
        exp.Table: "this alias db joins ordinality",
        exp.TableAlias: "this columns",
        exp.From: "this",
        exp.Join: "this on using side kind method",
        exp.Lateral: "this alias ordinality cross_apply",
        exp.Unnest: "expressions alias offset",
        exp.With: "expressions recursive",
        exp.CTE: "this alias materialized",
        exp.Group: "expressions grouping_sets cube rollup all",
        exp.Distinct: "expressions on",
        exp.Order: "this expressions",
        exp.Ordered: "this desc nulls_first",
        exp.Limit: "expression",
        exp.Fetch: "direction count limit_options",
        exp.Offset: "expression",
        exp.Window: "this partition_by order spec alias over",
        exp.WindowSpec: "kind start start_side end end_side exclude",
        exp.Values: "expressions alias",
        exp.Column: "this table db",
        exp.Cast: "this to",
        exp.DataType: "this expressions nested kind values",
        exp.Anonymous: "this expressions",
        exp.In: "this expressions query field",
        exp.Insert: "with_ this expression conflict returning default",
        exp.Update: "with_ this expressions from_ where order limit returning",
        exp.Delete: "with_ tables this using where order limit returning",
        exp.OnConflict: "duplicate expressions action conflict_keys index_predicate where",
        exp.Returning: "expressions",
        exp.Schema: "this expressions",
        exp.Placeholder: "this",
        exp.Literal: "this is_string",
        exp.Identifier: "this quoted",
        exp.JSONExtract: "this expression only_json_types",
        exp.JSONExtractScalar: "this expression only_json_types",
        exp.JSONBExtract: "this expression",
        exp.JSONBExtractScalar: "this expression",
        exp.Interval: "this unit",
        exp.Substring: "this start length",
        exp.Trim: "this expression position",
        exp.StrPosition: "this substr",
        exp.CurrentSchema: "",
        exp.Star: "except_",
        exp.Merge: "with_ this using on whens returning",
        exp.Whens: "expressions",
        exp.When: "matched source condition then",
        exp.Create: "this kind expression exists unique replace",
        exp.Alter: "this kind actions",
        exp.AddConstraint: "expressions",
        exp.AlterColumn: "this dtype default drop allow_null",
        exp.AlterRename: "this",
        exp.RenameColumn: "this to",
        exp.Drop: "tables kind exists restrict",
        exp.TruncateTable: "expressions",
        exp.ColumnDef: "this kind constraints",
        exp.ColumnConstraint: "kind",
        exp.Constraint: "this expressions",
        exp.CheckColumnConstraint: "this",
        exp.DefaultColumnConstraint: "this",
        exp.NotNullColumnConstraint: "allow_null",
        exp.PrimaryKeyColumnConstraint: "include",
        exp.UniqueColumnConstraint: "this include",
        exp.AutoIncrementColumnConstraint: "",
        exp.GeneratedAsIdentityColumnConstraint: "this",
        exp.ForeignKey: "expressions reference",
        exp.Reference: "this options",
        exp.PrimaryKey: "expressions include",
        exp.Index: "this table params unique",
        exp.IndexParameters: "columns where",
    }.items()
}

_NAMED: Mapping[type[exp.Expr], tuple[str, ...]] = {
    exp.Alias: ("alias",),
    exp.Column: ("this", "table", "db"),
    exp.Join: ("using",),
    exp.TableAlias: ("this", "columns"),
}
"""Arguments that are names."""


def check_nodes(tree: exp.Expr, dialect: EngineDialect) -> None:
    """Checks every node and argument of a statement.

    Raises:
        StatementError: Something is not on the list (``sql.construct_unsupported``), or a function is not
            (``sql.function_not_allowed``).
    """
    allowed = _COMMON | dialect.nodes | (_MERGE if dialect.has_merge else _NONE)
    if isinstance(tree, (exp.Create, exp.Alter, exp.Drop, exp.TruncateTable)):
        if not dialect.has_definitions:
            raise StatementError("sql.construct_unsupported", f"{type(tree).__name__.upper()} is not supported here.")
        allowed |= _DEFINITIONS
    for node in tree.walk():
        kind = type(node)
        if kind not in allowed:
            raise StatementError("sql.construct_unsupported", f"{_what(node)} is not supported here.")
        names = _ARGUMENTS.get(kind)
        if names is not None:
            for name, value in node.args.items():
                if value is not None and value != [] and name not in names and not _is_harmless(node, name, value):
                    raise StatementError(
                        "sql.construct_unsupported", f"{_what(node)} with {_clause(name)} is not supported here."
                    )
        _check_names(node)
        if isinstance(node, exp.In) and node.args.get("field") is not None and dialect.name != "duckdb":
            # A list's items in DuckDB; SQLite would take the name for a relation.
            raise StatementError("sql.construct_unsupported", "IN without parentheses is not supported here.")
        if isinstance(node, exp.Group) and node.args.get("all") and (dialect.name != "duckdb" or node.expressions):
            raise StatementError("sql.construct_unsupported", "GROUP BY ALL is not supported here.")
        if isinstance(node, exp.Anonymous):
            _check_function(node, dialect)
        elif (
            isinstance(node, exp.Identifier) and dialect.identifier_bytes and len(node.this.encode()) > dialect.identifier_bytes
        ):
            raise StatementError("sql.construct_unsupported", f"A name is longer than {dialect.identifier_bytes} bytes.")
        elif isinstance(node, exp.DataType):
            _check_type(node, dialect)
    if dialect.refuse is not None:
        dialect.refuse(tree)


def _check_names(node: exp.Expr) -> None:
    """The parser takes any expression where some grammar has a name."""
    for key in _NAMED.get(type(node), ()):
        found = node.args.get(key)
        for value in found if isinstance(found, list) else [found]:
            inner = value.this if isinstance(node, exp.Join) and isinstance(value, exp.Column) else value
            is_star = isinstance(node, exp.Column) and key == "this" and isinstance(value, exp.Star)
            if value is not None and not isinstance(inner, exp.Identifier) and not is_star:
                raise StatementError("sql.syntax", "Something else stands where a name should.")


def function_name(node: exp.Anonymous) -> str:
    """Returns the name of a call in lower case; a quoted name is returned as it is written."""
    this = node.this
    if isinstance(this, exp.Identifier):
        return str(this.this)
    return str(this).lower()


def _check_function(node: exp.Anonymous, dialect: EngineDialect) -> None:
    name = function_name(node)
    is_quoted = isinstance(node.this, exp.Identifier)
    is_known = name in dialect.functions or name in dialect.table_functions or is_schema_function(name, dialect.name)
    if is_quoted or not (is_known or name == "row"):
        raise StatementError("sql.function_not_allowed", f"The function {name[:60]} is not on the list of safe functions.")


def _check_type(node: exp.DataType, dialect: EngineDialect) -> None:
    this = node.this
    name = this.name.lower() if isinstance(this, exp.DataType.Type) else ""
    if name not in dialect.types or isinstance(this, exp.Expr):
        raise StatementError("sql.construct_unsupported", "A cast names a type that is not on the list of plain types.")


def _is_harmless(node: exp.Expr, name: str, value: object) -> bool:
    """Switches that sqlglot fills with their default."""
    if value is False and type(node) in _DEFINITIONS and name not in ("allow_null", "this"):
        return True
    return value is False and (type(node), name) in {
        (exp.Merge, "using_cond"),
        (exp.Cast, "safe"),
        (exp.Union, "by_name"),
        (exp.Except, "by_name"),
        (exp.Intersect, "by_name"),
        (exp.Group, "all"),
        (exp.Group, "totals"),
        (exp.Delete, "cluster"),
        (exp.Delete, "using"),
        (exp.Insert, "by_name"),
        (exp.Insert, "exists"),
        (exp.Insert, "ignore"),
        (exp.Insert, "is_function"),
        (exp.Insert, "overwrite"),
        (exp.Insert, "partition"),
        (exp.Insert, "settings"),
        (exp.Insert, "source"),
        (exp.Insert, "stored"),
        (exp.JSONExtractScalar, "scalar_only"),
        (exp.Placeholder, "jdbc"),
        (exp.Returning, "into"),
        (exp.In, "is_global"),
        (exp.Lateral, "view"),
        (exp.Lateral, "outer"),
        (exp.Table, "only"),
        (exp.OnConflict, "duplicate"),
        (exp.StrPosition, "clamp_position"),
    }


def _what(node: exp.Expr) -> str:
    name = type(node).__name__
    words = "".join(f" {c}" if c.isupper() and i and not name[i - 1].isupper() else c for i, c in enumerate(name))
    return f"The construct {words.upper()}"


def _clause(name: str) -> str:
    return name.strip("_").replace("_", " ").upper()
