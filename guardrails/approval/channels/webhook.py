"""Tells a service of its own by signed webhook (Standard Webhooks 1.0): a JSON object with a type, a time and what has happened."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from guardrails.approval.channel import Answer
from guardrails.approval.channels.courier import Courier
from guardrails.approval.channels.follower import Follower
from guardrails.approval.channels.outbox import Outbox
from guardrails.approval.channels.signing import WebhookSigner
from guardrails.approval.notice import Notice, notice_facts
from guardrails.approval.store import ApprovalStore
from guardrails.model import ApprovalRequest

__all__ = ["WebhookChannel", "seconds_left", "webhook_body"]

_FEWEST_S, _KEPT_S = 60, 3 * 86_400


class WebhookChannel:
    """Tells an address; the answer is given elsewhere, by whoever signs in to the console.

    Args:
        url: Of the receiver, over HTTPS or on this machine.
        secrets: To sign with; two while one replaces the other. `new_webhook_secret` makes one.
        console_url: Where the console is, for links; None leaves them out.
        outbox: The file in which messages wait until they are delivered; None keeps them in memory, and a process that ends loses
            what it has not delivered by then. The request itself is in the store in any case.
        timeout_s: Seconds for one try's steps.
        first_pause_s: Seconds until the second try; the pauses double.
        store: Where answers will be, to tell of them too, whoever gives them; None: only what is handed over is told.

    Raises:
        UsageError: The address or a secret is of another form (usage.input_invalid).
    """

    def __init__(
        self,
        url: str,
        secrets: Sequence[str],
        *,
        console_url: str | None = None,
        outbox: Path | None = None,
        timeout_s: float = 10,
        first_pause_s: float = 1,
        store: ApprovalStore | None = None,
    ) -> None:
        self._console_url = console_url
        headers = WebhookSigner(secrets).headers
        self.courier = Courier(url, Outbox(outbox), headers, timeout_s=timeout_s, first_pause_s=first_pause_s)
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
        self.courier.send(notice.id, webhook_body(notice, self._console_url), within_s=seconds_left(notice))


def webhook_body(notice: Notice, console_url: str | None) -> bytes:
    """Returns the message as UTF-8 JSON: ``type``, ``timestamp`` and ``data``, as the standard recommends."""
    at = datetime.fromtimestamp(notice.at, UTC).isoformat().replace("+00:00", "Z")
    message = {"type": notice.kind, "timestamp": at, "data": notice_facts(notice, console_url)}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def seconds_left(notice: Notice) -> float:
    """Returns for how long it makes sense to deliver a notice: until something has to be done, or three days."""
    return _KEPT_S if notice.due_at is None else max(notice.due_at - time.time(), _FEWEST_S)
