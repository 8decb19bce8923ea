"""Constants in a text: escapes decoded, typed constants told from casts of strings (PostgreSQL, Lexical Structure, 4.1.2)."""

from __future__ import annotations

import re

from sqlglot.parser import Parser
from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError

__all__ = ["STRINGS", "decoded", "decoded_unicode", "starts_cast_constant"]

STRINGS = (TokenType.STRING, TokenType.BYTE_STRING, TokenType.UNICODE_STRING, TokenType.RAW_STRING, TokenType.HEREDOC_STRING)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNICODE_ESCAPE = re.compile(r"\\(?:([0-9A-Fa-f]{4})|\+([0-9A-Fa-f]{6})|(\\)|)")
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)


def starts_cast_constant(tokens: list[Token], index: int) -> bool:
    """Whether a typed constant such as `DATE '2020-01-01'` starts here, with a cast of it to follow.

    Raises:
        StatementError: Its type is of several words, which sqlglot would cast last.
    """
    end = index + 2
    if end >= len(tokens) or tokens[end].token_type is not TokenType.DCOLON or tokens[index + 1].token_type not in STRINGS:
        return False
    token, before = tokens[index], tokens[index - 1] if index else None
    is_zone = token.text.upper() == "ZONE" and index > 1 and tokens[index - 2].text.upper() != "AT"
    if token.token_type not in Parser.TYPE_TOKENS:
        is_type = is_zone or _ends_modifier(tokens, index)
    else:
        is_type = before is not None and before.token_type in Parser.TYPE_TOKENS | {TokenType.DOT}
        if token.token_type is TokenType.INTERVAL:
            return False
    if is_type:
        raise StatementError(
            "sql.construct_unsupported", "A constant of a type of several words is cast.", hint="Put it in parentheses."
        )
    return token.token_type in Parser.TYPE_TOKENS


def _ends_modifier(tokens: list[Token], index: int) -> bool:
    """Whether a parenthesis closes what a type has in parentheses, as in `numeric(3, 1)`."""
    depth = 0
    if tokens[index].token_type is not TokenType.R_PAREN:
        return False
    for position in range(index, -1, -1):
        depth += {TokenType.R_PAREN: 1, TokenType.L_PAREN: -1}.get(tokens[position].token_type, 0)
        if depth == 0:
            return position > 0 and tokens[position - 1].token_type in Parser.TYPE_TOKENS
    return False


def decoded(source: str) -> str:
    r"""Decodes an escape string constant such as ``E'a\n'`` (PostgreSQL, Lexical Structure, 4.1.2.2)."""
    body = source[source.index("'") + 1 : -1].replace("''", "'")

    def one(match: re.Match[str]) -> str:
        octal, hexadecimal, short, long, other = match.groups()
        if octal or hexadecimal:
            value = int(octal, 8) if octal else int(hexadecimal, 16)
            if not 0 < value < 128:
                raise StatementError("sql.encoding", "An escape in a string constant is not a plain character.")
            return chr(value)
        if short or long:
            value = int(short or long, 16)
            if value == 0 or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
                raise StatementError("sql.encoding", "An escape in a string constant is not a valid character.")
            return chr(value)
        return _ESCAPES.get(other, other)

    return _ESCAPE.sub(one, body)


def decoded_unicode(text: str) -> str:
    r"""Decodes a constant such as ``U&'d\0061t'``, whose quotes are gone (PostgreSQL, Lexical Structure, 4.1.2.3)."""

    def one(match: re.Match[str]) -> str:
        short, long, escape = match.groups()
        if escape:
            return "\\"
        value = int(short or long or "0", 16)
        if value == 0 or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            raise StatementError("sql.encoding", "An escape in a string constant is not a valid character.")
        return chr(value)

    return _UNICODE_ESCAPE.sub(one, text)
