"""The kinds of masks: which options each takes, which columns it fits, and the constants that stand for whole values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from uuid import UUID

from guardrails.errors import PolicyError
from guardrails.masking.judged_types import declared_type
from guardrails.masking.types import ColumnType, Family
from guardrails.masking.values import HIDDEN, MAX_SHIFT_DAYS, PERIODS
from guardrails.model import Column, DialectName, Mask, Value

__all__ = ["MASK_KINDS", "NULLS", "PER", "SUBJECT", "Kind", "Options", "constant", "hides_nulls", "null_stand_in", "options_of"]

Options = Mapping[str, str | int]
SUBJECT = "subject"
"""The option that tells whose a personal mask is, or whose key one with `per` has; no policy gives it."""
PER = "per"
"""The option that names the attribute of the principal which decides about the key."""
NULLS = "nulls"
"""The option that says whether a NULL stays one: ``keep`` or ``hide``."""

_TEXT: frozenset[Family] = frozenset({"text"})
_NUMBERS: frozenset[Family] = frozenset({"integer", "numeric", "float"})
_DATES: frozenset[Family] = frozenset({"date", "timestamp", "timestamptz"})
_MIN_TOKEN_CHARACTERS = 16
_ZERO_UUID = UUID(int=0)
_EPOCH = date(1970, 1, 1)
_FULL: dict[Family, Value | None] = {
    "text": HIDDEN, "integer": 0, "numeric": Decimal(0), "float": 0.0, "boolean": False, "date": _EPOCH,
    "timestamp": datetime(1970, 1, 1), "timestamptz": datetime(1970, 1, 1, tzinfo=UTC), "time": time(),  # noqa: DTZ001
    "timetz": time(tzinfo=UTC), "interval": timedelta(), "uuid": _ZERO_UUID, "json": {}, "bytes": b"", "unknown": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of mask.

    Args:
        families: The columns that it fits in PostgreSQL, None for all.
        sqlite_families: The same in SQLite, where dates are text or numbers; None for `families`.
        options: Names of its options with the default; None where one must be given.
        is_personal: It depends on who asks: a permit adds the option ``subject``.
        is_keyed: Equal values are masked alike under one key, so that it takes the option ``per``; a permit adds ``subject`` then.
        is_token: What it gives stands for one value, which the policy may let people reveal.
        keeps_null: A NULL stays a NULL, unless the option ``nulls`` hides it. Otherwise the masked value is the same for every
            value, NULL included.
    """

    families: frozenset[Family] | None = None
    sqlite_families: frozenset[Family] | None = None
    options: tuple[tuple[str, str | int | None], ...] = ()
    keeps_null: bool = True
    is_personal: bool = False
    is_keyed: bool = False
    is_token: bool = False

    @property
    def common(self) -> tuple[str, ...]:
        """Names of the options that several kinds share and that may be left out."""
        return ((PER,) if self.is_keyed else ()) + ((NULLS,) if self.keeps_null else ())


MASK_KINDS: dict[str, Kind] = {
    "full": Kind(keeps_null=False),
    "null": Kind(keeps_null=False),
    "fixed": Kind(options=(("value", None),), keeps_null=False),
    "partial": Kind(_TEXT, options=(("first", 0), ("last", 0))),
    "hash": Kind(_TEXT | {"bytes"}, is_keyed=True, is_token=True),
    "pseudonym": Kind(_TEXT | {"integer", "uuid"}, is_keyed=True, is_token=True),
    "email": Kind(_TEXT),
    "date": Kind(_DATES, _DATES | {"text", "integer"}, (("to", "year"),)),
    "bucket": Kind(_NUMBERS, options=(("size", None),)),
    "round": Kind(_NUMBERS, options=(("digits", 0),)),
    "shift": Kind(_DATES, _DATES | {"text", "integer"}, (("days", None),), is_personal=True),
    "noise": Kind(frozenset({"integer", "numeric"}), options=(("spread", None),), is_keyed=True),
}
"""Every kind but ``deny``, which is a refusal and never a value."""

_NULLS = ("keep", "hide")
_INTEGER_RANGES = {
    "first": (0, 1000),
    "last": (0, 1000),
    "size": (1, 10**12),
    "digits": (-15, 15),
    "spread": (1, 10**12),
    "days": (1, MAX_SHIFT_DAYS),
}


