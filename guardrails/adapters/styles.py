"""How drivers write placeholders, and how the guard does.

Statements that were written for psycopg or PyMySQL have `%s` and `%(name)s`; whatever stands for a percent sign in them is doubled. They
are turned into `$1`, `?` and `:name` before anything is judged. A text that is turned wrongly is judged as what it then says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from guardrails.model import DialectName, Params, Value

__all__ = ["Parameters", "as_params", "as_written"]

Parameters: TypeAlias = Mapping[str, Value] | Sequence[Value]

_PERCENT = re.compile(r"%(?:\((?P<name>[^)]*)\))?(?P<kind>[sbt%])")
_BY_NAME = re.compile(r"%\([^)]*\)[sbt]")
_POSITIONAL: Mapping[DialectName, str] = {"postgres": "${}", "mysql": "?"}
"""What stands for the next value by position, of the engines whose drivers write percent signs."""


def as_params(parameters: Parameters | None) -> Params:
    """Returns bound values as the guard takes them; an empty sequence says as little as none."""
    if parameters is None:
        return {}
    if isinstance(parameters, Mapping):
        return parameters
    return list(parameters) or {}


def as_written(dialect: DialectName, operation: str, parameters: Parameters | None) -> tuple[str, Params]:
    """Returns a statement and its values as the guard takes them, from what was written for the engine's usual driver.

    Args:
        dialect: The engine's.
        operation: The SQL, with placeholders of the guard's or of the driver's.
        parameters: None where the driver would leave percent signs alone.
    """
    params = as_params(parameters)
    style = _POSITIONAL.get(dialect)
    if style is None or parameters is None or "%" not in operation or not _is_percent_style(operation, params):
        return operation, params
    positions = iter(range(1, len(operation)))

    def written(found: re.Match[str]) -> str:
        if found["kind"] == "%":
            return "%"
        return f":{found['name']}" if found["name"] is not None else style.format(next(positions))

    return _PERCENT.sub(written, operation), params


def _is_percent_style(operation: str, params: Params) -> bool:
    if isinstance(params, Mapping) and params:
        return _BY_NAME.search(operation) is not None
    return not params or "%s" in operation or "%b" in operation or "%t" in operation
