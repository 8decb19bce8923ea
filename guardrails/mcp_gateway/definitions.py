"""What a server tells a model, as definitions with a fingerprint: its tools, its prompts, its instructions.

Whatever is passed on is in the fingerprint, and what is not in it is not passed on: icons, `_meta` and hints about execution are left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from guardrails.mcp_gateway.canonical import canonical

__all__ = ["INSTRUCTIONS", "Definition", "DefinitionKey", "Kind", "instructions_of", "prompt_of", "tool_of", "unambiguous"]

Kind: TypeAlias = Literal["tool", "prompt", "instructions"]

INSTRUCTIONS = "instructions"
"""The name under which a server's instructions are accepted."""
_TOOL_FIELDS = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
_PROMPT_FIELDS = ("name", "title", "description", "arguments")


@dataclass(frozen=True, slots=True, order=True)
class DefinitionKey:
    """Which definition: of which upstream, of what kind, under which name there."""

    upstream: str
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.upstream}.{self.name}" if self.kind == "tool" else f"{self.upstream}.{self.kind}.{self.name}"


@dataclass(frozen=True)
class Definition:
    """What a server tells of one thing.

    Args:
        key: Which one.
        body: The JSON that a model may get to see of it.
    """

    key: DefinitionKey
    body: Mapping[str, object]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the body in canonical form (RFC 8785)."""
        return hashlib.sha256(canonical(dict(self.body))).hexdigest()


def tool_of(upstream: str, listed: Mapping[str, object]) -> Definition:
    """Returns the definition of a tool as listed: name, title, description, both schemas, annotations."""
    return _definition(upstream, "tool", listed, _TOOL_FIELDS)


def prompt_of(upstream: str, listed: Mapping[str, object]) -> Definition:
    """Returns the definition of a prompt as listed: name, title, description, arguments."""
    return _definition(upstream, "prompt", listed, _PROMPT_FIELDS)


def instructions_of(upstream: str, text: str) -> Definition:
    """Returns the definition of a server's instructions."""
    return Definition(DefinitionKey(upstream, "instructions", INSTRUCTIONS), {"text": text})


def unambiguous(listed: Iterable[Definition]) -> dict[DefinitionKey, Definition]:
    """Returns the definitions by key, without those that are listed twice: nobody can tell which of the two is called."""
    known = list(listed)
    counts = Counter(definition.key for definition in known)
    return {definition.key: definition for definition in known if counts[definition.key] == 1}


def _definition(upstream: str, kind: Kind, listed: Mapping[str, object], fields: Iterable[str]) -> Definition:
    body = {field: listed[field] for field in fields if listed.get(field) is not None}
    return Definition(DefinitionKey(upstream, kind, str(listed["name"])), body)
