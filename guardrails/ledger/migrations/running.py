"""Running alembic from code. https://alembic.sqlalchemy.org/en/latest/api/commands.html"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from guardrails.errors import UsageError

try:
    from alembic import command
    from alembic.config import Config
except ImportError as error:
    raise UsageError(
        "usage.extra_missing",
        "Making or changing a ledger's tables needs alembic.",
        hint="Install guardrails-sql[migrate].",
    ) from error

__all__ = ["script_to_newest", "upgrade_to_newest"]

_HERE = Path(__file__).parent
# alembic's `op` and `context` are one for the whole process.
_ALONE = threading.Lock()


def upgrade_to_newest(connection: sa.Connection, revisions: Literal["postgres", "sqlite"], schema: str) -> None:
    """Runs the revisions that a database lacks, in the transaction that is open on `connection`.

    Args:
        connection: To the database.
        revisions: Which line of revisions.
        schema: The schema that holds the tables, and alembic's own with the revision in it.
    """
    config = _config(revisions, schema)
    config.attributes["connection"] = connection
    with _ALONE:
        command.upgrade(config, "head")


def script_to_newest(revisions: Literal["postgres"], schema: str) -> str:
    """Returns the SQL of all revisions, for a transaction that is already open."""
    config = _config(revisions, schema)
    config.output_buffer = io.StringIO()
    with _ALONE:
        command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


def _config(revisions: str, schema: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("version_locations", str(_HERE / revisions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["ledger_schema"] = schema
    return config
