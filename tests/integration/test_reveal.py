"""Tokens resolved for those whom the policy lets, on every engine; what strangers learn, what is recorded, and what rotation changes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import psycopg
import pytest

from guardrails.errors import ApprovalRequired, Denied, GuardrailsError, UsageError
from guardrails.guard import Guard
from guardrails.ledger.verify import verify
from guardrails.model import Principal, Value
from guardrails.policy import Policy
from guardrails.rotation import rotate_mask_key
from tests.support.command_line import call
from tests.support.mysql import connect

PLANTED = ["ada@planted.example", "bo@planted.example", "hidden@planted.example", "+49-planted-1", "PLANTED-CODE"]
DDL = """CREATE TABLE people (id INTEGER PRIMARY KEY, tenant VARCHAR(20) NOT NULL, region VARCHAR(20) NOT NULL, email VARCHAR(80),
  phone VARCHAR(80), account BIGINT, code VARCHAR(80), badge {uuid}, raw {bytes}, city VARCHAR(40))"""
ROWS = [
    (
        1,
        "a",
        "EU",
        "ada@planted.example",
        "+49-planted-1",
        770001,
        "PLANTED-CODE",
        UUID(int=1 << 76 | 2 << 62),
        b"\x01raw",
        "x",
    ),
    (2, "a", "EU", "bo@planted.example", None, 770002, None, UUID(int=2 << 64 | 1 << 78 | 1 << 63), b"\x02raw", "y"),
    (3, "a", "hidden", "hidden@planted.example", None, 770003, "C3", None, b"\x03raw", "y"),
    (4, "b", "EU", "ada@planted.example", None, 770004, "C4", None, None, "z"),
    (5, "a", "EU", "ada@planted.example", None, 770005, "C5", None, None, "z"),
]
POLICY = """\
version: 1
purposes: {investigation: {description: Look into a case}, support: {description: Help}}
rules:
  - {id: read, effect: allow, actions: [select], relations: [people], principals: {groups: [support, privacy, boss]}}
columns:
  people.email: {mask: pseudonym, per: tenant, reveal: {groups: [privacy], purposes: [investigation]}}
  people.phone: {mask: pseudonym}
  people.account: {mask: pseudonym, reveal: {groups: [privacy]}}
  people.code: {mask: hash, nulls: hide, reveal: {groups: [privacy]}}
  people.badge: {mask: pseudonym, reveal: {groups: [privacy]}}
  people.raw: {mask: hash, reveal: {groups: [privacy]}}
  people.city: {mask: partial, first: 1}
rows:
  people: "tenant = principal.tenant AND region <> 'hidden'"
