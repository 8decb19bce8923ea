"""Text to one checked AST: tokens, grammar, normalisation, the allowlist, and the first round trip.

The agent's text is never executed; what runs is generated from this tree. So that the tree means what the text meant, it must be
equal to what its own generated text parses to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError
from guardrails.model import Limits, Statement, StatementKind
from guardrails.sql.allow import check_nodes
from guardrails.sql.bounds import check_text, check_tree
from guardrails.sql.column_types import restore_type
from guardrails.sql.dialects import EngineDialect, dialect_of
from guardrails.sql.explaining import split_explain
from guardrails.sql.labels_mysql import note_texts, numbered_selects
from guardrails.sql.showing import read_showing, showing_hint
from guardrails.sql.tokens import CROSS_COMMENT, FUNCTION_PREFIX, tokenize

__all__ = ["OPERATOR_META", "Parsed", "check_round_trip", "generate", "parse", "parse_tree"]

OPERATOR_META = "gr_operator"
"""Key in a call's `meta`: it was written as an operator, which has no column name of its own."""

_STATEMENTS = (
    *(exp.Select, exp.Union, exp.Except, exp.Intersect, exp.Values, exp.Subquery),
    *(exp.Insert, exp.Update, exp.Delete, exp.Merge),
    *(exp.Create, exp.Alter, exp.Drop, exp.TruncateTable),
)
# SQLite knows five affinities and takes any word as a type; sqlglot writes some types as others or as functions (`DATE(x)`).
_AFFINITIES: dict[str, exp.DataType] = {
    "NUMERIC": exp.DataType(this=exp.DataType.Type.USERDEFINED, kind="NUMERIC"),
    "TEXT": exp.DataType(this=exp.DataType.Type.TEXT),
}
_AFFINITY_OF = {
    exp.DataType.Type[name]: affinity
    for affinity, names in {
        "NUMERIC": "DECIMAL DATE DATETIME TIMESTAMP BOOLEAN TIME UDECIMAL BIGDECIMAL",
        "TEXT": "TEXT VARCHAR NVARCHAR CHAR NCHAR",
    }.items()
    for name in names.split()
}
_OPERATOR_CALLS: dict[type[exp.Expr], str] = {exp.Pow: "power", exp.StartsWith: "starts_with"}
"""Operators that the parser reads and the generator writes as calls of the function behind them."""
_SIDED_TRIMS = {"LEADING": "ltrim", "TRAILING": "rtrim"}
_FIRST_WORDS = {
    "analyze", "attach", "begin", "call", "checkpoint", "close", "cluster", "comment", "commit", "copy", "deallocate",
    "declare", "desc", "describe", "detach", "discard", "do", "end", "execute", "explain", "fetch", "grant", "import",
    "kill", "listen", "load", "lock", "move", "notify", "pragma", "prepare", "reassign", "refresh", "reindex", "release",
    "replace", "reset", "revoke", "rollback", "savepoint", "security", "set", "show", "start", "unlisten", "use",
    "vacuum",
}  # fmt: skip

