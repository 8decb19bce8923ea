"""The statements by which a ledger's rows go into PostgreSQL and come out again.

A batch becomes a handful of statements over arrays, however many entries it has. ``{s}`` stands for the schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import TypeAlias

from guardrails.errors import LedgerError
from guardrails.ledger.stores.base import Batch, Head

__all__ = [
    "HEAD",
    "INSERT_HEAD",
    "LEAF",
    "LOCK_HEAD",
    "Statement",
    "for_batch",
    "head_of",
    "head_values",
    "session_key",
    "without_nul",
]

Statement: TypeAlias = tuple[str, tuple[object, ...]]

COMMIT: Statement = ("COMMIT", ())

MAX_NAME_BYTES = 1000
"""Longest name of a commitment; longer ones do not fit into PostgreSQL's indexes."""

HEAD = "SELECT verifier_key, note, size, frontier, time_us, archived, published FROM {s}.head WHERE id = 1"
LEAF = "SELECT leaf FROM {s}.entries WHERE idx = %s"
LOCK_HEAD = HEAD.replace(" FROM", ", pg_current_xact_id()::text FROM") + " FOR UPDATE"
INSERT_HEAD = (
    "INSERT INTO {s}.head (id, verifier_key, note, size, frontier, time_us, archived, published)"
    " VALUES (1, %s, %s, %s, %s, %s, %s, %s)"
)

_UPDATE_HEAD = (
    "UPDATE {s}.head SET verifier_key = %s, note = %s, size = %s, frontier = %s, time_us = %s, archived = %s, published = %s"
    " WHERE id = 1"
)
_ENTRIES = (
    "INSERT INTO {s}.entries (idx, session, seq, leaf) SELECT %s::bigint + place - 1, session, seq, leaf"
    " FROM unnest(%b::bytea[], %s::bigint[], %b::bytea[]) WITH ORDINALITY AS new (session, seq, leaf, place)"
)
_TILES = (
    "INSERT INTO {s}.tiles (level, idx, root, hashes) SELECT * FROM unnest(%s::int[], %s::bigint[], %b::bytea[], %b::bytea[])"
)
_SECRETS = (
    "INSERT INTO {s}.secrets (idx, name, salt, sealed) SELECT * FROM unnest(%s::bigint[], %s::text[], %b::bytea[], %s::bytea[])"
)
_SUBJECTS = "INSERT INTO {s}.secret_subjects (idx, name, subject) SELECT * FROM unnest(%s::bigint[], %s::text[], %b::bytea[])"
_OPENED = "INSERT INTO {s}.open_intents (entry_id, idx, is_unknown) SELECT *, false FROM unnest(%s::text[], %s::bigint[])"
_GIVEN_UP = "UPDATE {s}.open_intents SET is_unknown = true WHERE entry_id = ANY (%s::text[])"
_CLOSED = "DELETE FROM {s}.open_intents WHERE entry_id = ANY (%s::text[])"


def for_batch(batch: Batch) -> Iterator[Statement]:
    """Yields the statements that store a batch, its head last.

    Raises:
        LedgerError: A name cannot be stored (ledger.entry_invalid).
    """
    if leaves := batch.leaves:
        sessions = [leaf.session.encode() for leaf in leaves]
        yield _ENTRIES, (batch.start, sessions, [leaf.seq for leaf in leaves], [leaf.data for leaf in leaves])
    if tiles := batch.tiles:
        yield _TILES, ([t.level for t in tiles], [t.index for t in tiles], [t.root for t in tiles], [t.hashes for t in tiles])
    if secrets := batch.secrets:
        for secret in secrets:
            if "\0" in secret.name or len(secret.name.encode()) > MAX_NAME_BYTES:
                raise LedgerError("ledger.entry_invalid", "The name of a commitment is too long, or holds a zero character.")
        columns = (
            [s.index for s in secrets],
            [s.name for s in secrets],
            [s.salt for s in secrets],
            [s.sealed for s in secrets],
        )
        yield _SECRETS, columns
        if marks := [(s.index, s.name, subject) for s in secrets for subject in dict.fromkeys(s.subjects)]:
            yield _SUBJECTS, tuple(map(list, zip(*marks, strict=True)))
    if batch.opened:
        yield _OPENED, tuple(map(list, zip(*batch.opened, strict=True)))
    if batch.given_up:
        yield _GIVEN_UP, (without_nul(batch.given_up),)
    if batch.closed:
        yield _CLOSED, (without_nul(batch.closed),)
    yield _UPDATE_HEAD, head_values(batch.head)


def head_values(head: Head) -> tuple[object, ...]:
    """Returns the parameters of `INSERT_HEAD`."""
    return head.verifier_key, head.note, head.size, head.frontier, head.time_us, head.archived, head.published


def head_of(row: tuple[object, ...]) -> Head:
    """Returns the head in a row of `HEAD`; further columns are left alone."""
    verifier_key, note, size, frontier, time_us, archived, published = row[:7]
    # The columns' types are the database's to keep; see `postgres_schema`.
    return Head(verifier_key, note, size, frontier, time_us, archived, published)  # type: ignore[arg-type]


def session_key(session: str) -> bytes:
    """Returns what a session is found by: a digest, as its name may be longer than an index takes, or hold a zero character."""
    return sha256(session.encode()).digest()


def without_nul(texts: Iterable[str]) -> list[str]:
    """Returns the texts that PostgreSQL can hold; the others are surely not in it."""
    return [text for text in texts if "\0" not in text]
