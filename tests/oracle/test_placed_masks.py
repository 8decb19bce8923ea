"""Masks as generated columns of a real PostgreSQL: the same values, found by an index, and a column that nobody but the guard knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from guardrails import Guard, Principal
from guardrails.catalog import from_ddl
from guardrails.engines import open_engine
from guardrails.errors import PolicyError
from guardrails.install import trusted
from guardrails.masking.keys import KEY_VARIABLE
from guardrails.model import ColumnRef, Mask, Obligations, RowFilter
from guardrails.policy import Policy
from guardrails.sql.barriers import BARRIER_SCHEMA
from tests.support.installed import RULES, explained, installed_database, installer_of, policy_of, states
from tests.support.live import run_postgres
from tests.support.twins import KEY, LIMITS, Database

DDL = """
CREATE TABLE people (id int PRIMARY KEY, "E-mail" text, phone varchar(40), born date, seen timestamptz, "at" timestamp,
  salary int, rate numeric(12,2), score double precision, code uuid, number bigint, secret text, region text);
INSERT INTO people SELECT i, CASE i % 50 WHEN 0 THEN NULL WHEN 1 THEN 'we\\ird'' \\x41 é𝕏' WHEN 2 THEN ''
  ELSE 'user' || i || '@example.com' END,
  '+49 30 ' || 100000 + i, date '1960-01-01' + i, timestamptz '2026-01-01 00:30+00' + i * interval '7 hours',
  timestamp '2026-01-01 00:30' + i * interval '7 hours', i * 37, i * 1.37, i * 0.731, md5(i::text)::uuid, i * 7919, 's' || i,
  CASE i % 2 WHEN 0 THEN 'EU' ELSE 'US' END FROM generate_series(1, 20000) AS i;
