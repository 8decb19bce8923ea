"""A function's definition for a model: name, description, and a strict JSON Schema of its arguments from type hints.

Strict as the vendors' structured outputs ask: every object is closed (``additionalProperties: false``) and every property is required;
an argument that has a default may be null, which means the default.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from guardrails.errors import UsageError
from guardrails.tools import name_of

__all__ = ["Definition", "define"]

_SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields|Example|Examples|Note):\s*$", re.MULTILINE)
_ARGUMENT = re.compile(r"^\s{2,}(\w+)\s*(?:\([^)]*\))?:\s*(.+(?:\n\s{8,}\S.*)*)", re.MULTILINE)
_DROPPED = frozenset({"title", "default"})
_TYPED = frozenset({"type", "anyOf", "$ref", "enum", "const"})
_STRICT = _TYPED | {
    *("description", "properties", "required", "additionalProperties", "items", "$defs", "pattern", "format", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"),
}
"""Words that strict schemas may use; a vendor refuses the whole request for any other
(https://platform.openai.com/docs/guides/structured-outputs#supported-schemas)."""
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})


@dataclass(frozen=True, slots=True)
class Definition:
    """What a model is told of a function.

    Args:
        name: The tool's name.
        description: What it does.
        schema: JSON Schema of the arguments.
        is_strict: Every object in the schema is closed and everything has a type; not so when an argument is a dictionary of any keys,
            or a list of anything.
        arguments: Validates what a model gives.
        defaulted: The arguments for which null means the default.
    """

    name: str
    description: str
    schema: dict[str, Any]
    is_strict: bool
    arguments: type[BaseModel]
    defaulted: frozenset[str]

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the keyword arguments of the call; raises pydantic's ValidationError when they do not fit."""
        kept = {name: value for name, value in given.items() if value is not None or name not in self.defaulted}
        parsed = self.arguments.model_validate(kept)
        fields = self.arguments.model_fields
        return {str(fields[name].alias): getattr(parsed, name) for name in fields if name in parsed.model_fields_set}

    @property
    def argument_names(self) -> list[str]:
        """The arguments, in the function's order."""
        return list(self.schema["properties"])


def define(function: Callable[..., object], *, name: str | None = None, description: str | None = None) -> Definition:
    """Describes a function.

    Args:
        function: With type hints; its docstring describes it, its `Args` section the arguments.
        name: Instead of its own.
        description: Instead of its docstring.

    Raises:
        UsageError: It has positional-only or variable arguments, or a type without JSON form (``usage.tool_unguardable``).
    """
    called = name or name_of(function)
    text = inspect.getdoc(function) or ""
    said = _argument_texts(text)
    try:
        hints = get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {}
        for number, parameter in enumerate(inspect.signature(function).parameters.values()):
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise UsageError(
                    "usage.tool_unguardable", f"The argument {parameter.name} of {called} cannot be given by name."
                )
            default = ... if parameter.default is parameter.empty else parameter.default
            # By alias, since an argument may have a name that a model's field may not have, such as `schema`.
            field = Field(default, alias=parameter.name, description=said.get(parameter.name))
            fields[f"argument_{number}"] = (hints.get(parameter.name, Any), field)
        arguments = create_model(called, __config__=ConfigDict(extra="forbid"), **fields)
        schema = arguments.model_json_schema()
    except (NameError, TypeError, PydanticUserError, PydanticSchemaGenerationError) as error:
        raise UsageError(
            "usage.tool_unguardable", f"The arguments of {called} have no JSON form.", evidence={"error": str(error)}
        ) from error
    defaulted = {str(field.alias) for field in arguments.model_fields.values() if not field.is_required()}
    nullable = frozenset(name for name in defaulted if _rejects_null(schema["properties"][name]))
    strict = _strict(schema)
    for argument in nullable:
        strict["properties"][argument] = _nullable(strict["properties"][argument])
    summary = description if description is not None else _SECTION.split(text, maxsplit=1)[0].strip()
    return Definition(called, summary, strict, _is_closed(strict), arguments, nullable)


def _argument_texts(text: str) -> dict[str, str]:
    """Reads the `Args` section of a Google-style docstring."""
    parts = _SECTION.split(text)
    sections = dict(zip(parts[1::2], parts[2::2], strict=False))
    found = sections.get("Args") or sections.get("Arguments") or ""
    return {match[1]: " ".join(match[2].split()) for match in _ARGUMENT.finditer(found)}


def _strict(schema: Any) -> Any:
    """Closes every object that names its properties, requires all of them, and drops what only decorates."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items() if key not in _DROPPED or isinstance(value, dict)}
    properties = schema.get("properties")
    if schema.get("type") == "object" and (isinstance(properties, dict) or "additionalProperties" not in schema):
        # Here the keys are names of arguments, not words of the schema language.
        strict["properties"] = {key: _strict(value) for key, value in (properties or {}).items()}
        strict |= {"required": list(properties or {}), "additionalProperties": False}
    if "$ref" in strict and len(strict) > 1:
        # Beside a reference vendors take nothing.
        strict = {"anyOf": [{"$ref": strict.pop("$ref")}]} | strict
    return strict


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    described = {"description": schema["description"]} if "description" in schema else {}
    return {"anyOf": [{k: v for k, v in schema.items() if k != "description"}, {"type": "null"}], **described}


def _rejects_null(schema: Mapping[str, Any]) -> bool:
    options = schema.get("anyOf", [schema])
    return not any(option.get("type") == "null" for option in options)


def _is_closed(schema: Any) -> bool:
    """Whether a schema is one that vendors take as strict: every object names all its properties, and everything has a type."""
    if not isinstance(schema, dict) or not _STRICT.issuperset(schema) or not _TYPED & schema.keys():
        return False
    if schema.get("format", "date") not in _FORMATS or (schema.get("type") == "array" and "items" not in schema):
        return False
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return False
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", [])]
    return all(map(_is_closed, [*inner, *([schema["items"]] if "items" in schema else [])]))
