"""`guardrails policy install`: what it makes, says and undoes, on PostgreSQL; and what it says of engines that cannot hold a filter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import psycopg
import pytest

from guardrails import Guard, Principal
from tests.support.command_line import Done, call
from tests.support.live import run_postgres
from tests.support.schema import make_sqlite_shop

POLICY = """\
version: 1
rules:
  - {id: a, effect: allow, actions: [select], relations: [orders, items]}
rows:
  orders: "region = principal.region"
  items: "id IN (principal.ids, 7)"
"""
HELD = POLICY.replace('  items: "id IN (principal.ids, 7)"\n', "")


@pytest.fixture
def url(new_postgres: Callable[[], str]) -> str:
    url = new_postgres()
    run_postgres(url, "CREATE TABLE orders (id int PRIMARY KEY, region text)", "CREATE TABLE items (id int)")
    run_postgres(url, "INSERT INTO orders VALUES (1, 'EU'), (2, 'US')")
    return url


def _install(folder: Path, url: str, text: str, *more: str) -> Done:
    policy = folder / "policy.yaml"
    policy.write_text(text)
    return call("policy", "install", "--policy", str(policy), "--database", url, "--ledger", f"{folder}/audit.db", *more)


def _states(done: Done) -> dict[str, str]:
    return {line["relation"]: line["state"] for line in done.lines()}


def test_setting_up_looking_and_removing(url: str, tmp_path: Path) -> None:
    dry = _install(tmp_path, url, POLICY, "--dry-run", "--json")
    assert (dry.status, _states(dry)) == (1, {"orders": "missing", "items": "fenced"})
    assert "CAST(substr(nullif(current_setting('guardrails.p_region', TRUE), ''), 2) AS TEXT)" in dry.lines()[1]["sql"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'guardrails'").fetchone() == (0,)

    done = _install(tmp_path, url, POLICY, "--json")
    assert (done.status, _states(done)) == (1, {"orders": "created", "items": "fenced"})
    assert "stands in a list with other things" in done.lines()[0]["reason"]
    done = _install(tmp_path, url, HELD, "--json")
    assert (done.status, _states(done)) == (0, {"orders": "verified"})
    dry = _install(tmp_path, url, HELD, "--dry-run")
    assert dry.status == 0
    assert dry.stdout.startswith(b"orders: verified (rows_orders_")

    # The key beside the ledger is the guard's.
    with Guard.open(tmp_path / "policy.yaml", database=url, ledger=f"sqlite:///{tmp_path}/audit.db") as guard:
        with guard.session(principal=Principal("a", attributes={"region": "EU"})):
            assert '"guardrails"."rows_orders_' in (guard.check("SELECT id FROM orders").sql or "")
            assert guard.execute("SELECT id FROM orders").rows == ((1,),)
        removed = _install(tmp_path, url, HELD, "--uninstall", "--json")
        assert (removed.status, _states(removed)) == (0, {"public.orders": "removed"})
        with guard.session(principal=Principal("a", attributes={"region": "EU"})):
            assert "OFFSET 0" in (guard.check("SELECT id FROM orders").sql or "")
            assert guard.execute("SELECT id FROM orders").rows == ((1,),)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'guardrails'").fetchone() == (0,)


def test_what_nothing_needs_is_removed_and_others_things_stay(url: str, tmp_path: Path) -> None:
    run_postgres(url, "CREATE SCHEMA guardrails", "CREATE VIEW guardrails.mine AS SELECT 1 AS id")
    assert _install(tmp_path, url, HELD).status == 0
    changed = HELD.replace("region = principal.region", "region <> principal.region")
    looked = _install(tmp_path, url, changed, "--dry-run", "--json")
    assert (looked.status, _states(looked)) == (1, {"orders": "missing", "public.orders": "changed"})
    done = _install(tmp_path, url, changed, "--json")
    assert (done.status, _states(done)) == (0, {"orders": "created", "public.orders": "removed"})
    assert _install(tmp_path, url, changed, "--uninstall").status == 0
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'guardrails'").fetchall() == [("mine",)]


def test_a_column_that_comes_later(url: str, tmp_path: Path) -> None:
    assert _install(tmp_path, url, HELD).status == 0
    run_postgres(url, "ALTER TABLE orders ADD COLUMN note text")
    looked = _install(tmp_path, url, HELD, "--dry-run", "--json")
    assert (looked.status, _states(looked)) == (1, {"orders": "changed"})
    assert _states(_install(tmp_path, url, HELD, "--json")) == {"orders": "replaced"}


def test_a_role_that_may_not_is_told_so_and_nothing_stays(url: str, tmp_path: Path) -> None:
    run_postgres(url, "CREATE SCHEMA guardrails", "CREATE TABLE guardrails.taken (id int)")
    name = _install(tmp_path, url, HELD, "--dry-run", "--json").lines()[0]["name"]
    run_postgres(url, f"ALTER TABLE guardrails.taken RENAME TO {name}")
    done = _install(tmp_path, url, HELD)
    assert done.status == 2
    assert b"[install.refused]" in done.stderr
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_views WHERE schemaname = 'guardrails'").fetchone() == (0,)


def test_a_filter_on_a_view_stays_fenced(url: str, tmp_path: Path) -> None:
    run_postgres(url, "CREATE VIEW recent AS SELECT * FROM orders")
    policy = HELD.replace("[orders, items]", "[orders, recent]") + '  recent: "id > 1"\n'
    done = _install(tmp_path, url, policy)
    assert done.status == 1
    assert b"recent: fenced\n    Only tables" in done.stdout


def test_engines_that_cannot_hold_a_filter(tmp_path: Path) -> None:
    shop = make_sqlite_shop(tmp_path / "shop.db")
    duck = tmp_path / "shop.duckdb"
    with duckdb.connect(str(duck)) as connection:
        connection.execute("CREATE TABLE orders (id int, region text)")
    policy = HELD.replace(", items", "")
    for database in (f"sqlite:///{shop}", f"duckdb:///{duck}"):
        done = _install(tmp_path, database, policy)
        assert done.status == 2
        assert b"[install.unsupported]" in done.stderr
        assert b"the fence in the statement" in done.stderr


def test_it_needs_the_key_and_one_wish(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARDRAILS_MASK_KEY", raising=False)
    policy = tmp_path / "policy.yaml"
    policy.write_text(HELD)
    without = call("policy", "install", "--policy", str(policy), "--database", url)
    assert without.status == 2
    assert b"GUARDRAILS_MASK_KEY" in without.stderr
    assert _install(tmp_path, url, HELD, "--dry-run", "--uninstall").status == 2
    monkeypatch.setenv("GUARDRAILS_MASK_KEY", "11" * 32)
    assert call("policy", "install", "--policy", str(policy), "--database", url).status == 0
