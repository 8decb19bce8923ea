"""From text to checked tokens: limits before any parsing, and the places where sqlglot would read something else than the engine.

Two repairs are made on the token stream, so that they hold for every version of the grammar above it. Function names that sqlglot
would translate (`to_hex` becomes `hex`, `date_part` becomes EXTRACT) are hidden behind a prefix and restored after parsing, so that a
call keeps the name that the agent wrote. String constants with escapes are decoded here and travel as plain literals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError
from guardrails.model import Limits
from guardrails.sql.bounds import OPERAND_END, check_text, check_tokens
from guardrails.sql.column_types import TYPE_PREFIX, hide_types
from guardrails.sql.constants import decoded, decoded_unicode, starts_cast_constant
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.operators import check_operators

__all__ = ["CROSS_COMMENT", "FUNCTION_PREFIX", "POSITION_PREFIX", "tokenize"]

FUNCTION_PREFIX = "gr_fn_"
"""Hides a function's name from the parser; restored right after parsing."""
POSITION_PREFIX = "gr_pos_"
"""Name of a positional parameter: `gr_pos_1` is the first."""

CROSS_COMMENT = "gr_cross"
"""Comment on the token of an explicit CROSS JOIN."""

# Calls with a syntax of their own inside the parentheses stay with sqlglot's grammar.
_STRUCTURAL = frozenset(
    [
        "ALL",
        "ANY",
        "ARRAY",
        "CAST",
        "EXISTS",
        "EXTRACT",
        "FILTER",
        "OVER",
        "OVERLAY",
        "POSITION",
        "ROW",
        "SOME",
        "SUBSTRING",
        "TRIM",
        "UNNEST",
        "VALUES",
        "WITHIN",
    ]
)
_MAX_OWN_TOKENS = 200_000
"""For text that the guard itself generated from a checked tree."""
_NAME_TOKENS = {
    TokenType.VAR,
    TokenType.CHAR,
    TokenType.DATE,
    TokenType.DATETIME,
    TokenType.FIRST,
    TokenType.FORMAT,
    TokenType.GLOB,
    TokenType.INSERT,
    TokenType.LEFT,
    TokenType.LIKE,
    TokenType.LIST,
    TokenType.MAP,
    TokenType.RANGE,
    TokenType.REPLACE,
    TokenType.RIGHT,
    TokenType.TIME,
    TokenType.TIMESTAMP,
    TokenType.TIMESTAMPTZ,
    TokenType.TRUNCATE,
    TokenType.YEAR,
    TokenType.IDENTIFIER,
}
_INFIX = {TokenType.LIKE, TokenType.GLOB}
"""Functions whose names are operators too: `a LIKE (b)` is no call."""
_NOT_CALLS_AFTER = {TokenType.ALIAS, TokenType.DCOLON, TokenType.INTO, TokenType.TABLE, TokenType.UPDATE}
# White space or invisible for sqlglot (or for a reader), not for the engines.
_ODD_SPACE = re.compile("[\u0085\u00a0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff]")
_KEYS = (TokenType.STRING, TokenType.NUMBER)
_TYPE_WORDS = {
    TokenType.DATE,
    TokenType.DATETIME,
    TokenType.INTERVAL,
    TokenType.TIME,
    TokenType.TIMESTAMP,
    TokenType.TIMESTAMPLTZ,
    TokenType.TIMESTAMPTZ,
    TokenType.TIMETZ,
}
_LAST_WORD = re.compile(r"[A-Za-z_]+\Z")
_BEFORE_OPERANDS = frozenset(
    {
        *(
            "ALL",
            "AND",
            "BETWEEN",
            "BY",
            "CASE",
            "DISTINCT",
            "ELSE",
            "ESCAPE",
            "FROM",
            "GLOB",
            "HAVING",
            "IN",
            "IS",
            "LIKE",
            "LIMIT",
        ),
        *("MATCH", "NOT", "OFFSET", "ON", "OR", "REGEXP", "RETURNING", "SELECT", "SET", "THEN", "VALUES", "WHEN", "WHERE"),
    }
)
_PREFIXED = (TokenType.HEX_STRING, TokenType.BIT_STRING, TokenType.NUMBER)
_UNITS = {"YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"}


