"""Tokens that a change stores as the values behind them, where the policy says so; and everything else, which is refused as before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from guardrails.errors import ApprovalRequired, Denied, GuardrailsError
from guardrails.guard import Guard
from guardrails.ledger.verify import verify
from guardrails.model import Principal, Value
from guardrails.policy import Policy
from tests.support.mysql import connect

ROWS = [
    (1, "a", "ada@planted.example", "x1"), (2, "a", "bo@planted.example", "x2"), (3, "b", "eve@planted.example", None),
    (4, "a", None, None),
]  # fmt: skip
POLICY = """\
version: 1
rules:
  - {id: all, effect: allow, actions: [read, insert, update], relations: [people]}
  - {id: boss, effect: approve, actions: [update], columns: [people.note], approval: {groups: [boss], reason_required: false}}
columns:
  people.email: {mask: pseudonym, tokens: resolve, nulls: hide, except: {groups: [exempt]}}
  people.phone: {mask: pseudonym, except: {groups: [exempt]}}
rows: {people: {predicate: "tenant = principal.tenant", except: {groups: [writers]}}}
limits: {rows_changed: 5}
"""
ANA = Principal("ana@example.com", frozenset({"writers"}), {"tenant": "a"})
LEA = Principal("lea@example.com", frozenset({"exempt"}), {"tenant": "a"})
DDL = "CREATE TABLE people (id INTEGER PRIMARY KEY, tenant VARCHAR(20), email VARCHAR(80), phone VARCHAR(80), note VARCHAR(80))"


def fill(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        with closing(sqlite3.connect(folder / "people.db")) as database, database:
            database.execute(DDL)
            database.executemany("INSERT INTO people VALUES (?, ?, ?, ?, NULL)", ROWS)
        return f"sqlite:///{folder / 'people.db'}"
    if kind == "duckdb":
        with duckdb.connect(str(folder / "people.duckdb")) as duck:
            duck.execute(DDL)
            duck.executemany("INSERT INTO people VALUES (?, ?, ?, ?, NULL)", ROWS)
        return f"duckdb:///{folder / 'people.duckdb'}"
    url: str = request.getfixturevalue("new_postgres" if kind == "postgres" else "new_mariadb_now")()
    with closing(psycopg.connect(url) if kind == "postgres" else connect(url)) as server, server.cursor() as cursor:
        cursor.execute(DDL)
        cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s, NULL)", ROWS)
        server.commit()
    return url


@pytest.fixture(params=["sqlite", "postgres", "mysql", "duckdb"])
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guard]:
    url = fill(request.param, tmp_path, request)
    with Guard.open(Policy.from_text(POLICY), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard:
        yield guard


def tokens(guard: Guard, column: str = "email") -> dict[int, Value]:
    with guard.session(principal=ANA):
        return {int(str(i)): token for i, token in guard.execute(f"SELECT id, {column} FROM people").rows}


def stored(guard: Guard) -> dict[int, Value]:
    everything = Principal("root", frozenset({"exempt", "writers"}))
    with guard.session(principal=everything):
        return {int(str(i)): email for i, email in guard.execute("SELECT id, email FROM people").rows}


def refusal(guard: Guard, sql: str, params: Any = None, who: Principal = ANA) -> str:
    before = stored(guard)
    with guard.session(principal=who), pytest.raises(GuardrailsError) as caught:
        guard.execute(sql, params)
    assert stored(guard) == before
    return caught.value.code


def entries(guard: Guard) -> list[dict[str, Any]]:
    return [dict(entry) for entry in guard.ledger.entries() if entry["type"] != "key.bind"]


def test_an_insert_stores_the_value_behind_a_token(guard: Guard, tmp_path: Path) -> None:
    seen = tokens(guard)
    with guard.session(principal=ANA):
        written = guard.execute(
            f"INSERT INTO people (email, id, tenant) VALUES ('{seen[1]}', 10, 'a'), (:t, 11, :t2), ('new@example.com', 12, 'a')",
            {"t": seen[3], "t2": "b"},
        )
        guard.execute(f"INSERT INTO people VALUES (13, 'a', '{seen[1]}', 'free', 'n')")
    assert written.rows_changed == 3
    after = stored(guard)
    assert (after[10], after[11]) == ("ada@planted.example", "eve@planted.example")
    assert (after[12], after[13]) == ("new@example.com", "ada@planted.example")
    assert tokens(guard)[10] == seen[1]
    intent = next(e for e in entries(guard) if e["type"] == "intent" and e["statement"]["kind"] == "insert")
    assert intent["statement"]["reads"] == ["people.email"]
    for file in tmp_path.glob("audit.db*"):
        data = file.read_bytes()
        assert not any(str(row[2]).encode() in data for row in ROWS[:3])
    assert verify(tmp_path / "audit.db").problems == ()


def test_an_exempt_person_s_update_stores_the_value_behind_a_token(guard: Guard) -> None:
    seen = tokens(guard)
    with guard.session(principal=LEA):
        guard.execute("UPDATE people SET email = :t, phone = 'p' WHERE id = :i", {"t": seen[2], "i": 1})
    assert stored(guard)[1] == "bo@planted.example"
    # The row of another tenant is hidden from this person: so is what its token stands for.
    assert refusal(guard, f"UPDATE people SET email = '{seen[3]}' WHERE id = 1", None, LEA) == "mask.token_unknown"
    assert entries(guard)[-2]["type"] in ("outcome", "intent")
    assert any(e.get("error") == "mask.token_unknown" for e in entries(guard))


def test_what_stands_for_no_value_changes_nothing(guard: Guard) -> None:
    seen, phone = tokens(guard), tokens(guard, "phone")
    insert = "INSERT INTO people (id, tenant, email) VALUES (20, 'a', '{}')"
    assert refusal(guard, insert.format("tok_00000000000000000000")) == "mask.token_unknown"
    assert refusal(guard, insert.format(phone[1])) == "mask.token_unknown"
    assert refusal(guard, insert.format(seen[4])) == "mask.token_unknown", "a hidden NULL"
    two = f"INSERT INTO people (id, tenant, email) VALUES (20, 'a', '{seen[1]}'), (21, 'a', 'tok_00000000000000000000')"
    assert refusal(guard, two) == "mask.token_unknown"


def test_tokens_anywhere_else_are_refused_as_before(guard: Guard) -> None:
    seen, phone = tokens(guard), tokens(guard, "phone")
    token = seen[1]
    refused = [
        f"INSERT INTO people (id, tenant, phone) VALUES (20, 'a', '{phone[1]}')",
        f"INSERT INTO people (id, tenant, email) VALUES (20, '{token}', 'a@b')",
        f"INSERT INTO people (id, tenant, email) VALUES (20, '{token}', '{token}')",
        f"INSERT INTO people (id, tenant, email) VALUES (20, 'a', lower('{token}'))",
        f"INSERT INTO people (id, tenant, email) VALUES (20, 'a', ' {token}')",
        f"INSERT INTO people (id, tenant, email) VALUES (20, 'a', '{str(token).upper()}')",
        f"INSERT INTO people (id, tenant, email) SELECT 20, 'a', '{token}'",
    ]
    for sql in refused:
        assert refusal(guard, sql) == "mask.write_masked", sql
    bound = "INSERT INTO people (id, tenant, email) VALUES (20, :t, :t)"
    assert refusal(guard, bound, {"t": token}) == "mask.write_masked"
    assert refusal(guard, f"UPDATE people SET email = '{token}' WHERE id = 1") == "mask.write_protected"
    assert refusal(guard, "INSERT INTO people (id, tenant, email) VALUES (20, 'a', :gr_token_0)", {"gr_token_0": token}) == (
        "mask.write_masked"
    )


def test_parameters_by_position_and_an_approval_bind_the_token(guard: Guard) -> None:
    seen = tokens(guard)
    update = "UPDATE people SET note = 'n', email = ? WHERE id = ?"
    if guard.database.dialect == "postgres":
        update = "UPDATE people SET note = 'n', email = $1 WHERE id = $2"
    with guard.session(principal=LEA):
        with pytest.raises(ApprovalRequired) as waiting:
            guard.execute(update, [seen[2], 1])
        guard.approve(waiting.value.request.id, by=Principal("cy@example.com", frozenset({"boss"})), reason="yes")
        with pytest.raises(ApprovalRequired):
            guard.execute(update, [seen[1], 1])
        assert guard.execute(update, [seen[2], 1]).rows_changed == 1
    assert stored(guard)[1] == "bo@planted.example"


def test_who_may_not_read_the_column_cannot_store_its_tokens(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = fill("sqlite", tmp_path, request)
    policy = POLICY.replace("actions: [read, insert, update]", "actions: [insert]")
    with Guard.open(Policy.from_text(POLICY), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard:
        token = tokens(guard)[1]
    with Guard.open(Policy.from_text(policy), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard:
        with guard.session(principal=ANA), pytest.raises(Denied) as caught:
            guard.execute(f"INSERT INTO people (id, email) VALUES (20, '{token}')")
        assert caught.value.code == "mask.write_masked"


def test_a_tool_with_its_own_connection_gets_the_value(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = fill("sqlite", tmp_path, request)
    with Guard.open(Policy.from_text(POLICY), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard:
        token = tokens(guard)[1]

        @guard.tool
        def write(sql: str, params: dict[str, Any]) -> int:
            with closing(sqlite3.connect(tmp_path / "people.db")) as connection, connection:
                return connection.execute(sql, params).rowcount

        with guard.session(principal=ANA):
            assert write("INSERT INTO people (id, tenant, email) VALUES (20, 'a', :t)", {"t": token}) == 1
        assert stored(guard)[20] == "ada@planted.example"
