"""Who sets up a policy in which engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from guardrails.engines import Engine
from guardrails.errors import UsageError
from guardrails.policy import BoundPolicy

if TYPE_CHECKING:
    from guardrails.install.postgres import PostgresInstaller

__all__ = ["installer"]

_WHY_NOT = {
    "sqlite": "SQLite's planner moves conditions into views, whose order it then chooses",
    "duckdb": "DuckDB moves conditions into views",
    "mysql": "MariaDB and MySQL move conditions into views, and a view cannot read a session's variables",
}


def installer(
    engine: Engine, policy: BoundPolicy, mask_key: bytes, grantees: Sequence[str] = (), *, has_keys: bool = False
) -> PostgresInstaller:
    """Returns what sets up a policy in an engine.

    Args:
        engine: The database, as a role that may create views over its tables.
        policy: Bound to its catalog.
        mask_key: The guard's mask key.
        grantees: Roles that the guard runs statements as.
        has_keys: The key of keyed masks may stand in the system catalog.

    Raises:
        UsageError: The engine cannot hold row filters (``install.unsupported``).
    """
    if engine.dialect != "postgres":
        message = f"{_WHY_NOT[engine.dialect]}: the fence in the statement is what protects hidden rows there."
        raise UsageError("install.unsupported", message)
    from guardrails.engines.postgres import PostgresEngine
    from guardrails.install.postgres import PostgresInstaller

    if not isinstance(engine, PostgresEngine):
        raise UsageError("usage.database_unsupported", "Only an engine of the library's own can be set up.")
    return PostgresInstaller(engine, policy, mask_key, tuple(grantees), has_keys)
