"""Places that a ledger's store can be in, for tests that hold for all stores, and a small log that needs no keys.

`appended` writes what the ledger's core would write, as far as a store can tell: real leaf hashes in real tiles, but notes that
nobody signed.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import sql

from guardrails.errors import LedgerError
from guardrails.ledger.merkle import leaf_hash, root_hash
from guardrails.ledger.stores.base import Batch, Head, Leaf, Secret, Store, Tile

FIRST_HEAD = Head(verifier_key="log+key", note="note of 0 entries\n")
TILE_WIDTH = 256
STORES = ["postgres", *(["sqlite"] if find_spec("guardrails.ledger.stores.sqlite") else [])]


class Place(Protocol):
    """Where one ledger is, or is to be. `address` means it in another process: see `open_store`."""

    address: tuple[str, str, str]

    def open(self, *, read_only: bool = False) -> Store: ...

    def spoil(self) -> None:
        """Puts something else there."""

    def remove(self) -> None: ...


@dataclass(frozen=True)
class PostgresPlace:
    """A schema of its own in a database."""

    url: str
    schema: str

    @classmethod
    def new(cls, url: str) -> PostgresPlace:
        return cls(url, f"guardrails_test_{uuid.uuid4().hex[:12]}")

    @property
    def address(self) -> tuple[str, str, str]:
        return ("postgres", self.url, self.schema)

    def open(self, *, read_only: bool = False, **options: object) -> Store:
        from guardrails.ledger.stores.postgres import PostgresStore

        return PostgresStore(self.url, schema=self.schema, read_only=read_only, **options)  # type: ignore[arg-type]

    def execute(self, template: str, *values: object) -> list[tuple[object, ...]]:
        """Runs one statement as the tables' owner; ``{s}`` is the schema."""
        with closing(psycopg.connect(self.url, autocommit=True)) as connection:
            cursor = connection.execute(sql.SQL(template).format(s=sql.Identifier(self.schema)), values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def spoil(self) -> None:
        self.execute("CREATE SCHEMA IF NOT EXISTS {s}")
        self.execute("CREATE TABLE {s}.invoices (id int)")

    def remove(self) -> None:
        self.execute("DROP SCHEMA IF EXISTS {s} CASCADE")


@dataclass(frozen=True)
class SqlitePlace:
    """A file."""

    path: Path

    @property
    def address(self) -> tuple[str, str, str]:
        return ("sqlite", str(self.path), "")

    def open(self, *, read_only: bool = False) -> Store:
        from guardrails.ledger.location import Location
        from guardrails.ledger.stores.sqlite import SqliteStore

        return SqliteStore(Location(self.path), read_only=read_only)

    def spoil(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE invoices (id INTEGER)")
            connection.commit()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def open_store(kind: str, place: str, schema: str) -> Store:
    """Opens a store by its address."""
    return PostgresPlace(place, schema).open() if kind == "postgres" else SqlitePlace(Path(place)).open()


def begun(store: Store) -> Store:
    """Makes the ledger if there is none."""
    with store.transaction():
        if store.is_new():
            store.create(FIRST_HEAD)
    return store


def batch_after(store: Store, leaves: list[Leaf], **more: object) -> Batch:
    """Returns the batch that adds leaves to the ledger as it is now in this transaction, with the tiles that they complete."""
    head = store.head()
    size = head.size + len(leaves)
    new = Head(head.verifier_key, f"note of {size} entries {uuid.uuid4()}\n", size, sha256(str(size).encode()).digest())
    new = replace(new, time_us=head.time_us + 1, archived=head.archived)
    tiles = []
    for index in range(head.size // TILE_WIDTH, size // TILE_WIDTH):
        start, end = index * TILE_WIDTH, (index + 1) * TILE_WIDTH
        stored = [leaf for _, leaf in store.leaves(start, head.size)] if start < head.size else []
        fresh = [leaf.data for leaf in leaves[max(start - head.size, 0) : end - head.size]]
        hashes = [leaf_hash(data) for data in stored + fresh]
        tiles.append(Tile(0, index, b"".join(hashes), root_hash(hashes)))
    return Batch(head.size, new, leaves, tiles, **more)  # type: ignore[arg-type]


def appended(store: Store, *texts: tuple[str, str], **more: object) -> Batch:
    """Appends (session, text) as entries in a transaction of its own, and returns the batch."""
    with store.transaction():
        return append_within(store, *texts, **more)


def append_within(store: Store, *texts: tuple[str, str], **more: object) -> Batch:
    """Appends (session, text) as entries in the transaction that is open."""
    seqs = store.next_seqs({session for session, _ in texts})
    leaves = []
    for session, text in texts:
        # The random part stands for an entry's id.
        leaves.append(Leaf(f"{session}\n{seqs[session]}\n{text}\n{uuid.uuid4()}".encode(), session, seqs[session]))
        seqs[session] += 1
    batch = batch_after(store, leaves, **more)
    store.write(batch)
    return batch


def append_until_stored(store: Store, session: str, text: str, *, for_s: float = 60) -> None:
    """Appends one entry, again and again while the connection is lost and the entry is surely not stored."""
    deadline = time.monotonic() + for_s
    while True:
        try:
            appended(store, (session, text))
        except LedgerError as error:
            if error.code != "ledger.connection_lost" or time.monotonic() > deadline:
                raise
        else:
            return


def texts_of(store: Store, session: str) -> list[tuple[int, str]]:
    """Returns (place in the session, text) of a session's entries, in the order of the ledger."""
    with store.snapshot():
        leaves = store.leaves(0, store.head().size, session)
    return [(int(seq), text) for _, seq, text, _ in (data.decode().split("\n") for _, data in leaves)]


def assert_sound(store: Store) -> None:
    """Every entry up to the head is there once, and each session counts from 0 without a gap."""
    with store.snapshot():
        size = store.head().size
        leaves = store.leaves(0, size)
    assert [index for index, _ in leaves] == list(range(size))
    counts: dict[str, int] = {}
    for _, data in leaves:
        session, seq, _, _ = data.decode().split("\n")
        assert int(seq) == counts.get(session, 0), (session, seq)
        counts[session] = int(seq) + 1
    assert len({data for _, data in leaves}) == size


@contextmanager
def new_place(kind: str, postgres_url: Callable[[], str], folder: Path) -> Iterator[Place]:
    """Lends an empty place of a kind in `STORES`."""
    place: Place = PostgresPlace.new(postgres_url()) if kind == "postgres" else SqlitePlace(folder / "ledger.db")
    try:
        yield place
    finally:
        place.remove()


def secret(index: int, name: str, *subjects: bytes, sealed: bytes | None = None) -> Secret:
    """Returns a secret with a salt that is made of its name."""
    return Secret(index, name, sha256(f"{index} {name}".encode()).digest(), sealed, subjects)
