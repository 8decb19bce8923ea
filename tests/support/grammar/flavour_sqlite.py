"""What the tests add to SQLite's side of the grammar: their schema, and statements that no agent may run."""

from __future__ import annotations

from dataclasses import replace

from guardrails.proving.grammar.flavour_sqlite import SQLITE as PLAIN
from tests.support.grammar.schema import schema_of

__all__ = ["SQLITE"]

_HOSTILE = {
    "text": ["load_extension('x')", "readfile('/etc/passwd')", "writefile('/tmp/probe', 'x')", "sqlite_version()", "sqlite_source_id()", "sqlite_compileoption_get(1)", "(SELECT sql FROM sqlite_master LIMIT 1)", "edit('x')", "fts3_tokenizer('simple')", "(SELECT name FROM sqlite_schema LIMIT 1)", "(SELECT file FROM pragma_database_list)", "'a' MATCH 'b'", "{text} REGEXP 'a'", "hex(randomblob(4))"],
    "int": ["last_insert_rowid()", "changes()", "total_changes()", "random()", "rowid", "_rowid_", "oid", "(SELECT count(*) FROM pragma_table_info('customers'))", "(SELECT count(*) FROM dbstat)", "sqlite_offset(1)", "(SELECT rootpage FROM main.sqlite_master LIMIT 1)", "(SELECT count(*) FROM pragma_wal_checkpoint)", "(SELECT user_version FROM pragma_user_version)", "(SELECT stat FROM sqlite_stat1)"],
    "bool": ["load_extension('x', 'y') IS NULL", "writefile('/tmp/probe', 'x') > 0", "EXISTS (SELECT 1 FROM sqlite_temp_master)", "EXISTS (SELECT 1 FROM pragma_function_list)", "EXISTS (SELECT 1 FROM temp.sqlite_master)"],
    "num": ["random() * 1.0"],
    "json": ["json_array(load_extension('z'))", "(SELECT json_group_array(name) FROM sqlite_master)"],
}  # fmt: skip

_STATEMENTS = [
    "SELECT 1; DELETE FROM orders", "PRAGMA user_version = 5", "PRAGMA query_only = OFF", "PRAGMA writable_schema = 1", "ATTACH '/tmp/probe.db' AS p", "DETACH p", "VACUUM INTO '/tmp/probe2.db'", "VACUUM", "REINDEX", "ANALYZE", "BEGIN", "COMMIT", "SAVEPOINT s", "RELEASE s", "ROLLBACK",
    "CREATE TABLE stolen AS SELECT * FROM customers", "CREATE TEMP TABLE stolen AS SELECT * FROM customers", "CREATE VIEW stolen AS SELECT 1", "CREATE TRIGGER t AFTER INSERT ON orders BEGIN DELETE FROM customers; END", "DROP TABLE orders", "ALTER TABLE orders RENAME TO o", "EXPLAIN DELETE FROM orders",
    "WITH d AS (SELECT id FROM customers) DELETE FROM orders WHERE id IN (SELECT id FROM d)", "WITH d AS (SELECT 1 AS a) INSERT INTO employees (id) SELECT a + 900 FROM d", "REPLACE INTO employees (id, name) VALUES (1, 'x')", "INSERT OR REPLACE INTO employees (id) VALUES (1)", "UPDATE OR IGNORE employees SET name = 'x'",
    "SELECT * FROM sqlite_master", "SELECT * FROM pragma_table_info('customers')", "SELECT rowid, * FROM customers", "SELECT * FROM customers INDEXED BY customers_email WHERE email = 'a'", "SELECT * FROM customers NOT INDEXED", "DELETE FROM orders WHERE id = 1 RETURNING *", "DELETE FROM sqlite_master", "INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)",
    "UPDATE orders SET amount = 1 ORDER BY id LIMIT 1", "SELECT * FROM noting", "INSERT INTO noting (id) VALUES (5)", "DELETE FROM customers", "SELECT * FROM generate_series(1, 3)", "PRAGMA table_info(customers)", "SELECT load_extension('a')",
]  # fmt: skip

_SETUP = [
    "CREATE INDEX customers_email ON customers (email, lower(name))",
    "CREATE VIEW noting AS SELECT id FROM orders",
    "CREATE TRIGGER noting_in INSTEAD OF INSERT ON noting BEGIN DELETE FROM employees; END",
]

SQLITE = replace(
    PLAIN,
    schema=schema_of(PLAIN),
    hostile=_HOSTILE,
    hostile_statements=_STATEMENTS,
    setup=_SETUP,
)
