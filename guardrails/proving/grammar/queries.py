"""SELECT: projections, grouping, windows, set operations, VALUES, subqueries in expressions."""

from __future__ import annotations

from collections.abc import Sequence

from guardrails.proving.grammar.choices import Choose
from guardrails.proving.grammar.flavour import Flavour, quoted
from guardrails.proving.grammar.scopes import Scope
from guardrails.proving.grammar.with_clauses import WithClauses

__all__ = ["Queries"]


class Queries(WithClauses):
    """Makes queries.

    Args:
        is_ordered: A LIMIT comes with an order over every column, so that the answer is one.
    """

    def __init__(self, choose: Choose, flavour: Flavour, *, is_hostile: bool = False, is_ordered: bool = False) -> None:
        super().__init__(choose, flavour, is_hostile=is_hostile)
        self.is_ordered = is_ordered
        self._windows: list[str] = []

    def window_names(self) -> Sequence[str]:
        return self._windows

    def statement(self, depth: int = 2) -> str:
        """A whole query."""
        before = dict(self.ctes)
        prefix = self.with_clause(depth) if self.chance(4) else ""
        query = self.query(Scope(), depth)[0] if not prefix else self._select(Scope(), depth)[0]
        self.ctes = before
        return prefix + query

    def query(self, scope: Scope, depth: int) -> tuple[str, dict[str, str]]:
        windows, self._windows = self._windows, []
        try:
            if depth > 0 and self.chance(8):
                return self._set_operation(scope, depth)
            if self.chance(6):
                return self._grouped(scope, depth)
            if depth > 0 and self.chance(15):
                return self._nested_with(scope, depth)
            if self.chance(40):
                return self._values_query(self.some(self.flavour.kinds, 3))
            return self._select(scope, depth)
        finally:
            self._windows = windows

    def _select(self, scope: Scope, depth: int) -> tuple[str, dict[str, str]]:
        source = self.from_clause(scope, depth)
        if self.has("named_window") and self.chance(8):
            self._windows = [self.fresh(self.one(["w", "W"]))]
        items, columns = self._items(scope, depth)
        distinct, prefix_order = self._distinct(scope)
        clauses = [f"FROM {source}"]
        if self.chance(2) or self.choose(3) == 1:
            clauses.append(f"WHERE {self.condition(scope, depth)}")
        if self._windows:
            body = self._outside_window(scope)
            clauses.append(f"WINDOW {quoted(self._windows[0], self.flavour)} AS ({body})")
        clauses += self._order(scope, columns, is_distinct=bool(distinct), prefix=prefix_order)
        return f"SELECT {distinct}{', '.join(items)} {' '.join(clauses)}", columns

    def _outside_window(self, scope: Scope) -> str:
        names, self._windows = self._windows, []
        body = self.window_body(scope, 0)
        self._windows = names
        return body

    def _items(self, scope: Scope, depth: int) -> tuple[list[str], dict[str, str]]:
        items: list[str] = []
        columns: dict[str, str] = {}
        if self.chance(8) and len(scope.sources) == 1 and not scope.merged:
            source = scope.sources[0]
            items.append(self.one(["*", f"{quoted(source.alias, self.flavour)}.*"]))
            columns |= source.columns
        for _ in range(1 + self.choose(3)):
            kind = self.kind()
            if self.chance(10) and kind in self.flavour.windows:
                text = self.fill(self.one(self.flavour.windows[kind]), scope, 1)
            else:
                text = self.expression(kind, scope, depth)
            reference = [r for r in scope.references(kind, is_own=True) if r.alias is None and r.column not in columns]
            if reference and self.chance(6):
                chosen = self.one(reference)
                items.append(self.spell(chosen.column))
                columns[chosen.column] = kind
                continue
            name = self.fresh(self.one(["c", "C"]))
            items.append(f"{text} {self.one(['AS ', 'AS ', ''])}{quoted(name, self.flavour)}")
            columns[name] = kind
        return items, columns

    def _distinct(self, scope: Scope) -> tuple[str, list[str]]:
        if self.has("distinct_on") and self.chance(20):
            keys = [self.key(scope, 0) for _ in range(1 + self.choose(2))]
            return f"DISTINCT ON ({', '.join(keys)}) ", keys
        return ("DISTINCT ", []) if self.chance(10) else ("", [])

    def _order(self, scope: Scope, columns: dict[str, str], *, is_distinct: bool, prefix: Sequence[str] = ()) -> list[str]:
        if prefix and not self.is_ordered:
            return [f"ORDER BY {', '.join(k + self.direction() for k in prefix)}"] if self.chance(2) else []
        if not self.chance(3) and not prefix:
            return []
        count = len(columns)
        positions = [str(1 + i) + self.direction() for i in range(count)]
        if prefix:
            return [f"ORDER BY {', '.join([*prefix, *positions])}"]
        limit = self._limit() if self.chance(3) else []
        if limit and (self.is_ordered or self.chance(2)):
            return [f"ORDER BY {', '.join(positions)}", *limit]
        keys = []
        for _ in range(1 + self.choose(2)):
            form = self.choose(3)
            if form == 2 and not is_distinct:
                keys.append(self.key(scope, 1))
            elif form == 1:
                keys.append(quoted(self.one(list(columns)), self.flavour))
            else:
                keys.append(str(1 + self.choose(count)))
        keys = [k for i, k in enumerate(keys) if k not in keys[:i]]
        if not scope.sources or any(k for k in keys if self._is_ambiguous(k, scope, columns)):
            keys = ["1"]
        return [f"ORDER BY {', '.join(k + self.direction() for k in keys)}", *limit]

    def _is_ambiguous(self, key: str, scope: Scope, columns: dict[str, str]) -> bool:
        return (
            key in columns and any(key in s.columns for s in scope.sources) and self.flavour.name not in ("postgres", "sqlite")
        )

    def _limit(self) -> list[str]:
        forms = [
            ["LIMIT 3"],
            ["LIMIT 5", "OFFSET 1"],
            ["LIMIT 2 + 1"],
            [f"LIMIT (SELECT count(*) FROM {self.flavour.schema.counted})"],
        ]
        if self.has("fetch"):
            forms += [["OFFSET 1"], ["FETCH FIRST 2 ROWS ONLY"], ["OFFSET 1 ROWS", "FETCH NEXT 4 ROWS ONLY"], ["LIMIT ALL"]]
        elif self.has("free_order"):
            forms += [["LIMIT 1, 4"], ["LIMIT -1", "OFFSET 2"]]
        return self.one(forms)

    def _grouped(self, scope: Scope, depth: int) -> tuple[str, dict[str, str]]:
        source = self.from_clause(scope, depth)
        keys = [self._group_key(scope) for _ in range(self.choose(3))]
        items, columns = [], {}
        # Over the query's own columns: an aggregate over outer columns alone belongs to the outer query.
        own = Scope(sources=scope.sources, merged=scope.merged)
        for text, kind in keys:
            name = self.fresh("k")
            items.append(f"{text} AS {name}")
            columns[name] = kind
        for _ in range(1 + self.choose(2)):
            kind = self.one(list(self.flavour.aggregates))
            name = self.fresh("a")
            items.append(f"{self.fill(self.one(self.flavour.aggregates[kind]), own, min(depth, 1))} AS {name}")
            columns[name] = kind
        if keys and self.chance(6):
            name = self.fresh("w")
            inner = self.fill(self.one(self.flavour.aggregates["num"]), own, 0)
            items.append(f"rank() OVER (ORDER BY {keys[0][0]}, {inner}) AS {name}")
            columns[name] = "int"
        clauses = [f"FROM {source}"]
        if self.chance(3):
            clauses.append(f"WHERE {self.condition(scope, depth)}")
        if keys:
            clauses.append(f"GROUP BY {self._group_by([t for t, _ in keys])}")
        if self.chance(4):
            kind = self.one(["int", "num", "text"])
            aggregate = self.fill(self.one(self.flavour.aggregates[kind]), own, 0)
            clauses.append(f"HAVING {aggregate} {self.one(['>', '<=', '<>'])} {self.literal(kind)}")
        clauses += self._order(Scope(), columns, is_distinct=True)
        return f"SELECT {', '.join(items)} {' '.join(clauses)}", columns

    def _group_key(self, scope: Scope) -> tuple[str, str]:
        kind = self.one(["text", "int", "date", "num"])
        column = self.column(kind, scope, is_own=True)
        if column is None:
            return self.computed_constant(), "text"
        forms = {
            "text": ["{0}", "upper({0})", "{0} || 'k'"],
            "int": ["{0}", "{0} % 3"],
            "date": ["{0}"],
            "num": ["{0}", "round({0})"],
        }
        return self.one(forms[kind]).format(column), kind

    def _group_by(self, keys: Sequence[str]) -> str:
        listed = ", ".join(keys)
        if self.has("grouping_sets") and self.chance(4):
            forms = [
                f"ROLLUP ({listed})",
                f"CUBE ({listed})",
                f"GROUPING SETS (({listed}), ())",
                f"GROUPING SETS ({listed}, ({keys[0]}), ())",
            ]
            return self.one(forms)
        if self.chance(5):
            return ", ".join(str(i + 1) for i in range(len(keys)))
        return listed

    def row(self, kinds: Sequence[str], scope: Scope, depth: int) -> tuple[str, dict[str, str]]:
        """A query of exactly these kinds of columns."""
        if self.chance(6):
            names = [self.fresh("c") for _ in kinds]
            items = [f"{self.expression(k, scope, 1)} AS {n}" for k, n in zip(kinds, names, strict=True)]
            return f"SELECT {', '.join(items)}", dict(zip(names, kinds, strict=True))
        source = self.from_clause(scope, depth)
        names = [self.fresh("c") for _ in kinds]
        items = [f"{self.expression(k, scope, depth)} AS {n}" for k, n in zip(kinds, names, strict=True)]
        where = f" WHERE {self.condition(scope, depth)}" if self.chance(2) else ""
        return f"SELECT {', '.join(items)} FROM {source}{where}", dict(zip(names, kinds, strict=True))

    def _values_query(self, kinds: Sequence[str]) -> tuple[str, dict[str, str]]:
        made = [", ".join(self.literal(k) for k in kinds) for _ in range(1 + self.choose(3))]
        return f"VALUES {', '.join(f'({row})' for row in made)}", {f"column{i + 1}": k for i, k in enumerate(kinds)}

    def _set_operation(self, scope: Scope, depth: int) -> tuple[str, dict[str, str]]:
        kinds = self.some([k for k in self.flavour.kinds if k != "json"], 3)
        outer = scope.parent
        text, columns = self.row(kinds, scope, depth - 1)
        operators = [
            "UNION ALL",
            "UNION",
            "EXCEPT",
            "INTERSECT",
            *(["EXCEPT ALL", "INTERSECT ALL"] if self.has("row_in") and self.has("array") else []),
        ]
        for _ in range(1 + self.choose(2)):
            arm, _ = self.row(kinds, Scope(outer), depth - 1) if not self.chance(8) else self._values_query(kinds)
            if self.has("array") and self.chance(5):
                text, arm = f"({text})", f"({arm})"
            text = f"{text} {self.one(operators)} {arm}"
        if self.chance(3):
            keys = self.one([[str(i + 1) for i in range(len(kinds))], ["1"], [next(iter(columns))]])
            limit = self._limit() if self.chance(3) and (len(keys) == len(kinds) or not self.is_ordered) else []
            text = " ".join([text, f"ORDER BY {', '.join(k + self.direction() for k in keys)}", *limit])
        return text, columns

    def _nested_with(self, scope: Scope, depth: int) -> tuple[str, dict[str, str]]:
        """WITH inside a subquery; its names end with it."""
        before = dict(self.ctes)
        prefix = self.with_clause(max(depth - 1, 1))
        query, columns = self._select(scope, depth - 1)
        self.ctes = before
        return prefix + query, columns

    def subquery(self, kinds: Sequence[str], scope: Scope, depth: int, *, is_one: bool) -> str:
        windows, self._windows = self._windows, []
        inner = scope.child()
        depth = max(min(depth, 1), 0)
        if not is_one:
            text = self.row(kinds, inner, depth)[0]
        elif kinds[0] in self.flavour.aggregates and not self.chance(3):
            source = self.from_clause(inner, depth)
            where = f" WHERE {self.condition(inner, depth)}" if self.chance(2) else ""
            aggregate = self.fill(
                self.one(self.flavour.aggregates[kinds[0]]), Scope(sources=inner.sources, merged=inner.merged), 0
            )
            text = f"SELECT {aggregate} FROM {source}{where}"
        else:
            text = f"{self.row(kinds, inner, depth)[0]} ORDER BY 1 LIMIT 1"
        self._windows = windows
        return text
