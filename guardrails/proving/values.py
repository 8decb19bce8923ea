"""Values for generated rows: small pools in which joins and conditions meet, then values none of which comes twice, then what the schema
names.

A protected value comes as a pair, one for each twin: free of each other where the mask tells nothing, else agreeing in what it keeps.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from guardrails.masking import mask_value
from guardrails.masking.types import ColumnType, column_type
from guardrails.model import Column, DialectName, Mask

__all__ = ["ColumnValues", "Pair", "column_values"]

Pair = tuple[object, object]
_WORDS = ("ada", "bob", "Cyd", "EU", "US", "APAC", "open", "paid", "a-1", "x_2", "USD", "eva@example.com", "07 815", "12")
_DAYS = 365
_VARIANTS = 60
_NULLS = 0.15
_MIRROR = 9_973
"""Above every number that is given: the second twin's values come in the opposite order."""
_POOLED, _DISTINCT = 0, 1
"""Levels of trying: from a pool; different from all before; from the third on also what the schema's text names."""


@dataclass(frozen=True)
class ColumnValues:
    """Makes values of one column.

    Args:
        column: As the catalog has it.
        type: What its values are.
        dialect: The engine's.
        source: Where choices come from.
        count: Rows a table, in whose range keys are.
        literals: What the definition of its table names.
        labels: The only texts that its type allows; empty where it allows any.
        is_key: It is the primary key, alone or with others.
    """

    column: Column
    type: ColumnType
    dialect: DialectName
    source: random.Random
    count: int
    literals: Sequence[str]
    labels: Sequence[str]
    is_key: bool

    def value(self, level: int, number: int, *, may_be_null: bool = True) -> object:
        """Returns one value; `number` differs from call to call."""
        if may_be_null and self.column.is_nullable and not self.is_key and self.source.random() < _NULLS:
            return None
        if self.labels:
            return self.source.choice(self.labels)
        if level > _DISTINCT and self.literals and self.source.random() < 0.5:
            named = self._named(self.source.choice(self.literals))
            if named is not None:
                return named
        if self.type.family == "unknown":
            return self.source.choice(_UNKNOWN[self.dialect])
        is_distinct = level >= _DISTINCT or self.is_key
        return _MAKERS[self.type.family](self, number if is_distinct else None)

    def free_pair(self, level: int, number: int) -> Pair:
        """Returns two values that have nothing to do with each other, neither in order nor in which are equal or NULL."""
        return self.value(level, number), self.value(level, _MIRROR - number)

    def alike_pair(self, mask: Mask, level: int, number: int, key: bytes) -> Pair:
        """Returns two values that the mask shows alike: different ones where such are found."""
        first = self.value(level, number)
        if first is None:
            return None, None
        for candidate in self._variants(first, level, number):
            if candidate != first and self._shows_alike(mask, first, candidate, key):
                return first, candidate
        return first, first

    def _shows_alike(self, mask: Mask, first: object, second: object, key: bytes) -> bool:
        shown = [mask_value(mask, self.column, v, key, dialect=self.dialect) for v in (first, second)]  # type: ignore[arg-type]
        return shown[0] == shown[1] and type(shown[0]) is type(shown[1])

    def _variants(self, value: object, level: int, number: int) -> Iterator[object]:
        for step in range(_VARIANTS):
            made = _varied(value, self.source, step)
            yield made if made is not None else self.value(level, number + step, may_be_null=False)

    def _named(self, text: str) -> object:
        """A text or number of the schema as a value of the type; None where it is none."""
        try:
            match self.type.family:
                case "integer":
                    return int(text)
                case "numeric":
                    return Decimal(text) if self.dialect != "sqlite" else float(text)
                case "float":
                    return float(text)
                case "date":
                    return self.plain(date.fromisoformat(text[:10]))
                case "timestamp" | "timestamptz":
                    return self.plain(datetime.fromisoformat(text))
                case "text" | "unknown":
                    return self.fit(text)
        except (ValueError, ArithmeticError):
            return None
        return None

    def fit(self, text: str) -> str:
        return text if self.type.length is None else text[: self.type.length]

    def plain(self, value: object) -> object:
        """A value as the engine's driver takes it."""
        if self.dialect == "sqlite":
            match value:
                case bool():
                    return int(value)
                case datetime():
                    return value.isoformat(" ")
                case date() | time():
                    return value.isoformat()
                case Decimal():
                    return float(value) if value % 1 else int(value)
                case timedelta() | UUID():
                    return str(value)
        if self.dialect == "mysql" and isinstance(value, UUID):
            return str(value)
        return value


def column_values(
    column: Column,
    dialect: DialectName,
    source: random.Random,
    count: int,
    literals: Sequence[str],
    labels: Sequence[str],
    *,
    is_key: bool,
) -> ColumnValues:
    """Returns what makes values of a column; of a domain by the type that it is based on."""
    found = column_type(column, dialect)
    if found.family == "unknown" and column.declared is not None:
        found = column_type(replace(column, type=column.declared.type.lower()), dialect)
    return ColumnValues(column, found, dialect, source, count, literals, labels, is_key)


