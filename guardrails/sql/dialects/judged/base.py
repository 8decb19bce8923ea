"""What the dialects that are judged only have in common: nothing runs, so nothing was measured, and what is not proven is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from guardrails.errors import StatementError
from guardrails.model import DialectName
from guardrails.sql.dialects.base import EngineDialect, Fence, Labels, NamesSeen, function_names
from guardrails.sql.dialects.judged.forms import Forms, give_with
from guardrails.sql.dialects.judged.lexing import Lexing, repair_with

__all__ = ["Judged"]

_NODES = frozenset(
    {
        exp.All,
        exp.Any,
        exp.Cube,
        exp.GroupingSets,
        exp.IgnoreNulls,
        exp.RespectNulls,
        exp.Rollup,
    }
)
_REFUSED: frozenset[type[exp.Expr]] = frozenset({exp.OnConflict, exp.Returning})
_CHANGES = (exp.Insert, exp.Update, exp.Delete)
_FENCE = Fence(limit=2**63 - 1, offset=None)


@dataclass(frozen=True, slots=True)
class Judged:
    """One dialect that is judged only, as data.

    Args:
        name: The dialect; its functions are in `functions_<name>.txt`, reviewed from the vendor's documentation.
        sqlglot: The dialect that parses and generates.
        nodes: Expression classes beyond the common ones.
        types: Lower-case type names that a cast may name.
        lexing: What a text may be made of.
        forms: What changes in a tree.
        refused: Expression classes of the common ones that the dialect does not have.
        check: Refuses more of a tree, None for nothing.
        table_functions: As in `EngineDialect`.
        structural: As in `EngineDialect`.
        is_quoted_folded: Names in quotes are compared without regard to case.
        unquoted: The case that an unquoted name has in the catalog.
        default_schema: What an unqualified relation name means.
        are_ctes_open: A common table expression may name itself without RECURSIVE.
        are_relations_exact: As in `EngineDialect`.
        has_fields: As in `EngineDialect`.
        names_seen: As in `EngineDialect`.
        are_keys_wrapped: As in `EngineDialect`.
        placeholders: As in `EngineDialect`.
        labels: As in `EngineDialect`.
        nameless: As in `EngineDialect`.
        identifier_bytes: As in `EngineDialect`.
        fence: As in `EngineDialect`; without LIMIT and OFFSET, row filters are refused.
        index_hint: As in `EngineDialect`.
    """

    name: DialectName
    sqlglot: Dialect
    nodes: frozenset[type[exp.Expr]]
    types: frozenset[str]
    lexing: Lexing
    forms: Forms
    refused: frozenset[type[exp.Expr]] = frozenset()
    check: Callable[[exp.Expr], None] | None = None
    table_functions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    structural: frozenset[str] = frozenset()
    is_quoted_folded: bool = True
    unquoted: Literal["lower", "upper"] = "lower"
    default_schema: str = ""
    are_ctes_open: bool = False
    are_relations_exact: bool = False
    has_fields: bool = False
    names_seen: NamesSeen = "keys"
    are_keys_wrapped: bool = False
    placeholders: Literal["named", "numbered"] = "named"
    labels: Labels = "text"
    nameless: str = "_col{}"
    identifier_bytes: int = 0
    fence: Fence = _FENCE
    index_hint: Literal["refused"] | None = None

    def engine_dialect(self) -> EngineDialect:
        """Returns the rules that judging uses."""
        return EngineDialect(
            name=self.name,
            sqlglot=self.sqlglot,
            functions=function_names(self.name),
            table_functions=self.table_functions,
            nodes=_NODES | self.nodes,
            types=self.types,
            is_quoted_folded=self.is_quoted_folded,
            has_row_values=False,
            identifier_bytes=self.identifier_bytes,
            default_schema=self.default_schema,
            placeholders=self.placeholders,
            are_ctes_open=self.are_ctes_open,
            labels=self.labels,
            are_merged_first=True,
            names_seen=self.names_seen,
            fence=self.fence,
            index_hint=self.index_hint,
            structural=self.structural,
            repair=repair_with(self.lexing),
            give_forms=give_with(self.forms),
            is_executed=False,
            unquoted=self.unquoted,
            are_relations_exact=self.are_relations_exact,
            has_fields=self.has_fields,
            has_target_alias=False,
            are_keys_wrapped=self.are_keys_wrapped,
            are_intervals_casts=False,
            refuse=self.refuse,
            nameless=self.nameless,
        )

    def refuse(self, tree: exp.Expr) -> None:
        """Refuses what no engine here could confirm.

        Raises:
            StatementError: A change is more than one plain statement about one table, or a construct is not the dialect's
                (``sql.construct_unsupported``).
        """
        for node in tree.walk():
            if type(node) in self.refused | _REFUSED:
                raise _unsupported(f"{type(node).__name__.upper()} is not supported in {self.name}.")
            if isinstance(node, _CHANGES) and node is not tree:
                raise _unsupported("A change inside another statement is not supported.")
        if isinstance(tree, _CHANGES):
            _check_change(tree)
        if self.check is not None:
            self.check(tree)


def _check_change(tree: exp.Expr) -> None:
    if tree.args.get("from_") is not None or tree.args.get("using") or tree.args.get("with_") is not None:
        raise _unsupported("A change that draws on other relations is only supported as INSERT … SELECT or with subqueries.")
    if isinstance(tree, exp.Update) and not tree.expressions:
        raise _unsupported("UPDATE without SET is not supported.")
    if isinstance(tree, (exp.Update, exp.Delete)) and not isinstance(tree.this, exp.Table):
        raise _unsupported("The target of a change must be one plain table.")


def _unsupported(message: str) -> StatementError:
    return StatementError("sql.construct_unsupported", message)
