"""What the tests add to MariaDB's side of the grammar: their schema, and statements that no agent may run."""

from __future__ import annotations

from dataclasses import replace

from guardrails.proving.grammar.flavour_mysql import MYSQL as PLAIN
from tests.support.grammar.schema import schema_of

__all__ = ["MYSQL"]

_HOSTILE = {
    "text": [
        "load_file('/etc/passwd')", "user()", "current_user()", "current_user", "session_user()", "database()", "version()", "@@version", "@@secure_file_priv", "@@global.general_log_file", "@x := {text}", "@x", "sys_exec('id')", "bump_text({text})", "gr_main.bump_text('a')", "`gr_main`.`bump_text`('a')", "uuid()",
        "extractvalue('<a/>', '/b')", "updatexml('<a/>', '/a', 'b')", "(SELECT table_name FROM information_schema.tables LIMIT 1)", "(SELECT user FROM mysql.user LIMIT 1)", "(SELECT password FROM mysql.global_priv LIMIT 1)", "encode({text}, 'k')", "des_encrypt({text})", "password({text})", "master_gtid_wait('a', 0)", "binlog_gtid_pos('a', 4)",
        "current_role()", "connection_id()", "`upper`({text})", "(SELECT variable_value FROM information_schema.user_variables LIMIT 1)", "upper /*! (SELECT 1), */ ({text})", "(SELECT {text} INTO @x)", "name_const('a', 'b')", "benchmark(10, md5('a'))", "(SELECT @x := 'a')",
    ],
    "int": [
        "nextval(probe_seq)", "NEXT VALUE FOR probe_seq", "nextval(gr_main.probe_seq)", "setval(probe_seq, 40)", "lastval(probe_seq)", "PREVIOUS VALUE FOR probe_seq", "probe_seq.nextval", "get_lock('probe', 0)", "release_lock('probe')", "release_all_locks()", "is_free_lock('probe')", "is_used_lock('probe')", "sleep(0)", "benchmark(1, 1)",
        "bump()", "gr_main.bump()", "@x := 5", "(@x := @x + 1)", "@@session.pseudo_thread_id", "last_insert_id()", "last_insert_id({int})", "row_count()", "found_rows()", "connection_id()", "(SELECT count(*) FROM information_schema.processlist)", "(SELECT count(*) FROM mysql.db)", "uuid_short()", "master_pos_wait('a', 4, 0)",
        "(SELECT next_not_cached_value FROM probe_seq)", "(SELECT count(*) FROM seq_1_to_5)", "(SELECT max(a) FROM json_table('[1,2]', '$[*]' COLUMNS (a INT PATH '$')) j)", "(SELECT x INTO OUTFILE '/tmp/gr_never')", "(SELECT id FROM customers LIMIT 1 FOR UPDATE)", "(SELECT count(*) FROM performance_schema.threads)", "bump_nothing()", "rand()", "(SELECT salary FROM employees PROCEDURE ANALYSE() LIMIT 1)",
    ],
    "bool": [
        "sleep(0) = 0", "get_lock('probe', 0) = 1", "(@x := 1) = 1", "bump() > 0", "EXISTS (SELECT 1 FROM information_schema.user_variables)", "EXISTS (SELECT 1 FROM mysql.proc)", "load_file('/etc/hosts') IS NULL", "nextval(probe_seq) IS NOT NULL", "EXISTS (SELECT 1 FROM customers FOR UPDATE)", "@x IS NULL", "benchmark(5, sha1('a')) = 0",
        "is_free_lock('probe')", "{text} = @@hostname", "EXISTS (SELECT 1 FROM orders LOCK IN SHARE MODE)", "wsrep_last_seen_gtid() IS NULL",
    ],
    "num": ["rand()", "sleep(0) * 1.5", "nextval(probe_seq) + 0.5", "rand(bump())", "(@y := 1.5)"],
    "json": ["json_array(bump())", "json_object('a', load_file('/etc/passwd'))", "json_array(@x := 4)"],
    "ts": ["sysdate()", "sysdate(3)", "from_unixtime(@@timestamp)"],
    "date": ["(@d := {date})", "date(sysdate())"],
}  # fmt: skip

