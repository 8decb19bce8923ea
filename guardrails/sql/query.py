"""Resolution of queries: SELECT, set operations, VALUES and WITH."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, zip_longest

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, ColumnRef, RelationUse
from guardrails.sql.conditions import are_related, conjuncts, has_tautology
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.expressions import NOTHING, column_node
from guardrails.sql.labels_mysql import TEXTS_META
from guardrails.sql.naming import NamingResolver
from guardrails.sql.output_names import check_window_names, mark_output_names
from guardrails.sql.scope import Clause, Cte, Output, Scope, Source, StarColumn
from guardrails.sql.tells import Change
from guardrails.sql.views import ViewLookup

__all__ = ["QueryResolver"]

_MAX_RECURSIONS = 3
_MAX_COLUMNS = 2_000
Ctes = Mapping[str, Cte]


class QueryResolver(NamingResolver):
    """Resolves queries and collects what they touch: `uses`, `reads`, `writes`, `functions`."""

    def __init__(self, dialect: EngineDialect, catalog: Catalog, views: ViewLookup) -> None:
        super().__init__(dialect, catalog, views)
        self.uses: set[RelationUse] = set()
        self.reads: set[ColumnRef] = set()
        self.writes: set[ColumnRef] = set()
        self.changes: list[Change] = []
        self.flows: set[tuple[ColumnRef, ColumnRef]] = set()
        self.functions: set[str] = set()
        self.clauses: dict[Clause, set[ColumnRef]] = {"filtered": set(), "joined": set(), "grouped": set(), "ordered": set()}
        self.has_tautology = False
        self.has_cross_join = False
        self._recursions = 0

    def query(
        self,
        node: exp.Expr,
        outer: Scope | None,
        ctes: Ctes,
        *,
        labels: Sequence[str] = (),
        texts: Sequence[str] = (),
    ) -> list[Output]:
        """Resolves one query in place.

        Args:
            node: SELECT, set operation, VALUES or a parenthesised query.
            outer: The scope around it, for correlated references.
            ctes: Common table expressions in scope, by folded name.
            labels: Names that the columns must get (a view's), in order.
            texts: The text of each projection as written, for SQLite's labels.

        Returns:
            The query's columns.

        Raises:
            StatementError: A name cannot be resolved.
        """
        ctes = self.with_clause(node, outer, ctes)
        if isinstance(node, exp.Subquery):
            self._no_joins(node)
            outputs = self.query(node.this, outer, ctes, labels=labels, texts=texts)
            self._trailing(node, outputs, outer, ctes)
            return outputs
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, outer, ctes, labels, texts)
        if isinstance(node, exp.Values):
            return self._values(node, outer, ctes)
        if isinstance(node, exp.Select):
            return self._select(node, outer, ctes, labels, texts)
        return self.modification(node, ctes)

    def modification(self, node: exp.Expr, ctes: Ctes) -> list[Output]:  # noqa: ARG002 - the subclass needs it
        """Resolves INSERT, UPDATE or DELETE where a query stands; only where the statement may write at all."""
        raise StatementError("sql.construct_unsupported", f"{type(node).__name__.upper()} is not supported here.")

    def with_clause(self, node: exp.Expr, outer: Scope | None, ctes: Ctes) -> Ctes:
        """Resolves a WITH clause and returns the expressions in scope with it; each gets a fresh name in the tree."""
        clause = node.args.get("with_")
        if clause is None:
            return ctes
        if self.dialect.are_ctes_lazy:
            _drop_unused(node, clause, self.dialect)
        scope = dict(ctes)
        is_open = bool(clause.args.get("recursive")) or self.dialect.are_ctes_open
        later = [self.dialect.fold(c.args["alias"].this) for c in clause.expressions]
        if len(set(later)) != len(later):
            raise StatementError("sql.column_ambiguous", "Two common table expressions have the same name.")
        for cte in clause.expressions:
            name = later.pop(0)
            if is_open and any(_mentions(cte.this, other, self.dialect) for other in later):
                raise StatementError("sql.construct_unsupported", "A common table expression uses one that comes later.")
            fresh = self.fresh_name("gr_cte")
            is_recursive = is_open and _mentions(cte.this, name, self.dialect)
            if is_recursive:
                self._check_recursion(cte, name)
                self._recursions += 1
                scope[name] = Cte(fresh, tuple(self._named(cte, self._anchor(cte, outer, scope))))
                self._recursions -= 1
            outputs = self.query(cte.this, outer, scope)
            if is_recursive:
                # Columns may change places in each round, so that any can end up in any.
                lineage = NOTHING.union(*(o.lineage for o in outputs))
                outputs = [Output(o.name, lineage) for o in outputs]
            scope[name] = Cte(fresh, tuple(self._named(cte, outputs)))
            cte.args["alias"].set("this", exp.to_identifier(fresh, quoted=True))
        return scope

    def _check_recursion(self, cte: exp.CTE, name: str) -> None:
        # The anchor is resolved twice, so nesting would double the work at each level.
        if self._recursions >= _MAX_RECURSIONS:
            raise StatementError("sql.too_deep", "Recursive queries are nested too deeply.")
        if any(self.dialect.fold(c.args["alias"].this) == name for c in cte.this.find_all(exp.CTE)):
            raise StatementError("sql.construct_unsupported", f"The name {name} stands for two common table expressions.")

    def _anchor(self, cte: exp.CTE, outer: Scope | None, ctes: Ctes) -> list[Output]:
        """Returns the columns of a recursive expression from its non-recursive arm."""
        body = cte.this.copy()
        inner = self.with_clause(body, outer, ctes)
        while isinstance(body, exp.Union):
            body = body.this
        return self.query(body, outer, inner)

    def _named(self, cte: exp.CTE, outputs: Sequence[Output]) -> list[Output]:
        names = cte.args["alias"].args.get("columns") or []
        if len(names) > len(outputs):
            raise StatementError("sql.syntax", "A common table expression names more columns than it has.")
        return [Output(n.this, o.lineage) if n else o for n, o in zip_longest(names, outputs) if o]

    def _set_operation(
        self, node: exp.SetOperation, outer: Scope | None, ctes: Ctes, labels: Sequence[str], texts: Sequence[str]
    ) -> list[Output]:
        # A long chain leans to the left; walking it in a loop keeps the stack flat.
        arms: list[exp.Expr] = []
        left: exp.Expr = node
        while isinstance(left, exp.SetOperation) and (left is node or not left.args.get("with_")):
            arms.append(left.expression)
            left = left.this
        outputs = self.query(left, outer, ctes, labels=labels, texts=texts)
        for arm in reversed(arms):
            right = self.query(arm, outer, ctes)
            if len(right) != len(outputs):
                raise StatementError("sql.syntax", "The arms of a set operation have different numbers of columns.")
            outputs = [Output(o.name, o.lineage | r.lineage) for o, r in zip(outputs, right, strict=True)]
        inner: exp.Expr = node
        while isinstance(inner, exp.SetOperation):
            self._trailing(inner, outputs, outer, ctes)
            inner = inner.this if not inner.this.args.get("with_") else exp.Null()
        return outputs

    def _trailing(self, node: exp.Expr, outputs: Sequence[Output], outer: Scope | None, ctes: Ctes) -> None:
        """ORDER BY and LIMIT of a set operation: output names and positions only."""
        order = node.args.get("order")
        names = {self.dialect.fold_name(o.name): o.lineage for o in outputs}
        for ordered in order.expressions if order else []:
            key = ordered.this
            is_name = isinstance(key, exp.Column) and not key.table and self.dialect.fold(key.this) in names
            if not is_name and not (isinstance(key, exp.Literal) and not key.is_string):
                raise StatementError(
                    "sql.construct_unsupported", "ORDER BY after a set operation takes only result columns.",
                    hint="Order by an output column's name or position.",
                )  # fmt: skip
            if is_name:
                self.clauses["ordered"] |= names[self.dialect.fold(key.this)]
            elif 0 < int(key.name) <= len(outputs):
                self.clauses["ordered"] |= outputs[int(key.name) - 1].lineage
        self._limits(node, outer, ctes)

    def _limits(self, node: exp.Expr, outer: Scope | None, ctes: Ctes) -> None:
        for name in ("limit", "offset"):
            clause = node.args.get(name)
            if clause is not None:
                self.expression(clause, Scope(outer, ctes))

    def _values(self, node: exp.Values, outer: Scope | None, ctes: Ctes) -> list[Output]:
        scope = Scope(outer, ctes)
        rows = [
            [self.expression(e, scope) for e in (r.expressions if isinstance(r, exp.Tuple) else [r])] for r in node.expressions
        ]
        if len({len(r) for r in rows}) != 1:
            raise StatementError("sql.syntax", "The rows of VALUES have different lengths.")
        label = self.dialect.values_label
        names = (label.format(i) if label else f"column{i + 1}" for i in count())
        return [Output(name, NOTHING.union(*column)) for name, column in zip(names, zip(*rows, strict=True), strict=False)]

    def _select(
        self, node: exp.Select, outer: Scope | None, ctes: Ctes, labels: Sequence[str], texts: Sequence[str]
    ) -> list[Output]:
        scope = Scope(outer, ctes)
        self.from_clause(node, scope)
        if self.dialect.names_seen == "having":
            check_window_names(node, scope, self.dialect)
        if self.dialect.names_seen == "mixed":
            scope.are_names_visible = scope.are_names_alone = scope.are_names_mixed = True
        outputs = self._projections(node, scope, labels, texts)
        scope.names = {self.dialect.fold_name(o.name): o.lineage for o in outputs}
        # SQLite lets WHERE, GROUP BY and HAVING see output names where no column has that name; PostgreSQL only GROUP BY.
        scope.are_names_visible = self.dialect.names_seen in ("everywhere", "alone", "mixed")
        scope.are_names_alone = not self.dialect.is_executed or scope.are_names_mixed
        distinct = node.args.get("distinct")
        on = distinct.args.get("on") if distinct else None
        self.conditions([node.args.get("where")], scope)
        if self.dialect.names_seen == "having":
            scope.are_names_visible = True
            mark_output_names(node, scope, self.dialect)
        self.conditions([node.args.get("having"), node.args.get("qualify")], scope)
        self._expressions(node.args.get("windows") or [], scope)
        self.relate(scope, [node.args.get("where")])
        if on is not None:
            self._keys(on.expressions if isinstance(on, exp.Tuple) else [on], scope, "grouped")
        if self.dialect.are_keys_closed:
            scope = replace(scope, parent=None)
        group = node.args.get("group")
        if group is not None:
            self._group(group, scope, outputs)
        order = node.args.get("order")
        if order is not None and any(isinstance(o.this, exp.Var) for o in order.expressions):
            self._order_all(order, outputs)
        elif order is not None:
            self._keys([o.this for o in order.expressions], scope, "ordered", outputs)
        self._limits(node, outer, ctes)
        return outputs

    def _order_all(self, order: exp.Order, outputs: Sequence[Output]) -> None:
        """ORDER BY ALL: every column of the result, from the left (DuckDB)."""
        if len(order.expressions) != 1 or order.expressions[0].this.name.upper() != "ALL" or self.dialect.name != "duckdb":
            raise StatementError("sql.construct_unsupported", "A sort key is neither an expression nor a name.")
        self.clauses["ordered"] |= NOTHING.union(*(o.lineage for o in outputs))

    def _group(self, group: exp.Group, scope: Scope, outputs: Sequence[Output]) -> None:
        self._keys(group.expressions, scope, "grouped", outputs, names_first=False)
        if group.args.get("all"):
            self.clauses["grouped"] |= NOTHING.union(*(o.lineage for o in outputs))
        if self.dialect.are_keys_wrapped and group.expressions:
            keys = [exp.Paren(this=k) if _is_bound(k) else k for k in group.expressions]
            group.set("expressions", keys)
        for name in ("grouping_sets", "cube", "rollup"):
            for part in group.args.get(name) or []:
                self.clauses["grouped"] |= self.expression(part, scope)

    def _keys(
        self,
        keys: Iterable[exp.Expr],
        scope: Scope,
        clause: Clause,
        outputs: Sequence[Output] = (),
        *,
        names_first: bool = True,
    ) -> None:
        """Sort and group keys: a bare name may be an output name (first in ORDER BY, last in GROUP BY), a number a position."""
        for key in keys:
            if isinstance(key, exp.Column) and not key.table and isinstance(key.this, exp.Identifier):
                name = self.dialect.fold(key.this)
                is_input = any(name in s.columns for s in scope.sources.values())
                if name in scope.names and is_input and scope.are_names_mixed:
                    self.clauses[clause] |= self.expression(key, scope)
                    continue
                if name in scope.names and (names_first or not is_input):
                    if scope.are_names_alone and not names_first:
                        scope.require_alone(name)
                    self.clauses[clause] |= scope.names[name]
                    continue
            if isinstance(key, exp.Literal) and not key.is_string and key.name.isdigit() and 0 < int(key.name) <= len(outputs):
                self.clauses[clause] |= outputs[int(key.name) - 1].lineage
                continue
            self.clauses[clause] |= self.expression(key, scope)

    def _projections(self, node: exp.Select, scope: Scope, labels: Sequence[str], texts: Sequence[str]) -> list[Output]:
        columns: list[exp.Expr] = []
        outputs: list[Output] = []
        texts = node.meta.get(TEXTS_META) or texts
        written = list(texts) if len(texts) == len(node.expressions) else []
        for index, item in enumerate(node.expressions):
            if len(outputs) > _MAX_COLUMNS:
                raise StatementError("sql.too_large", f"A query has more than {_MAX_COLUMNS:,} columns.")
            stars = self._star(item, scope)
            if stars is not None:
                columns += [column for column, _ in stars]
                outputs += [output for _, output in stars]
                continue
            value = item.this if isinstance(item, exp.Alias) else item
            if isinstance(item, exp.Column) and item.table:
                self._no_renamed(scope, self.dialect.fold(item.args["table"]), self.dialect.fold(item.this))
            name = item.alias if isinstance(item, exp.Alias) else self.label(value, scope, written[index] if written else None)
            if self.dialect.nameless and not isinstance(item, (exp.Alias, exp.Column)):
                name = self.dialect.nameless.format(len(outputs))
            lineage = self.expression(value, scope)
            # Read again from the tree: resolving may have put another node in the expression's place.
            now = node.expressions[index]
            columns.append(now.this if isinstance(now, exp.Alias) else now)
            outputs.append(Output(name, lineage))
            if scope.are_names_mixed:
                key = self.dialect.fold_name(name)
                scope.names[key] = scope.names.get(key, NOTHING) | lineage
        if labels:
            if len(labels) != len(outputs):
                raise StatementError("sql.syntax", "The number of columns does not fit their names.")
            outputs = [Output(n, o.lineage) for n, o in zip(labels, outputs, strict=True)]
        named = [
            c if scope.are_names_mixed and _is_called(c, o.name) else _aliased(c, o.name)
            for c, o in zip(columns, outputs, strict=True)
        ]
        node.set("expressions", named)
        return outputs

    def _star(self, item: exp.Expr, scope: Scope) -> list[tuple[exp.Expr, Output]] | None:
        """Spells out `*` and `t.*`; None for anything else."""
        if isinstance(item, exp.Star):
            if not scope.star:
                raise StatementError("sql.syntax", "There is a * without FROM.")
            self._no_duplicates(scope.sources.values())
            found = scope.star
        elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
            alias = self.dialect.fold(item.args["table"])
            if alias not in scope.sources:
                raise StatementError("sql.relation_unknown", f"{alias}.* names nothing in FROM.")
            self._no_duplicates([scope.sources[alias]])
            found = [StarColumn(alias, key, output) for key, output in scope.sources[alias].shown.items()]
        else:
            return None
        found = self._but(item if isinstance(item, exp.Star) else item.this, found)
        for column in found:
            self._no_renamed(scope, column.alias, column.key)
            self.reads |= column.output.lineage
        return [(column_node(c.alias or scope.owners.get(c.key), c.output.name), c.output) for c in found]

    def _but(self, star: exp.Expr, found: Sequence[StarColumn]) -> list[StarColumn]:
        """Leaves out what `* EXCLUDE (…)` names, each of which has to be there."""
        names = star.args.get("except_") or []
        excluded = {self.dialect.fold(n.this) for n in names if isinstance(n, exp.Column) and not n.table}
        if len(excluded) != len(names) or not excluded <= {c.key for c in found}:
            raise StatementError("sql.column_unknown", "* leaves out a column that is not there, or not by its plain name.")
        return [c for c in found if c.key not in excluded]

    def _no_duplicates(self, sources: Iterable[Source]) -> None:
        """A star over columns of one name cannot be spelled out: each alone would be ambiguous."""
        for source in sources:
            if source.duplicates:
                raise StatementError(
                    "sql.column_ambiguous",
                    f"* stands for several columns of {source.alias} with the name {min(source.duplicates)}.",
                    hint="Give the columns of the subquery different names.",
                )

    def _no_renamed(self, scope: Scope, alias: str | None, key: str) -> None:
        """SQLite makes a query of a join in parentheses, and gives those of its columns that share a name others, as `id:1`."""
        if alias in scope.nested and sum(key in scope.sources[a].columns for a in scope.nested) > 1:
            raise StatementError(
                "sql.column_ambiguous", f"The result has the column {key} of a join in parentheses with several of that name.",
                hint="Give it an alias, or leave the parentheses out.",
            )  # fmt: skip

    def conditions(self, nodes: Iterable[exp.Expr | None], scope: Scope) -> None:
        """Resolves WHERE, HAVING and QUALIFY."""
        for node in nodes:
            if node is not None:
                self.clauses["filtered"] |= self.expression(node, scope)
                self.has_tautology |= has_tautology(node)

    def relate(self, scope: Scope, wheres: Iterable[exp.Expr | None]) -> None:
        """Notes whether FROM joins relations that nothing relates."""
        terms = [t for w in wheres for t in conjuncts(w)]
        self.has_cross_join |= not are_related(scope.sources, [*scope.join_conditions, *terms], scope.links)

    def _no_joins(self, node: exp.Subquery) -> None:
        if node.args.get("joins") or node.args.get("alias"):
            raise StatementError("sql.construct_unsupported", "A join stands where a query should.")


def _is_called(value: exp.Expr, name: str) -> bool:
    """Whether it is the bare name of an earlier result column: `a AS a` would be a reference to itself (DuckDB)."""
    return isinstance(value, exp.Column) and not value.table and value.name == name


def _aliased(value: exp.Expr, name: str) -> exp.Expr:
    return exp.Alias(this=value, alias=exp.to_identifier(name, quoted=True))


def _drop_unused(node: exp.Expr, clause: exp.With, dialect: EngineDialect) -> None:
    """Takes out expressions that nothing else names: SQLite never looks at them, and what they name need not even exist."""
    is_changed = True
    while is_changed:
        is_changed = False
        for cte in list(clause.expressions):
            own = {id(t) for t in cte.this.find_all(exp.Table)}
            if not any(id(t) not in own for t in _named(node, dialect.fold(cte.args["alias"].this), dialect)):
                cte.pop()
                is_changed = True
    if not clause.expressions:
        node.set("with_", None)


def _is_bound(key: exp.Expr) -> bool:
    """Whether a sort or group key is an expression over columns, and neither a name of the result nor a position."""
    is_other = isinstance(key, (exp.Literal, exp.Paren, exp.Rollup, exp.Cube, exp.GroupingSets))
    return not is_other and not (isinstance(key, exp.Column) and not key.table)


def _mentions(node: exp.Expr, name: str, dialect: EngineDialect) -> bool:
    return any(True for _ in _named(node, name, dialect))


def _named(node: exp.Expr, name: str, dialect: EngineDialect) -> Iterator[exp.Table]:
    for table in node.find_all(exp.Table):
        is_named = isinstance(table.this, exp.Identifier) and not table.args.get("db") and dialect.fold(table.this) == name
        if is_named and not (dialect.are_ctes_open and _is_inner(table, node, name, dialect)):
            yield table


def _is_inner(table: exp.Table, root: exp.Expr, name: str, dialect: EngineDialect) -> bool:
    """Whether a WITH between the reference and the root defines the name, in all of whose parts SQLite sees it."""
    node = table.parent
    while node is not None and node is not root:
        clause = node.args.get("with_")
        if clause is not None and any(dialect.fold(c.args["alias"].this) == name for c in clause.expressions):
            return True
        node = node.parent
    return False
