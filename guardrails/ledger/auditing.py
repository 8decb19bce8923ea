"""Checks a whole ledger from its entries up, through a store's reading side and one trusted public key.

The tree is rebuilt from the entries' bytes and held against every stored tile and against the signed head; then what the entries say
of each other; then who signed each. Memory stays flat: nothing is kept of an entry but what a later one must agree with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, TypeAlias

from guardrails.errors import LedgerError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint
from guardrails.ledger.entry import decode, format_time, parse_time
from guardrails.ledger.heads import peaks_of
from guardrails.ledger.history import History, Signed
from guardrails.ledger.keychain import KEY_SESSION, key_history
from guardrails.ledger.merkle import EMPTY_ROOT, complete_subtrees, fold, grow, leaf_hash
from guardrails.ledger.note import Note
from guardrails.ledger.report import Problem, Report, TrustedKey
from guardrails.ledger.rotation import KeyHistory
from guardrails.ledger.stores.base import Head, Leaf, Store
from guardrails.ledger.tree import TILE_WIDTH, pyramid, split_hashes
from guardrails.ledger.witnessing.quorum import Policy

__all__ = ["Audit", "Level"]

Level: TypeAlias = Literal["hash", "entries", "signatures"]
"""How deep: the tree alone; the entries' form and what they say of each other; everything, with each entry's signature."""

_MAX_PROBLEMS = 100
_PAGE_TILES = 8
_THREADS = 4


class Audit:
    """One pass over a ledger; keeps what was found so far.

    Args:
        store: The ledger's store, opened for reading.
        trusted: The log's key.
        pins: By name, (size, root) of earlier states that must be prefixes.
        level: How deep.
        progress: Called now and then with (entries checked, entries in all).
        archive: Gives the bytes of entries that were moved to an archive; None leaves them to their hashes.
    """

    def __init__(
        self,
        store: Store,
        trusted: TrustedKey,
        pins: dict[str, tuple[int, bytes]],
        *,
        level: Level = "signatures",
        progress: Callable[[int, int], None] | None = None,
        archive: Callable[[int, int], list[bytes]] | None = None,
    ) -> None:
        self._store = store
        self._trusted = trusted
        self._pins = pins
        self._given = list(pins)
        self._level = level
        self._progress = progress
        self._archive = archive
        self._problems: list[Problem] = []
        self._problem_count = 0
        self._erased: list[tuple[int, str]] = []
        self._policy: Policy | None = None
        self._witnessed: int | None = None
        self._recorded: set[tuple[object, object]] = set()
        self._keys = KeyHistory.trusting(trusted.verifier)
        self._history = History(trusted.verifier)
        self._upper: list[tuple[int, bytes]] = []
        self._partial: list[bytes] = []
        self._roots: list[list[bytes]] = []
        self._size = 0
        self._has_all_entries = True
        self._archived_size = 0
        self._recorded_archive: object = 0
        self._signatures: deque[Future[list[int]]] = deque()

    def read_keys(self) -> None:
        """Follows the log's keys to the trusted one; what is wrong with them is reported. Called first, inside a snapshot."""
        try:
            self._keys = key_history(self._store, self._trusted.verifier, 2**62)
            self._history = History(self._keys.periods[0].verifier)
        except LedgerError as error:
            index = error.evidence.get("index")
            self._report(index if isinstance(index, int) else None, f"the log's keys do not follow: {_reason(error)}")

    def require_witnesses(self, policy: Policy | None) -> None:
        """Demands that the published checkpoint is cosigned by enough witnesses."""
        self._policy = policy

    def pin(self, name: str, note: str) -> None:
        """Adds an earlier checkpoint that must be a prefix.

        Raises:
            LedgerError: No key of the log that counts for its size signed it (ledger.note_invalid).
        """
        checkpoint = self._open(note)
        self._given.append(name)
        self._pins = self._pins | {name: (checkpoint.size, checkpoint.root)}

    def run(self) -> Report:
        """Returns what was found. Called inside a snapshot, so that it is about one state."""
        with ThreadPoolExecutor(_THREADS) as pool:
            self._pool = pool
            try:
                for what in self._store.damage():
                    self._report(None, what)
                self._check()
            except LedgerError as error:
                self._report(None, f"the database is damaged ({_reason(error)})")
            self._settle(0)
            since = self._time_before_first_problem()
        return Report(
            origin=self._trusted.verifier.name,
            size=self._size,
            root=self._root(),
            key=self._trusted,
            problems=tuple(self._problems),
            problem_count=self._problem_count,
            unknown=tuple(index for _, index, _ in self._history.open_intents),
            erased=tuple(self._erased),
            pins=len(self._given) if not self._problem_count else 0,
            level=self._level,
            archived=0 if self._has_all_entries else self._archived_size,
            witnessed=self._witnessed,
            keys=tuple(str(period.verifier) for period in self._keys.periods),
            since=since,
        )

    def _check(self) -> None:
        head, checkpoint = self._head()
        if head is not None and head.archived and self._archive is None:
            self._history = History(self._keys.periods[0].verifier, head.archived)
            for index, leaf in self._store.leaves(0, head.archived, KEY_SESSION):
                self._history.take_key(index, decode(leaf))
        expected = dict(self._pins)
        if checkpoint is not None:
            expected["the signed checkpoint"] = (checkpoint.size, checkpoint.root)
        self._rebuild(head, expected)
        for name, (size, root) in expected.items():
            if size > self._size:
                self._report(self._size, f"the ledger ends before this entry, but {name} is of {size} entries")
            elif size == 0 and root != EMPTY_ROOT:
                self._report(None, f"the root at size 0 differs from {name}")
        if checkpoint is not None and self._size > checkpoint.size:
            self._report(checkpoint.size, f"the entry is beyond the signed size of {checkpoint.size}")
        self._check_upper_tiles(is_last=True)
        self._check_derived(head)

    def _head(self) -> tuple[Head | None, Checkpoint | None]:
        try:
            head = self._store.head()
        except LedgerError:
            self._report(None, "there is no signed checkpoint")
            return None, None
        if head.verifier_key != str(self._keys.current):
            self._report(None, "the verifier key in the ledger is not the trusted one, nor one that it leads to")
        checkpoint = self._opened(head.note, "the checkpoint")
        if head.published:
            published = self._opened(head.published, "the published checkpoint")
            if published is not None:
                self._pins = self._pins | {"the published checkpoint": (published.size, published.root)}
                self._check_witnesses(head.published, published.size)
        elif self._policy is not None:
            self._report(None, "no checkpoint was cosigned by witnesses")
        try:
            if checkpoint is not None:
                peaks = peaks_of(head)
                if head.size != checkpoint.size or fold([digest for _, digest in peaks]) != checkpoint.root:
                    self._report(None, "the frontier in the head is not of the signed tree")
        except LedgerError:
            self._report(None, "the frontier in the head is not of the signed tree")
        return head, checkpoint

    def _check_witnesses(self, note: str, size: int) -> None:
        if self._policy is None:
            return
        try:
            self._policy.check(note)
            self._witnessed = size
        except LedgerError as error:
            self._report(None, f"the published checkpoint has not the witnesses that are asked for: {error.message}")

    def _opened(self, note: str, what: str) -> Checkpoint | None:
        try:
            return self._open(note)
        except LedgerError as error:
            self._report(None, f"{what} is not valid: {error.message}")
            return None

    def _open(self, note: str) -> Checkpoint:
        size = Checkpoint.parse(Note.parse(note).text).size
        valid = self._keys.valid_for(size)
        if not valid:
            raise LedgerError("ledger.note_invalid", "No key of the log counts for a checkpoint of its size.")
        return open_checkpoint(note, *valid)

    def _rebuild(self, head: Head | None, expected: dict[str, tuple[int, bytes]]) -> None:
        archived = self._archived_size = head.archived if head else 0
        total = head.size if head else 0
        while True:
            start = self._size
            end = start + _PAGE_TILES * TILE_WIDTH
            if start < archived:
                end = min(end, archived)
                found = self._archived(start, end)
            else:
                found = self._rows(start, end)
            for offset in range(0, len(found), TILE_WIDTH):
                self._take(found[offset : offset + TILE_WIDTH], expected)
            if self._progress and found:
                self._progress(self._size, max(total, self._size))
            if len(found) < end - start:
                break

    def _rows(self, start: int, end: int) -> list[Leaf | bytes]:
        """Returns the entries from `start` on, up to the first that is missing or cannot be read."""
        try:
            rows = self._store.rows(start, end)
        except LedgerError as error:
            if end - start > 1:
                middle = start + (end - start) // 2
                before = self._rows(start, middle)
                return before + self._rows(middle, end) if len(before) == middle - start else before
            self._report(start, f"the entry cannot be read ({_reason(error)})")
            return []
        found: list[Leaf | bytes] = []
        for index, leaf in rows:
            if index != start + len(found):
                self._report(start + len(found), "the entry is missing")
                break
            found.append(leaf)
        return found

    def _archived(self, start: int, end: int) -> list[Leaf | bytes]:
        """Returns the hashes of archived entries, or the entries themselves where there is an archive to read."""
        if self._archive is not None:
            return [Leaf(data, "", -1) for data in self._archive(start, end)]
        self._has_all_entries = False
        found: list[Leaf | bytes] = []
        for index in range(start // TILE_WIDTH, end // TILE_WIDTH):
            found += split_hashes(self._store.tile(0, index) or b"")
        return found

    def _take(self, chunk: list[Leaf | bytes], expected: dict[str, tuple[int, bytes]]) -> None:
        """Adds up to a tile of entries: their hashes to the tree, and what they say to the history."""
        start = self._size
        digests = [item if isinstance(item, bytes) else leaf_hash(item.data) for item in chunk]
        is_full = len(chunk) == TILE_WIDTH
        nodes = pyramid(digests)
        if is_full:
            self._check_tile(start // TILE_WIDTH, digests)
        for name, (size, root) in expected.items():
            if start < size <= start + len(chunk):
                inner = [nodes[height][offset] for height, offset in complete_subtrees(0, size - start)]
                if fold([digest for _, digest in self._upper] + inner) != root:
                    self._report(None, f"the root over {size} entries differs from {name}")
        if self._level != "hash":
            self._check_entries(start, chunk)
        elif self._archived_size:
            for leaf in chunk:
                if not isinstance(leaf, bytes) and b'"type":"archive"' in leaf.data:
                    self._take_archive(decode(leaf.data))
        self._size += len(chunk)
        if is_full:
            self._grow_upper(start // TILE_WIDTH, nodes[-1][0])
        else:
            self._partial = [nodes[height][offset] for height, offset in complete_subtrees(0, len(chunk))]

    def _grow_upper(self, index: int, root: bytes) -> None:
        grow(self._upper, index, root)
        level = 0
        while True:
            if len(self._roots) == level:
                self._roots.append([])
            self._roots[level].append(root)
            if len(self._roots[level]) < TILE_WIDTH:
                return
            root = pyramid(self._roots[level])[-1][0]
            self._check_upper_tiles(is_last=False)
            level, index = level + 1, index // TILE_WIDTH

    def _check_tile(self, index: int, digests: list[bytes]) -> None:
        stored = self._store.tile(0, index)
        if stored is None:
            self._report(None, f"the stored tile {index} of level 0 is missing")
        elif stored != b"".join(digests):
            kept = split_hashes(stored)
            for offset, digest in enumerate(digests):
                if kept[offset : offset + 1] != [digest]:
                    self._report(index * TILE_WIDTH + offset, "leaf hash differs")

    def _check_upper_tiles(self, *, is_last: bool) -> None:
        """Holds the roots of full tiles against those stored beside them, and the tile above that they make."""
        for level, roots in enumerate(self._roots):
            if not roots or (len(roots) < TILE_WIDTH and not is_last):
                continue
            count = self._size_in_tiles(level) - len(roots)
            if self._store.tile_roots(level, count, count + len(roots)) != b"".join(roots):
                self._report(None, f"the stored roots of tiles from {count} on of level {level} differ or are missing")
            if len(roots) == TILE_WIDTH:
                if self._store.tile(level + 1, count // TILE_WIDTH) != b"".join(roots):
                    self._report(None, f"the stored tile {count // TILE_WIDTH} of level {level + 1} differs or is missing")
                roots.clear()

    def _size_in_tiles(self, level: int) -> int:
        """Number of full tiles of a level among the entries so far, of which the last chunk may not be counted yet."""
        upper = sum(1 << height for height, _ in self._upper)
        return upper >> (8 * level)

    def _check_entries(self, start: int, chunk: list[Leaf | bytes]) -> None:
        secrets: dict[int, set[str]] = {}
        for index, name in self._store.secret_names(start, start + len(chunk)):
            secrets.setdefault(index, set()).add(name)
        signed: list[Signed] = []
        for index, leaf in enumerate(chunk, start):
            if isinstance(leaf, bytes):
                continue
            try:
                entry = decode(leaf.data)
            except LedgerError as error:
                self._report(index, error.message)
                continue
            for problem in self._history.add(index, entry):
                self._report(index, problem)
            self._take_archive(entry)
            if leaf.seq >= 0 and (entry.get("session", ""), entry.get("seq")) != (leaf.session, leaf.seq):
                self._report(index, "the row that it is in names another session or place")
            self._check_secrets(index, entry, secrets.get(index, set()))
            if self._level == "signatures":
                found = self._history.signature(index, entry)
                if isinstance(found, str):
                    self._report(index, found)
                elif found is not None:
                    signed.append(found)
        if signed:
            self._signatures.append(self._pool.submit(_wrongly_signed, signed))
            self._settle(2 * _THREADS)

    def _take_archive(self, entry: Mapping[str, object]) -> None:
        if entry.get("type") == "archive" and isinstance(entry.get("end"), int):
            self._recorded_archive = entry["end"]

    def _check_secrets(self, index: int, entry: dict[str, object], found: set[str]) -> None:
        commitments = entry.get("commitments", {})
        names = set(commitments) if isinstance(commitments, dict) else set()
        self._erased += [(index, name) for name in sorted(names - found)]
        listed = entry.get("erased") if entry.get("type") == "erasure" else None
        if isinstance(listed, list):
            self._recorded |= {(row.get("index"), row.get("name")) for row in listed if isinstance(row, dict)}
        for unknown in sorted(found - names):
            self._report(index, f"a salt named {unknown[:80]!r} belongs to no commitment")

    def _settle(self, most_waiting: int) -> None:
        while len(self._signatures) > most_waiting:
            for index in self._signatures.popleft().result():
                self._report(index, "its signature does not hold")

    def _check_derived(self, head: Head | None) -> None:
        count, tiles = 0, self._size >> 8
        while tiles:
            count, tiles = count + tiles, tiles >> 8
        if self._store.tile_count() != count:
            self._report(None, f"there are {self._store.tile_count()} tiles, not {count}")
        if self._store.secret_names(self._size, 2**62):
            self._report(self._size, "there are salts of entries beyond the last one")
        if head is not None and head.archived != self._recorded_archive:
            self._report(None, f"entries before {head.archived} are missing, and their move to an archive is not recorded")
        if self._level == "hash" or not self._has_all_entries:
            return
        for index, name in self._erased:
            if (index, name) not in self._recorded:
                self._report(index, f"the salt of {name[:80]!r} is gone, and no erasure is recorded")
        if self._store.open_intents() != self._history.open_intents:
            self._report(None, "the table of open intents does not follow from the entries")
        if head is not None and head.time_us != self._history.last_time_us and self._size:
            self._report(None, "the time in the head is not that of the last entry")

    def _time_before_first_problem(self) -> str:
        first_bad = min((p.index for p in self._problems if p.index is not None), default=0)
        try:
            leaf = self._store.leaf(first_bad - 1) if first_bad else None
            return format_time(parse_time(decode(leaf).get("time"))) if leaf else ""
        except LedgerError:
            return ""

    def _root(self) -> bytes:
        return fold([digest for _, digest in self._upper] + self._partial)

    def _report(self, index: int | None, what: str) -> None:
        self._problem_count += 1
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(Problem(index, what))


def _wrongly_signed(signed: list[Signed]) -> list[int]:
    return [one.index for one in signed if not one.holds]


def _reason(error: LedgerError) -> str:
    return str(error.evidence.get("error", error.message))[:200]
