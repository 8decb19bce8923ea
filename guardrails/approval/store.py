"""Requests that wait for a person, and the answers: a SQLite file beside the ledger, safe for several threads and processes.

    pending ──approve──▶ approved ──consume──▶ used
       │ └────deny────▶ denied        │
       └──────────── time ─────────▶ expired

Every change is one transaction that checks what it changes, so that of two who race one wins. Times are Unix seconds and always
given by the caller.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from guardrails.approval.approvers import require_approver
from guardrails.errors import Denied, IdentityError
from guardrails.ledger.location import Location
from guardrails.model import ApprovalGrant, ApprovalRequest, ApprovalTerms, Principal

__all__ = ["ApprovalStatus", "ApprovalStore", "Record", "State"]

State: TypeAlias = Literal["pending", "approved", "denied", "expired", "used"]
Record: TypeAlias = Callable[[ApprovalRequest], object]

_SUFFIX = ".approvals"
_BUSY_TIMEOUT_S = 30
_TABLES = (
    """CREATE TABLE IF NOT EXISTS requests (
        id TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, requester TEXT NOT NULL, agent TEXT, purpose TEXT, sql TEXT NOT NULL,
        summary TEXT NOT NULL, groups TEXT NOT NULL, expires_s INTEGER NOT NULL, is_reason_required INTEGER NOT NULL,
        created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'used')),
        approver TEXT, reason TEXT, decided_at INTEGER, used_at INTEGER
    ) STRICT""",
    "CREATE UNIQUE INDEX IF NOT EXISTS open_requests ON requests (digest) WHERE state IN ('pending', 'approved')",
    "CREATE INDEX IF NOT EXISTS requests_by_digest ON requests (digest)",
)
_REQUEST = "id, digest, requester, agent, purpose, sql, summary, groups, expires_s, is_reason_required, created_at, expires_at"


@dataclass(frozen=True, slots=True)
class ApprovalStatus:
    """How far a request has come; `decided_at` in Unix seconds. Approver and reason are empty until somebody decides."""

    request: ApprovalRequest
    state: State
    approver: str = ""
    reason: str = ""
    decided_at: int | None = None


class ApprovalStore:
    """The requests of one ledger; made by `ApprovalStore.open`. Safe to share between threads.

    Every method raises Denied (approval.channel_down) when the file cannot be read or written: without it nobody can say yes.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._is_closed = False

    @classmethod
    def open(cls, url: str | Path) -> ApprovalStore:
        """Opens the approvals that belong to a ledger, and makes the file where there is none.

        Args:
            url: The ledger's: ``sqlite:///path``, ``sqlite:///:memory:`` or a path. The approvals are in ``<path>.approvals``,
                for the ledger's own file holds nothing that is not signed.

        Raises:
            UsageError: The URL is not supported (usage.database_unsupported).
        """
        store = cls(Location.parse(url).beside(_SUFFIX))
        with store._transaction():
            pass
        return store

    def submit(self, request: ApprovalRequest) -> ApprovalRequest:
        """Files a request at its `created_at`.

        Returns:
            The request; the earlier one when the same digest waits already, or is approved and not used yet.

        Raises:
            Denied: Somebody said no to the same digest, and that request's time is not over (approval.denied); or another
                requester's open request has this digest (approval.mismatch).
        """
        now = request.created_at
        with self._transaction() as connection:
            self._expire(connection, now)
            rows = connection.execute(
                f"SELECT {_REQUEST}, state FROM requests WHERE digest = ?"  # noqa: S608 - constant columns
                " AND (state IN ('pending', 'approved') OR (state = 'denied' AND expires_at > ?)) ORDER BY state = 'denied'",
                (request.digest, now),
            ).fetchall()
            if rows:
                found, state = _request(rows[0]), rows[0][-1]
                if state == "denied":
                    raise Denied("approval.denied", "The approver said no to exactly this.")
                if found.requester != request.requester:
                    raise Denied("approval.mismatch", "Somebody else has asked for exactly this.")
                return found
            terms = request.terms
            connection.execute(
                f"INSERT INTO requests ({_REQUEST}, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')",  # noqa: S608
                (
                    request.id, request.digest, _text(request.requester), _text(request.agent), _text(request.purpose),
                    _text(request.sql), _text(request.summary), json.dumps(terms.groups), terms.expires_s,
                    terms.reason_required, now, request.expires_at,
                ),
            )  # fmt: skip
        return request

    def pending(self, *, now: int | None = None) -> tuple[ApprovalRequest, ...]:
        """Returns the requests that wait for an answer, oldest first; without `now` also those whose time is over."""
        with self._transaction() as connection:
            rows = connection.execute(
                f"SELECT {_REQUEST} FROM requests WHERE state = 'pending' AND expires_at > ? ORDER BY created_at, id",  # noqa: S608
                (-1 if now is None else now,),
            ).fetchall()
        return tuple(_request(row) for row in rows)

    def get(self, request_id: str) -> ApprovalRequest:
        """Returns a request.

        Raises:
            Denied: There is none (approval.unknown).
        """
        with self._transaction() as connection:
            return self._status(connection, request_id).request

    def status(self, request_id: str, *, now: int) -> ApprovalStatus:
        """Returns how far a request has come. Raises as `get` does."""
        with self._transaction() as connection:
            self._expire(connection, now)
            return self._status(connection, request_id)

    def approve(self, request_id: str, by: Principal, reason: str, now: int, *, record: Record | None = None) -> None:
        """Says yes to a request.

        Args:
            request_id: Of a pending request.
            by: Who says so: not the requester, and of the groups that the request's terms name.
            reason: Why; kept here, never in the ledger.
            now: Unix seconds.
            record: Called with the request before the yes counts; when it raises, there is no yes.

        Raises:
            Denied: Unknown (approval.unknown), the time is over (approval.expired), decided already (approval.closed), `by` is
                the requester (approval.self) or no approver (approval.not_approver), or a reason is missing
                (approval.reason_required).
            IdentityError: `by` has no id or has expired.
        """
        self._decide("approved", request_id, by, reason, now, record)

    def deny(self, request_id: str, by: Principal, reason: str, now: int, *, record: Record | None = None) -> None:
        """Says no to a request; as `approve`, but never for want of a reason."""
        self._decide("denied", request_id, by, reason, now, record)

    def consume(self, digest: str, now: int) -> ApprovalGrant | None:
        """Uses up the approval of a digest: whoever gets the grant is the only one who ever does.

        Returns:
            The grant; None when nothing with this digest is approved, unused and within its time.
        """
        with self._transaction() as connection:
            self._expire(connection, now)
            row = connection.execute(
                "UPDATE requests SET state = 'used', used_at = ? WHERE digest = ? AND state = 'approved' AND expires_at > ?"
                " RETURNING id, digest, approver, reason, decided_at",
                (now, digest, now),
            ).fetchone()
        return ApprovalGrant(*row) if row else None

    def close(self) -> None:
        """Closes the file. Closing twice is allowed."""
        with self._lock:
            self._is_closed = True
            self._disconnect()

    def __enter__(self) -> ApprovalStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decide(self, state: State, request_id: str, by: Principal, reason: str, now: int, record: Record | None) -> None:
        if by.expires_at is not None and by.expires_at <= now:
            raise IdentityError("identity.token_expired", "The approver's token has expired.")
        with self._transaction() as connection:
            self._expire(connection, now)
            found = self._status(connection, request_id)
            if found.state == "pending":
                require_approver(found.request, by, reason, is_yes=state == "approved")
                connection.execute(
                    "UPDATE requests SET state = ?, approver = ?, reason = ?, decided_at = ? WHERE id = ?",
                    (state, _text(by.id), _text(reason), now, request_id),
                )
                if record:
                    record(found.request)
        # Outside the transaction: that the time is over has to stay written.
        if found.state == "expired":
            raise Denied("approval.expired", "The request's time is over.")
        if found.state != "pending":
            raise Denied("approval.closed", "The request is already decided or used.")

    def _expire(self, connection: sqlite3.Connection, now: int) -> None:
        connection.execute(
            "UPDATE requests SET state = 'expired' WHERE state IN ('pending', 'approved') AND expires_at <= ?", (now,)
        )

    def _status(self, connection: sqlite3.Connection, request_id: str) -> ApprovalStatus:
        row = connection.execute(
            f"SELECT {_REQUEST}, state, approver, reason, decided_at FROM requests WHERE id = ?",  # noqa: S608
            (request_id,),
        ).fetchone()
        if row is None:
            raise Denied("approval.unknown", "There is no such request.")
        state, approver, reason, decided_at = row[-4:]
        return ApprovalStatus(_request(row), cast("State", state), approver or "", reason or "", decided_at)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise Denied(
                    "approval.channel_down", "The approvals cannot be read or written.", evidence={"error": str(error)}
                ) from error

    def _open(self) -> sqlite3.Connection:
        if self._is_closed:
            raise Denied("approval.channel_down", "The approvals are closed.")
        if self._pid != os.getpid():
            # SQLite's connections must not cross a fork: the parent's is neither used nor, being kept, closed here.
            if self._path is None:
                raise Denied("approval.channel_down", "Approvals in memory belong to the process that made them.")
            self._inherited, self._connection, self._pid = self._connection, None, os.getpid()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            # Statements may hold values: the file, and with it SQLite's side files, is for its owner alone.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self._path or ":memory:", isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000}")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        self._connection = None


def _request(row: tuple[object, ...]) -> ApprovalRequest:
    (id_, digest, requester, agent, purpose, sql, summary, groups, expires_s, is_reason_required, created_at, expires_at) = (
        cast("tuple[str, str, str, str | None, str | None, str, str, str, int, int, int, int]", row[:12])
    )
    terms = ApprovalTerms(tuple(json.loads(groups)), expires_s, bool(is_reason_required))
    return ApprovalRequest(id_, digest, requester, agent, purpose, sql, summary, terms, created_at, expires_at)


def _text(text: str | None) -> str | None:
    # SQLite keeps UTF-8; a lone surrogate is kept as what it would look like in a source text.
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")
