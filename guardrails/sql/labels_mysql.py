"""The names that MySQL and MariaDB give to result columns: a column's name as it is written, a constant's value, else the text.

Parentheses around a column or a constant and blanks before a text do not count. Measured on MariaDB 10.11; MySQL keeps to the text too.
Source: https://mariadb.com/kb/en/select/ (select expressions)
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from guardrails.sql.dialects import EngineDialect
from guardrails.sql.tokens_mysql import SELECT_COMMENT

__all__ = ["TEXTS_META", "mysql_label", "note_texts", "numbered_selects"]

TEXTS_META = "gr_texts"
"""Key in a SELECT's `meta`: the texts of its projections, in order."""

_AFTER_SELECT = {TokenType.DISTINCT, TokenType.ALL}
_MODIFIERS = ("HIGH_PRIORITY", "SQL_")
_CLAUSES = {
    *(
        TokenType.FROM,
        TokenType.WHERE,
        TokenType.GROUP_BY,
        TokenType.HAVING,
        TokenType.WINDOW,
        TokenType.ORDER_BY,
        TokenType.LIMIT,
    ),
    *(TokenType.UNION, TokenType.EXCEPT, TokenType.INTERSECT, TokenType.ON, TokenType.RETURNING, TokenType.SEMICOLON),
}
_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
_LARGEST_IN_NAMES = "\uffff"


def numbered_selects(tree: exp.Expr) -> list[tuple[int, exp.Select]]:
    """Returns each SELECT of a tree that still has its comments, with the number of its token."""
    numbered: list[tuple[int, exp.Select]] = []
    for select in tree.find_all(exp.Select):
        marks = [c for c in select.comments or [] if c.startswith(SELECT_COMMENT)]
        if marks:
            numbered.append((int(marks[0].removeprefix(SELECT_COMMENT)), select))
    return numbered


def note_texts(tree: exp.Expr, selects: Sequence[tuple[int, exp.Select]], sql: str, tokens: Sequence[Token]) -> None:
    """Writes the texts of their projections into SELECTs, and into RETURNING.

    Args:
        tree: The statement.
        selects: From `numbered_selects`.
        sql: The statement's text.
        tokens: Its tokens.
    """
    starts = [index for index, token in enumerate(tokens) if token.token_type is TokenType.SELECT]
    for number, select in selects:
        select.meta[TEXTS_META] = _texts(sql, tokens, starts[number - 1] + 1)
    returning = tree.args.get("returning")
    last = max((index for index, token in enumerate(tokens) if token.token_type is TokenType.RETURNING), default=None)
    if returning is not None and last is not None:
        returning.meta[TEXTS_META] = _texts(sql, tokens, last + 1)


def mysql_label(value: exp.Expr, text: str | None, dialect: EngineDialect) -> str:
    """Returns the column name that MySQL gives to an expression without alias.

    Args:
        value: The expression, with its names as they are written.
        text: Its text, None where only the tree is known.
        dialect: MySQL's rules.
    """
    written = dialect.sqlglot.generate(value, comments=False) if text is None else text
    inner = value
    while isinstance(inner, exp.Paren):
        inner = inner.this
    match inner:
        case exp.Column() if isinstance(inner.this, exp.Identifier):
            label = str(inner.this.this)
        case exp.Null() | exp.Boolean():
            label = inner.sql().upper()
        case exp.Literal() if inner.is_string:
            label = str(inner.this)
        case exp.National():
            label = str(inner.this)
        case exp.Introducer() if inner.expression.is_string:
            label = str(inner.expression.this)
        case exp.Literal() if inner.name.startswith("0x"):
            label = written
        case exp.Literal():
            label = written.strip("()+ \t\n")
        case _:
            label = written
    return _as_name(label)


def _as_name(text: str) -> str:
    """Names have no characters beyond the basic plane, and no blanks in front."""
    kept = "".join(c if c <= _LARGEST_IN_NAMES else "?" for c in text)
    return kept.lstrip("".join(map(chr, range(0x21))))


def _texts(sql: str, tokens: Sequence[Token], start: int) -> list[str]:
    while start < len(tokens) and _is_modifier(tokens[start]):
        start += 1
    texts: list[str] = []
    depth, first = 0, start
    for index in range(start, len(tokens) + 1):
        kind = tokens[index].token_type if index < len(tokens) else TokenType.SEMICOLON
        # `IS DISTINCT FROM` is an operator.
        is_clause = kind in _CLAUSES and not (kind is TokenType.FROM and tokens[index - 1].token_type is TokenType.DISTINCT)
        is_end = depth == 0 and (is_clause or kind is TokenType.R_PAREN)
        if (is_end or (depth == 0 and kind is TokenType.COMMA)) and index > first:
            texts.append(sql[tokens[first].start : tokens[index - 1].end + 1])
            first = index + 1
        if is_end:
            break
        depth += (kind in _OPENING) - (kind in _CLOSING)
    return texts


def _is_modifier(token: Token) -> bool:
    is_word = token.token_type is TokenType.VAR and token.text.upper().startswith(_MODIFIERS)
    return token.token_type in _AFTER_SELECT or is_word
