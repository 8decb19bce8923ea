"""The ledger: an append-only, signed log of entries, safe for several threads and processes.

An append is durable when it returns: one transaction holds the entries, the tree's new tiles and a checkpoint signed over them, and
callers that append at the same time share it. Before anything new is signed, the stored tree must still be the one that was signed
last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from guardrails.errors import LedgerError, ProofError, TamperedError, UsageError
from guardrails.ledger import entry as entries
from guardrails.ledger.appending import STAMPED, Appended, Appender, Item, Request
from guardrails.ledger.group import GroupCommit, Ticket
from guardrails.ledger.heads import KnownHead, root_of
from guardrails.ledger.keychain import key_history
from guardrails.ledger.location import Location
from guardrails.ledger.merkle import consistency_ranges, inclusion_ranges, leaf_hash
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.opening import begin_or_resume, open_store, publish
from guardrails.ledger.pin import PinStore
from guardrails.ledger.private import Given, Private, as_private, commit
from guardrails.ledger.rotation import KeyHistory
from guardrails.ledger.signing import SessionKey
from guardrails.ledger.stores.base import Head, Store
from guardrails.ledger.tree import TILE_WIDTH, Tree
from guardrails.ledger.vault import Vault, vault_of
from guardrails.ledger.writer import has_ended

__all__ = ["Appended", "Ledger"]

_PAGE = 500
_LISTED = 500
"""Most erased values that one erasure's entry lists."""


