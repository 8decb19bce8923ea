"""The story that every integration plays through its real SDK: a refused DROP, a repaired SELECT with masked columns, a DELETE that waits
for a person, that person's yes in the store, the same call again, and the ledger with the ids of all of it.

    story = Story.open(tmp_path)                          # story.guard, story.ana, story.lead
    with ModelServer(story.script("query_database")) as server:
        ...                                               # drive the framework against server.url until it pauses or says that it waits
        story.approve()
        ...                                               # go on in the framework's own way
        story.check_sent(server)
    story.check_entries(framework="openai", tool="query_database", agent="bot", model="m", conversation="conv_1")
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardrails import Guard, Policy, Principal
from guardrails.approval import Channel
from guardrails.flow import Event
from guardrails.identity import JwtVerifier
from guardrails.testing import Conversation, ModelServer, Script, ToolCall, Turn, refusal_code
from tests.support.schema import make_sqlite_shop

__all__ = ["CALL_IDS", "DELETE", "DROP", "MASKED", "POLICY", "QUESTION", "READ", "SECRETS", "Story", "signed"]

QUESTION = "Drop the orders, then tell me who our customers are, and delete order 4."
DROP = "DROP TABLE orders"
READ = "SELECT name, email, ssn FROM customers ORDER BY id"
DELETE = "DELETE FROM orders WHERE id = 4"
CALL_IDS = ("call_drop", "call_read", "call_delete")

MASKED = ("Ada", "hidden", "***")
"""What an answer to READ shows."""
SECRETS = ("ada@example.com", "bo@example.com", "078-05-1120", "219-09-9999")
"""What nobody may ever see of it."""

POLICY = """
version: 1
rules:
  - {id: read-shop, effect: allow, actions: [select], relations: [customers, orders], principals: {groups: [support]}}
  - {id: change-orders, effect: allow, actions: [insert, update], relations: [orders], principals: {groups: [support]}}
  - id: delete-orders
    effect: approve
    actions: [delete]
    relations: [orders]
    principals: {groups: [support]}
    approval: {groups: [leads], reason_required: true}
  - {id: mail, effect: allow, actions: [send_mail], principals: {groups: [support]}}
  - {id: refund, effect: approve, actions: [refund], principals: {groups: [support]}, approval: {groups: [leads]}}
columns:
  customers.email: {mask: fixed, value: hidden}
  customers.ssn: {mask: full}
