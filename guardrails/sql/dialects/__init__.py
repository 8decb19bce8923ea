"""One module an engine: what of its SQL is positively understood."""

from __future__ import annotations

from functools import cache

from guardrails.errors import UsageError
from guardrails.model import DialectName
from guardrails.sql.dialects import postgres, sqlite
from guardrails.sql.dialects.base import EngineDialect

__all__ = ["EngineDialect", "dialect_name", "dialect_of"]

_ALIASES: dict[str, DialectName] = {
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "postgres": "postgres",
    "postgresql": "postgres",
    "pg": "postgres",
}


def dialect_name(text: str) -> DialectName:
    """Returns the dialect that a user's spelling means.

    Raises:
        UsageError: It is none that is supported (``usage.dialect_unknown``).
    """
    name = _ALIASES.get(text.strip().lower())
    if name is None:
        raise UsageError("usage.dialect_unknown", f"The dialect {text[:40]!r} is not supported.")
    return name


@cache
def dialect_of(name: DialectName) -> EngineDialect:
    """Returns the rules of one engine."""
    return sqlite.engine_dialect() if name == "sqlite" else postgres.engine_dialect()
