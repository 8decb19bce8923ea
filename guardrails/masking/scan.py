"""Looks through result rows and replaces what the detectors find, before the rows reach the agent.

It is a second net, for what the policy did not declare: it sees one cell at a time, so that a number split over columns or rows
passes. What the policy knows to be protected belongs under a mask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TypeVar, cast
from uuid import UUID

from guardrails.errors import UsageError
from guardrails.masking.detect import Span, find
from guardrails.masking.detectors.numbers import is_card
from guardrails.model import Row, ScanFinding, Value
from guardrails.records import fields_of, with_fields

__all__ = ["scan_error", "scan_rows"]

T = TypeVar("T")

_CARD_INTEGERS = range(10**14, 10**16)
_MOST_LEVELS = 64
_TOO_DEEP = "[nested]"
_PLAIN = (date, time, timedelta, UUID)
"""Types whose values hold no text; `datetime` is a `date`."""


def scan_rows(
    columns: Sequence[str], rows: Sequence[Row], *, skip_columns: Collection[str] = ()
) -> tuple[tuple[Row, ...], tuple[ScanFinding, ...]]:
    """Replaces each finding by its kind in brackets, such as ``[email]``.

    Looked through are texts, texts inside JSON values (keys too) and in the fields of dataclasses and pydantic models, and bytes that
    are UTF-8. A whole number of 15 or 16 digits that
    is a possible payment card becomes None, since its column holds numbers. JSON nested deeper than 64 levels becomes ``[nested]``
    from there on.

    Args:
        columns: Names of the result's columns; a name such as ``phone`` helps to tell what bare digits are.
        rows: The rows.
        skip_columns: Names of columns that are left as they are.

    Returns:
        The rows, and how many findings of each kind there were in each column, in the columns' order.

    Raises:
        UsageError: A value is of a type that cannot be looked through (usage.tool_unguardable).
    """
    scans = [None if name in skip_columns else _ColumnScan(name) for name in columns]
    scanned: list[Row] = []
    for row in rows:
        cells = [cell if scan is None else scan.cell(cell) for scan, cell in zip(scans, row, strict=True)]
        is_unchanged = all(new is old for new, old in zip(cells, row, strict=True))
        scanned.append(row if is_unchanged else tuple(cells))
    findings = [
        ScanFinding(scan.name, kind, count) for scan in scans if scan is not None for kind, count in sorted(scan.counts.items())
    ]
    return tuple(scanned), tuple(findings)


def scan_error(error: Exception) -> bool:
    """Replaces what the detectors find in the texts that an exception carries, as `scan_rows` does; frameworks show them to models.

    Args:
        error: Changed in place: its arguments, its attributes that are texts, and the exceptions of a group.

    Returns:
        Whether nothing is left in what it says; False for one that makes its text of something else.
    """
    error.args = tuple(_text(part) for part in error.args)
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, _text(value))
    inner = error.exceptions if isinstance(error, ExceptionGroup) else ()
    is_clean = [scan_error(part) for part in inner]
    return all(is_clean) and not find(str(error)) and not find(repr(error))


def _text(value: object) -> object:
    return _ColumnScan("error").cell(value) if isinstance(value, str) else value


@dataclass(slots=True)
class _ColumnScan:
    """Scans the cells of one column and counts what it finds."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)

    def cell(self, value: Value, level: int = 0) -> Value:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return self._number(value, value)
        if isinstance(value, Decimal):
            return self._number(value, int(value)) if value.is_finite() and value.adjusted() in (14, 15) else value
        if isinstance(value, bytes):
            return self._bytes(value)
        if isinstance(value, (list, dict)):
            return self._nested(value, level)
        other: object = value
        if isinstance(other, (tuple, set, frozenset)):
            # What a tool of somebody else's returns; rows of drivers are tuples with more to them, which plain ones replace.
            items = [self.cell(item, level + 1) for item in self._bounded(other, level)]
            return cast(Value, tuple(items) if isinstance(other, tuple) else set(cast("list[str]", items)))
        if other is None or isinstance(other, _PLAIN):
            return cast(Value, other)
        if isinstance(other, (Enum, PurePath)):
            return self._member(other, level)
        fields = fields_of(other)
        if fields is not None:
            return self._record(cast(Value, other), fields, level)
        raise UsageError(
            "usage.tool_unguardable",
            f"A result of type {type(other).__name__} cannot be looked through.",
            hint="Return plain values, and lists, dictionaries, dataclasses and pydantic models of them.",
        )

    def _bounded(self, items: Collection[Value], level: int) -> Collection[Value]:
        return items if level < _MOST_LEVELS else [_TOO_DEEP]

    def _text(self, text: str) -> str:
        spans = find(text, context=self.name)
        if not spans:
            return text
        self.counts.update(span.kind for span in spans)
        return _replaced(text, spans)

    def _number(self, value: T, number: int) -> T:
        if number in _CARD_INTEGERS and is_card(str(number)):
            self.counts["card"] += 1
            return cast(T, None)
        return value

    def _bytes(self, value: bytes) -> bytes:
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return value
        masked = self._text(text)
        return value if masked is text else masked.encode("utf-8")

    def _nested(self, value: list[Value] | dict[str, Value], level: int) -> Value:
        if level == _MOST_LEVELS:
            self.counts["nested"] += 1
            return _TOO_DEEP
        before = self.counts.total()
        if isinstance(value, list):
            items: Value = [self.cell(item, level + 1) for item in value]
        else:
            items = self._members(value, level)
        return items if self.counts.total() > before else value

    def _record(self, value: Value, fields: Mapping[str, object], level: int) -> Value:
        """Looks through what a function of somebody else's made; it stays of its kind."""
        if level == _MOST_LEVELS:
            self.counts["nested"] += 1
            return _TOO_DEEP
        before = self.counts.total()
        scanned = {name: self.cell(cast(Value, item), level + 1) for name, item in fields.items()}
        return with_fields(value, scanned) if self.counts.total() > before else value

    def _member(self, value: Enum | PurePath, level: int) -> Value:
        """Looks through what an enumeration's member or a path stands for; it stays what it is where nothing is found."""
        meant = cast(Value, value.value if isinstance(value, Enum) else str(value))
        before = self.counts.total()
        scanned = self.cell(meant, level + 1) if level < _MOST_LEVELS else _TOO_DEEP
        return scanned if self.counts.total() > before or level == _MOST_LEVELS else cast(Value, value)

    def _members(self, value: dict[str, Value], level: int) -> dict[str, Value]:
        members: dict[str, Value] = {}
        for key, item in value.items():
            text = str(key.value if isinstance(key, Enum) else key)
            masked = self._text(text)
            name = key if masked is text else masked
            number = 1
            while name in members:  # two keys that were told apart only by what is replaced
                number += 1
                name = f"{masked} {number}"
            members[name] = self.cell(item, level + 1)
        return members


def _replaced(text: str, spans: Sequence[Span]) -> str:
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], f"[{span.kind}]"]
        end = span.end
    return "".join([*parts, text[end:]])
