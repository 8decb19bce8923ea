"""What the tests add to PostgreSQL's side of the grammar: their schema, and statements that no agent may run."""

from __future__ import annotations

from dataclasses import replace

from guardrails.proving.grammar.flavour_postgres import POSTGRES as PLAIN
from tests.support.grammar.schema import schema_of

__all__ = ["POSTGRES"]

_HOSTILE = {
    "text": [
        "set_config('guardrails.probe', 'x', false)", "pg_notify('probe', 'x')::text", "current_setting('data_directory')", "pg_read_file('PG_VERSION')",
        "query_to_xml('DELETE FROM orders RETURNING id', true, false, '')::text", "bump()::text", "version()", "current_user", "pg_ls_dir('.')",
        "database_to_xml(true, true, '')::text", "lo_put(lo_create(0), 0, 'x')::text", "pg_get_viewdef('active_customers'::regclass)", "({row}).bump_row", "{row}.bump_row", "obj_description(1)",
        "public.bump()::text", '"upper"({text})', "pg_catalog.set_config('guardrails.probe', 'y', true)", "\"pg_catalog\".\"pg_notify\"('probe', 'z')::text", "query_to_xml_and_xmlschema('SELECT 1', true, false, '')::text",
        "(xpath('/a', table_to_xml('orders', true, false, '')))[1]::text", "ts_stat('SELECT 1')::text", "cursor_to_xml('c', 1, true, true, '')::text", "pg_logical_emit_message(true, 'a', 'b')::text",
    ],
    "int": [
        "nextval('probe_seq')", "setval('probe_seq', 4)", "currval('probe_seq')", "lo_create(0)::int", "pg_backend_pid()", "txid_current()", "bump()", "pg_catalog.nextval('public.probe_seq'::regclass)", "lastval()",
        "lo_creat(-1)::int", "lo_from_bytea(0, 'x')::int", "(SELECT count(*) FROM pg_stat_activity)", "{int} +~+ 1", "pg_relation_size('orders')", "CAST(nextval('probe_seq') AS int)", "(pg_try_advisory_lock(5))::int", "1 OPERATOR(public.+~+) {int}",
        "(SELECT count(*) FROM pg_catalog.pg_authid)", "(SELECT x FROM (INSERT INTO orders (id) VALUES (999) RETURNING id) AS q(x))", "(SELECT a FROM dblink('host=/tmp', 'SELECT 1') AS t(a int))",
    ],
    "bool": [
        "pg_try_advisory_lock(7)", "pg_advisory_lock(8) IS NULL", "pg_sleep(0) IS NULL", "pg_advisory_xact_lock(9) IS NULL", "has_table_privilege('orders', 'select')", "pg_cancel_backend(1)", "pg_terminate_backend(1)", "pg_reload_conf()",
        "pg_try_advisory_lock_shared(3)", "EXISTS (SELECT FROM pg_shadow)", "set_config('guardrails.probe', 'x', false) = 'x'", "EXISTS (SELECT 1 FROM customers FOR UPDATE)", "EXISTS (SELECT 1 FROM information_schema.tables)", "pg_rotate_logfile()",
    ],
    "num": ["random()::numeric", "pg_database_size(current_database())", "nextval('probe_seq')::numeric"],
    "json": ["to_jsonb(nextval('probe_seq'))", "to_jsonb(bump())", "jsonb_build_object('a', pg_notify('probe', 'j')::text)"],
    "ts": ["pg_postmaster_start_time()::timestamp", "pg_conf_load_time()::timestamp"],
}  # fmt: skip

