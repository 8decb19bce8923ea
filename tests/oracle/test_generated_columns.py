"""Generated columns on real engines: one that is computed from a protected column is denied until the policy says what it shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from guardrails.catalog import from_ddl
from guardrails.model import DialectName
from tests.support.live import Live, open_live, run_postgres
from tests.support.mysql import run

TABLES = {
    "sqlite": "CREATE TABLE people (id INTEGER PRIMARY KEY, Email TEXT, note TEXT CHECK (note <> 'email, x'),"
    " domain TEXT GENERATED ALWAYS AS (substr(\"email\", 1 + instr(email, '@'))) STORED,"
    " upper_domain TEXT AS (upper(domain)) VIRTUAL, safe TEXT AS (note || 'x'))",
    "postgres": "CREATE TABLE people (id int PRIMARY KEY, email text, note text,"
    " domain text GENERATED ALWAYS AS (split_part(email, '@', 2)) STORED,"
    " upper_domain text GENERATED ALWAYS AS (upper(split_part(email, '@', 2))) STORED,"
    " safe text GENERATED ALWAYS AS (note || 'x') STORED)",
    "mysql": "CREATE TABLE people (id int PRIMARY KEY, email varchar(80), note varchar(80),"
    " domain varchar(80) AS (substring_index(Email, '@', -1)) STORED,"
    " hidden varchar(80) AS (upper(domain)) STORED INVISIBLE,"
    " upper_domain varchar(80) AS (upper(hidden)) VIRTUAL, safe varchar(80) AS (concat(note, 'x')) STORED)",
}
ROW = "INSERT INTO people (id, email, note) VALUES (1, 'ana@example.com', 'n')"
POLICY = "version: 1\nrules:\n  - {id: a, effect: allow, actions: [all], relations: ['*'], where: optional}\n"


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "people.db")) as connection:
            connection.executescript(f"{TABLES['sqlite']}; {ROW};")
        return f"sqlite:///{tmp_path / 'people.db'}"
    make: Callable[[], str] = request.getfixturevalue("new_postgres" if request.param == "postgres" else "new_mariadb_now")
    url = make()
    (run_postgres if request.param == "postgres" else run)(url, TABLES[request.param], ROW)
    return url


@pytest.fixture
def masked(url: str, tmp_path: Path) -> Iterator[Live]:
    with open_live(url, f"{POLICY}columns:\n  people.email: {{mask: fixed, value: xx}}\n", tmp_path) as live:
        yield live


@pytest.mark.parametrize("column", ["domain", "upper_domain", "people.domain", "coalesce(note, domain)"])
def test_what_is_computed_from_a_protected_column_is_denied(masked: Live, column: str) -> None:
    assert masked.code(f"SELECT {column} FROM people") == "policy.column_denied"
    assert masked.code(f"SELECT id FROM people ORDER BY {column}") == "policy.column_denied"
    assert masked.code(f"SELECT count(*) FROM people WHERE {column} LIKE 'e%'") == "policy.column_denied"
    assert masked.code("SELECT * FROM people") == "policy.column_denied"
    assert masked.code("UPDATE people SET note = domain WHERE id = 1") == "policy.column_denied"


def test_other_columns_pass(masked: Live) -> None:
    assert masked.rows("SELECT id, email, safe FROM people") == [(1, "xx", "nx")]
    assert masked.guard.execute("INSERT INTO people (id, note) VALUES (2, 'm')").rows_changed == 1


def test_a_mask_of_its_own_says_what_a_generated_column_shows(url: str, tmp_path: Path) -> None:
    masks = "columns:\n  people.email: {mask: fixed, value: xx}\n  people.domain: {mask: fixed, value: yy, except: {groups: [leads]}}\n"
    with open_live(url, POLICY + masks, tmp_path) as live:
        assert live.rows("SELECT email, domain FROM people") == [("xx", "yy")]
        assert live.code("SELECT upper_domain FROM people") == "policy.column_denied"
    with open_live(url, POLICY + masks, tmp_path, "leads") as live:
        assert live.rows("SELECT email, domain FROM people") == [("xx", "example.com")]


def test_who_may_see_the_column_may_see_what_is_computed_from_it(url: str, tmp_path: Path) -> None:
    masks = "columns:\n  people.email: {mask: fixed, value: xx, except: {groups: [leads]}}\n"
    with open_live(url, POLICY + masks, tmp_path, "leads") as live:
        assert live.rows("SELECT email, domain, upper_domain FROM people") == [
            ("ana@example.com", "example.com", "EXAMPLE.COM")
        ]


def test_a_rule_that_forbids_a_column_forbids_what_is_computed_from_it(url: str, tmp_path: Path) -> None:
    rule = "  - {id: d, effect: deny, actions: [select], relations: [people], columns: [people.email]}\n"
    with open_live(url, POLICY + rule, tmp_path) as live:
        assert live.code("SELECT upper_domain FROM people") == "policy.denied"
        assert live.rows("SELECT id, note, safe FROM people") == [(1, "n", "nx")]


def test_the_expression_is_followed_as_it_is_now(url: str, masked: Live) -> None:
    """Another session changes what `safe` is computed from between two statements."""
    assert masked.rows("SELECT safe FROM people") == [("nx",)]
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(
                "ALTER TABLE people DROP COLUMN safe; ALTER TABLE people ADD COLUMN safe TEXT AS (lower(Email))"
            )
    elif url.startswith("mysql"):
        run(url, "ALTER TABLE people MODIFY COLUMN safe varchar(80) AS (lower(email)) STORED")
    else:
        run_postgres(
            url,
            "BEGIN; ALTER TABLE people DROP COLUMN safe;"
            "ALTER TABLE people ADD COLUMN safe text GENERATED ALWAYS AS (lower(email)) STORED; COMMIT",
        )
    assert masked.code("SELECT safe FROM people") == "policy.column_denied"


@pytest.mark.parametrize("dialect", ["sqlite", "postgres", "mysql"])
def test_schema_files_tell_the_same(dialect: DialectName) -> None:
    columns = from_ddl(TABLES[dialect].replace(" INVISIBLE", ""), dialect).relations["people"].columns
    computed = {c.name: {u.lower() for u in c.computed_from} for c in columns if c.computed_from}
    expected = {"domain": {"email"}, "upper_domain": {"domain"}, "safe": {"note"}}
    if dialect == "postgres":
        expected["upper_domain"] = {"email"}
    elif dialect == "mysql":
        expected |= {"hidden": {"domain", "email"}, "upper_domain": {"hidden", "domain", "email"}}
    assert computed == expected
