"""`guardrails.proving` on every engine: the proof holds, a leak of any sort is found and made short, and nothing is left behind."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from guardrails.engines import Engine, open_engine
from guardrails.errors import GuardrailsError, UsageError
from guardrails.flow import MaskSql
from guardrails.masking import mask_expression
from guardrails.model import Catalog, Column, Context, Execution, Mask, MaskExpression, Plan, Principal, Relation, Statement
from guardrails.policy import Policy
from guardrails.proving import Report, prove
from guardrails.proving.copying import open_workshop
from guardrails.proving.prover import Prover
from tests.support.mysql import new_database
from tests.support.provable import FILTER_POLICY, POLICY, SMALL_POLICY, make

ENGINES = ("sqlite", "postgres", "mysql", "duckdb")
ANA = Principal("ana", frozenset({"support"}), {"most": 20})
LEFT_OUT = {
    "sqlite": {"trigger noted"},
    "duckdb": {"macro twice"},
    "mysql": {"trigger noted"},
    "postgres": {
        "function public.shout",
        "function public.touch",
        "trigger touched of public.notes",
        "index public.notes_shouted",
    },
}


@pytest.fixture(scope="session")
def shops(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Makes the shop of an engine once, by URL, for a login that may make the scratch databases of a proof beside it."""
    folder: Path = tmp_path_factory.mktemp("provable")
    made: dict[str, str] = {}
    with ExitStack() as stack:

        def empty(engine: str) -> str:
            match engine:
                case "postgres":
                    url: str = request.getfixturevalue("new_postgres")()
                    return url
                case "mysql":
                    return stack.enter_context(new_database(request.getfixturevalue("mariadb_url")))
            return f"{engine}:///{folder / engine}"

        def shop(engine: str) -> str:
            if engine not in made:
                made[engine] = make(empty(engine))
            return made[engine]

        yield shop


@pytest.fixture(params=ENGINES)
def shop(request: pytest.FixtureRequest, shops: Callable[[str], str]) -> str:
    return shops(request.param)


def dialect_of(url: str) -> str:
    return "postgres" if url.startswith("postgres") else url.partition(":")[0].partition("+")[0]


def doctored(url: str, leak: str) -> MaskSql:
    """The library's masks, but for a leak of `credit` in SQL over `{0}`."""
    dialect = open_engine(url).dialect
    column = "`__column__`" if dialect == "mysql" else '"__column__"'

    def mask_sql(mask: Mask, of: Column) -> MaskExpression:
        if of.name == "credit":
            return MaskExpression(leak.format(column))
        return mask_expression(mask, of, dialect, b"k" * 32)

    return mask_sql


def test_what_is_hidden_stays_hidden(shop: str) -> None:
    ticks: list[tuple[int, int]] = []
    statements: list[tuple[str, dict[str, object]]] = [("SELECT max(ssn) FROM customers", {}), ("DELETE FROM customers", {})]
    report = prove(
        Policy.from_text(POLICY), shop, ANA, count=6, rows=12, seed=3, statements=statements,  # type: ignore[arg-type]
        progress=lambda *tick: ticks.append(tick),
    )  # fmt: skip
    assert report.is_proven, report.as_text()
    assert report.dialect == dialect_of(shop)
    assert set(report.varied) >= {"customers.email", "customers.ssn", "orders.note"}
    assert set(report.kept_equal) == {"customers.name"}
    assert report.hidden["orders"] > 0
    assert {name for name, _ in report.left_out} == LEFT_OUT[report.dialect]
    assert {"regions", "customers", "orders", "order_lines", "notes"} <= set(report.rows)
    assert min(report.rows.values()) >= 6
    assert (report.tried["recorded"], report.tried["query"]) == (2, 6)
    assert sum(report.refused.values()) < report.compared / 10
    assert report.compared_hidden > 10
    # Without masks most of the questions tell the twins apart.
    assert report.control[1] > report.control[0] / 2 > 5
    assert [done for done, _ in ticks] == list(range(sum(report.tried.values())))


