"""The desk on both engines: what counts as a yes, when, how often, and what whoever writes to the tables cannot make of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from threading import Timer

import psycopg
import pytest

from guardrails.approval import ApprovalDesk, Review
from guardrails.errors import GuardrailsError, LedgerError
from guardrails.ledger.verify import verify
from guardrails.model import ApprovalRequest, ApprovalTerms, Impact, Principal, Statement, WorkingHours
from tests.support.approvals import ANA, BO, KIM, LEA, NOW, Bench, ahead, asked


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("approvals")
    return (
        Bench.in_file(folder) if request.param == "sqlite" else Bench.in_server(request.getfixturevalue("postgres_url"), folder)
    )


@pytest.fixture(scope="module")
def desk(bench: Bench) -> Iterator[ApprovalDesk]:
    with bench.desk() as desk:
        yield desk


def filed(desk: ApprovalDesk, **terms: object) -> ApprovalRequest:
    return desk.submit(asked(now=NOW, **terms))


def code_of(call: Callable[..., object], *arguments: object, **options: object) -> str:
    with pytest.raises(GuardrailsError) as refused:
        call(*arguments, **options)
    return refused.value.code


def entries(desk: ApprovalDesk, session: str) -> list[dict[str, object]]:
    return list(desk.ledger.entries(session=session))


def test_a_quorum_is_of_different_people(desk: ApprovalDesk) -> None:
    request = filed(desk, quorum=2)
    first = desk.approve(request.id, BO, "checked", NOW)
    assert (first.state, first.missing, first.approvers, first.approver) == ("pending", 1, (BO.id,), "")
    assert desk.consume(request.digest, NOW) is None
    assert code_of(desk.approve, request.id, replace(BO, id=" BO@Example.com"), "again", NOW) == "approval.voted"
    assert desk.approve(request.id, LEA, "checked too", NOW + 1).state == "approved"
    grant = desk.consume(request.digest, NOW + 2, requester=ANA, terms=request.terms)
    assert grant is not None
    assert (grant.kind, grant.approver, grant.approvers) == ("approval", LEA.id, (BO.id, LEA.id))
    assert (grant.reason, grant.decided_at) == ("checked too", NOW + 1)
    assert desk.consume(request.digest, NOW + 2) is None
    status = desk.status(request.id, now=NOW + 2)
    assert (status.state, status.used_at, [vote.reason for vote in status.votes]) == (
        "used",
        NOW + 2,
        ["checked", "checked too"],
    )
    told = entries(desk, request.id)
    assert [entry["type"] for entry in told] == ["approval.requested", "approval.decided", "approval.decided", "approval.used"]
    assert [entry.get("vote") for entry in told] == [None, 1, 2, None]
    assert told[1]["approver"] == {"id": BO.id, "issuer": None, "verified": "unverified", "groups": ["finance"]}
    assert "checked" not in str(told)


def test_one_no_denies_also_after_a_yes(desk: ApprovalDesk) -> None:
    request = filed(desk, quorum=2)
    desk.approve(request.id, BO, "checked", NOW)
    assert desk.deny(request.id, BO, "", NOW).state == "denied"
    assert code_of(desk.approve, request.id, LEA, "x", NOW) == "approval.closed"
    assert code_of(desk.submit, asked(request.digest, NOW)) == "approval.denied"
    assert desk.consume(request.digest, NOW) is None


@pytest.mark.parametrize(
    ("code", "by", "reason", "after_s"),
    [
        ("approval.self", Principal("Ana@example.com", frozenset({"finance"})), "x", 0),
        ("approval.not_approver", KIM, "x", 0),
        ("approval.reason_required", BO, "", 0),
        ("approval.expired", BO, "x", 100),
        ("approval.outside_hours", BO, "x", 0),
        ("identity.token_expired", replace(BO, expires_at=1), "x", 0),
    ],
)
def test_answers_that_do_not_count_are_not_recorded(
    desk: ApprovalDesk, code: str, by: Principal, reason: str, after_s: int
) -> None:
    hours = (WorkingHours((), 0, 0),) if code == "approval.outside_hours" else ()
    request = filed(desk, hours=hours)
    assert code_of(desk.approve, request.id, by, reason, NOW + after_s) == code
    assert [entry["type"] for entry in entries(desk, request.id)] == ["approval.requested"]
    assert desk.consume(request.digest, NOW) is None


def test_a_yes_ends_with_the_request_s_time_and_stays_ended(desk: ApprovalDesk) -> None:
    request = filed(desk)
    desk.approve(request.id, BO, "checked", NOW)
    assert desk.consume(request.digest, NOW + 100) is None
    assert desk.consume(request.digest, NOW) is None
    assert desk.status(request.id, now=NOW).state == "expired"


def test_a_window_is_good_for_many_until_it_closes(desk: ApprovalDesk) -> None:
    request = desk.submit(ahead(600, NOW))
    assert desk.windows(request.digest, NOW) is None
    desk.approve(request.id, BO, "tonight's repairs", NOW)
    for _ in range(2):
        grant = desk.windows(request.digest, NOW + 599, requester=ANA, terms=request.terms)
        assert grant is not None
        assert (grant.kind, grant.request_id, grant.approvers) == ("window", request.id, (BO.id,))
    assert desk.consume(request.digest, NOW) is None
    assert [status.request.id for status in desk.open_windows(now=NOW)] == [request.id]
    # The policy may have become stricter since.
    shorter = replace(request.terms, window_s=60)
    assert code_of(desk.windows, request.digest, NOW + 70, requester=ANA, terms=shorter) == "approval.forged"
    assert desk.windows(request.digest, NOW + 600) is None


@pytest.mark.parametrize("by", [Principal(ANA), LEA])
def test_a_window_is_ended_by_its_requester_or_an_approver(desk: ApprovalDesk, by: Principal) -> None:
    request = desk.submit(ahead(600, NOW))
    assert code_of(desk.end_window, request.id, by, NOW) == "approval.closed"
    desk.approve(request.id, BO, "tonight's repairs", NOW)
    assert code_of(desk.end_window, request.id, KIM, NOW) == "approval.not_approver"
    assert desk.end_window(request.id, by, NOW + 5).state == "ended"
    assert desk.windows(request.digest, NOW + 5) is None
    assert desk.count(now=NOW)["ended"] >= 1
    assert entries(desk, request.id)[-1]["type"] == "approval.window.ended"
    assert code_of(desk.end_window, request.id, by, NOW + 5) == "approval.closed"


def test_a_review_is_closed_by_somebody_else_with_a_comment(desk: ApprovalDesk) -> None:
    request = replace(asked(now=NOW), requester="max@example.com")
    review = desk.open_review(Review(request.id, request, "the shop is down", NOW, NOW + 60))
    assert desk.review(review.id) == review
    assert review in desk.reviews(now=NOW)
    assert not desk.overdue("max@example.com", NOW + 59)
    assert desk.overdue("MAX@example.com", NOW + 60)
    assert not desk.overdue(ANA, NOW + 60)
    for by, comment, code in (
        (Principal("max@example.com", BO.groups), "fine", "approval.self"),
        (KIM, "fine", "approval.not_approver"),
        (BO, " ", "approval.reason_required"),
        (replace(BO, expires_at=NOW), "fine", "identity.token_expired"),
    ):
        assert code_of(desk.close_review, review.id, by, comment, NOW) == code
    closed = desk.close_review(review.id, BO, "it was down", NOW + 61)
    assert (closed.closed_by, closed.comment, closed.closed_at, closed.is_open) == (BO.id, "it was down", NOW + 61, False)
    assert closed in desk.reviews(now=NOW + 61, is_open=False)
    assert not desk.overdue("max@example.com", NOW + 62)
    assert code_of(desk.close_review, review.id, LEA, "again", NOW) == "approval.closed"
    assert code_of(desk.review, "none") == "approval.unknown"
    told = entries(desk, review.id)
    assert [entry["type"] for entry in told] == ["approval.review.opened", "approval.review.closed"]
    assert "down" not in str(told)


def test_pages_are_newest_first_and_by_state(desk: ApprovalDesk) -> None:
    before = desk.count(now=NOW)
    made = [desk.submit(asked(now=NOW + 1 + number // 2)) for number in range(7)]
    desk.deny(made[3].id, BO, "", NOW)
    newest = sorted(made, key=lambda request: (request.created_at, request.id), reverse=True)
    first = desk.page(now=NOW, limit=4)
    assert [status.request for status in first] == newest[:4]
    second = desk.page(now=NOW, limit=3, before=first[-1].request.id)
    assert [status.request for status in second] == newest[4:]
    assert [status.request.id for status in desk.page(now=NOW, states=("denied",), limit=1)] == [made[3].id]
    assert desk.page(now=NOW, states=(), limit=5) == desk.page(now=NOW, before="none") == ()
    after = desk.count(now=NOW)
    assert (after["pending"] - before["pending"], after["denied"] - before["denied"]) == (6, 1)
    assert [request.id for request in desk.pending(now=NOW, limit=2)] == [request.id for request in desk.pending(now=NOW)][:2]


def test_everything_of_a_request_comes_back(desk: ApprovalDesk, bench: Bench) -> None:
    request = replace(
        asked(now=NOW, quorum=3, hours=(WorkingHours((0, 4), 540, 1020, "Europe/Berlin"),)),
        requester="an\ud800a\0",
        statement=Statement("UPDATE \ud800", {"a": b"\0\xff", "b": [1.5, None, True]}, "postgres"),
        impact=Impact((("orders", 3),), True, "engine.timeout"),
        understood={"reads": ["orders.id"], "obligations": [{"type": "limit", "rows": 5}]},
        why="a customer\0 called",
        session_id="s",
    )
    desk.submit(request)
    with bench.desk() as other:
        assert other.get(request.id) == request
        assert other.waiting(request.digest, NOW) == request
    assert code_of(desk.submit, replace(asked(request.digest, NOW), requester=ANA)) == "approval.mismatch"


TAMPERED = {
    "a yes is planted": ("INSERT INTO votes SELECT id, 1, 'bo', 'bo@example.com', NULL, 'jwt', 'approved', 'x', {now}, NULL, ''"
                         " FROM requests WHERE id = '{id}'",
                         "UPDATE requests SET state = 'approved', decided_at = {now} WHERE id = '{id}'"),
    "a yes is planted with the entry of another's": (
        "INSERT INTO votes SELECT '{id}', 1, person, approver, issuer, verified, answer, reason, at, entry_index, leaf_hash"
        " FROM votes WHERE answer = 'approved' AND entry_index IS NOT NULL AND person = 'bo@example.com' LIMIT 1",
        "UPDATE requests SET state = 'approved', decided_at = {now} WHERE id = '{id}'"),
    "it is simply approved": ("UPDATE requests SET state = 'approved', decided_at = {now} WHERE id = '{id}'",),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_a_planted_yes_is_refused(desk: ApprovalDesk, bench: Bench, how: str) -> None:
    other = filed(desk)
    desk.approve(other.id, BO, "checked", NOW)
    request = filed(desk)
    for statement in TAMPERED[how]:
        assert bench.tamper(statement.format(id=request.id, now=NOW)) == 1
    for _ in range(2):
        assert code_of(desk.consume, request.digest, NOW, requester=ANA, terms=request.terms) == "approval.forged"
    assert desk.consume(other.digest, NOW) is not None


def test_a_yes_of_too_few_is_refused(desk: ApprovalDesk, bench: Bench) -> None:
    request = filed(desk, quorum=2)
    desk.approve(request.id, BO, "checked", NOW)
    bench.tamper(f"UPDATE requests SET state = 'approved', decided_at = {NOW} WHERE id = '{request.id}'")
    assert code_of(desk.consume, request.digest, NOW) == "approval.forged"
    # Not even when the request in the table says that one is enough.
    bench.tamper(f"UPDATE requests SET body = replace(body, '\"quorum\":2', '\"quorum\":1') WHERE id = '{request.id}'")
    assert code_of(desk.consume, request.digest, NOW) == "approval.forged"
    assert desk.get(request.id).terms.quorum == 1
    assert code_of(desk.consume, request.digest, NOW, terms=request.terms) == "approval.forged"


def test_a_no_cannot_be_taken_out(desk: ApprovalDesk, bench: Bench) -> None:
    request = filed(desk, quorum=2)
    desk.approve(request.id, BO, "checked", NOW)
    desk.deny(request.id, KIM_OF_FINANCE, "", NOW)
    bench.tamper(f"DELETE FROM votes WHERE request = '{request.id}' AND answer = 'denied'")
    bench.tamper(f"UPDATE requests SET state = 'pending', decided_at = NULL WHERE id = '{request.id}'")
    # What the ledger has is taken up again.
    assert code_of(desk.approve, request.id, LEA, "checked", NOW) == "approval.closed"
    assert desk.status(request.id, now=NOW).state == "denied"


KIM_OF_FINANCE = Principal("kim@example.com", frozenset({"finance"}))


def test_a_used_yes_cannot_be_set_back(desk: ApprovalDesk, bench: Bench) -> None:
    request = filed(desk)
    desk.approve(request.id, BO, "checked", NOW)
    assert desk.consume(request.digest, NOW) is not None
    bench.tamper(f"UPDATE requests SET state = 'approved', used_at = NULL WHERE id = '{request.id}'")
    assert code_of(desk.consume, request.digest, NOW) == "approval.forged"
    # From then on it is used again, and the same may be asked for anew.
    assert desk.consume(request.digest, NOW) is None
    again = desk.submit(asked(request.digest, NOW))
    assert again.id != request.id
    # Nor does a copy of the row under another id help.
    bench.tamper(f"UPDATE requests SET state = 'approved', decided_at = {NOW} WHERE id = '{again.id}'")
    bench.tamper(f"UPDATE votes SET request = '{again.id}' WHERE request = '{request.id}'")
    assert code_of(desk.consume, request.digest, NOW) == "approval.forged"


def test_time_is_not_added_in_the_table(desk: ApprovalDesk, bench: Bench) -> None:
    request, window = filed(desk), desk.submit(ahead(10, NOW))
    for made in (request, window):
        desk.approve(made.id, BO, "checked", NOW)
        bench.tamper(f"UPDATE requests SET expires_at = expires_at + 9000, ends_at = ends_at + 9000 WHERE id = '{made.id}'")
        bench.tamper(f"UPDATE requests SET body = replace(body, '\"window_s\":10', '\"window_s\":9000') WHERE id = '{made.id}'")
        bench.tamper(
            f"UPDATE requests SET body = replace(body, '\"expires_at\":{NOW + 100}', '\"expires_at\":{NOW + 9000}')"
            f" WHERE id = '{made.id}'"
        )
    assert (desk.get(request.id).expires_at, desk.get(window.id).window_s) == (NOW + 9000, 9000)
    assert code_of(desk.consume, request.digest, NOW + 200) == "approval.forged"
    assert code_of(desk.windows, window.digest, NOW + 200) == "approval.forged"


def test_a_window_stays_ended(desk: ApprovalDesk, bench: Bench) -> None:
    window = desk.submit(ahead(600, NOW))
    desk.approve(window.id, BO, "checked", NOW)
    desk.end_window(window.id, BO, NOW)
    bench.tamper(f"UPDATE requests SET state = 'approved' WHERE id = '{window.id}'")
    assert code_of(desk.windows, window.digest, NOW) == "approval.forged"
    assert desk.windows(window.digest, NOW) is None


def test_a_single_yes_does_not_become_a_window(desk: ApprovalDesk, bench: Bench) -> None:
    request = filed(desk)
    desk.approve(request.id, BO, "checked", NOW)
    bench.tamper(f"UPDATE requests SET is_window = 1 WHERE id = '{request.id}'")
    assert code_of(desk.windows, request.digest, NOW) == "approval.forged"
    bench.tamper(
        f'UPDATE requests SET body = replace(body, \'"kind":"statement"\', \'"kind":"grant"\') WHERE id = \'{request.id}\''
    )
    assert code_of(desk.windows, request.digest, NOW) == "approval.forged"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE requests SET body = replace(body, 'WHERE id = 7', 'WHERE id = 8')",
        "UPDATE requests SET body = replace(body, 'ana@example.com', 'max@example.com')",
        'UPDATE requests SET body = replace(body, \'"groups":{{"$":"tuple","v":["finance"]}}\','
        ' \'"groups":{{"$":"tuple","v":[]}}\')',
        "UPDATE requests SET entry_index = 0",
        "UPDATE requests SET entry_index = 1000000",
    ],
)
def test_people_are_not_shown_something_else(desk: ApprovalDesk, bench: Bench, change: str) -> None:
    request = filed(desk)
    assert bench.tamper(f"{change.format()} WHERE id = '{request.id}'") == 1
    assert ("body" in change) == (desk.get(request.id) != request)
    assert code_of(desk.approve, request.id, BO, "checked", NOW) == "approval.forged"
    assert desk.consume(request.digest, NOW) is None


def test_a_request_is_found_where_the_table_does_not_say(desk: ApprovalDesk, bench: Bench) -> None:
    request = filed(desk)
    bench.tamper(f"UPDATE requests SET entry_index = NULL WHERE id = '{request.id}'")
    assert desk.approve(request.id, BO, "checked", NOW).state == "approved"
    never = asked(now=NOW)
    desk.store.submit(never)
    assert code_of(desk.approve, never.id, BO, "checked", NOW) == "approval.forged"


def test_the_caller_s_terms_and_requester_hold(desk: ApprovalDesk) -> None:
    request = filed(desk)
    desk.approve(request.id, BO, "checked", NOW)
    for terms, requester in (
        (ApprovalTerms(("finance",), quorum=2), ANA),
        (ApprovalTerms(("board",)), ANA),
        (ApprovalTerms(("finance",)), "BO@example.com"),
    ):
        assert code_of(desk.consume, request.digest, NOW, requester=requester, terms=terms) == "approval.forged"
    assert desk.consume(request.digest, NOW, requester=ANA, terms=request.terms) is not None


@pytest.mark.parametrize("answer", ["approved", "denied"])
def test_an_answer_recorded_before_a_crash_counts(desk: ApprovalDesk, answer: str) -> None:
    request = filed(desk)
    give = desk.store.approve if answer == "approved" else desk.store.deny

    def record_and_fall(asked: ApprovalRequest) -> None:
        desk._record_answer(asked, answer, BO, "checked")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give(request.id, BO, "checked", NOW, record=record_and_fall)
    assert desk.status(request.id, now=NOW).state == "pending"
    if answer == "approved":
        # Whoever asks again gets it, and who answers again hears that it was done.
        assert desk.consume(request.digest, NOW, requester=ANA, terms=request.terms) is not None
    else:
        assert desk.deny(request.id, BO, "checked", NOW).state == "denied"
    votes = desk.status(request.id, now=NOW).votes
    assert [(vote.by, vote.answer, vote.entry_index is not None) for vote in votes] == [(BO.id, answer, True)]


def test_saying_yes_again_after_a_crash_says_it_once(desk: ApprovalDesk) -> None:
    request = filed(desk, quorum=2)

    def record_and_fall(asked: ApprovalRequest) -> None:
        desk._record_answer(asked, "approved", BO, "checked")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.store.approve(request.id, BO, "checked", NOW, record=record_and_fall)
    again = desk.approve(request.id, BO, "checked", NOW)
    assert (again.state, again.missing) == ("pending", 1)
    assert code_of(desk.approve, request.id, BO, "checked", NOW) == "approval.voted"
    assert desk.approve(request.id, LEA, "checked", NOW).state == "approved"
    assert len([entry for entry in entries(desk, request.id) if entry["type"] == "approval.decided"]) == 2


def test_nothing_counts_that_the_ledger_did_not_take(desk: ApprovalDesk, bench: Bench) -> None:
    request, other = filed(desk), asked(now=NOW)
    with bench.desk() as broken:
        broken.ledger.close()
        for call in (
            lambda: broken.approve(request.id, BO, "checked", NOW),
            lambda: broken.deny(request.id, BO, "checked", NOW),
            lambda: broken.submit(other),
            lambda: broken.open_review(Review(other.id, other, "x", NOW, NOW + 1)),
        ):
            with pytest.raises(LedgerError):
                call()
        assert desk.status(request.id, now=NOW).votes == ()
        assert code_of(desk.get, other.id) == code_of(desk.review, other.id) == "approval.unknown"
        desk.approve(request.id, BO, "checked", NOW)
        with pytest.raises(LedgerError):
            broken.consume(request.digest, NOW)
    assert desk.consume(request.digest, NOW) is not None


def test_a_watcher_hears_of_changes_elsewhere(desk: ApprovalDesk, bench: Bench) -> None:
    with bench.desk() as other:
        token = other.watch(0)
        assert other.watch(0.05, token) == token
        request = filed(desk)
        assert other.watch(5, token) == token + 1
        token = other.watch(0.2)
        start = time.monotonic()
        timer = Timer(0.3, desk.approve, (request.id, BO, "checked", NOW))
        timer.start()
        assert other.watch(20, token) == token + 1
        assert time.monotonic() - start < 5
        timer.join()
        assert other.status(request.id, now=NOW).state == "approved"


def test_a_yes_to_one_thing_is_none_to_another(desk: ApprovalDesk, bench: Bench) -> None:
    request, window = filed(desk), desk.submit(ahead(600, NOW))
    for made, use in ((request, desk.consume), (window, desk.windows)):
        desk.approve(made.id, BO, "checked", NOW)
        bench.tamper(f"UPDATE requests SET digest = 'of something else {made.id}' WHERE id = '{made.id}'")
        assert code_of(use, f"of something else {made.id}", NOW) == "approval.forged"
        body = f"replace(body, '{made.digest}', 'of something else {made.id}')"
        bench.tamper(f"UPDATE requests SET body = {body} WHERE id = '{made.id}'")
        assert code_of(use, f"of something else {made.id}", NOW) == "approval.forged"


@pytest.mark.parametrize("change", [("ana@example.com", "max@example.com"), ('["finance"]', "[]")])
def test_a_review_is_not_turned_into_another_s(desk: ApprovalDesk, bench: Bench, change: tuple[str, str]) -> None:
    request = asked(now=NOW)
    review = desk.open_review(Review(request.id, request, "it burns", NOW, NOW + 60))
    bench.tamper(f"UPDATE reviews SET body = replace(body, '{change[0]}', '{change[1]}') WHERE id = '{review.id}'")
    assert desk.review(review.id) != review
    by = Principal("ana@example.com", BO.groups) if "@" in change[0] else KIM
    assert code_of(desk.close_review, review.id, by, "nothing to see here", NOW) == "approval.forged"
    assert desk.review(review.id).is_open
    bench.tamper(f"DELETE FROM reviews WHERE id = '{review.id}'")


def test_a_lost_server_is_found_again(desk: ApprovalDesk, bench: Bench) -> None:
    if not bench.server:
        return
    request, token = filed(desk), desk.watch(0.1)
    with closing(psycopg.connect(bench.server, autocommit=True)) as connection:
        ended = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchone()
    assert ended is not None
    assert ended[0] >= 3
    assert desk.approve(request.id, BO, "checked", NOW).state == "approved"
    assert desk.watch(5, token) > token


def test_what_is_over_is_forgotten(desk: ApprovalDesk, bench: Bench) -> None:
    used, denied, waiting, closed, left = (filed(desk) for _ in range(5))
    desk.approve(used.id, BO, "checked", NOW)
    assert desk.consume(used.digest, NOW) is not None
    desk.deny(denied.id, BO, "", NOW)
    for request in (closed, left):
        desk.open_review(Review(f"review of {request.id}", request, "x", NOW, NOW + 1))
    desk.close_review(f"review of {closed.id}", BO, "fine", NOW)
    for before in (NOW + 100, NOW + 5_000):  # a denied one is needed for as long as it stands; the future is not over
        desk.forget(before, NOW + 50)
        assert desk.status(denied.id, now=NOW + 50).state == "denied"
    assert code_of(desk.review, f"review of {closed.id}") == "approval.unknown"
    assert desk.waiting(waiting.digest, NOW + 50) == waiting
    assert desk.forget(NOW + 101, NOW + 101) >= 3
    for request in (used, denied, waiting):
        assert code_of(desk.get, request.id) == "approval.unknown"
    assert [review.request for review in desk.reviews(now=NOW + 101)][-1:] == [left]
    told = [entry for entry in desk.ledger.entries() if entry["type"] == "approval.forgotten"]
    assert told[-1]["before"] == NOW + 101
    # What was used once stays used, whoever writes the row anew.
    desk.store.submit(used)
    bench.tamper(f"UPDATE requests SET state = 'approved', decided_at = {NOW} WHERE id = '{used.id}'")
    assert code_of(desk.consume, used.digest, NOW) == "approval.forged"
    lost = set(desk.lost_reviews(NOW))
    bench.tamper(f"DELETE FROM reviews WHERE id = 'review of {left.id}'")
    assert set(desk.lost_reviews(NOW)) - lost == {f"review of {left.id}"}


def test_a_row_that_nobody_of_ours_wrote_is_refused(desk: ApprovalDesk, bench: Bench) -> None:
    request = filed(desk)
    for body in ("", "[]", "{}", '{"\x24":"uuid","v":"x"}', '{"terms":1}'):
        bench.tamper(f"UPDATE requests SET body = '{body}' WHERE id = '{request.id}'")
        assert code_of(desk.get, request.id) == code_of(desk.approve, request.id, BO, "x", NOW) == "approval.forged"
    bench.tamper(f"DELETE FROM requests WHERE id = '{request.id}'")


def test_the_ledger_stays_verifiable(desk: ApprovalDesk, bench: Bench) -> None:
    assert desk.ledger.size > 0
    assert verify(bench.url, key=desk.ledger.verifier_key).is_verified
