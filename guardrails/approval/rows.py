"""Requests as text and back, exactly: parameters keep their types, and what no database text can hold is escaped.

JSON in ASCII, with a tag on every value that JSON has no form for; so lone surrogates and zero characters survive in any database.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from guardrails.errors import Denied, UsageError
from guardrails.model import ApprovalRequest, ApprovalTerms, BreakGlass, Impact, RowFilter, Statement, WorkingHours

__all__ = ["database_text", "request_from_text", "request_to_text"]

_TAG = "$"
_MOST_LEVELS = 64

_READ: dict[str, Callable[[Any], object]] = {
    "float": float.fromhex,
    "bytes": base64.b64decode,
    "decimal": Decimal,
    "datetime": lambda parts: datetime.fromisoformat(parts[0]).replace(fold=parts[1]),
    "date": date.fromisoformat,
    "time": lambda parts: time.fromisoformat(parts[0]).replace(fold=parts[1]),
    "timedelta": lambda parts: timedelta(*parts),
    "uuid": UUID,
    "tuple": lambda items: tuple(_read(item) for item in items),
    "map": lambda pairs: {_read(key): _read(item) for key, item in pairs},
}


def request_to_text(request: ApprovalRequest) -> str:
    """Returns a request as text.

    Raises:
        UsageError: A parameter is of a type that cannot be kept (usage.input_invalid).
    """
    fields: dict[str, object] = {
        name: getattr(request, name)
        for name in ApprovalRequest.__dataclass_fields__
        if name not in ("terms", "statement", "impact", "understood", "row_filters")
    }
    statement = request.statement
    row_filters: list[object] = [[f.relation, f.predicate, f.bindings] for f in request.row_filters]
    more: dict[str, object] = {
        "terms": asdict(request.terms),
        "impact": asdict(request.impact) if request.impact else None,
        "understood": dict(request.understood),
        "row_filters": row_filters,
        "statement": [statement.sql, statement.params, statement.dialect] if statement else None,
    }
    return json.dumps(_written(fields | more, 0), separators=(",", ":"))


def request_from_text(text: str) -> ApprovalRequest:
    """Returns the request that `request_to_text` wrote.

    Raises:
        Denied: The text is not of that form (approval.forged): somebody else wrote it, or another release.
    """
    try:
        return _request(text)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        message = "A request is not in the form in which it was filed."
        raise Denied("approval.forged", message, evidence={"error": type(error).__name__}) from error


def database_text(text: str) -> str:
    """Returns a text that both databases keep: lone surrogates and zero characters as they would look in a source text."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _request(text: str) -> ApprovalRequest:
    fields = cast("dict[str, Any]", _read(json.loads(text)))
    terms, impact, statement = fields.pop("terms"), fields.pop("impact"), fields.pop("statement")
    row_filters = fields.pop("row_filters", [])
    hours = tuple(WorkingHours(**item) for item in terms.pop("hours"))
    broken = terms.pop("break_glass")
    return ApprovalRequest(
        **fields,
        terms=ApprovalTerms(**terms, hours=hours, break_glass=BreakGlass(**broken) if broken else None),
        impact=Impact(**impact) if impact else None,
        statement=Statement(*statement) if statement else None,
        row_filters=tuple(RowFilter(*row_filter) for row_filter in row_filters),
    )


def _written(value: object, level: int) -> object:
    if level > _MOST_LEVELS:
        raise UsageError("usage.input_invalid", f"A value is nested deeper than {_MOST_LEVELS} levels.")
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case str():
            return str.__str__(value)
        case float():
            return {_TAG: "float", "v": float(value).hex()}
        case bytes() | bytearray() | memoryview():
            return {_TAG: "bytes", "v": base64.b64encode(bytes(value)).decode()}
        case Decimal():
            return {_TAG: "decimal", "v": str(value)}
        case datetime():
            return {_TAG: "datetime", "v": [value.isoformat(), value.fold]}
        case date():
            return {_TAG: "date", "v": value.isoformat()}
        case time():
            return {_TAG: "time", "v": [value.isoformat(), value.fold]}
        case timedelta():
            return {_TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]}
        case UUID():
            return {_TAG: "uuid", "v": str(value)}
        case tuple():
            return {_TAG: "tuple", "v": [_written(item, level + 1) for item in value]}
        case list():
            return [_written(item, level + 1) for item in value]
        case Mapping():
            return _mapping(value, level)
    raise UsageError("usage.input_invalid", f"A value of type {type(value).__name__} cannot wait for an approval.")


def _mapping(value: Mapping[object, object], level: int) -> object:
    if all(type(key) is str for key in value) and _TAG not in value:
        return {key: _written(item, level + 1) for key, item in value.items()}
    return {_TAG: "map", "v": [[_written(key, level + 1), _written(item, level + 1)] for key, item in value.items()]}


def _read(value: Any) -> object:
    match value:
        case list():
            return [_read(item) for item in value]
        case dict() if _TAG in value:
            return _READ[value[_TAG]](value["v"])
        case dict():
            return {key: _read(item) for key, item in value.items()}
    return value
