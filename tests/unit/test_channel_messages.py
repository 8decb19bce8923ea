"""What leaves the house: signatures, who may be told what, and text that acts on nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from guardrails.approval import Notice, Review
from guardrails.approval.channels import new_webhook_secret
from guardrails.approval.channels.signing import WebhookSigner
from guardrails.approval.channels.slack import slack_body
from guardrails.approval.channels.webhook import webhook_body
from guardrails.errors import UsageError
from guardrails.model import ApprovalRequest, ApprovalTerms, Impact, Statement

CONSOLE = "https://console.example.com/"
SECRETS = ("4111111111111111", "eve@example.com", "because of eve", "the customer called")
REQUEST = ApprovalRequest(
    "r1",
    "d1",
    "ana@example.com",
    "<!channel> *refund*-bot\x1b[2J",
    "refunds\n<https://evil.example|click>",
    f"UPDATE orders SET card = '{SECRETS[0]}' WHERE email = '{SECRETS[1]}'",
    "update; writes orders.card",
    ApprovalTerms(("leads", "privacy"), quorum=2),
    1_800_000_000,
    1_800_000_900,
    rules=("large-refunds",),
    statement=Statement(f"UPDATE orders SET card = '{SECRETS[0]}'", {"email": SECRETS[1]}),
    understood={"params": SECRETS[1]},
    impact=Impact((("orders", 4711),)),
    why=SECRETS[2],
)
REVIEW = Review("r1", REQUEST, SECRETS[2], 1_800_000_000, 1_800_086_400)
NOTICES = [
    Notice.of_request(REQUEST),
    Notice("approval.decided", REQUEST, 1_800_000_100, by="lea@example.com", answer="approved", number=1),
    Notice.of_review(REVIEW),
    Notice.of_review(replace(REVIEW, closed_by="lea@example.com", comment=SECRETS[3], closed_at=1_800_000_200)),
]


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.kind)
def test_no_message_carries_what_runs(notice: Notice) -> None:
    for body in (webhook_body(notice, CONSOLE), slack_body(notice, CONSOLE)):
        text = body.decode()
        assert not [secret for secret in (*SECRETS, "4711", "UPDATE") if secret in text]
        pages = "reviews" if notice.kind in ("break_glass.used", "review.closed") else "requests"
        assert f"https://console.example.com/{pages}/r1" in text
        assert "\x1b" not in text


def test_a_webhook_says_who_asks_for_what_kind_of_thing() -> None:
    message = json.loads(webhook_body(NOTICES[0], CONSOLE))
    assert message["type"] == "approval.requested"
    assert message["timestamp"] == "2027-01-15T08:00:00Z"
    assert message["data"] == {
        "request": "r1",
        "requester": "ana@example.com",
        "agent": "<!channel> *refund*-bot\\x1b[2J",
        "purpose": "refunds <https://evil.example|click>",
        "does": "update; writes orders.card",
        "rules": "large-refunds",
        "approvers": "leads, privacy",
        "quorum": 2,
        "due": "2027-01-15T08:15:00Z",
        "link": "https://console.example.com/requests/r1",
    }
    assert "link" not in json.loads(webhook_body(NOTICES[0], None))["data"]


def test_an_event_keeps_its_id_and_others_have_others() -> None:
    assert Notice.of_request(REQUEST).id == NOTICES[0].id
    votes = [Notice("approval.decided", REQUEST, 1, answer="approved", number=number).id for number in (1, 2)]
    assert len({*votes, *(notice.id for notice in NOTICES)}) == 5


def test_a_chat_shows_text_and_does_nothing_with_it() -> None:
    message = json.loads(slack_body(NOTICES[0], CONSOLE))
    header, facts, link = message["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "Approval needed", "emoji": False}
    assert {field["type"] for field in facts["fields"]} == {"plain_text"}
    assert "Who asks\nana@example.com" in {field["text"] for field in facts["fields"]}
    assert link["text"]["text"] == "<https://console.example.com/requests/r1|Look at it in the console>"
    assert not any(element["type"] == "actions" for element in message["blocks"])
    told = message["text"].splitlines()
    assert told[0] == "Approval needed"
    for acting in ("<!channel>", "*refund*", "<https", "https://evil", "ana@example"):
        assert acting not in message["text"]
    assert told[-1].endswith("https://console.example.com/requests/r1")
    assert len(json.loads(slack_body(NOTICES[0], None))["blocks"]) == 2


def test_another_implementation_accepts_the_signature_of_either_secret() -> None:
    old, new, other = new_webhook_secret(), new_webhook_secret(), new_webhook_secret()
    body, at = webhook_body(NOTICES[0], CONSOLE), int(datetime.now(UTC).timestamp())
    headers = WebhookSigner([new, old]).headers("msg_1", at, body)
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers)["type"] == "approval.requested"
    for given, sent in ((other, body), (new, body.replace(b"ana", b"eve"))):
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(given).verify(sent, headers)
    late = WebhookSigner([new]).headers("msg_1", at - 600, body)
    with pytest.raises(Exception, match="too old"):
        Webhook(new).verify(body, late)


@pytest.mark.parametrize("secrets", [[], ["whsec_"], ["whsec_c2hvcnQ="], ["c2hvcnQ="], ["whsec_" + "A" * 200], ["whsec_ä"]])
def test_secrets_of_another_form_are_refused(secrets: list[str]) -> None:
    with pytest.raises(UsageError):
        WebhookSigner(secrets)


def test_a_signer_does_not_show_its_secrets() -> None:
    secret = new_webhook_secret()
    assert secret not in repr(WebhookSigner([secret]))