_STATEMENTS = [
    "SELECT 1; DELETE FROM orders", "COMMIT; DROP TABLE orders", "SELECT * INTO stolen FROM customers", "CREATE TABLE stolen AS SELECT * FROM customers", "TABLE customers", "LOCK TABLE orders", "TRUNCATE orders", "DO $$ BEGIN DELETE FROM orders; END $$", "COPY customers TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO STDOUT", "EXPLAIN ANALYZE DELETE FROM orders", "PREPARE p AS DELETE FROM orders", "SET ROLE postgres", "SET SESSION AUTHORIZATION postgres", "VACUUM", "ANALYZE orders", "LISTEN probe", "NOTIFY probe", "CALL bump_all()", "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "SELECT * FROM orders FOR UPDATE", "SELECT * FROM orders o FOR NO KEY UPDATE OF o SKIP LOCKED", "SELECT * FROM orders FOR SHARE", "SELECT * FROM customers FOR KEY SHARE NOWAIT", "REFRESH MATERIALIZED VIEW m", "DROP TABLE orders", "ALTER TABLE orders ADD COLUMN x int", "CREATE VIEW stolen AS SELECT 1",
    "GRANT SELECT ON orders TO PUBLIC", "EXECUTE p", "DEALLOCATE ALL", "RESET ALL", "BEGIN", "ROLLBACK", "SHOW ALL", "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE", "SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)", "SELECT lo_import('/etc/passwd')",
    "WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d", "WITH i AS (INSERT INTO employees (id) VALUES (777) RETURNING id) SELECT id FROM i", "WITH u AS (UPDATE orders SET status = 'x' RETURNING id) SELECT count(*) FROM u, customers", "WITH a AS (WITH d AS (DELETE FROM orders RETURNING id) SELECT * FROM d) SELECT * FROM a",
    "SELECT * FROM (SELECT nextval('probe_seq')) s", "SELECT * FROM nextval('probe_seq')", "SELECT * FROM customers WHERE id = nextval('probe_seq')", "SELECT count(*) FROM customers GROUP BY nextval('probe_seq')", "SELECT 1 FROM customers ORDER BY bump()", "SELECT 1 LIMIT bump()", "VALUES (nextval('probe_seq'))",
    "SELECT * FROM ROWS FROM (nextval('probe_seq'), bump())", "SELECT DISTINCT ON (bump()) id FROM customers", "SELECT sum(id) OVER (ORDER BY nextval('probe_seq')) FROM customers", "SELECT count(*) FILTER (WHERE pg_notify('probe', 'f') IS NULL) FROM customers", "SELECT ARRAY(SELECT nextval('probe_seq'))", "SELECT (SELECT set_config('guardrails.probe', 'q', false))",
    "SELECT id FROM customers UNION SELECT nextval('probe_seq')", "SELECT * FROM customers c, LATERAL (SELECT nextval('probe_seq')) l", "SELECT * FROM customers TABLESAMPLE BERNOULLI (bump())", "SELECT customers.bump_row FROM customers", "SELECT (customers).bump_row FROM customers", "SELECT c.bump_row FROM customers AS c",
    "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT nextval('probe_seq')::int FROM r WHERE i < 3) SELECT * FROM r", "SELECT CASE WHEN nextval('probe_seq') > 0 THEN 1 END", "SELECT '1'::probe_domain", "SELECT CAST('7' AS probe_domain)", "SELECT 5 +~+ 6", "SELECT 'a'::probe_mood::int", "SELECT * FROM bumping", "SELECT b FROM bumping WHERE false",
]  # fmt: skip

_SETUP = [
    "CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-07-01')",
    "CREATE TABLE events_new PARTITION OF events DEFAULT",
    "CREATE INDEX customers_email ON customers (email, lower(name))",
    "CREATE SEQUENCE probe_seq",
    "CREATE FUNCTION bump() RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER AS $$ SELECT nextval('public.probe_seq') $$",
    "CREATE FUNCTION bump_row(customers) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT nextval('public.probe_seq')::text $$",
    "CREATE FUNCTION bump_two(int, int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT nextval('public.probe_seq')::int $$",
    "CREATE OPERATOR +~+ (LEFTARG = int, RIGHTARG = int, FUNCTION = bump_two)",
    "CREATE FUNCTION probe_check(int) RETURNS bool LANGUAGE sql VOLATILE AS $$ SELECT nextval('public.probe_seq') > 0 $$",
    "CREATE TYPE probe_mood AS ENUM ('a', 'b')",
    "CREATE FUNCTION probe_number(probe_mood) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT nextval('public.probe_seq')::int $$",
    "CREATE CAST (probe_mood AS int) WITH FUNCTION probe_number(probe_mood)",
    "CREATE VIEW bumping AS SELECT bump() AS b",
    "CREATE DOMAIN probe_domain AS int CHECK (probe_check(VALUE))",
]

POSTGRES = replace(
    PLAIN,
    schema=schema_of(PLAIN),
    hostile=_HOSTILE,
    hostile_statements=_STATEMENTS,
    setup=_SETUP,
)
