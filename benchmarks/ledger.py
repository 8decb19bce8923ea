"""The ledger's costs as ratios within one run, since machines and their noise differ.

    python benchmarks/ledger.py

What each line compares is said in the line. Every figure is the median of five rounds.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from guardrails.ledger import Ledger, merkle
from guardrails.ledger.verify import verify

ROUNDS = 5
ENTRY = {
    "type": "intent",
    "session": "s",
    "sql": "SELECT name FROM customers WHERE id = :id",
    "decision": "allow",
    "rules": ["a", "b"],
}


def per_second(work: Callable[[], object], count: int) -> float:
    """Returns how many of `count` things that `work` does it does in a second."""
    rates = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - started))
    return statistics.median(rates)


def sync_writes(path: Path, count: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(count):
        os.write(descriptor, b"x" * 600)
        os.fsync(descriptor)
    os.close(descriptor)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.db"
        with Ledger.open(path) as ledger:
            floor = per_second(lambda: sync_writes(Path(folder) / "floor", 200), 200)
            single = per_second(lambda: [ledger.append(ENTRY) for _ in range(200)], 200)
            many = per_second(lambda: ledger.append_many([ENTRY] * 2000), 2000)
            print(f"append, one by one      {single / floor:6.2f} of bare fsyncs of 600 bytes ({single:,.0f}/s)")
            print(f"append, 2000 together   {many / single:6.2f} of one by one ({many:,.0f}/s)")
            size = ledger.size
            hashes = [merkle.leaf_hash(leaf) for _, leaf in ledger.leaves()]
            stored = per_second(lambda: [ledger.inclusion_proof(i) for i in range(0, size, size // 20)], 20)
            rebuilt = per_second(lambda: merkle.inclusion_proof(hashes, size // 2), 1)
            print(f"inclusion proof         {stored / rebuilt:6.1f} of one from all {size:,} leaf hashes ({stored:,.0f}/s)")
        checked = per_second(lambda: verify(path), size)
        hashed = per_second(lambda: merkle.root_hash(hashes), size)
        print(f"verify                  {checked / hashed:6.3f} of hashing the tree alone ({checked:,.0f} entries/s)")


if __name__ == "__main__":
    main()
