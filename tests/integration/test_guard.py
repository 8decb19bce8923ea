"""The guard on a real database with a real ledger: what comes back, what is recorded, and what happens when something breaks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import pytest

from guardrails.approval import Answer, CallbackChannel
from guardrails.errors import (
    ApprovalRequired,
    Denied,
    EngineError,
    GuardrailsError,
    IdentityError,
    LedgerError,
    PolicyError,
    UsageError,
)
from guardrails.flow import Event
from guardrails.guard import Guard
from guardrails.ledger.verify import verify
from guardrails.model import Principal
from guardrails.policy import Policy
from guardrails.tools import Sql
from tests.support.corpus import rows
from tests.support.guard_policies import SHOP
from tests.support.twins import fill_postgres, fill_sqlite

ANA = Principal("ana@example.com", frozenset({"support"}), {"region": "EU"})
LEA = Principal("lea@example.com", frozenset({"support", "leads"}), {"region": "EU"})
REFUND = "UPDATE orders SET status = 'refunded' WHERE id = :id"
LONG_S = 300
"""Far more than anything here takes: it only ends a test that would hang."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return fill_sqlite(tmp_path / "shop.db", 1)
    make: Callable[[], str] = request.getfixturevalue("new_postgres")
    return fill_postgres(make(), 1)


