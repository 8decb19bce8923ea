"""What is done to a ledger now and then by its keepers: new keys, cosignatures of witnesses, old entries to an archive.

Each is an entry or leaves one, and each is written in the transaction that makes it true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from guardrails.errors import LedgerError
from guardrails.ledger.appending import Appended, Item, Request
from guardrails.ledger.entry import check
from guardrails.ledger.keychain import KEY_SESSION, key_history
from guardrails.ledger.note import Note, Signer, Verifier
from guardrails.ledger.publishing.archive import archive_bundles
from guardrails.ledger.publishing.source import Target
from guardrails.ledger.rotation import retirement_entry, revocation_entry, rotation_entry
from guardrails.ledger.stores.base import Head
from guardrails.ledger.tree import TILE_WIDTH
from guardrails.ledger.witnessing.cosigning import cosign as ask_witnesses
from guardrails.ledger.witnessing.quorum import Policy

if TYPE_CHECKING:
    from guardrails.ledger.log import Ledger

__all__ = ["archive", "cosign", "retire_key", "revoke_key", "rotate_key"]


def rotate_key(ledger: Ledger, new: Signer, *, reason: str) -> Appended:
    """Goes over to a new signing key; recorded, endorsed by both. Until `retire_key`, both sign checkpoints.

    Args:
        ledger: The open ledger.
        new: The new key's signer, of the log's name.
        reason: Why.

    Raises:
        LedgerError: The keys do not fit (ledger.key_history), or it could not be written; then the old key still counts.
    """
    signers = ledger.signers
    return _change_keys(ledger, rotation_entry(signers[0], new, reason=reason), (new, *signers))


def retire_key(ledger: Ledger, key: Verifier, *, reason: str) -> Appended:
    """Ends the time in which a key that was rotated out signs too; recorded. What it signed before keeps counting.

    Raises:
        LedgerError: It is the current key or none of the log's (ledger.key_history).
    """
    signers = ledger.signers
    return _change_keys(ledger, retirement_entry(signers[0], key, reason=reason), _without(signers, key))


def revoke_key(ledger: Ledger, key: Verifier, *, from_size: int, reason: str) -> Appended:
    """Takes back the word of a key that leaked, for checkpoints of `from_size` entries or more; recorded. Rotate first.

    Raises:
        LedgerError: It is the current key or none of the log's (ledger.key_history).
    """
    signers = ledger.signers
    entry = revocation_entry(signers[0], key, from_size=from_size, reason=reason)
    return _change_keys(ledger, entry, _without(signers, key))


def cosign(ledger: Ledger, policy: Policy, *, timeout_s: float = 10) -> str:
    """Has witnesses cosign the latest checkpoint; what they are enough for counts as published from then on.

    Args:
        ledger: The open ledger.
        policy: The witnesses and how many of them are enough.
        timeout_s: Seconds for all of it.

    Returns:
        The checkpoint with the cosignatures, which `Ledger.published` returns too.

    Raises:
        LedgerError: Too few cosigned (ledger.quorum_missing), or the log is not the one that they saw.
    """
    with ledger.snapshot() as head:
        note, before = head.note, head.published
    cosigned = ask_witnesses(note, policy, ledger.consistency_proof, previous=before, timeout_s=timeout_s)

    def publish(head: Head) -> Head:
        is_later = not head.published or _size(head.published) <= _size(cosigned)
        return replace(head, published=cosigned) if is_later else head

    ledger.submit(Request([], publish))
    return cosigned


def archive(
    ledger: Ledger, target: Target, end: int, *, name: str = "", progress: Callable[[int, int], None] | None = None
) -> int:
    """Moves the entries before `end` to an archive. Their hashes stay, and with them every proof.

    Nothing is deleted before all of it was written, read back and held to the signed tree; the move is an entry.

    Args:
        ledger: The open ledger.
        target: Where to, such as a folder or an object store.
        end: Entry to stop before; rounded down to a multiple of 256.
        name: What the entry calls the archive.
        progress: Called with the number of bundles proven and of all.

    Returns:
        How many entries were moved.

    Raises:
        LedgerError: An intent before `end` has no outcome yet (ledger.archive_open), or the target cannot be used.
        TamperedError: An entry was changed.
    """
    end -= end % TILE_WIDTH
    verifier = ledger.signers[0].verifier()
    with ledger.snapshot() as head:
        start = head.archived
        _require_closed(ledger, end)
    if end <= start:
        return 0
    archive_bundles(ledger, target, end, verifier, start=start, progress=progress)

    def drop(head: Head) -> Head:
        _require_closed(ledger, end)
        ledger.store.drop_leaves(end, KEY_SESSION)
        return replace(head, archived=end)

    moved = check({"type": "archive", "start": start, "end": end, "archive": name})

    def items(head: Head) -> list[Item]:
        if head.archived != start:
            raise LedgerError("ledger.archive_open", "Somebody else archived meanwhile; nothing was deleted.")
        return [Item(moved, {})]

    ledger.submit(Request(items, drop))
    return end - start


def _change_keys(ledger: Ledger, entry: dict[str, object], signers: tuple[Signer, ...]) -> Appended:
    item = Item(check(entry | {"session": KEY_SESSION}), {})
    current = ledger.signers[0].verifier()

    def checked(head: Head) -> list[Item]:
        key_history(ledger.store, current, head.size).after(head.size, item.entry)
        return [item]

    return ledger.submit(Request(checked, signers=signers))[0]


def _require_closed(ledger: Ledger, end: int) -> None:
    waiting = [index for _, index, is_unknown in ledger.store.open_intents() if index < end and not is_unknown]
    if waiting:
        raise LedgerError(
            "ledger.archive_open",
            f"Entry {waiting[0]} is an intent without an outcome.",
            hint="Recover the ledger first, or archive less.",
            evidence={"indexes": waiting[:20]},
        )


def _without(signers: tuple[Signer, ...], key: Verifier) -> tuple[Signer, ...]:
    return tuple(signer for signer in signers if signer.verifier() != key)


def _size(note: str) -> int:
    return int(Note.parse(note).text.split("\n")[1])
