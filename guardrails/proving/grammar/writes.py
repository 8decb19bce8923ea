"""INSERT, UPDATE and DELETE in every form, and the data-modifying common table expressions of PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guardrails.proving.grammar.flavour import quoted
from guardrails.proving.grammar.queries import Queries
from guardrails.proving.grammar.scopes import Scope, Source

__all__ = ["Writes"]


class Writes(Queries):
    """Makes changes."""

    @property
    def keys(self) -> Mapping[str, Sequence[str]]:
        return self.flavour.schema.keys

    def change(self, depth: int = 1) -> str:
        """A whole statement that changes data."""
        before = dict(self.ctes)
        prefix = self.with_clause(depth) if self.has("with_writes") and self.chance(6) else ""
        made = self.one([self.insert, self.update, self.delete])(depth)
        self.ctes = before
        return prefix + made

    def query_with_change(self, depth: int = 1) -> str:
        """A query over a data-modifying common table expression."""
        name = self.fresh("d")
        change = self.one([self.insert, self.update, self.delete])(depth)
        if " RETURNING " not in change:
            return f"WITH {name} AS ({change}) {self._select(Scope(), depth)[0]}"
        return f"WITH {name} AS ({change}) SELECT * FROM {name}"

    def _target(self) -> tuple[str, str, Source]:
        name = self.one(list(self.flavour.tables()))
        spelled = ".".join(self.spell(part) for part in name.split("."))
        return name, spelled, Source(name.rpartition(".")[2], dict(self.flavour.tables()[name]))

    def insert(self, depth: int) -> str:
        name, spelled, target = self._target()
        alias = ""
        if self.has("insert_alias") and self.chance(6):
            target = Source(self.fresh("i"), target.columns)
            alias = f" AS {target.alias}"
        picked = self.some(list(target.columns), len(target.columns))
        kinds = [target.columns[c] for c in picked]
        columns = f" ({', '.join(self.spell(c) for c in picked)})"
        if len(picked) == len(target.columns) and self.chance(2):
            columns = ""
        form = self.choose(8)
        if form == 7 and self.has("default_values"):
            columns, source = "", "DEFAULT VALUES"
        elif form > 3:
            source = self.row(kinds, Scope(), depth)[0]
            if self.flavour.name == "sqlite" and " WHERE " not in source:
                # Without WHERE an ON CONFLICT would be read as a join's condition.
                source += " WHERE true" if " FROM " in source else ""
        else:
            default = ["DEFAULT"] if self.has("array") and self.chance(5) else []
            made = []
            for _ in range(1 + self.choose(2)):
                made.append(", ".join([*default, *[self.expression(k, Scope(), depth) for k in kinds[len(default) :]]]))
            source = f"VALUES {', '.join(f'({row})' for row in made)}"
        conflict = self._conflict(name, target, depth) if self.has("on_conflict") and self.chance(3) and form != 7 else ""
        return f"INSERT INTO {spelled}{alias}{columns} {source}{conflict}{self._returning([target])}"

    def _conflict(self, name: str, target: Source, depth: int) -> str:
        if self.chance(2) or name not in self.keys:
            keys = f" ({', '.join(self.spell(k) for k in self.keys[name])})" if name in self.keys and self.chance(2) else ""
            return f" ON CONFLICT{keys} DO NOTHING"
        keys = ", ".join(self.spell(k) for k in self.keys[name])
        # Bare names are the target's; both sides are named here, as SQLite finds bare ones ambiguous.
        scope = Scope(sources=[target, Source("excluded", target.columns, is_row=False)])
        where = f" WHERE {self.condition(scope, 0)}" if self.chance(3) else ""
        return f" ON CONFLICT ({keys}) DO UPDATE SET {self._assignments(target, scope, depth)}{where}"

    def _assignments(self, target: Source, scope: Scope, depth: int) -> str:
        names = self.some([c for c in target.columns if c.lower() not in self.flavour.schema.fixed], 3)
        if len(names) > 1 and self.has("multi_set") and self.chance(6):
            kinds = [target.columns[n] for n in names]
            listed = ", ".join(self.spell(n) for n in names)
            values = ", ".join(self.expression(k, scope, depth) for k in kinds)
            return f"({listed}) = ({self.one([values, self.row(kinds, scope.child(), 0)[0]])})"
        return ", ".join(f"{self.spell(n)} = {self.expression(target.columns[n], scope, depth)}" for n in names)

    def update(self, depth: int) -> str:
        _, spelled, target = self._target()
        alias = ""
        if self.chance(2):
            target = Source(self.fresh(self.one(["u", "U"])), target.columns)
            alias = f" AS {quoted(target.alias, self.flavour)}"
        scope, others, source = Scope(sources=[target]), Scope(), ""
        if self.has("update_from") and self.chance(3):
            source = f" FROM {self.from_clause(others, 1)}"
            if any(s.alias.lower() == target.alias.lower() for s in others.sources):
                others, source = Scope(), ""
            scope = Scope(sources=[target, *others.sources], merged=others.merged)
        where = f" WHERE {self.condition(scope, depth)}" if not self.chance(5) else ""
        text = f"UPDATE {spelled}{alias} SET {self._assignments(target, scope, depth)}{source}{where}"
        return text + self._returning([target, *others.sources] if self.has("delete_using") else [target])

    def delete(self, depth: int) -> str:
        _, spelled, target = self._target()
        alias = ""
        if self.chance(2):
            target = Source(self.fresh("d"), target.columns)
            alias = f" AS {target.alias}"
        scope, others, using = Scope(sources=[target]), Scope(), ""
        if self.has("delete_using") and self.chance(3):
            using = f" USING {self.from_clause(others, 1)}"
            if any(s.alias.lower() == target.alias.lower() for s in others.sources):
                others, using = Scope(), ""
            scope = Scope(sources=[target, *others.sources], merged=others.merged)
        where = f" WHERE {self.condition(scope, depth)}" if not self.chance(5) else ""
        return f"DELETE FROM {spelled}{alias}{using}{where}{self._returning([target, *others.sources])}"

    def _returning(self, sources: list[Source]) -> str:
        if not self.has("returning") or not self.chance(4):
            return ""
        visible = sources if self.has("delete_using") else sources[:1]
        if self.chance(3):
            return f" RETURNING {quoted(sources[0].alias, self.flavour)}.*" if self.has("delete_using") else " RETURNING *"
        kind = self.kind()
        return f" RETURNING {self.expression(kind, Scope(sources=visible), 1)} AS {self.fresh('r')}"
