"""What is asked: the statement, on whose behalf, and under which circumstances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrails.model.values import DialectName, Given, Params, Value, Verification

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["Actor", "Context", "InTransaction", "Principal", "Runtime", "Statement"]


@dataclass(frozen=True, slots=True)
class Statement:
    """What the agent wrote. `params` are bound values, by name or by position; they are never part of the text."""

    sql: str
    params: Params = field(default_factory=dict)
    dialect: DialectName = "sqlite"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts for a principal, as its token says (RFC 8693 section 4.1): `id` is its subject, `issuer` who vouches for it, or None."""

    id: str
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """The person on whose behalf the agent acts.

    Args:
        id: Stable subject, such as an e-mail address or an OIDC `sub`.
        groups: Groups or roles of the person.
        attributes: Further facts that row filters and conditions use as `principal.<name>`.
        issuer: Who vouches for it (the OIDC issuer), or None.
        verified: How: ``unverified`` for a principal that code merely named, ``jwt`` for a checked token, ``proxy`` for a trusted
            proxy's signed header, ``spiffe`` for a workload's JWT-SVID.
        token_digest: SHA-256 (hex) of the token that established it, or None.
        expires_at: Unix seconds after which it is no longer valid, or None.
        actors: Who acts for it, the one that acts now first, then whom that one acts for (RFC 8693 `act`).
    """

    id: str
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, Value] = field(default_factory=dict)
    issuer: str | None = None
    verified: Verification = "unverified"
    token_digest: str | None = None
    expires_at: int | None = None
    actors: tuple[Actor, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", frozenset(self.groups))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        """In a pydantic model only a principal is one: nobody is established by JSON that a client sends."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What an agent framework tells of the call that it makes; recorded as told.

    Args:
        framework: Its name, such as ``langgraph``.
        agent: Its name for the agent.
        model: The model that asked for the call.
        conversation_id: Its id of the conversation: a thread, a session.
        run_id: Its id of the run, or of the model's answer, that the call belongs to.
        purpose: What the application said that the work is for.
        client: What the program at the other end of a connection claims to be; nothing is decided by it.
    """

    framework: str
    agent: str | None = None
    model: str | None = None
    conversation_id: str | None = None
    run_id: str | None = None
    purpose: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True)
class InTransaction:
    """Where in a transaction a statement stands: the transaction's id, the statement's number, and whether it is a change."""

    id: str
    number: int
    is_change: bool


@dataclass(frozen=True, slots=True)
class Context:
    """Everything about the request that is neither the person nor the statement.

    `agent_key` is the fingerprint of the key with which the agent has shown that it is the one that it says, None when it has not.
    `runtime` is what the framework told of the call, where one made it. `arguments` are those of a tool's call beside its statement.
    `transaction` is the one that the statement is part of, if any.
    """

    agent: str | None = None
    model: str | None = None
    purpose: str | None = None
    session_id: str = ""
    conversation_id: str | None = None
    tool: str | None = None
    tool_call_id: str | None = None
    agent_version: str | None = None
    agent_instance: str | None = None
    agent_key: str | None = None
    runtime: Runtime | None = None
    arguments: Mapping[str, Given] = field(default_factory=dict, hash=False)
    transaction: InTransaction | None = None