def tokenize(sql: str, dialect: EngineDialect, limits: Limits | None = None) -> list[Token]:
    """Returns the statement's tokens, repaired, after every check that needs no grammar.

    Args:
        sql: The text.
        dialect: Whose SQL it is.
        limits: Bounds of text and tokens; None for text that the guard generated itself.

    Raises:
        StatementError: Too large, too deep, not valid text, or lexically ambiguous between sqlglot and the engine.
    """
    if limits is not None:
        check_text(sql, limits)
    try:
        # After a parameter the tokenizer takes an empty text at the very end for one that is not closed.
        tokens = list(dialect.sqlglot.tokenize(f"{sql} "))
    except TokenError:
        raise StatementError("sql.syntax", "A quoted string, an identifier or a comment is not closed.") from None
    if limits is not None:
        check_tokens(tokens, limits)
        _check_spaces(sql, tokens)
    elif len(tokens) > _MAX_OWN_TOKENS:
        raise StatementError("sql.too_large", "The statement grows too large when masks and filters are put in.")
    if any(TYPE_PREFIX in t.text for t in tokens):
        raise StatementError("sql.construct_unsupported", "A name starts with a prefix that is reserved.")
    if dialect.has_custom_operators:
        check_operators(sql, tokens)
    if dialect.are_types_text:
        tokens = hide_types(sql, tokens)
    if dialect.repair is not None:
        tokens = dialect.repair(tokens)
    return list(_repair(sql, tokens, dialect))


def _check_spaces(sql: str, tokens: list[Token]) -> None:
    if not _ODD_SPACE.search(sql):
        return
    position = 0
    for token in tokens:
        gap = sql[position : token.start]
        quoted = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)
        if _ODD_SPACE.search(gap) or (not quoted and _ODD_SPACE.search(token.text)):
            raise StatementError("sql.encoding", "There is white space that the database would not take as white space.")
        position = token.end + 1
    if _ODD_SPACE.search(sql[position:]):
        raise StatementError("sql.encoding", "There is white space that the database would not take as white space.")


