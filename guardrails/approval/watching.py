"""Waiting for a change by whichever process: PostgreSQL's LISTEN and NOTIFY, or a look at SQLite's data_version every few milliseconds.

Many threads may wait; one of them looks for all. https://www.postgresql.org/docs/current/sql-listen.html,
https://www.sqlite.org/pragma.html#pragma_data_version
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from typing import Any

from guardrails.approval.database import Database, channel_down
from guardrails.errors import Denied

__all__ = ["Watcher"]

_POLL_S = 0.05
_LOOK_S = 0.5
"""One look lasts at most so long, so that closing is noticed."""


class Watcher:
    """Waits for changes of one database of approvals."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._inherited: list[Any] = []
        self._connection: Any = None
        self._version: int | None = None
        self._pid = os.getpid()
        self._turn = threading.Condition()
        self._is_taken = False
        self._seen = 0

    def wait(self, timeout_s: float, since: int | None) -> int:
        """Returns the number of changes as soon as it is larger than `since`, or what it is when the time is over; see
        `ApprovalStore.watch`.

        Raises:
            Denied: The database cannot be read, or was closed (approval.channel_down).
        """
        if self._pid != os.getpid():
            self._begin_anew()
        deadline = time.monotonic() + timeout_s
        known = self._database.changes()
        since = known if since is None else since
        while known <= since and (left_s := deadline - time.monotonic()) > 0:
            with self._turn:
                if self._is_taken:
                    self._turn.wait(min(left_s, _LOOK_S))
                    known = max(known, self._seen)
                    continue
                self._is_taken = True
            try:
                known = self._look(known, min(left_s, _LOOK_S))
            finally:
                with self._turn:
                    self._is_taken = False
                    self._seen = max(self._seen, known)
                    self._turn.notify_all()
        return known

    def close(self) -> None:
        """Ends what it holds open, as soon as nobody looks."""
        if self._pid == os.getpid():
            with self._turn:
                while self._is_taken and self._turn.wait(2 * _LOOK_S):
                    pass
                self._drop()

    def _begin_anew(self) -> None:
        """In a child after a fork, which must not touch its parent's connection."""
        self._inherited.append(self._connection)
        self._connection = None
        self._version = None
        self._pid = os.getpid()
        self._turn = threading.Condition()
        self._is_taken = False
        self._seen = 0

    def _look(self, known: int, for_s: float) -> int:
        """Waits for a change for so long and returns the number of changes; one thread at a time."""
        if self._database.is_closed:
            raise Denied("approval.channel_down", "The approvals are closed.")
        try:
            return self._listen(known, for_s) if self._database.is_server else self._poll(known, for_s)
        except (sqlite3.Error, OSError) as error:
            self._drop()
            raise channel_down(error) from error

    def _listen(self, known: int, for_s: float) -> int:
        import psycopg

        try:
            if self._connection is None:
                self._connection = self._database.place.connect()
                self._connection.autocommit = True
                self._connection.execute(f'LISTEN "{self._database.tables.schema}"')
                # What changed before it listened was not told.
                return self._database.changes()
            for _ in self._connection.notifies(timeout=for_s, stop_after=1):
                return self._database.changes()
        except psycopg.Error:
            # The next look listens anew, and asks for the number of changes.
            self._drop()
            time.sleep(min(_POLL_S, for_s))
            return self._database.changes()
        return known

    def _poll(self, known: int, for_s: float) -> int:
        if self._database.place.path is None:
            time.sleep(min(_POLL_S, for_s))
            return self._database.changes()
        if self._connection is None:
            self._connection = self._database.place.connect()
        deadline = time.monotonic() + for_s
        while True:
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._version = version
                if (changes := self._database.changes()) > known:
                    return changes
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return known
            time.sleep(min(_POLL_S, left_s))

    def _drop(self) -> None:
        connection, self._connection, self._version = self._connection, None, None
        if connection is not None:
            connection.close()
