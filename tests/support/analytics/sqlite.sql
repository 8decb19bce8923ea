-- revenue by month
SELECT strftime('%Y-%m', issued_on) AS month, sum(amount) AS revenue FROM invoices GROUP BY month ORDER BY month;
-- growth month over month
WITH m AS (SELECT strftime('%Y-%m', issued_on) AS month, sum(amount) AS revenue FROM invoices GROUP BY 1) SELECT month, revenue, round(100.0 * (revenue - lag(revenue) OVER (ORDER BY month)) / lag(revenue) OVER (ORDER BY month), 1) AS growth FROM m;
-- a calendar
WITH RECURSIVE days(day) AS (SELECT date('2025-03-01') UNION ALL SELECT date(day, '+1 day') FROM days WHERE day < '2025-03-31') SELECT day, count(i.id) AS n FROM days LEFT JOIN invoices i ON i.issued_on = day GROUP BY day ORDER BY day;
-- weekly active users
SELECT strftime('%Y-%W', occurred_at) AS week, count(DISTINCT user_id) AS wau FROM events GROUP BY week ORDER BY week;
-- days until paid
SELECT avg(julianday(paid_on) - julianday(issued_on)) AS days FROM invoices WHERE paid_on IS NOT NULL;
-- hours to close by priority
SELECT priority, round(avg((julianday(closed_at) - julianday(opened_at)) * 24), 1) AS hours FROM tickets WHERE closed_at IS NOT NULL GROUP BY priority ORDER BY priority;
-- weekday of tickets
SELECT CAST(strftime('%w', opened_at) AS INTEGER) AS weekday, count(*) FROM tickets GROUP BY weekday ORDER BY weekday;
-- hour of the day
SELECT strftime('%H', occurred_at) AS hour, count(*) AS n FROM events GROUP BY hour ORDER BY n DESC, hour LIMIT 5;
-- start of the month
SELECT date(issued_on, 'start of month') AS month, count(*) FROM invoices GROUP BY 1 ORDER BY 1;
-- end of the month
SELECT id, date(issued_on, 'start of month', '+1 month', '-1 day') AS month_end FROM invoices ORDER BY id LIMIT 5;
-- unix seconds
SELECT max(unixepoch(occurred_at)) - min(unixepoch(occurred_at)) AS seconds FROM events;
-- themes
SELECT json_extract(settings, '$.theme') AS theme, count(*) AS n FROM users GROUP BY theme ORDER BY n DESC, theme;
-- arrows
SELECT settings ->> 'theme' AS theme, avg(settings ->> 'tips') AS tips FROM users GROUP BY 1 ORDER BY 1;
-- tags unnested
SELECT j.value AS tag, count(*) AS n FROM users u, json_each(u.settings, '$.tags') AS j GROUP BY tag ORDER BY tag;
-- keys of documents
SELECT DISTINCT j.key FROM events e, json_each(e.properties) j ORDER BY j.key;
-- documents built
SELECT json_object('id', id, 'name', name) AS doc FROM accounts ORDER BY id LIMIT 5;
-- grouped into arrays
SELECT country, json_group_array(name) AS names FROM (SELECT country, name FROM accounts ORDER BY name) GROUP BY country ORDER BY country;
-- names in one line
SELECT plan, group_concat(name, '; ') AS names FROM (SELECT plan, name FROM accounts ORDER BY name) GROUP BY plan ORDER BY plan;
-- domain of the address
SELECT substr(email, instr(email, '@') + 1) AS domain, count(*) AS n FROM users GROUP BY domain ORDER BY n DESC, domain;
-- path of the page
SELECT substr(page, 1, instr(page, '?') - 1) AS path, count(*) FROM events GROUP BY path ORDER BY path;
-- counts with filters
SELECT count(*) FILTER (WHERE status = 'open') AS open, count(*) FILTER (WHERE status = 'closed') AS closed FROM tickets;
-- booleans add up
SELECT sum(status = 'paid') AS paid, sum(status = 'open') AS open, total(amount) AS everything FROM invoices;
-- iif
SELECT id, iif(mrr > 500, 'large', 'small') AS size FROM accounts ORDER BY id LIMIT 10;
-- bare columns beside a maximum
SELECT account_id, max(amount) AS biggest FROM invoices GROUP BY account_id ORDER BY account_id;
-- glob
SELECT id, name FROM accounts WHERE name GLOB 'A*' ORDER BY id;
-- like with escape
SELECT count(*) FROM events WHERE page LIKE '%!?ref=ad' ESCAPE '!';
-- printf
SELECT printf('%06d', id) AS code, printf('%.2f', mrr) AS mrr FROM accounts ORDER BY id LIMIT 5;
-- case-insensitive order
SELECT name FROM accounts ORDER BY name COLLATE NOCASE, id LIMIT 10;
-- best invoice of each account
SELECT account_id, id, amount FROM (SELECT *, row_number() OVER (PARTITION BY account_id ORDER BY amount DESC, id) AS rn FROM invoices) WHERE rn = 1 ORDER BY account_id;
-- running totals
SELECT issued_on, sum(amount) OVER (ORDER BY issued_on, id ROWS UNBOUNDED PRECEDING) AS running FROM invoices ORDER BY issued_on, id;
-- sessions
WITH gaps AS (SELECT user_id, (julianday(occurred_at) - julianday(lag(occurred_at) OVER (PARTITION BY user_id ORDER BY occurred_at, id))) * 1440 > 30 AS is_new FROM events) SELECT user_id, coalesce(sum(is_new), 0) + 1 AS sessions FROM gaps GROUP BY user_id ORDER BY user_id;
-- cohorts
SELECT strftime('%Y-%m', u.signed_up) AS cohort, count(DISTINCT u.id) AS users, count(DISTINCT e.user_id) AS active FROM users u LEFT JOIN events e ON e.user_id = u.id AND e.occurred_at >= u.signed_up GROUP BY cohort ORDER BY cohort;
-- median
SELECT avg(mrr) AS median FROM (SELECT mrr FROM accounts ORDER BY mrr LIMIT 2 - (SELECT count(*) FROM accounts) % 2 OFFSET (SELECT (count(*) - 1) / 2 FROM accounts));
-- paths through the hierarchy
WITH RECURSIVE tree(id, name, path) AS (SELECT id, name, printf('%03d', id) FROM employees WHERE manager_id IS NULL UNION ALL SELECT e.id, e.name, t.path || '/' || printf('%03d', e.id) FROM employees e JOIN tree t ON t.id = e.manager_id) SELECT name, length(path) - length(replace(path, '/', '')) AS depth FROM tree ORDER BY path;
-- values as a table
WITH labels(plan, label) AS (VALUES ('free', 'F'), ('team', 'T')) SELECT a.id, l.label FROM accounts a JOIN labels l USING (plan) ORDER BY a.id;
-- full join of summaries
SELECT coalesce(i.account_id, t.account_id) AS account, i.n AS invoices, t.n AS tickets FROM (SELECT account_id, count(*) AS n FROM invoices GROUP BY 1) i FULL JOIN (SELECT account_id, count(*) AS n FROM tickets GROUP BY 1) t ON t.account_id = i.account_id ORDER BY 1;
-- rows in pairs
SELECT id FROM subscriptions WHERE (plan, status) IN (VALUES ('team', 'active'), ('business', 'paused')) ORDER BY id;
-- distinct from
SELECT count(*) FROM accounts WHERE industry IS NOT 'retail';
-- integer division
SELECT id / 7 AS bucket, count(*) AS n FROM accounts GROUP BY bucket ORDER BY bucket;
-- min of two values
SELECT id, min(amount, 1000) AS capped, max(amount, 100) AS floored FROM invoices ORDER BY id LIMIT 10;
-- nulls last
SELECT id, industry FROM accounts ORDER BY industry NULLS LAST, id LIMIT 12;
-- natural join of two steps
WITH a AS (SELECT id AS account_id, plan FROM accounts), i AS (SELECT account_id, sum(amount) AS total FROM invoices GROUP BY account_id) SELECT plan, sum(total) AS total FROM a NATURAL JOIN i GROUP BY plan ORDER BY plan;
-- strings with quotes
SELECT 'it''s ' || name AS label FROM accounts ORDER BY id LIMIT 3;
-- the plan
EXPLAIN QUERY PLAN SELECT plan, count(*) FROM accounts GROUP BY plan;
-- the columns
PRAGMA table_info(accounts);
