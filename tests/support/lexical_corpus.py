"""Texts at the edges of the engines' lexers: where a parser of one's own is most easily led astray.

Each line is one statement; escapes are Python's (a backslash is doubled). `{ws}` stands for every odd white space in turn.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["lexical"]

_SPACES = "\u0009\u000a\u000d\u000c\u000b\u0000\u0001\u0008\u001a\u001f\u007f\u0085\u00a0\u00ad\u034f\u061c\u1680\u180e\u2000\u2003\u2009\u200b\u200c\u200d\u200e\u2028\u2029\u202e\u202f\u205f\u2060\u2066\u3000\ufeff\ufffe\ufff9\U000e0001"

_COMMON = r"""
SELECT 1
select 1;
SELECT 1 ; ;
;SELECT 1
SELECT 1; -- a comment
SELECT 1 -- a comment
SELECT 1 /* a comment */
SELECT /* a /* nested */ 2
SELECT /* a /* nested */ comment */ 2
SELECT /* a /* nested */ 1 /* comment */ */ 2
SELECT 1 /* open
SELECT 1 /*! , 2 */
SELECT 1 /*!50000 , 2 */
SELECT 1 /*M! , 2 */
SELECT 1 /*+ hint */
SELECT /*+ NO_INDEX */ id FROM customers WHERE id = 1
SELECT 1 --x
SELECT 5--2
SELECT 5 - -2
SELECT 5 - - 2
SELECT 5 -/**/-2
SELECT 5 --\n- 2
SELECT 1 # 2
SELECT 1 #comment
SELECT 'it''s'
SELECT 'a' 'b'
SELECT 'a'\n'b'
SELECT 'a' -- x\n'b'
SELECT 'a' /* x */ 'b'
SELECT 'a\\'
SELECT 'a\\' || ' OR 1=1 --'
SELECT 'a\\'' OR 1=1 --'
SELECT 'a\\nb'
SELECT '\\x41'
SELECT '--', '/*', '*/', ';', '\\'
SELECT "id" FROM customers WHERE id = 1
SELECT "ID" FROM customers WHERE id = 1
SELECT "nothing" FROM customers WHERE id = 1
SELECT Id, ID, iD FROM CUSTOMERS WHERE Id = 1
SELECT id AS "a""b" FROM customers WHERE id = 1
SELECT id AS "" FROM customers
SELECT id "select" FROM customers WHERE id = 1
SELECT id AS select FROM customers WHERE id = 1
SELECT id AS "é", id AS É FROM customers WHERE id = 1
SELECT id AS İ FROM customers WHERE id = 1
SELECT id AS ı FROM customers WHERE id = 1
SELECT İd FROM customers
SELECT ıd FROM customers
SELECT \u212aind FROM customers
SELECT cu\u017ftomers.id FROM customers
SELECT id FROM cu\u017ftomers
SELECT ＩＤ FROM customers
SELECT id FROM customers WHERE name = 'A\u0308' OR name = '\u00c4'
SELECT 'ﬀ', 'ß', upper('ß'), lower('İ')
SELECT id AS Ünïcode FROM customers WHERE id = 1 ORDER BY ünïcode
SELECT id AS ÄB, id AS äb FROM customers WHERE id = 1
SELECT 1_000
SELECT 1__0
SELECT 1_a
SELECT 0x1F
SELECT 0x
SELECT 0xG
SELECT 0b101
SELECT 0o17
SELECT 017
SELECT 1e5, 1E-2, 1.e2, .5e1
SELECT 1e
SELECT 1e+
SELECT 1.
SELECT .5
SELECT 1..2
SELECT 1.2.3
SELECT 1a
SELECT 1abc FROM customers
SELECT 1from customers
SELECT 1FROM customers WHERE 2IN(2)
SELECT 1.5abc
SELECT 123abc, 0x1Fg
SELECT 99999999999999999999
SELECT 9223372036854775807, 9223372036854775808
SELECT -9223372036854775808
SELECT 0.1 + 0.2, 1e400
SELECT x'41'
SELECT X'4'
SELECT b'101'
SELECT B'2'
SELECT n'abc'
SELECT N'abc'
SELECT q'[abc]'
SELECT U&'d\\0061t\\+000061'
SELECT U&'d!0061t' UESCAPE '!'
SELECT U&"\\0069d" FROM customers WHERE id = 1
SELECT u&'a'
SELECT U & 1 FROM (SELECT 2 AS u) t
SELECT u&1 FROM (SELECT 3 AS u) t
SELECT E'a\\tb\\'c'
SELECT e'\\x41\\101\\u0041'
SELECT E'\\xC3\\xA4'
SELECT E'\\0'
SELECT E 'a'
SELECT e'a' 'b'
SELECT $$a'b$$
SELECT $t$a$$b$t$
SELECT $t$a$T$b$t$
SELECT $1
SELECT $1$a$1$
SELECT $é$a$é$
SELECT $a b$x$a b$
SELECT $$open
SELECT a$b$c FROM (SELECT 1 AS a$b$c) t
SELECT 1 AS a$b
SELECT $a
SELECT @x
SELECT @-5
SELECT @ -5
SELECT -@-5
SELECT @--5\n 3
SELECT !! 5
SELECT 5 !
SELECT |/ 25
SELECT ||/ 27
SELECT 2 ^ 3 ^ 2
SELECT -2 ^ 2
SELECT 2 ** 3
SELECT 5 % 3 * 2
SELECT 7 / 2 * 2
SELECT NOT 1 = 2
SELECT NOT NOT 1 = 1
SELECT 1 = 1 = 1
SELECT 1 < 2 = 1
SELECT 1 <> 2, 1 != 2
SELECT 1 ! = 2
SELECT 1 < > 2
SELECT 3 - 2 - 1, 3 - (2 - 1)
SELECT 8 / 4 / 2, 8 / (4 / 2)
SELECT 2 - -1, 2 - +1, +1, - - 1
SELECT 1 | 2 & 3, (1 | 2) & 3
SELECT 1 << 2 + 1, (1 << 2) + 1
SELECT ~1 + 1, ~(1 + 1)
SELECT 'a' || 'b' || 1
SELECT 'a' || 1 + 2
SELECT 1 IS NULL, 1 IS NOT NULL, NULL IS NULL
SELECT 1 IS NOT DISTINCT FROM 1
SELECT 1 BETWEEN 0 AND 2 AND 1 = 1
SELECT NOT 1 BETWEEN 0 AND 2
SELECT 1 IN (1, 2) = (1 = 1)
SELECT 'a' LIKE 'A', 'a' LIKE 'a%' ESCAPE '\\'
SELECT 'a%' LIKE 'a\\%'
SELECT 'a_b' LIKE 'a!_b' ESCAPE '!'
SELECT 'a' NOT LIKE 'b' AND 1 = 1
SELECT 1/*x*/+/*y*/2
SELECT 6*/*x*/7
SELECT 6/*x*//*y*/2
SELECT 6 /2
SELECT 6/ 2/*/1*/
SELECT 6 /**/ / 2
SELECT 1+-1, 1-+1, 1*-1, 1/-1
SELECT 1<-1, 1>-1, 1=-1, 1<=-1
SELECT 1!=-1
SELECT 1||-1
SELECT 1%-1
SELECT 1&-1
SELECT(1)
SELECT(1)AS a
SELECT'a'AS b
SELECT"id"FROM"customers"WHERE"id"=1
SELECT*FROM customers WHERE id=1
SELECT count(*)FROM customers
SELECT count (*) FROM customers
SELECT count(/* all */ *) FROM customers
SELECT count(ALL id), count(DISTINCT id) FROM customers
SELECT "count"(*) FROM customers
SELECT "COUNT"(*) FROM customers
SELECT COUNT(*), Count(*), cOUNT(*) FROM customers
SELECT customers.id FROM customers customers WHERE customers.id = 1
SELECT c.id c FROM customers c WHERE c.id = 1
SELECT true, TRUE, false, NULL, null
SELECT CASE WHEN 1=1 THEN 1 END, case when 1=2 then 1 end
SELECT CASE 1 WHEN 1 THEN 'a' WHEN 2 THEN 'b' ELSE 'c' END
SELECT CAST(1 AS text), CAST('2' AS integer) + 1
SELECT (SELECT (SELECT ((1))))
SELECT 1 AS a UNION SELECT 2 ORDER BY a
(SELECT 1) UNION ALL (SELECT 2)
((SELECT 1))
VALUES (1), (2)
WITH a AS (SELECT 1 AS x) SELECT x FROM a
WITH "A" AS (SELECT 1 AS x), a AS (SELECT 2 AS x) SELECT x FROM a
WITH a(x) AS (VALUES (1)) SELECT * FROM a
SELECT id FROM customers LIMIT 1 OFFSET 1
SELECT id FROM customers ORDER BY id LIMIT 0
SELECT id FROM customers ORDER BY 1 DESC LIMIT 2
SELECT id FROM customers ORDER BY -id LIMIT 2
SELECT id FROM customers ORDER BY +id LIMIT 2
SELECT id FROM customers ORDER BY (1), id LIMIT 2
SELECT id FROM customers ORDER BY 'x', id LIMIT 2
SELECT name n FROM customers ORDER BY n COLLATE "C" LIMIT 2
SELECT id, id FROM customers WHERE id = 1
SELECT id AS a, name AS a FROM customers WHERE id = 1
SELECT abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk FROM (SELECT 1 AS abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk) t
SELECT abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl FROM (SELECT 1 AS abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl) t
SELECT abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm FROM (SELECT 1 AS abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklX) t
SELECT 1 AS ééééééééééééééééééééééééééééééé, 2 AS éééééééééééééééééééééééééééééééé
SELECT id FROM main.customers WHERE id = 1
SELECT id FROM public.customers WHERE id = 1
SELECT id FROM PUBLIC.customers WHERE id = 1
SELECT id FROM "PUBLIC".customers
SELECT id FROM pg_catalog.customers
SELECT id FROM a.b.customers
SELECT user
SELECT session_user
SELECT current_user, current_date IS NOT NULL
SELECT CURRENT_DATE = current_date
SELECT "current_date" FROM customers
SELECT date '2026-01-01'
SELECT date'2026-01-01'
SELECT left('abc', 1)
SELECT right('abc', 1), replace('a', 'a', 'b')
SELECT value FROM (SELECT 1 AS value) t
SELECT key, type, name, first, last, date FROM (SELECT 1 AS key, 2 AS type, 3 AS name, 4 AS first, 5 AS last, 6 AS date) t
SELECT t.values FROM (SELECT 1 AS "values") t
SELECT "order", "group" FROM (SELECT 1 AS "order", 2 AS "group") t
SELECT 1 AS end
SELECT 1 AS "end"
SELECT 1 format
SELECT 1 AS format, 2 AS range, 3 AS partition
SELECT 1 window
SELECT filter FROM (SELECT 1 AS filter) t
SELECT over FROM (SELECT 1 AS over) t
SELECT offset FROM (SELECT 1 AS "offset") t
SELECT 1 WHERE 'a' = 'a '
SELECT 'a' = 'A'
SELECT '1' = 1
SELECT 1 = 1.0, '1' || 1.0
SELECT id FROM customers WHERE id = '1'
SELECT id FROM customers WHERE id = 1 OR 1 = 2 AND 3 = 4
SELECT id FROM customers WHERE (id = 1 OR 1 = 2) AND id < 4
SELECT id FROM customers c, orders WHERE c.id = 1 AND orders.id = 1
SELECT id FROM customers WHERE id = 1 --' AND 1 = 2
SELECT id FROM customers WHERE name = 'x' --\n OR id = 1
SELECT id FROM customers WHERE name = '/*' OR id = 1 /* ' */
SELECT id FROM customers WHERE name = "x' OR id = 1 --"
SELECT id FROM customers WHERE id = 1; DROP TABLE customers
SELECT id FROM customers WHERE id = 1;; SELECT 2
SELECT 1;\u0000SELECT 2
COMMIT; SELECT 1
"""

_POSTGRES = r"""
SELECT DATE '2020-01-01'::VARCHAR
SELECT TIMESTAMP '2020-01-01 10:00'::DATE::text
SELECT TIMESTAMP WITH TIME ZONE '2020-01-01'::DATE
SELECT double precision '1'::int, float8 '2'::int, numeric(3,1) '1.55'::int
SELECT float8 '2'::int, bool 'true'::text, jsonb '[1, 2]'::jsonb -> 1
SELECT date E'2020-01-01'::text, date $$2020-01-01$$::text
SELECT timestamp '2020-01-01 10:00' AT TIME ZONE 'UTC'::text
SELECT 'a' WHERE 'b'::text = 'b' AND 'c'::text IN ('c'::text)
SELECT char 'abc'
SELECT character 'abc'
SELECT nchar 'abc'
SELECT bpchar 'abc', varchar 'abc', character(2) 'abc'
SELECT bit '101'
SELECT 1 AS some, 2 AS any
SELECT 1 = SOME (ARRAY[1]), 1 = any (ARRAY[2])
SELECT .5, -.5, 1+.5 AS x
SELECT 1::int::text::varchar(3)
SELECT '1'::int + 1, 1::text || 'a', -1::int, - 1 :: int
SELECT 2::numeric(5,2)::text
SELECT int '1', numeric '1.5', text 'a', timestamp '2026-01-01', interval '1 day'
SELECT '{1,2}'::int[], ARRAY[1,2][1], (ARRAY[[1,2],[3,4]])[2][1]
SELECT interval '1' day, interval '2 weeks ago', interval '-1 days +02:03', interval '1-2' year to month
SELECT interval '1' day + interval '02:03', interval(0) '1.5 seconds', interval '1.5' second
SELECT timestamp with time zone '2026-01-01 00:00+00' AT TIME ZONE 'UTC'
SELECT time '10:00' , timetz '10:00+02'
SELECT 'a' ~ 'A', 'a' ~* 'A', 'a' !~ 'b', 'a' !~* 'B', 'a' ~~ 'a%', 'a' !~~ 'b', 'a' ~~* 'A', 'a' !~~* 'B'
SELECT 'abc' ^@ 'a', 'a' || NULL, 1 <-> 2
SELECT '{"a":{"b":1}}'::json -> 'a' -> 'b', '{"a":1}'::jsonb ->> 'a', '[1,2]'::json -> 1, '[1,2]'::jsonb -> -1
SELECT '{"a.b": 1}'::jsonb -> 'a.b', '{"": 1}'::jsonb -> '', '{"$": 1}'::jsonb -> '$', '{"a":[1]}'::jsonb #> '{a,0}', '{"a":1}'::jsonb #>> '{a}'
SELECT '{"a":1}'::jsonb @> '{"a":1}', '{"a":1}'::jsonb ? 'a', '{"a":1}'::jsonb ?| '{a,b}', '{"a":1}'::jsonb ?& '{a}', '{"a":1}'::jsonb - 'a'
SELECT '{"a":1}'::jsonb @? '$.a', '{"a":1}'::jsonb @@ '$.a == 1', '{"a":1}'::jsonb || '{"b":2}'
SELECT ARRAY[1,2] && ARRAY[2], ARRAY[1] || 2, 1 = ANY(ARRAY[1]), 1 <> ALL(ARRAY[2]), ARRAY[1,2] @> ARRAY[1], ARRAY[1] <@ ARRAY[1,2]
SELECT 1 OPERATOR(pg_catalog.+) 2
SELECT 1 operator(+) 2
SELECT 'a' COLLATE "C" < 'b', 'a' COLLATE pg_catalog."C"
SELECT ROW(1, 'a'), (1, 2) = (1, 2), ROW(1) IS NULL, (ROW(1, 2)).f1
SELECT trim('  a '), trim(both from ' a '), trim(leading 'x' from 'xa'), trim(trailing 'xa'), trim('xax', 'x'), btrim('xax', 'x')
SELECT substring('abc' from 2), substring('abc' from 2 for 1), substring('abc' for 2), substring('abc' from '.c'), substring('abc' similar 'a#"b#"c' escape '#')
SELECT position('b' in 'abc'), overlay('abc' placing 'x' from 2), extract(year from date '2026-01-01'), extract('month' from date '2026-02-01')
SELECT date_part('year', date '2026-01-01'), to_char(date '2026-01-01', 'YYYY "a.d."'), to_hex(255), char_length('a')
SELECT coalesce(NULL, 1), nullif(1, 1), greatest(1, 2), least(1, 2), concat('a', NULL, 1), concat_ws(',', 'a', NULL, 'b')
SELECT age(date '2026-01-02', date '2026-01-01'), now() IS NOT NULL, current_timestamp(0) IS NOT NULL, localtime IS NOT NULL
SELECT json_build_object('a', 1), json_object('{a,1}'), json_object('{a}', '{1}'), jsonb_build_array(1, 'a')
SELECT generate_series(1, 3), unnest(ARRAY[1, 2])
SELECT a, b FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS t(a, b)
SELECT * FROM generate_series(1, 2) WITH ORDINALITY
SELECT * FROM unnest(ARRAY[1,2], ARRAY['a','b']) AS t(a, b)
SELECT x FROM xmltable('/a' passing '<a>1</a>' columns x int path '.')
SELECT count(*) FILTER (WHERE id > 1), string_agg(name, ',' ORDER BY id DESC), array_agg(DISTINCT region ORDER BY region) FROM customers
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id), mode() WITHIN GROUP (ORDER BY region) FROM customers
SELECT DISTINCT ON (region) region, id FROM customers ORDER BY region, id
SELECT ALL id FROM customers WHERE id < 3
SELECT id FROM ONLY customers WHERE id = 1
SELECT id FROM customers* WHERE id = 1
SELECT id FROM customers TABLESAMPLE SYSTEM (100) WHERE id = 1
SELECT id FROM customers ORDER BY id USING > LIMIT 2
SELECT id FROM customers FETCH FIRST ROW ONLY
SELECT id FROM customers ORDER BY region FETCH FIRST 1 ROW WITH TIES
SELECT id FROM customers FOR UPDATE
SELECT customers FROM customers WHERE id = 1
SELECT (customers).id, (customers).* FROM customers WHERE id = 1
SELECT customers.*::text FROM customers WHERE id = 1
SELECT c.name, lower(c) FROM customers c WHERE id = 1
SELECT c.lower FROM (SELECT 'A'::text AS c) t
SELECT t.upper FROM (SELECT 'a'::text) t
SELECT name.upper FROM customers
TABLE customers
SELECT FROM customers WHERE id = 1
SELECT
SELECT WHERE 1 = 1
SELECT 1 AS "?column?", 2
SELECT 1 \"a b\", 2 AS U&\"x\"
SELECT 'a'::\"char\", 'abc'::char(2), 'abc'::bpchar, 'a'::name
SELECT 1::\"int4\", 1::pg_catalog.int4, 1::public.int4
SELECT x'1F'::int, b'101'::int, x'41'::bit(8)
SELECT 1.5::int, 2.5::int, 1e10::bigint, 'NaN'::float, 'inf'::float8
SELECT 1/2, 1/2.0, 1 / 2::float, 7 % 3, -7 % 3, -7 / 2
SELECT 'abc' SIMILAR TO 'a%', 'abc' NOT SIMILAR TO 'b%', 'a' ILIKE 'A', 'a%' LIKE 'a#%' ESCAPE '#', 'a' LIKE 'a' ESCAPE ''
SELECT 1 IS TRUE
SELECT true IS TRUE, NULL IS UNKNOWN, false IS NOT TRUE, NOT true = false
SELECT 1 ISNULL, 1 NOTNULL
SELECT (date '2026-01-01', date '2026-02-01') OVERLAPS (date '2026-01-15', interval '1 day')
SELECT 5 BETWEEN SYMMETRIC 9 AND 1
SELECT current_catalog, current_schema
SELECT E'\\u00e4' = U&'\\00e4', E'\\'' = '''', 'a' = E'a'
SELECT 'first'\n  'second'
SELECT E'a'\n'\\n'
SELECT 'a'\n\n-- c\n'b'
SELECT $$ $$ || $a$ $a$
SELECT $_$x$_$, $a1$y$a1$
SELECT N'é', U&'\\00E9'
SELECT count(*) AS count, sum(id) sum FROM customers
SELECT 1 AS int, 2 AS text, 3 AS date
SELECT int FROM (SELECT 1 AS int) t
SELECT 1 year, 2 AS month
SELECT a.id FROM customers a JOIN customers USING (id) WHERE id = 1
SELECT * FROM customers NATURAL JOIN orders LIMIT 1
SELECT * FROM (customers a CROSS JOIN customers b) WHERE a.id = 1 AND b.id = 1
SELECT * FROM (customers a JOIN customers b USING (id)) AS j WHERE id = 1
SELECT * FROM customers a JOIN customers b USING (id) AS u WHERE u.id = 1
SELECT grouping(region), region FROM customers GROUP BY ROLLUP(region) ORDER BY 1, 2
SELECT region FROM customers GROUP BY DISTINCT ROLLUP(region), region ORDER BY 1
SELECT max(id) OVER (PARTITION BY region ORDER BY id ROWS 2 PRECEDING), rank() OVER w FROM customers WINDOW w AS (ORDER BY id)
SELECT sum(id) OVER (w ROWS UNBOUNDED PRECEDING) FROM customers WINDOW w AS (ORDER BY id)
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT n FROM t
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) SEARCH DEPTH FIRST BY n SET o SELECT n FROM t
SELECT 1 UNION SELECT 2 INTERSECT SELECT 2
SELECT 1 EXCEPT SELECT 1 UNION SELECT 3
(SELECT 1 UNION SELECT 2) INTERSECT SELECT 2
SELECT 'a' AS x UNION ALL SELECT NULL ORDER BY x NULLS FIRST
SELECT md5('a'), md5(E'a'), encode('\\x41'::bytea, 'hex'), '\\x41'::bytea, E'\\\\x41'::bytea
SELECT to_timestamp(0) IS NOT NULL, make_date(2026, 1, 2), make_interval(days => 2), make_interval(0, 0, 0, 3)
SELECT width_bucket(1, 0, 2, 2), div(7, 2), mod(7, 2), power(2, 3), 2 ^ 3, sqrt(4), |/ 4, cbrt(8), abs(-1), sign(-2), round(1.5), trunc(-1.5)
SELECT left('abc', -1), right('abc', -1), repeat('a', 2), reverse('ab'), lpad('a', 3), translate('a', 'a', 'b'), chr(955), ascii('λ'), initcap('a b')
SELECT regexp_match('abc', 'b'), regexp_replace('aa', 'a', 'b', 'g'), regexp_split_to_array('a,b', ','), string_to_array('a,b', ',')
SELECT array_to_string(ARRAY[1,NULL,2], ',', '*'), array_length(ARRAY[1], 1), cardinality(ARRAY[1,2]), ARRAY[]::int[], ARRAY(SELECT 1)
SELECT CASE WHEN true THEN 1 ELSE 2 END::text, (CASE WHEN true THEN 1 END) + 1
SELECT 1 + CASE WHEN true THEN 1 ELSE 2 END * 2
SELECT EXISTS (SELECT), NOT EXISTS (SELECT 1 WHERE false)
SELECT id FROM customers WHERE (id, region) IN ((1, 'EU'), (2, 'US')) ORDER BY id
SELECT id FROM customers WHERE id IN (SELECT 1) AND id = SOME (ARRAY[1])
SELECT id FROM customers WHERE id = ANY ('{1,2}') ORDER BY id
SELECT a.b FROM (SELECT 1 AS b) AS a(b)
SELECT (SELECT 1)::text, ((SELECT 1)) + 1
SELECT 1 AS a, 2 AS b ORDER BY a, b DESC NULLS LAST
SELECT current_setting('x')
SELECT set_config('a.b', 'c', false)
SELECT pg_sleep(0)
SELECT nextval('s')
SELECT pg_catalog.upper('a'), PG_CATALOG.lower('A')
SELECT public.upper('a')
SELECT "upper"('a'), "UPPER"('a')
SELECT upper /* x */ ('a')
"""

_SQLITE = r"""
SELECT e.id FROM customers c JOIN (orders o JOIN employees e ON o.id = e.id) ON c.id = o.id WHERE c.id = 1
SELECT o.id FROM customers c JOIN (orders o JOIN employees e ON o.id = e.id) ON c.id = o.id WHERE c.id = 1
SELECT e.id AS id, o.region, e.name FROM customers c JOIN (orders o JOIN employees e ON o.id = e.id) ON c.id = o.id WHERE c.id = 1
SELECT [id] FROM [customers] WHERE [id] = 1
SELECT `id` FROM `customers` WHERE `id` = 1
SELECT `a``b` FROM (SELECT 1 AS `a``b`)
SELECT [a]]b] FROM (SELECT 1 AS [a]b])
SELECT 'id' FROM 'customers' WHERE 'id' = 1
SELECT id AS 'x' FROM customers WHERE id = 1
SELECT id 'x y' FROM customers WHERE id = 1
SELECT "x" FROM (SELECT 1 AS 'x')
SELECT customers."id" FROM "customers" WHERE "name" = "nobody"
SELECT x'4142', X'', x'4', typeof(x'41')
SELECT 0X1f, 0x7fffffffffffffff, 0x8000000000000000, -0x1
SELECT 1 == 1, 1 IS 1, 1 IS NOT 2, NULL IS NULL, 1 <> 2
SELECT 'a' GLOB 'A', 'a' GLOB 'a*', 'a' NOT GLOB 'b', 'a' REGEXP 'a'
SELECT 'a' MATCH 'a'
SELECT '{"a":{"b":1}}' -> 'a' ->> 'b', '{"a":1}' ->> '$.a', '{"a.b":2}' -> 'a.b', '[1,2]' -> 1, '[1,2]' ->> -1, '{"a":1}' -> '$', '{"":1}' -> ''
SELECT json('{"a" : 1}'), json_extract('{"a":[1,2]}', '$.a[1]'), json_extract('{"a":1}', '$.a', '$.b')
SELECT 1 LIKE 1, 'A' LIKE 'a', 'a' LIKE 'A' ESCAPE 'x', like('a%', 'abc'), glob('a*', 'abc')
SELECT CAST('12.5' AS NUMERIC), CAST('12' AS DECIMAL(10,2)), CAST('a' AS INTEGER), CAST('1.7' AS INT), CAST(1.7 AS INTEGER)
SELECT typeof(CAST(1 AS TEXT)), typeof(CAST('1' AS BLOB)), typeof(CAST('1' AS REAL)), typeof(CAST('1' AS NUMERIC)), typeof(CAST('1e3' AS NUMERIC))
SELECT CAST('2026-01-02' AS DATE), CAST('x' AS DATETIME), CAST('1' AS BOOLEAN), CAST(1 AS VARCHAR(2)), CAST(1.5 AS BIGINT), CAST('1' AS FLOAT)
SELECT CAST(5 AS ANYTHING), CAST('5' AS POINT), CAST('5' AS CHARINT), CAST(5 AS UNSIGNED BIG INT), CAST('a' AS NATIVE CHARACTER(70))
SELECT 7 / 2, -7 / 2, 7 % -2, 7.0 / 2, 1 / 0, '7' / 2, '7a' + 1, 'a' + 1, 5 || 6 + 1
SELECT 1 + + 1, + 'a', - 'a', +id FROM customers WHERE id = 1
SELECT typeof(+'1'), +amount FROM orders WHERE id = 1
SELECT id FROM customers WHERE +id = '1'
SELECT id FROM customers WHERE id = '1' AND name = 1
SELECT NOT 'a', NOT NULL, NOT 0, ~0, -'5'
SELECT 1 ISNULL, NULL ISNULL, 1 NOTNULL, 1 NOT NULL, NULL IS NOT NULL
SELECT 1 IN (), 1 NOT IN (), NULL IN (), 1 IN (1, NULL), 2 IN (1, NULL)
SELECT 1 IN customers
SELECT id FROM customers WHERE id IN orders
SELECT 1 BETWEEN 2 AND 0, NOT 1 BETWEEN 0 AND 2 AND 1
SELECT 1 COLLATE NOCASE, 'a' = 'A' COLLATE NOCASE, 'a' COLLATE NOCASE = 'A', 'a' COLLATE RTRIM = 'a ', 'a' COLLATE BINARY < 'B'
SELECT CASE WHEN NULL THEN 1 WHEN 'a' THEN 2 ELSE 3 END
SELECT iif(1, 2, 3), ifnull(NULL, 1), nullif(1, 1), coalesce(NULL, NULL, 2), max(1, 2), min('a', 'b'), likely(1)
SELECT substr('abc', 0), substr('abc', -1), substr('abc', 2, -1), substring('abc', 2, 1), trim('xax', 'x'), trim(' a '), ltrim('xa', 'x'), replace('aa', 'a', 'b')
SELECT instr('abc', 'c'), hex('a'), quote('it''s'), printf('%d|%s|%5.2f', 1, 'a', 1.5), format('%%'), char(65, 0x42), unicode('A'), round(1.5), abs(-1)
SELECT date('2026-01-31', '+1 month'), strftime('%Y %%', '2026-01-01'), julianday('2026-01-01'), datetime(0, 'unixepoch'), time('12:00'), unixepoch('1970-01-02')
SELECT date('now') IS NOT NULL, CURRENT_TIMESTAMP IS NOT NULL, current_time IS NOT NULL
SELECT typeof(1), typeof(1.0), typeof('1'), typeof(NULL), typeof(9223372036854775808), typeof(1e2), typeof(.5), typeof(5.)
SELECT 1e1, 1E+1, 1.0e-1, .5, 5., 100000000000000000000, 0.1 + 0.2
SELECT group_concat(id), group_concat(id, ';'), group_concat(DISTINCT region), total(id), sum(id), avg(id), count(), count(*) FROM customers
SELECT rowid FROM customers
SELECT oid, _rowid_ FROM customers
SELECT customers.rowid FROM customers
SELECT * FROM sqlite_master
SELECT * FROM pragma_table_info('customers')
SELECT * FROM json_each('[1,2]'), json_tree('{"a":1}')
SELECT value FROM json_each('{"a":1,"b":[2]}', '$.b')
SELECT json_each.value FROM json_each('[1]')
SELECT j.key, j.value FROM customers, json_each('[' || id || ']') j WHERE customers.id = 1
SELECT * FROM customers NOT INDEXED WHERE id = 1
SELECT * FROM customers INDEXED BY customers_email WHERE email = 'a'
SELECT id AS a, a + 1 FROM customers
SELECT id AS a FROM customers WHERE a = 1
SELECT id AS name FROM customers WHERE name = 1
SELECT region AS id, count(*) FROM customers GROUP BY id ORDER BY 1, 2
SELECT region AS r, count(*) AS n FROM customers GROUP BY r HAVING n > 1 ORDER BY r
SELECT name, max(id) FROM customers
SELECT region, name, min(id) FROM customers GROUP BY region ORDER BY 1
SELECT DISTINCT region FROM customers ORDER BY id LIMIT 1
SELECT id FROM customers ORDER BY name COLLATE NOCASE DESC NULLS LAST, id LIMIT 2
SELECT id FROM customers LIMIT 1, 2
SELECT id FROM customers LIMIT -1 OFFSET 22
SELECT id FROM customers LIMIT 1 + 1
SELECT 1 UNION ALL SELECT 2 UNION SELECT 2
SELECT 1 UNION SELECT 2 EXCEPT SELECT 2 INTERSECT SELECT 2
SELECT * FROM (VALUES (1, 'a'), (2, 'b'))
SELECT column1 FROM (VALUES (1), (2))
WITH t(a) AS (VALUES (1), (2)) SELECT sum(a) FROM t
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT 3) SELECT n FROM t
WITH t AS NOT MATERIALIZED (SELECT 1 AS a) SELECT a FROM t
SELECT row_number() OVER (ORDER BY id), lag(id, 1, 0) OVER (ORDER BY id), sum(id) OVER (ORDER BY id GROUPS 1 PRECEDING) FROM customers ORDER BY id LIMIT 3
SELECT sum(id) FILTER (WHERE id > 2) OVER (), ntile(2) OVER w FROM customers WINDOW w AS (ORDER BY id) ORDER BY 1, 2 LIMIT 2
SELECT (1, 2) = (1, 2), (1, 2) < (1, 3), (1, 'a') IN (SELECT 1, 'a'), (SELECT 1, 2) = (1, 2)
SELECT customers.* FROM customers, orders WHERE customers.id = 1 AND orders.id = 1
SELECT * FROM customers AS c JOIN orders AS o ON c.id = o.id AND c.id = 1 LEFT JOIN employees USING (id)
SELECT * FROM customers NATURAL LEFT JOIN employees WHERE id = 1
SELECT * FROM customers a, customers b ON a.id = b.id WHERE a.id = 1
SELECT * FROM (customers) WHERE id = 1
SELECT c.id FROM (customers) AS c WHERE id = 1
SELECT * FROM customers c JOIN (orders o JOIN employees e ON o.id = e.id) ON c.id = o.id WHERE c.id = 1
SELECT main.customers.id FROM main.customers WHERE id = 1
SELECT temp.customers.id FROM customers
SELECT ?1
SELECT ?
SELECT :a
SELECT @a
SELECT $a
SELECT 1 /* open
SELECT 1 --
SELECT "a" 'b'
SELECT 'a' || x'00' || 'b'
SELECT likelihood(1, 0.5), unlikely(0), load_extension('x')
SELECT raise(ABORT, 'x')
EXPLAIN SELECT 1
EXPLAIN QUERY PLAN SELECT 1
SELECT all id FROM customers WHERE id = 1
SELECT 1 AS ABORT, 2 AS ACTION, 3 AS AFTER, 4 AS KEY, 5 AS ROW, 6 AS ROWS, 7 AS TEMP, 8 AS VIEW, 9 AS WITHOUT
SELECT 1 abort
SELECT glob, replace, offset FROM (SELECT 1 AS glob, 2 AS replace, 3 AS offset)
SELECT "select" FROM (SELECT 1 AS "select")
SELECT exists(SELECT 1), not exists(SELECT 1 WHERE 0), exists(SELECT 1) + 1
"""


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip():
            # `\n`, `\\`, `\u…` and `\"` are Python's escapes; everything else stands for itself.
            yield line.encode("latin-1", "backslashreplace").decode("unicode_escape")


def lexical(dialect: str) -> list[str]:
    """Returns the texts for one engine."""
    made = [*_lines(_COMMON), *_lines(_POSTGRES if dialect == "postgres" else _SQLITE)]
    for space in _SPACES:
        made += [
            f"SELECT{space}1",
            f"SELECT 1{space}",
            f"{space}SELECT 1",
            f"SELECT id FROM customers{space}WHERE id = 1",
            f"SELECT id{space}FROM customers WHERE id = 1",
            f"SELECT 'a{space}b', 1 AS \"a{space}b\"",
            f"SELECT 1 --{space}, 2",
            f"SELECT 1 --x{space}, 2",
            f"SELECT 1 /*{space}*/",
            f"SELECT 1{space}--x",
            f"SELECT 1 AS a{space}b",
            f"SELECT 'a'{space}'b'",
            f"SELECT 5 -{space}-2",
        ]
    return made