def test_a_leaking_mask_is_found_and_the_statement_made_short(shop: str) -> None:
    def expect(prover: Prover) -> None:
        report = prover.report(20, [], lambda *_: None)
        assert report.difference_count > 5
        shortest = report.differences[0]
        assert "credit" in shortest.sql
        assert len(shortest.sql) < 60
        assert shortest.first != shortest.second
        assert shortest.sql in report.as_text()
        generated = [d for d in prover.tally.differences if d.seed is not None]
        assert generated, report.as_text()
        assert min(len(d.sql) for d in generated) < 90, generated

    with_prover(shop, SMALL_POLICY, expect, doctored(shop, "{0}"))


@pytest.mark.parametrize("leak", ["CASE WHEN {0} IS NULL THEN 1 ELSE 0 END", "CASE WHEN {0} > 50 THEN 2 END"])
def test_a_mask_that_leaks_a_little_is_found(shops: Callable[[str], str], leak: str) -> None:
    shop = shops("sqlite")
    report = prove(Policy.from_text(SMALL_POLICY), shop, ANA, count=1, rows=12, unsafe_mask_sql=doctored(shop, leak))
    assert report.difference_count > 1
    assert "credit" in report.differences[0].sql


def test_hidden_rows_that_show_are_found(shop: str) -> None:
    def expect(prover: Prover) -> None:
        prover.twins = [replace(twin, policy=replace(twin.policy, rows=())) for twin in prover.twins]
        report = prover.report(
            0, [("SELECT sum(amount) FROM orders", {}), ("SELECT 1 FROM orders WHERE id < 0", {})], lambda *_: None
        )
        assert [(d.sql, d.hides) for d in report.differences] == [("SELECT sum(amount) FROM orders", "rows")]

    with_prover(shop, FILTER_POLICY, expect)


def test_the_copy_is_the_schema_without_its_rows_and_order_counts(shop: str) -> None:
    def expect(prover: Prover) -> None:
        engine = open_engine(shop)
        original, copy = _known(engine.catalog()), _known(prover.twins[0].catalog)
        engine.dispose()
        assert copy == original
        twin = prover.twins[0]
        for text in (
            "SELECT count(*) FROM regions WHERE title LIKE '%SECRET%'",
            "SELECT count(*) FROM customers WHERE id = 9999",
        ):
            plan = twin.judge(Statement(text, {}, twin.engine.dialect), prover.mask_sql).plan
            assert plan is not None
            assert twin.run(plan).lines == ("(0,)",)
        _expect_order_to_count(prover)

    with_prover(shop, SMALL_POLICY, expect)


def _expect_order_to_count(prover: Prover) -> None:
    """An order that depends on what is hidden is a difference."""
    prover.twins[1] = replace(prover.twins[1], engine=Reversed(prover.twins[1].engine))
    report = prover.report(0, [("SELECT id FROM customers", {}), ("SELECT count(*) FROM customers", {})], lambda *_: None)
    assert [d.sql for d in report.differences] == ["SELECT id FROM customers"]


def _known(catalog: Catalog) -> dict[str, Relation]:
    """Relations as a copy has to have them: MariaDB's name their database, the shouting index needs a function."""
    is_mysql = catalog.dialect == "mysql"
    own = (r for r in catalog.relations.values() if not is_mysql or r.schema == catalog.default_schema)
    without = {"effects": (), "indexed_columns": frozenset(), "indexes": ()}
    return {r.name: replace(r, schema="", definition=None if is_mysql else r.definition, **without) for r in own}  # type: ignore[arg-type]


def test_changes_are_tried_where_they_are_allowed(shop: str) -> None:
    policy = SMALL_POLICY.replace("actions: [select]", "actions: [select, insert, update, delete]")
    report = prove(Policy.from_text(policy), shop, ANA, count=15, rows=12, seed=5)
    assert report.tried["change"] == 3
    assert report.tried["query"] == 15


def test_no_scratch_database_is_left(shop: str) -> None:
    workshop = open_workshop(shop)
    url = workshop.create().url
    open_engine(url).dispose() if "duckdb" not in url else None
    workshop.close()
    with pytest.raises(UsageError) as refused:
        open_engine(url)
    assert refused.value.code == "usage.database_unreachable"


