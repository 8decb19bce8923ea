"""How much ordinary analytical SQL passes the guard unchanged: TPC-H, TPC-DS and the repository's own analytical queries.

    python -m benchmarks.utility                       # every engine, every corpus
    python -m benchmarks.utility --engine duckdb --corpus tpc-ds --rows 1000

A query counts where the engine accepts it (as written, else as sqlglot spells it for the engine). It passes when the guard allows it and
gives the engine's own answer. The last figure is the guard's time over the engine's, the median of the queries: judging included.
TPC's queries and rows are fetched by `tools.fetch_tpc`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.analytics import CORPUS
from tests.support.tpc import SUITES
from tests.support.utility import Outcome, examine
from tests.support.utility_databases import ENGINES, named_queries, open_database

_SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"


def report(engine: str, corpus: str, total: int, outcomes: Sequence[Outcome]) -> bool:
    codes = Counter(o.code for o in outcomes)
    counted = [o for o in outcomes if o.code != "late"]
    passed = [o for o in counted if o.code == "ok"]
    share = len(passed) / max(len(counted), 1)
    ratios = [o.guarded_s / max(o.asked_s, 1e-6) for o in passed]
    print(
        f"{engine:9} {corpus:10} {total:4} queries, accepted {len(counted):4}, allowed and identical {len(passed):4} = {share:.1%},"
        f" time {statistics.median(ratios) if ratios else 0:.2f} of the engine's"
    )
    for outcome in counted:
        if outcome.code != "ok":
            print(f"    {outcome.name}: {outcome.code} {outcome.detail}")
    return share >= 0.99 and not codes["different"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--corpus", choices=[*SUITES, CORPUS], action="append")
    parser.add_argument("--rows", type=int, default=300, help="rows of each of TPC's tables")
    parser.add_argument("--server", default=os.environ.get("GUARDRAILS_TEST_POSTGRES_URL", _SERVER))
    options = parser.parse_args(arguments)
    is_good = True
    for engine in options.engine or ENGINES:
        for corpus in options.corpus or [*SUITES, CORPUS]:
            with ExitStack() as stack:
                database = stack.enter_context(open_database(engine, corpus, options.rows, options.server))
                named = named_queries(engine, corpus)
                is_good &= report(engine, corpus, len(named), list(examine(database, named)))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
