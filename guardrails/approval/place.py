"""Where the approvals of a ledger are, and connections to them with the settings that durability and privacy need."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrails.errors import UsageError
from guardrails.ledger.location import Location

if TYPE_CHECKING:
    from guardrails.ledger import Ledger
    from guardrails.ledger.stores.postgres_connect import Target

__all__ = ["Place"]

_SUFFIX = ".approvals"
_SCHEMA_SUFFIX = "_approvals"
_LONGEST_SCHEMA = 63
_BUSY_TIMEOUT_S = 30
_SERVER_SETTINGS = """
    SELECT set_config('search_path', 'pg_catalog, pg_temp', false), set_config('lock_timeout', '30s', false),
        set_config('statement_timeout', '60s', false), set_config('idle_in_transaction_session_timeout', '120s', false),
        set_config('default_transaction_isolation', 'read committed', false), set_config('row_security', 'off', false),
        set_config('jit', 'off', false)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the approvals of a ledger are: in a file, in a schema of a PostgreSQL server, or in memory when both are None."""

    path: Path | None
    target: Target | None = None

    @classmethod
    def parse(cls, url: str | Path) -> Place:
        """Returns where the approvals of the ledger at `url` are.

        Raises:
            UsageError: The URL is not supported (usage.database_unsupported), or the driver is not installed.
        """
        location = Location.parse(url)
        if location.postgres is None:
            return cls(location.beside(_SUFFIX))
        from guardrails.ledger.stores.postgres_connect import Target

        return cls(None, Target.parse(location.postgres))

    @classmethod
    def of(cls, ledger: Ledger) -> Place:
        """Returns where the approvals of an open ledger are."""
        path = ledger.path
        if path is not None:
            return cls(path.with_name(path.name + _SUFFIX))
        return cls(None, getattr(ledger.store, "target", None))

    @property
    def schema(self) -> str | None:
        """The PostgreSQL schema of the tables: the ledger's own holds nothing that is not signed.

        Raises:
            UsageError: Its name would be longer than PostgreSQL allows (usage.input_invalid).
        """
        if self.target is None:
            return None
        name = self.target.schema + _SCHEMA_SUFFIX
        if len(name) > _LONGEST_SCHEMA:
            raise UsageError("usage.input_invalid", f"The ledger's schema {self.target.schema} is too long for approvals.")
        return name

    def connect(self) -> Any:
        """Returns a new connection of the driver's.

        Raises:
            sqlite3.Error, OSError, psycopg.Error: There is none to be had.
        """
        return self._connect_to_server(self.target) if self.target is not None else self._connect_to_file()

    def _connect_to_server(self, target: Target) -> Any:
        import psycopg

        connection = psycopg.connect(target.conninfo)
        try:
            connection.execute(_SERVER_SETTINGS)
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_to_file(self) -> sqlite3.Connection:
        if self.path is not None:
            # Statements may hold values: the file, and with it SQLite's side files, is for its owner alone.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self.path or ":memory:", isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False
        )
        try:
            _use_write_ahead_log(connection)
            for setting in ("synchronous = FULL", "secure_delete = ON", "trusted_schema = OFF", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            # Turning it on does not wait for other openers by itself.
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
