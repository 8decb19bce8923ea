"""Expressions: columns, constants and the flavour's templates, filled to a depth."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache

from guardrails.proving.grammar.choices import Choose, Chooser
from guardrails.proving.grammar.flavour import Flavour, quoted
from guardrails.proving.grammar.scopes import Reference, Scope

__all__ = ["Expressions"]

_HOLE = re.compile(r"\{([a-z_]+)\}")
_ATOM = re.compile(r"""[\w."]+""")
_HOSTILITY = 60


class Expressions(Chooser):
    """Makes expressions of a kind over a scope.

    Args:
        choose: Where choices come from.
        flavour: The engine's side.
        is_hostile: Now and then something that writes, escapes or tells too much stands in an expression's place.
    """

    def __init__(self, choose: Choose, flavour: Flavour, *, is_hostile: bool = False) -> None:
        super().__init__(choose)
        self.flavour = flavour
        self.is_hostile = is_hostile

    def has(self, feature: str) -> bool:
        return feature in self.flavour.features

    def spell(self, name: str) -> str:
        """A name as some agent would write it: bare, in capitals, or quoted."""
        plain = quoted(name, self.flavour)
        if not self.chance(6):
            return plain
        opening, closing = self.one(self.flavour.quotes)
        return self.one([plain, plain if plain != name else name.upper(), f"{opening}{name}{closing}"])

    def reference(self, found: Reference) -> str:
        column = self.spell(found.column)
        if found.alias is None:
            return column
        if found.is_row and self.has("rows") and self.chance(200):
            return f"({self.spell(found.alias)}).{column}"
        return f"{self.spell(found.alias)}.{column}"

    def column(self, kind: str, scope: Scope, *, is_own: bool = False) -> str | None:
        found = scope.references(kind, is_own=is_own)
        favoured = [r for r in found if r.column in self.flavour.schema.favoured]
        if favoured and not self.chance(3):
            found = favoured
        return self.reference(self.one(found)) if found else None

    def literal(self, kind: str) -> str:
        return self.one(self.flavour.literals[kind])

    def kind(self) -> str:
        favoured = self.flavour.schema.favoured_kinds
        if favoured and not self.chance(3):
            return self.one(favoured)
        return self.one(self.flavour.kinds)

    def expression(self, kind: str, scope: Scope, depth: int) -> str:
        """An expression of the kind; at depth 0 a column or a constant."""
        roll = self.choose(10)
        if roll < 5 or depth <= 0:
            column = self.column(kind, scope) if roll < 9 else None
            return column or self.literal(kind)
        if self.is_hostile and kind in self.flavour.hostile and self.chance(_HOSTILITY):
            return self.fill(self.one(self.flavour.hostile[kind]), scope, 0)
        return self.fill(self.one(self.flavour.expressions[kind]), scope, depth - 1)

    def operand(self, kind: str, scope: Scope, depth: int) -> str:
        """An expression that may stand beside any operator."""
        text = self.expression(kind, scope, depth)
        return text if _is_atom(text) else f"({text})"

    def condition(self, scope: Scope, depth: int) -> str:
        """An expression of the kind bool that is more than a constant, where it can be."""
        if depth <= 0 and self.flavour.kinds:
            kind = self.one(["int", "text", "num", "date"])
            column = self.column(kind, scope)
            if column:
                operator = self.one(["=", "<>", ">", "<=", "IS NOT NULL"])
                return f"{column} {operator}" + ("" if "NULL" in operator else f" {self.literal(kind)}")
        return self.fill(self.one(self.flavour.expressions["bool"]), scope, max(depth - 1, 0))

    def fill(self, template: str, scope: Scope, depth: int) -> str:
        """Fills a template's holes in order."""
        return _HOLE.sub(lambda match: self._hole(match.group(1), scope, depth), template)

    def _hole(self, name: str, scope: Scope, depth: int) -> str:
        if name in self.flavour.types:
            return self.operand(name, scope, depth)
        if name == "over":
            return self.window(scope, depth)
        if name == "key":
            return f"(ORDER BY {self.operand('int', scope, 0)} {self._range()})"
        if name == "row":
            return self._row(scope)
        if name in ("counted", "counted_key"):
            return self.flavour.schema.counted if name == "counted" else self.flavour.schema.counted_key
        if name == "exists":
            return self.subquery(self.some(self.flavour.kinds, 2), scope, depth, is_one=False)
        form, _, rest = name.partition("_")
        if form == "lit":
            return self.literal(rest)
        if form == "bare":
            return self.expression(rest, scope, depth)
        text = self.subquery(rest.split("_"), scope, depth, is_one=form == "one")
        return f"({text})" if form == "one" else text

    def _row(self, scope: Scope) -> str:
        aliases = scope.row_aliases()
        if not aliases:
            return f"ROW({self.literal('int')}, {self.literal('text')})"
        return quoted(self.one(aliases), self.flavour)

    def _range(self) -> str:
        frames = [
            "RANGE BETWEEN 5 PRECEDING AND 5 FOLLOWING",
            "RANGE UNBOUNDED PRECEDING",
            "RANGE BETWEEN CURRENT ROW AND 1 FOLLOWING",
        ]
        return self.one(frames)

    def window(self, scope: Scope, depth: int) -> str:
        """What stands after OVER."""
        names = self.window_names()
        if names and self.chance(2):
            return quoted(self.one(names), self.flavour)
        return f"({self.window_body(scope, depth)})"

    def window_body(self, scope: Scope, depth: int) -> str:
        depth = min(depth, 1)
        parts = []
        if self.chance(2):
            parts.append(f"PARTITION BY {', '.join(self.key(scope, depth) for _ in range(1 + self.choose(2)))}")
        if not self.chance(3):
            parts.append(f"ORDER BY {', '.join(self.key(scope, depth) + self.direction() for _ in range(1 + self.choose(2)))}")
            if self.chance(4):
                frames = [
                    "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
                    "ROWS UNBOUNDED PRECEDING",
                    "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                ]
                exclusions = (
                    ["", " EXCLUDE CURRENT ROW", " EXCLUDE TIES", " EXCLUDE GROUP", " EXCLUDE NO OTHERS"]
                    if self.has("exclude")
                    else [""]
                )
                parts.append(self.one([*frames, "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"]) + self.one(exclusions))
        return " ".join(parts)

    def key(self, scope: Scope, depth: int) -> str:
        """A sort or group key: never a bare constant, which would be a position."""
        kind = self.one(["text", "int", "date", "num"])
        return self.column(kind, scope) or self.computed_constant()

    def computed_constant(self) -> str:
        """A constant that no engine takes for a position."""
        return self.one(["lower('a')", "upper('b')"])

    def direction(self) -> str:
        nulls = ["", " NULLS FIRST", " NULLS LAST"] if self.has("nulls_order") else [""]
        return self.one(["", " DESC", " ASC"]) + (self.one(nulls) if self.chance(3) else "")

    @abstractmethod
    def window_names(self) -> Sequence[str]:
        """Windows that the query being made defines."""

    @abstractmethod
    def subquery(self, kinds: Sequence[str], scope: Scope, depth: int, *, is_one: bool) -> str:
        """A query of these columns inside an expression; `is_one`: it yields at most one row."""


@cache
def _is_atom(text: str) -> bool:
    if _ATOM.fullmatch(text) or (text.startswith("'") and text.endswith("'") and text.count("'") == 2):
        return True
    head = re.match(r"\w+\(|\(", text)
    if head is None or not text.endswith(")") or head.group().upper() == "ROW(":
        return False
    depth = 0
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and index >= head.end():
            return index == len(text) - 1 and text.count("'") % 2 == 0
    return False
