"""What the tests add to DuckDB's side of the grammar: their schema, and statements that no agent may run."""

from __future__ import annotations

from dataclasses import replace

from guardrails.proving.grammar.flavour_duckdb import DUCKDB as PLAIN
from tests.support.grammar.schema import schema_of

__all__ = ["DUCKDB"]

_HOSTILE = {
    "text": ["getvariable('x')", "current_setting('memory_limit')", "getenv('HOME')", "version()", "current_user", "(SELECT content FROM read_text('/etc/passwd'))", "(SELECT sql FROM duckdb_tables() LIMIT 1)", "(SELECT sql FROM sqlite_master LIMIT 1)", "current_query()", "(SELECT path FROM pragma_database_list() LIMIT 1)", "json_execute_serialized_sql('x')", "(SELECT name FROM duckdb_settings() LIMIT 1)", "error('x')", "upper(COLUMNS('name'))", "alias({text})", "stats({text})"],
    "int": ["nextval('probe_seq')", "currval('probe_seq')", "txid_current()", "rowid", "(SELECT count(*) FROM glob('/etc/*'))", "(SELECT count(*) FROM query('SELECT 1'))", "(SELECT count(*) FROM query_table('orders'))", "(SELECT count(*) FROM duckdb_columns())", "(SELECT count(*) FROM 'x.csv')", "probe_macro({int})", "(SELECT count(*) FROM probe_table())", "(SELECT count(*) FROM read_csv('/etc/passwd'))", "current_transaction_id()", "setseed(0.5)", "vector_type({int})", "#1"],
    "bool": ["error('x') IS NULL", "sleep_ms(1) IS NULL", "EXISTS (FROM duckdb_secrets())", "EXISTS (SELECT 1 FROM information_schema.tables)", "in_search_path('memory', 'main')", "write_log('x') IS NULL", "has_table_privilege('orders', 'select')"],
    "num": ["nextval('probe_seq') * 1.0", "probe_macro(1) * 1.5"],
    "json": ["json_serialize_sql('SELECT 1')", "to_json(nextval('probe_seq'))"],
}  # fmt: skip

_STATEMENTS = [
    "SELECT 1; DELETE FROM orders", "CREATE TABLE stolen AS SELECT * FROM customers", "CREATE TEMP TABLE stolen AS SELECT * FROM customers", "CREATE VIEW stolen AS SELECT 1", "CREATE MACRO upper(x) AS 'hacked'", "DROP TABLE orders", "ALTER TABLE orders ADD COLUMN x int", "TRUNCATE orders", "COPY customers TO '/tmp/probe.csv'", "COPY orders FROM '/tmp/probe.csv'",
    "EXPORT DATABASE '/tmp/probe'", "ATTACH ':memory:' AS p", "DETACH p", "INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '1GB'", "SET VARIABLE x = 1", "RESET memory_limit", "PRAGMA database_list", "PRAGMA table_info('customers')", "CALL pragma_version()", "CHECKPOINT", "VACUUM", "BEGIN", "COMMIT", "ROLLBACK", "EXPLAIN ANALYZE DELETE FROM orders",
    "PREPARE p AS DELETE FROM orders", "EXECUTE p", "DEALLOCATE p", "CREATE SEQUENCE s", "CREATE SECRET (TYPE s3)", "USE memory", "SUMMARIZE customers", "FROM read_csv('/etc/passwd')", "SELECT * FROM read_parquet('x.parquet')", "SELECT * FROM '/etc/passwd'", "FROM query('DELETE FROM orders')", "SELECT COLUMNS('.*') FROM customers", "SELECT * LIKE 'n%' FROM customers",
    "PIVOT orders ON region USING sum(amount)", "UNPIVOT orders ON id, amount", "SELECT * FROM orders USING SAMPLE 3", "SELECT * FROM orders TABLESAMPLE 10%", "SELECT * REPLACE (upper(name) AS name) FROM customers", "SELECT rowid, * FROM customers", "SELECT customers.* RENAME (name AS n) FROM customers", "SELECT unnest(customers) FROM customers", "SELECT c.name FROM customers c POSITIONAL JOIN orders",
    "INSERT INTO employees BY NAME SELECT 900 AS id", "INSERT OR REPLACE INTO employees (id) VALUES (1)", "INSERT OR IGNORE INTO employees (id) VALUES (1)", "DELETE FROM customers", "UPDATE orders SET amount = 1", "MERGE INTO orders USING customers ON orders.id = customers.id WHEN MATCHED THEN DELETE", "SELECT nextval('probe_seq')", "SELECT * FROM probe_table()", "VALUES (nextval('probe_seq'))",
    "SELECT id FROM customers ORDER BY nextval('probe_seq')", "SELECT 1 LIMIT nextval('probe_seq')", "WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d", "SELECT * FROM customers ASOF JOIN orders ON customers.id >= orders.id", "SELECT [nextval('probe_seq') for x in [1]]", "SELECT list_transform([1], lambda x: nextval('probe_seq'))", "SELECT #1 FROM customers", "FROM customers SELECT * EXCLUDE (name)", "SUMMARIZE SELECT 1", "SHOW TABLES", "DESCRIBE customers",
]  # fmt: skip

_SETUP = [
    "CREATE INDEX customers_email ON customers (email)",
    "CREATE SEQUENCE probe_seq",
    "CREATE MACRO probe_macro(x) AS x + nextval('probe_seq')",
    "CREATE MACRO probe_table() AS TABLE SELECT * FROM customers",
]

DUCKDB = replace(
    PLAIN,
    schema=schema_of(PLAIN),
    hostile=_HOSTILE,
    hostile_statements=_STATEMENTS,
    setup=_SETUP,
)
