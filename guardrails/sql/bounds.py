"""Bounds on a statement, so that judging it takes bounded time and memory whatever the text is.

Text and tokens are bounded before any parsing, since some grammar takes the parser exponential or quadratic time; what only the
tree shows is bounded right after.
"""

from __future__ import annotations

import re

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError
from guardrails.model import Limits

__all__ = ["OPERAND_END", "check_text", "check_tokens", "check_tree"]

_MAX_SUBSCRIPTS = 20
_MAX_PENDING_JOINS = 8
_MAX_RUN = 1_500
"""Longest chain of operators on one level; each makes the tree one deeper."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]")
_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
_PREFIX_OPERATORS = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE}
OPERAND_END = {
    TokenType.VAR,
    TokenType.IDENTIFIER,
    TokenType.NUMBER,
    TokenType.STRING,
    TokenType.R_PAREN,
    TokenType.R_BRACKET,
    TokenType.END,
    TokenType.NULL,
    TokenType.TRUE,
    TokenType.FALSE,
    TokenType.CURRENT_DATE,
    TokenType.CURRENT_TIME,
    TokenType.CURRENT_TIMESTAMP,
}
_AFTER_FROM = {
    TokenType.SELECT,
    TokenType.WHERE,
    TokenType.GROUP_BY,
    TokenType.HAVING,
    TokenType.WINDOW,
    TokenType.ORDER_BY,
    TokenType.LIMIT,
    TokenType.OFFSET,
    TokenType.UNION,
    TokenType.EXCEPT,
    TokenType.INTERSECT,
    TokenType.RETURNING,
    TokenType.SET,
    TokenType.VALUES,
}


def check_text(sql: str, limits: Limits) -> None:
    """Checks the text before it is cut into tokens.

    Raises:
        StatementError: It is too long, empty, or holds what is no text.
    """
    if len(sql) > limits.statement_bytes:
        raise StatementError("sql.too_large", f"The statement is longer than {limits.statement_bytes:,} bytes.")
    try:
        size = len(sql.encode("utf-8"))
    except UnicodeEncodeError:
        raise StatementError("sql.encoding", "The statement is not valid Unicode text.") from None
    if size > limits.statement_bytes:
        raise StatementError("sql.too_large", f"The statement is longer than {limits.statement_bytes:,} bytes.")
    if found := _CONTROL.search(sql):
        raise StatementError("sql.encoding", f"The statement has the control character U+{ord(found.group()):04X}.")
    if not sql.strip():
        raise StatementError("sql.empty", "The statement is empty.")


def check_tokens(tokens: list[Token], limits: Limits) -> None:
    """Checks how many tokens there are and how deep they nest, before they are parsed.

    Raises:
        StatementError: Too many, or too deep.
    """
    if len(tokens) > limits.tokens:
        raise StatementError("sql.too_large", f"The statement has more than {limits.tokens:,} words and signs.")
    _check_depth(tokens, limits.depth)
    _check_pending_joins(tokens)


def check_tree(tree: exp.Expr, limits: Limits) -> None:
    """Checks how many joins and common table expressions there are, and how long lists after IN are.

    Raises:
        StatementError: Too many, or too long.
    """
    joins = ctes = 0
    for node in tree.walk():
        joins += isinstance(node, exp.Join)
        ctes += isinstance(node, exp.CTE)
        if isinstance(node, exp.In) and len(node.expressions) > limits.in_list:
            raise StatementError("sql.too_large", f"A list after IN has more than {limits.in_list:,} items.")
    if joins > limits.joins:
        raise StatementError("sql.too_large", f"The statement has more than {limits.joins} joins.")
    if ctes > limits.ctes:
        raise StatementError("sql.too_large", f"The statement has more than {limits.ctes} common table expressions.")


def _check_depth(tokens: list[Token], most: int) -> None:
    depth = prefixes = subscripts = 0
    runs = [0]
    before = None
    for token in tokens:
        kind = token.token_type
        # A chain of subscripts takes the parser quadratic time.
        subscripts = subscripts + 1 if kind is TokenType.L_BRACKET and before is TokenType.R_BRACKET else subscripts
        before = kind
        prefixes = prefixes + 1 if kind in _PREFIX_OPERATORS else 0
        if kind in _OPENING:
            depth += 1
            runs.append(0)
        elif kind in _CLOSING:
            depth = max(0, depth - 1)
            if len(runs) > 1:
                runs.pop()
        elif kind is not TokenType.COMMA and kind not in OPERAND_END:
            runs[-1] += 1
        elif kind is TokenType.COMMA:
            runs[-1] = 0
        if depth > most or prefixes > most or subscripts > _MAX_SUBSCRIPTS:
            raise StatementError("sql.too_deep", f"The statement is nested more than {most} levels deep.")
        if runs[-1] > _MAX_RUN:
            raise StatementError("sql.too_deep", f"An expression has more than {_MAX_RUN:,} terms.")


def _check_pending_joins(tokens: list[Token]) -> None:
    """Joins without a condition of their own take the parser time that doubles with each."""
    pending = [0]
    before: TokenType | None = None
    for token in tokens:
        kind = token.token_type
        if kind in _OPENING:
            pending.append(0)
        elif kind in _CLOSING and len(pending) > 1:
            pending.pop()
        elif kind in (TokenType.ON, TokenType.USING) or kind in _AFTER_FROM:
            pending[-1] = max(0, pending[-1] - 1) if kind not in _AFTER_FROM else 0
        elif kind is TokenType.JOIN and before is not TokenType.CROSS:
            pending[-1] += 1
            if pending[-1] > _MAX_PENDING_JOINS:
                raise StatementError(
                    "sql.too_deep", "Too many joins have no condition of their own.", hint="Add ON after each."
                )
        before = kind
