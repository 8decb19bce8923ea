"""Connections to the PostgreSQL server that holds a ledger: which settings they have, and how long a lost server is waited for.

Every setting that decides whether a commit is durable, what a name means or how long a lock is waited for is made here, on each
connection, whatever the server, the role or the URL say. The URL is libpq's and may name several hosts.
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from guardrails.errors import LedgerError, UsageError

try:
    import psycopg
    from psycopg import conninfo
except ImportError as error:
    raise UsageError(
        "usage.extra_missing",
        "A ledger in PostgreSQL needs the driver psycopg.",
        hint="Install guardrails-sql[postgres].",
    ) from error

__all__ = ["PLACE", "SCHEMA", "Connection", "Link", "Target", "is_lost", "qualified", "translated"]

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

SCHEMA = "guardrails_ledger"
"""The schema that a ledger's tables are in when none is named."""

_OLDEST = 130000
_SCHEMA_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}", re.ASCII)
_DRIVER = re.compile(r"(postgres|postgresql)(\+psycopg)?://")
_OPTION = re.compile(r"(?<=[?&])ledger_schema=([^&]*)(&|$)")
_DEFAULTS: dict[str, str | int] = {
    "application_name": "guardrails ledger",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # A peer that vanished without a word is noticed by this, not by a timeout of statements: those could end a COMMIT's wait for
    # its standby and leave it half replicated.
    "tcp_user_timeout": 20_000,
}
"""What libpq uses unless the URL says otherwise."""
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0
_FIRST_TRY_S = 5.0

_SETTINGS = """
    SELECT set_config('search_path', 'pg_catalog, pg_temp', false),
        set_config('lock_timeout', %(lock_timeout_ms)s, false),
        set_config('statement_timeout', %(statement_timeout_ms)s, false),
        set_config('idle_in_transaction_session_timeout', %(idle_timeout_ms)s, false),
        set_config('default_transaction_read_only', %(read_only)s, false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('row_security', 'off', false),
        set_config('jit', 'off', false),
        set_config('bytea_output', 'hex', false)
"""
_FACTS = """
    SELECT current_setting('fsync'), current_setting('server_version_num')::int,
        (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()),
        CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
        (SELECT system_identifier::text || '/' || current_database() FROM pg_control_system())
"""
PLACE = "SELECT system_identifier::text || '/' || current_database() FROM pg_control_system()"
"""Yields what is the same for all connections to one database, also after a failover."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which ledger on which server, and how to deal with it.

    Args:
        conninfo: libpq's connection string.
        schema: The schema that holds the tables.
        is_read_only: Nothing is written; a standby will do.
        lock_timeout_s: How long an append waits for the others.
        reconnect_s: How long a lost server is waited for.
        unsafe_allow_fsync_off: Accept a server that does not write to disk what it commits.
    """

    conninfo: str = field(repr=False)
    schema: str = SCHEMA
    is_read_only: bool = False
    lock_timeout_s: float = 30.0
    reconnect_s: float = 30.0
    unsafe_allow_fsync_off: bool = False

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        schema: str | None = None,
        read_only: bool = False,
        lock_timeout_s: float = 30.0,
        reconnect_s: float = 30.0,
        unsafe_allow_fsync_off: bool = False,
    ) -> Target:
        """Reads ``postgresql://user@host1:5432,host2:5432/database?sslmode=verify-full&ledger_schema=name``.

        Raises:
            UsageError: It is no such URL (usage.database_unsupported), or the schema's name is not lower case letters, digits
                and underscores (usage.input_invalid).
        """
        if not _DRIVER.match(url):
            raise UsageError("usage.database_unsupported", "The ledger's URL does not begin with postgresql://.")
        named = _OPTION.search(url)
        plain = "postgresql://" + _OPTION.sub("", _DRIVER.sub("", url, count=1)).rstrip("?&")
        try:
            values = conninfo.conninfo_to_dict(plain)
        except psycopg.ProgrammingError as error:
            raise UsageError(
                "usage.database_unsupported", "The ledger's URL is not one that PostgreSQL understands."
            ) from error
        if not read_only or "target_session_attrs" not in values:
            values["target_session_attrs"] = "any" if read_only else "read-write"
        name = schema or (named.group(1) if named else SCHEMA)
        if not _SCHEMA_NAME.fullmatch(name):
            raise UsageError(
                "usage.input_invalid", "The ledger's schema is named with lower case letters, digits and underscores only."
            )
        return cls(
            conninfo.make_conninfo("", **(_DEFAULTS | values | {"client_encoding": "UTF8"})),
            name,
            read_only,
            lock_timeout_s,
            reconnect_s,
            unsafe_allow_fsync_off,
        )


