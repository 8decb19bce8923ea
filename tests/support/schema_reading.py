"""What is asked of the schema, by engine, and the database that it is asked of."""

from __future__ import annotations

__all__ = ["ASKING", "EXTRA", "HIDDEN_LAST", "LISTS", "REFUSED", "SAME_AS_THE_ENGINE", "SHARED"]

SHARED = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL DEFAULT 'it''s', "Mixed Case" NUMERIC(10, 2), ssn TEXT);
CREATE TABLE "order" (customer_id INTEGER NOT NULL, line INTEGER NOT NULL, note CHAR(3), "at" TIMESTAMP, PRIMARY KEY (line, customer_id));
CREATE TABLE salaries (id INTEGER PRIMARY KEY, amount BIGINT);
CREATE VIEW names AS SELECT id, name FROM customers;
CREATE VIEW payroll AS SELECT c.name, s.amount FROM customers c JOIN salaries s ON s.id = c.id;
INSERT INTO customers VALUES (1, 'order', 1.5, '078-05-1120'), (2, 'salaries', NULL, NULL);
"""
EXTRA = {
    "sqlite": """
CREATE TABLE "we""ird" ("a'b" INT, untyped, made AS (untyped || 'x') VIRTUAL, kept INTEGER AS (1) STORED, "INTEGER" real NOT NULL);
CREATE TABLE keyless (id INTEGER NOT NULL PRIMARY KEY, b BLOB DEFAULT (1 + 1)) WITHOUT ROWID;
CREATE VIRTUAL TABLE notes USING fts5(title, body);
""",
    "postgres": """
CREATE SCHEMA hr; CREATE TYPE hr."Mood" AS ENUM ('ok', 'sad'); CREATE DOMAIN hr.code AS varchar(7); CREATE SEQUENCE numbers;
CREATE TABLE hr."People" (
    id bigint GENERATED ALWAYS AS IDENTITY, mood hr."Mood", moods hr."Mood"[], code hr.code, n int[] DEFAULT '{}', made int DEFAULT
    nextval('numbers'), twice bigint GENERATED ALWAYS AS (id * 2) STORED, b bit(4), vb bit varying, i interval day to second(3),
    t time(2), tz timestamptz(0), d date DEFAULT now(), r real, dp double precision, num numeric, c "char", s smallint, j jsonb,
    u uuid, boo boolean NOT NULL DEFAULT true, v varchar, "say ""so"" again" text, money money, arr varchar(5)[], tt timetz
);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM customers;
""",
    "duckdb": """
CREATE TABLE "we""ird" ("a'b" INTEGER, l INTEGER[], s STRUCT(a INTEGER, "B c" VARCHAR), e DECIMAL(5, 2) DEFAULT 1.5, "INTEGER" REAL NOT NULL,
t TIMESTAMP WITH TIME ZONE);
CREATE SCHEMA hr; CREATE TYPE hr.mood AS ENUM ('ok', 'sad'); CREATE TABLE hr.people (id BIGINT PRIMARY KEY, m hr.mood, u UBIGINT);
""",
    "mysql": """
