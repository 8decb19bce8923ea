"""The names that the engine itself gives to a query's columns, so that the regenerated statement keeps them.

PostgreSQL: FigureColname of the parser (`count`, `?column?`, a cast's argument). SQLite: a column's own name, else the text of the
expression as it was written.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from guardrails.sql.allow import function_name
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.parse import OPERATOR_META

__all__ = ["postgres_label", "projection_texts"]

_TYPE_NAMES = {
    "INT": "int4",
    "BIGINT": "int8",
    "SMALLINT": "int2",
    "DECIMAL": "numeric",
    "DOUBLE": "float8",
    "FLOAT": "float4",
    "BOOLEAN": "bool",
    "CHAR": "bpchar",
    "VARBINARY": "bytea",
}
_CALL_LABELS: dict[type[exp.Expr], str] = {
    exp.Array: "array",
    exp.AtTimeZone: "timezone",
    exp.CurrentDate: "current_date",
    exp.CurrentSchema: "current_schema",
    exp.CurrentTime: "current_time",
    exp.CurrentTimestamp: "current_timestamp",
    exp.Exists: "exists",
    exp.Explode: "unnest",
    exp.Extract: "extract",
    exp.Localtime: "localtime",
    exp.Localtimestamp: "localtimestamp",
    exp.Overlaps: "overlaps",
    exp.Overlay: "overlay",
    exp.StrPosition: "position",
    exp.Substring: "substring",
    exp.Tuple: "row",
    exp.Unnest: "unnest",
}
_SPACES = " \t\n\v\f\r"
_CLAUSES = {
    TokenType.FROM,
    TokenType.WHERE,
    TokenType.GROUP_BY,
    TokenType.HAVING,
    TokenType.ORDER_BY,
    TokenType.LIMIT,
    TokenType.OFFSET,
    TokenType.UNION,
    TokenType.EXCEPT,
    TokenType.INTERSECT,
    TokenType.WINDOW,
    TokenType.FETCH,
}


def postgres_label(node: exp.Expr) -> str:
    """Returns the column name that PostgreSQL gives to an expression without alias."""
    return _label(node)[0] or "?column?"


def projection_texts(sql: str, tokens: Sequence[Token]) -> list[str]:
    """Returns the text of each expression of the outermost SELECT list, as written; empty when there is no such list."""
    index = _outer_select(tokens)
    if index is None:
        return []
    start = index + 1
    while start < len(tokens) and tokens[start].token_type in (TokenType.DISTINCT, TokenType.ALL):
        start += 1
    texts: list[str] = []
    depth, first = 0, start
    for position in range(start, len(tokens) + 1):
        token = tokens[position] if position < len(tokens) else None
        is_end = token is None or (depth == 0 and _ends_list(token, tokens[position - 1]))
        if is_end or (depth == 0 and token is not None and token.token_type is TokenType.COMMA):
            if position > first:
                # Up to the next token, comments included, as SQLite takes it.
                texts.append(sql[tokens[first].start : token.start if token is not None else None].strip(_SPACES))
            first = position + 1
        if is_end or token is None:
            break
        if token.token_type in (TokenType.L_PAREN, TokenType.L_BRACKET):
            depth += 1
        elif token.token_type in (TokenType.R_PAREN, TokenType.R_BRACKET):
            depth -= 1
    return texts


def _ends_list(token: Token, before: Token) -> bool:
    if token.token_type is TokenType.FROM and before.token_type is TokenType.DISTINCT:
        # `IS DISTINCT FROM` is an operator.
        return False
    return token.token_type in _CLAUSES or token.token_type in (TokenType.R_PAREN, TokenType.SEMICOLON)


def sqlite_label(node: exp.Expr, dialect: EngineDialect) -> str:
    """Returns the text of an expression inside a subquery, where SQLite's own name depends on the text."""
    return dialect.sqlglot.generate(node, comments=False)


def _outer_select(tokens: Sequence[Token]) -> int | None:
    depth = 0
    for index, token in enumerate(tokens):
        if token.token_type is TokenType.L_PAREN:
            depth += 1
        elif token.token_type is TokenType.R_PAREN:
            depth -= 1
        elif token.token_type is TokenType.SELECT and depth == 0:
            return index
    return None


def _label(node: exp.Expr) -> tuple[str | None, int]:
    """Returns the name and how strong it is: 2 from a column or a call, 1 from a type, 0 none."""
    if isinstance(node, (exp.Paren, exp.Collate, exp.Filter, exp.WithinGroup, exp.Window, exp.Bracket)):
        return _label(node.this)
    if isinstance(node, exp.Column):
        # A whole row is called like its relation.
        return node.table if isinstance(node.this, exp.Star) else node.name, 2
    if isinstance(node, exp.Dot):
        return node.expression.name, 2
    if isinstance(node, exp.Anonymous):
        return (None, 0) if node.meta.get(OPERATOR_META) else (function_name(node), 2)
    if isinstance(node, exp.Trim):
        position = str(node.args.get("position") or "").upper()
        return {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(position, "btrim"), 2
    if isinstance(node, exp.Cast):
        name, strength = _label(node.this)
        return (name, strength) if strength == 2 else (_type_name(node.to), 1)
    if isinstance(node, exp.Case):
        default = node.args.get("default")
        name, strength = _label(default) if default is not None else (None, 0)
        return (name, strength) if strength == 2 else ("case", 1)
    if isinstance(node, exp.Interval):
        return "interval", 1
    if isinstance(node, exp.Subquery):
        inner = node.this
        first = inner.selects[0] if isinstance(inner, exp.Query) and inner.selects else None
        return (first.alias or _label(first)[0] or "?column?", 2) if first is not None else (None, 0)
    name = _CALL_LABELS.get(type(node))
    return (name, 2) if name else (None, 0)


def _type_name(kind: exp.DataType) -> str:
    name = kind.this.name if isinstance(kind.this, exp.DataType.Type) else ""
    if name == "ARRAY" and kind.expressions:
        return _type_name(kind.expressions[0])
    return _TYPE_NAMES.get(name, name.lower())
