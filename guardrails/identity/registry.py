"""Which agents there are: their public keys, and the names by which tokens know them, from a file that operators keep.

A guard with a registry lets no agent act that is not in it, or that does not show one of its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guardrails.errors import IdentityError, LedgerError, UsageError
from guardrails.identity.agents import AgentKey
from guardrails.identity.static import check_id
from guardrails.ledger.note import ED25519, Verifier

__all__ = ["AgentRegistry"]

_MOST_BYTES = 1_000_000


class _AgentFields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    keys: list[str] = Field(min_length=1)
    subjects: list[str] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    agents: dict[str, _AgentFields]


@dataclass(frozen=True, slots=True)
class AgentRegistry:
    """The agents that may act.

    Args:
        keys: Public keys by agent, 32 bytes each; several while one replaces another.
        subjects: Agent by the subject under which tokens know it (`act`), where that is not the agent's name.

    Example:
        >>> key = AgentKey.generate("refund-bot")
        >>> registry = AgentRegistry({"refund-bot": frozenset({key.public_key})})
        >>> registry.require("refund-bot", key)
    """

    keys: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    subjects: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> AgentRegistry:
        """Reads a registry: YAML with `agents`, each with `keys` (texts as `AgentKey.public_text`) and, optionally, `subjects`.

        Raises:
            UsageError: The file cannot be read (usage.file_missing), or is not of that form (usage.input_invalid).
        """
        try:
            data = Path(path).read_bytes()[:_MOST_BYTES]
        except OSError as error:
            raise UsageError("usage.file_missing", f"The agents' file {Path(path).name} cannot be read.") from error
        try:
            return cls._parsed(_File.model_validate(yaml.load(data, _UniqueLoader)))  # noqa: S506 - a safe loader
        except (yaml.YAMLError, ValidationError, LedgerError, IdentityError, ValueError, RecursionError) as error:
            message = f"The agents' file {Path(path).name} is not of the expected form."
            raise UsageError("usage.input_invalid", message, evidence={"error": str(error)[:500]}) from error

    @classmethod
    def _parsed(cls, file: _File) -> AgentRegistry:
        keys: dict[str, frozenset[bytes]] = {}
        subjects: dict[str, str] = {}
        for name, fields in file.agents.items():
            check_id(name, "an agent's name")
            verifiers = [Verifier.parse(text) for text in fields.keys]
            if any(verifier.name != name or verifier.signature_type != ED25519 for verifier in verifiers):
                raise ValueError(f"a key under {name} is another agent's")
            keys[name] = frozenset(verifier.public_key for verifier in verifiers)
            for subject in fields.subjects:
                if subjects.setdefault(check_id(subject, "a subject"), name) != name:
                    raise ValueError(f"{subject} is the subject of two agents")
        return cls(keys, subjects)

    def name_of(self, subject: str) -> str:
        """Returns the agent that tokens know as `subject`."""
        return self.subjects.get(subject, subject)

    def require(self, agent: str | None, key: AgentKey | None) -> None:
        """Checks that an agent is known and has shown one of its keys; without an agent, a person acts, which is no matter of this.

        Raises:
            IdentityError: It is not known, or has shown none of its keys (identity.agent_unproven).
        """
        if agent is None:
            return
        known = self.keys.get(agent)
        if known is None:
            raise IdentityError("identity.agent_unproven", "The agent is not among those that may act.")
        if key is None or key.public_key not in known:
            raise IdentityError("identity.agent_unproven", "The agent has not shown one of its keys.")

    def require_proof(self, agent: object, public_key: bytes | None) -> None:
        """As `require`, for what an entry says and `proven_key` found."""
        if isinstance(agent, str) and public_key not in self.keys.get(agent, frozenset()):
            raise IdentityError("identity.agent_unproven", "The entry's agent has not shown one of its keys.")


class _UniqueLoader(yaml.SafeLoader):
    """A safe loader that refuses a name that occurs twice, where the last would win unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:  # noqa: ARG002 - yaml's signature
        found: dict[object, object] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in found:
                raise yaml.constructor.ConstructorError(None, None, "a name is no text or occurs twice", key_node.start_mark)
            found[key] = self.construct_object(value_node, deep=True)
        return found