CREATE TABLE "we``ird" (
    id int AUTO_INCREMENT, e enum('a,b','it''s','Ccccc') DEFAULT 'it''s', s set('x','yy'), m mediumint unsigned, f float(7,2), si smallint,
    bu bigint unsigned DEFAULT 7, dc decimal, dz double(5,1) unsigned, bi binary(4), bl blob, tt tinytext DEFAULT ('a'), ts timestamp(6) NOT
    NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6), t3 time(3), c char, vb varbinary(7), b bit(3) DEFAULT b'101', y year,
    j json, twice bigint AS (si * 2) VIRTUAL, kept bigint AS (si * 3) STORED, "it's" int, x int DEFAULT -5, f1 float, d1 double,
    PRIMARY KEY (x, id), UNIQUE KEY (si), KEY (id, dc), KEY (bu)
);
""",
}
HIDDEN_LAST = "DROP VIEW payroll; DROP TABLE salaries; ALTER TABLE customers DROP COLUMN ssn;"
"""Takes away what a principal does not see who may read some of it."""

_COLUMN_LIST = (
    "SELECT table_catalog, table_schema, table_name, column_name, ordinal_position, is_nullable, data_type,"
    " character_maximum_length, numeric_precision, numeric_scale, datetime_precision, udt_name, is_generated"
    " FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
    " ORDER BY table_schema, table_name, ordinal_position"
)
SAME_AS_THE_ENGINE = {
    "sqlite": [
        "PRAGMA table_info(customers)",
        'pragma main.Table_Info("we""ird") ;',
        "/* a */ PRAGMA table_xinfo('we\"ird') -- b",
        "PRAGMA table_xinfo([ORDER])",
        "PRAGMA table_info(`keyless`)",
        "PRAGMA table_xinfo(names)",
        "PRAGMA table_info(nosuch)",
        "SELECT * FROM pragma_table_info('order')",
        "SELECT name FROM pragma_table_xinfo('customers', 'main') WHERE pk = 0",
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        " AND name NOT LIKE 'notes~_%' ESCAPE '~' ORDER BY name",
        "SELECT type, name, tbl_name FROM main.sqlite_schema WHERE type = 'view' ORDER BY 2 DESC",
        "SELECT count(*), count(DISTINCT type) FROM sqlite_master WHERE name IN ('customers', 'names')",
        "SELECT m.name, p.name, p.type FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p WHERE m.tbl_name <> 'notes'"
        " AND m.name NOT LIKE 'notes_%' AND m.type IN ('table', 'view') ORDER BY m.name, p.cid",
        "SELECT m.name, p.name FROM sqlite_master m LEFT JOIN pragma_table_info(upper(m.name)) p ON p.pk > 0"
        " WHERE m.name IN ('customers', 'order', 'names') ORDER BY 1, 2",
        "SELECT m.name, (SELECT group_concat(x.name) FROM pragma_table_info(m.name) x) FROM sqlite_master m WHERE m.type = 'view'"
        " ORDER BY 1",
        "SELECT c.name, p.name FROM customers c, pragma_table_info(c.name) p ORDER BY 1, p.cid",
        "SELECT * FROM pragma_table_info((SELECT name FROM sqlite_master WHERE name LIKE 'ord%'))",
        "SELECT schema, name, type, ncol FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite_%' ORDER BY name",
        "SELECT name, ncol FROM pragma_table_list('names')",
        "SELECT * FROM pragma_table_info('customers', 'temp')",
        "WITH sqlite_master AS (SELECT 7 AS x) SELECT * FROM sqlite_master",
    ],
    "postgres": [
        _COLUMN_LIST,
        "SELECT table_name, current_schema FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1",
        "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables"
        " WHERE table_schema IN ('public', 'hr') ORDER BY 1, 2, 3",
        "SELECT table_name FROM INFORMATION_SCHEMA.Tables WHERE table_schema = 'public' AND table_name LIKE '%s' ORDER BY table_name",
        "SELECT column_name, column_default FROM information_schema.columns WHERE table_name = 'customers' ORDER BY ordinal_position",
        "SELECT table_schema, table_name, count(*), max(length(column_name)) FROM information_schema.columns c"
        " JOIN information_schema.tables t USING (table_catalog, table_schema, table_name)"
        " WHERE table_schema IN ('hr', 'public') GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1, 2",
        "SELECT table_schema, table_name FROM information_schema.views WHERE table_schema = 'public' ORDER BY 2",
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name IN ('public', 'hr') ORDER BY 1",
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'hr') ORDER BY 1, 2",
        "SELECT viewname FROM pg_catalog.pg_views WHERE schemaname = 'public' ORDER BY 1",
        "SELECT * FROM (SELECT matviewname FROM pg_matviews) AS x",
        "SELECT c.name, t.table_type FROM customers c JOIN information_schema.tables t ON t.table_name = c.name ORDER BY 1",
        "SELECT c.name, t.table_name FROM customers c LEFT JOIN information_schema.tables t ON true"
        " WHERE t.table_name = 'order' AND t.table_schema = 'public' AND (t.table_type = 'VIEW' OR c.id = 1)",
        "SELECT c.name, t.table_name FROM customers c FULL JOIN information_schema.tables t ON t.table_name = c.name"
        " WHERE t.table_schema = 'public' AND t.table_type = 'VIEW' ORDER BY 2",
        "SELECT t.table_name, (SELECT count(*) FROM information_schema.columns c WHERE c.table_name = t.table_name"
        " AND c.data_type = 'integer') FROM information_schema.tables t WHERE t.table_schema = 'public' ORDER BY 1",
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'order ' OR table_name = 'ORDER'",
        "SELECT upper(table_name) || '!' FROM information_schema.tables WHERE table_name ~ '^[no]' AND table_schema = 'public' ORDER BY 1",
    ],
    "duckdb": [
        "SHOW TABLES",
        "show /* a */ tables ; -- b",
        "DESCRIBE customers",
        'desc "we""ird" ',
        "DESCRIBE TABLE hr.people",
        "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables ORDER BY ALL",
        "SELECT table_schema, table_name, column_name, ordinal_position, column_default, is_nullable, data_type"
        " FROM information_schema.columns ORDER BY ALL",
        "SELECT table_name, count(*) FROM Information_Schema.COLUMNS GROUP BY ALL HAVING count(*) > 1 ORDER BY 1",
        "SELECT c.name, t.table_type FROM customers c LEFT JOIN information_schema.tables t ON t.table_name = c.name ORDER BY 1",
        "FROM information_schema.tables SELECT upper(table_name) AS n WHERE n LIKE 'N%' ORDER BY n",
    ],
    "mysql": [
        "SHOW TABLES",
        "show full tables -- a",
        "SHOW TABLES LIKE '%r%' ;",
        "SHOW /* a */ TABLES LIKE 'N_mes'",
        "DESCRIBE customers",
        "DESC `we``ird`",
        "describe `order` note",
        "SHOW COLUMNS FROM names",
        "SHOW FIELDS IN customers LIKE '%am%'",
        "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 2",
        "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = SCHEMA() AND TABLE_NAME LIKE '%r%' ORDER BY 1",
        "SELECT table_catalog, table_schema, table_name, column_name, ordinal_position, column_default, is_nullable, data_type,"
        " character_maximum_length, numeric_precision, numeric_scale, datetime_precision, column_type, column_key, extra"
        " FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position",
        "SELECT t.table_name, COUNT(*) FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)"
        " WHERE table_schema = DATABASE() GROUP BY t.table_name ORDER BY 1",
        "SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE() ORDER BY 1",
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name = DATABASE()",
        "SELECT c.name, t.table_type FROM customers c JOIN information_schema.tables t ON t.table_name = c.name"
        " WHERE t.table_schema = DATABASE() ORDER BY 1",
    ],
}  # fmt: skip

ASKING = {
    "sqlite": [
        "SELECT * FROM sqlite_master",
        "SELECT name FROM sqlite_schema WHERE name LIKE '%a%' OR sql LIKE '%salar%'",
        "SELECT * FROM sqlite_master WHERE sql LIKE '%ssn%'",
        "SELECT m.name, p.* FROM sqlite_master m, pragma_table_xinfo(m.name) p",
        "SELECT p.name FROM pragma_table_info('salaries') p",
        "PRAGMA table_info(salaries)",
        "PRAGMA table_xinfo(payroll)",
        "PRAGMA table_info(customers)",
        "PRAGMA table_list",
        "PRAGMA table_list(salaries)",
        "SELECT c.name, p.name FROM customers c LEFT JOIN pragma_table_info(c.name) p",
        "SELECT c.name FROM customers c WHERE EXISTS (SELECT 1 FROM sqlite_master m WHERE m.name = c.name)",
        "SELECT count(*), sum(length(sql)) FROM sqlite_master",
        "EXPLAIN QUERY PLAN SELECT * FROM sqlite_master",
        "SELECT rootpage FROM sqlite_master",
        "SELECT * FROM sqlite_master WHERE ssn = 1",
    ],
    "postgres": [
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.columns",
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%alar%' OR table_type = 'VIEW'",
        "SELECT c.name, t.* FROM customers c LEFT JOIN information_schema.tables t ON t.table_name = c.name",
        "SELECT t FROM information_schema.columns t WHERE t::text LIKE '%ssn%'",
        "SELECT row_to_json(t) FROM information_schema.columns AS t WHERE column_name <> 'id'",
        "SELECT count(*), max(ordinal_position) FROM information_schema.columns GROUP BY table_name",
        "SELECT * FROM pg_tables NATURAL JOIN (SELECT 'public' AS schemaname) AS x",
        "SELECT * FROM information_schema.views",
        "SELECT * FROM information_schema.schemata",
        "EXPLAIN (COSTS FALSE, VERBOSE) SELECT * FROM information_schema.columns",
        "SELECT self_referencing_column_name FROM information_schema.tables",
    ],
    "duckdb": [
        "SHOW TABLES",
        "DESCRIBE customers",
        "DESCRIBE salaries",
        "DESC payroll",
        "DESCRIBE nosuch.salaries",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM information_schema.schemata",
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%alar%' OR table_type = 'VIEW'",
        "SELECT c.name, t.table_name FROM customers c LEFT JOIN information_schema.tables t ON t.table_name = c.name",
        "SELECT COUNT(*), MAX(ordinal_position) FROM information_schema.columns GROUP BY table_name ORDER BY table_name",
        "SELECT t FROM information_schema.columns t WHERE t::text LIKE '%ssn%'",
    ],
    "mysql": [
        "SHOW TABLES",
        "SHOW FULL TABLES",
        "DESCRIBE customers",
        "SHOW TABLES LIKE '%alar%'",
        "SHOW TABLES FROM mysql",
        "SHOW TABLES FROM nosuch",
        "DESCRIBE salaries",
        "DESCRIBE nosuch.salaries",
        "DESC payroll",
        "DESC customers ssn",
        "DESC mysql.user",
        "SHOW COLUMNS FROM customers LIKE 'ss%'",
        "SHOW COLUMNS FROM salaries",
        "SHOW CREATE TABLE customers",
        "SHOW CREATE TABLE salaries",
        "SHOW CREATE VIEW names",
        "SHOW CREATE VIEW payroll",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM information_schema.views",
        "SELECT * FROM information_schema.schemata",
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%alar%' OR table_type = 'VIEW'",
        "SELECT c.name, t.table_name FROM customers c LEFT JOIN information_schema.tables t ON t.table_name = c.name",
        "SELECT COUNT(*), MAX(ordinal_position) FROM information_schema.columns GROUP BY table_name ORDER BY table_name",
        "EXPLAIN SELECT * FROM information_schema.columns",
        "SELECT table_rows FROM information_schema.tables",
    ],
}  # fmt: skip

REFUSED = {
    "sqlite": {
        "SELECT * FROM sqlite_temp_master": "sql.relation_unknown",
        "SELECT * FROM temp.sqlite_master": "sql.relation_unknown",
        "SELECT * FROM sqlite_stat1": "sql.relation_unknown",
        "SELECT * FROM sqlite_sequence": "sql.relation_unknown",
        "SELECT * FROM dbstat": "sql.relation_unknown",
        "SELECT * FROM pragma_table_info": "sql.relation_unknown",
        'SELECT * FROM "pragma_table_info()"': "sql.relation_unknown",
        "SELECT * FROM pragma_database_list": "sql.relation_unknown",
        "SELECT * FROM pragma_table_info('customers', 'main', 1)": "sql.construct_unsupported",
        "SELECT * FROM pragma_table_info()": "sql.construct_unsupported",
        "SELECT * FROM pragma_index_list('customers')": "sql.function_not_allowed",
        "SELECT * FROM pragma_journal_mode('wal')": "sql.function_not_allowed",
        "SELECT name FROM customers c JOIN pragma_table_info(c.name) USING (name)": "sql.construct_unsupported",
        "UPDATE sqlite_master SET sql = ''": "sql.relation_unknown",
        "DELETE FROM sqlite_schema": "sql.relation_unknown",
        "CREATE VIEW v AS SELECT * FROM sqlite_master": "sql.construct_unsupported",
        "PRAGMA table_info": "sql.statement_unsupported",
        "PRAGMA table_info = customers": "sql.statement_unsupported",
        "PRAGMA temp.table_info(customers)": "sql.statement_unsupported",
        "PRAGMA user_version": "sql.statement_unsupported",
        "PRAGMA user_version = 5": "sql.statement_unsupported",
        "PRAGMA writable_schema(1)": "sql.statement_unsupported",
        "PRAGMA index_list(customers)": "sql.statement_unsupported",
        "PRAGMA table_info(customers); DROP TABLE customers": "sql.multiple_statements",
        "EXPLAIN PRAGMA table_info(customers)": "sql.statement_unsupported",
        "DESCRIBE customers": "sql.statement_unsupported",
        "SHOW TABLES": "sql.statement_unsupported",
    },
    "postgres": {
        "SELECT * FROM pg_class": "sql.relation_unknown",
        "SELECT * FROM pg_catalog.pg_stats": "sql.relation_unknown",
        "SELECT * FROM pg_attribute": "sql.relation_unknown",
        "SELECT * FROM public.pg_tables": "sql.relation_unknown",
        "SELECT * FROM tables": "sql.relation_unknown",
        'SELECT * FROM "information_schema.tables"': "sql.relation_unknown",
        'SELECT * FROM "INFORMATION_SCHEMA"."TABLES"': "sql.relation_unknown",
        "SELECT * FROM information_schema.role_table_grants": "sql.relation_unknown",
        "SELECT tableowner FROM pg_tables": "sql.column_unknown",
        "SELECT 'customers'::regclass": "sql.construct_unsupported",
        "DELETE FROM information_schema.tables": "sql.relation_unknown",
        "CREATE VIEW v AS SELECT * FROM information_schema.tables": "sql.construct_unsupported",
        "SELECT * FROM information_schema.tables FOR UPDATE": "sql.construct_unsupported",
        "SHOW ALL": "sql.statement_unsupported",
        "SHOW server_version": "sql.statement_unsupported",
        "SHOW TABLES": "sql.statement_unsupported",
        "PRAGMA table_info(customers)": "sql.statement_unsupported",
        "DESCRIBE customers": "sql.statement_unsupported",
    },
    "duckdb": {
        "SELECT * FROM sqlite_master": "sql.relation_unknown",
        "SELECT * FROM pg_catalog.pg_class": "sql.relation_unknown",
        "SELECT * FROM information_schema.key_column_usage": "sql.relation_unknown",
        "SELECT * FROM duckdb_tables()": "sql.function_not_allowed",
        "SELECT * FROM pragma_table_info('customers')": "sql.function_not_allowed",
        "SELECT * FROM show_tables": "sql.relation_unknown",
        "SELECT show_columns('customers')": "sql.function_not_allowed",
        "SELECT is_typed FROM information_schema.tables": "sql.column_unknown",
        "DELETE FROM information_schema.tables": "sql.relation_unknown",
        "SHOW ALL TABLES": "sql.statement_unsupported",
        "SHOW DATABASES": "sql.statement_unsupported",
        "SHOW customers": "sql.statement_unsupported",
        "SUMMARIZE customers": "sql.statement_unsupported",
        "DESCRIBE SELECT 1": "sql.statement_unsupported",
        "PRAGMA table_info('customers')": "sql.statement_unsupported",
        "CALL duckdb_tables()": "sql.statement_unsupported",
        "SHOW TABLES; DROP TABLE customers": "sql.multiple_statements",
    },
    "mysql": {
        "SELECT * FROM information_schema.processlist": "sql.relation_unknown",
        "SELECT * FROM information_schema.innodb_trx": "sql.relation_unknown",
        "SELECT * FROM information_schema.user_privileges": "sql.relation_unknown",
        "SELECT * FROM mysql.user": "sql.relation_unknown",
        "SELECT * FROM performance_schema.threads": "sql.relation_unknown",
        "SELECT table_rows FROM information_schema.tables": "sql.column_unknown",
        "DELETE FROM information_schema.tables": "sql.relation_unknown",
        "SHOW VARIABLES": "sql.statement_unsupported",
        "SHOW GLOBAL STATUS": "sql.statement_unsupported",
        "SHOW PROCESSLIST": "sql.statement_unsupported",
        "SHOW GRANTS": "sql.statement_unsupported",
        "SHOW DATABASES": "sql.statement_unsupported",
        "SHOW INDEX FROM customers": "sql.statement_unsupported",
        "SHOW TABLE STATUS": "sql.statement_unsupported",
        "SHOW TABLES WHERE SLEEP(1)": "sql.statement_unsupported",
        "SHOW COLUMNS FROM customers WHERE Field = 'id'": "sql.statement_unsupported",
        "SHOW TABLES; DROP TABLE customers": "sql.multiple_statements",
        "SHOW TABLES LIKE 'a\\'": "sql.syntax",
        "DESCRIBE SELECT 1": "sql.relation_unknown",
        "EXPLAIN DESCRIBE customers": "sql.statement_unsupported",
        "EXPLAIN customers": "sql.statement_unsupported",
        "SELECT * FROM show_tables": "sql.relation_unknown",
        "SELECT show_columns('customers')": "sql.function_not_allowed",
    },
}

LISTS = {
    "sqlite": (
        "SELECT name FROM sqlite_master ORDER BY name",
        "SELECT name FROM pragma_table_info('{}') ORDER BY cid",
    ),
    "postgres": (
        "SELECT table_name FROM information_schema.tables ORDER BY table_name",
        "SELECT column_name FROM information_schema.columns WHERE table_name = '{}' ORDER BY ordinal_position",
    ),
    "duckdb": (
        "SELECT table_name FROM information_schema.tables ORDER BY table_name",
        "SELECT column_name FROM information_schema.columns WHERE table_name = '{}' ORDER BY ordinal_position",
    ),
    "mysql": (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name",
        "SELECT column_name FROM information_schema.columns WHERE table_name = '{}' AND table_schema = DATABASE()"
        " ORDER BY ordinal_position",
    ),
}
"""How the relations, and the columns of one of them, are listed."""
