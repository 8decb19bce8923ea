-- accounts by plan
SELECT plan, COUNT(*) AS accounts FROM accounts GROUP BY plan ORDER BY accounts DESC, plan;
-- recurring revenue by country, largest first
SELECT country, SUM(mrr) AS total_mrr, AVG(mrr) AS average_mrr FROM accounts GROUP BY country ORDER BY total_mrr DESC;
-- ten largest accounts
SELECT id, name, mrr FROM accounts ORDER BY mrr DESC, id LIMIT 10;
-- second page of accounts by name
SELECT id, name FROM accounts ORDER BY name, id LIMIT 10 OFFSET 10;
-- accounts without any user
SELECT a.id, a.name FROM accounts a LEFT JOIN users u ON u.account_id = a.id WHERE u.id IS NULL ORDER BY a.id;
-- accounts with more than three active users
SELECT a.name, COUNT(*) AS active_users FROM accounts a JOIN users u ON u.account_id = a.id WHERE u.is_active = 1 GROUP BY a.id, a.name HAVING COUNT(*) > 3 ORDER BY active_users DESC, a.name;
-- users and their account's plan
SELECT u.id, u.role, a.plan FROM users AS u INNER JOIN accounts AS a ON a.id = u.account_id ORDER BY u.id LIMIT 25;
-- share of admins by plan
SELECT a.plan, SUM(CASE WHEN u.role = 'admin' THEN 1 ELSE 0 END) * 100.0 / COUNT(*) AS admin_share FROM users u JOIN accounts a ON a.id = u.account_id GROUP BY a.plan ORDER BY a.plan;
-- events by kind with their mean duration
SELECT kind, COUNT(*) AS n, AVG(duration_ms) AS mean_ms, MAX(duration_ms) AS worst FROM events GROUP BY kind ORDER BY n DESC, kind;
-- users who exported but never invited
SELECT DISTINCT e.user_id FROM events e WHERE e.kind = 'export' AND NOT EXISTS (SELECT 1 FROM events i WHERE i.user_id = e.user_id AND i.kind = 'invite') ORDER BY e.user_id;
-- users who did both a search and a checkout
SELECT user_id FROM events WHERE kind = 'search' INTERSECT SELECT user_id FROM events WHERE kind = 'checkout' ORDER BY user_id;
-- users who logged in but never checked out
SELECT user_id FROM events WHERE kind = 'login' EXCEPT SELECT user_id FROM events WHERE kind = 'checkout' ORDER BY user_id;
-- every country that appears anywhere
SELECT country AS place FROM accounts UNION SELECT currency FROM invoices ORDER BY place;
-- a ledger of invoices and tickets in one list
SELECT 'invoice' AS source, id, account_id FROM invoices WHERE amount > 1500 UNION ALL SELECT 'ticket', id, account_id FROM tickets WHERE priority = 'urgent' ORDER BY source, id;
-- unpaid invoices past their due date
SELECT id, account_id, amount FROM invoices WHERE paid_on IS NULL AND due_on < '2025-12-31' ORDER BY amount DESC, id;
-- invoices paid late
SELECT COUNT(*) AS late, SUM(amount) AS late_amount FROM invoices WHERE paid_on > due_on;
-- revenue by currency and status
SELECT currency, status, SUM(amount) AS revenue, COUNT(DISTINCT account_id) AS payers FROM invoices GROUP BY currency, status ORDER BY currency, status;
-- accounts above the average of their plan
SELECT a.id, a.name, a.plan, a.mrr FROM accounts a WHERE a.mrr > (SELECT AVG(b.mrr) FROM accounts b WHERE b.plan = a.plan) ORDER BY a.id;
-- accounts with an invoice over a thousand
SELECT name FROM accounts WHERE id IN (SELECT account_id FROM invoices WHERE amount > 1000) ORDER BY name;
-- accounts that were never billed
SELECT name FROM accounts WHERE id NOT IN (SELECT account_id FROM invoices WHERE account_id IS NOT NULL) ORDER BY name;
-- lines with their net price
SELECT invoice_id, line, quantity * unit_price * (1 - discount) AS net FROM invoice_items ORDER BY invoice_id, line LIMIT 30;
-- revenue by product
SELECT p.name, SUM(i.quantity * i.unit_price) AS gross, SUM(i.quantity * i.unit_price * (1 - i.discount)) AS net FROM invoice_items i JOIN products p ON p.id = i.product_id GROUP BY p.id, p.name ORDER BY gross DESC;
-- discount given by category
SELECT p.category, SUM(i.quantity * i.unit_price * i.discount) AS given FROM invoice_items i INNER JOIN products p ON i.product_id = p.id GROUP BY p.category ORDER BY p.category;
-- products never sold with a discount
SELECT p.name FROM products p WHERE NOT EXISTS (SELECT 1 FROM invoice_items i WHERE i.product_id = p.id AND i.discount > 0.2) ORDER BY p.name;
-- invoices whose lines do not add up
SELECT v.id, v.amount, t.total FROM invoices v JOIN (SELECT invoice_id, SUM(quantity * unit_price) AS total FROM invoice_items GROUP BY invoice_id) t ON t.invoice_id = v.id WHERE v.amount <> t.total ORDER BY v.id LIMIT 20;
-- running revenue of the paid invoices
SELECT id, issued_on, amount, SUM(amount) OVER (ORDER BY issued_on, id) AS running FROM invoices WHERE status = 'paid' ORDER BY issued_on, id;
-- three-invoice moving average by account
SELECT account_id, issued_on, AVG(amount) OVER (PARTITION BY account_id ORDER BY issued_on, id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS moving FROM invoices ORDER BY account_id, issued_on, id;
-- change against the previous invoice
SELECT account_id, id, amount, amount - LAG(amount) OVER (PARTITION BY account_id ORDER BY issued_on, id) AS change_by FROM invoices ORDER BY account_id, issued_on, id;
-- largest invoice of each account
SELECT account_id, id, amount FROM (SELECT account_id, id, amount, ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY amount DESC, id) AS rn FROM invoices) ranked WHERE rn = 1 ORDER BY account_id;
-- top two products by category
WITH sold AS (SELECT p.category, p.name, SUM(i.quantity) AS units FROM invoice_items i JOIN products p ON p.id = i.product_id GROUP BY p.category, p.name), ranked AS (SELECT sold.*, RANK() OVER (PARTITION BY category ORDER BY units DESC) AS position_in FROM sold) SELECT category, name, units FROM ranked WHERE position_in <= 2 ORDER BY category, units DESC, name;
-- quartiles of accounts by revenue
SELECT id, mrr, NTILE(4) OVER (ORDER BY mrr, id) AS quartile FROM accounts ORDER BY id;
-- share of each plan in all revenue
SELECT plan, SUM(mrr) AS mrr, SUM(mrr) * 100.0 / SUM(SUM(mrr)) OVER () AS share FROM accounts GROUP BY plan ORDER BY plan;
-- cumulative distribution of ticket satisfaction
SELECT satisfaction, COUNT(*) AS n, CUME_DIST() OVER (ORDER BY satisfaction) AS upto FROM tickets WHERE satisfaction IS NOT NULL GROUP BY satisfaction ORDER BY satisfaction;
-- first and last event of every user
SELECT user_id, MIN(occurred_at) AS first_event, MAX(occurred_at) AS last_event FROM events GROUP BY user_id ORDER BY user_id;
-- users' first kind of event
SELECT DISTINCT user_id, FIRST_VALUE(kind) OVER (PARTITION BY user_id ORDER BY occurred_at, id) AS first_kind FROM events ORDER BY user_id;
-- funnel from view to checkout
SELECT COUNT(DISTINCT CASE WHEN kind = 'view' THEN user_id END) AS viewed, COUNT(DISTINCT CASE WHEN kind = 'search' THEN user_id END) AS searched, COUNT(DISTINCT CASE WHEN kind = 'checkout' THEN user_id END) AS bought FROM events;
-- pivot of event kinds by plan
SELECT a.plan, SUM(CASE e.kind WHEN 'login' THEN 1 ELSE 0 END) AS logins, SUM(CASE e.kind WHEN 'export' THEN 1 ELSE 0 END) AS exports, SUM(CASE e.kind WHEN 'invite' THEN 1 ELSE 0 END) AS invites FROM events e JOIN users u ON u.id = e.user_id JOIN accounts a ON a.id = u.account_id GROUP BY a.plan ORDER BY a.plan;
-- tickets by priority and status
SELECT priority, status, COUNT(*) AS n FROM tickets GROUP BY priority, status ORDER BY priority, status;
-- mean satisfaction where enough answered
SELECT account_id, AVG(satisfaction) AS mean_score, COUNT(satisfaction) AS answers FROM tickets GROUP BY account_id HAVING COUNT(satisfaction) >= 2 ORDER BY mean_score DESC, account_id;
-- tickets about logging in
SELECT id, subject FROM tickets WHERE LOWER(subject) LIKE '%log in%' ORDER BY id;
-- tickets that quote a number ending in seven
SELECT id, subject FROM tickets WHERE subject LIKE '%#%7' ORDER BY id;
-- accounts with open urgent tickets and unpaid invoices
SELECT a.id, a.name FROM accounts a WHERE EXISTS (SELECT 1 FROM tickets t WHERE t.account_id = a.id AND t.priority = 'urgent' AND t.status = 'open') AND EXISTS (SELECT 1 FROM invoices i WHERE i.account_id = a.id AND i.paid_on IS NULL) ORDER BY a.id;
-- health score of accounts
SELECT a.id, COALESCE(t.open_tickets, 0) AS open_tickets, COALESCE(u.active_users, 0) AS active_users, CASE WHEN COALESCE(t.open_tickets, 0) > 3 THEN 'at risk' WHEN COALESCE(u.active_users, 0) = 0 THEN 'silent' ELSE 'fine' END AS health FROM accounts a LEFT JOIN (SELECT account_id, COUNT(*) AS open_tickets FROM tickets WHERE status = 'open' GROUP BY account_id) t ON t.account_id = a.id LEFT JOIN (SELECT account_id, COUNT(*) AS active_users FROM users WHERE is_active = 1 GROUP BY account_id) u ON u.account_id = a.id ORDER BY a.id;
-- the chain of command
WITH RECURSIVE chain (id, name, manager_id, depth) AS (SELECT id, name, manager_id, 0 FROM employees WHERE manager_id IS NULL UNION ALL SELECT e.id, e.name, e.manager_id, c.depth + 1 FROM employees e JOIN chain c ON e.manager_id = c.id) SELECT depth, COUNT(*) AS people FROM chain GROUP BY depth ORDER BY depth;
-- everybody under the second employee
WITH RECURSIVE team (id) AS (SELECT id FROM employees WHERE id = 2 UNION ALL SELECT e.id FROM employees e JOIN team t ON e.manager_id = t.id) SELECT e.name, e.department FROM employees e JOIN team ON team.id = e.id ORDER BY e.id;
-- numbers from one to twelve
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) SELECT i, i * i AS square FROM n ORDER BY i;
-- employees who earn more than their manager
SELECT e.name, e.salary, m.name AS manager, m.salary AS manager_salary FROM employees e JOIN employees m ON m.id = e.manager_id WHERE e.salary > m.salary ORDER BY e.id;
-- payroll by department with its share
SELECT department, SUM(salary) AS payroll, SUM(salary) / (SELECT SUM(salary) FROM employees) AS share FROM employees GROUP BY department ORDER BY department;
-- salary rank within the department
SELECT name, department, salary, DENSE_RANK() OVER (PARTITION BY department ORDER BY salary DESC) AS position_in FROM employees ORDER BY department, position_in, id;
-- distance to the department's best paid
SELECT name, department, MAX(salary) OVER (PARTITION BY department) - salary AS behind FROM employees ORDER BY department, behind, id;
-- subscriptions that are still running
SELECT plan, COUNT(*) AS running, SUM(seats) AS seats FROM subscriptions WHERE ended_on IS NULL AND status <> 'canceled' GROUP BY plan ORDER BY plan;
-- accounts that changed plan
SELECT account_id, COUNT(DISTINCT plan) AS plans, MIN(started_on) AS since FROM subscriptions GROUP BY account_id HAVING COUNT(DISTINCT plan) > 1 ORDER BY account_id;
-- overlapping subscriptions
SELECT a.id, b.id AS other FROM subscriptions a JOIN subscriptions b ON a.account_id = b.account_id AND a.id < b.id AND a.started_on <= COALESCE(b.ended_on, '2999-12-31') AND b.started_on <= COALESCE(a.ended_on, '2999-12-31') ORDER BY a.id, b.id;
-- price per seat
SELECT id, amount / NULLIF(seats, 0) AS per_seat FROM subscriptions ORDER BY per_seat DESC, id LIMIT 15;
-- countries by plan in one row each
SELECT country, COUNT(*) AS total, COUNT(CASE WHEN plan = 'free' THEN 1 END) AS free_accounts, COUNT(CASE WHEN plan <> 'free' THEN 1 END) AS paying FROM accounts GROUP BY country ORDER BY country;
-- industries, with unknown ones named
SELECT COALESCE(industry, 'unknown') AS industry, COUNT(*) AS n FROM accounts GROUP BY COALESCE(industry, 'unknown') ORDER BY n DESC, industry;
-- accounts and their latest invoice
SELECT a.name, i.issued_on, i.amount FROM accounts a LEFT JOIN invoices i ON i.account_id = a.id AND i.issued_on = (SELECT MAX(x.issued_on) FROM invoices x WHERE x.account_id = a.id) ORDER BY a.id, i.id;
-- pairs of accounts in the same industry and country
SELECT a.name, b.name AS other FROM accounts a JOIN accounts b ON a.industry = b.industry AND a.country = b.country AND a.id < b.id ORDER BY a.id, b.id;
-- users of the three largest accounts
SELECT u.id, u.email FROM users u WHERE u.account_id IN (SELECT id FROM (SELECT id FROM accounts ORDER BY mrr DESC, id LIMIT 3) best) ORDER BY u.id;
-- accounts whose every user is active
SELECT a.id FROM accounts a JOIN users u ON u.account_id = a.id GROUP BY a.id HAVING MIN(u.is_active) = 1 ORDER BY a.id;
-- most common role, ties included
SELECT role, n FROM (SELECT role, COUNT(*) AS n, RANK() OVER (ORDER BY COUNT(*) DESC) AS r FROM users GROUP BY role) counted WHERE r = 1 ORDER BY role;
-- events between two moments
SELECT kind, COUNT(*) AS n FROM events WHERE occurred_at >= '2025-06-01' AND occurred_at < '2025-07-01' GROUP BY kind ORDER BY kind;
-- quiet users since autumn
SELECT id, last_seen FROM users WHERE last_seen < '2025-09-01' OR last_seen IS NULL ORDER BY id;
-- duplicates of an address's local part
SELECT role, COUNT(*) AS n FROM users GROUP BY role HAVING COUNT(*) > 1 ORDER BY n DESC, role;
-- slow events above the mean of their kind
SELECT e.id, e.kind, e.duration_ms FROM events e JOIN (SELECT kind, AVG(duration_ms) AS mean_ms FROM events GROUP BY kind) k ON k.kind = e.kind WHERE e.duration_ms > 1.8 * k.mean_ms ORDER BY e.id;
-- gaps between a user's events by number
SELECT user_id, id, LEAD(id) OVER (PARTITION BY user_id ORDER BY occurred_at, id) AS next_event FROM events WHERE user_id <= 10 ORDER BY user_id, occurred_at, id;
-- islands of the same kind in a row
WITH marked AS (SELECT id, user_id, kind, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY occurred_at, id) - ROW_NUMBER() OVER (PARTITION BY user_id, kind ORDER BY occurred_at, id) AS island FROM events) SELECT user_id, kind, island, COUNT(*) AS length_of FROM marked GROUP BY user_id, kind, island HAVING COUNT(*) > 2 ORDER BY user_id, kind, island;
-- revenue by size of account
SELECT CASE WHEN mrr >= 600 THEN 'large' WHEN mrr >= 250 THEN 'middle' ELSE 'small' END AS size_class, COUNT(*) AS n, SUM(mrr) AS mrr FROM accounts GROUP BY CASE WHEN mrr >= 600 THEN 'large' WHEN mrr >= 250 THEN 'middle' ELSE 'small' END ORDER BY mrr DESC;
-- invoices with two or more lines of one product
SELECT invoice_id, product_id, COUNT(*) AS times FROM invoice_items GROUP BY invoice_id, product_id HAVING COUNT(*) >= 2 ORDER BY invoice_id, product_id;
-- products bought together
SELECT a.product_id, b.product_id AS with_product, COUNT(*) AS times FROM invoice_items a JOIN invoice_items b ON a.invoice_id = b.invoice_id AND a.product_id < b.product_id GROUP BY a.product_id, b.product_id ORDER BY times DESC, a.product_id, b.product_id LIMIT 10;
-- average basket
SELECT AVG(lines) AS mean_lines, MAX(lines) AS most_lines FROM (SELECT invoice_id, COUNT(*) AS lines FROM invoice_items GROUP BY invoice_id) baskets;
-- accounts in France or Germany with paid invoices
SELECT DISTINCT a.name FROM accounts a JOIN invoices i ON i.account_id = a.id WHERE a.country IN ('FR', 'DE') AND i.status = 'paid' ORDER BY a.name;
-- not a business plan and not retail
SELECT COUNT(*) AS n FROM accounts WHERE NOT (plan = 'business' OR industry = 'retail');
-- between two amounts
SELECT id, amount FROM invoices WHERE amount BETWEEN 500 AND 750 ORDER BY amount, id;
-- percentage of invoices paid
SELECT ROUND(100.0 * SUM(CASE WHEN paid_on IS NOT NULL THEN 1 ELSE 0 END) / COUNT(*), 1) AS paid_percent FROM invoices;
-- best month by number in each plan
SELECT plan, MAX(mrr) AS top_mrr, MIN(mrr) AS low_mrr, MAX(mrr) - MIN(mrr) AS spread FROM accounts GROUP BY plan ORDER BY spread DESC;
-- accounts' share of their country's revenue
SELECT name, country, mrr / SUM(mrr) OVER (PARTITION BY country) AS share FROM accounts ORDER BY country, share DESC, id;
-- rows on both sides of a full picture
SELECT a.plan, COALESCE(s.n, 0) AS subscriptions FROM (SELECT DISTINCT plan FROM accounts) a LEFT JOIN (SELECT plan, COUNT(*) AS n FROM subscriptions WHERE status = 'active' GROUP BY plan) s ON s.plan = a.plan ORDER BY a.plan;
-- three conditions at once
SELECT id FROM users WHERE is_active = 1 AND role = 'member' AND account_id BETWEEN 5 AND 20 ORDER BY id;
-- names in upper case with their length
SELECT UPPER(name) AS name, LENGTH(name) AS letters FROM accounts ORDER BY letters DESC, name LIMIT 10;
-- text without its blanks
SELECT TRIM(name) AS name, REPLACE(name, ' ', '-') AS slug FROM accounts ORDER BY id LIMIT 10;
-- first letters
SELECT SUBSTR(name, 1, 1) AS letter, COUNT(*) AS n FROM accounts GROUP BY SUBSTR(name, 1, 1) ORDER BY letter;
-- rounding and absolute values
SELECT id, ROUND(amount, 0) AS whole, ABS(amount - 1000) AS distance FROM invoices ORDER BY distance, id LIMIT 10;
-- is there any urgent ticket
SELECT CASE WHEN EXISTS (SELECT 1 FROM tickets WHERE priority = 'urgent') THEN 'yes' ELSE 'no' END AS any_urgent;
-- scalar facts in one row
SELECT (SELECT COUNT(*) FROM accounts) AS accounts, (SELECT COUNT(*) FROM users) AS users, (SELECT MAX(amount) FROM invoices) AS biggest;
-- nested derived tables
SELECT country, AVG(total) AS mean_total FROM (SELECT a.country, a.id, SUM(i.amount) AS total FROM accounts a JOIN invoices i ON i.account_id = a.id GROUP BY a.country, a.id) per_account GROUP BY country ORDER BY country;
-- the same expression named twice
WITH totals AS (SELECT account_id, SUM(amount) AS total FROM invoices GROUP BY account_id) SELECT t.account_id, t.total, t.total / m.mean_total AS against_mean FROM totals t CROSS JOIN (SELECT AVG(total) AS mean_total FROM totals) m ORDER BY t.account_id;
-- medians by counting
SELECT AVG(mrr) AS median_mrr FROM (SELECT mrr, ROW_NUMBER() OVER (ORDER BY mrr, id) AS rn, COUNT(*) OVER () AS n FROM accounts) ordered WHERE rn IN ((n + 1) / 2, (n + 2) / 2);
-- retained users by number of kinds
SELECT kinds, COUNT(*) AS users FROM (SELECT user_id, COUNT(DISTINCT kind) AS kinds FROM events GROUP BY user_id) per_user GROUP BY kinds ORDER BY kinds;
-- percent rank of satisfaction
SELECT id, satisfaction, PERCENT_RANK() OVER (ORDER BY satisfaction) AS pr FROM tickets WHERE satisfaction IS NOT NULL ORDER BY id;
-- last value of a window
SELECT account_id, id, LAST_VALUE(status) OVER (PARTITION BY account_id ORDER BY issued_on, id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS latest_status FROM invoices ORDER BY account_id, id;
-- named window used twice
SELECT account_id, id, SUM(amount) OVER w AS running, COUNT(*) OVER w AS nth FROM invoices WINDOW w AS (PARTITION BY account_id ORDER BY issued_on, id) ORDER BY account_id, issued_on, id;
-- plans in a fixed order
SELECT name, plan FROM accounts ORDER BY CASE plan WHEN 'business' THEN 1 WHEN 'team' THEN 2 ELSE 3 END, name, id;
-- anti join written with a left join and a condition
SELECT p.id FROM products p LEFT JOIN invoice_items i ON i.product_id = p.id AND i.quantity > 7 WHERE i.invoice_id IS NULL ORDER BY p.id;
-- count of joined rows on two keys
SELECT COUNT(*) AS n FROM tickets t JOIN users u ON u.id = t.user_id AND u.account_id = t.account_id;
-- using the same column name
SELECT id, plan FROM accounts WHERE plan IN (SELECT plan FROM subscriptions GROUP BY plan HAVING COUNT(*) > 5) ORDER BY id;
-- values as a little table
SELECT a.name, k.label FROM accounts a JOIN (SELECT 'free' AS plan, 'Free of charge' AS label UNION ALL SELECT 'team', 'For teams') k ON k.plan = a.plan ORDER BY a.id;
-- what each employee's manager's manager is called
SELECT e.name, gm.name AS above FROM employees e LEFT JOIN employees m ON m.id = e.manager_id LEFT JOIN employees gm ON gm.id = m.manager_id ORDER BY e.id;
-- churned accounts with their lost revenue
SELECT a.name, SUM(s.amount) AS lost FROM subscriptions s JOIN accounts a ON a.id = s.account_id WHERE s.status = 'canceled' AND s.ended_on IS NOT NULL GROUP BY a.id, a.name ORDER BY lost DESC, a.name;
-- invoices of accounts that have both currencies
SELECT account_id FROM invoices GROUP BY account_id HAVING COUNT(DISTINCT currency) = 2 ORDER BY account_id;
-- mixed sums and counts over nothing
SELECT COUNT(*) AS n, SUM(amount) AS total, COALESCE(MAX(amount), 0) AS most FROM invoices WHERE amount > 1000000;
-- negative and arithmetic
SELECT id, -amount AS minus_amount, amount * 2 - 1 AS twice, amount / 3 AS third FROM invoices ORDER BY id LIMIT 5;
-- revenue of the three best countries against the rest
SELECT CASE WHEN country IN (SELECT country FROM (SELECT country FROM accounts GROUP BY country ORDER BY SUM(mrr) DESC, country LIMIT 3) best) THEN country ELSE 'other' END AS place, SUM(mrr) AS mrr FROM accounts GROUP BY 1 ORDER BY mrr DESC;
-- accounts that pay in every status
SELECT account_id FROM invoices GROUP BY account_id HAVING COUNT(DISTINCT status) = (SELECT COUNT(DISTINCT status) FROM invoices) ORDER BY account_id;
-- tickets opened by users of other accounts
SELECT COUNT(*) AS strays FROM tickets t LEFT JOIN users u ON u.id = t.user_id WHERE u.account_id <> t.account_id OR u.id IS NULL;
-- share of the top tenth of accounts
SELECT SUM(CASE WHEN decile = 1 THEN mrr ELSE 0 END) / SUM(mrr) AS top_share FROM (SELECT mrr, NTILE(10) OVER (ORDER BY mrr DESC, id) AS decile FROM accounts) ranked;
-- how many invoices each account had before its largest
SELECT i.account_id, COUNT(*) AS before_it FROM invoices i WHERE i.issued_on < (SELECT MIN(x.issued_on) FROM invoices x WHERE x.account_id = i.account_id AND x.amount = (SELECT MAX(y.amount) FROM invoices y WHERE y.account_id = i.account_id)) GROUP BY i.account_id ORDER BY i.account_id;
-- seats sold and used
SELECT s.account_id, SUM(s.seats) AS sold, COUNT(DISTINCT u.id) AS used FROM subscriptions s LEFT JOIN users u ON u.account_id = s.account_id AND u.is_active = 1 WHERE s.status = 'active' GROUP BY s.account_id HAVING SUM(s.seats) < 200 ORDER BY s.account_id;
