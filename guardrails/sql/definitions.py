"""Resolution of schema changes: CREATE, ALTER, DROP of tables, views and indexes, and TRUNCATE.

Names are bound as in any other statement: what exists must be in the catalog, what is made gets its schema, and the expressions of
defaults, checks, indexes and views see the columns that the engine lets them see. No bound values: a definition outlives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import ColumnRef, Relation, RelationUse
from guardrails.sql.merge import MergeResolver
from guardrails.sql.scope import Output, Scope, Source
from guardrails.sql.sources import RELATION_META
from guardrails.sql.tells import Change
from guardrails.sql.writes import TARGET_META

__all__ = ["DEFINITIONS", "DefinitionResolver"]

DEFINITIONS = (exp.Create, exp.Alter, exp.Drop, exp.TruncateTable)
"""Statements that change the schema, or empty a table as a whole."""

_REFERENCE_OPTIONS = {
    f"ON {event} {action}" for event in ("DELETE", "UPDATE") for action in ("CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION")
}  # fmt: skip


class DefinitionResolver(MergeResolver):
    """Resolves every statement that the guard knows."""

    def statement(self, tree: exp.Expr, texts: Sequence[str]) -> list[Output]:
        if not isinstance(tree, DEFINITIONS):
            return super().statement(tree, texts)
        if tree.find(exp.Placeholder, exp.Parameter):
            raise StatementError("sql.construct_unsupported", "A definition cannot hold bound values.", hint="Write constants.")
        match tree:
            case exp.Create():
                self._create(tree)
            case exp.Alter():
                self._alter(tree)
            case exp.Drop():
                self._drop(tree)
            case _:
                for table in tree.expressions:
                    key, relation = self._existing(table, "truncate", ("table",))
                    self.writes |= {ColumnRef(key, c) for c in relation.column_names}
                    self.changes.append(Change(key, "truncate"))
        return []

    def _create(self, node: exp.Create) -> None:
        kind = str(node.args.get("kind") or "").upper()
        if kind == "INDEX":
            self._index(node.this)
            return
        if kind not in ("TABLE", "VIEW"):
            raise StatementError("sql.construct_unsupported", f"CREATE {kind} is not supported.")
        this, query = node.this, node.args.get("expression")
        table = this.this if isinstance(this, exp.Schema) else this
        key, relation = self._made(table)
        if node.args.get("replace"):
            self.uses.add(RelationUse(key, "drop"))
            self.changes.append(Change(key, "drop"))
        items = list(this.expressions) if isinstance(this, exp.Schema) else []
        columns = self._columns(key, relation, items)
        if query is not None:
            names = [i.this for i in items if isinstance(i, exp.Identifier)]
            outputs = self.query(query, None, {}, labels=names)
            columns = [o.name for o in outputs]
            for output in outputs if kind == "TABLE" else ():
                self.flow(key, [output.name], output.lineage)
        elif kind == "VIEW" or not columns:
            raise StatementError("sql.syntax", f"CREATE {kind} defines no columns.")
        self.writes |= {ColumnRef(key, c) for c in columns}

    def _columns(self, key: str, relation: Relation, items: Sequence[exp.Expr]) -> list[str]:
        names: list[str] = []
        for item in items:
            if isinstance(item, exp.ColumnDef):
                item.this.set("quoted", True)
                names.append(item.this.this)
            elif isinstance(item, exp.Identifier):
                names.append(item.this)
        scope = Scope()
        scope.add(self._source(relation.name, [Output(n, frozenset({ColumnRef(key, n)})) for n in names], key))
        for item in items:
            if not isinstance(item, exp.Identifier):
                self._constraints(item, scope, relation)
        # What a definition reads of its own table is no reading of data.
        self.reads -= {ColumnRef(key, n) for n in names}
        return names

    def _constraints(self, item: exp.Expr, scope: Scope, relation: Relation) -> None:
        """Resolves one column definition or table constraint."""
        if isinstance(item, exp.ColumnDef):
            for constraint in item.args.get("constraints") or []:
                self._constraint(constraint.args["kind"], scope, relation)
        elif isinstance(item, exp.Constraint):
            for part in item.expressions:
                self._constraint(part, scope, relation)
        else:
            self._constraint(item, scope, relation)

    def _constraint(self, kind: exp.Expr, scope: Scope, relation: Relation) -> None:
        match kind:
            case exp.DefaultColumnConstraint():
                self.expression(kind.this, Scope())
            case exp.CheckColumnConstraint():
                self.expression(kind.this, scope)
                _unqualify(kind.this)
            case exp.Reference():
                self._reference(kind, scope, relation)
            case exp.ForeignKey():
                self._named_columns(kind.expressions, scope)
                self._reference(kind.args["reference"], scope, relation)
            case exp.PrimaryKey():
                self._named_columns([k.this if isinstance(k, exp.Ordered) else k for k in kind.expressions], scope)
            case exp.UniqueColumnConstraint() if kind.this is not None:
                self._named_columns(kind.this.expressions, scope)
            case (
                exp.NotNullColumnConstraint()
                | exp.PrimaryKeyColumnConstraint()
                | exp.UniqueColumnConstraint()
                | exp.AutoIncrementColumnConstraint()
                | exp.GeneratedAsIdentityColumnConstraint()
            ):
                pass
            case _:
                raise StatementError("sql.construct_unsupported", f"A constraint of {relation.name} is of an unsupported kind.")

    def _reference(self, node: exp.Reference, scope: Scope, relation: Relation) -> None:
        """A foreign key reads the columns that it refers to: whether a value can be stored tells whether it is there.

        One to the table that is being made reads nothing that is there already.
        """
        schema = node.this
        table = schema.this if isinstance(schema, exp.Schema) else schema
        named = schema.expressions if isinstance(schema, exp.Schema) else []
        if not relation.columns and self._is_named(table, relation):
            table.meta[RELATION_META] = None
            table.set("db", exp.to_identifier(relation.schema, quoted=True))
            self._named_columns(named, scope)
        else:
            key, referred = self.bind(table)
            self.uses.add(RelationUse(key, "select"))
            self.reads |= {ColumnRef(key, c) for c in [self.own_column(i, referred) for i in named] or referred.primary_key}
        table.meta[TARGET_META] = True
        if not self.dialect.are_references_qualified:
            table.set("db", None)
        for option in node.args.get("options") or []:
            if str(option).upper() not in _REFERENCE_OPTIONS:
                raise StatementError("sql.construct_unsupported", "An option of a foreign key is not supported.")

    def _named_columns(self, nodes: Iterable[exp.Expr], scope: Scope) -> None:
        for node in nodes:
            identifier = node.this if isinstance(node, exp.Column) else node
            found = scope.find_column(self.dialect.fold(identifier)) if isinstance(identifier, exp.Identifier) else None
            if found is None:
                raise StatementError("sql.column_unknown", "A constraint names a column that the table does not have.")
            self.reads |= found[1]

    def _index(self, index: exp.Expr) -> None:
        if not isinstance(index, exp.Index) or index.args.get("this") is None:
            raise StatementError("sql.construct_unsupported", "An index needs a name.")
        table = index.args["table"]
        key, relation = self._existing(table, "create", ("table",))
        scope = self._columns_of(key, relation)
        if not self.dialect.are_references_qualified:
            table.set("db", None)
        params = index.args["params"]
        where = params.args.get("where")
        for part in [*(params.args.get("columns") or []), *([where] if where is not None else [])]:
            self.expression(part, scope)
            _unqualify(part)
        self._require_select(key)

    def _require_select(self, key: str) -> None:
        """A constraint or an index over rows that are there tells of their values: it fails where they do not fit."""
        if any(c.relation == key for c in self.reads):
            self.uses.add(RelationUse(key, "select"))

    def _alter(self, node: exp.Alter) -> None:
        if str(node.args.get("kind") or "").upper() != "TABLE":
            raise StatementError("sql.construct_unsupported", "ALTER is supported for tables only.")
        key, relation = self._existing(node.this, "alter", ("table",))
        for action in node.args["actions"]:
            self._alteration(action, key, relation)

    def _alteration(self, action: exp.Expr, key: str, relation: Relation) -> None:
        match action:
            case exp.ColumnDef():
                self.writes |= {ColumnRef(key, c) for c in self._columns(key, relation, [action])}
            case exp.Drop() if str(action.args.get("kind")).upper() == "COLUMN":
                self.writes |= {ColumnRef(key, self._own(c, relation)) for c in action.args["tables"]}
            case exp.RenameColumn():
                renamed = self._own(action.this, relation)
                self.writes |= {ColumnRef(key, renamed), ColumnRef(key, action.args["to"].name)}
                self.flow(key, [action.args["to"].name], frozenset({ColumnRef(key, renamed)}))
                self._reads_whole(key, (renamed,))
            case exp.AlterColumn():
                self.writes.add(ColumnRef(key, self._own(action.this, relation)))
                if action.args.get("default") is not None:
                    self.expression(action.args["default"], Scope())
            case exp.AlterRename():
                if action.this.args.get("db") is not None:
                    raise StatementError("sql.construct_unsupported", "RENAME TO takes a name without a schema.")
                self.uses.add(RelationUse(self.catalog.key(relation.schema, action.this.name), "create"))
                self.writes |= {ColumnRef(key, c) for c in relation.column_names}
                self._reads_whole(key, relation.column_names)
                for column in relation.column_names:
                    self.flow(
                        self.catalog.key(relation.schema, action.this.name), [column], frozenset({ColumnRef(key, column)})
                    )
                action.this.meta[TARGET_META] = True
            case exp.AddConstraint():
                scope = self._columns_of(key, relation)
                for constraint in action.expressions:
                    self._constraints(constraint, scope, relation)
                self._require_select(key)
            case _:
                raise StatementError("sql.construct_unsupported", "This form of ALTER TABLE is not supported.")

    def _reads_whole(self, key: str, columns: Iterable[str]) -> None:
        """What goes by a new name escapes every rule that named it: renaming takes the right to read it."""
        self.uses.add(RelationUse(key, "select"))
        self.reads |= {ColumnRef(key, c) for c in columns}

    def _drop(self, node: exp.Drop) -> None:
        kind = str(node.args.get("kind") or "").upper()
        if kind not in ("TABLE", "VIEW"):
            raise StatementError("sql.construct_unsupported", f"DROP {kind} is not supported.")
        for table in node.args["tables"]:
            key, relation = self._existing(table, "drop", (kind.lower(),))
            self.changes.append(Change(key, "drop"))
            self.writes |= {ColumnRef(key, c) for c in relation.column_names}

    def _existing(self, table: exp.Expr, action: str, kinds: Sequence[str]) -> tuple[str, Relation]:
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
            raise StatementError("sql.construct_unsupported", "A definition names something that is no relation.")
        key, relation = self.bind(table)
        if relation.kind not in kinds:
            raise StatementError("sql.construct_unsupported", f"{relation.name} is a {relation.kind.replace('_', ' ')}.")
        table.meta[TARGET_META] = True
        self.uses.add(RelationUse(key, action))
        return key, relation

    def _made(self, table: exp.Expr) -> tuple[str, Relation]:
        """A relation that is about to exist: its key, and what is known of it; its name gets the default schema."""
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
            raise StatementError("sql.construct_unsupported", "CREATE needs a plain name.")
        db = table.args.get("db")
        schema = self.dialect.fold(db) if db is not None else self.catalog.default_schema
        if schema != self.catalog.default_schema and schema not in {r.schema for r in self.catalog.relations.values()}:
            # A session's own schema (pg_temp, temp) would shadow what the catalog knows.
            message = f"No relation of the schema {schema} is known, so nothing can be made in it."
            raise StatementError("sql.construct_unsupported", message, hint=f"Make it in {self.catalog.default_schema}.")
        table.set("db", exp.to_identifier(schema, quoted=True))
        key = self.catalog.key(schema, table.name)
        table.meta[TARGET_META] = True
        table.meta[RELATION_META] = None
        self.uses.add(RelationUse(key, "create"))
        return key, Relation(schema, table.name, "table", ())

    def _is_named(self, table: exp.Table, relation: Relation) -> bool:
        db = table.args.get("db")
        schema = relation.schema if db is None else self.dialect.fold(db)
        return (self.dialect.fold_name(table.name), schema) == (self.dialect.fold_name(relation.name), relation.schema)

    def _columns_of(self, key: str, relation: Relation) -> Scope:
        scope = Scope()
        columns = [Output(c, frozenset({ColumnRef(key, c)})) for c in relation.column_names]
        scope.add(Source(relation.name, {self.dialect.fold_name(o.name): o for o in columns}, key))
        return scope

    def _own(self, node: exp.Expr, relation: Relation) -> str:
        name = self.own_column(node, relation)
        identifier = exp.to_identifier(name, quoted=True)
        node.set("this", identifier) if isinstance(node, exp.Column) else node.replace(identifier)
        return name


def _unqualify(node: exp.Expr) -> None:
    """Inside a definition a column stands without its table."""
    for column in list(node.find_all(exp.Column)):
        column.set("table", None)