def _repair(sql: str, tokens: list[Token], dialect: EngineDialect) -> Iterator[Token]:
    hidden = _translated_names(type(dialect.sqlglot)) - dialect.structural
    position = 0
    constants: dict[int, str | None] = {}
    typed: set[int] = set()
    before: Token | None = None
    for index, token in enumerate(tokens):
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        kind = token.token_type
        if starts_cast_constant(tokens, index):
            # `DATE '2020-01-01'::text` casts the date, not the string.
            typed.add(index + 1)
            yield _as(token, TokenType.L_PAREN, "(")
        if kind is not TokenType.STRING and _is_reserved(token.text) and not _is_own_position(token, before):
            raise StatementError("sql.construct_unsupported", "A name starts with a prefix that is reserved.")
        _check_pair(sql, token, before, dialect)
        if kind is TokenType.PLACEHOLDER and dialect.has_question_marks:
            position += 1
            # `x: a` gives an alias in DuckDB.
            yield _as(token, TokenType.PARAMETER, "$") if dialect.name == "duckdb" else _as(token, TokenType.COLON, ":")
            yield _as(token, TokenType.VAR, f"{POSITION_PREFIX}{position}")
        elif kind is TokenType.BYTE_STRING and dialect.name in ("postgres", "duckdb"):
            yield _as(token, TokenType.STRING, decoded(sql[token.start : token.end + 1]))
        elif kind is TokenType.UNICODE_STRING and dialect.name == "postgres":
            if after is not None and after.text.upper() == "UESCAPE":
                raise StatementError("sql.construct_unsupported", "UESCAPE is not supported.", hint="Use the default escape.")
            yield _as(token, TokenType.STRING, decoded_unicode(token.text))
        elif kind is TokenType.SOME and after is not None and after.token_type is TokenType.L_PAREN:
            yield _as(token, TokenType.ANY, "ANY")
        elif kind is TokenType.DOT and after is not None and _is_fraction(token, before, after):
            # sqlglot takes `.5` for a number in some places only.
            constants[index + 1] = None
            yield Token(TokenType.NUMBER, f"0.{after.text}", token.line, token.col, token.start, after.end)
        elif kind is TokenType.UNNEST and (
            dialect.name == "duckdb" or (before is not None and before.token_type is TokenType.L_PAREN)
        ):
            # The first of a join in parentheses, where the grammar takes any other function; in DuckDB a function everywhere.
            yield _as(token, TokenType.VAR, FUNCTION_PREFIX + token.text)
        elif kind in (TokenType.HEREDOC_STRING, TokenType.RAW_STRING):
            yield _as(token, TokenType.STRING, token.text)
        elif kind is TokenType.CROSS:
            # Tells an explicit CROSS JOIN from a comma, which sqlglot makes one for SQLite.
            yield Token(kind, token.text, token.line, token.col, token.start, token.end, [CROSS_COMMENT])
        elif (
            kind is TokenType.INTERVAL
            and after is not None
            and after.token_type is TokenType.STRING
            and dialect.are_intervals_casts
        ):
            unit = tokens[index + 2] if index + 2 < len(tokens) else None
            if unit is not None and _is_unit(unit):
                _check_interval(after, tokens[index + 3] if index + 3 < len(tokens) else None)
                constants[index + 1], constants[index + 2] = f"{after.text} {unit.text}", None
            else:
                constants[index + 1] = after.text
        elif index in constants:
            # `INTERVAL '1 day 02:03'` would lose its time; as a cast the constant stays as it is.
            constant = constants[index]
            if constant is None:
                continue
            yield _as(token, TokenType.STRING, constant)
            yield _as(token, TokenType.DCOLON, "::")
            yield _as(token, TokenType.INTERVAL, "INTERVAL")
        elif kind in _KEYS and before is not None and before.token_type in (TokenType.ARROW, TokenType.DARROW):
            # A parenthesised key is left alone; a bare one would be read as a JSON path.
            yield _as(token, TokenType.L_PAREN, "(")
            yield token
            yield _as(token, TokenType.R_PAREN, ")")
        elif _is_call(token, before, after) and token.text.upper() in hidden:
            yield _as(token, kind if kind is TokenType.IDENTIFIER else TokenType.VAR, FUNCTION_PREFIX + token.text)
        else:
            yield token
        if index in typed:
            yield _as(token, TokenType.R_PAREN, ")")
        before = token


@cache
def _translated_names(sqlglot_dialect: type[Dialect]) -> frozenset[str]:
    parser = type(sqlglot_dialect().parser())
    names = {*parser.FUNCTIONS, *parser.FUNCTION_PARSERS, *parser.NO_PAREN_FUNCTION_PARSERS}
    return frozenset(names - _STRUCTURAL)


def _is_call(token: Token, before: Token | None, after: Token | None) -> bool:
    if after is None or after.token_type is not TokenType.L_PAREN or token.token_type not in _NAME_TOKENS:
        return False
    if token.token_type is TokenType.INSERT and before is not None and before.token_type is TokenType.THEN:
        # A branch of MERGE.
        return False
    if token.token_type in _INFIX and before is not None:
        return before.token_type is not TokenType.NOT and before.token_type not in OPERAND_END
    return before is None or before.token_type not in _NOT_CALLS_AFTER


def _is_fraction(token: Token, before: Token | None, after: Token) -> bool:
    is_alone = before is None or before.end + 1 != token.start or before.token_type not in OPERAND_END
    return is_alone and after.token_type is TokenType.NUMBER and after.start == token.end + 1


def _is_unit(token: Token) -> bool:
    return token.text.upper().rstrip("S") in _UNITS


def _check_interval(quantity: Token, after: Token | None) -> None:
    if not re.fullmatch(r"[+-]?\d+", quantity.text) or (after is not None and after.text.upper() == "TO"):
        raise StatementError(
            "sql.construct_unsupported", "This form of INTERVAL is not supported.", hint="Use '1 day'::interval."
        )


