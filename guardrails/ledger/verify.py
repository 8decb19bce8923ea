"""Verifies a whole ledger file from its entries up, reading only and trusting one public key.

The tree is rebuilt from the entries' bytes and compared with every stored node and with the signed head; then what the entries
say of each other (sequence, time, intents and outcomes) and every derived table. Needs neither the store nor the private key,
so that an auditor can carry this module with the ones that it imports.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint
from guardrails.ledger.entry import decode
from guardrails.ledger.history import History
from guardrails.ledger.merkle import EMPTY_ROOT, fold, grow, leaf_hash
from guardrails.ledger.report import Problem, Report, TrustedKey, read_small_file
from guardrails.ledger.schema import Location, open_read_only, schema_differences

__all__ = ["Problem", "Report", "TrustedKey", "verify"]

_MAX_PROBLEMS = 100
# SQLite quotes damaged bytes in its messages, which Python then cannot decode.
_DAMAGE = (sqlite3.Error, UnicodeDecodeError)
_PROGRESS_STEP = 1000
_TYPES = {
    "nodes": {"level": "integer", "idx": "integer", "hash": "blob"},
    "sessions": {"session": "text", "seq": "integer", "idx": "integer"},
    "open_intents": {"entry_id": "text", "idx": "integer", "is_unknown": "integer"},
    "salts": {"idx": "integer", "name": "text", "salt": "blob"},
}
"""SQLite keeps any type in any column; these are the ones that a ledger writes."""


def verify(
    url: str | Path,
    *,
    key: str | Path | None = None,
    pin: tuple[int, bytes] | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Checks a ledger file completely.

    Args:
        url: As for `Ledger.open`: a URL or a path.
        key: The verifier key, as text or as a path; by default the ``.pub`` file beside the ledger.
        pin: (size, root) known from elsewhere, which must be a prefix of this ledger.
        checkpoint: An earlier signed checkpoint, as text or as a path, which must be a prefix of this ledger.
        progress: Called now and then with (entries checked, entries in all).

    Raises:
        UsageError: A file is missing, or the URL is of memory or of another database.
        LedgerError: The file is not a ledger (ledger.unavailable), or the key or the given checkpoint is not valid
            (ledger.note_invalid).
    """
    location = Location.parse(url)
    public_path = location.beside(".pub")
    if location.path is None or public_path is None:
        raise UsageError("usage.database_unsupported", "A ledger in memory cannot be verified from outside.")
    connection = open_read_only(location.path)
    try:
        trusted = TrustedKey.find(key, public_path)
        pins = {} if pin is None else {"the pinned root": pin}
        if checkpoint is not None:
            text = checkpoint if isinstance(checkpoint, str) and "\n" in checkpoint else read_small_file(Path(checkpoint))
            earlier = open_checkpoint(text, trusted.verifier)
            pins["the earlier checkpoint"] = (earlier.size, earlier.root)
        return _Verification(connection, trusted, pins, progress).run()
    finally:
        connection.close()


