"""Queries that show which rows a change would change, with their values before and after: for a person who is asked to approve it.

A query is made of what the agent wrote, restricted to the rows that the requester may see, and is text like an agent's: whoever looks
has it judged under rights of their own. Values that only the running change can tell (defaults, what a subquery assigns to several
columns) are left open. Source of the order in which branches of MERGE are tried: SQL:2016, 14.12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, ColumnRef, Params, Relation, RowFilter, Value
from guardrails.sql.changed_rows import Modification, as_table, changed_rows, give_ctes, modifications, target_of
from guardrails.sql.filters import parse_predicate
from guardrails.sql.params import named_params, number_params, placeholder_name
from guardrails.sql.parse import generate
from guardrails.sql.preview_rows import (
    ShownRow,
    assigned_values,
    column,
    computed,
    merged_rows,
    places_of,
    projected,
    with_excluded,
)
from guardrails.sql.resolve import Resolved
from guardrails.sql.sources import relation_of
from guardrails.sql.stated_rows import given_values, stated_value
from guardrails.sql.upserts import conflicting_rows
from guardrails.sql.writes import TARGET_META

__all__ = ["PreviewQuery", "preview_queries"]

Seen = Mapping[str, Sequence[str]]
"""By relation key the columns that the viewer may see."""

_Rows = Callable[[Sequence[exp.Expr]], exp.Select]
_GIVEN, _REQUESTER = "given_", "requester_"
_MOST_COLUMNS = 20


@dataclass(frozen=True, slots=True)
class PreviewQuery:
    """How to see the rows that one change would change.

    Args:
        relation: Key of its target; of a statement that only reads, empty.
        action: `update`, `delete`, `insert` or `select`.
        columns: What is shown, the key's columns first.
        keys: Those of them that are the primary key.
        hidden: Columns that the viewer may not see.
        before: Of each column its place in the query's result, None where there is no row before.
        after: The place of the value afterwards; None where it is not known, or the row is gone.
        sql: The query; empty where the text of the statement tells all.
        params: Its values.
        given: The rows that the text tells, in the order of `columns`.
        uncomputed: Columns of which `given` does not tell every value.
        constants: Values afterwards that the text tells, the same for every row.
        code: Why it cannot be shown, empty where it can; `message` says it in a sentence.
    """

    relation: str
    action: str
    columns: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    before: tuple[int | None, ...] = ()
    after: tuple[int | None, ...] = ()
    sql: str = ""
    params: Params = field(default_factory=dict)
    given: tuple[tuple[Value, ...], ...] = ()
    uncomputed: tuple[str, ...] = ()
    constants: Mapping[str, Value] = field(default_factory=dict)
    code: str = ""
    message: str = ""


def preview_queries(
    resolved: Resolved, catalog: Catalog, row_filters: Sequence[RowFilter], seen: Seen, limit: int
) -> tuple[PreviewQuery, ...]:
    """Returns how to see what a statement would change, one query for each change in it.

    Args:
        resolved: What the agent wrote.
        catalog: The schema that it was resolved against.
        row_filters: Of the requester, with the requester's values.
        seen: What the viewer may see.
        limit: Most rows of each; queries ask for one more, which tells that there are more.
    """
    if resolved.explain is not None:
        return ()
    maker = _Maker(resolved, catalog, tuple(row_filters), seen, limit)
    if resolved.access.is_read_only:
        return (maker.reading(),)
    found: list[PreviewQuery] = []
    for node in modifications(maker.tree):
        try:
            found += maker.of(node)
        except StatementError as error:
            found.append(_unshown(node, error))
    return tuple(found)


class _Maker:
    def __init__(
        self, resolved: Resolved, catalog: Catalog, row_filters: tuple[RowFilter, ...], seen: Seen, limit: int
    ) -> None:
        self._dialect = resolved.dialect
        self._catalog = catalog
        self._filters = row_filters
        self._seen = seen
        self._limit = limit
        self._values: dict[str, Value] = {}
        self.tree = resolved.tree.copy()
        self._reads = frozenset(resolved.access.reads)
        given = named_params(resolved.statement.params)
        for node in list(self.tree.find_all(exp.Placeholder, exp.Parameter)):
            name = placeholder_name(node)
            self._values[_GIVEN + name] = given[name]
            node.replace(exp.Placeholder(this=_GIVEN + name))
        self._filter_sources()

    def reading(self) -> PreviewQuery:
        """The statement itself, where it only reads."""
        rows = exp.Select(expressions=[exp.Star()], from_=exp.From(this=as_table(self.tree)))
        rows.set("limit", self._fetched())
        sql, params = self._written(rows)
        return PreviewQuery("", "select", sql=sql, params=params)

    def of(self, node: Modification) -> Iterator[PreviewQuery]:
        """The queries for one change.

        Raises:
            StatementError: It is none that can be shown (``sql.construct_unsupported``).
        """
        if isinstance(node, exp.Insert):
            yield from self._inserts(node)
        elif isinstance(node, exp.Merge):
            yield from self._merges(node)
        else:
            key, relation = self._relation(node)
            alias = target_of(node).alias_or_name
            row = (
                self._updated(relation, key, alias, assigned_values(node))
                if isinstance(node, exp.Update)
                else self._gone(key, alias)
            )
            action = "update" if isinstance(node, exp.Update) else "delete"
            yield self._query(key, action, row, partial(self._limited, node), node)

    def _relation(self, node: Modification) -> tuple[str, Relation]:
        key = relation_of(target_of(node))
        if key is None:
            raise StatementError("sql.construct_unsupported", "The target of the change is not one plain relation.")
        return key, self._catalog.relations[key]

    def _updated(self, relation: Relation, key: str, alias: str, assigned: Mapping[str, exp.Expr | None]) -> ShownRow:
        wanted = tuple(dict.fromkeys((*relation.primary_key, *assigned)))
        names = self._shown(key, wanted)
        before = tuple(column(name, alias) for name in names)
        after = tuple(assigned[name] if name in assigned else column(name, alias) for name in names)
        return ShownRow(names, before, after, tuple(name for name in wanted if name not in names))

    def _gone(self, key: str, alias: str) -> ShownRow:
        relation = self._catalog.relations[key]
        wanted = tuple(dict.fromkeys((*relation.primary_key, *relation.column_names)))
        seen = self._shown(key, wanted)
        hidden = tuple(name for name in wanted if name not in seen)
        names = seen[:_MOST_COLUMNS]
        return ShownRow(names, tuple(column(name, alias) for name in names), (None,) * len(names), hidden)

    def _shown(self, key: str, names: Sequence[str]) -> tuple[str, ...]:
        seen = set(self._seen.get(key, ()))
        return tuple(name for name in dict.fromkeys(names) if name in seen)

    def _limited(self, node: exp.Update | exp.Delete, shown: Sequence[exp.Expr]) -> exp.Select:
        rows = changed_rows(node, shown)
        if rows.args.get("limit") is None:
            rows.set("limit", self._fetched())
        return rows

    def _inserts(self, node: exp.Insert) -> Iterator[PreviewQuery]:
        key, relation = self._relation(node)
        named = [i.name for i in node.this.expressions] if isinstance(node.this, exp.Schema) else list(relation.column_names)
        names = self._shown(key, named)
        base = PreviewQuery(
            key, "insert", names, _keys(relation, names), tuple(n for n in named if n not in names), (None,) * len(names)
        )
        source = node.args.get("expression")
        if source is None or isinstance(source, exp.Values):
            rows, unknown = given_values(source, named, names, self._values, self._limit + 1)
            yield replace(base, given=rows, uncomputed=unknown, after=tuple(range(len(names))))
        else:
            places = [named.index(name) for name in names]
            query = source.copy()
            give_ctes(query, node, self.tree)
            rows_of = exp.Select(expressions=[exp.Star()], from_=exp.From(this=as_table(query)), limit=self._fetched())
            sql, params = self._written(rows_of)
            yield replace(base, sql=sql, params=params, after=tuple(places))
        conflict = node.args.get("conflict")
        if conflict is not None and conflict.expressions:
            yield self._updates_on_conflict(node, key, relation, named)

    def _updates_on_conflict(self, node: exp.Insert, key: str, relation: Relation, named: Sequence[str]) -> PreviewQuery:
        """Of the rows that are there already, and are updated instead."""
        alias = target_of(node).alias_or_name
        conflict = node.args["conflict"]
        assigned = assigned_values(conflict)
        names = self._shown(key, (*relation.primary_key, *assigned))
        existing = conflicting_rows(node, relation, named, alias, self._limit)

        def rows(given: Mapping[str, exp.Expr], condition: exp.Expr) -> tuple[exp.Select, ShownRow]:
            row = self._updated(relation, key, alias, {n: with_excluded(e, given) for n, e in assigned.items()})
            table = target_of(node).copy()
            table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
            own = conflict.args.get("where")
            if own is not None:
                further = with_excluded(own.this, given)
                if further is None:
                    raise StatementError("sql.construct_unsupported", "A condition of DO UPDATE is not known from the text.")
                condition = exp.And(this=condition, expression=exp.Paren(this=further))
            return exp.Select(from_=exp.From(this=table), where=exp.Where(this=condition)), row

        made = [rows(given, condition) for given, condition in existing]
        if not made:
            message = "Which rows are there already cannot be told from the text."
            return PreviewQuery(key, "update", code="preview.unsupported", message=message)
        # A value is left open in every row, or in none.
        open_ = {i for _, row in made for i, after in enumerate(row.after) if after is None}
        selects: list[exp.Select] = []
        for select, row in made:
            after = tuple(None if i in open_ else e for i, e in enumerate(row.after))
            select.set("expressions", projected(replace(row, after=after)))
            selects.append(select)
        query: exp.Expr = selects[0]
        for select in selects[1:]:
            query = exp.Union(this=query, expression=select, distinct=False)
        last = made[0][1]
        sql, params = self._written(query)
        places = places_of(replace(last, after=tuple(None if i in open_ else e for i, e in enumerate(last.after))))
        hidden = tuple(n for n in dict.fromkeys((*relation.primary_key, *assigned)) if n not in names)
        return PreviewQuery(key, "update", names, _keys(relation, names), hidden, *places, sql, params)

    def _merges(self, node: exp.Merge) -> Iterator[PreviewQuery]:
        key, relation = self._relation(node)
        target, source, on = target_of(node), node.args["using"], node.args["on"]
        tried: dict[tuple[bool, bool], list[exp.Expr]] = {}
        for when in node.args["whens"].expressions:
            kind = bool(when.args.get("matched")), bool(when.args.get("source"))
            own = when.args.get("condition")
            earlier = [exp.Not(this=exp.Is(this=exp.Paren(this=c.copy()), expression=exp.true())) for c in tried.get(kind, [])]
            conditions = [*earlier, *([exp.Paren(this=own.copy())] if own is not None else [])]
            tried.setdefault(kind, []).append(own if own is not None else exp.true())
            then = when.args["then"]
            if isinstance(then, exp.Insert):
                row, action = self._inserted(key, relation, then), "insert"
            elif isinstance(then, exp.Update):
                row, action = self._updated(relation, key, target.alias_or_name, assigned_values(then)), "update"
            elif then.name.lower() == "delete":
                row, action = self._gone(key, target.alias_or_name), "delete"
            else:
                continue
            yield self._query(
                key, action, row, partial(self._of_merge, merged_rows(kind, target, source, on, conditions)), node
            )

    def _of_merge(self, rows: exp.Select, shown: Sequence[exp.Expr]) -> exp.Select:
        rows.set("expressions", list(shown))
        rows.set("limit", self._fetched())
        return rows

    def _inserted(self, key: str, relation: Relation, then: exp.Insert) -> ShownRow:
        named = [c.name for c in then.this.expressions] if then.this is not None else list(relation.column_names)
        values = dict(zip(named, then.args["expression"].expressions, strict=False))
        names = self._shown(key, named)
        hidden = tuple(name for name in named if name not in names)
        return ShownRow(names, (None,) * len(names), tuple(computed(values.get(name)) for name in names), hidden)

    def _query(self, key: str, action: str, row: ShownRow, rows: _Rows, node: Modification) -> PreviewQuery:
        relation = self._catalog.relations[key]
        if not row.columns:
            message = "There is no column of it that the viewer may see."
            return PreviewQuery(key, action, code="preview.hidden", message=message)
        constants: dict[str, Value] = {}
        afters: list[exp.Expr | None] = []
        for name, after in zip(row.columns, row.after, strict=True):
            is_stated, value = stated_value(after, self._values)
            if is_stated:
                constants[name] = value
            afters.append(None if is_stated else after)
        asked = replace(row, after=tuple(afters))
        query = rows(projected(asked) or [exp.Literal.number(1)])
        give_ctes(query, node, self.tree)
        sql, params = self._written(query)
        keys = _keys(relation, row.columns)
        found = PreviewQuery(key, action, row.columns, keys, row.hidden, *places_of(asked), sql, params)
        return replace(found, constants=constants)

    def _filter_sources(self) -> None:
        """Leaves only rows that the requester may see: of every relation that is read, and of those that are changed."""
        by_relation: dict[str, list[RowFilter]] = {}
        for row_filter in self._filters:
            by_relation.setdefault(row_filter.relation, []).append(row_filter)
        if not by_relation:
            return
        for table in list(self.tree.find_all(exp.Table)):
            key = relation_of(table)
            if key in by_relation and not table.meta.get(TARGET_META):
                self._replace_source(table, key, by_relation[key])
        for node in modifications(self.tree):
            if isinstance(node, (exp.Update, exp.Delete)):
                key = relation_of(target_of(node))
                if key in by_relation:
                    self._filter_target(node, self._visible(by_relation[key], target_of(node).alias_or_name))

    def _replace_source(self, table: exp.Table, key: str, filters: Sequence[RowFilter]) -> None:
        relation, alias = self._catalog.relations[key], table.args.get("alias")
        base = exp.Table(
            this=exp.to_identifier(relation.name, quoted=True),
            db=exp.to_identifier(relation.schema, quoted=True) if relation.schema else None,
            alias=exp.TableAlias(this=exp.to_identifier("seen", quoted=True)),
        )
        read = [name for name in relation.column_names if ColumnRef(key, name) in self._reads]
        # One at least, as of `count(*)`.
        columns: list[exp.Expr] = [column(name, "seen") for name in read or relation.column_names[:1]]
        query = exp.Select(expressions=columns, from_=exp.From(this=base), where=exp.Where(this=self._visible(filters, "seen")))
        joins = [j.pop() for j in list(table.args.get("joins") or [])]
        subquery = exp.Subquery(this=query, alias=alias.copy() if alias is not None else None)
        if joins:
            subquery.set("joins", joins)
        table.replace(subquery)

    def _filter_target(self, node: exp.Expr, visible: exp.Expr) -> None:
        where = node.args.get("where")
        own = exp.Paren(this=where.this.copy()) if where is not None else exp.true()
        case = exp.Case(ifs=[exp.If(this=visible, true=own)], default=exp.false())
        node.set("where", exp.Where(this=case))

    def _visible(self, filters: Sequence[RowFilter], alias: str) -> exp.Expr:
        parts: list[exp.Expr] = []
        for row_filter in filters:
            predicate = parse_predicate(row_filter, self._catalog.relations[row_filter.relation], self._dialect)
            tree = predicate.tree(alias)
            holder = exp.Paren(this=tree)
            for node in holder.find_all(exp.Placeholder):
                node.set("this", _REQUESTER + str(node.this))
            self._values |= {_REQUESTER + name: value for name, value in predicate.bindings.items()}
            parts.append(holder)
        return exp.and_(*parts, copy=False) if len(parts) > 1 else parts[0]

    def _fetched(self) -> exp.Limit:
        return exp.Limit(expression=exp.Literal.number(self._limit + 1))

    def _written(self, query: exp.Expr) -> tuple[str, Params]:
        used = {str(n.this): self._values[str(n.this)] for n in query.find_all(exp.Placeholder)}
        if self._dialect.placeholders == "numbered":
            ordered = number_params(query, used)
            return generate(query, self._dialect), list(ordered.values())
        return generate(query, self._dialect), used


def _keys(relation: Relation, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in relation.primary_key if name in names)


def _unshown(node: Modification, error: StatementError) -> PreviewQuery:
    action = {exp.Insert: "insert", exp.Update: "update", exp.Delete: "delete"}.get(type(node), "update")
    table = node.this.this if isinstance(node.this, exp.Schema) else node.this
    key = relation_of(table) if isinstance(table, exp.Table) else None
    return PreviewQuery(key or "", action, code="preview.unsupported", message=error.message)
