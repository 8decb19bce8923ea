"""Tokens of the dialects that are judged only: what sqlglot and the database might cut differently is refused.

No engine here can be asked, so that nothing is repaired: a name, a comment or a constant passes when it is read the same way whatever
the server's settings are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError

__all__ = ["Lexing", "repair_with"]

_STRINGS = frozenset(
    {
        *(TokenType.STRING, TokenType.NATIONAL_STRING, TokenType.RAW_STRING, TokenType.HEREDOC_STRING, TokenType.BYTE_STRING),
        *(TokenType.UNICODE_STRING, TokenType.HEX_STRING, TokenType.BIT_STRING),
    }
)
_NAMES = frozenset({TokenType.GET, TokenType.ISNULL, TokenType.SEQUENCE, TokenType.UUID})
_OTHERS = frozenset({TokenType.COMMAND, TokenType.TEXT})
_NAMED = frozenset({"REPEAT", "STRING"})
_TYPES = frozenset(
    {
        *(
            TokenType.DATE,
            TokenType.DATETIME,
            TokenType.TIME,
            TokenType.TIMESTAMP,
            TokenType.TIMESTAMPTZ,
            TokenType.TIMESTAMPLTZ,
        ),
        *(TokenType.TIMESTAMPNTZ, TokenType.TIMETZ, TokenType.DECIMAL, TokenType.BIGDECIMAL, TokenType.JSON, TokenType.UUID),
    }
)
_ODD_COMMENT = re.compile(r"/\*|\*/|\r(?!\n|$)")
_INTERVAL = re.compile(r"[+-]?\d{1,9}(\s+[A-Za-z]+)?", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lexing:
    """What a text of the dialect may be made of.

    Args:
        are_names_ascii: Names in quotes are compared without regard to case, by rules for other letters that are the server's.
        are_names_plain: A name in quotes is made of letters, digits and underscores, as everywhere else (BigQuery).
        bound: The sign of a bound value beside `:name` and `?`: `@name` (BigQuery), `$1` (Redshift), or none.
        has_line_continuation: A backslash before the end of a line takes both out of a string constant (T-SQL).
        has_typed_constants: `DATE '2026-01-31'` is a constant (not in T-SQL, where it is a column and its label).
        misread: Upper-case words that sqlglot takes for another type than the dialect does.
        check: Looks at the tokens as a whole, None for nothing more.
    """

    are_names_ascii: bool = True
    are_names_plain: bool = False
    bound: Literal["", "@", "$"] = ""
    has_line_continuation: bool = False
    has_typed_constants: bool = True
    misread: frozenset[str] = frozenset()
    check: Callable[[list[Token]], None] | None = None


def repair_with(lexing: Lexing) -> Callable[[list[Token]], list[Token]]:
    """Returns the function that checks a text's tokens, and gives them back with bound values as `:name`.

    The function raises:
        StatementError: A token could be read in another way than sqlglot does (``sql.encoding``, ``sql.construct_unsupported``), or
            there is more than one statement (``sql.multiple_statements``).
    """

    def repair(tokens: list[Token]) -> list[Token]:
        kept = _with_calls(_without_first_semicolons(tokens))
        for token in kept:
            _check(token, lexing)
        for before, token in pairwise(kept):
            _check_pair(before, token)
        _check_typed(kept, lexing)
        if lexing.check is not None:
            lexing.check(kept)
        return _with_colons(kept) if lexing.bound == "@" else kept

    return repair


def _without_first_semicolons(tokens: list[Token]) -> list[Token]:
    """`;WITH …` is how T-SQL's users end whatever statement may stand before."""
    start = 0
    while start < len(tokens) and tokens[start].token_type is TokenType.SEMICOLON:
        start += 1
    return tokens[start:]


def _with_calls(tokens: list[Token]) -> list[Token]:
    """Functions that share their name with a type or an operator are names before a parenthesis."""
    found = list(tokens)
    for index, (token, after) in enumerate(pairwise(tokens)):
        is_type = index > 0 and tokens[index - 1].token_type in (TokenType.ALIAS, TokenType.DCOLON, TokenType.LT)
        is_name = token.token_type in _NAMES or (token.token_type in _OTHERS and token.text.upper() in _NAMED)
        if is_name and not is_type and after.token_type is TokenType.L_PAREN:
            found[index] = Token(TokenType.VAR, token.text, token.line, token.col, token.start, token.end, token.comments)
    return found


