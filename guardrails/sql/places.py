"""Which words of a statement's text name which relations and columns, as the resolver itself found it.

For people who look at a statement: a page can then show what happens to each name where it stands. What is derived counts as well, so
that a name of a subquery's column leads to the base columns behind it. Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, ColumnRef, Limits, Relation, Statement
from guardrails.sql.definitions import DefinitionResolver
from guardrails.sql.dialects import EngineDialect, dialect_of
from guardrails.sql.explaining import split_explain
from guardrails.sql.labels import projection_texts
from guardrails.sql.parse import parse_tree
from guardrails.sql.resolve import view_lookup
from guardrails.sql.scope import Clause, Lineage, Output, Scope
from guardrails.sql.showing import read_showing
from guardrails.sql.tokens import tokenize
from guardrails.sql.views import ViewLookup

__all__ = ["NamePlace", "name_places"]


@dataclass(frozen=True, slots=True, order=True)
class NamePlace:
    """A word of the text and what it stands for.

    Args:
        start: Where it begins, in characters from 0.
        end: Where it ends, exclusive.
        relation: Key of the relation that it names, empty where it names columns.
        columns: The base columns that its value derives from, or the column that is assigned; sorted.
        is_assigned: It names what is written.
    """

    start: int
    end: int
    relation: str = ""
    columns: tuple[ColumnRef, ...] = ()
    is_assigned: bool = False


def name_places(statement: Statement, catalog: Catalog, limits: Limits | None = None) -> tuple[NamePlace, ...]:
    """Finds the names of a statement that parses and resolves, in the order of the text; of a statement of SHOW's kind none.

    Args:
        statement: What the agent wrote.
        catalog: The schema that its names are resolved against.
        limits: Bounds of the text, as of `parse`.

    Raises:
        StatementError: It does not parse, or does not resolve.
        CatalogError: A view's definition is not understood.

    Example:
        >>> from guardrails.sql import catalog_from_ddl
        >>> shop = catalog_from_ddl("CREATE TABLE t (a integer, b integer)", "sqlite")
        >>> [(p.start, p.relation or str(p.columns[0])) for p in name_places(Statement("SELECT b AS x FROM t"), shop)]
        [(7, 't.b'), (19, 't')]
    """
    dialect = dialect_of(statement.dialect)
    _, sql = split_explain(statement.sql, dialect.name)
    tokens = tokenize(sql, dialect, limits)
    if read_showing(sql, dialect.name) is not None:
        return ()
    positions = _Positions()
    tree = parse_tree(sql, tokens, dialect, note=positions.read)
    resolver = _PlacingResolver(dialect, catalog, view_lookup(dialect, catalog), positions)
    resolver.may_read_schema = True
    try:
        resolver.statement(tree, projection_texts(sql, tuple(tokens)))
    except RecursionError:
        raise StatementError("sql.too_deep", "The statement is nested too deeply.") from None
    return resolver.found()


class _Positions:
    """Where the nodes of a tree stand; keeps the nodes, so that none takes another's place."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[exp.Expr, int, int]] = {}

    def read(self, tree: exp.Expr) -> None:
        for node in tree.find_all(exp.Identifier, exp.Star):
            start, end = node.meta.get("start"), node.meta.get("end")
            if isinstance(start, int) and isinstance(end, int):
                self._known[id(node)] = node, start, end + 1

    def of(self, node: object) -> tuple[int, int] | None:
        found = self._known.get(id(node))
        return (found[1], found[2]) if found is not None else None


class _PlacingResolver(DefinitionResolver):
    """Resolves as every statement is resolved, and notes what each name came to."""

    def __init__(self, dialect: EngineDialect, catalog: Catalog, views: ViewLookup, positions: _Positions) -> None:
        super().__init__(dialect, catalog, views)
        self._positions = positions
        self._read_at: dict[tuple[int, int], set[ColumnRef]] = {}
        self._named_at: dict[tuple[int, int], str] = {}
        self._assigned_at: dict[tuple[int, int], ColumnRef] = {}

    def found(self) -> tuple[NamePlace, ...]:
        places = [NamePlace(*at, relation=key) for at, key in self._named_at.items()]
        places += [NamePlace(*at, columns=tuple(sorted(columns))) for at, columns in self._read_at.items() if columns]
        places += [
            NamePlace(*at, columns=(column,), is_assigned=column in self.writes) for at, column in self._assigned_at.items()
        ]
        return tuple(sorted(places))

    def bind(self, node: exp.Table) -> tuple[str, Relation]:
        at = self._positions.of(node.this)
        key, relation = super().bind(node)
        if at is not None:
            self._named_at[at] = key
        return key, relation

    def own_column(self, identifier: exp.Expr, relation: Relation) -> str:
        name = super().own_column(identifier, relation)
        at = self._positions.of(identifier.this if isinstance(identifier, exp.Column) else identifier)
        if at is not None:
            self._assigned_at[at] = ColumnRef(self.catalog.key(relation.schema or None, relation.name), name)
        return name

    def _column(self, node: exp.Column, scope: Scope) -> Lineage:
        at = self._positions.of(node.this)
        return self._note(at, super()._column(node, scope))

    def _field(self, node: exp.Dot, scope: Scope) -> Lineage:
        at = self._positions.of(node.expression)
        return self._note(at, super()._field(node, scope))

    def _star(self, item: exp.Expr, scope: Scope) -> list[tuple[exp.Expr, Output]] | None:
        star = item.this if isinstance(item, exp.Column) else item
        found = super()._star(item, scope)
        for _, output in found or ():
            self._note(self._positions.of(star), output.lineage)
        return found

    def _keys(
        self,
        keys: Iterable[exp.Expr],
        scope: Scope,
        clause: Clause,
        outputs: Sequence[Output] = (),
        *,
        names_first: bool = True,
    ) -> None:
        keys = list(keys)
        for key in keys:
            # A name of the result is not resolved as a column; one that is a column will be.
            if isinstance(key, exp.Column) and not key.table and isinstance(key.this, exp.Identifier):
                name = self.dialect.fold(key.this)
                is_input = any(name in source.columns for source in scope.sources.values())
                if name in scope.names and (names_first or not is_input) and not scope.are_names_mixed:
                    self._note(self._positions.of(key.this), scope.names[name])
        super()._keys(keys, scope, clause, outputs, names_first=names_first)

    def _join(self, join: exp.Join, scope: Scope) -> None:
        using = [name if isinstance(name, exp.Identifier) else name.this for name in join.args.get("using") or []]
        keys = [(self._positions.of(name), self.dialect.fold(name)) for name in using]
        super()._join(join, scope)
        for at, key in keys:
            merged = next((column for column in scope.star if column.key == key and column.alias is None), None)
            if merged is not None:
                self._note(at, merged.output.lineage)

    def _note(self, at: tuple[int, int] | None, lineage: Lineage) -> Lineage:
        if at is not None:
            self._read_at.setdefault(at, set()).update(lineage)
        return lineage
