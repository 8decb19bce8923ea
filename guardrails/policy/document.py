"""YAML as plain data with the line and column of every key and value, so that each error can point at its place.

Anchors and aliases are refused: they make small files expand without bound, and a policy should read as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import yaml

from guardrails.errors import PolicyError

__all__ = ["Document", "Place", "read_document"]

Path = tuple[str | int, ...]
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 20


class _Mark(Protocol):
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its data, and by path the places of keys and of values."""

    data: object
    keys: dict[Path, Place]
    values: dict[Path, Place]
    source: str

    def place(self, path: Path, *, of_key: bool = False) -> Place:
        """Returns the place of the longest known part of a path."""
        for end in range(len(path), -1, -1):
            table = self.keys if of_key and end == len(path) else self.values
            if path[:end] in table:
                return table[path[:end]]
        return Place(1, 1)

    def error(self, code: str, message: str, path: Path, *, of_key: bool = False, hint: str = "") -> PolicyError:
        """Returns an error that points at a path."""
        place = self.place(path, of_key=of_key)
        return PolicyError(code, message, line=place.line, column=place.column, source=self.source, hint=hint)


def read_document(text: str, source: str) -> Document:
    """Parses YAML text.

    Raises:
        PolicyError: It is not YAML (``policy.syntax``), too large or too deep, has anchors or the same key twice.
    """
    if len(text) > _MAX_BYTES:
        raise PolicyError("policy.syntax", f"The policy is larger than {_MAX_BYTES:,} bytes.", source=source)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _at(event.start_mark, source, "Anchors and aliases are not supported.")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _at(error.problem_mark, source, f"The policy is not valid YAML: {error.problem or 'syntax error'}.") from None
    except (yaml.YAMLError, RecursionError):
        raise PolicyError("policy.syntax", "The policy is not valid YAML.", source=source, line=1, column=1) from None
    document = Document({}, {}, {}, source)
    data = None if node is None else _build(node, (), document)
    if not isinstance(data, dict):
        raise PolicyError("policy.syntax", "The policy is not a mapping.", source=source, line=1, column=1)
    return Document(data, document.keys, document.values, source)


def _build(node: yaml.Node, path: Path, document: Document) -> object:
    document.values[path] = Place(node.start_mark.line + 1, node.start_mark.column + 1)
    if len(path) > _MAX_DEPTH:
        raise _at(node.start_mark, document.source, "The policy is nested too deeply.")
    if isinstance(node, yaml.MappingNode):
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _at(key_node.start_mark, document.source, "A key is not plain text.")
            key = str(key_node.value)
            if key in result:
                raise _at(key_node.start_mark, document.source, f"The key `{key}` stands twice.", "policy.contradiction")
            document.keys[(*path, key)] = Place(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            result[key] = _build(value_node, (*path, key), document)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, index), document) for index, item in enumerate(node.value)]
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError):
        raise _at(node.start_mark, document.source, "A value is not of a known type.") from None


def _at(mark: _Mark | None, source: str, message: str, code: str = "policy.syntax") -> PolicyError:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return PolicyError(code, message, line=line, column=column, source=source)
