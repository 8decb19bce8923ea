"""Getting a checkpoint cosigned: all witnesses of a policy are asked at once, until the quorum is there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from guardrails.errors import LedgerError
from guardrails.ledger.note import Note, Verifier, add_signatures, signed_by
from guardrails.ledger.posting import check_url
from guardrails.ledger.tree_head import Checkpoint
from guardrails.ledger.witnessing.client import Reply, add_checkpoint, cosignatures
from guardrails.ledger.witnessing.quorum import Policy
from guardrails.ledger.witnessing.request import AddCheckpoint

__all__ = ["cosign"]


@dataclass(slots=True)
class _Asked:
    """One witness, by its URL: it may hold several keys, each a witness of the policy."""

    url: str
    keys: dict[str, Verifier] = field(default_factory=dict)
    cosigned: set[str] = field(default_factory=set)
    old_size: int = 0
    cosigned_size: int = 0
    is_retried: bool = False
    said: str = "did not answer in time"


def cosign(
    note: str,
    policy: Policy,
    consistency_proof: Callable[[int, int], list[bytes]],
    *,
    previous: str = "",
    timeout_s: float = 10,
    grace_s: float = 0.5,
) -> str:
    """Returns the checkpoint with the cosignatures of witnesses that are enough for the policy.

    Every witness with a URL is asked at once, from the size that it is believed to have seen; one that has seen another size says so
    and is asked once more. Each cosignature is verified before it counts.

    Args:
        note: The log's signed checkpoint.
        policy: Who is asked and what is enough.
        consistency_proof: From old and new size (0 < old < new) to the proof; called in the caller's thread only.
        previous: The last cosigned note of this log, as far as one is known: witnesses are asked from its size on, and one that
            cosigned it and now names a smaller size has lost its state, so that it no longer counts.
        timeout_s: For all of it.
        grace_s: How long to wait for further witnesses once the quorum is there.

    Raises:
        LedgerError: The quorum was not reached (ledger.quorum_missing): message and evidence name who answered what, and
            evidence["note"] holds the checkpoint with the cosignatures that came. Or the note is not valid (ledger.note_invalid).
        UsageError: A witness's URL is malformed (usage.input_invalid).
    """
    checkpoint = Checkpoint.parse(Note.parse(note).text)
    asked = _witnesses(policy, previous, checkpoint.size)
    replies: queue.SimpleQueue[tuple[_Asked, Reply]] = queue.SimpleQueue()
    deadline = time.monotonic() + timeout_s
    proofs: dict[int, tuple[bytes, ...]] = {}

    def ask(witness: _Asked) -> None:
        old = witness.old_size
        if old not in proofs:
            proofs[old] = tuple(consistency_proof(old, checkpoint.size)) if 0 < old < checkpoint.size else ()
        request = AddCheckpoint(old, proofs[old], Note.parse(note))
        left_s = max(0.1, deadline - time.monotonic())
        # A thread that hangs on a witness must not keep the process from ending.
        threading.Thread(
            target=lambda: replies.put((witness, add_checkpoint(witness.url, request, timeout_s=left_s))), daemon=True
        ).start()

    for witness in asked:
        ask(witness)
    cosigned, waiting = note, len(asked)
    if policy.is_quorum(set()):
        deadline = min(deadline, time.monotonic() + grace_s)
    while waiting and (left_s := deadline - time.monotonic()) > 0:
        try:
            witness, reply = replies.get(timeout=left_s)
        except queue.Empty:
            break
        witness.said = reply.said
        if reply.size is not None and reply.size < witness.cosigned_size:
            witness.said += f", although it cosigned {witness.cosigned_size}: it lost its state"
        elif _is_behind(witness, reply, checkpoint.size):
            witness.old_size, witness.is_retried = reply.size or 0, True
            ask(witness)
            continue
        waiting -= 1
        cosigned = _take(cosigned, witness, reply)
        if policy.is_quorum(_cosigners(asked)):
            deadline = min(deadline, time.monotonic() + grace_s)
    if not policy.is_quorum(_cosigners(asked)):
        raise _missing(policy, asked, cosigned)
    policy.check(cosigned)
    return cosigned


def _witnesses(policy: Policy, previous: str, size: int) -> list[_Asked]:
    seen_size, signers = _previous(policy, previous)
    by_url: dict[str, _Asked] = {}
    for witness in policy.witnesses:
        if witness.url:
            url = check_url(witness.url)
            asked = by_url.setdefault(url, _Asked(url, old_size=seen_size if seen_size <= size else 0))
            asked.keys[witness.name] = witness.verifier
            if witness.verifier in signers:
                asked.cosigned_size = seen_size
    return list(by_url.values())


def _previous(policy: Policy, note: str) -> tuple[int, tuple[Verifier, ...]]:
    """Returns the size of the last cosigned note and which witnesses of the policy cosigned it."""
    if not note:
        return 0, ()
    parsed = Note.parse(note)
    present = {(line.name, line.key_id) for line in parsed.lines}
    keys = [w.verifier for w in policy.witnesses if (w.verifier.name, w.verifier.key_hash) in present]
    return Checkpoint.parse(parsed.text).size, signed_by(parsed, keys).signers if keys else ()


def _is_behind(witness: _Asked, reply: Reply, size: int) -> bool:
    """Whether to ask again from the size that the witness named."""
    return reply.size is not None and not witness.is_retried and reply.size <= size and reply.size != witness.old_size


def _take(note: str, witness: _Asked, reply: Reply) -> str:
    """Adds what holds of an answer to the note, and says what it is worth."""
    if not reply.lines:
        return note
    try:
        lines = cosignatures(note, reply.lines, tuple(witness.keys.values()))
    except LedgerError as error:
        witness.said = f"answered with what does not hold: {error.message}"
        return note
    signed = {(line.name, line.key_id) for line in lines}
    witness.cosigned = {name for name, key in witness.keys.items() if (key.name, key.key_hash) in signed}
    return add_signatures(note, lines)


def _cosigners(asked: list[_Asked]) -> set[str]:
    return {name for witness in asked for name in witness.cosigned}


def _missing(policy: Policy, asked: list[_Asked], note: str) -> LedgerError:
    answers = {name: witness.said for witness in asked for name in witness.keys}
    answers |= {w.name: "has no URL" for w in policy.witnesses if not w.url}
    told = "; ".join(f"{name} {said}" for name, said in answers.items()) or "there is none to ask"
    return LedgerError(
        "ledger.quorum_missing",
        f"The quorum {policy.quorum} did not cosign the checkpoint: {told}.",
        evidence={"answers": answers, "quorum": policy.quorum, "note": note},
    )
