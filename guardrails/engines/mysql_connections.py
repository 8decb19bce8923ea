"""Where the MySQL engine's connections come from, and the session that each plan finds: settings, character set, values of results.

Connections of the engine's own pool are set anew for every plan; one that an application lends gets its own settings back.
Source: https://mariadb.com/kb/en/server-system-variables/ and https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import pymysql
import sqlalchemy as sa
from pymysql.constants import CLIENT, FIELD_TYPE, SERVER_STATUS
from pymysql.converters import decoders
from pymysql.cursors import Cursor, SSCursor
from sqlalchemy.exc import SQLAlchemyError

from guardrails.engines.mysql_failures import is_lost, mysql_failure
from guardrails.engines.mysql_text import constant
from guardrails.errors import EngineError

__all__ = ["Lender", "RowStream", "Session", "is_mariadb", "server_version"]

_CHARACTER_SET = "utf8mb4"
_MODES = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""What the parser reads with: double quotes are strings, backslashes escape, `||` is OR. The server's own choice about GROUP BY stays."""

_SETTINGS: Mapping[str, str] = {
    "sql_mode": f"CONCAT('{_MODES}', IF(FIND_IN_SET('ONLY_FULL_GROUP_BY', @@GLOBAL.sql_mode), ',ONLY_FULL_GROUP_BY', ''))",
    "sql_safe_updates": "0",
    "sql_auto_is_null": "0",
    "sql_select_limit": "18446744073709551615",
    "sql_big_selects": "1",
    "foreign_key_checks": "1",
    "unique_checks": "1",
}
_KEPT = (*_SETTINGS, "lock_wait_timeout", "innodb_lock_wait_timeout")
_IDLE_S = 60
"""For how long a transaction may wait for its next statement: it holds locks. MySQL has no such limit."""


def server_version(connection: pymysql.Connection[Any]) -> str:
    """Returns the version that the server named when it was connected to, such as `10.11.19-MariaDB`."""
    return str(cast("Any", connection).server_version)


def is_mariadb(connection: pymysql.Connection[Any]) -> bool:
    """Whether the server is MariaDB, and not MySQL."""
    return "mariadb" in server_version(connection).lower()


class RowStream(SSCursor):
    """A cursor that reads row by row, and that can be left in the middle of a result together with its connection."""

    def abandon(self) -> None:
        """Forgets what is still to come; the connection is of no further use."""
        result = cast("Any", self)._result
        if result is not None:
            result.unbuffered_active = False

    def drain(self) -> None:
        """Reads on to the end of a result whose statement was told to end; the connection is then ready for the next one."""
        try:
            self.close()
        except pymysql.MySQLError as error:
            # How a statement ends of which nothing more is wanted does not matter, as long as the server still answers.
            if is_lost(error):
                raise


class Session:
    """A lent connection, ready for a plan.

    Args:
        connection: In autocommit mode.
        is_own: It comes from the engine's own pool.
    """

    def __init__(self, connection: pymysql.Connection[Any], *, is_own: bool) -> None:
        self.connection = connection
        self.is_own = is_own
        self.is_spoilt = False

    def prepare(self, *, seconds: float, is_read_only: bool) -> None:
        """Sets what a plan needs: modes, time limits, and that a transaction may not write unless it says so."""
        self.configure(seconds)
        self.allow_changes(not is_read_only)

    def configure(self, seconds: float) -> None:
        """Sets modes and time limits, also inside a transaction."""
        waits = str(max(1, int(seconds)))
        limits: Mapping[str, str] = {
            "lock_wait_timeout": waits,
            "innodb_lock_wait_timeout": waits,
            self._time_limit(): self._limit(seconds),
            **dict.fromkeys(self._idle_limits(), str(_IDLE_S)),
        }
        self.execute(f"SET SESSION {', '.join(f'{name} = {value}' for name, value in {**_SETTINGS, **limits}.items())}")

    def allow_changes(self, is_allowed: bool) -> None:
        """Says what transactions may do that begin later and say nothing themselves."""
        self.execute(f"SET SESSION TRANSACTION READ {'WRITE' if is_allowed else 'ONLY'}")

    def isolate(self) -> None:
        """Makes the next transaction REPEATABLE READ, or leaves it at what the session has if that is stricter."""
        name = "tx_isolation" if is_mariadb(self.connection) else "transaction_isolation"
        if self.rows(f"SELECT @@SESSION.{name}")[0][0] != "SERIALIZABLE":
            self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def execute(self, sql: str) -> int:
        """Runs one of the engine's own statements; returns the number of rows."""
        with self.connection.cursor(Cursor) as cursor:
            return int(cursor.execute(sql))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Returns the rows of one of the engine's own statements."""
        with self.connection.cursor(Cursor) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    @property
    def is_in_transaction(self) -> bool:
        """As the server said with its last answer that was no result set."""
        return _is_in_transaction(self.connection)

    def _time_limit(self) -> str:
        return "max_statement_time" if is_mariadb(self.connection) else "max_execution_time"

    def _idle_limits(self) -> tuple[str, ...]:
        return ("idle_transaction_timeout", "idle_write_transaction_timeout") if is_mariadb(self.connection) else ()

    def _limit(self, seconds: float) -> str:
        return f"{seconds:.3f}" if is_mariadb(self.connection) else str(max(1, int(seconds * 1000)))

    def lift_time_limit(self) -> None:
        """Lets the next statement take its time: a commit must not be cut short."""
        self.execute(f"SET SESSION {self._time_limit()} = 0")

    def settings(self) -> Callable[[], None]:
        """Notes the settings of an application; returns what puts them back."""
        access = "tx_read_only" if is_mariadb(self.connection) else "transaction_read_only"
        names = [*_KEPT, self._time_limit(), *self._idle_limits(), access]
        values = dict(zip(names, self.rows(f"SELECT {', '.join(f'@@SESSION.{n}' for n in names)}")[0], strict=True))

        def restore() -> None:
            texts = [f"{n} = {constant(v)}" for n, v in values.items()]
            self.execute(f"SET SESSION {', '.join(texts)}")

        return restore


