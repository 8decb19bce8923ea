"""Requests and answers as the console uses them, over the store of today."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from guardrails.approval import ApprovalStore
from guardrails.ledger import Ledger
from guardrails.model import ApprovalRequest, Principal


@dataclass(frozen=True)
class InterimStatus:
    request: ApprovalRequest
    state: str
    votes: tuple[object, ...] = ()
    decided_at: int | None = None
    used_at: int | None = None
    approver: str = ""
    reason: str = ""


class InterimDesk:
    def __init__(self, store: ApprovalStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    def page(self, *, states: Sequence[str], limit: int, before: str | None = None) -> tuple[InterimStatus, ...]:
        with self._store._transaction() as connection:
            self._store._expire(connection, int(time.time()))
            marks = ", ".join("?" * len(states))
            rows = connection.execute(
                f"SELECT id FROM requests WHERE state IN ({marks}) AND (? IS NULL OR (created_at, id) <"  # noqa: S608
                " (SELECT created_at, id FROM requests WHERE id = ?)) ORDER BY created_at DESC, id DESC LIMIT ?",
                (*states, before, before, limit),
            ).fetchall()
        return tuple(self.status(row[0]) for row in rows)

    def count(self) -> dict[str, int]:
        with self._store._transaction() as connection:
            self._store._expire(connection, int(time.time()))
            return dict(connection.execute("SELECT state, count(*) FROM requests GROUP BY state").fetchall())

    def status(self, request_id: str) -> InterimStatus:
        found = self._store.status(request_id, now=int(time.time()))
        return InterimStatus(found.request, found.state, (), found.decided_at, None, found.approver, found.reason)

    def approve(self, request_id: str, by: Principal, reason: str) -> None:
        self._store.approve(request_id, by, reason, int(time.time()))

    def deny(self, request_id: str, by: Principal, reason: str) -> None:
        self._store.deny(request_id, by, reason, int(time.time()))

    def reviews(self, *, is_open: bool = True) -> tuple[object, ...]:  # noqa: ARG002  its signature
        return ()

    def open_windows(self) -> tuple[InterimStatus, ...]:
        return ()

    def watch(self, timeout_s: float, since: int | None = None) -> int:
        begun = time.monotonic()
        while True:
            with self._store._transaction() as connection:
                row = connection.execute(
                    "SELECT count(*) * 1000 + coalesce(sum(state != 'pending'), 0) FROM requests"
                ).fetchone()
            if row[0] != since or time.monotonic() - begun > timeout_s:
                return int(row[0])
            time.sleep(0.1)
