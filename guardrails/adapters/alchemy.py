"""A guard as SQLAlchemy's engines: new ones, and engines that an application has already.

What an engine hands out is replaced, not watched: its pool gives connections of the guard's driver and nothing else, so that a raw cursor
is a guarded one as well. Hooks on an engine's events would be passed by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

from guardrails.adapters import dbapi
from guardrails.adapters.dialects import GuardedDialect, dialect_for
from guardrails.adapters.executor import Executor
from guardrails.engines import is_same_database
from guardrails.errors import UsageError
from guardrails.model import Params, Result

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["guarded_async_engine", "guarded_engine", "install"]

P = ParamSpec("P")
R = TypeVar("R")

_KEPT = ("_json_serializer", "_json_deserializer", "label_length")
"""What an application told its own dialect that the guarded one takes over."""


def guarded_engine(guard: Executor, url: str | URL | None = None, *, tool: str = "sqlalchemy") -> sa.Engine:
    """Returns an engine whose every statement goes through a guard.

    Args:
        guard: The guard; a session must be active when a statement is executed.
        url: Of the guard's own database, to say which one is meant; its driver and credentials are not used. None: that database.
        tool: The name under which statements are recorded; `execution_options(guardrails_tool=…, guardrails_tool_call_id=…)` on a
            statement or a connection stands in its place.

    Returns:
        A synchronous engine. It holds no connections; closing the guard ends it.

    Raises:
        UsageError: The URL is of another database (usage.other_database), or of an asynchronous driver (usage.input_invalid).

    Example:
        >>> def open_orders(engine: sa.Engine) -> int:
        ...     with engine.connect() as connection:
        ...         return connection.scalar(sa.text("SELECT COUNT(*) FROM orders WHERE status = 'open'"))
    """
    if url is not None:
        _check_url(guard, _parsed(url), is_async=False)
    return _engine(guard, tool, is_async=False)


def guarded_async_engine(guard: Executor, url: str | URL | None = None, *, tool: str = "sqlalchemy") -> AsyncEngine:
    """As `guarded_engine`, for asyncio: the guard works in threads, and the event loop goes on.

    Raises:
        UsageError: The URL is of another database (usage.other_database), or greenlet is not installed (usage.extra_missing).
    """
    if url is not None:
        _check_url(guard, _parsed(url), is_async=True)
    try:
        import_module("greenlet")  # older versions of SQLAlchemy miss it only when something is awaited
        from sqlalchemy.ext.asyncio import AsyncEngine
    except ImportError as error:
        message = "Asynchronous engines need greenlet."
        raise UsageError("usage.extra_missing", message, hint="Install sqlalchemy[asyncio].") from error
    return AsyncEngine(_engine(guard, tool, is_async=True))


def install(guard: Executor, engine: sa.Engine | AsyncEngine, *, tool: str = "sqlalchemy") -> None:
    """Puts a guard into an engine that an application has already: from now on every statement on it is guarded and recorded.

    The engine object stays, with whatever refers to it (sessions, factories, engine events); its pool and dialect are replaced. Its own
    connections are closed, unless the guard works on them.

    Args:
        guard: The guard of the same database.
        engine: The engine. Doing it twice with the same guard changes nothing.
        tool: As in `guarded_engine`.

    Raises:
        UsageError: The engine is of another database (usage.other_database), connections of it are in use
            (usage.connections_in_use), it was made by `execution_options` of another engine, has another guard, or asks for an isolation
            that the guard does not offer (usage.input_invalid).
    """
    sync = engine if isinstance(engine, sa.Engine) else engine.sync_engine
    before = sync.pool
    if isinstance(sync.dialect, GuardedDialect):
        if sync.dialect.guard is not guard:
            raise UsageError("usage.input_invalid", "The engine has another guard already.")
        return
    if hasattr(sync, "_proxied"):
        raise UsageError("usage.input_invalid", "The engine is a copy with options.", hint="Install on the engine itself.")
    own = getattr(guard.database, "pool", None)
    if own is not before:
        _check_url(guard, sync.url, is_async=sync.dialect.is_async, is_open=True)
    is_autocommit = _is_autocommit(sync.dialect)
    if _in_use(before):
        raise UsageError("usage.connections_in_use", "Connections of the engine are checked out.")
    made = _engine(guard, tool, is_async=sync.dialect.is_async, is_autocommit=is_autocommit)
    for name in _KEPT:
        if getattr(sync.dialect, name, None) is not None:
            setattr(made.dialect, name, getattr(sync.dialect, name))
    sync.dialect, sync.pool = made.dialect, made.pool
    if own is not before:
        before.dispose()


class _Connection(dbapi.Connection):
    """As SQLAlchemy's pool holds it."""

    __slots__ = ("is_autocommit_meant",)

    def __init__(self, guard: Executor, tool: str, *, is_autocommit: bool) -> None:
        super().__init__(guard, tool, autocommit=is_autocommit)
        self.is_autocommit_meant = is_autocommit

    def close(self) -> None:
        """Closes it, wherever the pool does: what is still open is taken back in a thread, after what still runs on it."""
        if self._transaction is None:
            super().close()
            return
        self._is_closed = True
        self._transaction.let_go()


