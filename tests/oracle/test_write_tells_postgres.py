"""What only PostgreSQL has: partial and expression indexes, exclusion constraints, triggers, unvalidated checks, partitions, children."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.live import open_live, run_postgres
from tests.support.tells import outcome

POLICY = """
version: 1
rules:
  - {id: all, effect: allow, actions: [read, write], relations: ["*"], where: optional}
columns:
  t.secret: {mask: full}
  parent.secret: {mask: full}
  parts.secret: {mask: full}
"""
CASES: dict[str, tuple[str, str]] = {
    "expression index": ("CREATE UNIQUE INDEX ON t (lower(secret))", "INSERT INTO t (id, secret) VALUES (9, 'GUESS')"),
    "partial index": ("CREATE UNIQUE INDEX ON t (word) WHERE secret = 'guess'", "UPDATE t SET word = 'b' WHERE id = 1"),
    "null is a value": ("CREATE UNIQUE INDEX ON t (secret) NULLS NOT DISTINCT", "INSERT INTO t (id) VALUES (9)"),
    "a default that may be there": (
        "ALTER TABLE t ALTER secret SET DEFAULT 'guess', ADD UNIQUE (secret)",
        "INSERT INTO t (id) VALUES (9)",
    ),
    "exclusion": (
        "ALTER TABLE t ADD EXCLUDE USING btree ((secret || 'x') WITH =)",
        "INSERT INTO t (id, secret) VALUES (9, 'guess')",
    ),
    "unvalidated check": ("ALTER TABLE t ADD CHECK (secret <> 'guess') NOT VALID", "UPDATE t SET word = 'z' WHERE id = 1"),
    "check of a row": (
        "ALTER TABLE t ADD CHECK (to_jsonb(t)::text !~ 'z.*guess') NOT VALID",
        "UPDATE t SET word = 'z' WHERE id = 1",
    ),
    "trigger": (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.secret = 'guess' THEN RAISE EXCEPTION 'x'; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "UPDATE t SET word = 'z' WHERE id = 1",
    ),
    "generated column": (
        "ALTER TABLE t ADD g int GENERATED ALWAYS AS (CASE WHEN secret = 'guess' THEN 9 / least_of ELSE 1 END) STORED",
        "UPDATE t SET least_of = 0 WHERE id = 1",
    ),
    "check of a child": (
        "CREATE TABLE parent (id int, word text, secret text); CREATE TABLE child (CHECK (NOT (secret = 'guess' AND word = 'z')))"
        " INHERITS (parent); INSERT INTO child SELECT id, word, secret FROM t",
        "UPDATE parent SET word = 'z' WHERE id = 1",
    ),
    "unique key of a partition": (
        "CREATE TABLE parts (id int, word text, secret text) PARTITION BY LIST (id);"
        " CREATE TABLE part PARTITION OF parts DEFAULT; CREATE UNIQUE INDEX ON part (secret);"
        " INSERT INTO parts SELECT id, word, secret FROM t",
        "INSERT INTO parts VALUES (9, 'x', 'guess')",
    ),
    "on update cascade": (
        "ALTER TABLE t ADD UNIQUE (word), ADD UNIQUE (secret);"
        " CREATE TABLE other (id int PRIMARY KEY, code int UNIQUE);"
        " INSERT INTO other VALUES (1, 1), (2, 2);"
        " ALTER TABLE t ADD code int REFERENCES other (code) ON UPDATE CASCADE, ADD CHECK (secret <> 'guess' OR code < 5);"
        " UPDATE t SET code = id",
        "UPDATE other SET code = 7 WHERE id = 1",
    ),
}
HONEST = {
    "null is distinct": ("CREATE UNIQUE INDEX ON t (secret)", "INSERT INTO t (id) VALUES (9)"),
    "included only": ("CREATE UNIQUE INDEX ON t (word) INCLUDE (secret)", "UPDATE t SET word = 'z' WHERE id = 1"),
    "trigger over others": (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.word := lower(NEW.word); RETURN NEW; END $$;"
        " CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "UPDATE t SET word = 'z' WHERE id = 1",
    ),
    "check of others": ("ALTER TABLE t ADD CHECK (word <> 'q' OR id > 0)", "UPDATE t SET word = 'z' WHERE id = 1"),
}


def _make(url: str, ddl: str, secret: str) -> str:
    # The rows come first where a constraint is not to look at them.
    rows = f"INSERT INTO t VALUES (1, 'a', '{secret}', 1), (2, 'b', '{secret if 'WHERE secret' in ddl else 'two'}', 1)"
    table = "CREATE TABLE t (id int PRIMARY KEY, word text, secret text, least_of int)"
    more = "; CREATE TABLE parent (id int, secret text)" if "parent" not in ddl else ""
    more += "; CREATE TABLE parts (id int, secret text)" if "parts" not in ddl else ""
    run_postgres(
        url,
        table + more,
        rows,
        *ddl.split("; CREATE TRIGGER")[:1],
        *(f"CREATE TRIGGER{p}" for p in ddl.split("; CREATE TRIGGER")[1:]),
    )
    return url


@pytest.mark.parametrize("case", CASES)
def test_a_probe_tells_nothing(new_postgres: Callable[[], str], tmp_path: Path, case: str) -> None:
    ddl, sql = CASES[case]
    twins = [_make(new_postgres(), ddl, secret) for secret in ("guess", "other")]
    if case == "null is a value":
        run_postgres(twins[0], "UPDATE t SET secret = NULL WHERE id = 1")
    assert outcome(twins[0], sql) != outcome(twins[1], sql)
    for number, url in enumerate(twins):
        (tmp_path / str(number)).mkdir()
        with open_live(url, POLICY, tmp_path / str(number)) as live:
            assert live.code(sql) == "mask.write_tells"


@pytest.mark.parametrize("case", HONEST)
def test_an_honest_change_runs(new_postgres: Callable[[], str], tmp_path: Path, case: str) -> None:
    ddl, sql = HONEST[case]
    with open_live(_make(new_postgres(), ddl, "guess"), POLICY, tmp_path) as live:
        assert live.code(sql) == "ok"
