"""Approvals end to end, through a guard over real databases: quorum, hours, grants ahead, broken glass, reading real values."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from guardrails import ApprovalRequired, Denied, Guard, IdentityError, Policy, Principal, UsageError
from guardrails.approval import Answer, CallbackChannel
from guardrails.ledger.verify import verify
from guardrails.model import ApprovalRequest

POLICY = """
version: 1
purposes:
  fraud: {description: Looking into payments that look wrong}
rules:
  - {id: read, effect: allow, actions: [select], relations: [customers]}
  - id: delete-two
    effect: approve
    actions: [delete]
    relations: [customers]
    approval: {groups: [leads], quorum: 2}
  - id: update
    effect: approve
    actions: [update]
    relations: [customers]
    approval: {groups: [leads], window: 10m, break_glass: {groups: [oncall], review: 1h}}
  - id: insert-never-open
    effect: approve
    actions: [insert]
    relations: [customers]
    approval: {groups: [leads], hours: {days: [DAY], begins: "00:00", ends: "24:00"}}
  - id: real
    effect: approve
    actions: [select]
    columns: [customers.email]
    purposes: [fraud]
    approval: {groups: [privacy, leads], unmask: true}
columns:
  customers.email: {mask: fixed, value: hidden}
  customers.phone: {mask: fixed, value: hidden}
rows:
  customers: {predicate: "region = 'west'", except: {groups: [everywhere]}}
"""
ANA = Principal("ana@example.com", {"support", "oncall", "leads"})
LEA = Principal("lea@example.com", {"leads", "privacy"})
BO = Principal("bo@example.com", {"leads"})
UPDATE = "UPDATE customers SET name = 'x' WHERE id = 1"
DELETE = "DELETE FROM customers WHERE id = 1"


def policy() -> Policy:
    other_day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(time.gmtime().tm_wday + 3) % 7]
    return Policy.from_text(POLICY.replace("DAY", other_day))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, region TEXT);
            INSERT INTO customers VALUES (1, 'Ida', 'ida@example.com', '1', 'west'), (2, 'Ole', 'ole@example.com', '2', 'east');"""
        )
    return path


@pytest.fixture
def guard(shop: Path, tmp_path: Path) -> Iterator[Guard]:
    with Guard.open(policy(), database=f"sqlite:///{shop}", ledger=f"sqlite:///{tmp_path / 'audit.db'}") as opened:
        yield opened


def asked(guard: Guard, sql: str) -> ApprovalRequest:
    with pytest.raises(ApprovalRequired) as caught:
        guard.execute(sql)
    return caught.value.request


def code_of(guard: Guard, sql: str) -> str:
    with pytest.raises(Denied) as caught:
        guard.execute(sql)
    return caught.value.code


def entries(guard: Guard, type_: str) -> list[dict[str, object]]:
    return [dict(entry) for entry in guard.ledger.entries() if entry["type"] == type_]


def test_two_different_people_say_yes(guard: Guard) -> None:
    with guard.session(principal=ANA, agent="bot"):
        request = asked(guard, DELETE)
        with pytest.raises(Denied) as own:
            guard.approve(request.id, by=replace(ANA, id="ANA@example.com"), reason="mine")
        assert own.value.code == "approval.self"
        guard.approve(request.id, by=LEA, reason="left us")
        assert asked(guard, DELETE).id == request.id
        with pytest.raises(Denied) as again:
            guard.approve(request.id, by=replace(LEA, id="Lea@Example.com"), reason="twice")
        assert again.value.code == "approval.voted"
        guard.approve(request.id, by=BO, reason="indeed")
        assert guard.execute(DELETE).rows_changed == 1
        assert asked(guard, DELETE).id != request.id
    intent = entries(guard, "intent")[-1]
    assert intent["approval"]["approvers"] == ["lea@example.com", "bo@example.com"]  # type: ignore[index]
    assert len(entries(guard, "approval.decided")) == 2


def test_the_agent_that_asked_and_agents_of_others_say_nothing(guard: Guard) -> None:
    from guardrails.model import Actor

    with guard.session(principal=ANA, agent="bot"):
        request = asked(guard, DELETE)
    for nobody in (Principal("bot", {"leads"}), replace(LEA, actors=(Actor("bot"),)), replace(LEA, verified="spiffe")):
        with pytest.raises(Denied) as caught:
            guard.approve(request.id, by=nobody, reason="yes")
        assert caught.value.code == "approval.not_approver"


