"""How a log's signing key changes: three kinds of entries, and the history of keys that follows from them.

``key.rotate`` brings in a new key, endorsed by the old and by the new one; ``key.retire`` ends the time in which both sign;
``key.revoke`` says from which tree size on a leaked key's checkpoints no longer count. Only the current key, the newest one, may sign any
of the three, so what an older key could do is nothing, and nobody comes in without the current key's word. All keys carry the log's
origin as their name; signature lines tell them apart by the key id. Everything here is pure: entries in, keys out.

A history starts from one key that the reader trusts by other means. Whoever holds the current key's secret can still lead its readers
anywhere: only a new key told out of band ends that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from guardrails.errors import LedgerError
from guardrails.ledger.note import ED25519, Signer, Verifier, base64_text, strict_base64

__all__ = ["RETIRE", "REVOKE", "ROTATE", "KeyHistory", "KeyPeriod", "retirement_entry", "revocation_entry", "rotation_entry"]

ROTATE = "key.rotate"
RETIRE = "key.retire"
REVOKE = "key.revoke"


def rotation_entry(old: Signer, new: Signer, *, reason: str) -> dict[str, object]:
    """Returns the entry that brings in a new key. From the checkpoint that holds it until the old key's retirement, both keys sign.

    Args:
        old: The current key.
        new: The new key, of the same name.
        reason: Why, in words, for the reader of the log.

    Raises:
        LedgerError: The names differ or the keys do not (ledger.key_history).
    """
    old_key, new_key = old.verifier(), new.verifier()
    _check_type(new_key)
    if old_key.name != new_key.name:
        _refuse("The new key has another name than the old one.")
    if old_key.public_key == new_key.public_key:
        _refuse("The new key is the old one.")
    text = _rotation_text(old_key, new_key)
    endorsements = {"old": base64_text(old.sign(text)), "new": base64_text(new.sign(text))}
    return {"type": ROTATE, "old": str(old_key), "new": str(new_key), "reason": reason, "endorsements": endorsements}


def retirement_entry(current: Signer, retired: Verifier, *, reason: str) -> dict[str, object]:
    """Returns the entry after which an older key signs no more checkpoints. Those it signed before keep counting.

    Args:
        current: The current key, which signs the entry.
        retired: The key that retires.
        reason: Why, in words.
    """
    signature = base64_text(current.sign(_retirement_text(retired, current.verifier())))
    return {"type": RETIRE, "key": str(retired), "reason": reason, "signed_by": str(current.verifier()), "signature": signature}


def revocation_entry(current: Signer, revoked: Verifier, *, from_size: int, reason: str) -> dict[str, object]:
    """Returns the entry that takes a leaked key's word back.

    Args:
        current: The current key, which signs the entry; if it is the one that leaked, rotate first.
        revoked: The key that leaked.
        from_size: The smallest tree size whose checkpoints by that key no longer count: that of the last checkpoint known to be
            honest, plus one.
        reason: Why, in words.
    """
    signature = base64_text(current.sign(_revocation_text(revoked, from_size, current.verifier())))
    return {
        "type": REVOKE,
        "key": str(revoked),
        "from_size": from_size,
        "reason": reason,
        "signed_by": str(current.verifier()),
        "signature": signature,
    }


@dataclass(frozen=True, slots=True)
class KeyPeriod:
    """One key and the tree sizes whose checkpoints it can sign.

    Args:
        verifier: The key.
        first_size: Smallest such size.
        last_size: Greatest such size, by its retirement; None while it has not retired.
        revoked_from: Smallest size that no longer counts, by its revocation; None while it has not been revoked.
    """

    verifier: Verifier
    first_size: int
    last_size: int | None = None
    revoked_from: int | None = None

    def is_valid_for(self, size: int) -> bool:
        """Tells whether the key's signature counts on a checkpoint of this tree size."""
        is_before_end = self.last_size is None or size <= self.last_size
        is_before_revocation = self.revoked_from is None or size < self.revoked_from
        return self.first_size <= size and is_before_end and is_before_revocation


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """The keys of one log, as its entries up to some index tell.

    Args:
        periods: The keys in the order of their coming; the last one that a rotation brought, or the trusted one, is current.
        current: The key that may change the set of keys.
        next_index: Entries below it have been taken.
    """

    periods: tuple[KeyPeriod, ...]
    current: Verifier
    next_index: int = 0

    @classmethod
    def trusting(cls, verifier: Verifier, *, first_index: int = 0) -> KeyHistory:
        """Returns the history that knows one key only.

        Args:
            verifier: A key trusted by other means than this log.
            first_index: Entries below it are not looked at: 0 for the log's first key; for a later key, the index after the rotation
                that brought it in. Its checkpoints count from this size on.
        """
        _check_type(verifier)
        return cls((KeyPeriod(verifier, first_index),), verifier, first_index)

    @classmethod
    def fold(
        cls, trusted: Verifier, entries: Iterable[tuple[int, Mapping[str, object]]], *, first_index: int = 0
    ) -> KeyHistory:
        """Returns the history after all of a log's entries.

        Args:
            trusted: A key trusted by other means than this log.
            entries: Index and entry, in the order of the log; entries that are not about keys may be left out.
            first_index: See `trusting`.

        Raises:
            LedgerError: An entry is refused (ledger.key_history); see `after`.
        """
        history = cls.trusting(trusted, first_index=first_index)
        for index, entry in entries:
            if index >= first_index:
                history = history.after(index, entry)
        return history

    def valid_for(self, size: int) -> tuple[Verifier, ...]:
        """Returns the keys whose signatures count on a checkpoint of this tree size, the oldest first; there may be none."""
        return tuple(period.verifier for period in self.periods if period.is_valid_for(size))

    def after(self, index: int, entry: Mapping[str, object]) -> KeyHistory:
        """Returns the history with one more entry, which changes nothing unless it is about keys.

        Writers call this before they append such an entry, so that none that readers would refuse comes into the log.

        Raises:
            LedgerError: The entry is about keys, and malformed, not in order, not endorsed by the current key, or it names a key that
                may not be named (ledger.key_history).
        """
        if index < self.next_index:
            _refuse("The entries are not in the order of the log.", index)
        change = {ROTATE: self._rotated, RETIRE: self._retired, REVOKE: self._revoked}.get(str(entry.get("type")))
        if change is None:
            return replace(self, next_index=index + 1)
        try:
            return change(index, entry)
        except LedgerError as error:
            if error.code == "ledger.key_history":
                raise
            _refuse(f"A key in it is not one: {error.message}", index, error)

    def _rotated(self, index: int, entry: Mapping[str, object]) -> KeyHistory:
        old, new = _verifier(entry, "old", index), _verifier(entry, "new", index)
        endorsements = entry.get("endorsements")
        if not isinstance(endorsements, Mapping):
            _refuse("The rotation is not endorsed.", index)
        if old != self.current:
            _refuse("The rotation starts from a key that is not the current one.", index)
        if new.name != old.name:
            _refuse("The new key has another name than the log.", index)
        if any(new.public_key == period.verifier.public_key for period in self.periods):
            _refuse("The rotation returns to a key that the log had before.", index)
        if any(new.key_hash == period.verifier.key_hash for period in self.periods):
            _refuse("Signature lines could not tell the new key from an older one.", index)
        text = _rotation_text(old, new)
        for verifier, field in ((old, "old"), (new, "new")):
            _check_signature(verifier, text, endorsements.get(field), index)
        return replace(self, periods=(*self.periods, KeyPeriod(new, index + 1)), current=new, next_index=index + 1)

    def _retired(self, index: int, entry: Mapping[str, object]) -> KeyHistory:
        key = self._older_key(index, entry)
        _check_signature(self.current, _retirement_text(key, self.current), entry.get("signature"), index)
        period = self._period(index, key)
        if period.last_size is not None or period.revoked_from is not None:
            _refuse("The key retired or was revoked before.", index)
        return self._with(index, replace(period, last_size=index))

    def _revoked(self, index: int, entry: Mapping[str, object]) -> KeyHistory:
        key, from_size = self._older_key(index, entry), entry.get("from_size")
        if type(from_size) is not int or not 1 <= from_size <= index + 1:
            _refuse("A key is revoked from a tree size of 1 to that which the entry makes.", index)
        _check_signature(self.current, _revocation_text(key, from_size, self.current), entry.get("signature"), index)
        period = self._period(index, key)
        if period.revoked_from is not None and period.revoked_from <= from_size:
            _refuse("The key was revoked from this size on, or a smaller one, before.", index)
        return self._with(index, replace(period, revoked_from=from_size))

    def _older_key(self, index: int, entry: Mapping[str, object]) -> Verifier:
        key = _verifier(entry, "key", index)
        if _verifier(entry, "signed_by", index) != self.current:
            _refuse("The entry is not signed by the current key.", index)
        if key.public_key == self.current.public_key:
            _refuse("The current key can neither retire nor revoke itself; rotate first.", index)
        if key.name != self.current.name:
            _refuse("The key is not one of this log.", index)
        return key

    def _period(self, index: int, key: Verifier) -> KeyPeriod:
        # A reader who trusts a later key has not seen the older ones: such a key was never valid to him, and can no longer come in.
        known = (period for period in self.periods if period.verifier == key)
        return next(known, KeyPeriod(key, first_size=index + 1))

    def _with(self, index: int, changed: KeyPeriod) -> KeyHistory:
        others = tuple(period for period in self.periods if period.verifier != changed.verifier)
        is_known = len(others) < len(self.periods)
        periods = tuple(changed if period.verifier == changed.verifier else period for period in self.periods)
        return replace(self, periods=periods if is_known else (changed, *others), next_index=index + 1)


