"""Tells what becomes of requests and reviews, whoever answers them and in whichever process: from a thread that watches the store.

It follows what was told while this process runs, and at its start what is pending. A notice names its event, so that several processes
that follow the same request tell the same; an outbox that they share delivers it once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from guardrails.approval.notice import Notice
from guardrails.approval.store import ApprovalStore
from guardrails.errors import Denied

__all__ = ["Follower"]

_LOGGER = logging.getLogger(__name__)
_LOOK_S = 0.5
"""It waits at most so long for a change, so that closing is noticed."""


class Follower:
    """The thread, which begins with the first notice of something that is still open.

    Args:
        store: Where answers are.
        tell: Takes the notices of answers and of closed reviews over.
    """

    def __init__(self, store: ApprovalStore, tell: Callable[[Notice], object]) -> None:
        self._store = store
        self._tell = tell
        self._lock = threading.Lock()
        self._has_news = threading.Event()
        self._requests: dict[str, int] = {}
        """By id, how many answers were told."""
        self._reviews: set[str] = set()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._is_closed = False

    def follow(self, notice: Notice) -> None:
        """Follows what a notice tells of, where somebody still has to do something."""
        if self._pid != os.getpid():
            self._lock, self._has_news = threading.Lock(), threading.Event()
            self._thread, self._pid = None, os.getpid()
        with self._lock:
            match notice.kind:
                case "approval.requested":
                    self._requests.setdefault(notice.request.id, 0)
                case "break_glass.used":
                    self._reviews.add(notice.request.id)
                case _:
                    return
            self._has_news.set()
            if not self._is_closed and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, name="guardrails-follower", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Ends the thread at its next look. Closing twice is allowed."""
        self._is_closed = True

    def _work(self) -> None:
        try:
            seen = self._store.watch(0)
            for request in self._store.pending(now=int(time.time())):
                self._requests.setdefault(request.id, 0)
            looked_at = -1
            while not self._is_ended():
                # Much may be pending: it is looked at when something has changed, or is new here.
                if seen != looked_at or self._has_news.is_set():
                    self._has_news.clear()
                    looked_at = seen
                    self._look()
                seen = self._store.watch(_LOOK_S, seen)
        except Denied as error:
            if not self._is_closed:
                _LOGGER.warning("What becomes of requests is not told any more: %s", error.message)

    def _is_ended(self) -> bool:
        """Whether nothing is left to follow; then the next notice begins anew."""
        with self._lock:
            if self._is_closed or not (self._requests or self._reviews):
                self._thread = None
                return True
            return False

    def _look(self) -> None:
        waiting = {request.id: request for request in self._store.pending(now=int(time.time()))}
        for request_id in list(self._requests):
            request = waiting.get(request_id)
            if request is None or request.terms.quorum > 1:
                self._look_at_request(request_id)
        for review_id in list(self._reviews):
            self._look_at_review(review_id)

    def _look_at_request(self, request_id: str) -> None:
        try:
            status = self._store.status(request_id, now=int(time.time()))
        except Denied as error:
            if error.code != "approval.unknown":
                raise
            del self._requests[request_id]
            return
        told = self._requests[request_id]
        for number, vote in enumerate(status.votes[told:], told + 1):
            self._tell(Notice("approval.decided", status.request, vote.at, by=vote.by, answer=vote.answer, number=number))
        self._requests[request_id] = len(status.votes)
        if status.state != "pending":
            del self._requests[request_id]

    def _look_at_review(self, review_id: str) -> None:
        try:
            review = self._store.review(review_id)
        except Denied as error:
            if error.code != "approval.unknown":
                raise
            self._reviews.discard(review_id)
            return
        if not review.is_open:
            self._tell(Notice.of_review(review))
            self._reviews.discard(review_id)
