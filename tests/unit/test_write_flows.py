"""Protected values are not stored where they are not protected, whoever may read them; conditions store nothing of them."""

from __future__ import annotations

import pytest

from guardrails.catalog import from_ddl
from guardrails.flow import judge
from guardrails.masking import mask_expression
from guardrails.model import Column, Context, DialectName, Mask, MaskExpression, Principal, Statement
from guardrails.policy import Policy

DDL = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(40), email VARCHAR(40), second VARCHAR(40), credit INTEGER);
CREATE TABLE copies (id INTEGER PRIMARY KEY, same VARCHAR(40), strict VARCHAR(40), partial VARCHAR(40), wider VARCHAR(40));
CREATE TABLE notes (id INTEGER PRIMARY KEY, body VARCHAR(40));
CREATE VIEW contacts AS SELECT id, email AS address FROM customers;
"""
POLICY = """
version: 1
rules:
  - {id: all, effect: allow, actions: [read, write, ddl], relations: ["*"], where: optional}
columns:
  customers.email: {mask: pseudonym, except: {groups: [exempt]}}
  customers.second: {mask: pseudonym, except: {groups: [exempt]}}
  customers.credit: {mask: full, except: {groups: [exempt]}}
  copies.same: {mask: pseudonym, except: {groups: [exempt]}}
  copies.strict: {mask: full}
  copies.partial: {mask: partial, last: 2, except: {groups: [exempt]}}
  copies.wider: {mask: pseudonym, except: {groups: [exempt, others]}}