class _AsyncCursor(dbapi.Cursor):
    """As SQLAlchemy's asynchronous results hold it. All rows are there when a statement has run."""

    __slots__ = ()

    server_side = False

    async def _async_soft_close(self) -> None:
        """There is nothing to wait for."""


class _AsyncConnection(_Connection):
    """The same inside SQLAlchemy's greenlets: whatever may take time happens in a thread."""

    __slots__ = ()

    def cursor(self) -> _AsyncCursor:
        self._require_open()
        return _AsyncCursor(self)

    def run(self, sql: str, params: Params, *, tool: str | None = None, tool_call_id: str | None = None) -> Result:
        return _away(super().run, sql, params, tool=tool, tool_call_id=tool_call_id)

    def commit(self) -> None:
        _away(super().commit)

    def rollback(self) -> None:
        _away(super().rollback)

    def save(self, name: str) -> None:
        _away(super().save, name)

    def roll_back_to(self, name: str) -> None:
        _away(super().roll_back_to, name)

    def release(self, name: str) -> None:
        _away(super().release, name)


def _away(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await_only(asyncio.to_thread(function, *args, **kwargs))


def _engine(guard: Executor, tool: str, *, is_async: bool, is_autocommit: bool = False) -> sa.Engine:
    dialect: Any = dialect_for(guard, is_async=is_async)
    kind = _AsyncConnection if is_async else _Connection

    def connect() -> Any:
        return kind(guard, tool, is_autocommit=is_autocommit)

    pool = NullPool(connect, dialect=dialect, reset_on_return=None)
    return sa.Engine(pool, dialect, URL.create(f"{dialect.name}+{dialect.driver}"))


def _parsed(url: str | URL) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise UsageError("usage.database_unsupported", "The database URL does not parse.") from error


def _check_url(guard: Executor, url: URL, *, is_async: bool, is_open: bool = False) -> None:
    """Checks that a URL is of the guard's database; `is_open`: of an engine that is there already, whatever its driver."""
    known = getattr(guard.database, "url", None) or _parsed(guard.database.name)
    if not is_same_database(known, url):
        raise UsageError("usage.other_database", f"The guard is for {guard.database.name}.")
    if not is_async and not is_open and "+" in url.drivername and _is_async_driver(url):
        raise UsageError(
            "usage.input_invalid", f"The driver {url.drivername} is asynchronous.", hint="Use the guard's `async_engine`."
        )


def _is_async_driver(url: URL) -> bool:
    try:
        return bool(url.get_dialect().is_async)
    except sa.exc.NoSuchModuleError:
        return False


def _is_autocommit(dialect: Any) -> bool:
    """Reads what `create_engine(isolation_level=…)` was told."""
    level = getattr(dialect, "_on_connect_isolation_level", None)
    if level is None:
        return False
    asked = str(level).upper().replace("_", " ")
    if asked not in ("AUTOCOMMIT", "READ COMMITTED") and not (dialect.name == "sqlite" and asked == "SERIALIZABLE"):
        raise UsageError("usage.input_invalid", f"The guard has no transactions of the isolation {asked[:30]}.")
    return asked == "AUTOCOMMIT"


def _in_use(pool: Any) -> bool:
    """Whether connections are checked out, as far as the pool knows."""
    count = getattr(pool, "checkedout", None)
    return bool(count()) if count is not None else bool(getattr(pool, "_checked_out", False))
