"""WITH: common table expressions that shadow tables, name their columns, use each other and themselves."""

from __future__ import annotations

from guardrails.proving.grammar.flavour import quoted
from guardrails.proving.grammar.scopes import Scope
from guardrails.proving.grammar.sources import Sources

__all__ = ["WithClauses"]


class WithClauses(Sources):
    """Makes WITH clauses; what they define stays in `ctes`."""

    def with_clause(self, depth: int) -> str:
        """A WITH clause with one to three expressions, which stay in `ctes`."""
        is_recursive = self.chance(5)
        names: list[str] = []
        for _ in range(1 + self.choose(3)):
            name = self.one([self.fresh("cte"), *self.flavour.schema.cte_names])
            names.append(self.fresh("cte") if name in names else name)
        hidden, made = self.hidden, []
        for index, name in enumerate(names):
            # Where every expression of a WITH sees every other, a later one's name is not the table's.
            is_open = is_recursive or self.has("open_ctes")
            self.hidden = hidden | ({n.lower() for n in names[index:]} if is_open else set())
            made.append(self._cte(name, depth, is_recursive=is_recursive and not self.chance(3)))
        self.hidden = hidden
        return f"WITH {'RECURSIVE ' if is_recursive else ''}{', '.join(made)} "

    def _cte(self, name: str, depth: int, *, is_recursive: bool) -> str:
        query, columns = self._recursive(name) if is_recursive else self.query(Scope(), depth - 1)
        head = quoted(name, self.flavour)
        if self.has("cte_columns") and self.chance(3):
            # A recursive expression names its own columns, so they keep their names.
            names = list(columns) if is_recursive else [self.fresh("n") for _ in columns]
            head += f" ({', '.join(quoted(n, self.flavour) for n in names)})"
            columns = dict(zip(names, columns.values(), strict=True))
        as_ = self.one([" AS", " AS", " AS MATERIALIZED", " AS NOT MATERIALIZED"]) if self.has("materialized") else " AS"
        self.ctes = {k: v for k, v in self.ctes.items() if k.lower() != name.lower()} | {name: columns}
        return f"{head}{' AS' if is_recursive else as_} ({query})"

    def _recursive(self, name: str) -> tuple[str, dict[str, str]]:
        spelled = quoted(name, self.flavour)
        union = self.one(["UNION ALL", "UNION"])
        forms = [
            (f"SELECT 1 AS i {union} SELECT i + 1 FROM {spelled} WHERE i < 5", {"i": "int"}),
            (
                f"SELECT 1 AS i, 'x' || '' AS s {union} SELECT r.i + 1, r.s || 'y' FROM {spelled} AS r WHERE r.i < 4",
                {"i": "int", "s": "text"},
            ),
        ]
        found = self.flavour.schema.hierarchy
        if found is not None and found.table.lower() not in self.hidden:
            table = self.qualified(self.flavour.spell(found.table))
            key, label, parent = (quoted(n, self.flavour) for n in (found.key, found.label, found.parent))
            forms.append(
                (
                    f"SELECT {key}, {label}, 0 AS level FROM {table} WHERE {parent} IS NULL {union} "
                    f"SELECT e.{key}, e.{label}, r.level + 1 FROM {table} e JOIN {spelled} r ON e.{parent} = r.{key} WHERE r.level < 6",
                    {found.key: "int", found.label: "text", "level": "int"},
                )
            )
        return self.one(forms)
