-- revenue by month
SELECT date_trunc('month', issued_on)::date AS month, sum(amount) AS revenue FROM invoices GROUP BY 1 ORDER BY 1;
-- growth month over month
WITH m AS (SELECT date_trunc('month', issued_on) AS month, sum(amount) AS revenue FROM invoices GROUP BY 1) SELECT to_char(month, 'YYYY-MM') AS month, revenue, round(100.0 * (revenue - lag(revenue) OVER (ORDER BY month)) / nullif(lag(revenue) OVER (ORDER BY month), 0), 1) AS growth FROM m ORDER BY 1;
-- a calendar with days without invoices
SELECT d::date AS day, count(i.id) AS n FROM generate_series(DATE '2025-03-01', DATE '2025-03-31', interval '1 day') AS d LEFT JOIN invoices i ON i.issued_on = d::date GROUP BY d ORDER BY d;
-- weekly active users
SELECT date_trunc('week', occurred_at)::date AS week, count(DISTINCT user_id) AS wau FROM events GROUP BY 1 ORDER BY 1;
-- cohorts by month of sign up
WITH c AS (SELECT id, date_trunc('month', signed_up) AS cohort FROM users), a AS (SELECT DISTINCT e.user_id, date_trunc('month', e.occurred_at) AS month FROM events e) SELECT c.cohort::date AS cohort, (extract(year FROM age(a.month, c.cohort)) * 12 + extract(month FROM age(a.month, c.cohort)))::int AS months_later, count(*) AS users FROM c JOIN a ON a.user_id = c.id AND a.month >= c.cohort GROUP BY 1, 2 ORDER BY 1, 2;
-- sessions after half an hour of silence
WITH gaps AS (SELECT user_id, occurred_at, CASE WHEN occurred_at - lag(occurred_at) OVER (PARTITION BY user_id ORDER BY occurred_at) > interval '30 minutes' THEN 1 ELSE 0 END AS is_new FROM events) SELECT user_id, sum(is_new) + 1 AS sessions FROM gaps GROUP BY user_id ORDER BY user_id;
-- median and 95th percentile by kind
SELECT kind, percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50, percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95 FROM events GROUP BY kind ORDER BY kind;
-- most frequent plan
SELECT mode() WITHIN GROUP (ORDER BY plan) AS usual_plan FROM accounts;
-- counts with filters
SELECT count(*) FILTER (WHERE status = 'open') AS open, count(*) FILTER (WHERE status = 'closed') AS closed, avg(satisfaction) FILTER (WHERE satisfaction > 0) AS score FROM tickets;
-- themes out of the settings
SELECT settings::jsonb ->> 'theme' AS theme, count(*) FROM users GROUP BY 1 ORDER BY 2 DESC, 1;
-- tips shown as a number
SELECT avg((settings::jsonb -> 'tips')::int) AS tips FROM users WHERE (settings::jsonb ->> 'tips') ~ '^\d+$';
-- tags unnested
SELECT tag, count(*) AS n FROM users u CROSS JOIN LATERAL jsonb_array_elements_text(u.settings::jsonb -> 'tags') AS t(tag) GROUP BY tag ORDER BY tag;
-- accounts as JSON
SELECT json_build_object('id', a.id, 'users', (SELECT count(*) FROM users u WHERE u.account_id = a.id)) AS doc FROM accounts a ORDER BY a.id LIMIT 5;
-- products by attribute
SELECT attributes::jsonb ->> 'color' AS color, array_agg(name ORDER BY name) AS names FROM products GROUP BY 1 ORDER BY 1;
-- experiment arms
SELECT properties::json ->> 'ab' AS arm, count(DISTINCT user_id) AS users, avg(duration_ms)::numeric(10, 2) AS mean_ms FROM events WHERE kind IN ('view', 'checkout') GROUP BY 1 ORDER BY 1;
-- contained documents
SELECT count(*) FROM events WHERE properties::jsonb @> '{"ab": "A"}';
-- latest invoice of every account
SELECT DISTINCT ON (account_id) account_id, id, issued_on, amount FROM invoices ORDER BY account_id, issued_on DESC, id;
-- the two best invoices of each account, laterally
SELECT a.name, top.id, top.amount FROM accounts a CROSS JOIN LATERAL (SELECT i.id, i.amount FROM invoices i WHERE i.account_id = a.id ORDER BY i.amount DESC, i.id LIMIT 2) AS top ORDER BY a.id, top.amount DESC;
-- totals at three levels
SELECT country, plan, sum(mrr) AS mrr FROM accounts GROUP BY ROLLUP (country, plan) ORDER BY country NULLS LAST, plan NULLS LAST;
-- grouping sets with their level
SELECT country, plan, grouping(country, plan) AS level, count(*) FROM accounts GROUP BY GROUPING SETS ((country), (plan), ()) ORDER BY 3, 1, 2;
-- cube of currency and status
SELECT currency, status, count(*) FROM invoices GROUP BY CUBE (currency, status) ORDER BY 1 NULLS FIRST, 2 NULLS FIRST;
-- domain of the address
SELECT split_part(email, '@', 2) AS domain, count(*) AS n FROM users GROUP BY domain ORDER BY n DESC, domain;
-- addresses by pattern
SELECT id, email FROM users WHERE email ~* '^(acme|nova)\.' ORDER BY id;
-- the ticket's number
SELECT id, (regexp_match(subject, '#(\d+)'))[1]::int AS number FROM tickets ORDER BY number LIMIT 10;
-- subject with digits hidden
SELECT regexp_replace(subject, '\d+', '#', 'g') AS pattern, count(*) FROM tickets GROUP BY pattern ORDER BY count(*) DESC, pattern LIMIT 10;
-- page and its query
SELECT split_part(page, '?', 1) AS path, substring(page from 'ref=([a-z]+)') AS ref, count(*) AS hits FROM events GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2;
-- search in the subject
SELECT id, subject FROM tickets WHERE to_tsvector('english', subject) @@ plainto_tsquery('english', 'export data') ORDER BY id;
-- ranked search
SELECT id, ts_rank(to_tsvector('simple', subject), to_tsquery('simple', 'pay & invoice')) AS rank FROM tickets ORDER BY rank DESC, id LIMIT 5;
-- hours to close
SELECT priority, avg(extract(epoch FROM closed_at - opened_at) / 3600)::numeric(10, 1) AS hours FROM tickets WHERE closed_at IS NOT NULL GROUP BY priority ORDER BY hours;
-- tickets by hour of the day
SELECT extract(hour FROM opened_at)::int AS hour, count(*) FROM tickets GROUP BY hour ORDER BY hour;
-- weekday names
SELECT to_char(opened_at, 'FMDay') AS weekday, count(*) FROM tickets GROUP BY 1, extract(isodow FROM opened_at) ORDER BY extract(isodow FROM opened_at);
-- accounts by age
SELECT width_bucket(DATE '2026-03-01' - created_on, 0, 480, 4) AS bucket, count(*) FROM accounts GROUP BY bucket ORDER BY bucket;
-- statistics of amounts
SELECT stddev_samp(amount)::numeric(12, 4) AS sd, var_pop(amount)::numeric(14, 2) AS variance, corr(amount, extract(doy FROM issued_on)) IS NOT NULL AS has_trend FROM invoices;
-- a linear trend
SELECT round(regr_slope(amount, extract(epoch FROM issued_on) / 86400)::numeric, 6) AS per_day, regr_count(amount, extract(epoch FROM issued_on)) AS n FROM invoices;
-- names in one line
SELECT country, string_agg(name, ', ' ORDER BY name) AS names FROM accounts GROUP BY country ORDER BY country;
-- arrays and their elements
SELECT id, kinds[1] AS first_kind, cardinality(kinds) AS n FROM (SELECT user_id AS id, array_agg(DISTINCT kind ORDER BY kind) AS kinds FROM events GROUP BY user_id) k WHERE 'export' = ANY (kinds) ORDER BY id LIMIT 20;
-- shared kinds
SELECT count(*) FROM (SELECT array_agg(DISTINCT kind) AS kinds FROM events GROUP BY user_id) k WHERE kinds && ARRAY['export', 'invite'];
-- paths through the hierarchy
WITH RECURSIVE tree AS (SELECT id, name, ARRAY[id] AS path FROM employees WHERE manager_id IS NULL UNION ALL SELECT e.id, e.name, t.path || e.id FROM employees e JOIN tree t ON t.id = e.manager_id) SELECT name, array_length(path, 1) AS depth, array_to_string(path, '>') AS way FROM tree ORDER BY path;
-- range frames over days
SELECT issued_on, sum(amount) OVER (ORDER BY issued_on RANGE BETWEEN interval '30 days' PRECEDING AND CURRENT ROW) AS month_to_date FROM invoices ORDER BY issued_on, id;
-- exclusion of the current row
SELECT id, avg(mrr) OVER (PARTITION BY plan ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW)::numeric(12, 2) AS others FROM accounts ORDER BY id;
-- values list joined
SELECT a.id, v.label FROM accounts a JOIN (VALUES ('free', 'F'), ('team', 'T'), ('business', 'B')) AS v(plan, label) USING (plan) ORDER BY a.id;
-- full join of two summaries
SELECT coalesce(i.account_id, t.account_id) AS account_id, i.n AS invoices, t.n AS tickets FROM (SELECT account_id, count(*) AS n FROM invoices GROUP BY 1) i FULL JOIN (SELECT account_id, count(*) AS n FROM tickets GROUP BY 1) t ON t.account_id = i.account_id ORDER BY 1;
-- month names and quarter
SELECT extract(quarter FROM issued_on) AS quarter, sum(amount)::money IS NOT NULL AS has_money, count(*) FROM invoices GROUP BY 1 ORDER BY 1;
-- overdue by bucket of days
SELECT CASE WHEN DATE '2026-03-01' - due_on <= 30 THEN '0-30' WHEN DATE '2026-03-01' - due_on <= 90 THEN '31-90' ELSE '90+' END AS bucket, count(*), sum(amount) FROM invoices WHERE paid_on IS NULL GROUP BY 1 ORDER BY 1;
-- overlaps of two periods
SELECT id FROM subscriptions WHERE (started_on, coalesce(ended_on, DATE '2026-12-31')) OVERLAPS (DATE '2025-06-01', DATE '2025-07-01') ORDER BY id;
-- a row compared as a whole
SELECT id FROM subscriptions WHERE (plan, status) IN (('team', 'active'), ('business', 'paused')) ORDER BY id;
-- distinct from
SELECT count(*) FROM accounts WHERE industry IS DISTINCT FROM 'retail';
-- last four weeks compared with before
SELECT count(*) FILTER (WHERE occurred_at >= TIMESTAMP '2026-01-01') AS recent, count(*) FILTER (WHERE occurred_at < TIMESTAMP '2026-01-01') AS earlier FROM events;
-- first purchase of each user
SELECT user_id, min(occurred_at) AS first_buy, (array_agg(page ORDER BY occurred_at))[1] AS page FROM events WHERE kind = 'checkout' GROUP BY user_id ORDER BY first_buy, user_id LIMIT 10;
-- ordered set over groups
SELECT department, percentile_disc(0.5) WITHIN GROUP (ORDER BY salary) AS typical FROM employees GROUP BY department ORDER BY department;
-- generated numbers and a join
SELECT n, count(u.id) FROM generate_series(0, 3) AS n LEFT JOIN users u ON (u.settings::json ->> 'tips')::int = n GROUP BY n ORDER BY n;
-- padded identifiers
SELECT lpad(id::text, 6, '0') AS code, initcap(lower(name)) AS title, reverse(name) AS back FROM accounts ORDER BY id LIMIT 5;
-- greatest and least
SELECT id, greatest(amount, 100) AS floor_amount, least(amount, 1000) AS capped FROM invoices ORDER BY id LIMIT 10;
-- boolean aggregates
SELECT account_id, bool_and(is_active = 1) AS all_active, bool_or(role = 'admin') AS has_admin FROM users GROUP BY account_id ORDER BY account_id;
-- materialised step
WITH big AS MATERIALIZED (SELECT * FROM accounts WHERE mrr > 500) SELECT b.name, count(i.*) AS invoices FROM big b LEFT JOIN invoices i ON i.account_id = b.id GROUP BY b.id, b.name ORDER BY 2 DESC, 1;
-- group by the key lets the name through
SELECT a.id, a.name, count(u.id) FROM accounts a LEFT JOIN users u ON u.account_id = a.id GROUP BY a.id, a.name ORDER BY a.id LIMIT 12;
-- fetch first with ties
SELECT name, mrr FROM accounts ORDER BY mrr DESC FETCH FIRST 5 ROWS ONLY;
-- time zones
SELECT id, opened_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin' AS local_time FROM tickets ORDER BY id LIMIT 5;
-- half-open months by date arithmetic
SELECT count(*) FROM invoices WHERE issued_on >= date_trunc('month', DATE '2025-08-15') AND issued_on < date_trunc('month', DATE '2025-08-15') + interval '1 month';
-- the whole plan
EXPLAIN SELECT plan, count(*) FROM accounts GROUP BY plan;
