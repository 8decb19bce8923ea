"""Appending: what one transaction adds, from the entries that callers hand in to the head that is signed over them.

Everything that depends on what is stored (index, place in the session, which intents are open) is decided here, inside the store's
transaction; so several threads, processes and hosts append as if one after the other.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from guardrails.errors import LedgerError
from guardrails.ledger import entry as entries
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.group import Ticket
from guardrails.ledger.heads import KnownHead, join_peaks, peaks_of
from guardrails.ledger.merkle import fold, grow, leaf_hash
from guardrails.ledger.note import Signer
from guardrails.ledger.private import SALT_BYTES, Private, commit, witnessed
from guardrails.ledger.signing import EntrySigner, LogKey, SessionKey, SigningPool, Unsigned, key_id, unsigned
from guardrails.ledger.stores.base import Batch, Head, Leaf, Secret, Store
from guardrails.ledger.tree import TileBuilder, Tree
from guardrails.ledger.vault import Vault
from guardrails.ledger.writer import current_writer

__all__ = ["STAMPED", "Appended", "Appender", "Item", "Request"]

MAX_CLOCK_STEP_BACK_S = 5
"""A clock this much behind the last entry is held at that entry's time; further behind, appending stops."""
STAMPED = frozenset({"v", "id", "time", "seq", "writer", "commitments", "salts", "sig"})
"""Fields that the ledger writes itself."""
_KNOWN_SESSIONS = 10_000
_TRIES = 4
_REFUSALS = frozenset({"ledger.entry_invalid", "ledger.key_history", "ledger.archive_open"})
"""What is wrong with one request alone; any other error is one of the ledger, and of the whole batch."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an entry went: its index in the log, its id, and its leaf hash of 32 bytes."""

    index: int
    entry_id: str
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """An entry within the profile, and the private values that it commits to."""

    entry: dict[str, object]
    private: Mapping[str, Private]


@dataclass(frozen=True, slots=True)
class Request:
    """What one caller wants appended: all of it or nothing.

    Args:
        items: The entries; or a function that gives them, called inside the transaction with the head.
        change: Turns the head that would be written into another one, and may change the store further.
        signers: What signs from this batch's checkpoint on, the current key first; None leaves it as it is.
    """

    items: list[Item] | Callable[[Head], list[Item]]
    change: Callable[[Head], Head] | None = None
    signers: tuple[Signer, ...] | None = None


class Appender:
    """Writes batches. `commit` is called by one thread at a time.

    Args:
        store: Where to.
        known: The head that is known to be good.
        tree: The stored tree.
        signers: What signs checkpoints: the current key, which also signs entries outside of sessions, and then those that it
            replaced and that have not retired.
        vault: What seals kept values.
        clock_ns: Unix time in nanoseconds.
    """

    def __init__(
        self, store: Store, known: KnownHead, tree: Tree, signers: tuple[Signer, ...], vault: Vault, clock_ns: Callable[[], int]
    ) -> None:
        self._store = store
        self._known = known
        self.signers = signers
        self._vault = vault
        self._clock_ns = clock_ns
        self._tiles = TileBuilder(tree, store)
        self._pool = SigningPool()
        self._session_keys: WeakValueDictionary[str, SessionKey] = WeakValueDictionary()
        self._next_seq: dict[str, int] = {}
        self._written = ""
        self._peaks: tuple[str, list[tuple[int, bytes]]] = ("", [])
        self._writer: dict[str, object] = {}

    def close(self) -> None:
        """Ends what it runs beside."""
        self._pool.close()

    def bind(self, session: str, key: SessionKey) -> None:
        """Has the entries of a session signed with its key; the first one is preceded by the ``key.bind`` entry.

        Raises:
            LedgerError: The session has another key already (ledger.entry_invalid).
        """
        if self._session_keys.setdefault(session, key) is not key:
            raise _invalid("The session has a key already.")

    def peaks_of(self, head: Head) -> list[tuple[int, bytes]]:
        """Returns the head's peaks, to be grown: those that were written last, or read from its frontier."""
        return list(self._peaks[1]) if self._peaks[0] == head.note else peaks_of(head)

    def joining(self, store: Store, seen: Head) -> Appender:
        """Returns an appender that writes once, in a transaction of somebody else's, with the same keys.

        What it writes may never become durable, so it remembers nothing for this one.
        """
        tree = Tree(store)
        known = KnownHead(store, tree, self._known.verifier, seen)
        joined = Appender(store, known, tree, self.signers, self._vault, self._clock_ns)
        joined._session_keys = self._session_keys
        return joined

    def commit(self, draw: Callable[[], list[Ticket[Request, list[Appended]]]]) -> None:
        """Appends what the tickets ask for that `draw` gives, in one transaction under one checkpoint.

        A server that was lost before anything was stored is asked again, a few times.
        """
        for left in reversed(range(_TRIES)):
            try:
                return self._commit(draw)
            except LedgerError as error:
                if error.code != "ledger.connection_lost" or not left:
                    raise
        return None

    def _commit(self, draw: Callable[[], list[Ticket[Request, list[Appended]]]]) -> None:
        try:
            with self._store.transaction():
                head = self._known.read()
                if self._known.verifier != self.signers[0].verifier():
                    raise LedgerError(
                        "ledger.key_missing", "The log has another key now; open the ledger anew with its signer."
                    )
                if head.note != self._written:  # somebody else appended since, so nothing remembered need hold
                    self._forget()
                draft = _Draft(self, head, self._time_us(head))
                for ticket in draw():
                    draft.take(ticket)
                batch = draft.finished(head)
                if batch is not None:
                    self._store.write(batch)
        except BaseException:
            self._forget()
            raise
        if batch is not None:
            self.signers = draft.signers
            self._peaks = batch.head.note, draft.peaks
            self._known.advance(batch.head, self.signers[0].verifier())
            self._written = batch.head.note

    def _forget(self) -> None:
        self._next_seq.clear()
        self._tiles.forget()
        self._written = ""

    def _time_us(self, head: Head) -> int:
        now = self._clock_ns() // 1000
        if head.time_us - now > MAX_CLOCK_STEP_BACK_S * 1_000_000:
            raise LedgerError(
                "ledger.clock_backwards",
                "The clock is behind the last entry of the ledger.",
                evidence={"behind_s": (head.time_us - now) / 1_000_000},
            )
        return max(now, head.time_us)

    def _current_writer(self) -> dict[str, object]:
        if self._writer.get("pid") != os.getpid():  # a fork has its own identity
            self._writer = current_writer()
        return self._writer


