"""What entries say of each other: stamps, order within a session, keys and who signed with them, intents and their outcomes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from guardrails.errors import LedgerError
from guardrails.ledger.entry import VERSION, is_outcome, parse_time
from guardrails.ledger.keychain import KEY_SESSION
from guardrails.ledger.note import Verifier, strict_base64
from guardrails.ledger.rotation import KeyHistory
from guardrails.ledger.signing import EntryKey, signed_part

__all__ = ["History", "Signed"]

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WRITER = {"host": str, "pid": int, "start": str}
_FIRST_VERSION = 1
_LOADED_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Signed:
    """An entry's signature that remains to be checked; it takes longer than everything else, so it is done apart."""

    index: int
    key: EntryKey
    signature: bytes
    message: bytes

    @property
    def holds(self) -> bool:
        return self.key.has_signed(self.signature, self.message)


@dataclass(slots=True)
class _Session:
    next_seq: int = 0
    key: bytes | None = None
    is_older: bool = False
    """It began among entries that are not shown, and with it the key that binds it."""


class History:
    """Follows a log entry by entry from its first one; memory grows by some 300 bytes a session, not with entries.

    Args:
        first_key: The log's first key; the current one signs entries outside of sessions.
        first_index: Entries below it are not shown (they are in an archive), so what would follow from them is not asked for.
    """

    def __init__(self, first_key: Verifier, first_index: int = 0) -> None:
        self._first_index = first_index
        self._keys = KeyHistory.trusting(first_key)
        self._log_key = EntryKey(first_key.public_key)
        self._next_log_key = self._log_key
        self._sessions: dict[str, _Session] = {}
        self._loaded_keys: dict[bytes, EntryKey] = {}
        self._last_time_us = 0
        self._intents: dict[str, tuple[int, bool]] = {}
        self._first_ids: set[bytes] = set()
        self._is_past_first_version = False

    @property
    def open_intents(self) -> list[tuple[str, int, bool]]:
        """Intents without a real outcome, oldest first: id, index, was it given up."""
        return sorted(((i, index, is_unknown) for i, (index, is_unknown) in self._intents.items()), key=lambda row: row[1])

    @property
    def last_time_us(self) -> int:
        """Time of the latest entry so far."""
        return self._last_time_us

    def add(self, index: int, entry: Mapping[str, object]) -> Iterator[str]:
        """Takes the next entry and yields what is wrong with it."""
        self._log_key = self._next_log_key
        version = entry.get("v")
        is_first_version = version == _FIRST_VERSION and type(version) is int and not self._is_past_first_version
        if not is_first_version:
            self._is_past_first_version = True
            if type(version) is not int or version != VERSION:
                yield f"its format is not version {VERSION}"
        yield from self._add_id(index, entry.get("id"), is_first_version)
        yield from self._add_stamps(entry)
        yield from self._add_link(index, entry, str(entry.get("id")))
        if str(entry.get("type")).startswith("key."):
            yield from self._add_key(index, entry)

    def signature(self, index: int, entry: Mapping[str, object]) -> Signed | str | None:
        """Returns the signature of an entry that was added, or what is wrong with it; None where its version has none."""
        if entry.get("v") == _FIRST_VERSION:
            return None
        try:
            named, signature, message = signed_part(entry)
        except LedgerError as error:
            return error.message
        name = entry.get("session", "")
        session = self._sessions.get(name) if isinstance(name, str) else None
        own = self._loaded(session.key) if session and session.key else None
        log_key = self._log_key
        if own is None and session is not None and session.is_older:
            return None
        if own is not None and named == own.key_id:
            return Signed(index, own, signature, message)
        if named == log_key.key_id and (own is None or entry.get("type") == "outcome.unknown"):
            return Signed(index, log_key, signature, message)
        return "it is signed with a key that has no say in its session"

    def _loaded(self, public_key: bytes) -> EntryKey:
        """Returns a session's key, loaded; those used last are kept so, since loading takes as long as checking."""
        key = self._loaded_keys.pop(public_key, None) or EntryKey(public_key)
        self._loaded_keys[public_key] = key
        if len(self._loaded_keys) > _LOADED_KEYS:
            del self._loaded_keys[next(iter(self._loaded_keys))]
        return key

    def take_key(self, index: int, entry: Mapping[str, object]) -> None:
        """Takes an entry about keys that lies among those that are not shown; it was checked otherwise."""
        for _ in self._add_key(index, entry):
            pass

    def _add_key(self, index: int, entry: Mapping[str, object]) -> Iterator[str]:
        """Takes what the entry says of the log's keys; from the next entry on, a new one signs."""
        try:
            changed = self._keys.after(index, entry)
        except LedgerError as error:
            yield error.message
            return
        if changed.periods != self._keys.periods and entry.get("session") != KEY_SESSION:
            yield f"it is about the log's keys and not in the session {KEY_SESSION}"
        if changed.current != self._keys.current:
            self._next_log_key = EntryKey(changed.current.public_key)
        self._keys = changed

    def _add_id(self, index: int, entry_id: object, is_first_version: bool) -> Iterator[str]:
        if not isinstance(entry_id, str) or not _ID.fullmatch(entry_id):
            yield "its id is not 32 hexadecimal digits"
        elif not is_first_version:
            if int(entry_id[:16], 16) != index:
                yield "its id is that of another place in the log"
        elif bytes.fromhex(entry_id) in self._first_ids:
            yield "its id occurred before"
        else:
            self._first_ids.add(bytes.fromhex(entry_id))

    def _add_stamps(self, entry: Mapping[str, object]) -> Iterator[str]:
        try:
            time_us = parse_time(entry.get("time"))
            if time_us < self._last_time_us:
                yield "its time is before that of the entry before"
            self._last_time_us = max(time_us, self._last_time_us)
        except LedgerError as error:
            yield error.message
        name, seq = entry.get("session", ""), entry.get("seq")
        if not isinstance(name, str):
            yield "its session is not a string"
        else:
            session = self._sessions.setdefault(name, _Session(is_older=self._first_index > 0))
            if session.is_older and session.next_seq == 0 and type(seq) is int:
                session.next_seq, session.is_older = seq, seq > 0
            if type(seq) is not int or seq != session.next_seq:
                yield f"its place in the session is {seq!r}, not {session.next_seq}"
            if entry.get("type") == "key.bind":
                yield from _bind(session, entry)
            # Counting on from what stands there, so that one gap is reported once.
            session.next_seq = (seq if type(seq) is int else session.next_seq) + 1
        writer = entry.get("writer")
        if not isinstance(writer, dict) or {name: type(value) for name, value in writer.items()} != _WRITER:
            yield "its writer is not host, pid and start"
        commitments = entry.get("commitments", {})
        if not isinstance(commitments, dict) or not all(
            isinstance(c, str) and _DIGEST.fullmatch(c) for c in commitments.values()
        ):
            yield "its commitments are not SHA-256 digests"

    def _add_link(self, index: int, entry: Mapping[str, object], entry_id: str) -> Iterator[str]:
        if entry.get("type") == "intent":
            self._intents[entry_id] = index, False
        if not is_outcome(entry):
            return
        intent = entry.get("intent")
        if isinstance(intent, str) and intent not in self._intents and self._is_older(intent):
            return
        if not isinstance(intent, str) or intent not in self._intents:
            yield "it is an outcome of no earlier intent, or a second outcome of one"
        elif entry["type"] != "outcome.unknown":
            del self._intents[intent]
        elif self._intents[intent][1]:
            yield "it gives up an intent that was given up before"
        else:
            self._intents[intent] = self._intents[intent][0], True

    def _is_older(self, entry_id: str) -> bool:
        return bool(_ID.fullmatch(entry_id)) and int(entry_id[:16], 16) < self._first_index


def _bind(session: _Session, entry: Mapping[str, object]) -> Iterator[str]:
    key = entry.get("key")
    if session.next_seq != 0 or session.key is not None:
        yield "it binds a key to a session that has begun"
        return
    try:
        if not isinstance(key, dict) or key.get("algorithm") != "ed25519" or not isinstance(key.get("public"), str):
            raise LedgerError("ledger.entry_invalid", "it binds no Ed25519 key")
        bound = EntryKey(strict_base64(key["public"]))
    except LedgerError:
        yield "it binds no Ed25519 key"
        return
    if key.get("id") != bound.key_id:
        yield "its key does not have the id that it says"
    session.key = bound.public_key
