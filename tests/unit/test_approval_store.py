"""What the store refuses, what it keeps, and what happens when it or the record fails."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from guardrails.approval import ApprovalStore
from guardrails.errors import Denied, IdentityError, LedgerError
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from guardrails.model import ApprovalGrant, ApprovalRequest, ApprovalTerms, Principal

BO = Principal("bo@example.com", frozenset({"finance"}))


def request(id_: str = "r1", digest: str = "d1", **terms: object) -> ApprovalRequest:
    return ApprovalRequest(
        id_,
        digest,
        "ana@example.com",
        "bot",
        "refunds",
        "UPDATE orders",
        "update",
        ApprovalTerms(**terms),
        100,
        200,  # type: ignore[arg-type]
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'audit.db'}"


@pytest.mark.parametrize(
    ("code", "by", "reason", "now"),
    [
        ("approval.self", Principal("Ana@Example.com "), "x", 150),
        ("approval.not_approver", Principal("cleo", frozenset({"sales"})), "x", 150),
        ("approval.reason_required", BO, " ", 150),
        ("approval.expired", BO, "x", 200),
        ("identity.principal_invalid", Principal("\u200b"), "x", 150),
        ("identity.token_expired", Principal("bo", BO.groups, expires_at=150), "x", 150),
    ],
)
def test_answers_that_do_not_count(url: str, code: str, by: Principal, reason: str, now: int) -> None:
    with ApprovalStore.open(url) as store:
        store.submit(request(groups=("finance",)))
        with pytest.raises((Denied, IdentityError)) as refused:
            store.approve("r1", by, reason, now)
        assert refused.value.code == code
        assert store.consume("d1", 150) is None


def test_one_answer_and_one_use(url: str) -> None:
    with ApprovalStore.open(url) as store:
        assert store.submit(request()) == store.submit(request("r2")) == request()
        store.approve("r1", BO, "checked with the customer", 150)
        for answer in (store.approve, store.deny):
            with pytest.raises(Denied) as refused:
                answer("r1", BO, "again", 151)
            assert refused.value.code == "approval.closed"
        assert store.consume("d1", 160) == ApprovalGrant(
            "r1", "d1", BO.id, "checked with the customer", 150, approvers=(BO.id,)
        )
        assert store.consume("d1", 160) is None
        assert store.status("r1", now=160).state == "used"


def test_a_no_stays_a_no_until_the_request_is_over(url: str) -> None:
    with ApprovalStore.open(url) as store:
        store.submit(request())
        store.deny("r1", BO, "", 150)
        with pytest.raises(Denied) as refused:
            store.submit(request("r2"))
        assert refused.value.code == "approval.denied"
        later = ApprovalRequest("r3", "d1", "ana@example.com", None, None, "s", "", ApprovalTerms(), 200, 300)
        assert store.submit(later) == later
        with pytest.raises(Denied) as unknown:
            store.get("r2")
        assert unknown.value.code == "approval.unknown"


def test_an_unused_approval_ends_with_its_time(url: str) -> None:
    with ApprovalStore.open(url) as store:
        store.submit(request())
        store.approve("r1", BO, "x", 150)
        assert store.consume("d1", 200) is None
        assert store.consume("d1", 150) is None


def test_nothing_counts_that_could_not_be_recorded(url: str) -> None:
    def fail(_: ApprovalRequest) -> None:
        raise LedgerError("ledger.unavailable", "The disk is full.")

    with ApprovalStore.open(url) as store:
        store.submit(request())
        with pytest.raises(LedgerError):
            store.approve("r1", BO, "x", 150, record=fail)
        assert store.status("r1", now=150).state == "pending"
        seen: list[ApprovalRequest] = []
        store.approve("r1", BO, "x", 150, record=seen.append)
        assert seen == [request()]


def test_another_requester_does_not_share_a_digest(url: str) -> None:
    with ApprovalStore.open(url) as store:
        store.submit(request())
        other = ApprovalRequest("r2", "d1", "cleo", None, None, "s", "", ApprovalTerms(), 100, 200)
        with pytest.raises(Denied) as refused:
            store.submit(other)
        assert refused.value.code == "approval.mismatch"


def test_the_file_lies_beside_the_ledger_which_stays_verifiable(tmp_path: Path, url: str) -> None:
    with Ledger.open(url) as ledger, ApprovalStore.open(url) as store:
        ledger.append({"type": "note"})
        store.submit(request())
    assert verify(url).is_verified
    path = tmp_path / "audit.db.approvals"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with ApprovalStore.open(url) as again:
        assert again.pending(now=150) == (request(),)


def test_a_broken_file_means_no_approver(tmp_path: Path, url: str) -> None:
    (tmp_path / "audit.db.approvals").write_bytes(b"not a database" * 100)
    with pytest.raises(Denied) as refused:
        ApprovalStore.open(url)
    assert refused.value.code == "approval.channel_down"
    store = ApprovalStore.open("sqlite:///:memory:")
    store.close()
    store.close()
    with pytest.raises(Denied):
        store.pending()


def test_states_outside_the_machine_are_not_stored(tmp_path: Path, url: str) -> None:
    with ApprovalStore.open(url) as store:
        store.submit(request())
    with sqlite3.connect(tmp_path / "audit.db.approvals") as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE requests SET state = 'maybe'")
    connection.close()


def test_a_fork_opens_its_own_connection(url: str) -> None:
    with ApprovalStore.open(url) as store:
        store.submit(request())
        child = os.fork()
        if child == 0:
            os._exit(0 if store.pending(now=150) == (request(),) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.pending(now=150) == (request(),)