"""
EXEMPT = Principal("lea@example.com", frozenset({"exempt"}))
ALL: tuple[DialectName, ...] = ("sqlite", "postgres", "mysql", "duckdb")
NOT_MYSQL: tuple[DialectName, ...] = ("sqlite", "postgres", "duckdb")


def _code(sql: str, dialect: DialectName, principal: Principal = EXEMPT) -> str:
    catalog = from_ddl(DDL, dialect)

    def mask_sql(mask: Mask, column: Column) -> MaskExpression:
        return mask_expression(mask, column, dialect, b"k" * 32)

    policy = Policy.from_text(POLICY).bind(catalog)
    return judge(Statement(sql, {}, dialect), catalog, policy, principal, Context(), mask_sql).decision.code


REFUSED: tuple[tuple[str, tuple[DialectName, ...]], ...] = (
    ("INSERT INTO notes (id, body) SELECT id, email FROM customers", ALL),
    ("INSERT INTO notes SELECT id, email FROM customers", ALL),
    ("INSERT INTO notes (body, id) SELECT upper(c.email), c.id FROM customers c", ALL),
    ("INSERT INTO notes (id, body) SELECT id, address FROM contacts", ALL),
    ("INSERT INTO notes (id, body) SELECT id, CASE WHEN credit > 50 THEN 'rich' ELSE 'poor' END FROM customers", ALL),
    ("INSERT INTO notes (id, body) SELECT 1, max(email) FROM customers", ALL),
    ("INSERT INTO notes (id, body) VALUES (1, (SELECT email FROM customers WHERE id = 1))", ALL),
    ("INSERT INTO notes (id, body) SELECT id, e FROM (SELECT id, email AS e FROM customers) AS s", ALL),
    ("INSERT INTO notes (id, body) WITH c AS (SELECT id, email FROM customers) SELECT id, email FROM c", ALL),
    ("INSERT INTO notes (id, body) SELECT id, body FROM notes UNION ALL SELECT id, email FROM customers", ALL),
    ("INSERT INTO customers (id, name) SELECT id + 100, email FROM customers", ALL),
    ("INSERT INTO copies (id, partial) SELECT id, email FROM customers", ALL),
    ("INSERT INTO copies (id, wider) SELECT id, email FROM customers", ALL),
    ("INSERT INTO copies (id, same) SELECT id, CAST(credit AS CHAR(9)) FROM customers", ALL),
    ("UPDATE notes SET body = (SELECT email FROM customers WHERE id = 1) WHERE id = 1", ALL),
    ("UPDATE customers SET name = email WHERE id = 1", ALL),
    ("UPDATE customers SET name = second, email = 'new@x' WHERE id = 1", ALL),
    ("UPDATE notes SET body = c.email FROM customers AS c WHERE c.id = notes.id", NOT_MYSQL),
    ("UPDATE notes n JOIN customers c ON c.id = n.id SET n.body = c.email WHERE c.id = 1", ("mysql",)),
    (
        "INSERT INTO customers (id, email, name) SELECT id, email, name FROM customers WHERE id = 1"
        " ON DUPLICATE KEY UPDATE name = VALUES(email)",
        ("mysql",),
    ),
    (
        "INSERT INTO customers (id, email, name) SELECT id, second, name FROM customers WHERE id = 1"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.email",
        NOT_MYSQL,
    ),
    ("WITH u AS (UPDATE customers SET name = 'x' WHERE id = 1 RETURNING email) INSERT INTO notes SELECT 1, email FROM u", ("postgres",)),
    (
        "MERGE INTO notes USING customers AS c ON c.id = notes.id WHEN MATCHED THEN UPDATE SET body = c.email"
        " WHEN NOT MATCHED THEN INSERT (id, body) VALUES (c.id, 'x')",
        ("postgres",),
    ),
    (
        "MERGE INTO notes USING customers AS c ON c.id = notes.id WHEN NOT MATCHED THEN INSERT (id, body) VALUES (c.id, c.email)",
        ("postgres",),
    ),
    ("CREATE TABLE fresh AS SELECT id, email FROM customers", ("sqlite", "postgres")),
    ("ALTER TABLE customers RENAME COLUMN email TO mail", ("sqlite", "postgres")),
    ("ALTER TABLE customers RENAME TO people", ("sqlite", "postgres")),
)  # fmt: skip
ALLOWED: tuple[tuple[str, tuple[DialectName, ...]], ...] = (
    ("INSERT INTO copies (id, same) SELECT id, email FROM customers", ALL),
    ("INSERT INTO copies (id, strict) SELECT id, email FROM customers", ALL),
    ("INSERT INTO customers (id, second) SELECT id + 100, lower(email) FROM customers", ALL),
    ("UPDATE customers SET email = lower(email) WHERE id = 1", ALL),
    ("UPDATE customers SET credit = credit + 1 WHERE id = 1", ALL),
    ("UPDATE notes SET body = 'vip' WHERE id IN (SELECT id FROM customers WHERE credit > 50)", ALL),
    ("INSERT INTO notes (id, body) SELECT id, name FROM customers WHERE email LIKE '%x'", ALL),
    ("DELETE FROM notes WHERE body IN (SELECT email FROM customers)", ALL),
    ("UPDATE customers SET name = 'x' WHERE id = 1 RETURNING email", NOT_MYSQL),
    ("CREATE TABLE fresh AS SELECT id, name FROM customers", ("sqlite", "postgres")),
    ("CREATE VIEW fresh AS SELECT id, email FROM customers", ("sqlite", "postgres")),
)


def _cases(rows: tuple[tuple[str, tuple[DialectName, ...]], ...]) -> list[tuple[str, DialectName]]:
    return [(sql, dialect) for sql, dialects in rows for dialect in dialects]


@pytest.mark.parametrize(("sql", "dialect"), _cases(REFUSED))
def test_a_protected_value_stays_protected(sql: str, dialect: DialectName) -> None:
    assert _code(sql, dialect) == "mask.write_unprotects"


@pytest.mark.parametrize(("sql", "dialect"), _cases(ALLOWED))
def test_what_keeps_the_protection_is_allowed(sql: str, dialect: DialectName) -> None:
    assert _code(sql, dialect) == "ok"


@pytest.mark.parametrize(("sql", "dialect"), _cases(REFUSED))
def test_who_is_bound_by_the_mask_is_refused_as_before(sql: str, dialect: DialectName) -> None:
    assert _code(sql, dialect, Principal("ana@example.com")).startswith("mask.write_")
