"""Who acts for whom: the `act` claim of a token (RFC 8693 section 4.1) as the chain of actors of a principal.

The outermost actor acts now; those within it acted before. Only the token's issuer vouches for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from guardrails.errors import IdentityError
from guardrails.identity.static import check_id
from guardrails.model import Actor, Principal

__all__ = ["MOST_ACTORS", "acting_agent", "actors_of"]

MOST_ACTORS = 8
"""Longest chain that is accepted where nothing else is asked."""


def actors_of(claims: Mapping[str, object], *, most: int = MOST_ACTORS) -> tuple[Actor, ...]:
    """Returns the chain of actors of a verified token, the one that acts now first; none when the person acts for itself.

    Args:
        claims: Of the token.
        most: Longest chain accepted.

    Raises:
        IdentityError: The chain is longer, or an actor is not named as people are (identity.delegation_invalid).

    Example:
        >>> actors_of({"sub": "ana", "act": {"sub": "planner", "act": {"sub": "chat"}}})
        (Actor(id='planner', issuer=None), Actor(id='chat', issuer=None))
    """
    actors: list[Actor] = []
    holder: Mapping[str, object] = claims
    while "act" in holder:
        act = holder["act"]
        if not isinstance(act, dict) or len(actors) == most:
            raise _invalid("The token's chain of actors is no chain, or too long.")
        actors.append(_actor(act))
        holder = act
    return tuple(actors)


def acting_agent(principal: Principal, agent: str | None, name_of: Callable[[str], str] | None = None) -> str | None:
    """Returns the agent that acts for a principal: the one whom its token names, or else the one that code names.

    Args:
        principal: On whose behalf.
        agent: The agent that code names.
        name_of: Gives the agent's name for a subject of tokens, where that is another.

    Raises:
        IdentityError: Both name one, and not the same (identity.delegation_mismatch).
    """
    if not principal.actors:
        return agent
    subject = principal.actors[0].id
    acting = name_of(subject) if name_of is not None else subject
    if agent not in (None, acting):
        message = "The token was given to another agent than the one that acts."
        raise IdentityError("identity.delegation_mismatch", message, evidence={"token": acting, "session": agent})
    return acting


def _actor(act: Mapping[str, object]) -> Actor:
    issuer = act.get("iss")
    if not isinstance(issuer, (str, type(None))) or issuer == "":
        raise _invalid("An actor's issuer is no text.")
    try:
        return Actor(check_id(act.get("sub"), "an actor's name"), issuer)
    except IdentityError as error:
        raise _invalid("The token names an actor that cannot be told from others.") from error


def _invalid(message: str) -> IdentityError:
    return IdentityError("identity.delegation_invalid", message)
