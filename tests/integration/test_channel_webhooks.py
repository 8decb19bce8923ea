"""Webhooks over real connections: delivered, tried again, not lost, not sent twice, and never in the way of the request itself."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from guardrails import ApprovalRequired, Guard, Policy
from guardrails.approval import ApprovalDesk, ApprovalStore, ChannelGroup, Notice, Review, WaitingChannel, notify_channel
from guardrails.approval.channels import ChannelSettings, SlackChannel, WebhookChannel, new_webhook_secret, open_channels
from guardrails.approval.channels.outbox import Outbox
from guardrails.errors import Denied, UsageError
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal
from tests.support.guarded_shop import ANA, LEAD, POLICY
from tests.support.webhook_receiver import Receiver, receiving

SECRET = new_webhook_secret()
DELETE = "DELETE FROM orders WHERE id = 4"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with receiving() as opened:
        yield opened


@pytest.fixture
def webhook(receiver: Receiver) -> Iterator[Callable[..., WebhookChannel]]:
    opened: list[WebhookChannel] = []

    def open_one(**options: Any) -> WebhookChannel:
        chosen = {"console_url": "https://console.example.com", "first_pause_s": 0.05, "timeout_s": 2} | options
        opened.append(WebhookChannel(receiver.url, [SECRET], **chosen))
        return opened[-1]

    yield open_one
    for channel in opened:
        channel.close()


def request(number: int, expires_in_s: int = 900) -> ApprovalRequest:
    now = int(time.time())
    terms = ApprovalTerms(("leads",))
    return ApprovalRequest(f"r{number}", f"d{number}", "ana", "bot", None, "SECRET", "delete", terms, now, now + expires_in_s)


def settled(channel: WebhookChannel, **counts: int) -> None:
    deadline = time.monotonic() + 30
    while channel.courier.counts() != counts:
        assert time.monotonic() < deadline, channel.courier.counts()
        time.sleep(0.01)


def test_a_signed_message_arrives_and_the_request_stays_pending(
    receiver: Receiver, webhook: Callable[..., WebhookChannel]
) -> None:
    channel = webhook()
    asked = request(1)
    assert channel.ask(asked) is None
    (got,) = receiver.wait(1)
    assert Webhook(SECRET).verify(got.body, got.headers)["data"]["request"] == "r1"
    assert got.headers["webhook-id"] == Notice.of_request(asked).id
    assert got.headers["content-type"] == "application/json"
    assert b"SECRET" not in got.body
    settled(channel, delivered=1)


def test_what_fails_is_tried_again_with_a_fresh_signature_and_the_same_id(
    receiver: Receiver, webhook: Callable[..., WebhookChannel]
) -> None:
    receiver.answers = [(500, {}), (302, {"Location": "/elsewhere"}), (429, {"Retry-After": "1"})]
    channel = webhook()
    channel.ask(request(1))
    started = time.monotonic()
    got = receiver.wait(4)
    assert time.monotonic() - started > 1, "the receiver said when to come back"
    assert {one.headers["webhook-id"] for one in got} == {got[0].headers["webhook-id"]}
    assert {one.path for one in got} == {"/hook"}, "no redirect is followed"
    assert Webhook(SECRET).verify(got[3].body, got[3].headers)
    settled(channel, delivered=1)


def test_a_receiver_that_is_gone_is_left_alone(receiver: Receiver, webhook: Callable[..., WebhookChannel]) -> None:
    receiver.answers = [(410, {})]
    channel = webhook()
    channel.ask(request(1))
    settled(channel, failed=1)
    assert len(receiver.received) == 1


def test_the_same_event_is_told_once(receiver: Receiver, webhook: Callable[..., WebhookChannel], tmp_path: Path) -> None:
    first, second = webhook(outbox=tmp_path / "outbox"), webhook(outbox=tmp_path / "outbox")
    asked = request(1)
    for channel in (first, second, first):
        channel.ask(asked)
    second.notify(Notice("approval.decided", asked, int(time.time()), by="lea", answer="approved", number=1))
    receiver.wait(2)
    settled(first, delivered=2)
    assert sorted(json.loads(got.body)["type"] for got in receiver.received) == ["approval.decided", "approval.requested"]


def test_a_process_that_dies_loses_nothing(receiver: Receiver, tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    program = """
import os, sys
from tests.integration.test_channel_webhooks import request
from guardrails.approval.channels import WebhookChannel
channel = WebhookChannel(sys.argv[1], [sys.argv[2]], outbox=__import__("pathlib").Path(sys.argv[3]), first_pause_s=0.05)
channel.courier.begin = lambda: os._exit(9)
channel.ask(request(1))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, receiver.url, SECRET, str(outbox)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
        check=False,
    )
    assert done.returncode == 9
    assert receiver.received == []
    channel = WebhookChannel(receiver.url, [SECRET], outbox=outbox)
    channel.courier.begin()
    assert Webhook(SECRET).verify(receiver.wait(1)[0].body, receiver.received[0].headers)["data"]["request"] == "r1"
    settled(channel, delivered=1)
    channel.close()
    assert stat.S_IMODE(outbox.stat().st_mode) == 0o600
    assert receiver.url.encode() not in outbox.read_bytes(), "the address may be a secret"