def _is_reserved(text: str) -> bool:
    return FUNCTION_PREFIX in text or POSITION_PREFIX in text


def _is_own_position(token: Token, before: Token | None) -> bool:
    return (
        token.text.startswith(POSITION_PREFIX)
        and before is not None
        and before.token_type in (TokenType.COLON, TokenType.PARAMETER)
    )


def _check_pair(sql: str, token: Token, before: Token | None, dialect: EngineDialect) -> None:
    """Refuses neighbours that sqlglot joins or splits otherwise than the engine."""
    if before is None:
        return
    kind, kind_before = token.token_type, before.token_type
    strings = (TokenType.STRING, TokenType.BYTE_STRING, TokenType.RAW_STRING, TokenType.HEREDOC_STRING)
    if kind in strings and kind_before in strings:
        hint = "Join them with CONCAT." if dialect.name == "mysql" else "Join them with ||."
        raise StatementError("sql.construct_unsupported", "Two string constants follow each other.", hint=hint)
    if kind is TokenType.AMP and before.text.upper() == "U" and sql[before.end + 1 : token.end + 2] == '&"':
        raise StatementError("sql.construct_unsupported", "Names with Unicode escapes are not supported.")
    is_adjacent = token.start == before.end + 1
    if kind_before is TokenType.NUMBER and is_adjacent and (kind is TokenType.NUMBER or _is_word(sql[token.start])):
        raise StatementError("sql.syntax", "A number is followed by letters without a space.")
    if kind is TokenType.NUMBER and kind_before is TokenType.PLACEHOLDER and dialect.name == "sqlite":
        raise StatementError("sql.construct_unsupported", "Numbered parameters are not supported.", hint="Use :name or ?.")
    is_changed = kind is TokenType.STRING or (dialect.name == "sqlite" and kind is not TokenType.NUMBER)
    if kind_before is TokenType.PLUS and is_changed:
        previous = sql[: before.start].rstrip()
        word = _LAST_WORD.search(previous)
        is_operand = bool(previous) and (previous[-1].isalnum() or previous[-1] in "_)]'\"`$")
        if not is_operand or (word is not None and word.group().upper() in _BEFORE_OPERANDS):
            # sqlglot drops a unary plus, which takes away a column's affinity in SQLite, and makes a string a number in PostgreSQL.
            raise StatementError("sql.construct_unsupported", "A unary plus is not supported.", hint="Leave it out.")
    if kind is TokenType.STRING and dialect.name == "sqlite" and kind_before in _TYPE_WORDS:
        # A column of that name and its label for SQLite, a typed constant for sqlglot.
        raise StatementError("sql.construct_unsupported", "A type stands before a string.", hint="Use the string alone.")
    if kind in strings and dialect.name == "postgres" and kind_before in (TokenType.BIT, TokenType.CHAR, TokenType.NCHAR):
        # A constant of any length for PostgreSQL; sqlglot makes it a cast to a length of one.
        raise StatementError("sql.construct_unsupported", "A typed constant of CHAR or BIT is not supported.", hint="Use text.")
    prefix = sql[token.start : token.start + 2] if kind in _PREFIXED else ""
    if dialect.name == "postgres" and prefix[:1] == "0" and kind is not TokenType.NUMBER:
        # A number since release 16, an error before, and a bit string for sqlglot.
        raise StatementError("sql.construct_unsupported", "Numbers are written in decimal only.")
    if dialect.name == "mysql" and prefix in ("0X", "0B"):
        raise StatementError("sql.construct_unsupported", "0X and 0B begin a name here.", hint="Write 0x or 0b for a number.")


def _is_word(character: str) -> bool:
    """Whether it may begin a name; every character beyond ASCII may."""
    return character.isalpha() or character == "_" or character > "\x7f"


def _as(token: Token, kind: TokenType, text: str) -> Token:
    return Token(kind, text, token.line, token.col, token.start, token.end)
