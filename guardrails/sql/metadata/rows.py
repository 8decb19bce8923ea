"""The rows that describe what one principal may see of a schema, as a query without relations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, DialectName
from guardrails.sql.conditions import conjuncts
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.metadata import arguments_of, column_names
from guardrails.sql.metadata.base import Cell, Entry, Field, FieldType, SchemaRelation, Seen

__all__ = ["Rows", "all_names"]

_ROWS = "gr_rows"
_ARGUMENT = "gr_argument"
"""Column of what a function's argument selects by, where the engine compares."""
_TYPES: Mapping[DialectName, Mapping[FieldType, str]] = {
    "duckdb": {"name": "TEXT", "text": "TEXT", "flag": "TEXT", "number": "INT"},
    "postgres": {"name": "NAME", "text": "VARCHAR", "flag": "VARCHAR", "number": "INT"},
}
"""What values are cast to, where a literal or NULL alone would be of another type."""
_COLLATIONS: Mapping[DialectName, Mapping[FieldType, str]] = {"postgres": {"text": "C", "flag": "C"}}
"""How the engine's own relations sort text, where it is not how it sorts literals."""
_COMPARED_EXACTLY = {"duckdb", "postgres", "sqlite"}
"""Engines whose text is equal only letter by letter."""
_LONGEST_NAME = 60
"""Beyond some length a constant is cut off like a name (PostgreSQL)."""


class Rows:
    """Writes the rows of one statement's references to the schema.

    Args:
        dialect: The engine's rules.
        catalog: The schema.
        visible: Relation keys with the columns that may be seen; None when nobody has said.
        used: Every name in the statement: columns of other names are left out.

    Raises:
        StatementError: Nobody has said what may be seen (``policy.obligation``).
    """

    def __init__(
        self,
        dialect: EngineDialect,
        catalog: Catalog,
        visible: Sequence[tuple[str, Sequence[str]]] | None,
        used: frozenset[str],
    ) -> None:
        if visible is None:
            raise StatementError("policy.obligation", "It is not known what of the schema this principal may see.")
        self._dialect = dialect
        self._catalog = catalog
        self._used = used
        shown = {key: frozenset(columns) for key, columns in visible}
        self._seen = [
            Seen(relation, tuple(c for c in relation.columns if c.name in shown[key]))
            for key, relation in catalog.relations.items()
            if key in shown
        ]

    def query(self, node: exp.Table, relation: SchemaRelation) -> exp.Select:
        """Returns the query that stands for a reference; where its argument depends on the row, the join gets the condition.

        Raises:
            StatementError: The argument names nothing that is seen (``sql.relation_unknown``), or its form is not supported.
        """
        argument, schema = arguments_of(node)
        entries = list(self._entries(relation))
        if isinstance(node.this, exp.Anonymous):
            fold = self._dialect.fold_name
            entries = [e for e in entries if fold(e.relation.schema) == fold(schema or self._catalog.default_schema)]
        if (argument is None) != (relation.argument is None) and isinstance(node.this, exp.Anonymous):
            raise StatementError("sql.construct_unsupported", "The function takes the name of a relation.")
        if isinstance(argument, exp.Literal):
            entries = self._selected(entries, relation, argument.name)
            argument = None
        fields = self._fields(node, relation)
        if argument is not None and relation.argument is not None:
            fields[_ARGUMENT] = Field("name", relation.argument)
        entries = self._wanted(entries, node, fields)
        source = _free_name(argument)
        rows = [tuple(f.value(e) for f in fields.values()) for e in entries]
        query = self._select(fields, list(dict.fromkeys(rows)) if relation.is_distinct else rows, source)
        if argument is not None:
            self._compare(node, query, argument)
        return query

    def _entries(self, relation: SchemaRelation) -> Iterator[Entry]:
        for seen in self._seen:
            yield from relation.entries(seen)

    def _selected(self, entries: list[Entry], relation: SchemaRelation, wanted: str) -> list[Entry]:
        named = [(e, relation.argument(e)) for e in entries if relation.argument is not None]
        if relation.is_pattern:
            return [e for e, name in named if _is_like(name, wanted)]
        fold = str if self._dialect.are_relations_exact else self._dialect.fold_name
        found = [e for e, name in named if fold(name) == fold(wanted)]
        if not found and relation.is_strict:
            raise StatementError("sql.relation_unknown", f"There is no relation {wanted[:80]}.")
        return found

    def _wanted(self, entries: list[Entry], node: exp.Table, fields: Mapping[str, Field]) -> list[Entry]:
        """Leaves rows out that WHERE would, by a column that must equal a constant; the condition itself stays."""
        query = node.find_ancestor(exp.Select, exp.Update, exp.Delete, exp.Insert, exp.Merge)
        if (
            not isinstance(query, exp.Select)
            or self._dialect.name not in _COMPARED_EXACTLY
            or node.args["alias"].args.get("columns")
        ):
            return entries
        for term in conjuncts(query.args.get("where")):
            column, value = (term.this, term.expression) if isinstance(term, exp.EQ) else (None, None)
            if not isinstance(column, exp.Column) or not isinstance(value, exp.Literal) or not value.is_string:
                continue
            field = fields.get(column.name) if column.table == node.alias else None
            if field is not None and field.type != "number" and field.function is None and len(value.name) < _LONGEST_NAME:
                entries = [e for e in entries if field.value(e) == value.name]
        return entries

    def _fields(self, node: exp.Table, relation: SchemaRelation) -> dict[str, Field]:
        fields = dict(zip(column_names(node, relation, self._catalog), relation.fields.values(), strict=True))
        alias = node.args.get("alias")
        if (alias is not None and alias.args.get("columns")) or not self._used:
            return fields
        return {n: f for n, f in fields.items() if n in self._used} or dict(list(fields.items())[:1])

    def _select(self, fields: Mapping[str, Field], rows: list[tuple[Cell, ...]], source: str) -> exp.Select:
        kept = rows or [(None,) * len(fields)]
        # What is the same in every row stands once, beside the rows; a row has at least one column.
        varying = [i for i, column in enumerate(zip(*kept, strict=True)) if len(set(column)) > 1] or [0]
        expressions: list[exp.Expr] = []
        for index, (name, field) in enumerate(fields.items()):
            value = _column(source, f"column{varying.index(index) + 1}") if index in varying else _cell(kept[0][index])
            if field.function is not None:
                value = exp.Anonymous(this=field.function, expressions=[])
            expressions.append(exp.Alias(this=self._typed(value, field.type), alias=exp.to_identifier(name, quoted=True)))
        values = self._values([tuple(row[i] for i in varying) for row in kept], source)
        query = exp.Select(expressions=expressions, from_=exp.From(this=values))
        if not rows:
            query.set("where", exp.Where(this=exp.Boolean(this=False)))
        return query

    def _typed(self, value: exp.Expr, kind: FieldType) -> exp.Expr:
        type_name = _TYPES.get(self._dialect.name, {}).get(kind)
        if type_name is not None:
            value = exp.Cast(this=value, to=exp.DataType(this=exp.DataType.Type[type_name]))
        collation = _COLLATIONS.get(self._dialect.name, {}).get(kind)
        return exp.Collate(this=value, expression=_name(collation)) if collation is not None else value

    def _values(self, rows: list[tuple[Cell, ...]], source: str) -> exp.Expr:
        names = [f"column{i + 1}" for i in range(len(rows[0]))]
        alias = exp.TableAlias(this=_name(source))
        if self._dialect.values_label:
            alias.set("columns", [_name(n) for n in names])
        if self._dialect.name == "mysql":
            # MySQL and MariaDB write the rows of VALUES each in their own way.
            first, *others = rows
            tree: exp.Expr = exp.Select(
                expressions=[exp.Alias(this=_cell(c), alias=_name(n)) for c, n in zip(first, names, strict=True)]
            )
            for row in others:
                tree = exp.Union(this=tree, expression=exp.Select(expressions=[_cell(c) for c in row]), distinct=False)
            return exp.Subquery(this=tree, alias=alias)
        return exp.Values(expressions=[exp.Tuple(expressions=[_cell(c) for c in row]) for row in rows], alias=alias)

    def _compare(self, node: exp.Table, query: exp.Select, argument: exp.Expr) -> None:
        """Lets the engine hold the rows against an argument that is no constant."""
        name = query.expressions[-1]
        join = node.parent
        if not isinstance(join, exp.Join) or argument.find(exp.Column) is None:
            query.set("where", exp.Where(this=self._equal(name.this, argument)))
            return
        if join.args.get("using"):
            message = "USING joins a function whose argument depends on the row."
            raise StatementError("sql.construct_unsupported", message, hint="Use ON.")
        condition = self._equal(_column(node.alias, _ARGUMENT), argument)
        on = join.args.get("on")
        join.set("on", exp.and_(condition, on.copy(), copy=False) if on is not None else condition)

    def _equal(self, left: exp.Expr, right: exp.Expr) -> exp.Expr:
        left, right = left.copy(), right.copy()
        if self._dialect.name == "sqlite":
            left = exp.Collate(this=left, expression=exp.Var(this="NOCASE"))
        return exp.EQ(this=left, expression=right if isinstance(right, exp.Subquery) else exp.Paren(this=right))


