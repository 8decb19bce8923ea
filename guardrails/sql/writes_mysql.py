"""MySQL's forms of changes: over joined relations, in an order up to a limit, and INSERT that updates what is there.

`UPDATE a JOIN b … SET a.x = …` and `DELETE a FROM a JOIN b …` change one relation of their FROM; changes of several are refused. Only
UPDATE takes an alias on its target, so that DELETE with one becomes the joined form, and the target of any other goes by its own name.
Source: https://mariadb.com/kb/en/update/, https://mariadb.com/kb/en/delete/, https://mariadb.com/kb/en/insert-on-duplicate-key-update/
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import ColumnRef, Relation, RelationUse
from guardrails.sql.allow import function_name
from guardrails.sql.scope import Cte, Output, Scope, Source
from guardrails.sql.sources import relation_of
from guardrails.sql.tells import Change
from guardrails.sql.writes import TARGET_META, WriteResolver

__all__ = ["JOINED_META", "MysqlWriteResolver"]

JOINED_META = "gr_joined"
"""Key in a change's `meta`: its target is one of several relations in FROM."""

_FORMS = ("order", "limit", "tables")


class MysqlWriteResolver(WriteResolver):
    """Resolves changes of every dialect; the forms of MySQL where the dialect has them."""

    def modification(self, node: exp.Expr, ctes: Mapping[str, Cte]) -> list[Output]:
        conflict = node.args.get("conflict")
        is_form = any(node.args.get(name) for name in _FORMS) or (conflict is not None and conflict.args.get("duplicate"))
        if not self.dialect.has_joined_changes:
            if is_form:
                raise StatementError("sql.construct_unsupported", "A change in a form of MySQL's is not supported here.")
            return super().modification(node, ctes)
        match node:
            case exp.Update() if isinstance(node.this, exp.Table) and node.this.args.get("joins"):
                return self._joined_update(node, ctes)
            case exp.Delete() if node.args.get("tables") or node.args.get("using") or _has_alias_or_joins(node.this):
                return self._joined_delete(node, ctes)
            case exp.Update():
                return self._one(node, ctes, "update")
            case exp.Delete():
                return self._one(node, ctes, "delete")
        outputs = super().modification(node, ctes)
        if isinstance(node, exp.Insert):
            self._call_by_name(node, node.this.this if isinstance(node.this, exp.Schema) else node.this)
        return outputs

    def target(self, table: exp.Expr, action: str) -> tuple[str, Relation, Source]:
        is_named = isinstance(table, exp.Table) and table.args.get("alias") is not None
        found = super().target(table, action)
        if self.dialect.has_joined_changes and action != "update":
            if is_named:
                raise StatementError("sql.construct_unsupported", "The target of INSERT has an alias.", hint="Leave it out.")
            table.set("alias", None)
        return found

    def _one(self, node: exp.Expr, ctes: Mapping[str, Cte], action: str) -> list[Output]:
        """A change of the one relation that it names, perhaps of the first rows in an order only."""
        key, relation, target = self.target(node.this, action)
        scope = self.with_target(target, Scope(None, ctes))
        if action == "delete":
            self.writes |= {ColumnRef(key, c) for c in relation.column_names}
            self.changes.append(Change(key, "delete"))
        else:
            for column in (e.this for e in node.expressions if isinstance(e, exp.EQ) and isinstance(e.this, exp.Column)):
                if column.table and self.dialect.fold(column.args["table"]) == target.alias:
                    column.set("table", None)
            self.assignments(node.expressions, key, relation, scope, None)
        self._where(node, scope)
        order = node.args.get("order")
        if order is not None:
            self._keys([o.this for o in order.expressions], scope, "ordered")
        self._limits(node, None, ctes)
        outputs = self.returning(node, target, ctes)
        if action == "delete":
            self._call_by_name(node, node.this)
        return outputs

    def _joined_update(self, node: exp.Update, ctes: Mapping[str, Cte]) -> list[Output]:
        self._only_where(node)
        scope = Scope(None, ctes)
        self.item(node.this, scope)
        columns = [e.this for e in node.expressions if isinstance(e, exp.EQ)]
        aliases = {self._alias_of(column, scope) for column in columns}
        if len(aliases) != 1 or len(columns) != len(node.expressions):
            raise StatementError(
                "sql.construct_unsupported", "UPDATE changes more than one relation.", hint="Use one for each."
            )
        alias = aliases.pop()
        key, relation = self._chosen(node, node.this, alias, scope, "update")
        assigned: set[str] = set()
        for assignment in node.expressions:
            name = self.own_column(assignment.this, relation)
            assigned.add(name)
            self.writes.add(ColumnRef(key, name))
            this, table = (exp.to_identifier(text, quoted=True) for text in (name, alias))
            assignment.set("this", exp.Column(this=this, table=table))
            self.flow(key, [name], self.expression(assignment.expression, scope))
        self.changes.append(Change(key, "update", frozenset(assigned)))
        self._where(node, scope)
        return []

    def _joined_delete(self, node: exp.Delete, ctes: Mapping[str, Cte]) -> list[Output]:
        self._only_where(node)
        names = node.args.get("tables") or [node.this, *(join.this for join in node.this.args.get("joins") or ())]
        if node.args.get("using"):
            if len(node.args["using"]) != 1:
                raise StatementError("sql.construct_unsupported", "DELETE … USING takes joins, not a list.", hint="Use JOIN.")
            node.set("this", node.args["using"][0])
            node.set("using", None)
        elif not node.args.get("tables"):
            alias = node.this.args.get("alias")
            names = [exp.Table(this=(alias.this if alias is not None else node.this.this).copy())]
        if len(names) != 1 or names[0].args.get("db") is not None:
            raise StatementError("sql.construct_unsupported", "DELETE names more than one relation.", hint="Use one for each.")
        scope = Scope(None, ctes)
        self.item(node.this, scope)
        alias_name = self.dialect.fold(names[0].this)
        key, relation = self._chosen(node, node.this, alias_name, scope, "delete")
        node.set("tables", [exp.Table(this=exp.to_identifier(alias_name, quoted=True))])
        self.writes |= {ColumnRef(key, c) for c in relation.column_names}
        self.changes.append(Change(key, "delete"))
        self._where(node, scope)
        return []

    def _chosen(self, node: exp.Expr, source: exp.Expr, alias: str, scope: Scope, action: str) -> tuple[str, Relation]:
        """Marks the one relation of FROM that is changed."""
        found = scope.sources.get(alias)
        tables = [t for t in source.find_all(exp.Table) if t.alias == alias and t.find_ancestor(exp.Query) is None]
        key = relation_of(tables[0]) if found is not None and len(tables) == 1 else None
        if key is None or self.catalog.relations[key].kind != "table":
            raise StatementError("sql.construct_unsupported", "The target of a change must be one plain table.")
        tables[0].meta[TARGET_META] = True
        node.meta[JOINED_META] = True
        self.uses.add(RelationUse(key, action))
        return key, self.catalog.relations[key]

    def _alias_of(self, column: exp.Expr, scope: Scope) -> str:
        """Returns which relation a column on the left of SET belongs to."""
        if isinstance(column, exp.Column) and isinstance(column.this, exp.Identifier):
            if column.table:
                return self.dialect.fold(column.args["table"])
            found = scope.find_column(self.dialect.fold(column.this))
            if found is not None and found[0] is not None:
                return found[0]
        raise StatementError("sql.construct_unsupported", "SET takes `column = value` for columns of one relation.")

    def _conflict(
        self, conflict: exp.OnConflict, key: str, relation: Relation, target: Source, ctes: Mapping[str, Cte]
    ) -> None:
        if not conflict.args.get("duplicate"):
            super()._conflict(conflict, key, relation, target, ctes)
            return
        # Whether a row is there is told by any unique key; which indexes are unique is not known here.
        self.reads |= {ColumnRef(key, c) for c in {*relation.indexed_columns, *relation.primary_key}}
        self.uses.add(RelationUse(key, "update"))
        for call in conflict.find_all(exp.Anonymous):
            if function_name(call) == "values":
                (column,) = call.expressions
                column.replace(exp.to_identifier(self.own_column(column, relation), quoted=True))
        if conflict.find(exp.Query) is not None:
            raise StatementError("sql.construct_unsupported", "ON DUPLICATE KEY UPDATE takes no subqueries.")
        scope = Scope(None, ctes)
        scope.add(target)
        self.assignments(conflict.expressions, key, relation, scope, target)
        # VALUES(column) is what INSERT would have stored there.
        assigned = [self.own_column(a.this, relation) for a in conflict.expressions]
        self.flow(key, assigned, frozenset().union(*self._inserted.values()))

    def _call_by_name(self, node: exp.Expr, table: exp.Table) -> None:
        """Qualifies the target's columns by its own name, whose capitals count, where it has no alias."""
        folded = self.dialect.fold(table.this)
        if folded == table.name:
            return
        if any(t is not table and t.alias == folded for t in node.find_all(exp.Table, exp.Subquery)):
            raise StatementError(
                "sql.column_ambiguous", f"The name {folded} stands for two relations.", hint="Use another alias."
            )
        for column in node.find_all(exp.Column):
            if column.table == folded:
                column.set("table", exp.to_identifier(table.name, quoted=True))

    def _only_where(self, node: exp.Expr) -> None:
        if any(node.args.get(name) for name in ("order", "limit", "returning", "with_", "from_")):
            raise StatementError("sql.construct_unsupported", "A change over a join takes WHERE and nothing else.")


def _has_alias_or_joins(table: exp.Expr) -> bool:
    return isinstance(table, exp.Table) and bool(table.args.get("alias") or table.args.get("joins"))
