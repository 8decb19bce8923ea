"""Operations about the ledger: its entries, the signed checkpoint, and the proofs with which a reader checks both on their own.

Proofs are handed out as they are stored and not checked here: that is the reader's part, who trusts nobody on this side.
"""

from __future__ import annotations

from base64 import b64encode

from guardrails.console.api.models import (
    CheckpointAnswer,
    ConsistencyAnswer,
    EntryAnswer,
    EvidenceAnswer,
)
from guardrails.console.api.operations import Call, Given, Index, Nothing, operation
from guardrails.console.describing import read_entry
from guardrails.console.stored import StoredEntry, StoredEvidence, stored_consistency, stored_evidence
from guardrails.errors import LedgerError
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.tree_head import Checkpoint

__all__ = ["OPERATIONS"]


class _Entry(Given):
    index: Index
    """Of the entry, from 0."""


class _Sizes(Given):
    old: Index
    """Number of entries of the earlier tree, 1 or more."""
    new: Index
    """Number of entries of the later one."""


@operation("GET", "/checkpoint", CheckpointAnswer, statuses=(409, 503))
def get_checkpoint(call: Call[Nothing, Nothing]) -> CheckpointAnswer:
    """Returns the latest signed checkpoint."""
    ledger = call.console.ledger
    with ledger.snapshot() as head:
        key, note = head.verifier_key, head.note
    said = Checkpoint.parse(note.partition("\n\n")[0] + "\n")
    return CheckpointAnswer(origin=said.origin, size=said.size, root=said.root.hex(), key=key, note=note)


@operation("GET", "/entries/{index}", EntryAnswer, parameters=_Entry, statuses=(404, 409, 410, 503))
def get_entry(call: Call[_Entry, Nothing]) -> EntryAnswer:
    """Returns one entry as it is stored."""
    stored = _stored(call)
    if stored.leaf is None:
        raise LedgerError("ledger.archived", "The entry was moved to an archive, or is not there any more.")
    hashed = leaf_hash(stored.leaf).hex()
    return EntryAnswer(
        index=stored.index, leaf=_base64(stored.leaf), leaf_hash=hashed, entry=dict(read_entry(stored.leaf) or {})
    )


@operation("GET", "/proofs/inclusion/{index}", EvidenceAnswer, parameters=_Entry, statuses=(404, 409, 503))
def prove_inclusion(call: Call[_Entry, Nothing]) -> EvidenceAnswer:
    """Returns what shows that an entry is in the log of the latest checkpoint."""
    found = stored_evidence(call.console.ledger, [call.parameters.index])
    entry = _stored(call, found)
    return EvidenceAnswer(
        index=entry.index,
        size=found.size,
        leaf=None if entry.leaf is None else _base64(entry.leaf),
        proof=None if entry.proof is None else [_base64(digest) for digest in entry.proof],
        note=found.note,
    )


@operation("GET", "/proofs/consistency", ConsistencyAnswer, parameters=_Sizes, statuses=(404, 409, 503))
def prove_consistency(call: Call[_Sizes, Nothing]) -> ConsistencyAnswer:
    """Returns what shows that the log of one size is the beginning of the log of another."""
    sizes = call.parameters
    found = stored_consistency(call.console.ledger, sizes.old, sizes.new)
    proof = None if found is None else [_base64(digest) for digest in found]
    return ConsistencyAnswer(old=sizes.old, new=sizes.new, proof=proof)


def _stored(call: Call[_Entry, Nothing], evidence: StoredEvidence | None = None) -> StoredEntry:
    """The entry as it is stored."""
    found = evidence or stored_evidence(call.console.ledger, [call.parameters.index])
    if not found.entries:
        raise LedgerError("ledger.index_range", f"There is no entry {call.parameters.index}.")
    return found.entries[0]


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


OPERATIONS = (get_checkpoint, get_entry, prove_inclusion, prove_consistency)
