-- revenue by month
SELECT DATE_FORMAT(issued_on, '%Y-%m') AS month, SUM(amount) AS revenue FROM invoices GROUP BY month ORDER BY month;
-- growth month over month
WITH m AS (SELECT DATE_FORMAT(issued_on, '%Y-%m') AS month, SUM(amount) AS revenue FROM invoices GROUP BY 1) SELECT month, revenue, ROUND(100 * (revenue - LAG(revenue) OVER (ORDER BY month)) / LAG(revenue) OVER (ORDER BY month), 1) AS growth FROM m ORDER BY month;
-- a calendar
WITH RECURSIVE days AS (SELECT DATE('2025-03-01') AS day UNION ALL SELECT day + INTERVAL 1 DAY FROM days WHERE day < '2025-03-31') SELECT day, COUNT(i.id) AS n FROM days LEFT JOIN invoices i ON i.issued_on = day GROUP BY day ORDER BY day;
-- weekly active users
SELECT YEARWEEK(occurred_at, 3) AS week, COUNT(DISTINCT user_id) AS wau FROM events GROUP BY week ORDER BY week;
-- days until paid
SELECT AVG(DATEDIFF(paid_on, issued_on)) AS days FROM invoices WHERE paid_on IS NOT NULL;
-- hours to close
SELECT priority, AVG(TIMESTAMPDIFF(HOUR, opened_at, closed_at)) AS hours FROM tickets WHERE closed_at IS NOT NULL GROUP BY priority ORDER BY priority;
-- weekday names
SELECT DAYNAME(opened_at) AS weekday, COUNT(*) AS n FROM tickets GROUP BY weekday, WEEKDAY(opened_at) ORDER BY WEEKDAY(opened_at);
-- hour of the day
SELECT HOUR(occurred_at) AS hour, COUNT(*) AS n FROM events GROUP BY hour ORDER BY n DESC, hour LIMIT 5;
-- quarters
SELECT YEAR(issued_on) AS y, QUARTER(issued_on) AS q, SUM(amount) AS revenue FROM invoices GROUP BY y, q ORDER BY y, q;
-- end of the month
SELECT id, LAST_DAY(issued_on) AS month_end, DATE_ADD(issued_on, INTERVAL 1 MONTH) AS next_month, DATE_SUB(issued_on, INTERVAL 3 DAY) AS before_it FROM invoices ORDER BY id LIMIT 5;
-- names in one line
SELECT country, GROUP_CONCAT(name ORDER BY name SEPARATOR ', ') AS names FROM accounts GROUP BY country ORDER BY country;
-- distinct in one line
SELECT user_id, GROUP_CONCAT(DISTINCT kind ORDER BY kind) AS kinds FROM events GROUP BY user_id ORDER BY user_id LIMIT 10;
-- if
SELECT id, IF(mrr > 500, 'large', 'small') AS size, IFNULL(industry, 'unknown') AS industry FROM accounts ORDER BY id LIMIT 10;
-- booleans add up
SELECT SUM(status = 'paid') AS paid, SUM(status = 'open') AS open FROM invoices;
-- themes
SELECT JSON_UNQUOTE(JSON_EXTRACT(settings, '$.theme')) AS theme, COUNT(*) AS n FROM users GROUP BY theme ORDER BY n DESC, theme;
-- json values
SELECT JSON_VALUE(settings, '$.tips') AS tips, COUNT(*) AS n FROM users GROUP BY tips ORDER BY tips;
-- documents built
SELECT JSON_OBJECT('id', id, 'name', name) AS doc FROM accounts ORDER BY id LIMIT 5;
-- domain of the address
SELECT SUBSTRING_INDEX(email, '@', -1) AS domain, COUNT(*) AS n FROM users GROUP BY domain ORDER BY n DESC, domain;
-- addresses by pattern
SELECT id, email FROM users WHERE email REGEXP '^(acme|nova)[.]' ORDER BY id;
-- number in the subject
SELECT id, CAST(REGEXP_SUBSTR(subject, '[0-9]+') AS UNSIGNED) AS number FROM tickets ORDER BY number LIMIT 10;
-- pattern of the subject
SELECT REGEXP_REPLACE(subject, '[0-9]+', '#') AS pattern, COUNT(*) AS n FROM tickets GROUP BY pattern ORDER BY n DESC, pattern;
-- best invoice of each account
SELECT account_id, id, amount FROM (SELECT account_id, id, amount, ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY amount DESC, id) AS rn FROM invoices) ranked WHERE rn = 1 ORDER BY account_id;
-- running totals
SELECT issued_on, SUM(amount) OVER (ORDER BY issued_on, id) AS running FROM invoices ORDER BY issued_on, id;
-- totals with a last row
SELECT plan, SUM(mrr) AS mrr FROM accounts GROUP BY plan WITH ROLLUP;
-- alias in having
SELECT country, SUM(mrr) AS total FROM accounts GROUP BY country HAVING total > 1000 ORDER BY total DESC;
-- sessions
WITH gaps AS (SELECT user_id, IF(TIMESTAMPDIFF(MINUTE, LAG(occurred_at) OVER (PARTITION BY user_id ORDER BY occurred_at, id), occurred_at) > 30, 1, 0) AS is_new FROM events) SELECT user_id, SUM(is_new) + 1 AS sessions FROM gaps GROUP BY user_id ORDER BY user_id;
-- cohorts
SELECT DATE_FORMAT(u.signed_up, '%Y-%m') AS cohort, COUNT(DISTINCT u.id) AS users, COUNT(DISTINCT e.user_id) AS active FROM users u LEFT JOIN events e ON e.user_id = u.id AND e.occurred_at >= u.signed_up GROUP BY cohort ORDER BY cohort;
-- hierarchy
WITH RECURSIVE tree (id, name, depth) AS (SELECT id, name, 1 FROM employees WHERE manager_id IS NULL UNION ALL SELECT e.id, e.name, t.depth + 1 FROM employees e JOIN tree t ON t.id = e.manager_id) SELECT depth, COUNT(*) AS n FROM tree GROUP BY depth ORDER BY depth;
-- medians
SELECT DISTINCT department, MEDIAN(salary) OVER (PARTITION BY department) AS median_salary FROM employees ORDER BY department;
-- spread of amounts
SELECT ROUND(STDDEV_SAMP(amount), 4) AS sd, ROUND(VAR_POP(amount), 2) AS variance FROM invoices;
-- padding and case
SELECT LPAD(id, 6, '0') AS code, CONCAT(UPPER(LEFT(name, 1)), LOWER(SUBSTRING(name, 2))) AS title FROM accounts ORDER BY id LIMIT 5;
-- text with a separator
SELECT CONCAT_WS(' / ', name, country, plan) AS label FROM accounts ORDER BY id LIMIT 5;
-- null-safe comparison
SELECT COUNT(*) AS n FROM accounts WHERE NOT (industry <=> 'retail');
-- order by a list
SELECT name, plan FROM accounts ORDER BY FIELD(plan, 'business', 'team', 'free'), name, id LIMIT 12;
-- limit with an offset before it
SELECT id FROM accounts ORDER BY id LIMIT 5, 5;
-- integer division
SELECT id DIV 7 AS bucket, COUNT(*) AS n FROM accounts GROUP BY bucket ORDER BY bucket;
-- greatest and least
SELECT id, GREATEST(amount, 100) AS floored, LEAST(amount, 1000) AS capped FROM invoices ORDER BY id LIMIT 10;
-- rows in pairs
SELECT id FROM subscriptions WHERE (plan, status) IN (('team', 'active'), ('business', 'paused')) ORDER BY id;
-- backticks
SELECT `a`.`name` AS `account name`, COUNT(`u`.`id`) AS `users` FROM `accounts` AS `a` LEFT JOIN `users` AS `u` ON `u`.`account_id` = `a`.`id` GROUP BY `a`.`id`, `a`.`name` ORDER BY `users` DESC, `a`.`id` LIMIT 5;
-- first weekday of the month
SELECT id, DATE_FORMAT(issued_on, '%W %d %M %Y') AS spoken FROM invoices ORDER BY id LIMIT 5;
-- unix seconds
SELECT MAX(UNIX_TIMESTAMP(occurred_at)) - MIN(UNIX_TIMESTAMP(occurred_at)) AS seconds FROM events;
-- conversion
SELECT CAST(mrr AS SIGNED) AS whole, CONVERT(mrr, CHAR) AS text_of FROM accounts ORDER BY id LIMIT 5;
-- using the same columns
SELECT a.plan, COUNT(*) AS n FROM accounts a JOIN subscriptions s USING (plan) GROUP BY a.plan ORDER BY a.plan;
-- the plan
EXPLAIN SELECT plan, COUNT(*) FROM accounts GROUP BY plan;
-- the tables
SHOW TABLES;
