"""The tables and views that statements or a policy are held against: from a DDL file, or from a live database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guardrails.catalog.ledgers import without_ledgers
from guardrails.errors import UsageError

if TYPE_CHECKING:
    from guardrails.model import Catalog

__all__ = ["catalog_from"]

_MAX_SCHEMA_BYTES = 10_000_000


def catalog_from(dialect: str | None, schema_path: str | None, database_url: str | None) -> Catalog | None:
    """Reads the tables and views from the one place that was named; None when none was.

    Raises:
        UsageError: Both places are named, the dialect is missing or not the database's, or the file cannot be read.
        CatalogError: The DDL does not parse.
    """
    # Here and not above: neither parser nor driver is loaded before it is needed.
    from guardrails.sql.dialects import dialect_name

    wanted = dialect_name(dialect) if dialect is not None else None
    if schema_path is not None and database_url is not None:
        raise UsageError("usage.input_invalid", "Give --schema or --database, not both.")
    if schema_path is not None:
        if wanted is None:
            raise UsageError("usage.input_invalid", "--schema needs --dialect.", hint="See --help for the known dialects.")
        from guardrails.catalog import from_ddl

        return from_ddl(_schema_text(schema_path), wanted)
    if database_url is None:
        return None
    from guardrails.engines import open_engine

    engine = open_engine(database_url)
    try:
        if wanted not in (None, engine.dialect):
            raise UsageError("usage.input_invalid", f"The database speaks {engine.dialect}, --dialect says {wanted}.")
        return without_ledgers(engine.catalog())
    finally:
        engine.dispose()


def _schema_text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_SCHEMA_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError("usage.file_missing", f"The schema {path} does not exist or cannot be read.") from error
    if len(data) > _MAX_SCHEMA_BYTES:
        raise UsageError("usage.input_invalid", f"The schema is larger than {_MAX_SCHEMA_BYTES} bytes.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError("usage.input_invalid", "The schema is not valid UTF-8.") from error
