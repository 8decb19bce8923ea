"""Statements over the grammar's schema whose names are easily resolved wrongly: what the engines are asked about first."""

from __future__ import annotations

__all__ = ["MYSQL_STATEMENTS", "POSTGRES_STATEMENTS", "SQLITE_STATEMENTS"]

_COMMON = """
SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.amount > c.credit)
SELECT total FROM active_spending WHERE region IN (SELECT region FROM active_customers)
SELECT count(*) FROM "Big Orders"
SELECT sum(amount) OVER w FROM orders WINDOW w AS (PARTITION BY region ORDER BY placed)
"""

_SQLITE = """
WITH orders AS (SELECT id, name FROM customers) SELECT name FROM orders JOIN main.orders o USING (id) WHERE o.amount > 1
SELECT (SELECT max(o.amount) FROM orders o WHERE o.customer_id = c.id) FROM customers c ORDER BY (SELECT 1 FROM employees e WHERE e.id = c.id)
SELECT region r, count(*) n FROM orders GROUP BY r HAVING n > 1 ORDER BY r
SELECT * FROM employees a JOIN employees b ON a.boss_id = b.id
UPDATE orders SET (status, amount) = (SELECT name, salary FROM employees WHERE id = orders.id) WHERE id IN (SELECT "Id" FROM "Big Orders")
INSERT INTO employees (id, name) SELECT id + 900, name FROM customers WHERE active ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE employees.salary > 1
DELETE FROM orders WHERE customer_id NOT IN (SELECT id FROM active_customers) RETURNING amount
SELECT trim(name), substring(email, 2), replace(region, 'E', 'e') FROM customers
"""

_POSTGRES = """
WITH a AS (WITH a AS (SELECT id FROM orders) SELECT id FROM a) SELECT count(*) FROM a
WITH orders AS (SELECT id, name FROM customers) SELECT name FROM orders JOIN public.orders o USING (id) WHERE o.amount > 1
WITH d AS (DELETE FROM orders WHERE amount > 90 RETURNING customer_id) SELECT c.name FROM customers c JOIN d ON d.customer_id = c.id
WITH i AS (INSERT INTO employees (id, name) SELECT id + 900, name FROM customers RETURNING id), u AS (UPDATE orders SET status = 'x' WHERE id IN (SELECT id FROM i) RETURNING region) SELECT region FROM u
SELECT c FROM customers c
SELECT (c).name, to_jsonb(c) ->> 'email' FROM customers c
SELECT count(c) FROM customers c
SELECT t.* FROM customers c, LATERAL (SELECT o.amount FROM orders o WHERE o.customer_id = c.id ORDER BY o.placed LIMIT 1) t
SELECT DISTINCT ON (region) region, amount FROM orders ORDER BY region, placed DESC
SELECT region, status, sum(amount) FROM orders GROUP BY GROUPING SETS ((region), (status), ()) HAVING count(paid_at) > 0
SELECT id, name, email FROM customers GROUP BY id
SELECT kind FROM events WHERE at > '2026-03-01'
SELECT goal FROM sales.targets NATURAL JOIN orders
SELECT x.n FROM (VALUES (1), (2)) AS x(n) JOIN customers ON id = x.n
UPDATE orders SET status = c.name FROM customers c WHERE c.id = orders.customer_id AND c.active RETURNING c.email, amount
UPDATE orders SET (status, amount) = (SELECT name, salary FROM employees WHERE id = orders.id)
DELETE FROM orders USING customers c WHERE c.id = customer_id RETURNING c.name
INSERT INTO employees (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE employees.salary > 1 RETURNING hired
"""

_MYSQL = """
WITH orders AS (SELECT id, name FROM customers) SELECT name FROM orders JOIN gr_main.orders o USING (id) WHERE o.amount > 1
WITH RECURSIVE r AS (SELECT id, boss_id FROM employees WHERE name = 'ada' UNION SELECT e.id, e.boss_id FROM employees e JOIN r ON e.boss_id = r.id) SELECT count(*) FROM r
WITH a AS (SELECT salary FROM employees) SELECT 1
SELECT (SELECT max(o.amount) FROM orders o WHERE o.customer_id = c.id) FROM customers c ORDER BY (SELECT 1 FROM employees e WHERE e.id = c.id)
SELECT region r, count(*) n FROM orders GROUP BY r HAVING n > 1 ORDER BY r
SELECT region, status, sum(amount) FROM orders GROUP BY region, status WITH ROLLUP HAVING count(paid_at) > 0
SELECT id, name, email FROM customers GROUP BY id
SELECT goal FROM sales.targets NATURAL JOIN orders
SELECT * FROM employees a JOIN employees b ON a.boss_id = b.id
SELECT o.* FROM orders o STRAIGHT_JOIN customers c ON c.id = o.customer_id LIMIT 1, 2
SELECT EXISTS (SELECT * FROM employees)
SELECT id FROM customers WHERE (id, name) IN (SELECT customer_id, status FROM orders)
SELECT group_concat(DISTINCT name ORDER BY email DESC SEPARATOR ';') FROM customers
SELECT name FROM customers WHERE match(name, email) AGAINST ('ada' IN BOOLEAN MODE)
SELECT id FROM customers WHERE name REGEXP region AND email <=> NULL
SELECT date_add(born, INTERVAL credit DAY) FROM customers
SELECT id FROM orders INTERSECT SELECT customer_id FROM events EXCEPT SELECT id FROM employees WHERE salary > 1
SELECT lag(amount) OVER (PARTITION BY status ORDER BY placed) FROM orders
UPDATE orders SET amount = amount + 1, status = 'x' WHERE region = 'EU' ORDER BY placed LIMIT 2
UPDATE orders o JOIN customers c ON c.id = o.customer_id SET o.status = c.name WHERE c.active
UPDATE orders o, customers c SET o.status = 'x' WHERE c.id = o.customer_id
DELETE FROM orders WHERE customer_id NOT IN (SELECT id FROM active_customers) RETURNING amount
DELETE o FROM orders o LEFT JOIN customers c ON c.id = o.customer_id WHERE c.id IS NULL
DELETE FROM o USING orders AS o JOIN employees e ON e.id = o.id WHERE e.salary > 1
INSERT INTO employees (id, name) SELECT id + 900, name FROM customers WHERE active
INSERT INTO employees (id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE salary = salary + 1, name = VALUES(name)
INSERT INTO employees (id, name) VALUES (1, 'x') RETURNING hired
"""


def _lines(*texts: str) -> list[str]:
    return [line for text in texts for line in text.splitlines() if line]


SQLITE_STATEMENTS = _lines(_COMMON, _SQLITE)
POSTGRES_STATEMENTS = _lines(_COMMON, _POSTGRES)
MYSQL_STATEMENTS = _lines(_COMMON.replace('"', "`"), _MYSQL)