def _text(values: ColumnValues, number: int | None) -> object:
    source = values.source
    if number is None:
        if "mail" in values.column.name.lower():
            return values.fit(
                f"{source.choice(string.ascii_lowercase)}{source.randrange(99)}@{source.choice(('example.com', 'test.org'))}"
            )
        return values.fit(source.choice(_WORDS))
    stem = f"{number:x}"
    if "mail" in values.column.name.lower() and (values.type.length is None or values.type.length > 20):
        return f"p{stem}@{source.choice(('example.com', 'test.org'))}"
    word = "".join(source.choice(string.ascii_letters) for _ in range(source.randrange(3, 9)))
    room = values.type.length
    return f"{word}{stem}" if room is None else f"{word[: max(room - len(stem), 0)]}{stem[-room:]}"


def _integer(values: ColumnValues, number: int | None) -> object:
    bits = values.type.bits
    if "year" in values.type.sql:
        return 1950 + (number if number is not None else values.source.randrange(100)) % 200
    if number is not None:
        return (
            number % (1 << (bits - 1)) if values.is_key else number % 100 if bits <= 8 else number * 7 % ((1 << (bits - 1)) - 1)
        )
    return values.source.choice((0, 1, 5, 7, 21, 100, values.source.randint(1, values.count)))


def _numeric(values: ColumnValues, number: int | None) -> object:
    type_ = values.type
    made = (
        Decimal(number) + (Decimal(0) if values.is_key else Decimal("0.25"))
        if number is not None
        else values.source.choice([Decimal(t) for t in ("0", "1", "5.25", "20.5", "99.99")])
    )
    if type_.precision is not None:
        made = round(made % (10 ** max(type_.precision - type_.scale, 0)), type_.scale)
        if made >= 10 ** (type_.precision - type_.scale):
            made = Decimal(0)
    return values.plain(made)


def _float(values: ColumnValues, number: int | None) -> object:
    return float(number) if number is not None else values.source.choice((0.0, 1.0, 5.25, 20.5, 99.5))


def _date(values: ColumnValues, number: int | None) -> object:
    return values.plain(date(2025, 1, 1) + timedelta(days=number if number is not None else values.source.randrange(_DAYS)))


def _moment(values: ColumnValues, number: int | None) -> object:
    minutes = number * 61 if number is not None else values.source.randrange(_DAYS * 24) * 60
    zone = UTC if values.type.family == "timestamptz" else None
    return values.plain(datetime(2025, 1, 1, tzinfo=zone) + timedelta(minutes=minutes))


def _time(values: ColumnValues, number: int | None) -> object:
    minutes = (number if number is not None else values.source.randrange(1440)) % 1440
    return values.plain(time(minutes // 60, minutes % 60, tzinfo=UTC if values.type.family == "timetz" else None))


def _json(values: ColumnValues, number: int | None) -> object:
    if number is not None:
        return f'{{"a": {number}}}'
    return values.source.choice(('{"a": 1, "b": {"c": "x"}}', '{"a": [1, 2, 3], "t": null}', "[1, 2, 3]", '{"a": "ada"}'))


def _bytes(values: ColumnValues, number: int | None) -> object:
    return (number if number is not None else values.source.randrange(9)).to_bytes(8, "big")


def _uuid(values: ColumnValues, number: int | None) -> object:
    return values.plain(UUID(int=number if number is not None else values.source.randrange(values.count)))


def _boolean(values: ColumnValues, number: int | None) -> object:
    return values.plain((number % 2 if number is not None else values.source.randrange(2)) == 1)


def _interval(values: ColumnValues, number: int | None) -> object:
    hours = (number if number is not None else values.source.randrange(48)) % 800
    return f"{hours:02d}:00:00" if values.dialect == "mysql" else values.plain(timedelta(hours=hours))


_MAKERS: dict[str, Callable[[ColumnValues, int | None], object]] = {
    "text": _text, "integer": _integer, "numeric": _numeric, "float": _float, "boolean": _boolean, "date": _date,
    "timestamp": _moment, "timestamptz": _moment, "time": _time, "timetz": _time, "interval": _interval, "uuid": _uuid,
    "json": _json, "bytes": _bytes,
}  # fmt: skip
_UNKNOWN: dict[str, Sequence[object]] = {
    "postgres": ("{}", "{1,2}", "{a,b}", "1", "10.0.0.1", "a", "(1,2)", "[1,5)", "08:00:2b:01:02:03"),
    "mysql": (1, "a", b"\x01", "POINT(1 1)"),
    "duckdb": ([], [1, 2], ["a"], {}, 1, "a"),
}
"""What a type that is not known may take; the database refuses what it does not."""


def _varied(value: object, source: random.Random, step: int) -> object:
    """A value near another one, nearer at first; None where nothing is known of its kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + source.randint(-1 - step, 1 + step)
        case float():
            return value + source.choice((-1, 1)) * source.random() * (1 + step) / 8
        case Decimal():
            exponent = value.as_tuple().exponent
            unit = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)
            return value + unit * source.randint(-1 - step, 1 + step)
        case datetime():
            return value + timedelta(minutes=source.randint(-30 - step * 60, 30 + step * 60))
        case date():
            return value + timedelta(days=source.randint(-1 - step, 1 + step))
        case str():
            return _varied_text(value, source)
    return None


def _varied_text(text: str, source: random.Random) -> str | None:
    """Other letters and digits in some places of the same length; of a date or moment other days and times."""
    places = [i for i, c in enumerate(text) if c.isascii() and c.isalnum()]
    if not places:
        return None
    made = list(text)
    for place in source.sample(places, source.randint(1, min(len(places), 6))):
        made[place] = source.choice(string.digits if text[place].isdigit() else string.ascii_lowercase)
    return "".join(made)
