"""Resolution: every relation and column of a statement to the catalog, and with it what the statement really does.

The tree is rewritten on the way so that the engine cannot read a name otherwise: base relations are qualified with their schema, every
column with its source's alias, common table expressions get fresh names, stars are spelled out and the result's labels are pinned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from sqlglot import exp

from guardrails.errors import CatalogError, StatementError
from guardrails.model import (
    Access,
    Catalog,
    ColumnRef,
    DialectName,
    Limits,
    OutputColumn,
    Relation,
    RelationUse,
    Statement,
    StatementKind,
)
from guardrails.sql.definitions import DefinitionResolver
from guardrails.sql.dialects import EngineDialect, dialect_of
from guardrails.sql.fingerprint import normalised_text
from guardrails.sql.labels import projection_texts
from guardrails.sql.parse import Parsed, parse
from guardrails.sql.query import QueryResolver
from guardrails.sql.scope import Output
from guardrails.sql.tells import probes_of
from guardrails.sql.views import ViewDefinition, ViewLookup

__all__ = ["Resolved", "relation_access", "resolve", "view_lookup"]

_OF_VIEWS = Limits(statement_bytes=1_000_000, tokens=50_000)
"""A view's definition is the owner's."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A statement whose every name is bound.

    Args:
        statement: What the agent wrote.
        dialect: The engine's rules.
        tree: The qualified tree; tables carry their relation key in `meta`.
        access: What the statement does.
        normalised: The text with literals replaced, for the ledger.
        views: The views that it reads, by relation key, as resolved trees.
        explain: The words of EXPLAIN that stand before it, None when it is to run.
        returned: Columns that nothing but the RETURNING of a change reads.
    """

    statement: Statement
    dialect: EngineDialect
    tree: exp.Expr
    access: Access
    normalised: str
    views: Mapping[str, ViewDefinition] = field(default_factory=dict)
    explain: str | None = None
    returned: frozenset[ColumnRef] = frozenset()


def resolve(parsed: Parsed, catalog: Catalog) -> Resolved:
    """Binds every name of a parsed statement to the catalog.

    Args:
        parsed: From `guardrails.sql.parse`.
        catalog: The schema of the database that it would run on.

    Raises:
        StatementError: A relation or column is unknown or ambiguous, or a construct cannot be resolved.
        CatalogError: A view's definition is not understood (``sql.view_opaque``).
    """
    tree = parsed.tree.copy()
    views = _Views(parsed.dialect, catalog)
    resolver = DefinitionResolver(parsed.dialect, catalog, views.definition)
    resolver.may_read_schema = True
    texts = projection_texts(parsed.statement.sql, parsed.tokens)
    try:
        outputs = resolver.statement(tree, texts)
    except RecursionError:
        raise StatementError("sql.too_deep", "The statement is nested too deeply.") from None
    access = _access(tree, parsed.kind, resolver, outputs)
    return Resolved(
        parsed.statement,
        parsed.dialect,
        tree,
        access,
        normalised_text(parsed.tokens),
        dict(views.known),
        parsed.explain,
        resolver.reads_returned,
    )


def relation_access(catalog: Catalog, key: str) -> Access:
    """Returns what reading every column of one relation does.

    Args:
        catalog: The schema.
        key: Of the relation.

    Raises:
        CatalogError: A view's definition is not understood (``sql.view_opaque``).
    """
    relation = catalog.relations[key]
    name, schema = (exp.to_identifier(n, quoted=True) for n in (relation.name, relation.schema))
    tree = exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Table(this=name, db=schema)))
    return resolve(Parsed(Statement("", {}, catalog.dialect), dialect_of(catalog.dialect), tree, ()), catalog).access


def view_lookup(dialect: EngineDialect, catalog: Catalog) -> ViewLookup:
    """Returns what gives the resolved definition of a view of the catalog, each resolved once."""
    return _Views(dialect, catalog).definition


def _access(tree: exp.Expr, kind: StatementKind, resolver: DefinitionResolver, outputs: list[Output]) -> Access:
    actions = {u.action for u in resolver.uses if u.via is None} | {kind if kind not in ("explain", "show") else "select"}
    if kind == "explain" and actions != {"select"}:
        raise StatementError("sql.statement_unsupported", "Only queries can be explained.", hint="Use EXPLAIN with a SELECT.")
    if resolver.reads_schema and isinstance(tree, exp.Create) and str(tree.args.get("kind")).upper() == "VIEW":
        raise StatementError("sql.construct_unsupported", "A view of the schema would show to others what this principal sees.")
    return Access(
        kind=kind,
        actions=tuple(sorted(actions)),
        relations=tuple(sorted(resolver.uses, key=lambda u: (u.relation, u.action, u.via or ""))),
        reads=tuple(sorted(resolver.reads)),
        writes=tuple(sorted(resolver.writes)),
        functions=tuple(sorted(resolver.functions)),
        returned=tuple(OutputColumn(o.name, tuple(sorted(o.lineage))) for o in outputs if kind != "explain"),
        filtered=tuple(sorted(resolver.clauses["filtered"])),
        joined=tuple(sorted(resolver.clauses["joined"])),
        grouped=tuple(sorted(resolver.clauses["grouped"])),
        ordered=tuple(sorted(resolver.clauses["ordered"])),
        has_tautology=resolver.has_tautology,
        has_cross_join=resolver.has_cross_join,
        is_restricted=resolver.is_restricted,
        has_where=tree.args.get("where") is not None,
        has_limit=tree.args.get("limit") is not None,
        reads_schema=resolver.reads_schema,
        probes=tuple(sorted(probes_of(resolver.changes, resolver.catalog))),
        flows=tuple(sorted(resolver.flows)),
    )


class _Views:
    """Resolves view definitions on demand, each once; a view that reaches itself is refused."""

    def __init__(self, dialect: EngineDialect, catalog: Catalog) -> None:
        self._dialect = dialect
        self._catalog = catalog
        self._open: set[str] = set()
        self.known: dict[str, ViewDefinition] = {}

    def definition(self, key: str, relation: Relation) -> ViewDefinition:
        if key not in self.known:
            if key in self._open or relation.definition is None:
                raise CatalogError("sql.view_opaque", f"The definition of the view {key} is not known.")
            self._open.add(key)
            try:
                self.known[key] = self._resolve(key, relation, relation.definition)
            except StatementError as error:
                raise CatalogError(
                    "sql.view_opaque",
                    f"The definition of the view {key} is not understood.",
                    evidence={"view": key, "cause": error.code, "message": error.message},
                ) from error
            finally:
                self._open.discard(key)
        return self.known[key]

    def _resolve(self, key: str, relation: Relation, definition: str) -> ViewDefinition:
        tree = _parsed_view(definition, self._dialect.name).copy()
        resolver = QueryResolver(self._dialect, self._catalog, self.definition)
        outputs = resolver.query(tree, None, {}, labels=relation.column_names)
        if len(outputs) != len(relation.columns):
            raise StatementError("sql.view_opaque", f"The view {key} has other columns than its definition.")
        uses = {RelationUse(u.relation, u.action, key) for u in resolver.uses}
        return ViewDefinition(
            key, tree, tuple(outputs), frozenset(uses), frozenset(resolver.reads), frozenset(resolver.functions)
        )


@lru_cache(maxsize=512)
def _parsed_view(definition: str, dialect: DialectName) -> exp.Expr:
    """Parses a view's definition once; the tree is for copying."""
    return parse(Statement(definition, {}, dialect), _OF_VIEWS).tree
