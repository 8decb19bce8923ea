"""YAML as plain data with the line and column of every key and value, so that each error can point at its place.

Scalars mean what YAML 1.2's core schema says (https://yaml.org/spec/1.2.2/#103-core-schema): `on` and `no` are text, a date is text.
Anchors and aliases are refused: they make small files expand without bound, and a policy should read as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from guardrails.errors import PolicyError

__all__ = ["MAX_BYTES", "Document", "Path", "Place", "raise_all", "read_document"]

Path = tuple[str | int, ...]

MAX_BYTES = 128 * 1024
"""Largest policy file; one of this size takes well below a second."""
_MAX_DEPTH = 12
_MAX_SHOWN = 20
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,1000})")
# Whole numbers with leading zeros are left out, as some take them for octal.
_FLOAT = re.compile(r"[-+]?(?=[0-9]*[.eE])(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("null", "Null", "NULL", "~")


class _Mark(Protocol):
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; both count from 1, 0 for a policy that was built in Python."""

    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its data, and by path the places of keys and of values."""

    data: object = None
    source: str = "policy"
    lines: tuple[str, ...] = ()
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path, *, of_key: bool = False) -> Place:
        """Returns the place of the longest known part of a path."""
        for end in range(len(path), -1, -1):
            table = self.keys if of_key and end == len(path) else self.values
            if path[:end] in table:
                return table[path[:end]]
        return Place()

    def error(self, code: str, message: str, path: Path, *, of_key: bool = False, hint: str = "") -> PolicyError:
        """Returns an error that points at a path."""
        place = self.place(path, of_key=of_key)
        return PolicyError(code, message, line=place.line, column=place.column, source=self.source, hint=hint)

    def error_within(self, code: str, message: str, path: Path, line: int, column: int, text: str) -> PolicyError:
        """Returns an error that points into a text value.

        Args:
            code: Of the error.
            message: Of the error.
            path: Of the value.
            line: Of the place inside the value, from 1.
            column: Of the place inside the value, from 1.
            text: The value.
        """
        place = self.place(path)
        inner = text.split("\n")[line - 1 : line]
        if inner and inner[0]:
            # A quoted value begins on the line of its mark, a block on the next; folded ones are found by their text or not at all.
            for number in (place.line + line - 1, place.line + line):
                shown = self.lines[number - 1] if 0 < number <= len(self.lines) else ""
                start = shown.find(inner[0], place.column - 1 if number == place.line else 0)
                if start >= 0:
                    place = Place(number, start + column)
                    break
        return PolicyError(code, message, line=place.line, column=place.column, source=self.source)


def raise_all(problems: Iterable[PolicyError]) -> None:
    """Raises the first problem in the file's order, with all of them as evidence; does nothing when there are none."""
    found = sorted(problems, key=lambda p: (p.line, p.column))
    if found:
        first = found[0]
        names = ("code", "message", "hint", "line", "column")
        first.evidence["problems"] = [{name: getattr(p, name) for name in names} for p in found[:_MAX_SHOWN]]
        raise first


def read_document(text: str, source: str) -> Document:
    """Parses YAML text.

    Raises:
        PolicyError: It is not YAML or no mapping (``policy.syntax``), too large or too deep, has anchors or the same key twice.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise PolicyError("policy.syntax", f"The policy is larger than {MAX_BYTES} bytes.", source=source, line=1, column=1)
    try:
        _check_events(text, source)
        node = yaml.compose(text, Loader=_loader())
    except yaml.MarkedYAMLError as error:
        raise _at(error.problem_mark, source, f"The policy is not valid YAML: {error.problem or 'syntax error'}.") from None
    except yaml.reader.ReaderError as error:
        raise _at(_mark_of(text, error.position), source, "The policy has a character that YAML does not allow.") from None
    except (yaml.YAMLError, UnicodeEncodeError):
        raise PolicyError("policy.syntax", "The policy is not valid YAML.", source=source, line=1, column=1) from None
    document = Document(None, source, tuple(text.splitlines()))
    data = None if node is None else _build(node, (), document)
    if not isinstance(data, dict):
        what = "empty" if node is None or data is None else "not a mapping"
        hint = "Begin with `version: 1` and a list of `rules`."
        raise PolicyError("policy.syntax", f"The policy is {what}.", source=source, line=1, column=1, hint=hint)
    return Document(data, source, document.lines, document.keys, document.values)


def _loader() -> type[yaml.SafeLoader] | type[yaml.CSafeLoader]:
    # The C parser is about ten times as fast; both give the same nodes.
    return yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def _check_events(text: str, source: str) -> None:
    """Refuses what must not reach the recursive composer, and what this form does not have."""
    depth = 0
    for event in yaml.parse(text, Loader=_loader()):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _at(event.start_mark, source, "Anchors and aliases are not supported.", hint="Write the value out.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise _at(event.start_mark, source, "The policy is nested too deeply.")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _at(event.start_mark, source, "Tags are not supported.", hint="Leave the `!` and what follows it out.")


def _build(node: yaml.Node, path: Path, document: Document) -> object:
    document.values[path] = Place(node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _at(key_node.start_mark, document.source, "A key is not plain text.")
            key = str(key_node.value)
            if key in result:
                message = f"The key `{key}` stands twice; first in line {document.keys[(*path, key)].line}."
                raise _at(key_node.start_mark, document.source, message, hint="Keep one of them.")
            document.keys[(*path, key)] = Place(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            result[key] = _build(value_node, (*path, key), document)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, index), document) for index, item in enumerate(node.value)]
    if not isinstance(node, yaml.ScalarNode):
        raise _at(node.start_mark, document.source, "A value is not of a known kind.")
    return _scalar(node, path, document)


def _scalar(node: yaml.ScalarNode, path: Path, document: Document) -> object:
    text = str(node.value)
    if node.style:
        return text
    if not text:
        what = f"`{path[-1]}` has no value" if path and isinstance(path[-1], str) else "A value is missing"
        raise _at(node.start_mark, document.source, f"{what}.", "policy.invalid", hint="Give it one, or leave the key out.")
    if text in _NULLS:
        return None
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _mark_of(text: str, position: int) -> _Mark:
    before = text[:position]
    return _Position(before.count("\n"), len(before) - (before.rfind("\n") + 1))


@dataclass(frozen=True, slots=True)
class _Position:
    line: int
    column: int


def _at(mark: _Mark | None, source: str, message: str, code: str = "policy.syntax", *, hint: str = "") -> PolicyError:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return PolicyError(code, message, line=line, column=column, source=source, hint=hint)
