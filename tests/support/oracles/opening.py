"""Oracles by the name of their engine."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.oracles.base import Oracle
from tests.support.oracles.duckdb import DuckdbOracle
from tests.support.oracles.mysql import MysqlOracle
from tests.support.oracles.postgres import PostgresOracle
from tests.support.oracles.sqlite import SqliteOracle

__all__ = ["ENGINES", "open_oracle"]

ENGINES: dict[str, Callable[[str], Oracle]] = {
    "mysql": MysqlOracle,
    "postgres": PostgresOracle.create,
    "sqlite": lambda _server: SqliteOracle(),
    "duckdb": lambda _server: DuckdbOracle(),
}
"""Makes an oracle with a database of its own, given a server's URL; another engine is another line."""


def open_oracle(engine: str, server: str) -> Oracle:
    """Returns an oracle over the grammar's schema and rows; `server` is the URL of a maintenance database where one is needed."""
    return ENGINES[engine](server)
