"""What the statements of MariaDB have and others lack: its LIMIT, ROLLUP, results without aliases, changes over joins and on duplicates."""

from __future__ import annotations

from collections.abc import Sequence

from guardrails.proving.grammar.choices import Choose
from guardrails.proving.grammar.flavour import Flavour, quoted
from guardrails.proving.grammar.scopes import Scope, Source
from guardrails.proving.grammar.writes import Writes

__all__ = ["MysqlWrites"]


class MysqlWrites(Writes):
    """Makes MariaDB's queries and changes."""

    def __init__(self, choose: Choose, flavour: Flavour, *, is_hostile: bool = False, is_ordered: bool = False) -> None:
        super().__init__(choose, flavour, is_hostile=is_hostile, is_ordered=is_ordered)
        self._is_rollup = False
        # Names that may be written in capitals; relations and aliases are compared letter by letter.
        self._folded = frozenset(c for columns in flavour.tables().values() for c in columns)

    def spell(self, name: str) -> str:
        plain = quoted(name, self.flavour)
        if not self.chance(6):
            return plain
        return self.one([plain, plain if plain != name or name not in self._folded else name.upper(), f"`{name}`"])

    def statement(self, depth: int = 2) -> str:
        if not self.chance(6):
            return super().statement(depth)
        return self._unnamed(depth)

    def _unnamed(self, depth: int) -> str:
        """A query whose columns are named by the server."""
        scope = Scope()
        source = self.from_clause(scope, depth)
        items = [self.expression(self.kind(), scope, depth) for _ in range(1 + self.choose(3))]
        where = f" WHERE {self.condition(scope, depth)}" if self.chance(2) else ""
        words = ["SQL_NO_CACHE ", "HIGH_PRIORITY ", "SQL_BIG_RESULT ", "DISTINCT SQL_BUFFER_RESULT "]
        modifier = self.one(words) if self.chance(8) else ""
        return f"SELECT {modifier}{', '.join(items)} FROM {source}{where}"

    def _recursive(self, name: str) -> tuple[str, dict[str, str]]:
        # `||` is OR here, and what a temporary table cannot hold is an error only where the plan fills it.
        query, columns = super()._recursive(name)
        return query.replace("'x' || ''", "CAST('x' AS CHAR(9))").replace("r.s || 'y'", "concat(r.s, 'y')"), columns

    def _derived(self, scope: Scope, depth: int) -> tuple[str, Source]:
        # A derived table sees nothing around it.
        return super()._derived(Scope(), depth)

    def _distinct(self, scope: Scope) -> tuple[str, list[str]]:
        words = ["DISTINCT ", "DISTINCT ", "DISTINCTROW ", "ALL "]
        return (self.one(words), []) if self.chance(10) else ("", [])

    def _limit(self) -> list[str]:
        return self.one(
            [["LIMIT 3"], ["LIMIT 5", "OFFSET 1"], ["LIMIT 1, 4"], ["LIMIT 2"], ["OFFSET 1 ROWS", "FETCH NEXT 2 ROWS ONLY"]]
        )

    def _hole(self, name: str, scope: Scope, depth: int) -> str:
        if name != "rows":
            return super()._hole(name, scope, depth)
        frames = [
            "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            "ROWS UNBOUNDED PRECEDING",
            "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            "ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING",
        ]
        return f"({self.window_body(scope, depth)} {self.one(frames)})"

    def window_body(self, scope: Scope, depth: int) -> str:
        """Always with an order, which some functions need, and without a frame, which some cannot have."""
        parts = []
        if self.chance(2):
            parts.append(f"PARTITION BY {', '.join(self.key(scope, 0) for _ in range(1 + self.choose(2)))}")
        parts.append(f"ORDER BY {', '.join(self.key(scope, 0) + self.direction() for _ in range(1 + self.choose(2)))}")
        return " ".join(parts)

    def _group_by(self, keys: Sequence[str]) -> str:
        listed = super()._group_by(keys)
        self._is_rollup = self.chance(8)
        return f"{listed} WITH ROLLUP" if self._is_rollup else listed

    def _grouped(self, scope: Scope, depth: int) -> tuple[str, dict[str, str]]:
        self._is_rollup = False
        return super()._grouped(scope, depth)

    def _order(self, scope: Scope, columns: dict[str, str], *, is_distinct: bool, prefix: Sequence[str] = ()) -> list[str]:
        # ROLLUP takes no order; of a grouped query the scope is empty here.
        is_rollup, self._is_rollup = self._is_rollup and not scope.sources, False
        return [] if is_rollup else super()._order(scope, columns, is_distinct=is_distinct, prefix=prefix)

    def _values_query(self, kinds: Sequence[str]) -> tuple[str, dict[str, str]]:
        """Rows whose columns the first one names; elsewhere VALUES names them by its constants."""
        names = [self.fresh("c") for _ in kinds]
        first = ", ".join(f"{self.literal(k)} AS {n}" for k, n in zip(kinds, names, strict=True))
        rows = [", ".join(self.literal(k) for k in kinds) for _ in range(self.choose(3))]
        arms = [f"SELECT {row}" for row in rows]
        return " UNION ALL ".join([f"SELECT {first}", *arms]), dict(zip(names, kinds, strict=True))

    def change(self, depth: int = 1) -> str:
        forms = [self.insert, self.update, self.delete, self._joined_update, self._joined_delete, self._replace]
        return self.one(forms)(depth)

    def insert(self, depth: int) -> str:
        name, spelled, target = self._target()
        head = f"INSERT {self.one(['', '', '', 'IGNORE '])}{self.one(['INTO ', 'INTO ', ''])}{spelled}"
        duplicate = self._duplicate(target, depth) if self.chance(3) and name in self.keys else ""
        if self.chance(8):
            return f"{head} SET {self._assignments(target, Scope(), 0)}{duplicate}{self._returning([target])}"
        return f"{head}{self._rows(target, depth)}{duplicate}{self._returning([target])}"

    def _rows(self, target: Source, depth: int) -> str:
        picked = self.some(list(target.columns), len(target.columns))
        kinds = [target.columns[c] for c in picked]
        columns = f" ({', '.join(self.spell(c) for c in picked)})"
        if len(picked) == len(target.columns) and self.chance(2):
            columns = ""
        if self.chance(2):
            return f"{columns} {self.row(kinds, Scope(), depth)[0]}"
        rows = [", ".join(self.expression(k, Scope(), depth) for k in kinds) for _ in range(1 + self.choose(2))]
        return f"{columns} {self.one(['VALUES', 'VALUES', 'VALUE'])} {', '.join(f'({row})' for row in rows)}"

    def _duplicate(self, target: Source, depth: int) -> str:
        if not self.chance(2):
            return f" ON DUPLICATE KEY UPDATE {self._assignments(target, Scope(sources=[target]), depth)}"
        names = self.some([c for c in target.columns if c.lower() not in self.flavour.schema.ids], 2)
        return f" ON DUPLICATE KEY UPDATE {', '.join(f'{self.spell(n)} = VALUES({self.spell(n)})' for n in names)}"

    def _replace(self, depth: int) -> str:
        _, spelled, target = self._target()
        return f"REPLACE INTO {spelled}{self._rows(target, depth)}"

    def update(self, depth: int) -> str:
        _, spelled, target = self._target()
        alias = ""
        if self.chance(2):
            target = Source(self.fresh("u"), target.columns)
            alias = f" {self.one(['', 'AS '])}{target.alias}"
        scope = Scope(sources=[target])
        text = f"UPDATE {spelled}{alias} SET {self._assignments(target, scope, depth)}"
        return f"{text}{self._where_and_limit(scope, depth)}"

    def _where_and_limit(self, scope: Scope, depth: int) -> str:
        where = f" WHERE {self.condition(scope, depth)}" if not self.chance(5) else ""
        order = f" ORDER BY {self.key(scope, 0)}{self.direction()}" if self.chance(4) else ""
        return f"{where}{order}{' LIMIT 3' if self.chance(5) else ''}"

    def delete(self, depth: int) -> str:
        _, spelled, target = self._target()
        scope = Scope(sources=[target])
        return f"DELETE FROM {spelled}{self._where_and_limit(scope, depth)}{self._returning([target])}"

    def _joined(self, depth: int) -> tuple[str, Scope, Source, str]:
        """Joined relations of which the first is a table under an alias: the text, the scope, the target, and the rest."""
        _, spelled, target = self._target()
        target = Source(self.fresh("u"), target.columns)
        scope = Scope(sources=[target])
        text = f"{spelled} {self.one(['', 'AS '])}{target.alias}"
        right, source = self.source(Scope(), depth)
        scope.sources.append(source)
        if self.chance(4):
            text = f"{text}, {right}"
        else:
            text = (
                f"{text} {self.one(['JOIN', 'LEFT JOIN', 'INNER JOIN'])} {right} ON {self._on(scope, source, 0, is_full=False)}"
            )
        where = f" WHERE {self.condition(scope, depth)}" if not self.chance(5) else ""
        return text, scope, target, where

    def _joined_update(self, depth: int) -> str:
        text, scope, target, where = self._joined(depth)
        names = self.some([c for c in target.columns if c.lower() not in self.flavour.schema.ids], 2)
        pairs = [f"{target.alias}.{self.spell(n)} = {self.expression(target.columns[n], scope, depth)}" for n in names]
        return f"UPDATE {text} SET {', '.join(pairs)}{where}"

    def _joined_delete(self, depth: int) -> str:
        text, _, target, where = self._joined(depth)
        if self.chance(3):
            return f"DELETE FROM {target.alias} USING {text}{where}"
        return f"DELETE {target.alias} FROM {text}{where}"

    def _returning(self, sources: list[Source]) -> str:
        if not self.chance(4):
            return ""
        if self.chance(3):
            return " RETURNING *"
        kind = self.kind()
        return f" RETURNING {self.expression(kind, Scope(sources=sources[:1]), 1)} AS {self.fresh('r')}"