"""
ANA = Principal("ana@example.com", frozenset({"privacy"}), {"tenant": "a"})
BOB = replace(ANA, id="bob@example.com", attributes={"tenant": "b"})
EVE = replace(ANA, id="eve@example.com", groups=frozenset({"support"}))


def fill_sqlite(folder: Path, _: pytest.FixtureRequest) -> str:
    with closing(sqlite3.connect(folder / "people.db")) as database, database:
        database.execute(DDL.format(uuid="TEXT", bytes="BLOB"))
        rows = [tuple(str(v) if isinstance(v, UUID) else v for v in row) for row in ROWS]
        database.executemany(f"INSERT INTO people VALUES ({','.join('?' * 10)})", rows)
    return f"sqlite:///{folder / 'people.db'}"


def fill_postgres(_: Path, request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("new_postgres")()
    with psycopg.connect(url) as database, database.cursor() as cursor:
        cursor.execute(DDL.format(uuid="UUID", bytes="BYTEA"))
        cursor.executemany(f"INSERT INTO people VALUES ({','.join(['%s'] * 10)})", ROWS)
    return url


def fill_mysql(_: Path, request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("new_mariadb_now")()
    with closing(connect(url)) as database, database.cursor() as cursor:
        cursor.execute(DDL.format(uuid="UUID", bytes="VARBINARY(20)"))
        rows = [tuple(str(v) if isinstance(v, UUID) else v for v in row) for row in ROWS]
        cursor.executemany(f"INSERT INTO people VALUES ({','.join(['%s'] * 10)})", rows)
        database.commit()
    return url


def fill_duckdb(folder: Path, _: pytest.FixtureRequest) -> str:
    with duckdb.connect(str(folder / "people.duckdb")) as database:
        database.execute(DDL.format(uuid="UUID", bytes="BLOB"))
        database.executemany(f"INSERT INTO people VALUES ({','.join('?' * 10)})", ROWS)
    return f"duckdb:///{folder / 'people.duckdb'}"


FILL: dict[str, Callable[[Path, pytest.FixtureRequest], str]] = {
    "sqlite": fill_sqlite, "postgres": fill_postgres, "mysql": fill_mysql, "duckdb": fill_duckdb,
}  # fmt: skip


@pytest.fixture(params=FILL)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return FILL[request.param](tmp_path, request)


@pytest.fixture
def guard(url: str, tmp_path: Path) -> Iterator[Guard]:
    with opened(url, tmp_path) as guard:
        yield guard


def opened(url: str, folder: Path, policy: str = POLICY) -> Guard:
    return Guard.open(Policy.from_text(policy), database=url, ledger=f"sqlite:///{folder / 'audit.db'}")


def shown(guard: Guard, column: str, who: Principal = ANA, row: int = 1) -> Value:
    with guard.session(principal=who, purpose="support"):
        return guard.execute(f"SELECT {column} FROM people WHERE id = {row}").rows[0][0]


def reveal(guard: Guard, token: Value, column: str, who: Principal = ANA, purpose: str | None = "investigation") -> Value:
    with guard.session(principal=who, agent="bot", purpose=purpose):
        return guard.reveal(token, column=column, reason="case 17")


def refusal(guard: Guard, token: Value, column: str, who: Principal = ANA, purpose: str | None = "investigation") -> str:
    with pytest.raises(Denied) as caught:
        reveal(guard, token, column, who, purpose)
    assert caught.value.receipt is not None
    assert caught.value.code in caught.value.for_model()
    return caught.value.code


def entries(guard: Guard) -> list[dict[str, Any]]:
    return [dict(entry) for entry in guard.ledger.entries() if entry["type"] != "key.bind"]


def nothing_in_clear(folder: Path, *also: str) -> None:
    for file in folder.glob("audit.db*"):
        data = file.read_bytes()
        for value in (*PLANTED, "770001", *also):
            assert value.encode() not in data, (file.name, value)


def test_every_type_of_token_is_resolved_and_recorded(guard: Guard, tmp_path: Path) -> None:
    expected: dict[str, Value] = {"email": "ada@planted.example", "account": 770001, "code": "PLANTED-CODE", "raw": b"\x01raw"}
    for column, value in expected.items():
        token = shown(guard, column)
        assert token != value
        assert reveal(guard, token, f"people.{column}") == value
        if not isinstance(token, bytes):
            assert reveal(guard, str(token), f"people.{column}") == value
    assert str(reveal(guard, shown(guard, "badge"), "people.badge")) == str(ROWS[0][7])
    assert asyncio.run(areveal(guard, shown(guard, "code"))) == "PLANTED-CODE"
    assert reveal(guard, shown(guard, "code", row=2), "people.code") is None, "a hidden NULL"
    intent, outcome = entries(guard)[-2:]
    assert (intent["type"], outcome["type"], outcome["intent"], outcome["status"]) == ("intent", "outcome", intent["id"], "ok")
    assert intent["statement"]["actions"] == ["reveal"]
    assert intent["statement"]["reads"] == ["people.code"]
    assert intent["statement"]["normalised"] == "reveal people.code"
    assert intent["agent"]["name"] == "bot"
    assert intent["decision"]["rules"] == ["read"]
    assert {"sql", "params", "executed"} <= intent["commitments"].keys()
    assert (outcome["rows"], outcome["masks"]) == (1, [])
    assert verify(tmp_path / "audit.db").problems == ()
    nothing_in_clear(tmp_path, "case 17")


async def areveal(guard: Guard, token: Value) -> Value:
    with guard.session(principal=ANA):
        return await guard.areveal(token, column="people.code", reason="case 17")


def test_a_stranger_learns_nothing(guard: Guard, tmp_path: Path) -> None:
    token, phone = shown(guard, "email"), shown(guard, "phone")
    assert refusal(guard, token, "people.email", EVE) == "mask.reveal_denied"
    assert refusal(guard, token, "people.email", purpose="support") == "mask.reveal_denied"
    assert refusal(guard, token, "people.email", purpose=None) == "mask.reveal_denied"
    assert refusal(guard, phone, "people.phone") == "mask.reveal_denied"
    assert refusal(guard, "***", "people.city") == "mask.reveal_denied"
    # A column that does not exist is refused in the same words as one that does.
    said = []
    for column in ("people.email", "people.nothing", "nowhere.email", "people.*", "'; --", ""):
        with pytest.raises(Denied) as caught:
            reveal(guard, token, column, EVE)
        said.append(caught.value.for_model())
    assert len(set(said)) == 1
    assert {e["type"] for e in entries(guard)[-6:]} == {"refusal"}
    nothing_in_clear(tmp_path)


def test_a_person_without_a_rule_or_tenant_is_refused(guard: Guard) -> None:
    token = shown(guard, "email")
    nobody = replace(ANA, groups=frozenset({"privacy"}), attributes={})
    assert refusal(guard, token, "people.email", nobody) == "policy.obligation"
    outsider = POLICY.replace("[support, privacy, boss]", "[support]")
    assert reveal(guard, token, "people.email") == PLANTED[0]
    with Guard.open(Policy.from_text(outsider), database=guard.database, ledger=guard.ledger) as other:
        assert refusal(other, token, "people.email") == "policy.no_rule"


def test_hidden_rows_and_other_tenants_stay_hidden(guard: Guard) -> None:
    seeing_all = Policy.from_text(POLICY.replace("tenant = principal.tenant AND region <> 'hidden'", "id > 0"))
    hidden = Guard(seeing_all, guard.database, guard.ledger, guard._running.approvals, guard._judging.keyring)
    token = shown(hidden, "email", row=3)
    assert reveal(hidden, token, "people.email") == "hidden@planted.example"
    assert refusal(guard, token, "people.email") == "mask.token_unknown"
    # The same address at two tenants has two tokens, each of which is the tenant's own.
    mine, theirs = shown(guard, "email"), shown(guard, "email", BOB, row=4)
    assert mine != theirs
    assert reveal(guard, theirs, "people.email", BOB) == PLANTED[0]
    assert refusal(guard, theirs, "people.email") == "mask.token_unknown"
    assert refusal(guard, mine, "people.email", BOB) == "mask.token_unknown"
    # Even where every row is to be seen.
    assert refusal(hidden, theirs, "people.email") == "mask.token_unknown"


def test_what_is_no_token_of_the_column_is_unknown(guard: Guard) -> None:
    email, account = shown(guard, "email"), shown(guard, "account")
    for token, column in [
        (email, "people.account"), (account, "people.code"), (email, "people.code"), (email, "people.badge"), ("zz", "people.raw"),
        (-1, "people.account"), (True, "people.account"), (2**70, "people.account"), (1.5, "people.account"), (None, "people.code"),
        ([email], "people.email"), ("tok_00000000000000000000", "people.email"), ("%", "people.email"), ("' OR 1=1 --", "people.code"),
        ("ada@planted.example", "people.email"), (str(UUID(int=7)), "people.badge"), ("\0", "people.code"), ("", "people.code"),
    ]:  # fmt: skip
        assert refusal(guard, token, column) == "mask.token_unknown", (token, column)


def test_a_reason_and_a_session_are_needed(guard: Guard) -> None:
    with pytest.raises(UsageError) as caught:
        guard.reveal("x", column="people.email", reason="case 17")
    assert caught.value.code == "usage.no_session"
    with guard.session(principal=ANA), pytest.raises(UsageError):
        guard.reveal("x", column="people.email", reason="  ")


APPROVED = POLICY.replace(
    "columns:\n",
    "  - {id: ask, effect: approve, actions: [reveal], relations: [people], columns: [people.code], approval: {groups: [boss]}}\n"
    "  - {id: never, effect: deny, actions: [reveal], columns: [people.account]}\ncolumns:\n",
)
BOSS = Principal("cy@example.com", frozenset({"boss"}), {"tenant": "a"})


def test_rules_about_reveal_ask_a_person_or_deny(url: str, tmp_path: Path) -> None:
    with opened(url, tmp_path, APPROVED) as guard:
        token = shown(guard, "code")
        with pytest.raises(ApprovalRequired) as waiting:
            reveal(guard, token, "people.code")
        request = waiting.value.request
        assert request.summary == "reveal"
        assert request.sql == f"reveal people.code of {token}: case 17"
        with pytest.raises(GuardrailsError) as outsider:
            guard.approve(request.id, by=EVE, reason="no")
        assert outsider.value.code == "approval.not_approver"
        guard.approve(request.id, by=BOSS, reason="case 17 is real")
        # The yes is for this reason, token and column.
        with guard.session(principal=ANA, agent="bot", purpose="investigation"), pytest.raises(ApprovalRequired):
            guard.reveal(token, column="people.code", reason="another one")
        assert reveal(guard, token, "people.code") == "PLANTED-CODE"
        assert next(e for e in entries(guard) if "approval" in e)["approval"]["approver"] == "cy@example.com"
        with pytest.raises(ApprovalRequired):
            reveal(guard, token, "people.code")
        assert refusal(guard, shown(guard, "account"), "people.account") == "policy.denied"
        assert reveal(guard, shown(guard, "email"), "people.email") == PLANTED[0]
    nothing_in_clear(tmp_path)


def test_tokens_of_earlier_keys_are_resolved_and_new_ones_are_of_the_new_key(url: str, tmp_path: Path) -> None:
    tokens = []
    for number in range(3):
        with opened(url, tmp_path) as guard:
            tokens.append({column: shown(guard, column) for column in ("email", "code", "account", "badge")})
            assert len({str(t["email"]) for t in tokens}) == number + 1
            for old in tokens:
                assert reveal(guard, old["email"], "people.email") == PLANTED[0]
                assert reveal(guard, old["code"], "people.code") == "PLANTED-CODE"
                assert reveal(guard, old["account"], "people.account") == 770001
                assert str(reveal(guard, old["badge"], "people.badge")) == str(ROWS[0][7])
                assert refusal(guard, old["email"], "people.email", BOB) == "mask.token_unknown"
            rotate_mask_key(guard.ledger, by="cy@example.com", reason="yearly")
            entry = entries(guard)[-1]
            assert (entry["type"], entry["by"], entry["keys"]) == ("mask_key.rotated", "cy@example.com", number + 2)
            assert "reason" in entry["commitments"]
    assert verify(tmp_path / "audit.db").problems == ()
    nothing_in_clear(tmp_path, "yearly")


def test_one_token_for_two_values_resolves_to_none(tmp_path: Path) -> None:
    """Pseudonyms of small integers are small, and meet."""
    with closing(sqlite3.connect(tmp_path / "few.db")) as database, database:
        database.execute("CREATE TABLE few (id INTEGER PRIMARY KEY, name TEXT)")
        # Bytes and text of the same characters are two values for SQLite, with one token.
        database.execute("INSERT INTO few VALUES (1, 'x'), (2, CAST('x' AS BLOB))")
    policy = """\