def test_where_the_requester_is_known_a_name_alone_does_not_answer(guard: Guard) -> None:
    known = replace(ANA, verified="jwt", issuer="https://id.example.com")
    with guard.session(principal=known, agent="bot"):
        request = asked(guard, UPDATE)
        with pytest.raises(Denied) as caught:
            guard.approve(request.id, by=LEA, reason="yes")
        assert caught.value.code == "approval.not_approver"
        guard.approve(request.id, by=replace(LEA, verified="jwt", issuer="https://id.example.com"), reason="yes")
        guard.execute(UPDATE)


def test_a_yes_counts_within_its_hours_and_a_no_always(guard: Guard) -> None:
    insert = "INSERT INTO customers (id, name, region) VALUES (9, 'x', 'west')"
    with guard.session(principal=replace(ANA, groups=frozenset({"everywhere"})), agent="bot"):
        request = asked(guard, insert)
        with pytest.raises(Denied) as caught:
            guard.approve(request.id, by=LEA, reason="now")
        assert caught.value.code == "approval.outside_hours"
        guard.deny(request.id, by=LEA, reason="not now")
        assert code_of(guard, insert) == "approval.denied"
    refusal = entries(guard, "refusal")[-1]
    assert refusal["decision"]["reasons"] == [{"code": "approval.denied", "rule": None}]  # type: ignore[index]


def test_a_grant_ahead_serves_its_rule_its_principal_and_its_purpose_alone(guard: Guard) -> None:
    with guard.session(principal=ANA, agent="bot"):
        request = guard.request_window("update", seconds=600, reason="an afternoon's work")
        assert (request.kind, request.window_s, request.why) == ("grant", 600, "an afternoon's work")
        asked(guard, UPDATE)
        guard.approve(request.id, by=LEA, reason="go on")
        for name in ("a", "b"):
            guard.execute(UPDATE.replace("'x'", f"'{name}'"))
        asked(guard, DELETE)
        for rule, seconds, code in (
            ("update", 601, "approval.window"),
            ("delete-two", 1, "approval.window"),
            ("no", 1, "approval.window"),
        ):
            with pytest.raises(Denied) as caught:
                guard.request_window(rule, seconds=seconds, reason="more")
            assert caught.value.code == code
    assert [e["approval"]["kind"] for e in entries(guard, "intent")] == ["window", "window"]  # type: ignore[index]
    for principal, agent, purpose in ((BO, "bot", None), (ANA, "other", None), (ANA, "bot", "fraud")):
        with guard.session(principal=principal, agent=agent, purpose=purpose):
            asked(guard, UPDATE.replace("'x'", "'c'"))
    guard.desk.end_window(request.id, LEA, int(time.time()))
    with guard.session(principal=ANA, agent="bot"):
        asked(guard, UPDATE.replace("'x'", "'d'"))


def test_broken_glass_is_loud_and_reviewed_by_somebody_else(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    with guard.session(principal=ANA, agent="bot"):
        with pytest.raises(UsageError), guard.break_glass("  "):
            pass
        with guard.break_glass("Nobody answers"):
            assert guard.execute(UPDATE).rows_changed == 1
            assert code_of(guard, DELETE) == "approval.break_glass"
        asked(guard, UPDATE)
    with guard.session(principal=replace(ANA, groups=frozenset({"leads"})), agent="bot"), guard.break_glass("me too"):
        assert code_of(guard, UPDATE) == "approval.break_glass"
    kinds = [entry["type"] for entry in guard.ledger.entries() if entry["type"] != "key.bind"]
    assert kinds[:3] == ["approval.review.opened", "intent", "outcome"]
    assert entries(guard, "intent")[0]["approval"]["kind"] == "break_glass"  # type: ignore[index]
    now = int(time.time())
    (review,) = guard.desk.reviews(now=now)
    assert (review.request.requester, review.reason, review.due_at - review.opened_at) == (ANA.id, "Nobody answers", 3600)
    with pytest.raises(Denied) as own:
        guard.desk.close_review(review.id, ANA, "fine", now)
    assert own.value.code == "approval.self"
    late = now + 3601
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: late)
        with guard.session(principal=ANA, agent="bot"), guard.break_glass("again"):
            assert code_of(guard, UPDATE) == "approval.break_glass"
    guard.desk.close_review(review.id, LEA, "It was necessary.", now)
    assert guard.desk.reviews(now=now) == ()
    assert entries(guard, "approval.review.closed")


