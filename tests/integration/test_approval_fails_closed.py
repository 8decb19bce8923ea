"""A configuration of approvals that is missing or mistyped ends in an error at load or a refusal, never in a run without a yes."""

from __future__ import annotations

import importlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from guardrails import Guard, Policy, Principal
from guardrails.approval import ApprovalStore
from guardrails.errors import ApprovalRequired, Denied, GuardrailsError, PolicyError, UsageError

ANA = Principal("ana@example.com", frozenset({"support"}))
READ = "  - {id: read, effect: allow, actions: [select], relations: [orders]}\n"

MISTYPED = {
    "effect-other-spelling": "effect: aprove",
    "effect-upper-case": "effect: Approve",
    "effect-yes-no": "effect: yes",
    "effect-list": "effect: [approve]",
    "effect-nothing": "effect:",
    "effect-null": "effect: null",
    "key-of-the-rule": "effect: approve, aproval: {groups: [leads]}",
    "key-of-the-terms": "effect: approve, approval: {group: [leads]}",
    "key-of-the-quorum": "effect: approve, approval: {quorom: 2}",
    "terms-of-an-allow": "effect: allow, approval: {groups: [leads]}",
    "terms-as-text": "effect: approve, approval: leads",
    "terms-as-list": "effect: approve, approval: [leads]",
    "groups-empty": "effect: approve, approval: {groups: []}",
    "groups-of-nobody": 'effect: approve, approval: {groups: [""]}',
    "groups-of-spaces": 'effect: approve, approval: {groups: ["  "]}',
    "groups-as-text": "effect: approve, approval: {groups: leads}",
    "groups-of-everybody": 'effect: approve, approval: {groups: ["*"]}',
    "groups-null": "effect: approve, approval: {groups: null}",
    "quorum-of-none": "effect: approve, approval: {quorum: 0}",
    "quorum-as-text": 'effect: approve, approval: {quorum: "2"}',
    "quorum-as-truth": "effect: approve, approval: {quorum: true}",
    "quorum-negative": "effect: approve, approval: {quorum: -1}",
    "expires-without-unit": "effect: approve, approval: {expires: 5x}",
    "expires-at-once": "effect: approve, approval: {expires: 0}",
    "expires-never": "effect: approve, approval: {expires: never}",
    "reason-as-text": 'effect: approve, approval: {reason_required: "no"}',
    "hours-of-no-zone": 'effect: approve, approval: {hours: {begins: "09:00", ends: "17:00", zone: Nowhere}}',
    "hours-backwards": 'effect: approve, approval: {hours: {begins: "17:00", ends: "09:00"}}',
    "glass-for-nobody": "effect: approve, approval: {break_glass: {groups: []}}",
    "glass-as-truth": "effect: approve, approval: {break_glass: true}",
    "window-as-truth": "effect: approve, approval: {window: true}",
    "impact-unknown": "effect: approve, approval: {impact: cuont}",
    "unmask-of-a-change": "effect: approve, approval: {unmask: true}",
    "principals-mistyped": "effect: approve, principal: {groups: [support]}",
    "condition-unknown": "effect: approve, when: argument.id == 1",
}


@pytest.mark.parametrize("part", list(MISTYPED.values()), ids=list(MISTYPED))
@pytest.mark.parametrize("action", ["delete", "payment.refund"])
def test_a_mistyped_rule_does_not_load(part: str, action: str) -> None:
    about = "actions: [delete], relations: [orders]" if action == "delete" else "actions: [payment.refund]"
    with pytest.raises(PolicyError) as caught:
        Policy.from_text(f"version: 1\nrules:\n{READ}  - {{id: asked, {about}, {part}}}\n")
    assert caught.value.line > 0


WAITING = {
    "no-terms": "effect: approve",
    "terms-of-nothing": "effect: approve, approval: {}",
    "groups-that-nobody-is-in": "effect: approve, approval: {groups: [nobody-at-all]}",
    "a-quorum-that-nobody-reaches": "effect: approve, approval: {groups: [leads], quorum: 20}",
    "two-rules-without-a-common-group": "effect: approve, approval: {groups: [others]}",
    "a-condition-that-fails": "effect: approve, when: principal.missing == 1",
}


@pytest.mark.parametrize("part", list(WAITING.values()), ids=list(WAITING))
@pytest.mark.parametrize("allows_too", [False, True], ids=["alone", "beside-an-allow"])
def test_what_loads_never_runs_without_a_yes(sqlite_path: Path, tmp_path: Path, part: str, allows_too: bool) -> None:
    about = "actions: [delete, payment.refund], relations: [orders]"
    more = f"  - {{id: also, effect: allow, {about}, principals: {{groups: [support]}}}}\n" if allows_too else ""
    if "others" in part:
        more += f"  - {{id: leads, effect: approve, {about}, approval: {{groups: [leads]}}}}\n"
    rule = f"  - {{id: asked, {about}, {part}}}\n"
    policy = Policy.from_text(f"version: 1\nrules:\n{READ}{more}{rule}")
    ran: list[object] = []
    with Guard.open(policy, database=f"sqlite:///{sqlite_path}", ledger=f"sqlite:///{tmp_path / 'a.db'}") as guard:
        calls: list[Any] = [
            lambda: guard.execute("DELETE FROM orders WHERE id = 1"),
            lambda: guard.call_tool(ran.append, {"sql": "DELETE FROM orders WHERE id = 1"}, tool="run"),
            lambda: guard.call_action(ran.append, {"object": 1}, name="payment.refund"),
        ]
        with guard.session(principal=ANA):
            for call in calls * 2:
                with pytest.raises((ApprovalRequired, Denied)):
                    call()
        with guard.session(principal=Principal("lee", frozenset({"leads"}))):
            for request in guard.pending():
                with pytest.raises(Denied):  # who asks is never who approves
                    guard.approve(request.id, by=ANA, reason="mine")
        assert "intent" not in {entry["type"] for entry in guard.ledger.entries()}
    with closing(sqlite3.connect(sqlite_path)) as database:
        assert (ran, database.execute("SELECT count(*) FROM orders").fetchone()) == ([], (4,))


