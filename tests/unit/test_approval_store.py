"""What the store refuses, what it keeps, and what happens when it or the record fails."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.approval.rows import request_from_text, request_to_text
from guardrails.errors import Denied, IdentityError, LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from guardrails.model import ApprovalGrant, ApprovalRequest, ApprovalTerms, Principal, Statement, Value

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


EARLIER = """
CREATE TABLE requests (
    id TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, requester TEXT NOT NULL, agent TEXT, purpose TEXT, sql TEXT NOT NULL,
    summary TEXT NOT NULL, groups TEXT NOT NULL, expires_s INTEGER NOT NULL, is_reason_required INTEGER NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'used')),
    approver TEXT, reason TEXT, decided_at INTEGER, used_at INTEGER
) STRICT;
CREATE UNIQUE INDEX open_requests ON requests (digest) WHERE state IN ('pending', 'approved');
CREATE INDEX requests_by_digest ON requests (digest);
"""


def test_the_first_release_s_file_is_carried_over(tmp_path: Path, url: str) -> None:
    """Requests wait on, a yes that its ledger has still counts once, and what was used or denied stays so."""
    now = 1_700_000_000
    with Ledger.open(url, clock_ns=lambda: now * 1_000_000_000) as ledger:
        for name in ("waiting", "approved", "planted"):
            facts = {
                "session": "s",
                "request": name,
                "digest": f"d-{name}",
                "requester": "ana@example.com",
                "expires_at": now + 100,
            }
            ledger.append({"type": "approval.requested", **facts}, private={"sql": b"UPDATE orders"})
        person = {"id": BO.id, "issuer": None, "verified": "unverified"}
        facts = {"session": "approved", "request": "approved", "digest": "d-approved", "answer": "approved", "approver": person}
        ledger.append({"type": "approval.decided", **facts}, private={"reason": b"checked"})
    with closing(sqlite3.connect(tmp_path / "audit.db.approvals")) as connection, connection:
        connection.executescript(EARLIER)
        for name, state in [
            ("waiting", "pending"),
            ("approved", "approved"),
            ("planted", "approved"),
            ("no", "denied"),
            ("used", "used"),
        ]:
            decided = (None, None, None) if state == "pending" else (BO.id, "checked", now)
            connection.execute(
                "INSERT INTO requests VALUES (?, ?, 'ana@example.com', 'bot', NULL, 'UPDATE orders', 'update', '[\"finance\"]', 100, 1,"
                " ?, ?, ?, ?, ?, ?, NULL)",
                (name, f"d-{name}", now, now + 100, state, *decided),
            )
    with Ledger.open(url, clock_ns=lambda: now * 1_000_000_000) as ledger, ApprovalStore.open(url) as store:
        desk = ApprovalDesk(store, ledger)
        assert desk.count(now=now) == {"pending": 1, "approved": 2, "denied": 1, "expired": 0, "used": 1, "ended": 0}
        (waiting,) = desk.pending(now=now)
        assert (waiting.id, waiting.sql, waiting.terms) == ("waiting", "UPDATE orders", ApprovalTerms(("finance",), 100))
        grant = desk.consume("d-approved", now, requester="ana@example.com", terms=waiting.terms)
        assert grant == ApprovalGrant("approved", "d-approved", BO.id, "checked", now, approvers=(BO.id,))
        assert desk.consume("d-approved", now) is None
        with pytest.raises(Denied) as refused:
            desk.consume("d-planted", now)
        assert refused.value.code == "approval.forged"
        assert desk.approve("waiting", BO, "checked", now).state == "approved"
        assert desk.consume("d-waiting", now) is not None
        assert desk.status("no", now=now).reason == "checked"
    with ApprovalStore.open(url) as again:
        assert again.count(now=now)["used"] == 3


def test_a_later_release_s_file_is_left_alone(tmp_path: Path, url: str) -> None:
    with ApprovalStore.open(url):
        pass
    with closing(sqlite3.connect(tmp_path / "audit.db.approvals")) as connection, connection:
        connection.execute("UPDATE about SET format = 99")
    with pytest.raises(Denied) as refused:
        ApprovalStore.open(url)
    assert refused.value.code == "approval.channel_down"


@pytest.mark.parametrize("where", ["memory", "file"])
def test_many_threads_wait_and_all_hear(url: str, where: str) -> None:
    with ApprovalStore.open(url if where == "file" else "sqlite:///:memory:") as store:
        token = store.watch(0)
        assert store.watch(0.01, token - 1) == token
        heard: list[int] = []
        threads = [threading.Thread(target=lambda: heard.append(store.watch(20, token))) for _ in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        store.submit(request())
        for thread in threads:
            thread.join(20)
        assert heard == [token + 1] * 5
    with pytest.raises(Denied):
        store.watch(1)


ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()) | st.binary()
    | st.decimals(allow_nan=False) | st.datetimes(timezones=ZONES) | st.dates() | st.times() | st.timedeltas() | st.uuids(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.just("$"), inner),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(params=st.dictionaries(st.text(), VALUES) | st.lists(VALUES).map(tuple), text=st.text(st.characters()))
def test_requests_come_back_from_their_text_as_they_were(params: dict[str, Value], text: str) -> None:
    asked = replace(request(), sql=text, requester=text, statement=Statement(text, params), why=text)
    written = request_to_text(asked)
    assert written.isascii()
    assert "\0" not in written
    read = request_from_text(written)
    assert read == asked
    assert repr(read.statement) == repr(asked.statement)
    assert request_to_text(read) == written


def test_values_that_cannot_be_kept_are_refused() -> None:
    deep: Value = []
    for _ in range(100):
        deep = [deep]
    for value in (object(), {1, 2}, deep):
        with pytest.raises(UsageError):
            request_to_text(replace(request(), statement=Statement("s", {"a": value})))  # type: ignore[dict-item]
