"""A catalog that is no longer true, and objects of the session that carry the names of others: neither is ever taken for the schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from guardrails.flow import Event
from tests.support.live import open_live, run_postgres

ALLOW = "version: 1\nrules:\n  - {id: a, effect: allow, actions: [all], relations: ['*'], where: optional}\n"
MASKED = f"{ALLOW}columns:\n  people.email: {{mask: fixed, value: xx}}\n"
PEOPLE = ("CREATE TABLE people (id int PRIMARY KEY, email text)", "INSERT INTO people VALUES (1, 'ana@x')")
NOTES = ("CREATE TABLE notes (id int PRIMARY KEY, body text)", "INSERT INTO notes VALUES (1, 'one')")

READS = {
    "ALTER TABLE people INHERIT notes": "SELECT body FROM notes",
    "ALTER TABLE notes ATTACH PARTITION people DEFAULT": "SELECT body FROM notes",
    "CREATE OR REPLACE VIEW v AS SELECT id, email AS body FROM people": "SELECT body FROM v",
    "ALTER TABLE notes DROP COLUMN g; ALTER TABLE notes ADD COLUMN g text GENERATED ALWAYS AS (lower(body)) STORED": "SELECT g FROM notes",
    "ALTER TABLE notes ENABLE ROW LEVEL SECURITY": "SELECT body FROM notes",
    "CREATE CAST (mood AS text) WITH FUNCTION spy(mood) AS IMPLICIT": "SELECT m::text FROM moods",
    "CREATE FUNCTION pg_catalog.lower(mood) RETURNS text LANGUAGE sql AS 'SELECT ''x'''": "SELECT lower(m::text) FROM moods",
    "CREATE OPERATOR pg_catalog.= (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same)": "SELECT m = m FROM moods",
}
WRITES = {
    "CREATE TRIGGER g BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION f()": "UPDATE notes SET body = 'x'",
    "CREATE RULE r AS ON UPDATE TO notes DO INSTEAD SELECT email FROM people": "UPDATE notes SET body = 'x'",
    "ALTER TABLE notes ADD CHECK (wild(body))": "UPDATE notes SET body = 'x'",
}


@pytest.mark.parametrize("change", [*READS, *WRITES])
def test_a_change_after_the_judgement_is_noticed(new_postgres: Callable[[], str], tmp_path: Path, change: str) -> None:
    """Another session changes the schema between the decision and the statement's run."""
    url = new_postgres()
    partitioned = "PARTITION" in change
    notes = ("CREATE TABLE notes (id int, body text) PARTITION BY LIST (id)",) if partitioned else NOTES
    people = tuple(s.replace("email", "body") for s in PEOPLE) if partitioned or "INHERIT" in change else PEOPLE
    run_postgres(
        url,
        *people,
        *(s.replace("id int PRIMARY KEY", "id int NOT NULL") if "INHERIT" in change else s for s in notes),
        *(() if partitioned else ("ALTER TABLE notes ADD COLUMN g text GENERATED ALWAYS AS (upper(body)) STORED",)),
        *(("ALTER TABLE people ADD COLUMN g text GENERATED ALWAYS AS (upper(body)) STORED",) if "INHERIT" in change else ()),
        "CREATE VIEW v AS SELECT id, body FROM notes",
        "CREATE TYPE mood AS ENUM ('a')",
        "CREATE TABLE moods (m mood)",
        "CREATE FUNCTION spy(mood) RETURNS text LANGUAGE sql AS 'SELECT ''x'''",
        "CREATE FUNCTION same(mood, mood) RETURNS bool LANGUAGE sql AS 'SELECT true'",
        "CREATE FUNCTION wild(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END'",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1; RETURN NEW; END'",
    )
    pending = [change]

    def interfere(event: Event) -> None:
        if event.stage == "intent" and pending:
            run_postgres(url, pending.pop())

    with open_live(url, ALLOW, tmp_path, observer=interfere) as live:
        assert live.code({**READS, **WRITES}[change]) == "engine.schema_changed"
        assert not pending


def test_relations_of_the_session_stand_before_none(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    url = new_postgres()
    run_postgres(url, *PEOPLE, *NOTES)
    pool = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=StaticPool)
    with pool.connect() as connection:
        for statement in (
            "CREATE TEMP TABLE people (id int, email text)",
            "INSERT INTO pg_temp.people VALUES (7, 'temp@x')",
            "CREATE TEMP VIEW notes AS SELECT id, email AS body FROM public.people",
            "CREATE TEMP TABLE child () INHERITS (public.people)",
            "INSERT INTO child VALUES (8, 'child@x')",
            "CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.people LIMIT 1'",
            "CREATE DOMAIN pg_temp.date AS text CHECK (false)",
            "SET search_path = pg_temp, public, pg_catalog",
        ):
            connection.exec_driver_sql(statement)
        connection.commit()
    with open_live(pool, MASKED.replace("people.email", "public.people.email"), tmp_path) as live:
        assert live.rows("SELECT id, email FROM public.people") == [(1, "xx"), (8, "xx")]
        assert live.rows("SELECT body FROM public.notes") == [("one",)]
        assert live.rows("SELECT lower(body), CAST('2026-01-02' AS date) = '2026-01-02' FROM public.notes") == [("one", True)]
        for name in ("pg_temp.people", "child", "pg_temp.child"):
            assert live.code(f"SELECT id FROM {name}") == "sql.relation_unknown"
        assert live.guard.execute("UPDATE public.notes SET body = 'two'").rows_changed == 1
    pool.dispose()