class Ledger:
    """An open ledger; made by `Ledger.open`. All methods are safe to call from several threads.

    Example:
        >>> with Ledger.open("sqlite:///:memory:") as ledger:
        ...     appended = ledger.append({"type": "note", "text": "hello"})
        ...     ledger.entry(appended.index)["text"]
        'hello'
    """

    def __init__(
        self,
        store: Store,
        verifier: Verifier,
        signers: tuple[Signer, ...],
        vault: Vault,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._vault = vault
        self._tree = Tree(store)
        self._known = KnownHead(store, self._tree, verifier)
        self._appender = Appender(store, self._known, self._tree, signers, vault, clock_ns) if signers else None
        self._group = GroupCommit(self._appender.commit) if self._appender else None
        self._pins: PinStore | None = None

    @classmethod
    def open(
        cls,
        url: str | Path,
        *,
        signer: Signer | str | None = None,
        previous: Sequence[Signer] = (),
        origin: str | None = None,
        read_only: bool = False,
        vault_key: bytes | None = None,
        pins: PinStore | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> Ledger:
        """Opens a ledger, and begins a new one where there is none.

        Args:
            url: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``sqlite:///:memory:``, a plain path, or
                ``postgresql://…``.
            signer: What signs checkpoints, or its URI (see `guardrails.ledger.signers`); by default the key in ``<path>.key``, made
                with a new ledger, and for a ledger in a server the URI in GUARDRAILS_LEDGER_SIGNER.
            previous: Signers of keys that were rotated out and have not retired: they sign too.
            origin: The log's name in checkpoints; by default the key's name, for a new key ``ledger.local/<random>``.
            read_only: Only read: needs no private key, and the file must exist.
            vault_key: 32 bytes that kept values and subjects are sealed with; by default the key in ``<path>.vault``, made when it is
                needed, and for a ledger in a server the one in GUARDRAILS_VAULT_KEY.
            pins: Where the last checkpoint seen of each log is kept, outside of this one: the ledger must contain it. It moves on
                when the ledger is opened and closed.
            clock_ns: Unix time in nanoseconds.

        Raises:
            UsageError: The URL is not supported, the file is missing (read-only), or `origin` is not this ledger's.
            LedgerError: The file cannot be opened (ledger.unavailable) or its key is missing (ledger.key_missing).
            TamperedError: The stored tree is not the one that was signed, or the file was emptied while its keys remained.
        """
        location = Location.parse(url)
        signers: tuple[Signer, ...] = ()
        store = open_store(location, read_only=read_only)
        try:
            with store.snapshot() if read_only else store.transaction():
                if read_only:
                    if store.is_new():
                        raise LedgerError("ledger.unavailable", "The file is not a ledger.")
                    verifier = Verifier.parse(store.head().verifier_key)
                else:
                    signers = begin_or_resume(store, location, signer, previous, origin)
                    verifier = signers[0].verifier()
                if origin not in (None, verifier.name):
                    raise UsageError("usage.input_invalid", f"This ledger's origin is {verifier.name}, not {origin}.")
                vault = vault_of(location, vault_key)
                ledger = cls(store, verifier, signers, vault, clock_ns)
                head = ledger._known.read()
                if not read_only:
                    ledger._tree.check_tail(head)
            if not read_only:
                with store.snapshot():
                    publish(location, store, verifier)
            ledger._pins = pins
            ledger.pin()
        except BaseException:
            store.close()
            raise
        return ledger

    def append(self, entry: Mapping[str, object], *, private: Given | None = None) -> Appended:
        """Appends one entry durably and signs the new head.

        `v`, `id`, `time`, `seq` (counting from 0 within the entry's `session`), `writer` and `sig` are stamped. An entry of type
        ``outcome`` (or ``outcome.…``) names an ``intent`` by id.

        Args:
            entry: What to record, within the profile of `guardrails.ledger.entry`.
            private: Values that must not be in the log: bytes, or a `Private` that is kept beside the tree or belongs to people.
                The entry gets ``commitments``: name to the hexadecimal SHA-256(salt || value); the salt of 32 bytes is kept
                outside the tree.

        Raises:
            LedgerError: The entry is invalid, the clock went backwards, or the ledger cannot be written.
            TamperedError: The stored tree is not the one that was signed last.
        """
        return self.submit(Request([_item(entry, private)]))[0]

    @property
    def is_joinable(self) -> bool:
        """Whether entries can be written in the transaction of a connection to the same database; see `append_within`."""
        return self._appender is not None and hasattr(self._store, "joined")

    def append_within(self, connection: object, entry: Mapping[str, object], *, private: Given | None = None) -> Appended:
        """Appends one entry in a transaction that is open on a connection to the ledger's own PostgreSQL database.

        It is durable when that transaction commits, and never happened when it is rolled back. The ledger's lock is held until
        then, so commit at once.

        Args:
            connection: A psycopg connection.
            entry: As for `append`.
            private: As for `append`.

        Raises:
            UsageError: The ledger is not in PostgreSQL.
            LedgerError: As `append`; the transaction can only be rolled back then.
        """
        if self._appender is None:
            raise _read_only()
        joined = getattr(self._store, "joined", None)
        if joined is None:
            raise UsageError("usage.database_unsupported", "Only a ledger in PostgreSQL shares the transaction of a change.")
        ticket: Ticket[Request, list[Appended]] = Ticket(Request([_item(entry, private)]))
        with joined(connection) as store:
            self._appender.joining(store, self._known.seen).commit(lambda: [ticket])
            # Raised inside the loan: then the transaction can only be rolled back.
            if ticket.error is not None or not ticket.result:
                raise ticket.error or _invalid("The entry was not appended.")
        return ticket.result[0]

    def has(self, index: int, entry_id: str) -> bool:
        """Tells whether the entry is there, after waiting for transactions that may still write it."""
        found = []

        def look(head: Head) -> list[Item]:
            leaf = self._store.leaf(index) if index < head.size else None
            found.append(leaf is not None and entries.decode(leaf).get("id") == entry_id)
            return []

        self.submit(Request(look))
        return found[-1]

    def append_many(self, entries: Iterable[Mapping[str, object]]) -> list[Appended]:
        """Appends all entries, or none, in one transaction under one checkpoint. See `append`."""
        return self.submit(Request([_item(entry, None) for entry in entries]))

    def bind(self, session: str, key: SessionKey) -> None:
        """Has the entries of a session signed with a key of its own, which an entry of type ``key.bind`` introduces.

        The ledger holds the key weakly: it counts as long as the caller keeps it.

        Raises:
            LedgerError: The session has a key already, or the ledger was opened for reading only.
        """
        if self._appender is None:
            raise _read_only()
        self._appender.bind(session, key)

    def keys(self) -> KeyHistory:
        """Returns the log's signing keys from its first one on, with the tree sizes for which each counts."""
        with self.snapshot() as head:
            return key_history(self._store, self._known.verifier, head.size)

    def recover(self, *, force: bool = False) -> tuple[Appended, ...]:
        """Appends an ``outcome.unknown`` for each intent without outcome whose writer has ended.

        Intents of processes that run, or that cannot be judged from this host, are left alone.

        Args:
            force: Give up all open intents, whoever wrote them.
        """

        def lost(head: Head) -> list[Item]:
            found = []
            for entry_id, index, is_unknown in self._store.open_intents():
                if is_unknown:
                    continue
                intent = entries.decode(self._leaf(index, head))
                if force or has_ended(intent.get("writer")):
                    session = {"session": intent["session"]} if "session" in intent else {}
                    found.append(Item({"type": "outcome.unknown", "intent": entry_id, **session}, {}))
            return found

        return tuple(self.submit(Request(lost)))

    @property
    def path(self) -> Path | None:
        """The ledger's file, None for a ledger in memory."""
        return self._store.path

    @property
    def is_memory(self) -> bool:
        """Whether it ends with this process."""
        return not self._store.is_shared

    @property
    def has_vault(self) -> bool:
        """Whether private values can be kept, or marked as being about people: a ledger in a server needs a key for that."""
        return self._vault.is_open

    @property
    def size(self) -> int:
        """Number of entries now."""
        with self.snapshot() as head:
            return head.size

    @property
    def root(self) -> bytes:
        """Root hash now."""
        with self.snapshot() as head:
            return root_of(head)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._known.verifier.name

    @property
    def verifier_key(self) -> str:
        """The public key's text, for `guardrails.ledger.verify` and other C2SP tools."""
        return str(self._known.verifier)

    def checkpoint(self) -> str:
        """Returns the latest checkpoint, a signed note."""
        with self.snapshot() as head:
            return head.note

    def published(self) -> str:
        """Returns the latest checkpoint that witnesses cosigned as a signed note; empty when none did yet."""
        with self.snapshot() as head:
            return head.published

    @property
    def archived(self) -> int:
        """Entries before this index are in an archive; their hashes are here."""
        with self.snapshot() as head:
            return head.archived

    def leaf(self, index: int) -> bytes:
        """Returns the canonical bytes of an entry.

        Raises:
            LedgerError: There is no such entry (ledger.index_range), or it is in an archive (ledger.archived).
            TamperedError: It does not have its leaf hash.
        """
        with self.snapshot() as head:
            return self._leaf(index, head)

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
            TamperedError: What is stored is not what was signed.
        """
        with self.snapshot() as head:
            size = _checked_size(size, head)
            return [self._tree.range_root(start, end, head) for start, end in inclusion_ranges(index, size)]

    def consistency_proof(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        """Returns the proof that the tree of `old_size` is a prefix of that of `new_size` (by default the current).

        Raises:
            ProofError: A size is out of range (ledger.index_range).
            TamperedError: What is stored is not what was signed.
        """
        with self.snapshot() as head:
            size = _checked_size(new_size, head)
            return [self._tree.range_root(start, end, head) for start, end in consistency_ranges(old_size, size)]

    def root_at(self, size: int) -> bytes:
        """Returns the root hash when the ledger had `size` entries."""
        with self.snapshot() as head:
            return self._root_at(_checked_size(size, head), head)

    def tile(self, level: int, index: int, width: int = TILE_WIDTH) -> bytes:
        """Returns the first `width` hashes of a tile (C2SP tlog-tiles), 32 bytes each, joined.

        Raises:
            ProofError: The current tree has no such hashes (ledger.index_range).
        """
        with self.snapshot() as head:
            covered = (index * TILE_WIDTH + width) << (8 * level) if 0 <= level <= 7 else head.size + 1
            if index < 0 or not 1 <= width <= TILE_WIDTH or covered > head.size:
                raise ProofError("ledger.index_range", f"The tree of {head.size} entries has no such tile.")
            return b"".join(self._tree.hashes(level, index, width, head))

    def commitment_holds(self, index: int, name: str, value: bytes) -> bool | None:
        """Tells whether `value` is what an entry committed to under `name`; None when there is no such salt (any more)."""
        with self.snapshot() as head:
            leaf = self._leaf(index, head)
            salts = {secret.name: secret.salt for secret in self._store.secrets(index)}
        commitments = entries.decode(leaf).get("commitments")
        if name not in salts or not isinstance(commitments, dict) or name not in commitments:
            return None
        return bool(commitments[name] == commit(salts[name], value))

    def kept(self, index: int, name: str) -> bytes | None:
        """Returns a private value that was kept; None when it was not, or was erased.

        Raises:
            TamperedError: It is not what the entry committed to.
        """
        with self.snapshot() as head:
            leaf = self._leaf(index, head)
            found = [secret for secret in self._store.secrets(index) if secret.name == name]
        value = self._vault.value(found[0]) if found else None
        if value is None:
            return None
        commitments = entries.decode(leaf).get("commitments")
        if not isinstance(commitments, dict) or commitments.get(name) != commit(found[0].salt, value):
            evidence = {"index": index, "name": name}
            raise TamperedError("ledger.tampered", "A kept value is not what was committed to.", evidence=evidence)
        return value

    def erase_salts(self, index: int, name: str | None = None) -> int:
        """Erases what is kept of an entry's private values, so that nobody can test guesses at them; recorded.

        Returns:
            How many there were; nothing is recorded where there were none.
        """
        size = self.size
        if not 0 <= index < size:
            raise LedgerError("ledger.index_range", f"There is no entry {index}: the ledger has {size}.")
        return self._erase(
            lambda: [(index, secret.name) for secret in self._store.secrets(index) if name in (None, secret.name)], {}, {}
        )

    def erase_subject(self, subject: str, *, by: str = "", reason: str = "") -> int:
        """Erases every private value that was recorded as being about a person: salts, kept values, marks; recorded.

        The leaves stay, and with them the tree: what is left of the values is digests that nobody can test guesses against.

        Args:
            subject: The person's name, as it was given in `Private.subjects`. The entry commits to it.
            by: Who erases.
            reason: Why.

        Returns:
            How many values there were. The request is recorded also where there were none.
        """
        digest = self._vault.subject(subject)
        private = {"subject": Private(subject.encode("utf-8", "surrogatepass"))}
        return self._erase(lambda: self._store.secrets_of(digest), {"by": by, "reason": reason, "asked": "subject"}, private)

    def submit(self, request: Request) -> list[Appended]:
        """Appends what a request asks for, with whatever it changes beside the tree; for the library's own modules.

        Raises:
            LedgerError: As `append`.
        """
        if self._group is None:
            raise _read_only()
        return self._group.submit(request)

    @contextmanager
    def snapshot(self) -> Iterator[Head]:
        """Reads one state: yields its head, which was checked; for the library's own modules."""
        since = self._known.seen
        with self._store.snapshot():
            yield self._known.read(since)

    @property
    def store(self) -> Store:
        """The database that the ledger lives in; for the library's own modules."""
        return self._store

    @property
    def signers(self) -> tuple[Signer, ...]:
        """What signs checkpoints: the current key, then those that it replaced and that have not retired.

        Raises:
            LedgerError: The ledger was opened for reading only.
        """
        if self._appender is None:
            raise _read_only()
        return self._appender.signers

    def pin(self) -> None:
        """Holds the ledger against the checkpoint seen last, where it was opened with pins, and pins the latest one.

        Raises:
            TamperedError: It went back, or is another log; the evidence holds both checkpoints.
        """
        if self._pins is not None:
            self._pins.check(self.checkpoint, self.keys().valid_for(self.size), self.consistency_proof)

    def close(self) -> None:
        """Closes the ledger. Closing twice is allowed."""
        try:
            self.pin()
        finally:
            self._pins = None
            if self._appender is not None:
                self._appender.close()
            self._store.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _erase(
        self, find: Callable[[], list[tuple[int, str]]], facts: dict[str, object], private: Mapping[str, Private]
    ) -> int:
        """Erases what `find` gives inside the transaction that records it, so that nothing recorded before is missed."""
        found: list[tuple[int, str]] = []

        def items(_: Head) -> list[Item]:
            found[:] = find()
            pages = [found[start : start + _LISTED] for start in range(0, len(found), _LISTED)]
            made = []
            for page in pages or ([[]] if facts else []):
                listed = [{"index": index, "name": name} for index, name in page]
                entry = {"type": "erasure", "count": len(page), "erased": listed, **facts}
                made.append(Item(entries.check(entry), private))
            return made

        def change(head: Head) -> Head:
            self._store.erase(found)
            return head

        self.submit(Request(items, change))
        if found:
            self._store.drop_old_pages()
        return len(found)

    def _root_at(self, size: int, head: Head) -> bytes:
        return root_of(head) if size == head.size else self._tree.range_root(0, size, head)

    def _leaf(self, index: int, head: Head) -> bytes:
        if not isinstance(index, int) or not 0 <= index < head.size:
            raise LedgerError("ledger.index_range", f"There is no entry {index}: the ledger has {head.size}.")
        if index < head.archived:
            raise _archived(index)
        leaf = self._store.leaf(index)
        if leaf is None or leaf_hash(leaf) != self._tree.leaf_hash(index, head):
            raise TamperedError("ledger.tampered", f"Entry {index} was changed.", evidence={"index": index})
        return leaf

    def _leaves(self, start: int, stop: int, session: str | None) -> Iterator[tuple[int, bytes]]:
        while start < stop:
            end = stop if session is not None else min(start + _PAGE, stop)
            with self.snapshot() as head:
                if session is None and start < head.archived:
                    raise _archived(start)
                page = self._store.leaves(start, end, session)
                for index, leaf in page:
                    if leaf_hash(leaf) != self._tree.leaf_hash(index, head):
                        raise TamperedError("ledger.tampered", f"Entry {index} was changed.", evidence={"index": index})
            if session is None and len(page) != end - start:
                raise TamperedError("ledger.tampered", "An entry is missing.", evidence={"from": start, "to": end})
            yield from page
            start = end


def _item(entry: Mapping[str, object], private: Given | None) -> Item:
    if reserved := STAMPED & entry.keys():
        raise _invalid(f"The ledger stamps {', '.join(sorted(reserved))} itself.")
    if str(entry.get("type", "")).startswith("key."):
        raise _invalid("Entries about keys are written by the ledger itself; see `guardrails.ledger.administration`.")
    return Item(entries.check(entry), as_private(private or {}))


def _checked_size(size: int | None, head: Head) -> int:
    if size is None:
        return head.size
    if not isinstance(size, int) or not 0 <= size <= head.size:
        raise ProofError("ledger.index_range", f"The size is not within the {head.size} entries.")
    return size


def _archived(index: int) -> LedgerError:
    return LedgerError("ledger.archived", f"Entry {index} was moved to an archive.", evidence={"index": index})


def _read_only() -> LedgerError:
    return LedgerError("ledger.unavailable", "The ledger was opened for reading only.")


def _invalid(message: str) -> LedgerError:
    return LedgerError("ledger.entry_invalid", message)
