"""Where one operator ends and the next begins, as PostgreSQL's lexer sees it.

Signs without a space between them are one operator, up to the start of a comment; a `+` or `-` at its end belongs to the next one
unless the operator has one of ``~ ! @ # % ^ & | ` ?``. So `5*-6` has two operators and `5+~+6` one, of somebody's making.
Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-OPERATORS
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot.tokenizer_core import Token

from guardrails.errors import StatementError

__all__ = ["check_operators"]

_SIGNS = frozenset("+-*/<>=~!@#%^&|`?")
_NEGATED = frozenset({"~", "~*", "~~", "~~*"})
_KEEPS_SIGN = frozenset("~!@#%^&|`?")


def check_operators(sql: str, tokens: Sequence[Token]) -> None:
    """Checks that every run of operator signs was split as PostgreSQL splits it.

    Raises:
        StatementError: It was not (``sql.construct_unsupported``).
    """
    run: list[str] = []
    end = -1
    for token in tokens:
        text = sql[token.start : token.end + 1]
        is_operator = bool(text) and _SIGNS.issuperset(text)
        if run and (not is_operator or token.start != end + 1):
            _check(run)
            run = []
        if is_operator:
            run.append(text)
            end = token.end
    _check(run)


def _check(run: list[str]) -> None:
    if len(run) > 1 and run[0] == "!" and run[1] in _NEGATED:
        # The tokenizer takes these apart, and the parser puts them together as NOT.
        run = [run[0] + run[1], *run[2:]]
    if run in (["<", "<"], [">", ">"]):
        run = [run[0] * 2]
    if len(run) > 1 and run != list(_split("".join(run))):
        raise StatementError(
            "sql.construct_unsupported",
            "Signs without a space between them form one operator.",
            hint="Put spaces between them.",
        )


def _split(signs: str) -> Iterator[str]:
    while signs:
        length = len(signs)
        if not _KEEPS_SIGN & set(signs):
            while length > 1 and signs[length - 1] in "+-":
                length -= 1
        yield signs[:length]
        signs = signs[length:]
