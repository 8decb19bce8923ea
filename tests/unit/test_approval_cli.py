"""`guardrails approvals` as a second person uses it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guardrails.approval import ApprovalStore
from guardrails.cli.approvals import approvals as group
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from guardrails.model import ApprovalRequest, ApprovalTerms


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    now = int(time.time())
    with Ledger.open(url), ApprovalStore.open(url) as store:
        for n in range(2):
            terms = ApprovalTerms(("finance",))
            store.submit(
                ApprovalRequest(f"r{n}", f"d{n}", "ana", "bot\x1b[2J", None, f"UPDATE t{n}", "", terms, now, now + 900)
            )
    return url


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(group, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_list_shows_what_waits(url: str) -> None:
    shown = run("list", "--ledger", url)
    assert shown.exit_code == 0
    assert "UPDATE t0" in shown.stdout
    assert "\x1b[2J" not in shown.stdout
    rows = [json.loads(line) for line in run("list", "--ledger", url, "--json").stdout.splitlines()]
    assert [(row["request"], row["groups"]) for row in rows] == [("r0", ["finance"]), ("r1", ["finance"])]


def test_approving_is_recorded_and_gives_a_grant(url: str) -> None:
    done = run("approve", "r0", "--ledger", url, "--by", "bo", "--group", "finance", "--reason", "customer called", "--json")
    assert (done.exit_code, json.loads(done.stdout)["answer"]) == (0, "approved")
    assert run("deny", "r1", "--ledger", url, "--by", "bo", "--group", "finance").exit_code == 0
    with ApprovalStore.open(url) as store, Ledger.open(url, read_only=True) as ledger:
        assert store.consume("d0", int(time.time())) is not None
        assert store.consume("d1", int(time.time())) is None
        entries = list(ledger.entries())
        assert [(e["type"], e["request"], e["answer"]) for e in entries] == [
            ("approval.decided", "r0", "approved"),
            ("approval.decided", "r1", "denied"),
        ]
        assert entries[0]["approver"] == {"id": "bo", "issuer": None, "verified": "unverified"}
        assert "customer called" not in json.dumps(entries)
        assert ledger.commitment_holds(0, "reason", b"customer called")
    assert verify(url).is_verified


@pytest.mark.parametrize(
    ("status", "code", "arguments"),
    [
        (1, "approval.self", ("approve", "r0", "--by", "ANA", "--group", "finance", "--reason", "x")),
        (1, "approval.not_approver", ("approve", "r0", "--by", "bo", "--reason", "x")),
        (1, "approval.reason_required", ("approve", "r0", "--by", "bo", "--group", "finance")),
        (1, "approval.unknown", ("deny", "r9", "--by", "bo")),
    ],
)
def test_what_does_not_count_is_not_recorded(url: str, status: int, code: str, arguments: tuple[str, ...]) -> None:
    refused = run(*arguments, "--ledger", url)
    assert refused.exit_code == status
    assert f"[{code}]" in refused.stderr
    with Ledger.open(url, read_only=True) as ledger:
        assert ledger.size == 0


def test_no_ledger_is_made(tmp_path: Path) -> None:
    missing = run("list", "--ledger", str(tmp_path / "none.db"))
    assert missing.exit_code == 2
    assert "[usage.file_missing]" in missing.stderr
    assert not list(tmp_path.iterdir())
    assert run("list", "--ledger", "postgresql://x/y").exit_code == 2
