"""A shop as each dialect that is judged only would declare it, with statements that pass there and statements that do not."""

from __future__ import annotations

__all__ = ["ALLOWED", "JUDGED_DIALECTS", "REFUSED", "SCHEMAS"]

_TABLES = """
CREATE TABLE {s}customers (id {int}, name {text}, email {text}, ssn {text}, region {text}, created_at {time});
CREATE TABLE {s}orders (id {int}, customer_id {int}, amount {money}, status {text}, region {text}, created_at {time}, doc {doc});
CREATE TABLE {s}employees (id {int}, name {text}, salary {int});
CREATE VIEW {s}order_totals AS SELECT customer_id, SUM(amount) AS total FROM {s}orders GROUP BY customer_id;
"""


def _schema(int_: str, text: str, money: str, time: str, doc: str, schema: str = "") -> str:
    return _TABLES.format(int=int_, text=text, money=money, time=time, doc=doc, s=schema)


SCHEMAS = {
    "tsql": _schema("INT", "NVARCHAR(100)", "DECIMAL(10, 2)", "DATETIME2", "NVARCHAR(MAX)", "dbo."),
    "snowflake": _schema("NUMBER(10, 0)", "VARCHAR", "NUMBER(10, 2)", "TIMESTAMP_NTZ", "VARIANT"),
    "bigquery": _schema("INT64", "STRING", "NUMERIC", "TIMESTAMP", "JSON"),
    "redshift": _schema("INTEGER", "VARCHAR(100)", "DECIMAL(10, 2)", "TIMESTAMP", "SUPER"),
    "databricks": _schema("INT", "STRING", "DECIMAL(10, 2)", "TIMESTAMP", "STRING"),
    "oracle": _schema("NUMBER(10)", "VARCHAR2(100)", "NUMBER(10, 2)", "DATE", "CLOB"),
    "trino": _schema("INTEGER", "VARCHAR(100)", "DECIMAL(10, 2)", "TIMESTAMP", "JSON"),
}
JUDGED_DIALECTS = tuple(SCHEMAS)

_EVERYWHERE = """
SELECT region, COUNT(*) AS n, AVG(amount) AS mean FROM orders GROUP BY region HAVING COUNT(*) > 3 ORDER BY n DESC
SELECT c.name, SUM(o.amount) AS spent FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.name ORDER BY spent
SELECT c.name FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.id IS NULL
WITH monthly AS (SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id) SELECT AVG(n) AS mean FROM monthly
SELECT id, ROW_NUMBER() OVER (PARTITION BY region ORDER BY amount DESC) AS place FROM orders
SELECT region, SUM(amount) OVER (ORDER BY created_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far FROM orders
SELECT CASE WHEN amount > 20 THEN 'big' ELSE 'small' END AS size_class, COUNT(DISTINCT customer_id) AS who FROM orders GROUP BY CASE WHEN amount > 20 THEN 'big' ELSE 'small' END
SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders WHERE status = 'open') AND name LIKE 'A%'
SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.amount > 100)
SELECT id FROM orders WHERE amount BETWEEN 1 AND 5 UNION ALL SELECT id FROM orders WHERE status IN ('open', 'paid')
SELECT t.total, c.name FROM order_totals t JOIN customers c ON c.id = t.customer_id
SELECT * FROM (SELECT region AS r, MAX(amount) AS top FROM orders GROUP BY region) x WHERE x.top > 10
SELECT COALESCE(status, 'none') AS state, NULLIF(region, '') AS place, UPPER(status) AS loud, REPLACE(region, 'a', 'b') AS swapped FROM orders
""".strip().splitlines()

