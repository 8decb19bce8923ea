"""A schema file cut into statements of tokens, each with its line: the lexical rules of PostgreSQL, SQLite and MySQL, and of their tools.

Known are the line commands of `psql` and `mysql`, rows after COPY, bodies of triggers and routines, and MySQL's comments that are run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from guardrails.errors import CatalogError
from guardrails.model import DialectName

__all__ = ["Part", "Token", "refused", "statements"]

_STRING = r"'(?:[^']|'')*'"
_BLANK = r"(?P<blank>\s+|--[^\n]*{hash})"
_REST = r"|(?P<number>\d[\w.]*)|(?P<word>[^\W\d][\w$]*)|(?P<sign>.)"
_PATTERNS: dict[str, re.Pattern[str]] = {
    "postgres": re.compile(
        _BLANK.format(hash="")
        + rf"|(?P<comment>/\*)|(?P<string>[eE]'(?:[^'\\]|''|\\.)*'|(?:[uU]&|[xXbBnN])?{_STRING}|\$(?P<tag>[^\W\d]\w*|)\$.*?\$(?P=tag)\$)"
        r"|(?P<name>\"(?:[^\"]|\"\")+\")" + _REST,
        re.DOTALL,
    ),
    "sqlite": re.compile(
        _BLANK.format(hash="")
        + rf"|(?P<comment>/\*)|(?P<string>[xX]?{_STRING})|(?P<name>\"(?:[^\"]|\"\")+\"|`(?:[^`]|``)+`|\[[^\]]+\])"
        + _REST,
        re.DOTALL,
    ),
    "mysql": re.compile(
        _BLANK.format(hash=r"|\#[^\n]*|/\*M!\d*\\-.*?\*/|/\*M?!\d*|\*/")
        + r"|(?P<comment>/\*)|(?P<string>[xXbBnN]?(?:'(?:[^'\\]|''|\\.)*'|\"(?:[^\"\\]|\"\"|\\.)*\"))|(?P<name>`(?:[^`]|``)+`)"
        + _REST,
        re.DOTALL,
    ),
}
"""What is run inside `/*!50001 … */` of MySQL is text like any other; its ends are blanks."""

_LINE_COMMANDS = {"postgres": re.compile(r"\\[^\n]*"), "mysql": re.compile(r"delimiter[ \t]+(\S+)[^\n]*", re.IGNORECASE)}
_COMMENT_ENDS = re.compile(r"/\*|\*/")
_ROUTINES = {"FUNCTION", "PROCEDURE", "TRIGGER"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a statement; `start` and `end` are places in the file."""

    kind: Literal["string", "name", "number", "word", "sign"]
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The keyword that it may be, in capitals; empty for anything that is none."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def sign(self) -> str:
        return self.text if self.kind == "sign" else ""

    @property
    def identifier(self) -> str:
        """A name without its quotes."""
        if self.kind != "name":
            return self.text
        closing = "]" if self.text[0] == "[" else self.text[0]
        return self.text[1:-1].replace(closing * 2, closing)


@dataclass(frozen=True, slots=True)
class Part:
    """Some tokens in a row, of a file."""

    source: str
    tokens: tuple[Token, ...]

    @property
    def text(self) -> str:
        """As it stands in the file."""
        return self.source[self.tokens[0].start : self.tokens[-1].end] if self.tokens else ""

    @property
    def line(self) -> int:
        return self.source.count("\n", 0, self.tokens[0].start) + 1 if self.tokens else 0


def refused(part: Part, message: str) -> CatalogError:
    """An error that says at which line a schema file is not understood."""
    text = " ".join(part.text.split())[:80]
    return CatalogError("usage.input_invalid", f"Line {part.line} of the schema file: {message}", evidence={"statement": text})


def statements(text: str, dialect: DialectName) -> Iterator[Part]:
    """Yields the statements of a file, without what ends them.

    Args:
        text: The file.
        dialect: `postgres`, `sqlite` or `mysql`.

    Raises:
        CatalogError: Something is not closed (``usage.input_invalid``).
    """
    tokens: list[Token] = []
    delimiter, position = ";", 0
    while position < len(text):
        command = _line_command(text, position, dialect) if not tokens else None
        if command is not None:
            delimiter = command[1] or delimiter
            position = command.end()
        elif text.startswith(delimiter, position) and not _is_inside(tokens, dialect, delimiter):
            position += len(delimiter)
            if tokens:
                yield Part(text, tuple(tokens))
            if [t.word for t in tokens[-2:]] == ["FROM", "STDIN"]:
                position = _after_rows(text, position)
            tokens = []
        else:
            position = _next(text, position, dialect, tokens)
    if tokens:
        yield Part(text, tuple(tokens))


def _line_command(text: str, position: int, dialect: DialectName) -> re.Match[str] | None:
    pattern = _LINE_COMMANDS.get(dialect)
    if pattern is None or (position and text[position - 1] != "\n"):
        return None
    found = pattern.match(text, position)
    return re.compile(r"()()").match(text, found.end()) if found is not None and not pattern.groups else found


def _next(text: str, position: int, dialect: DialectName, tokens: list[Token]) -> int:
    match = _PATTERNS[dialect].match(text, position)
    if match is None:
        raise refused(Part(text, (Token("sign", "", position, position),)), "It is not understood.")
    if match["comment"]:
        return _after_comment(text, position, is_nested=dialect == "postgres")
    if match["sign"] in ("'", '"', "`") or (match["sign"] == "[" and dialect == "sqlite"):
        raise refused(Part(text, (Token("sign", match.group(), position, match.end()),)), "A quote is not closed.")
    if not match["blank"]:
        for kind in ("string", "name", "number", "word", "sign"):
            if match[kind] is not None:
                tokens.append(Token(kind, match.group(), position, match.end()))
                break
    return match.end()


def _after_comment(text: str, position: int, *, is_nested: bool) -> int:
    depth, place = 1, position + 2
    while depth:
        end = _COMMENT_ENDS.search(text, place)
        if end is None:
            raise refused(Part(text, (Token("sign", "/*", position, position + 2),)), "A comment is not closed.")
        depth += 1 if end.group() == "/*" and is_nested else -1 if end.group() == "*/" else 0
        place = end.end()
    return place


def _after_rows(text: str, position: int) -> int:
    end = text.find("\n\\.\n", position)
    return len(text) if end < 0 else end + 4


def _is_inside(tokens: list[Token], dialect: DialectName, delimiter: str) -> bool:
    """Whether a semicolon stands inside the body of a trigger or routine."""
    words = [t.word for t in tokens]
    if delimiter != ";" or words[:1] != ["CREATE"] or not _ROUTINES.intersection(words[:8]):
        return False
    if dialect == "sqlite":
        return "BEGIN" in words and not (words[-1] == "END" and len(tokens) > 1 and tokens[-2].sign == ";")
    if dialect == "postgres":
        return ("BEGIN", "ATOMIC") in pairwise(words) and _depth(words) > 0
    return False


def _depth(words: list[str]) -> int:
    return sum({"BEGIN": 1, "CASE": 1, "END": -1}.get(word, 0) for word in words)
