"""Which entries outside of a range its own entries depend on: beginnings of sessions, intents, outcomes, changes of the log's keys.

What became of a change in a transaction is said elsewhere: by the outcome of the transaction's intent, and by what a savepoint took back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from guardrails.ledger.entry import decode, is_outcome
from guardrails.ledger.evidence.source import WholeLog
from guardrails.ledger.keychain import KEY_SESSION

__all__ = ["Context", "gather"]

_MARKS = (b'"seq":0,', b'"session":"log.keys"', b'"type":"outcome', b'"transaction":{')


class Context:
    """What a range depends on.

    Args:
        range_: The range's indices.

    Attributes:
        indexes: Entries that are needed besides the range; some may lie in the range too, where they change the log's keys.
        policies: Digests of the policies that the range's and these entries name.
        texts: By policy digest, the index of the entry beside which the policy's text is kept.
    """

    def __init__(self, range_: range) -> None:
        self.range = range_
        self.indexes: set[int] = set()
        self.policies: set[str] = set()
        self.texts: dict[str, int] = {}
        self._rotations: dict[int, tuple[object, object]] = {}
        self._starts: dict[str, int] = {}
        self._wanted: set[str] = set()
        self._intents: set[str] = set()
        self._open: set[str] = set()
        self._transactions: set[str] = set()
        self._begun: set[str] = set()
        self._ended: set[str] = set()
        self._missing: list[int] = []

    @property
    def unknown_sessions(self) -> set[str]:
        """Sessions whose first entry was not met yet."""
        return self._wanted - self._starts.keys()

    @property
    def has_open_transactions(self) -> bool:
        """Whether the end of a transaction of the context was not met yet."""
        return bool(self._begun - self._ended)

    @property
    def keys(self) -> list[str]:
        """Verifier keys of the log as its rotations tell, the oldest first; empty where there was none."""
        named = [key for index in sorted(self._rotations) for key in self._rotations[index] if isinstance(key, str)]
        return list(dict.fromkeys(named))

    def take(self, index: int, leaf: bytes) -> None:
        """Looks at an entry, as often as it comes by."""
        is_within = index in self.range
        # Canonical JSON spells a field in one way, so most entries outside of the range need not be parsed.
        if not is_within and not any(mark in leaf for mark in _MARKS):
            return
        entry = decode(leaf)
        kind, session = entry.get("type"), entry.get("session", "")
        if entry.get("seq") == 0 and isinstance(session, str):
            self._begin(index, session, entry)
        if session == KEY_SESSION:
            if kind == "key.rotate":
                self._rotations[index] = entry.get("old"), entry.get("new")
            self.require(index, entry)
        if is_within:
            if kind == "intent":
                self._open.add(str(entry.get("id")))
            self._depend(index, entry)
        elif self._is_end_of_range(index, entry) or self._is_of_transaction(entry):
            self.require(index, entry)
        if kind == "intent" and self._is_of_transaction(entry):
            self._begun.add(str(entry.get("id")))
        if is_outcome(entry) and kind != "outcome.unknown":
            self._open.discard(str(entry.get("intent")))
            self._ended |= {str(entry.get("intent"))} if self._is_of_transaction(entry) else set()

    def require(self, index: int, entry: Mapping[str, object]) -> None:
        """Makes an entry part of the context, and with it what it depends on itself."""
        if index not in self.indexes:
            self.indexes.add(index)
            self._depend(index, entry)

    def pop_missing(self) -> int | None:
        """Returns the index of an intent that is needed and was not looked at; None where there is none."""
        return self._missing.pop() if self._missing else None

    def _is_end_of_range(self, index: int, entry: Mapping[str, object]) -> bool:
        return is_outcome(entry) and index >= self.range.stop and entry.get("intent") in self._open

    def _is_of_transaction(self, entry: Mapping[str, object]) -> bool:
        """Whether an entry is the intent of a transaction that is wanted, its end, or what a savepoint took back in it."""
        if is_outcome(entry) and entry.get("intent") in self._begun:
            return True  # after a crash it names the intent alone
        place = _transaction(entry)
        is_wanted = place.get("id") in self._transactions if isinstance(place.get("id"), str) else False
        is_kind = entry.get("type") in ("intent", "transaction.rolled_back") or is_outcome(entry)
        return is_wanted and is_kind and "number" not in place

    def _depend(self, index: int, entry: Mapping[str, object]) -> None:
        session, intent = entry.get("session", ""), entry.get("intent")
        if isinstance(session, str):
            self._wanted.add(session)
            if session in self._starts and self._starts[session] not in self.range:
                self.indexes.add(self._starts[session])
        if is_outcome(entry) and isinstance(intent, str) and len(intent) == 32 and intent not in self._intents:
            self._intents.add(intent)
            place = int(intent[:16], 16)
            if place < index and place not in self.range:
                self._missing.append(place)
        if isinstance(transaction := _transaction(entry).get("id"), str):
            self._transactions.add(transaction)
        decision = entry.get("decision")
        named = decision.get("policy") if isinstance(decision, dict) else None
        for digest in (named, entry.get("policy") if entry.get("type") == "key.bind" else None):
            if isinstance(digest, str) and len(digest) == 64:
                self.policies.add(digest)

    def _begin(self, index: int, session: str, entry: Mapping[str, object]) -> None:
        digest, commitments = entry.get("policy"), entry.get("commitments")
        if isinstance(digest, str) and isinstance(commitments, dict) and "policy" in commitments:
            self.texts.setdefault(digest, index)
        if session in self._wanted or index in self.range:
            self._starts.setdefault(session, index)
            if index not in self.range:
                self.require(index, entry)


def _transaction(entry: Mapping[str, object]) -> Mapping[str, object]:
    place = entry.get("transaction")
    return place if isinstance(place, dict) else {}


def gather(source: WholeLog, range_: range, size: int, beside: list[int], read: Callable[[int], object]) -> Context:
    """Reads a log and returns what a range of it depends on.

    It is read once; again where sessions of the context began elsewhere, or where a transaction ended after the range and began before.

    Args:
        source: The log.
        range_: The range's indices.
        size: Number of entries of the log that are read.
        beside: Entries that are needed anyway.
        read: Called with each index that is read.

    Raises:
        LedgerError: An entry is archived (ledger.archived) or malformed, or what the source raises.
    """
    context = Context(range_)
    for index, leaf in source.leaves(range_.start, range_.stop):
        context.take(index, leaf)
        read(index)
    for index in beside:
        context.require(index, decode(source.leaf(index)))
    for start, end in ((range_.stop, size), (0, range_.start)):
        _settle(context, source)
        for index, leaf in source.leaves(start, end):
            context.take(index, leaf)
            read(index)
    _settle(context, source)
    unknown = context.unknown_sessions
    while unknown or context.has_open_transactions:
        for index, leaf in source.leaves(0, size):
            context.take(index, leaf)
        _settle(context, source)
        before, unknown = unknown, context.unknown_sessions
        if unknown >= before:
            break  # no such beginning, and no such end; the verifier will say so
    return context


def _settle(context: Context, source: WholeLog) -> None:
    while (index := context.pop_missing()) is not None:
        context.require(index, decode(source.leaf(index)))
