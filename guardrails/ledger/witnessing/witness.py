"""A witness of C2SP tlog-witness (c2sp.org/tlog-witness): it cosigns what only grows.

`judge` is the rule, a pure function of the request, the log's keys and the head that was seen last. `Witness` lives by it: it takes
the new head into its state first, durably, and signs only then, so that no crash can make it sign two histories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from guardrails.errors import LedgerError, ProofError
from guardrails.ledger.merkle import EMPTY_ROOT, verify_consistency
from guardrails.ledger.note import Note, Signer, Verifier, add_signatures, signature_lines, signed_by
from guardrails.ledger.tree_head import Checkpoint
from guardrails.ledger.witnessing.request import SIZE_CONTENT_TYPE, AddCheckpoint

__all__ = ["Answer", "Head", "Refusal", "State", "Witness", "judge", "origin_hash"]

_TEXT = "text/plain; charset=utf-8"
_MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Head:
    """The last checkpoint of a log that a witness took in.

    Args:
        size: Tree size.
        root: Root hash, 32 bytes.
        note: The checkpoint with the signatures of the log's trusted keys.
        time_s: POSIX time that cosignatures of it carry; never before that of an earlier head.
    """

    size: int
    root: bytes
    note: str
    time_s: int


class State(Protocol):
    """What a witness remembers, durably. Safe to use from several threads and processes."""

    def keys(self, origin: str) -> tuple[Verifier, ...]:
        """Returns the trusted keys of a log; none where the log is not known."""

    def head(self, origin: str) -> Head | None:
        """Returns what was seen last of a log."""

    def advance(self, origin: str, seen: Head | None, head: Head) -> bool:
        """Replaces `seen` by `head` and returns once that is durable; False, changing nothing, where `seen` is not the last."""

    def keep_cosigned(self, origin: str, head: Head, note: str) -> None:
        """Keeps the cosigned note of `head` for those who ask, unless the log has gone on."""

    def cosigned(self, origin_hash: str) -> str | None:
        """Returns the last cosigned note of the log with this SHA-256 of its origin, in lower-case hex."""

    def keep_evidence(self, origin: str, request: str, reason: str) -> None:
        """Keeps a refused request that a log signed: it may prove that the log forked."""


class Refusal(Exception):
    """Why a request is not granted.

    Args:
        status: HTTP status of the specification.
        reason: One sentence.
        size: For a wrong old size (409): the size of the head that was seen last.
        is_evidence: The log signed this and it contradicts what it signed before.
    """

    def __init__(self, status: int, reason: str, size: int | None = None, *, is_evidence: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.size = size
        self.is_evidence = is_evidence


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: str
    content_type: str = _TEXT


def judge(request: AddCheckpoint, keys: Sequence[Verifier], seen: Head | None) -> Checkpoint:
    """Returns the checkpoint of a request that may be cosigned.

    Args:
        request: What was asked.
        keys: The trusted keys of the log that the checkpoint names; none where it is not known.
        seen: The last head of that log; None when nothing was seen yet.

    Raises:
        Refusal: With the status that the specification gives: 404 unknown log, 403 no valid signature of it, 400 malformed or an old
            size above the new one, 409 another old size than the one seen, 422 no proof that the tree only grew.
    """
    text = request.note.text
    try:
        checkpoint, fault = Checkpoint.parse(text), None
    except ProofError as error:  # an empty tree with another root: an answer of its own, once the signature holds
        checkpoint, fault = Checkpoint(text.partition("\n")[0], 0, EMPTY_ROOT), error
    except LedgerError as error:
        raise Refusal(400, error.message) from error
    if not keys:
        raise Refusal(404, "The log is not known to this witness.")
    try:
        signed_by(request.note, keys)
    except LedgerError as error:
        raise Refusal(403, error.message) from error
    if request.old_size > checkpoint.size:
        raise Refusal(400, "The old size is above the checkpoint's size.")
    seen_size, seen_root = (seen.size, seen.root) if seen else (0, EMPTY_ROOT)
    if request.old_size != seen_size:
        is_fork = bool(seen) and checkpoint.size == seen_size and checkpoint.root != seen_root
        raise Refusal(409, "The old size is not the one that this witness saw last.", seen_size, is_evidence=is_fork)
    if fault:
        raise Refusal(422, fault.message, is_evidence=True) from fault
    if request.old_size == 0 and request.proof:
        raise Refusal(422, "The proof from an old size of 0 is empty.")
    try:
        if request.old_size:
            verify_consistency(seen_size, checkpoint.size, seen_root, checkpoint.root, request.proof)
    except ProofError as error:
        raise Refusal(422, error.message, is_evidence=True) from error
    return checkpoint


class Witness:
    """A witness with its keys and its state; safe to use from several threads.

    Args:
        signers: The cosigning keys: at least one, of the timestamped types.
        state: What it remembers.
        clock: Returns POSIX seconds.
    """

    def __init__(self, signers: Sequence[Signer], state: State, clock: Callable[[], int]) -> None:
        if not signers or not all(s.verifier().type.is_timestamped for s in signers):
            raise LedgerError("ledger.note_invalid", "A witness has at least one key of a cosignature type.")
        self._signers = tuple(signers)
        self._state = state
        self._clock = clock

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answers one add-checkpoint request.

        Raises:
            LedgerError: The state cannot be written (ledger.unavailable): nothing was signed.
        """
        try:
            request = AddCheckpoint.parse(body)
        except LedgerError as error:
            return Answer(400, f"{error.message}\n")
        origin = request.note.text.partition("\n")[0]
        for _ in range(_MAX_ATTEMPTS):
            seen = self._state.head(origin)
            try:
                checkpoint = judge(request, self._state.keys(origin), seen)
            except Refusal as refusal:
                return self._refuse(origin, request, refusal)
            now_s = self._clock()
            if now_s <= 0 or (seen and now_s < seen.time_s):
                return Answer(503, "The clock of this witness went backwards.\n")
            signers = [s for s in self._signers if _covers(s.verifier(), request.note.text)]
            if not signers:
                return Answer(400, "The cosignatures of this witness do not cover extension lines or names above 255 bytes.\n")
            head = Head(checkpoint.size, checkpoint.root, self._log_signed(request.note, origin), now_s)
            if self._state.advance(origin, seen, head):
                return self._cosign(origin, head, signers)
        return Answer(503, "Too many requests for this log at once.\n")

    def checkpoint(self, origin_hash: str) -> Answer:
        """Answers a monitor: the last cosigned checkpoint of the log with this SHA-256 of its origin, in lower-case hex."""
        note = self._state.cosigned(origin_hash)
        return Answer(200, note) if note else Answer(404, "Nothing of this log was cosigned.\n")

    def _refuse(self, origin: str, request: AddCheckpoint, refusal: Refusal) -> Answer:
        if refusal.is_evidence:
            self._state.keep_evidence(origin, str(request), refusal.reason)
        if refusal.size is not None:
            return Answer(refusal.status, f"{refusal.size}\n", SIZE_CONTENT_TYPE)
        return Answer(refusal.status, f"{refusal.reason}\n")

    def _log_signed(self, note: Note, origin: str) -> str:
        keys = {(key.name, key.key_hash) for key in self._state.keys(origin)}
        return str(Note(note.text, tuple(line for line in note.lines if (line.name, line.key_id) in keys)))

    def _cosign(self, origin: str, head: Head, signers: Sequence[Signer]) -> Answer:
        lines = signature_lines(Note.parse(head.note).text, signers, time_s=head.time_s)
        self._state.keep_cosigned(origin, head, add_signatures(head.note, lines))
        return Answer(200, "".join(f"{line}\n" for line in lines))


def _covers(verifier: Verifier, text: str) -> bool:
    try:
        verifier.message(text, 0)
    except LedgerError:
        return False
    return True


def origin_hash(origin: str) -> str:
    """Returns the name under which monitors ask for a log: SHA-256 of its origin in lower-case hex."""
    return sha256(origin.encode()).hexdigest()