def all_names(tree: exp.Expr) -> frozenset[str]:
    """Returns every name in a resolved statement; empty when a whole row stands in it, in which names do not show."""
    sources = {t.alias_or_name for t in tree.find_all(exp.Table, exp.Subquery)}
    for column in tree.find_all(exp.Column):
        if isinstance(column.this, exp.Star) or (not column.table and column.name in sources):
            return frozenset()
    return frozenset(i.name for i in tree.find_all(exp.Identifier))


def _free_name(argument: exp.Expr | None) -> str:
    """A name for the rows that means nothing else in the argument, which may look at what is around it."""
    taken = {i.name for i in argument.find_all(exp.Identifier)} if argument is not None else set()
    name = _ROWS
    while name in taken:
        name += "_"
    return name


def _is_like(name: str, pattern: str) -> bool:
    """Whether a name is LIKE a pattern, letter by letter; the places in the pattern are walked side by side, in bounded time."""
    pattern = re.sub("%+", "%", pattern)
    if len(pattern.replace("%", "")) > len(name):
        return False
    places = _after_any({0}, pattern)
    for letter in name:
        stay = {p for p in places if pattern[p : p + 1] == "%"}
        places = _after_any(stay | {p + 1 for p in places - stay if pattern[p : p + 1] in ("_", letter)}, pattern)
    return len(pattern) in places


def _after_any(places: set[int], pattern: str) -> set[int]:
    """Adds the places behind each `%`, which may stand for nothing."""
    return places | {place + 1 for place in places if pattern[place : place + 1] == "%"}


def _cell(value: Cell) -> exp.Expr:
    if value is None:
        return exp.Null()
    return exp.Literal.string(value) if isinstance(value, str) else exp.Literal.number(str(value))


def _name(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)


def _column(table: str, name: str) -> exp.Column:
    return exp.Column(this=_name(name), table=_name(table))
