"""A session told again from its entries: steps in the order of the log, a statement together with how it ended and who said yes.

Values are no part of entries. Those that were kept, sealed, beside the tree are opened only for a reader who may see them, and only when
asked for; that they were shown is itself recorded.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guardrails.console.describing import Described, Entry, describe, read_entry, time_us
from guardrails.errors import LedgerError
from guardrails.ledger import Ledger

__all__ = ["KEPT_NAMES", "KeptValue", "Replayed", "Step", "kept_values", "replay"]

KEPT_NAMES = ("message", "sql", "params", "arguments", "executed", "result", "reason", "why")
"""Private values that a page shows, in this order."""

_LABELS = {
    "message": "What was said",
    "sql": "What the agent wrote",
    "params": "Its bound values",
    "arguments": "Arguments",
    "executed": "What ran",
    "result": "What came back",
    "reason": "Reason",
    "why": "In their words",
}
_MOST_ROWS = 50
_MOST_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Replayed:
    """One entry of a step: its index, its JSON (None where it is not readable), and what it says in a line."""

    index: int
    entry: Entry | None
    described: Described
    time_us: int | None

    def part(self, *path: str) -> Any:
        """Returns a field of the entry, None where there is none."""
        found: Any = self.entry
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def listed(self, *path: str) -> list[Any]:
        """Returns a field that is a list; empty where there is none."""
        found = self.part(*path)
        return found if isinstance(found, list) else []

    @property
    def commitments(self) -> list[str]:
        """Names of the private values that it commits to."""
        found = self.part("commitments")
        return [name for name in KEPT_NAMES if isinstance(found, dict) and name in found]


@dataclass(slots=True)
class Step:
    """Something that happened: an entry, and what followed from it."""

    first: Replayed
    more: list[Replayed] = field(default_factory=list)

    @property
    def entries(self) -> list[Replayed]:
        """All entries of it, in order."""
        return [self.first, *self.more]


@dataclass(frozen=True, slots=True)
class KeptValue:
    """A private value as a reader sees it.

    Args:
        label: What it is.
        text: The value; empty where there is a table, or nothing.
        columns: Of a result.
        rows: Of a result, as text; the first ones.
        row_count: How many rows the result has.
        note: Why there is nothing to see, or less than all.
    """

    label: str
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    row_count: int = 0
    note: str = ""


def replay(leaves: Iterable[tuple[int, bytes | None]]) -> list[Step]:
    """Returns the steps that entries make up; an outcome belongs to its intent, answers to the request before them."""
    steps: list[Step] = []
    by_link: dict[str, Step] = {}
    for index, leaf in leaves:
        entry = read_entry(leaf)
        replayed = Replayed(index, entry, describe(entry), time_us(entry) if entry else None)
        step = next((by_link[link] for link in _follows(replayed) if link in by_link), None)
        if step is None:
            step = Step(replayed)
            steps.append(step)
        else:
            step.more.append(replayed)
        for link in _opens(replayed):
            by_link[link] = step
    return steps


def kept_values(ledger: Ledger, entries: Sequence[Replayed]) -> dict[int, list[KeptValue]]:
    """Returns the private values of entries, as far as they were kept."""
    return {
        replayed.index: [_shown(ledger, replayed.index, name) for name in replayed.commitments]
        for replayed in entries
        if replayed.commitments
    }


def _follows(replayed: Replayed) -> list[str]:
    kind = replayed.described.kind
    if kind in ("outcome", "outcome.unknown"):
        return [f"intent {replayed.part('intent')}"]
    if kind.startswith("approval."):
        return [f"request {replayed.part('request')}"]
    if kind == "intent" and replayed.part("approval", "request"):
        return [f"request {replayed.part('approval', 'request')}"]
    return []


def _opens(replayed: Replayed) -> list[str]:
    kind = replayed.described.kind
    if kind == "intent":
        return [f"intent {replayed.part('id')}"]
    if kind == "approval.requested":
        return [f"request {replayed.part('request')}"]
    return []


def _shown(ledger: Ledger, index: int, name: str) -> KeptValue:
    label = _LABELS[name]
    try:
        value = ledger.kept(index, name)
    except LedgerError as error:
        return KeptValue(label, note=f"It does not open ({error.code}).")
    if value is None:
        return KeptValue(label, note="Not kept, or erased since.")
    if len(value) > _MOST_BYTES:
        return KeptValue(label, note=f"{len(value):,} bytes: too long to be shown here.")
    text = value.decode("utf-8", "backslashreplace")
    return (_table(label, text) if name == "result" else None) or KeptValue(label, text)


def _table(label: str, text: str) -> KeptValue | None:
    """A result as a table, where its text says nothing but plain values."""
    try:
        columns, rows = ast.literal_eval(text)
        shown = tuple(tuple(_cell(value) for value in row) for row in rows[:_MOST_ROWS])
        names = tuple(str(name) for name in columns)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    note = f"The first {_MOST_ROWS} of {len(rows)} rows." if len(rows) > _MOST_ROWS else ""
    return KeptValue(label, columns=names, rows=shown, row_count=len(rows), note=note)


_CELLS: dict[type, Callable[[Any], str]] = {type(None): lambda _: "NULL", str: str}


def _cell(value: object) -> str:
    return _CELLS.get(type(value), repr)(value)
