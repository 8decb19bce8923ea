"""What masks cost in the database: the regenerated text with masks against the same text without, interleaved in one run.

    python -m benchmarks.masking --engine postgres --rows 1000000
    python -m benchmarks.masking --engine sqlite --rows 200000 --rounds 7

Each shape of query reads one protected column; every other protected column of the table is masked as well, and not read. Both texts
run with bound values on one plain connection of the engine's driver, warmed up, in turn; a figure is the quotient of the two medians.
`no mask read` is a query that names no protected column, on the table that has them. The last columns are the guard's own time
for one statement (parse to rewrite), and what the engine adds when it runs the unmasked plan under its lock. A database of its own is
made and dropped.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.masking_databases import ENGINES, Bare, open_filled
from guardrails.engines import Engine, open_engine
from guardrails.masking import mask_expression
from guardrails.model import Catalog, ColumnRef, Limits, Mask, Obligations, Plan, Statement, Value
from guardrails.sql import parse, resolve, rewrite

_SERVERS = {
    "postgres": os.environ.get("GUARDRAILS_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": os.environ.get("GUARDRAILS_TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/"),
}
_KEY = b"k" * 32
_LIMITS = Limits(rows=5_000_000, seconds=600, result_bytes=10**9)
_RANGE_ROWS = 10_000
_PROTECTED = ("email", "card", "born", "salary", "balance")

SHAPES: Mapping[str, str] = {
    "look-up by key": "SELECT id, name, {column} FROM people WHERE id = :id",
    "look-up by index": "SELECT id, name, {column} FROM people WHERE account = :account",
    "range scan": "SELECT id, {column} FROM people WHERE joined >= :first AND joined < :last",
    "join": "SELECT o.id, o.amount, p.{column} FROM orders o JOIN people p ON p.id = o.person_id"
    " WHERE o.placed >= :first AND o.placed < :last",
    "aggregate": "SELECT city, count(*), max({column}) FROM people GROUP BY city",
}


@dataclass(frozen=True)
class Case:
    """A mask on the column that it is measured on; `is_plain` is one that is an expression without a key."""

    name: str
    column: str
    kind: str
    options: tuple[tuple[str, str | int], ...] = ()
    is_plain: bool = True


CASES = (
    Case("full", "card", "full"),
    Case("null", "card", "null"),
    Case("fixed", "card", "fixed", (("value", "hidden"),)),
    Case("partial", "card", "partial", (("last", 4),)),
    Case("email", "email", "email"),
    Case("date", "born", "date", (("to", "year"),)),
    Case("bucket", "salary", "bucket", (("size", 10_000),)),
    Case("bucket, decimal", "balance", "bucket", (("size", 100),)),
    Case("round", "salary", "round", (("digits", -3),)),
    Case("round, decimal", "balance", "round"),
    Case("pseudonym", "email", "pseudonym", is_plain=False),
    Case("hash", "email", "hash", is_plain=False),
    Case("noise", "salary", "noise", (("spread", 1000),), is_plain=False),
    Case("no mask read", "joined", "full"),
)


def _obligations(case: Case) -> Obligations:
    columns = [column for column in _PROTECTED if column != case.column]
    masks = [Mask(ColumnRef("people", column), "full") for column in columns]
    own = [Mask(ColumnRef("people", case.column), case.kind, case.options)] if case.column in _PROTECTED else []
    return Obligations(masks=(*masks, *own), limits=_LIMITS)


def plan_of(sql: str, params: Mapping[str, Value], engine: Engine, catalog: Catalog, obligations: Obligations) -> Plan:
    """The guard's plan for a statement after a permit."""
    statement = Statement(sql, params, engine.dialect)
    resolved = resolve(parse(statement), catalog)
    rewritten = rewrite(resolved, obligations, catalog, lambda m, c: mask_expression(m, c, engine.dialect, _KEY))
    access = resolved.access
    return Plan(
        rewritten.sql, rewritten.params, engine.dialect, access.actions, access.relations, rewritten.reads, access.writes,
        obligations.limits, catalog.version, index_use=rewritten.index_use,
    )  # fmt: skip


