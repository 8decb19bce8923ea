"""The lists of functions without effects against the engines' own catalogs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest

import guardrails.sql.dialects
from tools.generate_functions import POSTGRES_REVIEWED, postgres_functions, sqlite_functions

_FOLDER = Path(guardrails.sql.dialects.__file__).parent


def _listed(dialect: str) -> list[str]:
    return (_FOLDER / f"functions_{dialect}.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_lists_are_sorted_lower_case_and_free_of_duplicates(dialect: str) -> None:
    names = _listed(dialect)
    assert names == sorted({name.lower() for name in names})


def test_postgres_functions_are_immutable_unless_reviewed(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(
            "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
            " AND provolatile <> 'i' AND proname = ANY (%s)",
            (_listed("postgres"),),
        ).fetchall()
    assert {name for (name,) in rows} <= POSTGRES_REVIEWED


def test_this_postgres_disqualifies_nothing_that_is_listed(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        known = {
            name
            for (name,) in connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace")
        }
    assert set(_listed("postgres")) & known <= postgres_functions([postgres_url])


@pytest.mark.parametrize(
    "name",
    [
        *(
            "pg_sleep",
            "pg_read_file",
            "pg_notify",
            "set_config",
            "current_setting",
            "nextval",
            "setval",
            "lo_import",
            "lo_create",
        ),
        *("query_to_xml", "database_to_xml", "table_to_xml", "cursor_to_xml", "ts_stat", "ts_rewrite", "version", "dblink"),
        *(
            "pg_advisory_lock",
            "pg_terminate_backend",
            "has_table_privilege",
            "inet_server_addr",
            "txid_current",
            "int4in",
            "int4send",
        ),
    ],
)
def test_functions_that_escape_are_not_listed_for_postgres(name: str) -> None:
    assert name not in _listed("postgres")


@pytest.mark.parametrize(
    "name", ["load_extension", "readfile", "writefile", "fts3_tokenizer", "last_insert_rowid", "sqlite_version"]
)
def test_functions_that_escape_are_not_listed_for_sqlite(name: str) -> None:
    assert name not in _listed("sqlite")


def test_this_sqlite_offers_nothing_beyond_the_list() -> None:
    with sqlite3.connect(":memory:") as connection:
        assert sqlite_functions(connection) <= set(_listed("sqlite"))
