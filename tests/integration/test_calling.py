"""What a framework tells of a call: it fills what a session leaves open, brings a person of its own, and overrules nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guardrails import Guard, IdentityError, Principal, UsageError
from guardrails.integrations._runtime import principal_in, purpose_in
from guardrails.model import Runtime

POLICY = "version: 1\nrules:\n- {id: r, effect: allow, actions: [select], relations: [orders], principals: {agents: [bot]}}\n"
ANA = Principal("ana")
TOLD = Runtime("langgraph", agent="bot", model="m-1", conversation_id="thread-1", run_id="run-1")


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as made:
        made.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    (tmp_path / "policy.yaml").write_text(POLICY)
    database, ledger = f"sqlite:///{tmp_path / 'shop.db'}", f"sqlite:///{tmp_path / 'audit.db'}"
    return Guard.open(tmp_path / "policy.yaml", database=database, ledger=ledger)


def _entries(guard: Guard, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in guard.ledger.entries() if entry["type"] == kind]


def test_what_a_session_leaves_open_is_filled(guard: Guard) -> None:
    with guard.session(principal=ANA), guard.calling(TOLD):
        guard.execute("SELECT count(*) FROM orders", tool="query", tool_call_id="call-1")
    (intent,) = _entries(guard, "intent")
    assert intent["agent"] == {"name": "bot", "model": "m-1"}
    assert intent["conversation"] == "thread-1"
    assert intent["tool_call"] == "call-1"
    told = {"framework": "langgraph", "agent": "bot", "model": "m-1", "conversation": "thread-1", "run": "run-1"}
    assert intent["runtime"] == told


def test_what_a_session_says_stands(guard: Guard) -> None:
    other = Runtime("x", agent="other", model="m-2", conversation_id="c-2")
    with guard.session(principal=ANA, agent="bot", model="m-1", conversation_id="c-1"), guard.calling(other):
        guard.execute("SELECT count(*) FROM orders")
    (intent,) = _entries(guard, "intent")
    assert (intent["agent"], intent["conversation"]) == ({"name": "bot", "model": "m-1"}, "c-1")
    assert intent["runtime"]["agent"] == "other"


def test_a_context_brings_its_person(guard: Guard) -> None:
    for _ in range(2):
        with guard.calling(TOLD, ANA):
            guard.execute("SELECT count(*) FROM orders")
    first, second = _entries(guard, "intent")
    assert first["principal"]["id"] == "ana"
    assert first["session"] == second["session"]
    assert len(_entries(guard, "key.bind")) == 1
    with guard.calling(TOLD, Principal("ana", frozenset({"support"}))):
        guard.execute("SELECT count(*) FROM orders")
    assert _entries(guard, "intent")[2]["session"] != first["session"]


def test_nobody_is_refused(guard: Guard) -> None:
    with guard.calling(TOLD), pytest.raises(UsageError) as refused:
        guard.execute("SELECT count(*) FROM orders")
    assert refused.value.code == "usage.no_session"


@pytest.mark.parametrize("other", [Principal("bo"), Principal("ana", issuer="https://elsewhere.example")], ids=["id", "issuer"])
def test_another_person_is_refused(guard: Guard, other: Principal) -> None:
    with guard.session(principal=ANA), pytest.raises(IdentityError) as refused, guard.calling(TOLD, other):
        pass
    assert refused.value.code == "identity.principal_mismatch"


def test_what_a_client_can_send_establishes_nobody() -> None:
    assert principal_in({"principal": {"id": "ana"}}, SimpleNamespace(principal="ana"), None) is None
    assert principal_in(None, SimpleNamespace(principal=ANA)) == principal_in(ANA) == principal_in({"principal": ANA}) == ANA
    assert purpose_in({}, {"purpose": "refunds"}) == "refunds"
    assert purpose_in({"purpose": 7}, None) is None
