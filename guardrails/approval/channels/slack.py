"""Tells a chat by incoming webhook, in the form of Slack's that Mattermost, Rocket.Chat and others take too.

The message has a link and no buttons: who answers signs in first. All text is plain, so that nobody's name, agent or purpose can
mention a channel or pass for a link; the whole message is in `text` as well, for chats that do not show blocks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guardrails.approval.channel import Answer
from guardrails.approval.channels.courier import Courier
from guardrails.approval.channels.follower import Follower
from guardrails.approval.channels.outbox import Outbox
from guardrails.approval.channels.webhook import seconds_left
from guardrails.approval.notice import Notice, notice_facts, notice_title
from guardrails.approval.store import ApprovalStore
from guardrails.model import ApprovalRequest

__all__ = ["SlackChannel", "slack_body"]

_LABELS = {
    "requester": "Who asks",
    "agent": "Agent",
    "purpose": "Purpose",
    "does": "What it does",
    "rules": "Rules",
    "approvers": "Who may answer",
    "answer": "Answer",
    "by": "By",
    "due": "Until",
    "request": "Request",
}
_MARKS = frozenset("*_~`\\[]()#|!@:")
"""What some chats take for markup, a mention or the start of an address in plain text."""


class SlackChannel:
    """Tells a chat; the answer is given in the console.

    Args:
        url: The incoming webhook's address, which is a secret.
        console_url: Where the console is, for the link.
        outbox: As of `WebhookChannel`.
        timeout_s: Seconds for one try's steps.
        first_pause_s: Seconds until the second try; the pauses double.
        store: Where answers will be, to tell of them too, whoever gives them; None: only what is handed over is told.

    Raises:
        UsageError: The address is neither HTTPS nor loopback HTTP (usage.input_invalid).
    """

    def __init__(
        self,
        url: str,
        *,
        console_url: str | None = None,
        outbox: Path | None = None,
        timeout_s: float = 10,
        first_pause_s: float = 1,
        store: ApprovalStore | None = None,
    ) -> None:
        self._console_url = console_url
        self.courier = Courier(url, Outbox(outbox), _no_headers, timeout_s=timeout_s, first_pause_s=first_pause_s)
        self._follower = Follower(store, self._send) if store is not None else None

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Tells that somebody asks, and returns None: the answer comes through the store.

        Raises:
            Denied: The outbox cannot take it over (approval.channel_down).
        """
        self.notify(Notice.of_request(request))
        return None

    def notify(self, notice: Notice) -> None:
        """Hands a notice to the courier. Raises as `ask`."""
        self._send(notice)
        if self._follower is not None:
            self._follower.follow(notice)

    def close(self) -> None:
        """Stops delivering; what is in a file goes on with the next process."""
        if self._follower is not None:
            self._follower.close()
        self.courier.close()

    def _send(self, notice: Notice) -> None:
        self.courier.send(notice.id, slack_body(notice, self._console_url), within_s=seconds_left(notice))


def slack_body(notice: Notice, console_url: str | None) -> bytes:
    """Returns the message as JSON with `text` and `blocks` (Slack: reference for Block Kit)."""
    facts = notice_facts(notice, console_url)
    title, link = notice_title(notice), facts.get("link")
    told = {label: str(facts[name]) for name, label in _LABELS.items() if name in facts}
    lines = [f"{label}: {_unmarked(value)}" for label, value in told.items()]
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(title)}]
    blocks.append({"type": "section", "fields": [_plain(f"{label}\n{value}") for label, value in told.items()]})
    if link:
        # The console's address is the operator's, and a request's id the store's: nothing in it is anybody's text.
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{link}|Look at it in the console>"}})
        lines.append(f"Look at it in the console: {link}")
    message = {"text": "\n".join([title, *lines]), "blocks": blocks}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _unmarked(text: str) -> str:
    """Returns a text in which a chat finds no mention, link or markup: Slack's three escapes, and a blank that shows after marks."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"{c}\u200b" if c in _MARKS else c for c in escaped)


def _no_headers(message_id: str, at: int, body: bytes) -> Mapping[str, str]:  # noqa: ARG001  of the courier's callable
    return {}