ANALYZE people
"""
MASKS: dict[str, dict[str, str | int]] = {
    "E-mail": {"mask": "pseudonym"},
    "phone": {"mask": "partial", "last": 3},
    "born": {"mask": "date", "to": "year"},
    "seen": {"mask": "date", "to": "month"},
    "at": {"mask": "date", "to": "week"},
    "salary": {"mask": "bucket", "size": 1000},
    "rate": {"mask": "round", "digits": -2},
    "score": {"mask": "bucket", "size": 50},
    "code": {"mask": "pseudonym"},
    "number": {"mask": "pseudonym"},
    "secret": {"mask": "hash"},
}
COLUMNS = {f"people.{name}": {**mask, "place": "column"} for name, mask in MASKS.items()}
FILTER = (RowFilter("people", "region = principal.region", (("region", "EU"),)),)
OBLIGATIONS = Obligations(
    tuple(
        Mask(ColumnRef("people", name), str(mask["mask"]), tuple(sorted((k, v) for k, v in mask.items() if k != "mask")))
        for name, mask in MASKS.items()
    ),
    limits=LIMITS,
)


def _fill(url: str) -> str:
    run_postgres(url, *(s for s in DDL.split(";\n") if s.strip()))
    return url


@pytest.fixture(scope="module")
def placed(new_postgres: Callable[[], str]) -> Iterator[Database]:
    rows = {"people": "region = principal.region"}
    database = installed_database(_fill(new_postgres()), policy_of(columns=COLUMNS, rows=rows))
    yield database
    database.engine.dispose()


@pytest.mark.parametrize("row_filters", [(), FILTER])
def test_the_same_values_as_in_each_statement(placed: Database, row_filters: tuple[RowFilter, ...]) -> None:
    obligations = Obligations(OBLIGATIONS.masks, row_filters, LIMITS)
    plan = placed.plan("SELECT * FROM people ORDER BY id", obligations)
    assert plan.sql.count('"gr_masked_') == len(MASKS)
    assert not plan.params
    assert (BARRIER_SCHEMA in plan.sql) == bool(row_filters)
    found = placed.run(plan)
    assert found == Database(placed.engine, placed.url).guarded("SELECT * FROM people ORDER BY id", obligations)
    assert len(found[1]) == (10_000 if row_filters else 20_000)  # type: ignore[arg-type]


@pytest.mark.parametrize("row_filters", [(), FILTER])
def test_an_index_finds_what_a_mask_shows(placed: Database, row_filters: tuple[RowFilter, ...]) -> None:
    obligations = Obligations(OBLIGATIONS.masks, row_filters, LIMITS)
    ((token,),) = placed.guarded('SELECT "E-mail" FROM people WHERE id = 124', obligations)[1]  # type: ignore[misc]
    assert str(token).startswith("tok_")
    sql = f"SELECT id FROM people WHERE \"E-mail\" = '{token}'"
    assert "Index Cond" in explained(placed.url, placed.plan(sql, obligations))
    assert "Seq Scan" in explained(placed.url, Database(placed.engine, placed.url).plan(sql, obligations))
    assert placed.guarded(sql, obligations)[1] == ((124,),)
    born = placed.plan("SELECT count(*) FROM people WHERE born = '1970-01-01'", obligations)
    assert "Index Cond" in explained(placed.url, born)


def test_nobody_else_knows_the_columns(placed: Database) -> None:
    for sql in (
        'SELECT "gr_masked_E-mail" FROM people',
        "SELECT p.gr_masked_born FROM people p",
        "ALTER TABLE people DROP COLUMN gr_masked_born",
        "UPDATE people SET gr_masked_born = NULL WHERE id = 1",
        "CREATE INDEX i ON people (gr_masked_born)",
    ):
        assert placed.guarded(sql)[:2] == ("refused", "sql.column_unknown"), sql
    for sql in ("SELECT * FROM people LIMIT 1", "SELECT p FROM people p LIMIT 1", "SELECT to_jsonb(p) FROM people p LIMIT 1"):
        for obligations in (Obligations(limits=LIMITS), OBLIGATIONS):
            columns, rows = placed.guarded(sql, obligations)
            assert "gr_masked" not in f"{columns}{rows}"
    # Nor does somebody who sees everything, in a whole row.
    whole = placed.guarded("SELECT p::text AS p FROM people p WHERE id = 7")
    names = 'id, "E-mail", phone, born, seen, "at", salary, rate, score, code, number, secret, region'
    with psycopg.connect(placed.url) as connection:
        connection.execute("SET datestyle = 'iso, mdy'")
        row = connection.execute(f"SELECT ROW({names})::text FROM people WHERE id = 7".encode()).fetchone()
    assert whole == (("p",), (row,))


def test_a_hidden_row_does_not_show_by_the_statistics_of_a_generated_column(new_postgres: Callable[[], str]) -> None:
    databases = []
    policy = policy_of(columns={"notes.note": {"mask": "partial", "last": 5, "place": "column"}})
    for hidden in ("a hidden", "a other one"):
        url = new_postgres()
        run_postgres(
            url,
            "CREATE TABLE notes (id int PRIMARY KEY, region text, note text)",
            f"INSERT INTO notes SELECT i, CASE i % 2 WHEN 0 THEN 'EU' ELSE 'US' END, CASE i % 2 WHEN 0 THEN 'seen by all' ELSE '{hidden}'"
            " END FROM generate_series(1, 1000) AS i",
        )
        databases.append(installed_database(url, policy))
        run_postgres(url, "ANALYZE notes")
    filters = (RowFilter("notes", "region = principal.region", (("region", "EU"),)),)
    obligations = Obligations((Mask(ColumnRef("notes", "note"), "partial", (("last", 5),)),), filters, LIMITS)
    probe = "SELECT count(*) FROM notes WHERE note LIKE '%hid\\' OR note LIKE '%idd\\'"
    assert "gr_masked_note" in databases[0].plan(probe, obligations).sql
    assert "OFFSET 0" in databases[0].plan(probe, obligations).sql
    one, two = (d.guarded(probe, obligations) for d in databases)
    assert one == two == (("count",), ((0,),))
    for database in databases:
        database.engine.dispose()


TAMPERED = {
    "another expression": "ALTER TABLE people DROP COLUMN gr_masked_born CASCADE;"
    "ALTER TABLE people ADD COLUMN gr_masked_born date GENERATED ALWAYS AS (born) STORED",
    "with the seal of before": "ALTER TABLE people RENAME COLUMN gr_masked_born TO b; ALTER TABLE people RENAME COLUMN gr_masked_seen TO c;"
    "ALTER TABLE people ADD COLUMN gr_masked_born date GENERATED ALWAYS AS (born) STORED;"
    "DO $$ BEGIN EXECUTE format('COMMENT ON COLUMN people.gr_masked_born IS %L',"
    " (SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'people'::regclass AND attname = 'b')); END $$",
    "no expression": "ALTER TABLE people ALTER COLUMN gr_masked_born DROP EXPRESSION",
    "a plain column": "ALTER TABLE people DROP COLUMN gr_masked_born; ALTER TABLE people ADD COLUMN gr_masked_born date",
    "no seal": "COMMENT ON COLUMN people.gr_masked_born IS NULL; ALTER TABLE people ADD COLUMN z int",
    "over another column": "ALTER TABLE people RENAME COLUMN born TO b; ALTER TABLE people ADD COLUMN born date",
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_tampered_with_is_not_used(new_postgres: Callable[[], str], how: str) -> None:
    url = new_postgres()
    run_postgres(
        url, "CREATE TABLE people (id int, born date, seen date)", "INSERT INTO people VALUES (1, '1970-05-05', '2020-02-02')"
    )
    mask = {"mask": "date", "to": "year", "place": "column"}
    policy = policy_of(columns={"people.born": mask, "people.seen": mask})
    database = installed_database(url, policy)
    masks = Obligations((Mask(ColumnRef("people", "born"), "date", (("to", "year"),)),), limits=LIMITS)
    plan = database.plan("SELECT born FROM people", masks)
    assert "gr_masked_born" in plan.sql
    assert str(database.run(plan)) == str((("born",), ((__import__("datetime").date(1970, 1, 1),),)))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TAMPERED[how].encode())
    assert database.run(plan)[0] == "error"
    assert ("born" in {m.column.column for m in trusted(policy.bind(database.engine.catalog()), KEY).columns}) is False
    database.engine.dispose()


def test_keys_stay_out_of_the_catalog_unless_allowed(new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    run_postgres(url, "CREATE TABLE people (id int, email text, born date)")
    engine = open_engine(url)
    policy = policy_of(
        columns={
            "people.email": {"mask": "pseudonym", "place": "column"},
            "people.born": {"mask": "date", "place": "column"},
        }
    )
    found = installer_of(engine, policy).install()
    assert {item.name: item.state for item in found} == {"gr_masked_email": "fenced", "gr_masked_born": "created"}
    assert "--with-keys" in found[0].reason
    assert {item.state for item in installer_of(engine, policy, has_keys=True).install()} == {"created", "verified"}
    # A new key makes other tokens.
    again = installer_of(engine, policy, b"n" * 32, has_keys=True)
    assert [item.state for item in again.look()] == ["changed", "changed"]
    assert [item.state for item in again.install()] == ["replaced", "replaced"]
    assert {item.state for item in again.uninstall()} == {"removed"}
    assert [c.name for c in engine.catalog().relations["people"].columns] == ["id", "email", "born"]
    with psycopg.connect(url) as connection:
        left = connection.execute("SELECT count(*) FROM pg_attribute WHERE attname LIKE 'gr_masked%'").fetchone()
    assert left == (0,)
    engine.dispose()


def test_what_cannot_be_a_generated_column(new_postgres: Callable[[], str]) -> None:
    for mask in ({"mask": "full"}, {"mask": "noise", "spread": 3}, {"mask": "shift", "days": 3}, {"mask": "deny"}):
        with pytest.raises(PolicyError) as refused:
            Policy(rules=RULES, columns={"people.x": {**mask, "place": "column"}})
        assert refused.value.code == "policy.mask_invalid"
    url = new_postgres()
    run_postgres(
        url,
        "CREATE TABLE people (id int, born date) PARTITION BY RANGE (id)",
        "CREATE TABLE part PARTITION OF people DEFAULT",
        "CREATE TABLE other (id int, born date, late date GENERATED ALWAYS AS (born + 1) STORED)",
    )
    engine = open_engine(url)
    mask = {"mask": "date", "place": "column"}
    policy = policy_of(columns={"people.born": mask, "part.born": mask, "other.late": mask})
    found = installer_of(engine, policy).install()
    assert {item.state for item in found} == {"fenced"}
    engine.dispose()


def test_through_the_guard_changes_keep_the_column_right(
    new_postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY.hex())
    url = new_postgres()
    run_postgres(
        url, "CREATE TABLE people (id int PRIMARY KEY, email text)", "INSERT INTO people VALUES (1, 'a@x'), (2, 'b@x')"
    )
    policy = policy_of(
        columns={"people.email": {"mask": "pseudonym", "place": "column", "except": {"groups": ["hr"]}}},
    )
    engine = open_engine(url)
    assert states(installer_of(engine, policy, has_keys=True).install()) == {"people": "created"}
    with Guard.open(policy, database=engine, ledger=f"sqlite:///{tmp_path}/ledger.db") as guard:
        agent, hr = Principal("agent"), Principal("h", groups={"hr"})
        with guard.session(principal=agent):
            before = guard.execute("SELECT email FROM people ORDER BY id").rows
            assert "gr_masked_email" in (guard.check("SELECT email FROM people").sql or "")
        with guard.session(principal=hr):
            guard.execute("UPDATE people SET email = 'a@x' WHERE id = 2")
            guard.execute("INSERT INTO people VALUES (3, 'b@x')")
            assert guard.execute("SELECT * FROM people ORDER BY id").rows == ((1, "a@x"), (2, "a@x"), (3, "b@x"))
        with guard.session(principal=agent):
            ((one,), (two,)) = before
            assert guard.execute("SELECT email FROM people ORDER BY id").rows == ((one,), (one,), (two,))
            assert guard.execute(f"SELECT id FROM people WHERE email = '{two}'").rows == ((3,),)
            names = guard.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'people'").rows
            assert names == (("id",), ("email",))


def test_a_dump_tells_of_nothing_that_the_guard_set_up(new_postgres: Callable[[], str]) -> None:
    columns = {"people.born": {"mask": "date", "place": "column"}}
    url = new_postgres()
    run_postgres(url, "CREATE TABLE people (id int, born date)")
    database = installed_database(url, policy_of(columns=columns, rows={"people": "id > 1"}))
    (view,), (column,) = database.engine.catalog().placed, database.engine.catalog().placed_columns
    # As pg_dump writes it.
    dump = (
        "CREATE SCHEMA guardrails;\nCREATE TABLE public.people (id integer, born date, "
        f"{column.name} date GENERATED ALWAYS AS ({column.definition}) STORED);\n"
        f"CREATE VIEW guardrails.{view.name} WITH (security_barrier='true') AS\n {view.definition}\n"
        f"COMMENT ON VIEW guardrails.{view.name} IS '{view.comment}';\n"
    )
    assert {key: r.column_names for key, r in from_ddl(dump, "postgres").relations.items()} == {"people": ("id", "born")}
    database.engine.dispose()
