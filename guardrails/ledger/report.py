"""What a verification found: the head it rebuilt, whose key it trusted, and each thing that does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.note import Verifier, base64_text

__all__ = ["Problem", "Report", "TrustedKey", "read_small_file"]

_MAX_KEY_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One contradiction: `index` is the entry it is about, None for the ledger as a whole."""

    index: int | None
    what: str

    def __str__(self) -> str:
        return f"{'ledger' if self.index is None else f'entry {self.index}'}: {self.what}"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """The verifier key that signatures were checked with, and where it came from.

    Args:
        verifier: The key.
        source: In words, for people.
        is_pinned: The caller gave it, rather than its being found beside what it verifies.
    """

    verifier: Verifier
    source: str
    is_pinned: bool

    @classmethod
    def find(cls, key: str | Path | None, beside: Path | None) -> TrustedKey:
        """Returns the key that was given as text or as a path, else the one in the file `beside`.

        Raises:
            UsageError: No key was given and there is no such file, or no place for one (usage.file_missing).
            LedgerError: The key is malformed (ledger.note_invalid).
        """
        if key is None:
            if beside is None:
                raise UsageError("usage.file_missing", "No verifier key is given.", hint="Give the key that you know.")
            source = f"found in {beside.name}; whoever can write there can replace it, so give the key you know"
            return cls(Verifier.parse(read_small_file(beside).removesuffix("\n")), source, is_pinned=False)
        if isinstance(key, str) and "+" in key and not Path(key).exists():
            return cls(Verifier.parse(key), "given as text", is_pinned=True)
        return cls(Verifier.parse(read_small_file(Path(key)).removesuffix("\n")), f"given in {Path(key).name}", is_pinned=True)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a verification.

    Args:
        origin: The log's name.
        size: Number of entries that were checked.
        root: Root hash rebuilt from the entries (32 bytes).
        key: The key that was trusted.
        problems: What does not fit, in the order of discovery; at most 100 are kept.
        problem_count: How many there were.
        unknown: Indexes of intents whose outcome is not known: the process died, or they are running now.
        erased: (index, name) of commitments whose salt was erased.
        pins: How many earlier states, known from elsewhere, are contained in this ledger.
        archived: Entries before this index were checked by their hashes alone, since the archive was not given; 0 for none.
        witnessed: Size of the published checkpoint, where it has the cosignatures that were asked for; None where none were.
        level: How deep it was checked: ``hash``, ``entries`` or ``signatures``.
        keys: The log's verifier keys in the order of their coming; more than one after a rotation.
        since: Time of the last entry before anything was wrong: the change is of an entry after it. Empty where nothing is.
    """

    origin: str
    size: int
    root: bytes
    key: TrustedKey
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    unknown: tuple[int, ...] = ()
    erased: tuple[tuple[int, str], ...] = ()
    pins: int = 0
    archived: int = 0
    witnessed: int | None = None
    level: str = "signatures"
    keys: tuple[str, ...] = ()
    since: str = ""

    @property
    def is_verified(self) -> bool:
        """Everything fits. Unknown outcomes and erased salts are facts that the ledger records, not contradictions."""
        return self.problem_count == 0

    @property
    def first_bad(self) -> int | None:
        """Index of the first entry that something is wrong with, None when no single entry is."""
        return min((p.index for p in self.problems if p.index is not None), default=None)

    @property
    def caveat(self) -> str:
        """What this verification cannot tell; empty when an earlier state was pinned."""
        if self.pins:
            return ""
        if self.witnessed is not None:
            return (
                "Witnesses vouch for the entries that they cosigned, not for those after them; whoever holds the signing key could"
                " still show an older cosigned state. Pin a checkpoint, or ask a witness for the latest it saw."
            )
        return (
            "Without a witness or a pinned checkpoint, whoever holds the signing key can cut off or rewrite the end unnoticed."
        )

    def to_dict(self) -> dict[str, object]:
        """Returns the report for JSON."""
        return {
            "verified": self.is_verified,
            "origin": self.origin,
            "size": self.size,
            "root": base64_text(self.root),
            "key": str(self.key.verifier),
            "key_source": self.key.source,
            "key_pinned": self.key.is_pinned,
            "first_bad": self.first_bad,
            "problems": [{"index": p.index, "what": p.what} for p in self.problems],
            "problem_count": self.problem_count,
            "unknown": list(self.unknown),
            "erased": [{"index": index, "name": name} for index, name in self.erased],
            "pins": self.pins,
            "archived": self.archived,
            "witnessed": self.witnessed,
            "level": self.level,
            "keys": list(self.keys),
            "sound_until": self.since,
            "caveat": self.caveat,
        }


def read_small_file(path: Path) -> str:
    """Returns the text of a key or checkpoint file.

    Raises:
        UsageError: It does not exist or cannot be read (usage.file_missing).
        LedgerError: It is not a short text (ledger.note_invalid).
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_BYTES + 1)
        if len(data) > _MAX_KEY_BYTES:
            raise LedgerError("ledger.note_invalid", f"{path.name} is too large for a key or a checkpoint.")
        return data.decode()
    except OSError as error:
        raise UsageError("usage.file_missing", f"The file {path} does not exist or cannot be read.") from error
    except UnicodeDecodeError as error:
        raise LedgerError("ledger.note_invalid", f"{path.name} is not text.") from error
