"""The statements that `check` and `run` are given: as arguments, or as JSON Lines on standard input.

A line that is not understood becomes a question with a problem in place of a statement, so that a stream goes on after it.
Lines are read with a bound, so that memory is bounded whatever comes in.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn, TypeAlias, cast

from guardrails.codes import CODES
from guardrails.errors import UsageError
from guardrails.model import Params, Reason

__all__ = ["Asked", "asked_statements", "from_json_lines"]

JSON: TypeAlias = Any
_MAX_LINE_BYTES = 16_000_000
_CHUNK_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One statement to judge.

    Args:
        id: The caller's id, any JSON value; the number of the statement or line, from 1, where none was given.
        sql: The statement.
        params: Bound values.
        problem: Why there is no statement, None when there is one.
    """

    id: JSON
    sql: str = ""
    params: Params = field(default_factory=dict)
    problem: Reason | None = None


class _Malformed(ValueError):
    """A line is not a statement; the message says why."""

    def __init__(self, message: str, code: str = "usage.input_invalid") -> None:
        super().__init__(message)
        self.code = code


def asked_statements(arguments: Sequence[str], *, is_jsonl: bool) -> Iterator[Asked]:
    """Returns the statements of the arguments, numbered from 1, or those of standard input.

    Raises:
        UsageError: There are none, or both are meant (usage.input_invalid).
    """
    if is_jsonl:
        if arguments:
            raise UsageError("usage.input_invalid", "Give statements as arguments or --jsonl, not both.")
        return from_json_lines(sys.stdin.buffer)
    if not arguments:
        raise UsageError("usage.input_invalid", "No statement was given.", hint="Give one, or --jsonl for standard input.")
    return (Asked(number, sql) for number, sql in enumerate(arguments, 1))


def from_json_lines(stream: BinaryIO) -> Iterator[Asked]:
    """Yields what each line asks, as it arrives; blank lines are passed over.

    Args:
        stream: Lines of ``{"sql": …, "params": …, "id": …}`` in UTF-8; other keys are left alone.
    """
    for number, line in enumerate(_bounded_lines(stream), 1):
        if line is None:
            yield _problem(number, _Malformed(f"Line {number} is longer than {_MAX_LINE_BYTES} bytes.", "sql.too_large"))
        elif line.strip():
            yield _asked(number, line)


def _bounded_lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yields lines; None for one above the bound, which is read to its end and dropped."""
    while line := stream.readline(_MAX_LINE_BYTES + 1):
        if len(line) <= _MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        del line
        while (rest := stream.readline(_CHUNK_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None


def _asked(number: int, line: bytes) -> Asked:
    identifier: JSON = number
    try:
        fields = _object(number, line)
        identifier = fields.get("id", number)
        sql, params = fields.get("sql"), fields.get("params")
        if not isinstance(sql, str):
            raise _Malformed(f'Line {number} has no text under "sql".')
        if params is not None and not isinstance(params, (dict, list)):
            raise _Malformed(f'Line {number} has "params" that are neither an object nor a list.')
        return Asked(identifier, sql, cast("Params", params if params is not None else {}))
    except _Malformed as error:
        return _problem(identifier, error)


def _object(number: int, line: bytes) -> Mapping[str, JSON]:
    try:
        fields = json.loads(line.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _Malformed(f"Line {number} is not valid UTF-8.", "sql.encoding") from error
    except RecursionError as error:
        raise _Malformed(f"Line {number} is nested too deeply.") from error
    except ValueError as error:
        raise _Malformed(f"Line {number} is not a JSON object: {_short(str(error))}.") from error
    if not isinstance(fields, dict):
        raise _Malformed(f"Line {number} is not a JSON object.")
    return fields


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    # Readers differ in which of two equal keys they take: what was judged must be what somebody else reads.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:120] + "…"


def _problem(identifier: JSON, error: _Malformed) -> Asked:
    return Asked(identifier, problem=Reason(error.code, str(error), CODES[error.code].hint))
