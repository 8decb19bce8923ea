"""Schema changes and MERGE through the guard on real engines: what a policy allows happens, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from guardrails import Denied, Guard, Policy, Principal
from guardrails.errors import EngineError, GuardrailsError, PolicyError
from tests.support.schema import make_postgres_shop, make_sqlite_shop

_POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [customers, orders, employees]}
  - {id: own, effect: allow, actions: [ddl, write, select], relations: ['scratch_*']}
  - {id: shop, effect: allow, actions: [ddl, write], relations: [employees, orders, customers, tickets], principals: {groups: [owners]}}
columns:
  customers.ssn: {mask: full}
rows:
  orders: {predicate: "region = 'north'", except: {groups: [auditors]}}
limits: {rows_changed: 3}
"""
_ANA = Principal("ana@example.com", frozenset({"support"}))
_OWEN = Principal("owen@example.com", frozenset({"owners", "auditors"}))
_FILTERED = Principal("ola@example.com", frozenset({"owners"}))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{make_sqlite_shop(tmp_path / 'shop.db')}"
    make: Callable[[], str] = request.getfixturevalue("new_postgres")
    return make_postgres_shop(make())


@pytest.fixture
def guard(url: str, tmp_path: Path) -> Iterator[Guard]:
    with Guard.open(Policy.from_text(_POLICY), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as opened:
        yield opened


def _run(guard: Guard, sql: str, principal: Principal = _ANA) -> list[tuple[object, ...]]:
    with guard.session(principal=principal, agent="test-agent"):
        return list(guard.execute(sql).rows)


def _code(guard: Guard, sql: str, principal: Principal = _ANA) -> str:
    with guard.session(principal=principal, agent="test-agent"), pytest.raises(GuardrailsError) as caught:
        guard.execute(sql)
    assert isinstance(caught.value, (Denied, EngineError))
    return caught.value.code


def test_a_table_of_ones_own_from_birth_to_death(guard: Guard) -> None:
    _run(guard, "CREATE TABLE scratch_a (id int PRIMARY KEY, note varchar(20) DEFAULT 'x', CHECK (id > 0))")
    _run(guard, "INSERT INTO scratch_a (id) VALUES (1), (2)")
    assert _run(guard, "SELECT id, note FROM scratch_a ORDER BY id") == [(1, "x"), (2, "x")]
    assert _code(guard, "INSERT INTO scratch_a (id) VALUES (0)") == "engine.failed"
    _run(guard, "ALTER TABLE scratch_a ADD COLUMN extra int")
    _run(guard, "UPDATE scratch_a SET extra = 5 WHERE id = 1")
    _run(guard, "ALTER TABLE scratch_a RENAME COLUMN extra TO more")
    _run(guard, "CREATE INDEX scratch_i ON scratch_a (more, lower(note))")
    assert _run(guard, "SELECT more FROM scratch_a WHERE more = 5") == [(5,)]
    _run(guard, "ALTER TABLE scratch_a RENAME TO scratch_b")
    _run(guard, "CREATE VIEW scratch_v (a) AS SELECT id FROM scratch_b")
    assert _run(guard, "SELECT a FROM scratch_v ORDER BY a") == [(1,), (2,)]
    _run(guard, "DROP VIEW scratch_v")
    _run(guard, "DROP TABLE scratch_b")
    assert _code(guard, "SELECT * FROM scratch_b") == "sql.relation_unknown"


def test_a_table_from_a_query_holds_visible_rows_only(guard: Guard) -> None:
    assert _run(guard, "CREATE TABLE scratch_o AS SELECT id, region FROM orders") == []
    assert {region for _, region in _run(guard, "SELECT id, region FROM scratch_o")} == {"north"}


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("CREATE TABLE other (id int)", "policy.no_rule"),
        ("DROP TABLE employees", "policy.no_rule"),
        ("ALTER TABLE employees ADD COLUMN x int", "policy.no_rule"),
        ("ALTER TABLE employees RENAME TO scratch_e", "policy.no_rule"),
        ("CREATE INDEX i ON employees (name)", "policy.no_rule"),
        ("CREATE TABLE scratch_s AS SELECT ssn FROM customers", "mask.write_reads_protected"),
        ("CREATE VIEW scratch_s AS SELECT ssn FROM customers", "mask.write_reads_protected"),
        ("CREATE VIEW scratch_s AS SELECT name FROM customers", "mask.unsupported"),
        ("CREATE VIEW scratch_s AS SELECT id FROM orders", "mask.unsupported"),
        ("CREATE TABLE scratch_s AS SELECT name FROM tickets", "sql.column_unknown"),
        ("CREATE TABLE scratch_s (id int REFERENCES tickets (id))", "policy.no_rule"),
        ("CREATE TABLE scratch_s (id int REFERENCES orders (id))", "mask.unsupported"),
        ("CREATE TABLE scratch_s (id int, FOREIGN KEY (id) REFERENCES orders)", "mask.unsupported"),
        ("CREATE TABLE pg_temp.orders (id int)", "sql.construct_unsupported"),
        ("CREATE TABLE temp.orders (id int)", "sql.construct_unsupported"),
        ("DROP TABLE scratch_missing", "sql.relation_unknown"),
        ("CREATE TABLE scratch_s AS SELECT * FROM ticket_log", "policy.no_rule"),
    ],
)
def test_what_no_rule_allows(guard: Guard, sql: str, code: str) -> None:
    assert _code(guard, sql) == code
    assert len(_run(guard, "SELECT name FROM employees")) == 2


