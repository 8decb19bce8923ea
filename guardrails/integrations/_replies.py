"""What a model gets to read: rows, refusals, and what a tool of the application's own returned, as text.

A refusal becomes text that says what to change; only the program's own mistakes stay exceptions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from guardrails.as_json import json_value
from guardrails.errors import ApprovalRequired, GuardrailsError, IdentityError
from guardrails.guard import Guard
from guardrails.model import Result

__all__ = ["Reply", "misfit_text", "query_description", "refusal_reply", "refusal_text", "reply_text", "scannable"]

_DIALECTS = {"sqlite": "SQLite", "postgres": "PostgreSQL", "mysql": "MySQL", "duckdb": "DuckDB"}
_RAISED = frozenset({"usage.no_session", "usage.bug"})
"""Mistakes of the program around the model, which no other query repairs."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model gets to read.

    Args:
        text: The result, or the refusal.
        is_error: Nothing was done.
        request_id: The request for approval that the call waits for; None when it waits for none.
        value: What a tool without SQL returned, scanned, for formats that have more than text; None otherwise.
    """

    text: str
    is_error: bool = False
    request_id: str | None = None
    value: object = None


def query_description(guard: Guard) -> str:
    """Returns the description of the ready-made tool for a model."""
    return (
        f"Runs one {_DIALECTS[guard.database.dialect]} statement on the database and returns its rows as JSON. "
        "When it answers with a refusal, read the reason and repair the statement."
    )


def refusal_text(error: GuardrailsError) -> str:
    """Returns a refusal as text for the model.

    Raises:
        GuardrailsError: `error` itself, when it is the program's mistake rather than a refusal: no session is active, or the session
            may not go on.
    """
    if error.code in _RAISED or isinstance(error, IdentityError):
        raise error
    if isinstance(error, ApprovalRequired):
        waits = "" if error.request.id in error.message else f" The request is {error.request.id}."
        return f"{error.for_model()}{waits} Nothing has been done yet: it waits for that person."
    return error.for_model()


def refusal_reply(error: GuardrailsError) -> Reply:
    """Returns a refusal as a reply, with the request that it waits for; raises as `refusal_text`."""
    request_id = error.request.id if isinstance(error, ApprovalRequired) else None
    return Reply(refusal_text(error), is_error=True, request_id=request_id)


def reply_text(value: object) -> str:
    """Returns what a tool returned as text: text as it stands, results and everything else as compact JSON.

    Rows are objects by column name; of columns with the same name the later ones get a number. Exact numbers, times, and what no JSON
    number can be (NaN, infinity) are text.
    """
    if isinstance(value, str):
        return value
    plain = _result_fields(value) if isinstance(value, Result) else json_value(scannable(value))
    try:
        return _as_json(plain)
    except ValueError:
        return _as_json(_finite(plain))


def scannable(value: object) -> Any:
    """Returns a value with its tuples, sets, models and dataclasses as lists and dictionaries: the scan sees what is inside."""
    match value:
        case BaseModel():
            return scannable(value.model_dump())
        case Mapping():
            return {str(key): scannable(item) for key, item in value.items()}
        case tuple() | list() | set() | frozenset():
            return [scannable(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {f.name: scannable(getattr(value, f.name)) for f in fields(value)}
        case _:
            return value


def misfit_text(error: ValidationError) -> str:
    """Says which arguments do not fit, without repeating their values."""
    lines = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors(include_input=False)]
    return f"Refused (usage.input_invalid): The arguments do not fit the tool. {'; '.join(lines)}"


def _as_json(plain: object) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list():
            return list(map(_finite, value))
        case _:
            return value


def _result_fields(result: Result) -> dict[str, Any]:
    names = _distinct(result.columns)
    fields: dict[str, Any] = {}
    if result.columns:
        rows = [dict(zip(names, map(json_value, row), strict=True)) for row in result.rows]
        fields = {"columns": names, "rows": rows}
    if not result.decision.access or not result.decision.access.is_read_only:
        fields["rows_changed"] = result.rows_changed
    if result.is_truncated:
        fields["truncated"] = True
    return fields


def _distinct(columns: Sequence[str]) -> list[str]:
    names: list[str] = []
    for column in columns:
        name, number = column, 1
        while name in names:
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names
