"""What a change would do, told before it runs: counted in a rehearsal that leaves nothing behind, or estimated."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from guardrails.errors import EngineError
from guardrails.impact import impact_of
from guardrails.model import ApprovalTerms, Impact, Plan, Statement
from tests.support.changed_shop import ANA, Shop, fill, open_shop

COUNT, ESTIMATE, NONE = (ApprovalTerms(impact=mode) for mode in ("count", "estimate", "none"))
KINDS = ("sqlite", "postgres", "mysql", "duckdb")


@pytest.fixture(scope="module", params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    def new_server(kind: str) -> str:
        made: Callable[[], str] = request.getfixturevalue("new_postgres" if kind == "postgres" else "new_mariadb")
        return made()

    folder: Path = tmp_path_factory.mktemp(f"impact-{request.param}")
    with open_shop(request.param, fill(request.param, folder, new_server), folder) as opened:
        yield opened


@pytest.fixture
def server(shop: Shop) -> Shop:
    """The shop in a server of its own, beside which other connections may be."""
    if shop.kind not in ("postgres", "mysql"):
        pytest.skip("Others cannot lock single rows there.")
    return shop


def _plan(shop: Shop, sql: str) -> Plan:
    with shop.guard.session(principal=ANA) as session:
        judgement = shop.guard._judging.judge(Statement(sql, {}, shop.guard.database.dialect), session)
    assert judgement.plan is not None, judgement.decision.reasons
    return judgement.plan


def _impact(shop: Shop, sql: str, terms: ApprovalTerms = COUNT) -> Impact | None:
    return impact_of(shop.guard.database, _plan(shop, sql), terms)


def _upsert(shop: Shop) -> str:
    start = "INSERT INTO orders (id, customer_id, amount) VALUES (1, 2, 3), (50, 2, 4)"
    if shop.kind == "mysql":
        return f"{start} ON DUPLICATE KEY UPDATE amount = 9"
    return f"{start} ON CONFLICT (id) DO UPDATE SET amount = 9"


@pytest.mark.parametrize(
    ("sql", "rows", "kinds"),
    [
        ("UPDATE orders SET amount = amount + 1 WHERE amount > 5", {"orders": 3}, KINDS),
        ("UPDATE orders SET amount = 1 WHERE id = 99", {}, KINDS),
        ("DELETE FROM notes WHERE id < 4", {"notes": 3}, KINDS),
        ("INSERT INTO notes (id, body) VALUES (90, 'x'), (91, 'y')", {"notes": 2}, KINDS),
        ("INSERT INTO notes SELECT id + 100, note FROM orders WHERE amount > 6", {"notes": 2}, KINDS),
        ("UPSERT", {"orders": 2}, KINDS),
        # Only rows that the requester may see.
        ("UPDATE customers SET token = 'x'", {"customers": 2}, KINDS),
        ("DELETE FROM orders WHERE id IN (1, 2)", {"orders": 2, "items": 2}, ("sqlite", "postgres")),
        ("DELETE FROM orders WHERE id IN (1, 2) RETURNING id, note", {"orders": 2, "items": 2}, ("sqlite", "postgres")),
        ("UPDATE notes SET body = 'x' FROM orders WHERE notes.id = orders.customer_id", {"notes": 3}, ("sqlite", "postgres")),
        ("WITH gone AS (DELETE FROM notes WHERE id < 3 RETURNING id) UPDATE orders SET note = 'n' FROM gone WHERE orders.id = gone.id",
         {"notes": 2, "orders": 2}, ("postgres",)),
        ("MERGE INTO notes USING orders o ON notes.id = o.amount WHEN MATCHED AND o.id = 1 THEN DELETE"
         " WHEN MATCHED THEN UPDATE SET body = 'm' WHEN NOT MATCHED THEN INSERT (id, body) VALUES (o.id + 70, 'n')",
         {"notes": 4}, ("postgres",)),
    ],
)  # fmt: skip
def test_a_rehearsal_counts_what_then_changes_and_leaves_nothing(
    shop: Shop, sql: str, rows: dict[str, int], kinds: tuple[str, ...]
) -> None:
    if shop.kind not in kinds:
        pytest.skip("The engine or the guard has no such statement there.")
    plan = _plan(shop, _upsert(shop) if sql == "UPSERT" else sql)
    before = shop.state()
    impact = impact_of(shop.guard.database, plan, COUNT)
    assert impact is not None
    assert (dict(impact.rows), impact.is_estimated, impact.error) == (rows, False, "")
    assert shop.state() == before
    if "RETURNING" not in sql:
        estimate = impact_of(shop.guard.database, plan, ESTIMATE)
        assert estimate is not None
        assert estimate.is_estimated
        # What foreign keys do further is told by the rehearsal alone.
        assert {k: v for k, v in estimate.rows if v} == {k: v for k, v in rows.items() if k != "items"}
    assert shop.state() == before


def test_what_would_fail_is_told_by_its_code(shop: Shop) -> None:
    before = shop.state()
    assert _impact(shop, "UPDATE orders SET amount = -1 WHERE id < 3") == Impact((("orders", 2),), True, "engine.failed")
    too_many = "INSERT INTO notes SELECT a.id * 1000 + b.id, 'x' FROM notes a CROSS JOIN notes b"
    assert _impact(shop, too_many) == Impact((("notes", 625),), True, "engine.too_many_rows_changed")
    assert shop.state() == before


def test_nothing_is_tried_where_nothing_is_asked(shop: Shop) -> None:
    change = _plan(shop, "DELETE FROM notes WHERE id = 1")
    assert impact_of(shop.guard.database, change, NONE) is None
    assert impact_of(shop.guard.database, None, COUNT) is None
    assert _impact(shop, "SELECT id FROM notes") is None


def test_a_schema_change_is_never_rehearsed(shop: Shop) -> None:
    drop = replace(_plan(shop, "DELETE FROM notes WHERE id = 1"), actions=("drop",), sql="DROP TABLE notes")
    with pytest.raises(EngineError, match=r"engine\.refused"):
        shop.guard.database.rehearse(drop)
    if shop.kind in ("sqlite", "postgres"):
        assert _impact(shop, "DROP TABLE notes") == Impact((("notes", 25),), True)
    assert len(shop.state()["notes"]) == 25


def test_a_rehearsal_leaves_no_lock(shop: Shop) -> None:
    assert _impact(shop, "UPDATE orders SET note = 'x' WHERE id < 3") == Impact((("orders", 2),))
    if shop.kind == "duckdb":
        assert shop.guard.database.execute(_plan(shop, "UPDATE orders SET note = 'a' WHERE id = 1")).rows_changed == 1
        return
    with shop.connected() as cursor:
        if shop.kind != "sqlite":
            hurry = {"mysql": "SET SESSION innodb_lock_wait_timeout = 1", "postgres": "SET lock_timeout = 10"}
            cursor.execute(hurry[shop.kind])
        cursor.execute("UPDATE orders SET note = 'a' WHERE id = 1")
        assert cursor.rowcount >= 0


def test_rows_that_others_hold_end_a_rehearsal_in_time(server: Shop) -> None:
    plan = _plan(server, "UPDATE orders SET note = 'x' WHERE id = 1")
    hurried = replace(plan, limits=replace(plan.limits, seconds=1.0))
    with server.connected() as cursor:
        cursor.execute("UPDATE orders SET note = 'a' WHERE id = 1")
        started = time.monotonic()
        assert impact_of(server.guard.database, hurried, COUNT) == Impact((("orders", 1),), True, "engine.timeout")
        assert time.monotonic() - started < 4


def test_a_writer_that_holds_the_file_ends_a_rehearsal_in_time(shop: Shop) -> None:
    if shop.kind != "sqlite":
        pytest.skip("Only SQLite locks the whole file.")
    plan = _plan(shop, "UPDATE orders SET note = 'x' WHERE id = 1")
    hurried = replace(plan, limits=replace(plan.limits, seconds=0.2))
    with shop.connected() as cursor:
        cursor.execute("UPDATE orders SET note = 'a' WHERE id = 1")
        assert impact_of(shop.guard.database, hurried, COUNT) == Impact((("orders", 1),), True, "engine.timeout")


def test_tables_that_cannot_roll_back_are_estimated(shop: Shop) -> None:
    if shop.kind != "mysql":
        pytest.skip("Only MySQL and MariaDB have such tables.")
    for engine in ("MyISAM", "Aria", "MEMORY"):
        shop.run(
            f"CREATE TABLE old (id INTEGER PRIMARY KEY, body VARCHAR(20)) ENGINE = {engine}",
            "INSERT INTO old VALUES (1, 'a'), (2, 'b')",
        )
        try:
            before = shop.state()
            copied = "INSERT INTO old SELECT id + 10, note FROM orders WHERE id < 3"
            for sql in ("UPDATE old SET body = 'x' WHERE id > 0", "DELETE FROM old WHERE id > 0", copied):
                assert _impact(shop, sql) == Impact((("old", 2),), True, "engine.refused"), engine
            assert shop.state() == before
        finally:
            shop.run("DROP TABLE old")


def test_what_a_trigger_does_elsewhere_is_undone_or_never_done(shop: Shop) -> None:
    bodies = {
        "sqlite": ["CREATE TRIGGER spread AFTER UPDATE ON orders BEGIN INSERT INTO notes VALUES (new.id + 500, 'by a trigger'); END"],
        "mysql": ["CREATE TRIGGER spread AFTER UPDATE ON orders FOR EACH ROW INSERT INTO notes VALUES (new.id + 500, 'by a trigger')"],
        "postgres": [
            "CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO public.notes VALUES (new.id + 500, 'by a trigger'); RETURN new; END $$",
            "CREATE TRIGGER spread AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION spread()",
        ],
    }  # fmt: skip
    if shop.kind not in bodies:
        pytest.skip("DuckDB has no triggers.")
    # Judged before the trigger was there, and the engine does not compare the schema's version.
    plan = replace(_plan(shop, "UPDATE orders SET note = 'x' WHERE id = 1"), catalog_version="")
    shop.run(*bodies[shop.kind])
    try:
        before = shop.state()
        assert impact_of(shop.guard.database, plan, COUNT) == Impact((("orders", 1),), True, "engine.refused")
        assert shop.state() == before
    finally:
        shop.run("DROP TRIGGER spread" + (" ON orders" if shop.kind == "postgres" else ""))


def test_postgres_makes_what_is_deferred_happen(shop: Shop) -> None:
    if shop.kind != "postgres":
        pytest.skip("Only there a rehearsal looks at what waits for the commit.")
    shop.run("ALTER TABLE items ADD CONSTRAINT late FOREIGN KEY (id) REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED")
    try:
        impact = _impact(shop, "UPDATE items SET id = 900 WHERE id = 1")
        assert impact == Impact((("items", 1),), True, "engine.failed")
        with pytest.raises(EngineError, match=r"engine\.failed"):
            shop.guard.database.execute(_plan(shop, "UPDATE items SET id = 900 WHERE id = 1"))
    finally:
        shop.run("ALTER TABLE items DROP CONSTRAINT late")


def test_only_numbers_that_were_given_out_stay_given_out(shop: Shop) -> None:
    if shop.kind != "postgres":
        pytest.skip("The sequence is PostgreSQL's.")
    shop.run(
        "CREATE SEQUENCE numbers", "ALTER TABLE secrets ALTER id SET DEFAULT nextval('numbers')", "SELECT nextval('numbers')"
    )
    try:
        assert _impact(shop, "INSERT INTO secrets (body) VALUES ('x')") == Impact((("secrets", 1),))
        with shop.connected() as cursor:
            assert cursor.execute("SELECT nextval('numbers'), (SELECT count(*) FROM secrets)").fetchone() == (3, 1)
    finally:
        shop.run("ALTER TABLE secrets ALTER id DROP DEFAULT", "DROP SEQUENCE numbers")


def test_a_rehearsal_and_a_change_of_the_same_row_do_not_fail_each_other(shop: Shop) -> None:
    change = _plan(shop, "UPDATE orders SET note = 'same' WHERE id = 2")
    failures: list[BaseException] = []

    def repeat(run: Callable[[], object]) -> None:
        try:
            for _ in range(10):
                run()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    runs = (lambda: shop.guard.database.execute(change), lambda: shop.guard.database.rehearse(change))
    threads = [threading.Thread(target=repeat, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert shop.guard.database.rehearse(change).changed_by == (("orders", 1),)


def test_an_impact_that_takes_too_long_is_guessed_by_the_planner(shop: Shop) -> None:
    if shop.kind != "postgres":
        pytest.skip("Only PostgreSQL's planner is asked.")
    shop.run("ANALYZE notes")
    names = "abcdef"
    many, text = ", ".join(f"notes {n}" for n in names), " || ".join(f"{n}.body" for n in names)
    sql = f"DELETE FROM notes WHERE id IN (SELECT a.id FROM {many} WHERE {text} < 'a')"
    plan = _plan(shop, sql)
    hurried = replace(plan, limits=replace(plan.limits, seconds=0.3))
    impact = impact_of(shop.guard.database, hurried, COUNT)
    assert impact is not None
    assert (impact.is_estimated, impact.error) == (True, "engine.timeout")
    assert 0 < dict(impact.rows)["notes"] <= 25


def test_the_impact_is_filed_with_the_request(shop: Shop) -> None:
    request = shop.ask("DELETE FROM notes WHERE id < 4")
    assert request.impact == Impact((("notes", 3),))
    assert len(shop.state()["notes"]) == 25
