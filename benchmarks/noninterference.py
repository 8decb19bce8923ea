"""Generated statements through the guard on twin databases that differ in protected values only: nothing of them may show.

    python -m benchmarks.noninterference --engine postgres --count 100000 --seed 1 --jobs 2
    python -m benchmarks.noninterference --engine sqlite --count 100000 --seed 1 --jobs 2 --masks partial
    python -m benchmarks.noninterference --engine duckdb --count 25000 --seed 1
    python -m benchmarks.noninterference --engine mysql --count 25000 --seed 1

Statement number i of a run is made from the seed `seed * 10_000_000 + i`: of each four two from `tests.support.generator` and two from
`tests.support.grammar` (queries, changes, hostile ones), of which one each runs under masks alone and one under masks and row filters.
`--masks constant`: masks that are constants, twins that differ in every protected value. `--masks partial`: masks that keep a part,
twins that agree in that part and in nothing else. Each statement is judged once and its plan runs on both twins; columns, rows in their
order, what the second net finds, rows changed, what a change leaves, and failures must be equal. A difference that one database shows
by itself when asked again is counted as unstable. `--doctored` plants a leak (an unmasked column as the sort key), which must be found.
The exit status is 1 when there is a difference.
PostgreSQL: `--server` or GUARDRAILS_TEST_POSTGRES_URL names a maintenance database. MariaDB: `--server` names a server, as root.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guardrails.model import DialectName, Plan
from guardrails.proving.grammar.shrink import shrink
from tests.support.grammar import seeded
from tests.support.interference import SCHEMAS, Outcome, Pair, open_pair

ENGINES: tuple[DialectName, ...] = ("postgres", "sqlite", "mysql", "duckdb")
_SERVERS = {
    "postgres": os.environ.get("GUARDRAILS_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": "mysql://root@127.0.0.1:3306/",
}
_SEEDS = 10_000_000
_SHOWN = 5
_PROGRESS = 2_000


@dataclass(frozen=True)
class Job:
    """A range of seeds for one process."""

    engine: DialectName
    server: str
    seeds: range
    is_keeping: bool
    is_doctored: bool


@dataclass
class Tally:
    """Counts over one range of seeds; tallies add up."""

    verdicts: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        self.verdicts += other.verdicts
        self.codes += other.codes
        self.changes += other.changes
        for verdict, texts in other.shown.items():
            self.shown.setdefault(verdict, []).extend(texts)

    def take(self, outcome: Outcome) -> None:
        self.verdicts[outcome.verdict] += 1
        if outcome.verdict == "refused":
            self.codes[outcome.code] += 1
        elif outcome.is_change:
            self.changes[outcome.verdict] += 1


def sorted_by_secret(plan: Plan) -> Plan:
    """The planted leak: what reads customers alone is sorted by a column that nobody masked."""
    source = re.search(r'FROM ("\w+"\.)?"customers" AS "gr_row"', plan.sql)
    if source is None or not plan.is_read_only or "LIMIT" in plan.sql:
        return plan
    column = '"gr_row"."credit"'
    return replace(plan, sql=plan.sql.replace(source.group(), f"{source.group()} ORDER BY {column}", 1))


def measure(job: Job) -> Tally:
    """Runs the statements of one range of seeds on twins of its own."""
    tally = Tally()
    started = time.perf_counter()
    with ExitStack() as stack:
        pairs = [
            stack.enter_context(open_pair(job.engine, schema, job.server, is_keeping=job.is_keeping))
            for schema in SCHEMAS.values()
        ]
        for pair in pairs:
            pair.doctor = sorted_by_secret if job.is_doctored else None
        for seed in job.seeds:
            pair, which = pairs[seed % 2], seed // 2 % 2
            outcome = pair.compare(pair.make(seeded(seed)), which)
            tally.take(outcome)
            if outcome.verdict in ("different", "unstable"):
                _show(tally, pair, seed, which, outcome)
            done = tally.verdicts.total()
            if done % _PROGRESS == 0:
                rate = done / (time.perf_counter() - started)
                print(f"{done:,} done, {rate:,.0f}/s, {dict(tally.verdicts)}", file=sys.stderr, flush=True)
    return tally


def _show(tally: Tally, pair: Pair, seed: int, which: int, outcome: Outcome) -> None:
    shown = tally.shown.setdefault(outcome.verdict, [])
    if len(shown) >= _SHOWN:
        return
    if outcome.verdict == "different":
        short = shrink(pair.make, seeded(seed), lambda sql: pair.compare(sql, which).verdict == "different")
        outcome = pair.compare(short, which)
    text = outcome.plan.sql if outcome.plan else ""
    shown.append(f"seed {seed}, policy {which}: {outcome.sql}\n      {text}\n{outcome.detail}")
    print(f"{outcome.verdict}: {shown[-1]}", file=sys.stderr, flush=True)


def report(job: Job, tally: Tally, seconds: float, jobs: int) -> None:
    total = tally.verdicts.total()
    kind = "masks that keep a part" if job.is_keeping else "constant masks"
    print(f"{job.engine}, {kind}: {total:,} statements, {total / seconds:,.0f} statements/s in {jobs} processes")
    for verdict, meaning in (
        ("same", "answered alike"),
        ("failed alike", "failed alike in the engine"),
        ("late", "took too long"),
        ("refused", "refused before they ran"),
        ("unstable", "differ on one database alone"),
        ("different", "DIFFERENCES"),
    ):
        print(f"{meaning:<32}{tally.verdicts[verdict]:>9,}")
    print(f"changes among them: {', '.join(f'{v} {n:,}' for v, n in tally.changes.most_common())}")
    print(f"refused: {', '.join(f'{code} {n:,}' for code, n in tally.codes.most_common())}")
    for verdict, texts in tally.shown.items():
        for text in texts[:_SHOWN]:
            print(f"{verdict}: {text}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--masks", choices=("constant", "partial"), default="constant")
    parser.add_argument("--doctored", action="store_true")
    parser.add_argument("--server")
    options = parser.parse_args(arguments)
    server = options.server or _SERVERS.get(options.engine, "")
    first, share = options.seed * _SEEDS, -(-options.count // options.jobs)
    work = [
        Job(
            options.engine,
            server,
            range(first + start, first + min(start + share, options.count)),
            options.masks == "partial",
            options.doctored,
        )
        for start in range(0, options.count, share)
    ]
    started = time.perf_counter()
    tally = Tally()
    if options.jobs == 1:
        tally.add(measure(work[0]))
    else:
        with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
            for part in pool.imap_unordered(measure, work):
                tally.add(part)
    report(work[0], tally, time.perf_counter() - started, options.jobs)
    return 1 if tally.verdicts["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