def test_real_values_are_read_once_with_all_other_masks_and_filters_in_force(guard: Guard) -> None:
    question = "SELECT id, email, phone FROM customers WHERE email LIKE '%@example.com' ORDER BY id"
    with guard.session(principal=ANA, agent="bot"):
        assert guard.execute(question).rows == ()
    with guard.session(principal=ANA, agent="bot", purpose="fraud"):
        request = asked(guard, question)
        assert "customers.email" in request.summary
        guard.approve(request.id, by=LEA, reason="case 7")
        assert guard.execute(question).rows == ((1, "ida@example.com", "hidden"),)
        asked(guard, question)
        # What changes rows lifts nothing.
        assert code_of(guard, "UPDATE customers SET name = email WHERE id = 1").startswith("mask.")
    assert entries(guard, "intent")[-1]["decision"]["lifted"] == ["customers.email"]  # type: ignore[index]


def test_a_token_that_expires_while_somebody_is_asked_stops_the_session(shop: Path, tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"

    def slow(request: ApprovalRequest) -> Answer:
        time.sleep(2.1)
        return Answer(True, LEA, "sure")

    short = replace(ANA, expires_at=int(time.time()) + 2)
    with Guard.open(policy(), database=f"sqlite:///{shop}", ledger=ledger, approvals=CallbackChannel(slow)) as guard:
        with guard.session(principal=short, agent="bot"), pytest.raises(IdentityError) as caught:
            guard.execute(UPDATE)
        assert caught.value.code == "identity.token_expired"
        assert entries(guard, "intent") == []
        with guard.session(principal=replace(ANA, expires_at=None), agent="bot"):
            # The yes is still there, and of the same person.
            assert guard.execute(UPDATE).rows_changed == 1


def test_a_yes_that_nobody_gave_or_that_was_used_is_not_taken(guard: Guard, tmp_path: Path) -> None:
    with guard.session(principal=ANA, agent="bot"):
        request = asked(guard, UPDATE)
        with sqlite3.connect(tmp_path / "audit.db.approvals") as planted:
            planted.execute("UPDATE requests SET state = 'approved', decided_at = created_at WHERE id = ?", (request.id,))
        assert code_of(guard, UPDATE) == "approval.forged"
    with guard.session(principal=ANA, agent="second"):
        request = asked(guard, UPDATE)
        guard.approve(request.id, by=LEA, reason="once")
        guard.execute(UPDATE)
        with sqlite3.connect(tmp_path / "audit.db.approvals") as planted:
            planted.execute("UPDATE requests SET state = 'approved', used_at = NULL WHERE id = ?", (request.id,))
        assert code_of(guard, UPDATE) == "approval.forged"


def test_the_ledger_of_all_that_verifies(guard: Guard, tmp_path: Path) -> None:
    with guard.session(principal=ANA, agent="bot"):
        request = asked(guard, UPDATE)
        guard.approve(request.id, by=LEA, reason="once")
        guard.execute(UPDATE)
    report = verify(tmp_path / "audit.db")
    assert (report.problems, report.unknown) == ((), ())


def test_a_yes_for_one_database_runs_nothing_in_another_of_the_same_ledger(guard: Guard, shop: Path, tmp_path: Path) -> None:
    production = tmp_path / "production.db"
    production.write_bytes(shop.read_bytes())
    with Guard.open(policy(), database=f"sqlite:///{production}", ledger=f"sqlite:///{tmp_path / 'audit.db'}") as other:
        with guard.session(principal=ANA, agent="bot"):
            request = asked(guard, UPDATE)
            assert (request.database, guard.database_label) == (guard.database_label, guard.database.name)
            window = guard.request_window("update", seconds=60, reason="here")
        guard.approve(request.id, by=LEA, reason="there")
        guard.approve(window.id, by=LEA, reason="there")
        with other.session(principal=ANA, agent="bot"):
            asked(other, UPDATE)
        with guard.session(principal=ANA, agent="bot"):
            assert guard.execute(UPDATE).rows_changed == 1