_OWN: dict[str, str] = {
    "tsql": """
SELECT TOP 5 name FROM customers ORDER BY created_at DESC
SELECT [name], [c].[region] FROM [dbo].[customers] AS [c]
;WITH q AS (SELECT id, amount FROM orders) SELECT SUM(amount) AS total FROM q
SELECT total = SUM(amount) FROM orders
SELECT name + N' of ' + region AS who FROM customers
SELECT DATEDIFF(day, created_at, GETDATE()) AS age, DATEADD(month, 1, created_at) AS due, DATEPART(yyyy, created_at) AS y FROM orders
SELECT CONVERT(VARCHAR(10), created_at, 120) AS day, TRY_CAST(status AS INT) AS code, ISNULL(status, '') AS s FROM orders
SELECT STRING_AGG(status, ',') WITHIN GROUP (ORDER BY status) AS all_states FROM orders
SELECT c.name, o.amount FROM customers c CROSS APPLY (SELECT TOP 1 amount FROM orders WHERE customer_id = c.id ORDER BY amount DESC) o
SELECT c.name, o.amount FROM customers c OUTER APPLY (SELECT TOP 1 amount FROM orders WHERE customer_id = c.id) AS o
SELECT o.id, s.value FROM orders o CROSS APPLY STRING_SPLIT(o.status, '-') s
SELECT id FROM orders ORDER BY id OFFSET 10 ROWS FETCH NEXT 5 ROWS ONLY
SELECT COUNT_BIG(*) AS n, IIF(MAX(amount) > 1, 'y', 'n') AS big, LEN(MAX(status)) AS l, CHARINDEX('a', MAX(status)) AS p FROM orders
SELECT region, COUNT(*) AS n FROM orders GROUP BY ROLLUP (region)
SELECT "name" FROM "customers"
WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n
SELECT JSON_VALUE(doc, '$.a') AS a, FORMAT(created_at, 'yyyy-MM') AS m FROM orders
""",
    "snowflake": """
SELECT "NAME", c.region FROM Customers AS c
SELECT customer_id, amount FROM orders QUALIFY ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY amount DESC) = 1
SELECT id, ROW_NUMBER() OVER (ORDER BY amount) AS rn FROM orders QUALIFY rn <= 3
SELECT doc:items[0].sku::STRING AS sku, doc:total AS total FROM orders
SELECT f.value:sku::STRING AS sku FROM orders o, LATERAL FLATTEN(input => o.doc) f
SELECT DATE_TRUNC('month', created_at) AS m, DATEADD(day, 1, created_at) AS d, DATEDIFF(day, created_at, CURRENT_DATE()) AS age FROM orders
SELECT IFF(amount > 1, 'y', 'n') AS big, NVL(status, '') AS s, ZEROIFNULL(amount) AS z, DIV0(amount, 2) AS h FROM orders
SELECT LISTAGG(status, ',') WITHIN GROUP (ORDER BY status) AS all_states FROM orders
SELECT name FROM customers WHERE name ILIKE 'a%' OR name RLIKE 'b.*' LIMIT 5 OFFSET 2
SELECT '2026-01-01'::DATE AS d, TRY_TO_NUMBER(status) AS n, EXTRACT(year FROM created_at) AS y FROM orders
WITH orders AS (SELECT id, amount FROM orders) SELECT SUM(amount) AS total FROM orders
SELECT MEDIAN(amount) AS mid, PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY amount) AS high, COUNT_IF(amount > 1) AS n FROM orders
SELECT SPLIT_PART(status, '-', 1) AS part, COUNT(*) AS n FROM orders GROUP BY part HAVING n > 1
SELECT name FROM customers MINUS SELECT name FROM customers WHERE region = 'EU'
SELECT created_at - INTERVAL '1 day' AS before FROM orders
""",
    "bigquery": """
SELECT `name`, c.region FROM `customers` AS c
SELECT customer_id, amount FROM orders WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY amount DESC) = 1
SELECT DATE_TRUNC(DATE(created_at), MONTH) AS m, COUNT(*) AS n FROM orders GROUP BY m ORDER BY m
SELECT DATE_DIFF(CURRENT_DATE(), DATE(created_at), DAY) AS age, TIMESTAMP_SUB(created_at, INTERVAL 1 HOUR) AS h FROM orders
SELECT EXTRACT(WEEK(MONDAY) FROM created_at) AS w, FORMAT_TIMESTAMP('%Y-%m', created_at) AS m FROM orders
SELECT SAFE_CAST(status AS INT64) AS code, SAFE_DIVIDE(amount, 2) AS half, IF(amount > 1, 'y', 'n') AS big FROM orders
SELECT COUNTIF(status = "open") AS n, APPROX_COUNT_DISTINCT(customer_id) AS who, STRING_AGG(status, ',' ORDER BY status) AS s FROM orders
SELECT REGEXP_CONTAINS(name, r'^A\\w+$') AS is_a, REGEXP_EXTRACT(name, r'(\\d+)') AS d FROM customers
SELECT JSON_VALUE(doc, '$.sku') AS sku FROM orders
SELECT id FROM orders WHERE region = @region
SELECT name FROM customers UNION DISTINCT SELECT status FROM orders
SELECT region, status, COUNT(*) AS n FROM orders GROUP BY region, status ORDER BY n DESC LIMIT 10 OFFSET 5
SELECT region AS place, SUM(amount) AS total FROM orders GROUP BY region ORDER BY place
SELECT customer_id, ARRAY_AGG(status ORDER BY created_at) AS states FROM orders GROUP BY customer_id
SELECT FIRST_VALUE(status IGNORE NULLS) OVER (PARTITION BY customer_id ORDER BY created_at) AS s FROM orders
""",
    "redshift": """
SELECT "Name", C.region FROM Customers AS c
SELECT TOP 5 id FROM orders ORDER BY amount DESC
SELECT DATE_TRUNC('month', created_at) AS m, DATEADD(day, 1, created_at) AS d, DATEDIFF(day, created_at, GETDATE()) AS age FROM orders
SELECT EXTRACT(year FROM created_at) AS y, DATE_PART(month, created_at) AS m, TO_CHAR(created_at, 'YYYY-MM') AS t FROM orders
SELECT NVL(status, '') AS s, DECODE(status, 'a', 1, 2) AS code, NVL2(status, 1, 0) AS has FROM orders
SELECT LISTAGG(status, ',') WITHIN GROUP (ORDER BY status) AS all_states FROM orders
SELECT name FROM customers WHERE name ILIKE 'a%' OR name ~ '^b' OR name SIMILAR TO '(c|d)%'
SELECT id, amount::INT AS whole FROM orders LIMIT 5 OFFSET 2
SELECT customer_id, amount FROM orders QUALIFY ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY amount DESC) = 1
SELECT MEDIAN(amount) AS mid, PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY amount) AS high FROM orders
SELECT created_at - INTERVAL '1 day' AS before FROM orders
SELECT JSON_EXTRACT_PATH_TEXT(status, 'a') AS a, SPLIT_PART(status, '-', 1) AS part FROM orders
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n
SELECT name FROM customers EXCEPT SELECT name FROM customers WHERE region = 'EU'
SELECT POSITION('a' IN name) AS p, SUBSTRING(name, 1, 2) AS s, TRIM(BOTH ' ' FROM name) AS t FROM customers
""",
    "databricks": """
SELECT `name`, C.region FROM Customers AS c
SELECT date_trunc('month', created_at) AS m, dateadd(DAY, 1, created_at) AS d, datediff(current_date(), created_at) AS age FROM orders
SELECT customer_id, collect_list(status) AS states, count_if(amount > 1) AS n FROM orders GROUP BY customer_id
SELECT e.part FROM orders o, LATERAL explode(split(o.status, '-')) AS e(part)
SELECT customer_id, amount FROM orders QUALIFY ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY amount DESC) = 1
SELECT if(amount > 1, 'y', 'n') AS big, nvl(status, '') AS s, try_cast(status AS INT) AS code FROM orders
SELECT get_json_object(doc, '$.sku') AS sku FROM orders
SELECT name FROM customers WHERE name RLIKE '^a' OR name ILIKE "b%"
SELECT region, COUNT(*) AS n FROM orders GROUP BY region HAVING n > 1 ORDER BY n LIMIT 3
SELECT percentile(amount, 0.5) AS mid, approx_count_distinct(customer_id) AS who FROM orders
SELECT date_format(created_at, 'yyyy-MM') AS m, extract(YEAR FROM created_at) AS y, created_at - INTERVAL 1 DAY AS b FROM orders
SELECT region, status, SUM(amount) AS s FROM orders GROUP BY CUBE (region, status)
SELECT split(status, '-')[0] AS part, status <=> region AS same FROM orders
SELECT COUNT(*) FILTER (WHERE status = 'open') AS n FROM orders
SELECT name FROM customers EXCEPT SELECT name FROM customers WHERE region = 'EU'
""",
    "oracle": """
SELECT "NAME", c.region FROM Customers c
SELECT id FROM orders ORDER BY amount DESC FETCH FIRST 5 ROWS ONLY
SELECT id FROM orders ORDER BY id OFFSET 10 ROWS FETCH NEXT 5 ROWS ONLY
SELECT TRUNC(created_at, 'MM') AS m, ADD_MONTHS(created_at, 1) AS d, MONTHS_BETWEEN(SYSDATE, created_at) AS age FROM orders
SELECT id FROM orders WHERE created_at >= DATE '2026-01-01' AND created_at < TIMESTAMP '2026-02-01 00:00:00'
SELECT NVL(status, '-') AS s, DECODE(status, 'a', 1, 2) AS code, TO_CHAR(created_at, 'YYYY-MM') AS m FROM orders
SELECT LISTAGG(status, ',') WITHIN GROUP (ORDER BY status) AS all_states FROM orders
SELECT name FROM customers WHERE REGEXP_LIKE(name, '^A')
SELECT EXTRACT(YEAR FROM created_at) AS y, created_at - INTERVAL '1' DAY AS b FROM orders
SELECT name || ' of ' || region AS who, q'[it's]' AS txt, N'n' AS n FROM customers
WITH n (i) AS (SELECT id FROM orders WHERE id = 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n
SELECT MEDIAN(amount) AS mid, PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY amount) AS high FROM orders
SELECT name FROM customers MINUS SELECT name FROM customers WHERE region = 'EU'
SELECT region, status, SUM(amount) AS s FROM orders GROUP BY ROLLUP (region, status)
SELECT RATIO_TO_REPORT(amount) OVER (PARTITION BY region) AS share, SUBSTR(status, 1, 2) AS s, INSTR(status, 'a') AS p FROM orders
""",
    "trino": """
SELECT "Name", C.region FROM Customers AS c
SELECT date_trunc('month', created_at) AS m, date_add('day', 1, created_at) AS d, date_diff('day', created_at, now()) AS age FROM orders
SELECT approx_distinct(customer_id) AS who, approx_percentile(amount, 0.5) AS mid, max_by(status, amount) AS s FROM orders
SELECT try_cast(status AS INTEGER) AS code, try(amount / 0) AS x, if(amount > 1, 'y', 'n') AS big FROM orders
SELECT s.part FROM orders CROSS JOIN UNNEST(split(orders.status, '-')) AS s(part)
SELECT s.part, s.i FROM orders CROSS JOIN UNNEST(split(orders.status, '-')) WITH ORDINALITY AS s(part, i)
SELECT json_extract_scalar(doc, '$.sku') AS sku FROM orders
SELECT name FROM customers WHERE regexp_like(name, '^A\\d+')
SELECT listagg(status, ',') WITHIN GROUP (ORDER BY status) AS all_states FROM orders
SELECT created_at - INTERVAL '1' DAY AS b, extract(YEAR FROM created_at) AS y, year(created_at) AS z FROM orders
SELECT id FROM orders OFFSET 2 LIMIT 5
SELECT COUNT(*) FILTER (WHERE status = 'open') AS n, array_agg(status ORDER BY id) AS states FROM orders
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n
SELECT region, status, SUM(amount) AS s FROM orders GROUP BY GROUPING SETS ((region), (status), ())
SELECT substring(name, 1, 2) AS s, position('a' IN name) AS p, split(name, ' ')[1] AS first_name FROM customers
""",
}
ALLOWED: dict[str, list[str]] = {name: [*_EVERYWHERE, *own.strip().splitlines()] for name, own in _OWN.items()}
"""By dialect, what passes under a policy that allows to read customers, orders and order_totals."""

