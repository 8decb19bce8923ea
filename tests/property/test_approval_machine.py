"""The desk as a state machine against a model that knows neither tables nor ledger.

A yes is of as many different people as the terms want, never of the requester, never after its time, and used once; a window is good
until it closes; what was recorded before a crash counts; what is set back in the tables does not.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.approval import ApprovalDesk, ApprovalStatus, ApprovalStore
from guardrails.errors import Denied
from guardrails.ledger import Ledger
from guardrails.model import ApprovalGrant, ApprovalRequest, ApprovalTerms, Principal

T = TypeVar("T")
PEOPLE = {
    "ana@example.com": "ana",
    "ANA@example.com": "ana",
    "ａna@example.com": "ana",
    "ana\u200b@example.com": "ana",
    "bo@example.com": "bo",
    "Bo@example.com ": "bo",
    "cleo@example.com": "cleo",
    "lea@example.com": "lea",
}
"""Ways of writing ids, and whose they are."""
REQUESTERS = {"d1": "ana@example.com", "d2": "ana@example.com", "d3": "bo@example.com", "w1": "ana@example.com"}
GROUPS = ["finance", "ops"]
START = 1_000


@dataclass(frozen=True)
class Step:
    """One thing that somebody does, after some seconds, in one of two processes.

    Args:
        kind: What.
        seconds: After how long.
        which: In which process.
        about: Counts back from the newest request, around.
        by: Who answers, in which way of writing.
        groups: Theirs, or those that may answer a new request.
        reason: Why.
        digest: What a new request asks for.
        quorum: Of a new request.
        lasts_s: For how long a new request is good, and the window that it asks for.
    """

    kind: str
    seconds: int
    which: int
    about: int
    by: str
    groups: tuple[str, ...]
    reason: str
    digest: str
    quorum: int
    lasts_s: int


# Most of what is tried should count, or little is found out; and little time passes, or all is over.
KINDS = {"yes": 9, "use": 6, "submit": 4, "no": 1, "crash_yes": 2, "crash_no": 1, "end": 1, "set_back": 2}
STEPS = st.builds(
    Step,
    kind=st.sampled_from([kind for kind, weight in KINDS.items() for _ in range(weight)]),
    seconds=st.sampled_from([0] * 12 + [1, 5, 20]),
    which=st.integers(0, 1),
    about=st.sampled_from([0, 0, 0, 1, 1, 2, 3]),
    by=st.sampled_from(
        [*PEOPLE, "bo@example.com", "cleo@example.com", "lea@example.com", "cleo@example.com", "lea@example.com"]
    ),
    groups=st.sampled_from([("finance", "ops"), ("finance", "ops"), ("finance", "ops"), ("finance",), ("ops",)]),
    reason=st.sampled_from(["checked", "checked", "checked", "checked", ""]),
    digest=st.sampled_from(sorted(REQUESTERS)),
    quorum=st.sampled_from([1, 1, 2, 3]),
    lasts_s=st.sampled_from([60, 60, 40, 10]),
)


@dataclass
class Modelled:
    """What the model knows of one request."""

    request: ApprovalRequest
    state: str = "pending"
    ends_at: int = 0
    yes: list[str] = field(default_factory=list)
    recorded: list[tuple[str, bool, int]] = field(default_factory=list)  # in the ledger alone
    is_set_back: bool = False

    def at(self, now: int) -> str:
        """Returns the state at a time; that it is over stays so."""
        if self.state in ("pending", "approved") and self.ends_at <= now:
            self.state = "expired"
        return self.state

    def take_up(self, now: int) -> list[tuple[str, bool, int]]:
        """Does what whoever looks at the ledger does first, and returns the answers that count by that."""
        if self.at(now) != "pending":
            return []
        taken, self.recorded = self.recorded, []
        for answer in taken:
            self.answer(*answer)
        return taken

    def answer(self, person: str, is_yes: bool, at: int) -> None:
        """Counts an answer that is allowed."""
        if not is_yes:
            self.state = "denied"
            return
        self.yes.append(person)
        if len(self.yes) >= self.request.terms.quorum:
            self.state = "approved"
            self.ends_at = at + self.request.window_s if self.request.kind == "grant" else self.request.expires_at

    def refusal(self, by: Principal, reason: str, is_yes: bool, now: int) -> str | None:
        """Returns the code with which an answer is refused, None when it counts."""
        request, person = self.request, PEOPLE[by.id]
        checks = [
            ("approval.expired", self.at(now) == "expired"),
            ("approval.closed", self.state != "pending"),
            ("approval.self", person == PEOPLE[request.requester]),
            ("approval.not_approver", bool(request.terms.groups) and not by.groups & set(request.terms.groups)),
            ("approval.reason_required", is_yes and not reason.strip()),
            ("approval.voted", is_yes and person in self.yes),
        ]
        return next((code for code, holds in checks if holds), None)


def code_or(call: Callable[..., T], *arguments: object, **options: object) -> T | str:
    """Returns what a call returns, or the code with which it was refused."""
    try:
        return call(*arguments, **options)
    except Denied as error:
        return error.code


class Desks:
    """Two stores on one file play two processes, at one ledger; every step is held against the model."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.db"
        self.now = START
        self.ledger = Ledger.open("sqlite:///:memory:", clock_ns=lambda: self.now * 1_000_000_000)
        self.desks = [ApprovalDesk(ApprovalStore.open(self.path), self.ledger) for _ in range(2)]
        self.model: dict[str, Modelled] = {}

    def close(self) -> None:
        for desk in self.desks:
            desk.close()
        self.ledger.close()

    def take(self, step: Step) -> None:
        """Takes a step, and compares what the other process sees afterwards."""
        self.now += step.seconds
        desk = self.desks[step.which]
        if step.kind == "submit" or not self.model:
            self.submit(desk, step)
        else:
            known = [*self.model.values()][-1 - step.about % len(self.model)]
            {
                "yes": self.answer, "no": self.answer, "use": self.use, "crash_yes": self.crash, "crash_no": self.crash,
                "end": self.end, "set_back": self.set_back,
            }[step.kind](desk, step, known)  # fmt: skip
        self.compare(self.desks[1 - step.which])

    def submit(self, desk: ApprovalDesk, step: Step) -> None:
        is_window = step.digest == "w1"
        terms = ApprovalTerms(step.groups, step.lasts_s, quorum=step.quorum, window_s=60 if is_window else 0)
        wanted = ApprovalRequest(
            f"r{len(self.model)}", step.digest, REQUESTERS[step.digest], "bot", None, "DELETE", "delete", terms, self.now,
            self.now + step.lasts_s, kind="grant" if is_window else "statement", window_s=step.lasts_s if is_window else 0,
        )  # fmt: skip
        filed = code_or(desk.submit, wanted)
        same = [known for known in self.model.values() if known.request.digest == step.digest]
        standing = [known for known in same if known.at(self.now) in ("pending", "approved")]
        denied = [known for known in same if known.state == "denied" and known.request.expires_at > self.now]
        if standing:
            assert filed == standing[0].request
        elif denied:
            assert filed == "approval.denied"
        else:
            assert filed == wanted
            self.model[wanted.id] = Modelled(wanted, ends_at=wanted.expires_at)

    def answer(self, desk: ApprovalDesk, step: Step, known: Modelled) -> None:
        by, is_yes = Principal(step.by, frozenset(step.groups)), step.kind == "yes"
        taken_up = known.take_up(self.now)
        is_said = any(person == PEOPLE[step.by] and was_yes == is_yes for person, was_yes, _ in taken_up)
        refusal = None if is_said else known.refusal(by, step.reason, is_yes, self.now)
        told = code_or(desk.approve if is_yes else desk.deny, known.request.id, by, step.reason, self.now)
        if refusal is None and not is_said:
            known.answer(PEOPLE[step.by], is_yes, self.now)
        assert (told if isinstance(told, str) else None) == refusal

    def crash(self, desk: ApprovalDesk, step: Step, known: Modelled) -> None:
        """Somebody's answer gets into the ledger, and not into the store."""
        by, is_yes = Principal(step.by, frozenset(GROUPS)), step.kind == "crash_yes"
        if known.recorded or known.refusal(by, "checked", is_yes, self.now):
            return

        def record(asked: ApprovalRequest) -> None:
            desk._record_answer(asked, "approved" if is_yes else "denied", by, "checked")
            raise InterruptedError

        told = code_or(
            desk.store.approve if is_yes else desk.store.deny, known.request.id, by, "checked", self.now, record=record
        )
        assert told == "approval.channel_down"
        known.recorded.append((PEOPLE[step.by], is_yes, self.now))

    def use(self, desk: ApprovalDesk, _: Step, known: Modelled) -> None:
        digest = known.request.digest
        same = [other for other in self.model.values() if other.request.digest == digest]
        for other in same:
            other.take_up(self.now)
        good = [other for other in same if other.at(self.now) == "approved"]
        use = desk.windows if digest == "w1" else desk.consume
        terms = good[0].request.terms if good else None
        grant = code_or(use, digest, self.now, requester=REQUESTERS[digest], terms=terms)
        if not good:
            assert grant is None
        elif good[0].is_set_back:
            assert grant == "approval.forged"
            good[0].state = "used"
        else:
            self.check_grant(grant, good[0])

    def check_grant(self, grant: ApprovalGrant | str | None, known: Modelled) -> None:
        assert isinstance(grant, ApprovalGrant)
        assert (grant.request_id, grant.digest) == (known.request.id, known.request.digest)
        assert [PEOPLE[person] for person in grant.approvers] == known.yes
        assert len(set(known.yes)) == known.request.terms.quorum
        assert PEOPLE[known.request.requester] not in known.yes
        if known.request.kind != "grant":
            known.state = "used"
            assert all(desk.consume(grant.digest, self.now) is None for desk in self.desks)

    def end(self, desk: ApprovalDesk, step: Step, known: Modelled) -> None:
        told = code_or(desk.end_window, known.request.id, Principal(step.by, frozenset(GROUPS)), self.now)
        if known.request.kind == "grant" and known.at(self.now) == "approved":
            assert isinstance(told, ApprovalStatus)
            known.state = "ended"
        else:
            assert told == "approval.closed"

    def set_back(self, _: ApprovalDesk, __: Step, known: Modelled) -> None:
        """Somebody who can write to the table makes a used yes good again, where nothing else is open."""
        same = [other for other in self.model.values() if other.request.digest == known.request.digest]
        if known.state != "used" or any(other.at(self.now) in ("pending", "approved") for other in same):
            return
        with closing(sqlite3.connect(f"{self.path}.approvals")) as connection, connection:
            connection.execute("UPDATE requests SET state = 'approved' WHERE id = ?", (known.request.id,))
        known.state, known.is_set_back = "approved", True

    def compare(self, desk: ApprovalDesk) -> None:
        states = {known.request.id: known.at(self.now) for known in self.model.values()}
        people = {known.request.id: known.yes for known in self.model.values()}
        page = desk.page(now=self.now, limit=1_000)
        assert {status.request.id: status.state for status in page} == states
        assert {s.request.id: [PEOPLE[person] for person in s.approvers] for s in page} == people


@settings(max_examples=20, deadline=None)
@given(st.lists(STEPS, min_size=25, max_size=40))
def test_desks_do_what_the_model_does(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(Desks(Path(folder))) as desks:
        for step in steps:
            desks.take(step)
