"""A guard put into engines that an application has already, and the ways around it: none of them shows what the guard hides."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from guardrails import Denied, Guard, GuardrailsError, Policy, Principal, UsageError
from guardrails.integrations import dbapi
from tests.support.guarded_shop import ANA, POLICY, open_guard
from tests.support.schema import SQLITE_SHOP
from tests.support.shop_models import Customer, Order
from tests.support.shop_urls import shop_url

DRIVERS = {"sqlite": "sqlite", "postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgres": "postgresql+psycopg_async"}
SECRETS = ("ada@example.com", "bo@example.com", "078-05-1120", "90000")


def engine_for(url: str, driver: str, **options: Any) -> sa.Engine:
    return sa.create_engine(sa.make_url(url).set(drivername=driver), **options)


@pytest.fixture(params=sorted(DRIVERS))
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Guard, sa.Engine]]:
    url = shop_url(request, request.param)
    engine = engine_for(url, DRIVERS[request.param])
    with open_guard(url, tmp_path) as guard:
        guard.install(engine)
        yield guard, engine
    engine.dispose()


@pytest.fixture
def sqlite_installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Guard, sa.Engine]]:
    url = shop_url(request, "sqlite")
    engine = engine_for(url, "sqlite")
    with open_guard(url, tmp_path) as guard:
        guard.install(engine)
        yield guard, engine


def test_what_refers_to_the_engine_is_guarded(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = shop_url(request, "postgres")
    engine = engine_for(url, "postgresql+psycopg")
    factory = sessionmaker(engine)
    statements: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def seen(connection: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    with factory() as session:
        assert session.scalar(sa.select(Customer.email).where(Customer.id == 1)) == "ada@example.com"
    with open_guard(url, tmp_path) as guard:
        guard.install(engine)
        guard.install(engine)
        with factory() as session:
            assert session.scalar(sa.select(Customer.email).where(Customer.id == 1)) == "hidden"
            with pytest.raises(Denied):
                session.execute(sa.text("DROP TABLE orders"))
        assert len(statements) == 3
        assert {e["principal"]["id"] for e in guard.ledger.entries() if e["type"] in ("intent", "refusal")} == {ANA.id}
        with guard.session(principal=Principal("bob@example.com"), agent="b"), factory() as session, pytest.raises(Denied):
            session.execute(sa.select(Customer.id))
    with factory() as session, pytest.raises(UsageError, match=r"usage\.no_session"):
        session.execute(sa.select(Customer.id))
    engine.dispose()


def test_orm_on_an_installed_engine(installed: tuple[Guard, sa.Engine]) -> None:
    _, engine = installed
    with Session(engine) as session:
        assert [c.email for c in session.scalars(sa.select(Customer).order_by(Customer.id))] == ["hidden"] * 3
        session.get_one(Order, 1).status = "new"
        session.commit()
        assert session.get_one(Order, 1).status == "new"


def test_the_drivers_own_placeholders(installed: tuple[Guard, sa.Engine]) -> None:
    guard, engine = installed
    sign = "?" if guard.database.dialect == "sqlite" else "%s"
    raw = engine.raw_connection()
    cursor = raw.cursor()
    cursor.execute(f"SELECT id, email FROM customers WHERE id = {sign} AND name LIKE {sign}", (1, "A%"))
    assert cursor.fetchall() == [(1, "hidden")]
    if sign == "%s":
        cursor.execute("SELECT id FROM customers WHERE name = %(name)s AND name LIKE 'A%%'", {"name": "Ada"})
        assert cursor.fetchall() == [(1,)]
    raw.close()


def _rows(run: Callable[[], Any]) -> object:
    """What a way around gives: rows, an object, or the name of its refusal."""
    try:
        found = run()
    except (GuardrailsError, AttributeError, dbapi.Error, sa.exc.SQLAlchemyError) as error:
        return f"{type(error).__name__}: {error}"
    return found


SQL = "SELECT email, ssn FROM customers"


def _old_copy(engine: sa.Engine) -> object:
    with engine.connect() as connection:
        return connection.execution_options(stream_results=True).exec_driver_sql(SQL).fetchall()


def _with_hooks(engine: sa.Engine) -> object:
    """A listener that runs the statement itself, on whatever cursor it is given."""
    kept: list[object] = []

    def do_execute(cursor: Any, statement: str, parameters: object, context: object) -> bool:
        cursor.execute(SQL)
        kept.extend(cursor.fetchall())
        return False

    event.listen(engine, "do_execute", do_execute)
    try:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    finally:
        event.remove(engine, "do_execute", do_execute)
    return kept


def _on_checkout(engine: sa.Engine) -> object:
    kept: list[object] = []

    def checkout(connection: Any, record: Any, proxy: Any) -> None:
        kept.extend(connection.cursor().execute(SQL).fetchall())

    event.listen(engine, "checkout", checkout)
    try:
        engine.connect().close()
    finally:
        event.remove(engine, "checkout", checkout)
    return kept


WAYS: dict[str, Callable[[sa.Engine], Any]] = {
    "raw_cursor": lambda e: e.raw_connection().driver_connection.cursor().execute(SQL).fetchall(),
    "fairy_cursor": lambda e: (f := e.raw_connection(), c := f.cursor(), c.execute(SQL), c.fetchall())[-1],
    "dbapi_connection": lambda e: (c := e.connect(), c.connection.dbapi_connection.cursor().execute(SQL).fetchall())[-1],
    "driver_connection": lambda e: (c := e.connect(), c.connection.driver_connection.execute(SQL).fetchall())[-1],
    "pool": lambda e: (f := e.pool.connect(), f.cursor().execute(SQL).fetchall())[-1],
    "pool_creator": lambda e: e.pool._creator().cursor().execute(SQL).fetchall(),
    "recreated_pool": lambda e: (f := e.pool.recreate().connect(), f.cursor().execute(SQL).fetchall())[-1],
    "disposed": lambda e: (e.dispose(), e.connect().exec_driver_sql(SQL).fetchall())[-1],
    "streamed": _old_copy,
    "execute_hook": _with_hooks,
    "checkout_hook": _on_checkout,
    "options_copy": lambda e: e.execution_options(isolation_level="AUTOCOMMIT").connect().exec_driver_sql(SQL).fetchall(),
    "executescript": lambda e: e.raw_connection().driver_connection.executescript(SQL),
    "cursor_executescript": lambda e: e.raw_connection().driver_connection.cursor().executescript(SQL),
    "executemany": lambda e: e.raw_connection().driver_connection.cursor().executemany(SQL, [(), ()]).result,
    "several": lambda e: e.connect().exec_driver_sql(f"SELECT 1; {SQL}").fetchall(),
    "backup": lambda e: e.raw_connection().driver_connection.backup(sqlite3.connect(":memory:")),
    "iterdump": lambda e: list(e.raw_connection().driver_connection.iterdump()),
    "serialize": lambda e: e.raw_connection().driver_connection.serialize(),
    "blobopen": lambda e: e.raw_connection().driver_connection.blobopen("customers", "email", 1).read(),
    "create_function": lambda e: e.raw_connection().driver_connection.create_function("f", 1, lambda value: value),
    "set_authorizer": lambda e: e.raw_connection().driver_connection.set_authorizer(None),
    "load_extension": lambda e: e.raw_connection().driver_connection.load_extension("/tmp/x"),
    "enable_load_extension": lambda e: e.raw_connection().driver_connection.enable_load_extension(True),
    "copy": lambda e: list(e.raw_connection().driver_connection.cursor().copy("COPY customers TO STDOUT")),
    "copy_text": lambda e: e.connect().exec_driver_sql("COPY customers TO STDOUT").fetchall(),
    "outfile": lambda e: e.connect().exec_driver_sql("SELECT email FROM customers INTO OUTFILE '/tmp/gr_out'").fetchall(),
    "pipeline": lambda e: e.raw_connection().driver_connection.pipeline(),
    "notices": lambda e: e.raw_connection().driver_connection.add_notice_handler(print),
    "adapters": lambda e: e.raw_connection().driver_connection.adapters,
    "row_factory": lambda e: setattr(e.raw_connection().driver_connection, "row_factory", dict),
    "pragma": lambda e: e.connect().exec_driver_sql("PRAGMA writable_schema = ON").fetchall(),
    "attach": lambda e: e.connect().exec_driver_sql("ATTACH 'x.db' AS x").fetchall(),
    "vacuum_into": lambda e: e.connect().exec_driver_sql("VACUUM INTO '/tmp/gr_copy.db'").fetchall(),
    "server_function": lambda e: (
        e.connect().exec_driver_sql("SELECT query_to_xml('SELECT email FROM customers', true, true, '')").all()
    ),
    "statistics": lambda e: (
        e.connect().exec_driver_sql("SELECT most_common_vals FROM pg_stats WHERE tablename = 'customers'").all()
    ),
    "salary": lambda e: e.connect().execute(sa.select(sa.column("salary")).select_from(sa.table("employees"))).all(),
    "where": lambda e: e.connect().execute(sa.select(Customer.id).where(Customer.email == "ada@example.com")).all(),
    "callproc": lambda e: e.raw_connection().driver_connection.cursor().callproc("f"),
    "two_phase": lambda e: e.connect().begin_twophase(),
    "commented": lambda e: e.connect().exec_driver_sql("SELECT /*! email, */ 1 FROM customers").fetchall(),
    "prepared": lambda e: e.connect().exec_driver_sql(f"PREPARE p AS {SQL}").fetchall(),
}


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("way", sorted(WAYS))
def test_ways_around(sqlite_installed: tuple[Guard, sa.Engine], way: str) -> None:
    _, engine = sqlite_installed
    found = _rows(lambda: WAYS[way](engine))
    assert not any(secret in repr(found) for secret in SECRETS)
    assert found is None or isinstance(found, (str, list)) or way == "executemany"
    if found is None:
        pytest.fail("It neither refused nor gave anything: nobody knows what it did.")


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("name", ["postgres", "mysql"])
def test_ways_around_servers(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    url = shop_url(request, name)
    engine = engine_for(url, DRIVERS[name])
    with open_guard(url, tmp_path) as guard:
        guard.install(engine)
        for way, run in WAYS.items():
            found = _rows(lambda run=run: run(engine))  # type: ignore[misc]
            assert not any(secret in repr(found) for secret in SECRETS), way
            assert found is not None, way
        assert ("where", _rows(lambda: WAYS["where"](engine))) == ("where", [])


def test_a_copy_made_before_is_guarded(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """It has the old dialect; the pool is the guard's, and the text is judged whatever its placeholders."""
    for name, driver in DRIVERS.items():
        url = shop_url(request, name)
        engine = engine_for(url, driver)
        copy = engine.execution_options(compiled_cache=None)
        folder = tmp_path / name
        folder.mkdir()
        with open_guard(url, folder) as guard:
            guard.install(engine)
            with copy.connect() as connection:
                assert connection.execute(sa.select(Customer.email).where(Customer.id == 1)).all() == [("hidden",)]
                raw = connection.connection.dbapi_connection
                assert isinstance(raw, dbapi.Connection)
        engine.dispose()


