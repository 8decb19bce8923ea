"""Obligations into the tree: masks and row filters at the source, bound values, and the text that is executed.

Each reference to a protected relation becomes a subquery that yields masked columns of the rows that the principal may see. Whatever
the statement then computes sees those values only. The result is generated from the tree, parsed again and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import (
    Catalog,
    Column,
    ColumnRef,
    IndexUse,
    Mask,
    MaskExpression,
    Obligations,
    Relation,
    RowFilter,
    Value,
)
from guardrails.sql.aggregates import move_aggregates
from guardrails.sql.barriers import BARRIER_SCHEMA, Barrier, Placements
from guardrails.sql.change_rules import check_change
from guardrails.sql.dialects import EngineDialect, Fence
from guardrails.sql.effects import require_known_effects
from guardrails.sql.filters import Predicate, parse_predicate
from guardrails.sql.group_order import CONSTANT_MASKS, do_groups_tell
from guardrails.sql.grouping import keep_functional_dependency
from guardrails.sql.index_order import ignore_indexes, keep_change_order
from guardrails.sql.index_use import index_use
from guardrails.sql.masked import masked_column
from guardrails.sql.metadata import schema_relation
from guardrails.sql.metadata.rows import Rows, all_names
from guardrails.sql.params import bind_params, number_params
from guardrails.sql.parse import check_round_trip
from guardrails.sql.probes import HIDDEN_META, ROW_ALIAS, Hidden, IsMaskedText, move_probes
from guardrails.sql.resolve import Resolved
from guardrails.sql.returning import keep_returned_order, mask_returning
from guardrails.sql.sources import relation_of
from guardrails.sql.writes import TARGET_META

__all__ = ["Rewritten", "rewrite"]

MaskSql = Callable[[Mask, Column], MaskExpression]

_MAX_REPLACED = 500


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What runs: `params` by name in placeholder order; `reads` are the columns that the text itself reads; `settings` go before it.

    `probes` counts the questions about real values of protected columns, where the policy lets any be asked. `index_use` and
    `is_grouped_by_sorting`: see `Plan`.
    """

    sql: str
    params: Mapping[str, Value]
    reads: tuple[ColumnRef, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    probes: int = 0
    index_use: IndexUse = "bitmap"
    is_grouped_by_sorting: bool = False


def rewrite(
    resolved: Resolved,
    obligations: Obligations,
    catalog: Catalog,
    mask_sql: MaskSql,
    *,
    is_masked_text: IsMaskedText = lambda _kind, _text: False,
    placements: Placements | None = None,
) -> Rewritten:
    """Builds the text that fulfils the obligations.

    Args:
        resolved: From `guardrails.sql.resolve`.
        obligations: Masks and row filters; limits are the engine's.
        catalog: The catalog that the statement was resolved against.
        mask_sql: Gives a mask as SQL of the dialect for a column.
        is_masked_text: Tells texts that a mask made, which match the masked value wherever the real one may be asked for.
        placements: What the database itself holds, verified; what it does not hold stands in the text.

    Raises:
        StatementError: It sets off unknown code (``sql.effects_unknown``), an obligation cannot be fulfilled for this statement
            (codes `mask.*`, `policy.row_filter_invalid`), the parameters do not fit (``sql.params_mismatch``), or the text does not
            parse to the same tree (``sql.roundtrip``).
    """
    require_known_effects(resolved.access, catalog)
    rewriter = _Rewriter(resolved, obligations, catalog, mask_sql, placements or Placements())
    check_change(resolved, obligations, rewriter.filter_columns)
    tree = resolved.tree.copy()
    # Before the guard's own placeholders are in the tree, so that the agent cannot name one of them.
    params = bind_params(tree, resolved.statement.params)
    probes = rewriter.ask_real(tree, params, is_masked_text)
    rewriter.protect(tree)
    rewriter.describe_schema(tree)
    rewriter.guard_targets(tree)
    rewriter.mask_returning(tree)
    params |= rewriter.bindings
    if resolved.explain is not None and (probes or not rewriter.is_plan_blind):
        # Estimates come from the statistics of what is stored, and bound keys are written out.
        raise StatementError("mask.unsupported", "The plan would tell of values that are masked, or of rows that are hidden.")
    if resolved.dialect.placeholders == "numbered":
        params = number_params(tree, params)
    sql = check_round_trip(tree, resolved.dialect)
    sql = f"{resolved.explain} {sql}" if resolved.explain is not None else sql
    reads = tuple(sorted(set(resolved.access.reads) | rewriter.reads))
    touched = frozenset(u.relation for u in resolved.access.relations)
    use = index_use(obligations, catalog, rewriter.filter_columns, touched)
    is_sorting = do_groups_tell(tree, resolved.access, obligations)
    return Rewritten(sql, params, reads, rewriter.settings, probes, use, is_sorting)


@dataclass(slots=True)
class _Rewriter:
    resolved: Resolved
    obligations: Obligations
    catalog: Catalog
    mask_sql: MaskSql
    placements: Placements
    settings: dict[str, str] = field(default_factory=dict)
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
        return frozenset(ColumnRef(f.relation, c) for f in self.obligations.row_filters for c in self._parsed(f).columns)

    def ask_real(self, tree: exp.Expr, params: Mapping[str, Value], is_masked_text: IsMaskedText) -> int:
        """Lets conditions and aggregates see real values where the policy does; returns how many probes that takes."""
        masks = {m.column: m for m in self.obligations.masks if m.predicate != "masked" or m.min_group}
        if not masks or not self.dialect.is_executed or not self.resolved.access.is_read_only:
            return 0
        hidden = Hidden(masks, self.catalog, self.dialect, params, is_masked_text)
        move_aggregates(tree, hidden)
        move_probes(tree, hidden)
        return hidden.probes

    def protect(self, tree: exp.Expr) -> None:
        """Replaces every reference to a protected relation by its protecting subquery."""
        if self.dialect.keeps_dependency:
            for select in list(tree.find_all(exp.Select)):
                keep_functional_dependency(select, lambda key: self._is_replaced(key), self.catalog)
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
            elif self._is_replaced(key):
                hidden = table.meta.get(HIDDEN_META, ())
                query = self._protected(key, relation, self._base(relation), hidden, is_whole=_is_renamed(table))
                self._replace(table, query)

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

    def mask_returning(self, tree: exp.Expr) -> None:
        """Gives back masked values of changed rows, in an order that tells nothing."""
        masks: dict[str, dict[str, Mask]] = {}
        for mask in self.obligations.masks:
            masks.setdefault(mask.column.relation, {})[mask.column.column] = mask

        def masked(mask: Mask, reference: exp.Column) -> exp.Expr:
            columns = self.catalog.relations[mask.column.relation].columns
            return self._masked(mask, next(c for c in columns if c.name == mask.column.column), reference)

        keep_returned_order(tree, masks, self.catalog, self.dialect)
        mask_returning(tree, masks, masked)

    def _is_protected(self, key: str) -> bool:
        return any(m.column.relation == key for m in self.obligations.masks) or any(
            f.relation == key for f in self.obligations.row_filters
        )

    def _masked_in(self, key: str) -> set[str]:
        return {m.column.column for m in self.obligations.masks if m.column.relation == key}

    def _is_replaced(self, key: str) -> bool:
        """Whether the relation is protected, or has columns of the guard's own, which a whole row would show."""
        return self._is_protected(key) or any(self.catalog.key(*c.base) == key for c in self.catalog.placed_columns)

    def _view(self, key: str, relation: Relation) -> exp.Expr:
        if relation.kind == "materialized_view":
            raise StatementError("mask.unsupported", f"The materialized view {key} holds protected data.")
        tree = self.resolved.views[key].tree.copy()
        self.protect(tree)
        self.reads |= set(self.resolved.views[key].reads)
        inner = exp.Subquery(this=tree, alias=_alias(ROW_ALIAS))
        return self._protected(key, relation, inner, is_whole=True) if self._is_protected(key) else tree

    def _base(self, relation: Relation) -> exp.Table:
        table = exp.Table(
            this=exp.to_identifier(relation.name, quoted=True),
            db=exp.to_identifier(relation.schema, quoted=True) if relation.schema else None,
            alias=_alias(ROW_ALIAS),
        )
        key = self.catalog.key(relation.schema, relation.name)
        masked = self._masked_in(key)
        if self.dialect.index_hint == "ignored":
            ignore_indexes(table, relation, masked)
        if self.dialect.index_hint == "not_indexed" and masked & relation.indexed_columns:
            # A scan of a covering index would return the rows in the order of the protected column.
            table.set("indexed", False)
        if self.dialect.index_hint == "refused" and masked & (relation.indexed_columns | set(relation.primary_key)):
            raise StatementError("mask.unsupported", f"An index over a protected column of {key} may order its rows.")
        return table

    def _protected(
        self, key: str, relation: Relation, source: exp.Expr, hidden: Sequence[exp.Expr] = (), *, is_whole: bool
    ) -> exp.Select:
        """Returns the query that stands for a relation: of the columns that the statement reads, or of all where their number counts."""
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
            raise StatementError("mask.unsupported", f"A protected column of {key} decides where its rows are stored.")
        columns: list[exp.Expr] = []
        read = {c.column for c in self.resolved.access.reads if c.relation == key}
        # One at least, as of `count(*)`: what it holds is never asked for.
        read = read or {min((c.name for c in relation.columns), key=lambda name: name in masks)}
        for column in relation.columns:
            mask = masks.get(column.name)
            is_read = column.name in read
            if mask is not None and (mask.kind == "deny" or not (is_read or self.dialect.is_executed)):
                continue
            if not (is_read or is_whole) and self.dialect.is_executed:
                continue
            self.reads.add(ColumnRef(key, column.name))
            value: exp.Expr = _column(column.name)
            if mask is not None:
                value = self._masked(mask, column)
            columns.append(exp.Alias(this=value, alias=exp.to_identifier(column.name, quoted=True)))
        columns += hidden
        select = exp.Select(expressions=columns, from_=exp.From(this=source))
        row_filter = [f for f in self.obligations.row_filters if f.relation == key]
        self.reads |= {ColumnRef(key, c) for f in row_filter for c in self._parsed(f).columns}
        barrier = self._barrier(row_filter, relation) if isinstance(source, exp.Table) else None
        if barrier is not None:
            source.set("db", exp.to_identifier(BARRIER_SCHEMA, quoted=True))
            source.set("this", exp.to_identifier(barrier.name, quoted=True))
        elif row_filter:
            predicates = [exp.Paren(this=self._predicate(f).tree(ROW_ALIAS)) for f in row_filter]
            visible = exp.and_(*predicates, copy=False) if len(predicates) > 1 else predicates[0]
            select.set("where", exp.Where(this=visible))
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
            # The statistics of a generated column tell of hidden rows as any other's do.
            if column.alias not in masks or isinstance(column.this, exp.Column):
                column.this.replace(exp.Case(ifs=[exp.If(this=visible.copy(), true=column.this.copy())]))

    def _masked(self, mask: Mask, column: Column, reference: exp.Column | None = None) -> exp.Expr:
        placed = self.placements.columns.get(mask) if reference is None else None
        if placed is not None:
            return _column(placed)
        expression = self.mask_sql(mask, column)
        self.bindings |= dict(expression.bindings)
        return masked_column(expression, reference or _column(column.name), self.dialect.name)

    def _barrier(self, filters: Sequence[RowFilter], relation: Relation) -> Barrier | None:
        """The view that holds these filters, with the principal's values among the settings; None where the text must hold them."""
        barrier = self.placements.barriers.get((filters[0].relation, tuple(f.predicate for f in filters))) if filters else None
        settings = barrier.settings(filters, relation) if barrier is not None else None
        if settings is None or any(self.settings.get(name, text) != text for name, text in settings.items()):
            return None
        self.settings |= settings
        return barrier

    def _parsed(self, row_filter: RowFilter) -> Predicate:
        return parse_predicate(row_filter, self.catalog.relations[row_filter.relation], self.dialect)

    def _predicate(self, row_filter: RowFilter) -> Predicate:
        predicate = self._parsed(row_filter)
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


def _is_renamed(table: exp.Table) -> bool:
    """Whether its columns get other names by their place."""
    alias = table.args.get("alias")
    return alias is not None and bool(alias.args.get("columns"))


def _number(value: int) -> exp.Expr:
    number = exp.Literal.number(abs(value))
    return exp.Neg(this=number) if value < 0 else number


def _alias(name: str) -> exp.TableAlias:
    return exp.TableAlias(this=exp.to_identifier(name, quoted=True))


def _column(name: str) -> exp.Column:
    return exp.Column(this=exp.to_identifier(name, quoted=True), table=exp.to_identifier(ROW_ALIAS, quoted=True))
