"""A small shop as DDL and rows for both engines, its twin that differs in protected values only, and ordinary queries over it."""

from __future__ import annotations

import random
from collections.abc import Iterator

PROTECTED = {"customers": ("email", "ssn", "credit"), "employees": ("salary",)}
"""Columns in which the twins differ."""

DDL = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, ssn TEXT, region TEXT NOT NULL, credit INTEGER,
  created DATE);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, amount NUMERIC(10, 2) NOT NULL, status TEXT NOT NULL,
  region TEXT NOT NULL, created DATE);
CREATE TABLE employees (id INTEGER PRIMARY KEY, name TEXT NOT NULL, salary INTEGER, boss_id INTEGER);
CREATE INDEX customers_email ON customers (email);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE VIEW customer_mails AS SELECT id, name, email AS mail FROM customers WHERE credit > 10;
CREATE VIEW big_spenders (customer, total) AS SELECT c.name, sum(o.amount) FROM customers c JOIN orders o ON o.customer_id = c.id
  GROUP BY c.id, c.name HAVING sum(o.amount) > 50;
"""

_NAMES = ["Ada", "Bea", "Cyd", "Dov", "Eli", "Fay", "Gus", "Hal", "Ina", "Jon"]
_REGIONS = ["EU", "US", "APAC"]
_STATES = ["paid", "open", "refunded"]


def statements(dialect: str = "sqlite") -> list[str]:
    """Returns the DDL, one statement an item."""
    # MySQL indexes no text without a length.
    ddl = DDL.replace(" TEXT", " VARCHAR(80)") if dialect == "mysql" else DDL
    return [s.strip() for s in ddl.split(";") if s.strip()]


def rows(secret: int) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yields (table, row); two values of `secret` give twins that differ in protected columns only."""
    public, private = random.Random(7), random.Random(secret)
    for i in range(1, 25):
        name = f"{public.choice(_NAMES)} {i}"
        region, day = public.choice(_REGIONS), f"2026-{public.randint(1, 12):02d}-{public.randint(1, 28):02d}"
        email = None if private.random() < 0.2 else f"{private.choice('abcxyz')}{private.randint(0, 99)}@example.com"
        ssn = f"{private.randint(100, 999)}-{private.randint(10, 99)}-{private.randint(1000, 9999)}"
        yield "customers", (i, name, email, ssn, region, private.choice([None, 0, 5, 20, 21, 100]), day)
    for i in range(1, 80):
        amount = public.choice([0, 1, 5, 10.5, 20, 21, 99.99])
        day = f"2026-{public.randint(1, 12):02d}-{public.randint(1, 28):02d}"
        yield (
            "orders",
            (i, public.randint(1, 26), amount, public.choice(_STATES), public.choice(_REGIONS), None if i % 11 == 0 else day),
        )
    for i in range(1, 9):
        yield (
            "employees",
            (i, f"{public.choice(_NAMES)} {i}", private.randint(1, 9) * 1000, None if i == 1 else public.randint(1, i - 1)),
        )


