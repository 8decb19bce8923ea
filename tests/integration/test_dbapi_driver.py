"""The guard as a driver (PEP 249): cursors, placeholders, transactions and what it does not offer, on all four databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guardrails import ConstraintError, Denied, Guard, Policy, UsageError
from guardrails.integrations import dbapi
from tests.support.guarded_shop import ANA, POLICY, open_guard, tool_entries
from tests.support.shop_urls import ENGINES, shop_url


@pytest.fixture(params=ENGINES)
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(shop_url(request, request.param), tmp_path) as opened:
        yield opened


@pytest.fixture
def connection(guard: Guard) -> dbapi.Connection:
    return dbapi.connect(guard)


def test_cursors(guard: Guard, connection: dbapi.Connection) -> None:
    sign = "$most" if guard.database.dialect == "duckdb" else ":most"
    with connection.cursor() as cursor:
        assert (cursor.description, cursor.rowcount, cursor.connection) == (None, -1, connection)
        cursor.execute(f"SELECT id, name FROM customers WHERE id <= {sign} ORDER BY id", {"most": 3})
        assert cursor.description is not None
        assert [column[0] for column in cursor.description] == ["id", "name"]
        assert all(len(column) == 7 for column in cursor.description)
        assert cursor.rowcount == 3
        assert cursor.fetchone() == (1, "Ada")
        assert cursor.fetchmany() == [(2, "Bo")]
        assert list(cursor) == [(3, "Cy")]
        assert (cursor.fetchone(), cursor.fetchall(), cursor.fetchmany(5)) == (None, [], [])
        assert cursor.result is not None
        assert cursor.result.receipt.intent_index is not None
        cursor.setinputsizes([1])
        cursor.setoutputsize(1, 2)
        assert cursor.nextset() is None
        with pytest.raises(Denied):
            cursor.execute("SELECT * FROM employees")
        with pytest.raises(dbapi.ProgrammingError):
            cursor.fetchone()
    for use in (lambda: cursor.execute("SELECT 1"), cursor.fetchone, cursor.fetchall, cursor.fetchmany, cursor.nextset):
        with pytest.raises(dbapi.InterfaceError):
            use()
    connection.close()
    for use in (connection.cursor, connection.commit, connection.rollback):
        with pytest.raises(dbapi.InterfaceError):
            use()
    connection.close()
    assert {tool for tool, _, _ in tool_entries(guard)} == {"dbapi"}


def test_changes(connection: dbapi.Connection) -> None:
    sign = "$1" if connection.dialect == "postgres" else "?"
    cursor = connection.cursor()
    update = f"UPDATE orders SET status = {sign} WHERE id = {'$2' if sign == '$1' else '?'}"
    cursor.executemany(update, [("a", 1), ("b", 2), ("c", 99)])
    assert (cursor.rowcount, cursor.description, cursor.lastrowid) == (2, None, None)
    with pytest.raises(dbapi.ProgrammingError):
        cursor.fetchall()
    connection.commit()
    assert connection.execute("SELECT status FROM orders WHERE id < 3 ORDER BY id").fetchall() == [("a",), ("b",)]


def test_a_violated_constraint(connection: dbapi.Connection) -> None:
    for sql in (
        "INSERT INTO orders (id, customer_id, amount, status, region, created_at) VALUES (1, 1, 1, 's', 'r', '2026-05-01 00:00:00')",
        "INSERT INTO orders (id, customer_id, amount, status, region, created_at) VALUES (70, 1, 1, NULL, 'r', '2026-05-01 00:00:00')",
        "INSERT INTO orders (id, customer_id, amount, status, region, created_at) VALUES (71, 999, 1, 's', 'r', '2026-05-01 00:00:00')",
        "UPDATE orders SET amount = -1 WHERE id = 1",
    ):
        with pytest.raises(connection.IntegrityError) as violated:
            connection.execute(sql)
        assert isinstance(violated.value, ConstraintError), sql
        assert violated.value.code == "engine.failed"
        assert "a key may be taken" in violated.value.for_model()
    assert connection.execute("SELECT amount FROM orders WHERE id = 1").fetchall()


def test_rollback(guard: Guard) -> None:
    update = "UPDATE orders SET status = 'x' WHERE id = 1"

    def status() -> object:
        row = dbapi.connect(guard).execute("SELECT status FROM orders WHERE id = 1").fetchone()
        return row and row[0]

    is_transactional = guard.begin() is not None
    connection = dbapi.connect(guard)
    connection.execute(update)
    if not is_transactional:
        with pytest.raises(UsageError, match=r"usage\.no_rollback"):
            connection.rollback()
        connection.rollback()
        connection.execute(update)
        with pytest.raises(UsageError, match=r"usage\.no_rollback"):
            connection.close()
        with pytest.raises(UsageError, match=r"usage\.no_rollback"):
            dbapi.connect(guard).save("a")
        return
    with pytest.raises(dbapi.ProgrammingError):
        connection.autocommit = True
    connection.rollback()
    assert status() == "paid"
    with pytest.raises(Denied), dbapi.connect(guard) as other:
        other.execute(update).execute("DROP TABLE orders")
    left = dbapi.connect(guard)
    left.execute(update)
    left.close()
    assert status() == "paid"
    with dbapi.connect(guard) as other:
        other.execute(update)
    assert status() == "x"


def test_autocommit(guard: Guard) -> None:
    connection = dbapi.connect(guard, autocommit=True, tool="nightly", tool_call_id="c1")
    connection.execute("UPDATE orders SET status = 'x' WHERE id = 1")
    connection.rollback()
    connection.close()
    assert dbapi.connect(guard).execute("SELECT status FROM orders WHERE id = 1").fetchone() == ("x",)
    assert tool_entries(guard)[0] == ("nightly", "c1", "intent")


@pytest.mark.parametrize(
    ("sql", "values", "rows"),
    [
        ("SELECT id FROM customers WHERE name = %s AND id = %s", ("Ada", 1), [(1,)]),
        ("SELECT id FROM customers WHERE name = %(n)s AND name LIKE %(n)s", {"n": "Bo"}, [(2,)]),
        ("SELECT id FROM customers WHERE name LIKE 'A%%' AND id = %s", (1,), [(1,)]),
        ("SELECT 7 %% 4 AS rest", (), [(3,)]),
        ("SELECT 7 % 4 AS rest", None, [(3,)]),
        ("SELECT id FROM customers WHERE name LIKE 'A%'", None, [(1,)]),
    ],
)
@pytest.mark.parametrize("engine", ["postgres", "mysql"])
def test_percent_placeholders(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str, sql: str, values: dbapi.Parameters | None, rows: object
) -> None:
    with open_guard(shop_url(request, engine), tmp_path) as guard:
        assert dbapi.connect(guard).execute(sql, values).fetchall() == rows


def test_values_stay_values(connection: dbapi.Connection) -> None:
    """Whatever stands in a value is never part of the text, in any style."""
    evil = "' OR 1=1 -- %s :x $1 ?"
    style: dict[str, tuple[str, dbapi.Parameters]] = {
        "sqlite": ("?", (evil,)),
        "postgres": ("%s", (evil,)),
        "mysql": ("%(x)s", {"x": evil}),
        "duckdb": ("$1", (evil,)),
    }
    sign, values = style[connection.dialect]
    assert connection.execute(f"SELECT id FROM customers WHERE name = {sign}", values).fetchall() == []


@pytest.mark.parametrize("sql", ["SELECT id FROM customers WHERE id = %s", "SELECT %(a)s", "SELECT '%s'"])
def test_values_that_do_not_fit(postgres_db: str, request: pytest.FixtureRequest, tmp_path: Path, sql: str) -> None:
    with open_guard(shop_url(request, "postgres"), tmp_path) as guard, pytest.raises(Denied):
        dbapi.connect(guard).execute(sql, (1, 2, 3))


def test_truncation_is_told(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    policy = Policy.from_text(POLICY + "limits: {rows: 2}\n")
    with (
        Guard.open(policy, database=shop_url(request, "sqlite"), ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        guard.session(principal=ANA, agent="a"),
    ):
        cursor = dbapi.connect(guard).cursor()
        with pytest.warns(dbapi.TruncationWarning):
            cursor.execute("SELECT id FROM customers")
        assert cursor.rowcount == 2


def test_what_is_not_offered(connection: dbapi.Connection) -> None:
    for thing in (connection, connection.cursor()):
        for name in ("executescript", "copy", "backup", "create_function", "callproc"):
            assert not hasattr(thing, name)
            with pytest.raises(UsageError, match=r"usage\.not_guarded"):
                getattr(thing, name)
            with pytest.raises(AttributeError):
                setattr(thing, name, None)


def test_the_module() -> None:
    """What PEP 249 asks of a module."""
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 2, "named")
    assert issubclass(dbapi.Warning, Exception)
    assert issubclass(dbapi.InterfaceError, dbapi.Error)
    kinds = ("DataError", "OperationalError", "IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError")
    assert all(issubclass(getattr(dbapi, kind), dbapi.DatabaseError) for kind in kinds)
    assert all(
        getattr(dbapi.Connection, kind) is getattr(dbapi, kind) for kind in (*kinds, "Warning", "Error", "InterfaceError")
    )
    assert dbapi.Date(2026, 1, 2).isoformat() == "2026-01-02"
    assert dbapi.DateFromTicks(86_400 * 2).year == 1970
    assert dbapi.TimeFromTicks(3_661).second == 1
    assert dbapi.TimestampFromTicks(3_661).second == 1
    assert dbapi.Binary(b"a") == b"a"


def test_threads_share_a_connection(connection: dbapi.Connection) -> None:
    """But not the session: in a thread of its own nobody is known."""
    caught: list[UsageError] = []

    def work() -> None:
        with pytest.raises(UsageError, match=r"usage\.no_session") as error:
            connection.execute("SELECT 1")
        caught.append(error.value)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 1
