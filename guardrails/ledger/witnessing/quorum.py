"""Which witnesses must have cosigned a checkpoint before it counts: policies in C2SP tlog-policy form (c2sp.org/tlog-policy).

A policy is a text of lines: ``log <key> [<url>]``, ``witness <name> <key> [<url>]``, ``group <name> all|any|<k> <name>…`` and one
``quorum <name>``, or ``quorum none``. Names are defined before they are used, and each is a member at most once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from guardrails.errors import LedgerError
from guardrails.ledger.note import Note, Opened, Verifier, signed_by
from guardrails.ledger.signature_types import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44
from guardrails.ledger.text import note_error
from guardrails.ledger.tree_head import Checkpoint

__all__ = ["Group", "NamedLog", "NamedWitness", "Policy", "parse_policy"]

T = TypeVar("T")

NO_QUORUM = "none"
MAX_POLICY_BYTES = 1_000_000
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_BLANK = re.compile(r"[ \t]+")
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e\x80-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class NamedLog:
    """A log whose checkpoints the policy accepts; the key's name is its origin."""

    verifier: Verifier
    url: str = ""


@dataclass(frozen=True, slots=True)
class NamedWitness:
    """A witness.

    Args:
        name: What groups and the quorum call it; it means nothing outside of the policy.
        verifier: A key of a cosignature type.
        url: Submission prefix, needed only by who asks for cosignatures.
    """

    name: str
    verifier: Verifier
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Members, witnesses or earlier groups, of which at least `threshold` must have witnessed."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Logs, witnesses and the rule that decides which cosignatures are enough. `str()` gives one canonical text.

    Args:
        logs: Accepted logs; empty where the log is known from elsewhere.
        witnesses: All of them.
        groups: In an order in which each names only earlier ones.
        quorum: Name of a witness or a group, or "none".
    """

    logs: tuple[NamedLog, ...]
    witnesses: tuple[NamedWitness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def __str__(self) -> str:
        lines = [
            *(_line("log", str(log.verifier), log.url) for log in self.logs),
            *(_line("witness", w.name, str(w.verifier), w.url) for w in self.witnesses),
            *(_line("group", g.name, str(g.threshold), *g.members) for g in self.groups),
            _line("quorum", self.quorum),
        ]
        return "".join(lines)

    def is_met(self, note: str) -> bool:
        """Tells whether the witnesses that cosigned a note are enough, and one of the policy's logs signed it, if it names any.

        Raises:
            LedgerError: The note is malformed, or a signature of a known key does not hold (ledger.note_invalid).
        """
        try:
            self.check(note)
        except LedgerError as error:
            if error.code == "ledger.quorum_missing":
                return False
            raise
        return True

    def check(self, note: str) -> Opened:
        """Returns the note's text and those of the policy's keys that signed it, where they are enough.

        Raises:
            LedgerError: The note is malformed, a signature of a known key does not hold, or no log of the policy signed it
                (ledger.note_invalid); too few witnesses cosigned it (ledger.quorum_missing).
        """
        keys = [log.verifier for log in self.logs] + [w.verifier for w in self.witnesses]
        parsed = Note.parse(note)
        present = {(line.name, line.key_id) for line in parsed.lines}
        keys = [key for key in keys if (key.name, key.key_hash) in present]
        opened = signed_by(parsed, keys) if keys else Opened(parsed.text, ())
        if self.logs:
            origin = Checkpoint.parse(opened.text).origin
            if not any(log.verifier in opened.signers and log.verifier.name == origin for log in self.logs):
                raise note_error("No log of the policy signed the checkpoint.", origin=origin)
        # A cosignature without a time says nothing of which tree is the latest: it is no witness's.
        timed = {s.verifier for s in opened.signatures if s.time_s}
        names = {w.name for w in self.witnesses if w.verifier in timed}
        if not self.is_quorum(names):
            missing = sorted(w.name for w in self.witnesses if w.name not in names)
            raise LedgerError(
                "ledger.quorum_missing",
                f"The checkpoint is cosigned by {_list(sorted(names))}, which is not the quorum {self.quorum}.",
                evidence={"cosigned": sorted(names), "missing": missing},
            )
        return opened

    def is_quorum(self, names: set[str]) -> bool:
        """Tells whether cosignatures of the witnesses with these names are enough."""
        witnessed = set(names)
        for group in self.groups:
            if sum(member in witnessed for member in group.members) >= group.threshold:
                witnessed.add(group.name)
        return self.quorum == NO_QUORUM or self.quorum in witnessed


def parse_policy(data: bytes | str) -> Policy:
    """Reads a policy file.

    Raises:
        LedgerError: It does not follow the specification (ledger.witness_policy); the evidence names the line.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    if len(text) > MAX_POLICY_BYTES or (text and not text.endswith("\n")) or _UNPRINTABLE.search(text):
        raise _invalid(0, "A policy is a short text of lines, each ended by a newline, without control characters.")
    reader = _Reader()
    for number, line in enumerate(text.split("\n")[:-1], 1):
        words = _BLANK.split(line.strip(" \t"))
        if words == [""] or words[0].startswith("#"):
            continue
        try:
            reader.take(words[0], words[1:])
        except LedgerError as error:
            raise _invalid(number, error.message) from error
    return reader.policy()