def test_a_new_name_escapes_no_rule(guard: Guard) -> None:
    assert _code(guard, "ALTER TABLE tickets RENAME TO scratch_t", _OWEN) == "policy.no_rule"
    assert _code(guard, "ALTER TABLE tickets RENAME COLUMN body TO note", _OWEN) == "policy.no_rule"


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE customers DROP COLUMN ssn",
        "ALTER TABLE customers RENAME COLUMN ssn TO number",
        "ALTER TABLE customers RENAME TO scratch_c",
        "CREATE UNIQUE INDEX i ON customers (ssn)",
        "CREATE INDEX i ON customers (name) WHERE 1 / (length(ssn) - 11) > 0",
    ],
)
def test_no_definition_takes_a_protection_away(guard: Guard, sql: str) -> None:
    assert _code(guard, sql, _OWEN).startswith("mask.write_")
    assert _run(guard, "SELECT DISTINCT ssn FROM customers", _OWEN) == [("***",)]


@pytest.mark.parametrize("sql", ["DROP TABLE orders", "ALTER TABLE orders ADD COLUMN x int", "CREATE INDEX i ON orders (id)"])
def test_no_definition_touches_hidden_rows(guard: Guard, sql: str) -> None:
    assert _code(guard, sql, _FILTERED) == "mask.unsupported"


def test_dropping_counts_as_changing_every_row(guard: Guard) -> None:
    assert _code(guard, "DROP TABLE orders", _OWEN) == "engine.too_many_rows_changed"
    assert len(_run(guard, "SELECT id FROM orders", _OWEN)) == 4
    _run(guard, "DROP TABLE employees", _OWEN)
    with pytest.raises(PolicyError) as caught:
        _run(guard, "SELECT name FROM customers")
    # The policy names a relation that is gone; until it is mended nothing is judged by it.
    assert caught.value.code == "policy.unknown_relation"


def test_definitions_take_no_bound_values(guard: Guard) -> None:
    with guard.session(principal=_ANA, agent="test-agent"), pytest.raises(Denied) as caught:
        guard.execute("CREATE TABLE scratch_p AS SELECT :x AS x", {"x": 1})
    assert caught.value.code == "sql.construct_unsupported"


@pytest.fixture
def postgres_guard(new_postgres: Callable[[], str], tmp_path: Path) -> Iterator[Guard]:
    url = make_postgres_shop(new_postgres())
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE scratch_stock (id int PRIMARY KEY, amount int NOT NULL)")
        connection.execute("INSERT INTO scratch_stock VALUES (1, 10), (2, 20)")
    with Guard.open(Policy.from_text(_POLICY), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as opened:
        yield opened


def test_merge(postgres_guard: Guard) -> None:
    _run(
        postgres_guard,
        "MERGE INTO scratch_stock AS s USING (SELECT id FROM employees UNION ALL SELECT 7) AS e (id) ON s.id = e.id "
        "WHEN MATCHED AND s.amount > 15 THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET amount = s.amount + 1 "
        "WHEN NOT MATCHED THEN INSERT (id, amount) VALUES (e.id, 70)",
    )
    assert _run(postgres_guard, "SELECT id, amount FROM scratch_stock ORDER BY id") == [(1, 11), (7, 70)]


def test_merge_sees_visible_rows_only(postgres_guard: Guard) -> None:
    """A hidden row of the source neither merges nor fails the statement."""
    hidden = _run(postgres_guard, "SELECT id, region FROM orders", _OWEN)
    visible = {i for i, region in hidden if region == "north"}
    assert visible < {i for i, _ in hidden}
    cases = " + ".join(f"1 / (o.id - {i})" for i, region in hidden if region != "north")
    _run(
        postgres_guard,
        f"MERGE INTO scratch_stock AS s USING orders AS o ON s.id = o.id + 100 AND 0 * ({cases}) = 0 "
        "WHEN NOT MATCHED THEN INSERT (id, amount) VALUES (o.id + 100, o.id)",
    )
    assert {i - 100 for (i,) in _run(postgres_guard, "SELECT id FROM scratch_stock WHERE id > 100")} == visible


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("MERGE INTO employees USING scratch_stock AS s ON FALSE WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'x', 1)", "policy.no_rule"),
        ("MERGE INTO scratch_stock AS t USING employees AS e ON TRUE WHEN MATCHED THEN DELETE", "policy.where_required"),
        (
            "MERGE INTO scratch_stock AS t USING customers AS c ON t.id = c.id WHEN MATCHED THEN UPDATE SET amount = length(c.ssn)",
            "mask.write_reads_protected",
        ),
        (
            "MERGE INTO scratch_stock AS t USING generate_series(1, 9) AS g (id) ON t.id = g.id + 100 "
            "WHEN NOT MATCHED THEN INSERT VALUES (g.id + 100, 0)",
            "engine.too_many_rows_changed",
        ),
    ],
)  # fmt: skip
def test_merge_that_is_refused(postgres_guard: Guard, sql: str, code: str) -> None:
    assert _code(postgres_guard, sql) == code
    assert _run(postgres_guard, "SELECT id, amount FROM scratch_stock ORDER BY id") == [(1, 10), (2, 20)]


def test_merge_into_filtered_rows(postgres_guard: Guard) -> None:
    sql = "MERGE INTO orders AS o USING employees AS e ON o.id = e.id WHEN MATCHED THEN UPDATE SET status = 'x'"
    assert _code(postgres_guard, sql, _FILTERED) == "mask.unsupported"
    assert _run(postgres_guard, sql, _OWEN) == []


def test_truncate(postgres_guard: Guard) -> None:
    assert _code(postgres_guard, "TRUNCATE orders", _OWEN) == "engine.too_many_rows_changed"
    _run(postgres_guard, "TRUNCATE TABLE scratch_stock")
    assert _run(postgres_guard, "SELECT id FROM scratch_stock") == []
