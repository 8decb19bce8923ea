"""FROM: relations under every spelling, subqueries, VALUES, table functions, LATERAL, and every kind of join."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from guardrails.proving.grammar.choices import Choose
from guardrails.proving.grammar.expressions import Expressions
from guardrails.proving.grammar.flavour import Flavour, quoted
from guardrails.proving.grammar.scopes import Scope, Source

__all__ = ["Sources"]


class Sources(Expressions):
    """Makes FROM clauses.

    `ctes` are the common table expressions in scope, by name; `hidden` are names that stand for one that is still being made.
    """

    def __init__(self, choose: Choose, flavour: Flavour, *, is_hostile: bool = False) -> None:
        super().__init__(choose, flavour, is_hostile=is_hostile)
        self.relations = flavour.relations()
        self.ctes: dict[str, dict[str, str]] = {}
        self.hidden: set[str] = set()

    def from_clause(self, scope: Scope, depth: int) -> str:
        """Adds one to three sources to the scope and returns the clause without FROM."""
        text = self._add(self.source(scope, depth), scope)
        for _ in range(self.choose(3) if depth > 0 else 0):
            text = self._join(text, scope, depth)
        if self.chance(12):
            text += f", {self._add(self.source(scope, 0), scope)}"
        return text

    def _add(self, made: tuple[str, Source], scope: Scope) -> str:
        text, source = made
        scope.sources.append(source)
        return text

    def _join(self, text: str, scope: Scope, depth: int) -> str:
        form = self.choose(9)
        if form == 8 and self.has("lateral"):
            return self._lateral(text, scope, depth)
        if form == 7:
            return self._parenthesised(text, scope, depth)
        right, source = self.source(scope, depth - 1)
        shared = self._shared(scope, source)
        if form == 6:
            scope.sources.append(source)
            return f"{text} CROSS JOIN {right}"
        if form in (4, 5) and shared:
            join = self.one(self.flavour.joins)
            if form == 5 and self._is_natural(scope, source, shared):
                self._merge(scope, source, shared)
                return f"{text} NATURAL {join.removeprefix('INNER ')} {right}"
            used = self.some(shared, 2)
            self._merge(scope, source, used)
            return f"{text} {join} {right} USING ({', '.join(self.spell(c) for c in used)})"
        join = self.one(self.flavour.joins)
        scope.sources.append(source)
        return f"{text} {join} {right} ON {self._on(scope, source, depth, is_full='FULL' in join)}"

    def _on(self, scope: Scope, right: Source, depth: int, *, is_full: bool) -> str:
        """Mostly an equality between the sides; FULL JOIN takes nothing else in PostgreSQL."""
        left = Scope(sources=scope.sources[:-1])
        for kind in ("int", "text", "num"):
            mine, others = Scope(sources=[right]).references(kind, is_own=True), left.references(kind, is_own=True)
            qualified = [r for r in mine if r.alias is not None], [r for r in others if r.alias is not None]
            if all(qualified) and (is_full or not self.chance(3)):
                equality = f"{self.reference(self.one(qualified[1]))} = {self.reference(self.one(qualified[0]))}"
                return equality if is_full or not self.chance(3) else f"{equality} AND {self.condition(scope, depth - 1)}"
        return "1 = 1" if is_full else self.condition(scope, depth - 1)

    def _shared(self, scope: Scope, right: Source) -> list[str]:
        """Columns of one name and kind on both sides, which the left has once, or merged already."""
        counts = scope.counts()
        names = {c for s in scope.sources for c in s.columns}
        return [
            name
            for name, kind in right.columns.items()
            if name in names and kind in self.flavour.types and scope.kind_of(name) == kind
            and (counts[name.lower()] == 1 or scope.is_merged(name))
        ]  # fmt: skip

    def _is_natural(self, scope: Scope, right: Source, shared: Sequence[str]) -> bool:
        """NATURAL takes every common name, so all of them must fit."""
        counts = scope.counts()
        return all(name in shared for name in right.columns if name.lower() in counts)

    def _merge(self, scope: Scope, right: Source, names: Sequence[str]) -> None:
        for name in names:
            aliases = {s.alias for s in scope.sources if name in s.columns}
            scope.merged[name] = frozenset({*aliases, right.alias})
        scope.sources.append(right)

    def _parenthesised(self, text: str, scope: Scope, depth: int) -> str:
        inner = Scope(scope.parent)
        left = self._add(self.source(scope, 0), inner)
        right, source = self.source(Scope(scope.parent, [*scope.sources, *inner.sources]), 0)
        inner.sources.append(source)
        joined = f"({left} {self.one(['JOIN', 'LEFT JOIN'])} {right} ON {self._on(inner, source, 0, is_full=False)})"
        scope.sources += inner.sources
        return f"{text} {self.one(['JOIN', 'LEFT JOIN'])} {joined} ON {self._on(scope, inner.sources[0], depth, is_full=True)}"

    def _lateral(self, text: str, scope: Scope, depth: int) -> str:
        inner = Scope(Scope(scope.parent, list(scope.sources), dict(scope.merged)))
        query, columns = self.query(inner, max(depth - 1, 0))
        source = Source(self.fresh("l"), columns)
        scope.sources.append(source)
        alias = self.spell(source.alias)
        if self.chance(2):
            return f"{text} LEFT JOIN LATERAL ({query}) AS {alias} ON true"
        return f"{text} CROSS JOIN LATERAL ({query}) {alias}"

    def source(self, scope: Scope, depth: int) -> tuple[str, Source]:
        """One item of FROM with what it adds; a subquery in it sees what is around the query, not its siblings."""
        form = self.choose(12)
        if form == 11 and depth > 0:
            return self._derived(scope, depth)
        if form == 10 and self.flavour.table_functions:
            return self._table_function(scope)
        if form == 9 and self.has("values_from"):
            return self._values()
        return self._relation(scope)

    def _relation(self, scope: Scope) -> tuple[str, Source]:
        names = [n for n in (*self.relations, *self.ctes) if n.lower() not in self.hidden]
        name = self.one(names)
        is_cte = name in self.ctes
        columns = dict(self.ctes[name] if is_cte else self.relations[name])
        spelled = ".".join(self.spell(part) for part in name.split("."))
        default = self.flavour.schema.default_schema
        if not is_cte and "." not in name and name not in self.ctes and self.chance(10):
            spelled = self.qualified(spelled)
        elif name in self.ctes and name in self.relations and self.chance(4) and default:
            spelled, columns = self.qualified(spelled), dict(self.relations[name])
        own = name.rpartition(".")[2]
        taken = {s.alias.lower() for s in scope.sources}
        if own.lower() not in taken and self.chance(3):
            return spelled, Source(own, columns)
        alias = self.fresh(self.one(["t", "T", "c"]))
        as_ = self.one(["", "AS "])
        if self.has("column_alias") and self.chance(12):
            kinds = list(columns.values())
            renamed = [self.fresh("r") for _ in range(1 + self.choose(len(kinds)))]
            columns = dict(zip([*renamed, *list(columns)[len(renamed) :]], kinds, strict=True))
            return f"{spelled} {as_}{quoted(alias, self.flavour)} ({', '.join(renamed)})", Source(alias, columns)
        return f"{spelled} {as_}{quoted(alias, self.flavour)}", Source(alias, columns)

    def qualified(self, spelled: str) -> str:
        """The name of a relation of the default schema, with that schema where it may be named."""
        default = self.flavour.schema.default_schema
        return f"{default}.{spelled}" if default and "." not in spelled else spelled

    def _derived(self, scope: Scope, depth: int) -> tuple[str, Source]:
        query, columns = self.query(Scope(scope.parent), depth - 1)
        alias = self.fresh("s")
        return f"({query}) {self.one(['', 'AS '])}{self.spell(alias)}", Source(alias, columns)

    def _values(self) -> tuple[str, Source]:
        kinds = self.some(self.flavour.kinds, 3)
        made = [", ".join(self.literal(k) for k in kinds) for _ in range(1 + self.choose(3))]
        alias, names = self.fresh("v"), [self.fresh("x") for _ in kinds]
        text = f"(VALUES {', '.join(f'({row})' for row in made)}) AS {alias} ({', '.join(names)})"
        return text, Source(alias, dict(zip(names, kinds, strict=True)))

    def _table_function(self, scope: Scope) -> tuple[str, Source]:
        call, columns = self.one(self.flavour.table_functions)
        # Arguments may name what stands before in PostgreSQL only through LATERAL, which is implied; not after RIGHT or FULL JOIN.
        text = self.fill(call, Scope(scope.parent), 0)
        alias = self.fresh("f")
        kinds = dict(columns)
        if not self.has("array"):
            return f"{text} {self.one(['', 'AS '])}{alias}", Source(alias, kinds, is_row=False)
        names = [self.fresh("g") for _ in kinds]
        extra = ""
        if self.has("ordinality") and self.chance(16):
            extra, names = " WITH ORDINALITY", [*names, self.fresh("n")]
            kinds["ordinality"] = "int"
        known = dict(zip(names, kinds.values(), strict=True))
        return f"{text}{extra} AS {alias} ({', '.join(names)})", Source(alias, known, is_row=False)

    @abstractmethod
    def query(self, scope: Scope, depth: int) -> tuple[str, dict[str, str]]:
        """A query with different column names; `scope` is its own level, still empty."""
