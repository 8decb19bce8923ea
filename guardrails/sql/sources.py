"""Resolution of FROM: base relations, views, common table expressions, subqueries, table functions and joins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, ColumnRef, Relation, RelationUse
from guardrails.sql.allow import function_name
from guardrails.sql.conditions import has_tautology
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.metadata import column_names, find_function, find_relation, readable
from guardrails.sql.scope import Clause, Cte, Lineage, Output, Scope, Source
from guardrails.sql.views import ViewLookup

__all__ = ["RELATION_META", "SourceResolver", "relation_of"]

RELATION_META = "gr_relation"
"""Key in a Table node's `meta`: the relation key that it is bound to."""

_MAX_SOURCES = 100
_HIDDEN = ("json", "root")
"""Columns of SQLite's table functions that no `*` shows."""
_NOTHING: Lineage = frozenset()
_JOINS = {"", "INNER", "CROSS", "OUTER"}
_SIDES = {"", "LEFT", "RIGHT", "FULL"}


def relation_of(node: exp.Table) -> str | None:
    """Returns the key of the catalog relation that a resolved Table node is bound to, None for anything else."""
    key = node.meta.get(RELATION_META)
    return str(key) if key is not None else None


class SourceResolver(ABC):
    """Turns FROM into the sources of a scope; queries and expressions inside are the subclass's."""

    uses: set[RelationUse]
    reads: set[ColumnRef]
    functions: set[str]
    clauses: dict[Clause, set[ColumnRef]]
    has_tautology: bool

    def __init__(self, dialect: EngineDialect, catalog: Catalog, views: ViewLookup) -> None:
        self.dialect = dialect
        self.catalog = catalog
        self._views = views
        self._fresh = 0
        # A view's query runs as it is stored, so that only the statement itself is answered from the catalog.
        self.may_read_schema = False
        self.reads_schema = False

    def fresh_name(self, prefix: str) -> str:
        """Returns a name that no agent can write: the prefixes are reserved for quoted names of ours."""
        self._fresh += 1
        return f"{prefix}_{self._fresh}"

    @abstractmethod
    def query(
        self,
        node: exp.Expr,
        outer: Scope | None,
        ctes: Mapping[str, Cte],
        *,
        labels: Sequence[str] = (),
        texts: Sequence[str] = (),
    ) -> list[Output]:
        """Resolves a query; see `QueryResolver.query`."""

    @abstractmethod
    def expression(self, root: exp.Expr, scope: Scope) -> Lineage:
        """Resolves an expression; see `ExpressionResolver.expression`."""

    def from_clause(self, node: exp.Expr, scope: Scope) -> None:
        """Adds everything in FROM and its joins to the scope, in order.

        Raises:
            StatementError: A relation is unknown, or a join is of a kind that is not understood.
        """
        clause = node.args.get("from_")
        if clause is not None:
            self.item(clause.this, scope)
        for join in node.args.get("joins") or []:
            self._join(join, scope)
        if any(key in s.columns for s in scope.sources.values() for key in scope.late_names):
            raise StatementError(
                "sql.column_ambiguous", "An argument in FROM names what comes later.", hint="Qualify the name."
            )
        self._late_conditions(scope)
        if self.dialect.has_fields:
            self._no_fields(scope)

    def _no_fields(self, scope: Scope) -> None:
        """Refuses names of relations that are also names of columns, or schemas: `a.b` could mean a field, or an array in a row."""
        levels = list(scope.levels())
        named = {alias for level in levels for alias in level.sources}
        others = {
            key
            for level in levels
            for source in level.sources.values()
            for key in source.columns
            # A function's one column may be called like the function.
            if source.relation is not None or source.shown.keys() != {source.alias}
        }
        bound = [self.catalog.relations[s.relation] for s in scope.sources.values() if s.relation is not None]
        others |= {self.dialect.fold_name(r.schema) for r in bound}
        if both := named & others:
            message = f"The name {min(both)} stands for a relation, and for a column or a schema."
            raise StatementError("sql.column_ambiguous", message, hint="Give the relation another alias.")

    def _late_conditions(self, scope: Scope) -> None:
        for condition in scope.conditions:
            self._on(condition, scope)
        scope.conditions.clear()

    def item(self, node: exp.Expr, scope: Scope) -> None:
        """Adds one item of FROM, with the joins that hang on it."""
        if len(scope.sources) >= _MAX_SOURCES:
            raise StatementError("sql.too_large", f"One FROM has more than {_MAX_SOURCES} relations.")
        if isinstance(node, exp.Subquery) and isinstance(node.this, (exp.Table, exp.Subquery)) and not _is_query(node.this):
            if node.args.get("alias"):
                raise StatementError("sql.construct_unsupported", "A join in parentheses has an alias.", hint="Leave it out.")
            inner = Scope(scope.parent, scope.ctes)
            self.item(node.this, inner)
            for join in node.args.get("joins") or []:
                self._join(join, inner)
            self._late_conditions(inner)
            is_first = not scope.sources
            scope.absorb(inner)
            if self.dialect.are_nested_joins_queries:
                scope.nested |= inner.sources.keys() if not is_first else set()
                self.reads |= _NOTHING.union(*(s.lineage for s in inner.sources.values()))
            return
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            scope.add(self._table(node, scope))
        elif isinstance(node, exp.Table) and isinstance(node.this, exp.Values):
            scope.add(self._derived(node, Scope(scope.parent, scope.ctes)))
        elif isinstance(node, exp.Table):
            scope.add(self._function(node, node.this, scope))
            self._link_to_named(node, scope)
        elif isinstance(node, exp.Unnest):
            scope.add(self._function(node, node, scope))
            self._link_to_named(node, scope)
        elif isinstance(node, exp.Lateral):
            scope.add(self._lateral(node, scope))
            self._link_to_named(node, scope)
        elif isinstance(node, (exp.Subquery, exp.Values)):
            scope.add(self._derived(node, Scope(scope.parent, scope.ctes)))
        else:
            raise StatementError("sql.construct_unsupported", f"{type(node).__name__.upper()} in FROM is not supported.")
        for join in node.args.get("joins") or []:
            self._join(join, scope)

    def _link_to_named(self, node: exp.Expr, scope: Scope) -> None:
        """Relates what may look sideways in FROM (LATERAL, functions) to what it names there; if nothing, to what comes before."""
        own = next(reversed(scope.sources))
        named = {c.table for c in node.find_all(exp.Column)} & scope.sources.keys() - {own}
        before = list(scope.sources)[-2:-1] if isinstance(node, (exp.Table, exp.Unnest)) else []
        scope.links += [(own, other) for other in sorted(named) or before]

    def bind(self, node: exp.Table) -> tuple[str, Relation]:
        """Binds a Table node to a base relation or view of the catalog and writes the binding into it.

        Raises:
            StatementError: There is no such relation (``sql.relation_unknown``).
        """
        schema, name = self._name(node)
        found = self._exact(node) if self.dialect.are_relations_exact else self._lookup(schema, name)
        if found is None:
            is_system = name.startswith(("pg_", "sqlite_")) or schema == "information_schema"
            hint = readable(self.dialect.name) if is_system else ""
            raise StatementError("sql.relation_unknown", f"There is no relation {name[:80]}.", hint=hint)
        key, relation = found
        node.set("this", exp.to_identifier(relation.name, quoted=True))
        node.set("db", exp.to_identifier(relation.schema, quoted=True) if relation.schema else None)
        node.meta[RELATION_META] = key
        return key, relation

    def use(self, key: str, relation: Relation, action: str) -> tuple[Output, ...]:
        """Records the use of a relation and returns its columns with their base columns."""
        self.uses.add(RelationUse(key, action))
        if relation.kind not in ("view", "materialized_view"):
            return tuple(Output(c.name, frozenset({ColumnRef(key, c.name)})) for c in relation.columns)
        view = self._views(key, relation)
        self.uses |= {RelationUse(u.relation, u.action, key) for u in view.uses}
        self.reads |= view.reads
        self.functions |= view.functions
        return tuple(
            Output(c.name, o.lineage | {ColumnRef(key, c.name)}) for c, o in zip(relation.columns, view.outputs, strict=True)
        )

    def _name(self, node: exp.Table) -> tuple[str | None, str]:
        schema = node.args.get("db")
        return self.dialect.fold(schema) if schema else None, self.dialect.fold(node.this)

    def _exact(self, node: exp.Table) -> tuple[str, Relation] | None:
        schema = node.args.get("db")
        key = self.catalog.key(schema.this if schema else None, node.this.this)
        relation = self.catalog.relations.get(key)
        return (key, relation) if relation is not None and "." not in node.this.this else None

    def _lookup(self, schema: str | None, name: str) -> tuple[str, Relation] | None:
        relations = self.catalog.relations
        wanted = self.catalog.key(schema, name)
        if wanted in relations and "." not in name:
            return wanted, relations[wanted]
        target = schema or self.dialect.fold_name(self.catalog.default_schema)
        for key, relation in relations.items():
            if self.dialect.fold_name(relation.name) == name and self.dialect.fold_name(relation.schema) == target:
                return key, relation
        return None

    def _table(self, node: exp.Table, scope: Scope) -> Source:
        name = self.dialect.fold(node.this)
        alias = node.args.get("alias")
        alias_name = self.dialect.fold(alias.this) if alias is not None and alias.this else name
        renamed = [i.this for i in (alias.args.get("columns") or [])] if alias is not None else []
        cte = scope.ctes.get(name) if node.args.get("db") is None else None
        if cte is not None:
            node.set("this", exp.to_identifier(cte.fresh_name, quoted=True))
            columns: Sequence[Output] = cte.columns
            key = None
        elif (described := self._schema_columns(node)) is not None:
            columns, key = described, None
        else:
            key, relation = self.bind(node)
            columns = self.use(key, relation, "select")
        if len(renamed) > len(columns):
            raise StatementError("sql.syntax", f"{alias_name} has fewer columns than its alias names.")
        columns = [Output(n, o.lineage) for n, o in zip(renamed, columns, strict=False)] + list(columns[len(renamed) :])
        _set_alias(node, alias_name)
        return self._source(alias_name, columns, key)

    def _schema_columns(self, node: exp.Table) -> list[Output] | None:
        """Returns the columns of a relation that describes the schema, None for any other; one of the catalog goes first."""
        schema, name = self._name(node)
        if not self.may_read_schema or self._lookup(schema, name) is not None:
            return None
        found = find_relation(node, schema, name, self.catalog)
        self.reads_schema |= found is not None
        return [Output(n, _NOTHING) for n in column_names(node, found, self.catalog)] if found is not None else None

    def default_schema(self) -> exp.Expr:
        """Returns what stands for the current schema, which is another one in the session that a statement runs in.

        Raises:
            StatementError: It is asked for in a view, or there is none.
        """
        if not self.may_read_schema or not self.catalog.default_schema:
            raise StatementError("sql.construct_unsupported", "The current schema is not known here.", hint="Write its name.")
        self.functions.add("current_schema")
        return exp.Literal.string(self.catalog.default_schema)

    def _function(self, node: exp.Expr, call: exp.Expr, scope: Scope) -> Source:
        """A table function; its arguments may use what stands before it in FROM."""
        name = "unnest" if isinstance(call, exp.Unnest) else function_name(call) if isinstance(call, exp.Anonymous) else ""
        described = (
            find_function(node, name, self.dialect.name) if self.may_read_schema and isinstance(node, exp.Table) else None
        )
        schema = node.args.get("db")
        is_own = schema is None or (self.dialect.name == "postgres" and self.dialect.fold(schema) == "pg_catalog")
        if described is None and (name not in self.dialect.table_functions or not is_own):
            # With a schema of its own it is anybody's function, whatever its name is.
            raise StatementError("sql.function_not_allowed", f"The function {name[:60]} is not supported in FROM.")
        arguments = list(call.expressions)
        if self.dialect.is_on_late and described is None:
            self._note_late_names(arguments, {*self.dialect.table_functions[name], *_HIDDEN}, scope)
        lineage = _NOTHING.union(*(self.expression(a, scope) for a in arguments))
        self.reads_schema |= described is not None
        self.functions |= {name} if described is None else set()
        alias = node.args.get("alias")
        alias_name = self.dialect.fold(alias.this) if alias is not None and alias.this else name
        columns = (
            column_names(node, described, self.catalog) if described is not None else list(self.dialect.table_functions[name])
        )
        if not columns:
            columns = [alias_name] * (len(arguments) if name == "unnest" else 1)
        offset = call.args.get("offset") if isinstance(call, exp.Unnest) else None
        if node.args.get("ordinality") or offset:
            columns.append(str(offset.this) if isinstance(offset, exp.Identifier) else "ordinality")
        renamed = [i.this for i in (alias.args.get("columns") or [])] if alias is not None else []
        if len(renamed) > len(columns):
            raise StatementError("sql.syntax", f"{alias_name} has fewer columns than its alias names.")
        columns = renamed + columns[len(renamed) :]
        _set_alias(node, alias_name)
        if self.dialect.name == "duckdb" and described is None and not renamed and alias_name != name:
            # The one column has the alias for a name, and the function's name as another.
            both = {alias_name: Output(alias_name, lineage), name: Output(name, lineage)}
            return Source(alias_name, both, hidden=frozenset({name}))
        return self._source(alias_name, [Output(c, lineage) for c in columns], None)

    def _note_late_names(self, arguments: Sequence[exp.Expr], own: set[str], scope: Scope) -> None:
        """SQLite looks the names in arguments up in the whole FROM, the function's own columns among it, before it looks outside."""
        for node in (n for a in arguments for n in a.find_all(exp.Column)):
            key = self.dialect.fold(node.this) if not node.table and isinstance(node.this, exp.Identifier) else ""
            if key in own:
                raise StatementError(
                    "sql.column_ambiguous", f"The function has a column {key} of its own.", hint="Qualify the name."
                )
            if key and not any(key in s.columns for s in scope.sources.values()):
                scope.late_names.add(key)

    def _lateral(self, node: exp.Lateral, scope: Scope) -> Source:
        inner = node.this
        if isinstance(inner, exp.Subquery):
            outputs = self.query(inner.this, scope, scope.ctes)
            return self._aliased(node, outputs)
        return self._function(node, inner, scope)

    def _derived(self, node: exp.Expr, scope: Scope) -> Source:
        """A subquery in FROM sees what is around the query, not its siblings."""
        alias = node.args.get("alias")
        inner = node.this if isinstance(node, (exp.Subquery, exp.Table)) else node
        ctes = scope.ctes
        if isinstance(node, exp.Subquery) and node.args.get("with_"):
            raise StatementError("sql.construct_unsupported", "WITH stands before a parenthesis in FROM.")
        outputs = self.query(inner, scope.parent, ctes)
        if alias is None or not alias.this:
            node.set("alias", exp.TableAlias(this=exp.to_identifier(self.fresh_name("gr_sub"), quoted=True)))
        return self._aliased(node, outputs)

    def _aliased(self, node: exp.Expr, outputs: Sequence[Output]) -> Source:
        alias = node.args.get("alias")
        if alias is None or not alias.this:
            raise StatementError("sql.construct_unsupported", "A subquery in FROM has no alias.", hint="Add AS and a name.")
        names = [i.this for i in alias.args.get("columns") or []]
        if len(names) > len(outputs):
            raise StatementError("sql.syntax", f"{alias.name} has fewer columns than its alias names.")
        columns = [Output(n, o.lineage) for n, o in zip(names, outputs, strict=False)] + list(outputs[len(names) :])
        name = self.dialect.fold(alias.this)
        # As references to it are written: MySQL tells aliases apart by case.
        _set_alias(node, name)
        return self._source(name, columns, None)

    def _source(self, alias: str, columns: Sequence[Output], relation: str | None) -> Source:
        keys = [self.dialect.fold_name(c.name) for c in columns]
        doubled = frozenset(k for k in keys if keys.count(k) > 1)
        return Source(alias, dict(zip(keys, columns, strict=True)), relation, doubled)

    def _join(self, join: exp.Join, scope: Scope) -> None:
        kind, side = (str(join.args.get(n) or "").upper() for n in ("kind", "side"))
        method = str(join.args.get("method") or "").upper()
        is_filter = kind in ("SEMI", "ANTI") and self.dialect.name == "duckdb" and not join.args.get("using")
        if not (kind in _JOINS or is_filter) or side not in _SIDES or method not in ("", "NATURAL"):
            raise StatementError("sql.construct_unsupported", f"A {method} {side} {kind} JOIN is not supported.")
        before = list(scope.star) if join.args.get("using") or method else []
        count = len(scope.sources)
        self.item(join.this, scope)
        right = list(scope.sources)[-1]
        added = list(scope.sources)[count:]
        using = [self.dialect.fold(i if isinstance(i, exp.Identifier) else i.this) for i in join.args.get("using") or []]
        if (using or method) and len(added) > 1:
            raise StatementError("sql.construct_unsupported", "USING or NATURAL joins a parenthesised join.", hint="Use ON.")
        is_swapped = side == "RIGHT" and self.dialect.is_star_by_table
        shown = list(scope.sources[right].columns) if is_swapped else [c.key for c in before]
        if method:
            common = {c.key for c in before} & scope.sources[right].columns.keys()
            using = [key for key in shown if key in common]
            _spell_out_natural(join, using)
        elif self.dialect.is_star_by_table:
            using.sort(key=lambda key: shown.index(key) if key in shown else len(shown))
        for position, key in enumerate(using):
            scope.merge(key, right, position if self.dialect.are_merged_first else None)
            if self.dialect.is_star_by_table:
                left = next(c.alias for c in before if c.key == key) or scope.owners[key]
                scope.owners[key] = right if is_swapped else left
            if side == "FULL":
                scope.full_merged.add(key)
            merged = next(c for c in scope.star if c.key == key and c.alias is None).output.lineage
            self.reads |= scope.sources[right].columns[key].lineage | merged
            self.clauses["joined"] |= scope.sources[right].columns[key].lineage | merged
        if (using or method) and is_swapped:
            scope.put_first(right, len(using))
        if using:
            scope.links.append((right, list(scope.sources)[max(count - 1, 0)]))
            names = [scope.sources[right].columns[k].name for k in using]
            join.set("using", [exp.to_identifier(n, quoted=True) for n in names])
        if is_filter:
            # What is asked of the right side is whether there is such a row, and nothing of it is shown.
            scope.star = [c for c in scope.star if c.alias not in added]
        on = join.args.get("on")
        if on is not None and self.dialect.is_on_late:
            # SQLite looks names in ON up in the whole FROM, PostgreSQL in what has been joined so far.
            scope.conditions.append(on)
        elif on is not None:
            self._on(on, scope)

    def _on(self, condition: exp.Expr, scope: Scope) -> None:
        holder = exp.Paren(this=condition) if condition.parent is None else condition.parent
        key, index = condition.arg_key, condition.index
        self.clauses["joined"] |= self.expression(condition, scope)
        # Resolving may have put another node in the condition's place.
        found = holder.args[key or "this"]
        now: exp.Expr = found[index] if index is not None else found
        scope.join_conditions.append(now)
        self.has_tautology |= has_tautology(now) and now.find(exp.Column) is not None


def _spell_out_natural(join: exp.Join, using: Sequence[str]) -> None:
    """NATURAL becomes USING with the columns that it means now; without common columns it is a cross join."""
    join.set("method", None)
    if using:
        if not join.args.get("side"):
            join.set("kind", "INNER")
        return
    if join.args.get("side"):
        join.set("on", exp.Boolean(this=True))
    else:
        join.set("kind", "CROSS")


def _is_query(node: exp.Expr) -> bool:
    return isinstance(node, exp.Subquery) and isinstance(node.this, (exp.Select, exp.SetOperation, exp.Values))


def _set_alias(node: exp.Expr, name: str) -> None:
    alias = node.args.get("alias")
    identifier = exp.to_identifier(name, quoted=True)
    if alias is None:
        node.set("alias", exp.TableAlias(this=identifier))
    else:
        alias.set("this", identifier)
