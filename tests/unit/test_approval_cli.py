"""`guardrails approvals` as a second person uses it."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guardrails.approval import ApprovalDesk, ApprovalStore, Review
from guardrails.cli.approvals import approvals as group
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from guardrails.model import Impact, Statement
from tests.support.approvals import BO, ahead, asked


def _now() -> int:
    """Not a constant: the suite may come here long after it was collected, and requests expire."""
    return int(time.time())


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    with Ledger.open(url) as ledger, ApprovalStore.open(url) as store:
        desk = ApprovalDesk(store, ledger)
        for n in range(2):
            desk.submit(
                replace(asked(f"d{n}", _now()), id=f"r{n}", agent="bot\x1b[2J", sql=f"UPDATE t{n}", expires_at=_now() + 900)
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
    assert [(row["request"], row["groups"]) for row in rows] == [("r1", ["finance"]), ("r0", ["finance"])]
    assert len(run("list", "--ledger", url, "--json", "--limit", "1").stdout.splitlines()) == 1
    assert run("list", "--ledger", url, "--state", "denied", "--state", "used").stdout == "There is none.\n"


def test_approving_is_recorded_and_gives_a_grant(url: str) -> None:
    done = run("approve", "r0", "--ledger", url, "--by", "bo", "--group", "finance", "--reason", "customer called", "--json")
    assert (done.exit_code, json.loads(done.stdout)["answer"]) == (0, "approved")
    assert run("deny", "r1", "--ledger", url, "--by", "bo", "--group", "finance").exit_code == 0
    with ApprovalStore.open(url) as store, Ledger.open(url) as ledger:
        desk = ApprovalDesk(store, ledger)
        assert desk.consume("d0", int(time.time())) is not None
        assert desk.consume("d1", int(time.time())) is None
        entries = list(ledger.entries())
        assert [(e["type"], e["request"], e.get("answer")) for e in entries[2:]] == [
            ("approval.decided", "r0", "approved"),
            ("approval.decided", "r1", "denied"),
            ("approval.used", "r0", None),
        ]
        assert entries[2]["approver"] == {"id": "bo", "issuer": None, "verified": "unverified", "groups": ["finance"]}
        assert "customer called" not in json.dumps(entries)
        assert ledger.commitment_holds(2, "reason", b"customer called")
    assert verify(url).is_verified


@pytest.mark.parametrize(
    ("status", "code", "arguments"),
    [
        (1, "approval.self", ("approve", "r0", "--by", "ANA@example.com", "--group", "finance", "--reason", "x")),
        (1, "approval.not_approver", ("approve", "r0", "--by", "bo", "--reason", "x")),
        (1, "approval.reason_required", ("approve", "r0", "--by", "bo", "--group", "finance")),
        (1, "approval.unknown", ("deny", "r9", "--by", "bo")),
        (1, "approval.closed", ("end-grant", "r0", "--by", "bo", "--group", "finance")),
        (1, "approval.unknown", ("close-review", "r0", "--by", "bo", "--comment", "x")),
        (1, "identity.principal_invalid", ("deny", "r0", "--by", " ")),
        (2, "usage.input_invalid", ("deny", "r0")),
        (2, "usage.input_invalid", ("deny", "r0", "--by", "bo", "--issuer", "https://id.example")),
    ],
)
def test_what_does_not_count_is_not_recorded(url: str, status: int, code: str, arguments: tuple[str, ...]) -> None:
    refused = run(*arguments, "--ledger", url)
    assert refused.exit_code == status
    assert f"[{code}]" in refused.stderr
    with Ledger.open(url, read_only=True) as ledger:
        assert [entry["type"] for entry in ledger.entries()] == ["approval.requested"] * 2


def test_show_tells_all_of_a_request(url: str) -> None:
    with Ledger.open(url) as ledger, ApprovalStore.open(url) as store:
        desk = ApprovalDesk(store, ledger)
        request = replace(
            asked("d9", _now(), quorum=2),
            id="r9",
            expires_at=_now() + 900,
            statement=Statement("UPDATE t SET a = :a", {"a": b"\xff"}),
            impact=Impact((("orders", 3),), is_estimated=True),
            understood={"effect": "approve", "writes": ["orders.state"]},
        )
        desk.submit(request)
        desk.approve("r9", BO, "customer called", _now())
    shown = run("show", "r9", "--ledger", url).stdout
    for told in ("ana@example.com (unverified)", "2 of finance", "about 3 rows of orders", '{"a": "/w=="}', "customer called"):
        assert told in shown
    (fields,) = [json.loads(line) for line in run("show", "r9", "--ledger", url, "--json").stdout.splitlines()]
    assert (fields["state"], fields["votes"][0]["by"], fields["understood"]["writes"]) == ("pending", BO.id, ["orders.state"])
    assert fields["impact"] == {"rows": {"orders": 3}, "is_estimated": True, "error": None}
    assert run("show", "none", "--ledger", url).exit_code == 1
    again = run("approve", "r9", "--ledger", url, "--by", "lea", "--group", "finance", "--reason", "me too", "--json")
    assert json.loads(again.stdout)["state"] == "approved"


def test_grants_are_listed_and_ended(url: str) -> None:
    assert run("grants", "--ledger", url).stdout == "No grant is open.\n"
    with Ledger.open(url) as ledger, ApprovalStore.open(url) as store:
        request = ApprovalDesk(store, ledger).submit(replace(ahead(600, _now()), expires_at=_now() + 900, rules=("repairs",)))
    assert run("approve", request.id, "--ledger", url, "--by", "bo", "--group", "finance", "--reason", "x").exit_code == 0
    assert "repairs" in run("grants", "--ledger", url).stdout
    (fields,) = [json.loads(line) for line in run("grants", "--ledger", url, "--json").stdout.splitlines()]
    assert (fields["request"], fields["kind"], fields["window_s"]) == (request.id, "grant", 600)
    assert run("end-grant", request.id, "--ledger", url, "--by", "ana@example.com").stdout == f"{request.id} ended\n"
    assert run("grants", "--ledger", url, "--json").stdout == ""


def test_reviews_are_listed_closed_and_missed(url: str) -> None:
    assert run("reviews", "--ledger", url, "--check").stdout == "No review is open.\n"
    with Ledger.open(url) as ledger, ApprovalStore.open(url) as store:
        for id_ in ("e1", "e2"):
            ApprovalDesk(store, ledger).open_review(
                Review(id_, replace(asked(now=_now()), id=id_), "it burns", _now(), _now() - 1)
            )
    assert "overdue" in run("reviews", "--ledger", url).stdout
    (done,) = run(
        "close-review", "e1", "--ledger", url, "--by", "bo", "--group", "finance", "--comment", "ok"
    ).stdout.splitlines()
    assert done == "e1 closed"
    rows = [json.loads(line) for line in run("reviews", "--ledger", url, "--json", "--check").stdout.splitlines()]
    assert [(row["review"], row["is_overdue"], row["reason"]) for row in rows] == [("e2", True, "it burns")]
    assert "closed by bo" in run("reviews", "--closed", "--ledger", url).stdout
    with sqlite3.connect(url.removeprefix("sqlite:///") + ".approvals") as connection:
        connection.execute("DELETE FROM reviews WHERE id = 'e2'")
    connection.close()
    lost = run("reviews", "--ledger", url, "--check")
    assert (lost.exit_code, "e2" in lost.stderr) == (1, True)


def test_what_is_over_is_forgotten(url: str) -> None:
    assert run("deny", "r0", "--ledger", url, "--by", "bo", "--group", "finance").exit_code == 0
    assert run("forget", "--ledger", url, "--older-than", "0").stdout == "0 forgotten\n"
    with sqlite3.connect(url.removeprefix("sqlite:///") + ".approvals") as connection:
        connection.execute("UPDATE requests SET expires_at = 1, ends_at = 1 WHERE id = 'r0'")
    connection.close()
    assert json.loads(run("forget", "--ledger", url, "--older-than", "1", "--json").stdout) == {"forgotten": 1}
    assert run("show", "r0", "--ledger", url).exit_code == 1
    assert run("show", "r1", "--ledger", url).exit_code == 0


def test_no_ledger_is_made(tmp_path: Path) -> None:
    missing = run("list", "--ledger", str(tmp_path / "none.db"))
    assert missing.exit_code == 2
    assert "[usage.file_missing]" in missing.stderr
    assert not list(tmp_path.iterdir())
    assert run("list", "--ledger", "sqlite:///:memory:").exit_code == 2
