"""Obligations into the tree: masks and row filters at the source, bound values, and the text that is executed.

Each reference to a protected relation becomes a subquery that yields masked columns of the rows that the principal may see. Whatever
the statement then computes sees those values only. The result is generated from the tree, parsed again and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import (
    Access,
    Catalog,
    Column,
    ColumnRef,
    DialectName,
    Mask,
    MaskExpression,
    Obligations,
    Relation,
    RowFilter,
    Value,
    Way,
)
from guardrails.sql.dialects import EngineDialect, Fence, dialect_of
from guardrails.sql.effects import require_known_effects
from guardrails.sql.filters import Predicate, parse_predicate
from guardrails.sql.grouping import keep_functional_dependency
from guardrails.sql.index_order import CONSTANT_MASKS, ignore_indexes, keep_change_order, ways_to_avoid
from guardrails.sql.metadata import schema_relation
from guardrails.sql.metadata.rows import Rows, all_names
from guardrails.sql.params import bind_params, number_params
from guardrails.sql.parse import check_round_trip, parse_tree
from guardrails.sql.resolve import Resolved
from guardrails.sql.sources import relation_of
from guardrails.sql.tokens import tokenize
from guardrails.sql.writes import TARGET_META
from guardrails.sql.writes_mysql import JOINED_META

__all__ = ["Rewritten", "rewrite"]

MaskSql = Callable[[Mask, Column], MaskExpression]

_MAX_REPLACED = 500
_ROW = "gr_row"
"""Alias of the base relation inside a protecting subquery."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What runs: `params` by name in placeholder order; `reads` are the columns that the text itself reads; `avoids` as in `Plan`."""

    sql: str
    params: Mapping[str, Value]
    reads: tuple[ColumnRef, ...]
    avoids: frozenset[Way] = frozenset()


def rewrite(resolved: Resolved, obligations: Obligations, catalog: Catalog, mask_sql: MaskSql) -> Rewritten:
    """Builds the text that fulfils the obligations.

    Args:
        resolved: From `guardrails.sql.resolve`.
        obligations: Masks and row filters; limits are the engine's.
        catalog: The catalog that the statement was resolved against.
        mask_sql: Gives a mask as SQL of the dialect for a column.

    Raises:
        StatementError: It sets off unknown code (``sql.effects_unknown``), an obligation cannot be fulfilled for this statement
            (codes `mask.*`, `policy.row_filter_invalid`), the parameters do not fit (``sql.params_mismatch``), or the text does not
            parse to the same tree (``sql.roundtrip``).
    """
    require_known_effects(resolved.access, catalog)
    rewriter = _Rewriter(resolved, obligations, catalog, mask_sql)
    rewriter.check_writes(resolved.access)
    tree = resolved.tree.copy()
    # Before the guard's own placeholders are in the tree, so that the agent cannot name one of them.
    params = bind_params(tree, resolved.statement.params)
    rewriter.protect(tree)
    rewriter.describe_schema(tree)
    rewriter.guard_targets(tree)
    params |= rewriter.bindings
    if resolved.explain is not None and not rewriter.is_plan_blind:
        # Estimates come from the statistics of what is stored, and bound keys are written out.
        raise StatementError("mask.unsupported", "The plan would tell of values that are masked, or of rows that are hidden.")
    if resolved.dialect.placeholders == "numbered":
        params = number_params(tree, params)
    sql = check_round_trip(tree, resolved.dialect)
    sql = f"{resolved.explain} {sql}" if resolved.explain is not None else sql
    reads = tuple(sorted(set(resolved.access.reads) | rewriter.reads))
    return Rewritten(sql, params, reads, ways_to_avoid(tree, resolved.access, obligations, catalog, rewriter.filter_columns))


