"""What `Access` says against what the engine does, over generated statements: the library's soundness, in figures.

    python -m benchmarks.soundness --engine postgres --count 100000 --seed 1 --jobs 2
    python -m benchmarks.soundness --engine sqlite --count 100000 --seed 1 --jobs 2
    python -m benchmarks.soundness --engine duckdb --count 20000 --seed 1 --jobs 2
    python -m benchmarks.soundness --engine mysql --count 20000 --seed 1

Statement number i of a run is made from the seed `seed * 10_000_000 + i`, so every one can be made again. Two lines must show 0:
statements that a policy which allows every read lets through and the engine shows to write, and columns that the engine reads and
`Access` lacks. Every difference is printed with its statement, shrunk.
PostgreSQL: `--server` or GUARDRAILS_TEST_POSTGRES_URL names a maintenance database; a database of its own is made and dropped.
MariaDB: `--server` names a server, as root; best one that nobody else uses, as it is asked for much that nobody writes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.grammar import FLAVOURS, any_statement, seeded, shape
from tests.support.mysql import connect
from tests.support.oracles import Examination, Examiner
from tests.support.oracles.opening import ENGINES, open_oracle
from tests.support.oracles.searching import shrunk

_SERVERS = {
    "postgres": os.environ.get("GUARDRAILS_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": "mysql://root@127.0.0.1:3306/",
}
_SEEDS = 10_000_000
_LOST = (0, 2006, 2013)
"""Codes of a connection that went away (0: it knows already): some statements bring MariaDB down."""
_SHRUNK = 5
"""How many differences of one sort a process shrinks; the rest are counted."""


@dataclass
class Tally:
    """Counts over one range of seeds; tallies add up."""

    counts: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    shapes: set[int] = field(default_factory=set)
    differences: dict[str, list[str]] = field(default_factory=dict)
    fallen: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.counts += other.counts
        self.codes += other.codes
        self.shapes |= other.shapes
        self.fallen += other.fallen
        for question, found in other.differences.items():
            self.differences.setdefault(question, []).extend(found)

    def take(self, found: Examination) -> None:
        self.counts["generated"] += 1
        self.shapes.add(hash(shape(found.sql)))
        if not found.is_accepted:
            return
        self.counts["accepted"] += 1
        self.codes[found.code] += 1
        self.counts["allowed"] += found.is_allowed
        verdict = found.verdict
        if verdict is None or found.access is None:
            return
        self.counts["examined"] += 1
        self.counts["wrote though allowed"] += verdict.wrote and found.is_allowed
        self.counts["columns lacking"] += len(verdict.lacking)
        self.counts["late"] += verdict.is_late
        self.counts["failed"] += verdict.has_failed
        if verdict.unread is not None:
            self.counts["columns listed"] += len(found.access.reads)
            self.counts["columns unread"] += len(verdict.unread)
        for question in {f.question for f in verdict.findings}:
            self.counts[f"difference: {question}"] += 1


def measure(job: tuple[str, str, range]) -> Tally:
    """Examines the statements of one range of seeds with an engine of its own."""
    engine, server, seeds = job
    tally = Tally()
    rest = iter(seeds)
    while _examine(engine, server, rest, tally):
        _wait(server)
    return tally


def _examine(engine: str, server: str, seeds: Iterator[int], tally: Tally) -> bool:
    """Examines statements until there are no more, or until one of them brings the server down: True, and it is counted."""
    flavour = FLAVOURS[engine]
    oracle = open_oracle(engine, server)
    examiner = Examiner(oracle)
    seed, is_up = 0, True
    try:
        for seed in seeds:
            found = examiner.examine(any_statement(seeded(seed), flavour))
            tally.take(found)
            for difference in found.verdict.findings if found.verdict else ():
                shown = tally.differences.setdefault(difference.question, [])
                if len(shown) < _SHRUNK:
                    shown.append(f"seed {seed}: {shrunk(examiner, flavour, seed, difference.question)}")
    except (pymysql.err.OperationalError, pymysql.err.InterfaceError) as error:
        is_up = error.args[0] not in _LOST
        if is_up:
            raise
        tally.fallen.append(f"seed {seed}: {any_statement(seeded(seed), flavour)}")
    finally:
        # What it had made on a server that fell goes when somebody clears that server; it is one for this purpose.
        if is_up:
            oracle.close()
    return not is_up


def _wait(server: str) -> None:
    """Waits for a server that fell until somebody has started it again, two minutes at most."""
    end = time.monotonic() + 120
    while True:
        try:
            connect(server).close()
            return
        except pymysql.err.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def report(engine: str, tally: Tally, seconds: float, jobs: int) -> None:
    counts = tally.counts
    generated, accepted = counts["generated"], counts["accepted"]
    print(
        f"{engine}: {generated:,} statements, {len(tally.shapes):,} shapes, {generated / seconds:,.0f} statements/s in {jobs} processes"
    )
    print(f"accepted by the engine              {accepted:>9,}  {accepted / max(generated, 1):.1%}")
    print(
        f"allowed under a read-only policy    {counts['allowed']:>9,}  {counts['allowed'] / max(accepted, 1):.1%} of the accepted"
    )
    print(
        f"understood, held against the engine {counts['examined']:>9,}  {counts['late']:,} not run to the end, {counts['failed']:,} failed"
    )
    print(f"wrote though allowed                {counts['wrote though allowed']:>9,}")
    print(f"columns read that Access lacks      {counts['columns lacking']:>9,}")
    listed = max(counts["columns listed"], 1)
    print(
        f"columns listed and not read         {counts['columns unread']:>9,}  {counts['columns unread'] / listed:.2%} of {listed:,}"
    )
    refused = {code: n for code, n in tally.codes.most_common() if code != "ok"}
    print(f"refused though accepted: {', '.join(f'{code} {n:,}' for code, n in refused.items())}")
    for text in tally.fallen:
        print(f"the server fell over: {text}")
    for question, found in tally.differences.items():
        print(f"differences about {question}: {counts[f'difference: {question}']:,}")
        for text in sorted(found, key=len)[:_SHRUNK]:
            print(f"    {text}")


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
    ranges = [range(first + job, first + options.count, options.jobs) for job in range(options.jobs)]
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
    is_sound = not tally.counts["wrote though allowed"] and not tally.counts["columns lacking"]
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