class _Reader:
    """Takes the lines of a policy one after the other."""

    def __init__(self) -> None:
        self._logs: dict[bytes, NamedLog] = {}
        self._witnesses: dict[bytes, NamedWitness] = {}
        self._groups: list[Group] = []
        self._names: set[str] = set()
        self._members: set[str] = set()
        self._quorum: str | None = None
        self._takers = {"log": self._log, "witness": self._witness, "group": self._group, "quorum": self._choose}

    def take(self, keyword: str, words: list[str]) -> None:
        taker = self._takers.get(keyword)
        if taker is None:
            raise note_error("A line begins with log, witness, group or quorum.")
        taker(words)

    def policy(self) -> Policy:
        if self._quorum is None:
            raise _invalid(0, "A policy has one quorum line.")
        return Policy(tuple(self._logs.values()), tuple(self._witnesses.values()), tuple(self._groups), self._quorum)

    def _log(self, words: list[str]) -> None:
        key, url = _key_and_url(words)
        _add(self._logs, key.public_key, NamedLog(key, url))

    def _witness(self, words: list[str]) -> None:
        self._define(words[:1])
        key, url = _key_and_url(words[1:])
        if key.signature_type not in (COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44):
            raise note_error("A witness's key is of a cosignature type.")
        _add(self._witnesses, key.public_key, NamedWitness(words[0], key, url))

    def _group(self, words: list[str]) -> None:
        members = words[2:]
        if not members or not set(members) <= self._names or len(set(members)) < len(members):
            raise note_error("A group has members, each once, that are defined above.")
        if self._members & set(members):
            raise note_error("A name is a member of at most one group.")
        threshold = {"all": len(members), "any": 1}.get(words[1]) or (int(words[1]) if _NUMBER.fullmatch(words[1]) else 0)
        if not 1 <= threshold <= len(members):
            raise note_error("A group's threshold is all, any, or a plain number from 1 to the number of its members.")
        self._define(words[:1])
        self._members |= set(members)
        self._groups.append(Group(words[0], threshold, tuple(members)))

    def _choose(self, words: list[str]) -> None:
        if self._quorum is not None or len(words) != 1 or words[0] not in self._names | {NO_QUORUM}:
            raise note_error("There is one quorum line, with one name that is defined above, or none.")
        self._quorum = words[0]

    def _define(self, words: list[str]) -> None:
        if not words or words[0] in self._names | {NO_QUORUM}:
            raise note_error("A name is missing, defined twice, or the reserved name none.")
        self._names.add(words[0])


def _key_and_url(words: list[str]) -> tuple[Verifier, str]:
    if len(words) not in (1, 2):
        raise note_error("A key, and perhaps a URL, is expected.")
    return Verifier.parse(words[0]), words[1] if len(words) == 2 else ""


def _add(entries: dict[bytes, T], key: bytes, entry: T) -> None:
    if key in entries:
        raise note_error("Two logs or two witnesses have the same public key.")
    entries[key] = entry


def _line(*words: str) -> str:
    return " ".join(word for word in words if word) + "\n"


def _list(names: list[str]) -> str:
    return ", ".join(names) if names else "no witness"


def _invalid(line: int, message: str) -> LedgerError:
    where = f"Line {line}: " if line else ""
    return LedgerError("ledger.witness_policy", f"{where}{message}", evidence={"line": line})