def test_nothing_is_left_after_an_error(postgres_db: str, postgres_server: str) -> None:
    make(postgres_db)
    with pytest.raises(UsageError) as refused:
        prove(Policy.from_text(SMALL_POLICY), postgres_db, ANA, count=0, statements=[("DROP TABLE customers", {})])
    assert refused.value.code == "usage.nothing_proven"
    with closing(psycopg.connect(postgres_db)) as connection:
        rows = connection.execute(
            "SELECT d.datname FROM pg_database d WHERE d.datname LIKE 'guardrails_prove_%'"
            " AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.datname = d.datname)"
        ).fetchall()
    assert rows == []


def test_a_login_that_may_not_create_databases_is_told_the_way_out(postgres_db: str, postgres_server: str) -> None:
    make(postgres_db)
    name = f"guardrails_reader_{uuid.uuid4().hex[:8]}"
    role = sql.Identifier(name)
    with closing(psycopg.connect(postgres_db, autocommit=True)) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOCREATEDB").format(role))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA hr TO {}").format(role))
        try:
            url = make_url(postgres_db).set(username=name, password=None).render_as_string(hide_password=False)
            with pytest.raises(UsageError) as refused:
                prove(Policy.from_text(SMALL_POLICY), url, ANA, count=1)
            assert refused.value.code == "usage.scratch_refused"
            assert "--scratch" in refused.value.hint
            elsewhere = prove(Policy.from_text(SMALL_POLICY), url, ANA, count=1, rows=5, scratch=postgres_server)
            assert elsewhere.is_proven
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_policy_that_hides_nothing_proves_nothing(shop: str) -> None:
    for policy in (SMALL_POLICY.partition("columns:")[0], SMALL_POLICY.replace("[customers, regions]", "[notes]")):
        with pytest.raises(GuardrailsError) as refused:
            prove(Policy.from_text(policy), shop, ANA, count=0 if "notes" in policy else 1)
        assert refused.value.code == "usage.nothing_proven"


class Reversed:
    """An engine that returns rows the other way round."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect = engine.dialect
        self.name = engine.name

    def catalog(self) -> Catalog:
        return self._engine.catalog()

    def execute(self, plan: Plan) -> Execution:
        found = self._engine.execute(plan)
        return replace(found, rows=found.rows[::-1])

    def dispose(self) -> None:
        self._engine.dispose()


def with_prover(url: str, policy: str, expect: Callable[[Prover], None], mask_sql: MaskSql | None = None) -> None:
    """Makes twins for a test, and throws them away."""
    workshop = open_workshop(url)
    try:
        expect(Prover(workshop, Policy.from_text(policy), ANA, Context(), 1, 12, mask_sql))
    finally:
        workshop.close()


def test_a_table_stored_by_a_masked_key_shows_no_order(tmp_path: Path) -> None:
    """Found by a proof: SQLite scans a table WITHOUT ROWID in the order of its key."""
    with closing(sqlite3.connect(tmp_path / "stored.db")) as connection:
        connection.execute("CREATE TABLE patients (ssn TEXT PRIMARY KEY, name TEXT, ward INTEGER) WITHOUT ROWID")
    policy = """\
version: 1
rules:
  - {id: r, effect: allow, actions: [select], relations: [patients]}
columns:
  patients.ssn: {mask: full}
"""
    url = f"sqlite:///{tmp_path / 'stored.db'}"
    with pytest.raises(UsageError) as refused:
        prove(Policy.from_text(policy), url, ANA, count=0, statements=[("SELECT name FROM patients", {})])
    assert "mask.unsupported" in str(refused.value)
    assert prove(Policy.from_text(policy), url, ANA, count=40, seed=3).is_proven


def test_the_report_as_json(shops: Callable[[str], str]) -> None:
    report = prove(Policy.from_text(SMALL_POLICY), shops("sqlite"), ANA, count=2, rows=8)
    fields = report.as_json()
    assert fields["proven"] is True
    assert fields["tried"] == dict(report.tried)
    assert isinstance(report, Report)