_STATEMENTS = [
    "SELECT 1; DELETE FROM orders", "SELECT @x := 5", "SET @x = 1", "SELECT 1 INTO @x", "SELECT id, name FROM customers LIMIT 1 INTO @a, @b", "SELECT name INTO @a FROM customers LIMIT 1", "SELECT 1 INTO OUTFILE '/tmp/gr_never_1'", "SELECT name FROM customers INTO DUMPFILE '/tmp/gr_never_2'", "SELECT * INTO OUTFILE '/tmp/gr_never_3' FROM customers",
    "SELECT id FROM customers UNION SELECT 1 INTO OUTFILE '/tmp/gr_never_4'", "LOAD DATA INFILE '/etc/passwd' INTO TABLE employees", "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE employees", "LOAD XML INFILE '/etc/passwd' INTO TABLE employees", "SELECT * FROM orders FOR UPDATE", "SELECT * FROM orders FOR UPDATE SKIP LOCKED", "SELECT * FROM orders LOCK IN SHARE MODE", "SELECT * FROM orders FOR UPDATE NOWAIT",
    "SELECT * FROM orders LIMIT 1 FOR UPDATE WAIT 1", "SELECT SLEEP(0)", "SELECT BENCHMARK(1000, MD5('a'))", "SELECT GET_LOCK('probe', 0)", "SELECT RELEASE_ALL_LOCKS()", "SELECT IS_USED_LOCK('probe')", "DO GET_LOCK('probe', 0)", "DO SLEEP(0)", "SELECT LOAD_FILE('/etc/passwd')", "SELECT NEXTVAL(probe_seq)", "SELECT NEXT VALUE FOR probe_seq", "SELECT LASTVAL(probe_seq)", "SELECT SETVAL(probe_seq, 100)",
    "SELECT * FROM probe_seq", "SELECT bump()", "SELECT gr_main.bump()", "SELECT bump () FROM customers", "CALL bump_all()", "SELECT * FROM bumping", "SELECT b FROM bumping WHERE false", "SELECT LAST_INSERT_ID(7)", "SELECT SQL_CALC_FOUND_ROWS id FROM customers", "SELECT FOUND_ROWS()", "SELECT ROW_COUNT()",
    "SELECT 1 /*! , @x := 5 */", "SELECT 1 /*!50000 , bump() */", "SELECT 1 /*M! , nextval(probe_seq) */", "SELECT 1 /*M!100100 , bump() */", "SELECT 1 /*!99999 , 2 */", "/*! DELETE FROM orders */", "SELECT /*!40001 SQL_NO_CACHE */ id FROM customers", "SELECT id FROM customers /*! FOR UPDATE */", "SELECT id FROM customers /*! INTO OUTFILE '/tmp/gr_never_5' */", "SELECT 1 -- x\n; DELETE FROM orders",
    "UPDATE orders o JOIN customers c ON o.customer_id = c.id SET o.status = 'x', c.name = 'y'", "UPDATE orders, customers SET orders.status = customers.name WHERE orders.customer_id = customers.id", "DELETE orders, customers FROM orders JOIN customers ON orders.customer_id = customers.id", "DELETE FROM orders, customers USING orders JOIN customers ON orders.customer_id = customers.id", "REPLACE INTO employees (id, name) VALUES (1, 'x')", "REPLACE employees SET id = 1",
    "INSERT INTO employees (id) VALUES (1) ON DUPLICATE KEY UPDATE name = (SELECT email FROM customers LIMIT 1)", "INSERT DELAYED INTO employees (id) VALUES (900)", "INSERT LOW_PRIORITY INTO employees (id) VALUES (901)", "INSERT IGNORE INTO employees (id) VALUES (1)", "INSERT INTO employees SET id = 902, name = (SELECT email FROM customers LIMIT 1)", "INSERT INTO employees (id, name) TABLE customers", "DELETE QUICK FROM orders WHERE id = 1", "UPDATE IGNORE orders SET id = 1", "UPDATE LOW_PRIORITY orders SET status = 'x'",
    "TRUNCATE orders", "TRUNCATE TABLE orders", "DROP TABLE orders", "DROP TABLE IF EXISTS orders", "CREATE TABLE stolen AS SELECT * FROM customers", "CREATE TEMPORARY TABLE stolen SELECT * FROM customers", "CREATE OR REPLACE TABLE stolen (a INT)", "CREATE VIEW stolen AS SELECT 1", "ALTER TABLE orders ADD COLUMN x INT", "RENAME TABLE orders TO o2", "CREATE FUNCTION f() RETURNS INT RETURN 1", "CREATE TRIGGER tt BEFORE INSERT ON orders FOR EACH ROW SET @x = 1", "CREATE INDEX i ON orders (amount)", "DROP INDEX customers_email ON customers",
    "GRANT SELECT ON *.* TO PUBLIC", "SET PASSWORD = PASSWORD('x')", "CREATE USER gr_never", "SET GLOBAL general_log = 1", "SET SESSION sql_mode = 'ANSI_QUOTES'", "SET autocommit = 0", "SET ROLE NONE", "SET NAMES latin1", "SET STATEMENT max_statement_time = 1 FOR SELECT 1", "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT \"id\" FROM customers", "BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT s", "XA START 'a'", "LOCK TABLES orders WRITE", "UNLOCK TABLES", "FLUSH TABLES", "FLUSH TABLES WITH READ LOCK",
    "RESET QUERY CACHE", "KILL 1", "SHUTDOWN", "INSTALL SONAME 'x'", "HANDLER orders OPEN", "HANDLER orders READ FIRST", "ANALYZE TABLE orders", "OPTIMIZE TABLE orders", "REPAIR TABLE orders", "CHECK TABLE orders", "CHECKSUM TABLE orders", "ANALYZE DELETE FROM orders", "ANALYZE FORMAT=JSON UPDATE orders SET status = 'x'", "EXPLAIN EXTENDED SELECT bump()", "PREPARE p FROM 'DELETE FROM orders'", "EXECUTE p", "EXECUTE IMMEDIATE 'DELETE FROM orders'", "DEALLOCATE PREPARE p", "BEGIN NOT ATOMIC DELETE FROM orders; END",
    "SHOW PROCESSLIST", "SHOW GRANTS", "SHOW GLOBAL VARIABLES", "SHOW BINARY LOGS", "SHOW ENGINE INNODB STATUS", "SHOW CREATE FUNCTION bump", "USE mysql", "SELECT * FROM mysql.user", "SELECT * FROM mysql.global_priv", "SELECT * FROM information_schema.user_privileges", "SELECT * FROM performance_schema.events_statements_current", "SELECT * FROM seq_1_to_3", "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$')) AS j",
    "SELECT id FROM customers PARTITION (p0)", "SELECT * FROM customers FOR SYSTEM_TIME ALL", "SELECT id FROM customers USE INDEX (customers_email)", "SELECT id FROM customers FORCE INDEX FOR ORDER BY (customers_email) ORDER BY email", "SELECT id FROM customers PROCEDURE ANALYSE()", "SELECT id FROM customers LIMIT ROWS EXAMINED 5", "SELECT id FROM customers LIMIT 2 ROWS EXAMINED 5", "VALUES (bump())", "SELECT 1 ORDER BY bump()", "SELECT count(*) FROM customers GROUP BY bump()", "SELECT count(*) FROM customers HAVING bump()",
    "SELECT * FROM customers WHERE id = bump()", "SELECT * FROM (SELECT bump()) s", "SELECT sum(id) OVER (ORDER BY bump()) FROM customers", "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT bump() FROM r WHERE i < 3) SELECT * FROM r", "SELECT CASE WHEN bump() > 0 THEN 1 END", "SELECT group_concat(name ORDER BY bump()) FROM customers", "SELECT id FROM customers UNION SELECT bump()", "SELECT 1 LIMIT @x", "SELECT DATE_ADD('2026-01-01', INTERVAL bump() DAY)", "INSERT INTO employees (id, salary) VALUES (903, bump())",
    "DELETE HISTORY FROM orders", "SELECT name FROM customers WHERE name = 'x' INTO OUTFILE '/tmp/gr_never_6' FIELDS TERMINATED BY ','", "SELECT `x`.`y`()", "SELECT sys.version_major()", "SELECT mysql.bump()", "SELECT 'a' INTO @a FROM dual", "HELP 'x'", "SIGNAL SQLSTATE '45000'", "GET DIAGNOSTICS @p = ROW_COUNT", "CHANGE MASTER TO MASTER_HOST='x'", "STOP SLAVE", "PURGE BINARY LOGS TO 'x'", "BACKUP STAGE START", "CACHE INDEX orders IN c", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM orders", "CREATE SEQUENCE s2", "DROP SEQUENCE probe_seq",
]  # fmt: skip

_SETUP = [
    "CREATE INDEX customers_email ON customers (email, name)",
    "CREATE FULLTEXT INDEX customers_words ON customers (name, email)",
    "CREATE SEQUENCE probe_seq NOCACHE",
    "CREATE TABLE bumps (n INT) ENGINE = MyISAM",
    "CREATE FUNCTION bump() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO bumps VALUES (1); RETURN 1; END",
    "CREATE FUNCTION bump_nothing() RETURNS INT NO SQL RETURN 5",
    "CREATE FUNCTION bump_text(t VARCHAR(60)) RETURNS VARCHAR(60) NO SQL BEGIN SET @probe = t; RETURN t; END",
    "CREATE PROCEDURE bump_all() INSERT INTO bumps VALUES (2)",
    "CREATE VIEW bumping AS SELECT bump() AS b",
]

MYSQL = replace(
    PLAIN,
    schema=schema_of(PLAIN),
    hostile=_HOSTILE,
    hostile_statements=_STATEMENTS,
    setup=_SETUP,
)
