"""Bringing a ledger's tables to this release's revision, in whichever database they are."""

from __future__ import annotations

from pathlib import Path

from guardrails.errors import UsageError
from guardrails.ledger.location import Location

__all__ = ["migrate"]


def migrate(url: str | Path, *, schema: str | None = None) -> tuple[str | None, str]:
    """Brings the tables of a ledger to this release's revision; in PostgreSQL it makes them where there are none.

    Either all of it happens or nothing, and nobody appends meanwhile. There is no way back, so take a backup first.

    Args:
        url: As for `Ledger.open`.
        schema: The schema in PostgreSQL, unless the URL names it.

    Returns:
        The revision before (None where there were no tables) and the one now.

    Raises:
        UsageError: There is no such file (usage.file_missing), it is a ledger in memory, or alembic is not installed.
        LedgerError: The database cannot be reached, refuses, or is not a ledger (ledger.unavailable); it is as before.
        TamperedError: What the ledger holds is not what was signed; it is as before.
    """
    location = Location.parse(url)
    if location.postgres is not None:
        from guardrails.ledger.migrations.on_postgres import migrate_postgres

        return migrate_postgres(location.postgres, schema=schema)
    if location.path is None:
        raise UsageError("usage.database_unsupported", "A ledger in memory has no tables of an older version.")
    from guardrails.ledger.migrations.on_sqlite import migrate_sqlite

    return migrate_sqlite(location.path)