@dataclass(slots=True)
class Link:
    """One connection, with what tells its server process from every other.

    Args:
        connection: In autocommit mode; transactions are begun and ended in words.
        pid: Number of its server process.
        backend_start: When that process began, as the server writes it.
        timeline: The server's timeline, 8 hexadecimal digits; empty on a standby. Transaction ids count within one.
        place: Which database of which server it is, the same after a failover.
        warnings: What the server warned of; whoever looks empties it.
    """

    connection: Connection
    pid: int
    backend_start: str
    timeline: str
    place: str
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, target: Target, *, wait_s: float | None = None) -> Link:
        """Connects, and tries again with growing pauses while no server is there to connect to.

        Args:
            wait_s: For how long; a few seconds by default.

        Raises:
            LedgerError: No server answered, or one that must not hold a ledger did (ledger.unavailable).
        """
        deadline, pause_s = time.monotonic() + (_FIRST_TRY_S if wait_s is None else wait_s), _FIRST_PAUSE_S
        while True:
            try:
                return cls._open(target)
            except psycopg.Error as error:
                if time.monotonic() + pause_s > deadline or not isinstance(error, psycopg.OperationalError):
                    raise LedgerError(
                        "ledger.unavailable", "The ledger's PostgreSQL server cannot be reached.", evidence=_evidence(error)
                    ) from error
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    @classmethod
    def _open(cls, target: Target) -> Link:
        connection = psycopg.connect(target.conninfo, autocommit=True)
        try:
            settings = {
                "lock_timeout_ms": str(round(1000 * target.lock_timeout_s)),
                "statement_timeout_ms": "300000" if target.is_read_only else "0",
                "idle_timeout_ms": "600000" if target.is_read_only else "60000",
                "read_only": "on" if target.is_read_only else "off",
            }
            connection.execute(_SETTINGS, settings)
            row = connection.execute(_FACTS).fetchone()
            if row is None:
                raise LedgerError("ledger.unavailable", "The ledger's PostgreSQL server does not tell its settings.")
            fsync, version, backend_start, timeline, place = row
            if version < _OLDEST:
                raise LedgerError("ledger.unavailable", f"PostgreSQL {version // 10000} is too old for a ledger; 13 is needed.")
            if fsync != "on" and not (target.unsafe_allow_fsync_off or target.is_read_only):
                raise LedgerError(
                    "ledger.unavailable",
                    "The PostgreSQL server runs with fsync = off: what it commits may be gone after a crash.",
                    hint="Turn fsync on; for tests only, open with unsafe_allow_fsync_off=True.",
                )
            link = cls(connection, connection.info.backend_pid, str(backend_start), timeline, place)
            connection.add_notice_handler(link._take)
        except BaseException:
            connection.close()
            raise
        return link

    def _take(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self.warnings.append(notice.message_primary or "")


def is_lost(error: BaseException, connection: Connection) -> bool:
    """Tells whether a failure was that of the connection or of its server, not of the statement."""
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate or ""
    # Shutdowns and failed connections; also a server that became a standby under us.
    is_of_server = state[:3] == "57P" or state[:2] == "08" or state == "25006"
    return is_of_server or connection.closed or (isinstance(error, psycopg.OperationalError) and not state)


def translated(error: Exception) -> LedgerError:
    """Returns the ledger's error for a failure of the driver's."""
    state = getattr(error, "sqlstate", None) or ""
    if state == "55P03":
        message, hint = "Others held the ledger's lock for too long.", "Append again; see who holds a transaction open."
    elif state == "42501":
        message, hint = "The database role may not do this to the ledger.", "Grant what docs/ledger-postgres.md lists."
    elif state == "40001":
        message = "The transaction began before the ledger's last entry and cannot see it."
        hint = "Use READ COMMITTED, or run the transaction again."
    else:
        message, hint = "The ledger's database cannot be read or written.", ""
    return LedgerError("ledger.unavailable", message, hint=hint, evidence=_evidence(error))


def qualified(template: str, schema: str) -> bytes:
    """Returns a statement with its ``{s}`` replaced by the schema's name, which `Target` found to be a plain one."""
    return template.replace("{s}", f'"{schema}"').encode()


def _evidence(error: Exception) -> dict[str, object]:
    # The detail of a violated constraint quotes the row, and with it a salt.
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return {"error": primary or str(error).strip(), "sqlstate": getattr(error, "sqlstate", None)}