CHANNELS: dict[str, Any] = {
    "console-mistyped": "consoel",
    "upper-case": "Console",
    "empty": "",
    "spaces": " console",
    "webhook-without-a-scheme": "webhook",
    "webhook-without-tls": "webhook+ftp://example.com",
    "one-of-several": ["console", "wiat"],
    "several-in-a-text": "console, wait",
    "no-channel": 7,
    "true": True,
    "an-object": object(),
    "a-class": ApprovalStore,
}


@pytest.mark.parametrize("channel", list(CHANNELS.values()), ids=list(CHANNELS))
def test_a_channel_that_is_not_there_is_told_at_the_start(sqlite_path: Path, tmp_path: Path, channel: Any) -> None:
    policy = Policy.from_text(f"version: 1\nrules:\n{READ}")
    with pytest.raises(UsageError):
        Guard.open(
            policy, database=f"sqlite:///{sqlite_path}", ledger=f"sqlite:///{tmp_path / 'a.db'}", approvals=channel
        ).close()


@pytest.mark.parametrize(
    "answer", [True, "yes", object(), {"is_approved": True}, 1], ids=["true", "text", "object", "mapping", "one"]
)
def test_what_a_broken_channel_answers_is_no_yes(sqlite_path: Path, tmp_path: Path, answer: object) -> None:
    class Broken:
        def ask(self, request: object) -> object:
            return answer

    policy = Policy.from_text(f"version: 1\nrules:\n{READ}  - {{id: a, effect: approve, actions: [payment.refund]}}\n")
    ran: list[object] = []
    with (
        Guard.open(
            policy,
            database=f"sqlite:///{sqlite_path}",
            ledger=f"sqlite:///{tmp_path / 'a.db'}",
            approvals=Broken(),  # type: ignore[arg-type]
        ) as guard,
        guard.session(principal=ANA),
        pytest.raises(GuardrailsError),
    ):
        guard.call_action(ran.append, {"object": 1}, name="payment.refund")
    assert ran == []


NAMES: dict[str, dict[str, Any]] = {
    "argument-mistyped": {"sql": "sqll"},
    "argument-empty": {"sql": ""},
    "argument-of-another-kind": {"sql": 3},
    "name-with-spaces": {"name": "my tool"},
    "name-with-a-glob": {"name": "dele*"},
    "name-of-another-kind": {"name": 3},
}


@pytest.mark.parametrize("options", list(NAMES.values()), ids=list(NAMES))
def test_a_decorator_with_mistyped_names_decorates_nothing(sqlite_path: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    policy = Policy.from_text(f"version: 1\nrules:\n{READ}")
    with Guard.open(policy, database=f"sqlite:///{sqlite_path}", ledger=f"sqlite:///{tmp_path / 'a.db'}") as guard:
        with pytest.raises(UsageError):
            guard.tool(**options)(lambda sql: sql)
        with guard.session(principal=ANA), pytest.raises(UsageError):
            guard.call_tool(lambda sql: sql, {"sql": "DELETE FROM orders"}, sql_argument="sqll")
        for mistyped in ({"approval": "console"}, {"approvels": "console"}, {"unsafe_with_scan": True}):
            with pytest.raises(TypeError):
                Guard.open(policy, database="sqlite://", ledger="sqlite:///:memory:", **mistyped)  # type: ignore[arg-type]


@pytest.mark.parametrize("framework", ["openai", "anthropic", "langchain", "openai_agents", "pydantic_ai", "llama_index"])
@pytest.mark.parametrize(
    "chosen", ["sqll", "", {"qurey": "text"}, {"query": "tekst"}], ids=["argument", "empty", "tool", "of-a-tool"]
)
def test_tools_with_a_mistyped_sql_argument_are_not_made(
    sqlite_path: Path, tmp_path: Path, framework: str, chosen: Any
) -> None:
    guard_tools = importlib.import_module(f"guardrails.integrations.{framework}").guard_tools

    def query(text: str) -> str:
        """Runs a query."""
        return text

    def mail(to: str) -> str:
        """Sends a mail."""
        return to

    policy = Policy.from_text(f"version: 1\nrules:\n{READ}")
    with Guard.open(policy, database=f"sqlite:///{sqlite_path}", ledger=f"sqlite:///{tmp_path / 'a.db'}") as guard:
        with pytest.raises(UsageError):
            guard_tools(guard, [query, mail], sql_argument=chosen)
        guard_tools(guard, [query, mail], sql_argument="text")
        guard_tools(guard, [query, mail], sql_argument={"query": "text", "mail": None})