def _check(token: Token, lexing: Lexing) -> None:
    kind, text = token.token_type, token.text
    if any(_ODD_COMMENT.search(comment) for comment in token.comments):
        # Some servers end a comment there, others do not.
        raise _unsupported("A comment holds another one, or a lone carriage return.", "Leave the comments out.")
    if kind is TokenType.IDENTIFIER:
        _check_name(text, lexing)
    elif kind in _STRINGS:
        if lexing.has_line_continuation and re.search(r"\\\r?\n", text):
            raise _unsupported("A string constant goes on after a backslash and the end of a line.", "Write it on one line.")
    elif not text.isascii():
        raise StatementError("sql.encoding", "A character outside quotes is not ASCII.", hint="Put names in quotes.")
    elif kind in (TokenType.L_BRACE, TokenType.R_BRACE, TokenType.BLOCK_START, TokenType.BLOCK_END):
        raise _unsupported("Braces are not supported.", "Write it without { and }.")
    elif kind is TokenType.PIPE_GT:
        raise _unsupported("Pipes are not supported.", "Write one SELECT.")
    elif text.upper() in lexing.misread:
        raise _unsupported(f"The type {text.upper()} is not supported.", "Name the type in another way.")
    elif (kind is TokenType.PARAMETER and text != lexing.bound) or (kind is not TokenType.PARAMETER and text.startswith("$")):
        raise _unsupported("Variables are not supported.", "Bind values as :name.")


def _check_name(text: str, lexing: Lexing) -> None:
    if lexing.are_names_ascii and not text.isascii():
        raise StatementError(
            "sql.encoding", "A name has a character that is not ASCII; how such names are compared depends on the server."
        )
    if "\\" in text or "`" in text or text != text.strip() or not text.isprintable():
        raise _unsupported("A name has a backslash, a backtick, or blanks around it.", "Rename it with AS.")
    if lexing.are_names_plain and not all(_PLAIN_NAME.fullmatch(part.replace("-", "_")) for part in text.split(".")):
        raise _unsupported("A name is not made of letters, digits and underscores.", "Rename it with AS.")


def _check_pair(before: Token, token: Token) -> None:
    if before.token_type in _STRINGS and token.token_type in _STRINGS:
        raise _unsupported("Two string constants follow each other.", "Join them with an operator.")
    if before.token_type is TokenType.INTERVAL and token.token_type is TokenType.STRING and not _INTERVAL.fullmatch(token.text):
        raise _unsupported("This form of INTERVAL is not supported.", "Use a whole number and one unit.")


def _check_typed(tokens: list[Token], lexing: Lexing) -> None:
    """`DATE '2026-01-31'::TEXT` casts the date; sqlglot would cast the text first."""
    for index, (before, token) in enumerate(pairwise(tokens)):
        if before.token_type not in _TYPES or token.token_type is not TokenType.STRING:
            continue
        if not lexing.has_typed_constants:
            raise _unsupported("A type stands before a string.", "Use CAST.")
        if index + 2 < len(tokens) and tokens[index + 2].token_type is TokenType.DCOLON:
            raise _unsupported("A constant with its type is cast with ::.", "Use CAST.")


def _with_colons(tokens: list[Token]) -> list[Token]:
    """`@name` becomes `:name`; `@@name`, a variable of the session, is left to be refused."""
    found: list[Token] = []
    for index, token in enumerate(tokens):
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        before = tokens[index - 1] if index else None
        if token.token_type is not TokenType.PARAMETER:
            found.append(token)
        elif after is None or after.token_type is not TokenType.VAR or (before and before.token_type is TokenType.PARAMETER):
            raise _unsupported("Variables are not supported.", "Bind values as @name.")
        else:
            found.append(Token(TokenType.COLON, ":", token.line, token.col, token.start, token.end))
    return found


def _unsupported(message: str, hint: str) -> StatementError:
    return StatementError("sql.construct_unsupported", message, hint=hint)