def test_a_child_after_a_fork_delivers_too(receiver: Receiver) -> None:
    program = """
import os, sys, time
from tests.integration.test_channel_webhooks import request, settled
from guardrails.approval.channels import WebhookChannel
channel = WebhookChannel(sys.argv[1], [sys.argv[2]])
channel.ask(request(1))
settled(channel, delivered=1)
child = os.fork()
if not child:
    channel.ask(request(2))
    settled(channel, delivered=1)
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, receiver.url, SECRET],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert [json.loads(got.body)["data"]["request"] for got in receiver.wait(2)] == ["r1", "r2"]


def test_an_outbox_gives_a_message_to_one_and_to_another_when_that_one_dies(tmp_path: Path) -> None:
    one, other = Outbox(tmp_path / "outbox"), Outbox(tmp_path / "outbox")
    assert one.add("d", "m", b"{}", 100, 1000)
    assert not other.add("d", "m", b"{}", 101, 1000)
    taken = one.take("d", 100, 40)
    assert taken is not None
    assert taken.attempts == 1
    assert other.take("d", 120, 40) is None
    assert other.take("elsewhere", 200, 40) is None
    assert other.next_due("d") == 140
    again = other.take("d", 140, 40)
    assert again is not None
    assert again.attempts == 2
    other.end(again, 150)
    one.retry(taken, 160, "status 500")
    assert one.counts("d") == {"delivered": 1}
    one.add("d", "later", b"{}", 150 + 8 * 86_400, 10**9)
    assert one.counts("d") == {"waiting": 1}, "what is long done is forgotten"
    one.close()
    other.close()


def test_a_message_that_is_too_late_is_given_up(webhook: Callable[..., WebhookChannel], receiver: Receiver) -> None:
    channel = webhook()
    channel.courier.send("old", b"{}", within_s=-1)
    settled(channel, failed=1)
    assert receiver.received == []


def test_a_webhook_that_is_down_does_not_lose_the_request(sqlite_path: Path, tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    nowhere = WebhookChannel("http://127.0.0.1:9/hook", [SECRET], first_pause_s=0.05)
    with (
        Guard.open(Policy.from_text(POLICY), database=f"sqlite:///{sqlite_path}", ledger=ledger, approvals=nowhere) as guard,
        guard.session(principal=ANA),
    ):
        with pytest.raises(ApprovalRequired) as waiting:
            guard.execute(DELETE)
        guard.approve(waiting.value.request.id, by=LEAD)
        assert guard.execute(DELETE).rows_changed == 1
    assert nowhere.courier.counts() == {"waiting": 1}
    nowhere.close()
    nowhere.close()
    with pytest.raises(Denied):
        nowhere.ask(request(2))


def test_a_guard_tells_who_asks_that_the_glass_was_broken_and_what_became_of_it(
    sqlite_path: Path, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARDRAILS_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("GUARDRAILS_CONSOLE_URL", "https://console.example.com")
    terms = "approval: {groups: [leads], reason_required: false, break_glass: {groups: [support], review: 1h}}"
    policy = Policy.from_text(POLICY.replace("approval: {groups: [leads], reason_required: false}", terms, 1))
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    names = ["pending", f"webhook+{receiver.url}"]
    with (
        Guard.open(policy, database=f"sqlite:///{sqlite_path}", ledger=ledger, approvals=names) as guard,
        guard.session(principal=ANA, agent="bot"),
    ):
        with pytest.raises(ApprovalRequired) as waiting:
            guard.execute(DELETE)
        receiver.wait(1)
        with guard.break_glass("nobody answers"):
            assert guard.execute(DELETE).rows_changed == 1
        receiver.wait(2)
        (review,) = guard.desk.reviews(now=int(time.time()))
        # Answered elsewhere, as in the console.
        with ApprovalStore.open(ledger) as store:
            elsewhere = ApprovalDesk(store, guard.ledger)
            elsewhere.close_review(review.id, LEAD, "looked at it", int(time.time()))
            receiver.wait(3)
            elsewhere.deny(waiting.value.request.id, LEAD, "not needed any more", int(time.time()))
            told = [Webhook(SECRET).verify(got.body, got.headers) for got in receiver.wait(4)]
    request_page = f"https://console.example.com/requests/{waiting.value.request.id}"
    review_page = f"https://console.example.com/reviews/{review.id}"
    assert [(one["type"], one["data"].get("by"), one["data"].get("answer"), one["data"]["link"]) for one in told] == [
        ("approval.requested", None, None, request_page),
        ("break_glass.used", ANA.id, None, review_page),
        ("review.closed", LEAD.id, None, review_page),
        ("approval.decided", LEAD.id, "denied", request_page),
    ]
    for secret in (b"nobody answers", b"WHERE", b"looked at it", b"not needed"):
        assert not any(secret in got.body for got in receiver.received)
    assert (tmp_path / "audit.db.outbox").exists()


def test_each_answer_of_several_is_told_and_so_are_those_to_what_was_pending_before(
    receiver: Receiver, webhook: Callable[..., WebhookChannel], tmp_path: Path
) -> None:
    now = int(time.time())
    with ApprovalStore.open(f"sqlite:///{tmp_path / 'audit.db'}") as store:
        earlier = store.submit(replace(request(1), terms=ApprovalTerms(("leads",), reason_required=False)))
        asked = store.submit(replace(request(2), terms=ApprovalTerms(("leads",), reason_required=False, quorum=2)))
        channel = webhook(store=store)
        channel.ask(replace(request(3), terms=asked.terms))  # one that this store does not know
        channel.ask(asked)
        receiver.wait(2)
        for person in ("bo@example.com", "lea@example.com"):
            store.approve(asked.id, Principal(person, frozenset({"leads"})), "", now)
        store.approve(earlier.id, LEAD, "", now)
        told = [json.loads(got.body)["data"] for got in receiver.wait(5)]
    answered = {(one["request"], one["by"], one["answer"]) for one in told if "by" in one}
    assert answered == {
        ("r2", "bo@example.com", "approved"),
        ("r2", "lea@example.com", "approved"),
        ("r1", LEAD.id, "approved"),
    }


def test_an_outbox_that_cannot_be_written_is_a_channel_that_is_down(tmp_path: Path, receiver: Receiver) -> None:
    channel = WebhookChannel(receiver.url, [SECRET], outbox=tmp_path / "missing" / "outbox")
    with pytest.raises(Denied) as refused:
        channel.ask(request(1))
    assert refused.value.code == "approval.channel_down"
    with ApprovalStore.open(f"sqlite:///{tmp_path / 'audit.db'}") as store:
        asked = store.submit(request(1))
        assert ChannelGroup([WaitingChannel(store, 0.01, 0.02), channel]).ask(asked) is None, "the other was asked all the same"
        with pytest.raises(Denied):
            ChannelGroup([channel]).ask(asked)
    channel.close()


def test_several_channels_tell_first_and_then_wait(receiver: Receiver, tmp_path: Path) -> None:
    with ApprovalStore.open(f"sqlite:///{tmp_path / 'audit.db'}") as store:
        settings = ChannelSettings(store, secrets=(SECRET,), timeout_s=0.05)
        group = open_channels(["wait", f"webhook+{receiver.url}", f"slack+{receiver.url}"], settings)
        assert isinstance(group, ChannelGroup)
        asked = store.submit(request(1))
        assert group.ask(asked) is None
        bodies = [json.loads(got.body) for got in receiver.wait(2)]
        assert sorted("blocks" in body for body in bodies) == [False, True]
        review = Review(asked.id, asked, "an emergency", asked.created_at, asked.created_at + 60)
        assert notify_channel(group, review)
        assert {json.loads(got.body).get("type") for got in receiver.wait(4)} == {
            None,
            "approval.requested",
            "break_glass.used",
        }
        group.close()
        assert not notify_channel(group, replace(review, closed_by="lea", closed_at=asked.created_at)), "logged, not raised"
        assert not notify_channel(WaitingChannel(store), review)
        assert not notify_channel(None, review)


@pytest.mark.parametrize(
    "url", ["http://example.com/hook", "ftp://127.0.0.1/x", "https://", "https://me:pw@example.com/", "nonsense", "http://[::1"]
)
def test_addresses_over_which_others_read_along_are_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        SlackChannel(url)
    assert url not in str(refused.value)