_NUMBERED = ("duckdb", "mysql")
"""Labels that come from the text of a column, in subqueries too."""
_SHOWING_WORDS = {"desc", "describe", "pragma", "show"}
_PARSER_ERRORS = (SqlglotError, AttributeError, IndexError, KeyError, TypeError, ValueError)
"""sqlglot's own error, and those that its compiled code lets out for text that no grammar has."""
_VERBS = {"insert", "update", "delete", "merge", "create", "alter", "drop", "truncate"}
_KINDS: dict[type[exp.Expr], StatementKind] = {
    exp.Insert: "insert",
    exp.Update: "update",
    exp.Delete: "delete",
    exp.Merge: "merge",
    exp.Create: "create",
    exp.Alter: "alter",
    exp.Drop: "drop",
    exp.TruncateTable: "truncate",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """One statement as a checked tree.

    Args:
        statement: What the agent wrote.
        dialect: The engine's rules.
        tree: The statement, or the one that is explained.
        tokens: Of the agent's text, for the labels of the result's columns.
        explain: The words of EXPLAIN that stand before it, None when it is to run.
        is_show: It was written as a statement that reads the schema (SHOW, DESCRIBE, PRAGMA), and `tree` is a query of ours for it.
    """

    statement: Statement
    dialect: EngineDialect
    tree: exp.Expr
    tokens: tuple[Token, ...]
    explain: str | None = None
    is_show: bool = False

    @property
    def kind(self) -> StatementKind:
        """The statement's verb."""
        if self.is_show:
            return "show"
        return "explain" if self.explain else _KINDS.get(type(self.tree), "select")


def parse(statement: Statement, limits: Limits | None = None) -> Parsed:
    """Parses one statement and checks that all of it is understood.

    Args:
        statement: What the agent wrote.
        limits: Bounds of text, tokens, depth, joins, common table expressions and lists; the defaults when None.

    Raises:
        StatementError: Not one understood statement; the code says why.
    """
    dialect = dialect_of(statement.dialect)
    limits = limits or Limits()
    check_text(statement.sql, limits)
    explain, sql = split_explain(statement.sql, dialect.name)
    tokens = tokenize(sql, dialect, limits)
    shown = read_showing(sql, dialect.name) if explain is None else None
    if shown is not None:
        return Parsed(statement, dialect, shown, tuple(tokens), is_show=True)
    tree = parse_tree(sql, tokens, dialect)
    with _bounded():
        check_tree(tree, limits)
        check_nodes(tree, dialect)
        text = check_round_trip(_without_names(tree, dialect), dialect)
    if dialect.confirm is not None and isinstance(tree, exp.Query):
        dialect.confirm(sql, text)
    return Parsed(statement, dialect, tree, tuple(tokens), explain)


def parse_tree(
    sql: str, tokens: list[Token], dialect: EngineDialect, *, note: Callable[[exp.Expr], object] | None = None
) -> exp.Expr:
    """Parses tokens into one normalised tree: function names restored, every identifier folded and marked as quoted.

    Args:
        sql: The text.
        tokens: Of the text.
        dialect: The engine's rules.
        note: Called with the tree while its nodes still say where they stand in the text.

    Raises:
        StatementError: It does not parse, or is more than one statement, or of a kind that is never run.
    """
    tokens = _without_last_semicolon(tokens)
    if any(t.token_type is TokenType.SEMICOLON for t in tokens):
        raise StatementError("sql.multiple_statements", "There is more than one statement.")
    if not tokens:
        raise StatementError("sql.empty", "There is no statement, only comments.")
    first = tokens[0].text.lower().removeprefix(FUNCTION_PREFIX)
    verb: dict[str, object] = {"kind": first} if first in _VERBS else {}
    if first in _FIRST_WORDS:
        hint = showing_hint(dialect.name) if first in _SHOWING_WORDS else ""
        raise StatementError(
            "sql.statement_unsupported",
            f"{first.upper()} is never run through this guard.",
            hint=hint,
            evidence={"kind": first},
        )
    with _bounded(), _quiet():
        try:
            trees = dialect.sqlglot.parser().parse(tokens, sql)
        except _PARSER_ERRORS:
            raise StatementError("sql.syntax", f"The statement is not valid {dialect.name} SQL.", evidence=verb) from None
    if len(trees) != 1 or trees[0] is None:
        raise StatementError("sql.multiple_statements", "There is more than one statement.")
    tree = trees[0]
    if not isinstance(tree, _STATEMENTS):
        raise StatementError(
            "sql.statement_unsupported", f"{first[:40].upper()} in this form is not understood.", evidence=verb
        )
    if note is not None:
        note(tree)
    with _bounded():
        selects = numbered_selects(tree) if dialect.labels in _NUMBERED else []
        tree = _normalise(tree, dialect)
        if dialect.labels in _NUMBERED:
            note_texts(tree, selects, sql, tokens)
        return tree


def generate(tree: exp.Expr, dialect: EngineDialect) -> str:
    """Writes a tree as text of the dialect, without comments, every identifier quoted.

    Raises:
        StatementError: The generator knows no faithful form (``sql.roundtrip``).
    """
    with _bounded(), _quiet():
        try:
            return dialect.sqlglot.generate(
                tree, copy=True, identify=True, comments=False, normalize_functions=False, unsupported_level=ErrorLevel.RAISE
            )
        except _PARSER_ERRORS:
            raise StatementError("sql.roundtrip", "The statement cannot be written out faithfully.") from None


def check_round_trip(tree: exp.Expr, dialect: EngineDialect) -> str:
    """Generates the tree's text and returns it, if it parses to an equal tree.

    Raises:
        StatementError: It does not (``sql.roundtrip``).
    """
    text = generate(tree, dialect)
    again = parse_tree(text, tokenize(text, dialect), dialect)
    if again != tree:
        raise StatementError("sql.roundtrip", "The statement does not keep its meaning when it is written out again.")
    return text


def _without_names(tree: exp.Expr, dialect: EngineDialect) -> exp.Expr:
    """PostgreSQL itself has no named placeholders; numbers stand in for them in the comparison."""
    if dialect.placeholders == "named" or tree.find(exp.Placeholder) is None:
        return tree
    copy = tree.copy()
    for number, node in enumerate(list(copy.find_all(exp.Placeholder))):
        node.replace(exp.Parameter(this=exp.Literal.number(1000 + number)))
    return copy


def _without_last_semicolon(tokens: list[Token]) -> list[Token]:
    end = len(tokens)
    while end and tokens[end - 1].token_type is TokenType.SEMICOLON:
        end -= 1
    return tokens[:end]


def _normalise(tree: exp.Expr, dialect: EngineDialect) -> exp.Expr:
    for node in list(tree.walk()):
        # Positions in the text, which every copy of the tree would copy.
        node._meta = None
        comments = node.pop_comments() or []
        if isinstance(node, exp.Anonymous) and isinstance(node.this, str):
            node.set("this", node.this.removeprefix(FUNCTION_PREFIX))
            _unify(node, dialect)
        elif isinstance(node, exp.Identifier):
            node.set("this", node.this.removeprefix(FUNCTION_PREFIX))
            if isinstance(node.parent, exp.Anonymous):
                continue
            if not dialect.is_quoted_folded:
                node.set("this", dialect.fold(node))
            node.set("quoted", True)
        elif isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous) and _is_catalog_schema(node, dialect):
            node.replace(node.expression)
        elif isinstance(node, exp.DataType) and (declared := restore_type(node)) is not None:
            node.replace(declared)
        elif isinstance(node, exp.DataType) and dialect.name == "sqlite" and node.this in _AFFINITY_OF:
            node.replace(_AFFINITIES[_AFFINITY_OF[node.this]].copy())
        elif isinstance(node, exp.Join) and dialect.name == "sqlite" and _is_comma(node, comments):
            # A CROSS JOIN would fix the order of the loops.
            node.set("kind", "INNER")
            node.set("on", exp.true())
        elif type(node) in _OPERATOR_CALLS:
            call = exp.Anonymous(this=_OPERATOR_CALLS[type(node)], expressions=[node.this, node.expression])
            call.meta[OPERATOR_META] = True
            node.replace(call)
        else:
            _unify(node, dialect)
    if dialect.give_forms is not None:
        dialect.give_forms(tree)
    return tree


