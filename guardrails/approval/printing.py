"""Text of other people's making, made fit to be shown: control and direction characters show instead of acting."""

from __future__ import annotations

__all__ = ["one_line", "printable"]


def printable(text: str) -> str:
    """Returns a text whose control and direction characters show instead of acting on the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, most_characters: int) -> str:
    """Returns a text as one line of at most so many characters; what is cut off is marked."""
    line = " ".join(printable(text).split())
    return line if len(line) <= most_characters else line[: most_characters - 1] + "…"
