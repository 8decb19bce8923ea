"""Logs that are made by hand, so that a test can play the holder of any key; and cosignatures of a witness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.entry import format_time
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import Verifier, base64_text, sign_note
from guardrails.ledger.signing import EntrySigner, LogKey, SessionKey, key_id, sealed
from tests.support.published import MemoryLog

WRITER = {"host": "h", "pid": 1, "start": ""}
ORIGIN = "example.com/log"


def log_key(signer: Ed25519Signer) -> LogKey:
    return LogKey(signer, key_id(signer.verifier().public_key))


@dataclass
class HandMade:
    """Entries stamped and signed as a ledger does, or otherwise where a test says so."""

    signer: Ed25519Signer = field(default_factory=lambda: Ed25519Signer(ORIGIN, b"k" * 32))
    entries: list[bytes] = field(default_factory=list)
    sessions: dict[str, SessionKey] = field(default_factory=dict)
    next_seq: dict[str, int] = field(default_factory=dict)
    time_us: int = 1_760_000_000_000_000

    def add(self, entry: Mapping[str, object], *, key: EntrySigner | None = None, **stamps: object) -> str:
        """Adds an entry, with some of its stamps replaced, and returns its id."""
        session = str(entry.get("session", ""))
        seq = self.next_seq.get(session, 0)
        self.time_us += 1_000_000
        stamped: dict[str, object] = {
            **entry,
            "v": 2,
            "id": f"{len(self.entries):016x}{sha256(str(len(self.entries)).encode()).hexdigest()[:16]}",
            "time": format_time(self.time_us),
            "seq": seq,
            "writer": WRITER,
            **stamps,
        }
        self.next_seq[session] = (stamped["seq"] if type(stamped["seq"]) is int else seq) + 1
        self.entries.append(sealed(stamped, key or self.sessions.get(session) or log_key(self.signer)))
        return str(stamped["id"])

    def begin(self, session: str, **facts: object) -> SessionKey:
        """Begins a session with a key of its own."""
        key = SessionKey(facts)
        self.sessions[session] = key
        self.add(key.binding(session))
        return key

    def rotate(self, new: Ed25519Signer, *, endorsed_by: Ed25519Signer | None = None, **replaced: object) -> None:
        """Brings in a new key of the log, which signs from then on."""
        old, name = self.signer.verifier(), self.signer.verifier().name
        text = f"guardrails ledger key rotation v1\n{name}\n{old}\n{new.verifier()}\n".encode()
        endorsements = {
            "old": base64_text((endorsed_by or self.signer).sign(text)),
            "new": base64_text(new.sign(text)),
        }
        entry = {"type": "key.rotate", "old": str(old), "new": str(new.verifier()), "reason": "", "endorsements": endorsements}
        self.add({**entry, "session": "log.keys", **replaced})
        self.signer = new

    def end_key(self, kind: str, key: Verifier, from_size: int | None = None) -> None:
        """Retires or revokes an older key."""
        by = self.signer.verifier()
        what = "retirement" if kind == "key.retire" else "revocation"
        size = "" if from_size is None else f"{from_size}\n"
        text = f"guardrails ledger key {what} v1\n{by.name}\n{key}\n{size}{by}\n"
        entry: dict[str, object] = {"session": "log.keys", "type": kind, "key": str(key), "reason": "", "signed_by": str(by)}
        entry["signature"] = base64_text(self.signer.sign(text.encode()))
        self.add(entry if from_size is None else entry | {"from_size": from_size})

    def log(self) -> HandMadeLog:
        return HandMadeLog(self.entries, self.signer)


class HandMadeLog(MemoryLog):
    """A log in memory that evidence can be exported from."""

    archived = 0

    def published(self) -> str:
        return ""

    @property
    def verifier_key(self) -> str:
        return str(self.verifier)

    def leaf(self, index: int) -> bytes:
        return self.entries[index]

    def kept(self, index: int, name: str) -> bytes | None:
        return None

    def signed_by(self, signers: Sequence[Ed25519Signer]) -> str:
        """Its checkpoint with a signature line of each signer."""
        head = Checkpoint(self.verifier.name, self.size, self.root_at(self.size))
        first, *others = (sign_checkpoint(head, signer) for signer in signers)
        return first + "".join(note.rpartition("\n\n")[2] for note in others)


class Witness:
    """Cosigns checkpoints as C2SP tlog-cosignature says, with Ed25519; made from the specification, not with our code."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._signer = Ed25519Signer(name, seed)
        public = self._signer.verifier().public_key
        self._key_hash = sha256(name.encode() + b"\n\x04" + public).digest()[:4]
        self.name = name
        self.key = f"{name}+{self._key_hash.hex()}+{base64_text(bytes([4]) + public)}"

    def cosigned(self, note: str, time_s: int = 1_760_000_000) -> str:
        text = note.rpartition("\n\n")[0] + "\n"
        signature = self._signer.sign(f"cosignature/v1\ntime {time_s}\n{text}".encode())
        return f"{note}\u2014 {self.name} {base64_text(self._key_hash + time_s.to_bytes(8, 'big') + signature)}\n"


def foreign_note(note: str, signer: Ed25519Signer) -> str:
    """The same text under another key."""
    return sign_note(note.rpartition("\n\n")[0] + "\n", signer)
