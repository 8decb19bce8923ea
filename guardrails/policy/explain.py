"""What pydantic found wrong with a file such as a policy, as errors at their places, in words for who writes the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from guardrails.errors import PolicyError
from guardrails.policy.document import Document, Path
from guardrails.policy.names import meant
from guardrails.policy.schema import policy_schema

__all__ = ["explain"]

_MOST = 20
_LIST = "must be a list, such as [a, b]"
_MAPPING = "must be a mapping of keys to values"
_TEXT = "must be text; put quotes around what YAML takes for something else"
_WORDS = {
    "tuple_type": _LIST,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "string_type": _TEXT,
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "has blanks at an end, or characters that do not print",
}
"""By pydantic's error type; other types are told in pydantic's words."""


def explain(
    error: ValidationError, document: Document, form: Callable[[], Mapping[str, Any]] = policy_schema
) -> Iterator[PolicyError]:
    """Yields one error a mistake, at most twenty.

    Args:
        error: From validating `document.data`.
        document: Knows where everything stands.
        form: Gives the JSON Schema that the file has to fit.
    """
    details = [(_path(d, document), d) for d in error.errors(include_url=False, include_input=False)]
    details.sort(key=lambda found: (document.place(found[0]).line, found[1]["type"] == "too_short"))
    spoilt = {path[:end] for path, _ in details for end in range(len(path))}
    misspelt = {path[:-1] for path, d in details if d["type"] == "extra_forbidden"}
    # Invalid items are left out before a list is counted, and a misspelt key is what is missing.
    consequences = {"too_short": spoilt, "missing": misspelt}
    told: set[Path] = set()
    for path, detail in details:
        cause = path[:-1] if detail["type"] == "missing" else path
        if cause in consequences.get(detail["type"], ()) or path in told:
            continue
        told.add(path)
        yield _problem(detail, path, document, form)
        if len(told) == _MOST:
            return


def _path(detail: ErrorDetails, document: Document) -> Path:
    """The error's place as a path of the file: what pydantic adds for unions is not in it."""
    path: Path = ()
    steps = ["except" if s == "exemption" else s for s in detail["loc"]]
    is_about_absence = detail["type"] == "missing"
    for number, step in enumerate(steps):
        is_last = number == len(steps) - 1
        if (*path, step) in document.values or not document.values or (is_last and is_about_absence):
            path = (*path, step)
    return path


def _problem(detail: ErrorDetails, path: Path, document: Document, form: Callable[[], Mapping[str, Any]]) -> PolicyError:
    name = _shown(path)
    context: Mapping[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            known = _known_keys(path[:-1], form())
            said = meant(str(path[-1]), known) or f" Known are: {', '.join(sorted(known))}."
            return document.error("policy.unknown_key", f"Unknown key `{path[-1]}`.{said}", path, of_key=True)
        case "missing":
            return document.error("policy.invalid", f"`{name}` is missing.", path[:-1])
        case "literal_error":
            words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
            given = _value(path, document.data)
            near = meant(given, words) if isinstance(given, str) else ""
            expected = f"one of {', '.join(words)}" if words else context.get("expected")
            return document.error("policy.invalid", f"`{name}` must be {expected}.{near}", path)
        case known_type if known_type in _WORDS:
            return document.error("policy.invalid", f"`{name}` {_WORDS[known_type]}.", path)
    told = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("Value ").rstrip(".")
    return document.error("policy.invalid", f"`{name}` {told}.", path)


def _shown(path: Path) -> str:
    """The name that a reader looks for: the last key, with the number of an item after it."""
    keys = [p for p in path if isinstance(p, str)]
    if not keys:
        return "policy"
    return f"{keys[-1]}[{path[-1]}]" if isinstance(path[-1], int) else keys[-1]


def _value(path: Path, data: object) -> object:
    for step in path:
        if isinstance(data, Mapping) or (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            data = data[step] if isinstance(data, list) and isinstance(step, int) else dict(data).get(step)
    return data


def _known_keys(path: Path, schema: Mapping[str, Any]) -> list[str]:
    """The keys that the schema knows at a path."""

    def resolved(node: object) -> dict[str, Any]:
        here: dict[str, Any] = dict(node) if isinstance(node, Mapping) else {}
        for option in here.get("anyOf", ()):
            if "$ref" in option:
                here = option
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
        return here

    node = dict(schema)
    for step in path:
        if isinstance(step, int):
            node = resolved(node.get("items"))
        elif step in node.get("properties", {}):
            node = resolved(node["properties"][step])
        else:
            # Sections whose keys are names have one form for all of their entries.
            entries = node.get("patternProperties") or {"": node.get("additionalProperties")}
            node = resolved(next(iter(entries.values())))
    return list(node.get("properties", ()))