version: 1
rules: [{id: read, effect: allow, actions: [select], relations: [few]}]
columns: {few.name: {mask: pseudonym, reveal: {groups: [privacy]}}}
"""
    with opened(f"sqlite:///{tmp_path / 'few.db'}", tmp_path, policy) as guard:
        with guard.session(principal=ANA):
            token = guard.execute("SELECT name FROM few WHERE id = 1").rows[0][0]
        with guard.session(principal=ANA), pytest.raises(Denied, match="several") as caught:
            guard.reveal(token, column="few.name", reason="why")
        assert caught.value.code == "mask.token_unknown"


def test_the_command_line(url: str, tmp_path: Path) -> None:
    policy, ledger = tmp_path / "policy.yaml", f"sqlite:///{tmp_path / 'audit.db'}"
    policy.write_text(POLICY)
    with opened(url, tmp_path) as guard:
        token = str(shown(guard, "code"))
    who = ("--principal-json", '{"id": "ana", "groups": ["privacy"], "attributes": {"tenant": "a"}}')
    asked = (
        "reveal",
        "--policy",
        str(policy),
        "--database",
        url,
        "--ledger",
        ledger,
        "--column",
        "people.code",
        "--reason",
        "r",
    )
    done = call(*asked, *who, token)
    assert (done.status, done.stdout) == (0, b"PLANTED-CODE\n")
    assert call(*asked, *who, "--json", token).lines() == [{"column": "people.code", "value": "PLANTED-CODE"}]
    refused = call(*asked, "--group", "support", token)
    assert (refused.status, refused.stdout) == (1, b"")
    assert b"mask.reveal_denied" in refused.stderr
