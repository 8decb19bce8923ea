"""SQLite's declared types as they are written: any words are a type there, and the words decide about affinity and row ids.

sqlglot reads a type into one of its own and writes that back (`INT` becomes `INTEGER`, and with it a primary key the row id). So in
the column definitions of CREATE TABLE and ALTER TABLE the words of a type travel through the parser as one opaque name.
Source: https://www.sqlite.org/datatype3.html, section 3.1, and https://www.sqlite.org/syntax/type-name.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError

__all__ = ["TYPE_PREFIX", "hide_types", "restore_type"]

TYPE_PREFIX = "gr_type_"
"""Hides a declared type from the parser: the type's text in hexadecimal follows."""

_TABLE_CONSTRAINTS = {"CONSTRAINT", "PRIMARY", "PRIMARY KEY", "UNIQUE", "CHECK", "FOREIGN", "FOREIGN KEY"}
_AFTER_TYPE = {
    *(
        "CONSTRAINT",
        "PRIMARY",
        "PRIMARY KEY",
        "NOT",
        "NULL",
        "UNIQUE",
        "CHECK",
        "DEFAULT",
        "COLLATE",
        "REFERENCES",
        "GENERATED",
    ),
    *("AS", ",", ")"),
}
_TYPE = re.compile(r"[A-Za-z_]\w*( [A-Za-z_]\w*)*( ?\( ?[+-]?\d+ ?(, ?[+-]?\d+ ?)?\))?", re.ASCII)


def hide_types(sql: str, tokens: list[Token]) -> list[Token]:
    """Returns the tokens of a statement with each declared type of its column definitions as one name.

    Raises:
        StatementError: A type is not made of words and numbers.
    """
    words = [t.text.upper() if t.token_type is not TokenType.IDENTIFIER else "" for t in tokens]
    if words[:1] == ["CREATE"] and "TABLE" in words[:4]:
        starts = _definitions(words)
    elif words[:2] == ["ALTER", "TABLE"] and "ADD" in words:
        first = words.index("ADD") + 1
        starts = iter([first + 1 if words[first : first + 1] == ["COLUMN"] else first])
    else:
        return tokens
    kept = list(tokens)
    for start in sorted(starts, reverse=True):
        end = _end_of_type(words, start + 1)
        if end > start + 1:
            kept[start + 1 : end] = [_hidden(sql, tokens[start + 1], tokens[end - 1])]
    return kept


def restore_type(kind: exp.DataType) -> exp.DataType | None:
    """Returns the declared type that a name hides, None when it hides none."""
    name = kind.args.get("kind")
    text = name.name if isinstance(name, exp.Expr) else str(name or "")
    if not text.startswith(TYPE_PREFIX):
        return None
    return exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=bytes.fromhex(text.removeprefix(TYPE_PREFIX)).decode())


def _definitions(words: list[str]) -> Iterator[int]:
    """Yields where each column definition of CREATE TABLE starts."""
    depth = 0
    for index, word in enumerate(words):
        if depth == 0 and word in ("AS", "SELECT"):
            return
        if word in ("(", ","):
            depth += word == "("
            if depth == 1 and index + 1 < len(words) and words[index + 1] not in _TABLE_CONSTRAINTS:
                yield index + 1
        depth -= word == ")"
        if word == ")" and depth == 0:
            return


def _end_of_type(words: list[str], start: int) -> int:
    index = start
    while index < len(words) and words[index] not in _AFTER_TYPE:
        if words[index] == "(":
            index = next((i for i in range(index, len(words)) if words[i] == ")"), len(words) - 1)
        index += 1
    return index


def _hidden(sql: str, first: Token, last: Token) -> Token:
    text = " ".join(sql[first.start : last.end + 1].split())
    if not _TYPE.fullmatch(text):
        raise StatementError("sql.construct_unsupported", "A column has a type that is not made of words and numbers.")
    return Token(TokenType.VAR, TYPE_PREFIX + text.encode().hex(), first.line, first.col, first.start, last.end)
