-- revenue by month
SELECT date_trunc('month', issued_on) AS month, sum(amount) AS revenue FROM invoices GROUP BY ALL ORDER BY ALL;
-- everything but two columns
SELECT * EXCLUDE (settings, email) FROM users ORDER BY id LIMIT 10;
-- from first
FROM accounts SELECT plan, count(*) AS n GROUP BY plan ORDER BY n DESC, plan;
-- only from
FROM products ORDER BY id;
-- alias used again
SELECT quantity * unit_price AS gross, gross * (1 - discount) AS net FROM invoice_items ORDER BY gross DESC, invoice_id, line LIMIT 10;
-- alias in where and having
SELECT country, sum(mrr) AS total FROM accounts WHERE mrr > 10 GROUP BY country HAVING total > 1000 ORDER BY total DESC;
-- best invoice of each account
SELECT account_id, id, amount FROM invoices QUALIFY row_number() OVER (PARTITION BY account_id ORDER BY amount DESC, id) = 1 ORDER BY account_id;
-- growth month over month
WITH m AS (SELECT strftime(issued_on, '%Y-%m') AS month, sum(amount) AS revenue FROM invoices GROUP BY 1) SELECT month, revenue, revenue - lag(revenue) OVER (ORDER BY month) AS change FROM m ORDER BY month;
-- percentiles
SELECT kind, median(duration_ms) AS p50, quantile_cont(duration_ms, 0.95) AS p95 FROM events GROUP BY kind ORDER BY kind;
-- several percentiles
SELECT quantile_cont(duration_ms, [0.25, 0.5, 0.75]) AS quartiles FROM events;
-- standard percentile
SELECT department, percentile_cont(0.5) WITHIN GROUP (ORDER BY salary) AS median_salary FROM employees GROUP BY department ORDER BY department;
-- argument of the maximum
SELECT plan, arg_max(name, mrr) AS best, max(mrr) AS mrr FROM accounts GROUP BY plan ORDER BY plan;
-- lists
SELECT user_id, list(DISTINCT kind ORDER BY kind) AS kinds, len(list(kind)) AS n FROM events GROUP BY user_id ORDER BY user_id LIMIT 10;
-- list functions
SELECT user_id, list_sort(list(kind))[1] AS first_kind, list_contains(list(kind), 'export') AS exports FROM events GROUP BY user_id ORDER BY user_id LIMIT 10;
-- themes out of the settings
SELECT settings::JSON ->> 'theme' AS theme, count(*) AS n FROM users GROUP BY theme ORDER BY n DESC, theme;
-- json paths
SELECT json_extract_string(settings, '$.theme') AS theme, avg(CAST(json_extract(settings, '$.tips') AS INTEGER)) AS tips FROM users GROUP BY 1 ORDER BY 1;
-- arrow on JSON text
SELECT id, attributes ->> '$.color' AS color, CAST(attributes -> '$.weight' AS INTEGER) AS weight FROM products ORDER BY weight DESC, id;
-- weekly active users
SELECT date_trunc('week', occurred_at) AS week, count(DISTINCT user_id) AS wau FROM events GROUP BY week ORDER BY week;
-- a calendar
SELECT d.generate_series::DATE AS day, count(i.id) AS n FROM generate_series(DATE '2025-03-01', DATE '2025-03-31', INTERVAL 1 DAY) AS d LEFT JOIN invoices i ON i.issued_on = d.generate_series::DATE GROUP BY day ORDER BY day;
-- numbers from a range
SELECT i, count(u.id) AS users FROM range(4) AS r(i) LEFT JOIN users u ON CAST(u.settings::JSON ->> 'tips' AS INTEGER) = i GROUP BY i ORDER BY i;
-- domains
SELECT split_part(email, '@', 2) AS domain, count(*) AS n FROM users GROUP BY domain ORDER BY n DESC, domain;
-- regular expressions
SELECT id, email FROM users WHERE regexp_matches(email, '^(acme|nova)\.') ORDER BY id;
-- number in the subject
SELECT id, CAST(regexp_extract(subject, '#(\d+)', 1) AS INTEGER) AS number FROM tickets ORDER BY number LIMIT 10;
-- tilde
SELECT count(*) FROM users WHERE email ~ '.*@example\.(com|org)';
-- hours to close
SELECT priority, avg(date_diff('hour', opened_at, closed_at)) AS hours FROM tickets WHERE closed_at IS NOT NULL GROUP BY priority ORDER BY priority;
-- parts of dates
SELECT year(issued_on) AS y, quarter(issued_on) AS q, sum(amount) AS revenue FROM invoices GROUP BY y, q ORDER BY y, q;
-- weekday names
SELECT dayname(opened_at) AS weekday, count(*) AS n FROM tickets GROUP BY weekday, isodow(opened_at) ORDER BY isodow(opened_at);
-- sessions
WITH gaps AS (SELECT user_id, CASE WHEN occurred_at - lag(occurred_at) OVER (PARTITION BY user_id ORDER BY occurred_at, id) > INTERVAL '30 minutes' THEN 1 ELSE 0 END AS is_new FROM events) SELECT user_id, sum(is_new) + 1 AS sessions FROM gaps GROUP BY user_id ORDER BY user_id;
-- last seven days of a window
SELECT issued_on, sum(amount) OVER (ORDER BY issued_on RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW) AS month_to_date FROM invoices ORDER BY issued_on, id;
-- filters
SELECT count(*) FILTER (WHERE status = 'open') AS open, count(*) FILTER (status = 'closed') AS closed FROM tickets;
-- totals at levels
SELECT country, plan, sum(mrr) AS mrr FROM accounts GROUP BY ROLLUP (country, plan) ORDER BY ALL;
-- grouping sets
SELECT country, plan, grouping(country) AS is_total, count(*) AS n FROM accounts GROUP BY GROUPING SETS ((country), (plan), ()) ORDER BY ALL;
-- distinct on
SELECT DISTINCT ON (account_id) account_id, id, issued_on FROM invoices ORDER BY account_id, issued_on DESC, id;
-- lateral
SELECT a.name, t.amount FROM accounts a, LATERAL (SELECT amount FROM invoices i WHERE i.account_id = a.id ORDER BY amount DESC LIMIT 1) AS t ORDER BY a.id;
-- hierarchy
WITH RECURSIVE tree AS (SELECT id, name, 1 AS depth FROM employees WHERE manager_id IS NULL UNION ALL SELECT e.id, e.name, t.depth + 1 FROM employees e JOIN tree t ON t.id = e.manager_id) SELECT depth, count(*) AS n FROM tree GROUP BY depth ORDER BY depth;
-- integer division and modulo
SELECT id, id // 7 AS bucket, id % 7 AS rest FROM accounts ORDER BY id LIMIT 10;
-- try cast
SELECT count(TRY_CAST(industry AS INTEGER)) AS numbers, count(industry) AS words FROM accounts;
-- string building
SELECT format('{} ({})', name, country) AS label, printf('%.1f', mrr) AS mrr FROM accounts ORDER BY id LIMIT 5;
-- names in one line
SELECT country, string_agg(name, ', ' ORDER BY name) AS names FROM accounts GROUP BY country ORDER BY country;
-- approximations and statistics
SELECT approx_count_distinct(user_id) > 50 AS many, stddev_samp(duration_ms) AS sd, mode(kind) AS usual FROM events;
-- semi join
SELECT a.id FROM accounts a SEMI JOIN invoices i ON i.account_id = a.id AND i.amount > 1500 ORDER BY a.id;
-- anti join
SELECT a.id FROM accounts a ANTI JOIN tickets t ON t.account_id = a.id ORDER BY a.id;
-- values joined
SELECT a.id, v.label FROM accounts a JOIN (VALUES ('free', 'F'), ('team', 'T')) AS v(plan, label) USING (plan) ORDER BY a.id;
-- is it one of a list
SELECT id FROM accounts WHERE country IN ['DE', 'FR'] ORDER BY id;
-- unnest a list
SELECT unnest([1, 2, 3]) AS n;
-- split into rows
SELECT kind, unnest(string_split(page, '/')) AS part FROM events WHERE id < 4 ORDER BY id;
-- last days
SELECT id, last_day(issued_on) AS month_end, issued_on + INTERVAL 1 MONTH AS next_month FROM invoices ORDER BY id LIMIT 5;
-- coalesce, ifnull, if
SELECT id, coalesce(industry, 'unknown') AS industry, if(mrr > 500, 'large', 'small') AS size FROM accounts ORDER BY id LIMIT 8;
-- full join of summaries
SELECT coalesce(i.account_id, t.account_id) AS account, i.n AS invoices, t.n AS tickets FROM (SELECT account_id, count(*) AS n FROM invoices GROUP BY 1) i FULL JOIN (SELECT account_id, count(*) AS n FROM tickets GROUP BY 1) t ON t.account_id = i.account_id ORDER BY 1;
-- the plan
EXPLAIN SELECT plan, count(*) FROM accounts GROUP BY plan;
