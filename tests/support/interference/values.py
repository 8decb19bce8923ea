"""Protected values of twins: arbitrary ones under masks that are constants, and such that masks keep the same of under the others.

Values differ between twins in everything that statistics see: length, NULLs, duplicates, order, extremes.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from guardrails.masking import mask_value
from guardrails.model import Column, ColumnRef, DialectName, Mask

__all__ = ["KEY", "Protected", "Values", "mask_of"]

KEY = b"k" * 32


@dataclass(frozen=True)
class Protected:
    """One protected column.

    Args:
        kind: What is stored in it, as in `tests.support.grammar.schema`; `unique` is a number of its own for each row.
        constant: Its mask where masks tell nothing.
        keeping: Its mask where masks keep something: kind and options; None for the constant one there too.
    """

    kind: str
    constant: Mapping[str, str | int]
    keeping: Mapping[str, str | int] | None = None


_WORDS = ["a", "ada", "EU", "x%", "it's", "", "***", "zz-9", "x1@example.com", "12", "é", "A", "ada@EU.example"]
_DOCUMENTS = ["{}", "[]", "null", "[1, 2, 3]", '{"a": 7, "b": {"c": "y"}}', '{"id": "z"}', '"text"', "21"]
_POOL: Mapping[str, Sequence[object]] = {
    "text": [*_WORDS, None, "y" * 50, "b" * 40, "5", "0012", "not a number"],
    "int": [None, 0, 1, 2, 5, 7, 20, 21, 22, 100, -3, 2**31 - 1, -(2**31)],
    "num": [None, 0, 1, Decimal("5.25"), Decimal("20.5"), 21, Decimal("99.99"), Decimal("-2.25"), Decimal("12345678.90")],
    "date": [None, "1900-01-01", "2026-03-01", "2026-12-31", "2099-06-06", "2024-02-29"],
    "json": [None, *_DOCUMENTS, f'{{"a": "{"q" * 50}"}}'],
    "arr": [None, [], [1], [5, 2], [9, 9, 9], list(range(12))],
}
_BROKEN = ["not json", '{"a": ', "'"]
"""What a column of JSON may hold as well where its type is text."""


class Values:
    """Makes the protected values of one twin.

    Args:
        dialect: The engine.
        twin: Which of the two; the other one has other values.
        is_keeping: Masks keep something of a value, and so the twins must agree in that.
    """

    def __init__(self, dialect: DialectName, twin: int, *, is_keeping: bool) -> None:
        self._dialect = dialect
        self._is_keeping = is_keeping
        self._twin = twin
        self._public, self._private = random.Random(11), random.Random(1000 + twin)
        self._numbers = self._private.sample(range(1_000), 1_000)
        self._classes: dict[tuple[object, ...], list[list[object]]] = {}

    def value(self, protected: Protected, column: Column, ref: ColumnRef) -> object:
        """Returns the next value for a column."""
        if protected.kind == "unique":
            number = self._numbers.pop()
            return None if number % 7 == 0 else 100_000 + number
        if self._is_keeping and protected.keeping is not None:
            mask = mask_of(ref, protected.keeping)
            return self._private.choice(self._public.choice(self._alike(mask, protected.kind, column)))
        pool = list(_POOL[protected.kind])
        if protected.kind == "json" and self._dialect == "sqlite":
            pool += _BROKEN
        # Few different ones in one twin, many in the other.
        return self._private.choice(pool[:: 1 + self._twin])

    def _alike(self, mask: Mask, kind: str, column: Column) -> list[list[object]]:
        """Returns groups of values of which the mask keeps the same."""
        found = self._classes.get((mask, column.type))
        if found is None:
            groups: dict[str, list[object]] = defaultdict(list)
            for value in _candidates(kind):
                masked = mask_value(mask, column, self._as_driver(value, kind), KEY, dialect=self._dialect)
                groups[repr(masked)].append(value)
            found = [group for group in groups.values() if len(group) > 1]
            self._classes[mask, column.type] = found = [*found, [None]]
        return found

    def _as_driver(self, value: object, kind: str) -> object:
        """The value as the engine's driver returns it."""
        if self._dialect == "sqlite":
            is_whole = isinstance(value, Decimal) and value == value.to_integral_value()
            return int(value) if is_whole else float(value) if isinstance(value, Decimal) else value  # type: ignore[arg-type]
        return date.fromisoformat(value) if kind == "date" and isinstance(value, str) else value


def mask_of(ref: ColumnRef, written: Mapping[str, str | int]) -> Mask:
    """Returns the mask that a policy writes so."""
    return Mask(ref, str(written["mask"]), tuple((k, v) for k, v in written.items() if k != "mask"))


def _candidates(kind: str) -> Sequence[object]:
    source = random.Random(3)
    if kind == "text":
        ends = ["ad", "EU", "x9", "1z"]
        middles = ["bcde", "q" * 40, "a-a-a-a", "  12  ", "%%%%", "e@e.com"]
        made = [e[0] + m + e[1] for e in ends for m in middles]
        domains = ["example.com", "b.org", "EU.example"]
        return [*made, *[f"{n}@{d}" for d in domains for n in ("a", "zoe.z", "x" * 30, "1")], "a", "b", "zz", "12", "21"]
    if kind == "int":
        return [*range(-20, 130), 2**31 - 1, 2**31 - 2]
    if kind == "num":
        return [Decimal(source.randint(-2_000, 12_000)) / 100 for _ in range(200)]
    if kind == "date":
        return [f"2026-{month:02d}-{day:02d}" for month in (1, 5, 12) for day in (1, 2, 15, 28)] + ["1900-01-01", "1900-01-31"]
    raise ValueError(kind)