class Lender:
    """Lends sessions from a pool of SQLAlchemy's.

    Args:
        engine: Its driver is PyMySQL.
        is_own: The pool is ours to dispose of.
    """

    def __init__(self, engine: sa.Engine, *, is_own: bool) -> None:
        self._engine = engine
        self._is_own = is_own
        self._pid = os.getpid()

    @property
    def url(self) -> sa.URL:
        """Where the connections lead."""
        return self._engine.url

    @property
    def pool(self) -> sa.Pool:
        """Where the connections come from."""
        return self._engine.pool

    @contextmanager
    def lend(self) -> Iterator[Session]:
        """Lends a session in autocommit mode; gives the connection back as it was, or not at all when it is spoilt."""
        if self._is_own and os.getpid() != self._pid:
            # A forked child must not speak over its parent's sockets.
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        try:
            pooled = self._engine.raw_connection()
        except (SQLAlchemyError, pymysql.MySQLError, OSError) as error:
            raise EngineError(
                "engine.failed", "The database cannot be reached.", evidence={"engine_text": str(error)}
            ) from error
        try:
            connection = pooled.driver_connection
            if not isinstance(connection, pymysql.Connection):
                raise EngineError("engine.failed", "The pool gave no connection of the driver PyMySQL.")
            session = Session(connection, is_own=self._is_own)
            _check(connection)
            try:
                with _settings_kept(session):
                    yield session
            finally:
                if session.is_spoilt or not connection.open:
                    pooled.invalidate()
        finally:
            pooled.close()

    def apart(self) -> Lender:
        """Returns one with a pool of its own to the same place: whoever holds a connection of this pool can wait for one of that."""
        return Lender(sa.create_engine(self._engine.url, pool=self._engine.pool.recreate()), is_own=True)

    def dispose(self) -> None:
        """Closes the pool if it is the engine's own."""
        if self._is_own:
            self._engine.dispose()


def _check(connection: pymysql.Connection[Any]) -> None:
    """Refuses a connection on which a text could mean something else, or more, than was judged."""
    if connection.client_flag & (CLIENT.MULTI_STATEMENTS | CLIENT.LOCAL_FILES):
        raise EngineError("engine.failed", "The pool's connections allow several statements or local files at once.")
    if _is_in_transaction(connection):
        raise EngineError("engine.failed", "The pool gave a connection that is inside a transaction.")
    if connection.charset != _CHARACTER_SET:
        raise EngineError("engine.failed", f"The pool's connections must use the character set {_CHARACTER_SET}.")


def _is_in_transaction(connection: pymysql.Connection[Any]) -> bool:
    return bool(cast("Any", connection).server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)


@contextmanager
def _settings_kept(session: Session) -> Iterator[None]:
    connection = session.connection
    before = connection.get_autocommit(), connection.decoders
    try:
        sets = session.rows("SELECT @@character_set_client, @@character_set_connection, @@character_set_results")[0]
        if set(sets) != {_CHARACTER_SET}:
            raise EngineError("engine.failed", f"The pool's connections must use the character set {_CHARACTER_SET}.")
        restore = None if session.is_own else session.settings()
        connection.autocommit(True)
        connection.decoders = _DECODERS
        try:
            yield
        finally:
            if connection.open and not session.is_spoilt:
                connection.decoders = before[1]
                if restore is not None:
                    _put_back(session, restore, before[0])
    except pymysql.MySQLError as error:
        session.is_spoilt = True
        raise mysql_failure(error) from error


def _put_back(session: Session, restore: Callable[[], None], autocommit: bool) -> None:
    try:
        restore()
        session.connection.autocommit(autocommit)
    except pymysql.MySQLError as error:
        # What ran is done, and nobody gets a connection that is lost.
        session.is_spoilt = True
        if not is_lost(error):
            raise


def _bits(data: bytes) -> int:
    return int.from_bytes(data, "big")


_DECODERS: Any = {**decoders, FIELD_TYPE.BIT: _bits}