def _unify(node: exp.Expr, dialect: EngineDialect) -> None:
    """Gives one form to what sqlglot reads in one form and writes in another."""
    if isinstance(node, exp.WindowSpec) and node.args.get("start") and not node.args.get("end"):
        # A frame without an end ends at the current row (SQL:2016, 7.15).
        node.set("end", "CURRENT ROW")
    elif isinstance(node, exp.Trim) and node.args.get("position") in _SIDED_TRIMS and node.args.get("expression") is None:
        node.replace(exp.Anonymous(this=_SIDED_TRIMS[node.args["position"]], expressions=[node.this]))
    elif isinstance(node, exp.Distinct) and dialect.name in ("duckdb", "postgres") and isinstance(node.parent, exp.Anonymous):
        first, *rest = node.expressions
        node.set("expressions", [first])
        for argument in rest:
            node.parent.append("expressions", argument)
    elif (
        isinstance(node, (exp.NullSafeEQ, exp.NullSafeNEQ))
        and dialect.name == "sqlite"
        and isinstance(node.expression, exp.Null)
    ):
        # Written as IS, which is what it means for NULL.
        is_null = exp.Is(this=node.this, expression=node.expression)
        node.replace(is_null if isinstance(node, exp.NullSafeEQ) else exp.Not(this=is_null))
    elif isinstance(node, exp.Anonymous) and len(node.expressions) == 1 and str(node.this).lower() == "all":
        node.replace(exp.All(this=exp.Paren(this=node.expressions[0])))


def _is_comma(join: exp.Join, comments: list[str]) -> bool:
    return join.args.get("kind") == "CROSS" and CROSS_COMMENT not in comments


def _is_catalog_schema(node: exp.Dot, dialect: EngineDialect) -> bool:
    this = node.this
    name = this.name if isinstance(this, (exp.Identifier, exp.Column)) else ""
    return dialect.name == "postgres" and name.lower() == "pg_catalog"


@contextmanager
def _bounded() -> Iterator[None]:
    """A tree that is too deep for recursion is refused like one that is too deep for the limits."""
    try:
        yield
    except RecursionError:
        raise StatementError("sql.too_deep", "The statement is nested too deeply.") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the agent's text out of sqlglot's log; what sqlglot warns of there is refused here."""
    logger = logging.getLogger("sqlglot")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
