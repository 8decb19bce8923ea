"""How much ordinary SQL still runs when columns are masked: corpora and generated SELECTs, on every engine.

    python -m benchmarks.masked_utility                                     # every engine, every corpus
    python -m benchmarks.masked_utility --engine duckdb --corpus grammar --count 2000 --seed 1

A SELECT counts where the engine runs it without the guard. It passes when it runs masked and its result has the same columns. Each is
held against one of three policies in turn: constant masks; masks that keep a part (partial, email, date, bucket, round); keyed masks
(pseudonym, also on keys that tables are joined on, noise, shift). What does not pass is listed by code with the shortest example.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.corpus import queries
from tests.support.masked_databases import GENERATED, generated_query, open_generated
from tests.support.masked_utility import PROTECTED_BY, STYLES, examine_masked, masking_policy
from tests.support.tpc import SUITES
from tests.support.twins import Database
from tests.support.utility import Outcome
from tests.support.utility_databases import ENGINES, named_queries, open_database

_SERVERS = {
    "postgres": os.environ.get("GUARDRAILS_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": os.environ.get("GUARDRAILS_TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306/"),
}
Named = Sequence[tuple[str, Sequence[str]]]


def outcomes_of(engine: str, corpus: str, rows: int, seeds: range) -> Iterator[Outcome]:
    """Yields what came of every statement of a corpus, of generated ones for the seeds."""
    server = _SERVERS.get(engine, "")
    if corpus in GENERATED:
        with open_generated(engine, corpus, server) as opened:
            # Each generated statement meets one style, those of the corpus all of them.
            for place, style in enumerate(STYLES):
                written = [
                    (f"seed {seed}", [opened.written(generated_query(engine, corpus, seed))])
                    for seed in seeds[place :: len(STYLES)]
                ]
                by_hand = [(sql, [sql]) for sql in queries(engine)] if corpus == "corpus" else []
                yield from _examined(opened.database, corpus, style, [*by_hand, *written])
        return
    with open_database(engine, corpus, rows, server) as database:
        for style in STYLES:
            yield from _examined(database, corpus, style, named_queries(engine, corpus))


def _examined(database: Database, corpus: str, style: str, named: Named) -> Iterator[Outcome]:
    policy = masking_policy(database.catalog(), corpus, next(s for s in STYLES if s == style))
    for outcome in examine_masked(database, named, policy):
        yield Outcome(f"{style}, {outcome.name}", outcome.sql, outcome.code, outcome.detail)


def report(engine: str, corpus: str, outcomes: Sequence[Outcome]) -> float:
    counted = [o for o in outcomes if o.code != "late"]
    passed = sum(o.code == "ok" for o in counted)
    share = passed / max(len(counted), 1)
    print(f"{engine:9} {corpus:10} accepted {len(counted):6,}, run masked {passed:6,} = {share:.2%}", flush=True)
    reasons = Counter((o.code, o.detail if o.code != "engine.failed" else "") for o in counted if o.code != "ok")
    for (code, detail), count in reasons.most_common(12):
        shortest = min((o for o in counted if o.code == code and detail in o.detail), key=lambda o: len(o.sql))
        print(
            f"    {count:5} {code} {detail[:150]}\n          {shortest.name}: {shortest.sql[:300]}\n          {shortest.detail[:700]}"
        )
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--corpus", choices=sorted(PROTECTED_BY), action="append")
    parser.add_argument("--rows", type=int, default=100, help="rows of each of TPC's tables")
    parser.add_argument("--count", type=int, default=1_500, help="generated statements")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    shares = []
    for engine in options.engine or ENGINES:
        together: list[Outcome] = []
        for corpus in options.corpus or (*GENERATED, *SUITES, "analytics"):
            first = options.seed * 1_000_000
            outcomes = outcomes_of(engine, corpus, options.rows, range(first, first + options.count))
            found = list(outcomes)
            shares.append(report(engine, corpus, found))
            together += found
        if len(shares) > 1:
            report(engine, "together", together)
    return 0 if min(shares) >= 0.99 else 1


if __name__ == "__main__":
    sys.exit(main())