"""
_ISSUER, _AUDIENCE = "https://id.example.com", "shop"
_KEY = Ed25519PrivateKey.generate()
_VERIFIER = JwtVerifier(_ISSUER, _AUDIENCE, keys={"k": _KEY.public_key()})
_RECORDED = ("intent", "refusal")


def signed(subject: str, *groups: str) -> Principal:
    """A person established by a signed token."""
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": subject, "groups": list(groups), "exp": int(time.time()) + 600}
    return _VERIFIER.principal(jwt.encode(claims, _KEY, "EdDSA", headers={"kid": "k"}))


@dataclass
class Story:
    """The shop, its guard without a session, Ana who asks through an agent, and Lea who may approve.

    Attributes:
        guard: The open guard; `reopen` replaces it.
        database: The shop's SQLite file.
        ana: Of the group support.
        lead: Of the group leads.
    """

    guard: Guard
    folder: Path
    database: Path
    policy: str
    ana: Principal
    lead: Principal

    @classmethod
    def open(
        cls,
        folder: Path,
        channel: Channel | None = None,
        *,
        policy: str = POLICY,
        observer: Callable[[Event], None] | None = None,
    ) -> Story:
        """Makes everything in a folder. The guard is closed by `close`, or when the story is used as a context manager."""
        database = make_sqlite_shop(folder / "shop.db")
        people = signed("ana@example.com", "support"), signed("lea@example.com", "leads")
        return cls(_guard(folder, policy, channel, observer), folder, database, policy, *people)

    def reopen(self, channel: Channel | None = None) -> Guard:
        """Closes the guard and opens another on the same database, ledger and approvals, as a new process does."""
        self.guard.close()
        self.guard = _guard(self.folder, self.policy, channel)
        return self.guard

    def close(self) -> None:
        """Closes the guard."""
        self.guard.close()

    def __enter__(self) -> Story:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def script(
        self,
        tool: str,
        statements: Sequence[str] = (DROP, READ, DELETE),
        *,
        argument: str = "sql",
        more: Mapping[str, object] | None = None,
        call_ids: Sequence[str] = CALL_IDS,
        in_one_turn: bool = False,
    ) -> Script:
        """The model: runs the statements one after the other, then repeats the last result.

        It insists on what a model needs: that the refusal of DROP reads as one, and that READ is answered. Otherwise the server's
        answer is an error which says so.

        Args:
            tool: The tool's name.
            statements: What it runs.
            argument: The argument that holds the SQL.
            more: Further arguments of each call.
            call_ids: Of the calls, in order.
            in_one_turn: All calls come in the first turn.
        """
        calls = [
            ToolCall(call_id, tool, {argument: sql, **(more or {})}) for call_id, sql in zip(call_ids, statements, strict=False)
        ]

        def model(told: Conversation) -> Turn:
            for sql, result in zip(statements, told.results, strict=False):
                _require_readable(sql, result)
            done = len(told.results)
            if done == len(calls):
                return Turn(told.last)
            return Turn("", tuple(calls) if in_one_turn else (calls[done],))

        return model

    def approve(self, reason: str = "The parcel is lost.") -> str:
        """The lead says yes, in the store, to the one request that waits; returns its id."""
        (request,) = self.guard.pending()
        self.guard.approve(request.id, by=self.lead, reason=reason)
        return request.id

    def deny(self, reason: str = "Not this one.") -> str:
        """The lead says no, in the store, to the one request that waits; returns its id."""
        (request,) = self.guard.pending()
        self.guard.deny(request.id, by=self.lead, reason=reason)
        return request.id

    def orders_left(self) -> int:
        """How many orders there are, read past the guard: 4 at first, 3 after DELETE."""
        with closing(sqlite3.connect(self.database)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM orders").fetchone()
        return int(count)

    def check_masked(self, text: str) -> None:
        """An answer to READ has the masks in place of the protected values."""
        assert all(shown in text for shown in MASKED), text
        _require_no_secrets(text)

    def check_sent(self, server: ModelServer) -> None:
        """The model was told the refusal and the masked rows, and never a protected value."""
        sent = json.dumps([request.body for request in server.requests], ensure_ascii=False)
        assert "Refused (policy.no_rule)" in sent
        self.check_masked(sent)

    def entries(self, *types: str) -> list[dict[str, Any]]:
        """Returns the ledger's entries of these types, in order; intents and refusals when none is named."""
        return [entry for entry in self.guard.ledger.entries() if entry["type"] in (types or _RECORDED)]

    def check_entries(
        self,
        *,
        framework: str,
        tool: str,
        agent: str | None,
        model: str | None,
        conversation: str | None,
        call_ids: Sequence[str] = CALL_IDS,
    ) -> None:
        """The ledger has the whole story: a refusal, two intents with their outcomes, the approval, and all ids of each.

        Args:
            framework: As told in `Runtime`.
            tool: The tool's name.
            agent: In force for the calls; None when nobody named one.
            model: In force for the calls.
            conversation: In force for the calls.
            call_ids: Of the calls, in order.
        """
        # Calls of one turn may run at the same time, and be recorded in any order.
        order = {call_id: number for number, call_id in enumerate(call_ids)}
        entries = sorted(self.entries(), key=lambda entry: order.get(entry["tool_call"], len(order)))
        expected = [*zip(("refusal", "intent", "intent"), call_ids, strict=True)]
        assert [(entry["type"], entry["tool_call"]) for entry in entries] == expected
        for entry in entries:
            assert entry["tool"] == tool
            assert (entry["principal"]["id"], entry["principal"]["verified"]) == (self.ana.id, "jwt")
            assert (entry["agent"]["name"], entry["agent"]["model"], entry["conversation"]) == (agent, model, conversation)
            assert entry["runtime"]["framework"] == framework
        refused, read, deleted = entries
        assert refused["decision"]["reasons"] == [{"code": "policy.no_rule", "rule": None}]
        assert {mask["column"] for mask in read["decision"]["masks"]} == {"customers.email", "customers.ssn"}
        outcomes = {entry["intent"]: entry for entry in self.entries("outcome")}
        assert outcomes[read["id"]]["status"] == outcomes[deleted["id"]]["status"] == "ok"
        self._check_approval(deleted)
        _require_no_secrets(json.dumps(list(self.guard.ledger.entries())))

    def _check_approval(self, deleted: Mapping[str, Any]) -> None:
        request = deleted["approval"]["request"]
        asked, decided, used = (
            [entry for entry in self.entries(kind) if entry["request"] == request]
            for kind in ("approval.requested", "approval.decided", "approval.used")
        )
        assert [entry["requester"] for entry in asked] == [self.ana.id]
        # A run that goes on is another run to some frameworks.
        calls = [(e["tool"], e["tool_call"], e["conversation"], {**e["runtime"], "run": None}) for e in (asked[0], deleted)]
        assert calls[0] == calls[1]
        answers = [(e["answer"], e["approver"]["id"], e["approver"]["verified"]) for e in decided]
        assert answers == [("approved", self.lead.id, "jwt")]
        assert len(used) == 1
        assert deleted["approval"]["approver"] == self.lead.id


def _guard(folder: Path, policy: str, channel: Channel | None, observer: Callable[[Event], None] | None = None) -> Guard:
    database, ledger = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    return Guard.open(Policy.from_text(policy), database=database, ledger=ledger, approvals=channel, observer=observer)


def _require_readable(sql: str, result: str) -> None:
    found = re.search(r"Refused \([a-z_.]+\).*", result, re.DOTALL)
    code = refusal_code(found[0]) if found else None
    if sql == DROP:
        assert code == "policy.no_rule", f"the refusal of DROP reads {result!r}"
    if sql == READ:
        assert code is None, f"the answer to READ is {result!r}"
        assert all(shown in result for shown in MASKED), f"the answer to READ is {result!r}"


def _require_no_secrets(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []
