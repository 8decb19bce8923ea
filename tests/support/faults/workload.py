"""What a child does while its system calls fail: it appends, and says of each entry that it is durable, or that it was refused.

Only the public interface is used. An acknowledgement is a line `ack <index> <id> <leaf hash>`, written in one call to a file that
no fault concerns; a refusal is `refused <code>`; the last line of a child that was not killed is `done`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from guardrails.errors import GuardrailsError
from guardrails.ledger import Appended, Ledger

__all__ = ["SHAPES", "run", "writer_of_lines"]

Say = Callable[[str], None]


def run(path: str, shape: str, say: Say) -> None:
    """Opens the ledger at `path`, does what `shape` names, and closes it."""
    try:
        with Ledger.open(path) as ledger:
            say("open")
            SHAPES[shape](ledger, say)
    except GuardrailsError as error:
        say(f"refused {error.code}")
    say("done")


def _short(ledger: Ledger, say: Say) -> None:
    """Two pairs, three entries at once, a checkpoint."""
    _pair(ledger, say, "a", 0)
    _pair(ledger, say, "b", 0)
    _attempt(say, lambda: ledger.append_many({"type": "note", "session": "a", "n": n} for n in range(3)))
    _attempt(say, lambda: ledger.checkpoint() and [])


def _threads(ledger: Ledger, say: Say) -> None:
    """Three threads, each with three pairs."""
    workers = [threading.Thread(target=_pairs, args=(ledger, say, f"thread-{n}", 3)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _large(ledger: Ledger, say: Say) -> None:
    """Enough bytes for the database to move its write-ahead log into the file meanwhile."""
    for batch in range(6):
        _attempt(say, lambda: ledger.append_many({"type": "note", "session": "large", "text": "x" * 60_000} for _ in range(16)))
        _pair(ledger, say, "large", batch)


def _endless(ledger: Ledger, say: Say) -> None:
    """Pairs until somebody ends it."""
    ledger.recover()
    n = 0
    while True:
        _pair(ledger, say, "endless", n)
        n += 1


def _endless_threads(ledger: Ledger, say: Say) -> None:
    """Pairs from three threads until somebody ends it."""
    ledger.recover()
    workers = [threading.Thread(target=_pairs, args=(ledger, say, f"endless-{n}", 1_000_000)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


SHAPES: dict[str, Callable[[Ledger, Say], None]] = {
    "short": _short,
    "threads": _threads,
    "large": _large,
    "endless": _endless,
    "endless-threads": _endless_threads,
}


def _pairs(ledger: Ledger, say: Say, session: str, count: int) -> None:
    for n in range(count):
        _pair(ledger, say, session, n)


def _pair(ledger: Ledger, say: Say, session: str, n: int) -> None:
    private = {"sql": b"SELECT 1", "params": b"()"}
    intents = _attempt(say, lambda: [ledger.append({"type": "intent", "session": session, "n": n}, private=private)])
    if intents:
        outcome = {"type": "outcome", "session": session, "intent": intents[0].entry_id}
        _attempt(say, lambda: [ledger.append(outcome)])


def _attempt(say: Say, append: Callable[[], list[Appended]]) -> list[Appended]:
    try:
        appended = append()
    except GuardrailsError as error:
        say(f"refused {error.code}")
        return []
    for entry in appended:
        say(f"ack {entry.index} {entry.entry_id} {entry.leaf_hash.hex()}")
    return appended


def writer_of_lines(descriptor: int, note: Callable[[bytes], None] | None) -> Say:
    """Returns what writes a line to a descriptor, whole and at once, and tells `note` of it."""

    def say(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())
        if note:
            note(line.encode())

    return say
