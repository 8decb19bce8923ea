"""DuckDB's tokens, where sqlglot's grammar reads something else than the engine, or writes back another meaning.

| written | sqlglot | so it travels as |
|---|---|---|
| `INTERVAL '1 day'` | `INTERVAL '1' DAY`, which is a call | `'1 day'::INTERVAL` |
| `a ** b`, `a ^ b` | `power(a, b)` | nothing: refused |
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError
from guardrails.sql.tokens_mysql import SELECT_COMMENT

__all__ = ["repair_duckdb"]

_UNITS = {
    *("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"),
    *("DECADE", "CENTURY", "MILLENNIUM"),
}


def repair_duckdb(tokens: list[Token]) -> list[Token]:
    """Returns the tokens of a statement in the forms of the table above; every SELECT carries its number.

    Raises:
        StatementError: An operator has no form that is written as it is read.
    """
    return list(_repair(tokens))


def _repair(tokens: list[Token]) -> Iterator[Token]:
    selects = 0
    skipped: set[int] = set()
    for index, token in enumerate(tokens):
        if index in skipped:
            continue
        kind, after = token.token_type, tokens[index + 1] if index + 1 < len(tokens) else None
        if kind is TokenType.SELECT:
            selects += 1
            yield Token(kind, token.text, token.line, token.col, token.start, token.end, [f"{SELECT_COMMENT}{selects}"])
        elif kind in (TokenType.DSTAR, TokenType.CARET):
            raise StatementError(
                "sql.construct_unsupported", "The operators ** and ^ are not supported.", hint="Use power(a, b)."
            )
        elif kind is TokenType.INTERVAL and after is not None and after.token_type is TokenType.STRING:
            unit = tokens[index + 2] if index + 2 < len(tokens) else None
            if unit is not None and unit.text.upper().rstrip("S") in _UNITS | {"CENTURIE", "MILLENNIA"}:
                yield token
                continue
            skipped.add(index + 1)
            # All at the place of both, so that the text of a column is found whole.
            for other, text in ((TokenType.STRING, after.text), (TokenType.DCOLON, "::"), (TokenType.INTERVAL, "INTERVAL")):
                yield Token(other, text, token.line, token.col, token.start, after.end)
        else:
            yield token


def _as(token: Token, kind: TokenType, text: str) -> Token:
    return Token(kind, text, token.line, token.col, token.start, token.end)
