"""Whether what runs answers what was asked: generated SELECTs, original against regenerated, on the same database.

    python -m benchmarks.fidelity --engine postgres --count 50000 --seed 1 --jobs 2
    python -m benchmarks.fidelity --engine sqlite --count 50000 --seed 1 --jobs 2
    python -m benchmarks.fidelity --engine duckdb --count 20000 --seed 1 --jobs 2
    python -m benchmarks.fidelity --engine mysql --count 10000 --seed 1

Columns' names and types, rows (in order where the statement orders them totally, else as multisets) and errors must be equal.
Half of the statements come from `tests.support.grammar`, half from `tests.support.generator`. Refused for fidelity means a code of
`sql.roundtrip`, `sql.parsers_disagree`, `sql.construct_unsupported` or `sql.syntax` for a statement that the engine accepts.
PostgreSQL: `--server` or GUARDRAILS_TEST_POSTGRES_URL names a maintenance database; databases of its own are made and dropped.
MariaDB: `--server` names a server, as root; best one that nobody else uses.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guardrails.errors import GuardrailsError, StatementError
from guardrails.model import DialectName
from guardrails.proving.grammar.shrink import shrink
from tests.support import corpus, generator, twins
from tests.support.grammar import FLAVOURS, Choose, query, seeded
from tests.support.oracles.answers import Answers, PostgresAnswers, SqliteAnswers
from tests.support.oracles.answers_duckdb import DuckdbAnswers
from tests.support.oracles.answers_mysql import MysqlAnswers
from tests.support.oracles.duckdb import fill_duckdb_grammar
from tests.support.oracles.fidelity import Side, difference_of
from tests.support.oracles.mysql_database import GrammarDatabase, fill_mysql_grammar
from tests.support.oracles.postgres import fill as fill_grammar_postgres
from tests.support.oracles.sqlite import fill as fill_grammar_sqlite

_SERVERS = {
    "postgres": os.environ.get("GUARDRAILS_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": "mysql://root@127.0.0.1:3306/",
}
_SEEDS = 10_000_000
_SHRUNK = 5
_FIDELITY = ("sql.roundtrip", "sql.parsers_disagree", "sql.construct_unsupported", "sql.syntax")


def _fill_corpus_sqlite(connection: sqlite3.Connection) -> None:
    for statement in corpus.statements():
        connection.execute(statement)
    for table, row in corpus.rows(1):
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _fill_corpus_duckdb(connection: duckdb.DuckDBPyConnection) -> None:
    for statement in corpus.statements():
        connection.execute(statement)
    for table, row in corpus.rows(1):
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", list(row))


def _fill_corpus_mysql(database: GrammarDatabase) -> None:
    twins.fill_mysql(database.url, 1)


Opener = Callable[[str], Answers]
ENGINES: dict[DialectName, tuple[Opener, Opener]] = {
    "postgres": (
        lambda server: PostgresAnswers(server, fill_grammar_postgres),
        lambda server: PostgresAnswers(server, lambda url: twins.fill_postgres(url, 1)),
    ),
    "mysql": (
        lambda server: MysqlAnswers(server, fill_mysql_grammar),
        lambda server: MysqlAnswers(server, _fill_corpus_mysql),
    ),
    "sqlite": (lambda _server: SqliteAnswers(fill_grammar_sqlite), lambda _server: SqliteAnswers(_fill_corpus_sqlite)),
    "duckdb": (
        lambda _server: DuckdbAnswers(fill_duckdb_grammar),
        lambda _server: DuckdbAnswers(_fill_corpus_duckdb),
    ),
}
"""Databases with the grammar's schema and with the corpus'; another engine is another line."""


@dataclass
class Tally:
    """Counts over one range of seeds; tallies add up."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.counts += other.counts
        self.reasons += other.reasons
        self.differences += other.differences
        for reason, sql in other.examples.items():
            self.examples[reason] = min(sql, self.examples.get(reason, sql), key=len)


