"""Walks over the tokens of one statement of a schema file."""

from __future__ import annotations

from collections.abc import Callable

from guardrails.sql.ddl_text import Part, Token, refused

__all__ = ["Cursor"]


class Cursor:
    """A place in a statement.

    Args:
        part: The statement, or a part of it.
        fold: What a name without quotes becomes.
    """

    def __init__(self, part: Part, fold: Callable[[str], str]) -> None:
        self.part = part
        self.fold = fold
        self.position = 0

    @property
    def token(self) -> Token | None:
        return self.part.tokens[self.position] if self.position < len(self.part.tokens) else None

    @property
    def rest(self) -> Part:
        return Part(self.part.source, self.part.tokens[self.position :])

    def sees(self, *words: str) -> bool:
        """Whether these keywords or signs come next."""
        ahead = self.part.tokens[self.position : self.position + len(words)]
        return [t.word or t.sign for t in ahead] == list(words)

    def takes(self, *words: str) -> bool:
        """Steps over these keywords or signs, if they come next."""
        if not self.sees(*words):
            return False
        self.position += len(words)
        return True

    def require(self, *words: str) -> None:
        """Steps over what has to come next.

        Raises:
            CatalogError: Something else comes.
        """
        if not self.takes(*words):
            raise self.refused(f"{' '.join(words)} is missing.")

    def name(self) -> str:
        """Takes a name, folded as the engine does where it has no quotes.

        Raises:
            CatalogError: There is none.
        """
        token = self.token
        if token is None or token.kind not in ("word", "name", "string"):
            raise self.refused("A name is missing.")
        self.position += 1
        if token.kind == "string":
            # SQLite takes a string for a name where nothing else can stand.
            return token.text[1:-1].replace("''", "'")
        return self.fold(token.text) if token.kind == "word" else token.identifier

    def names(self) -> tuple[str | None, str]:
        """Takes `schema.name` or `name`."""
        first = self.name()
        if not self.takes("."):
            return None, first
        second = self.name()
        if self.sees("."):
            raise self.refused("A name has more than two parts.")
        return first, second

    def group(self) -> Part:
        """Takes what stands in parentheses, without them.

        Raises:
            CatalogError: There are none, or they are not closed.
        """
        self.require("(")
        start, depth = self.position, 1
        while self.token is not None:
            depth += {"(": 1, ")": -1}.get(self.token.sign, 0)
            self.position += 1
            if not depth:
                return Part(self.part.source, self.part.tokens[start : self.position - 1])
        raise self.refused("A parenthesis is not closed.")

    def items(self, part: Part | None = None) -> list[Cursor]:
        """Returns the items of a list that commas separate, or of what is left."""
        part = part if part is not None else self.rest
        found: list[list[Token]] = [[]]
        depth = 0
        for token in part.tokens:
            depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(token.sign, 0)
            if token.sign == "," and depth == 0:
                found.append([])
            else:
                found[-1].append(token)
        return [Cursor(Part(part.source, tuple(tokens)), self.fold) for tokens in found if tokens]

    def until(self, words: frozenset[str], *, at_least: int = 0) -> Part:
        """Takes everything up to one of the keywords outside parentheses, or the end; at least some tokens."""
        start, depth = self.position, 0
        while self.token is not None:
            if depth == 0 and self.position - start >= at_least and self.token.word in words:
                break
            depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(self.token.sign, 0)
            self.position += 1
        return Part(self.part.source, self.part.tokens[start : self.position])

    def refused(self, message: str) -> Exception:
        return refused(self.part, message)