def test_relations_and_triggers_of_a_sqlite_session_stand_before_none(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(";".join((*PEOPLE, *NOTES)))
    pool = sa.create_engine(f"sqlite:///{path}", poolclass=StaticPool)

    @sa.event.listens_for(pool, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.executescript(
            "CREATE TEMP TABLE people (id int, email text); INSERT INTO temp.people VALUES (7, 'temp@x');"
            "CREATE TEMP VIEW notes AS SELECT id, email AS body FROM main.people;"
            "CREATE TEMP TRIGGER g AFTER UPDATE ON main.notes BEGIN UPDATE people SET email = 'y'; END"
        )

    with open_live(pool, MASKED, tmp_path) as live:
        assert live.rows("SELECT id, email FROM people") == [(1, "xx")]
        assert live.rows("SELECT body FROM notes") == [("one",)]
        assert live.code("UPDATE notes SET body = 'two'") == "engine.refused"
    pool.dispose()


VIEWS = (
    *PEOPLE,
    "CREATE MATERIALIZED VIEW mails AS SELECT id, email AS mail, length(email) AS n FROM people",
    "CREATE VIEW over AS SELECT mail FROM mails",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM people WHERE email LIKE 'a%'",
    "CREATE MATERIALIZED VIEW free AS SELECT 1 AS one",
)


def test_a_materialised_view_keeps_the_protection_of_what_it_copied(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    url = new_postgres()
    run_postgres(url, *VIEWS)
    copies = (
        "SELECT mail FROM mails",
        "SELECT n FROM mails",
        "SELECT mail FROM over",
        "SELECT n FROM counted",
        "SELECT * FROM mails",
    )
    with open_live(url, MASKED, tmp_path) as live:
        assert [live.code(c) for c in copies] == ["mask.unsupported"] * len(copies)
        assert live.rows("SELECT one FROM free") == [(1,)]
    with open_live(url, f"{ALLOW}columns:\n  people.email: {{mask: deny}}\n", tmp_path) as live:
        assert [live.code(c) for c in copies] == ["policy.column_denied"] * len(copies)
    with open_live(url, f"{ALLOW}rows:\n  people: id = 0\n", tmp_path) as live:
        assert [live.code(c) for c in copies] == ["mask.unsupported"] * len(copies)
    rule = "  - {id: d, effect: deny, actions: [select], relations: [people], columns: [people.email]}\n"
    with open_live(url, ALLOW + rule, tmp_path) as live:
        assert [live.code(c) for c in copies] == ["policy.denied"] * len(copies)
    exempt = MASKED.replace("value: xx", "value: xx, except: {groups: [leads]}")
    with open_live(url, exempt, tmp_path, "leads") as live:
        assert live.rows("SELECT mail FROM mails") == [("ana@x",)]


def test_a_view_that_became_another_is_read_as_it_is_now(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    url = new_postgres()
    run_postgres(url, *PEOPLE, *NOTES, "CREATE VIEW v AS SELECT id, body FROM notes")
    with open_live(url, MASKED, tmp_path) as live:
        assert live.rows("SELECT body FROM v") == [("one",)]
        run_postgres(url, "CREATE OR REPLACE VIEW v AS SELECT id, email AS body FROM people")
        assert live.rows("SELECT body FROM v") == [("xx",)]
        run_postgres(url, "ALTER TABLE people RENAME COLUMN email TO mail")
        with pytest.raises(Exception, match="email"):
            live.guard.execute("SELECT body FROM v")


def test_partitions_that_are_foreign_tables_are_read_through_their_parent_only_under_its_protection(
    new_postgres: Callable[[], str], tmp_path: Path
) -> None:
    url = new_postgres()
    run_postgres(
        url,
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE TABLE people (id int, email text) PARTITION BY LIST (id)",
        "CREATE FOREIGN TABLE far PARTITION OF people DEFAULT SERVER s",
    )
    with open_live(url, MASKED, tmp_path) as live:
        decision = live.guard.check("SELECT email FROM far")
        assert [str(m.column) for m in decision.obligations.masks] == ["far.email"]
        assert "'xx'" in (decision.sql or "")
        assert live.code("INSERT INTO far VALUES (1, 'x')") == "sql.construct_unsupported"
