"""A change and its outcome in one PostgreSQL transaction: whatever dies, both are there or neither is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from guardrails.errors import Denied, EngineError, GuardrailsError, LedgerError, UsageError
from guardrails.guard import Guard
from guardrails.ledger import Ledger
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.verify import verify
from guardrails.model import Principal
from guardrails.policy import Policy
from tests.support.guard_policies import SHOP
from tests.support.twins import fill_postgres

ANA = Principal("ana@example.com", frozenset({"support"}), {"region": "EU"})
SIGNER = Ed25519Signer("example.com/joint", b"j" * 32)
CHANGER = """
import sys
from guardrails.guard import Guard
from guardrails.ledger import Ledger
from guardrails.ledger.keys import Ed25519Signer
from guardrails.model import Principal
from guardrails.policy import Policy
from tests.support.guard_policies import SHOP

url, state, first = sys.argv[1:]
log = Ledger.open(url, signer=Ed25519Signer("example.com/joint", b"j" * 32))
guard = Guard.open(Policy.from_text(SHOP), database=url, ledger=log, joint_outcomes=True, state=state)
ana = Principal("ana@example.com", frozenset({"support"}), {"region": "EU"})
print("ready", flush=True)
for number in range(int(first), int(first) + 10_000):
    with guard.session(principal=ana):
        guard.execute("INSERT INTO orders (id, customer_id, amount, status, region) VALUES (:id, 1, 5, 'new', 'EU')", {"id": number})
    print(number, flush=True)