QUERIES = """
SELECT 1
SELECT 1 + 1 AS two, 'x' || 'y', NULL, 1.5 * 2
SELECT * FROM customers
SELECT id, name FROM customers WHERE region = 'EU' ORDER BY id
SELECT DISTINCT region FROM customers ORDER BY region
SELECT count(*) FROM orders
SELECT count(*), count(email), count(DISTINCT region) FROM customers
SELECT region, count(*) AS n FROM customers GROUP BY region ORDER BY n DESC, region
SELECT region, sum(amount) total, avg(amount), min(amount), max(amount) FROM orders GROUP BY region ORDER BY region
SELECT region, status, sum(amount) FROM orders GROUP BY region, status HAVING sum(amount) > 30 ORDER BY 1, 2
SELECT region AS r, count(*) FROM orders GROUP BY r ORDER BY r
SELECT upper(name) FROM customers ORDER BY upper(name) LIMIT 5
SELECT c.name, o.amount FROM customers c JOIN orders o ON o.customer_id = c.id ORDER BY o.id LIMIT 10
SELECT c.name, count(o.id) AS orders FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id, c.name ORDER BY c.id
SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders WHERE amount > 50) ORDER BY id
SELECT name FROM customers WHERE id NOT IN (SELECT customer_id FROM orders WHERE amount > 20) ORDER BY id
SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND status = 'open') ORDER BY c.id
SELECT name, (SELECT max(amount) FROM orders WHERE customer_id = c.id) FROM customers c ORDER BY id
SELECT * FROM (SELECT region, sum(amount) AS total FROM orders GROUP BY region) t WHERE t.total > 10 ORDER BY total
WITH big AS (SELECT * FROM orders WHERE amount > 20) SELECT region, count(*) FROM big GROUP BY region ORDER BY region
WITH a AS (SELECT id FROM customers), b AS (SELECT a.id FROM a JOIN orders o ON o.customer_id = a.id) SELECT count(*) FROM b
WITH customers AS (SELECT 1 AS id, 'x' AS name) SELECT * FROM customers
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i, i * i FROM n ORDER BY i
WITH RECURSIVE chain(id, depth) AS (SELECT id, 0 FROM employees WHERE boss_id IS NULL UNION ALL SELECT e.id, c.depth + 1 FROM employees e JOIN chain c ON e.boss_id = c.id) SELECT depth, count(*) FROM chain GROUP BY depth ORDER BY depth
SELECT name FROM customers UNION SELECT name FROM employees ORDER BY name
SELECT region FROM customers EXCEPT SELECT region FROM orders WHERE amount > 1000
SELECT region FROM customers INTERSECT SELECT region FROM orders ORDER BY 1
SELECT id, amount, sum(amount) OVER (PARTITION BY region ORDER BY id) AS running FROM orders ORDER BY id
SELECT id, row_number() OVER (PARTITION BY region ORDER BY amount DESC, id) FROM orders ORDER BY id
SELECT id, rank() OVER w, lag(amount) OVER w FROM orders WINDOW w AS (PARTITION BY status ORDER BY amount, id) ORDER BY id
SELECT id, avg(amount) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM orders ORDER BY id
SELECT CASE WHEN amount > 50 THEN 'big' WHEN amount > 10 THEN 'mid' ELSE 'small' END AS size, count(*) FROM orders GROUP BY 1 ORDER BY 1
SELECT CASE status WHEN 'paid' THEN 1 ELSE 0 END FROM orders ORDER BY id
SELECT sum(CASE WHEN status = 'paid' THEN amount ELSE 0 END) / count(*) FROM orders
SELECT coalesce(created, '2026-01-01') FROM orders ORDER BY id
SELECT nullif(status, 'open'), name FROM orders o JOIN customers c ON c.id = o.customer_id ORDER BY o.id LIMIT 7 OFFSET 3
SELECT * FROM customers c, orders o WHERE c.id = o.customer_id AND o.amount BETWEEN 5 AND 50 ORDER BY o.id
SELECT a.id, b.id FROM employees a JOIN employees b ON a.boss_id = b.id ORDER BY 1, 2
SELECT name FROM customers WHERE name LIKE 'A%' OR name LIKE '%1_' ORDER BY id
SELECT name FROM customers WHERE created IS NOT NULL AND NOT region = 'US' ORDER BY created, id
SELECT id FROM orders WHERE (region, status) IN (SELECT region, status FROM orders WHERE id < 3) ORDER BY id
SELECT round(avg(amount), 2) FROM orders
SELECT abs(-5), length('abc'), replace('aXb', 'X', '-'), substr('hello', 2, 3), trim('  x ')
SELECT cast(amount AS INTEGER) FROM orders ORDER BY id
SELECT CAST('12' AS INTEGER) + 1, cast(id AS TEXT) || '!' FROM customers ORDER BY id LIMIT 3
SELECT count(*) FILTER (WHERE status = 'paid') AS paid FROM orders
SELECT * FROM customers JOIN (SELECT customer_id AS id, sum(amount) AS total FROM orders GROUP BY customer_id) t USING (id) ORDER BY id
SELECT id, name, boss_id FROM employees NATURAL JOIN (SELECT id FROM customers WHERE id < 5) x ORDER BY id
SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.amount > 90 WHERE o.id IS NULL ORDER BY c.id
SELECT region, count(*) * 100.0 / (SELECT count(*) FROM customers) FROM customers GROUP BY region ORDER BY region
SELECT o.region, c.region, count(*) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY o.region, c.region ORDER BY 1, 2
SELECT name AS "Full Name", id AS "select" FROM customers ORDER BY "Full Name", "select"
SELECT mail FROM customer_mails ORDER BY id
SELECT * FROM big_spenders ORDER BY total DESC, customer
SELECT customers.name FROM customers CROSS JOIN employees WHERE customers.id = employees.id ORDER BY customers.id
SELECT * FROM (customers c JOIN orders o ON o.customer_id = c.id) LEFT JOIN employees e ON e.id = c.id ORDER BY o.id
SELECT max(total) FROM (SELECT sum(amount) AS total FROM orders GROUP BY customer_id) x
SELECT id FROM customers ORDER BY region DESC, id ASC LIMIT 3
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM customers)
SELECT 'it''s', 'a\\b', '%'
SELECT -amount, +1, amount % 7, amount * -1 FROM orders ORDER BY id
SELECT id FROM orders WHERE amount = (SELECT max(amount) FROM orders) ORDER BY id
SELECT 1 WHERE 1 = 2
SELECT status, count(*) FROM orders WHERE created >= '2026-03-01' AND created < '2026-09-01' GROUP BY status ORDER BY 2 DESC, 1
VALUES (1, 'a'), (2, 'b')
SELECT lower(status) || '-' || region FROM orders GROUP BY status, region ORDER BY 1
"""
"""Queries that both engines take."""

