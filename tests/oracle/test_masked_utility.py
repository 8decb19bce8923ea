"""Ordinary SELECTs still run when columns are masked: at least 99 in 100 of those that run without the guard.

What fails is known by name where the statements are ours. `benchmarks/masked_utility.py` prints the figures, over TPC's queries too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from guardrails.model import ColumnRef
from tests.support import analytics
from tests.support.corpus import queries
from tests.support.masked_databases import GENERATED, generated_query, open_generated
from tests.support.masked_utility import STYLES, Style, examine_masked, masking_policy
from tests.support.twins import Database, engine_of, fill_sqlite
from tests.support.utility_databases import ENGINES, named_queries, open_database

_COUNT = 120
_FAILING = {
    "duckdb": {
        # The number that it looks for in a text is not there in what stands for the text.
        "duckdb: number in the subject": "engine.failed",
        # Refused without masks as well.
        "duckdb: is it one of a list": "sql.parsers_disagree",
    },
    "sqlite": {"sqlite: median": "sql.syntax"},
    # What EXPLAIN says there tells the size of a table, and with it how long its values are.
    "postgres": {"postgres: the whole plan": "mask.unsupported"},
    "mysql": {"mysql: the plan": "mask.unsupported"},
}
"""Questions of the analytical corpus, with what becomes of them under every style of masks."""


def _server(engine: str, request: pytest.FixtureRequest) -> str:
    if engine == "mysql":
        return str(request.getfixturevalue("mariadb_url"))
    return str(request.getfixturevalue("postgres_server")) if engine == "postgres" else ""


@pytest.mark.parametrize("schema", GENERATED)
@pytest.mark.parametrize("engine", ENGINES)
def test_generated_statements_run_masked(engine: str, schema: str, request: pytest.FixtureRequest) -> None:
    failed, counted = [], 0
    with open_generated(engine, schema, _server(engine, request)) as opened:
        for place, style in enumerate(STYLES):
            policy = masking_policy(opened.database.catalog(), schema, style)
            seeds = range(place, _COUNT, len(STYLES))
            named = [(f"seed {seed}", [opened.written(generated_query(engine, schema, seed))]) for seed in seeds]
            for outcome in examine_masked(opened.database, named, policy):
                counted += outcome.code != "late"
                failed += [outcome] if outcome.code not in ("ok", "late") and "Also without masks" not in outcome.detail else []
    assert counted > _COUNT / 2
    assert len(failed) <= 0.01 * counted + 1, [(o.name, o.code, o.detail, o.sql) for o in failed]
    assert not [o for o in failed if o.code != "engine.failed"], [(o.name, o.code, o.detail, o.sql) for o in failed]


@pytest.mark.parametrize("engine", ENGINES)
def test_questions_of_analysts_run_masked(engine: str, request: pytest.FixtureRequest) -> None:
    server = _server(engine, request)
    named = named_queries(engine, analytics.CORPUS)
    with open_database(engine, analytics.CORPUS, 0, server) as database:
        for style in STYLES:
            policy = masking_policy(database.catalog(), analytics.CORPUS, style)
            outcomes = [o for o in examine_masked(database, named, policy) if o.code != "late"]
            failing = {o.name: o.code for o in outcomes if o.code != "ok"}
            assert failing == _FAILING.get(engine, {}), [(o.name, o.detail) for o in outcomes if o.code != "ok"]
            assert len(failing) <= 0.02 * len(outcomes)


@pytest.mark.parametrize("style", STYLES)
def test_the_corpus_runs_masked_with_its_labels(twins: tuple[Database, Database], style: Style) -> None:
    policy = masking_policy(twins[0].catalog(), "corpus", style)
    named = [(sql, [sql]) for sql in queries(twins[0].dialect)]
    outcomes = list(examine_masked(twins[0], named, policy))
    assert len(outcomes) == len(named)
    assert [(o.name, o.code, o.detail) for o in outcomes if o.code != "ok"] == []


def test_a_statement_that_fails_masked_is_seen(tmp_path: Path) -> None:
    url = fill_sqlite(tmp_path / "seen.db", 1)
    database = Database(engine_of(url), url)
    try:
        policy = masking_policy(database.catalog(), "corpus", "constant")
        masked = {bound.mask.column for bound in policy.masks_of("customers")}
        assert masked == {ColumnRef("customers", c) for c in ("email", "ssn", "credit")}
        failing = "SELECT CASE WHEN ssn = '***' THEN json('{') ELSE '' END FROM customers"
        assert [o.code for o in examine_masked(database, [("three", [failing])], policy)] == ["engine.failed"]
    finally:
        database.engine.dispose()
