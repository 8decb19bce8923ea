"""Texts at the edges of the engines' lexers: where a parser of one's own is most easily led astray.

`lexical/common.txt` is asked of every engine, `lexical/<dialect>.txt` of one. Each line is one statement; escapes are Python's (a
backslash is doubled).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["lexical", "spaced"]

_FOLDER = Path(__file__).parent / "lexical"
_SPACES = "\u0009\u000a\u000d\u000c\u000b\u0000\u0001\u0008\u001a\u001f\u007f\u0085\u00a0\u00ad\u034f\u061c\u1680\u180e\u2000\u2003\u2009\u200b\u200c\u200d\u200e\u2028\u2029\u202e\u202f\u205f\u2060\u2066\u3000\ufeff\ufffe\ufff9\U000e0001"


def _lines(name: str) -> Iterator[str]:
    for line in (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").split("\n"):
        if line.strip():
            # `\n`, `\\`, `\u…` and `\"` are Python's escapes; everything else stands for itself.
            yield line.encode("latin-1", "backslashreplace").decode("unicode_escape")


def lexical(dialect: str) -> list[str]:
    """Returns the texts for one engine."""
    return [*_lines("common"), *_lines(dialect)]


def spaced() -> list[str]:
    """Returns texts with odd white space, control characters and invisible characters in every kind of place."""
    made: list[str] = []
    for space in _SPACES:
        made += [
            f"SELECT{space}1",
            f"SELECT 1{space}",
            f"{space}SELECT 1",
            f"SELECT id FROM customers{space}WHERE id = 1",
            f"SELECT id{space}FROM customers WHERE id = 1",
            f"SELECT 'a{space}b', 1 AS \"a{space}b\"",
            f"SELECT 1 --{space}, 2",
            f"SELECT 1 --x{space}, 2",
            f"SELECT 1 /*{space}*/",
            f"SELECT 1{space}--x",
            f"SELECT 1 AS a{space}b",
            f"SELECT 'a'{space}'b'",
            f"SELECT 5 -{space}-2",
        ]
    return made
