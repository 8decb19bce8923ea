"""MySQL's tokens, where sqlglot's grammar reads something else than the server, or writes back another meaning.

| written | sqlglot | so it travels as |
|---|---|---|
| `0x41` | `x'41'`, which is a string where a number is wanted | a number |
| `a JOIN b` without a condition | a comma, which binds less tightly | `a INNER JOIN b` |
| `a STRAIGHT_JOIN b` | a join of a kind of its own | `a INNER JOIN b`, of which it is a hint |
| `INTERVAL 1.5 DAY` | `INTERVAL '1.5' DAY`, which cuts instead of rounding | `INTERVAL (1.5) DAY` |
| `TIME '10:00:00.5'` | a cast, which loses the fraction | the function of that name |
| `UTC_DATE` | a column | `UTC_DATE()` |
| `-MOD(a, b)` | `-a % b` | the function of that name |
| `FROM dual` | a relation | nothing |
| `VALUES (1), (2)` | nothing, unless in INSERT | `SELECT 1 UNION ALL SELECT 2`, of which it is short |

Comments that the server runs (`/*! … */`, `/*M! … */`) are refused: without them the statement would mean something else.
Source: https://mariadb.com/kb/en/comment-syntax/, https://mariadb.com/kb/en/hexadecimal-literals/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError
from guardrails.sql.bounds import OPERAND_END

__all__ = ["SELECT_COMMENT", "repair_mysql"]

SELECT_COMMENT = "gr_select_"
"""Comment on a SELECT token, with its number: tells which part of the text a SELECT of the tree is."""

_FROM_GOES_ON = {TokenType.COMMA, TokenType.JOIN, TokenType.DOT, TokenType.ALIAS, TokenType.VAR, TokenType.IDENTIFIER}
_AFTER_ROWS = {TokenType.SEMICOLON, TokenType.R_PAREN, TokenType.ORDER_BY, TokenType.LIMIT}
_EXECUTED = ("!", "M!")
_JOIN_WORDS = {
    *(TokenType.LEFT, TokenType.RIGHT, TokenType.INNER, TokenType.OUTER, TokenType.CROSS, TokenType.NATURAL, TokenType.FULL),
    *(TokenType.SEMI, TokenType.ANTI, TokenType.STRAIGHT_JOIN, TokenType.ASOF),
}
_MOMENTS = {"DATE", "TIME", "TIMESTAMP"}
_BARE_CALLS = {"UTC_DATE", "UTC_TIME", "UTC_TIMESTAMP"}
_OPTIONS = {"DISTINCTROW", "HIGH_PRIORITY", "SQL_SMALL_RESULT", "SQL_BIG_RESULT", "SQL_BUFFER_RESULT"}
_CONSTANTS = {TokenType.NUMBER, TokenType.STRING, TokenType.HEX_STRING}
_NUMBER_AND_NAME = re.compile(r"\d+[eE][+-]?\d", re.ASCII)
"""`1e1a` is the number 1e1, called `a`; `1ea` is a name."""
_NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


def repair_mysql(tokens: list[Token]) -> list[Token]:
    """Returns the tokens of a statement in the forms of the table above.

    Raises:
        StatementError: A comment is one that the server runs, a name has a character of Unicode's upper planes, or a number is
            something else for the server (`1e` is a name).
    """
    return list(_repair(_spell_out_rows(tokens)))


def _spell_out_rows(tokens: list[Token]) -> list[Token]:
    """Writes VALUES as the union of its rows, where it is a query: at the start of one, and the whole of it."""
    kept = list(tokens)
    if tokens and tokens[0].token_type is TokenType.INSERT:
        # VALUES is a function there, too.
        return kept
    for index in range(len(tokens) - 1, -1, -1):
        is_first = index == 0 or tokens[index - 1].token_type is TokenType.L_PAREN
        if tokens[index].token_type is TokenType.VALUES and is_first and (rows := _rows(kept, index + 1)):
            query: list[Token] = []
            for start, end in rows:
                query += [_as(kept[start], TokenType.UNION, "UNION"), _as(kept[start], TokenType.ALL, "ALL")] if query else []
                query += [_as(kept[start], TokenType.SELECT, "SELECT"), *kept[start + 1 : end]]
            kept[index : rows[-1][1] + 1] = query
    return kept


def _rows(tokens: list[Token], start: int) -> list[tuple[int, int]]:
    """Returns where each row opens and closes; nothing when more than ORDER BY or LIMIT follows, or it is no list of rows."""
    rows: list[tuple[int, int]] = []
    while start < len(tokens) and tokens[start].token_type is TokenType.L_PAREN:
        end, depth = start, 0
        while end < len(tokens):
            depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(tokens[end].token_type, 0)
            if depth == 0:
                break
            end += 1
        rows.append((start, end))
        after = tokens[end + 1].token_type if end + 1 < len(tokens) else TokenType.SEMICOLON
        if after in _AFTER_ROWS:
            return rows
        if after is not TokenType.COMMA:
            return []
        start = end + 2
    return []


def _repair(tokens: list[Token]) -> Iterator[Token]:
    selects = 0
    closing = skipped = -1
    for index, token in enumerate(tokens):
        if index == skipped:
            continue
        before = tokens[index - 1] if index else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        kind, kind_after = token.token_type, after.token_type if after is not None else None
        _check(token, before)
        if kind is TokenType.SELECT:
            selects += 1
            yield _as(token, kind, token.text, [f"{SELECT_COMMENT}{selects}"])
        elif kind is TokenType.FROM and _is_dual(tokens, index + 1):
            skipped = index + 1
        elif kind is TokenType.HEX_STRING and _is_prefixed(token):
            yield _as(token, TokenType.NUMBER, f"0x{token.text}")
        elif kind is TokenType.JOIN and (before is None or before.token_type not in _JOIN_WORDS):
            yield _as(token, TokenType.INNER, "INNER")
            yield token
        elif kind is TokenType.STRAIGHT_JOIN and before is not None and _is_between_relations(before):
            yield _as(token, TokenType.INNER, "INNER")
            yield _as(token, TokenType.JOIN, "JOIN")
        elif kind is TokenType.INTERVAL and (last := _constant_end(tokens, index + 1)):
            yield token
            yield _as(tokens[index + 1], TokenType.L_PAREN, "(")
            closing = last
            continue
        elif kind_after is TokenType.STRING and token.text.upper() in _MOMENTS and kind is not TokenType.IDENTIFIER:
            yield _as(token, TokenType.VAR, token.text.upper())
            yield _as(token, TokenType.L_PAREN, "(")
            closing = index + 1
        elif token.text.upper() in _BARE_CALLS and kind_after is not TokenType.L_PAREN and _is_bare(token, before):
            yield _as(token, TokenType.VAR, token.text)
            yield _as(token, TokenType.L_PAREN, "(")
            yield _as(token, TokenType.R_PAREN, ")")
        elif kind is TokenType.MOD and kind_after is TokenType.L_PAREN and (before is None or not _ends_operand(before)):
            yield _as(token, TokenType.VAR, token.text)
        else:
            yield token
        if index == closing:
            yield _as(token, TokenType.R_PAREN, ")")


def _check(token: Token, before: Token | None) -> None:
    if any(comment.startswith(_EXECUTED) for comment in token.comments):
        raise StatementError(
            "sql.construct_unsupported", "A comment holds SQL that the server would run.", hint="Write it without /*! … */."
        )
    if token.token_type is TokenType.IDENTIFIER and any(ord(c) > 0xFFFF for c in token.text):
        raise StatementError("sql.encoding", "A name has a character that names cannot have.")
    is_number = token.token_type is TokenType.NUMBER and not _NUMBER.fullmatch(token.text)
    if is_number or (_NUMBER_AND_NAME.match(token.text) and token.token_type is TokenType.VAR and _is_bare(token, before)):
        raise StatementError("sql.syntax", "A number is not well formed.")


def _is_prefixed(token: Token) -> bool:
    """Whether a hexadecimal constant was written `0x…`: its token is two characters longer than its digits, `x'…'` is three."""
    return token.end - token.start + 1 == len(token.text) + 2


def _constant_end(tokens: list[Token], start: int) -> int | None:
    """Returns where a number or a string ends that stands at `start`, None when something else does, or a unit does not follow."""
    end = start
    while end < len(tokens) and tokens[end].token_type in (TokenType.DASH, TokenType.DOT):
        end += 1
    if end + 1 >= len(tokens) or tokens[end].token_type not in _CONSTANTS:
        return None
    return end if tokens[end + 1].token_type not in (TokenType.COMMA, TokenType.R_PAREN) else None


def _is_dual(tokens: list[Token], index: int) -> bool:
    """Whether nothing but the bare word DUAL stands in FROM."""
    word, after = tokens[index : index + 1], tokens[index + 1 : index + 2]
    is_word = bool(word) and word[0].token_type is TokenType.VAR and word[0].text.upper() == "DUAL"
    return is_word and not (after and (after[0].token_type in _JOIN_WORDS | _FROM_GOES_ON))


def _ends_operand(token: Token) -> bool:
    return token.token_type in OPERAND_END


def _is_between_relations(before: Token) -> bool:
    """Whether a join's word stands where one may; after SELECT it is an option of the query."""
    is_option = before.token_type in (TokenType.SELECT, TokenType.DISTINCT, TokenType.ALL)
    return not is_option and before.text.upper() not in _OPTIONS


def _is_bare(token: Token, before: Token | None) -> bool:
    return token.token_type is not TokenType.IDENTIFIER and (before is None or before.token_type is not TokenType.DOT)


def _as(token: Token, kind: TokenType, text: str, comments: list[str] | None = None) -> Token:
    return Token(kind, text, token.line, token.col, token.start, token.end, comments or [])