def _params(sql: str, rows: int) -> dict[str, Value]:
    first = rows // 3
    day = date(2016, 1, 1).toordinal()
    known: dict[str, Value] = {
        "id": first,
        "account": first * 7919 % rows,
        "first": date.fromordinal(day + first * 3650 // rows),
        "last": date.fromordinal(day + (first + min(_RANGE_ROWS, rows // 10)) * 3650 // rows),
    }
    return {name: value for name, value in known.items() if f":{name}" in sql}


def interleaved(works: Sequence[Callable[[], object]], rounds: int, seconds: float) -> list[float]:
    """Returns each one's median in milliseconds: in turn, at least so many rounds, and more of them while there is time."""
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    ends = time.perf_counter() + seconds
    while len(times[0]) < rounds or (time.perf_counter() < ends and len(times[0]) < 400):
        for work, taken in zip(works, times, strict=True):
            started = time.perf_counter()
            work()
            taken.append((time.perf_counter() - started) * 1000)
    return [statistics.median(taken) for taken in times]


def _measure(engine: Engine, bare: Bare, rows: int, rounds: int, seconds: float) -> dict[tuple[str, str], float]:
    catalog = engine.catalog()
    ratios: dict[tuple[str, str], float] = {}
    head = (
        f"{'query':18}{'mask':18}{'unmasked ms':>12}{'masked ms':>11}{'ratio':>7}{'rows':>8}{'guard ms':>10}{'locked ms':>11}"
    )
    print(head)
    for shape, template in SHAPES.items():
        for case in CASES:
            sql = template.format(column=case.column)
            params = _params(sql, rows)
            # DuckDB writes `$name`.
            sql = sql.replace(":", "$") if engine.dialect == "duckdb" else sql
            unmasked = plan_of(sql, params, engine, catalog, Obligations(limits=_LIMITS))
            masked = plan_of(sql, params, engine, catalog, _obligations(case))
            ask_plainly, ask_masked = bare(unmasked), bare(masked)
            count = ask_masked()
            if count != ask_plainly():
                raise SystemExit(f"{shape}, {case.name}: the masked query gives another number of rows.")
            plain_ms, masked_ms = interleaved([ask_plainly, ask_masked], rounds, seconds)
            judged = partial(plan_of, sql, params, engine, catalog, _obligations(case))
            guard_ms, locked_ms = interleaved([judged, partial(engine.execute, unmasked)], 3, 0)
            ratios[shape, case.name] = masked_ms / plain_ms
            print(
                f"{shape:18}{case.name:18}{plain_ms:>12.2f}{masked_ms:>11.2f}{masked_ms / plain_ms:>7.2f}{count:>8,}"
                f"{guard_ms:>10.2f}{locked_ms:>11.2f}",
                flush=True,
            )
    return ratios


def _report(ratios: Mapping[tuple[str, str], float]) -> float:
    """Prints the medians by mask and by shape; returns that of the plain masks."""
    print("\nmedians over the shapes, and largest")
    for case in CASES:
        found = [ratio for (_, name), ratio in ratios.items() if name == case.name]
        print(f"  {case.name:18}{statistics.median(found):>6.2f}{max(found):>7.2f}{'' if case.is_plain else '  (keyed)'}")
    plain = {case.name for case in CASES if case.is_plain and case.column in _PROTECTED}
    print("medians over the plain masks, and largest")
    for shape in SHAPES:
        found = [ratio for (name, mask), ratio in ratios.items() if name == shape and mask in plain]
        print(f"  {shape:18}{statistics.median(found):>6.2f}{max(found):>7.2f}")
    overall = statistics.median(ratio for (_, mask), ratio in ratios.items() if mask in plain)
    print(f"median of all plain masks: {overall:.2f}")
    return overall


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each of the two tables")
    parser.add_argument("--rounds", type=int, default=5, help="least number of pairs of runs")
    parser.add_argument("--seconds", type=float, default=0.5, help="go on with pairs for so long")
    parser.add_argument("--server")
    options = parser.parse_args(arguments)
    server = options.server or _SERVERS.get(options.engine, "")
    with open_filled(options.engine, options.rows, server) as (url, bare):
        engine = open_engine(url)
        print(f"{options.engine}, {options.rows:,} rows a table, load {os.getloadavg()[0]:.1f}")
        try:
            ratios = _measure(engine, bare, options.rows, options.rounds, options.seconds)
        finally:
            engine.dispose()
        overall = _report(ratios)
        print(f"load {os.getloadavg()[0]:.1f}")
    return 0 if options.engine != "postgres" or overall <= 1.3 else 1


if __name__ == "__main__":
    sys.exit(main())
