"""What entries say of each other: stamps, order within a session, intents and the outcomes that close them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from guardrails.errors import LedgerError
from guardrails.ledger.entry import VERSION, is_outcome, parse_time

__all__ = ["History"]

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WRITER = {"host": str, "pid": int, "start": str}


class History:
    """Follows a log entry by entry from its first one."""

    def __init__(self) -> None:
        self._ids: set[bytes] = set()
        self._next_seq: dict[str, int] = {}
        self._last_time_us = 0
        self._intents: dict[str, int] = {}
        self._is_unknown: dict[str, bool] = {}

    @property
    def open_intents(self) -> dict[str, tuple[int, int]]:
        """Intents without a real outcome: id to (index, 1 when it was given up, else 0)."""
        return {i: (self._intents[i], int(is_unknown)) for i, is_unknown in self._is_unknown.items()}

    @property
    def unknown(self) -> tuple[int, ...]:
        """Indexes of the intents whose outcome is not known."""
        return tuple(sorted(index for index, _ in self.open_intents.values()))

    def add(self, index: int, entry: Mapping[str, object]) -> Iterator[str]:
        """Takes the next entry and yields what is wrong with it."""
        if type(entry.get("v")) is not int or entry["v"] != VERSION:
            yield f"its format is not version {VERSION}"
        entry_id = entry.get("id")
        if not isinstance(entry_id, str) or not _ID.fullmatch(entry_id):
            yield "its id is not 32 hexadecimal digits"
        else:
            if bytes.fromhex(entry_id) in self._ids:
                yield "its id occurred before"
            self._ids.add(bytes.fromhex(entry_id))
        yield from self._add_stamps(entry)
        yield from self._add_link(index, entry, str(entry_id))

    def _add_stamps(self, entry: Mapping[str, object]) -> Iterator[str]:
        try:
            time_us = parse_time(entry.get("time"))
            if time_us < self._last_time_us:
                yield "its time is before that of the entry before"
            self._last_time_us = max(time_us, self._last_time_us)
        except LedgerError as error:
            yield error.message
        session, seq = entry.get("session", ""), entry.get("seq")
        if not isinstance(session, str):
            yield "its session is not a string"
        else:
            expected = self._next_seq.get(session, 0)
            if type(seq) is not int or seq != expected:
                yield f"its place in the session is {seq!r}, not {expected}"
            # Counting on from what stands there, so that one gap is reported once.
            self._next_seq[session] = (seq if type(seq) is int else expected) + 1
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
            self._intents[entry_id], self._is_unknown[entry_id] = index, False
        if not is_outcome(entry):
            return
        intent = entry.get("intent")
        if not isinstance(intent, str) or intent not in self._intents:
            yield "it is an outcome of no earlier intent"
        elif intent not in self._is_unknown:
            yield "it is a second outcome of its intent"
        elif entry["type"] != "outcome.unknown":
            del self._is_unknown[intent]
        elif self._is_unknown[intent]:
            yield "it gives up an intent that was given up before"
        else:
            self._is_unknown[intent] = True