def _rotation_text(old: Verifier, new: Verifier) -> bytes:
    return f"guardrails ledger key rotation v1\n{old.name}\n{old}\n{new}\n".encode()


def _retirement_text(key: Verifier, current: Verifier) -> bytes:
    return f"guardrails ledger key retirement v1\n{current.name}\n{key}\n{current}\n".encode()


def _revocation_text(key: Verifier, from_size: int, current: Verifier) -> bytes:
    return f"guardrails ledger key revocation v1\n{current.name}\n{key}\n{from_size}\n{current}\n".encode()


def _verifier(entry: Mapping[str, object], field: str, index: int) -> Verifier:
    text = entry.get(field)
    if not isinstance(text, str):
        _refuse(f"The field {field} is not a verifier key.", index)
    verifier = Verifier.parse(text)
    _check_type(verifier)
    return verifier


def _check_type(verifier: Verifier) -> None:
    if verifier.signature_type != ED25519:
        _refuse("A log's key is one of plain Ed25519 signatures.")


def _check_signature(verifier: Verifier, text: bytes, encoded: object, index: int) -> None:
    if not isinstance(encoded, str) or not verifier.is_valid(text, strict_base64(encoded)):
        _refuse(f"The entry is not signed by the key {verifier.key_hash.hex()} that it names.", index)


def _refuse(message: str, index: int | None = None, cause: LedgerError | None = None) -> NoReturn:
    evidence = {} if index is None else {"index": index}
    raise LedgerError("ledger.key_history", message, evidence=evidence) from cause
