"""The store as a state machine against a model: a grant is used once, never by its requester's yes, never after its time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from guardrails.approval import ApprovalStore
from guardrails.errors import Denied
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal

T = TypeVar("T")
PEOPLE = [
    "ana@example.com",
    "ANA@example.com",
    "ａna@example.com",
    "ana\u200b@example.com",
    "bo@example.com",
    "cleo@example.com",
]
REQUESTERS = ["ana@example.com", "bo@example.com"]
GROUPS = ["finance", "ops"]


def code_or(call: Callable[[], T]) -> T | str:
    """Returns what a call returns, or the code with which it was refused."""
    try:
        return call()
    except Denied as error:
        return error.code


class Approvals(RuleBasedStateMachine):
    """Two stores on one file play two processes; the model is a dictionary of the digests."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.directory.name) / 'audit.db'}"
        self.stores = [ApprovalStore.open(url), ApprovalStore.open(url)]
        self.now = 1_000
        self.count = 0
        self.approved: dict[str, tuple[str, int]] = {}  # request id: approver, end of its time
        self.used: set[str] = set()

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.directory.cleanup()

    @rule(
        target=requests,
        which=st.integers(0, 1),
        digest=st.sampled_from(["d1", "d2", "d3"]),
        groups=st.sets(st.sampled_from(GROUPS)),
        seconds=st.integers(1, 40),
    )
    def submit(self, which: int, digest: str, groups: set[str], seconds: int) -> tuple[str, str]:
        self.count += 1
        requester = REQUESTERS[0] if digest != "d3" else REQUESTERS[1]
        terms = ApprovalTerms(tuple(groups), seconds)
        wanted = ApprovalRequest(
            f"r{self.count}", digest, requester, "bot", None, "DELETE", "delete", terms, self.now, self.now + seconds
        )
        filed = code_or(lambda: self.stores[which].submit(wanted))
        if isinstance(filed, str):
            assert filed == "approval.denied"
            return ("r0", digest)
        assert filed.digest == digest
        assert self.stores[1 - which].submit(wanted) == filed
        return (filed.id, digest)

    @rule(
        which=st.integers(0, 1),
        request=requests,
        person=st.sampled_from(PEOPLE),
        groups=st.sets(st.sampled_from(GROUPS)),
        reason=st.sampled_from(["", " ", "checked"]),
        is_yes=st.booleans(),
    )
    def decide(self, which: int, request: tuple[str, str], person: str, groups: set[str], reason: str, is_yes: bool) -> None:
        store, by = self.stores[which], Principal(person, frozenset(groups))
        before = code_or(lambda: store.status(request[0], now=self.now))
        if isinstance(before, str):
            assert (before, request[0]) == ("approval.unknown", "r0")
            return
        code = code_or(lambda: (store.approve if is_yes else store.deny)(request[0], by, reason, self.now))
        if isinstance(code, str):
            assert store.status(request[0], now=self.now) == before
            assert (code == "approval.expired") == (before.state == "expired")
            assert (code == "approval.closed") == (before.state in {"approved", "denied", "used"})
            return
        wanted = before.request
        assert before.state == "pending"
        assert self.now < wanted.expires_at
        assert wanted.requester[:2] != person[:2].lower().replace("ａ", "a")
        assert not wanted.terms.groups or groups & set(wanted.terms.groups)
        assert reason.strip() or not is_yes
        if is_yes:
            self.approved[request[0]] = (person, wanted.expires_at)

    @rule(which=st.integers(0, 1), digest=st.sampled_from(["d1", "d2", "d3", "d4"]))
    def consume(self, which: int, digest: str) -> None:
        grant = self.stores[which].consume(digest, self.now)
        if grant is None:
            return
        assert grant.digest == digest
        assert grant.request_id not in self.used
        approver, ends_at = self.approved[grant.request_id]
        assert grant.approver == approver
        assert self.now < ends_at
        self.used.add(grant.request_id)
        assert self.stores[1 - which].consume(digest, self.now) is None

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def nothing_pending_is_over_or_twice_there(self) -> None:
        pending = self.stores[0].pending(now=self.now)
        assert all(request.expires_at > self.now for request in pending)
        assert len({request.digest for request in pending}) == len(pending)


Approvals.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestApprovals = Approvals.TestCase