POSTGRES_QUERIES = """
SELECT now()::date - now()::date, current_date IS NOT NULL
SELECT date_trunc('month', created)::date AS month, sum(amount) FROM orders WHERE created IS NOT NULL GROUP BY 1 ORDER BY 1
SELECT extract(year FROM created), date_part('month', created) FROM orders ORDER BY id
SELECT to_char(created, 'YYYY-MM'), created + interval '1 month', created - interval '2 days' FROM orders ORDER BY id
SELECT DISTINCT ON (region) region, id FROM orders ORDER BY region, amount DESC, id
SELECT string_agg(name, ', ' ORDER BY id), array_agg(id ORDER BY id) FROM customers
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM orders
SELECT g, g * 2 FROM generate_series(1, 4) AS g
SELECT g.n FROM generate_series(1, 3) AS g(n) ORDER BY g.n DESC
SELECT c.name, t.total FROM customers c, LATERAL (SELECT sum(amount) AS total FROM orders o WHERE o.customer_id = c.id) t ORDER BY c.id
SELECT c.id, t.id FROM customers c LEFT JOIN LATERAL (SELECT o.id FROM orders o WHERE o.customer_id = c.id ORDER BY o.id LIMIT 1) t ON true ORDER BY 1
SELECT region, status, sum(amount) FROM orders GROUP BY GROUPING SETS ((region), (status), ()) ORDER BY 1, 2
SELECT region, count(*) FROM orders GROUP BY ROLLUP (region) ORDER BY 1
SELECT region, status, count(*) FROM orders GROUP BY CUBE (region, status) ORDER BY 1, 2
SELECT name FROM customers WHERE name ILIKE 'a%' OR name ~ '^B.*[0-9]$' ORDER BY id
SELECT name FROM customers WHERE name ~* 'ADA' AND name !~ 'x' AND name NOT ILIKE 'z%' ORDER BY id
SELECT row_to_json(o) FROM orders o ORDER BY id LIMIT 3
SELECT jsonb_build_object('id', id, 'r', region) ->> 'r' FROM orders ORDER BY id
SELECT '{"a": {"b": [1, 2]}}'::jsonb -> 'a' -> 'b' -> 1, '{"a": 1}'::jsonb #>> '{a}', '{"a": 1}'::jsonb ? 'a', '{"a":1}'::jsonb -> ''
SELECT key, value FROM jsonb_each('{"a": 1, "b": 2}'::jsonb) ORDER BY key
SELECT value FROM jsonb_array_elements('[1, 2]'::jsonb)
SELECT unnest(ARRAY[1, 2, 3]), (ARRAY[1, 2])[1], ARRAY(SELECT id FROM customers ORDER BY id LIMIT 2)
SELECT id FROM customers WHERE id = ANY(ARRAY[1, 2]) OR region = ANY('{EU}'::text[]) ORDER BY id
SELECT 'abc' LIKE 'a%', 'x' IN ('x', 'y'), 1 IS DISTINCT FROM NULL, NULL IS NOT DISTINCT FROM NULL
SELECT greatest(1, 2), least(1, 2), width_bucket(5, 0, 10, 2), to_hex(255), md5('x'), chr(65), power(2, 3), 2 ^ 3, sqrt(4)
SELECT position('b' in 'abc'), substring('abc' from 2 for 1), substring('abc', 2), overlay('abc' placing 'X' from 2), trim(both 'x' from 'xax')
SELECT split_part('a,b', ',', 2), regexp_replace('a1b', '[0-9]', '-'), left('abc', 2), right('abc', 2), initcap('ada'), lpad('1', 3, '0')
SELECT '2026-01-31'::date + 1, date '2026-01-31' - date '2026-01-01', '1 day'::interval * 2, interval '1 day 02:03', interval '90' minute
SELECT timestamp '2026-01-01 10:00' AT TIME ZONE 'UTC', age(timestamp '2026-03-01', timestamp '2026-01-01')
SELECT E'a\\tb', $$it's$$, 'back\\slash', B'101', 1e3, 'x'::varchar(10)
SELECT c FROM customers c ORDER BY id LIMIT 2
SELECT count(c.*), (c.*) IS NULL FROM customers c GROUP BY c.* ORDER BY 1, 2 LIMIT 1
SELECT (c).name FROM customers c ORDER BY id LIMIT 2
TABLE orders
SELECT bool_and(amount > 0), bool_or(amount > 50), stddev_samp(amount), corr(amount, id) FROM orders
SELECT mode() WITHIN GROUP (ORDER BY status) FROM orders
SELECT first_value(id) OVER (PARTITION BY region ORDER BY id), ntile(4) OVER (ORDER BY id), cume_dist() OVER (ORDER BY id) FROM orders ORDER BY id
SELECT id, sum(amount) OVER (ORDER BY id RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM orders ORDER BY id
SELECT c.*, o.id FROM customers c JOIN orders o ON c.id = o.customer_id ORDER BY o.id FETCH FIRST 3 ROWS ONLY
SELECT name, region FROM customers GROUP BY id ORDER BY id
SELECT to_tsvector('english', name) @@ to_tsquery('english', 'ada') FROM customers ORDER BY id
SELECT id::text || ':' || amount::numeric(10, 1) FROM orders ORDER BY id
SELECT pg_catalog.lower('X'), count(*) FROM public.orders
SELECT a.n FROM unnest(ARRAY[3, 1, 2]) WITH ORDINALITY AS a(n, pos) ORDER BY a.pos
SELECT true, false, NULL::int, 1::bigint, 1.5::double precision, 'a'::char(3)
SELECT make_interval(days => 3), jsonb_agg(id ORDER BY id) FROM employees
SELECT count(*) FROM customers a FULL JOIN employees b USING (id)
SELECT id, a.name, b.name FROM customers a FULL JOIN employees b USING (id) ORDER BY id
"""

SQLITE_QUERIES = """
SELECT Name, COUNT(*) FROM CUSTOMERS GROUP BY NAME ORDER BY NAME
SELECT strftime('%Y-%m', created) AS month, total(amount) FROM orders GROUP BY month ORDER BY month
SELECT date('2026-01-31', '+1 day'), julianday('2026-01-02') - julianday('2026-01-01'), time('10:00'), unixepoch('2026-01-01')
SELECT group_concat(name, '; ') FROM (SELECT name FROM customers ORDER BY id)
SELECT iif(amount > 20, 'big', 'small'), ifnull(created, '?') FROM orders ORDER BY id
SELECT printf('%05.2f', amount), typeof(amount), hex('a'), instr('abc', 'b') FROM orders ORDER BY id
SELECT json_extract('{"a": [1, 2]}', '$.a[1]'), '{"a": {"b": 1}}' -> 'a' ->> 'b', json_array(1, 2), '{"a.b": 5}' ->> 'a.b'
SELECT value, key FROM json_each('[10, 20]') ORDER BY key
SELECT name FROM customers WHERE name GLOB 'A*' ORDER BY id
SELECT CAST('12.50' AS NUMERIC), CAST('7' AS DECIMAL(10, 2)), CAST('2026-01-02' AS DATE), CAST('3.7' AS INTEGER), CAST(1 AS VARCHAR(3))
SELECT 7 / 2, 7 % 2, 7 / 2.0, 1 << 3, 5 & 3, 5 | 3, ~1, x'4142', 0x1F, .5, 5.
SELECT id FROM orders WHERE created ISNULL ORDER BY id
SELECT id FROM orders WHERE status IS NOT 'paid' AND created NOTNULL ORDER BY id
SELECT max(1, 2), min(3, 4), max(amount) FROM orders
SELECT [name], `region` FROM "customers" ORDER BY [id] LIMIT 2, 3
SELECT name COLLATE NOCASE FROM customers ORDER BY name COLLATE NOCASE, id
SELECT amount AS a, a * 2 FROM (SELECT 1 AS a, amount FROM orders) ORDER BY a
SELECT region r, sum(amount) s FROM orders WHERE r = 'EU' GROUP BY r HAVING s > 1
SELECT id id2 FROM customers WHERE id2 < 4
SELECT main.customers.name FROM main.customers ORDER BY id LIMIT 1
SELECT count ( * ), sum( amount )/2 FROM orders
SELECT * FROM customers JOIN orders USING (id, region) ORDER BY id
SELECT 'x' LIKE 'X', 'a_b' LIKE 'a\\_b' ESCAPE '\\', 1 IN (), 5 BETWEEN 1 AND 9
SELECT row_number() OVER () FROM employees
SELECT name, max(salary) FROM employees
"""

MYSQL_QUERIES = """
SELECT NOW() IS NULL, CURDATE() - INTERVAL 1 DAY < CURRENT_DATE, UTC_DATE IS NULL
SELECT DATE_FORMAT(created, '%Y-%m') AS month, SUM(amount) FROM orders WHERE created IS NOT NULL GROUP BY month ORDER BY month
SELECT YEAR(created), MONTH(created), DAY(created), QUARTER(created), WEEK(created, 1), DAYNAME(created) FROM orders ORDER BY id
SELECT DATE_ADD(created, INTERVAL 1 MONTH), created + INTERVAL 2 DAY, DATE_SUB(created, INTERVAL '1 2' DAY_HOUR) FROM orders ORDER BY id
SELECT DATEDIFF('2026-12-31', created), TIMESTAMPDIFF(MONTH, created, '2026-12-31'), LAST_DAY(created), TO_DAYS(created) FROM orders ORDER BY id
SELECT '2026-01-01' + INTERVAL 1.5 DAY, '2026-01-01' - INTERVAL -2 HOUR, DATE '2026-01-31' + INTERVAL 1 MONTH, TIME '10:00:00.25'
SELECT TIMESTAMP '2026-01-01 10:00:00.5', STR_TO_DATE('02,05,2026', '%d,%m,%Y'), MAKEDATE(2026, 32), SEC_TO_TIME(3661), EXTRACT(YEAR_MONTH FROM '2026-05-01')
SELECT UNIX_TIMESTAMP('2026-01-01 00:00:00') > 0, FROM_UNIXTIME(0) IS NOT NULL, CONVERT_TZ('2026-01-01 12:00:00', '+00:00', '+02:00')
SELECT CONCAT(name, ' (', region, ')') FROM customers ORDER BY id LIMIT 5
SELECT CONCAT_WS(', ', name, NULL, region), IFNULL(email, '-'), NULLIF(region, 'EU'), ISNULL(email) FROM customers ORDER BY id
SELECT GROUP_CONCAT(name ORDER BY id SEPARATOR '; ') FROM customers
SELECT region, GROUP_CONCAT(DISTINCT status ORDER BY status) FROM orders GROUP BY region ORDER BY region
SELECT region, GROUP_CONCAT(id, ':', amount ORDER BY id DESC) FROM orders GROUP BY region ORDER BY region
SELECT IF(amount > 20, 'big', 'small') AS size, COUNT(*) FROM orders GROUP BY size ORDER BY size
SELECT region, SUM(amount) AS total FROM orders GROUP BY region HAVING total > 100 ORDER BY total DESC
SELECT region, SUM(amount) AS amount FROM orders GROUP BY region HAVING amount > 100 ORDER BY amount
SELECT name, credit AS c FROM customers HAVING c > 10 ORDER BY c, name
SELECT region, status, COUNT(*) FROM orders GROUP BY region, status WITH ROLLUP
SELECT IFNULL(region, 'all') AS r, SUM(amount) FROM orders GROUP BY region WITH ROLLUP
SELECT name, region FROM customers GROUP BY id ORDER BY id
SELECT name FROM customers WHERE name REGEXP '^[A-C]' AND name NOT RLIKE '[0-9]$' OR name LIKE 'D%' ORDER BY id
SELECT REGEXP_REPLACE(name, '[0-9]+', '#'), REGEXP_SUBSTR(name, '[A-Za-z]+'), REGEXP_INSTR(name, ' ') FROM customers ORDER BY id
SELECT id FROM orders ORDER BY id LIMIT 3, 4
SELECT id FROM orders ORDER BY amount DESC, id LIMIT 4 OFFSET 2
SELECT 7 DIV 2, 7 MOD 2, 7 % 2, MOD(7, 3), -MOD(7, 3), 7 / 2, 2 * 3 DIV 4, 5.5 DIV 2
SELECT 1 <=> NULL, NULL <=> NULL, 1 XOR 0, !0, NOT 1, 1 && 0, 1 || 0, ~0 & 255, 5 ^ 3, 1 << 4, 255 >> 2
SELECT 0x41, x'41', 0x41 + 0, x'41' + 0, b'101' + 0, 0b11, HEX('a'), UNHEX('41'), CONV('ff', 16, 10), BIN(5), OCT(8)
SELECT 'it''s', "double", 'back\\\\slash', 'tab\\t', '100%', 'a\\_b', _utf8mb4'x', N'y'
SELECT 'a' = 'A', BINARY 'a' = 'A', 'a' COLLATE utf8mb4_bin = 'A', 'a' = 'a ', 'ß' = 's', CAST('a' AS BINARY) = 'a'
SELECT '12abc' + 1, '3' * '4', 'abc' = 0, 1 = '1x', TRUE + TRUE, NULL IS NULL, 1 IS TRUE, 0 IS NOT TRUE
SELECT CAST('12' AS SIGNED), CAST('-1' AS UNSIGNED) > 0, CAST(12.345 AS DECIMAL(5, 1)), CAST('2026-01-02' AS DATE), CAST(5 AS CHAR), CONVERT('7', SIGNED)
SELECT CONVERT('ä' USING latin1), CAST(amount AS CHAR(3)), CAST('2026-01-02 03:04:05.6' AS DATETIME(3)), CAST(1 AS DOUBLE) FROM orders ORDER BY id
SELECT LEFT(name, 2), RIGHT(name, 2), SUBSTRING(name, 2, 2), SUBSTRING(name FROM 2 FOR 1), MID(name, 1, 2), SUBSTR(name, -2) FROM customers ORDER BY id
SELECT LENGTH('ä'), CHAR_LENGTH('ä'), UPPER(name), LCASE(name), REVERSE(name), REPEAT('x', 2), REPLACE(name, 'a', 'o') FROM customers ORDER BY id
SELECT LOCATE('a', name), INSTR(name, 'a'), POSITION('a' IN name), FIELD(region, 'EU', 'US'), FIND_IN_SET(region, 'EU,US'), ELT(1, name) FROM customers ORDER BY id
SELECT LPAD(id, 3, '0'), RPAD('x', 3, '-'), TRIM('  x '), TRIM(LEADING 'x' FROM 'xax'), LTRIM(' a'), INSERT('abc', 2, 1, 'X'), SPACE(2) FROM customers ORDER BY id LIMIT 2
SELECT SUBSTRING_INDEX('a,b,c', ',', 2), FORMAT(1234.5, 2), ASCII('a'), CHAR(65, 66), ORD('ä'), SOUNDEX('Ada'), QUOTE('it''s'), STRCMP('a', 'b')
SELECT ROUND(amount), ROUND(amount, 1), TRUNCATE(amount, 1), CEIL(amount), FLOOR(amount), ABS(-amount), SIGN(amount), SQRT(amount) FROM orders ORDER BY id
SELECT POW(2, 3), POWER(2, 3), EXP(0), LN(1), LOG(2, 8), LOG10(100), LOG2(8), PI(), GREATEST(1, 2), LEAST(1, 2), RAND(3) < 2, CRC32('a')
SELECT MD5('a'), SHA1('a'), SHA2('a', 256), TO_BASE64('a'), FROM_BASE64('YQ=='), INET_ATON('10.0.0.1'), INET_NTOA(167772161)
SELECT STD(amount), STDDEV_SAMP(amount), VARIANCE(amount), VAR_SAMP(amount), BIT_AND(id), BIT_OR(id), BIT_XOR(id) FROM orders
SELECT COUNT(DISTINCT region, status), COUNT(DISTINCT region), SUM(DISTINCT amount) FROM orders
SELECT JSON_EXTRACT('{"a": [1, 2]}', '$.a[1]'), JSON_UNQUOTE(JSON_EXTRACT('{"a": "x"}', '$.a')), JSON_VALID('{'), JSON_LENGTH('[1, 2]')
SELECT JSON_OBJECT('id', id, 'region', region), JSON_ARRAY(id, name) FROM customers ORDER BY id LIMIT 3
SELECT JSON_ARRAYAGG(region), JSON_OBJECTAGG(id, region) FROM customers WHERE id < 4
SELECT JSON_VALUE('{"a": {"b": 7}}', '$.a.b'), JSON_CONTAINS('[1, 2]', '1'), JSON_KEYS('{"a": 1}'), JSON_SET('{"a": 1}', '$.b', 2), JSON_TYPE('[]')
SELECT MEDIAN(amount) OVER (PARTITION BY region), PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY amount) OVER (PARTITION BY region) FROM orders ORDER BY id
SELECT id, NTILE(4) OVER (ORDER BY id), CUME_DIST() OVER (ORDER BY id), PERCENT_RANK() OVER (ORDER BY id) FROM orders ORDER BY id
SELECT id, LEAD(amount, 1) OVER w, FIRST_VALUE(amount) OVER w, NTH_VALUE(id, 2) OVER w FROM orders WINDOW w AS (PARTITION BY region ORDER BY id) ORDER BY id
SELECT id, SUM(amount) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) FROM orders ORDER BY id
SELECT c.name, o.amount FROM customers c INNER JOIN orders o ON o.customer_id = c.id AND o.status = 'paid' ORDER BY o.id
SELECT c.id, e.id FROM customers c JOIN employees e WHERE c.id = e.id ORDER BY 1
SELECT c.id, o.id FROM employees e JOIN customers c JOIN orders o ON o.customer_id = c.id AND e.id = c.id ORDER BY 1, 2
SELECT * FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id ORDER BY c.id, o.id
SELECT * FROM employees RIGHT JOIN customers USING (id, name) ORDER BY id
SELECT * FROM customers NATURAL JOIN employees ORDER BY id
SELECT id, region, customers.name FROM customers NATURAL LEFT JOIN (SELECT id, region FROM orders WHERE id < 9) o ORDER BY id
SELECT NAME, customers.Region, `name` FROM customers ORDER BY ID LIMIT 3
SELECT  1 +  1 , ( name ), (1), UPPER( name ), count( * ) over () FROM customers ORDER BY id LIMIT 1
SELECT name 'the name', region AS "where", id `no` FROM customers ORDER BY id LIMIT 2
SELECT 1 FROM dual
SELECT 1 FROM DUAL WHERE EXISTS (SELECT 1 FROM customers WHERE id = 3)
SELECT DISTINCTROW region FROM customers ORDER BY region
SELECT SQL_NO_CACHE HIGH_PRIORITY id FROM customers ORDER BY id LIMIT 1
SELECT id FROM customers WHERE region IN ('EU', 'US') AND created BETWEEN '2026-02-01' AND '2026-08-01' ORDER BY id # a comment
SELECT id FROM orders WHERE (region, status) = ('EU', 'paid') OR ROW(region, status) IN (('US', 'open'), ('APAC', 'paid')) ORDER BY id
SELECT id FROM orders WHERE amount > ALL (SELECT amount FROM orders WHERE region = 'EU' AND status = 'open') OR amount = ANY (SELECT 5) ORDER BY id
SELECT id, amount IS NOT NULL = 1, (amount NOT IN (1, 5)) + 1, amount NOT BETWEEN 1 AND 9 FROM orders ORDER BY id
SELECT id + 1 a FROM orders ORDER BY -a LIMIT 5
SELECT COALESCE(status, '?') s, COUNT(*) n FROM orders GROUP BY s ORDER BY n DESC, s
SELECT id FROM customers ORDER BY FIELD(region, 'US', 'EU', 'APAC'), id DESC
SELECT region FROM customers UNION DISTINCT SELECT region FROM orders ORDER BY region DESC
(SELECT id FROM customers WHERE id < 3) UNION ALL (SELECT id FROM orders WHERE id > 77) ORDER BY id LIMIT 3
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t ORDER BY `1` DESC
WITH t(a, b) AS (VALUES (1, 'x'), (2, 'y')) SELECT b, a FROM t ORDER BY a DESC
SELECT (SELECT COUNT(*) FROM orders o WHERE o.customer_id = c.id) AS n FROM customers c HAVING n > 2 ORDER BY n
SELECT id, name FROM customers WHERE name LIKE '%\\\\%%' OR name LIKE 'A|%' ESCAPE '|' ORDER BY id
SELECT PERIOD_DIFF(202612, 202601), ADDDATE('2026-01-01', 31), SUBDATE('2026-01-01', INTERVAL 1 YEAR), WEEKDAY('2026-01-01'), YEARWEEK('2026-01-01'), TIME_FORMAT('10:05:00', '%H.%i')
SELECT e.name, b.name boss FROM employees e LEFT JOIN employees b ON b.id = e.boss_id ORDER BY e.id
WITH RECURSIVE days AS (SELECT DATE('2026-01-01') AS d UNION ALL SELECT d + INTERVAL 1 DAY FROM days WHERE d < '2026-01-05') SELECT d FROM days
"""

