"""The ledger: an append-only, signed log of entries in one SQLite file, safe for several threads and processes.

An append is durable when it returns: one transaction holds the entry, the tree's new nodes and a checkpoint signed over them.
Before anything new is signed, the stored tree must still be the one that was signed last.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TypeAlias
from uuid import uuid4

from guardrails.errors import LedgerError, ProofError, TamperedError, UsageError
from guardrails.ledger import entry as entries
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from guardrails.ledger.merkle import EMPTY_ROOT, complete_subtrees, consistency_ranges, fold, grow, inclusion_ranges, leaf_hash
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.opening import begin_or_resume, publish
from guardrails.ledger.schema import Location
from guardrails.ledger.store import SqliteStore
from guardrails.ledger.writer import current_writer, has_ended

__all__ = ["Appended", "Ledger"]

MAX_CLOCK_STEP_BACK_S = 5
"""A clock this much behind the last entry is held at that entry's time; further behind, appending stops."""
SALT_BYTES = 32
_STAMPED = frozenset({"v", "id", "time", "seq", "writer", "commitments"})
_PAGE = 500
_Items: TypeAlias = list[tuple[Mapping[str, object], Mapping[str, bytes]]]


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an entry went: its index in the log, its id, and its leaf hash of 32 bytes."""

    index: int
    entry_id: str
    leaf_hash: bytes


class Ledger:
    """An open ledger; made by `Ledger.open`. All methods are safe to call from several threads.

    Example:
        >>> with Ledger.open("sqlite:///:memory:") as ledger:
        ...     appended = ledger.append({"type": "note", "text": "hello"})
        ...     ledger.entry(appended.index)["text"]
        'hello'
    """

    def __init__(
        self, store: SqliteStore, verifier: Verifier, signer: Signer | None, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._signer = signer
        self._clock_ns = clock_ns
        self._writer: dict[str, object] = {}
        # The longest head known to be good, with its note: what is stored may only ever be more than this.
        self._seen = (Checkpoint(verifier.name, 0, EMPTY_ROOT), "")
        self._signed = self._seen

    @classmethod
    def open(
        cls,
        url: str | Path,
        *,
        signer: Signer | None = None,
        origin: str | None = None,
        read_only: bool = False,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> Ledger:
        """Opens a ledger, and begins a new one where there is none.

        Args:
            url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``sqlite:///:memory:`` or a plain path.
            signer: What signs checkpoints; by default the key in ``<path>.key``, made with a new ledger.
            origin: The log's name in checkpoints; by default the key's name, for a new key ``ledger.local/<random>``.
            read_only: Only read: needs no private key, and the file must exist.
            clock_ns: Unix time in nanoseconds.

        Raises:
            UsageError: The URL is not supported, the file is missing (read-only), or `origin` is not this ledger's.
            LedgerError: The file cannot be opened (ledger.unavailable) or its key is missing (ledger.key_missing).
            TamperedError: The stored tree is not the one that was signed, or the file was emptied while its keys remained.
        """
        location = Location.parse(url)
        store = SqliteStore(location, read_only=read_only)
        try:
            with store.snapshot() if read_only else store.transaction():
                if read_only:
                    if store.is_new():
                        raise LedgerError("ledger.unavailable", "The file is not a ledger.")
                    verifier = Verifier.parse(store.head()[0])
                else:
                    signer = begin_or_resume(store, location, signer, origin)
                    verifier = signer.verifier()
                if origin not in (None, verifier.name):
                    raise UsageError("usage.input_invalid", f"This ledger's origin is {verifier.name}, not {origin}.")
                ledger = cls(store, verifier, signer, clock_ns)
                ledger._head()
            if not read_only:
                publish(location, verifier)
        except BaseException:
            store.close()
            raise
        return ledger

    def append(self, entry: Mapping[str, object], *, private: Mapping[str, bytes] | None = None) -> Appended:
        """Appends one entry durably and signs the new head.

        `v`, `id`, `time`, `seq` (counting from 0 within the entry's `session`) and `writer` are stamped. An entry of type
        ``outcome`` (or ``outcome.…``) names an ``intent`` by id.

        Args:
            entry: What to record, within the profile of `guardrails.ledger.entry`.
            private: Values that must not be in the log. The entry gets ``commitments``: name to the hexadecimal
                SHA-256(salt || value); the salt of 32 bytes is kept outside the tree, the value is not kept.

        Raises:
            LedgerError: The entry is invalid, the clock went backwards, or the ledger cannot be written.
            TamperedError: The stored tree is not the one that was signed last.
        """
        return self._append([(entry, private or {})])[0]

    def append_many(self, entries: Iterable[Mapping[str, object]]) -> list[Appended]:
        """Appends all entries, or none, in one transaction under one checkpoint. See `append`."""
        return self._append([(entry, {}) for entry in entries])

    def recover(self, *, force: bool = False) -> tuple[Appended, ...]:
        """Appends an ``outcome.unknown`` for each intent without outcome whose writer has ended.

        Intents of processes that run, or that cannot be judged from this host, are left alone.

        Args:
            force: Give up all open intents, whoever wrote them.
        """
        with self._writing() as signer:
            size = self._head().size
            lost: _Items = []
            for entry_id, index in self._store.open_intents():
                intent = self._decoded(index, size)
                if force or has_ended(intent.get("writer")):
                    session = {"session": intent["session"]} if "session" in intent else {}
                    lost.append(({"type": "outcome.unknown", "intent": entry_id, **session}, {}))
            return tuple(self._append_locked(lost, signer))

    @property
    def path(self) -> Path | None:
        """The ledger's file, None for a ledger in memory."""
        return self._store.path

    @property
    def size(self) -> int:
        """Number of entries now."""
        return self._current().size

    @property
    def root(self) -> bytes:
        """Root hash now."""
        return self._current().root

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._verifier.name

    @property
    def verifier_key(self) -> str:
        """The public key's text, for `guardrails.ledger.verify` and other C2SP tools."""
        return str(self._verifier)

    def checkpoint(self) -> str:
        """Returns the latest checkpoint, a signed note."""
        with self._store.snapshot():
            self._head()
            return self._store.head()[1]

    def leaf(self, index: int) -> bytes:
        """Returns the canonical bytes of an entry.

        Raises:
            LedgerError: There is no such entry (ledger.index_range).
            TamperedError: It does not have its leaf hash.
        """
        with self._store.snapshot():
            return self._leaf(index, self._head().size)

    def entry(self, index: int) -> dict[str, object]:
        """Returns an entry. Raises as `leaf` does."""
        return entries.decode(self.leaf(index))

    def entries(self, start: int = 0, end: int | None = None, *, session: str | None = None) -> Iterator[dict[str, object]]:
        """Yields the entries from `start` to `end` (exclusive; by default all), only those of `session` when it is given."""
        for _, leaf in self.leaves(start, end, session=session):
            yield entries.decode(leaf)

    def leaves(self, start: int = 0, end: int | None = None, *, session: str | None = None) -> Iterator[tuple[int, bytes]]:
        """Yields (index, canonical bytes), as `entries` does.

        Raises:
            LedgerError: The range is not within the ledger (ledger.index_range).
            TamperedError: An entry does not have its leaf hash.
        """
        size = self.size
        stop = size if end is None else end
        if not 0 <= start <= stop <= size:
            raise LedgerError("ledger.index_range", f"The range {start} to {stop} is not within the {size} entries.")
        return self._leaves(start, stop, session)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Returns the proof that entry `index` is in the tree of `size` (by default the current one).

        Raises:
            ProofError: `index` or `size` is out of range (ledger.index_range).
        """
        with self._store.snapshot():
            size = self._checked_size(size)
            return [self._store.range_root(start, end) for start, end in inclusion_ranges(index, size)]

    def consistency_proof(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        """Returns the proof that the tree of `old_size` is a prefix of the tree of `new_size` (by default the current one).

        Raises:
            ProofError: A size is out of range (ledger.index_range).
        """
        with self._store.snapshot():
            new_size = self._checked_size(new_size)
            return [self._store.range_root(start, end) for start, end in consistency_ranges(old_size, new_size)]

    def root_at(self, size: int) -> bytes:
        """Returns the root hash when the ledger had `size` entries."""
        with self._store.snapshot():
            return self._store.range_root(0, self._checked_size(size))

    def commitment_holds(self, index: int, name: str, value: bytes) -> bool | None:
        """Tells whether `value` is what an entry committed to under `name`; None when there is no such salt (any more)."""
        with self._store.snapshot():
            leaf = self._leaf(index, self._head().size)
            salt = self._store.salt(index, name)
        commitments = entries.decode(leaf).get("commitments")
        if salt is None or not isinstance(commitments, dict) or name not in commitments:
            return None
        return bool(commitments[name] == sha256(salt + value).hexdigest())

    def erase_salts(self, index: int, name: str | None = None) -> int:
        """Erases the salts of an entry, so that nobody can test guesses at its private values. Returns how many there were."""
        with self._writing():
            self._leaf(index, self._head().size)
            count = self._store.erase_salts(index, name)
        self._store.drop_old_pages()
        return count

    def close(self) -> None:
        """Closes the ledger. Closing twice is allowed."""
        self._store.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _append(self, items: _Items) -> list[Appended]:
        for entry, _ in items:
            if reserved := _STAMPED & entry.keys():
                raise _invalid(f"The ledger stamps {', '.join(sorted(reserved))} itself.")
        with self._writing() as signer:
            return self._append_locked(items, signer)

    @contextmanager
    def _writing(self) -> Iterator[Signer]:
        if self._signer is None:
            raise LedgerError("ledger.unavailable", "The ledger was opened for reading only.")
        with self._store.transaction():
            self._signed = self._seen
            yield self._signer
            signed = self._signed
        # Known only now that it is durable; another thread may have gone further meanwhile.
        if signed[0].size > self._seen[0].size:
            self._seen = signed

    def _append_locked(self, items: _Items, signer: Signer) -> list[Appended]:
        head = self._head()
        if not items:
            return []
        peaks = [(level, self._store.node(level, index)) for level, index in complete_subtrees(0, head.size)]
        time_us = self._time_us(head.size)
        appended = []
        for index, (entry, private) in enumerate(items, head.size):
            stamped, leaf = self._stamp(entry, private, index, time_us)
            digest = leaf_hash(leaf)
            self._store.add_nodes(grow(peaks, index, digest))
            self._link(stamped, index)
            appended.append(Appended(index, str(stamped["id"]), digest))
        grown = Checkpoint(head.origin, head.size + len(items), fold([digest for _, digest in peaks]))
        note = sign_checkpoint(grown, signer)
        self._store.set_head(note)
        self._signed = (grown, note)
        return appended

    def _stamp(
        self, entry: Mapping[str, object], private: Mapping[str, bytes], index: int, time_us: int
    ) -> tuple[dict[str, object], bytes]:
        session = entry.get("session", "")
        if not isinstance(session, str):
            raise _invalid("An entry's session is a string.")
        entries.encode({"session": session})  # refuses text that SQLite could not look up
        if not all(isinstance(value, bytes) for value in private.values()):
            raise _invalid("Private values are bytes.")
        stamped = {
            **entry,
            "v": entries.VERSION,
            "id": uuid4().hex,
            "time": entries.format_time(time_us),
            "writer": self._current_writer(),
        }
        salts = {name: secrets.token_bytes(SALT_BYTES) for name in private}
        if salts:
            stamped["commitments"] = {name: sha256(salt + private[name]).hexdigest() for name, salt in salts.items()}
        seq = self._store.next_seq(session)
        leaf = entries.encode(stamped | {"seq": seq})
        self._store.add_leaf(index, leaf, session, seq)
        for name, salt in salts.items():
            self._store.add_salt(index, name, salt)
        return stamped, leaf

    def _link(self, stamped: Mapping[str, object], index: int) -> None:
        """Keeps account of intents that wait for their outcome."""
        if stamped.get("type") == "intent":
            self._store.open_intent(str(stamped["id"]), index)
        if not entries.is_outcome(stamped):
            return
        intent = stamped.get("intent")
        is_unknown = self._store.intent_is_unknown(intent) if isinstance(intent, str) else None
        is_lost = stamped["type"] == "outcome.unknown"
        if not isinstance(intent, str) or is_unknown is None or (is_unknown and is_lost):
            raise _invalid("An outcome names, by id, an intent that has none yet.")
        if is_lost:
            self._store.mark_intent_unknown(intent)
        else:  # also when it had been given up: a late outcome is better than none
            self._store.close_intent(intent)

    def _time_us(self, size: int) -> int:
        now = self._clock_ns() // 1000
        if size == 0:
            return now
        last = entries.parse_time(self._decoded(size - 1, size).get("time"))
        if last - now > MAX_CLOCK_STEP_BACK_S * 1_000_000:
            raise LedgerError(
                "ledger.clock_backwards",
                "The clock is behind the last entry of the ledger.",
                evidence={"behind_s": (last - now) / 1_000_000},
            )
        return max(now, last)

    def _current_writer(self) -> dict[str, object]:
        if self._writer.get("pid") != os.getpid():  # a fork has its own identity
            self._writer = current_writer()
        return self._writer

    def _current(self) -> Checkpoint:
        with self._store.snapshot():
            return self._head()

    def _head(self) -> Checkpoint:
        """Returns the signed head after checking it against the stored tree and against the last head seen here."""
        key, note = self._store.head()
        seen, seen_note = self._seen
        if note != seen_note:
            try:
                head = open_checkpoint(note, self._verifier)
            except LedgerError as error:
                raise TamperedError("ledger.tampered", "The ledger's checkpoint is not signed by its key.") from error
            if key != str(self._verifier) or head.size < seen.size or self._store.range_root(0, seen.size) != seen.root:
                raise TamperedError("ledger.tampered", "The ledger does not contain what it contained before.")
        else:
            head = seen
        if self._store.range_root(0, head.size) != head.root:
            raise TamperedError("ledger.tampered", "The ledger's tree is not the one that was signed.")
        self._seen = (head, note)
        return head

    def _checked_size(self, size: int | None) -> int:
        current = self._head().size
        if size is None:
            return current
        if not isinstance(size, int) or not 0 <= size <= current:
            raise ProofError("ledger.index_range", f"The size is not within the {current} entries.")
        return size

    def _leaf(self, index: int, size: int) -> bytes:
        if not isinstance(index, int) or not 0 <= index < size:
            raise LedgerError("ledger.index_range", f"There is no entry {index}: the ledger has {size}.")
        leaf = self._store.leaf(index)
        if leaf is None or leaf_hash(leaf) != self._store.node(0, index):
            raise TamperedError("ledger.tampered", f"Entry {index} was changed.", evidence={"index": index})
        return leaf

    def _decoded(self, index: int, size: int) -> dict[str, object]:
        return entries.decode(self._leaf(index, size))

    def _leaves(self, start: int, stop: int, session: str | None) -> Iterator[tuple[int, bytes]]:
        while start < stop:
            end = stop if session is not None else min(start + _PAGE, stop)
            with self._store.snapshot():
                page = [(index, self._leaf(index, stop)) for index, _ in self._store.leaves(start, end, session)]
            if session is None and len(page) != end - start:
                raise TamperedError("ledger.tampered", "An entry is missing.", evidence={"from": start, "to": end})
            yield from page
            start = end


def _invalid(message: str) -> LedgerError:
    return LedgerError("ledger.entry_invalid", message)
