"""Row filters and masks on PostgreSQL, as ratios in one run: the fence in the statement, the barrier view, and the plain filtered query.

Each statement runs through the guard's own engine, with the same transaction around it; `plain` is the agent's text with the filter
written into it, without a fence. The last lines look a token up: with the mask in the statement, and in a generated column.
The database is one of its own and dropped at the end.

    python -m benchmarks.row_filters --url postgresql://postgres@127.0.0.1:5432/postgres --rows 1000000
"""

from __future__ import annotations

import argparse
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import closing

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from guardrails.engines import open_engine
from guardrails.engines.postgres import PostgresEngine
from guardrails.install import trusted
from guardrails.install.opening import installer
from guardrails.masking import mask_expression
from guardrails.model import Catalog, ColumnRef, Limits, Mask, Obligations, Plan, RowFilter, Statement
from guardrails.policy import Policy
from guardrails.sql import parse, resolve, rewrite
from guardrails.sql.barriers import Placements

KEY = bytes(32)
LIMITS = Limits(rows=100_000, seconds=120)
PREDICATE = "region = principal.region"
DDL = """
CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL, region text NOT NULL, placed timestamp NOT NULL, amount int NOT NULL,
  email text NOT NULL)
"""
FILL = """
INSERT INTO orders SELECT i, i % (%(rows)s / 10), (ARRAY['EU', 'US', 'APAC', 'LATAM'])[1 + i %% 4],
  timestamp '2026-01-01' + i * interval '10 seconds', i %% 5000, 'user' || i || '@example.com' FROM generate_series(1, %(rows)s) AS i
"""
INDEXES = ("CREATE INDEX ON orders (customer_id)", "CREATE INDEX ON orders (placed)", "CREATE INDEX ON orders (region)")
STATEMENTS = {
    "point look-up by key": ("SELECT id, amount FROM orders WHERE id = 400004", 200),
    "look-up by customer": ("SELECT id, amount FROM orders WHERE customer_id = 4004", 200),
    "range of 1,000": ("SELECT sum(amount) FROM orders WHERE placed >= '2026-01-20' AND placed < '2026-01-20 02:46:40'", 60),
    "newest ten": ("SELECT id, amount FROM orders ORDER BY placed DESC LIMIT 10", 60),
    "aggregate of all": ("SELECT count(*), sum(amount) FROM orders", 7),
    "groups of all": ("SELECT amount % 10 AS d, count(*) FROM orders GROUP BY 1", 7),
    "condition no index knows": ("SELECT count(*) FROM orders WHERE amount % 7 = 3", 7),
}


def _plan(text: str, catalog: Catalog, obligations: Obligations, placements: Placements | None) -> Plan:
    resolved = resolve(parse(Statement(text, {}, "postgres")), catalog)
    written = rewrite(
        resolved, obligations, catalog, lambda m, c: mask_expression(m, c, "postgres", KEY), placements=placements
    )
    access = resolved.access
    return Plan(
        written.sql,
        written.params,
        "postgres",
        access.actions,
        access.relations,
        written.reads,
        access.writes,
        obligations.limits,
        catalog.version,
        settings=written.settings,
    )


def _plain(text: str) -> str:
    return (
        text.replace(" WHERE ", " WHERE region = 'EU' AND ")
        if " WHERE " in text
        else text.replace("FROM orders", "FROM orders WHERE region = 'EU'")
    )


def _median_ms(run: Callable[[], object], count: int) -> float:
    run()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        run()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def measure(engine: PostgresEngine, policy: Policy) -> None:
    """Prints one line for each statement: the median of the plain query in milliseconds, and the ratios to it."""
    catalog = engine.catalog()
    placements = trusted(policy.bind(catalog), KEY)
    filtered = Obligations(row_filters=(RowFilter("orders", PREDICATE, (("region", "EU"),)),), limits=LIMITS)
    unprotected = Obligations(limits=LIMITS)
    print(f"{'statement':<28}{'plain ms':>10}{'fence':>10}{'view':>10}   (times the plain query)")
    for name, (text, count) in STATEMENTS.items():
        plans = [
            _plan(_plain(text), catalog, unprotected, None),
            _plan(text, catalog, filtered, None),
            _plan(text, catalog, filtered, placements),
        ]
        answers = [sorted(engine.execute(plan).rows) for plan in plans]
        if answers[0] != answers[1] or answers[0] != answers[2]:
            raise SystemExit(f"The answers differ: {name}")
        plain, fence, view = (_median_ms(lambda plan=plan: engine.execute(plan), count) for plan in plans)  # type: ignore[misc]
        print(f"{name:<28}{plain:>10.2f}{fence / plain:>10.2f}{view / plain:>10.2f}")
    masked = Obligations(masks=(Mask(ColumnRef("orders", "email"), "pseudonym"),), limits=LIMITS)
    ((token,),) = engine.execute(_plan("SELECT email FROM orders WHERE id = 400004", catalog, masked, None)).rows
    text = f"SELECT id FROM orders WHERE email = '{token}'"
    in_statement, in_column = (_plan(text, catalog, masked, p) for p in (None, placements))
    column = _median_ms(lambda: engine.execute(in_column), 60)
    print(f"a token looked up: {column:.2f} ms with the mask in a generated column; "
          f"{_median_ms(lambda: engine.execute(in_statement), 3) / column:.0f} times that in the statement")  # fmt: skip


def main() -> None:
    """Makes the database, sets the policy up, measures, and drops the database."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--url", default="postgresql://postgres@127.0.0.1:5432/postgres")
    arguments.add_argument("--rows", type=int, default=1_000_000)
    given = arguments.parse_args()
    name = f"guardrails_bench_{uuid.uuid4().hex[:12]}"
    with closing(psycopg.connect(given.url, autocommit=True)) as server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            url = make_url(given.url).set(database=name).render_as_string(hide_password=False)
            policy = Policy(
                rules=[{"id": "a", "effect": "allow", "actions": ["select"], "relations": ["orders"]}],
                columns={"orders.email": {"mask": "pseudonym", "place": "column"}},
                rows={"orders": PREDICATE},
            )
            with closing(psycopg.connect(url, autocommit=True)) as connection:
                connection.execute(DDL)
                connection.execute(FILL.replace("i % (", "i %% ("), {"rows": given.rows})
                for statement in INDEXES:
                    connection.execute(statement)
            engine = open_engine(url)
            if not isinstance(engine, PostgresEngine):
                raise SystemExit("The URL is not PostgreSQL's.")
            for item in installer(engine, policy.bind(engine.catalog()), KEY, has_keys=True).install():
                print(f"{item.relation}: {item.state} ({item.name})")
            with closing(psycopg.connect(url, autocommit=True)) as connection:
                connection.execute("VACUUM ANALYZE")
            measure(engine, policy)
            engine.dispose()
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


if __name__ == "__main__":
    main()