def test_the_guard_may_work_on_the_engines_own_pool(tmp_path: Path) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    raw = engine.raw_connection()
    raw.driver_connection.executescript(SQLITE_SHOP)
    raw.close()
    policy, ledger = Policy.from_text(POLICY), f"sqlite:///{tmp_path / 'audit.db'}"
    with Guard.open(policy, database=engine, ledger=ledger) as guard, guard.session(principal=ANA, agent="a"):
        guard.install(engine)
        with Session(engine) as session:
            assert session.scalar(sa.select(Customer.email)) == "hidden"
            session.get_one(Order, 1).status = "new"
            session.flush()
            # One connection for all: no transaction can stay open on it.
            with pytest.raises(UsageError, match=r"usage\.no_rollback"):
                session.rollback()
        other = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        with pytest.raises(UsageError, match=r"usage\.other_database"):
            guard.install(other)


def test_what_cannot_be_installed_on(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = shop_url(request, "sqlite")
    engine = engine_for(url, "sqlite")
    with open_guard(url, tmp_path) as guard:
        with engine.connect(), pytest.raises(UsageError, match=r"usage\.connections_in_use"):
            guard.install(engine)
        with pytest.raises(UsageError, match="copy with options"):
            guard.install(engine.execution_options(a=1))
        for other in ("sqlite:///other.db", "postgresql+psycopg://localhost/shop"):
            with pytest.raises(UsageError, match=r"usage\.other_database"):
                guard.install(sa.create_engine(other))
        with pytest.raises(UsageError, match="isolation"):
            guard.install(engine_for(url, "sqlite", isolation_level="READ UNCOMMITTED"))
        autocommit = engine_for(url, "sqlite", isolation_level="AUTOCOMMIT")
        guard.install(autocommit)
        with autocommit.connect() as connection:
            connection.execute(sa.text("UPDATE orders SET status = 'kept' WHERE id = 1"))
        guard.install(engine)
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT status FROM orders WHERE id = 1")) == "kept"
        folder = tmp_path / "second"
        folder.mkdir()
        with open_guard(url, folder) as second, pytest.raises(UsageError, match="another guard"):
            second.install(engine)


def test_its_own_connections_are_closed(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = shop_url(request, "postgres")
    engine = engine_for(url, "postgresql+psycopg")
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    with open_guard(url, tmp_path) as guard, psycopg.connect(url, autocommit=True) as admin:
        guard.install(engine)
        admin.execute("SELECT pg_sleep(0.01) FROM pg_stat_activity WHERE pid = %s", [pid])
        assert admin.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() == (0,)


async def _through(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        found = (await session.scalars(sa.select(Customer).order_by(Customer.id))).all()
        assert [c.email for c in found] == ["hidden"] * 3
        (await session.get_one(Order, 1)).status = "lost"
        await session.flush()
        await session.rollback()
        order = await session.get_one(Order, 1)
        assert order.status == "paid"
        order.status = "kept"
        await session.commit()
    async with engine.connect() as connection:
        result = await connection.stream(sa.select(Order.id, Order.status).order_by(Order.id))
        assert [tuple(row) async for row in result] == [(1, "kept"), (2, "open"), (3, "paid"), (4, "open")]
        names = await connection.run_sync(lambda c: sa.inspect(c).get_table_names())
        assert names == ["customers", "orders"]
        with pytest.raises(Denied):
            await connection.execute(sa.text("DROP TABLE orders"))
        raw = (await connection.get_raw_connection()).driver_connection
        assert isinstance(raw, dbapi.Connection)
        with pytest.raises(sa.exc.MissingGreenlet):
            raw.cursor().execute("SELECT email FROM customers")
        nested = await connection.begin_nested()
        await connection.execute(sa.text("UPDATE orders SET status = 'x' WHERE id = 2"))
        await nested.rollback()
        assert await connection.scalar(sa.text("SELECT status FROM orders WHERE id = 2")) == "open"


@pytest.mark.parametrize("name", sorted(ASYNC_DRIVERS))
async def test_async_engines(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    url = shop_url(request, name)
    engine = create_async_engine(sa.make_url(url).set(drivername=ASYNC_DRIVERS[name]))
    with open_guard(url, tmp_path) as guard:
        guard.install(engine)
        await _through(engine)
        assert {e["principal"]["id"] for e in guard.ledger.entries() if e["type"] == "intent"} == {ANA.id}


@pytest.mark.parametrize("name", sorted(ASYNC_DRIVERS))
async def test_a_new_async_engine(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    with open_guard(shop_url(request, name), tmp_path) as guard:
        await _through(guard.async_engine())


async def test_the_loop_goes_on(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Statements of several tasks, each in a session of its own."""
    with open_guard(shop_url(request, "sqlite"), tmp_path) as guard:
        engine = guard.async_engine()

        async def ask(name: str) -> object:
            with guard.session(principal=Principal(name, frozenset({"support"})), agent="a"):
                async with engine.connect() as connection:
                    return await connection.scalar(sa.text("SELECT COUNT(*) FROM orders"))

        names = {f"p{n}@example.com" for n in range(8)}
        assert await asyncio.gather(*map(ask, sorted(names))) == [4] * 8
        assert {e["principal"]["id"] for e in guard.ledger.entries() if e["type"] == "intent"} == names


async def test_a_cancelled_task_keeps_nothing(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with open_guard(shop_url(request, "sqlite"), tmp_path) as guard:
        engine = guard.async_engine()
        changed = asyncio.Event()

        async def write() -> None:
            async with engine.begin() as connection:
                await connection.execute(sa.text("UPDATE orders SET status = 'lost' WHERE id = 1"))
                changed.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(write())
        await changed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with engine.connect() as connection:
            assert await connection.scalar(sa.text("SELECT status FROM orders WHERE id = 1")) == "paid"
        outcomes = [e["status"] for e in guard.ledger.entries() if e["type"] == "outcome" and "transaction" in e]
        assert outcomes == ["uncommitted", "rolled_back"]


def test_the_real_values_are_there(request: pytest.FixtureRequest) -> None:
    """What the ways around must not show can be read without the guard."""
    url = sa.make_url(shop_url(request, "sqlite"))
    with closing(sqlite3.connect(str(url.database))) as connection:
        assert ("ada@example.com", "078-05-1120") in connection.execute(SQL).fetchall()
    target = sa.make_url(shop_url(request, "mysql"))
    with closing(
        pymysql.connect(
            host=target.host,
            port=target.port or 3306,
            user=target.username,
            password=target.password or "",
            database=target.database,
        )
    ) as server:
        cursor = server.cursor()
        cursor.execute(SQL)
        assert ("ada@example.com", "078-05-1120") in cursor.fetchall()