def measure(job: tuple[DialectName, str, range]) -> Tally:
    """Runs the statements of one range of seeds on databases of its own."""
    engine, server, seeds = job
    flavour = FLAVOURS[engine]
    makers: list[Callable[[Choose], str]] = [
        lambda choose: query(choose, flavour, is_ordered=True),
        lambda choose: generator.statement(choose, engine),
    ]
    sides = []
    for opened, make in zip((opener(server) for opener in ENGINES[engine]), makers, strict=True):
        sides.append(Side(opened, opened.catalog(), make))
    tally = Tally()
    try:
        for seed in seeds:
            _take(tally, sides[seed % 2], seed)
    finally:
        for side in sides:
            side.answers.close()
    return tally


def _take(tally: Tally, side: Side, seed: int) -> None:
    sql = side.make(seeded(seed))
    tally.counts["generated"] += 1
    if not side.answers.accepts(sql):
        return
    tally.counts["accepted"] += 1
    try:
        text, tree = side.regenerated(sql)
    except GuardrailsError as error:
        reason = f"{error.code}: {error.message}"
        tally.counts["refused for fidelity" if error.code in _FIDELITY else "refused otherwise"] += 1
        tally.reasons[reason] += 1
        tally.examples[reason] = min(sql, tally.examples.get(reason, sql), key=len)
        if not isinstance(error, StatementError):
            raise
        return
    asked, answered = side.answers.pair(sql, text)
    if asked.is_late or answered.is_late:
        tally.counts["late"] += 1
        return
    tally.counts["compared"] += 1
    tally.counts["failed alike"] += bool(asked.error and asked.error == answered.error)
    found = difference_of(asked, answered, tree)
    if found is not None:
        tally.counts["different"] += 1
        if len(tally.differences) < _SHRUNK:
            short = shrink(
                side.make, seeded(seed), lambda made: side.answers.accepts(made) and side.difference(made) is not None
            )
            tally.differences.append(
                f"seed {seed}: {(side.difference(short) or found)[:600]}\n    {short}\n    {side.regenerated(short)[0]}"
            )


def report(engine: str, tally: Tally, seconds: float, jobs: int) -> None:
    counts = tally.counts
    thousands = max(counts["accepted"], 1) / 1000
    print(f"{engine}: {counts['generated']:,} SELECTs, {counts['generated'] / seconds:,.0f} statements/s in {jobs} processes")
    print(f"accepted by the engine    {counts['accepted']:>9,}")
    print(
        f"refused for fidelity      {counts['refused for fidelity']:>9,}  {counts['refused for fidelity'] / thousands:.2f} in 1,000"
    )
    print(
        f"refused otherwise         {counts['refused otherwise']:>9,}  {counts['refused otherwise'] / thousands:.2f} in 1,000"
    )
    print(
        f"compared                  {counts['compared']:>9,}  {counts['failed alike']:,} failed alike, {counts['late']:,} took too long"
    )
    print(f"different answers         {counts['different']:>9,}")
    for text in tally.differences[:_SHRUNK]:
        print(f"  {text}")
    for reason, count in tally.reasons.most_common(15):
        print(f"  {count:>6,} {reason}\n         {tally.examples[reason][:400]}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=sorted(ENGINES), required=True)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--server")
    options = parser.parse_args(arguments)
    server = options.server or _SERVERS.get(options.engine, "")
    first = options.seed * _SEEDS
    share = -(-options.count // options.jobs)
    ranges = [
        range(first + start, min(first + start + share, first + options.count)) for start in range(0, options.count, share)
    ]
    started = time.perf_counter()
    work = [(options.engine, server, seeds) for seeds in ranges]
    tally = Tally()
    if options.jobs == 1:
        tally.add(measure(work[0]))
    else:
        with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
            for part in pool.imap_unordered(measure, work):
                tally.add(part)
    report(options.engine, tally, time.perf_counter() - started, options.jobs)
    return 1 if tally.counts["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