DUCKDB_QUERIES = """
FROM customers SELECT name, id ORDER BY id
FROM orders ORDER BY id LIMIT 3
SELECT * EXCLUDE (email, ssn) FROM customers ORDER BY id
SELECT c.* EXCLUDE (credit), o.amount FROM customers c JOIN orders o ON o.customer_id = c.id ORDER BY o.id LIMIT 9
SELECT region, status, count(*) FROM orders GROUP BY ALL ORDER BY ALL
SELECT region, sum(amount) AS total FROM orders GROUP BY region HAVING total > 10 ORDER BY total DESC, region
SELECT amount * 2 AS twice, twice + 1 AS more FROM orders WHERE twice > 20 ORDER BY more, id
SELECT amount AS id, id AS amount FROM orders ORDER BY amount, id LIMIT 5
SELECT upper(region) AS region, count(*) FROM orders GROUP BY region ORDER BY region
SELECT id FROM orders QUALIFY row_number() OVER (PARTITION BY region ORDER BY amount DESC, id) <= 2 ORDER BY id
SELECT date_trunc('month', created) AS month, sum(amount) FROM orders GROUP BY month ORDER BY month NULLS FIRST
SELECT strftime(created, '%Y-%m'), dayname(created), created + INTERVAL 1 MONTH, created - INTERVAL '3 days' FROM orders ORDER BY id LIMIT 5
SELECT extract(year FROM created), date_part('dow', created), date_diff('day', created, DATE '2026-12-31') FROM orders ORDER BY id
SELECT median(amount), quantile_cont(amount, 0.9), percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM orders
SELECT arg_max(id, amount), max_by(status, id), any_value(region ORDER BY id), list(id ORDER BY id)[1:3] FROM orders
SELECT string_agg(name, ', ' ORDER BY name DESC) FILTER (WHERE id > 3) FROM customers
SELECT id::VARCHAR || '-' || region, CAST(amount AS DOUBLE), TRY_CAST(name AS INTEGER), amount::DECIMAL(12, 1) FROM orders JOIN customers USING (id, region) ORDER BY 1
SELECT name ILIKE 'a%', name ~ 'A', regexp_extract(name, '([A-Z])', 1), regexp_replace(name, '[0-9]+', '#'), name SIMILAR TO 'A.*' FROM customers ORDER BY id
SELECT split_part(name, ' ', 1), length(name), name[1], left(name, 2), lpad(name, 10, '*'), contains(name, 'd') FROM customers ORDER BY id
SELECT amount // 3, amount / 3, id % 4, power(id, 2), round(amount, 1), greatest(id, 5) FROM orders ORDER BY id LIMIT 8
SELECT i, i * i FROM range(5) AS t(i) ORDER BY i
SELECT generate_series FROM generate_series(1, 3) ORDER BY 1
SELECT DISTINCT ON (region) region, id FROM orders ORDER BY region, amount DESC, id
SELECT [1, 2, 3], len([1, 2]), list_contains([1, 2], 2), list_sort([3, 1]), unnest([1, 2])
SELECT '{"a": 1}'::JSON ->> 'a', json_extract('{"a": [1]}', '$.a[0]')
SELECT count(*) FILTER (WHERE status = 'paid') AS paid, count(*) FROM orders
SELECT region, status, sum(amount) FROM orders GROUP BY ROLLUP (region, status) ORDER BY ALL
SELECT region, grouping(region), sum(amount) FROM orders GROUP BY GROUPING SETS ((region), ()) ORDER BY 2, 1
SELECT id, sum(amount) OVER (PARTITION BY region ORDER BY created, id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM orders ORDER BY id
SELECT id, lag(amount) OVER w, first_value(amount) OVER w FROM orders WINDOW w AS (PARTITION BY region ORDER BY id) ORDER BY id
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r
WITH monthly AS MATERIALIZED (SELECT month(created) AS m, sum(amount) AS s FROM orders GROUP BY 1) SELECT m, s, s - lag(s) OVER (ORDER BY m) FROM monthly ORDER BY m
SELECT c.name, t.amount FROM customers c, LATERAL (SELECT amount FROM orders o WHERE o.customer_id = c.id ORDER BY amount DESC, id LIMIT 1) t ORDER BY c.id
SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND amount > 20) ORDER BY id
SELECT id FROM customers WHERE id NOT IN (SELECT customer_id FROM orders) ORDER BY id
SELECT id FROM orders WHERE amount > ALL (SELECT credit FROM customers WHERE credit < 10) ORDER BY id
SELECT region FROM customers UNION SELECT status FROM orders ORDER BY 1
SELECT region FROM customers EXCEPT SELECT 'EU' ORDER BY region
SELECT id FROM customers INTERSECT SELECT customer_id FROM orders ORDER BY 1
VALUES (1, 'a'), (2, 'b')
SELECT v.x FROM (VALUES (1), (2)) AS v(x) ORDER BY x DESC
SELECT "name", "Region" FROM CUSTOMERS ORDER BY "ID" LIMIT 2
SELECT COUNT(DISTINCT region), Sum(amount), AVG(amount) FROM Orders
SELECT CASE WHEN amount > 20 THEN 'big' WHEN amount > 5 THEN 'mid' ELSE 'small' END AS size, count(*) FROM orders GROUP BY size ORDER BY size
SELECT coalesce(email, 'none'), nullif(region, 'EU'), ifnull(credit, 0), if(credit > 5, 'y', 'n') FROM customers ORDER BY id
SELECT id FROM orders WHERE created BETWEEN '2026-02-01' AND '2026-06-30' AND status IN ('paid', 'open') ORDER BY id
SELECT c.id, e.id FROM customers c LEFT JOIN employees e ON e.id = c.id AND e.boss_id IS NOT NULL ORDER BY c.id
SELECT customers.name FROM main.customers WHERE customers.id = 3
SELECT sum(amount) OVER () / count(*) OVER () FROM orders LIMIT 1
SELECT approx_count_distinct(region) > 0, mode(status), stddev_samp(amount), corr(id, amount) FROM orders
SELECT EPOCH(created::TIMESTAMP), make_date(2026, 1, 2), last_day(created), to_days(3) FROM orders WHERE created IS NOT NULL ORDER BY id LIMIT 2
SELECT count(*) FROM customers WHERE name LIKE '%a%' AND NOT region = 'EU' OR id IS NULL
SELECT hash(1) = hash(1), md5('a'), sha256('a'), printf('%d-%s', 1, 'x'), format('{}', 1), bar(1, 0, 2, 4)
"""

_NOT_OF_MYSQL = (" FILTER (", " AS TEXT)")


def queries(dialect: str) -> list[str]:
    """Returns the corpus of one engine, one query a line."""
    if dialect == "mysql":
        common = [line for line in QUERIES.splitlines() if not any(part in line for part in _NOT_OF_MYSQL)]
        return [line for line in [*common, *MYSQL_QUERIES.splitlines()] if line.strip()]
    text = QUERIES + {"postgres": POSTGRES_QUERIES, "sqlite": SQLITE_QUERIES, "duckdb": DUCKDB_QUERIES}[dialect]
    return [line for line in text.splitlines() if line.strip()]
