"""What one engine understands: its sqlglot dialect, its functions, how it folds names. Data, one instance an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from guardrails.model import DialectName

__all__ = ["EngineDialect", "ascii_lower", "function_names"]

_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}


def ascii_lower(name: str) -> str:
    """Folds A-Z only, as SQLite and PostgreSQL (with a multi-byte encoding) do; other letters keep their case."""
    return name.translate(_LOWER)


@cache
def function_names(dialect: DialectName) -> frozenset[str]:
    """Returns the generated and reviewed list of functions without effects (see tools/generate_functions.py)."""
    text = files("guardrails.sql.dialects").joinpath(f"functions_{dialect}.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


@dataclass(frozen=True, slots=True)
class EngineDialect:
    """One engine's SQL, as far as it is positively understood.

    Args:
        name: The engine.
        sqlglot: The dialect that parses and generates.
        functions: Lower-case names of functions without effects.
        table_functions: Functions allowed in FROM with the columns they yield; an empty tuple means one column named by the alias.
        nodes: Expression classes beyond the common ones.
        types: Lower-case type names that a cast may name.
        is_quoted_folded: Quoted identifiers match case-insensitively too (SQLite).
        has_row_values: A relation's alias may stand for its whole row (PostgreSQL).
        identifier_bytes: Longest identifier; longer ones would be cut by the engine. 0 for no limit.
    """

    name: DialectName
    sqlglot: Dialect
    functions: frozenset[str]
    table_functions: Mapping[str, tuple[str, ...]]
    nodes: frozenset[type[exp.Expr]]
    types: frozenset[str]
    is_quoted_folded: bool
    has_row_values: bool
    identifier_bytes: int = 0
    statement_nodes: frozenset[type[exp.Expr]] = field(default_factory=frozenset)

    def fold(self, identifier: exp.Identifier) -> str:
        """Returns the name as the engine compares it."""
        name: str = identifier.this
        return name if identifier.args.get("quoted") and not self.is_quoted_folded else ascii_lower(name)

    def fold_name(self, name: str) -> str:
        """Returns a catalog's name as the engine compares it."""
        return ascii_lower(name) if self.is_quoted_folded else name
