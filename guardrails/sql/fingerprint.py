"""The statement without its values: what the ledger may show, and what statements of one shape have in common."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot.tokenizer_core import Token, TokenType

from guardrails.sql.tokens import FUNCTION_PREFIX, POSITION_PREFIX

__all__ = ["normalised_text"]

_LITERALS = {
    TokenType.STRING,
    TokenType.NUMBER,
    TokenType.HEX_STRING,
    TokenType.BIT_STRING,
    TokenType.BYTE_STRING,
    TokenType.NATIONAL_STRING,
    TokenType.UNICODE_STRING,
    TokenType.RAW_STRING,
    TokenType.HEREDOC_STRING,
}


def normalised_text(tokens: Iterable[Token]) -> str:
    """Returns the statement on one line with every literal written as `?`; comments are gone already."""
    return " ".join(_text(t) for t in tokens)


def _text(token: Token) -> str:
    if token.token_type in _LITERALS:
        return "?"
    if token.token_type is TokenType.IDENTIFIER:
        return '"' + token.text.removeprefix(FUNCTION_PREFIX).replace('"', '""') + '"'
    return token.text.removeprefix(FUNCTION_PREFIX).replace(POSITION_PREFIX, "")
