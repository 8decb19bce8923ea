"""Delivers an outbox's messages to one address from a thread of its own, again and again until they arrive or are too late.

Whoever tells waits for nobody. A message is tried at once, then after pauses that double from one second to ten minutes, each a little
shorter or longer by chance; a receiver that says when to come back is heeded. What is still waiting when the process ends is taken up
by the next that has the same outbox and address.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from guardrails.approval.channels.outbox import Message, Outbox
from guardrails.approval.channels.posting import Posted, post, require_private_target
from guardrails.errors import Denied

__all__ = ["Courier"]

_LOGGER = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 600.0
_LOOK_S = 30.0
"""Another process may have left something behind."""

Headers = Callable[[str, int, bytes], Mapping[str, str]]
"""Makes a message's headers from its id, the time (Unix seconds) and the body: a signature is as old as the try that it is for."""


class Courier:
    """The thread, which begins with the first message, or at once when `begin` is called.

    Args:
        url: Where messages go.
        outbox: Where they wait.
        headers: Makes their headers.
        timeout_s: Seconds for one try's steps.
        first_pause_s: Seconds until the second try.

    Raises:
        UsageError: The address is neither HTTPS nor loopback HTTP (usage.input_invalid).
    """

    def __init__(
        self, url: str, outbox: Outbox, headers: Headers, *, timeout_s: float = 10, first_pause_s: float = _FIRST_PAUSE_S
    ) -> None:
        require_private_target(url)
        self._url = url
        self._outbox = outbox
        self._headers = headers
        self._timeout_s = timeout_s
        self._first_pause_s = first_pause_s
        # The file must not hold the address, which may be a secret.
        self._destination = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._host = urlsplit(url).hostname
        self._lock = threading.Lock()
        self._has_news = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._is_closed = False

    def send(self, message_id: str, body: bytes, *, within_s: float) -> None:
        """Takes a message over, to be delivered within so many seconds; one that is known already is not sent again.

        Raises:
            Denied: The outbox is full or cannot be written (approval.channel_down).
        """
        now = time.time()
        self._outbox.add(self._destination, message_id, body, now, now + within_s)
        self.begin()

    def begin(self) -> None:
        """Starts the thread where it does not run, also after a fork."""
        if self._pid != os.getpid():
            self._lock, self._has_news = threading.Lock(), threading.Event()
            self._thread, self._pid = None, os.getpid()
        with self._lock:
            if self._is_closed:
                raise Denied("approval.channel_down", "The webhook is closed.")
            self._has_news.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="guardrails-webhook", daemon=True)
                self._thread.start()

    def counts(self) -> dict[str, int]:
        """Returns how many messages of this address wait, are delivered, or have failed."""
        return self._outbox.counts(self._destination)

    def close(self, wait_s: float = 5) -> None:
        """Stops after the message that is under way, waiting for it for `wait_s` seconds at most. Closing twice is allowed."""
        with self._lock:
            self._is_closed = True
            self._has_news.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(wait_s)
        self._outbox.close()

    def _work(self) -> None:
        while not self._is_closed:
            # Before the look: what is added after it is looked for once more.
            self._has_news.clear()
            try:
                message = self._outbox.take(self._destination, time.time(), self._timeout_s * 4)
                if message is None:
                    self._rest(self._outbox.next_due(self._destination))
                else:
                    self._deliver(message)
            except Denied as error:
                _LOGGER.warning("The outbox for %s cannot be used: %s", self._host, error.evidence.get("error", error.message))
                self._rest(None)

    def _deliver(self, message: Message) -> None:
        now = time.time()
        if message.expires_at <= now:
            self._give_up(message, "too late")
            return
        headers = self._headers(message.id, int(now), message.body)
        posted = post(self._url, message.body, headers, timeout_s=self._timeout_s, now=now)
        if not posted.problem:
            self._outbox.end(message, time.time())
        elif posted.is_final:
            self._give_up(message, posted.problem)
        else:
            pause_s = self._pause_s(message, posted)
            _LOGGER.info("%s did not take %s (%s); next try in %.1f s", self._host, message.id, posted.problem, pause_s)
            self._outbox.retry(message, time.time() + pause_s, posted.problem)

    def _pause_s(self, message: Message, posted: Posted) -> float:
        doubled = self._first_pause_s * 2.0 ** min(message.attempts - 1, 20)
        # By chance, so that many senders do not come back at the same moment; nothing secret hangs on it.
        pause_s = min(doubled, _LONGEST_PAUSE_S) * random.uniform(0.8, 1.2)  # noqa: S311
        return max(pause_s, posted.retry_after_s or 0.0)

    def _give_up(self, message: Message, problem: str) -> None:
        _LOGGER.warning("%s was not told of %s: %s, after %d tries", self._host, message.id, problem, message.attempts)
        self._outbox.end(message, time.time(), problem)

    def _rest(self, due_at: float | None) -> None:
        wait_s = _LOOK_S if due_at is None else min(max(due_at - time.time(), 0.01), _LOOK_S)
        if not self._is_closed:
            self._has_news.wait(wait_s)