@dataclass(slots=True)
class _Rewriter:
    resolved: Resolved
    obligations: Obligations
    catalog: Catalog
    mask_sql: MaskSql
    bindings: dict[str, Value] = field(default_factory=dict)
    reads: set[ColumnRef] = field(default_factory=set)
    replaced: int = 0

    @property
    def dialect(self) -> EngineDialect:
        return self.resolved.dialect

    @property
    def is_plan_blind(self) -> bool:
        """Whether the plan depends on nothing that is protected.

        Every mask that it meets is a constant, and it does not tell the size of a table, which is larger the longer its values are.
        """
        if self.obligations.masks and not self.dialect.are_plans_sizeless:
            return False
        reads = set(self.resolved.access.reads)
        is_constant = all(m.kind in CONSTANT_MASKS for m in self.obligations.masks if m.column in reads)
        return is_constant and not self.bindings and not self.obligations.row_filters

    @property
    def filter_columns(self) -> frozenset[ColumnRef]:
        """What the row filters ask about."""
        return frozenset(ColumnRef(f.relation, c) for f in self.obligations.row_filters for c in self._predicate(f).columns)

    def check_writes(self, access: Access) -> None:
        """A change may neither read protected columns (a masked value would be stored) nor overwrite or escape its rows."""
        if access.is_read_only:
            return
        masked = {m.column for m in self.obligations.masks}
        if masked & set(access.reads):
            raise StatementError("mask.write_reads_protected", "The change reads a protected column.")
        self._check_definitions(access, masked)
        actions = {u.relation: set[str]() for u in access.relations}
        for use in access.relations:
            actions[use.relation].add(use.action)
        if any(c in masked and "update" in actions.get(c.relation, ()) for c in access.writes):
            raise StatementError("mask.write_protected", "The change would overwrite a protected column.")
        for row_filter in self.obligations.row_filters:
            done = actions.get(row_filter.relation, set())
            if "merge" in done:
                raise StatementError("mask.unsupported", "MERGE cannot be held to the rows that the principal may see.")
            if "insert" in done:
                raise StatementError("mask.unsupported", "Rows cannot be inserted where row filters hold.")
            if done & {"update", "delete"} and self.resolved.tree.meta.get(JOINED_META):
                raise StatementError(
                    "mask.unsupported", "A change over a join cannot be held to the rows that the principal may see."
                )
            if done & {"update", "delete"} and not self.dialect.is_executed:
                raise StatementError("mask.unsupported", f"Changes cannot be held to row filters in {self.dialect.name}.")
            columns = {ColumnRef(row_filter.relation, c) for c in self._predicate(row_filter).columns}
            if "update" in done and columns & set(access.writes):
                raise StatementError("mask.unsupported", "The change would move rows in or out of the principal's sight.")

    def _check_definitions(self, access: Access, masked: set[ColumnRef]) -> None:
        """A schema change must not take a protection away, nor touch rows that the principal may not see."""
        filtered = {f.relation for f in self.obligations.row_filters}
        for use in access.relations:
            if use.action in ("alter", "create", "drop", "truncate") and use.relation in filtered:
                raise StatementError("mask.unsupported", "The change would touch rows that the principal may not see.")
        references = (n.this for n in self.resolved.tree.find_all(exp.Reference))
        referred = {relation_of(n.this if isinstance(n, exp.Schema) else n) for n in references}
        if referred & filtered:
            raise StatementError("mask.unsupported", "A foreign key would tell of rows that the principal may not see.")
        altered = {u.relation for u in access.relations if u.action == "alter"}
        if any(c.relation in altered for c in masked & set(access.writes)):
            raise StatementError("mask.write_protected", "The change would take the protection of a column away.")
        if isinstance(self.resolved.tree, exp.Create) and str(self.resolved.tree.args.get("kind")).upper() == "VIEW":
            read = {u.relation for u in access.relations if u.action == "select"}
            if any(self._is_protected(key) for key in read):
                raise StatementError("mask.unsupported", "A view over protected data would outlive this principal's rights.")

    def protect(self, tree: exp.Expr) -> None:
        """Replaces every reference to a protected relation by its protecting subquery."""
        if self.dialect.keeps_dependency:
            for select in list(tree.find_all(exp.Select)):
                keep_functional_dependency(select, lambda key: self._is_protected(key), self.catalog)
        for table in list(tree.find_all(exp.Table)):
            key = relation_of(table)
            if key is None:
                continue
            relation = self.catalog.relations[key]
            if table.meta.get(TARGET_META):
                if self.dialect.index_hint == "ignored":
                    keep_change_order(table, relation, self._masked_in(key))
                continue
            is_view = relation.kind in ("view", "materialized_view")
            if is_view and any(self._is_protected(u.relation) for u in self.resolved.views[key].uses):
                self._replace(table, self._view(key, relation))
            elif self._is_protected(key):
                self._replace(table, self._protected(key, relation, self._base(relation)))

    def describe_schema(self, tree: exp.Expr) -> None:
        """Puts the rows that the principal may see in the place of every reference to the schema's description.

        It comes after `protect`: what stands in a function's argument is masked by then.
        """
        if not self.resolved.access.reads_schema:
            return
        rows = Rows(self.dialect, self.catalog, self.obligations.visible, all_names(tree))
        # From the inside out, as the argument of a function is copied with what it reads.
        for table in reversed(list(tree.find_all(exp.Table))):
            found = schema_relation(table, self.dialect.name)
            if found is not None:
                self._replace(table, rows.query(table, found))
        if any(schema_relation(table, self.dialect.name) for table in tree.find_all(exp.Table)):
            raise StatementError("sql.construct_unsupported", "The schema is read where it cannot be described.")

    def guard_targets(self, tree: exp.Expr) -> None:
        """Restricts UPDATE and DELETE to visible rows; the agent's predicate is evaluated on those alone."""
        for node in list(tree.find_all(exp.Update, exp.Delete)):
            target = node.this
            # The branches of MERGE have no target of their own; merging into filtered rows is refused.
            key = relation_of(target) if isinstance(target, exp.Table) else None
            filters = [self._predicate(f) for f in self.obligations.row_filters if f.relation == key]
            if key is None or not filters:
                continue
            visible = exp.and_(*(exp.Paren(this=f.tree(target.alias)) for f in filters), copy=False)
            where = node.args.get("where")
            # CASE fixes the order of evaluation: an error in the agent's predicate cannot tell of hidden rows.
            own = where.this if where is not None else exp.Boolean(this=True)
            case = exp.Case(ifs=[exp.If(this=visible, true=exp.Paren(this=own.copy()))], default=exp.Boolean(this=False))
            node.set("where", exp.Where(this=case))
            self.reads |= {ColumnRef(key, c) for f in filters for c in f.columns}

    def _is_protected(self, key: str) -> bool:
        return any(m.column.relation == key for m in self.obligations.masks) or any(
            f.relation == key for f in self.obligations.row_filters
        )

    def _masked_in(self, key: str) -> set[str]:
        return {m.column.column for m in self.obligations.masks if m.column.relation == key}

    def _view(self, key: str, relation: Relation) -> exp.Expr:
        if relation.kind == "materialized_view":
            raise StatementError("mask.unsupported", f"The materialized view {key} holds protected data.")
        tree = self.resolved.views[key].tree.copy()
        self.protect(tree)
        self.reads |= set(self.resolved.views[key].reads)
        inner = exp.Subquery(this=tree, alias=_alias(_ROW))
        return self._protected(key, relation, inner) if self._is_protected(key) else tree

    def _base(self, relation: Relation) -> exp.Table:
        table = exp.Table(
            this=exp.to_identifier(relation.name, quoted=True),
            db=exp.to_identifier(relation.schema, quoted=True) if relation.schema else None,
            alias=_alias(_ROW),
        )
        key = self.catalog.key(relation.schema, relation.name)
        masked = self._masked_in(key)
        if self.dialect.index_hint == "ignored":
            ignore_indexes(table, relation, masked)
        if self.dialect.index_hint == "not_indexed" and masked & relation.indexed_columns:
            # A scan of a covering index would return the rows in the order of the protected column.
            table.set("indexed", False)
        elif self.dialect.index_hint == "refused" and masked & (relation.indexed_columns | set(relation.primary_key)):
            raise StatementError("mask.unsupported", f"An index over a protected column of {key} may order its rows.")
        return table

    def _protected(self, key: str, relation: Relation, source: exp.Expr) -> exp.Select:
        masks = {m.column.column: m for m in self.obligations.masks if m.column.relation == key}
        is_ordering = self.dialect.key_order == "every"
        stored = set(relation.stored_by)
        ordering = {
            c.name
            for c in relation.columns
            if c.name in masks and (is_ordering or c.type.lower() == "integer" or c.name in stored)
        }
        if self.dialect.key_order and set(relation.stored_by or relation.primary_key) & ordering:
            raise StatementError("mask.unsupported", f"The key of {key} is protected, and its rows are stored in that order.")
        if masks.keys() & set(relation.stored_by):
            raise StatementError("mask.unsupported", f"A protected column of {key} decides about the partition of its rows.")
        columns: list[exp.Expr] = []
        for column in relation.columns:
            mask = masks.get(column.name)
            is_read = ColumnRef(key, column.name) in self.resolved.access.reads
            if mask is not None and (mask.kind == "deny" or not (is_read or self.dialect.is_executed)):
                continue
            self.reads.add(ColumnRef(key, column.name))
            value: exp.Expr = _column(column.name)
            if mask is not None:
                value = self._masked(mask, column)
            columns.append(exp.Alias(this=value, alias=exp.to_identifier(column.name, quoted=True)))
        select = exp.Select(expressions=columns, from_=exp.From(this=source))
        row_filter = [f for f in self.obligations.row_filters if f.relation == key]
        if row_filter:
            predicates = [exp.Paren(this=self._predicate(f).tree(_ROW)) for f in row_filter]
            visible = exp.and_(*predicates, copy=False) if len(predicates) > 1 else predicates[0]
            select.set("where", exp.Where(this=visible))
            self.reads |= {ColumnRef(key, c) for f in row_filter for c in self._predicate(f).columns}
            # A fence: no predicate of the agent may run on hidden rows, where an error would tell of them.
            fence = self.dialect.fence
            if not self.dialect.is_executed or self.dialect.are_hidden_nulled:
                self._hide(columns, visible, masks)
            if fence.is_fetch:
                rows_only = exp.LimitOptions(percent=False, rows=True, with_ties=False)
                select.set("limit", exp.Fetch(direction="FIRST", count=_number(fence.limit or 0), limit_options=rows_only))
            elif fence.limit is not None:
                select.set("limit", exp.Limit(expression=_number(fence.limit)))
            if fence.offset is not None:
                select.set("offset", exp.Offset(expression=_number(fence.offset)))
        return select

    def _hide(self, columns: Sequence[exp.Expr], visible: exp.Expr, masks: Mapping[str, Mask]) -> None:
        """Makes hidden rows rows of NULL, for optimizers of which it is not known whether they stop at the fence."""
        if self.dialect.fence == Fence(limit=None, offset=None):
            message = f"Row filters cannot be fenced in {self.dialect.name}."
            raise StatementError("mask.unsupported", message, hint="Ask about relations without row filters.")
        for column in columns:
            if column.alias not in masks:
                column.this.replace(exp.Case(ifs=[exp.If(this=visible.copy(), true=column.this.copy())]))

    def _masked(self, mask: Mask, column: Column) -> exp.Expr:
        expression = self.mask_sql(mask, column)
        value = _mask_tree(expression.sql, self.dialect.name).copy()
        for node in list(value.find_all(exp.Column)):
            if node.name != "__column__":
                raise StatementError("mask.unsupported", f"The mask of {mask.column} names another column.")
            node.replace(_column(column.name))
        self.bindings |= dict(expression.bindings)
        inner: exp.Expr = value.this
        return inner.pop()

    def _predicate(self, row_filter: RowFilter) -> Predicate:
        relation = self.catalog.relations[row_filter.relation]
        predicate = parse_predicate(row_filter, relation, self.dialect)
        self.bindings |= predicate.bindings
        return predicate

    def _replace(self, table: exp.Table, query: exp.Expr) -> None:
        self.replaced += 1
        if self.replaced > _MAX_REPLACED:
            raise StatementError("sql.too_large", "Views within views make the statement too large.")
        alias, joins = table.args.get("alias"), [j.pop() for j in list(table.args.get("joins") or [])]
        subquery = exp.Subquery(this=query, alias=alias.copy() if alias else None)
        if joins:
            subquery.set("joins", joins)
        table.replace(subquery)


@lru_cache(maxsize=1024)
def _mask_tree(sql: str, dialect: DialectName) -> exp.Expr:
    """Parses a mask's text once; it comes from the library, not from the agent."""
    rules, text = dialect_of(dialect), f"SELECT {sql}"
    tree = parse_tree(text, tokenize(text, rules), rules)
    return exp.Paren(this=tree.expressions[0].pop())


def _number(value: int) -> exp.Expr:
    number = exp.Literal.number(abs(value))
    return exp.Neg(this=number) if value < 0 else number


def _alias(name: str) -> exp.TableAlias:
    return exp.TableAlias(this=exp.to_identifier(name, quoted=True))


def _column(name: str) -> exp.Column:
    return exp.Column(this=exp.to_identifier(name, quoted=True), table=exp.to_identifier(_ROW, quoted=True))
