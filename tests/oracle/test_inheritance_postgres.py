"""Partitions and inheritance on a real server: what protects a relation holds for every other one that shares rows with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guardrails.errors import PolicyError
from tests.support.live import open_live, run_postgres

ALLOW = "version: 1\nrules:\n  - {id: a, effect: allow, actions: [all], relations: ['*'], where: optional}\n"

DDL = """
CREATE TABLE events (id int, day date, email text, region text) PARTITION BY RANGE (day);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY LIST (region);
CREATE TABLE events_eu PARTITION OF events_new FOR VALUES IN ('EU');
CREATE TABLE events_rest PARTITION OF events_new DEFAULT;
INSERT INTO events VALUES (1, '2020-05-05', 'a@x', 'EU'), (2, '2021-05-05', 'b@x', 'EU'), (3, '2021-06-06', 'c@x', 'US');
CREATE TABLE people (id int PRIMARY KEY, email text);
CREATE TABLE tagged (id int, tag text);
CREATE TABLE staff (salary int) INHERITS (people);
CREATE TABLE mixed () INHERITS (staff, tagged);
INSERT INTO people VALUES (1, 'p@x'); INSERT INTO staff VALUES (2, 's@x', 70);
INSERT INTO mixed VALUES (3, 'q@x', 80, 'blue'); INSERT INTO tagged VALUES (4, 'red');
CREATE VIEW newest AS SELECT id, email FROM events_eu
"""
TABLES = ("events", "events_old", "events_new", "events_eu", "events_rest", "newest", "people", "tagged", "staff", "mixed")


@pytest.fixture(scope="module")
def url(new_postgres: Callable[[], str]) -> str:
    url = new_postgres()
    run_postgres(url, *(s for s in DDL.split(";\n") if s.strip()))
    return url


def _columns(masks: str) -> str:
    return f"{ALLOW}columns:\n" + "".join(f"  {mask}\n" for mask in masks.splitlines())


@pytest.mark.parametrize(
    ("masked", "hidden"),
    [
        ("events.email", {"events", "events_old", "events_new", "events_eu", "events_rest", "newest"}),
        ("events_new.email", {"events", "events_new", "events_eu", "events_rest", "newest"}),
        ("events_old.email", {"events", "events_old"}),
        ("people.email", {"people", "staff", "mixed"}),
        ("mixed.email", {"people", "staff", "mixed"}),
    ],
)
def test_a_mask_holds_wherever_its_rows_are_read(url: str, tmp_path: Path, masked: str, hidden: set[str]) -> None:
    with open_live(url, _columns(f"{masked}: {{mask: fixed, value: xx}}"), tmp_path) as live:
        for table in TABLES:
            if table == "tagged":
                continue
            found = {value for (value,) in live.rows(f"SELECT email FROM {table}")}
            assert (found == {"xx"}) == (table in hidden), table
            assert live.code(f"SELECT count(*) FROM {table} WHERE email LIKE 'a%'") == "ok"
            if table in hidden:
                assert live.rows(f"SELECT count(*) FROM {table} WHERE email <> 'xx'") == [(0,)]


def test_a_column_of_the_same_name_shares_rows_through_a_common_child_only(url: str, tmp_path: Path) -> None:
    """`tagged` and `people` both have an id and the rows of `mixed`; `events` has neither."""
    with open_live(url, _columns("tagged.id: {mask: fixed, value: 9}"), tmp_path) as live:
        for table in ("people", "staff", "tagged", "mixed"):
            assert {value for (value,) in live.rows(f"SELECT id FROM {table}")} == {9}, table
        assert live.rows("SELECT id FROM events") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("table", ["events", "events_new", "events_eu"])
def test_a_denied_column_is_denied_along_the_edges(url: str, tmp_path: Path, table: str) -> None:
    with open_live(url, _columns("events_new.email: {mask: deny}"), tmp_path) as live:
        assert live.code(f"SELECT email FROM {table}") == "policy.column_denied"
        assert live.code(f"SELECT * FROM {table}") == "policy.column_denied"
        assert live.code(f"SELECT id FROM {table}") == "ok"
        assert live.code("SELECT email FROM events_old") == "ok"


def test_the_strictest_of_several_masks_holds_and_exemptions_are_each_masks_own(url: str, tmp_path: Path) -> None:
    masks = "events.email: {mask: fixed, value: xx, except: {groups: [leads]}}\nevents_eu.email: {mask: 'null'}"
    with open_live(url, _columns(masks), tmp_path, "leads") as live:
        assert live.rows("SELECT email FROM events") == [(None,)] * 3
        assert live.rows("SELECT email FROM events_rest") == [("c@x",)]
    with open_live(url, _columns(masks), tmp_path) as live:
        assert live.rows("SELECT email FROM events_rest") == [("xx",)]
        assert live.rows("SELECT email FROM events_eu") == [(None,)]


def test_masks_of_which_none_is_stricter_contradict_each_other(url: str, tmp_path: Path) -> None:
    masks = "events.email: {mask: pseudonym}\nevents_eu.email: {mask: hash}"
    with pytest.raises(PolicyError, match="share rows") as caught, open_live(url, _columns(masks), tmp_path):
        pass
    assert (caught.value.code, caught.value.line) == ("policy.contradiction", 6)
    with open_live(url, _columns(masks.replace("hash", "pseudonym")), tmp_path) as live:
        assert live.rows("SELECT email FROM events_eu")[0] in live.rows("SELECT email FROM events")


def test_a_mask_over_what_decides_about_the_partition_is_refused(url: str, tmp_path: Path) -> None:
    with open_live(url, _columns("events.region: {mask: fixed, value: xx}"), tmp_path) as live:
        assert live.code("SELECT id FROM events_eu") == "mask.unsupported"
        assert live.code("SELECT id FROM events_new") == "mask.unsupported"


def test_a_row_filter_holds_in_children_and_refuses_parents(url: str, tmp_path: Path) -> None:
    policy = f"{ALLOW}rows:\n  events_new: region = principal.region\n"
    with open_live(url, policy, tmp_path, region="US") as live:
        assert live.rows("SELECT id FROM events_new") == [(3,)]
        assert live.rows("SELECT id FROM events_eu") == []
        assert live.rows("SELECT id FROM newest") == []
        assert live.rows("SELECT id FROM events_rest") == [(3,)]
        assert live.rows("SELECT id FROM events_old") == [(1,)]
        assert live.code("SELECT id FROM events") == "policy.obligation"
        assert live.code("SELECT count(*) FROM events") == "policy.obligation"
        assert live.code("DELETE FROM events WHERE id = 2") == "policy.obligation"
        assert live.code("INSERT INTO events VALUES (9, '2021-05-05', 'b@x', 'EU')") == "policy.obligation"
        assert live.guard.execute("UPDATE events_eu SET email = 'z' WHERE id = 2").rows_changed == 0


def test_filters_of_parent_and_child_hold_both(url: str, tmp_path: Path) -> None:
    policy = f"{ALLOW}rows:\n  events: id < 3\n  events_new: region = principal.region\n"
    with open_live(url, policy, tmp_path, region="EU") as live:
        assert live.rows("SELECT id FROM events_new") == [(2,)]
        assert live.rows("SELECT id FROM events_rest") == []
        assert live.guard.execute("DELETE FROM events_rest").rows_changed == 0
        assert live.rows("SELECT id FROM events_old") == [(1,)]


def test_rules_that_forbid_reach_along_the_edges_and_grants_do_not(url: str, tmp_path: Path) -> None:
    rules = (
        "version: 1\nrules:\n"
        "  - {id: a, effect: allow, actions: [select, delete], relations: [events, events_old, staff, people, tagged]}\n"
        "  - {id: d, effect: deny, actions: [delete], relations: [events_old]}\n"
        "  - {id: e, effect: deny, actions: [select], relations: [people], columns: [people.email]}\n"
        "  - {id: f, effect: deny, actions: [delete], relations: ['*'], when: \"relation == 'mixed'\"}\n"
    )
    with open_live(url, rules, tmp_path) as live:
        assert live.code("SELECT id FROM events") == "ok"
        assert live.code("SELECT id FROM events_eu") == "policy.no_rule"
        assert live.code("DELETE FROM events WHERE id = 77") == "policy.denied"
        assert live.code("DELETE FROM events_old WHERE id = 77") == "policy.denied"
        assert live.code("SELECT id FROM staff") == "ok"
        assert live.code("SELECT email FROM staff") == "policy.denied"
        assert live.code("DELETE FROM tagged WHERE id = 77") == "policy.denied"


def test_an_approval_is_asked_for_along_the_edges(url: str, tmp_path: Path) -> None:
    rules = f"{ALLOW}  - {{id: ask, effect: approve, actions: [select], relations: [events_eu]}}\n"
    with open_live(url, rules, tmp_path) as live:
        assert [live.code(f"SELECT id FROM {t}") for t in ("events", "events_eu", "events_old")] == [
            *("approval.required", "approval.required", "ok"),
        ]


def test_the_edges_are_followed_as_they_are_now(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    url = new_postgres()
    run_postgres(
        url,
        "CREATE TABLE base (id int, email text) PARTITION BY RANGE (id)",
        "CREATE TABLE part (id int, email text)",
        "INSERT INTO part VALUES (1, 'a@x')",
    )
    with open_live(url, _columns("base.email: {mask: fixed, value: xx}"), tmp_path) as live:
        assert live.rows("SELECT email FROM part") == [("a@x",)]
        run_postgres(url, "ALTER TABLE base ATTACH PARTITION part FOR VALUES FROM (0) TO (9)")
        assert live.rows("SELECT email FROM part") == [("xx",)]
        run_postgres(url, "ALTER TABLE base DETACH PARTITION part", "CREATE TABLE other (id int, email text)")
        assert live.rows("SELECT email FROM part") == [("a@x",)]
        run_postgres(url, "ALTER TABLE part INHERIT other", "INSERT INTO other VALUES (2, 'o@x')")
        assert live.rows("SELECT email FROM other") == [("a@x",), ("o@x",)]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE mine PARTITION OF events DEFAULT",
        "CREATE TABLE mine () INHERITS (people)",
        "ALTER TABLE events DETACH PARTITION events_old",
        "ALTER TABLE events ATTACH PARTITION tagged DEFAULT",
        "ALTER TABLE staff NO INHERIT people",
        "ALTER TABLE tagged INHERIT people",
    ],
)
def test_no_agent_changes_the_edges(url: str, tmp_path: Path, sql: str) -> None:
    with open_live(url, ALLOW, tmp_path) as live:
        assert live.code(sql) in ("sql.construct_unsupported", "sql.statement_unsupported", "sql.syntax")


QUERIES = (
    "SELECT * FROM {t}",
    "SELECT id FROM {t} ORDER BY email, id DESC",
    "SELECT id FROM {t} WHERE email < 'b' OR length(email) > 4",
    "SELECT email, count(*) FROM {t} GROUP BY email",
    "SELECT to_json(x) FROM {t} AS x",
    "SELECT x::text FROM {t} AS x",
    "SELECT max(email), min(email), string_agg(email, ',' ORDER BY email) FROM {t}",
    "SELECT id FROM {t} WHERE 1 / (length(email) - 3) > 0",
    "SELECT a.id, b.id FROM {t} AS a JOIN {p} AS b ON a.email = b.email AND a.id <= b.id ORDER BY 1, 2",
    "SELECT id FROM {t} WHERE email IN (SELECT email FROM {p} WHERE id = 1)",
    "SELECT row_number() OVER (ORDER BY email), id FROM {t}",
    "SELECT id FROM {t} UNION SELECT length(email) FROM {p}",
    "SELECT DISTINCT ON (email) id FROM {t} ORDER BY email, id",
)


def _compact(url: str) -> None:
    """Puts the twins' rows in the same places, which a change moved, and has their numbers noted, which plans follow.

    VACUUM FULL notes old versions of rows too, where a transaction anywhere on the server may still see them; ANALYZE does not. Of the
    values it notes only those in which the twins do not differ.
    """
    run_postgres(url, "VACUUM FULL", *(f"ANALYZE {table} (id)" for table in TABLES if table != "newest"))


@pytest.mark.parametrize("masked", ["events.email", "events_eu.email", "people.email", "mixed.email"])
def test_twins_that_differ_in_protected_values_answer_the_same(
    new_postgres: Callable[[], str], tmp_path: Path, masked: str
) -> None:
    """Whatever is asked of any relation that shows a protected value, through whichever name: rows, order and errors are equal."""
    answers: list[list[object]] = []
    of_events = masked.startswith("events")
    tables = ("events", "events_new", "events_eu") if of_events else ("people", "staff", "mixed")
    for twin, (one, two) in enumerate((("a@x", "zz@xyz"), ("zz@xyz", "a"))):
        url = new_postgres()
        run_postgres(url, *(s for s in DDL.split(";\n") if s.strip()))
        names = {"events.email": "events", "people.email": "people"}.get(masked, masked.partition(".")[0])
        run_postgres(url, f"UPDATE {names} SET email = CASE WHEN id % 2 = 0 THEN '{one}' ELSE '{two}' END")
        _compact(url)
        (tmp_path / str(twin)).mkdir()
        with open_live(url, _columns(f"{masked}: {{mask: fixed, value: xx}}"), tmp_path / str(twin)) as live:
            found: list[object] = []
            for table in tables:
                for query in QUERIES:
                    sql = query.format(t=table, p=tables[0])
                    found.append((sql, live.code(sql)))
                    if found[-1] == (sql, "ok"):
                        found.append(live.guard.execute(sql).rows)
            answers.append(found)
    assert answers[0] == answers[1]
    assert sum(1 for a in answers[0] if isinstance(a, tuple) and len(a) == 2 and a[1] == "ok") > 30