class _Draft:
    """What one transaction will write; each ticket adds to it whole or not at all."""

    def __init__(self, appender: Appender, head: Head, time_us: int) -> None:
        self._appender = appender
        self._head = head
        self._time_us = time_us
        self._time = entries.format_time(time_us)
        self._writer = appender._current_writer()
        self._batch = Batch(head.size, head)
        self._log_key = _log_key(appender.signers)
        self.signers = appender.signers
        self._unsigned: list[tuple[Unsigned, str, int]] = []
        self._taken: list[tuple[Ticket[Request, list[Appended]], list[int]]] = []
        self._intents: dict[str, bool | None] = {}
        self._is_changed = False
        self.peaks: list[tuple[int, bytes]] = []
        self._undo: list[Callable[[], object]] = []
        if len(appender._next_seq) > _KNOWN_SESSIONS:
            appender._next_seq.clear()

    def take(self, ticket: Ticket[Request, list[Appended]]) -> None:
        """Adds what a ticket asks for. What is invalid in it is the error of this ticket alone."""
        request, self._undo = ticket.request, []
        ticket.result, ticket.error = None, None
        try:
            items = request.items(self._head) if callable(request.items) else request.items
            indexes = [self._add(item) for item in items]
            if request.change is not None:
                self._batch.head = request.change(self._batch.head)
                self._is_changed = True
            if request.signers is not None:
                self.signers, self._log_key = request.signers, _log_key(request.signers)
                self._batch.head = replace(self._batch.head, verifier_key=str(request.signers[0].verifier()))
                self._is_changed = True
            self._taken.append((ticket, indexes))
        except LedgerError as error:
            if error.code not in _REFUSALS:
                raise
            for undo in reversed(self._undo):
                undo()
            ticket.error = error

    def finished(self, head: Head) -> Batch | None:
        """Returns the batch with its signed head; None where there is nothing to write."""
        batch, appender = self._batch, self._appender
        digests = self._signed()
        for ticket, indexes in self._taken:
            start = batch.start
            ticket.result = [Appended(i, str(self._unsigned[i - start][0].entry["id"]), digests[i - start]) for i in indexes]
        if not batch.leaves and not self._is_changed:
            return None
        peaks = appender.peaks_of(head)
        roots: dict[tuple[int, int], bytes] = {}
        for index, digest in enumerate(digests, head.size):
            roots.update({(level, idx): root for level, idx, root in grow(peaks, index, digest) if level and not level & 7})
        batch.tiles = appender._tiles.add(head, digests, roots)
        note, size = head.note, head.size + len(batch.leaves)
        if batch.leaves:
            root = fold([digest for _, digest in peaks])
            note = sign_checkpoint(Checkpoint(appender._known.verifier.name, size, root), *self.signers)
        changed = batch.head
        time_us = self._time_us if batch.leaves else head.time_us
        batch.head = Head(changed.verifier_key, note, size, join_peaks(peaks), time_us, changed.archived, changed.published)
        self.peaks = peaks
        return batch

    def _signed(self) -> list[bytes]:
        """Signs what was taken, makes it the batch's leaves, and returns their hashes."""
        signatures = self._appender._pool.sign([entry for entry, _, _ in self._unsigned])
        for (entry, session, seq), signature in zip(self._unsigned, signatures, strict=True):
            self._batch.leaves.append(Leaf(entry.sealed(signature), session, seq))
        return [leaf_hash(leaf.data) for leaf in self._batch.leaves]

    def _add(self, item: Item) -> int:
        session = item.entry.get("session", "")
        if not isinstance(session, str):
            raise _invalid("An entry's session is a string.")
        seq = self._next_seq(session)
        key = self._appender._session_keys.get(session)
        if key is None:
            return self._write(item, session, seq, self._log_key)
        if seq == 0:
            self._write(Item(entries.check(key.binding(session)), key.private), session, 0, key)
            key.is_bound = True
            seq = 1
        elif not key.is_bound:
            raise _invalid("A session's key is bound before its first entry.")
        return self._write(item, session, seq, key)

    def _write(self, item: Item, session: str, seq: int, key: EntrySigner) -> int:
        """Adds an entry that is still to be signed, and returns its index."""
        batch = self._batch
        index = batch.start + len(self._unsigned)
        entry_id = f"{index:016x}{secrets.token_hex(8)}"
        entry = {
            **item.entry,
            "v": entries.VERSION,
            "id": entry_id,
            "time": self._time,
            "seq": seq,
            "writer": self._writer,
        }
        made: list[Secret] = []
        if item.private:
            salts = {name: secrets.token_bytes(SALT_BYTES) for name in item.private}
            entry["commitments"] = {name: commit(salts[name], item.private[name].value) for name in salts}
            made = [self._appender._vault.secret(index, name, item.private[name], salt) for name, salt in salts.items()]
            entry["salts"] = {secret.name: witnessed(secret) for secret in made}
        self._link(entry, index, entry_id)
        ready = unsigned(entry, key)
        before = len(self._unsigned), len(batch.secrets)
        self._unsigned.append((ready, session, seq))
        batch.secrets += made
        self._appender._next_seq[session] = seq + 1
        self._undo.append(lambda: self._take_back(*before, session, seq))
        return index

    def _take_back(self, entry_count: int, secret_count: int, session: str, seq: int) -> None:
        del self._unsigned[entry_count:], self._batch.secrets[secret_count:]
        self._appender._next_seq[session] = seq

    def _next_seq(self, session: str) -> int:
        known = self._appender._next_seq
        if session not in known:
            known.update(self._appender._store.next_seqs([session]))
        return known[session]

    def _link(self, entry: Mapping[str, object], index: int, entry_id: str) -> None:
        """Keeps account of intents that wait for their outcome."""
        batch = self._batch
        if entry.get("type") == "intent":
            batch.opened.append((entry_id, index))
            self._intents[entry_id] = False
            self._undo.append(lambda: (batch.opened.pop(), self._intents.pop(entry_id)))
        if not entries.is_outcome(entry):
            return
        intent, is_lost = entry.get("intent"), entry["type"] == "outcome.unknown"
        is_unknown = self._is_unknown(intent) if isinstance(intent, str) else None
        if not isinstance(intent, str) or is_unknown is None or (is_unknown and is_lost):
            raise _invalid("An outcome names, by id, an intent that has none yet.")
        # An intent that had been given up may still be closed: a late outcome is better than none.
        ended = batch.given_up if is_lost else batch.closed
        ended.append(intent)
        self._intents[intent] = True if is_lost else None
        self._undo.append(lambda: (ended.pop(), self._intents.update({intent: is_unknown})))

    def _is_unknown(self, intent: str) -> bool | None:
        """Returns whether an intent was given up; None when it has its outcome or is none."""
        if intent not in self._intents:
            self._intents[intent] = self._appender._store.intents_unknown([intent]).get(intent)
        return self._intents[intent]


def _log_key(signers: tuple[Signer, ...]) -> LogKey:
    return LogKey(signers[0], key_id(signers[0].verifier().public_key))


def _invalid(message: str) -> LedgerError:
    return LedgerError("ledger.entry_invalid", message)
