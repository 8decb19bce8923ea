"""What judging a statement costs: parse to rewrite, against sqlglot's bare parse and against running the statement on SQLite.

Prints medians of one run and their ratios; times depend on the machine, the ratios much less. Run: python benchmarks/judge.py
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sqlglot

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guardrails import flow
from guardrails.masking import mask_expression
from guardrails.model import Context, Principal, Statement
from guardrails.policy import Policy
from guardrails.sql import catalog_from_ddl
from tests.support.corpus import DDL, rows, statements
from tests.support.guard_policies import SMALLEST

QUERIES = {
    "look-up": "SELECT name, email FROM customers WHERE id = 7",
    "aggregate": "SELECT region, count(*), avg(amount) FROM orders WHERE created > '2026-03-01' GROUP BY region ORDER BY 2 DESC",
    "join": "SELECT c.name, sum(o.amount) AS spent FROM customers c JOIN orders o ON o.customer_id = c.id "
    "WHERE c.region = 'EU' GROUP BY c.id, c.name HAVING sum(o.amount) > 10 ORDER BY spent DESC LIMIT 5",
    "CTE, window": "WITH m AS (SELECT customer_id, sum(amount) AS total FROM orders GROUP BY customer_id) "
    "SELECT c.name, m.total, rank() OVER (PARTITION BY c.region ORDER BY m.total DESC) AS place "
    "FROM m JOIN customers c ON c.id = m.customer_id",
}


def median_ms(work: Callable[[], object], rounds: int = 150) -> float:
    for _ in range(10):
        work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def main() -> None:
    catalog = catalog_from_ddl(DDL, "sqlite")
    policy = Policy.from_text(SMALLEST).bind(catalog)
    person = Principal("ana", frozenset({"support"}), {"region": "EU"})
    database = sqlite3.connect(":memory:")
    for statement in statements():
        database.execute(statement)
    for table, row in rows(1):
        database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    print(f"load {os.getloadavg()[0]:.1f}; medians in ms")
    print(f"{'query':<14}{'parse':>8}{'judge':>8}{'judge/parse':>13}{'run plain':>11}")
    for name, sql in QUERIES.items():
        parse = median_ms(lambda sql=sql: sqlglot.parse_one(sql, dialect="sqlite"))
        judge = median_ms(
            lambda sql=sql: flow.judge(
                Statement(sql), catalog, policy, person, Context(), lambda m, c: mask_expression(m, c, "sqlite", b"k" * 32)
            )
        )
        run = median_ms(lambda sql=sql: database.execute(sql).fetchall())
        print(f"{name:<14}{parse:>8.2f}{judge:>8.2f}{judge / parse:>13.1f}{run:>11.3f}")


if __name__ == "__main__":
    main()