@pytest.fixture
def guard(url: str, tmp_path: Path) -> Iterator[Guard]:
    with Guard.open(Policy.from_text(SHOP), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as opened:
        yield opened


def entries(guard: Guard) -> list[dict[str, Any]]:
    return [dict(e) for e in guard.ledger.entries() if e["type"] != "key.bind"]


def test_masked_rows_with_a_receipt(guard: Guard, tmp_path: Path) -> None:
    with guard.session(principal=ANA, agent="bot", model="m-1", purpose="support"):
        result = guard.execute(
            "SELECT name, email, ssn FROM customers WHERE id = :id", {"id": 2}, tool="sql", tool_call_id="call-1"
        )
    assert result.columns == ("name", "email", "ssn")
    _, email, ssn = result.rows[0]
    assert str(email).startswith("tok_")
    assert ssn == "***"
    intent, outcome = entries(guard)
    assert (intent["type"], outcome["type"], outcome["intent"]) == ("intent", "outcome", intent["id"])
    assert intent["principal"]["id"] == "ana@example.com"
    assert intent["principal"]["verified"] == "unverified"
    assert (intent["agent"], intent["purpose"], intent["tool_call"]) == ({"name": "bot", "model": "m-1"}, "support", "call-1")
    assert intent["statement"]["reads"] == ["customers.email", "customers.id", "customers.name", "customers.ssn"]
    assert outcome["status"] == "ok"
    assert result.receipt.leaf_index == 2
    assert verify(tmp_path / "audit.db").problems == ()


def test_a_session_signs_with_a_key_that_names_who_acts_under_which_policy(guard: Guard) -> None:
    for _ in range(2):
        with guard.session(principal=ANA, agent="bot"):
            guard.execute("SELECT name FROM customers WHERE id = 2")
    log = guard.ledger
    bindings = [i for i, e in enumerate(log.entries()) if e["type"] == "key.bind"]
    assert bindings == [0, 3]
    first, second = log.entry(0), log.entry(3)
    assert (first["principal"]["id"], first["agent"]["name"]) == ("ana@example.com", "bot")
    assert first["key"] != second["key"]
    assert {e["sig"]["key"] for e in log.entries(session=str(first["session"]))} == {first["key"]["id"]}
    assert first["policy"] == second["policy"] == guard.policy.digest
    kept = log.kept(0, "policy")
    assert kept is not None
    assert hashlib.sha256(kept).hexdigest() == guard.policy.digest
    assert log.kept(3, "policy") is None


def test_refusals_are_recorded_and_repairable(guard: Guard) -> None:
    with guard.session(principal=ANA):
        for sql, code in {
            "DROP TABLE customers": "policy.no_rule",
            "SELECT salary FROM employees": "policy.purpose_required",
            "DELETE FROM orders": "policy.where_required",
            "DELETE FROM orders WHERE 1 = 1": "policy.where_required",
            "SELECT 1; SELECT 2": "sql.multiple_statements",
        }.items():
            with pytest.raises(Denied) as caught:
                guard.execute(sql)
            assert caught.value.code == code
            assert code in caught.value.for_model()
            assert caught.value.receipt is not None
            assert guard.ledger.entry(caught.value.receipt.leaf_index)["type"] == "refusal"
    with guard.session(principal=ANA, purpose="payroll"):
        assert guard.execute("SELECT count(salary) FROM employees").rows == ((8,),)


def test_limits_hold(guard: Guard) -> None:
    with guard.session(principal=ANA):
        result = guard.execute("SELECT id FROM orders")
        assert (len(result.rows), result.is_truncated) == (30, True)
        with pytest.raises(EngineError) as caught:
            guard.execute("DELETE FROM orders WHERE id < 10")
        assert caught.value.code == "engine.too_many_rows_changed"
        assert guard.execute("SELECT count(*) FROM orders WHERE id < 10").rows == ((9,),)
        assert guard.execute("DELETE FROM orders WHERE id < 3").rows_changed == 2
        with pytest.raises(EngineError) as late:
            guard.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
        assert late.value.code == "engine.timeout"
    assert [e["status"] for e in entries(guard) if e["type"] == "outcome"][-1] == "error"


def test_a_masked_value_is_never_written_back(guard: Guard) -> None:
    with guard.session(principal=ANA):
        with pytest.raises(Denied) as caught:
            guard.execute(
                "INSERT INTO orders (id, customer_id, amount, status, region) SELECT 900, id, 1, email, 'EU' FROM customers"
            )
        assert caught.value.code == "mask.write_reads_protected"


WRITERS = """\
version: 1
rules:
  - {id: all, effect: allow, actions: [read, insert, update, delete], relations: [customers]}
columns:
  customers.email: {mask: pseudonym, except: {groups: [leads]}}
  customers.ssn: {mask: full, except: {groups: [leads]}}
limits: {rows_changed: 5}
"""


@pytest.mark.parametrize("person", [ANA, LEA], ids=["masked", "exempt"])
def test_a_token_is_never_stored_where_it_came_from(url: str, tmp_path: Path, person: Principal) -> None:
    written = (
        "INSERT INTO customers (id, name, email, ssn, region, credit, created)"
        " VALUES (900, :name, :email, {ssn}, 'EU', 1, '2026-01-01')"
    )
    with Guard.open(Policy.from_text(WRITERS), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard:
        with guard.session(principal=ANA):
            token = guard.execute("SELECT email FROM customers WHERE email IS NOT NULL ORDER BY id").rows[0][0]
            assert guard.execute("SELECT count(*) FROM customers WHERE email = :t", {"t": token}).rows[0][0] >= 1
        with guard.session(principal=person):
            for values, ssn in (({"name": "N", "email": token}, "'1'"), ({"name": "N", "email": "a@b"}, "'***'")):
                with pytest.raises(Denied) as caught:
                    guard.execute(written.format(ssn=ssn), values)
                assert caught.value.code == "mask.write_masked"
            guard.execute(written.format(ssn="'1'"), {"name": "N", "email": "a@b"})
            guard.execute("DELETE FROM customers WHERE id = 900 AND name <> :t", {"t": token})


def test_approval_by_a_second_person_once(guard: Guard) -> None:
    with guard.session(principal=ANA):
        with pytest.raises(ApprovalRequired) as waiting:
            guard.execute(REFUND, {"id": 3})
        request = waiting.value.request
        assert [r.id for r in guard.pending()] == [request.id]
        with pytest.raises(GuardrailsError) as self_approved:
            guard.approve(request.id, by=Principal("ANA@example.com", frozenset({"leads"})), reason="mine")
        assert self_approved.value.code == "approval.self"
        with pytest.raises(GuardrailsError) as outsider:
            guard.approve(request.id, by=Principal("bob@example.com", frozenset({"support"})), reason="sure")
        assert outsider.value.code == "approval.not_approver"
        guard.approve(request.id, by=LEA, reason="customer is right")
        with pytest.raises(ApprovalRequired):
            guard.execute(REFUND, {"id": 4})
        assert guard.execute(REFUND, {"id": 3}).rows_changed == 1
        with pytest.raises(ApprovalRequired):
            guard.execute(REFUND, {"id": 3})
    kinds = [e["type"] for e in entries(guard)]
    assert kinds[:5] == ["approval.requested", "approval.decided", "approval.requested", "approval.used", "intent"]
    intent = next(e for e in entries(guard) if e["type"] == "intent")
    assert intent["approval"]["approver"] == "lea@example.com"


def test_approval_through_a_channel(url: str, tmp_path: Path) -> None:
    answers = iter([True, False])
    channel = CallbackChannel(lambda request: Answer(next(answers), LEA, "looked at it"))
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    with (
        Guard.open(Policy.from_text(SHOP), database=url, ledger=ledger, approvals=channel) as guard,
        guard.session(principal=ANA),
    ):
        assert guard.execute(REFUND, {"id": 3}).rows_changed == 1
        with pytest.raises(Denied) as caught:
            guard.execute(REFUND, {"id": 4})
        assert caught.value.code == "approval.denied"


def test_the_second_net_replaces_what_nobody_declared(guard: Guard) -> None:
    with guard.session(principal=ANA):
        result = guard.execute(
            "SELECT 'write to eve@example.org or 4111 1111 1111 1111' AS note, email FROM customers WHERE id = 2"
        )
    assert result.rows[0][0] == "write to [email] or [card]"
    assert str(result.rows[0][1]).startswith("tok_")
    assert {(f.column, f.kind) for f in result.findings} == {("note", "email"), ("note", "card")}


def test_an_exempt_person_sees_the_declared_column(guard: Guard) -> None:
    known = {row[0]: row[2] for table, row in rows(1) if table == "customers"}
    with guard.session(principal=LEA):
        shown = guard.execute("SELECT id, email, ssn FROM customers ORDER BY id").rows
        assert {r[0]: r[1] for r in shown} == known
        assert {r[2] for r in shown} == {"***"}
        mixed = guard.execute("SELECT email AS x, 'eve@example.org' AS x FROM customers WHERE id = 2").rows[0]
        assert mixed[1] == "[email]"


@pytest.mark.parametrize("place", ["engine", "function"])
def test_async_is_recorded_even_when_cancelled(url: str, tmp_path: Path, place: str) -> None:
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n"
    running, cancelled, ended = threading.Event(), threading.Event(), threading.Event()

    def observe(event: Event) -> None:
        if event.stage == "intent" and place == "engine":
            # Held here, so that all of the statement runs after its caller is gone, however fast it is.
            hold()
        if event.stage == "outcome":
            ended.set()

    def hold() -> None:
        running.set()
        cancelled.wait(LONG_S)

    def run_sql(sql: str) -> str:
        hold()
        return sql

    async def main(guard: Guard) -> None:
        call = guard.aexecute(slow) if place == "engine" else guard.acall_tool(run_sql, {"sql": slow})
        task = asyncio.create_task(call)
        assert await asyncio.to_thread(running.wait, LONG_S)
        task.cancel()
        try:
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [e["type"] for e in entries(guard)] == ["intent"]
        finally:
            cancelled.set()
        assert await asyncio.to_thread(ended.wait, LONG_S)

    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    with Guard.open(Policy.from_text(SHOP), database=url, ledger=ledger, observer=observe) as guard:
        with guard.session(principal=ANA):
            asyncio.run(main(guard))
        assert [(e["type"], e.get("status")) for e in entries(guard)] == [("intent", None), ("outcome", "ok")]


def test_sessions_do_not_mix_between_threads(guard: Guard) -> None:
    seen: dict[str, str] = {}

    def work(name: str) -> None:
        with guard.session(principal=Principal(name, frozenset({"support"}))):
            for _ in range(5):
                receipt = guard.execute("SELECT 1").receipt
                assert receipt.intent_index is not None
                seen[receipt.entry_id] = name
                assert guard.ledger.entry(receipt.intent_index)["principal"] == {
                    "id": name, "issuer": None, "groups": ["support"], "verified": "unverified", "token_digest": None,
                }  # fmt: skip

    threads = [threading.Thread(target=work, args=(f"user{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 20


def test_decorated_functions_of_every_kind(url: str, guard: Guard) -> None:
    received: list[str] = []

    @guard.tool
    def stub(sql: str) -> list[dict[str, object]]: ...

    @guard.tool
    def plain(sql: str, params: object = None) -> list[tuple[object, ...]]:
        received.append(sql)
        return [("eve@example.org",)]

    @guard.tool
    def generate(query: str, params: object = None) -> Iterator[str]:
        yield from ["a", "eve@example.org"]

    @guard.tool(name="async_sql")
    async def coroutine(text: Annotated[str, Sql], params: object = None) -> str:
        await asyncio.sleep(0)
        return "ok"

    @guard.tool
    async def agenerate(sql: str, params: object = None) -> AsyncIterator[int]:
        yield 1
        yield 2

    async def main() -> None:
        assert await coroutine("SELECT 1") == "ok"
        assert [i async for i in agenerate("SELECT 1")] == [1, 2]

    with guard.session(principal=ANA):
        assert stub("SELECT id, ssn FROM customers WHERE id = 1") == [{"id": 1, "ssn": "***"}]
        assert plain("SELECT email FROM customers") == [("[email]",)]
        assert list(generate("SELECT 1")) == ["a", "[email]"]
        asyncio.run(main())
        with pytest.raises(Denied):
            plain("DELETE FROM orders")
    assert len(received) == 1
    assert "guardrails_mask_pseudonym" in received[0] or "sha256" in received[0]
    assert plain.__name__ == "plain"
    assert [e["tool"] for e in entries(guard) if e["type"] == "intent"] == [
        "stub",
        "plain",
        "generate",
        "async_sql",
        "agenerate",
    ]


def test_functions_that_cannot_be_guarded(guard: Guard) -> None:
    with pytest.raises(UsageError) as caught:
        guard.tool(lambda x: x)
    assert caught.value.code == "usage.tool_unguardable"

    @guard.tool
    def no_params(sql: str) -> str:
        return sql

    with guard.session(principal=ANA), pytest.raises(UsageError):
        no_params("SELECT email FROM customers")


def test_a_failing_tool_is_recorded_and_keeps_its_text(guard: Guard) -> None:
    @guard.tool
    def broken(sql: str, params: object = None) -> str:
        raise RuntimeError("row contains 123-45-6789")

    with guard.session(principal=ANA), pytest.raises(EngineError) as caught:
        broken("SELECT 1")
    assert "123-45" not in caught.value.for_model() + str(caught.value.diagnostics())
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert entries(guard)[-1]["status"] == "error"


def test_actions_need_a_rule(guard: Guard) -> None:
    @guard.action("email.send")
    def send(to: str, body: str) -> str:
        return f"sent to {to}"

    @guard.action("file.delete")
    def delete(path: str) -> str:
        return path

    with guard.session(principal=ANA):
        assert send("eve@example.org", body="hi") == "sent to [email]"
        with pytest.raises(Denied) as caught:
            delete("/etc")
        assert caught.value.code == "policy.no_rule"
    with guard.session(principal=Principal("u", attributes={"region": "US"})), pytest.raises(Denied):
        send("a", body="b")
    with guard.session(principal=Principal("u")), pytest.raises(Denied) as failed:
        send("a", body="b")
    assert failed.value.code == "policy.condition_error"


def test_no_session_no_purpose_no_identity(guard: Guard) -> None:
    with pytest.raises(UsageError) as caught:
        guard.execute("SELECT 1")
    assert caught.value.code == "usage.no_session"
    with pytest.raises(PolicyError), guard.session(principal=ANA, purpose="suport"):
        pass
    with pytest.raises(IdentityError), guard.session(principal=Principal(" ")):
        pass
    with pytest.raises(IdentityError), guard.session(principal=Principal("x", expires_at=1)):
        pass


def test_check_runs_and_records_nothing(guard: Guard) -> None:
    with guard.session(principal=ANA):
        assert guard.check("SELECT name FROM customers").effect == "allow"
        assert guard.check("DELETE FROM orders WHERE id = 1").effect == "allow"
        assert guard.check("DROP TABLE orders").effect == "deny"
    assert guard.ledger.size == 0


def test_a_check_names_the_tool_that_rules_speak_of(url: str, tmp_path: Path) -> None:
    policy = Policy.from_text(SHOP.replace("rules:\n", "rules:\n  - {id: no-raw, effect: deny, actions: [raw]}\n", 1))
    with (
        Guard.open(policy, database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        guard.session(principal=ANA, agent="bot", purpose="support"),
    ):
        sql = "SELECT name FROM customers"
        assert (guard.check(sql).effect, guard.check(sql, tool="raw").effect) == ("allow", "deny")
        assert guard.ledger.size == 0


def test_what_is_not_offered_is_neither_seen_nor_read(guard: Guard) -> None:
    with guard.session(principal=ANA, agent="bot", purpose="support"):
        assert {relation.key for relation in guard.seen()} > {"orders"}
        with guard.offering({"orders", "employees"}), guard.offering({"orders", "customers"}):
            assert {relation.key for relation in guard.seen()} == {"orders"}
            assert guard.check("SELECT id FROM orders").effect == "allow"
            assert guard.check("SELECT name FROM customers").effect == "deny"


def test_no_ledger_no_execution(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardrails.ledger.stores.sqlite._BUSY_TIMEOUT_S", 1)
    ledger = tmp_path / "audit.db"
    with Guard.open(Policy.from_text(SHOP), database=url, ledger=f"sqlite:///{ledger}") as guard, guard.session(principal=ANA):
        before = guard.execute("SELECT count(*) FROM orders").rows
        with closing(sqlite3.connect(ledger, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            started = time.monotonic()
            with pytest.raises(LedgerError) as caught:
                guard.execute("DELETE FROM orders WHERE id = 1")
            assert time.monotonic() - started < 30
            lock.execute("ROLLBACK")
        assert caught.value.code == "ledger.unavailable"
        assert guard.execute("SELECT count(*) FROM orders").rows == before


def test_protected_values_are_not_in_the_ledger_files(guard: Guard, tmp_path: Path) -> None:
    secrets = [str(v) for table, row in rows(1) if table == "customers" for v in (row[2], row[3]) if v]
    with guard.session(principal=LEA):
        guard.execute("SELECT email, ssn FROM customers")
        guard.execute("SELECT name FROM customers WHERE email = :e", {"e": secrets[0]})
        guard.execute(f"SELECT name FROM customers WHERE email = '{secrets[0]}'")
        with pytest.raises(Denied):
            guard.execute(f"SELECT nosuch FROM customers WHERE email = '{secrets[0]}'")
    for file in tmp_path.iterdir():
        if file.name.startswith("audit.db"):
            data = file.read_bytes()
            assert not any(s.encode() in data for s in secrets), file.name


def test_schema_change_is_noticed(url: str, guard: Guard) -> None:
    with guard.session(principal=ANA):
        assert "extra" not in guard.execute("SELECT * FROM orders LIMIT 1").columns
        statement = "ALTER TABLE orders ADD COLUMN extra TEXT"
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
                connection.execute(statement)
        else:
            import psycopg

            with psycopg.connect(url) as other:
                other.execute(statement)
        assert "extra" in guard.execute("SELECT * FROM orders LIMIT 1").columns


def test_reopening_keeps_the_log_and_its_pseudonyms(url: str, tmp_path: Path) -> None:
    ledger, tokens = f"sqlite:///{tmp_path / 'audit.db'}", []
    for _ in range(2):
        with Guard.open(Policy.from_text(SHOP), database=url, ledger=ledger) as guard, guard.session(principal=ANA):
            tokens.append(guard.execute("SELECT email FROM customers WHERE id = 2").rows)
    assert tokens[0] == tokens[1]
    assert verify(tmp_path / "audit.db").size == 6


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_keys_are_private(guard: Guard, tmp_path: Path) -> None:
    for name in ("audit.db.key", "audit.db.mask-key"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_an_outcome_tells_what_changed_where_and_an_intent_which_instance_asked(guard: Guard) -> None:
    with guard.session(principal=ANA, agent="bot", agent_version="1.4", agent_instance="pod-7"):
        guard.execute("DELETE FROM orders WHERE id = 1")
    intent, outcome = entries(guard)[-2:]
    assert intent["agent"] == {"name": "bot", "model": None, "version": "1.4", "instance": "pod-7"}
    assert (outcome["changed"], outcome["rows_changed"]) == ([{"relation": "orders", "rows": 1}], 1)


def test_what_is_about_a_person_is_kept_sealed_and_erased(url: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with Guard.open(Policy.from_text(SHOP), database=url, ledger=f"sqlite:///{path}", keep=["params", "result"]) as guard:
        with guard.session(principal=ANA, subjects=["customer:2"]):
            first = guard.execute("SELECT name FROM customers WHERE id = :id", {"id": 2}).receipt
        with guard.session(principal=LEA):
            other = guard.execute("SELECT name FROM customers WHERE id = :id", {"id": 1}).receipt
        log = guard.ledger
        assert first.intent_index is not None
        assert log.kept(first.intent_index, "params") == b"{'id': 2}"
        assert b"name" in (log.kept(first.leaf_index, "result") or b"")
        assert log.kept(first.intent_index, "sql") is None
        assert log.erase_subject("customer:2") == 4
        assert log.kept(first.leaf_index, "result") is None
        assert log.commitment_holds(first.intent_index, "params", b"{'id': 2}") is None
        assert log.kept(other.leaf_index, "result") is not None
        assert log.erase_subject("lea@example.com") == 4
        assert log.kept(other.leaf_index, "result") is None
    report = verify(path)
    assert report.is_verified, report.problems
    assert len(report.erased) == 8


@pytest.mark.parametrize("alias", ['"ada@example.com"', '"Zq7 planted, name"', '"978-27-1828"', '"Zürich"', "ok_name"])
def test_what_an_alias_says_is_not_recorded(guard: Guard, tmp_path: Path, alias: str) -> None:
    with guard.session(principal=ANA):
        guard.execute(f"SELECT name AS {alias} FROM customers WHERE id = 2")
        with pytest.raises(Denied):
            guard.execute(f"SELECT salary AS {alias} FROM employees")
    guard.ledger.close()
    raw = (tmp_path / "audit.db").read_bytes()
    assert (alias.strip('"').encode() in raw) == (alias == "ok_name")
