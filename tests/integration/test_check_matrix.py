"""The smallest useful policy against what agents write: plain analytics pass; writes, escapes and protected values do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guardrails import flow
from guardrails.engines import Engine, open_engine
from guardrails.errors import EngineError
from guardrails.masking import mask_expression
from guardrails.model import Column, Context, Mask, MaskExpression, Principal, Statement
from guardrails.policy import Policy
from tests.support.corpus import rows
from tests.support.guard_policies import SMALLEST
from tests.support.twins import KEY, fill_postgres, fill_sqlite

ANA = Principal("ana@example.com", frozenset({"support"}), {"region": "EU"})
SECRETS = {value for table, row in rows(1) if table == "customers" for value in (row[2], row[3]) if value is not None}

ANALYTICS = """
SELECT region, count(*) FROM customers GROUP BY region ORDER BY 2 DESC
SELECT c.name, sum(o.amount) spent FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.id, c.name ORDER BY spent LIMIT 5
WITH monthly AS (SELECT customer_id, count(*) n FROM orders GROUP BY customer_id) SELECT avg(n) FROM monthly
SELECT name, row_number() OVER (PARTITION BY region ORDER BY name) FROM customers
SELECT count(DISTINCT email) FROM customers
SELECT status, CASE WHEN amount > 20 THEN 'big' ELSE 'small' END FROM orders WHERE created BETWEEN '2026-01-01' AND '2026-12-31'
""".strip().splitlines()

PROTECTED_READS = """
SELECT * FROM customers
SELECT c.* FROM customers AS c
SELECT email FROM customers WHERE email LIKE '%@example.com'
SELECT id, ssn FROM customers UNION ALL SELECT id, name FROM customers
SELECT max(ssn), min(email) FROM customers
SELECT x.e FROM (SELECT email AS e FROM customers) x ORDER BY x.e
WITH c AS (SELECT * FROM customers) SELECT * FROM c
SELECT a.ssn FROM customers a JOIN customers b ON a.ssn = b.ssn
SELECT (SELECT ssn FROM customers WHERE id = 1)
SELECT CAST(ssn AS INTEGER) FROM customers
SELECT 1 / (length(ssn) - 11) FROM customers
SELECT "email" FROM "customers"
SELECT mail FROM customer_mails
""".strip().splitlines()

POSTGRES_PROTECTED_READS = """
TABLE customers
SELECT c FROM customers c
SELECT row_to_json(c) FROM customers c
SELECT to_jsonb(customers) FROM customers
SELECT c::text FROM customers c
SELECT (c).ssn FROM customers c
SELECT ROW(c.*) FROM customers c
SELECT j.value FROM customers c, jsonb_each_text(to_jsonb(c)) j
SELECT array_agg(c) FROM customers c
SELECT ssn::int FROM customers
SELECT s.* FROM customers c, LATERAL (SELECT c.ssn) s
SELECT string_agg(ssn, ',') FROM public.customers
SELECT pg_catalog.lower(ssn) FROM ONLY customers
""".strip().splitlines()

REFUSED = {
    "UPDATE customers SET name = 'x' WHERE id = 1": "policy.no_rule",
    "INSERT INTO orders SELECT * FROM orders": "policy.no_rule",
    "DELETE FROM orders": "policy.no_rule",
    "DROP TABLE orders": "policy.no_rule",
    "SELECT 1; DROP TABLE orders": "sql.multiple_statements",
    "SELECT 1;;SELECT 2": "sql.multiple_statements",
    "SELECT salary FROM employees": "policy.no_rule",
    "SELECT * FROM nosuch": "sql.relation_unknown",
    "SELECT nosuch FROM customers": "sql.column_unknown",
    "BEGIN": "sql.statement_unsupported",
}
POSTGRES_REFUSED = {
    "WITH d AS (DELETE FROM orders WHERE id = 1 RETURNING *) SELECT * FROM d": "policy.no_rule",
    "WITH d AS (UPDATE orders SET amount = 0 WHERE id = 1 RETURNING id) SELECT count(*) FROM d": "policy.no_rule",
    "SELECT * INTO copy FROM customers": "sql.construct_unsupported",
    "EXPLAIN ANALYZE DELETE FROM orders": "sql.statement_unsupported",
    "COPY customers TO '/tmp/x'": "sql.statement_unsupported",
    "COPY (SELECT * FROM customers) TO PROGRAM 'cat'": "sql.statement_unsupported",
    "SELECT pg_read_file('/etc/passwd')": "sql.function_not_allowed",
    "SELECT * FROM dblink('x', 'SELECT 1') AS t(a int)": "sql.function_not_allowed",
    "SELECT pg_sleep(10)": "sql.function_not_allowed",
    "SELECT set_config('a.b', 'c', false)": "sql.function_not_allowed",
    "SELECT nextval('s')": "sql.function_not_allowed",
    "SELECT query_to_xml('select 1', true, true, '')": "sql.function_not_allowed",
    "SELECT database_to_xml(true, true, '')": "sql.function_not_allowed",
    "SELECT \"pg_read_file\"('x')": "sql.function_not_allowed",
    "SELECT * FROM pg_stat_activity": "sql.relation_unknown",
    "SELECT * FROM pg_catalog.pg_shadow": "sql.relation_unknown",
    "SELECT * FROM information_schema.role_table_grants": "sql.relation_unknown",
    "SELECT id FROM customers FOR UPDATE": "sql.construct_unsupported",
    "SELECT 'pg_authid'::regclass": "sql.construct_unsupported",
    "SELECT ctid FROM customers": "sql.column_unknown",
    "SELECT c.row_to_json FROM customers c": "sql.column_unknown",
    "DO $$ BEGIN END $$": "sql.statement_unsupported",
    "SET ROLE postgres": "sql.statement_unsupported",
    "LOCK TABLE orders": "sql.statement_unsupported",
    "PREPARE x AS SELECT 1": "sql.statement_unsupported",
    "SELECT lo_import('/etc/passwd')": "sql.function_not_allowed",
    "SELECT id FROM customers TABLESAMPLE SYSTEM (50)": "sql.construct_unsupported",
}
SQLITE_REFUSED = {
    "PRAGMA foreign_key_list(customers)": "sql.statement_unsupported",
    "ATTACH 'x.db' AS y": "sql.statement_unsupported",
    "VACUUM INTO 'x.db'": "sql.statement_unsupported",
    "REPLACE INTO orders VALUES (1)": "sql.statement_unsupported",
    "SELECT load_extension('x')": "sql.function_not_allowed",
    "SELECT * FROM sqlite_temp_master": "sql.relation_unknown",
    "SELECT * FROM pragma_index_list('customers')": "sql.function_not_allowed",
    "SELECT writefile('x', 'y')": "sql.function_not_allowed",
    "SELECT rowid FROM customers": "sql.column_unknown",
    'SELECT "nosuch" FROM customers': "sql.column_unknown",
    "SELECT name FROM customers INDEXED BY customers_email": "sql.construct_unsupported",
    "INSERT OR REPLACE INTO orders (id) VALUES (1)": "sql.construct_unsupported",
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("check")
        url = fill_sqlite(folder / "shop.db", 1)
    else:
        make: Callable[[], str] = request.getfixturevalue("new_postgres")
        url = fill_postgres(make(), 1)
    opened = open_engine(url)
    yield opened
    opened.dispose()


def judge(engine: Engine, sql: str) -> flow.Judgement:
    def mask(mask: Mask, column: Column) -> MaskExpression:
        return mask_expression(mask, column, engine.dialect, KEY)

    catalog = engine.catalog()
    policy = Policy.from_text(SMALLEST).bind(catalog)
    return flow.judge(Statement(sql, {}, engine.dialect), catalog, policy, ANA, Context(), mask)


def test_plain_analytics_pass(engine: Engine) -> None:
    for sql in ANALYTICS:
        judgement = judge(engine, sql)
        assert judgement.decision.effect == "allow", (sql, judgement.decision.reasons)
        assert judgement.plan is not None
        assert engine.execute(judgement.plan).columns


def test_writes_and_escapes_are_refused_with_a_code(engine: Engine) -> None:
    extra = POSTGRES_REFUSED if engine.dialect == "postgres" else SQLITE_REFUSED
    for sql, code in (REFUSED | extra).items():
        decision = judge(engine, sql).decision
        assert (decision.effect, decision.code) == ("deny", code), (sql, decision.reasons)
        assert decision.reasons[0].message
        assert decision.sql is None
    dropped = judge(engine, "DROP TABLE orders").decision.access
    assert dropped is not None
    assert (dropped.kind, dropped.actions) == ("drop", ("drop",))


def test_protected_values_never_come_back(engine: Engine) -> None:
    statements = PROTECTED_READS + (POSTGRES_PROTECTED_READS if engine.dialect == "postgres" else [])
    masked = 0
    for sql in statements:
        judgement = judge(engine, sql)
        if judgement.plan is None:
            continue
        try:
            answer = repr(engine.execute(judgement.plan).rows)
        except EngineError as error:
            answer = str(error) + error.for_model()
        masked += 1
        assert not any(str(secret) in answer for secret in SECRETS), sql
    assert masked >= 12


def test_row_filter_holds(engine: Engine) -> None:
    judgement = judge(engine, "SELECT DISTINCT region FROM orders")
    assert judgement.plan is not None
    assert engine.execute(judgement.plan).rows == (("EU",),)