"""


@pytest.fixture
def url(new_postgres: Callable[[], str]) -> str:
    return fill_postgres(new_postgres(), 1)


@pytest.fixture
def guard(url: str, tmp_path: Path) -> Iterator[Guard]:
    with Guard.open(
        Policy.from_text(SHOP),
        database=url,
        ledger=Ledger.open(url, signer=SIGNER),
        joint_outcomes=True,
        state=tmp_path / "state",
    ) as opened:
        yield opened


def orders(url: str) -> set[int]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM orders").fetchall()}


def test_a_change_and_its_outcome_commit_together(guard: Guard, url: str) -> None:
    with guard.session(principal=ANA):
        guard.execute("SELECT name FROM customers WHERE id = 2")
        result = guard.execute("DELETE FROM orders WHERE id = 1")
    outcome = guard.ledger.entry(result.receipt.leaf_index)
    assert (outcome["type"], outcome["status"], outcome["rows_changed"]) == ("outcome", "ok", 1)
    assert outcome["id"] == result.receipt.entry_id
    with psycopg.connect(url) as connection:
        ids = {
            row[0] for row in connection.execute("SELECT xmin::text FROM guardrails_ledger.entries ORDER BY idx DESC LIMIT 1")
        }
        assert ids
    report = verify(url, key=guard.ledger.verifier_key)
    assert report.is_verified, report.problems
    assert report.unknown == ()
    assert 1 not in orders(url)


def test_an_outcome_that_cannot_be_written_undoes_the_change(guard: Guard, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise LedgerError("ledger.unavailable", "The disk is full.")

    monkeypatch.setattr(guard.ledger, "append_within", refuse)
    with guard.session(principal=ANA), pytest.raises(LedgerError):
        guard.execute("DELETE FROM orders WHERE id = 1")
    assert 1 in orders(url)
    assert [e["status"] for e in guard.ledger.entries() if e["type"] == "outcome"] == ["error"]


def test_an_interrupted_commit_is_looked_up(guard: Guard, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from guardrails.engines import postgres

    commit, is_done = postgres.commit, True

    def lost(connection: psycopg.Connection[object]) -> None:
        if is_done:
            commit(connection)
        connection.close()
        raise EngineError("engine.unknown_outcome", "The connection was lost during the commit.")

    monkeypatch.setattr(postgres, "commit", lost)
    with guard.session(principal=ANA):
        assert guard.execute("DELETE FROM orders WHERE id = 1").rows_changed == 1
        is_done = False
        with pytest.raises(EngineError) as caught:
            guard.execute("DELETE FROM orders WHERE id = 2")
    assert caught.value.code == "engine.failed"
    assert not {1} & orders(url)
    assert 2 in orders(url)
    assert [e["status"] for e in guard.ledger.entries() if e["type"] == "outcome"] == ["ok", "error"]
    assert verify(url, key=guard.ledger.verifier_key).is_verified


def test_killed_processes_leave_no_change_without_its_outcome(url: str, tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    for round_number in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", CHANGER, url, str(tmp_path / "state"), str(10_000 * (round_number + 1))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": "."},
        )
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        killer = threading.Timer(0.3 + 0.03 * round_number, child.kill)
        killer.start()
        acknowledged |= {int(line) for line in child.stdout}
        assert child.wait() == -signal.SIGKILL, child.stderr.read()
        child.stdout.close()
        child.stderr.close()
        with Ledger.open(url, signer=SIGNER) as log:
            log.recover()
            recorded = [e for e in log.entries() if e["type"] == "outcome" and e["rows_changed"] == 1]
        made = {number for number in orders(url) if number >= 10_000}
        assert acknowledged <= made
        assert len(recorded) == len(made), "a change without its outcome, or an outcome without its change"
        report = verify(url, key=str(SIGNER.verifier()))
        assert report.is_verified, report.problems
    assert len(acknowledged) > 6


def test_what_cannot_share_a_transaction_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Guard.open(Policy.from_text(SHOP), database=url, ledger=f"sqlite:///{tmp_path / 'a.db'}", joint_outcomes=True)
    with pytest.raises(UsageError, match="state"):
        Guard.open(Policy.from_text(SHOP), database=url, ledger=Ledger.open(url, signer=SIGNER))
    with pytest.raises(GuardrailsError):
        Guard.open(Policy.from_text(SHOP), database=url, ledger=url, state=tmp_path / "state")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM guardrails_ledger.entries",
        "SELECT salt, sealed FROM guardrails_ledger.secrets",
        "DELETE FROM guardrails_ledger.entries",
        "UPDATE guardrails_ledger.head SET archived = 0",
        "INSERT INTO guardrails_ledger.open_intents VALUES ('x', 1, false)",
        "DROP TABLE guardrails_ledger.tiles",
        "SELECT e.* FROM customers c, guardrails_ledger.entries e",
        "SELECT * FROM ledger_view",
        "CREATE TABLE guardrails_ledger.evil (a integer)",
        "CREATE VIEW guardrails_ledger.evil AS SELECT 1 AS a",
        "CREATE INDEX evil ON guardrails_ledger.entries (idx)",
        "ALTER TABLE guardrails_ledger.entries ADD COLUMN a integer",
    ],
)
def test_the_ledger_is_out_of_reach_whatever_the_policy_allows(url: str, tmp_path: Path, sql: str) -> None:
    policy = Policy(rules=[{"id": "all", "effect": "allow", "actions": ["all"], "relations": ["*", "*.*"]}])
    with (
        Ledger.open(url, signer=SIGNER) as log,
        psycopg.connect(url, autocommit=True) as admin,
    ):
        admin.execute("CREATE VIEW ledger_view AS SELECT leaf FROM guardrails_ledger.entries")
        with (
            Guard.open(policy, database=url, ledger=log, joint_outcomes=True, state=tmp_path / "state") as guard,
            guard.session(principal=ANA),
        ):
            assert guard.execute("SELECT count(*) FROM customers").rows[0][0] > 0
            with pytest.raises(GuardrailsError) as caught:
                guard.execute(sql)
            assert isinstance(caught.value, Denied), caught.value
            listed = guard.execute("SELECT table_name FROM information_schema.tables").rows
            assert "secrets" not in {row[0] for row in listed}
    report = verify(url, key=str(SIGNER.verifier()))
    assert report.is_verified, report.problems