_NO_RULE = "policy.no_rule"
_SEVERAL = "sql.multiple_statements"
_KIND = "sql.statement_unsupported"
_CONSTRUCT = "sql.construct_unsupported"
_FUNCTION = "sql.function_not_allowed"
_RELATION = "sql.relation_unknown"
_COLUMN = "sql.column_unknown"

_NOWHERE = {
    "DELETE FROM orders WHERE id = 1": _NO_RULE,
    "UPDATE orders SET amount = 0 WHERE id = 1": _NO_RULE,
    "INSERT INTO orders (id) SELECT id FROM customers": _NO_RULE,
    "SELECT salary FROM employees": _NO_RULE,
    "SELECT 1; DELETE FROM orders": _SEVERAL,
    "SELECT name FROM customers; SELECT name FROM customers": _SEVERAL,
    "SELECT * FROM nosuch": _RELATION,
    "SELECT nosuch FROM customers": _COLUMN,
    "SELECT name FROM otherdb.otherschema.customers": _CONSTRUCT,
    "SELECT name FROM otherschema.customers": _RELATION,
    "SELECT nosuch(name) FROM customers": _FUNCTION,
    "SELECT otherschema.upper(name) FROM customers": _CONSTRUCT,
    "SELECT * FROM nosuch(1) x": _FUNCTION,
    "SELECT * FROM information_schema.tables": _RELATION,
    "SELECT name FROM customers FOR UPDATE": _CONSTRUCT,
}
_REFUSED: dict[str, dict[str, str]] = {
    "tsql": {
        "SELECT name FROM customers FOR UPDATE": _SEVERAL,
        "SELECT 1 AS a DROP TABLE customers": _SEVERAL,
        "SELECT name FROM customers DELETE FROM orders": _SEVERAL,
        "SELECT name FROM customers EXEC sp_who": _SEVERAL,
        "SELECT name FROM customers\nGO\nDROP TABLE orders": _SEVERAL,
        "IF 1 = 1 SELECT name FROM customers": _KIND,
        "BEGIN DELETE FROM orders END": _KIND,
        "EXEC xp_cmdshell 'dir'": _KIND,
        "sp_who": _KIND,
        "DECLARE @x INT": _CONSTRUCT,
        "SELECT @@VERSION AS v": _CONSTRUCT,
        "SELECT name INTO #t FROM customers": _CONSTRUCT,
        "SELECT name FROM #customers": _CONSTRUCT,
        "SELECT name FROM customers WITH (NOLOCK)": _CONSTRUCT,
        "SELECT name FROM customers OPTION (RECOMPILE)": _CONSTRUCT,
        "SELECT name FROM customers FOR JSON AUTO": _CONSTRUCT,
        "SELECT * FROM OPENROWSET('SQLNCLI', 'x', 'SELECT 1') x": _FUNCTION,
        "SELECT * FROM OPENQUERY(linked, 'SELECT 1') x": _FUNCTION,
        "SELECT * FROM dbo.STRING_SPLIT('a', ',') x": _FUNCTION,
        "SELECT HOST_NAME() AS h": _FUNCTION,
        "SELECT NEXT VALUE FOR seq AS n": _CONSTRUCT,
        "DELETE FROM orders OUTPUT deleted.id": _CONSTRUCT,
        "MERGE INTO orders USING customers ON 1 = 1 WHEN MATCHED THEN DELETE": _KIND,
        "TRUNCATE TABLE orders": _KIND,
        "SELECT name FROM customers PIVOT (MAX(id) FOR region IN ([a])) p": _CONSTRUCT,
    },
    "snowflake": {
        "SELECT name FROM @stage/file": _CONSTRUCT,
        "SELECT $1 FROM customers": _CONSTRUCT,
        "SELECT SYSTEM$TYPEOF(name) FROM customers": _FUNCTION,
        "SELECT CURRENT_ROLE() AS r": _FUNCTION,
        "SELECT GET_DDL('table', 'customers') AS d": _FUNCTION,
        "SELECT name FROM IDENTIFIER('customers')": _FUNCTION,
        "SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))": _CONSTRUCT,
        "SELECT seq.NEXTVAL AS n": _RELATION,
        "CALL p()": _KIND,
        "EXECUTE IMMEDIATE 'DROP TABLE orders'": _KIND,
        "COPY INTO orders FROM 's3://x'": _KIND,
        "USE ROLE accountadmin": _KIND,
        "INSERT OVERWRITE INTO orders SELECT * FROM orders": _CONSTRUCT,
        "SELECT name FROM customers AT (OFFSET => -60)": _CONSTRUCT,
        'SELECT "name" FROM customers': _COLUMN,
        "SELECT SNOWFLAKE.CORTEX.COMPLETE('m', name) FROM customers": _CONSTRUCT,
        "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT i FROM n": _CONSTRUCT,
    },
    "bigquery": {
        "SELECT name FROM `proj.shop.customers`": _CONSTRUCT,
        "SELECT name FROM `shop.customers`": _RELATION,
        "SELECT name FROM Customers": _RELATION,
        "SELECT name FROM `customers_*`": _CONSTRUCT,
        "SELECT * FROM EXTERNAL_QUERY('c', 'SELECT 1')": _FUNCTION,
        "SELECT SESSION_USER() AS u": _CONSTRUCT,
        "SELECT ERROR(name) FROM customers": _FUNCTION,
        "SELECT c FROM customers c": _COLUMN,
        "SELECT x FROM customers c, c.items x": _CONSTRUCT,
        "SELECT x FROM customers, UNNEST([1, 2]) x": _CONSTRUCT,
        "SELECT id.name FROM customers id": "sql.column_ambiguous",
        "FROM customers |> SELECT name": _CONSTRUCT,
        "SELECT AS STRUCT name FROM customers": _CONSTRUCT,
        "EXPORT DATA OPTIONS (uri = 'gs://x/*') AS SELECT name FROM customers": _KIND,
        "DECLARE x INT64": _KIND,
        "SELECT @@project_id": _CONSTRUCT,
        "SELECT name FROM customers FOR SYSTEM_TIME AS OF created_at": _CONSTRUCT,
    },
    "redshift": {
        "UNLOAD ('SELECT 1') TO 's3://x' IAM_ROLE default": _KIND,
        "COPY orders FROM 's3://x'": _KIND,
        "SELECT CURRENT_SETTING('x') AS s": _FUNCTION,
        "SELECT pg_terminate_backend(1) AS x": _FUNCTION,
        "SELECT name FROM svv_tables": _RELATION,
        "SELECT usename FROM pg_catalog.pg_user": _RELATION,
        "SELECT USER AS u": _CONSTRUCT,
        "SELECT name INTO copied FROM customers": _CONSTRUCT,
        "SELECT i.sku FROM orders o, o.doc i": _CONSTRUCT,
        "SELECT o.doc.sku FROM orders o": _RELATION,
        "SELECT * FROM customers PIVOT (MAX(id) FOR region IN ('a'))": _CONSTRUCT,
        "CALL p()": _KIND,
        "PREPARE x AS SELECT 1": _KIND,
        "SELECT 'pg_user'::REGCLASS AS x": _CONSTRUCT,
        "SELECT nextval('s') AS n": _FUNCTION,
        "SELECT name FROM customers TABLESAMPLE BERNOULLI (10)": _CONSTRUCT,
        "SELECT f_mine(name) FROM customers": _FUNCTION,
    },
    "databricks": {
        "SELECT * FROM parquet.`s3://x`": _RELATION,
        "SELECT * FROM read_files('s3://x')": _FUNCTION,
        "SELECT java_method('java.lang.System', 'exit', 1) AS x": _FUNCTION,
        "SELECT reflect('java.lang.System', 'exit', 1) AS x": _FUNCTION,
        "SELECT secret('scope', 'key') AS s": _FUNCTION,
        "SELECT ai_query('m', name) FROM customers": _FUNCTION,
        "SELECT current_user() AS u": _CONSTRUCT,
        "SELECT name FROM customers VERSION AS OF 1": _CONSTRUCT,
        "SELECT /*+ BROADCAST(c) */ name FROM customers c": _CONSTRUCT,
        "SELECT x FROM orders LATERAL VIEW EXPLODE(SPLIT(status, '-')) e AS x": _CONSTRUCT,
        "SELECT TRANSFORM(SPLIT(status, '-'), x -> UPPER(x)) FROM orders": _FUNCTION,
        "SELECT doc.sku FROM orders": _RELATION,
        "SELECT ${x} AS x": _CONSTRUCT,
        "INSERT OVERWRITE orders SELECT * FROM orders": _CONSTRUCT,
        "ADD JAR 'x.jar'": _KIND,
        "SET spark.sql.ansi.enabled = false": _KIND,
        "SELECT name FROM customers, orders RIGHT JOIN order_totals ON 1 = 1": _CONSTRUCT,
    },
    "oracle": {
        "SELECT UTL_HTTP.REQUEST('http://x') AS x FROM customers": _CONSTRUCT,
        "SELECT SYS_CONTEXT('USERENV', 'HOST') AS h FROM customers": _FUNCTION,
        "SELECT XMLTYPE(name) AS x FROM customers": _FUNCTION,
        "SELECT USER AS u FROM customers": _COLUMN,
        "SELECT ROWID AS r FROM customers": _COLUMN,
        "SELECT seq.NEXTVAL AS n FROM customers": _RELATION,
        "SELECT name FROM customers@link": _RELATION,
        "SELECT name FROM customers AS OF TIMESTAMP SYSDATE": _CONSTRUCT,
        "SELECT /*+ FULL(c) */ name FROM customers c": _CONSTRUCT,
        "SELECT c.name FROM customers c, orders o WHERE c.id = o.customer_id(+)": _CONSTRUCT,
        "SELECT name FROM customers START WITH id = 1 CONNECT BY PRIOR id = id": _CONSTRUCT,
        "SELECT * FROM TABLE(f(1))": _FUNCTION,
        'SELECT "name" FROM customers': _COLUMN,
        "BEGIN NULL; END;": _SEVERAL,
        "EXPLAIN PLAN FOR SELECT name FROM customers": _KIND,
        "SELECT MAX(id) KEEP (DENSE_RANK FIRST ORDER BY name) AS m FROM customers": _CONSTRUCT,
        "SELECT BFILENAME('D', 'f') AS b FROM customers": _FUNCTION,
    },
    "trino": {
        'SELECT name FROM "customers$snapshots"': _RELATION,
        "SELECT * FROM TABLE(system.query(query => 'DROP TABLE x'))": _FUNCTION,
        "SELECT CURRENT_USER AS u": _CONSTRUCT,
        "SELECT transform(split(status, '-'), x -> upper(x)) AS x FROM orders": _FUNCTION,
        "SELECT name FROM customers FOR VERSION AS OF 1": _CONSTRUCT,
        "SELECT name FROM customers TABLESAMPLE BERNOULLI (10)": _CONSTRUCT,
        "SELECT doc.sku FROM orders": _RELATION,
        "SELECT id.name FROM customers id": "sql.column_ambiguous",
        "EXECUTE IMMEDIATE 'DROP TABLE orders'": _KIND,
        "CALL system.flush()": _KIND,
        "PREPARE x FROM DELETE FROM orders": _KIND,
        "EXPLAIN ANALYZE DELETE FROM orders": _KIND,
        "SET SESSION x = 1": _KIND,
        "SELECT U&'\\0041' AS a": _CONSTRUCT,
        "SELECT ROW(1, 2) AS r": _CONSTRUCT,
        "SELECT classify(features(1), model) FROM orders": _FUNCTION,
        "SELECT name FROM customers MATCH_RECOGNIZE (PATTERN (a) DEFINE a AS TRUE)": _CONSTRUCT,
    },
}
REFUSED: dict[str, dict[str, str]] = {name: _NOWHERE | own for name, own in _REFUSED.items()}
"""By dialect, what does not, with the code."""
