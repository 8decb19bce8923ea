"""From a database's URL to the workshop of its engine."""

from __future__ import annotations

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from guardrails.errors import UsageError
from guardrails.proving.copying.workshop import Workshop

__all__ = ["open_workshop"]


def open_workshop(url: str, scratch_url: str | None = None) -> Workshop:
    """Opens a database for copying its schema.

    Args:
        url: As `guardrails.engines.open_engine` takes it.
        scratch_url: Another server for the scratch databases of PostgreSQL and MySQL; the database's own when None.

    Raises:
        UsageError: The URL is not supported (``usage.database_unsupported``) or its driver not installed (``usage.extra_missing``).
    """
    try:
        backend = make_url(url).drivername.split("+")[0]
    except (ArgumentError, ValueError) as error:
        raise UsageError("usage.database_unsupported", "The database URL does not parse.") from error
    if backend in ("sqlite", "duckdb"):
        from guardrails.proving.copying.embedded import DuckdbWorkshop, SqliteWorkshop

        return DuckdbWorkshop(url) if backend == "duckdb" else SqliteWorkshop(url)
    if backend == "postgresql":
        from guardrails.proving.copying.postgres import PostgresWorkshop

        return PostgresWorkshop(url, scratch_url or url)
    if backend in ("mysql", "mariadb"):
        from guardrails.proving.copying.mysql import MysqlWorkshop

        return MysqlWorkshop(url, scratch_url or url)
    raise UsageError("usage.database_unsupported", f"Nothing is proven for the database {backend[:40]!r}.")
