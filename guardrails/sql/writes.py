"""Resolution of INSERT, UPDATE and DELETE, as statements and as data-modifying common table expressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, ColumnRef, Relation, RelationUse
from guardrails.sql.conditions import can_be_false
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.query import QueryResolver
from guardrails.sql.scope import Cte, Lineage, Output, Scope, Source
from guardrails.sql.tells import Change
from guardrails.sql.views import ViewLookup

__all__ = ["TARGET_META", "WriteResolver"]

TARGET_META = "gr_target"
"""Key in a Table node's `meta`: it is the target of a change, so it stays a plain relation."""


class WriteResolver(QueryResolver):
    """Resolves whole statements: queries and changes.

    `is_restricted` is false when a change could touch every row; `reads_returned` are columns that nothing but the RETURNING of the
    statement itself reads.
    """

    def __init__(self, dialect: EngineDialect, catalog: Catalog, views: ViewLookup) -> None:
        super().__init__(dialect, catalog, views)
        self.is_restricted = True
        self.reads_returned: Lineage = frozenset()
        self._inserted: Mapping[str, Lineage] = {}

    def statement(self, tree: exp.Expr, texts: Sequence[str]) -> list[Output]:
        """Resolves a statement in place and returns its result columns; `texts` as in `QueryResolver.query`."""
        return self.query(tree, None, {}, texts=texts)

    def modification(self, node: exp.Expr, ctes: Mapping[str, Cte]) -> list[Output]:
        if isinstance(node, exp.Insert):
            return self._insert(node, ctes)
        if isinstance(node, exp.Update):
            return self._update(node, ctes)
        if isinstance(node, exp.Delete):
            return self._delete(node, ctes)
        return super().modification(node, ctes)

    def _insert(self, node: exp.Insert, ctes: Mapping[str, Cte]) -> list[Output]:
        schema = node.this
        table = schema.this if isinstance(schema, exp.Schema) else schema
        key, relation, target = self.target(table, "insert")
        columns = [self.own_column(i, relation) for i in schema.expressions] if isinstance(schema, exp.Schema) else []
        if isinstance(schema, exp.Schema):
            schema.set("expressions", [exp.to_identifier(c, quoted=True) for c in columns])
        self.writes |= {ColumnRef(key, c) for c in columns or relation.column_names}
        source = node.args.get("expression")
        given = columns or list(relation.column_names) if source is not None else []
        self.changes.append(Change(key, "insert", frozenset(given)))
        outputs = self.query(source, None, ctes) if source is not None else []
        self._inserted = {name: output.lineage for name, output in zip(given, outputs, strict=False)}
        for name, lineage in self._inserted.items():
            self.flow(key, [name], lineage)
        conflict = node.args.get("conflict")
        if conflict is not None:
            self._conflict(conflict, key, relation, target, ctes)
        return self.returning(node, target, ctes)

    def _conflict(
        self, conflict: exp.OnConflict, key: str, relation: Relation, target: Source, ctes: Mapping[str, Cte]
    ) -> None:
        scope = Scope(None, ctes)
        scope.add(target)
        for ordered in conflict.args.get("conflict_keys") or []:
            column = ordered.this if isinstance(ordered, exp.Ordered) else ordered
            if not isinstance(column, exp.Column) or column.table:
                raise StatementError("sql.construct_unsupported", "ON CONFLICT takes plain column names.")
            name = self.own_column(column.this, relation)
            self.reads.add(ColumnRef(key, name))
            column.set("this", exp.to_identifier(name, quoted=True))
        if not conflict.expressions:
            return
        self.uses.add(RelationUse(key, "update"))
        is_read = self.dialect.is_excluded_read
        given = {k: self._inserted.get(o.name, frozenset()) for k, o in target.columns.items()}
        excluded = Source(
            "excluded",
            {k: Output(o.name, given[k] | (o.lineage if is_read else frozenset())) for k, o in target.columns.items()},
        )
        scope.add(excluded)
        # Inside DO UPDATE an unqualified name is the target's.
        scope.star = [c for c in scope.star if c.alias != "excluded"]
        self.assignments(conflict.expressions, key, relation, scope, target)
        where = conflict.args.get("where")
        if where is not None:
            self._target_first(where, target)
            self.conditions([where], scope)

    def _update(self, node: exp.Update, ctes: Mapping[str, Cte]) -> list[Output]:
        key, relation, target = self.target(node.this, "update")
        others = Scope(None, ctes)
        self.from_clause(node, others)
        if self.dialect.are_nested_joins_queries and len(others.sources) > 1:
            self.reads |= frozenset().union(*(s.lineage for s in others.sources.values()))
        scope = self.with_target(target, others)
        self.assignments(node.expressions, key, relation, scope, None)
        self._where(node, scope)
        return self.returning(node, target, ctes, others)

    def _delete(self, node: exp.Delete, ctes: Mapping[str, Cte]) -> list[Output]:
        key, relation, target = self.target(node.this, "delete")
        others = Scope(None, ctes)
        for item in node.args.get("using") or []:
            self.item(item, others)
        scope = self.with_target(target, others)
        self.writes |= {ColumnRef(key, c) for c in relation.column_names}
        self.changes.append(Change(key, "delete"))
        self._where(node, scope)
        return self.returning(node, target, ctes, others)

    def target(self, table: exp.Expr, action: str) -> tuple[str, Relation, Source]:
        """Binds the target of a change; returns its key, the relation, and a source for the expressions that see it."""
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier) or table.args.get("joins"):
            raise StatementError("sql.construct_unsupported", "The target of a change must be one plain table.")
        alias = table.args.get("alias")
        name = self.dialect.fold(alias.this) if alias is not None else self.dialect.fold(table.this)
        if alias is not None and alias.args.get("columns"):
            raise StatementError("sql.construct_unsupported", "The target of a change has a column list in its alias.")
        key, relation = self.bind(table)
        if relation.kind != "table":
            raise StatementError("sql.construct_unsupported", "Only plain tables can be changed, not views.")
        table.meta[TARGET_META] = True
        if self.dialect.has_target_alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
        elif alias is not None:
            raise StatementError("sql.construct_unsupported", "The target of a change has an alias.", hint="Leave it out.")
        self.uses.add(RelationUse(key, action))
        columns = [Output(c.name, frozenset({ColumnRef(key, c.name)})) for c in relation.columns]
        return key, relation, self._source(name, columns, key)

    def with_target(self, target: Source, others: Scope) -> Scope:
        """Returns a scope with the target before the other relations of the change."""
        scope = Scope(None, others.ctes)
        scope.add(target)
        for source in others.sources.values():
            scope.add(source)
        scope.merged = dict(others.merged)
        scope.join_conditions, scope.links = list(others.join_conditions), list(others.links)
        return scope

    def assignments(
        self, assignments: Sequence[exp.Expr], key: str, relation: Relation, scope: Scope, target: Source | None
    ) -> None:
        """Resolves `SET column = value` and `SET (columns) = (values or a query)`.

        With `target`, bare names in the values mean its columns first.
        """
        assigned: set[str] = set()
        for assignment in assignments:
            names: list[str] = []
            for column in _assigned(assignment):
                name = self.own_column(column.this, relation)
                names.append(name)
                self.writes.add(ColumnRef(key, name))
                column.set("this", exp.to_identifier(name, quoted=True))
            if target is not None:
                self._target_first(assignment.expression, target)
            self.flow(key, names, self.expression(assignment.expression, scope))
            assigned |= set(names)
        self.changes.append(Change(key, "update", frozenset(assigned)))

    def flow(self, key: str, names: Iterable[str], lineage: Lineage) -> None:
        """Notes that columns of a relation get values that derive from others."""
        self.flows |= {(ColumnRef(key, name), source) for name in names for source in lineage}

    def _target_first(self, node: exp.Expr, target: Source) -> None:
        """Qualifies bare names with the target, which in ON CONFLICT DO UPDATE they mean although `excluded` has them too."""
        for column in list(node.find_all(exp.Column)):
            is_bare = not column.table and isinstance(column.this, exp.Identifier) and column.find_ancestor(exp.Query) is None
            if is_bare and self.dialect.fold(column.this) in target.columns:
                column.set("table", exp.to_identifier(target.alias, quoted=True))

    def _where(self, node: exp.Expr, scope: Scope) -> None:
        where = node.args.get("where")
        if where is None or not can_be_false(where.this):
            self.is_restricted = False
        self.conditions([where], scope)
        self.relate(scope, [where])

    def returning(self, node: exp.Expr, target: Source, ctes: Mapping[str, Cte], others: Scope | None = None) -> list[Output]:
        """Resolves RETURNING and gives the columns of the result."""
        clause = node.args.get("returning")
        self.require_select(target)
        if clause is None:
            return []
        # SQLite's RETURNING sees the changed table alone.
        scope = self.with_target(target, others if others and self.dialect.does_returning_see_sources else Scope(None, ctes))
        before, self.reads = self.reads, set()
        outputs = self._projections(clause, scope, (), ())
        if self.dialect.name == "sqlite" or (self.dialect.name == "duckdb" and isinstance(node, exp.Insert)):
            self._by_own_name(clause, target)
        if node.parent is None:
            self.reads_returned = frozenset(self.reads - before)
        self.reads |= before
        self.require_select(target)
        return outputs

    def _by_own_name(self, clause: exp.Expr, target: Source) -> None:
        """RETURNING knows the target by its own name, whatever alias it has: of any change in SQLite, of INSERT in DuckDB."""
        name = self.catalog.relations[target.relation].name if target.relation is not None else target.alias
        if self.dialect.fold_name(name) == target.alias:
            return
        if any(
            self.dialect.fold_name(n.alias_or_name) == self.dialect.fold_name(name)
            for n in clause.find_all(exp.Table, exp.Subquery)
        ):
            raise StatementError(
                "sql.column_ambiguous", f"The name {name} stands for two relations.", hint="Use another alias."
            )
        for column in clause.find_all(exp.Column):
            if column.table == target.alias:
                column.set("table", exp.to_identifier(name, quoted=True))

    def require_select(self, target: Source) -> None:
        """Reading the target's columns, in WHERE or RETURNING, needs the right to read it (SQL:2016, 14.14, access rules)."""
        if target.relation is not None and any(c.relation == target.relation for c in self.reads):
            self.uses.add(RelationUse(target.relation, "select"))

    def own_column(self, identifier: exp.Expr, relation: Relation) -> str:
        """Returns the name of a relation's column as the catalog spells it.

        Raises:
            StatementError: It has no such column (``sql.column_unknown``).
        """
        if isinstance(identifier, exp.Column):
            identifier = identifier.this
        if isinstance(identifier, exp.Identifier):
            key = self.dialect.fold(identifier)
            for column in relation.columns:
                if self.dialect.fold_name(column.name) == key:
                    return column.name
        raise StatementError("sql.column_unknown", f"{relation.name} has no column {identifier.name[:80]}.")


def _assigned(assignment: exp.Expr) -> list[exp.Column]:
    """Returns the columns on the left of one item of SET."""
    if isinstance(assignment, exp.EQ):
        this, value = assignment.this, assignment.expression
        columns = this.expressions if isinstance(this, exp.Tuple) and isinstance(value, (exp.Tuple, exp.Subquery)) else [this]
        if all(isinstance(c, exp.Column) and not c.table and isinstance(c.this, exp.Identifier) for c in columns):
            return list(columns)
    raise StatementError("sql.construct_unsupported", "SET takes `column = value`, or columns and values in parentheses.")
