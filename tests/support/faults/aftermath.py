"""What must hold of a ledger once its writers have ended, however they ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.entry import is_outcome
from guardrails.ledger.merkle import leaf_hash, verify_consistency
from guardrails.ledger.verify import verify

__all__ = ["Aftermath", "examine"]


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What was found.

    Args:
        size: Entries before anything was recovered.
        unacknowledged: Entries that are there though nobody was told so.
        recovered: Intents that recovering closed.
    """

    size: int
    unacknowledged: int
    recovered: int


def examine(path: Path, acknowledged: Iterable[tuple[int, str, str]], *, closes: bool = True) -> Aftermath:
    """Asserts that a ledger is consistent, holds all that was acknowledged, and goes on.

    Args:
        path: The ledger; it may not have been begun.
        acknowledged: (index, id, leaf hash in hexadecimal) of each entry that was called durable.
        closes: Also recover, append and verify again.
    """
    told = dict.fromkeys(acknowledged)
    try:
        report = verify(path)
    except (UsageError, LedgerError) as error:
        # Nothing was begun, or the beginning was not told to anybody yet.
        assert not told, error.diagnostics()
        report = None
    else:
        assert report.is_verified, [str(p) for p in report.problems]
    with Ledger.open(path) as ledger:
        size, root = ledger.size, ledger.root
        assert report is None or (report.size, report.root) == (size, root)
        entries = list(ledger.entries())
        for index, entry_id, digest in told:
            assert index < size, f"entry {index} was acknowledged and is lost"
            assert entries[index]["id"] == entry_id
            assert leaf_hash(ledger.leaf(index)).hex() == digest
        unknown, dangling = _unknown(entries)
        assert report is None or report.unknown == tuple(unknown)
        assert size >= len(told)
        if not closes:
            return Aftermath(size, size - len(told), 0)
        recovered = ledger.recover()
        closed = [ledger.entry(entry.index) for entry in recovered]
        assert [entry["type"] for entry in closed] == ["outcome.unknown"] * len(dangling)
        assert [entry["intent"] for entry in closed] == [entries[index]["id"] for index in dangling]
        assert ledger.recover() == ()
        intent = ledger.append({"type": "intent", "session": "after"}, private={"sql": b"SELECT 2"})
        ledger.append({"type": "outcome", "session": "after", "intent": intent.entry_id})
        if size:
            verify_consistency(size, ledger.size, root, ledger.root, ledger.consistency_proof(size))
    again = verify(path, pin=(size, root))
    assert again.is_verified, [str(p) for p in again.problems]
    assert again.unknown == tuple(unknown)
    assert again.size == size + len(recovered) + 2
    return Aftermath(size, size - len(told), len(recovered))


def _unknown(entries: list[dict[str, object]]) -> tuple[list[int], list[int]]:
    """Returns the indexes of intents without a real outcome, and of those without any."""
    real: set[object] = set()
    given_up: set[object] = set()
    for entry in entries:
        if is_outcome(entry):
            (given_up if entry["type"] == "outcome.unknown" else real).add(entry["intent"])
    intents = [(index, entry["id"]) for index, entry in enumerate(entries) if entry["type"] == "intent"]
    unknown = [index for index, entry_id in intents if entry_id not in real]
    dangling = [index for index, entry_id in intents if entry_id not in real | given_up]
    return unknown, dangling
