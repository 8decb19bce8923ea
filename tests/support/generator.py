"""A grammar of SELECT statements over the corpus schema, driven by choices: by a seeded random for bulk, by hypothesis for shrinking.

Choice 0 is always the simplest form, so that hypothesis shrinks towards short statements.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Choose = Callable[[int], int]
"""Returns a number from 0 to n - 1."""

TABLES: dict[str, dict[str, str]] = {
    "customers": {
        "id": "int",
        "name": "text",
        "email": "text",
        "ssn": "text",
        "region": "text",
        "credit": "int",
        "created": "date",
    },
    "orders": {"id": "int", "customer_id": "int", "amount": "num", "status": "text", "region": "text", "created": "date"},
    "employees": {"id": "int", "name": "text", "salary": "int", "boss_id": "int"},
    "customer_mails": {"id": "int", "name": "text", "mail": "text"},
}
_TEXTS = ["'a'", "'EU'", "'x1@example.com'", "'%a%'", "'***'", "''", "NULL"]
_INTS = ["1", "0", "5", "21", "100", "-3", "NULL"]


def seeded(seed: int) -> Choose:
    """Returns choices from a seed."""
    source = random.Random(seed)
    return lambda n: source.randrange(n)


@dataclass
class Generator:
    """Makes one statement. `dialect` decides about casts, row values and functions."""

    choose: Choose
    dialect: str
    names: int = 0
    ctes: dict[str, dict[str, str]] = field(default_factory=dict)

    def one(self, items: Sequence[str]) -> str:
        return items[self.choose(len(items))]

    def chance(self, n: int) -> bool:
        """True once in n, never for choice 0."""
        return self.choose(n) == n - 1

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def statement(self) -> str:
        prefix = ""
        if self.chance(4):
            name = self.one(["w", "customers", "orders", "t"])
            query, columns = self.select(2, {}, is_set=False)
            self.ctes = {name: columns}
            prefix = f"WITH {name} AS ({query}) "
        query, columns = self.select(2, {}, is_set=False)
        if self.chance(6):
            kinds = list(columns.values())
            other = self.row_of(kinds)
            query = f"{query} {self.one(['UNION ALL', 'UNION', 'EXCEPT', 'INTERSECT'])} SELECT {other}"
            order = f" ORDER BY {self.choose(len(kinds)) + 1}" if self.chance(3) else ""
            return prefix + query + order
        return prefix + query

    def row_of(self, kinds: Sequence[str]) -> str:
        return ", ".join({"text": "'a'", "date": "NULL", "bool": "NULL"}.get(k, "1") for k in kinds)

    def select(self, depth: int, outer: dict[str, dict[str, str]], *, is_set: bool) -> tuple[str, dict[str, str]]:
        sources, from_text = self.from_clause(depth, outer)
        scope = {**outer, **sources}
        if self.chance(5) and not is_set:
            return self.grouped(sources, scope, from_text, depth)
        items: list[str] = []
        columns: dict[str, str] = {}
        if self.chance(6) and len(sources) == 1:
            alias, cols = next(iter(sources.items()))
            items.append(self.one(["*", f"{alias}.*"]))
            columns |= cols
        for _ in range(1 + self.choose(3)):
            kind = self.one(["int", "text", "num", "bool", "date"])
            text = self.expression(kind, scope, depth)
            name = self.fresh("c")
            items.append(f"{text} AS {name}")
            columns[name] = kind
        if self.chance(12) and self.dialect == "postgres":
            alias = self.one(list(sources))
            items.append(
                f"{self.one(['row_to_json({0})', '{0}::text', 'to_jsonb({0}) ->> 2', 'count({0}.*) OVER ()']).format(alias)} AS {self.fresh('r')}"
            )
            columns[f"r{self.names}"] = "text"
        text = f"SELECT {'DISTINCT ' if self.chance(8) else ''}{', '.join(items)} FROM {from_text}"
        if self.chance(2):
            text += f" WHERE {self.predicate(scope, depth)}"
        is_distinct = "SELECT DISTINCT" in text[:16]
        if self.chance(3):
            key = (
                str(1 + self.choose(len(columns)))
                if is_distinct or self.chance(2)
                else self.expression(self.one(["text", "int"]), scope, 0)
            )
            key = key if not key.lstrip("-").isdigit() or int(key) > 0 else "1"
            text += f" ORDER BY {key}{self.one(['', ' DESC'])}"
            if self.chance(2):
                text += f" LIMIT {1 + self.choose(5)}"
        return text, columns

    def grouped(
        self, sources: dict[str, dict[str, str]], scope: dict[str, dict[str, str]], from_text: str, depth: int
    ) -> tuple[str, dict[str, str]]:
        kind = self.one(["text", "int", "date"])
        key = self.expression(kind, sources, 0)
        if key.startswith(("'", "-")) or key[0].isdigit() or key == "NULL":
            key = f"({key})" if self.dialect == "sqlite" else self.column("text", sources) or "1 + 1"
        name, count = self.fresh("c"), self.fresh("c")
        aggregate = self.one(["count(*)", "count({t})", "count(DISTINCT {t})", "min({t})", "max({i})", "sum({i})", "avg({i})"])
        aggregate = aggregate.format(t=self.expression("text", scope, 0), i=self.expression("int", scope, 0))
        kind_of = "text" if aggregate.startswith("min") else "num"
        text = f"SELECT {key} AS {name}, {aggregate} AS {count} FROM {from_text}"
        if self.chance(3):
            text += f" WHERE {self.predicate(scope, depth)}"
        text += f" GROUP BY {key}"
        if self.chance(4):
            text += f" HAVING count(*) > {self.choose(3)}"
        if self.chance(3):
            text += f" ORDER BY {self.choose(2) + 1}"
        return text, {name: kind, count: kind_of}

    def from_clause(self, depth: int, outer: dict[str, dict[str, str]]) -> tuple[dict[str, dict[str, str]], str]:
        sources: dict[str, dict[str, str]] = {}
        alias, columns, text = self.source(depth)
        sources[alias] = columns
        for _ in range(self.choose(3) if depth else 0):
            right, right_columns, right_text = self.source(depth - 1)
            shared = sorted({"id", "region"} & set(columns) & set(right_columns))
            if shared and self.chance(4) and len(sources) == 1:
                text += f" {self.one(['', 'LEFT '])}JOIN {right_text} USING ({shared[0]})"
                sources[right] = {k: v for k, v in right_columns.items() if k != shared[0]}
                sources[alias] = {k: v for k, v in sources[alias].items() if k != shared[0]}
                continue
            sources[right] = right_columns
            join = self.one(["JOIN", "LEFT JOIN", "CROSS JOIN", ","])
            if join in ("CROSS JOIN", ","):
                text += f" {join} {right_text}" if join != "," or "JOIN" in text else f", {right_text}"
            else:
                text += f" {join} {right_text} ON {self.predicate({**outer, **sources}, 0)}"
            if join == ",":
                break
        return sources, text

    def source(self, depth: int) -> tuple[str, dict[str, str], str]:
        if depth > 0 and self.chance(5):
            query, columns = self.select(depth - 1, {}, is_set=False)
            alias = self.fresh("s")
            return alias, columns, f"({query}) {self.one(['', 'AS '])}{alias}"
        tables = {**TABLES, **self.ctes}
        name = self.one([*tables])
        alias = self.fresh("t")
        quoted = [name, f"`{name}`"] if self.dialect == "mysql" else [name.upper(), f'"{name}"']
        spelled = name if name in self.ctes else self.one([name, name, *quoted])
        return alias, tables[name], f"{spelled} {self.one(['', 'AS '])}{alias}"

    def column(self, kind: str, scope: dict[str, dict[str, str]]) -> str | None:
        found = [f"{a}.{c}" for a, cols in scope.items() for c, k in cols.items() if k == kind or {k, kind} <= {"int", "num"}]
        if not found:
            return None
        choice = self.one(found)
        bare = choice.split(".")[1]
        is_unique = sum(bare in cols for cols in scope.values()) == 1
        return bare if is_unique and self.chance(3) else choice

    def expression(self, kind: str, scope: dict[str, dict[str, str]], depth: int) -> str:
        column = self.column(kind, scope)
        form = self.choose(10)
        if column is not None and form < 5:
            return column
        if kind == "text":
            inner = column or self.one(_TEXTS[:-1])
            if form == 9 and depth > 0:
                return f"(SELECT min({self.column('text', {'q': TABLES['customers']})}) FROM customers q WHERE q.id = {self.column('int', scope) or 1})"
            forms = [
                "upper({0})",
                "concat({0}, 'z')" if self.dialect == "mysql" else "{0} || 'z'",
                "coalesce({0}, 'none')",
                "substr({0}, 1, 2)",
                "CASE WHEN {0} LIKE 'a%' THEN 'y' ELSE {0} END",
                "cast({1} AS text)",
                "'lit'",
            ]
            return self.one(forms).format(inner, self.column("int", scope) or "1")
        if kind in ("int", "num"):
            inner = column or self.one(_INTS[:-1])
            if form == 9 and depth > 0:
                return (
                    f"(SELECT max(q.credit) FROM customers q WHERE q.region = {self.column('text', scope) or self.one(_TEXTS)})"
                )
            if form == 8:
                order = self.column(self.one(["text", "int"]), scope) or inner
                return f"{self.one(['row_number()', 'rank()', 'count(*)', f'sum({inner})'])} OVER (ORDER BY {order})"
            forms = [
                "{0} + 1",
                "{0} * 2",
                "coalesce({0}, 0)",
                "abs({0})",
                "length({1})",
                "cast({1} AS integer)",
                "100 / ({0} - 21)",
                "9223372036854775790 + {0}" if self.dialect == "mysql" else "7",
            ]
            return self.one(forms).format(inner, self.column("text", scope) or "'12'")
        if kind == "date":
            return column or "NULL"
        return f"({self.predicate(scope, max(depth - 1, 0))})"

    def predicate(self, scope: dict[str, dict[str, str]], depth: int) -> str:
        text, number = self.column("text", scope), self.column("int", scope)
        form = self.choose(12)
        if form == 11 and depth > 0:
            inner, _ = "SELECT 1", None
            return f"EXISTS ({inner} FROM customers q WHERE q.{self.one(['id', 'credit'])} = {number or 1})"
        if form == 10 and depth > 0 and number:
            return f"{number} {self.one(['IN', 'NOT IN'])} (SELECT q.{self.one(['id', 'credit'])} FROM customers q)"
        if form == 9:
            return f"{self.predicate(scope, 0)} {self.one(['AND', 'OR'])} {self.predicate(scope, 0)}"
        if form == 8:
            return f"NOT {self.predicate(scope, 0)}"
        if text and form % 2:
            forms = [
                "{0} = {1}",
                "{0} LIKE {1}",
                "{0} > {1}",
                "{0} IS NULL",
                "{0} IN ({1}, 'EU')",
                "{0} <> {1}",
                "cast({0} AS integer) = 1",
                "{0} BETWEEN 'a' AND {1}",
            ]
            return self.one(forms).format(text, self.one(_TEXTS))
        if number:
            forms = [
                "{0} = {1}",
                "{0} > {1}",
                "{0} IS NOT NULL",
                "1 / ({0} - 21) > 0",
                "{0} BETWEEN 1 AND {1}",
                "{0} IN ({1}, 2)",
            ]
            return self.one(forms).format(number, self.one(_INTS))
        return "1 = 1"


def statement(choose: Choose, dialect: str) -> str:
    """Returns one SELECT statement for the engine."""
    sql = Generator(choose, dialect).statement()
    return sql.replace(" AS text)", " AS char)").replace(" AS integer)", " AS signed)") if dialect == "mysql" else sql