def options_of(mask: Mask, column: Column, dialect: DialectName) -> tuple[ColumnType, Options]:
    """Returns the column's type and the mask's options, after checking that mask, options and column fit together.

    Raises:
        PolicyError: They do not (policy.mask_invalid).
    """
    kind = MASK_KINDS.get(mask.kind)
    if kind is None:
        raise _misfit(mask, f"There is no mask `{mask.kind}`; known are {', '.join(MASK_KINDS)}.")
    type_ = declared_type(column, dialect)
    families = kind.sqlite_families if dialect == "sqlite" and kind.sqlite_families else kind.families
    if families is not None and type_.family not in families:
        raise _misfit(mask, f"The mask `{mask.kind}` does not fit {mask.column} of type {column.type or 'unknown'}.")
    given = dict(mask.options)
    known = {*dict(kind.options), *kind.common} | ({SUBJECT} if kind.is_personal or PER in given else set())
    if unknown := given.keys() - known:
        raise _misfit(mask, f"The mask `{mask.kind}` has no option {', '.join(sorted(unknown))}.")
    options: dict[str, str | int] = {}
    for name, default in kind.options:
        value = given.get(name, default)
        if value is None:
            raise _misfit(mask, f"The mask `{mask.kind}` on {mask.column} needs the option `{name}`.")
        options[name] = _checked(mask, name, value, type_)
    if kind.is_personal:
        options[SUBJECT] = str(given.get(SUBJECT, ""))
    if PER in given:
        if SUBJECT not in given:
            raise _misfit(mask, f"The mask of {mask.column} is not bound to a principal's {given[PER]}.")
        options |= {PER: given[PER], SUBJECT: given[SUBJECT]}
    if NULLS in given:
        options[NULLS] = _checked(mask, NULLS, given[NULLS], type_)
    if mask.kind in {"hash", "pseudonym"} and type_.length is not None and type_.length < _MIN_TOKEN_CHARACTERS:
        raise _misfit(
            mask, f"{mask.column} is too short for the mask `{mask.kind}`: it needs {_MIN_TOKEN_CHARACTERS} characters."
        )
    return type_, options


def hides_nulls(options: Options) -> bool:
    """Whether a NULL is masked as if it were `null_stand_in`."""
    return options.get(NULLS) == "hide"


def null_stand_in(mask: Mask, type_: ColumnType, dialect: DialectName) -> Value | None:
    """Returns the value whose mask a hidden NULL shows: the constant of ``full``; where SQLite keeps a date as text, a date."""
    if mask.kind in {"date", "shift"} and type_.family == "text":
        return _EPOCH.isoformat()
    return constant(replace(mask, kind="full"), type_, {}, "sqlite" if dialect == "sqlite" else "postgres")


def constant(mask: Mask, type_: ColumnType, options: Options, dialect: DialectName) -> Value | None:
    """Returns the one value that ``full``, ``null`` or ``fixed`` stands for, as a driver would return it.

    Raises:
        PolicyError: A fixed value does not fit the column's type (policy.mask_invalid).
    """
    if mask.kind == "null":
        return None
    if mask.kind == "full":
        value = _FULL[type_.family]
    else:
        try:
            value = _fixed(options["value"], type_)
        except (ValueError, InvalidOperation, OverflowError) as error:
            raise _misfit(mask, f"The fixed value of {mask.column} does not fit its type.") from error
    if isinstance(value, str) and dialect == "postgres":
        return type_.fit(value)
    return value if dialect == "postgres" else _stored(value)


def _stored(value: Value | None) -> Value | None:
    """Returns the form in which SQLite keeps a value."""
    match value:
        case bool():
            return int(value)
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case timedelta() | UUID():
            return str(value)
        case dict() | list():
            return json.dumps(value)
    return value


def _fixed(given: str | int, type_: ColumnType) -> Value | None:
    text = str(given)
    if "\0" in text:
        raise ValueError
    match type_.family:
        case "text":
            if type_.length is not None and len(text) > type_.length:
                raise ValueError
            return text
        case "integer":
            number = int(text)
            if not -(2 ** (type_.bits - 1)) <= number < 2 ** (type_.bits - 1):
                raise ValueError
            return number
        case "numeric":
            return _fixed_numeric(Decimal(text), type_)
        case "float":
            if not abs(float(text)) < 1e38:
                raise ValueError
            return float(text)
        case "boolean":
            if text.lower() not in {"true", "1", "false", "0"}:
                raise ValueError
            return text.lower() in {"true", "1"}
        case "date":
            return date.fromisoformat(text)
        case "timestamp":
            moment = datetime.fromisoformat(text)
            if moment.tzinfo:
                raise ValueError
            return moment
        case "timestamptz":
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        case "uuid":
            return UUID(text)
        case "json":
            loaded: Value | None = json.loads(text, parse_constant=_refuse_constant)
            return loaded
    raise ValueError


def _fixed_numeric(number: Decimal, type_: ColumnType) -> Decimal:
    if not number.is_finite() or abs(number.adjusted()) > 1000:
        raise ValueError
    if type_.precision is None:
        return number
    rounded = round(number, type_.scale)
    if rounded and rounded.adjusted() >= type_.precision - type_.scale:
        raise ValueError
    return rounded


def _refuse_constant(name: str) -> Value:
    raise ValueError(name)


def _checked(mask: Mask, name: str, value: str | int, type_: ColumnType) -> str | int:
    if name == "to":
        periods = PERIODS[:-1] if type_.family == "date" else PERIODS
        if value not in periods:
            raise _misfit(mask, f"The option `to` of {mask.column} is one of {', '.join(periods)}.")
    if name == NULLS and value not in _NULLS:
        raise _misfit(mask, f"The option `nulls` of {mask.column} is one of {', '.join(_NULLS)}.")
    if name in _INTEGER_RANGES:
        low, high = _INTEGER_RANGES[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _misfit(mask, f"The option `{name}` of {mask.column} is a whole number from {low} to {high}.")
    return value


def _misfit(mask: Mask, message: str) -> PolicyError:
    return PolicyError("policy.mask_invalid", message, evidence={"column": str(mask.column), "kind": mask.kind})