class _Verification:
    """One pass over a ledger file; keeps what was found so far."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        trusted: TrustedKey,
        pins: dict[str, tuple[int, bytes]],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        # Text comes as bytes: a changed byte may leave it undecodable, and that is to be reported, not to stop the pass.
        connection.text_factory = bytes
        self._connection = connection
        self._trusted = trusted
        self._pins = pins
        self._progress = progress
        self._problems: list[Problem] = []
        self._problem_count = 0
        self._erased: list[tuple[int, str]] = []
        self._history = History()
        self._nodes: dict[int, _Cursor] = {}
        self._changed_nodes: set[tuple[int, int]] = set()
        self._size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def run(self) -> Report:
        try:
            self._connection.execute("BEGIN")  # one state, whatever is appended meanwhile
            if differing := schema_differences(self._connection):
                self._report(None, f"the tables {', '.join(differing)} are not as the ledger made them")
            else:
                self._check_rows()
        except _DAMAGE as error:
            self._report(None, f"the database file is damaged ({error})")
        return Report(
            origin=self._trusted.verifier.name,
            size=self._size,
            root=self._root(),
            key=self._trusted,
            problems=tuple(self._problems),
            problem_count=self._problem_count,
            unknown=self._history.unknown,
            erased=tuple(self._erased),
            pins=len(self._pins) if not self._problem_count else 0,
        )

    def _check_rows(self) -> None:
        head = self._head()
        expected = dict(self._pins)
        if head is not None:
            expected["the signed checkpoint"] = (head.size, head.root)
        try:
            self._rebuild(expected, head.size if head else 0)
        except _DAMAGE as error:
            self._report(self._size, f"the database file is damaged here ({error})")
            return
        for name, (size, root) in expected.items():
            if size > self._size:
                self._report(self._size, f"the ledger ends before this entry, but {name} is of {size} entries")
            elif size == 0 and root != EMPTY_ROOT:
                self._report(None, f"the root at size 0 differs from {name}")
        if head is not None and self._size > head.size:
            self._report(head.size, f"the entry is beyond the signed size of {head.size}")
        self._check_derived()

    def _head(self) -> Checkpoint | None:
        rows = self._connection.execute("SELECT verifier_key, note FROM head").fetchall()
        if len(rows) != 1 or not all(isinstance(value, bytes) for value in rows[0]):
            self._report(None, "there is no signed checkpoint")
            return None
        key, note = rows[0]
        if key != str(self._trusted.verifier).encode():
            self._report(None, "the verifier key in the ledger is not the trusted one")
        try:
            return open_checkpoint(note.decode(), self._trusted.verifier)
        except UnicodeDecodeError:
            self._report(None, "the checkpoint is not text")
        except LedgerError as error:
            self._report(None, f"the checkpoint is not valid: {error.message}")
        return None

    def _rebuild(self, expected: dict[str, tuple[int, bytes]], total: int) -> None:
        salts = _Cursor(
            self._connection, "SELECT idx, name, length(salt) = 32 FROM salts WHERE typeof(idx) = 'integer' ORDER BY idx, name"
        )
        rows = self._connection.execute("SELECT idx, typeof(leaf) = 'blob', leaf FROM entries ORDER BY idx")
        for index, is_blob, leaf in rows:
            if index != self._size:
                self._report(self._size, "the entry is missing")
                break
            if not is_blob:
                self._report(index, "the entry is not stored as bytes")
                break
            self._check_nodes(leaf)
            self._check_entry(leaf, salts)
            self._size += 1
            for name, (size, root) in expected.items():
                if size == self._size and root != self._root():
                    self._report(None, f"the root over {size} entries differs from {name}")
            if self._progress and self._size % _PROGRESS_STEP == 0:
                self._progress(self._size, max(total, self._size))
        for index, orphan, _ in salts.rest():
            self._report(index, f"a salt named {_shown(orphan)} belongs to no commitment")
        if self._progress:
            self._progress(self._size, max(total, self._size))

    def _check_nodes(self, leaf: bytes) -> None:
        """Adds a leaf to the rebuilt tree and compares what it completes with the stored nodes."""
        for level, index, digest in grow(self._peaks, self._size, leaf_hash(leaf)):
            if level not in self._nodes:
                query = "SELECT idx, hash FROM nodes WHERE level = ? AND typeof(idx) = 'integer' ORDER BY idx"
                self._nodes[level] = _Cursor(self._connection, query, level)
            stored = [row[1] for row in self._nodes[level].take(index)]
            if stored == [digest]:
                continue
            children = {(level - 1, 2 * index), (level - 1, 2 * index + 1)}
            if level == 0:
                self._report(index, "leaf hash differs" if stored else "leaf hash is missing")
            elif not children & self._changed_nodes or not stored:
                self._report(None, f"the stored node {index} of level {level} {'differs' if stored else 'is missing'}")
            self._changed_nodes.add((level, index))

    def _check_entry(self, leaf: bytes, salts: _Cursor) -> None:
        index = self._size
        found = {name: bool(is_sound) for _, name, is_sound in salts.take(index)}
        try:
            entry = decode(leaf)
        except LedgerError as error:
            self._report(index, error.message)
            return
        for problem in self._history.add(index, entry):
            self._report(index, problem)
        session, seq = entry.get("session", ""), entry.get("seq")
        row = None
        if isinstance(session, str) and isinstance(seq, int):
            row = self._connection.execute("SELECT idx FROM sessions WHERE session = ? AND seq = ?", (session, seq)).fetchone()
        if row != (index,):
            self._report(index, "the table of sessions does not lead to it")
        commitments = entry.get("commitments", {})
        names = {name.encode() for name in commitments} if isinstance(commitments, dict) else set()
        self._erased += [(index, name.decode()) for name in sorted(names - found.keys())]
        for unknown in found.keys() - names:
            self._report(index, f"a salt named {_shown(unknown)} belongs to no commitment")
        for known in names & found.keys():
            if not found[known]:
                self._report(index, f"the salt of {_shown(known)} is not 32 bytes")

    def _check_derived(self) -> None:
        expected_nodes = sum(self._size >> level for level in range(self._size.bit_length()))
        for table, count in (("nodes", expected_nodes), ("sessions", self._size)):
            stored = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names from this line
            if stored != count:
                self._report(None, f"the table {table} has {stored} rows, not {count}")
        for table, columns in _TYPES.items():
            wrong = " OR ".join(f"typeof({name}) <> '{kind}'" for name, kind in columns.items())
            if self._connection.execute(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1").fetchone():  # noqa: S608 - names from _TYPES
                self._report(None, f"the table {table} holds a value of another type")
        rows = self._connection.execute("SELECT entry_id, idx, is_unknown FROM open_intents")
        if {row[0]: row[1:] for row in rows} != {i.encode(): row for i, row in self._history.open_intents.items()}:
            self._report(None, "the table of open intents does not follow from the entries")
        for (message,) in self._connection.execute("PRAGMA integrity_check(5)"):
            if message != b"ok":
                self._report(None, f"the database file is damaged ({_shown(message)})")

    def _root(self) -> bytes:
        return fold([digest for _, digest in self._peaks])

    def _report(self, index: int | None, what: str) -> None:
        self._problem_count += 1
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(Problem(index, what))


class _Cursor:
    """Rows in rising order of their first column, taken group by group."""

    def __init__(self, connection: sqlite3.Connection, query: str, *values: object) -> None:
        self._rows = connection.execute(query, values)
        self._next = self._rows.fetchone()

    def take(self, index: int) -> list[tuple[int, bytes, object]]:
        """Returns the rows of `index`. Smaller ones, which nothing asked for, count as found there too."""
        found = []
        while self._next is not None and self._next[0] <= index:
            found.append(self._next)
            self._next = self._rows.fetchone()
        return found

    def rest(self) -> Iterator[tuple[int, bytes, object]]:
        """Yields what no `take` returned."""
        while self._next is not None:
            yield self._next
            self._next = self._rows.fetchone()


def _shown(value: object) -> str:
    return repr(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)[:80]
