"""Ordinary analytical SQL passes: TPC-H, TPC-DS and a corpus of our own, on every engine, with the engine's own answers.

Refusals that are known are listed; one that is mended has to leave the list. `benchmarks/utility.py` prints the figures.
"""

from __future__ import annotations

import pytest

from tests.conftest import missing
from tests.support import analytics
from tests.support.tpc import SUITES
from tests.support.utility import examine, same
from tests.support.utility_databases import ENGINES, named_queries, open_database
from tools.fetch_tpc import fetch

_ROWS = 40
_REFUSED = {
    ("duckdb", analytics.CORPUS): {"duckdb: is it one of a list": "sql.parsers_disagree"},
    ("sqlite", analytics.CORPUS): {"sqlite: median": "sql.syntax"},
}


@pytest.mark.parametrize("corpus", [*SUITES, analytics.CORPUS])
@pytest.mark.parametrize("engine", ENGINES)
def test_ordinary_questions_pass_unchanged(engine: str, corpus: str, request: pytest.FixtureRequest) -> None:
    if corpus in SUITES:
        try:
            fetch()
        except RuntimeError as error:
            missing(str(error))
    server = str(request.getfixturevalue("postgres_server")) if engine == "postgres" else ""
    if engine == "mysql":
        request.getfixturevalue("mariadb_url")
    named = named_queries(engine, corpus)
    with open_database(engine, corpus, _ROWS, server) as database:
        outcomes = [o for o in examine(database, named) if o.code != "late"]
    refused = {o.name: o.code for o in outcomes if o.code != "ok"}
    assert refused == _REFUSED.get((engine, corpus), {}), [f"{o.name}: {o.detail}" for o in outcomes if o.code != "ok"]
    assert len(outcomes) - len(refused) >= 0.99 * len(outcomes)
    # SQLite has neither intervals nor grouping sets, which the suites of TPC use.
    assert len(outcomes) >= {"sqlite": 0.4}.get(engine, 0.8) * len(named)


def test_the_corpus_is_large_and_its_questions_are_told_apart() -> None:
    texts = {text for engine in ENGINES for _, text in analytics.queries(engine)}
    assert len(texts) >= 300
    for engine in ENGINES:
        names = [name for name, _ in analytics.queries(engine)]
        assert len(names) == len(set(names))


def test_a_different_answer_is_seen() -> None:
    asked = (("a", "b"), ((1, 2.0), (3, 4.0)))
    assert same(asked, (("a", "b"), ((3, 4.0), (1, 2.0))), is_ordered=False)
    assert not same(asked, (("a", "b"), ((3, 4.0), (1, 2.0))), is_ordered=True)
    for other in (
        (("a", "c"), asked[1]),
        (asked[0], ((1, 2.0),)),
        (asked[0], ((1, 2.0), (3, 5.0))),
        ("error", "engine.failed"),
    ):
        assert not same(asked, other, is_ordered=False)
