"""A second opinion from PostgreSQL's own parser (libpg_query), off unless asked for; needs the extra ``crosscheck``.

What the guard's one parser understood decides everything. Here the engine's real grammar reads both the agent's text and the text
that would run, and they must agree about what matters for a permit: one statement, its kinds down to every subquery and common table
expression, the relations that it names, and the functions that it calls. It can only refuse, never allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from guardrails.errors import StatementError, UsageError
from guardrails.model import Access, Catalog
from guardrails.sql.metadata import described_names
from guardrails.sql.params import bind_params, number_params
from guardrails.sql.parse import generate
from guardrails.sql.resolve import Resolved

__all__ = ["Outline", "cross_check", "hold", "outline"]

Node: TypeAlias = Any
"""libpg_query's JSON: dictionaries with one key, the node's type, and lists of them."""

_SYNTAX_CALLS: dict[str, str] = {
    "btrim": "trim",
    "ltrim": "trim",
    "rtrim": "trim",
    "like_escape": "",
    "similar_to_escape": "",
    "timezone": "",
}
"""Functions that the grammar calls for a syntax of SQL's own, by the word that is written; an operator has none."""
_KINDS = frozenset({"select", "insert", "update", "delete", "merge"})
_WRITES = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}


@dataclass(slots=True)
class Outline:
    """What a statement names.

    Args:
        kinds: How often each kind of statement occurs in it; `SelectStmt` counts once for a set operation with its arms.
        relations: (schema or None, name) of each relation, without common table expressions.
        functions: Names of the functions called, as they are written but for case, with their schema unless it is the system's.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    relations: set[tuple[str | None, str]] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)


def outline(sql: str) -> Outline:
    """Parses a statement as PostgreSQL does.

    Args:
        sql: One statement.

    Raises:
        StatementError: PostgreSQL's grammar does not take it, or takes it for none or several (``sql.parsers_disagree``).
        UsageError: The extra is not installed (``usage.extra_missing``).
    """
    try:
        import pgparse
    except ImportError:
        raise UsageError(
            "usage.extra_missing", "The cross-check needs pgparse.", hint="Install guardrails-sql[crosscheck]."
        ) from None
    try:
        statements = pgparse.parse(sql)
    except (pgparse.PGQueryError, RecursionError, ValueError):
        raise _disagreement("does not parse") from None
    if len(statements) != 1:
        raise _disagreement("is not one statement")
    made = Outline()
    try:
        _walk(statements[0]["stmt"], frozenset(), made)
    except RecursionError:
        raise _disagreement("is nested too deeply") from None
    return made


def cross_check(resolved: Resolved, catalog: Catalog) -> None:
    """Holds PostgreSQL's reading of a statement, and of its regenerated text, against what was resolved.

    Args:
        resolved: A query or a change of data of PostgreSQL's dialect; anything else is left alone.
        catalog: What it was resolved against.

    Raises:
        StatementError: They differ (``sql.parsers_disagree``).
        UsageError: The extra is not installed (``usage.extra_missing``).
    """
    access, dialect = resolved.access, resolved.dialect
    if dialect.name != "postgres" or access.kind not in _KINDS:
        return
    tree = resolved.tree.copy()
    number_params(tree, bind_params(tree, resolved.statement.params))
    asked, answered = outline(_numbered(resolved)), outline(generate(tree, dialect))
    hold(asked, answered, access, catalog.default_schema, described=described_names(resolved.tree))


def hold(
    asked: Outline, answered: Outline, access: Access, default_schema: str, *, described: frozenset[str] = frozenset()
) -> None:
    """Compares what the agent's text and the regenerated one name, with each other and with what was resolved.

    `described` are the relations among them that describe the schema, as they are written.

    Raises:
        StatementError: They differ (``sql.parsers_disagree``).
    """
    writes = {kind: n for kind, n in asked.kinds.items() if kind in _WRITES}
    if writes != {kind: n for kind, n in answered.kinds.items() if kind in _WRITES}:
        raise _disagreement("changes something else")
    if bool(writes) == access.is_read_only or set(asked.kinds) != set(answered.kinds):
        raise _disagreement("is of another kind")
    named = described | {u.relation for u in access.relations if u.via is None}
    for found in (asked, answered):
        keys = {name if schema in (None, default_schema) else f"{schema}.{name}" for schema, name in found.relations}
        if keys != named:
            raise _disagreement("names other relations")
    known = set(access.functions) | {""}
    if not all(name in known or _SYNTAX_CALLS.get(name, name) in known for name in asked.functions | answered.functions):
        raise _disagreement("calls other functions")


def _numbered(resolved: Resolved) -> str:
    """The agent's text with `$1` for each named placeholder, which PostgreSQL does not have."""
    sql = resolved.statement.sql
    names = {str(p.this) for p in resolved.tree.find_all(exp.Placeholder)}
    if not names:
        return sql
    parts, position = [], 0
    tokens = resolved.dialect.tokens(sql)
    for colon, name in pairwise(tokens):
        if colon.token_type is TokenType.COLON and name.start == colon.end + 1 and name.text in names:
            parts += [sql[position : colon.start], "$1"]
            position = name.end + 1
    return "".join([*parts, sql[position:]])


def _walk(node: Node, ctes: frozenset[str], made: Outline) -> None:
    if isinstance(node, list):
        for item in node:
            _walk(item, ctes, made)
    elif isinstance(node, dict):
        for kind, value in node.items():
            if kind.endswith("Stmt") and isinstance(value, dict):
                _statement(kind, value, ctes, made)
            elif kind == "RangeVar":
                _relation(value, ctes, made)
            else:
                if kind == "FuncCall":
                    made.functions.add(_name(value["funcname"]))
                _walk(value, ctes, made)


def _statement(kind: str, value: dict[str, Node], ctes: frozenset[str], made: Outline) -> None:
    made.kinds[kind] += 1
    inner = _with_clause(value.get("withClause"), ctes, made)
    for name, part in value.items():
        if name == "withClause":
            continue
        if name == "relation" and isinstance(part, dict):
            # The target of a change is a relation, whatever common table expressions are called.
            _relation(part, frozenset(), made)
        elif name in ("larg", "rarg"):
            # The arms of a set operation stand there without their type.
            _statement("SelectStmt", part, inner, made)
            made.kinds["SelectStmt"] -= 1
        else:
            _walk(part, inner, made)


def _with_clause(clause: dict[str, Node] | None, ctes: frozenset[str], made: Outline) -> frozenset[str]:
    if clause is None:
        return ctes
    expressions = [cte["CommonTableExpr"] for cte in clause["ctes"]]
    if clause.get("recursive"):
        ctes |= {cte["ctename"] for cte in expressions}
    for cte in expressions:
        _walk(cte["ctequery"], ctes, made)
        ctes |= {cte["ctename"]}
    return ctes


def _relation(value: dict[str, Node], ctes: frozenset[str], made: Outline) -> None:
    schema = value.get("schemaname")
    if schema is not None or value["relname"] not in ctes:
        made.relations.add((schema, value["relname"]))


def _name(parts: list[Node]) -> str:
    names = list(_strings(parts))
    return names[-1] if len(names) == 1 or names[:-1] == ["pg_catalog"] else ".".join(names)


def _strings(parts: list[Node]) -> Iterator[str]:
    for part in parts:
        yield part["String"]["sval"]


def _disagreement(what: str) -> StatementError:
    return StatementError(
        "sql.parsers_disagree", f"For PostgreSQL's own parser the statement {what}.", hint="Write it in a plainer form."
    )
