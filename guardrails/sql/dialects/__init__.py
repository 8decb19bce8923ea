"""One module an engine: what of its SQL is positively understood."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from guardrails.errors import UsageError
from guardrails.model import DialectName
from guardrails.sql.dialects import duckdb, mysql, postgres, sqlite
from guardrails.sql.dialects.base import EngineDialect, Fence
from guardrails.sql.dialects.judged import JUDGED

__all__ = ["EngineDialect", "Fence", "dialect_name", "dialect_of"]

_MODULES: dict[DialectName, Callable[[], EngineDialect]] = {
    "sqlite": sqlite.engine_dialect,
    "postgres": postgres.engine_dialect,
    "mysql": mysql.engine_dialect,
    "duckdb": duckdb.engine_dialect,
    **JUDGED,
}
_ALIASES: dict[str, DialectName] = {name: name for name in _MODULES} | {
    "sqlite3": "sqlite",
    "postgresql": "postgres",
    "pg": "postgres",
    "mariadb": "mysql",
    "mssql": "tsql",
    "sqlserver": "tsql",
}


def dialect_name(text: str) -> DialectName:
    """Returns the dialect that a user's spelling means.

    Raises:
        UsageError: It is none that is supported (``usage.dialect_unknown``).
    """
    name = _ALIASES.get(text.strip().lower())
    if name is None:
        known = ", ".join(_MODULES)
        raise UsageError("usage.dialect_unknown", f"The dialect {text[:40]!r} is not supported.", hint=f"Known are {known}.")
    return name


@cache
def dialect_of(name: DialectName) -> EngineDialect:
    """Returns the rules of one engine."""
    return _MODULES[name]()
